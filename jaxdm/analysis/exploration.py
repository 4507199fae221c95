"""How a bandit player explored: what its actions alone tell before regret does; numpy only.

Dimensions: `T` rounds, `K` arms. Leading axes are runs; average them by seed, then use `jaxdm.analysis.statistics`.
"""

from typing import Any

import numpy as np

from jaxdm.analysis.statistics import numbers


def suffix_failure(actions: Any, best: Any, start: int) -> np.ndarray:
    """True where no best arm is chosen in rounds `start..T-1`; the mean over runs is SuffFailFreq(start).

    Args:
        actions: [..., T] arms.
        best: [...] the best arm; or [..., K] booleans, where several may be best.
        start: 0 <= start < T.

    Raises:
        ValueError: a start outside the episode, an action that is no arm, or shapes that do not fit.

    Reference: Krishnamurthy et al., Can large language models explore in-context?, NeurIPS 2024, section 2.
    """
    actions, best = _indices("actions", actions), np.asarray(best)
    runs, length = actions.shape[:-1], actions.shape[-1]
    if not isinstance(start, (int, np.integer)) or not 0 <= start < length:
        raise ValueError(f"start: {start!r}; expected an integer, 0 <= start < T = {length}")
    if best.dtype.kind != "b":
        best = _indices("best", best, 0)
        best = best[..., None] == np.arange(1 + max(best.max(), actions.max()))
    if best.shape[:-1] != runs:
        raise ValueError(f"best: one for runs of shape {best.shape[:-1]}; expected {runs}, that of actions")
    chosen = _one_hot(actions[..., start:], best.shape[-1]) > 0
    return ~np.any(chosen & best[..., None, :], axis=(-2, -1))


def min_fraction(actions: Any, arms: int, available: Any = None) -> np.ndarray:
    """`K MinFrac(t) = K min_a n_a(t) / t`: one for uniform play, zero while an arm is untried.

    Args:
        actions: [..., T] arms in 0..K-1.
        arms: K.
        available: [..., K] booleans, the arms that may be played, which alone count, in K as well; all when left out.

    Returns:
        [..., T].

    Raises:
        ValueError: an action outside 0..K-1 or not available, or no available arm.

    Reference: Krishnamurthy et al. 2024, section 2.
    """
    chosen = _one_hot(actions, arms)
    allowed = np.ones(arms, bool) if available is None else np.asarray(available)
    if allowed.dtype.kind != "b" or allowed.shape[-1:] != (arms,) or not np.all(allowed.any(axis=-1)):
        raise ValueError(f"available: {allowed.dtype} of shape {allowed.shape}; expected [..., {arms}] with some true")
    allowed = np.broadcast_to(allowed, (*chosen.shape[:-2], arms))[..., None, :]
    if np.any((chosen > 0) & ~allowed):
        raise ValueError("actions: an arm that is not available; expected available ones")
    least = np.where(allowed, np.cumsum(chosen, axis=-2), np.inf).min(axis=-1)
    return allowed.sum(axis=-1) * least / np.arange(1, chosen.shape[-2] + 1)


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
        ValueError: an action outside 0..K-1, T < 2, or rewards of another shape or that are not finite.

    Reference: Krishnamurthy et al. 2024, section 2.
    """
    chosen = _one_hot(actions, arms)
    rewards = numbers("rewards", rewards)
    if rewards.shape != chosen.shape[:-1] or rewards.shape[-1] < 2:
        raise ValueError(f"rewards: shape {rewards.shape}; expected {chosen.shape[:-1]}, that of actions, with T >= 2")
    if not np.all(np.isfinite(rewards)):
        raise ValueError(f"rewards: {np.sum(~np.isfinite(rewards))} are not finite; expected finite numbers")
    count = np.cumsum(chosen, axis=-2)
    total = np.cumsum(chosen * rewards[..., None], axis=-2)
    mean = np.divide(total, count, out=np.full_like(total, -np.inf), where=count > 0)
    greedy = mean == mean.max(axis=-1, keepdims=True)
    return np.any(greedy[..., :-1, :] & (chosen[..., 1:, :] > 0), axis=-1).mean(axis=-1)


def _one_hot(actions: Any, arms: int) -> np.ndarray:
    if not isinstance(arms, (int, np.integer)) or arms < 1:
        raise ValueError(f"arms: {arms!r}; expected an integer, at least 1")
    actions = _indices("actions", actions)
    if actions.min() < 0 or actions.max() >= arms:
        raise ValueError(f"actions: in {actions.min()}..{actions.max()}; expected 0..{arms - 1}")
    return (actions[..., None] == np.arange(arms)).astype(np.float64)


def _indices(name: str, values: Any, axes: int = 1) -> np.ndarray:
    """Whole numbers, with at least so many axes and none empty."""
    found = numbers(name, values)
    if found.ndim < axes or found.size == 0 or not np.all(found == np.floor(found)):
        raise ValueError(f"{name}: shape {found.shape}; expected whole numbers{', [..., T]' if axes else ''}")
    return found.astype(np.int64)
