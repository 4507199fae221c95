"""Slow numpy twins of the online learners, comparators and regrets, by the definitions and by enumeration."""

import itertools

import numpy as np


def project_simplex(point):
    """Nearest point of the simplex, by trying every support: project on its hyperplane, keep the nearest feasible."""
    best, found = np.inf, None
    for size in range(1, len(point) + 1):
        for support in itertools.combinations(range(len(point)), size):
            trial = np.zeros(len(point))
            chosen = list(support)
            trial[chosen] = point[chosen] + (1 - point[chosen].sum()) / size
            distance = np.sum((trial - point) ** 2)
            if trial.min() >= 0 and distance < best:
                best, found = distance, trial
    return found


def project_ball(point, radius):
    return point * min(1.0, radius / max(np.linalg.norm(point), 1e-300))


def exponential_weights(total, eta):
    weights = np.array([float(np.exp(-eta * (s - total.min()))) for s in total])
    return weights / weights.sum()


def leader_point(kind, total, radius):
    if kind == "simplex":
        return np.eye(len(total))[int(np.argmin(total))]
    length = np.linalg.norm(total)
    return -radius * total / length if length > 0 else np.zeros(len(total))


def decisions(name, kind, losses, scale, power, radius=1.0):
    """What a learner plays on `losses`, one round at a time."""
    project = project_simplex if kind == "simplex" else lambda x: project_ball(x, radius)
    point, played = np.zeros(losses.shape[1]), []
    for t, loss in enumerate(losses, start=1):
        eta, total = scale * t**-power, losses[: t - 1].sum(axis=0)
        if name == "follow_leader":
            played.append(leader_point(kind, total, radius))
        elif name == "hedge":
            played.append(exponential_weights(total, eta))
        elif name == "ftrl":
            played.append(project(-eta * total))
        else:
            played.append(project(point))
            point = point - eta * loss
            point = project(point) if name == "greedy_descent" else point
    return np.array(played)


def best_fixed_value(kind, losses, radius=1.0):
    """The least loss of a fixed decision, by enumeration (a fine net of directions in the plane, for the ball)."""
    if kind == "simplex":
        return min(sum(loss[i] for loss in losses) for i in range(losses.shape[1]))
    angles = np.linspace(0, 2 * np.pi, 20001)
    return min(radius * (losses.sum(axis=0) @ np.stack([np.cos(angles), np.sin(angles)])))


def best_switching_value(losses, switches):
    rounds, arms = losses.shape
    best = np.inf
    for sequence in itertools.product(range(arms), repeat=rounds):
        changes = sum(a != b for a, b in itertools.pairwise(sequence))
        if changes <= switches:
            best = min(best, sum(losses[t, arm] for t, arm in enumerate(sequence)))
    return best


def swap_regret(losses, played):
    """The best of all `d^d` maps from arms to arms."""
    arms = losses.shape[1]
    obtained = float(np.sum(losses * played))
    costs = []
    for table in itertools.product(range(arms), repeat=arms):
        costs.append(sum(p[i] * loss[table[i]] for p, loss in zip(played, losses, strict=True) for i in range(arms)))
    return obtained - min(costs)


def internal_regret(losses, played):
    arms = range(losses.shape[1])
    return max(
        sum(p[i] * (loss[i] - loss[j]) for p, loss in zip(played, losses, strict=True)) for i in arms for j in arms
    )
