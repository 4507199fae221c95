"""What may be said after N seeds: intervals, exponents and trends; numpy and scipy only.

Dimensions: `N` seeds (the unit of replication: episodes of one seed are averaged first), `T` rounds.
Every interval is two-sided with the stated confidence, and is taken along the first axis.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import bdtrc, stdtr, stdtrit


class Interval(NamedTuple):
    """An estimate and an interval around it."""

    estimate: np.ndarray  # [...]
    low: np.ndarray  # [...]
    high: np.ndarray  # [...]


class Exponent(NamedTuple):
    """A fitted power distribution `y = exp(intercept) t^exponent`."""

    exponent: float
    low: float
    high: float
    intercept: float
    p_value: float  # two-sided, of the hypothesis that the exponent is zero


class Trend(NamedTuple):
    """How often a sequence fell, and the chance that a fair coin says so as often."""

    decreases: np.ndarray  # [...] int
    p_value: np.ndarray  # [...]


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


def paired_interval(ours: Any, theirs: Any, confidence: float = 0.95) -> Interval:
    """Student's interval of `mean(ours - theirs)`, where row i of both was run on the same random numbers.

    Args:
        ours: [N, ...].
        theirs: [N, ...].
        confidence: in (0, 1).

    Raises:
        ValueError: shapes that differ, or as `mean_interval`.
    """
    ours, theirs = _checked("ours", ours, confidence), _checked("theirs", theirs, confidence)
    if ours.shape != theirs.shape:
        raise ValueError(f"theirs: shape {theirs.shape}; expected {ours.shape}, paired row by row with ours")
    return mean_interval(ours - theirs, confidence)


def percentile_interval(
    values: Any,
    confidence: float = 0.95,
    *,
    statistic: Callable[..., Any] = np.mean,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over seeds: the `(1 -+ confidence) / 2` quantiles of the statistic on resampled rows.

    Args:
        values: [N, ...], N >= 2.
        confidence: in (0, 1).
        statistic: takes an array and `axis`.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: as `mean_interval`.

    Reference: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    return _bootstrap("percentile", values, confidence, statistic, resamples, seed)


def bca_interval(
    values: Any,
    confidence: float = 0.95,
    *,
    statistic: Callable[..., Any] = np.mean,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over seeds, corrected for bias b and acceleration a: quantiles at `Phi(b + (b + z) / (1 - a (b + z)))`.

    Arguments and errors as `percentile_interval`. Where all resamples agree, the interval is a point.

    Reference: Efron, Better bootstrap confidence intervals, JASA 82, 1987.
    """
    return _bootstrap("BCa", values, confidence, statistic, resamples, seed)


def confidence_sequence(values: Any, confidence: float = 0.95, low: float = 0.0, high: float = 1.0) -> Interval:
    """Intervals for the mean of a bounded stream that are all right at once, so one may look after every number.

    With predictable `l_i`, `centre_t = sum l_i x_i / sum l_i`, `half_t = (ln(2/alpha) + sum v_i psi(l_i)) / sum l_i`,
    `v_i = (x_i - m_{i-1})^2`, `psi(l) = -ln(1 - l) - l`; the interval is the running intersection.

    Args:
        values: [T, ...] in [low, high], with the same mean given the past.
        confidence: chance that the mean is in all T intervals, at least.
        low: smallest possible value.
        high: largest possible value.

    Returns:
        Interval of shape [T, ...].

    Raises:
        ValueError: a value outside [low, high], or as `mean_interval`.

    Reference: Waudby-Smith, Ramdas, Estimating means of bounded random variables by betting, JRSS B 86, 2024,
        Theorem 2 (predictable plug-in empirical Bernstein, truncation 1/2).
    """
    values = _checked("values", values, confidence)
    if not low < high or values.min() < low or values.max() > high:
        raise ValueError(f"values: in [{values.min():.8g}, {values.max():.8g}]; expected in [{low:.8g}, {high:.8g}]")
    x = (values - low) / (high - low)
    time = np.arange(1.0, len(x) + 1).reshape(-1, *[1] * (x.ndim - 1))
    mean = (0.5 + np.cumsum(x, axis=0)) / (time + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2, axis=0)) / (time + 1)

    def before(first: float, later: np.ndarray) -> np.ndarray:
        return np.concatenate([np.full_like(x[:1], first), later[:-1]])

    threshold = np.log(2 / (1 - confidence))
    bet = np.minimum(np.sqrt(2 * threshold / (before(0.25, variance) * time * np.log1p(time))), 0.5)
    penalty = np.cumsum((x - before(0.5, mean)) ** 2 * (-np.log1p(-bet) - bet), axis=0)
    total = np.cumsum(bet, axis=0)
    centre = np.cumsum(bet * x, axis=0) / total
    half = (threshold + penalty) / total
    ends = np.maximum.accumulate(np.maximum(centre - half, 0)), np.minimum.accumulate(np.minimum(centre + half, 1))
    estimate, below, above = (low + (high - low) * y for y in (centre, *ends))
    return Interval(estimate=estimate, low=below, high=above)


