"""O1. The regret of Hedge, on every sequence of losses in [0, 1].

Statement. At `eta = sqrt(8 log K / T)`: `Regret <= sqrt(T log K / 2)`. The rate `2 sqrt(log K / t)` needs no T and
gives `sqrt(t log K)` at every t.

Proof of the first. With `W_t = sum_i exp(-eta S_t(i))`, Hoeffding's lemma
bounds each factor, `log(W_t / W_{t-1}) <= -eta <l_t, x_t> + eta^2 / 8`. Summed, and with `W_0 = K` and
`log W_T >= -eta min_i S_T(i)`: `Regret <= log K / eta + eta T / 8`, least at that rate.

How tight. Let the K = 2^T arms play all sequences of T bits: each round half of every group of arms pays, so Hedge pays
1/2, the best arm nothing, and `Regret / bound = 1 / sqrt(2 log 2) = 0.849` for any T. The constant cannot be
lowered for all K and T at once.

Check: the search for a violation of both bounds among every distribution of losses at several K and T, the adversary
that charges the preferred arm, those arms of all bits, and what gradient ascent through the learner finds. Refutation:
nine tenths of the bound would do. Larger constants hold as well, being weaker.

Source: classical: Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006, theorems 2.2 and 3.7; Bubeck,
Introduction to Online Optimization, 2011, theorem 2.4.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import families, online
from jaxdm.envs.online import SIMPLEX
from jaxdm.learners.online import OnlineParams, hedge, hedge_rate
from jaxdm.oracles.attack import ascend, to_unit_interval
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from theory import draws
from theory.verdicts import at_most, largest

SOURCE = "Cesa-Bianchi, Lugosi 2006, theorem 2.2"


STATEMENT = "regret of Hedge over `sqrt(T log K / 2)`, largest of {} sequences and {} attacks; anytime rate too"


SIZES = ((2, 30), (16, 60))
"""Arms and rounds of the sequences tried."""


BITS, RESTARTS = 9, 64


CHUNK = 1000
"""Sequences of each kind at once."""


ROUNDING = 1e4 * float(np.finfo(np.float64).eps)


class HedgeBoundForm(NamedTuple):
    """The stated bounds: `factor` times `T^rounds (log K)^arms` with the constants of the theorem."""

    factor: float = 1.0
    rounds: float = 0.5
    arms: float = 0.5


STATED = HedgeBoundForm()


WRONG = {
    "bound x 0.9": HedgeBoundForm(factor=0.9),
    "bound x 0.5": HedgeBoundForm(factor=0.5),
    "no log K": HedgeBoundForm(arms=0.0),
    "(log K)^(1/4)": HedgeBoundForm(arms=0.25),
    "T^(1/3)": HedgeBoundForm(rounds=1 / 3),
    "no T": HedgeBoundForm(rounds=0.0),
}


class HedgeRegret(NamedTuple):
    """Cumulative regrets on sequences of T losses of K arms."""

    tuned: jax.Array  # [..., T] of the rate tuned to T
    anytime: jax.Array  # [..., T] of the rate for any T; T = 0 where it was not measured


def largest_ratio(found: HedgeRegret, arms: int, form: HedgeBoundForm) -> float:
    """The largest regret over its bound: at the end for the tuned rate, at any round for the other."""
    tuned, anytime = np.asarray(found.tuned), np.asarray(found.anytime)

    def bound(rounds: np.ndarray) -> np.ndarray:
        powers = rounds ** (form.rounds - 0.5) * np.log(arms) ** (form.arms - 0.5)
        return np.sqrt(rounds * np.log(arms)) * form.factor * powers

    length = tuned.shape[-1]
    ratio = tuned[..., -1] / (np.sqrt(length * np.log(arms) / 2) * (bound(length) / np.sqrt(length * np.log(arms))))
    rounds = np.arange(1.0, anytime.shape[-1] + 1)
    return largest([ratio, np.max(anytime / bound(rounds), initial=-np.inf)])


def on_losses(losses: jax.Array) -> HedgeRegret:
    """Of both rates on one sequence."""
    found = []
    for anytime in (False, True):
        played = online.play(jax.random.key(0), losses, hedge(losses.shape[1]), chosen_rate(losses, anytime))
        found.append(external(SIMPLEX, losses, played))
    return HedgeRegret(tuned=found[0], anytime=found[1])


def chosen_rate(losses: jax.Array, anytime: bool) -> OnlineParams:
    """The rate whose bound is tested."""
    rounds, arms = losses.shape
    return hedge_rate(arms, None if anytime else rounds)


def on_adversary(rounds: int, arms: int) -> HedgeRegret:
    """Of the tuned rate when the preferred arm is charged."""
    plan = jnp.ones((rounds, arms))
    episode = rollout(
        jax.random.key(0), online.env(online.against_simplex), plan, hedge(arms), hedge_rate(arms, rounds), rounds
    )
    return HedgeRegret(tuned=external(SIMPLEX, episode.next_observation, episode.action), anytime=jnp.zeros(0))


def all_bits(bits: int) -> jax.Array:
    """Losses of 2^bits arms that play every sequence of that many bits, [bits, 2^bits]."""
    return (jnp.arange(2**bits)[None] >> jnp.arange(bits)[:, None] & 1).astype(jnp.result_type(float))


def under_attack(start: jax.Array) -> HedgeRegret:
    """On what gradient ascent of the tuned rate's regret finds from one start."""
    params = chosen_rate(start, False)

    def objective(losses: jax.Array) -> jax.Array:
        played = online.play(jax.random.key(0), losses, hedge(start.shape[1]), params)
        return external(SIMPLEX, losses, played)[-1]

    return on_losses(ascend(objective, to_unit_interval, start, steps=150).losses)


