"""Alpha-maxmin planning with histories merged that leave every model with the same belief.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `H` steps, `N` histories or what is left of them.

What a history is worth depends only on the beliefs of the models. Where the same few come back, as in the tiger
problem, long horizons are exact. The sizes depend on the data: numpy on the host, in float64.

Histories are merged when the logarithms of all their beliefs agree to `resolution` and the same things are impossible.
Bayes' rule is a positive linear map and a division, and such maps never widen Hilbert's distance
`d(b, c) = max_s log b/c - min_s log b/c` (Birkhoff 1957). So after t steps, t + 1 mergings at distance d have moved a
belief by `e^{(t+1) d} - 1` at most, entry by entry and relatively, which is added to `kappa_t` of
`jaxdm.oracles.history_backup`: the bound of a row holds for every history that leads to it.

Reference: Birkhoff, Extensions of Jentzsch's theorem, Trans. AMS 85, 1957. The recursion is that of
    `jaxdm.oracles.apomdp.history_tree`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.history_tree import MEMORY, AmbiguityPlan, require_memory, validate_one
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.history_backup import Weighed, decide, look, relative_error, require_available, root
from jaxdm.oracles.mdp.bellman import certificate, require_range
from jaxdm.validation import number_in, positive_integer

RESOLUTION = 1e-11
"""Side of the cells of log-beliefs that are merged: above float64 rounding, below what a value can show."""

FINEST = 1e-12
"""Finest cells: the logarithm of a belief reaches -745, and cells are numbered within 53 bits."""


def plan(apomdp: APOMDP, horizon: int, memory: float = MEMORY, resolution: float = RESOLUTION) -> AmbiguityPlan:
    """Optimal values of H steps, as `jaxdm.oracles.apomdp.history_tree.plan` gives, with equal histories in one row.

    Args:
        apomdp: the world; no batch axis.
        horizon: H >= 1.
        memory: bytes that the graph and the making of its next layer may take.
        resolution: see this module's docstring.

    Returns:
        AmbiguityPlan in numpy arrays; the rows of a step follow each other, and `graph` is to be followed. The row of
        an impossible history is any. The bound covers merging and rounding.

    Raises:
        ValueError: horizon < 1, a bad APOMDP, or a layer that would take more than `memory`, known before it is made.
    """
    world, reached = _reached(apomdp, horizon, memory, resolution)
    require_range(apomdp.reward, horizon)
    graph, found, value, behind = _as_graph(reached), [], np.zeros(1), np.zeros(1)
    for t in reversed(range(horizon)):
        here = look(reached.belief[t], world.reward, reached.probability[t])
        child = reached.child[t]
        if t == horizon - 1:
            here, child = here._replace(probability=here.probability[..., :0]), child[..., :0]
        kappa = relative_error(apomdp, t, np.float64) + np.expm1((t + 1) * reached.distance)
        step = decide(here, value[child], behind[child], world.discount, world.attitude, kappa)
        found.append(step)
        value, behind = step.value, step.value_error
    each = Weighed._make(np.concatenate(field) for field in zip(*reversed(found), strict=True))
    kappa = relative_error(apomdp, 0, np.float64)
    at = reached.root
    root_value, error = root(reached.root_probability, value[at], behind[at], world.attitude, kappa)
    if not np.all(np.isfinite(world.reward)):
        _require_available(reached, each.q, graph)
    sizes = [layer.shape[1] for layer in reached.belief]
    return AmbiguityPlan(
        root_value=root_value,
        **each._asdict(),
        graph=graph,
        alive=np.any(graph.belief > 0, axis=-1),
        start=np.cumsum([0, *sizes[:-1]]).astype(np.int32),
        certificate=certificate(jnp.zeros(()), jnp.asarray(max(error, each.value_error.max())), horizon),
    )


def _require_available(reached: "_Reached", q: np.ndarray, graph: HistoryGraph) -> None:
    possible = np.concatenate([(chance > 0).any(axis=0) for chance in reached.probability])[: len(graph.child)]
    if len(reached.belief) == 1:
        possible[:] = False
    certain = reached.root[(reached.root_probability > 0).any(axis=0)]
    require_available(certain, graph.child, possible, q != -np.inf)


def merged(apomdp: APOMDP, horizon: int, memory: float = MEMORY, resolution: float = RESOLUTION) -> HistoryGraph:
    """The graph that `plan` plans on: histories of up to H - 1 steps, equal ones merged; a POMDP's with one model.

    Args and Raises: as `plan`.

    Returns:
        HistoryGraph in numpy arrays, float64.
    """
    return _as_graph(_reached(apomdp, horizon, memory, resolution)[1])


class _Reached(NamedTuple):
    """The kinds of history of 0..H - 1 steps, a list entry each, and where each leads within the next."""

    belief: list[np.ndarray]  # [M, N, S]
    probability: list[np.ndarray]  # [M, N, A, O]
    child: list[np.ndarray]  # [N, A, O], zero at the last step
    root: np.ndarray  # [O]
    root_probability: np.ndarray  # [M, O]
    distance: float  # largest Hilbert distance of histories that were merged


def _reached(apomdp: APOMDP, horizon: int, memory: float, resolution: float) -> tuple["_World", _Reached]:
    """The world in float64 and its kinds of history, after all checks."""
    positive_integer("horizon", horizon)
    number_in("resolution", resolution, FINEST, 1)
    validate_one(apomdp)
    world = _World(apomdp)
    return world, _reach(world, horizon, memory, resolution)


def _as_graph(reached: _Reached) -> HistoryGraph:
    ends = np.cumsum([each.shape[1] for each in reached.belief])
    # What the last step leads to is nowhere; its children are there only when there are no others.
    child = [each + end for each, end in zip(reached.child, ends, strict=True)]
    return HistoryGraph(
        root=reached.root.astype(np.int32),
        child=np.concatenate(child[: max(len(child) - 1, 1)]).astype(np.int32),
        belief=np.concatenate(reached.belief, axis=1),
    )


def _reach(world: "_World", horizon: int, memory: float, resolution: float) -> _Reached:
    belief, mass = _condition(world.first)
    belief, root, distance = _merge(belief, resolution)
    layers, chances, children = [belief], [], []
    for t in range(horizon):
        _require(world, layers, memory, t)
        belief, chance = _condition(world.step(layers[t]))
        chances.append(chance)
        if t == horizon - 1:
            children.append(np.zeros(chance.shape[1:], np.int64))
        else:
            belief, child, apart = _merge(belief, resolution)
            distance = max(distance, apart)
            layers.append(belief)
            children.append(child.reshape(chance.shape[1:]))
    return _Reached(
        belief=layers, probability=chances, child=children, root=root, root_probability=mass, distance=distance
    )


class _World:
    """The arrays of an APOMDP in float64, and one step of belief and value with them."""

    def __init__(self, apomdp: APOMDP):
        fields = {name: np.asarray(value, np.float64) for name, value in apomdp._asdict().items()}
        self.reward, self.discount, self.attitude = (fields[name] for name in ("reward", "discount", "attitude"))
        transition, observation = fields["transition"], fields["observation"]
        self.models, self.states = fields["initial"].shape
        self.branches = observation.shape[1], observation.shape[-1]
        self.moves = transition.reshape(self.models, self.states, -1)
        self.likelihood = observation.swapaxes(-1, -2)[:, None]  # [M, 1, A, O, S]
        self.first = fields["initial"][:, None] * fields["initial_observation"].swapaxes(-1, -2)

    def step(self, belief: np.ndarray) -> np.ndarray:
        """Joint distributions of what is seen next and the state, [M, N, A, O, S]."""
        moved = (belief @ self.moves).reshape(self.models, -1, self.branches[0], 1, self.states)
        return moved * self.likelihood


def _condition(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mass = joint.sum(axis=-1)
    belief = joint / np.where(mass > 0, mass, 1)[..., None]
    return belief.reshape(len(joint), -1, joint.shape[-1]), mass


def _merge(belief: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray, float]:
    """One of each kind of history [M, N', S], the index [N] of each one's kind, and their largest distance.

    Histories that no model allows are of no kind and get index 0.
    """
    possible = np.any(belief > 0, axis=(0, 2))
    kept = belief[:, possible]
    rows = kept.swapaxes(0, 1).reshape(kept.shape[1], -1)
    logs = np.log(np.where(rows > 0, rows, 1))
    cells = np.where(rows > 0, np.rint(logs / resolution), 1)  # logarithms are never positive
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    apart = (logs - logs[first][inverse]).reshape(len(rows), len(belief), -1)
    distance = float((apart.max(axis=-1) - apart.min(axis=-1)).max())
    index = np.zeros(belief.shape[1], np.int64)
    index[possible] = inverse
    return kept[:, first], index, distance


def _require(world: _World, layers: list[np.ndarray], memory: float, step: int) -> None:
    actions, observations = world.branches
    held = sum(layer.shape[1] for layer in layers)
    within = world.models * (world.states + actions * observations) + 4 * actions + actions * observations
    successors = layers[-1].shape[1] * actions * observations
    needed = 8 * (held * within + successors * (6 * world.models * world.states + 4))
    require_memory(needed, memory, f"step {step} has {layers[-1].shape[1]} kinds of history; shorten the horizon")
