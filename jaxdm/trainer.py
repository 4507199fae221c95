"""Training: a pure, fused loop of gradient steps, and a host loop around it that can be killed and resumed bit for bit.

Every step's randomness is `fold_in(key, step)`, so a run depends on its key alone and not on where it was interrupted.
Callers put seeds, or the points of a sweep, on a leading axis: `jax.vmap(trainer.init)(keys, params)`. It is spread
over all devices of all processes, of which the first writes; a checkpoint goes on with any other number of them.
"""

import contextlib
import functools
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from jaxdm import random, sweep
from jaxdm.analysis import storage
from jaxdm.analysis.storage import as_plain, own_name, write_json
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, RefusedFile, check_sizes, nonnegative_number, positive_number, probability


class TrainState(NamedTuple):
    """All that the future of a run depends on."""

    params: Tree
    optimiser: Tree
    step: jax.Array  # [] int32
    key: jax.Array  # [] key


class Trainer(NamedTuple):
    """Two pure functions.

    Fields:
        init: `(key, params) -> TrainState` at step 0.
        run: `(state, data, steps) -> (state, losses [steps])`, one compiled loop; `steps` is static.
    """

    init: Callable[[jax.Array, Tree], TrainState]
    run: Callable[[TrainState, Tree, int], tuple[TrainState, jax.Array]]


class Fit(NamedTuple):
    """The outcome of a run."""

    state: TrainState  # leading axis [seeds]
    losses: np.ndarray  # [seeds, steps]
    seconds: float  # spent on all seeds together, over all sittings, compilation included


def make(loss: Callable[[Tree, jax.Array, Tree], jax.Array], optimiser: optax.GradientTransformation) -> Trainer:
    """A trainer that minimises `E_key loss(params, key, data)`.

    Args:
        loss: `(params, key, data) -> []`; draws its own batch, so that sampling is compiled into the step. What it
            draws from is an argument: arrays that a loss closes over are constants, which compile slowly.
        optimiser: an optax transformation.
    """

    def init(key: jax.Array, params: Tree) -> TrainState:
        return TrainState(params=params, optimiser=optimiser.init(params), step=jnp.int32(0), key=key)

    def one_step(state: TrainState, data: Tree) -> tuple[TrainState, jax.Array]:
        key = random.fold_in(state.key, state.step)
        value, gradient = jax.value_and_grad(loss)(state.params, key, data)
        updates, inner = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params=params, optimiser=inner, step=state.step + 1, key=state.key), value

    def run(state: TrainState, data: Tree, steps: int) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(lambda state, _: one_step(state, data), state, length=steps)

    return Trainer(init=init, run=run)


def adamw(
    rate: float, steps: int, *, warmup: float = 0.05, floor: float = 0.1, decay: float = 1e-4, hold: int = 1
) -> optax.GradientTransformation:
    """AdamW with clipped gradients, and a rate that rises linearly and then falls along a cosine.

    With `s = step // hold`, the rate is `rate s / rise` before `rise`, and from there to `end`
    `rate (floor + (1 - floor) (1 + cos(pi (s - rise) / (end - rise))) / 2)`. A warm-up takes at least one step and
    leaves at least one: `rise = max(1, warmup steps)`, `end = steps + 1`. Without, `rise = 0` and `end = steps`.

    All arguments are data in the optimiser's state (`optax.inject_hyperparams`): trainers that differ in nothing else
    can run each other's states, and need compiling once.

    Args:
        rate: peak learning rate, > 0.
        steps: length of the run, >= 1, in units of `hold` gradient steps.
        warmup: fraction of the run that the rate takes to rise, in [0, 1].
        floor: fraction of the peak that the rate ends at, in [0, 1].
        decay: decoupled weight decay, >= 0; a step shrinks the weights by `rate decay`.
        hold: gradient steps for which the rate stays as it is, >= 1.

    Raises:
        ValueError: an argument out of its range.

    Reference: Loshchilov, Hutter, Decoupled weight decay regularization, 2019.
    """
    check_sizes(steps=steps, hold=hold)
    positive_number("rate", rate)
    probability("warmup", warmup)
    probability("floor", floor)
    nonnegative_number("decay", decay)
    rise = max(1, int(warmup * steps)) if warmup > 0 else 0
    end = steps + 1 if warmup > 0 else steps
    return _scheduled(rate=rate, decay=decay, rise=float(rise), end=float(end), floor=floor, hold=jnp.int32(hold))


