"""Offline data: a fixed set of sequences, gathered once or read from a file, from which training draws its batches.

Dimensions: `S` sequences, `N` steps of the longest, `A` actions, `O` observations.

Two files hold the same. `.npz` has the arrays of `jaxdm.sft.data.Sequence` with leading axes [S, N]. `.jsonl` is for
data from elsewhere, a line for each sequence:

    {"episodes": [{"observations": [3, 4, 4], "actions": [1, 0], "rewards": [0.0, 1.0], "labels": [1, null]}, ...]}

`episodes` are of one task, in the order in which a network reads them; the last is what it is asked about, if one is.
`observations` are 0..O-1, one more than there are `actions`, 0..A-1: the last is seen at the end. `labels` say what
the expert would do at each step: an action, a list of A probabilities, or null where nobody knows; left out, nothing is
learnt from that episode, which is only read. Episodes may differ in length; no field may be missing otherwise.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.storage import whole, write_text
from jaxdm.sft.data import Item, Sequence, Setting
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.validation import (
    InvalidInput,
    boolean_array,
    integer,
    positive_integer,
    real_array,
    record,
    require,
    shown,
)

CHUNK = 500
"""Sequences that are gathered at once."""


LABEL_SUM = 1e-4
"""How far the sum of a label's probabilities may be from one: text has few digits."""


class Stored(NamedTuple):
    """Sequences to train on, of which only the first are used; how many is data, so that fewer need no new program."""

    sequences: Sequence  # leading axes [S, N]
    used: jax.Array  # [] int32, how many


def store(sequences: Sequence, count: int | None = None) -> Stored:
    """The first `count` of the sequences, or all, to train on.

    Raises:
        InvalidInput: what are no sequences, or a count outside 1..S.
    """
    record("sequences", sequences, Sequence)
    held = sequences.action.shape[0]
    count = held if count is None else positive_integer("count", count, at_most=held)
    return Stored(sequences=sequences, used=jnp.int32(count))


def gather(key: jax.Array, setting: Setting, pool: Task, item: Item, supports: int, count: int) -> Sequence:
    """Sequences of tasks drawn uniformly from a pool, in numpy arrays; the first of more are those of fewer.

    Args:
        key: random key.
        setting: kind of world.
        pool: leading axis [tasks].
        item: what a sequence is, e.g. `jaxdm.sft.data.expert_sequence`.
        supports: K, episodes before the last.
        count: S.

    Returns:
        Sequence with leading axes [S, N].

    Raises:
        InvalidInput: count < 1 or supports < 0.
    """
    supports = integer("supports", supports, 0)
    return in_chunks(key, items(setting, item, supports), pool, count)


def in_chunks(key: jax.Array, draw: Callable[[jax.Array, Any], Sequence], data: Any, count: int) -> Sequence:
    """`draw(key, data)` many times, in numpy arrays with leading axis [count].

    Args:
        key: random key.
        draw: compiled once for each such function and size of the data.
        data: what is drawn from.
        count: sequences.

    Raises:
        InvalidInput: count < 1.
    """
    count = positive_integer("count", count)
    parts = []
    for first in range(0, count, CHUNK):
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(first, first + CHUNK))
        parts.append(jax.device_get(_draw_chunk(draw, keys, data)))
    return jax.tree.map(lambda *part: np.concatenate(part)[:count], *parts)


@functools.partial(jax.jit, static_argnums=0)
def _draw_chunk(draw: Callable[[jax.Array, Any], Sequence], keys: jax.Array, data: Any) -> Sequence:
    return jax.vmap(draw, in_axes=(0, None))(keys, data)


@functools.cache
def items(setting: Setting, item: Item, supports: int) -> Callable[[jax.Array, Task], Sequence]:
    """One object for the same arguments, so that it is compiled once."""

    def draw(key: jax.Array, pool: Task) -> Sequence:
        key_task, key_item = jax.random.split(key)
        index = jax.random.randint(key_task, (), 0, pool.bound.shape[0])
        return item(key_item, setting, jax.tree.map(lambda x: x[index], pool), supports)

    return draw


