"""Planning in larger POMDPs: heuristic search that closes the gap between a real policy's value and an upper bound.

Dimensions: `S` states, `A` actions, `O` observations, `D` steps of a trial.

A trial follows, from the first belief, the action best by the upper bound and the observation whose belief has most to
settle, and tightens the bounds at every belief on the way there and back.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles.pomdp.alpha_vectors import AlphaPolicy
from jaxdm.oracles.pomdp.belief import horizon_errors, relative_error
from jaxdm.oracles.pomdp.bounds import Bounds, initial_bounds, look, lower_bound, tighten, upper_bound
from jaxdm.types import Certificate

ENDLESS_DEPTH = 200
"""Most steps of a trial when the horizon is endless."""


CHUNK = 4
"""Trials between two looks at the clock and the gap."""


class PointBasedPlan(NamedTuple):
    """A policy, and certified bounds on the optimal value: `lower <= V^policy` and `V* <= upper`, rounding included.

    The values are expected over the first observation. `certificate.bound` is `upper - lower`, `iterations` the trials.
    """

    lower: jax.Array  # []
    upper: jax.Array  # []
    policy: AlphaPolicy
    bounds: Bounds
    certificate: Certificate


class _Trial(NamedTuple):
    bounds: Bounds
    path: jax.Array  # [D, S] beliefs on the way down
    step: jax.Array  # [] int32, -1 when back
    belief: jax.Array  # [S] the next one on the way down
    target: jax.Array  # [] gap that is small enough at this step
    down: jax.Array  # [] bool


def solve(
    pomdp: POMDP,
    horizon: int | None = None,
    *,
    tolerance: float = 0.0,
    relative: float = 0.01,
    trials: int = 1000,
    seconds: float = float("inf"),
    capacity: int = 128,
) -> PointBasedPlan:
    """Search until `upper - lower <= max(tolerance, relative |lower|)`, or until a budget is spent.

    Runs on the host and doubles the room for vectors and points as they fill up; `improve` is the form for jit and
    vmap. Rounding is certified in the POMDP's float type: gaps below about 1 % ask for float64.

    Args:
        pomdp: the world; discount < 1 when the horizon is endless.
        horizon: H; endless when left out.
        tolerance: wanted gap in reward units.
        relative: wanted gap as a part of the value.
        trials: most trials.
        seconds: most time, compilation included, to the end of the trials then running.
        capacity: vectors and points to make room for at first, at least A.

    Returns:
        PointBasedPlan; its certificate says which gap was reached.

    Raises:
        ValueError: a bad POMDP, discount 1 without a horizon, horizon < 1, no trials, or a negative gap.

    Reference: Smith, Simmons, Heuristic search value iteration for POMDPs, UAI 2004.
    """
    if trials < 1 or tolerance < 0 or relative < 0:
        raise ValueError(
            f"trials: {trials}, tolerance: {tolerance}, relative: {relative}; expected trials >= 1, and gaps >= 0"
        )
    _check(pomdp, horizon)
    end = time.perf_counter() + seconds
    start = jax.jit(initial_bounds, static_argnums=(1, 2))
    search = jax.jit(improve, static_argnums=(3, 4))
    ends = jax.jit(root_bounds)
    bounds, done = start(pomdp, horizon, max(capacity, pomdp.reward.shape[1])), 0
    pad = jax.jit(rounding_pad, static_argnums=1)(pomdp, horizon)
    while True:
        lower, upper = (float(x) for x in ends(pomdp, bounds))
        goal = max(tolerance, relative * abs(lower))
        if upper - lower + 2 * float(pad) <= goal or done >= trials or time.perf_counter() > end:
            break
        # Half of the goal: rounding and the mean over first observations must fit below it too.
        bounds = search(pomdp, bounds, jnp.asarray(goal / 2, pomdp.reward.dtype), horizon, CHUNK)
        done += CHUNK
        used, room = int(max(bounds.vectors.max(), bounds.points.max())), bounds.drop.shape[1]
        bounds = _grown(bounds) if used > 3 * room // 4 else bounds
    return _plan(pomdp, bounds, pad, done)


def improve(pomdp: POMDP, bounds: Bounds, tolerance: jax.Array, horizon: int | None, trials: int) -> Bounds:
    """Tighten bounds by a number of trials.

    Args:
        pomdp: the world.
        bounds: from `initial_bounds` or an earlier call, for the same horizon.
        tolerance: [] a trial ends where `upper - lower <= tolerance / gamma^t`.
        horizon: H; endless when None.
        trials: how many.

    Returns:
        Bounds, nowhere worse.
    """
    depth = ENDLESS_DEPTH if horizon is None else horizon
    chance, roots = first_beliefs(pomdp)

    def visit(trial: _Trial) -> _Trial:
        """Tighten the bounds at one belief; then one step down, or from where all is settled one step up."""
        step = trial.step
        layer, ahead = (0, 0) if horizon is None else (step, step + 1)
        belief = jnp.where(trial.down, trial.belief, trial.path[step])
        seen = look(pomdp, trial.bounds, ahead, belief)
        bounds = tighten(pomdp, trial.bounds, layer, ahead, belief, seen)
        action = jnp.argmax(seen.upper_q)
        gap, chance = seen.upper[action] - seen.lower[action], seen.chance[action]
        target = trial.target / pomdp.discount
        after = jnp.argmax(jnp.where(chance > 0, chance * (gap - target), -jnp.inf))
        down = trial.down & (step + 1 < depth) & (gap[after] > target)
        return _Trial(
            bounds=bounds,
            path=trial.path.at[step].set(belief),
            step=jnp.where(down, step + 1, step - 1),
            belief=seen.belief[action, after],
            target=target,
            down=down,
        )

    def run(bounds: Bounds, _: None) -> tuple[Bounds, None]:
        gap = upper_bound(bounds, 0, roots) - lower_bound(bounds, 0, roots)[0]
        root = jnp.argmax(chance * (gap - tolerance))
        start = _Trial(
            bounds=bounds,
            path=jnp.zeros((depth, roots.shape[1]), roots.dtype),
            step=jnp.where(gap[root] > tolerance, 0, -1),
            belief=roots[root],
            target=tolerance,
            down=jnp.bool_(True),
        )
        return jax.lax.while_loop(lambda trial: trial.step >= 0, visit, start).bounds, None

    return jax.lax.scan(run, bounds, None, length=trials)[0]


def first_beliefs(pomdp: POMDP) -> tuple[jax.Array, jax.Array]:
    """The chance of each first observation [O] and the belief after it [O, S]."""
    joint = (pomdp.initial[:, None] * pomdp.initial_observation).T
    chance = jnp.sum(joint, axis=-1)
    belief = joint / jnp.where(chance > 0, chance, 1)[:, None]
    return chance, jnp.where(chance[:, None] > 0, belief, pomdp.initial[None])


def root_bounds(pomdp: POMDP, bounds: Bounds) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bound expected over the first observation, but for rounding; two []."""
    chance, roots = first_beliefs(pomdp)
    lower, upper = lower_bound(bounds, 0, roots)[0], upper_bound(bounds, 0, roots)
    return jnp.sum(chance * lower), jnp.sum(chance * upper)


