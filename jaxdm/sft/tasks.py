"""Tasks: an instance of a world with all that its oracle says of it, as tables over information states.

Dimensions: `H` horizon, `N` information states (the states of an MDP; elsewhere the values of a sufficient statistic of
the history), `A` actions, `O` observations, `M` models (1 but in ambiguous worlds), `K` states that are possible at
once, `T` steps of an episode.

Tasks are planned in float64 and handed to the simulators in float32.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import apomdp as apomdps
from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.families.rooms import Room, member
from jaxdm.envs.mdp import MDP, uniform_play
from jaxdm.envs.pomdp import POMDP
from jaxdm.numerics import cast_floats
from jaxdm.oracles.apomdp import history_graph, information_states
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.mdp.evaluation import finite_policy_evaluation
from jaxdm.oracles.mdp.planning import backward_induction
from jaxdm.rollout import epsilon_soft
from jaxdm.types import Episode, Tree
from jaxdm.validation import InvalidInput

CHUNK = 20
"""Tasks that are solved at once: few enough for a CPU's cache."""


class ExpertPolicy(NamedTuple):
    """An eps-soft policy of information states, and the labels that it gives.

    Data, so that one compiled program learns from any expert. Play must choose between equally good actions; a label
    need not.
    """

    policy: jax.Array  # [H, N] int32, the action it plays
    good: jax.Array  # [H, N, A] bool, the actions that its label allows
    available: jax.Array  # [H, N, A] bool, the actions that can be taken at all
    exploration: jax.Array  # [] eps, the chance of a uniform one of these instead


class Task(NamedTuple):
    """An instance, solved for a horizon.

    Under ambiguity `q` holds the values of the alpha-maxmin recursion, while `model_value`, `oracle_value` and
    `random_value` are expected returns in each model; a policy is judged by `alpha min_m + (1 - alpha) max_m` of these.
    """

    world: Tree  # parameters of the Env
    graph: HistoryGraph  # where histories lead, and what each model believes there
    q: jax.Array  # [H, N, A] optimal action values
    optimal: jax.Array  # [H, N, A] bool, actions that cannot be told from the best
    model_q: jax.Array  # [M, H, N, A] optimal action values in each model
    model_value: jax.Array  # [M] the optimal value in each model
    oracle_value: jax.Array  # [M] value of the oracle of `q`
    random_value: jax.Array  # [M] value of uniform play
    attitude: jax.Array  # [] alpha
    bound: jax.Array  # [] certified error of `q` and `model_q`, before the cast to float32
    expert: ExpertPolicy  # who demonstrates and labels; the oracle unless replaced


def solve_mdp(mdp: MDP, horizon: int) -> Task:
    """Solve an MDP for a horizon: `Q*` by backward induction, and the value of uniform play.

    Args:
        mdp: no batch axis.
        horizon: H.

    Returns:
        Task whose information states are the states, with one model.
    """
    plan = backward_induction(mdp, horizon)
    states, actions = mdp.reward.shape
    random = finite_policy_evaluation(mdp, uniform_play(mdp), horizon)
    best = (plan.value[0] @ mdp.initial)[None]
    seen = jnp.arange(states, dtype=jnp.int32)
    return Task(
        world=mdp,
        graph=HistoryGraph(
            root=seen,
            child=jnp.broadcast_to(seen, (states, actions, states)),
            support=seen[:, None],
            belief=jnp.ones((1, states, 1), mdp.reward.dtype),
        ),
        q=plan.q,
        optimal=plan.ties,
        model_q=plan.q[None],
        model_value=best,
        oracle_value=best,
        random_value=(random.value[0] @ mdp.initial)[None],
        attitude=jnp.ones_like(mdp.discount),
        bound=plan.certificate.bound,
        expert=expert_policy(plan.ties, plan.q),
    )