def write(path: Path, sequences: Sequence) -> Path:
    """Write sequences [S, N] to a `.npz` or a `.jsonl` file.

    Raises:
        InvalidInput: another ending, or what are no sequences.
    """
    path = _named_format(path)
    record("sequences", sequences, Sequence)
    if path.suffix == ".jsonl":
        rows = (jax.tree.map(lambda x, n=n: np.asarray(x)[n], sequences) for n in range(sequences.action.shape[0]))
        return write_text(path, "".join(json.dumps(_as_line(row)) + "\n" for row in rows))
    with whole(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **sequences._asdict())
    return path


def read(path: Path, spaces: Spaces) -> Sequence:
    """Read sequences of these sizes from a `.npz` or a `.jsonl` file, numpy arrays with leading axes [S, N].

    Raises:
        InvalidInput: another ending, no such file, no sequence, or one that is not as this module's docstring says; of
            a `.jsonl` file the line is named.
    """
    path = _named_format(path)
    if not path.is_file():
        raise InvalidInput(f"path: {path} is no file; expected stored sequences")
    sequences = _FORMATS[path.suffix](path, spaces)
    if sequences.action.shape[0] == 0:
        raise InvalidInput(f"path: {path} holds no sequence; expected at least one")
    return sequences


def _named_format(path: Any) -> Path:
    if not isinstance(path, (str, Path)) or Path(path).suffix not in _FORMATS:
        raise InvalidInput(f"path: {shown(path)}; expected a name that ends in {' or '.join(_FORMATS)}")
    return Path(path)


def _read_npz(path: Path, spaces: Spaces) -> Sequence:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = Sequence(**{name: archive[name] for name in Sequence._fields})
    except Exception as error:
        raise InvalidInput(f"path: {path} cannot be read ({error}); expected {', '.join(Sequence._fields)}") from error
    shape = found.action.shape
    for name, value in found._asdict().items():
        wanted = (*shape, spaces.actions) if name == "label" else shape
        if len(shape) != 2 or value.shape != wanted:
            raise InvalidInput(
                f"{name}: shape {value.shape} in {path}; expected [S, N], and [S, N, {spaces.actions}] of labels"
            )
    sizes = {"observation": spaces.observations, "next_observation": spaces.observations, "action": spaces.actions}
    for name, size in sizes.items():
        _check_indices(f"{name} in {path}", getattr(found, name).reshape(-1), size)
    for name in ("reward", "label"):
        real_array(f"{name} in {path}", getattr(found, name))
    for name in ("start", "mask"):
        boolean_array(f"{name} in {path}", getattr(found, name))
    told = found.label[found.mask]
    require(f"label in {path}", told >= 0, told, "probabilities >= 0")
    require(f"label in {path}", np.abs(told.sum(axis=-1) - 1) <= LABEL_SUM, told.sum(axis=-1), "rows that sum to one")
    return found


def _read_jsonl(path: Path, spaces: Spaces) -> Sequence:
    rows = []
    # A text of JSON may hold what str.splitlines takes for the end of a line, such as U+2028.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(_from_line(json.loads(line), spaces))
        except (ValueError, TypeError, KeyError) as error:
            told = f"{error}" if isinstance(error, InvalidInput) else f"no sequence ({error})"
            raise InvalidInput(f"{path}, line {number}: {told}") from error
    length = max((len(row.action) for row in rows), default=0)

    def padded(*parts: np.ndarray) -> np.ndarray:
        return np.stack([np.pad(part, [(0, length - len(part))] + [(0, 0)] * (part.ndim - 1)) for part in parts])

    if not rows:
        raise InvalidInput(f"path: {path} holds no sequence; expected at least one")
    return jax.tree.map(padded, *rows)


