"""Slow numpy twins of the POMDP oracles: recursion over histories, enumeration of state paths, exact vector sets."""

import itertools

import numpy as np

from jaxdm.envs import mdp, pomdp


def random_mdp(seed, states=3, actions=2, concentration=1.0, discount=0.9):
    """A random MDP drawn by numpy, so that nothing is compiled for it."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(states, concentration), (states, actions))
    return mdp.make(transition, rng.random((states, actions)), rng.dirichlet(np.ones(states)), discount)


def random_pomdp(seed, states=3, actions=2, observations=2, concentration=1.0, discount=0.9):
    """A random POMDP drawn by numpy, with a first observation."""
    hidden, rng = random_mdp(seed, states, actions, concentration, discount), np.random.default_rng([seed, 1])
    law = rng.dirichlet(np.ones(observations), (actions + 1, states))
    return pomdp.make(**hidden._asdict(), observation=law[1:], initial_observation=law[0])


def as_numpy(pomdp):
    return type(pomdp)(**{name: np.asarray(value, np.float64) for name, value in pomdp._asdict().items()})


def history_weights(pomdp, actions, observations):
    """Pr(observations, last state | actions), [S], summed over all paths of states."""
    states = len(pomdp.initial)
    weights = np.zeros(states)
    for path in itertools.product(range(states), repeat=len(observations)):
        chance = pomdp.initial[path[0]] * pomdp.initial_observation[path[0], observations[0]]
        for t, action in enumerate(actions):
            chance *= pomdp.transition[path[t], action, path[t + 1]]
            chance *= pomdp.observation[action, path[t + 1], observations[t + 1]]
        weights[path[-1]] += chance
    return weights


def q_of_history(pomdp, actions, observations, horizon, policy=None):
    """Q of a history with `horizon` steps to go, times its probability; `policy` mixes instead of maximising."""
    weights = history_weights(pomdp, actions, observations)
    q = weights @ pomdp.reward
    if horizon > 1:
        for action in range(pomdp.reward.shape[1]):
            for seen in range(pomdp.observation.shape[2]):
                ahead = q_of_history(pomdp, [*actions, action], [*observations, seen], horizon - 1, policy)
                q[action] += pomdp.discount * (ahead.max() if policy is None else policy @ ahead)
    return q


def value(pomdp, horizon, policy=None):
    """The value of `horizon` steps, expected over the first observation."""
    total = 0.0
    for seen in range(pomdp.observation.shape[2]):
        q = q_of_history(pomdp, [], [seen], horizon, policy)
        total += q.max() if policy is None else policy @ q
    return total


def blind_value(pomdp, horizon):
    """The best of all sequences of actions, chosen beforehand."""
    best = -np.inf
    for actions in itertools.product(range(pomdp.reward.shape[1]), repeat=horizon):
        law, total = pomdp.initial, 0.0
        for t, action in enumerate(actions):
            total += pomdp.discount**t * law @ pomdp.reward[:, action]
            law = law @ pomdp.transition[:, action]
        best = max(best, total)
    return best


def upper_hull(vectors):
    """The vectors [n, 2] that are largest at some belief over two states, on an interval of positive length."""
    hull = []
    for vector in sorted({tuple(np.round(v, 10)) for v in vectors}, key=lambda v: (v[1] - v[0], v[0])):
        if hull and np.isclose(hull[-1][1] - hull[-1][0], vector[1] - vector[0]):
            hull.pop()
        while len(hull) > 1 and _crossing(hull[-2], vector) <= _crossing(hull[-2], hull[-1]) + 1e-9:
            hull.pop()
        hull.append(vector)
    cuts = [-np.inf, *(_crossing(a, b) for a, b in itertools.pairwise(hull)), np.inf]
    return [v for v, low, high in zip(hull, cuts, cuts[1:], strict=False) if high > 1e-9 and low < 1 - 1e-9]


def _crossing(first, second):
    """The belief in state 1 at which two vectors agree; `second` grows faster."""
    return (first[0] - second[0]) / (second[1] - second[0] - first[1] + first[0])


def vector_sets(pomdp, horizon):
    """Exact parsimonious vector sets of a POMDP with two states, by incremental pruning, for 1..horizon steps."""
    sets, ahead = [], [np.zeros(2)]
    for _ in range(horizon):
        found = []
        for action in range(pomdp.reward.shape[1]):
            sums = [pomdp.reward[:, action]]
            for seen in range(pomdp.observation.shape[2]):
                step = pomdp.transition[:, action] * pomdp.observation[action, :, seen]
                backed = [pomdp.discount * step @ np.asarray(vector) for vector in ahead]
                sums = upper_hull([np.asarray(x) + y for x in sums for y in backed])
            found += sums
        ahead = upper_hull(found)
        sets.append(np.asarray(ahead))
    return sets
