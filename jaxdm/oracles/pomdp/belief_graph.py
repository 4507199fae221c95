"""The beliefs that a POMDP's histories can lead to, with equal ones merged, and where each leads.

Dimensions: `S` states, `A` actions, `O` observations, `N` beliefs, `E <= N` of them with successors.

A belief is expanded once, however many histories and steps lead to it. The sizes depend on the data, so this is
numpy on the host, in float64 whatever the POMDP's float type; `jaxdm.oracles.pomdp.history_tree` is the form for jit.
"""

from typing import NamedTuple

import numpy as np

from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.history_backup import look, require_available
from jaxdm.validation import check_shape, integer, nonnegative_number, number_in

RESOLUTION = 1e-13
"""Side of the cells in which beliefs are merged: above float64 rounding, below what a value can show."""

FINEST = 1e-15
"""Finest cells: finer than float64 rounds a belief, and their numbers would not fit 53 bits."""

ROUNDED = 1e-10
"""Up to so large a relative change of every entry merging counts as rounding."""

HASH_BASE = np.int64(-7046029254386353131)
"""2^64 divided by the golden ratio, an odd number."""

MEMORY = 2**30
"""Bytes that a graph may take unless told otherwise."""


class ReachableBeliefs(NamedTuple):
    """Beliefs in the order in which they were found, those within t steps the first `within[t]`, and what comes next.

    In the graph, impossible observations lead to node 0; where no belief has successors, `child` has one row of -1.
    Merging moves a belief either by rounding, entry by entry and relatively, which Bayes' rule keeps as it is; or by a
    small distance, which rare observations can make large in what later steps believe.
    """

    graph: HistoryGraph  # of one model; belief [1, N, S]
    reward: np.ndarray  # [N, A] expected, over the states where the action is available
    size: np.ndarray  # [N, A] its expected modulus
    available: np.ndarray  # [N, A] bool, in all states that are believed possible
    probability: np.ndarray  # [E, A, O] of what is seen next
    root_probability: np.ndarray  # [O] of what is seen first
    within: np.ndarray  # [depth + 1], shorter where nothing new is found
    closed: bool  # every belief has its successors: E = N
    relative: float  # largest relative change of an entry by merging, where that is mere rounding
    distance: float  # largest L1 distance between other beliefs that were merged


def reachable(
    pomdp: POMDP, depth: int | None = None, memory: float = MEMORY, resolution: float = RESOLUTION
) -> ReachableBeliefs:
    """The beliefs that any policy can reach within `depth` steps.

    Args:
        pomdp: the world.
        depth: steps; when left out, as many as it takes until nothing new is found.
        memory: bytes for the graph and the making of its next layer.
        resolution: beliefs in the same cell of this side are merged.

    Returns:
        ReachableBeliefs.

    Raises:
        ValueError: a bad POMDP, or a layer that would take more than `memory`, known before it is made.
    """
    validate(pomdp)
    check_shape("transition", pomdp.transition, "S A S")
    if depth is not None:
        depth = integer("depth", depth, 0)
    number_in("resolution", resolution, FINEST, 1)
    nonnegative_number("memory", memory)
    fields = {name: np.asarray(value, np.float64) for name, value in pomdp._asdict().items()}
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    kernel = fields["transition"].reshape(states, actions * states)
    likelihood = np.ascontiguousarray(fields["observation"].transpose(0, 2, 1))  # [A, O, S]
    beliefs = _Beliefs(states, resolution)
    root, root_probability = beliefs.merge((fields["initial_observation"] * fields["initial"][:, None]).T)
    none = (0, actions, observations)
    children, probabilities, count = [np.empty(none, np.int32)], [np.empty(none)], [0, len(beliefs.belief)]
    while count[-1] > count[-2] and (depth is None or len(count) < depth + 2):
        _require_memory(count, (states, actions, observations), memory)
        ahead = (beliefs.belief[count[-2] :] @ kernel).reshape(-1, actions, 1, states)
        child, probability = beliefs.merge(ahead * likelihood)
        children.append(child)
        probabilities.append(probability)
        count.append(len(beliefs.belief))
    child = np.concatenate(children) if len(children) > 1 else np.full((1, actions, observations), -1, np.int32)
    chance = np.concatenate(probabilities)
    here = look(beliefs.belief[None], fields["reward"])
    allowed = here.available[0]
    if not allowed.all():
        require_available(root[root_probability > 0], child[: len(chance)], chance > 0, allowed)
    return ReachableBeliefs(
        graph=HistoryGraph(root=root, child=child, belief=beliefs.belief[None]),
        reward=here.reward[0],
        size=here.size[0],
        available=allowed,
        probability=chance,
        root_probability=root_probability,
        within=np.asarray(count[1:]),
        closed=count[-1] == count[-2],
        relative=beliefs.relative,
        distance=beliefs.distance,
    )


