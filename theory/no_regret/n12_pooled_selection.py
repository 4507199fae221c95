"""N12. Pooled selection: keeping the best repels from the FTRL gain, dropping the worst attracts.

Statement. A layer plays `x_t = a S_{t-1} + sigma xi_t`, not projected, every rollout on a normal sequence of its own.
All rollouts are pooled, and the share p of least regret is kept. For many rollouts a least-squares refit of the kept
decisions by a gain moves it by

    Da = -sigma^2 f(q) E[Q | Regret = q] / E[1{Regret <= q} sum_t |S_{t-1}|^2],    Q = sum_t <S_{t-1}, l_t>,

f the density of the regret and q its p-quantile. With weights `B - Regret^2` in place of selection

    Da = -2 sigma^2 E[Q^2] (a - a*) / E[(B - Regret^2) sum_t |S_{t-1}|^2],

a* the gain of N3: a step down the gradient of the squared regret, which the FTRL gain attracts from either side.
Selection does about the same for p well above a half, and repels for p below: the sign of Da / (a - a*) is that of
-z_p, where p is not near a half.

Proof. `Regret = a Q + |S_T| + sigma sum <l_t, xi_t>`. The refit moves by
`sigma E[w sum_t <S_{t-1}, xi_t>] / E[w sum |S_{t-1}|^2]`, w(Regret) the weight. Given the losses the numerator is, by
Stein's identity in the noise, `sigma^2 E[w'(Regret) Q]`. For `w = 1{Regret <= q}`, w' is minus a Dirac function at q:
`-sigma^2 f(q) E[Q | Regret = q]`. For `w = B - Regret^2`, w' is `-2 Regret`, and `E[Regret Q] = (a - a*) E[Q^2]`, which
is the stationarity of N3. At a* regret and Q are uncorrelated, and were they jointly normal, `E[Q | Regret = q]` would
be `E[Q^2] (a - a*) (q - E Regret)` over the variance of the regret: attraction for q above the mean regret, repulsion
for q below. They are not normal: p = 0.75 leads to 1.10 a* in the runs below, p = 0.9 to 1.02 a*, and at p = 0.5, where
this is zero, the rest decides: Da is positive on both sides.

What follows. RMFT on losses without any drift makes a no-regret learner of this layer, without weight decay, if it
drops the worst rollouts of a pool or weighs them by minus their squared regret; if it keeps a few of the best, it does
the contrary. A pool compares sequences, and lucky sequences are what it selects.

Check: pools of the library's rollouts, ranked by it, at a = 0, a* and 2 a*, against the formulas, within five standard
errors. Only the noise along the losses enters the regret, so that the noise across them is averaged out beforehand:
`sum <S_{t-1}, xi_t>` given the losses and `n = sum <l_t, xi_t>` is `Q n / |l|^2` in the mean. The formulas' means over
sequences are exact in the noise, as the regret is normal given the losses. And the library's distillation of the layer,
all of its weights free, from 0 and from 2 a*: with p = 0.75, and with the library's weights by squared regret, it ends
within 0.4 of the way from a*; with p = 0.25 it ends farther than it began.
Refutation: a quarter kept attracts.

Source: ours. Reference at T = 25, d = 2, sigma = 0.3, a = 0 and 2 a*: p = 0.0625: 4.3e-3, -5.7e-4; p = 0.75: -1.6e-4,
2.3e-4; weights with B = 400: -7.3e-5, 6.4e-5.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy import optimize, special

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from theory import draws
from theory.no_regret import attention_player
from theory.no_regret.n3_regret_loss import LossSetting, optimal_gain, sequences
from theory.no_regret.selection_round import (
    RoundData,
    RoundSizes,
    SequenceSums,
    collected,
    losses_of,
    rank_rule,
    signed_mean,
    sums,
)
from theory.verdicts import at_most, largest

STATEMENT = (
    "selection from a pool moves the gain by `-sigma^2 f(q) E[Q | Regret = q] / E[1{Regret <= q} sum_t |S_{t-1}|^2]`; "
    "deviation, in tolerances"
)


SETTING = LossSetting(variances=(1.0, 1.0), length=25)


OPTIMUM = float(optimal_gain(SETTING)[0, 0])
"""a*, about -0.125."""


GAINS, SHARES = (0.0, OPTIMUM, 2 * OPTIMUM), (0.0625, 0.25, 0.5, 0.75, 0.9)


SIGMA, WEIGHT, BATCHES, ROLLOUTS, FEWEST = 0.3, 400.0, 32, 64, 32_000
"""sigma; B; pools, of which the standard error is taken; rollouts of a scenario, of one batch in effect; samples."""


TRAINED = LossSetting(variances=(1.0, 1.0), length=6)
"""What layers are trained on."""


LOOKS = 32
"""How often a run is looked at."""


SIZES = Distillation(
    rounds=160,
    scenarios=16,
    rollouts=ROLLOUTS,
    keep=1,
    sequences="fresh",
    exploration=0.5,
    steps=1,
    batch=1024,
    rate=1e-2,
)
"""Of the library's runs."""


