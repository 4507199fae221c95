"""MDPs and POMDPs in Cassandra's file format, the one in which the field's benchmark problems are kept.

Dimensions: `S` states, `A` actions, `O` observations. A file without `observations:` holds an MDP. Rewards that depend
on the next state and on the observation are averaged exactly, `r(s,a) = sum_{s',o} P(s'|s,a) Z(o|a,s') R(a,s,s',o)`;
costs are rewards with the other sign. The format knows no first observation: a POMDP that is read has one that
tells nothing.

Reference: Cassandra, POMDP file format, https://pomdp.org/code/pomdp-file-spec.html.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdm import validation
from jaxdm.analysis import storage
from jaxdm.envs import mdp, pomdp
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP

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


class Model(NamedTuple):
    """A problem and what its file calls things; a count in the file gives the names "0", "1", ..."""

    problem: MDP | POMDP
    states: tuple[str, ...]  # [S]
    actions: tuple[str, ...]  # [A]
    observations: tuple[str, ...]  # [O], empty for an MDP


def read(path: Path | str, dtype: Any = None) -> Model:
    """The problem in a file; see `parse`."""
    return parse(Path(path).read_text(), dtype)


def write(path: Path | str, model: Model) -> Path:
    """Write a problem to a file, whole or not at all; see `render`."""
    return storage.write_text(Path(path), render(model))


def parse(text: str, dtype: Any = None) -> Model:
    """The problem that the text of a file describes.

    Rows of probabilities are kept as they are where they sum to one as `mdp.validate` asks, and divided by their sum
    where they are within pomdp-solve's tolerance of one.

    Args:
        text: a whole .POMDP or .MDP file.
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).

    Returns:
        Model with an `MDP`, or with a `POMDP` where the file has observations.

    Raises:
        ValueError: names the line, the word and what was expected.
    """
    found = statements(text)
    end = text.count("\n") + 1
    preamble = _preamble(found, end)
    discount, paid_as = _discount(preamble["discount"]), _choice(preamble["values"], ("reward", "cost"))
    states = space("state", preamble["states"])
    actions = space("action", preamble["actions"])
    seen = space("observation", preamble["observations"]) if "observations" in preamble else None
    # An MDP's rewards may carry a last index `*`: it sees one thing only.
    observations = seen or named("observation", ("*",))
    size_s, size_a, size_o = len(states.names), len(actions.names), len(observations.names)

    initial = _start(found, states)
    transition = _law("T", _blocks("T", found, (actions, states, states), initial), (size_a, size_s, size_s), end)
    if seen is None:
        if stray := [statement for statement in found if statement.keyword == "O"]:
            raise error(stray[0].line, "O:", "no observation law in a file without 'observations:'")
        observation = np.ones((size_a, size_s, 1))
    else:
        observation = _law("O", _blocks("O", found, (actions, states, observations)), (size_a, size_s, size_o), end)
    paid = _blocks("R", found, (actions, states, states, observations))
    reward = np.stack([_mean_reward(paid, a, transition[a], observation[a]) for a in range(size_a)], axis=1)
    reward = 0 - reward if paid_as == "cost" else reward
    fields = {"transition": transition.swapaxes(0, 1), "reward": reward, "initial": initial}
    fields |= {"discount": discount, "dtype": dtype}
    problem = mdp.make(**fields) if seen is None else pomdp.make(**fields, observation=observation)
    return Model(problem=problem, states=states.names, actions=actions.names, observations=seen.names if seen else ())


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
            line = Statement(keyword=field, line=len(lines), words=[*names], lines=[len(lines)] * size)
            if space(field.removesuffix("s"), line).names != tuple(names):
                raise ValueError(f"{field}: {names}; expected names that do not read as a count")
    lines.append("start: " + " ".join(map(_digits, np.asarray(problem.initial))))
    transition = np.swapaxes(np.asarray(problem.transition), 0, 1)
    lines += _entries("T", transition, (model.actions, model.states, model.states))
    if isinstance(problem, POMDP):
        lines += _entries("O", np.asarray(problem.observation), (model.actions, model.states, model.observations))
    any_next = " : *" * (1 + isinstance(problem, POMDP))
    lines += _entries("R", np.asarray(problem.reward).T, (model.actions, model.states), any_next)
    return "\n".join(lines) + "\n"


def _preamble(found: list[Statement], end: int) -> dict[str, Statement]:
    preamble: dict[str, Statement] = {}
    for statement in found:
        if statement.keyword in preamble:
            raise error(statement.line, statement.keyword, "it once only")
        if statement.keyword in PREAMBLE:
            preamble[statement.keyword] = statement
    for keyword in PREAMBLE:
        if keyword not in preamble and keyword != "observations":
            raise error(end, "end of file", f"a line '{keyword}: ...' before it")
    return preamble


def _choice(statement: Statement, choices: Sequence[str]) -> str:
    if len(statement.words) != 1 or statement.words[0] not in choices:
        raise error(statement.line, " ".join(statement.words), " or ".join(choices))
    return statement.words[0]


def _discount(statement: Statement) -> float:
    value = float(numbers(statement.words, statement.lines or [statement.line], 1, "discount:")[0])
    if not 0 <= value <= 1:
        raise error(statement.line, " ".join(statement.words), "a discount in [0, 1]")
    return value


def _start(found: list[Statement], states: Space) -> np.ndarray:
    given = [statement for statement in found if statement.keyword.startswith("start")]
    size = len(states.names)
    if not given:
        return np.full(size, 1 / size)
    statement, law = given[0], np.zeros(size)
    words, lines = statement.words, statement.lines
    if len(given) > 1:
        raise error(given[1].line, given[1].keyword, "one start")
    if statement.keyword != "start":
        listed = np.isin(np.arange(size), members(states, statement))
        chosen = listed if statement.keyword == "start include" else ~listed
        if not chosen.any():
            raise error(statement.line, "start exclude:", "at least one state left")
        return chosen / chosen.sum()
    if words == ["uniform"]:
        return np.full(size, 1 / size)
    if len(words) == 1 and size > 1:
        place = locate(states, words[0], lines[0])
        law[place] = 1 / size if isinstance(place, slice) else 1
        return law
    if size == 1 and words in ([states.names[0]], ["0"]):
        return np.ones(1)
    law = numbers(words, lines or [statement.line], size, "start:")
    return _normalised(law[None], np.array([statement.line]), lambda _: "start:")[0]


def _blocks(
    keyword: str, found: list[Statement], spaces: tuple[Space, ...], reset: np.ndarray | None = None
) -> list[Block]:
    return [block(statement, spaces, reset) for statement in found if statement.keyword == keyword]


def _law(keyword: str, blocks: list[Block], shape: tuple[int, int, int], end: int) -> np.ndarray:
    law, touched = np.zeros(shape), np.full(shape[:2], end)
    for each in blocks:
        law[each.target] = each.value
        touched[each.target[:2]] = each.line
    return _normalised(law, touched, lambda row: f"{keyword}: " + " : ".join(map(str, row)))


def _normalised(law: np.ndarray, line: np.ndarray, name: Any) -> np.ndarray:
    total = law.sum(axis=-1)
    off = np.abs(total - 1)
    if (law < 0).any() or (off > ROW_SUM_TOLERANCE).any():
        row = tuple(map(int, np.argwhere((off > ROW_SUM_TOLERANCE) | (law < 0).any(axis=-1))[0]))
        raise error(int(line[row]), name(row), f"probabilities that sum to 1; they sum to {total[row]:.8g}")
    exact = off <= law.shape[-1] * validation.ROW_SUM_TOLERANCE
    return np.where(exact[..., None], law, law / total[..., None])


def _mean_reward(blocks: list[Block], action: int, transition: np.ndarray, observation: np.ndarray) -> np.ndarray:
    """`r(., a)`, [S], on an array that has only the dimensions on which this action's rewards depend."""
    mine = [each for each in blocks if each.target[0] == action or isinstance(each.target[0], slice)]
    by_next = any(len(each.target) < 3 or not isinstance(each.target[2], slice) for each in mine)
    states, seen = observation.shape
    by_seen = seen > 1 and any(len(each.target) < 4 or not isinstance(each.target[3], slice) for each in mine)
    reward = np.zeros((states, states if by_next else 1, seen if by_seen else 1))
    for each in mine:
        reward[each.target[1:]] = each.value
    if not by_seen:
        return reward[:, 0, 0] if not by_next else np.sum(transition * reward[:, :, 0], axis=1)
    if not by_next:
        return np.sum((transition @ observation) * reward[:, 0], axis=1)
    return np.sum(transition * np.einsum("to,sto->st", observation, reward), axis=1)


def _entries(keyword: str, array: np.ndarray, names: tuple[tuple[str, ...], ...], rest: str = "") -> list[str]:
    places = np.argwhere(array != 0)
    return [
        f"{keyword}: {' : '.join(each[i] for each, i in zip(names, place, strict=True))}{rest} {_digits(value)}"
        for place, value in zip(places, array[tuple(places.T)], strict=True)
    ]


def _digits(value: Any) -> str:
    """The shortest decimal that is this number in float64, as an exact cast of any smaller type is."""
    return repr(float(value))
