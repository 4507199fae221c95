"""MDPs and POMDPs in Cassandra's file format, the one in which the field's benchmark problems are kept.

Dimensions: `S` states, `A` actions, `O` observations. A file without `observations:` holds an MDP. Rewards that depend
on the next state and on the observation are averaged exactly, `r(s,a) = sum_{s',o} P(s'|s,a) Z(o|a,s') R(a,s,s',o)`;
costs are rewards with the other sign. The format knows no first observation: a POMDP that is read has one that
tells nothing. A large MDP is read as a sparse one where that is asked for: memory then grows with the transitions that
the file states, not with `S A S`.

A file is read from front to back, a statement at a time: text -> pieces of lines -> statements -> blocks of numbers,
which go to their places in the arrays. As the format asks, `discount`, `values`, `states`, `actions` and `observations`
come first, so that the memory a problem takes is known before it is taken.

Where the format leaves a choice, or files differ:

- Only \\n, \\r\\n and \\r end a line, and with it a comment. The text is UTF-8, with a byte-order mark or without, or
  UTF-16 with one. Ctrl-Z may end it.
- `start:` with as many numbers as states holds probabilities; any other list of names or indices is the set of states
  in which a run starts, each with the same chance.
- A colon may stand before a single number, `T: a : s : s' : 1.0`.
- A probability in [-1e-12, 0) is a generator's rounding, and zero.

Reference: Cassandra, POMDP file format, https://pomdp.org/code/pomdp-file-spec.html.
"""

import io
import itertools
import math
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from scipy import sparse

from jaxdm import validation
from jaxdm.analysis import storage
from jaxdm.envs import mdp, pomdp, sparse_mdp
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.envs.sparse_mdp import SparseMDP

PREAMBLE = ("discount", "values", "states", "actions", "observations")


KEYWORDS = frozenset({*PREAMBLE, "start", "T", "O", "R"})


RESERVED = KEYWORDS | {"uniform", "identity", "reset", "include", "exclude", "reward", "cost"}


NEGATIVE_TOLERANCE = 1e-12
"""How far below zero a probability may be; it is then zero."""


MEMORY = 4 * 2**30
"""Bytes that a problem may take while it is read, unless the caller says otherwise."""


PIECE = 1 << 16
"""Characters of a line that are looked at together, and of the longest word."""


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


NUMERALS = frozenset("0123456789.+-eE")


NAME = re.compile(r"[^\W\d][^\s:#*]*")


ENCODINGS = "text in UTF-8, or UTF-16 with a byte-order mark"


NOT_TEXT = re.compile("[\ud800-\udfff]")


class Statement(NamedTuple):
    """One statement: what follows `keyword:`, colons included, as the text of each line without its comment."""

    keyword: str
    line: int
    pieces: list[tuple[int, str]]


class Space(NamedTuple):
    """The names of states, actions or observations, and where each is."""

    kind: str
    names: tuple[str, ...]
    places: dict[str, int | slice]


class EntryBlock(NamedTuple):
    """The right-hand side of a T, O or R statement, and the indices to which it goes."""

    line: int
    target: tuple[int | slice, ...]
    value: np.ndarray | sparse.csr_array | float  # the trailing dimensions that `target` leaves, or one number for all


class Model(NamedTuple):
    """A problem and what its file calls things; a count in the file gives the names "0", "1", ..."""

    problem: MDP | POMDP | SparseMDP
    states: tuple[str, ...]  # [S]
    actions: tuple[str, ...]  # [A]
    observations: tuple[str, ...]  # [O], empty for an MDP


