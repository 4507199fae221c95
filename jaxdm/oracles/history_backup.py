"""One backup on histories, and how far rounding carries it: the equation of every planner of hidden states.

Dimensions: `M` models, `N` nodes of a graph of histories, `S` states, `A` actions, `O` observations.

With `b_m(n)` the belief that Bayes' rule gives under model m at node n,

    G_m(n,a) = sum_s b_m(s|n) r(s,a) + gamma sum_o Pr_m(o|n,a) V(n a o)
    Q(n,a)   = alpha min_m G_m(n,a) + (1 - alpha) max_m G_m(n,a)                   V(n) = max_a Q(n,a)

over the models that give n a positive probability. With one model the weighing does nothing: this is the POMDP.

Every entry has its own bound, so that one large penalty does not blur decisions elsewhere. After t steps a computed
belief is off by Bayes' rule with rounded numbers: entry by entry and relatively, by at most `kappa_t` (products, sums
of non-negative numbers, and one division; Higham 2002, section 3.1). The same holds of chances, hence

    e_m(n,a) = kappa_t (sum_s b_m(s|n) |r(s,a)| + gamma sum_o Pr_m(o|n,a) |V(n a o)|)
               + (1 + kappa_t) gamma sum_o Pr_m(o|n,a) e(n a o)

is the error of G_m. The error of a maximum of computed numbers `x_i`, each known to `e_i`, is
`max_i (e_i - (max x - x_i))`: what is far from the largest cannot be it. That of a minimum likewise.

**Available actions.** An action is available at a node when it is available in every state that some model believes
possible there (`jaxdm.envs.mdp`: a reward of -inf says that it is not). Elsewhere `Q = -inf`, known without error.

The functions work on arrays of numpy, float64 on the host, as on arrays of jax.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.numerics import array_namespace
from jaxdm.oracles.mdp.bellman import greedy, value_error

HIGHEST = jax.lax.Precision.HIGHEST


class Layer(NamedTuple):
    """What the models hold at each of N nodes."""

    belief: Any  # [M, N, S] sums to one, or is zero
    alive: Any  # [M, N] bool, the model allows the node
    reward: Any  # [M, N, A] expected next reward, over the states where the action is available
    size: Any  # [M, N, A] its expected modulus
    available: Any  # [M, N, A] bool, in all states that the model believes possible
    probability: Any  # [M, N, A, O] of what is seen next; [M, N, A, 0] at a leaf


class Weighed(NamedTuple):
    """What follows from a layer and the values ahead."""

    q: Any  # [N, A]
    value: Any  # [N]
    policy: Any  # [N] int32, the lowest action equal to the best up to rounding
    ties: Any  # [N, A] bool, all actions that cannot be told from the best
    error: Any  # [N, A] certified error of `q`
    value_error: Any  # [N] of `value`


def look(belief: Any, reward: Any, probability: Any = None) -> Layer:
    """The layer of the beliefs [M, N, S]; without chances of what is seen next, leaves.

    Args:
        belief: [M, N, S].
        reward: [S, A], -inf where the action is not available.
        probability: [M, N, A, O].
    """
    xp = array_namespace(belief)
    allowed = reward != -np.inf
    paid = xp.where(allowed, reward, 0)
    if probability is None:
        probability = xp.zeros((*belief.shape[:2], reward.shape[1], 0), belief.dtype)
    return Layer(
        belief=belief,
        alive=xp.any(belief > 0, axis=-1),
        reward=_product(belief, paid),
        size=_product(belief, xp.abs(paid)),
        available=_product(belief, xp.where(allowed, 0, 1).astype(belief.dtype)) == 0,
        probability=probability,
    )


def backup(reward: Any, probability: Any, ahead: Any, discount: Any, axis: int = -1) -> Any:
    """`reward + gamma sum_o Pr(o|.) ahead(.o)`: the equation itself.

    Args:
        reward: of any shape.
        probability: that of `reward`, and observations along `axis`.
        ahead: what is expected of the nodes that follow, broadcast against `probability`.
        discount: gamma, [].
        axis: of the observations.
    """
    return reward + discount * (probability * ahead).sum(axis=axis)


def model_backup(here: Layer, ahead: Any, behind: Any, discount: Any, kappa: Any) -> tuple[Any, Any]:
    """`G_m(n,a)` [M, N, A] for every model by itself, and its error `e_m(n,a)`; -inf where not available.

    Args:
        here: the N nodes.
        ahead: [..., N, A, O] values of the nodes that follow, for all models or for each; of size zero after leaves.
        behind: how far those may be from the truth, of the same shape.
        discount: gamma, [].
        kappa: `kappa_t` of the nodes.
    """
    g, error, _ = _each(here, ahead, behind, discount, kappa)
    xp = array_namespace(g)
    return xp.where(here.available, g, -xp.inf), xp.where(here.available, error, 0)


def _each(here: Layer, ahead: Any, behind: Any, discount: Any, kappa: Any) -> tuple[Any, Any, Any]:
    """`G`, `e` and what rounding alone does, all [M, N, A]."""
    xp = array_namespace(here.reward)
    shape = here.probability.shape
    shape = shape if ahead.size == here.probability.size else (1, *shape[1:])
    ahead, behind = ahead.reshape(shape), behind.reshape(shape)
    g = backup(here.reward, here.probability, ahead, discount)
    tiny = 2 * xp.finfo(here.reward.dtype).tiny * here.belief.shape[-1]
    unsure = kappa * xp.abs(ahead) + (1 + kappa) * behind
    error = backup(kappa * here.size + tiny, here.probability, unsure, discount)
    rounding = kappa * (here.size + xp.abs(g - here.reward))
    return g, xp.where(xp.isfinite(error), error, xp.inf), rounding


def decide(here: Layer, ahead: Any, behind: Any, discount: Any, attitude: Any, kappa: Any) -> Weighed:
    """One step of the induction of this module's docstring, with its errors.

    Args:
        here: the N nodes.
        ahead: [N, A, O] values of the nodes that follow; of any shape and size zero after leaves.
        behind: how far those may be from the truth, of the same shape.
        discount: gamma, [].
        attitude: alpha, [].
        kappa: `kappa_t` of the nodes.
    """
    xp = array_namespace(here.reward)
    g, error, rounding = _each(here, ahead, behind, discount, kappa)
    alive, allowed = here.alive[..., None], xp.all(here.available, axis=0)
    q = xp.where(allowed, weigh(g, alive, attitude), -xp.inf)
    error = xp.where(allowed, weighed_error(g, error, alive, attitude), 0)
    rounding = xp.minimum(xp.max(xp.where(alive, rounding, 0), axis=0), error)
    policy, ties = greedy(q, rounding, error)
    return Weighed(
        q=q, value=xp.max(q, axis=-1), policy=policy, ties=ties, error=error, value_error=value_error(q, error)
    )


def weigh(g: Any, alive: Any, attitude: Any) -> Any:
    """`alpha min_m G_m + (1 - alpha) max_m G_m` over the models that are alive, zero where none is.

    Args:
        g: [M, ...].
        alive: [M, ...] bool.
        attitude: alpha, [].
    """
    xp = array_namespace(g)
    some = xp.any(alive, axis=0)
    worst = xp.where(some, xp.min(xp.where(alive, g, xp.inf), axis=0), 0)
    best = xp.where(some, xp.max(xp.where(alive, g, -xp.inf), axis=0), 0)
    return attitude * worst + (1 - attitude) * best


def weighed_error(g: Any, error: Any, alive: Any, attitude: Any) -> Any:
    """How far `weigh` of computed numbers [M, ...], each known to `error`, can be from that of the exact ones.

    Where models differ by more than their errors, only the worst and the best count.
    """
    xp = array_namespace(g)
    low = xp.min(xp.where(alive, g, xp.inf), axis=0, keepdims=True)
    high = xp.max(xp.where(alive, g, -xp.inf), axis=0, keepdims=True)
    of_worst = xp.max(xp.where(alive, error - (g - low), 0), axis=0)
    of_best = xp.max(xp.where(alive, error - (high - g), 0), axis=0)
    mixing = 4 * xp.finfo(g.dtype).eps * xp.where(xp.any(alive, axis=0), (xp.abs(low) + xp.abs(high))[0], 0)
    return attitude * of_worst + (1 - attitude) * of_best + xp.where((attitude > 0) & (attitude < 1), mixing, 0)


def root(mass: Any, value: Any, behind: Any, attitude: Any, kappa: Any) -> tuple[Any, Any]:
    """The value before the first observation, which is weighed like any other, `g_m = sum_o Pr_m(o) V(o)`; its error.

    Args:
        mass: [M, O] chance of the first observation.
        value: [O] value after it.
        behind: [O] its error.
        attitude: alpha, [].
        kappa: of the first beliefs.
    """
    xp = array_namespace(value)
    g = backup(0, mass, value[None], 1)
    error = backup(0, mass, (kappa * xp.abs(value) + (1 + kappa) * behind)[None], 1)
    alive = xp.ones(g.shape, bool)
    return weigh(g, alive, attitude), weighed_error(g, error, alive, attitude)


def relative_error(world: Any, steps: Any, work: Any = None) -> Any:
    """`kappa_t` of this module's docstring.

    `((t + 2) (2 S + 8) + O + 8) eps`, and, where it is computed in a wider type than the numbers are stored in,
    4 of theirs for every step.

    Args:
        world: a POMDP or APOMDP.
        steps: t, length of the history behind the beliefs; may be traced.
        work: float type of the computation; that of the numbers when left out.
    """
    states, observations = world.reward.shape[-2], world.observation.shape[-1]
    stored = float(jnp.finfo(world.reward.dtype).eps)
    computed = stored if work is None else float(jnp.finfo(work).eps)
    wider = 0.0 if work is None else 4 * (steps + 2) * stored
    return ((steps + 2) * (2 * states + 8) + observations + 8) * computed + wider


def require_available(root: Any, child: Any, possible: Any, allowed: Any, steps: int | None = None) -> None:
    """Check that some action is available at every node that available actions lead to.

    Args:
        root: [O] the nodes after the first observations that are possible.
        child: [E, A, O].
        possible: [E, A, O] bool, what some model believes possible.
        allowed: [N, A] bool.
        steps: H, at the first so many decisions; at all of them when left out.

    Raises:
        ValueError: names the first node where there is none.
    """
    root, child, possible, allowed = (np.asarray(x) for x in (root, child, possible, allowed))
    reached = np.zeros(len(allowed), bool)
    fresh = np.unique(root)
    done = 0
    while fresh.size and (steps is None or done < steps):
        done += 1
        reached[fresh] = True
        stuck = fresh[~allowed[fresh].any(axis=-1)]
        if stuck.size:
            raise ValueError(
                f"available: no action at node {stuck[0]}; expected an action that is available in every state that is "
                "believed possible, at every belief that available actions lead to"
            )
        ahead = fresh[fresh < len(child)]
        after = np.unique(child[ahead][possible[ahead] & allowed[ahead][..., None]])
        fresh = after[~reached[after]]


def _product(belief: Any, table: Any) -> Any:
    """`sum_s b(s) table(s, ...)`, at full precision on every device."""
    if isinstance(belief, np.ndarray):
        return belief @ table
    return jnp.einsum("mns,sa->mna", belief, table, precision=HIGHEST)