@optax.inject_hyperparams
def _scheduled(rate: Any, decay: Any, rise: Any, end: Any, floor: Any, hold: Any) -> optax.GradientTransformation:
    """`adamw` with a schedule whose numbers may be traced; optax's schedules, which refuse that of their lengths, are
    of length one and read fractions."""
    climb = optax.linear_schedule(0.0, rate, 1)
    fall = optax.cosine_decay_schedule(rate, 1, floor)

    def schedule(count: Any) -> Any:
        step = count // hold
        return jnp.where(step < rise, climb(step / jnp.maximum(rise, 1)), fall((step - rise) / (end - rise)))

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay))


def reset_moments(optimiser: Tree, when: jax.Array | bool = True) -> Tree:
    """The state of an optimiser with Adam's moments as at first, its schedule untouched; as it is where not `when`."""

    def is_adam(node: Any) -> bool:
        return isinstance(node, optax.ScaleByAdamState)

    def reset(node: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.where(when, 0, leaf), node) if is_adam(node) else node

    return jax.tree.map(reset, optimiser, is_leaf=is_adam)


class Interrupted(SystemExit):
    """SIGINT or SIGTERM came; a run, if there was one, ended its chunk and wrote a checkpoint. The code is 128 + it."""


class _Signals:
    """What has been asked of the runs of this process, of which several may go on in threads."""

    def __init__(self):
        self.counting = threading.Lock()
        self.running = 0  # runs that would end by themselves if asked to
        self.asked: int | None = None  # the signal
        self.obeyed = False  # whether anything has ended for it
        self.heard = False  # whether signals are listened to

    def interrupted(self) -> Interrupted:
        self.obeyed = True
        return Interrupted(128 + (self.asked or 0))


_SIGNALS = _Signals()


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """In this block the first SIGINT or SIGTERM ends every `fit`, in any thread, after its chunk and a checkpoint.

    Each raises `Interrupted`. Where nothing is running, and for a second signal, it is raised at once. A `fit` with a
    folder does this by itself; a program with several, or in other threads, puts all of them in one block. Only the
    main thread can listen to signals; in others the block changes nothing.
    """
    if _SIGNALS.heard or threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, _: Any) -> None:
        again, _SIGNALS.asked = _SIGNALS.asked is not None, number
        if again or not _SIGNALS.running:
            raise _SIGNALS.interrupted()

    kept = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    _SIGNALS.heard = True
    try:
        yield
        if _SIGNALS.asked is not None and not _SIGNALS.obeyed:  # it came when the last run had just ended
            raise _SIGNALS.interrupted()
    finally:
        _SIGNALS.heard, _SIGNALS.asked, _SIGNALS.obeyed = False, None, False
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _running() -> Iterator[None]:
    """The part of a run that ends by itself when asked."""
    with ending_on_signals():
        with _SIGNALS.counting:
            _SIGNALS.running += 1
        try:
            yield
        finally:
            with _SIGNALS.counting:
                _SIGNALS.running -= 1


def runs_in_progress() -> int:
    """How many runs of this process are in `fit`: after `Interrupted` from one, whether others still write."""
    return _SIGNALS.running