def read(
    path: Path | str,
    dtype: Any = None,
    memory: int = MEMORY,
    progress: Callable[[int, int], None] | None = None,
    sparse: bool = False,
) -> Model:
    """The problem in a file, read in memory that depends on the problem and hardly on the length of the file.

    Args:
        path: a .POMDP or .MDP file.
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).
        memory: bytes that the problem may take while it is read.
        progress: called now and then with the bytes read so far, and all there are.
        sparse: read an MDP as a `SparseMDP`.

    Returns:
        As `parse`.

    Raises:
        ValueError: as `parse`.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        marked = file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")

        def tell() -> None:
            if progress is not None:
                progress(file.tell(), size)

        # newline=None: \n, \r\n and \r end a line, and nothing else does.
        encoding = "utf-16" if marked else "utf-8-sig"
        with io.TextIOWrapper(file, encoding, errors="surrogateescape", newline=None) as text:
            return _model(statements(words_of_lines(text, tell)), dtype, memory, sparse)


def write(path: Path | str, model: Model) -> Path:
    """Write a problem to a file, whole or not at all; see `render`."""
    return storage.write_text(Path(path), render(model))


def parse(text: str, dtype: Any = None, memory: int = MEMORY, sparse: bool = False) -> Model:
    """The problem that the text of a file describes.

    Rows of probabilities that are within pomdp-solve's tolerance of one are divided by their sum where more than
    rounding is missing, as those of arrays are, see `jaxdm.validation.normalised`.

    Args:
        text: a whole .POMDP or .MDP file.
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).
        memory: bytes that the problem may take while it is read.
        sparse: read an MDP as a `SparseMDP`, whose memory grows with the transitions that are stated.

    Returns:
        Model with an `MDP` or a `SparseMDP`, or with a `POMDP` where the file has observations.

    Raises:
        ValueError: names the line, the word and what was expected; the bytes, where the problem takes more than
            `memory`; a file with observations that shall be read as sparse.
    """
    lines = words_of_lines(io.StringIO(text.removeprefix("\ufeff"), newline=None))
    return _model(statements(lines), dtype, memory, sparse)


def error(line: int, word: str, expected: str) -> ValueError:
    """What every fault of a file looks like."""
    return ValueError(f"line {line}: {_short(repr(word[:100]), 80)}; expected {expected}")


def _short(word: str, length: int) -> str:
    return word if len(word) <= length else word[: length - 3] + "..."


def words_of_lines(text: TextIO, tell: Callable[[], None] | None = None) -> Iterator[tuple[int, list[str]]]:
    """The words of each line without its comment, and the line's number; `:` and `*` are words of their own.

    A very long line comes in several pieces. The last piece has no words: its number is that of the last line.

    Args:
        text: where every line ends in `\\n`.
        tell: called every 4,096 pieces and at the end.

    Raises:
        ValueError: bytes that are no text, a word longer than `PIECE`, or words after Ctrl-Z.
    """
    number, cut, in_comment, ended = 1, "", False, False
    try:
        for count in itertools.count():
            piece = text.readline(PIECE)
            if tell is not None and (count % 4096 == 0 or not piece):
                tell()
            if not piece:
                break
            whole = piece.endswith("\n")
            body, mark, _ = ("", "", "") if in_comment else (cut + piece).partition("#")
            in_comment, cut = not whole and (in_comment or bool(mark)), ""
            if not whole and not in_comment and not body[-1:].isspace():
                # The last word may go on in the next piece; the end of the file ends it too.
                cut = body.split()[-1]
                body = body[: len(body) - len(cut)]
                if len(cut) > PIECE:
                    raise error(number, cut, f"words of at most {PIECE} characters")
            yield number, _words(number, body, ended)
            ended = ended or "\x1a" in body
            number += whole
        yield number, _words(number, cut, ended)
        yield number, []
    except UnicodeDecodeError as fault:
        raise error(
            number, f"byte {fault.object[fault.start]:#x}", "text in UTF-8, or UTF-16 with a byte-order mark"
        ) from None


def _words(line: int, body: str, ended: bool) -> list[str]:
    if not body.isascii() and (found := NOT_TEXT.search(body)):
        code = ord(found.group())
        what = f"byte {code - 0xDC00:#x}" if 0xDC80 <= code <= 0xDCFF else f"character {code:#x}"
        raise error(line, what, ENCODINGS)
    if "\x1a" in body:
        body, _, after = body.partition("\x1a")
        body, ended = ("", True) if ended else (body, False)
        if after.strip("\x1a\0 \t\n"):
            raise error(line, after, "nothing after Ctrl-Z, the end of the file")
        return body.replace(":", " : ").replace("*", " * ").split()
    words = body.replace(":", " : ").replace("*", " * ").split()
    if ended and words:
        raise error(line, words[0], "nothing after Ctrl-Z, the end of the file")
    return words


def statements(lines: Iterable[tuple[int, list[str]]]) -> Iterator[Statement]:
    """Join lines to statements; the last one has the keyword "" and the number of the last line.

    Raises:
        ValueError: the file does not begin with a keyword, or a keyword has no colon.
    """
    current: Statement | None = None
    last = 1
    for line, all_words in lines:
        last, words = line, all_words
        while words:
            if current is not None and KEYWORDS.isdisjoint(words):
                current.pieces.append((line, " ".join(words)))
                break
            first = next((i for i, word in enumerate(words) if word in KEYWORDS), len(words))
            if current is None and first > 0:
                raise error(line, words[0], "a keyword such as 'discount'")
            if current is not None:
                if first > 0:
                    current.pieces.append((line, " ".join(words[:first])))
                yield _with_colon(current)
            current = Statement(keyword=words[first], line=line, pieces=[])
            words = words[first + 1 :]
    if current is not None:
        yield _with_colon(current)
    yield Statement(keyword="", line=last, pieces=[])


def _with_colon(raw: Statement) -> Statement:
    """A statement without the colon after its keyword, which is `start include` or `start exclude` with that word."""
    keyword, pieces = raw.keyword, raw.pieces
    text = pieces[0][1] if pieces else ""
    if keyword == "start" and text.split(" ", 1)[0] in ("include", "exclude"):
        word, _, text = text.partition(" ")
        keyword = f"{keyword} {word}"
        pieces = [(pieces[0][0], text), *pieces[1:]] if text else pieces[1:]
        text = pieces[0][1] if pieces else ""
    if not text.startswith(":"):
        found = f"{keyword} {text.split(' ', 1)[0]}".strip()
        raise error(raw.line, found, f"a ':' after {keyword.split()[-1]!r}")
    first = [(pieces[0][0], text[2:])] if len(text) > 1 else []
    return Statement(keyword=keyword, line=raw.line, pieces=first + pieces[1:])


def flat(statement: Statement) -> list[tuple[int, str]]:
    """Every word of a statement, with its line."""
    return [(line, word) for line, text in statement.pieces for word in text.split()]


def space(kind: str, statement: Statement) -> Space:
    """The names that a `states:`, `actions:` or `observations:` statement lists, or counts.

    Raises:
        ValueError: no name, a count below one, a name twice, a reserved word, or a word that cannot be a name.
    """
    listed: dict[str, None] = {}
    words = flat(statement)
    if count := _count(kind, statement, words):
        return named(kind, tuple(map(str, range(count))))
    for line, word in words:
        if word in RESERVED or not NAME.fullmatch(word):
            raise error(line, word, f"a name of a {kind}: no reserved word, no digit first, no ':', '#' or '*'")
        if word in listed:
            raise error(line, word, f"each {kind} once")
        listed[word] = None
    return named(kind, tuple(listed))


def _count(kind: str, statement: Statement, words: list[tuple[int, str]]) -> int | None:
    """The number that stands in the place of names."""
    if not words:
        raise error(statement.line, f"{statement.keyword}:", "a count or names")
    line, word = words[0]
    if len(words) > 1 or not (word.isascii() and word.isdecimal()):
        return None
    if len(word) > 15 or int(word) < 1:
        raise error(line, word, f"at least one {kind}, and fewer than 1e15")
    return int(word)


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
        listed = ", ".join(_short(name, 20) for name in where.names[:6]) + (", ..." if len(where.names) > 6 else "")
        raise error(line, word, f"one of the {where.kind}s {listed}, or '*'")
    return found


def members(where: Space, statement: Statement) -> list[int]:
    """The indices of a list of names.

    Raises:
        ValueError: an empty list, or a word that is not one name.
    """
    words = flat(statement)
    if not words:
        raise error(statement.line, f"{statement.keyword}:", f"names of {where.kind}s")
    found = []
    for line, word in words:
        place = locate(where, word, line)
        if isinstance(place, slice):
            raise error(line, word, f"names of {where.kind}s")
        found.append(place)
    return found


def numerals(pieces: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The words of each piece; a sign that stands apart is joined to its number."""
    sign, line = "", 0
    for line, text in pieces:
        words = text.split()
        if sign or "+" in words or "-" in words:
            joined = []
            for word in words:
                if sign and word[0] in "+-":
                    joined.append(sign)
                    sign = ""
                if word in ("+", "-"):
                    sign = word
                else:
                    joined.append(sign + word)
                    sign = ""
            words = joined
        yield line, words
    if sign:
        yield line, [sign]


