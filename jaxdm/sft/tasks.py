"""Tasks: instances of a world with all that their oracle says of them, as tables over information states; families.

A table has a row for every step and information state, [H, N, ...], or one for all steps, [1, N, ...], where no
information state is met at two of them, as in a whole tree of histories.

Dimensions: `H` horizon (or 1), `N` information states (the states of an MDP; elsewhere the values of a sufficient
statistic of the history), `A` actions, `O` observations, `M` models (1 but in ambiguous worlds), `K` states that are
possible at once, `T` steps of an episode, `I` identities.

Tasks are planned in float64 and handed to the simulators in float32.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import apomdp as apomdps
from jaxdm.envs import pomdp as pomdps
from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.families.rooms import Room
from jaxdm.envs.mdp import MDP, uniform_play
from jaxdm.envs.pomdp import POMDP
from jaxdm.numerics import cast_floats
from jaxdm.oracles.apomdp import history_graph, history_tree, information_states
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.mdp.evaluation import finite_policy_evaluation
from jaxdm.oracles.mdp.planning import backward_induction
from jaxdm.rollout import epsilon_soft
from jaxdm.types import Episode, Tree
from jaxdm.validation import (
    InvalidInput,
    check_shape,
    float_array,
    integer_array,
    number,
    positive_integer,
    record,
)

NOBODY: Any = np.int32(-1)
"""The identity of a task that has none."""


CHUNK = 16
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
    identity: jax.Array  # [] int32, which of its family's; -1 where there are none


class Family(NamedTuple):
    """A distribution of tasks, and the discrete part of what differs between them.

    Fields:
        draw: `(key, identity, ranges) -> Task`: the instance of that identity, solved. One object for one family and
            size, so that it is compiled once.
        identities: I, how many there are, numbered from 0; 0 where tasks differ in continuous numbers alone.
        tied: so many consecutive identities are alike, and are never parted.
    """

    draw: Callable[[jax.Array, jax.Array, Tree], Task]
    identities: int = 0
    tied: int = 1


def split_identities(key: jax.Array, family: Family, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The identities to train on, a random `share` of them, and those that are held out; both sorted.

    Args:
        key: random key.
        family: with identities.
        share: in (0, 1); each side gets at least one group of tied identities.

    Raises:
        InvalidInput: share outside (0, 1), or fewer than two groups.
    """
    record("family", family, Family)
    groups = family.identities // family.tied
    number("share", share, lambda x: 0 < x < 1, "a number between 0 and 1")
    if groups < 2:
        raise InvalidInput(f"family: {groups} groups of identities; expected at least 2, to train on some of them")
    order = np.asarray(jax.random.permutation(key, groups))
    count = min(max(round(share * groups), 1), groups - 1)

    def members(group: np.ndarray) -> np.ndarray:
        return (np.sort(group)[:, None] * family.tied + np.arange(family.tied)).reshape(-1).astype(np.int32)

    return members(order[:count]), members(order[count:])


def solve_mdp(mdp: MDP, horizon: int) -> Task:
    """Solve an MDP for a horizon: `Q*` by backward induction, and the value of uniform play.

    Args:
        mdp: no batch axis.
        horizon: H.

    Returns:
        Task whose information states are the states, with one model.

    Raises:
        ValueError: as `backward_induction`.
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
        identity=NOBODY,
    )


def solve_apomdp(apomdp: APOMDP, graph: HistoryGraph, horizon: int) -> Task:
    """Solve an ambiguous POMDP on the graph of a sufficient statistic; with one model this is the POMDP.

    Args:
        apomdp: no batch axis.
        graph: the statistic's nodes, transitions and beliefs.
        horizon: H.

    Raises:
        ValueError: as `jaxdm.oracles.apomdp.information_states.plan`.
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
        identity=NOBODY,
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
    pomdps.validate(pomdp)
    check_shape("transition", pomdp.transition, "S A S")
    solved = solve_merged(apomdps.of_one_model(pomdp), horizon)
    return solved._replace(world=cast_floats(pomdp, jnp.float32))


