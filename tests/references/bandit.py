"""Slow bandits in plain numpy, one run and one round at a time."""

import functools
import math

import numpy as np


def ucb_run(rewards: np.ndarray, exploration: float, discount: float = 1.0, window: int | None = None) -> list[int]:
    """Arms that (discounted, sliding-window) UCB chooses when `rewards[t, a]` is what arm a pays in round t."""
    arms = rewards.shape[1]
    past: list[tuple[int, float]] = []
    for t in range(len(rewards)):
        plays, total = np.zeros(arms), np.zeros(arms)
        for s, (arm, reward) in enumerate(past):
            if window is None or s >= t - window:
                plays[arm] += discount ** (t - 1 - s)
                total[arm] += discount ** (t - 1 - s) * reward
        scores = [
            total[a] / plays[a] + math.sqrt(exploration * max(math.log(plays.sum()), 0) / plays[a])
            if plays[a]
            else math.inf
            for a in range(arms)
        ]
        choice = int(np.argmax(scores))
        past.append((choice, float(rewards[t, choice])))
    return [arm for arm, _ in past]


def kl(p: float, q: float) -> float:
    """Relative entropy of Bernoulli laws."""
    first = p * math.log(p / q) if p > 0 else 0.0
    return first + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0)


def exp3_weights(steps: list[tuple[int, float]], arms: int, gamma: float, alpha: float) -> np.ndarray:
    """Normalised weights of Exp3.S after the given (arm, reward) pairs, as the paper's figure 4 writes them."""
    weights = np.ones(arms)
    for arm, reward in steps:
        total = weights.sum()
        law = (1 - gamma) * weights / total + gamma / arms
        grown = weights.copy()
        grown[arm] *= math.exp(gamma * reward / law[arm] / arms)
        weights = grown + math.e * alpha / arms * total
    return weights / weights.sum()


def bayes_value(prior: np.ndarray, horizon: int) -> float:
    """Expected reward of optimal play, by recursion over beliefs."""

    @functools.cache
    def value(belief: tuple[float, ...], left: int) -> float:
        if left == 0:
            return 0.0
        options = []
        for arm in range(len(belief) // 2):
            won, lost = list(belief), list(belief)
            won[2 * arm] += 1
            lost[2 * arm + 1] += 1
            chance = belief[2 * arm] / (belief[2 * arm] + belief[2 * arm + 1])
            options.append(chance * (1 + value(tuple(won), left - 1)) + (1 - chance) * value(tuple(lost), left - 1))
        return max(options)

    return value(tuple(prior.ravel().tolist()), horizon)