def numbers(pieces: list[tuple[int, str]], count: int, what: str, first: int) -> np.ndarray:
    """Exactly `count` finite numbers, [count]; a sign may stand apart from its number.

    Args:
        pieces: their text, line by line.
        count: how many are wanted.
        what: what they are for.
        first: the line where their statement begins, where a missing number is best looked for.

    Raises:
        ValueError: a word that is no finite number, or another count of them.
    """
    found, last = 0, first
    parts = []
    for line, words in numerals(pieces):
        found, last = found + len(words), line
        values = None
        if NUMERALS.issuperset("".join(words)):
            try:
                values = np.fromiter(map(float, words), np.float64, len(words))
            except ValueError:
                values = None
        if values is None or not np.isfinite(values).all():
            bad = next(word for word in words if not NUMBER.fullmatch(word) or math.isinf(float(word)))
            raise error(line, bad, "a finite number")
        if found <= count:
            parts.append(values)
    if found != count:
        raise error(last if found > count else first, f"{found} numbers for {what}", str(count))
    return np.concatenate(parts)


def probabilities(pieces: list[tuple[int, str]], count: int, what: str, first: int) -> np.ndarray:
    """Exactly `count` numbers in [0, 1], [count]; see `numbers`.

    Raises:
        ValueError: as `numbers`, or a number further outside than rounding puts it.
    """
    value = numbers(pieces, count, what, first)
    bad = (value < -NEGATIVE_TOLERANCE) | (value > 1 + validation.ROW_SUM_TOLERANCE)
    if bad.any():
        words = ((line, word) for line, found in numerals(pieces) for word in found)
        raise error(*next(itertools.islice(words, int(np.argmax(bad)), None)), "a probability in [0, 1]")
    return np.maximum(value, 0)