RULES = {
    "squared regret": Distillation(rollouts=ROLLOUTS, keep=ROLLOUTS, credit="square", exploration=0.5),
    "p = 0.75": Distillation(rollouts=ROLLOUTS, keep=48, unit="pool", exploration=0.5),
    "p = 0.25": Distillation(rollouts=ROLLOUTS, keep=16, unit="pool", exploration=0.5),
}
"""Selection of these runs."""


STARTS, LEFT = (0.0, 2.0), 0.4
"""Gains at the start, in a*; what may be left of the way to the stated gain, which p = 0.75 misses by 0.1."""


class PooledForm(NamedTuple):
    """The stated moves."""

    factor: float = 1.0
    sigma: float = 2.0  # power of sigma
    kept: bool = True  # the denominator is a mean over the kept alone
    by_reward: bool = False  # selection by reward is said to do the same
    optimum: float = 1.0  # where the weights attract, in a*
    attracts: tuple[float, ...] = (0.75, 0.9)  # shares said to attract
    repels: tuple[float, ...] = (0.0625, 0.25)


STATED = PooledForm()


WRONG = {
    "a quarter kept attracts": PooledForm(attracts=(0.25,)),
    "nine tenths kept repel": PooledForm(repels=(0.9,)),
    "selection by reward does the same": PooledForm(by_reward=True),
    "sigma for sigma^2": PooledForm(sigma=1.0),
    "x -1": PooledForm(factor=-1.0),
    "x 0.8": PooledForm(factor=0.8),
    "all rollouts in the denominator": PooledForm(kept=False),
    "the weights attract to 2 a*": PooledForm(optimum=2.0),
}


class PooledMoments(NamedTuple):
    """Means over sequences at one gain, of which the formulas consist."""

    slope: np.ndarray  # [shares] f(q) E[Q | Regret = q]
    kept: np.ndarray  # [shares] E[1{Regret <= q} sum |S|^2]
    squares: float  # E sum |S|^2
    product: float  # E[Q^2]
    weighted: float  # E[(B - Regret^2) sum |S|^2]


@jax.jit
def pool_moves(regret: jax.Array, reward: jax.Array, noise: jax.Array, losses: jax.Array) -> jax.Array:
    """Moves of the gain in one pool, [1, 2 shares + 1]: by regret, by reward, by the weights; arguments [M, L, ...]."""
    each = jax.vmap(jax.vmap(sums))(losses)
    moved = (each.product / each.size**2 * jnp.sum(losses * noise, axis=(2, 3))).reshape(-1)
    squares, moves = each.squares.reshape(-1), []
    for by_reward in (False, True):
        order = distillation.rank(rank_rule(1, pooled=True, by_reward=by_reward), regret, reward).rollout
        for share in SHARES:
            kept = order[: round(share * regret.size)]
            moves.append(moved[kept].sum() / squares[kept].sum())
    weight = WEIGHT - regret.reshape(-1) ** 2
    return jnp.stack([*moves, jnp.sum(weight * moved) / jnp.sum(weight * squares)])[None]


def pool(key: jax.Array, scenarios: int, gain: float) -> jax.Array:
    """`pool_moves` of the library's rollouts."""
    sizes = RoundSizes(rollouts=ROLLOUTS, sequences="fresh", length=SETTING.length)
    played, noise = collected(key, scenarios, sizes, RoundData(strength=0.0, gain=gain, exploration=SIGMA))
    losses = losses_of(key, sizes, 0.0, scenarios)
    return pool_moves(played.cumulative_regret[..., -1], played.reward, noise, losses)


def moments_of(made: SequenceSums, gain: float) -> PooledMoments:
    """From sequences, with the noise integrated over."""
    mean, spread = gain * made.product + made.total, SIGMA * made.size
    slopes, kept = [], []
    for share in SHARES:

        def missed(q: float, share: float = share) -> float:
            return float(np.mean(special.ndtr((q - mean) / spread))) - share

        quantile = optimize.root_scalar(missed, bracket=(-200, 200), xtol=1e-4).root
        z = (quantile - mean) / spread
        slopes.append(np.mean(made.product * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / spread))
        kept.append(np.mean(special.ndtr(z) * made.squares))
    return PooledMoments(
        slope=np.asarray(slopes),
        kept=np.asarray(kept),
        squares=float(np.mean(made.squares)),
        product=float(np.mean(made.product**2)),
        weighted=float(np.mean((WEIGHT - mean**2 - spread**2) * made.squares)),
    )


def stated_moves(moments: PooledMoments, gain: float, form: PooledForm) -> np.ndarray:
    """Of every share, then of the weights."""
    scale = form.factor * SIGMA**form.sigma
    selected = -scale * moments.slope / (moments.kept if form.kept else moments.squares)
    weighted = -2 * scale * moments.product * (gain - form.optimum * OPTIMUM) / moments.weighted
    return np.append(selected, weighted)


