"""Exact planning in a small POMDP on the whole tree of its histories: static shapes, for jit, vmap and accelerators.

Dimensions: `S` states, `A` actions, `O` observations, `H` steps, `N` histories of all lengths.

Beliefs are kept unnormalised: `w(h a o) = w(h) M_{ao}` with `M_{ao}[s, s'] = P(s'|s,a) Z(o|a,s')`, so that one step
down is one matrix product, and one step up a maximum and a sum. For values, `M_{ao} r` saves the last step down.
Histories of t steps are numbered so that `(a O + o) O (A O)^t + n` follows n. Across problems, `jax.vmap` is fastest
while a batch's trees fit in the cache, and on accelerators; on a CPU, `jax.lax.map` where they do not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.pomdp.belief import horizon_errors, relative_error
from jaxdm.oracles.pomdp.belief_graph import MEMORY
from jaxdm.types import Certificate

EXACT = jax.lax.Precision.HIGHEST


class TreePlan(NamedTuple):
    """What is optimal after every history; row `start[t] + n` belongs to history n of t steps.

    `policy` and `ties` as in `jaxdm.oracles.mdp.planning.Plan`. Impossible histories have Q-values of zero.
    """

    root_value: jax.Array  # [] expected over the first observation
    q: jax.Array  # [N, A]
    policy: jax.Array  # [N] int32
    ties: jax.Array  # [N, A] bool
    graph: HistoryGraph  # belief [1, N, S], zero for impossible histories
    start: jax.Array  # [H + 1] int32
    certificate: Certificate


def tree_value(pomdp: POMDP, horizon: int, belief: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """The optimal value of H steps alone: the fast form of `plan_tree`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        belief: [S] where to start, with nothing seen; when left out, from `rho` with the first observation seen.

    Returns:
        The value [], expected over the first observation, and its certified error [].

    Raises:
        ValueError: as `plan_tree`.
    """
    _check(pomdp, horizon)
    roots = _first_joint(pomdp) if belief is None else belief[:, None]
    root_q = _ascend(pomdp, _descend(pomdp, roots, horizon), horizon)[0]
    return jnp.sum(jnp.max(root_q, axis=0)), _errors(pomdp, horizon)[1][0]


def plan_tree(pomdp: POMDP, horizon: int, memory: float = MEMORY) -> TreePlan:
    """Optimal values after every history, with `V_t = max_a Q_t` and `V_H = 0`.

    `Q_t(w,a) = w . r_a + gamma sum_o V_{t+1}(w M_{ao})`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        memory: bytes that the result may take.

    Returns:
        TreePlan with `N = O ((A O)^H - 1) / (A O - 1)` rows; the bound covers every row.

    Raises:
        ValueError: horizon < 1, a bad POMDP, or more than `memory`, known before anything is made.

    Reference: Smallwood, Sondik, Operations Research 21, 1973.
    """
    _check(pomdp, horizon)
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    widths = [observations * (actions * observations) ** t for t in range(horizon)]
    needed = sum(widths) * (pomdp.reward.dtype.itemsize * (2 * states + 3 * actions + 2) + 4)
    if needed > memory:
        raise ValueError(
            f"horizon: {horizon} with A = {actions}, O = {observations} makes {sum(widths)} histories, which need "
            f"{needed / 2**20:.4g} MiB; expected at most {memory / 2**20:.4g} MiB (jaxdm.oracles.pomdp.exact "
            "merges equal beliefs)"
        )
    levels = _descend(pomdp, _first_joint(pomdp), horizon)
    q = _ascend(pomdp, levels, horizon)
    joint = [*levels, *([_children(pomdp, levels[-1])] if horizon > 1 else [])]
    rounding, error = _errors(pomdp, horizon)
    rows = [_normalised(*level) for level in zip(joint, q, rounding, error, strict=True)]
    q_rows, policy, ties, belief = (jnp.concatenate(column) for column in zip(*rows, strict=True))
    return TreePlan(
        root_value=jnp.sum(jnp.max(q[0], axis=0)),
        q=q_rows,
        policy=policy,
        ties=ties,
        graph=HistoryGraph(
            root=jnp.arange(observations, dtype=jnp.int32),
            child=_child(widths, actions, observations),
            belief=belief[None],
        ),
        start=jnp.asarray([sum(widths[:t]) for t in range(horizon + 1)], jnp.int32),
        certificate=Certificate(residual=jnp.zeros_like(error[0]), bound=error[0], iterations=jnp.int32(horizon)),
    )


def _child(widths: list[int], actions: int, observations: int) -> jax.Array:
    """Where each history leads, [E, A, O], numbered as in this module's docstring; zeros where none leads anywhere."""
    branch = jnp.arange(actions * observations, dtype=jnp.int32).reshape(1, actions, observations)
    children, start = [jnp.full((1, actions, observations), -1, jnp.int32)], 0
    for width in widths[:-1]:
        start += width
        children.append(start + branch * width + jnp.arange(width, dtype=jnp.int32)[:, None, None])
    return jnp.concatenate(children[1:] or children)


