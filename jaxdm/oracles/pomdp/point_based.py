"""Planning in larger POMDPs: heuristic search that closes the gap between a real policy's value and an upper bound.

Dimensions: `S` states, `A` actions, `O` observations, `K` vectors, `N` points, `M` weights.

A trial follows, from the first belief, the action best by the upper bound and the observation whose belief has most to
settle; on the way back every belief passed adds one vector to the lower bound and one point to the upper. The search
runs on the host: it remembers for each visited belief what it has computed, looks at new vectors and points alone, and
needs no compilation, which alone takes longer than most problems of up to a hundred states.
`jaxdm.oracles.pomdp.bounds.improve` is the form for jit and vmap.

Rounding is in the bounds, entry by entry, as `jaxdm.oracles.pomdp.bounds` tells. Vectors and points are made in
float64, whatever the parameters are stored in; what is not known of those is in the bounds too.

**Actions that are not available**, of reward -inf, can be taken at no belief that holds their state possible. Where at
every belief some action can be, the lower bound starts from "always some action, at the least reward".
"""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.oracles.mdp.bellman import certificate, require_range
from jaxdm.oracles.pomdp.alpha_vectors import AlphaPolicy
from jaxdm.oracles.pomdp.bounds import Bounds
from jaxdm.types import Certificate
from jaxdm.validation import nonnegative_number, number, positive_integer

NEVER = -1e200
"""Stands for the value -inf of an action that is not available: finite, so that zero times it is zero."""


ENDLESS_DEPTH = 1000
"""Most steps of a trial when the horizon is endless."""


INFORMED_SWEEPS = 100
"""Most sweeps of the endless fast informed bound; each of them already gives a bound."""


AHEAD = 0.8
"""A trial ends where the gap is this part of the first one, or small enough: early trials are shallow."""


BLOCK = 2**18
"""Numbers that a sawtooth looks at together: they stay in the processor's cache."""


REMEMBERED = 2**25
"""Numbers that visited beliefs may hold (256 MiB); beyond that they are forgotten, and made anew when they recur."""


FAR = 1e50
"""A lower bound within this factor of `NEVER` says nothing."""


SUPPORTS = 10_000
"""Most sets of possible states that are looked at to see whether some action is always available."""


class PointBasedPlan(NamedTuple):
    """A policy, and certified bounds on the optimal value: `lower <= V^policy` and `V* <= upper`, rounding included.

    The values are expected over the first observation. `certificate.bound` is `upper - lower`, `iterations` the trials.
    """

    lower: float
    upper: float
    policy: AlphaPolicy
    bounds: Bounds
    certificate: Certificate


class _Model:
    """A POMDP in float64, [A, ...] so that one action's tables lie together, and what rounding may do to it."""

    def __init__(self, pomdp: POMDP) -> None:
        host = jax.tree.map(lambda x: np.asarray(x, np.float64), pomdp)
        self.actions, self.states = host.reward.shape[::-1]
        self.transition = np.ascontiguousarray(host.transition.swapaxes(0, 1))  # [A, S, S]
        self.reward = np.maximum(host.reward.T, NEVER)  # [A, S]
        self.available = self.reward > NEVER
        self.seen = np.ascontiguousarray(host.observation.swapaxes(1, 2))  # [A, O, S]
        self.first = (host.initial[:, None] * host.initial_observation).T  # [O, S]
        stored, work = np.finfo(pomdp.reward.dtype), np.finfo(np.float64)
        # Six of the stored unit: r, gamma, P, Z, and vectors rounded to the stored type on both sides of a backup.
        self.kappa = 6 * float(stored.eps) + (2 * self.states + self.seen.shape[1] + 16) * float(work.eps)
        self.rounding = (self.states + 8) * float(work.eps)
        self.tiny = (self.states + 8) * float(stored.tiny)
        self.discount = float(host.discount)
        widest = host.transition.sum(axis=-1).max() * host.observation.sum(axis=-1).max()
        self.factor = self.discount * max(float(widest), 1.0) * (1 + self.kappa)

    def below(self, action: int, follow: np.ndarray) -> np.ndarray:
        """What is surely earned by an action and then, after each observation, by the vectors `follow` [O, S]; [S]."""
        behind = (self.seen[action] * (follow - self.kappa * np.abs(follow))).sum(axis=0)
        reward = self.reward[action] - self.kappa * np.abs(self.reward[action])
        return reward + self.discount * (self.transition[action] @ behind) - self.tiny

    def informed(self, q: np.ndarray) -> np.ndarray:
        """One sweep of the fast informed bound [A, S], rounded up."""
        ahead = (q + self.kappa * np.abs(q))[None, None] * self.seen[:, :, None]  # [A, O, A, S]
        each = self.transition @ ahead.reshape(self.actions, -1, self.states).swapaxes(1, 2)
        best = each.reshape(self.actions, self.states, -1, self.actions).max(axis=-1).sum(axis=-1)
        return self.reward + self.kappa * np.abs(self.reward) + self.discount * best + self.tiny

    def clear(self, value: np.ndarray) -> np.ndarray:
        """One backup [A, S] of a value [S] of the states when they are seen, rounded up."""
        ahead = self.transition @ (value + self.kappa * np.abs(value))
        return self.reward + self.kappa * np.abs(self.reward) + self.discount * ahead + self.tiny