def block(statement: Statement, spaces: tuple[Space, ...], reset: np.ndarray | None = None) -> EntryBlock:
    """What a T, O or R statement assigns.

    Args:
        statement: `a : s ... body`.
        spaces: one per dimension of the array, the action's first.
        reset: what `reset` means as a row, where it may be used.

    Raises:
        ValueError: an unknown name, too many indices, a bad body, or a probability outside [0, 1].
    """
    keyword, fields, body = statement.keyword, *_split(statement, spaces)
    shape = tuple(len(each.names) for each in spaces[len(fields) :])
    if not fields or len(fields) > len(spaces) or not body:
        words = " ".join(text for _, text in statement.pieces[:2])
        raise error(statement.line, _short(f"{keyword} : {words}", 80), f"at most {len(spaces)} indices, and a value")
    target = tuple(locate(where, word, line) for where, (line, word) in zip(spaces, fields, strict=False))
    if len(body) == 1 and body[0][1] in ("uniform", "identity", "reset"):
        value = _named_block(body[0][1], body[0][0], keyword, shape, reset)
        return EntryBlock(line=statement.line, target=target, value=value)
    read_body = numbers if keyword == "R" else probabilities
    what = f"{keyword}: " + " : ".join(_short(word, 20) for _, word in fields)
    value = read_body(body, math.prod(shape), what, statement.line)
    return EntryBlock(line=statement.line, target=target, value=value.reshape(shape) if shape else float(value[0]))


