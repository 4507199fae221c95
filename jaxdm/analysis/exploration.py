"""How a bandit player explored: what its actions alone tell before regret does; numpy only.

Dimensions: `T` rounds, `K` arms. Leading axes are runs; average them by seed, then use `jaxdm.analysis.statistics`.
"""

from typing import Any

import numpy as np


def suffix_failure(actions: Any, best: Any, start: int) -> np.ndarray:
    """True where the best arm is never chosen in rounds `start..T-1`; the mean over runs is SuffFailFreq(start).

    Args:
        actions: [..., T] arms.
        best: [...] the best arm.
        start: 0 <= start < T.

    Raises:
        ValueError: a start outside the episode.

    Reference: Krishnamurthy et al., Can large language models explore in-context?, NeurIPS 2024, section 2.
    """
    actions = np.asarray(actions)
    if not 0 <= start < actions.shape[-1]:
        raise ValueError(f"start: {start}; expected 0 <= start < T = {actions.shape[-1]}")
    return ~np.any(actions[..., start:] == np.asarray(best)[..., None], axis=-1)


def min_fraction(actions: Any, arms: int) -> np.ndarray:
    """`K MinFrac(t) = K min_a n_a(t) / t`: one for uniform play, zero while an arm is untried.

    Args:
        actions: [..., T] arms in 0..K-1.
        arms: K.

    Returns:
        [..., T].

    Raises:
        ValueError: an action outside 0..K-1.

    Reference: Krishnamurthy et al. 2024, section 2.
    """
    counts = np.cumsum(_one_hot(actions, arms), axis=-2)
    return arms * counts.min(axis=-1) / np.arange(1, counts.shape[-2] + 1)


def greedy_fraction(actions: Any, rewards: Any, arms: int) -> np.ndarray:
    """GreedyFrac: the share of rounds 2..T that chose an arm with the largest mean reward so far.

    Ties all count as greedy, untried arms never do (our reading of a definition that leaves both open).

    Args:
        actions: [..., T] arms in 0..K-1, T >= 2.
        rewards: [..., T].
        arms: K.

    Returns:
        [...].

    Raises:
        ValueError: an action outside 0..K-1.

    Reference: Krishnamurthy et al. 2024, section 2.
    """
    chosen = _one_hot(actions, arms)
    count = np.cumsum(chosen, axis=-2)
    total = np.cumsum(chosen * np.asarray(rewards, np.float64)[..., None], axis=-2)
    mean = np.divide(total, count, out=np.full_like(total, -np.inf), where=count > 0)
    greedy = mean == mean.max(axis=-1, keepdims=True)
    return np.any(greedy[..., :-1, :] & (chosen[..., 1:, :] > 0), axis=-1).mean(axis=-1)


def _one_hot(actions: Any, arms: int) -> np.ndarray:
    actions = np.asarray(actions)
    if actions.min() < 0 or actions.max() >= arms:
        raise ValueError(f"actions: in {actions.min()}..{actions.max()}; expected 0..{arms - 1}")
    return (actions[..., None] == np.arange(arms)).astype(np.float64)