def solve_merged(apomdp: APOMDP, horizon: int) -> Task:
    """`solve_apomdp` on the histories themselves, merged where every model believes the same; as `solve_pomdp`."""
    apomdps.validate(apomdp)
    horizon = positive_integer("horizon", horizon)
    with jax.enable_x64(True):
        wide = jax.device_put(cast_floats(jax.tree.map(np.asarray, apomdp), np.float64))
        graph = history_graph.merged(wide, horizon)
        information_states.check_available(wide, graph, horizon)
        task = jax.jit(solve_apomdp, static_argnums=2)(wide, graph, horizon)
    return cast_floats(task, jnp.float32)


def solve_tree(apomdp: APOMDP, horizon: int, memory: float = history_tree.MEMORY) -> Task:
    """Solve an ambiguous POMDP on the whole tree of its histories: static shapes, so that jit and vmap go through it.

    With one model this is the POMDP. Information states are the rows of `jaxdm.oracles.apomdp.history_tree`; they are
    numbered alike in all worlds of the same sizes, so that the policy of one can be played in another.

    Args:
        apomdp: no batch axis.
        horizon: H.
        memory: bytes that one plan may take.

    Raises:
        ValueError: a bad APOMDP, horizon < 1, or a tree that needs more than `memory`.
    """
    plan = history_tree.plan(apomdp, horizon, memory)
    models = apomdp.nature.shape[0]
    alone = [plan] if models == 1 else [history_tree.plan(_alone(apomdp, m), horizon, memory) for m in range(models)]
    model_q = jnp.stack([each.q for each in alone])
    q, optimal = jnp.asarray(plan.q)[None], jnp.asarray(plan.ties)[None]
    expert = expert_policy(optimal, q)
    allowed = (jnp.asarray(plan.q) > -jnp.inf).astype(q.dtype)

    def value(probabilities: jax.Array) -> jax.Array:
        return tree_value(apomdp, horizon, probabilities)

    def greedy_value(q: jax.Array) -> jax.Array:
        return value(jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=q.dtype))

    return Task(
        world=apomdp,
        graph=plan.graph,
        q=q,
        optimal=optimal,
        model_q=model_q[:, None],
        model_value=jnp.diagonal(jax.vmap(greedy_value)(model_q)),
        oracle_value=value(play_probabilities(expert)[0].astype(plan.q.dtype)),
        random_value=value(allowed / jnp.maximum(jnp.sum(allowed, axis=-1, keepdims=True), 1)),
        attitude=apomdp.attitude,
        bound=jnp.max(jnp.stack([each.certificate.bound for each in [plan, *alone]])),
        expert=expert,
        identity=NOBODY,
    )


def tree_value(apomdp: APOMDP, horizon: int, probabilities: jax.Array) -> jax.Array:
    """What a policy of histories is worth in each model, before the first observation, [M].

    Args:
        apomdp: no batch axis.
        horizon: H.
        probabilities: [N, A] of actions, by the rows of `jaxdm.oracles.apomdp.history_tree`; of available ones alone.

    Raises:
        ValueError: a bad APOMDP, horizon < 1, or probabilities of another shape.
    """
    history_tree.validate_one(apomdp)
    horizon = positive_integer("horizon", horizon)
    observations, actions = apomdp.observation.shape[-1], apomdp.reward.shape[1]
    rows = history_tree.histories(observations, actions * observations, horizon)
    probabilities = float_array("probabilities", probabilities, "N A", N=rows, A=actions)
    belief, mass = history_tree.first(apomdp)
    layers = history_tree.grow(apomdp, belief, horizon)
    ends = np.cumsum([layer.belief.shape[1] for layer in layers])
    ahead = jnp.zeros((len(mass), 0), probabilities.dtype)
    for layer, end in zip(reversed(layers), reversed(ends), strict=True):
        following = jnp.sum(layer.probability * ahead.reshape(layer.probability.shape), axis=-1)
        chosen = probabilities[None, end - layer.belief.shape[1] : end]
        ahead = jnp.sum(chosen * (layer.reward + apomdp.discount * following), axis=-1)
    return jnp.sum(mass * ahead, axis=-1)


