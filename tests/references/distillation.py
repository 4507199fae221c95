"""Slow twins of what regret-minimisation fine-tuning selects; numpy and plain loops."""

import numpy as np


def lowest(score: np.ndarray, keep: int, unit: str) -> set[int]:
    """Flat places of the k lowest of every row, or of the M k lowest of all."""
    scenarios, rollouts = score.shape
    if unit == "pool":
        return {int(i) for i in np.argsort(score.ravel(), kind="stable")[: scenarios * keep]}
    places = [np.argsort(row, kind="stable")[:keep] + rollouts * m for m, row in enumerate(score)]
    return {int(i) for i in np.concatenate(places)}


def mean_lowest_normal(keep: int, rollouts: int, samples: int = 200_000, seed: int = 0) -> tuple[float, float]:
    """`z_{k,L}`, the mean of the k lowest of L standard normals, by simulation; and its standard error."""
    draws = np.sort(np.random.default_rng(seed).standard_normal((samples, rollouts)), axis=1)[:, :keep].mean(axis=1)
    return float(draws.mean()), float(draws.std() / np.sqrt(samples))