def solve_apomdp(apomdp: APOMDP, graph: HistoryGraph, horizon: int) -> Task:
    """Solve an ambiguous POMDP on the graph of a sufficient statistic; with one model this is the POMDP.

    Args:
        apomdp: no batch axis.
        graph: the statistic's nodes, transitions and beliefs.
        horizon: H.
    """
    plan = information_states.plan(apomdp, graph, horizon)

    def value(policy: jax.Array) -> jax.Array:
        """The expected return of action probabilities [H, N, A] in each model, [M]."""
        return information_states.evaluate(apomdp, graph, policy)

    allowed = (plan.q > -jnp.inf).astype(plan.q.dtype)

    def greedy_value(q: jax.Array) -> jax.Array:
        return value(epsilon_soft(jnp.argmax(q, axis=-1), q.shape[-1]).astype(q.dtype))

    solved = Task(
        world=apomdp,
        graph=graph,
        q=plan.q,
        optimal=plan.ties,
        model_q=plan.model_q,
        model_value=jnp.diagonal(jax.vmap(greedy_value)(plan.model_q)),
        oracle_value=apomdp.nature,
        random_value=value(allowed / jnp.maximum(jnp.sum(allowed, axis=-1, keepdims=True), 1)),
        attitude=apomdp.attitude,
        bound=plan.bound,
        expert=expert_policy(plan.ties, plan.q),
    )
    return solved._replace(oracle_value=value(play_probabilities(solved.expert).astype(plan.q.dtype)))


def solve_pomdp(pomdp: POMDP, horizon: int) -> Task:
    """Solve any POMDP for a horizon, on its histories with equal beliefs merged, e.g. Tiger or a `.POMDP` file.

    The graph's size depends on the data, so this runs on the host; `jax.jit` and `jax.vmap` cannot go through it.
    Planned in float64, returned in float32.

    Args:
        pomdp: no batch axis.
        horizon: H.

    Raises:
        ValueError: a bad POMDP, horizon < 1, or more histories than memory (`jaxdm.oracles.apomdp.history_graph`).
    """
    solved = solve_merged(apomdps.make(jax.tree.map(lambda x: x[None], pomdp), 1.0), horizon)
    return solved._replace(world=cast_floats(pomdp, jnp.float32))


def solve_merged(apomdp: APOMDP, horizon: int) -> Task:
    """`solve_apomdp` on the histories themselves, merged where every model believes the same; as `solve_pomdp`."""
    with jax.enable_x64(True):
        wide = jax.device_put(cast_floats(jax.tree.map(np.asarray, apomdp), np.float64))
        task = jax.jit(solve_apomdp, static_argnums=2)(wide, history_graph.merged(wide, horizon), horizon)
    return cast_floats(task, jnp.float32)


def solve_room(room: Room, horizon: int) -> Task:
    """Solve a hidden-mode room; with a single model its world is a POMDP."""
    solved = solve_apomdp(room.world, room_information(room, horizon), horizon)
    return solved._replace(world=member(room.world, 0)) if room.slip.shape[0] == 1 else solved