def _text(path: Path) -> str:
    """What a file of UTF-8 holds, a byte-order mark left out."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{path}, line {line}: byte {error.object[error.start]:#x}; expected UTF-8") from error


_FORMATS: Mapping[str, Callable[[Path, Spaces], Sequence]] = {".npz": _read_npz, ".jsonl": _read_jsonl}


def _as_line(row: Sequence) -> dict[str, Any]:
    """A sequence [N] as an entry of a `.jsonl` file; what is padded after the last episode is left out."""
    read = np.any(row.label > 0, axis=-1) | row.mask
    used = int(np.max(np.nonzero(read)[0], initial=-1)) + 1
    begins = [n for n in range(used) if row.start[n]]
    episodes = []
    for first, last in zip(begins, [*begins[1:], used], strict=True):
        part = jax.tree.map(lambda x, a=first, b=last: x[a:b], row)
        known = [_as_label(p) if told else None for p, told in zip(part.label, part.mask, strict=True)]
        episodes.append(
            {
                "observations": [*map(int, part.observation), int(part.next_observation[-1])],
                "actions": [*map(int, part.action)],
                "rewards": [*map(float, part.reward)],
                "labels": known,
            }
        )
    return {"episodes": episodes}


def _as_label(probabilities: np.ndarray) -> int | list[float]:
    best = int(np.argmax(probabilities))
    return best if probabilities[best] == 1 else [float(p) for p in probabilities]


def _from_line(entry: Any, spaces: Spaces) -> Sequence:
    """The sequence [N] of an entry of a `.jsonl` file."""
    episodes = entry.get("episodes") if isinstance(entry, dict) else None
    if not isinstance(episodes, list) or not episodes:
        raise InvalidInput('expected an object with "episodes", a list of at least one')
    return jax.tree.map(lambda *parts: np.concatenate(parts), *(_from_episode(episode, spaces) for episode in episodes))


def _from_episode(episode: Any, spaces: Spaces) -> Sequence:
    if not isinstance(episode, dict):
        raise InvalidInput(f"episode: {episode!r}; expected an object")
    missing = {"observations", "actions", "rewards"} - set(episode)
    if missing:
        raise InvalidInput(f"episode: no {sorted(missing)[0]!r}; expected observations, actions, rewards")
    actions = _check_indices("actions", episode["actions"], spaces.actions)
    observations = _check_indices("observations", episode["observations"], spaces.observations)
    rewards = _row("rewards", episode["rewards"])
    steps = len(actions)
    if steps < 1 or len(observations) != steps + 1 or rewards.shape != (steps,):
        raise InvalidInput(
            f"episode: {len(observations)} observations, {steps} actions, {rewards.size} rewards; expected T + 1, T, T"
        )
    labels = episode.get("labels") or [None] * steps
    if len(labels) != steps:
        raise InvalidInput(f"labels: {len(labels)}; expected one for each of the {steps} actions")
    known = np.asarray([label is not None for label in labels])
    fields: dict[str, Any] = {
        "observation": observations[:-1],
        "action": actions,
        "reward": rewards,
        "next_observation": observations[1:],
        "start": np.arange(steps) == 0,
        "label": np.stack([_from_label(label, spaces.actions) for label in labels]),
        "mask": known,
    }
    return Sequence(**fields)


def _from_label(label: Any, actions: int) -> np.ndarray:
    if label is None:
        return np.full(actions, 1 / actions, np.float32)
    if isinstance(label, list):
        row = _row("labels", label)
        if row.shape != (actions,) or not np.all(row >= 0) or abs(row.sum() - 1) > LABEL_SUM:
            raise InvalidInput(f"labels: {label}; expected {actions} probabilities that sum to one")
        return row
    return np.eye(actions, dtype=np.float32)[_check_indices("labels", [label], actions)[0]]


def _row(name: str, values: Any) -> np.ndarray:
    """A list of numbers of JSON, which are no words and no truth values."""
    if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
        raise InvalidInput(f"{name}: {shown(values)}; expected a list of numbers")
    return np.asarray(real_array(name, values, dtype=np.float32)) if values else np.zeros(0, np.float32)


def _check_indices(name: str, values: Any, size: int) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise InvalidInput(f"{name}: {values!r}; expected a list of integers")
    wrong = (found < 0) | (found >= size)
    if np.any(wrong):
        raise InvalidInput(f"{name}: {found[wrong][0]}; expected integers in 0..{size - 1}")
    return found.astype(np.int32)
