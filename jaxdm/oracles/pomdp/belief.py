"""Bayes' rule for hidden states, and how far rounding can carry a plan made on beliefs.

Dimensions: `S` states, `A` actions, `O` observations, `T` steps.

Where the guarantees come from. A plan of h steps is worth `b . alpha` with `|alpha| <= w_h = |r| + gamma w_{h-1}`. One
backup errs relatively by `kappa`: 4 eps of the POMDP's float type, for `r`, `gamma`, `P` and `Z` as stored, and
`4 S + O + 16` eps of the type in which beliefs are computed (Higham 2002, section 3.1). Taking a belief for another at
L1 distance d errs by `d w`. Hence `e_h = kappa w_h + gamma (e_{h-1} + d w_{h-1})`, and `e_0 = 0`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.pomdp import POMDP
from jaxdm.validation import check_shape, integer_array, is_concrete, record, whole_number


class Filtered(NamedTuple):
    """A belief after an observation, and how likely that observation was.

    Where the observation was impossible, `possible` is false, `log_likelihood` is -inf and the belief is the one held
    before it.
    """

    belief: jax.Array  # [S] sums to one
    log_likelihood: jax.Array  # [] log Pr(observation | history, action)
    possible: jax.Array  # [] bool


def posterior(prior: jax.Array, likelihood: jax.Array) -> Filtered:
    """Bayes' rule, `b(s) = l(s) p(s) / sum_x l(x) p(x)`, relative to the largest likelihood so that none underflows.

    Args:
        prior: [S] distribution of the state.
        likelihood: [S] chance of the observation in each state.

    Returns:
        Filtered; it never raises.
    """
    peak = jnp.max(jnp.where(prior > 0, likelihood, 0))
    joint = prior * (likelihood / jnp.where(peak > 0, peak, 1))
    total = jnp.sum(joint)
    possible = (peak > 0) & (total > 0)
    safe = jnp.where(possible, total, 1)
    return Filtered(
        belief=jnp.where(possible, joint / safe, prior),
        log_likelihood=jnp.where(possible, jnp.log(safe) + jnp.log(jnp.where(possible, peak, 1)), -jnp.inf),
        possible=possible,
    )


def condition(prior: jax.Array, likelihood: jax.Array) -> Filtered:
    """The same as `posterior` for an observation that must be possible.

    Raises:
        ValueError: the observation has probability zero (where that is concrete; a flag otherwise).
    """
    filtered = posterior(prior, likelihood)
    if is_concrete(filtered.possible) and not bool(filtered.possible):
        raise ValueError(f"observation: likelihood {likelihood} under belief {prior}; expected a possible observation")
    return filtered


def first(pomdp: POMDP, observation: jax.Array | int) -> Filtered:
    """The belief after the first observation: `b(s) ~ Z_0(o|s) rho(s)`; raises as `condition`, and for no index."""
    record("pomdp", pomdp, POMDP)
    whole_number("observation", observation, 0, pomdp.observation.shape[-1] - 1)
    return condition(pomdp.initial, pomdp.initial_observation[:, observation])


def update(pomdp: POMDP, belief: jax.Array, action: jax.Array | int, observation: jax.Array | int) -> Filtered:
    """The next belief: `b'(s') ~ Z(o|a,s') sum_s P(s'|s,a) b(s)`; raises as `condition`.

    Args:
        pomdp: the world.
        belief: [S].
        action: [] index.
        observation: [] index of what was seen after the action.

    Raises:
        ValueError: as `condition`, or a belief of another shape, an action or observation that there is not.
    """
    record("pomdp", pomdp, POMDP)
    whole_number("observation", observation, 0, pomdp.observation.shape[-1] - 1)
    return condition(predict(pomdp, belief, action), pomdp.observation[action, :, observation])


def predict(pomdp: POMDP, belief: jax.Array, action: jax.Array | int) -> jax.Array:
    """The distribution of the next state before it is observed, `sum_s b(s) P(s'|s,a)`, [S], at full precision.

    Raises:
        ValueError: a belief of another shape, or an action that there is not.
    """
    record("pomdp", pomdp, POMDP)
    states, actions = pomdp.reward.shape
    check_shape("belief", belief, "S", S=states)
    whole_number("action", action, 0, actions - 1)
    return jnp.einsum("s,st->t", belief, pomdp.transition[:, action], precision=jax.lax.Precision.HIGHEST)


def follow(pomdp: POMDP, actions: jax.Array, observations: jax.Array) -> Filtered:
    """The beliefs along a history, each after the observation of the same index.

    Args:
        pomdp: the world.
        actions: [T] indices.
        observations: [T + 1] indices; the first is seen before any action.

    Returns:
        Filtered with a leading axis [T + 1]; once an observation is impossible `possible` stays false.

    Raises:
        ValueError: lengths that do not fit, or (where the history is concrete) an impossible observation.
    """
    record("pomdp", pomdp, POMDP)
    check_shape("actions", actions, None)
    observations = integer_array("observations", observations, "N", at_most=pomdp.observation.shape[-1] - 1)
    if actions.shape != (observations.shape[0] - 1,):
        raise ValueError(f"actions: shape {actions.shape}; expected {(observations.shape[0] - 1,)}, one less than seen")
    if actions.shape[0] > 0:
        actions = integer_array("actions", actions, "T", at_most=pomdp.reward.shape[-1] - 1)

    def step(previous: Filtered, seen: tuple[jax.Array, jax.Array]) -> tuple[Filtered, Filtered]:
        now = update(pomdp, previous.belief, *seen)
        now = now._replace(possible=now.possible & previous.possible)
        return now, now

    start = first(pomdp, observations[0])
    _, later = jax.lax.scan(step, start, (actions, observations[1:]))
    path = jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), start, later)
    if is_concrete(path.possible) and not bool(jnp.all(path.possible)):
        step_index = int(jnp.argmin(path.possible))
        raise ValueError(f"observations: number {step_index} has probability zero; expected a possible history")
    return path


def relative_error(pomdp: POMDP, work: Any) -> float:
    """`kappa` of this module's docstring, for beliefs computed in float type `work`."""
    states, observations = pomdp.initial_observation.shape[-2:]
    stored, computed = float(jnp.finfo(pomdp.reward.dtype).eps), float(jnp.finfo(work).eps)
    return 4 * stored + (4 * states + observations + 16) * computed
