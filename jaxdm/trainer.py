"""Training: a pure, fused loop of gradient steps, and a host loop around it that can be killed and resumed bit for bit.

Every step's randomness is `fold_in(key, step)`, so a run depends on its key alone and not on where it was interrupted.
Callers put seeds on a leading axis: `jax.vmap(trainer.init)(keys, params)`.
"""

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from jaxdm import random
from jaxdm.analysis.storage import as_plain
from jaxdm.types import Tree
from jaxdm.validation import check_sizes


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
    if not 0 < rate < math.inf:
        raise ValueError(f"rate: {rate}; expected a finite positive number")
    for name, fraction in (("warmup", warmup), ("floor", floor)):
        if not 0 <= fraction <= 1:
            raise ValueError(f"{name}: {fraction}; expected a number in [0, 1]")
    if not 0 <= decay < math.inf:
        raise ValueError(f"decay: {decay}; expected a finite number, at least 0")
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
) -> Fit:
    """Run a batch of seeds to `steps`, a compiled chunk at a time, resuming from `folder` where a run was cut off.

    A checkpoint is whole or absent, and holds the losses so far: a resumed run gives the same bits as an unbroken one.

    Args:
        trainer: from `make`.
        state: leading axis [seeds], at step 0.
        data: what the loss draws from, shared by all seeds.
        steps: gradient steps.
        every: steps of a chunk.
        folder: where checkpoints lie; none are kept when left out.
        spacing: seconds, at least, from one checkpoint to the next; one is written after a chunk, and after the last.
        identity: what the run is (configuration); a checkpoint of another run is refused.
        progress: called after each chunk with the steps done and the mean loss of the chunk.

    Returns:
        Fit.

    Raises:
        ValueError: `folder` holds a checkpoint that is damaged or belongs to another run.
    """
    run = _compiled(trainer.run)
    losses, seconds = np.zeros((state.step.shape[0], 0), np.float32), 0.0
    state = _copy(state)  # the chunks consume their argument, which is the caller's
    with _Checkpoints(folder, identity) as checkpoints:
        restored = checkpoints.restore(state)
        if restored is not None:
            state, losses, seconds = restored
        saved = time.perf_counter()
        while (done := losses.shape[1]) < steps:
            start = time.perf_counter()
            state, chunk = run(state, data, min(every, steps - done))
            losses = np.concatenate([losses, np.asarray(chunk)], axis=1)
            seconds += time.perf_counter() - start
            if losses.shape[1] == steps or time.perf_counter() - saved >= spacing:
                checkpoints.save(Fit(state=state, losses=losses, seconds=seconds))
                saved = time.perf_counter()
            progress(losses.shape[1], float(chunk.mean()))
    return Fit(state=state, losses=losses, seconds=seconds)


@jax.jit
def _copy(tree: Tree) -> Tree:
    return jax.tree.map(jnp.copy, tree)


@functools.lru_cache
def _compiled(one: Callable[[TrainState, Tree, int], tuple[TrainState, jax.Array]]) -> Callable[..., tuple]:
    """One compilation for all runs of trainers that share their loop.

    Seeds are vmapped, but on CPU mapped one after the other: there, batched products of small matrices are slower.
    """
    over_seeds = jax.lax.map if jax.default_backend() == "cpu" else lambda run, state: jax.vmap(run)(state)

    def run(state: TrainState, data: Tree, steps: int) -> tuple[TrainState, jax.Array]:
        return over_seeds(lambda seed: one(seed, data, steps), state)

    return jax.jit(run, static_argnums=2, donate_argnums=0)


class _Checkpoints:
    """The newest checkpoint of a run, through orbax; does nothing without a folder."""

    def __init__(self, folder: Path | None, identity: Any):
        self.folder, self.identity = folder, as_plain(identity)

    def __enter__(self) -> "_Checkpoints":
        if self.folder is not None:
            options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
            self.manager = ocp.CheckpointManager(Path(self.folder).absolute(), options=options)
        return self

    def __exit__(self, *error: object) -> None:
        if self.folder is not None:
            self.manager.close()

    def save(self, reached: Fit) -> None:
        if self.folder is not None:
            tree = _stored(reached)
            items = {"tree": ocp.args.StandardSave(tree), "identity": ocp.args.JsonSave({"identity": self.identity})}
            self.manager.save(reached.losses.shape[1], args=ocp.args.Composite(**items))

    def restore(self, like: TrainState) -> Fit | None:
        if self.folder is None or (step := self.manager.latest_step()) is None:
            return None
        try:
            meta = self.manager.restore(step, args=ocp.args.Composite(identity=ocp.args.JsonRestore()))
            found = meta["identity"]["identity"]
        except Exception as error:
            raise ValueError(
                f"folder: {self.folder} step {step} is damaged ({error}); delete it to start anew"
            ) from error
        if found != self.identity:
            raise ValueError(f"folder: {self.folder} holds a run of {found}; expected {self.identity}")
        losses = np.zeros((like.step.shape[0], step), np.float32)
        template = _stored(Fit(state=like, losses=losses, seconds=0.0))
        try:
            items = self.manager.restore(step, args=ocp.args.Composite(tree=ocp.args.StandardRestore(template)))
            tree = items["tree"]
        except Exception as error:
            raise ValueError(
                f"folder: {self.folder} step {step} is damaged ({error}); delete it to start anew"
            ) from error
        key = jax.random.wrap_key_data(tree["state"].key, impl=jax.random.key_impl(like.key))
        state = tree["state"]._replace(key=key)
        return Fit(state=state, losses=np.asarray(tree["losses"]), seconds=float(tree["seconds"]))


def _stored(reached: Fit) -> dict[str, Tree]:
    """A `Fit` as arrays: keys as their data."""
    state = reached.state._replace(key=jax.random.key_data(reached.state.key))
    return {"state": state, "losses": reached.losses, "seconds": np.float64(reached.seconds)}
