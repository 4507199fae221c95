"""Planning on a given graph of information states: what is worth remembering of a history, and where it leads.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `N` information states, `H` steps.

Where histories with the same summary lead to the same beliefs under every model, the alpha-maxmin recursion of
`history_tree` runs on summaries, for any horizon and with static shapes; with one model it is a POMDP's. Whoever gives
the graph claims that equality: how far it is missed, relatively and entry by entry, is measured and enters the
certificate. Bayes' rule without its normalisation keeps such an error, hence `2 H` times it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.history_tree import validate_one
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.history_backup import (
    HIGHEST,
    Layer,
    backup,
    decide,
    model_backup,
    relative_error,
    require_available,
)
from jaxdm.oracles.mdp.bellman import require_range, value_error
from jaxdm.validation import (
    ROW_SUM_TOLERANCE,
    InvalidInput,
    check_distribution,
    float_array,
    integer_array,
    is_concrete,
    positive_integer,
    record,
    require,
)


class InformationPlan(NamedTuple):
    """What is optimal at every summary and step; rows that no history reaches mean nothing."""

    q: jax.Array  # [H, N, A], -inf where the action is not available
    policy: jax.Array  # [H, N] int32, the lowest action equal to the best up to rounding
    ties: jax.Array  # [H, N, A] bool, actions that cannot be told from the best
    error: jax.Array  # [H, N, A] certified error of each entry of `q`
    model_q: jax.Array  # [M, H, N, A] each model's own optimal values, as if it were known to be true
    reached: jax.Array  # [H, N] bool
    bound: jax.Array  # [] largest error of an entry of `q` or `model_q` where reached


def plan(apomdp: APOMDP, graph: HistoryGraph, horizon: int) -> InformationPlan:
    """Alpha-maxmin planning for H steps on a graph of summaries, `V = 0` after the last.

    Args:
        apomdp: the world; no batch axis.
        graph: its graph.
        horizon: H >= 1.

    Raises:
        ValueError: a bad APOMDP, a graph that is not one of it, horizon < 1, or (where values are concrete) a node at
            which no action is available.
    """
    horizon = positive_integer("horizon", horizon)
    graph = _checked(apomdp, graph)
    require_range(apomdp.reward, horizon)
    check_available(apomdp, graph, horizon)
    child = graph.child.reshape(-1)
    here = _look(apomdp, graph)
    reached = _reached(graph, here, _first(apomdp), horizon)
    missed = 2 * horizon * _missed(apomdp, graph, here, jnp.any(reached[: horizon - 1], axis=0))
    nodes = graph.belief.shape[1]

    def step(later: tuple, at: tuple) -> tuple:
        (value, behind), (values, each_behind) = later
        t, now = at
        kappa = relative_error(apomdp, t) + missed
        best = decide(here, value[child], behind[child], apomdp.discount, apomdp.attitude, kappa)
        model_q, errors = model_backup(here, values[:, child], each_behind[:, child], apomdp.discount, kappa)
        both = (best.value, best.value_error), (jnp.max(model_q, axis=-1), value_error(model_q, errors))
        ahead = jax.tree.map(lambda x: jnp.where(now, x, 0), both)
        largest = jnp.maximum(best.error, jnp.max(errors, axis=0))
        bound = jnp.max(jnp.where(now[:, None], largest, 0))
        return ahead, (best.q, best.policy, best.ties, best.error, model_q, bound)

    zero = jnp.zeros((len(graph.belief), nodes), missed.dtype)
    end = ((zero[0], zero[0]), (zero, zero))
    _, found = jax.lax.scan(step, end, (jnp.arange(horizon), reached), reverse=True)
    q, policy, ties, error, model_q, bound = found
    return InformationPlan(
        q=q,
        policy=policy,
        ties=ties,
        error=error,
        model_q=jnp.moveaxis(model_q, 1, 0),
        reached=reached,
        bound=jnp.max(bound),
    )


def evaluate(apomdp: APOMDP, graph: HistoryGraph, probabilities: jax.Array) -> jax.Array:
    """What a policy of summaries is worth in each model, before the first observation, [M].

    Args:
        apomdp: the world.
        graph: its graph.
        probabilities: [H, N, A] probabilities of actions.

    Raises:
        ValueError: a bad APOMDP, a graph that is not one of it, or probabilities of another shape or that are none.
    """
    graph = _checked(apomdp, graph)
    sizes = {"N": graph.belief.shape[1], "A": apomdp.reward.shape[1]}
    probabilities = float_array("probabilities", probabilities, "H N A", **sizes)
    if is_concrete(probabilities):
        check_distribution("probabilities", probabilities)
    here = _look(apomdp, graph)
    child = graph.child

    def step(value: jax.Array, choice: jax.Array) -> tuple[jax.Array, None]:
        q = backup(here.reward, here.probability, value[:, child], apomdp.discount)
        taken = jnp.where(here.available, q, -jnp.inf)
        # What has no chance, or is no node of a model, does not count, though it be worth -inf.
        counts = (choice[None] > 0) & here.alive[..., None]
        return jnp.sum(jnp.where(counts, choice[None] * taken, 0), axis=-1), None

    end = jnp.zeros(graph.belief.shape[:2], probabilities.dtype)
    value, _ = jax.lax.scan(step, end, probabilities, reverse=True)
    return jnp.sum(_first(apomdp) * value[:, graph.root], axis=-1)


def check_available(apomdp: APOMDP, graph: HistoryGraph, horizon: int) -> None:
    """Check, where values are concrete, that some action is available wherever available ones lead within H steps.

    Raises:
        ValueError: names the first node where there is none.
    """
    if not is_concrete(apomdp, graph) or bool(jnp.all(apomdp.reward > -jnp.inf)):
        return
    graph = _checked(apomdp, graph)
    here, first = _look(apomdp, graph), jnp.any(_first(apomdp) > 0, axis=0)
    allowed, possible = jnp.all(here.available, axis=0), jnp.any(here.probability > 0, axis=0)
    # Where a graph ends its children are nowhere.
    possible &= (graph.child >= 0) & (graph.child < possible.shape[0])
    require_available(np.asarray(graph.root)[np.asarray(first)], graph.child, possible, allowed, horizon)


def _reached(graph: HistoryGraph, here: Layer, mass: jax.Array, horizon: int) -> jax.Array:
    """Which summaries some history of t steps has that some model allows, [H, N]."""
    states = graph.child.shape[0]
    possible = jnp.any(here.probability > 0, axis=0)
    root = jnp.zeros(states, bool).at[graph.root].max(jnp.any(mass > 0, axis=0))

    def step(now: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        leads = (possible & now[:, None, None]).reshape(-1)
        return jnp.zeros(states, bool).at[graph.child.reshape(-1)].max(leads), now

    return jax.lax.scan(step, root, length=horizon)[1]


def _look(apomdp: APOMDP, graph: HistoryGraph) -> Layer:
    """What every summary expects."""
    seen = jnp.einsum("msat,mato->msao", apomdp.transition, apomdp.observation, precision=HIGHEST)
    states = _states(graph)
    allowed = apomdp.reward != -jnp.inf
    paid = jnp.where(allowed, apomdp.reward, 0)

    def expect(table: jax.Array) -> jax.Array:
        return jnp.einsum("mnk,nk...->mn...", graph.belief, table[states], precision=HIGHEST)

    return Layer(
        belief=graph.belief,
        alive=jnp.any(graph.belief > 0, axis=-1),
        reward=expect(paid),
        size=expect(jnp.abs(paid)),
        available=expect(1 - allowed.astype(paid.dtype)) == 0,
        probability=jnp.einsum("mnk,mnk...->mn...", graph.belief, seen[:, states], precision=HIGHEST),
    )


def _states(graph: HistoryGraph) -> jax.Array:
    """The states that are possible at each node, [N, K]."""
    if graph.support is None:
        return jnp.broadcast_to(jnp.arange(graph.belief.shape[-1], dtype=jnp.int32), graph.belief.shape[1:])
    return jnp.asarray(graph.support)


def _checked(apomdp: APOMDP, graph: HistoryGraph) -> HistoryGraph:
    """The graph, after all checks, with a row of `child` for every node; those that are added are never followed."""
    validate_one(apomdp)
    record("graph", graph, HistoryGraph)
    (models, states), (actions, observations) = apomdp.initial.shape, apomdp.observation.shape[-3::2]
    belief = float_array("belief", graph.belief, "M N K", M=models)
    nodes, possible = belief.shape[1:]
    if is_concrete(belief):
        whole = np.asarray(jnp.sum(belief, axis=-1))
        require("belief", np.asarray(belief) >= 0, belief, "probabilities >= 0")
        good = (np.abs(whole - 1) <= ROW_SUM_TOLERANCE) | (whole == 0)
        require("belief", good, whole, "rows that sum to 1, or to 0 where a model rules the node out")
    support = graph.support
    if support is not None:
        support = integer_array("support", support, "N K", at_most=states - 1, N=nodes, K=possible)
    elif possible != states:
        raise InvalidInput(f"support: None beside belief {belief.shape}; expected [N, K], or K = S = {states}")
    child = integer_array("child", graph.child, "E A O", at_least=-1, A=actions, O=observations)[:nodes]
    return HistoryGraph(
        root=integer_array("root", graph.root, "O", at_most=nodes - 1, O=observations),
        child=jnp.pad(child, ((0, nodes - child.shape[0]), (0, 0), (0, 0))),
        belief=belief,
        support=support,
    )


def _first(apomdp: APOMDP) -> jax.Array:
    """Chance of the first observation under each model, [M, O]."""
    return jnp.einsum("ms,mso->mo", apomdp.initial, apomdp.initial_observation, precision=HIGHEST)


def _missed(apomdp: APOMDP, graph: HistoryGraph, here: Layer, counts: jax.Array) -> jax.Array:
    """By how much Bayes' rule differs from the graph, relatively, at worst, where `counts` [N]; [].

    A belief that has weight elsewhere than in the graph's support is too small there, so that it shows.
    """
    actions, observations = graph.child.shape[1:]
    states = _states(graph)
    support = states[graph.child]  # [N, A, O, K]

    def whole(x: jax.Array, axis: int) -> jax.Array:
        return jnp.broadcast_to(jnp.expand_dims(x, [i for i in range(4) if i != axis]), support.shape)

    action, seen = whole(jnp.arange(actions), 1), whole(jnp.arange(observations), 2)

    def of_model(transition: jax.Array, observation: jax.Array, weight: jax.Array, chance: jax.Array) -> jax.Array:
        moves = (
            whole(w, 0) * transition[whole(s, 0), action, support] for s, w in zip(states.T, weight.T, strict=True)
        )
        joint = sum(moves, jnp.zeros(support.shape, weight.dtype)) * observation[action, support, seen]
        claimed = weight[graph.child] * chance[..., None]
        scale = jnp.where(joint > 0, joint, jnp.where(claimed > 0, claimed, 1))
        relevant = ((chance > 0) & counts[:, None, None])[..., None]
        return jnp.max(jnp.where(relevant, jnp.abs(joint - claimed) / scale, 0))

    return jnp.max(
        jax.vmap(of_model)(apomdp.transition, apomdp.observation, jnp.asarray(graph.belief), here.probability)
    )
