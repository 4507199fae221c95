"""What may be said after N seeds: intervals and exponents; numpy and scipy only. For bootstraps take scipy.stats.

Dimensions: `N` seeds (the unit of replication: episodes of one seed are averaged first), `T` rounds.
Every interval is two-sided with the stated confidence, and is taken along the first axis.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit


class Interval(NamedTuple):
    """An estimate and an interval around it."""

    estimate: np.ndarray  # [...]
    low: np.ndarray  # [...]
    high: np.ndarray  # [...]


class Exponent(NamedTuple):
    """A fitted power law `y = exp(intercept) t^exponent`."""

    exponent: float
    low: float
    high: float
    intercept: float
    p_value: float  # two-sided, of the hypothesis that the exponent is zero


def mean_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Student's interval of a mean over seeds: `mean +- t_{N-1} s / sqrt(N)`.

    Args:
        values: [N, ...], N >= 2, one row per seed.
        confidence: in (0, 1).

    Returns:
        Interval of shape [...].

    Raises:
        ValueError: fewer than two seeds, numbers that are not finite, or a confidence outside (0, 1).

    Reference: Student, The probable error of a mean, Biometrika 6, 1908.
    """
    values = _checked("values", values, confidence)
    count = len(values)
    estimate = values.mean(axis=0)
    half = stdtrit(count - 1, (1 + confidence) / 2) * values.std(axis=0, ddof=1) / np.sqrt(count)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half)


def mean_test(values: Any, target: float) -> float:
    """The two-sided p-value of Student's test that a mean over seeds [N] is the target; 1 where all values equal it.

    Raises:
        ValueError: as `mean_interval`.
    """
    values = _checked("values", values, 0.95)
    error = values.std(ddof=1) / np.sqrt(len(values))
    distance = abs(values.mean() - target)
    if error == 0:
        return 1.0 if distance == 0 else 0.0
    return float(2 * stdtr(len(values) - 1, -distance / error))