class _Layer:
    """What is known with some number of steps gone: vectors and points, in arrays that grow and never shrink.

    Weights [M, S] are beliefs or any multiples of them: both bounds are homogeneous.
    """

    def __init__(self, vector: np.ndarray, informed: np.ndarray, model: _Model) -> None:
        self.vectors, self.points = len(vector), 0
        self.vector, self.action = vector, np.arange(len(vector))
        self.informed = informed + model.kappa * np.abs(informed)
        self.corner = self.informed.max(axis=0)
        self.gain = np.maximum(self.corner, 0)
        self.point = np.empty((8, model.states))
        self.inverse, self.absent = np.empty_like(self.point), np.empty_like(self.point)
        self.drop, self.value = np.empty(8), np.empty(8)
        self.rounding = model.rounding
        self.version, self.full = 0, 32

    def lower(self, weight: np.ndarray, since: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The most that a vector of number `since` or later promises, and which; two [M]."""
        worth = weight @ self.vector[since : self.vectors].T
        choice = worth.argmax(axis=-1)
        return worth[np.arange(len(worth)), choice], choice + since

    def informed_bound(self, weight: np.ndarray) -> np.ndarray:
        """The bound from above without points, [M]."""
        return (weight @ self.informed.T).max(axis=-1)

    def sawtooth(self, weight: np.ndarray, since: int = 0) -> np.ndarray:
        """How far points of number `since` or later lie below the corners, [M] <= 0."""
        least = np.zeros(len(weight))
        step = max(1, BLOCK // weight.size)
        for start in range(since, self.points, step):
            block = slice(start, min(start + step, self.points))
            share = (weight[:, None] * self.inverse[block] + self.absent[block]).min(axis=-1)
            np.minimum(least, (share * self.drop[block]).min(axis=-1), out=least)
        return least

    def add_vector(self, vector: np.ndarray, action: int) -> None:
        if self.vectors == len(self.vector):
            self.vector, self.action = _doubled(self.vector), _doubled(self.action)
        self.vector[self.vectors], self.action[self.vectors] = vector, action
        self.vectors += 1

    def add_point(self, belief: np.ndarray, value: float) -> None:
        if self.points == len(self.drop):
            self.point, self.inverse, self.absent, self.drop, self.value = (
                _doubled(x) for x in (self.point, self.inverse, self.absent, self.drop, self.value)
            )
        there = belief > 0
        self.point[self.points], self.value[self.points] = belief, value
        self.inverse[self.points] = np.where(there, 1 / np.where(there, belief, 1), 0)
        self.absent[self.points] = np.where(there, 0, np.inf)
        self.drop[self.points] = self._drop(belief, value)
        self.points += 1

    def _drop(self, belief: np.ndarray, value: np.ndarray | float) -> np.ndarray:
        """`u - b . c`, rounded up, at most 0."""
        size = belief @ np.abs(self.corner) + np.abs(value)
        return np.minimum(value - belief @ self.corner + self.rounding * size, 0) * (1 - self.rounding)

    def rebase(self, corner: np.ndarray) -> None:
        """Lower the corners, and forget points that the others imply."""
        self.corner = np.minimum(self.corner, corner)
        self.gain = np.maximum(self.corner, 0)
        belief, value = self.point[: self.points].copy(), self.value[: self.points].copy()
        drop = self._drop(belief, value)
        self.points, self.version = 0, self.version + 1
        for i in np.argsort(drop, kind="stable"):
            if drop[i] < self.sawtooth(belief[i][None])[0]:
                self.add_point(belief[i], float(value[i]))
        self.full = 2 * self.points + 32


def _doubled(x: np.ndarray) -> np.ndarray:
    """The same array with twice the room."""
    return np.concatenate([x, np.empty_like(x)])


class _Node:
    """A belief that was visited, what it may become, and the bounds on that as far as they were looked at."""

    def __init__(self, model: _Model, belief: np.ndarray, here: _Layer, ahead: _Layer) -> None:
        self.belief, self.here, self.ahead = belief, here, ahead
        self.predicted = belief @ model.transition  # [A, S]
        self.joint = self.predicted[:, None] * model.seen  # [A, O, S]
        self.chance = self.joint.sum(axis=-1)  # [A, O]
        self.possible = self.chance > 0
        self.now_lower = model.reward @ belief
        self.now_upper = (model.reward + model.kappa * np.abs(model.reward)) @ belief
        flat = self.joint.reshape(-1, model.states)
        shape = self.chance.shape
        self.gain = 2 * (flat @ ahead.gain).reshape(shape)
        self.corner = (flat @ ahead.corner).reshape(shape)
        self.version, self.own_version = ahead.version, here.version
        self.upper = ahead.informed_bound(flat).reshape(shape)
        self.lower = np.full(shape, -np.inf)
        self.choice = np.zeros(shape, int)
        self.vectors, self.points = 0, np.zeros(model.actions, int)
        self.own_lower, self.own_vectors = -np.inf, 0
        self.own_upper, self.own_points = here.informed_bound(belief[None])[0], 0
        self.children: dict[tuple[int, int], _Node] = {}
        self.discount, self.kappa = model.discount, model.kappa
        self.upper_q = self.now_upper + model.discount * self.upper.sum(axis=-1)
        self.look_below()

    def look_below(self) -> np.ndarray:
        """Hear of vectors that are new since the last look; the lower bounds on Q, [A]."""
        if self.vectors < self.ahead.vectors:
            flat = self.joint.reshape(-1, self.joint.shape[-1])
            worth, choice = (x.reshape(self.lower.shape) for x in self.ahead.lower(flat, self.vectors))
            better = worth > self.lower
            self.lower, self.choice = np.where(better, worth, self.lower), np.where(better, choice, self.choice)
            self.vectors = self.ahead.vectors
        return self.now_lower + self.discount * self.lower.sum(axis=-1)

    def look_above(self) -> int:
        """Hear of points that are new since the last look, for one action after the other until the best is known."""
        if self.version < self.ahead.version:
            self.version, self.points[:] = self.ahead.version, 0
            self.corner = self.joint @ self.ahead.corner
        while True:
            action = int(self.upper_q.argmax())
            if self.points[action] == self.ahead.points:
                return action
            self._look_above(action)

    def _look_above(self, action: int) -> None:
        low = self.corner[action] + self.ahead.sawtooth(self.joint[action], self.points[action])
        unsure = self.kappa * (self.gain[action] + np.abs(self.lower[action]))
        self.upper[action] = np.minimum(self.upper[action], low + unsure)
        self.points[action] = self.ahead.points
        self.upper_q[action] = self.now_upper[action] + self.discount * self.upper[action].sum()

    def tighten(self, model: _Model) -> None:
        """One vector more where it promises more at this belief, and one point where it lies lower."""
        q = self.look_below()
        best = int(q.argmax())
        here = self.here
        if self.own_vectors < here.vectors:
            self.own_lower = max(self.own_lower, here.lower(self.belief[None], self.own_vectors)[0][0])
            self.own_vectors = here.vectors
        choice = self.choice[best]
        if not self.possible[best].all():
            choice = np.where(self.possible[best], choice, self.ahead.lower(self.predicted[best][None])[1])
        vector = model.below(best, self.ahead.vector[choice])
        if vector @ self.belief > self.own_lower:
            here.add_vector(vector, best)
        value = self.upper_q[self.look_above()]
        if self.own_version < here.version:
            self.own_version, self.own_points = here.version, 0
        if self.own_points < here.points:
            low = self.belief @ here.corner + here.sawtooth(self.belief[None], self.own_points)[0]
            self.own_upper, self.own_points = min(self.own_upper, low), here.points
        if value < self.own_upper:
            here.add_point(self.belief, value)


def solve(
    pomdp: POMDP,
    horizon: int | None = None,
    *,
    tolerance: float = 0.0,
    relative: float = 0.01,
    trials: int = 10_000,
    seconds: float = float("inf"),
) -> PointBasedPlan:
    """Search until `upper - lower <= max(tolerance, relative |lower|)`, or until a budget is spent.

    Args:
        pomdp: the world; discount < 1 when the horizon is endless.
        horizon: H; endless when left out.
        tolerance: wanted gap in reward units.
        relative: wanted gap as a part of the value.
        trials: most trials.
        seconds: most time.

    Returns:
        PointBasedPlan; its certificate says which gap was reached, +inf where rounding of the stored parameters may
        make the discounted sum diverge.

    Raises:
        ValueError: a bad POMDP, discount 1 without a horizon, horizon < 1, no trials, or a negative gap.

    Reference: Smith, Simmons, Heuristic search value iteration for POMDPs, UAI 2004; Kurniawati, Hsu, Lee, SARSOP,
    RSS 2008.
    """
    _check(pomdp, horizon, tolerance, relative, trials, seconds)
    end = time.perf_counter() + seconds
    search = _Search(pomdp, horizon)
    done = 0
    while True:
        lower, upper = search.root()
        goal = max(tolerance, relative * abs(lower)) if math.isfinite(lower) else tolerance
        if upper - lower <= goal or done == trials or time.perf_counter() > end:
            break
        search.trial(goal, end)
        done += 1
    return _plan(pomdp, search, lower, upper, done)


class _Search:
    """Bounds for each number of steps gone, and the beliefs that were visited."""

    def __init__(self, pomdp: POMDP, horizon: int | None) -> None:
        self.model = model = _Model(pomdp)
        self.horizon = horizon
        self.sure = horizon is not None or model.factor < 1
        if not self.sure:
            model.discount = min(model.discount, model.discount * (1 - 1e-6) / model.factor)
            model.factor = 1 - 1e-6
        self.layers = _endless(model) if horizon is None else _finite(model, horizon)
        self.nodes: dict[tuple[int, bytes], _Node] = {}
        chance = model.first.sum(axis=-1)
        self.possible = np.flatnonzero(chance > 0)
        self.chance = chance[self.possible]
        self.first = model.first[self.possible]

    def root(self) -> tuple[float, float]:
        """Lower and upper bound expected over the first observation, rounding included."""
        layer, model = self.layers[0], self.model
        vector = layer.vector[: layer.vectors]
        lower = (self.first @ (vector - model.kappa * np.abs(vector)).T).max(axis=-1)
        points = self.first @ layer.corner + layer.sawtooth(self.first)
        points += model.kappa * (2 * self.first @ layer.gain + np.abs(lower))
        upper = np.minimum(points, layer.informed_bound(self.first))
        self.gap = upper - lower
        if not self.sure:  # the plan is for a smaller discount, and nothing is known for this one
            return -math.inf, math.inf
        return float(lower.sum()) if lower.min() > NEVER / FAR else -math.inf, float(upper.sum())

    def node(self, step: int, belief: np.ndarray) -> _Node:
        """The node of a belief, the one that was made before where there is one."""
        step = step if self.horizon is not None else 0
        key = step, (np.round(belief, 12) + 0.0).tobytes()
        if key not in self.nodes:
            if len(self.nodes) * self.model.seen.size > REMEMBERED:
                self.nodes.clear()
            here, ahead = self.layers[step], self.layers[step if self.horizon is None else step + 1]
            self.nodes[key] = _Node(self.model, belief, here, ahead)
        return self.nodes[key]

    def trial(self, goal: float, end: float) -> None:
        """Down to where the gap is small enough, and back."""
        most = ENDLESS_DEPTH if self.horizon is None else self.horizon
        # Half of the goal: rounding and the mean over first observations must fit below it too.
        target = max(goal / 2, AHEAD * self.gap.sum())
        start = int((self.gap - self.chance * target).argmax())
        belief, path = self.first[start] / self.chance[start], []
        while True:
            node = self.node(len(path), belief)
            path.append(node)
            action = node.look_above()
            node.look_below()
            target = target / self.model.discount if self.model.discount > 0 else math.inf
            excess = np.where(
                node.possible[action], node.upper[action] - node.lower[action] - node.chance[action] * target, -np.inf
            )
            seen = int(excess.argmax())
            if not excess[seen] > 0 or len(path) == most or time.perf_counter() > end:
                break
            belief = node.joint[action, seen] / node.chance[action, seen]
        for node in reversed(path):
            node.tighten(self.model)
        for step in range(min(len(path), len(self.layers))):
            if self.layers[step].points > self.layers[step].full:
                self.rebase(step)

    def rebase(self, step: int) -> None:
        """Back up the corners of a layer, and forget points that are implied."""
        nodes = [self.node(step, corner) for corner in np.eye(self.model.states)]
        self.layers[step].rebase(np.array([node.upper_q[node.look_above()] for node in nodes]))


def _endless(model: _Model) -> list[_Layer]:
    """One layer that follows itself, from blind policies and the fast informed bound.

    Reference: Hauskrecht, JAIR 13, 2000.
    """
    least = min(float(model.reward[model.available].min()), 0.0) * (1 + model.kappa) - model.tiny
    floor = least / (1 - model.factor) * (1 + model.kappa)
    always = model.available.all(axis=1)
    settled = _some_action_is_available(model)
    vectors = [
        _blind(model, action) if always[action] else np.where(model.available[action] & settled, floor, NEVER)
        for action in range(model.actions)
    ]
    return [_Layer(np.stack(vectors), _endless_informed(model), model)]


def _endless_informed(model: _Model) -> np.ndarray:
    """The fast informed bound [A, S] for ever: each sweep of a bound is one.

    Where a sweep lowers every entry by d or more, later ones together lower it by `gamma d / (1 - gamma)` more, up to
    rounding; that this still is a bound is seen from the next sweep, which must not raise it.

    Reference: MacQueen, A modified dynamic programming method for Markovian decision problems, 1966.
    """
    bound = model.clear(_clear_top(model))
    after = np.minimum(model.informed(bound), bound)
    there = model.available
    for _ in range(INFORMED_SWEEPS):
        fall = (bound - after)[there]
        if fall.max() <= 1e-3 * (1 - model.discount) * np.abs(after[there]).max():
            break
        guess = after - 0.999 * model.discount / (1 - model.discount) * max(fall.min(), 0)
        further = model.informed(guess)
        if (further <= guess).all():
            bound, after = guess, further
        else:
            bound, after = after, np.minimum(model.informed(after), after)
    return after


def _finite(model: _Model, horizon: int) -> list[_Layer]:
    """H + 1 layers, the last one zeros, and before each one backup of the blind policies and the informed bound."""
    zero = np.zeros((model.actions, model.states))
    layers, informed, blind, floor = [_Layer(zero, zero, model)], zero, zero, 0.0
    always, settled = model.available.all(axis=1)[:, None], _some_action_is_available(model)
    least = min(float(model.reward[model.available].min()), 0.0) * (1 + model.kappa) - model.tiny
    for _ in range(horizon):
        follow = np.repeat(blind[:, None], model.seen.shape[1], axis=1)
        floor = (least + model.factor * floor) * (1 + model.kappa)
        blind = np.stack([model.below(action, follow[action]) for action in range(model.actions)])
        blind = np.where(always, blind, np.where(model.available & settled, floor, NEVER))
        informed = model.informed(informed)
        layers.append(_Layer(blind, informed, model))
    return layers[::-1]


def _some_action_is_available(model: _Model) -> bool:
    """Whether at every belief that can be reached some action is available in all possible states.

    False also where there are too many sets of such states to see.
    """
    if model.available.all(axis=1).any():
        return True
    reach = (model.transition > 0)[:, None] & (model.seen > 0)[:, :, None]  # [A, O, S, S]
    waiting = [support for support in model.first > 0 if support.any()]
    known = {support.tobytes() for support in waiting}
    while waiting and len(known) <= SUPPORTS:
        support = waiting.pop()
        allowed = np.flatnonzero(model.available[:, support].all(axis=1))
        if len(allowed) == 0:
            return False
        for after in reach[allowed][:, :, support].any(axis=2).reshape(-1, model.states):
            if after.any() and after.tobytes() not in known:
                known.add(after.tobytes())
                waiting.append(after)
    return not waiting


def _blind(model: _Model, action: int) -> np.ndarray:
    """A vector below the value of one action for ever, [S]."""
    reward, kernel = model.reward[action], model.discount * model.transition[action]
    matrix = np.eye(model.states) - kernel
    value = np.linalg.solve(matrix, reward)
    unsure = 2 * model.kappa * (np.abs(reward) + kernel @ np.abs(value)) + 2 * model.tiny
    value = np.linalg.solve(matrix, reward - unsure)
    follow = (len(model.seen[action]), 1)
    for attempt in range(60):
        excess = (value - model.below(action, np.tile(value, follow))).max()
        if excess <= 0:
            break
        value = value - 2.0**attempt * excess / (1 - model.factor)
    return value


def _clear_top(model: _Model) -> np.ndarray:
    """A bound from above on the value of each state for one who sees it, [S], by policy iteration."""
    reward, value = model.reward, np.zeros(model.states)
    states = np.arange(model.states)
    for _ in range(2):
        policy = np.full(model.states, -1)
        for _ in range(1000):
            better = (reward + model.discount * (model.transition @ value)).argmax(axis=0)
            if (better == policy).all():
                break
            policy = better
            matrix = np.eye(model.states) - model.discount * model.transition[policy, states]
            value = np.linalg.solve(matrix, reward[policy, states])
        size = np.abs(model.reward) + model.discount * (model.transition @ np.abs(value))
        reward = model.reward + 2 * model.kappa * size + 2 * model.tiny
    for attempt in range(60):
        excess = (model.clear(value).max(axis=0) - value).max()
        if excess <= 0:
            break
        value = value + 2.0**attempt * excess / (1 - model.factor)
    return value


def _plan(pomdp: POMDP, search: _Search, lower: float, upper: float, trials: int) -> PointBasedPlan:
    bounds = _bounds(search, pomdp.reward.dtype)
    layers = slice(0, max(len(search.layers) - 1, 1))
    policy = AlphaPolicy(vector=bounds.vector[layers], action=bounds.action[layers], pomdp=pomdp)
    gap = jnp.nextafter(jnp.asarray(upper - lower), jnp.inf)
    return PointBasedPlan(
        lower=lower, upper=upper, policy=policy, bounds=bounds, certificate=certificate(gap, gap, trials)
    )


def _bounds(search: _Search, dtype: Any) -> Bounds:
    """What the search knows, without vectors that another one dominates, as one record of rectangular arrays."""
    kept = [undominated(layer.vector[: layer.vectors]) for layer in search.layers]
    room = max(*(len(k) for k in kept), *(layer.points for layer in search.layers), 1)
    least = float(np.finfo(dtype).min) / (8 * search.model.states)

    def filled(rows: np.ndarray, spare: np.ndarray) -> np.ndarray:
        return np.concatenate([rows, np.broadcast_to(spare, (room - len(rows), *rows.shape[1:]))])

    flat = np.full(search.model.states, 1 / search.model.states)
    vector, action, point, drop = [], [], [], []
    for layer, keep in zip(search.layers, kept, strict=True):
        vector.append(filled(layer.vector[keep], layer.vector[keep[0]]))
        action.append(filled(layer.action[keep], layer.action[keep[0]]))
        point.append(filled(layer.point[: layer.points], flat))
        drop.append(filled(layer.drop[: layer.points], np.zeros(())))
    return Bounds(
        vector=jnp.asarray(np.maximum(np.stack(vector), least), dtype),
        action=jnp.asarray(np.stack(action), jnp.int32),
        vectors=jnp.asarray([len(keep) for keep in kept], jnp.int32),
        informed=jnp.asarray(np.maximum([layer.informed for layer in search.layers], least), dtype),
        point=jnp.asarray(np.stack(point), dtype),
        drop=jnp.asarray(np.stack(drop), dtype),
        points=jnp.asarray([layer.points for layer in search.layers], jnp.int32),
    )


def undominated(vector: np.ndarray) -> np.ndarray:
    """Indices of the vectors [K, S] that no other one reaches in every state; the first of equal ones stays."""
    kept = []
    for k in np.argsort(-vector.sum(axis=-1), kind="stable"):
        if not kept or not (vector[kept] >= vector[k]).all(axis=-1).any():
            kept.append(int(k))
    return np.sort(kept)


def _check(pomdp: POMDP, horizon: int | None, tolerance: float, relative: float, trials: int, seconds: float) -> None:
    positive_integer("trials", trials)
    nonnegative_number("tolerance", tolerance)
    nonnegative_number("relative", relative)
    number("seconds", seconds, lambda x: x >= 0, "a number >= 0")
    validate(pomdp)
    if pomdp.transition.ndim != 3:
        raise ValueError(f"transition: shape {pomdp.transition.shape}; expected [S, A, S], one POMDP at a time")
    if horizon is not None:
        require_range(pomdp.reward, positive_integer("horizon", horizon))
        return
    discount = float(pomdp.discount)
    if not discount < 1:
        raise ValueError(f"discount: {discount}; expected a number below 1 for an endless horizon")
    require_range(pomdp.reward, 1 / (1 - discount))