class _Beliefs:
    """A growing set of beliefs, no two in the same cell."""

    def __init__(self, states: int, resolution: float):
        self.belief = np.empty((0, states))
        self.relative = self.distance = 0.0
        self._hash, self._scale = np.empty(0, np.int64), 1 / resolution
        # A polynomial hash modulo 2^64. Should unequal rows of integers ever collide, `distance` shows it.
        self._multiplier = np.multiply.accumulate(np.full(states, HASH_BASE))

    def merge(self, joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalise joint distributions [..., S], add what is new; the index [...] and the mass [...] of each."""
        mass = joint.sum(axis=-1)
        possible = mass > 0
        posterior = joint[possible] / mass[possible][:, None]
        # What is possible is never merged with what is not: an action may be available at one of them alone.
        cells = np.maximum(np.rint(posterior * self._scale), posterior > 0)
        hashes = cells.astype(np.int64) @ self._multiplier
        held = len(self._hash)
        unique, first, inverse = np.unique(np.concatenate([self._hash, hashes]), return_index=True, return_inverse=True)
        order = np.argsort(first)  # by first appearance, so that the beliefs held keep their numbers
        number = np.empty_like(order)
        number[order] = np.arange(order.size)
        found = number[inverse[held:]]
        self.belief = np.concatenate([self.belief, posterior[first[order[held:]] - held]])
        self._hash = unique[order]
        self._measure(posterior, self.belief[found])
        index = np.zeros(mass.shape, np.int32)
        index[possible] = found
        return index, mass

    def _measure(self, posterior: np.ndarray, held: np.ndarray) -> None:
        """How far merging moved beliefs, [n, S] each."""
        moved = np.abs(posterior - held)
        changed = moved.any(axis=-1)
        moved, held = moved[changed], held[changed]
        ratio = np.divide(moved, held, out=np.where(moved > 0, np.inf, 0), where=held > 0).max(axis=-1, initial=0)
        rounded = ratio <= ROUNDED
        self.relative = max(self.relative, float(ratio[rounded].max(initial=0)))
        self.distance = max(self.distance, float(moved[~rounded].sum(axis=-1).max(initial=0)))


def _require_memory(count: list[int], sizes: tuple[int, int, int], memory: float) -> None:
    """Refuse the next layer when the graph with it, and what it takes to make it, would not fit."""
    states, actions, observations = sizes
    successors = (count[-1] - count[-2]) * actions * observations
    held = count[-1] * (8 * (states + actions) + 12 * actions * observations)
    needed = held + successors * (8 * (5 * states + actions + 8) + 12 * actions * observations)
    if needed > memory:
        raise ValueError(
            f"memory: layer {len(count) - 1} of the belief graph has up to {successors} beliefs and needs "
            f"{needed / 2**20:.4g} MiB; expected at most {memory / 2**20:.4g} MiB (shorten the horizon, raise the "
            "limit, or use jaxdm.oracles.pomdp.point_based)"
        )