def _check(pomdp: POMDP, horizon: int) -> None:
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    validate(pomdp)
    if pomdp.transition.ndim != 3:
        raise ValueError(f"transition: shape {pomdp.transition.shape}; expected [S, A, S], and jax.vmap for several")


def _first_joint(pomdp: POMDP) -> jax.Array:
    """Chance of each first state and observation, [S, O]."""
    return pomdp.initial[:, None] * pomdp.initial_observation


def _kernel(pomdp: POMDP) -> jax.Array:
    """`M`, [S, A O, S]."""
    kernel = jnp.einsum("sat,ato->saot", pomdp.transition, pomdp.observation)
    return kernel.reshape(kernel.shape[0], -1, kernel.shape[-1])


def _children(pomdp: POMDP, joint: jax.Array) -> jax.Array:
    """One step down: unnormalised beliefs [S, A O n] after each of [S, n]."""
    return jnp.einsum("skt,sn->tkn", _kernel(pomdp), joint, precision=EXACT).reshape(joint.shape[0], -1)


def _descend(pomdp: POMDP, roots: jax.Array, horizon: int) -> list[jax.Array]:
    """Unnormalised beliefs [S, n] after the histories of 0, 1, ..., max(H - 2, 0) steps."""
    levels = [roots]
    for _ in range(horizon - 2):
        levels.append(_children(pomdp, levels[-1]))
    return levels


def _ascend(pomdp: POMDP, levels: list[jax.Array], horizon: int) -> list[jax.Array]:
    """Q-values [A, n] of the unnormalised beliefs, for histories of 0, 1, ..., H - 1 steps."""
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    q = []
    if horizon > 1:
        last = jnp.einsum("skt,tb->sbk", _kernel(pomdp), pomdp.reward, precision=EXACT).reshape(states, -1)
        q.append(jnp.einsum("sc,sn->cn", last, levels[-1], precision=EXACT).reshape(actions, -1))
    for joint in reversed(levels):
        now = jnp.einsum("sa,sn->an", pomdp.reward, joint, precision=EXACT)
        if q:
            value = jnp.max(q[-1], axis=0).reshape(actions, observations, -1)
            now = now + pomdp.discount * jnp.sum(value, axis=1)
        q.append(now)
    return q[::-1]


def _normalised(joint: jax.Array, q: jax.Array, rounding: jax.Array, error: jax.Array) -> tuple[jax.Array, ...]:
    """Q [n, A], policy [n], ties [n, A] and belief [n, S] of one level."""
    mass = jnp.sum(joint, axis=0)
    scale = jnp.where(mass > 0, mass, 1)
    q, belief = (q / scale[None]).T, (joint / scale[None]).T
    loss = jnp.max(q, axis=-1, keepdims=True) - q
    return q, jnp.argmax(loss <= 2 * rounding, axis=-1).astype(jnp.int32), loss <= 2 * error, belief


def _errors(pomdp: POMDP, horizon: int) -> tuple[list[jax.Array], list[jax.Array]]:
    """Rounding of one backup and certified error of Q at each step."""
    dtype = pomdp.reward.dtype
    widest = jnp.max(jnp.sum(pomdp.transition, axis=-1)) * jnp.max(jnp.sum(pomdp.observation, axis=-1))
    factor = pomdp.discount * jnp.maximum(widest, 1)
    return horizon_errors(jnp.max(jnp.abs(pomdp.reward)), factor, relative_error(pomdp, dtype), horizon)
