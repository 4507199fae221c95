"""Exact planning in a small POMDP on the whole tree of its histories: static shapes, for jit, vmap and accelerators.

Dimensions: `S` states, `A` actions, `O` observations, `H` steps, `N` histories of all lengths.

A POMDP is an ambiguous one with a single model, so `plan_tree` is the planner of `jaxdm.oracles.apomdp.history_tree`,
with its numbering of histories: `(n A + a) O + o` follows n.

`tree_value` finds the value alone, faster (`python -m experiments.speed`): histories lie along the last axis, in which
a CPU computes, and for values `M_{ao} r`, with `M_{ao}[s, s'] = P(s'|s,a) Z(o|a,s')`, saves the last step down. Across
problems, `jax.vmap` is fastest while a batch's trees fit in the cache, and on accelerators; on a CPU, `jax.lax.map`
where they do not.
"""

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import of_one_model
from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles.apomdp import history_tree
from jaxdm.oracles.apomdp.history_tree import MEMORY, UNCOUNTED, AmbiguityPlan, histories, require_memory
from jaxdm.oracles.history_backup import HIGHEST, backup, relative_error
from jaxdm.oracles.mdp.bellman import require_range
from jaxdm.validation import check_shape, distribution, is_concrete, positive_integer


def plan_tree(pomdp: POMDP, horizon: int, memory: float = MEMORY) -> AmbiguityPlan:
    """Optimal values after every history: `Q_t(b,a) = b . r_a + gamma sum_o Pr(o|b,a) V_{t+1}(b_ao)`, `V_H = 0`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        memory: bytes that the result may take.

    Returns:
        AmbiguityPlan of one model, with `N = O ((A O)^H - 1) / (A O - 1)` rows; the bound covers every row.

    Raises:
        ValueError: horizon < 1, a bad POMDP, more than `memory`, known before anything is made, or (where values are
            concrete) a belief at which no action is available.

    Reference: Smallwood, Sondik, Operations Research 21, 1973.
    """
    _check(pomdp)
    return history_tree.plan(of_one_model(pomdp), horizon, memory)


def tree_value(
    pomdp: POMDP, horizon: int, belief: jax.Array | None = None, memory: float = MEMORY
) -> tuple[jax.Array, jax.Array]:
    """The optimal value of H steps alone: the fast form of `plan_tree`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        belief: [S] where to start, with nothing seen; when left out, from `rho` with the first observation seen.
        memory: bytes that the tree may take.

    Returns:
        The value [], expected over the first observation, and its certified error [].

    Raises:
        ValueError: as `plan_tree`, or a belief that is no distribution.
    """
    horizon = positive_integer("horizon", horizon)
    _check(pomdp)
    require_range(pomdp.reward, horizon)
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    roots = pomdp.initial[:, None] * pomdp.initial_observation
    if belief is not None:
        roots = distribution("belief", belief, "S", pomdp.reward.dtype, S=states)[:, None]
    before, every = (histories(roots.shape[1], actions * observations, max(horizon - s, 2 - s)) for s in (2, 1))
    largest = every - before if every < UNCOUNTED else every
    needed = largest * (2 * states + actions * (4 * observations + 2) + 3 * actions * actions * observations)
    require_memory(needed * pomdp.reward.dtype.itemsize, memory, "shorten the horizon, or merge equal beliefs")
    levels, chances, mass = _descend(pomdp, roots, horizon)
    found, behind = _ascend(pomdp, levels, chances, horizon)
    kappa = relative_error(pomdp, 0)
    value = backup(0, mass, found, 1)
    error = backup(0, mass, kappa * jnp.abs(found) + (1 + kappa) * behind, 1)
    stuck = value < -_floor(pomdp, horizon)
    if is_concrete(stuck) and bool(stuck):
        raise ValueError("available: no action at some belief; expected one that is available in all its states")
    return jnp.where(stuck, -jnp.inf, value), jnp.where(jnp.isnan(error), jnp.inf, error)


def _check(pomdp: POMDP) -> None:
    validate(pomdp)
    check_shape("transition", pomdp.transition, "S A S")


