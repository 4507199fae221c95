"""What is best in a bandit: Gittins indices, Bayes-optimal play for short horizons, and regret.

Dimensions: `K` arms, `T` rounds, `N` plays of one arm. Beliefs are Beta distributions of Bernoulli arms.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import validation
from jaxdm.envs.bandit import Bandit, best_available, may_play, means_at
from jaxdm.types import Agent, Certificate, Transition
from jaxdm.validation import InvalidInput, is_concrete, require

LARGEST_TABLE = 4_000_000
"""Beliefs beyond which `bayes_plan` refuses."""


class Gittins(NamedTuple):
    """A Gittins index per round, and what is guaranteed of it."""

    value: jax.Array  # [] reward units per play
    certificate: Certificate


class BayesPlan(NamedTuple):
    """Optimal play in every belief; axes are successes and failures of arm 0, of arm 1, ..., each 0..T."""

    value: jax.Array  # [T+1] * 2K expected reward of the remaining rounds; zero where more than T plays are counted
    policy: jax.Array  # [T+1] * 2K int32, the lowest of equally good arms up to rounding
    certificate: Certificate


class BayesMemory(NamedTuple):
    """Successes and failures so far; -1 for all once a reward was neither 0 nor 1."""

    counts: jax.Array  # [K, 2] int32


def pseudo_regret(bandit: Bandit, actions: jax.Array) -> jax.Array:
    """`sum_{s<=t} max_a mu_s(a) - mu_s(a_s)` over the available arms: against the best arm of each round.

    Args:
        bandit: the instance; where it does not drift this is the regret against the best arm.
        actions: [T] arms.

    Returns:
        [T] reward units; NaN from the first action on that is no available arm.

    Raises:
        ValueError: another shape, or, where nothing is traced, an action that is no available arm.
    """
    actions = validation.integer_array("actions", actions, "T", at_least=-1)
    allowed = may_play(bandit, actions)
    if is_concrete(bandit, actions):
        require("actions", allowed, actions, "available arms")
    means = means_at(bandit, jnp.arange(actions.shape[0]))
    best = jnp.max(jnp.where(bandit.available, means, -jnp.inf), axis=-1)
    gained = jnp.take_along_axis(means, actions[:, None], axis=-1)[:, 0]
    return jnp.cumsum(jnp.where(allowed, best - gained, jnp.nan))


def gittins_index(successes: Any, failures: Any, discount: Any, plays: int = 300) -> Gittins:
    """The sure reward rate l that is as good as a Beta(successes, failures) arm which one may leave for it at any time.

    `l` solves `l / (1 - g) = C(l)`, `C = p + g E[V]`, `V = max(l / (1 - g), C)`, by bisection. After `plays` plays the
    arm is kept or left for ever, which loses at most `g^plays / (1 - g)` of C, and no more of l, as `C - l / (1 - g)`
    falls at least as fast as l grows.

    Args:
        successes: [] first parameter of the belief, positive.
        failures: [] second parameter, positive.
        discount: [] g in [0, 1).
        plays: N, where the belief tree ends.

    Returns:
        Gittins; the bound covers truncation, bisection and rounding.

    Raises:
        ValueError: a parameter that is not positive, a discount outside [0, 1), or plays < 1.

    Reference: Gittins, Bandit processes and dynamic allocation indices, 1979; tables in Gittins, Glazebrook, Weber,
        Multi-armed Bandit Allocation Indices, 2011, chapter 8.
    """
    validation.positive_number("successes", successes)
    validation.positive_number("failures", failures)
    validation.number("discount", discount, lambda x: 0 <= x < 1, "a number in [0, 1)")
    plays = validation.positive_integer("plays", plays)
    dtype = jnp.result_type(successes, failures, discount, 0.0)
    a, b, discount = (jnp.asarray(x, dtype) for x in (successes, failures, discount))
    wins = jnp.arange(plays + 1, dtype=discount.dtype)

    def advantage(rate: jax.Array) -> jax.Array:
        leave = rate / (1 - discount)

        def layer(value: jax.Array, count: jax.Array) -> tuple:
            chance = (a + wins) / (a + b + count)
            ahead = jnp.concatenate([value[1:], value[-1:]])
            stay = chance * (1 + discount * ahead) + (1 - chance) * discount * value
            return jnp.maximum(leave, stay), stay[0]

        end = jnp.maximum(leave, (a + wins) / (a + b + plays) / (1 - discount))
        return jax.lax.scan(layer, end, wins[:-1], reverse=True)[1][0] - leave

    def halve(ends: tuple, _: None) -> tuple:
        low, high = ends
        middle = (low + high) / 2
        better = advantage(middle) > 0
        return (jnp.where(better, middle, low), jnp.where(better, high, middle)), None

    eps = jnp.finfo(discount.dtype).eps
    halvings = int(-np.log2(eps))
    (low, high), _ = jax.lax.scan(halve, (a / (a + b), jnp.ones_like(a)), length=halvings)
    truncation = discount**plays / (1 - discount)
    rounding = 8 * eps / (1 - discount) ** 2  # some 8 roundings a play of numbers up to 1 / (1 - g), discounted
    return Gittins(
        value=(low + high) / 2,
        certificate=Certificate(
            residual=high - low, bound=high - low + truncation + rounding, iterations=jnp.int32(halvings)
        ),
    )


def bayes_plan(prior: Any, horizon: int, discount: Any = 1.0, available: Any = None) -> BayesPlan:
    """Play that earns most under the prior: `V(x) = max_a p_a (1 + g V(x + win_a)) + (1 - p_a) g V(x + loss_a)`.

    Args:
        prior: [K, 2] positive pseudo-counts of success and failure.
        horizon: T >= 1.
        discount: [] g in [0, 1].
        available: [K] bool, the arms that may be played; all when left out.

    Returns:
        BayesPlan; the expected reward of T rounds is `value[0, ..., 0]`.

    Raises:
        ValueError: a prior of another shape or not positive, horizon < 1, more than `LARGEST_TABLE` beliefs, a discount
            outside [0, 1], or no available arm.

    Reference: Bellman, A problem in the sequential design of experiments, 1956.
    """
    prior = validation.float_array("prior", prior, "K outcomes", outcomes=2)
    if is_concrete(prior):
        require("prior", prior > 0, prior, "positive numbers")
    horizon = validation.positive_integer("horizon", horizon)
    validation.probability("discount", discount)
    arms = prior.shape[0]
    allowed = jnp.ones(arms, bool) if available is None else available
    allowed = validation.boolean_array("available", allowed, "K", K=arms)
    if is_concrete(allowed) and not np.any(allowed):
        raise InvalidInput(f"available: {np.asarray(allowed)}; expected at least one arm")
    size = (horizon + 1) ** (2 * arms)
    if size > LARGEST_TABLE:
        raise InvalidInput(f"horizon: {horizon} with {arms} arms has {size} beliefs; expected at most {LARGEST_TABLE}")
    counts = jnp.arange(horizon + 1, dtype=prior.dtype)
    axes = [counts.reshape([-1 if i == axis else 1 for i in range(2 * arms)]) for axis in range(2 * arms)]
    wins = [prior[arm, 0] + axes[2 * arm] for arm in range(arms)]
    losses = [prior[arm, 1] + axes[2 * arm + 1] for arm in range(arms)]
    shape = (horizon + 1,) * (2 * arms)
    chance = jnp.stack([jnp.broadcast_to(w / (w + x), shape) for w, x in zip(wins, losses, strict=True)])
    played = jnp.sum(jnp.stack([jnp.broadcast_to(axis, shape) for axis in axes]), axis=0)

    def after(value: jax.Array, axis: int) -> jax.Array:
        """The value with one more outcome; what wraps around belongs to more than T plays."""
        return jnp.roll(value, -1, axis)

    def worth(value: jax.Array) -> jax.Array:
        won = jnp.stack([after(value, 2 * arm) for arm in range(arms)])
        lost = jnp.stack([after(value, 2 * arm + 1) for arm in range(arms)])
        paid = chance * (1 + discount * won) + (1 - chance) * discount * lost
        return jnp.where(allowed.reshape(-1, *(2 * arms * [1])), paid, -jnp.inf)

    def layer(value: jax.Array, time: jax.Array) -> tuple:
        return jnp.where(played == time, jnp.max(worth(value), axis=0), value), None

    value, _ = jax.lax.scan(layer, jnp.zeros(shape, prior.dtype), counts[:-1], reverse=True)
    q = worth(value)
    rounding = 8 * jnp.finfo(prior.dtype).eps * (1 + jnp.max(value))
    return BayesPlan(
        value=value,
        policy=jnp.argmax(q >= jnp.max(q, axis=0, keepdims=True) - 2 * rounding, axis=0).astype(jnp.int32),
        certificate=Certificate(
            residual=jnp.zeros((), prior.dtype), bound=horizon * rounding, iterations=jnp.int32(horizon)
        ),
    )


def bayes_optimal(arms: int) -> Agent:
    """The agent that plays a `BayesPlan`, its params; rewards are 0 or 1, and after any other all actions are -1.

    Beyond the plan's horizon, and where the plan's arm is not available, it plays the first available arm: plan with
    `available` where some are not.

    Args:
        arms: K.
    """
    validation.positive_integer("arms", arms)

    def init(key: jax.Array, params: BayesPlan) -> BayesMemory:
        return BayesMemory(counts=jnp.zeros((arms, 2), jnp.int32))

    def act(key: jax.Array, memory: BayesMemory, observation: jax.Array, params: BayesPlan) -> tuple:
        last = params.policy.shape[0] - 1
        inside = jnp.sum(memory.counts) < last
        cell = tuple(jnp.clip(memory.counts, 0, last).ravel())
        planned = jax.nn.one_hot(jnp.where(inside, params.policy[cell], 0), arms)
        return best_available(jnp.where(jnp.min(memory.counts) < 0, jnp.nan, planned), observation), memory

    def observe(memory: BayesMemory, transition: Transition, params: BayesPlan) -> BayesMemory:
        failed = transition.reward != 1
        counts = memory.counts.at[transition.action, failed.astype(jnp.int32)].add(1)
        binary = (transition.reward == 0) | (transition.reward == 1)
        return BayesMemory(counts=jnp.where(binary & (memory.counts >= 0), counts, -1))

    return Agent(init=init, act=act, observe=observe)