@jax.jit
def trained(key: jax.Array) -> jax.Array:
    """Gains of the library's runs on their way, over a*: half the trace, [rules, starts, LOOKS + 1]."""
    layer = attention_player.summing_layer(2)
    game = attention_player.ball_game(functools.partial(signed_mean, strength=0.0), 2, TRAINED.length)
    trainer = distillation.make_trainer(SIZES, game, layer)
    optimum = float(optimal_gain(TRAINED)[0, 0])

    def one(key: jax.Array, start: jax.Array, rule: distillation.Hyperparameters) -> jax.Array:
        state = trainer.init(key, attention_player.gain_weights(start * optimum * jnp.eye(2)))
        state = state._replace(optimiser=state.optimiser._replace(hyperparameters=rule))

        def some(state: distillation.TrainState, _: None) -> tuple:
            state = trainer.run(state, (), SIZES.rounds // LOOKS)[0]
            return state, jnp.trace(attention_player.effective_gain(state.params)) / 2 / optimum

        return jnp.append(start, jax.lax.scan(some, state, length=LOOKS)[1])

    rules = [distillation.hyperparameters(rule) for rule in RULES.values() for _ in STARTS]
    starts = jnp.tile(jnp.asarray(STARTS), len(RULES))
    found = jax.vmap(one)(random.split(key, len(rules)), starts, jax.tree.map(lambda *each: jnp.stack(each), *rules))
    return found.reshape(len(RULES), len(STARTS), -1)


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, list[PooledMoments], np.ndarray]:
    """Moves, [gains, BATCHES, 2 shares + 1]; means over other sequences, by gain; gains of runs."""
    scenarios = -(-samples // BATCHES // ROLLOUTS)
    keys = draws.keys(key, len(GAINS) + 2)
    found = [
        draws.in_chunks(lambda key, _, gain=gain: pool(key, scenarios, gain), each, BATCHES, 1)
        for gain, each in zip(GAINS, keys, strict=False)
    ]
    read = jax.jit(jax.vmap(sums))
    # Many more than rollouts, so that the formulas are nearly without error beside the measurement.
    made = draws.in_chunks(lambda key, count: read(sequences(key, count, SETTING)), keys[-2], 4 * samples, 2**15)
    return np.asarray(found), [moments_of(made, gain) for gain in GAINS], np.asarray(trained(keys[-1]))


def check(key: jax.Array, samples: int = FEWEST, form: PooledForm = STATED) -> Claim:
    """Moves of the library's pools, their signs on either side of a*, and where the library's runs lead.

    Args:
        key: random key.
        samples: rollouts at every gain, in 32 pools; at least 32,000.
        form: what is claimed.
    """
    found, moments, runs = measured(key, max(samples, FEWEST))
    shares, errors = len(SHARES), []
    other = np.s_[:shares] if form.by_reward else np.s_[shares : 2 * shares]
    moves = np.delete(found, other, axis=2)
    mean, error = moves.mean(1), 5 * moves.std(1, ddof=1) / BATCHES**0.5
    for gain, each, at_gain, allowed in zip(GAINS, mean, moments, error, strict=True):
        errors.append(np.abs(each - stated_moves(at_gain, gain, form)) / allowed)
    apart = mean[2] - mean[0]  # positive where a* attracts, as a* is negative
    allowed = np.hypot(error[0], error[2])
    for sign, said in ((1, form.attracts), (-1, form.repels)):
        errors += [allowed[i] / (sign * apart[i]) if sign * apart[i] > 0 else np.inf for i in map(SHARES.index, said)]
    ends = np.abs(runs[..., -LOOKS // 4 :].mean(-1) - form.optimum)
    attracted = {"squared regret": True, "p = 0.75": 0.75 in form.attracts, "p = 0.25": 0.25 in form.attracts}
    for end, attracts in zip(ends, attracted.values(), strict=True):
        errors.append(end / LEFT if attracts else 1 / end)
    return at_most(STATEMENT, "ours", largest(errors), 1.0)


def curves(key: jax.Array, samples: int = FEWEST) -> dict[str, xr.DataArray]:
    """Moves of the gain by pooled selection and by the weights, and gains of the library's runs over rounds."""
    found, moments, runs = measured(key, max(samples, FEWEST))
    part = np.delete(found, np.s_[len(SHARES) : 2 * len(SHARES)], axis=2)
    stated = [stated_moves(each, gain, STATED) for gain, each in zip(GAINS, moments, strict=True)]
    rows = np.asarray([part.mean(1), part.std(1, ddof=1) / BATCHES**0.5, stated])
    quantity, rules = ("measured", "standard error", "stated"), [*(f"p = {share}" for share in SHARES), "weights"]
    rounds = np.arange(LOOKS + 1) * (SIZES.rounds // LOOKS)
    return {
        "move": named(rows, quantity=quantity, gain=GAINS, rule=rules),
        "run": named(runs, selection=list(RULES), start=STARTS, round=rounds),
    }