def _descend(pomdp: POMDP, roots: jax.Array, horizon: int) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
    """Beliefs [S, n] after the histories of 0, 1, ..., max(H - 2, 0) steps, chances [A, O, n], and those of the roots.

    The children of n histories of t steps are numbered by action, observation and history: `(a O + o) n + i`.
    """
    actions, observations = pomdp.observation.shape[::2]
    first, mass = _normalised(roots)
    levels, chances, kernel = [first], [], _kernel(pomdp)
    for _ in range(horizon - 2):
        joint = jnp.einsum("skt,sn->tkn", kernel, levels[-1], precision=HIGHEST)
        following, chance = _normalised(joint.reshape(joint.shape[0], -1))
        levels.append(following)
        chances.append(chance.reshape(actions, observations, -1))
    return levels, chances, mass


def _ascend(
    pomdp: POMDP, levels: list[jax.Array], chances: list[jax.Array], horizon: int
) -> tuple[jax.Array, jax.Array]:
    """Values after the roots, [n], and how far each may be from the truth, [].

    One bound for each number of steps: with `W_t` the largest modulus of a value after t steps and `R` the largest
    reward, `sum_s b |r_a| <= 2 R - b . r_a`, so that with `e_a` as in `jaxdm.oracles.history_backup`

        e_a - (max Q - Q_a) <= kappa_t (2 R + W_t + 2 gamma rho W_{t+1}) + (1 + kappa_t) gamma rho e_{t+1}

    whatever is lost by the actions that are not best. Unavailable ones pay `-_floor`, less than anything else.
    """
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    floor = _floor(pomdp, horizon)
    huge = jnp.finfo(pomdp.reward.dtype).max / 16
    reward = jnp.where(pomdp.reward == -jnp.inf, -huge, pomdp.reward)
    best = jnp.maximum(jnp.max(pomdp.reward), 0)
    widest = jnp.max(jnp.sum(pomdp.transition, axis=-1)) * jnp.max(jnp.sum(pomdp.observation, axis=-1))
    factor = pomdp.discount * jnp.maximum(widest, 1) * (1 + relative_error(pomdp, 0))

    def largest(value: jax.Array) -> jax.Array:
        return jnp.max(jnp.where(value > -floor, jnp.abs(value), 0))

    error = size = jnp.zeros((), reward.dtype)
    future = jnp.zeros((actions, observations, levels[-1].shape[1]), reward.dtype)  # values times their chances
    if horizon > 1:
        last = jnp.einsum("skt,ta->sak", _kernel(pomdp), reward, precision=HIGHEST).reshape(states, -1)
        each = jnp.einsum("sc,sn->cn", last, levels[-1], precision=HIGHEST).reshape(actions, *future.shape)
        future = jnp.max(each, axis=0)
        size = pomdp.discount * jnp.max(jnp.sum(jnp.abs(jnp.where(future > -floor, future, 0)), axis=1))
        error = relative_error(pomdp, horizon - 1) * (2 * factor * best + size)
    value = jnp.zeros(levels[0].shape[1], reward.dtype)
    for t in reversed(range(len(levels))):
        now = jnp.einsum("sa,sn->an", reward, levels[t], precision=HIGHEST)
        value = jnp.max(now + pomdp.discount * jnp.sum(future, axis=1), axis=0)
        kappa = relative_error(pomdp, t)
        error = kappa * (2 * best + largest(value) + 2 * size) + (1 + kappa) * error
        size, error = factor * largest(value), error if t == 0 else factor * error
        if t > 0:
            future = chances[t - 1] * value.reshape(chances[t - 1].shape)
    return value, error


def _floor(pomdp: POMDP, horizon: int) -> jax.Array:
    """More than H steps can cost."""
    paid = jnp.where(pomdp.reward == -jnp.inf, 0, jnp.abs(pomdp.reward))
    return (4 * horizon) * jnp.max(paid) + 1


def _kernel(pomdp: POMDP) -> jax.Array:
    """`M`, [S, A O, S]."""
    kernel = jnp.einsum("sat,ato->saot", pomdp.transition, pomdp.observation)
    return kernel.reshape(kernel.shape[0], -1, kernel.shape[-1])


def _normalised(joint: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Beliefs [S, n] and chances [n], so that rare histories do not underflow."""
    mass = jnp.sum(joint, axis=0)
    return joint / jnp.where(mass > 0, mass, 1)[None], mass
