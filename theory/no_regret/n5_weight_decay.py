"""N5. RMFT with weight decay on drifting losses: a fixed point that is FTRL, and no-regret only if the decay knows T.

Statement. Rounds as in N4, decisions not projected, on losses `l_t = m + noise`, `m ~ N(0, tau^2 I)`. A round's refit
moves the gain by `delta = sigma z E[Q / |l|] / E sum_t |S_{t-1}|^2`, wherever it is. With decay after each round,
`a <- (a + delta) / (1 + lambda)`,

    a_n = a* + (a_0 - a*) (1 + lambda)^-n,    a* = delta / lambda,

and `Proj(a* S)` is FTRL with the rate `eta = |delta| / lambda`. For tau <= 1 and 25 <= T <= 1600, delta is

    sigma z tau^2 / (sqrt(d T (1 + tau^2)) (1 + tau^2 (2 T - 1) / 3))

or up to 13 % less: it falls like `T^-1/2` while `T tau^2` is small, like `T^-3/2` where it is large. So at a fixed
lambda the rate falls too fast for long T, and its worst regret over sqrt T (N16, R = 1) grows without bound:

    T                                       25     100    400    1600
    tau = 1, lambda right for T = 25        1.0    2.1    7.7    27
    tau = 0.03, lambda = sigma |z| tau^2    1.07   1.08   1.16   1.57

The second lambda does not know T and is right as long as `T tau^2` is small; `lambda = |delta| sqrt(d T)` is right
always, and knows T. Without drift delta is zero and decay leads to gain zero, whose regret is linear; alternating
losses (N4) lead to a positive gain, which plays with the sum of losses and has linear regret on constant ones.

Proof. The refit moves every gain by the same delta as the labels are the layer's own outputs plus what selection adds,
which depends on the losses alone (N4). The rest is a contraction, and N16. `E[Q] = d tau^2 T (T - 1) / 2`, |l| is about
`sqrt(d T (1 + tau^2))`, and `E sum |S_{t-1}|^2 = d T (T - 1) / 2 (1 + tau^2 (2 T - 1) / 3)`.

Decay of weights is not decay of the gain. The gain `(k^T u) V + v u^T K` is linear in the values V and v: decay of
these is decay of the whole output, as stated. Decay of all factors counts thrice, as the gain is cubic in them:
`a* = delta / ((1 + lambda)^3 - 1)`, where a round's imitation is carried to its end.

Check: the library's distillation of the layer, all weights free and random, 40 rounds of 20 gradient steps each, from
gain zero and from 2 a*, with and without drift and with alternation, and with decay of all factors. The gain follows
the stated path in every round, within 0.15 of the fixed point; without drift, where sums of losses are smaller and a
refit is less certain, within that times the ratio of their sizes. The table and the formula, from exact moments.
Random weights have deviation 0.1; with 0.3 some runs stay at half of the gain for long, as the odd part of the layer,
`(V l)(u^T K l)`, imitates itself.
Refutation: fixed lambda is no-regret.

Source: ours. Reference values are those of the table.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy import special

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.types import Tree
from theory import draws
from theory.no_regret import attention_player
from theory.no_regret.n16_worst_case import worst_regret
from theory.no_regret.selection_round import selected_normal, signed_mean, sums
from theory.verdicts import at_most, largest

STATEMENT = (
    "rounds of RMFT with weight decay lead to the gain `delta / lambda`, which is FTRL, at a rate that falls like "
    "`T^-3/2` for long T; deviation, in tolerances"
)


LENGTH, DECAY, SEQUENCES = 10, 0.1, 200_000
"""T and lambda of the runs; sequences for their delta, at least."""


SIZES = Distillation(
    rounds=4000,
    scenarios=64,
    rollouts=64,
    keep=16,
    exploration=1.0,
    steps=20,
    batch=64,
    rate=0.01,
    moments="reset",
    merge=True,
)
"""Of the library's runs; rounds are many more than are run, so that the rate of learning hardly falls."""


ROUNDS, SCALE, LEFT = 40, 0.1, 0.15
"""Rounds that are run; deviation of random weights; tolerance of the gain, in a* of the drift."""


class DecayRun(NamedTuple):
    """One of the library's runs."""

    strength: float  # of the drift; alternation where negative
    start: float  # gain at the start, in a* of the drift
    whole: bool  # whether all factors decay, or the values alone