def sample(key: jax.Array, draw: Callable[[jax.Array, Tree], Task], ranges: Tree, count: int) -> Task:
    """Draw and solve tasks in float64; the result is float32.

    Args:
        key: random key; training and held-out tasks are drawn with different ones.
        draw: `(key, ranges) -> Task`: a family and its oracle. Compiled once for all ranges.
        ranges: from which ranges the family draws its numbers, as data.
        count: number of tasks.

    Returns:
        Task with leading axis [count].

    Raises:
        InvalidInput: count < 1.
    """
    if count < 1:
        raise InvalidInput(f"count: {count}; expected at least 1")
    with jax.enable_x64(True):
        keys = jax.random.split(key, -(-count // CHUNK) * CHUNK).reshape(-1, CHUNK)
        solved = [_solve(draw, row, ranges) for row in keys]
    # Put together on the host: on the device this would be compiled anew for every count.
    return jax.device_put(jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *solved))


@functools.partial(jax.jit, static_argnums=0)
def _solve(draw: Callable[[jax.Array, Tree], Task], keys: jax.Array, ranges: Tree) -> Task:
    return cast_floats(jax.vmap(draw, in_axes=(0, None))(keys, ranges), jnp.float32)


def expert_policy(good: jax.Array, q: jax.Array) -> ExpertPolicy:
    """The expert that plays the lowest of the good actions, and allows all of them in its labels.

    Args:
        good: [H, N, A] bool.
        q: [H, N, A] action values, -inf where an action is not available.
    """
    return ExpertPolicy(
        policy=jnp.argmax(good, axis=-1).astype(jnp.int32),
        good=good,
        available=q > -jnp.inf,
        exploration=jnp.zeros((), q.dtype),
    )


def play_probabilities(expert: ExpertPolicy) -> jax.Array:
    """The action probabilities of an expert's play, [H, N, A]."""
    return epsilon_soft(expert.policy, expert.good.shape[-1], expert.exploration, expert.available)


def label_probabilities(expert: ExpertPolicy) -> jax.Array:
    """The action probabilities of an expert's labels, [..., A]: `(1 - eps) uniform(good) + eps uniform`."""
    good, available = (x.astype(expert.exploration.dtype) for x in (expert.good, expert.available))
    even, any_action = (x / jnp.sum(x, axis=-1, keepdims=True) for x in (good, available))
    return (1 - expert.exploration) * even + expert.exploration * any_action


def loss_along(q: jax.Array, discount: jax.Array, node: jax.Array, episode: Episode) -> jax.Array:
    """`sum_t gamma^t (max_a Q_t(n_t, a) - Q_t(n_t, a_t))`, []: its mean over episodes is `V* - V^pi`.

    The performance-difference identity: exact in mean, and far less noisy than returns, since the luck of rewards and
    transitions does not enter. Under ambiguity it holds for each model's own values on episodes of that model.

    Args:
        q: [H, N, A] optimal action values.
        discount: [].
        node: [T] from `graph_policy.nodes_along`; T <= H.
        episode: T steps from time 0.

    Returns:
        [] in reward units.

    Reference: Kakade and Langford, Approximately optimal approximate reinforcement learning, 2002, lemma 6.1.
    """
    time = jnp.arange(node.shape[0])
    values = q[time, node]
    chosen = jnp.take_along_axis(values, episode.action[:, None], axis=-1)[:, 0]
    lost = (jnp.max(values, axis=-1) - chosen) * discount ** time.astype(q.dtype)  # inf for an unavailable action
    return jnp.sum(jnp.where(episode.mask, lost, 0))


def room_information(room: Room, horizon: int) -> HistoryGraph:
    """The sufficient statistic of a hidden-mode room: cell, cue, and the surplus of moves as in mode 0 over mode 1.

    With surplus d, `b_m(mode 0) / b_m(mode 1) = [prior odds given the cue] ((1 - 3 slip / 4) / (slip / 4))^d`, since
    four moves lead to four cells.

    Args:
        room: no batch axis.
        horizon: H; the surplus d is in -(H - 1)..H - 1.

    Returns:
        HistoryGraph of `N = 2 X (2 H - 1)` nodes, each with two possible states: its cell and cue in either mode.
    """
    cells = room.target.shape[1]
    most = horizon - 1
    width = 2 * horizon - 1
    seen, index = jnp.divmod(jnp.arange(2 * cells * width, dtype=jnp.int32), width)
    surplus = index - most
    cell, cue = jnp.divmod(seen, 2)
    after = jnp.arange(2 * cells, dtype=jnp.int32)
    went = (room.target[:, cell, :, None] == (after // 2)[None, None, None, :]).astype(jnp.int32)  # [2, N, A, O]
    moved = jnp.clip(surplus[:, None, None] + went[0] - went[1], -most, most)
    slip, cue_accuracy, prior = (x[:, None] for x in (room.slip, room.cue_accuracy, room.mode_prior))
    likely = 1 - 0.75 * slip
    unlikely = 0.25 * slip
    cue_in_mode_0 = jnp.where((cue == 0)[None, :], cue_accuracy, 1 - cue_accuracy)
    up = jnp.maximum(surplus, 0).astype(slip.dtype)[None, :]
    down = jnp.maximum(-surplus, 0).astype(slip.dtype)[None, :]
    mode_0 = prior * cue_in_mode_0 * likely**up * unlikely**down
    mode_1 = (1 - prior) * (1 - cue_in_mode_0) * likely**down * unlikely**up
    total = mode_0 + mode_1
    modes = jnp.arange(0, 4, 2, dtype=jnp.int32)[None, :]
    return HistoryGraph(
        root=after * width + most,
        child=after[None, None, :] * width + moved + most,
        support=(4 * cell + cue)[:, None] + modes,
        belief=jnp.stack([mode_0, mode_1], axis=-1) / jnp.where(total > 0, total, 1)[..., None],
    )