def fit(
    trainer: Trainer,
    state: TrainState,
    data: Tree,
    steps: int,
    *,
    every: int = 100,
    folder: Path | None = None,
    spacing: float = 10.0,
    identity: Any = None,
    progress: Callable[[int, float], None] = lambda done, loss: None,
    own_data: bool = False,
    devices: Sequence[Any] | None = None,
) -> Fit:
    """Run a batch of seeds to `steps`, a compiled chunk at a time, resuming from `folder` where a run was cut off.

    A checkpoint is whole or absent, and holds the losses so far: a resumed run gives the same bits as an unbroken one.
    It is of this run only if everything that decides it is the same: what the caller says it is, the
    first state (weights, optimiser with its schedule, keys), the data, all their shapes and types, and the program of a
    step, down to its constants, so that a checkpoint of changed code is not read. More steps of the same run go on;
    how they are divided into chunks, and seeds among devices and processes, is not part of it.

    On SIGINT or SIGTERM a run with a folder finishes its chunk and writes a checkpoint, see `ending_on_signals`.

    Where `jax.distributed` runs in several processes, all of them make the same call; each trains its share of the
    seeds, the first writes, and all get the whole result.

    Args:
        trainer: from `make`.
        state: leading axis [seeds], at step 0.
        data: what the loss draws from, shared by all seeds, or of each its own.
        steps: gradient steps, >= 1.
        every: steps of a chunk, >= 1.
        folder: where the checkpoint lies; none is kept when left out.
        spacing: seconds, at least, from one checkpoint to the next; one is written after a chunk, and after the last.
        identity: what the run is (configuration), JSON-like or dataclasses; required where there is a folder.
        progress: called after each chunk with the steps done and the mean loss of the chunk.
        own_data: whether the data have a leading axis [seeds] too.
        devices: that seeds are spread over; all of all processes when left out.

    Returns:
        Fit, on the first device of this process.

    Raises:
        ValueError: a size below one, no identity, or a checkpoint in `folder` that is damaged, belongs to another run
            (the message says in what they differ) or has more steps than are asked for.
        OSError: a checkpoint could not be written; the one before is untouched.
        Interrupted: a signal came.
    """
    check_sizes(steps=steps, every=every)
    if not spacing >= 0:
        raise InvalidInput(f"spacing: {spacing}; expected seconds, at least 0")
    seeds = state.step.shape[0]
    mesh = sweep.device_mesh(seeds, devices)
    run = _compiled(trainer.run, mesh, own_data)
    losses, seconds = np.zeros((seeds, 0), np.float32), 0.0
    state = _copy(state)  # the chunks consume their argument, which is the caller's
    checkpoint = None
    if folder is not None:
        alone = _compiled(trainer.run, sweep.device_mesh(1, jax.local_devices()), own_data)
        checkpoint = _Checkpoint(folder, alone, state, data, identity)
        if (restored := checkpoint.restore(state, steps)) is not None:
            state, losses, seconds = restored
    state = sweep.spread(state, mesh)
    data = sweep.spread(data, mesh) if own_data else sweep.replicated(data, mesh)
    with contextlib.nullcontext() if checkpoint is None else _running():
        saved = time.perf_counter()
        while (done := losses.shape[1]) < steps:
            start = time.perf_counter()
            state, chunk = run(state, data, min(every, steps - done))
            chunk = np.asarray(sweep.gathered(chunk, seeds, mesh))
            losses = np.concatenate([losses, chunk], axis=1)
            seconds += time.perf_counter() - start
            due = sweep.agreed(time.perf_counter() - saved >= spacing or losses.shape[1] == steps)
            if checkpoint is not None and due:
                checkpoint.save(Fit(state=sweep.gathered(state, seeds, mesh), losses=losses, seconds=seconds))
                saved = time.perf_counter()
            progress(losses.shape[1], float(chunk.mean()))
            if checkpoint is not None and (asked := sweep.agreed(_SIGNALS.asked or 0)):
                if not due:
                    checkpoint.save(Fit(state=sweep.gathered(state, seeds, mesh), losses=losses, seconds=seconds))
                _SIGNALS.asked = asked  # of another process, perhaps
                raise _SIGNALS.interrupted()
    return Fit(state=sweep.gathered(state, seeds, mesh), losses=losses, seconds=seconds)


def footprint(
    trainer: Trainer,
    state: TrainState,
    data: Tree,
    steps: int,
    *,
    own_data: bool = False,
    devices: Sequence[Any] | None = None,
) -> int:
    """Bytes that a chunk of `fit` takes on each device: its program is compiled, which `fit` then need not do.

    Args:
        trainer: as in `fit`.
        state: likewise; shapes suffice.
        data: likewise.
        steps: of the chunk.
        own_data: as in `fit`.
        devices: likewise.
    """
    seeds = jax.tree.leaves(state)[0].shape[0]
    mesh = sweep.device_mesh(seeds, devices)
    points, shared = sweep.shapes(state, mesh), sweep.shapes(data, mesh, shared=not own_data)
    return sweep.footprint(_compiled(trainer.run, mesh, own_data).lower(points, shared, steps).compile())


