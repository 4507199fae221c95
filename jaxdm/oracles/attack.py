"""Gradient ascent on loss sequences, *through* the learner: the worst that can be found, not the worst there is.

Dimensions: `T` rounds, `d` coordinates, `n` steps. One call is one attack; restarts are `jax.vmap` over starts.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdm import validation
from jaxdm.envs import families, online
from jaxdm.envs.online import BALL, SIMPLEX, DecisionSet, Response, checked


class Attack(NamedTuple):
    """The best sequence that an attack met, its objective, and the best objective after every step."""

    losses: jax.Array  # [T, d]
    value: jax.Array  # []
    progress: jax.Array  # [n + 1], from the start on


def ascend(
    objective: Callable[[jax.Array], jax.Array],
    project: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    steps: int = 200,
    rate: jax.Array | float = 0.05,
) -> Attack:
    """Projected gradient ascent, `l <- project(l + Adam(grad objective(l)))`, keeping the best sequence met.

    Args:
        objective: `losses [T, d] -> []`, e.g. the regret of `jaxdm.envs.online.play`.
        project: `losses [T, d] -> [T, d]`, onto what the adversary may do: `to_unit_interval`, `to_unit_ball`.
        start: [T, d].
        steps: n >= 0; zero only judges the start.
        rate: [] first step length of Adam, which falls to zero along a cosine.

    Raises:
        ValueError: steps < 0, a rate that is not positive, or a bad start (see `jaxdm.envs.online.checked`).

    Reference: Kingma, Ba, Adam, ICLR 2015; the attack is ours.
    """
    steps = validation.integer("steps", steps, 0)
    validation.positive_number("rate", rate)
    start = checked(start)
    adam = optax.adam(optax.cosine_decay_schedule(rate, max(steps, 1)))
    valued = jax.value_and_grad(objective)
    start = project(start)

    def step(carry: tuple, _: None) -> tuple:
        losses, state, best = carry
        value, gradient = valued(losses)
        best = _better(best, losses, value)
        change, state = adam.update(-gradient, state)
        return (project(losses + jnp.asarray(change, losses.dtype)), state, best), best[1]

    none = (start, jnp.asarray(-jnp.inf, start.dtype))
    (losses, _, best), progress = jax.lax.scan(step, (start, adam.init(start), none), length=steps)
    losses, value = _better(best, losses, objective(losses))
    return Attack(losses=losses, value=value, progress=jnp.concatenate([progress, value[None]]))


def to_unit_interval(losses: jax.Array) -> jax.Array:
    """The nearest sequence with every number in [0, 1]."""
    return jnp.clip(losses, 0, 1)


def to_unit_ball(losses: jax.Array) -> jax.Array:
    """The nearest sequence with every loss of length at most one."""
    return jax.vmap(BALL.project)(losses)


def _better(best: tuple, losses: jax.Array, value: jax.Array) -> tuple:
    better = value > best[1]
    return jnp.where(better, losses, best[0]), jnp.where(better, value, best[1])


class AttackSpace(NamedTuple):
    """A decision set, with what an adversary may do there."""

    decision_set: DecisionSet
    respond: Response
    scale: Callable[[jax.Array], jax.Array]  # a sequence of any size into what is allowed
    project: Callable[[jax.Array], jax.Array]  # the nearest allowed sequence


ATTACK_SPACES = {
    "simplex": AttackSpace(
        decision_set=SIMPLEX,
        respond=online.against_simplex,
        scale=families.losses.unit_interval,
        project=to_unit_interval,
    ),
    "ball": AttackSpace(
        decision_set=BALL, respond=online.against_ball, scale=families.losses.unit_ball, project=to_unit_ball
    ),
}