def plans(key: jax.Array, samples: int) -> jax.Array:
    """Sequences of every distribution at the largest size; shorter and narrower ones are cut from them."""
    arms, rounds = (max(sizes) for sizes in zip(*SIZES, strict=True))
    keys = jax.random.split(key, samples)
    # One sequence after another: batched, the generators take twice as long to compile.
    draw = [functools.partial(each, length=rounds, dimension=arms) for each in families.losses.LAWS.values()]
    return jnp.concatenate([jax.lax.map(each, keys) for each in draw])


@draws.once
def regrets(key: jax.Array, samples: int) -> dict[tuple[str, int], HedgeRegret]:
    """Every regret found, leading axis [n], by where the sequences came from and the number of arms."""
    found = dict(_fixed())
    for index in range(-(-samples // CHUNK)):
        some = _regrets(jax.random.fold_in(key, index), min(samples, CHUNK))
        for origin, each in some.items():
            kept = [found[origin], each] if origin in found else [each]
            found[origin] = jax.tree.map(lambda *x: np.concatenate(x), *kept)
    return found


@jax.jit
def _fixed() -> dict[tuple[str, int], HedgeRegret]:
    """On the arms of all bits, and against the adversary."""
    one = functools.partial(jax.tree.map, lambda x: x[None])
    found = {("bits", 2**BITS): one(on_losses(all_bits(BITS)))}
    return found | {("reacting", arms): one(on_adversary(rounds, arms)) for arms, rounds in SIZES}


@functools.partial(jax.jit, static_argnums=1)
def _regrets(key: jax.Array, samples: int) -> dict[tuple[str, int], HedgeRegret]:
    """On drawn sequences, and on those that an attack finds."""
    key_plan, key_attack = jax.random.split(key)
    found, drawn = {}, plans(key_plan, samples)
    for index, (arms, rounds) in enumerate(SIZES):
        cut = jax.vmap(families.losses.unit_interval)(drawn[:, :rounds, :arms])
        found["distributions", arms] = jax.vmap(on_losses)(cut)
        bits = jax.random.bernoulli(jax.random.fold_in(key_attack, index), 0.5, (max(samples, RESTARTS), rounds, arms))
        found["attack", arms] = jax.vmap(under_attack)(bits.astype(float))
    return found


def check(key: jax.Array, samples: int = 100, form: HedgeBoundForm = STATED) -> Claim:
    """No sequence exceeds the bound; the largest ratio is the tightness.

    Args:
        key: random key.
        samples: sequences of every distribution and size, and starts of the attack if more than 64.
        form: what is claimed.
    """
    found = regrets(key, samples)
    attacks = sum(len(each.tuned) for (origin, _), each in found.items() if origin == "attack")
    plain = sum(len(each.tuned) for each in found.values()) - attacks
    worst = largest(largest_ratio(each, arms, form) for (_, arms), each in found.items())
    return at_most(STATEMENT.format(plain, attacks), SOURCE, worst, 1.0, ROUNDING)