@jax.jit
def _copy(tree: Tree) -> Tree:
    """A tree of its own; numbers have their types for good, as those that are read from a checkpoint."""

    def copy(leaf: jax.Array) -> jax.Array:
        return jnp.copy(leaf) if _is_key(leaf) else jax.lax.convert_element_type(jnp.copy(leaf), leaf.dtype)

    return jax.tree.map(copy, tree)


@functools.lru_cache
def _compiled(one: Callable[[TrainState, Tree, int], tuple[TrainState, jax.Array]], mesh: Mesh, own_data: bool) -> Any:
    """One compilation for all runs of trainers that share their loop."""

    def run(state: TrainState, data: Tree, steps: int) -> tuple[TrainState, jax.Array]:
        if own_data:
            return sweep.over_points(lambda seed, _: one(seed[0], seed[1], steps), mesh)((state, data), ())
        return sweep.over_points(lambda seed, data: one(seed, data, steps), mesh)(state, data)

    return jax.jit(run, static_argnums=2, donate_argnums=0)


CHECKPOINT, ARRAYS = "checkpoint.json", "arrays"
"""In a run's folder: the file that says of which run the checkpoint is, and names the folder that orbax wrote for it.

Renaming the file into its place is what makes a checkpoint: before, the one it replaces is whole, and after, it."""


CHECKPOINT_FORMAT = 2
"""Of a checkpoint; those of another format are refused."""


@functools.lru_cache
def _text_digest(run: Any, structure: Any, *shapes: jax.ShapeDtypeStruct) -> str:
    """Of the lowered program of one step; seeds and stages that share a program share its lowering."""
    return hashlib.sha256(run.lower(*jax.tree.unflatten(structure, shapes), 1).as_text().encode()).hexdigest()