def _split(statement: Statement, spaces: tuple[Space, ...]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The indices before the body of a statement, each with its line, and the pieces of the body."""
    words: list[str] = []
    lines: list[int] = []
    used, taken = 1, 0
    for line, text in statement.pieces:
        if used == len(words) and not text.startswith(":"):
            break
        more = text.split()
        words += more
        lines += [line] * len(more)
        taken += 1
        while words[used : used + 1] == [":"]:
            used += 2
        if used < len(words):
            break
    if not words or words[0] == ":" or used > len(words):
        return [], []
    rest = statement.pieces[taken:]
    fields = [(lines[i], words[i]) for i in range(0, used, 2)]
    bare = used == len(words) and not rest
    is_number = words[used - 1] in ("+", "-") or NUMBER.fullmatch(words[used - 1])
    # The observation of an MDP's rewards may be left out, and a colon may stand before the number.
    surplus = len(fields) == len(spaces) + 1 or (bare and len(fields) == len(spaces) and spaces[-1].names == ("*",))
    if surplus and is_number:
        used, fields = used - 1, fields[:-1]
    body = [(lines[used], " ".join(words[used:]))] if used < len(words) else []
    return fields, body + rest


def _named_block(
    word: str, line: int, keyword: str, shape: tuple[int, ...], reset: np.ndarray | None
) -> np.ndarray | sparse.csr_array | float:
    if word == "uniform" and keyword in ("T", "O") and shape:
        return 1 / shape[-1]
    if word == "identity" and keyword == "T" and len(shape) == 2:
        return sparse.csr_array(sparse.eye_array(shape[0]))
    if word == "reset" and reset is not None and len(shape) == 1:
        return reset
    raise error(line, word, "numbers: the word cannot stand here")


def _dense(block: EntryBlock) -> np.ndarray | float:
    return block.value.toarray() if isinstance(block.value, sparse.csr_array) else block.value


class Assignments:
    """What the statements of one keyword say, in order: the later of two that meet holds. 24 bytes for each number."""

    def __init__(self, memory: int, what: str) -> None:
        """No statement yet, and room for `memory` bytes; `what` the numbers are."""
        self.memory = memory
        self.what = what
        self.places = array("i")  # (a, s, s', o) of each number, -1 for all
        self.values = array("d")

    def add(self, block: EntryBlock) -> None:
        """Append the numbers of a block: a zero for all of them, then those that are not zero.

        Raises:
            ValueError: they take more than `memory`.
        """
        target = tuple(-1 if isinstance(place, slice) else place for place in block.target)
        self.places.extend((*target, -1, -1, -1)[:4])
        if not isinstance(block.value, (np.ndarray, sparse.csr_array)):
            self.values.append(block.value)
        else:
            self.values.append(0.0)
            inner = np.array(block.value.nonzero(), np.int32)
            places = np.full((4, inner.shape[1]), -1, np.int32)
            places[: len(target)] = np.array(target, np.int32)[:, None]
            places[len(target) : len(target) + len(inner)] = inner
            self.places.frombytes(places.T.tobytes())
            self.values.frombytes(np.asarray(block.value[tuple(inner)]).tobytes())
        self._check_memory(block.line, len(self.values), 24)

    def entries(self, action: int, states: int, line: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entries that are not zero of an action's matrix [S, S]: rows, columns and values, each [n], in order.

        Raises:
            ValueError: statements for every state are so many numbers that they take more than `memory`.
        """
        places, values = self._of_action(action)
        row, column = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
        filled = values != 0
        # Statements for all states give entries that no other statement names.
        rows = np.unique(row[filled & (column < 0)])
        columns = np.unique(column[filled & (row < 0)])
        if np.any(rows < 0):
            rows, columns = np.arange(states), columns[:0]
        self._check_memory(line, states * (len(rows) + len(columns)), 32)
        every = np.arange(states)
        stated = (row >= 0) & (column >= 0)
        keys = [row[stated] * states + column[stated]]
        keys += [(rows[:, None] * states + every).ravel(), (every[:, None] * states + columns).ravel()]
        row, column = np.divmod(np.unique(np.concatenate(keys)), states)
        found = self.at(action, row, column, states)
        return row[found != 0], column[found != 0], found[found != 0]

    def at(self, action: int, row: np.ndarray, column: np.ndarray, states: int) -> np.ndarray:
        """The numbers at some entries of an action's matrix, [n]; zero where none was given.

        Args:
            action: a.
            row: [n] int64.
            column: [n] int64; each pair once, in order.
            states: S.
        """
        places, values = self._of_action(action)
        s, t = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
        number = np.arange(1, len(values) + 1)
        # Of equal indices numpy keeps the last one's number. The last place stands for all states.
        of_row, of_column, of_entry = np.zeros(states + 1, int), np.zeros(states + 1, int), np.zeros(len(row) + 1, int)
        of_row[s[t < 0]] = number[t < 0]
        of_column[t[s < 0]] = number[s < 0]
        stated = (s >= 0) & (t >= 0)
        keys, wanted = np.append(row * states + column, states**2), s[stated] * states + t[stated]
        place = np.searchsorted(keys, wanted)
        hit = keys[place] == wanted
        of_entry[place[hit]] = number[stated][hit]
        last = np.maximum(of_entry[:-1], np.maximum(of_row[row], of_column[column]))
        return np.append(0.0, values)[np.maximum(last, of_row[-1])]

    def _of_action(self, action: int) -> tuple[np.ndarray, np.ndarray]:
        """The places (s, s', o), [n, 3], and the numbers, [n], that hold for an action."""
        places, values = np.array(self.places, np.int32).reshape(-1, 4), np.array(self.values)
        mine = (places[:, 0] == action) | (places[:, 0] < 0)
        return places[mine, 1:], values[mine]

    def _check_memory(self, line: int, count: int, each: int) -> None:
        if each * count > self.memory:
            found = f"{count} {self.what}"
            raise error(line, found, f"a problem of at most memory={self.memory} bytes, not {each * count}")

    def mean(self, action: int, transition: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """`r(., a) = sum_{s',o} P(s'|s,a) Z(o|a,s') R(a,s,s',o)`, [S], a range of states at a time.

        Args:
            action: a.
            transition: [S, S] of this action.
            observation: [S, O] of this action.
        """
        places, values = self._of_action(action)
        states, seen = observation.shape
        if seen == 1:
            places[:, 2] = -1
        by_next, by_seen = bool(np.any(places[:, 1] >= 0)), bool(np.any(places[:, 2] >= 0))
        shape = (states if by_next else 1, seen if by_seen else 1)
        rows = max(1, 2**23 // math.prod(shape))
        parts = []
        for low in range(0, states, rows):
            here = (places[:, 0] < 0) | ((places[:, 0] >= low) & (places[:, 0] < low + rows))
            chosen = places[here]
            chosen[:, 0] -= np.where(chosen[:, 0] < 0, 0, low).astype(np.int32)
            distribution = transition[low : low + rows]
            paid = _last(chosen, values[here], (len(distribution), *shape))
            if not by_next and not by_seen:
                parts.append(paid[:, 0, 0])
            elif not by_seen:
                parts.append(np.sum(distribution * paid[:, :, 0], axis=1))
            elif not by_next:
                parts.append(np.sum((distribution @ observation) * paid[:, 0], axis=1))
            else:
                parts.append(np.sum(distribution * np.einsum("to,sto->st", observation, paid), axis=1))
        return np.concatenate(parts)


def _last(places: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in which every entry has the last value that was given for its place; zero where none was.

    Args:
        places: [n, 3], -1 for every index of a dimension.
        values: [n].
        shape: three sizes.
    """
    if not len(values):
        return np.zeros(shape)
    winner = np.full(shape, -1)
    pattern = (places < 0) @ np.array([1, 2, 4])
    for kind in np.unique(pattern):
        these = np.flatnonzero(pattern == kind)
        every = [bool(kind & 1 << i) for i in range(3)]
        last = np.full([1 if all_of else size for all_of, size in zip(every, shape, strict=True)], -1)
        last[tuple(places[these, i] * (not all_of) for i, all_of in enumerate(every))] = these
        np.maximum(winner, last, out=winner)
    return np.where(winner >= 0, values[winner], 0.0)


def _model(found: Iterator[Statement], dtype: Any, memory: int, as_sparse: bool) -> Model:
    preamble, after = _preamble(found)
    discount, paid_as = _discount(preamble["discount"]), _choice(preamble["values"], ("reward", "cost"))
    if as_sparse and "observations" in preamble:
        raise error(preamble["observations"].line, "observations:", "none, as only an MDP is read as sparse")
    _check_memory(preamble, memory, as_sparse)
    states = space("state", preamble["states"])
    actions = space("action", preamble["actions"])
    seen = space("observation", preamble["observations"]) if "observations" in preamble else None
    # An MDP's rewards may carry a last index `*`: it sees one thing only.
    observations = seen or named("observation", ("*",))
    size_s, size_a, size_o = len(states.names), len(actions.names), len(observations.names)

    initial, started, end = np.full(size_s, 1 / size_s), False, after.line
    stated, rewards = Assignments(memory, "transitions"), Assignments(memory, "rewards")
    transition = np.zeros((size_a, size_s, 0 if as_sparse else size_s))
    observation = np.zeros((size_a, size_s, size_o))
    transition_line, observation_line = np.zeros((2, size_a, size_s), np.int64)
    was_reset = False
    for statement in itertools.chain([after], found):
        keyword, end = statement.keyword, statement.line
        if keyword in PREAMBLE:
            raise error(end, keyword, "it once only" if keyword in preamble else "it before start, T, O and R")
        if keyword.startswith("start"):
            if started or was_reset:
                raise error(end, keyword, "one start" if started else "it before the first 'reset'")
            initial, started = _start(statement, states), True
        elif keyword == "T":
            each = block(statement, (actions, states, states), initial)
            was_reset = was_reset or each.value is initial
            if as_sparse:
                stated.add(each)
            else:
                transition[each.target] = _dense(each)
            transition_line[each.target[:2]] = each.line
        elif keyword == "O":
            if seen is None:
                raise error(end, "O:", "no observation distribution in a file without 'observations:'")
            each = block(statement, (actions, states, observations))
            observation[each.target] = _dense(each)
            observation_line[each.target[:2]] = each.line
        elif keyword == "R":
            rewards.add(block(statement, (actions, states, states, observations)))
    successor = None
    if as_sparse:
        successor, transition = _padded(stated, size_a, size_s, end)
    _check_rows("T", transition, np.where(transition_line, transition_line, end))
    if seen is None:
        observation[:] = 1
    _check_rows("O", observation, np.where(observation_line, observation_line, end))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            if successor is None:
                reward = [rewards.mean(a, transition[a], observation[a]) for a in range(size_a)]
            else:
                reward = [_sparse_mean(rewards, a, successor[a], transition[a]) for a in range(size_a)]
        reward = np.stack(reward, axis=1)
        fields = {"reward": 0 - reward if paid_as == "cost" else reward}
        fields |= {"initial": initial, "discount": discount, "dtype": dtype}
        rows = transition.swapaxes(0, 1)
        if successor is not None:
            problem = sparse_mdp.make(successor.swapaxes(0, 1), rows, **fields)
        else:
            problem = mdp.make(rows, **fields) if seen is None else pomdp.make(rows, **fields, observation=observation)
    except ValueError as fault:
        raise error(end, "end of file", _short(f"numbers that make a problem: {fault}", 150)) from fault
    return Model(problem=problem, states=states.names, actions=actions.names, observations=seen.names if seen else ())


def _padded(stated: Assignments, actions: int, states: int, line: int) -> tuple[np.ndarray, np.ndarray]:
    """Successors and probabilities, each [A, S, K], of all T statements.

    Raises:
        ValueError: rows padded to the longest take more than the memory of `stated`.
    """
    matrices = []
    for action in range(actions):
        row, column, value = stated.entries(action, states, line)
        matrices.append(sparse.csr_array((value, (row, column)), (states, states)))
    longest = max(int(np.diff(matrix.indptr).max()) for matrix in matrices)
    needed = 48 * actions * states * longest
    if needed > stated.memory:
        expected = (
            f"a problem of at most memory={stated.memory} bytes, not {needed}, as all rows are padded to the longest"
        )
        raise error(line, f"{longest} successors", expected)
    successor, probability = sparse_mdp.padded_rows(sparse.vstack(matrices, format="csr"))
    shape = (actions, states, -1)
    return successor.reshape(shape), probability.reshape(shape)


def _sparse_mean(rewards: Assignments, action: int, successor: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """`r(., a) = sum_{s'} P(s'|s,a) R(a,s,s')`, [S].

    Args:
        rewards: what the R statements say.
        action: a.
        successor: [S, K], in order where the probability is not zero.
        probability: [S, K].
    """
    states = len(successor)
    row, place = np.nonzero(probability)
    paid = rewards.at(action, row, successor[row, place].astype(np.int64), states)
    return np.bincount(row, probability[row, place] * paid, states)


def _preamble(found: Iterator[Statement]) -> tuple[dict[str, Statement], Statement]:
    """The statements that come first, and the one after them."""
    preamble: dict[str, Statement] = {}
    for statement in found:
        if statement.keyword in preamble:
            raise error(statement.line, statement.keyword, "it once only")
        if statement.keyword not in PREAMBLE:
            for keyword in PREAMBLE:
                if keyword not in preamble and keyword != "observations":
                    raise error(
                        statement.line, statement.keyword or "end of file", f"a line '{keyword}: ...' before it"
                    )
            return preamble, statement
        preamble[statement.keyword] = statement
    raise AssertionError("statements end with one that has no keyword")


def _check_memory(preamble: dict[str, Statement], memory: int, as_sparse: bool) -> None:
    """Refuse a problem that takes too much, before any of it is made: three copies of each array, and the names.

    Of a sparse problem only its smallest size is known, one successor for every state and action.
    """
    sizes = {}
    for keyword in ("states", "actions", "observations"):
        statement = preamble.get(keyword)
        words = flat(statement) if statement else []
        sizes[keyword] = (_count(keyword[:-1], statement, words) or len(words)) if statement else 1
    states, actions, observations = sizes.values()
    width = 2 if as_sparse else states + observations
    needed = 24 * actions * states * width + 256 * (states + actions + observations)
    if needed > memory:
        found = ", ".join(f"{keyword}: {sizes[keyword]}" for keyword in sizes if keyword in preamble)
        other = "" if as_sparse or "observations" in preamble else "; sparse=True takes what its transitions take"
        expected = f"a problem of at most memory={memory} bytes; it takes {needed:.4g}{other}"
        raise error(preamble["states"].line, found, expected)


def _choice(statement: Statement, choices: Sequence[str]) -> str:
    words = [word for _, word in flat(statement)]
    if len(words) != 1 or words[0] not in choices:
        raise error(statement.line, " ".join(words), " or ".join(choices))
    return words[0]


def _discount(statement: Statement) -> float:
    value = float(numbers(statement.pieces, 1, "discount:", statement.line)[0])
    if not 0 <= value <= 1:
        raise error(statement.line, " ".join(text for _, text in statement.pieces), "a discount in [0, 1]")
    return value


def _start(statement: Statement, states: Space) -> np.ndarray:
    """The distribution of the first state, [S]."""
    size = len(states.names)
    words = [word for _, word in flat(statement)]
    if statement.keyword != "start":
        listed = np.isin(np.arange(size), members(states, statement))
        chosen = listed if statement.keyword == "start include" else ~listed
        if not chosen.any():
            raise error(statement.line, "start exclude:", "at least one state left")
        return chosen / chosen.sum()
    if words in (["uniform"], ["*"]):
        return np.full(size, 1 / size)
    if len(words) == size and NUMBER.fullmatch(words[0]) and (size > 1 or words[0] != "0"):
        distribution = probabilities(statement.pieces, size, "start:", statement.line)[None]
        _check_rows("start", distribution, np.array([statement.line]))
        return distribution[0]
    if len(words) > size or (len(words) > 1 and NUMBER.fullmatch(words[0]) and not words[0].isdecimal()):
        raise error(statement.line, f"{len(words)} numbers for start:", str(size))
    chosen = np.isin(np.arange(size), members(states, statement))
    return chosen / chosen.sum()


def _check_rows(keyword: str, distribution: np.ndarray, line: np.ndarray) -> None:
    """Check the sums of rows, where their lines are known; those that are nearly one are divided in `make`.

    Raises:
        ValueError: a row that is further from one than the format allows.
    """
    total = distribution.sum(axis=-1)
    off = np.abs(total - 1)
    if (off > validation.ROW_SUM_TOLERANCE).any():
        row = tuple(map(int, np.argwhere(off > validation.ROW_SUM_TOLERANCE)[0]))
        name = f"{keyword}:" if keyword == "start" else f"{keyword}: " + " : ".join(map(str, row))
        raise error(int(line[row]), name, f"probabilities that sum to 1; they sum to {total[row]:.8g}")


def render(model: Model) -> str:
    """The text of a file from which `parse` gives back the same numbers and names.

    Raises:
        ValueError: names that do not fit the problem, or a first observation that tells something of the state.
    """
    problem = model.problem
    lines = [f"discount: {_digits(problem.discount)}", "values: reward"]
    sizes = {"states": problem.reward.shape[0], "actions": problem.reward.shape[1]}
    if isinstance(problem, POMDP):
        sizes["observations"] = problem.observation.shape[-1]
        silent = pomdp.uninformative(problem.initial, sizes["observations"])
        if not np.array_equal(problem.initial_observation, silent):
            raise ValueError(
                "initial_observation: it is not observation 0 in every state; expected that, as the format knows no "
                "first observation (drop it by `_replace(initial_observation=pomdp.uninformative(...))`)"
            )
    for field, size in sizes.items():
        names = getattr(model, field)
        if len(names) != size:
            raise ValueError(f"{field}: {len(names)} names; expected {size}")
        counted = tuple(names) == tuple(map(str, range(size)))
        lines.append(f"{field}: {size if counted else ' '.join(names)}")
        if not counted:
            line = Statement(keyword=field, line=len(lines), pieces=[(len(lines), " ".join(names))])
            if space(field.removesuffix("s"), line).names != tuple(names):
                raise ValueError(f"{field}: {names}; expected names that do not read as a count")
    lines.append("start: " + " ".join(map(_digits, np.asarray(problem.initial))))
    names = (model.actions, model.states, model.states)
    if isinstance(problem, SparseMDP):
        lines += _sparse_entries(problem, names)
    else:
        lines += _entries("T", np.swapaxes(np.asarray(problem.transition), 0, 1), names)
    if isinstance(problem, POMDP):
        lines += _entries("O", np.asarray(problem.observation), (model.actions, model.states, model.observations))
    any_next = " : *" * (1 + isinstance(problem, POMDP))
    lines += _entries("R", np.asarray(problem.reward).T, (model.actions, model.states), any_next)
    return "\n".join(lines) + "\n"


def _entries(keyword: str, array: np.ndarray, names: tuple[tuple[str, ...], ...], rest: str = "") -> list[str]:
    places = np.argwhere(array != 0)
    return [
        f"{keyword}: {' : '.join(each[i] for each, i in zip(names, place, strict=True))}{rest} {_digits(value)}"
        for place, value in zip(places, array[tuple(places.T)], strict=True)
    ]


def _sparse_entries(problem: SparseMDP, names: tuple[tuple[str, ...], ...]) -> list[str]:
    """T statements of a sparse MDP; probabilities of a state that stands in a row twice are added."""
    lines = []
    for action in range(problem.reward.shape[1]):
        probability, successor = np.asarray(problem.probability)[:, action], np.asarray(problem.successor)[:, action]
        row, place = np.nonzero(probability)
        matrix: Any = sparse.coo_array((probability[row, place], (row, successor[row, place])), 2 * (len(probability),))
        matrix = matrix.tocsr().tocoo()  # adds what stands at one place
        for s, t, value in zip(*matrix.coords, matrix.data, strict=True):
            lines.append(f"T: {names[0][action]} : {names[1][s]} : {names[2][t]} {_digits(value)}")
    return lines


def _digits(value: Any) -> str:
    """The shortest decimal that is this number in float64, as an exact cast of any smaller type is."""
    return repr(float(value))
