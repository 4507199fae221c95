"""N16. The exact worst case of FTRL on the ball at every rate, and where the bound of N2 is attained.

Statement. Let `x_t = Proj_R(-eta S_{t-1})` face T losses of length at most one in `d >= 2` dimensions. The largest
regret is

    R^2 / (2 eta) + eta T / 2        for R / T <= eta <= R, which is the bound of N2, attained,
    R T - eta T (T - 1) / 2          for eta <= R / T, where the bound of N2 is not attained.

For `eta > R` the bound is not attained either.

Proof. As long as nothing is projected the learner pays `-eta <S_{t-1}, l_t>` in round t, and

    Regret = R s - (eta / 2) s^2 + (eta / 2) sum_t |l_t|^2,    s = |S_T|.

The bound of N2 is the maximum over s, at `s = R / eta`. Unit losses reach it without any projection whenever
`1 <= R / eta <= T`: in the plane a step of length one leads from radius r to every radius in `[|r - 1|, r + 1]`, so
that the radii may be `min(t, R / eta)`. If `eta T <= R` nothing is ever projected, s is at most T, and the right
side rises in s up to there: `s = T`, unit losses in one direction, which gives the second line. If `eta > R`, equality
in the proof of N2 needs `x_t - eta l_t` in the ball in every round with `|l_t| = 1`, and `x_1 = 0` breaks it at once.

What follows. A learner with a rate fixed once for all T is one whose regret grows like `eta T / 2`, linearly, and one
with a rate below `R / T` can be made to lose nearly `R T`: the two ways in which a trained gain is not no-regret.

Check: the constructions, in the plane and in three dimensions, played by the library's FTRL at two radii, meet the
formula to rounding, and gradient ascent through the learner from random starts never exceeds it.
Refutation: the bound of N2 is attained below `R / T` too.

Source: ours. Reference: T = 40, R = 1: 35.125 at eta = 0.00625, where N2 says 80.125.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.envs import online
from jaxdm.envs.online import BALL
from jaxdm.learners.online import ftrl, rate
from jaxdm.oracles.attack import ascend, to_unit_ball
from jaxdm.oracles.regret import external
from theory import draws
from theory.verdicts import exactly, largest

STATEMENT = (
    "largest regret of FTRL: `R^2 / (2 eta) + eta T / 2` for `R / T <= eta <= R`, `R T - eta T (T - 1) / 2` below; "
    "deviation"
)


LENGTH, STEPS, STARTS = 40, 150, 8
"""Rounds; steps and least number of starts of the attack, at every rate."""


RATES = np.asarray([0.00625, 0.0125, 0.02, 0.025, 0.04, 0.08, 0.158, 0.3, 0.6, 0.99])
"""eta / R."""


CHUNK = 1000
"""Starts at once."""


HIGH = 1.25
"""A rate at which the bound is not attained, in R."""


RADII = (1.0, 3.0)


ROUNDING = 100 * LENGTH * float(np.finfo(np.float64).eps)


class WorstCaseForm(NamedTuple):
    """The stated largest regret."""

    factor: float = 1.0
    switch: float = 1.0  # between the two lines, in R / T
    linear: float = 1.0  # weight of R T below
    quadratic: float = 1.0  # weight of eta T (T - 1) / 2 below
    rounds: int = 1  # T (T - rounds)
    high: bool = False  # whether the bound is said to be attained at `HIGH`


STATED = WorstCaseForm()


WRONG = {
    "the bound of N2 is attained below R / T": WorstCaseForm(switch=0.0),
    "the second line up to 2 R / T": WorstCaseForm(switch=2.0),
    "the first line from R / (2 T)": WorstCaseForm(switch=0.5),
    "R T below": WorstCaseForm(quadratic=0.0),
    "R T - eta T^2 / 2 below": WorstCaseForm(rounds=0),
    "x 0.99": WorstCaseForm(factor=0.99),
    "x 1.01": WorstCaseForm(factor=1.01),
    "the bound of N2 is attained at eta = 1.25 R": WorstCaseForm(high=True),
}


def worst_regret(eta: np.ndarray, length: int, radius: float = 1.0, form: WorstCaseForm = STATED) -> np.ndarray:
    """The stated largest regret at rate eta."""
    bound = radius**2 / (2 * eta) + eta * length / 2
    below = form.linear * radius * length - form.quadratic * eta * length * (length - form.rounds) / 2
    return form.factor * np.where(eta * length < form.switch * radius, below, bound)


def construction(target: float, length: int) -> np.ndarray:
    """Unit losses in the plane whose sum has length `min(t, max(target, 1))` after t rounds, [T, 2]."""
    radii = np.minimum(np.arange(length + 1.0), max(target, 1.0))
    before, after = radii[:-1], radii[1:]
    product = 2 * before * after
    cosine = np.where(product > 0, (before**2 + after**2 - 1) / np.where(product > 0, product, 1), 1)
    turned = np.concatenate([[0], np.cumsum(np.arccos(np.clip(cosine, -1, 1)))])
    points = radii[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
    return np.diff(points, axis=0)


def regret(losses: jax.Array, eta: jax.Array, radius: jax.Array) -> jax.Array:
    """Of the library's FTRL on one sequence, []."""
    played = online.play(jax.random.key(0), losses, ftrl(BALL, losses.shape[1]), rate(eta, size=radius))
    return external(BALL, losses, played, radius)[-1]


