"""The grammar of Cassandra's .POMDP and .MDP files: words, statements, names and numbers, each with its line.

A file is a list of statements `keyword: ...`. Those of T, O and R assign a block of an array: `T: a : s : s' p` one
number, `T: a : s` and a row of numbers, `T: a` and a matrix; `*` stands for every index, and what comes later
overrides what came before. Host side, numpy only.

Reference: Cassandra, POMDP file format, https://pomdp.org/code/pomdp-file-spec.html.
"""

import math
import re
from typing import NamedTuple

import numpy as np

PREAMBLE = ("discount", "values", "states", "actions", "observations")
KEYWORDS = frozenset({*PREAMBLE, "start", "T", "O", "R"})
RESERVED = KEYWORDS | {"uniform", "identity", "reset", "include", "exclude", "reward", "cost"}
ROW_SUM_TOLERANCE = 1e-5
"""How far a row of a file may be from one, pomdp-solve's own tolerance; such rows are divided by their sum."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NAME = re.compile(r"[^\W\d][^\s:#*]*")


class Statement(NamedTuple):
    """One statement: what follows `keyword:`, colons included, and the line of each word."""

    keyword: str
    line: int
    words: list[str]
    lines: list[int]


class Space(NamedTuple):
    """The names of states, actions or observations, and where each is."""

    kind: str
    names: tuple[str, ...]
    places: dict[str, int | slice]


class Block(NamedTuple):
    """The right-hand side of a T, O or R statement, and the indices to which it goes."""

    line: int
    target: tuple[int | slice, ...]
    value: np.ndarray  # [] or the trailing dimensions that `target` leaves


def error(line: int, word: str, expected: str) -> ValueError:
    """What every fault of a file looks like."""
    return ValueError(f"line {line}: {word!r}; expected {expected}")


def statements(text: str) -> list[Statement]:
    """Split a file into statements; comments run from # to the end of the line.

    Raises:
        ValueError: the file does not begin with a keyword, or a keyword has no colon.
    """
    words: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = line.partition("#")[0].replace(":", " : ").split()
        words += found
        lines += [number] * len(found)
    starts = [i for i, word in enumerate(words) if word in KEYWORDS]
    if not words:
        return []
    if starts[:1] != [0]:
        raise error(lines[0], words[0], "a keyword such as 'discount'")
    split = []
    for first, end in zip(starts, [*starts[1:], len(words)], strict=True):
        colon = first + 1
        if words[first] == "start" and words[colon : colon + 1] in (["include"], ["exclude"]):
            colon += 1
        if words[colon : colon + 1] != [":"]:
            raise error(lines[first], " ".join(words[first : colon + 1]), f"a ':' after {words[colon - 1]!r}")
        keyword = " ".join(words[first:colon])
        split.append(
            Statement(keyword=keyword, line=lines[first], words=words[colon + 1 : end], lines=lines[colon + 1 : end])
        )
    return split


def space(kind: str, statement: Statement) -> Space:
    """The names that a `states:`, `actions:` or `observations:` statement lists, or counts.

    Raises:
        ValueError: no name, a count below one, a name twice, a reserved word, or a word that cannot be a name.
    """
    words = statement.words
    if not words:
        raise error(statement.line, f"{statement.keyword}:", "a count or names")
    if len(words) == 1 and words[0].isdecimal():
        if int(words[0]) < 1:
            raise error(statement.line, words[0], f"at least one {kind}")
        return named(kind, tuple(map(str, range(int(words[0])))))
    known: set[str] = set()
    for word, line in zip(words, statement.lines, strict=True):
        if word in RESERVED or not NAME.fullmatch(word):
            raise error(line, word, f"a name of a {kind}: no reserved word, no digit first, no ':', '#' or '*'")
        if word in known:
            raise error(line, word, f"each {kind} once")
        known.add(word)
    return named(kind, tuple(words))


def named(kind: str, names: tuple[str, ...]) -> Space:
    """A space with these names; numbers count too, and `*` is every one of them."""
    places: dict[str, int | slice] = {str(i): i for i in range(len(names))}
    places |= {name: i for i, name in enumerate(names)}
    return Space(kind=kind, names=names, places=places | {"*": slice(None)})


def locate(where: Space, word: str, line: int) -> int | slice:
    """The index of a name or number, or every index for `*`.

    Raises:
        ValueError: no such name.
    """
    found = where.places.get(word)
    if found is None:
        known = ", ".join(where.names[:6]) + (", ..." if len(where.names) > 6 else "")
        raise error(line, word, f"one of the {where.kind}s {known}, or '*'")
    return found


def members(where: Space, statement: Statement) -> list[int]:
    """The indices of a list of names.

    Raises:
        ValueError: an empty list, or a word that is not one name.
    """
    if not statement.words:
        raise error(statement.line, f"{statement.keyword}:", f"names of {where.kind}s")
    found = []
    for word, line in zip(statement.words, statement.lines, strict=True):
        place = locate(where, word, line)
        if isinstance(place, slice):
            raise error(line, word, f"names of {where.kind}s")
        found.append(place)
    return found


def numbers(words: list[str], lines: list[int], count: int, what: str) -> np.ndarray:
    """Exactly `count` finite numbers; a sign may stand apart from its number.

    Raises:
        ValueError: a word that is no finite number, or another count of them.
    """
    if "+" in words or "-" in words:
        words, lines = _joined(words, lines)
    for word, line in zip(words, lines, strict=True):
        if not NUMBER.fullmatch(word) or math.isinf(float(word)):
            raise error(line, word, "a finite number")
    if len(words) != count:
        found = f"{len(words)} numbers for {what}"
        raise error(lines[-1] if lines else 0, found, f"{count}")
    return np.array(words, np.float64)


def _joined(words: list[str], lines: list[int]) -> tuple[list[str], list[int]]:
    pairs: list[tuple[str, int]] = []
    for word, line in zip(words, lines, strict=True):
        sign = pairs[-1][0] if pairs else ""
        if sign in ("+", "-") and word[:1] not in ("+", "-"):
            pairs[-1] = (sign + word, line)
        else:
            pairs.append((word, line))
    return [word for word, _ in pairs], [line for _, line in pairs]


def block(statement: Statement, spaces: tuple[Space, ...], reset: np.ndarray | None = None) -> Block:
    """What a T, O or R statement assigns.

    Args:
        statement: `a : s ... body`.
        spaces: one per dimension of the array, the action's first.
        reset: what `reset` means as a row, where it may be used.

    Raises:
        ValueError: an unknown name, too many indices, a bad body, or a probability outside [0, 1].
    """
    words, lines, keyword = statement.words, statement.lines, statement.keyword
    used = 1
    while words[used : used + 1] == [":"]:
        used += 2
    fields, body, after = words[0:used:2], words[used:], lines[used:]
    shape = tuple(len(each.names) for each in spaces[len(fields) :])
    if not words or words[0] == ":" or len(fields) > len(spaces) or len(fields) * 2 - 1 != used or not body:
        raise error(statement.line, " ".join([keyword, ":", *words[:8]]), f"at most {len(spaces)} indices, and a value")
    target = tuple(
        locate(where, word, line) for where, word, line in zip(spaces, fields, lines[0:used:2], strict=False)
    )
    if len(body) == 1 and body[0] in ("uniform", "identity", "reset"):
        value = _named_block(body[0], after[0], keyword, shape, reset)
    else:
        what = " ".join([f"{keyword}:", *words[:used]])
        # A missing number is best looked for where the statement begins, a surplus one where it ends.
        lines_of = after if len(body) >= math.prod(shape) else [*after[:-1], statement.line]
        value = numbers(body, lines_of, math.prod(shape), what).reshape(shape)
    if keyword != "R" and not (np.all(value >= 0) and np.all(value <= 1 + ROW_SUM_TOLERANCE)):
        bad = int(np.argmax((value < 0) | (value > 1 + ROW_SUM_TOLERANCE)))
        plain, places = _joined(body, after)
        raise error(places[bad], plain[bad], "a probability in [0, 1]")
    return Block(line=statement.line, target=target, value=value)


def _named_block(word: str, line: int, keyword: str, shape: tuple[int, ...], reset: np.ndarray | None) -> np.ndarray:
    if word == "uniform" and keyword in ("T", "O") and shape:
        return np.full(shape, 1 / shape[-1])
    if word == "identity" and keyword == "T" and len(shape) == 2:
        return np.eye(*shape)
    if word == "reset" and reset is not None and len(shape) == 1:
        return reset
    raise error(line, word, "numbers: the word cannot stand here")
