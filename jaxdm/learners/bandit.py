"""Bandit players that keep statistics of arms: UCB, forgetful UCB, KL-UCB, epsilon-greedy, successive elimination.

Dimensions: `K` arms, `T` rounds, `W` rounds of the longest window. The observation is `available` [K], as in
`jaxdm.envs.bandit`; rewards are scaled so that those in [0, 1] fit the theory. Arms tie to the lowest index.
All rates are data: numbers or arrays without shape, so that one compiled program serves a grid of them.
A reward that is NaN, or outside [0, 1] where a player says that it needs such rewards, makes all later actions -1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import validation
from jaxdm.envs.bandit import any_available, best_available
from jaxdm.random import uniform
from jaxdm.types import Agent, Predrawn, Transition
from jaxdm.validation import positive_integer

Scalar = jax.Array | float


NEWTON_STEPS, NEWTON_ERROR = 6, 1e-9
"""Of a KL-UCB index, and what they leave of its error besides rounding."""


class ArmStatistics(NamedTuple):
    """What was tried and what it paid."""

    plays: jax.Array  # [K] float, possibly discounted
    total: jax.Array  # [K] reward units


class UCBParams(NamedTuple):
    """Rates of `ucb`: the defaults are UCB1."""

    exploration: Scalar = 2.0  # factor of ln t / n in the squared bonus; rewards have range 1
    discount: Scalar = 1.0  # in (0, 1], what a play is worth one round later


class WindowParams(NamedTuple):
    """Rates of `sliding_window_ucb`."""

    exploration: Scalar = 0.6
    window: Scalar = 100  # rounds that count, at most W


class WindowMemory(NamedTuple):
    """The statistics of a window and the rounds in it."""

    statistics: ArmStatistics
    arms: jax.Array  # [W] int32, of round t at t mod W
    rewards: jax.Array  # [W]
    time: jax.Array  # [] int32


class KLUCBParams(NamedTuple):
    """Rates of `kl_ucb`: an index may be wrong with chance about `1 / (t ln^c t)`."""

    patience: Scalar = 0.0  # c


class EpsilonGreedyParams(NamedTuple):
    """Rates of `epsilon_greedy`: `eps_t = clip(scale / t, floor, 1)`, t from 1; `scale = 0` keeps it constant."""

    floor: Scalar = 0.0
    scale: Scalar = 10.0


class ExplorationNoise(NamedTuple):
    """The uniform numbers that decide whether to explore, and by which arm."""

    explore: jax.Array  # []
    arm: jax.Array  # []


class EliminationParams(NamedTuple):
    """Rates of `successive_elimination`."""

    failure: Scalar = 0.01  # largest chance that the best arm is ever dropped


class EliminationMemory(NamedTuple):
    """The statistics, and the arms still in play."""

    statistics: ArmStatistics
    active: jax.Array  # [K] bool


def ucb(arms: int) -> Agent:
    """Optimism: `argmax_a mean_a + sqrt(exploration ln(sum n) / n_a)`, untried arms first; params are a `UCB`.

    With discount g, `n_a = sum_{s<t} g^{t-1-s} 1{a_s = a}`, and rewards are discounted alike: discounted UCB. An arm
    that was tried stays so: its `n_a` does not fall below the square root of the smallest float.

    Args:
        arms: K.

    Reference: Auer, Cesa-Bianchi, Fischer, Finite-time analysis of the multiarmed bandit problem, 2002 (UCB1);
        Garivier, Moulines, On upper-confidence bound policies for switching bandit problems, 2011 (D-UCB, whose
        `2 B sqrt(xi ...)` is exploration `4 xi B^2`).
    """

    def observe(memory: ArmStatistics, transition: Transition, params: UCBParams) -> ArmStatistics:
        gained = _play(memory, transition)
        floor = jnp.finfo(memory.plays.dtype).tiny ** 0.5
        sinks = (memory.plays > 0) & (params.discount * memory.plays < floor)
        kept = jnp.where(sinks, floor / jnp.where(sinks, memory.plays, 1), params.discount)
        return ArmStatistics(plays=kept * memory.plays + gained.plays, total=kept * memory.total + gained.total)

    def check(params: UCBParams) -> None:
        validation.nonnegative_number("exploration", params.exploration)
        validation.number("discount", params.discount, lambda x: 0 < x <= 1, "a number in (0, 1]")

    return _index_player(arms, lambda statistics, params: ucb_index(statistics, params.exploration), observe, check)


def sliding_window_ucb(arms: int, longest: int) -> Agent:
    """UCB on the last `window` rounds alone; params are a `Window`.

    Args:
        arms: K.
        longest: W, the longest window that the memory can hold.

    Reference: Garivier, Moulines 2011 (SW-UCB).
    """

    positive_integer("arms", arms)
    positive_integer("longest", longest)

    def init(key: jax.Array, params: WindowParams) -> WindowMemory:
        validation.nonnegative_number("exploration", params.exploration)
        validation.number_in("window", params.window, 1, longest)
        statistics = empty_statistics(arms, params)
        ring = jnp.zeros(longest, statistics.total.dtype)
        return WindowMemory(statistics=statistics, arms=ring.astype(jnp.int32), rewards=ring, time=jnp.int32(0))

    def act(key: jax.Array, memory: WindowMemory, observation: jax.Array, params: WindowParams) -> tuple:
        return best_available(ucb_index(memory.statistics, params.exploration), observation), memory

    def observe(memory: WindowMemory, transition: Transition, params: WindowParams) -> WindowMemory:
        window = jnp.clip(jnp.asarray(params.window, jnp.int32), 1, longest)
        new, old = memory.time % longest, (memory.time - window) % longest
        expires = (memory.time >= window).astype(memory.rewards.dtype)
        lost = expires * jax.nn.one_hot(memory.arms[old], arms, dtype=expires.dtype)
        gained = _play(memory.statistics, transition)
        statistics = ArmStatistics(
            plays=memory.statistics.plays + gained.plays - lost,
            total=memory.statistics.total + gained.total - lost * memory.rewards[old],
        )
        return WindowMemory(
            statistics=statistics,
            arms=memory.arms.at[new].set(transition.action.astype(jnp.int32)),
            rewards=memory.rewards.at[new].set(transition.reward.astype(memory.rewards.dtype)),
            time=memory.time + 1,
        )

    return Agent(init=init, act=act, observe=observe)


def kl_ucb(arms: int) -> Agent:
    """`argmax_a max {q : n_a kl(mean_a, q) <= ln t + c ln ln t}` for rewards in [0, 1]; params are a `KLUCB`.

    Args:
        arms: K.

    Reference: Garivier, Cappe, The KL-UCB algorithm for bounded stochastic bandits and beyond, 2011.
    """

    def index(statistics: ArmStatistics, params: KLUCBParams) -> jax.Array:
        log_time = jnp.log(jnp.maximum(jnp.sum(statistics.plays), 1))
        level = log_time + params.patience * jnp.log(jnp.maximum(log_time, 1))
        mean = statistics.total / jnp.maximum(statistics.plays, 1)
        return jnp.where(statistics.plays > 0, kl_upper(mean, level / jnp.maximum(statistics.plays, 1)), jnp.inf)

    def observe(memory: ArmStatistics, transition: Transition, params: KLUCBParams) -> ArmStatistics:
        return add_play(memory, transition._replace(reward=unit_reward(transition.reward)), params)

    def check(params: KLUCBParams) -> None:
        validation.nonnegative_number("patience", params.patience)

    return _index_player(arms, index, observe, check)


def epsilon_greedy(arms: int) -> Agent:
    """The best mean so far with chance `1 - eps_t`, else a uniformly random arm; params are an `EpsilonGreedy`.

    Args:
        arms: K.

    Reference: Auer, Cesa-Bianchi, Fischer 2002, figure 3 (scale `c K / d^2`).
    """

    positive_integer("arms", arms)

    def init(key: jax.Array, params: EpsilonGreedyParams) -> ArmStatistics:
        validation.probability("floor", params.floor)
        validation.nonnegative_number("scale", params.scale)
        return empty_statistics(arms, params)

    def act(
        noise: ExplorationNoise, memory: ArmStatistics, observation: jax.Array, params: EpsilonGreedyParams
    ) -> tuple:
        rate = jnp.clip(params.scale / (jnp.sum(memory.plays) + 1), params.floor, 1)
        mean = jnp.where(memory.plays > 0, memory.total / jnp.maximum(memory.plays, 1), jnp.inf)
        anyone = any_available(noise.arm, observation)
        best = best_available(mean, observation)
        return jnp.where((noise.explore < rate) & (best >= 0), anyone, best).astype(jnp.int32), memory

    def draw(key: jax.Array, length: int) -> ExplorationNoise:
        both = uniform(key, (length, 2))
        return ExplorationNoise(explore=both[:, 0], arm=both[:, 1])

    predrawn = Predrawn(draw=draw, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=add_play, predrawn=predrawn)


def successive_elimination(arms: int) -> Agent:
    """Play the arms still in play in turn; drop those that are surely worse. Params are an `Elimination`.

    An arm goes when `mean_a + r(n_a) < max_b mean_b - r(n_b)` over the arms b in play, so that one always stays, with
    `r(n) = sqrt(ln(4 K n^2 / failure) / (2 n))`: by Hoeffding and a union bound over arms and n, all means are within
    r for ever with chance `1 - failure`. Where no arm in play is available, the available ones are played in turn.

    Args:
        arms: K.

    Reference: Even-Dar, Mannor, Mansour, Action elimination and stopping conditions, 2006, algorithm 3; the
        radius is ours.
    """

    positive_integer("arms", arms)

    def init(key: jax.Array, params: EliminationParams) -> EliminationMemory:
        validation.number("failure", params.failure, lambda x: 0 < x < 1, "a number in (0, 1)")
        return EliminationMemory(statistics=empty_statistics(arms, params), active=jnp.ones(arms, bool))

    def act(key: jax.Array, memory: EliminationMemory, observation: jax.Array, params: EliminationParams) -> tuple:
        playable = observation & memory.active
        playable = jnp.where(jnp.any(playable), playable, observation)
        # A total that is NaN makes its arm's score so: plays alone would hide it.
        return best_available(0 * memory.statistics.total - memory.statistics.plays, playable), memory

    def observe(memory: EliminationMemory, transition: Transition, params: EliminationParams) -> EliminationMemory:
        statistics = add_play(memory.statistics, transition, params)
        plays = jnp.maximum(statistics.plays, 1)
        radius = jnp.sqrt(jnp.log(4 * arms * plays**2 / params.failure) / (2 * plays))
        radius = jnp.where(statistics.plays > 0, radius, jnp.inf)
        mean = statistics.total / plays
        bar = jnp.max(jnp.where(memory.active, mean - radius, -jnp.inf))
        active = memory.active & ~(mean + radius < bar)
        return EliminationMemory(statistics=statistics, active=active)

    return Agent(init=init, act=act, observe=observe)


def ucb_index(statistics: ArmStatistics, exploration: Scalar) -> jax.Array:
    """`mean_a + sqrt(exploration ln(sum n) / n_a)`, [K]; infinite for an untried arm."""
    tried = statistics.plays > 0
    plays = jnp.where(tried, statistics.plays, 1)
    bonus = jnp.sqrt(exploration * jnp.log(jnp.maximum(jnp.sum(statistics.plays), 1)) / plays)
    return jnp.where(tried, statistics.total / plays + bonus, jnp.inf)


def kl_upper(mean: jax.Array, level: jax.Array) -> jax.Array:
    """The largest q in [mean, 1] with `kl(mean, q) = mean ln(mean/q) + (1-mean) ln((1-mean)/(1-q)) <= level`.

    Newton's method on a convex function from the right of its root, so from above: it starts at the lesser of Pinsker's
    `mean + sqrt(level / 2)` and `1 - exp(-(level + H) / (1 - mean))`, where H is the entropy of the mean.

    Args:
        mean: [...] in [0, 1].
        level: [...] at least 0.

    Returns:
        [...].
    """
    eps = jnp.finfo(mean.dtype).eps
    mean = jnp.clip(mean, 0, 1)
    entropy = -jax.scipy.special.xlogy(mean, mean) - jax.scipy.special.xlog1py(1 - mean, -mean)
    tail = jnp.exp(-(level + entropy) / jnp.maximum(1 - mean, eps))
    start = jnp.minimum(mean + jnp.sqrt(level / 2), 1 - tail)

    def step(_: Any, q: jax.Array) -> jax.Array:
        inside = jnp.clip(q, eps, 1 - eps)
        excess = -entropy - mean * jnp.log(inside) - (1 - mean) * jnp.log1p(-inside) - level
        slope = (inside - mean) / (inside * (1 - inside))
        return jnp.clip(q - jnp.where(slope > 0, jnp.maximum(excess, 0) / jnp.where(slope > 0, slope, 1), 0), mean, 1)

    return jax.lax.fori_loop(0, NEWTON_STEPS, step, start)


def unit_reward(reward: jax.Array) -> jax.Array:
    """The reward, or NaN where it is outside [0, 1], which the player cannot use."""
    return jnp.where((reward >= 0) & (reward <= 1), reward, jnp.nan)


def float_type(params: Any) -> Any:
    """The float type of an agent's rates; jax's own where they are plain numbers."""
    return jnp.result_type(*jax.tree.leaves(params), 0.0)


def empty_statistics(arms: int, params: Any) -> ArmStatistics:
    """No plays, in the float type of the rates."""
    zero = jnp.zeros(arms, float_type(params))
    return ArmStatistics(plays=zero, total=zero)


def add_play(memory: ArmStatistics, transition: Transition, params: Any) -> ArmStatistics:
    """The statistics with one play more."""
    gained = _play(memory, transition)
    return ArmStatistics(plays=memory.plays + gained.plays, total=memory.total + gained.total)


def _play(memory: ArmStatistics, transition: Transition) -> ArmStatistics:
    chosen = jax.nn.one_hot(transition.action, memory.plays.shape[0], dtype=memory.plays.dtype)
    return ArmStatistics(plays=chosen, total=chosen * transition.reward.astype(chosen.dtype))


def _index_player(
    arms: int,
    index: Callable[[ArmStatistics, Any], jax.Array],
    observe: Callable[..., ArmStatistics],
    check: Callable[[Any], None],
) -> Agent:
    positive_integer("arms", arms)

    def init(key: jax.Array, params: Any) -> ArmStatistics:
        check(params)
        return empty_statistics(arms, params)

    def act(key: jax.Array, memory: ArmStatistics, observation: jax.Array, params: Any) -> tuple:
        return best_available(index(memory, params), observation), memory

    return Agent(init=init, act=act, observe=observe)
