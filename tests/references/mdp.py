"""Slow numpy twins of finite MDP planning: explicit loops over states, actions and outcomes, nothing shared with jaxdm.

Arguments are numpy arrays: `transition [S,A,S]`, `reward [S,A]`, `initial [S]`.
"""

import itertools

import numpy as np


def backup(transition, reward, discount, value):
    """One Bellman backup, summed term by term."""
    states, actions = reward.shape
    q = np.zeros((states, actions))
    for s in range(states):
        for a in range(actions):
            q[s, a] = reward[s, a]
            for t in range(states):
                q[s, a] += discount * transition[s, a, t] * value[t]
    return q


def backward_induction(transition, reward, discount, horizon, terminal=None):
    """Optimal values and Q-values from the end; `transition` and `reward` may have a leading stage axis."""
    states, actions = reward.shape[-2:]
    value = np.zeros((horizon + 1, states))
    value[horizon] = 0 if terminal is None else terminal
    q = np.zeros((horizon, states, actions))
    for h in reversed(range(horizon)):
        stage = (transition[h], reward[h]) if reward.ndim == 3 else (transition, reward)
        q[h] = backup(*stage, discount, value[h + 1])
        for s in range(states):
            value[h, s] = max(q[h, s])
    return value, q


def value_iteration(transition, reward, discount, tolerance=1e-10):
    """Plain successive approximation until `gamma / (1 - gamma)` times the last change is below the tolerance."""
    value = np.zeros(reward.shape[0])
    while True:
        new = backup(transition, reward, discount, value).max(axis=1)
        change = np.abs(new - value).max()
        value = new
        if discount / (1 - discount) * change <= tolerance:
            return value


def best_stationary(transition, reward, discount):
    """Values of the best of all `A^S` deterministic stationary policies, each evaluated by a linear solve."""
    states, actions = reward.shape
    best = np.full(states, -np.inf)
    for policy in itertools.product(range(actions), repeat=states):
        kernel = np.array([transition[s, a] for s, a in enumerate(policy)])
        pay = np.array([reward[s, a] for s, a in enumerate(policy)])
        best = np.maximum(best, np.linalg.solve(np.eye(states) - discount * kernel, pay))
    return best


def path_values(transition, reward, initial, discount, laws, horizon):
    """The return of a policy `laws [H,S,A]` and the law of the state at each step, by enumeration of every path."""
    states, actions = reward.shape
    total, reach = 0.0, np.zeros((horizon + 1, states))

    def walk(h, s, chance, paid):
        nonlocal total
        reach[h, s] += chance
        if h == horizon:
            total += chance * paid
            return
        for a in range(actions):
            for t in range(states):
                weight = chance * laws[h, s, a] * transition[s, a, t]
                if weight > 0:
                    walk(h + 1, t, weight, paid + discount**h * reward[s, a])

    for s in range(states):
        walk(0, s, initial[s], 0.0)
    return total, reach


def random_mdp(seed, states, actions):
    """A random dense MDP in float64: transition, reward, initial."""
    rng = np.random.default_rng(seed)
    return (
        rng.dirichlet(np.ones(states), (states, actions)),
        rng.normal(size=(states, actions)),
        rng.dirichlet(np.ones(states)),
    )


def extended(transition, reward, discount, horizon=None):
    """Optimal values and Q-values in extended precision: from the end, or for ever by policy iteration.

    A reward may be -inf, where an action is not available. Each policy is evaluated by a float64 solve that is refined
    until its residual is that of extended precision.
    """
    wide = np.longdouble
    transition, reward, discount = transition.astype(wide), reward.astype(wide), wide(discount)
    if horizon is not None:
        value, q = np.zeros(len(reward), wide), reward
        for _ in range(horizon):
            q = reward + discount * (transition @ value)
            value = q.max(axis=1)
        return value, q
    rows = np.arange(len(reward))
    policy = reward.argmax(axis=1)
    for _ in range(100):
        system = np.eye(len(reward), dtype=wide) - discount * transition[rows, policy]
        value = np.zeros(len(reward), wide)
        for _ in range(8):
            residual = reward[rows, policy] - system @ value
            value = value + np.linalg.solve(system.astype(float), residual.astype(float))
        q = reward + discount * (transition @ value)
        gain = q.max(axis=1) - q[rows, policy]
        size = np.abs(reward[rows, policy]) + transition[rows, policy] @ np.abs(value)
        better = np.where(gain > 1e-17 * (size + np.abs(q.max(axis=1))), q.argmax(axis=1), policy)
        if np.array_equal(better, policy):
            return q.max(axis=1), q
        policy = better
    raise AssertionError("policy iteration cycles")