def rounding_pad(pomdp: POMDP, horizon: int | None) -> jax.Array:
    """How far rounding can have carried a bound of the first layer: see `jaxdm.oracles.pomdp.belief`."""
    widest = jnp.max(jnp.sum(pomdp.transition, axis=-1)) * jnp.max(jnp.sum(pomdp.observation, axis=-1))
    factor = pomdp.discount * jnp.maximum(widest, 1)
    reward = jnp.max(jnp.abs(pomdp.reward))
    kappa = 2 * relative_error(pomdp, pomdp.reward.dtype)  # twice: the sawtooth sums over the states once more
    if horizon is not None:
        return horizon_errors(reward, factor, kappa, horizon)[1][0]
    return jnp.where(factor < 1, kappa * reward / jnp.square(jnp.maximum(1 - factor, 0)), jnp.inf)


def _plan(pomdp: POMDP, bounds: Bounds, pad: jax.Array, trials: int) -> PointBasedPlan:
    lower, upper = root_bounds(pomdp, bounds)
    gap = upper - lower + 2 * pad
    layers = slice(0, max(bounds.action.shape[0] - 1, 1))
    policy = AlphaPolicy(vector=bounds.vector[layers], action=bounds.action[layers], pomdp=pomdp)
    certificate = Certificate(residual=upper - lower, bound=gap, iterations=jnp.int32(trials))
    return PointBasedPlan(lower=lower - pad, upper=upper + pad, policy=policy, bounds=bounds, certificate=certificate)


def _grown(bounds: Bounds) -> Bounds:
    """The same bounds with twice the room."""

    def double(x: jax.Array, fill: jax.Array) -> jax.Array:
        return jnp.concatenate([x, jnp.broadcast_to(fill, x.shape)], axis=1)

    return bounds._replace(
        vector=double(bounds.vector, bounds.vector[:, :1]),
        action=double(bounds.action, bounds.action[:, :1]),
        point=double(bounds.point, bounds.point[:, :1]),
        drop=double(bounds.drop, jnp.zeros_like(bounds.drop)),
    )


def _check(pomdp: POMDP, horizon: int | None) -> None:
    validate(pomdp)
    if pomdp.transition.ndim != 3:
        raise ValueError(f"transition: shape {pomdp.transition.shape}; expected [S, A, S], one POMDP at a time")
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    if horizon is None and not float(pomdp.discount) < 1:
        raise ValueError(f"discount: {pomdp.discount}; expected a number below 1 for an endless horizon")