RUNS = {
    "drift, from 0": DecayRun(strength=1.0, start=0.0, whole=False),
    "drift, from twice": DecayRun(strength=1.0, start=2.0, whole=False),
    "no drift": DecayRun(strength=0.0, start=1.0, whole=False),
    "alternation": DecayRun(strength=-1.0, start=0.0, whole=False),
    "drift, all factors decay": DecayRun(strength=1.0, start=0.0, whole=True),
}


LENGTHS = np.asarray([25, 100, 400, 1600])


TABLE = {"fixed": (1.0, 2.1, 7.7, 27.0), "small drift": (1.07, 1.08, 1.16, 1.57), "by hand": (1.06, 1.06, 1.06, 1.06)}
"""Worst regret over sqrt T, to two digits or so."""


DIGITS, APPROXIMATION, GROWTH = 0.05, 0.13, 1.6
"""Relative errors of the table and of the formula of delta; growth over the table's T that counts as none."""


class DecayForm(NamedTuple):
    """The stated fixed point and rates."""

    factor: float = 1.0  # of delta / lambda
    power: float = 1.0  # of lambda
    thrice: bool = True  # whether decay of all factors counts thrice
    drift: bool = True  # whether it takes a drift
    alternation: float = 1.0  # sign of what alternation leads to
    late: float = 1.0  # power of 1 + tau^2 (2 T - 1) / 3 in delta
    no_regret: tuple[str, ...] = ("small drift", "by hand")  # rows of the table said to stay bounded


STATED = DecayForm()


WRONG = {
    "fixed lambda is no-regret": DecayForm(no_regret=("fixed",)),
    "no drift leads there too": DecayForm(drift=False),
    "alternation leads to FTRL too": DecayForm(alternation=-1.0),
    "x 0.8": DecayForm(factor=0.8),
    "x 1.25": DecayForm(factor=1.25),
    "lambda^2": DecayForm(power=2.0),
    "decay of factors is decay of the gain": DecayForm(thrice=False),
    "delta like T^-1/2 for every T": DecayForm(late=0.0),
}


def start_weights(key: jax.Array, gain: jax.Array) -> Tree:
    """Random weights with `k^T u` about one and the effective gain `gain I`."""
    weights = attention_player.random_weights(key, 2, SCALE)
    first = jnp.zeros(attention_player.WIDTH).at[0].set(1.0)
    weights |= {"k": weights["k"] + first, "q": weights["q"] + first}
    u = weights["Q"] @ jnp.ones(2) + weights["q"]
    rest = gain * jnp.eye(2) - jnp.outer(weights["v"], u @ weights["K"])
    return weights | {"V": rest / (weights["k"] @ u)}


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, 0))
def trained(key: jax.Array, gain: jax.Array, strength: jax.Array, whole: jax.Array) -> jax.Array:
    """Effective gain after every round, [ROUNDS, 2, 2]."""
    game = attention_player.ball_game(functools.partial(signed_mean, strength=strength), 2, LENGTH)
    trainer = distillation.make_trainer(SIZES, game, attention_player.summing_layer(2))

    def one(state: distillation.TrainState, _: None) -> tuple:
        state = trainer.run(state, (), 1)[0]
        params = {
            name: weight / jnp.where(whole | (name in ("V", "v")), 1 + DECAY, 1)
            for name, weight in state.params.items()
        }
        return state._replace(params=params), attention_player.effective_gain(params)

    key_start, key_run = random.split(key)
    return jax.lax.scan(one, trainer.init(key_run, start_weights(key_start, gain)), length=ROUNDS)[1]


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """delta and `E sum |S|^2` by run, and the gains of the library's runs, [runs, ROUNDS, 2, 2]."""
    keys, strengths = draws.keys(key, len(RUNS) + 1), sorted({run.strength for run in RUNS.values()})

    @functools.partial(jax.jit, static_argnums=1)
    def read(key: jax.Array, count: int, strength: jax.Array) -> tuple:
        def one(key: jax.Array) -> tuple:
            found = sums(signed_mean(key, strength, length=LENGTH, dimension=2))
            return found.product / found.size, found.squares

        return jax.vmap(one)(random.split(key, count))

    moves, sizes = {}, {}
    for strength in strengths:
        product, squares = draws.in_chunks(
            lambda key, count, strength=strength: read(key, count, jnp.asarray(strength)), keys[-1], samples, 2**16
        )
        z = selected_normal(SIZES.keep, SIZES.rollouts)
        sizes[strength] = squares.mean()
        moves[strength] = SIZES.exploration * z * product.mean() / sizes[strength]
    starts = np.asarray([run.start * moves[1.0] / DECAY for run in RUNS.values()])
    drift, whole = (jnp.asarray([getattr(run, name) for run in RUNS.values()]) for name in ("strength", "whole"))
    found = trained(keys[:-1], jnp.asarray(starts), drift, whole)
    move, size = (np.asarray([each[run.strength] for run in RUNS.values()]) for each in (moves, sizes))
    return move, size, np.asarray(found)