def _alone(apomdp: APOMDP, model: int) -> APOMDP:
    """The world in which one of the models is known to be true."""
    own = ("transition", "initial", "observation", "initial_observation")
    kept = {name: getattr(apomdp, name)[model : model + 1] for name in own}
    return apomdp._replace(**kept, nature=jnp.ones_like(apomdp.nature[:1]))


def solve_room(room: Room, horizon: int) -> Task:
    """Solve a hidden-mode room; with a single model it is a POMDP, and with a sure cue an MDP.

    Raises:
        ValueError: as `room_information` and `solve_apomdp`.
    """
    record("room", room, Room)
    return solve_apomdp(room.world, room_information(room, horizon), horizon)


def sample(key: jax.Array, family: Family, ranges: Tree, count: int, identities: np.ndarray | None = None) -> Task:
    """Draw and solve tasks in float64; the result is float32.

    Args:
        key: random key; training and held-out tasks are drawn with different ones.
        family: compiled once for all ranges and identities.
        ranges: from which ranges the family draws its numbers, as data.
        count: number of tasks.
        identities: [J] from which each task's is drawn uniformly; all when left out.

    Returns:
        Task with leading axis [count].

    Raises:
        InvalidInput: count < 1, or identities that are no list of indices.
    """
    count = positive_integer("count", count)
    record("family", family, Family)
    if identities is not None:
        identities = np.asarray(integer_array("identities", identities, "J"))
    key_identity, key_draw = jax.random.split(key)
    allowed = np.arange(max(family.identities, 1), dtype=np.int32) if identities is None else identities
    chosen = allowed[np.asarray(jax.random.randint(key_identity, (count,), 0, len(allowed)))]
    return solve_each(key_draw, family, ranges, chosen)


def solve_each(key: jax.Array, family: Family, ranges: Tree, identities: np.ndarray) -> Task:
    """One task of each identity given, as `sample` draws them.

    Args:
        key: random key.
        family: of tasks.
        ranges: of its numbers.
        identities: [count] int32, with repetitions where they are wanted.

    Raises:
        InvalidInput: identities that are no list of indices, -1 where a family has none.
    """
    record("family", family, Family)
    identities = np.asarray(integer_array("identities", identities, "N", at_least=-1))
    count = len(identities)
    whole = -(-count // CHUNK) * CHUNK
    identities = np.resize(identities, whole).reshape(-1, CHUNK)
    with jax.enable_x64(True):
        keys = jax.random.split(key, whole).reshape(-1, CHUNK)
        solved = [jax.device_get(_solve(family.draw, *rows, ranges)) for rows in zip(keys, identities, strict=True)]
    # Put together on the host: on the device this would be compiled anew for every count.
    return jax.device_put(jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *solved))


@functools.partial(jax.jit, static_argnums=0)
def _solve(draw: Callable[..., Task], keys: jax.Array, identities: jax.Array, ranges: Tree) -> Task:
    return cast_floats(jax.vmap(draw, in_axes=(0, 0, None))(keys, identities, ranges), jnp.float32)


def at_nodes(table: jax.Array, node: jax.Array) -> jax.Array:
    """The rows [T, ...] of a table [H, N, ...], or [1, N, ...], along the nodes [T] of an episode from time 0."""
    return table[jnp.minimum(jnp.arange(node.shape[0]), table.shape[0] - 1), node]


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
    values = at_nodes(q, node)
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

    Raises:
        InvalidInput: what is no room, or horizon < 1.
    """
    record("room", room, Room)
    horizon = positive_integer("horizon", horizon)
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