def holm(p_values: Any) -> np.ndarray:
    """P-values [m] adjusted for their number: `max_{j <= i} min(1, (m - j + 1) p_(j))` in ascending order.

    Rejecting where the adjusted value is at most a level errs in any of the m tests with at most that chance, whatever
    the dependence between them.

    Raises:
        ValueError: a number outside [0, 1].

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    p_values = np.asarray(p_values, np.float64)
    if not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(f"p_values: {p_values}; expected numbers in [0, 1]")
    order = np.argsort(p_values)
    scaled = np.minimum(1, p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def exponent_fit(times: Any, values: Any, confidence: float = 0.95) -> Exponent:
    """Least squares of `log y = b log t + c` on one curve; the interval takes residuals as independent normals.

    Args:
        times: [T] positive, T >= 3.
        values: [T] positive.
        confidence: in (0, 1).

    Raises:
        ValueError: shapes that differ, fewer than three points, times that are all the same, or numbers that are not
            positive.

    Reference: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, section 3.1 (regression test).
    """
    _check_confidence(confidence)
    x, y = _logs(times, values)
    slope, intercept = _line(x, y)
    residual = y - slope * x - intercept
    deviation = x - x.mean()
    error = np.sqrt((residual @ residual) / (len(x) - 2) / (deviation @ deviation))
    return _exponent(slope, intercept, np.hypot(error, _rounding(x, y)), len(x) - 2, confidence)


def exponent_interval(times: Any, values: Any, confidence: float = 0.95) -> Exponent:
    """The exponent of the mean curve, with an interval over seeds: a jackknife, since rounds of a run are dependent.

    `s^2 = (N - 1)/N sum_i (b_(i) - mean b_(.))^2`, where `b_(i)` is fitted without seed i; Student's quantile.

    Args:
        times: [T] positive, T >= 3.
        values: [N, T], N >= 2; means over seeds (and over all but one) must be positive.
        confidence: in (0, 1).

    Raises:
        ValueError: as `exponent_fit` and `mean_interval`.

    Reference: Efron, Tibshirani 1993, chapter 11.
    """
    values = _checked("values", values, confidence)
    x, y = _logs(times, values.mean(axis=0))
    slope, intercept = _line(x, y)
    count = len(values)
    left_out = np.asarray([_line(*_logs(times, np.delete(values, i, 0).mean(axis=0)))[0] for i in range(count)])
    error = np.hypot(np.sqrt((count - 1) * left_out.var()), _rounding(x, y))
    return _exponent(slope, intercept, error, count - 1, confidence)


def linear_part(times: Any, values: Any, sublinear: Literal["log", "sqrt"] = "log") -> np.ndarray:
    """b of the least-squares fit `a f(t) + b t + c` of each curve: what remains of its growth once t is large.

    A cumulative regret with b > 0 is linear, however small its exponent still looks: `5 (1 - e^{-t/5}) + 0.05 t` has a
    fitted exponent below one. Take intervals of b over training seeds, as rounds of one run are dependent.

    Args:
        times: [T] positive, T >= 4, at least three of them different.
        values: [..., T] finite.
        sublinear: f, "log" for stochastic losses and "sqrt" for adversarial ones, whose regret grows like that at best.

    Returns:
        [...].

    Raises:
        ValueError: shapes that do not fit, too few times, numbers that are not finite, or another `sublinear`.

    Reference: Nie et al., EVOLvE: Evaluating and optimizing LLMs for exploration, 2024, section 6: `a log(T)^c + b T`.
    """
    times, values = numbers("times", times), numbers("values", values)
    if times.ndim != 1 or values.shape[-1:] != times.shape:
        raise ValueError(f"values: shape {values.shape} beside times {times.shape}; expected [..., T] beside [T]")
    if sublinear not in ("log", "sqrt"):
        raise ValueError(f"sublinear: {sublinear!r}; expected 'log' or 'sqrt'")
    if len(times) < 4 or len(np.unique(times)) < 3 or not np.all((times > 0) & np.isfinite(times)):
        raise ValueError(f"times: {len(times)} of them; expected at least four positive ones, three different")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"values: {np.sum(~np.isfinite(values))} are not finite; expected finite numbers")
    scale = times.max()
    growth = np.log(times) if sublinear == "log" else np.sqrt(times / scale)
    basis = np.stack([growth, times / scale, np.ones_like(times)], axis=1)
    fitted = np.linalg.lstsq(basis, values.reshape(-1, len(times)).T, rcond=None)[0]
    return fitted[1].reshape(values.shape[:-1]) / scale


def _checked(name: str, values: Any, confidence: float) -> np.ndarray:
    values = numbers(name, values)
    if values.ndim < 1 or len(values) < 2 or 0 in values.shape:
        raise ValueError(f"{name}: shape {values.shape}; expected [N, ...] with N >= 2")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name}: {np.sum(~np.isfinite(values))} entries are not finite; expected finite numbers")
    _check_confidence(confidence)
    return values


def _check_confidence(confidence: Any) -> None:
    if not isinstance(confidence, (float, np.floating)) or not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence!r}; expected a number in (0, 1)")


def numbers(name: str, values: Any) -> np.ndarray:
    """Anything like an array of real numbers, in float64.

    Raises:
        ValueError: text, nothing, ragged lists, complex numbers, or a masked array.
    """
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: lists of unequal length; expected an array of numbers") from error
    if found.dtype.kind not in "biuf" or isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name}: {type(values).__name__} of {found.dtype}; expected an array of real numbers")
    return found.astype(np.float64)


def _logs(times: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    times, values = numbers("times", times), numbers("values", values)
    if times.shape != values.shape or times.ndim != 1 or len(times) < 3:
        raise ValueError(f"values: shape {values.shape} beside times {times.shape}; expected one [T] with T >= 3")
    for name, x in (("times", times), ("values", values)):
        if not np.all((x > 0) & np.isfinite(x)):
            raise ValueError(f"{name}: {x.min():.8g} is smallest; expected positive finite numbers, as logs are taken")
    if np.ptp(np.log(times)) == 0:
        raise ValueError(f"times: all {times[0]:.8g}; expected at least two that differ, for a line through them")
    return np.log(times), np.log(values)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean()
    slope = (deviation @ y) / (deviation @ deviation)
    return float(slope), float(y.mean() - slope * x.mean())


def _rounding(x: np.ndarray, y: np.ndarray) -> float:
    """How far rounding carries a slope: without it the last digits of a constant curve would decide a p-value."""
    return float(4 * np.finfo(np.float64).eps * (1 + np.abs(y).max()) / x.std())


def _exponent(slope: float, intercept: float, error: float, freedom: int, confidence: float) -> Exponent:
    half = stdtrit(freedom, (1 + confidence) / 2) * error
    ratio = abs(slope) / error if error > 0 else (np.inf if slope else 0.0)
    return Exponent(
        exponent=slope,
        low=float(slope - half),
        high=float(slope + half),
        intercept=intercept,
        p_value=float(2 * stdtr(freedom, -ratio)),
    )