def stated_paths(moves: np.ndarray, form: DecayForm = STATED) -> np.ndarray:
    """Gain after every round, [runs, ROUNDS]."""
    paths, drift = [], moves[0]
    for move, run in zip(moves, RUNS.values(), strict=True):
        rate = (1 + DECAY) ** (3 if run.whole and form.thrice else 1)
        said = drift if run.strength == 0 and not form.drift else move * (form.alternation if run.strength < 0 else 1)
        end = form.factor * said / (rate - 1) ** form.power
        start = run.start * drift / DECAY
        paths.append(end + (start - end) * rate ** -np.arange(1.0, ROUNDS + 1))
    return np.asarray(paths)


def exact_move(tau: float, length: int) -> float:
    """`|delta| / (sigma |z|)` in the plane: `|S_T|^2` and `|l|^2 - |S_T|^2 / T` are independent multiples of chi^2."""
    x, weight = special.roots_laguerre(80)
    level = (np.arange(2000) + 0.5) / 2000
    total = 2 * (length**2 * tau**2 + length) * x[:, None]
    square = total / length + 2 * special.gammaincinv(length - 1, level)[None]
    mean = weight @ np.mean((total - square) / 2 / np.sqrt(square), axis=1)
    return float(mean / (length * (length - 1) * (1 + tau**2 * (2 * length - 1) / 3)))


def approximate_move(tau: float, length: int, form: DecayForm = STATED) -> float:
    """The formula of the statement, for the same."""
    return tau**2 / (np.sqrt(2 * length * (1 + tau**2)) * (1 + tau**2 * (2 * length - 1) / 3) ** form.late)


def worst_ratios() -> dict[str, np.ndarray]:
    """Worst regret over sqrt T against T, as in the table."""
    large, small = (np.asarray([exact_move(tau, int(length)) for length in LENGTHS]) for tau in (1.0, 0.03))
    rates = {
        "fixed": large / (large[0] * np.sqrt(LENGTHS[0])),
        "small drift": small / 0.03**2,
        "by hand": 1 / np.sqrt(2 * LENGTHS),
    }
    return {
        name: np.asarray([worst_regret(eta, int(length)) for eta, length in zip(rate, LENGTHS, strict=True)])
        / np.sqrt(LENGTHS)
        for name, rate in rates.items()
    }


def check(key: jax.Array, samples: int = SEQUENCES, form: DecayForm = STATED) -> Claim:
    """The library's runs against the stated paths, and the rates against T.

    Args:
        key: random key.
        samples: sequences of which delta is taken; at least 200,000.
        form: what is claimed.
    """
    moves, sizes, gains = measured(key, max(samples, SEQUENCES))
    paths = stated_paths(moves, form)[..., None, None] * np.eye(2)
    tolerance = LEFT * abs(moves[0]) / DECAY * np.sqrt(sizes[0] / sizes)[:, None]
    errors = [np.abs(np.trace(gains - paths, axis1=-2, axis2=-1)) / 2 / tolerance]
    errors.append(np.abs(gains - paths)[:2, -ROUNDS // 4 :].mean(1) / tolerance[:2, None])
    for tau in (0.03, 0.3, 1.0):
        for length in LENGTHS.tolist():
            error = exact_move(tau, length) / approximate_move(tau, length, form) - 1
            errors.append(abs(error) / APPROXIMATION)
    ratios = worst_ratios()
    errors += [np.abs(ratios[name] / np.asarray(row) - 1) / DIGITS for name, row in TABLE.items()]
    errors += [ratios[name][-1] / ratios[name][0] / GROWTH for name in form.no_regret]
    return at_most(STATEMENT, "ours", largest(errors), 1.0)


def curves(key: jax.Array, samples: int = SEQUENCES) -> dict[str, xr.DataArray]:
    """Gains of the library's runs and the stated paths by round, and worst regret over sqrt T against T."""
    moves, _, gains = measured(key, max(samples, SEQUENCES))
    rounds = np.arange(1, ROUNDS + 1)
    found = np.trace(gains, axis1=-2, axis2=-1) / 2
    ratios = worst_ratios()
    return {
        "gain": named([found, stated_paths(moves)], kind=("measured", "stated"), run=list(RUNS), round=rounds),
        "worst": named([ratios[name] for name in TABLE], decay=list(TABLE), length=LENGTHS),
    }