def exponent_fit(times: Any, values: Any, confidence: float = 0.95) -> Exponent:
    """Least squares of `log y = b log t + c` on one curve; the interval takes residuals as independent normals.

    Args:
        times: [T] positive, T >= 3.
        values: [T] positive.
        confidence: in (0, 1).

    Raises:
        ValueError: shapes that differ, fewer than three points, or numbers that are not positive.

    Reference: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, section 3.1 (regression test).
    """
    x, y = _logs(times, values)
    slope, intercept = _line(x, y)
    residual = y - slope * x - intercept
    deviation = x - x.mean()
    error = np.sqrt((residual @ residual) / (len(x) - 2) / (deviation @ deviation))
    return _exponent(slope, intercept, error, len(x) - 2, confidence)


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
    slope, intercept = _line(*_logs(times, values.mean(axis=0)))
    count = len(values)
    left_out = np.asarray([_line(*_logs(times, np.delete(values, i, 0).mean(axis=0)))[0] for i in range(count)])
    error = np.sqrt((count - 1) * left_out.var())
    return _exponent(slope, intercept, error, count - 1, confidence)


def trend_test(regret: Any) -> Trend:
    """Does `Regret_t / t` fall more often than by chance? `p = P(Binomial(T - 1, 1/2) >= number of decreases)`.

    Args:
        regret: [..., T] cumulative regret after rounds 1..T, T >= 2.

    Raises:
        ValueError: fewer than two rounds, or numbers that are not finite.

    Reference: Park, Liu, Ozdaglar, Zhang, ICLR 2025, section 3.1 (trend test).
    """
    regret = np.asarray(regret, np.float64)
    if regret.ndim < 1 or regret.shape[-1] < 2 or not np.all(np.isfinite(regret)):
        raise ValueError(f"regret: shape {regret.shape}; expected [..., T] finite numbers with T >= 2")
    rounds = regret.shape[-1]
    decreases = np.sum(np.diff(regret / np.arange(1, rounds + 1), axis=-1) < 0, axis=-1)
    tail = bdtrc(np.maximum(decreases - 1.0, 0), rounds - 1, 0.5)
    return Trend(decreases=decreases, p_value=np.where(decreases == 0, 1.0, tail))


def _checked(name: str, values: Any, confidence: float) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim < 1 or len(values) < 2:
        raise ValueError(f"{name}: shape {values.shape}; expected [N, ...] with N >= 2")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name}: {np.sum(~np.isfinite(values))} entries are not finite; expected finite numbers")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}; expected a number in (0, 1)")
    return values


def _bootstrap(
    method: Literal["percentile", "BCa"],
    values: Any,
    confidence: float,
    statistic: Callable[..., Any],
    resamples: int,
    seed: int,
) -> Interval:
    """scipy's bootstrap along the first axis; a point where all resamples agree."""
    values = _checked("values", values, confidence)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,),
            statistic,
            axis=0,
            confidence_level=confidence,
            n_resamples=resamples,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    estimate = np.asarray(statistic(values, axis=0))
    low, high = (np.where(np.isnan(end), estimate, end) for end in (found.low, found.high))
    return Interval(estimate=estimate, low=low, high=high)


def _logs(times: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if times.shape != values.shape or times.ndim != 1 or len(times) < 3:
        raise ValueError(f"values: shape {values.shape} beside times {times.shape}; expected one [T] with T >= 3")
    for name, x in (("times", times), ("values", values)):
        if not np.all((x > 0) & np.isfinite(x)):
            raise ValueError(f"{name}: {x.min():.8g} is smallest; expected positive finite numbers, as logs are taken")
    return np.log(times), np.log(values)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    deviation = x - x.mean()
    slope = (deviation @ y) / (deviation @ deviation)
    return float(slope), float(y.mean() - slope * x.mean())


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
