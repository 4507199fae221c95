"""Learners for full-information online learning, as agents of `jaxdm.envs.online`; rates are data.

Dimensions: `T` rounds, `d` coordinates (arms, on the simplex). With `S_{t-1}` the sum of losses before round t and
`eta_t = scale t^-power`, every learner is one line:

    follow_leader     argmin_x <S_{t-1}, x>
    ftrl              Project(-eta_t S_{t-1}) = argmin_x <S_{t-1}, x> + |x|^2 / (2 eta_t)
    hedge             softmax(-eta_t S_{t-1}) = argmin_x <S_{t-1}, x> + sum_i x_i log x_i / eta_t, on the simplex
    perturbed_leader  argmin_x <S_{t-1} - xi_t / eta_t, x>, fresh noise every round
    lazy_descent      Project(z_t), z_{t+1} = z_t - eta_t l_t
    greedy_descent    x_t, x_{t+1} = Project(x_t - eta_t l_t)

Reference: Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006; Shalev-Shwartz, Online Learning and Online
    Convex Optimization, 2012; Abernethy, Lee, Sinha, Tewari, Online linear optimization via smoothing, COLT 2014.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.online import DecisionSet
from jaxdm.types import Agent, Predrawn, Transition
from jaxdm.validation import integer, is_concrete, positive_integer, positive_number, real_array, require


class OnlineParams(NamedTuple):
    """`eta_t = scale t^-power` in round t = 1, 2, ..., and the size of the decision set (see `DecisionSet`).

    Power 0 is a fixed rate, tuned to a known T; power 1/2 one for any T. Their type is the learner's float type.
    """

    scale: jax.Array  # []
    power: jax.Array  # []
    size: jax.Array  # []


class OnlineMemory(NamedTuple):
    """The sum of losses, or the point of a descent; and how many rounds were played."""

    point: jax.Array  # [d]
    time: jax.Array  # [] int32


def rate(scale: Any, power: Any = 0.0, size: Any = 1.0, dtype: Any = None) -> OnlineParams:
    """`OnlineParams` from plain numbers, checked.

    Raises:
        ValueError: a scale or size that is not positive and finite, or a power outside [0, 1].
    """
    found = {}
    for name, value in {"scale": scale, "power": power, "size": size}.items():
        number = found[name] = real_array(name, value, dtype=dtype)
        if is_concrete(number):
            good = (number >= 0) & (number <= 1) if name == "power" else number > 0
            require(name, good, number, "a number in [0, 1]" if name == "power" else "a positive finite number")
    return OnlineParams(**found)


def hedge_rate(arms: int, length: int | None = None, dtype: Any = None) -> OnlineParams:
    """Hedge's rate for losses in [0, 1]: `sqrt(8 log K / T)`, or `2 sqrt(log K / t)` when no T is given.

    The first has regret at most `sqrt(T log K / 2)`, the second `sqrt(t log K)` at every t.

    Raises:
        ValueError: fewer than two arms, or length < 1.

    Reference: Cesa-Bianchi, Lugosi 2006, theorem 2.2; Bubeck, Introduction to Online Optimization, 2011, theorem 2.4.
    """
    arms = integer("arms", arms, 2)
    if length is None:
        return rate(2 * math.sqrt(math.log(arms)), 0.5, dtype=dtype)
    length = positive_integer("length", length)
    return rate(math.sqrt(8 * math.log(arms) / length), dtype=dtype)


def ftrl_rate(radius: float = 1.0, length: int | None = None, dtype: Any = None) -> OnlineParams:
    """The rate of `ftrl` on a ball for losses of length at most one: `R / sqrt(T)`, or `R / sqrt(2 t)`.

    The first has regret at most `R sqrt(T)`, the second `R sqrt(2 t)` at every t.

    Raises:
        ValueError: a radius that is not positive, or length < 1.

    Reference: Orabona, A Modern Introduction to Online Learning, 2019, corollary 7.9.
    """
    positive_number("radius", radius)
    if length is None:
        return rate(radius / math.sqrt(2), 0.5, radius, dtype)
    length = positive_integer("length", length)
    return rate(radius / math.sqrt(length), 0.0, radius, dtype)


def _learner(
    dimension: int,
    decide: Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array],
    update: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array],
    draw: Callable[[jax.Array, int], jax.Array] | None = None,
) -> Agent:
    """`x_t = decide(noise, point_t, eta_t, size)`, `point_{t+1} = update(point_t, l_t, eta_t, size)`, `point_1 = 0`.

    `draw` gives the noise of T rounds; learners without it use none.
    """
    dimension = positive_integer("dimension", dimension)

    def eta(memory: OnlineMemory, params: OnlineParams) -> jax.Array:
        return params.scale * (memory.time + 1).astype(params.scale.dtype) ** -params.power

    def init(key: jax.Array, params: OnlineParams) -> OnlineMemory:
        return OnlineMemory(point=jnp.zeros(dimension, params.scale.dtype), time=jnp.int32(0))

    def act(noise: Any, memory: OnlineMemory, observation: jax.Array, params: OnlineParams) -> tuple:
        return decide(noise, memory.point, eta(memory, params), params.size), memory

    def observe(memory: OnlineMemory, transition: Transition, params: OnlineParams) -> OnlineMemory:
        loss = transition.next_observation
        point = update(memory.point, loss, eta(memory, params), params.size)
        return OnlineMemory(point=point, time=memory.time + 1)

    if draw is None:
        return Agent(init=init, act=act, observe=observe)
    predrawn = Predrawn(draw=draw, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def _add(point: jax.Array, loss: jax.Array, eta: jax.Array, size: jax.Array) -> jax.Array:
    return point + loss


def follow_leader(decision_set: DecisionSet, dimension: int) -> Agent:
    """The best decision so far; no rate enters. Its regret can be linear (see `jaxdm.envs.losses.alternating`)."""
    return _learner(dimension, lambda noise, total, eta, size: decision_set.minimise(total, size), _add)


def ftrl(decision_set: DecisionSet, dimension: int) -> Agent:
    """Follow the leader with the regulariser `|x|^2 / (2 eta_t)`.

    With a fixed rate its regret is at most `R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2` on the ball of radius R.

    Reference: Shalev-Shwartz 2012, theorem 2.11; Zinkevich, Online convex programming, ICML 2003.
    """
    return _learner(dimension, lambda noise, total, eta, size: decision_set.project(-eta * total, size), _add)


def hedge(dimension: int) -> Agent:
    """Exponential weights on the simplex: follow the leader with the entropy as regulariser.

    Reference: Freund, Schapire, A decision-theoretic generalization of on-line learning, 1997.
    """
    return _learner(dimension, lambda noise, total, eta, size: size * jax.nn.softmax(-eta * total), _add)


def perturbed_leader(
    decision_set: DecisionSet, dimension: int, noise: Callable[..., jax.Array] = jax.random.normal, samples: int = 1
) -> Agent:
    """The leader after fresh noise; the mean over `samples` draws, which goes to the mean decision as they grow.

    With `jax.random.gumbel` on the simplex the mean decision is that of `hedge`; with normal noise the rate
    `t^-1/2` (`rate(1, 0.5)`) makes the noise as large as `sqrt(t)`. Its guarantee is for losses chosen before the draw:
    an adversary that sees each draw costs it linear regret.

    Args:
        decision_set: set of decisions.
        dimension: d.
        noise: `(key, shape) -> numbers`.
        samples: draws averaged in each round, >= 1.

    Raises:
        ValueError: samples < 1.

    Reference: Kalai, Vempala, Efficient algorithms for online decision problems, 2005; Abernethy et al. 2014.
    """
    samples, dimension = positive_integer("samples", samples), positive_integer("dimension", dimension)

    def decide(drawn: jax.Array, total: jax.Array, eta: jax.Array, size: jax.Array) -> jax.Array:
        perturbed = total[None] - drawn.astype(total.dtype) / eta
        return jnp.mean(jax.vmap(decision_set.minimise, (0, None))(perturbed, size), axis=0)

    def draw(key: jax.Array, length: int) -> jax.Array:
        return noise(key, (length * samples * dimension,)).reshape(
            length, samples, dimension
        )  # flat compiles a fifth faster

    return _learner(dimension, decide, _add, draw)


def lazy_descent(decision_set: DecisionSet, dimension: int) -> Agent:
    """Online gradient descent that never projects its running point; with a fixed rate it is `ftrl`.

    Reference: Zinkevich 2003; Hazan, Introduction to Online Convex Optimization, 2016, section 5.4.
    """
    return _learner(
        dimension,
        lambda noise, point, eta, size: decision_set.project(point, size),
        lambda point, loss, eta, size: point - eta * loss,
    )


def greedy_descent(decision_set: DecisionSet, dimension: int) -> Agent:
    """Online gradient descent that projects after every step; its first decision is the projection of zero.

    With a fixed rate its regret is at most `R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2` on the ball of radius R.

    Reference: Zinkevich 2003, theorem 1.
    """
    return _learner(
        dimension,
        lambda noise, point, eta, size: decision_set.project(point, size),
        lambda point, loss, eta, size: decision_set.project(point - eta * loss, size),
    )