@functools.partial(jax.jit, static_argnums=1)
@functools.partial(jax.vmap, in_axes=(0, None, 0))
def attacked(key: jax.Array, length: int, eta: jax.Array) -> jax.Array:
    """The largest regret that one attack finds in the plane, R = 1."""
    start = to_unit_ball(random.normal(key, (length, 2), eta.dtype))
    return ascend(lambda losses: regret(losses, eta, jnp.ones(())), to_unit_ball, start, steps=STEPS).value


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Regrets of the constructions over R, [dimensions, radii, rates], and of attacks, [samples, rates].

    The last rate is `HIGH`.
    """
    rates = np.append(RATES, HIGH)
    each = np.stack([construction(1 / eta, LENGTH) for eta in rates])
    built = []
    for dimension, key_frame in zip((2, 3), draws.keys(key), strict=True):
        frame = np.linalg.qr(np.asarray(draws.normal(key_frame, (dimension, dimension))))[0][:2]
        losses = jnp.asarray(each @ frame)
        play = jax.jit(jax.vmap(regret, (0, 0, None)))
        built.append([play(losses, jnp.asarray(rates * radius), jnp.asarray(radius)) / radius for radius in RADII])

    def attack(key: jax.Array, count: int) -> jax.Array:
        found = attacked(draws.keys(key, count * len(rates)), LENGTH, jnp.asarray(np.tile(rates, count)))
        return found.reshape(count, -1)

    return np.asarray(built), draws.in_chunks(attack, key, samples, CHUNK)


def check(key: jax.Array, samples: int = STARTS, form: WorstCaseForm = STATED) -> Claim:
    """Constructions attain the formula, attacks do not exceed it.

    Args:
        key: random key.
        samples: starts of the attack at every rate; at least 8.
        form: what is claimed.
    """
    built, found = measured(key, max(samples, STARTS))
    rates = np.append(RATES, HIGH)
    stated = worst_regret(rates, LENGTH, form=form)
    used = slice(None) if form.high else slice(0, -1)
    deviation = np.abs(built / stated - 1)[..., used]
    return exactly(STATEMENT, "ours", largest([deviation, found / stated - 1]), ROUNDING)


def curves(key: jax.Array, samples: int = STARTS) -> dict[str, xr.DataArray]:
    """Regret against the rate: of the constructions, of the best attack, the formula and the bound of N2."""
    built, found = measured(key, max(samples, STARTS))
    rates = np.append(RATES, HIGH)
    bound = 1 / (2 * rates) + rates * LENGTH / 2
    rows = [built[0, 0], found.max(0), worst_regret(rates, LENGTH), bound]
    return {"regret": named(rows, kind=("construction", "attack", "stated", "bound"), rate=rates)}