class _Checkpoint:
    """The newest checkpoint of a run, and what says that it is of this run."""

    def __init__(self, folder: Path, run: Any, state: TrainState, data: Tree, identity: Any):
        if identity is None:
            raise InvalidInput("identity: None; expected what the run is, such as its configuration, beside a folder")
        self.folder = Path(folder).absolute()
        self.path = self.folder / CHECKPOINT
        self.orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler(), **_alone())
        # As it would be read again: tuples are lists, and the order of names is lost.
        self.identity = json.loads(json.dumps(as_plain({"identity": identity}), sort_keys=True))["identity"]
        leaves = jax.tree.leaves_with_path(state)
        self.types = {f"state{jax.tree_util.keystr(path)}": _type(_key_data(leaf)) for path, leaf in leaves}
        self.first, self.data = _digest(state), data
        shapes = jax.eval_shape(lambda *trees: trees, state, data)  # the state will be consumed
        leaves, structure = jax.tree.flatten(shapes)
        self.program = functools.partial(_text_digest, run, structure, *leaves)

    @functools.cached_property
    def marks(self) -> dict[str, str]:
        """Fingerprints of what cannot be written out."""
        return {"first state": self.first, "data": _digest(self.data), "program of a step": self.program()}

    def save(self, reached: Fit) -> None:
        """Write a checkpoint in the place of the last.

        Raises:
            OSError: nothing could be written; the last one is untouched.
        """
        name = own_name(ARRAYS)
        run = {
            "format": CHECKPOINT_FORMAT,
            "identity": self.identity,
            "types": self.types,
            "marks": self.marks,
            "steps": reached.losses.shape[1],
            "arrays": name,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }
        if jax.process_index() > 0:
            return
        try:
            self.orbax.save(self.folder / name, args=ocp.args.StandardSave(_stored(reached)))
        except Exception as error:  # orbax has many names for a full disk
            raise OSError(f"folder: {self.folder} takes no checkpoint ({error}); the last one is untouched") from error
        write_json(self.path, run | {"checksum": _checksum(self.folder / name)})
        storage.sweep(self.folder, ARRAYS, current=name)

    def restore(self, like: TrainState, steps: int) -> Fit | None:
        """What was saved, if anything.

        Raises:
            ValueError: as `fit`.
        """
        if not self.path.exists():
            return None
        try:
            run = json.loads(self.path.read_text())
            found = run["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error
        if found != CHECKPOINT_FORMAT:
            raise RefusedFile(
                f"folder: {self.path} has format {found}; expected {CHECKPOINT_FORMAT}, or another folder"
            )
        self._check(run)
        if run["steps"] > steps:
            raise RefusedFile(f"steps: {steps}; expected at least {run['steps']}, which {self.path} holds of this run")
        losses = np.zeros((like.step.shape[0], run["steps"]), np.float32)
        template = _stored(Fit(state=like, losses=losses, seconds=0.0))
        if _checksum(self.folder / run["arrays"]) != run["checksum"]:
            raise self._unreadable(f"the files in {run['arrays']} are not those that were written")
        try:
            stored = self.orbax.restore(self.folder / run["arrays"], args=ocp.args.StandardRestore(template))
        except Exception as error:  # of another version of orbax, say
            raise self._unreadable(error) from error
        state = jax.tree.map(_as_leaf, stored["state"], like)
        return Fit(state=state, losses=np.asarray(stored["losses"]), seconds=float(stored["seconds"]))

    def _unreadable(self, reason: Exception | str) -> RefusedFile:
        return RefusedFile(
            f"folder: {self.path} cannot be read ({reason}); expected a whole checkpoint, or another folder"
        )

    def _check(self, run: dict[str, Any]) -> None:
        """Refuse a checkpoint of another run, by the first thing in which it differs.

        Raises:
            ValueError: it is of another run.
        """
        where = f"folder: {self.path} holds another run"
        for name, theirs, ours in _differences("identity", run["identity"], self.identity):
            raise RefusedFile(f"{where}, of {name} = {theirs}; expected {name} = {ours}")
        for name in sorted({*run["types"], *self.types}):
            theirs, ours = run["types"].get(name, "nothing"), self.types.get(name, "nothing")
            if theirs != ours:
                raise RefusedFile(f"{where}, in which {name} is {theirs}; expected {ours}")
        made = (run["jax"], run["device"])
        here = (jax.__version__, jax.devices()[0].device_kind)
        by = f" (by jax {made[0]} on {made[1]}, here jax {here[0]} on {here[1]})" if made != here else ""
        for name, ours in self.marks.items():
            if run["marks"][name] != ours:
                raise RefusedFile(f"{where}, whose {name} differs{by}; expected the same {name}, or another folder")


def _alone() -> dict[str, Any]:
    """Options of a checkpointer that waits for no other process."""
    here = jax.process_index()
    if jax.process_count() == 1:
        return {}
    options = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process {here}"
    )
    return {"multiprocessing_options": options}


def _stored(reached: Fit) -> dict[str, Tree]:
    """A `Fit` as orbax takes it: keys as their data."""
    state = jax.tree.map(_key_data, reached.state)
    if jax.process_count() > 1:  # arrays of one process alone are not orbax's
        state = jax.tree.map(np.asarray, state)
    return {"state": state, "losses": reached.losses, "seconds": np.float64(reached.seconds)}


def _checksum(folder: Path) -> str:
    """A fingerprint of every file in a folder; what is missing or cut off changes it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _differences(name: str, theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two values of JSON types differ: names, and what each has there."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from _differences(f"{name}.{key}", theirs.get(key, "nothing"), ours.get(key, "nothing"))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(f"{name}[{index}]", *pair)
    elif theirs != ours and not (theirs != theirs and ours != ours):  # NaN is NaN
        yield name, theirs, ours


def _digest(tree: Tree) -> str:
    """A fingerprint of every bit of a tree: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(_key_data(leaf))
        digest.update(f"{jax.tree_util.keystr(path)} {_type(array)} ".encode())
        digest.update(np.asarray(array, order="C").tobytes())
    return digest.hexdigest()


def _type(array: np.ndarray | jax.Array) -> str:
    return f"{array.dtype.name}{list(array.shape)}"


def _key_data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _as_leaf(stored: jax.Array, like: jax.Array) -> jax.Array:
    """A stored array as the leaf it was: a key again where that is one."""
    return jax.random.wrap_key_data(stored, impl=jax.random.key_impl(like)) if _is_key(like) else stored
