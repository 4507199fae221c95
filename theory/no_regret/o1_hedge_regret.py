"""O1: the regret of Hedge, on every sequence of losses in [0, 1].

At `eta = sqrt(8 log K / T)`: `Regret <= sqrt(T log K / 2)`. With `W_t = sum_i exp(-eta S_t(i))`, Hoeffding's lemma
bounds each factor, `log(W_t / W_{t-1}) <= -eta <l_t, x_t> + eta^2 / 8`. Summed, and with `W_0 = K` and
`log W_T >= -eta min_i S_T(i)`: `Regret <= log K / eta + eta T / 8`, least at that rate. The rate `2 sqrt(log K / t)`
needs no T and gives `sqrt(t log K)` at every t.

How tight. Let the K = 2^T arms play all sequences of T bits: each round half of every group of arms pays, so Hedge pays
1/2, the best arm nothing, and `Regret / bound = 1 / sqrt(2 log 2) = 0.849` for any T. The constant cannot be
lowered for all K and T at once.

The check looks for a violation of both bounds: every law of losses at several K and T, the adversary that charges the
preferred arm, those arms of all bits, and gradient ascent through the learner.

Reference: Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006, theorems 2.2 and 3.7; Bubeck, Introduction to
    Online Optimization, 2011, theorem 2.4.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim, at_most
from jaxdm.envs import families, online
from jaxdm.envs.online import SIMPLEX
from jaxdm.learners.online import Rate, hedge, hedge_rate
from jaxdm.oracles.attack import ascend, to_unit_interval
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from theory import draws

SOURCE = "Cesa-Bianchi, Lugosi 2006, theorem 2.2"


STATEMENT = "regret of Hedge / sqrt(T log K / 2), largest of {} sequences and {} attacks; anytime rate too"


SIZES = ((2, 30), (16, 60))
"""Arms and rounds of the sequences tried."""


BITS, RESTARTS = 9, 64


ROUNDING = 1e4 * float(np.finfo(np.float64).eps)


def ratio(losses: jax.Array, decisions: jax.Array, anytime: bool) -> jax.Array:
    """The largest regret over its bound, []: at the end for the tuned rate, at any round for the other."""
    course, arms = external(SIMPLEX, losses, decisions), losses.shape[1]
    if anytime:
        return jnp.max(course / jnp.sqrt(jnp.arange(1, len(course) + 1) * np.log(arms)))
    return course[-1] / np.sqrt(len(course) * np.log(arms) / 2)


def on_plan(losses: jax.Array) -> jax.Array:
    """The larger ratio of the two rates on one sequence."""
    found = []
    for anytime in (False, True):
        played = online.play(jax.random.key(0), losses, hedge(losses.shape[1]), chosen_rate(losses, anytime))
        found.append(ratio(losses, played, anytime))
    return jnp.maximum(*found)


def chosen_rate(losses: jax.Array, anytime: bool) -> Rate:
    """The rate whose bound is tested."""
    rounds, arms = losses.shape
    return hedge_rate(arms, None if anytime else rounds)


def on_adversary(rounds: int, arms: int) -> jax.Array:
    """The ratio of the tuned rate when the preferred arm is charged."""
    plan = jnp.ones((rounds, arms))
    episode = rollout(
        jax.random.key(0), online.env(online.against_simplex), plan, hedge(arms), hedge_rate(arms, rounds), rounds
    )
    return ratio(episode.next_observation, episode.action, False)


def all_bits(bits: int) -> jax.Array:
    """Losses of 2^bits arms that play every sequence of that many bits, [bits, 2^bits]."""
    return (jnp.arange(2**bits)[None] >> jnp.arange(bits)[:, None] & 1).astype(jnp.result_type(float))


def under_attack(start: jax.Array) -> jax.Array:
    """The ratio on what gradient ascent of the tuned rate's regret finds from one start."""
    params = chosen_rate(start, False)
    play = lambda losses: online.play(jax.random.key(0), losses, hedge(start.shape[1]), params)
    objective = lambda losses: external(SIMPLEX, losses, play(losses))[-1]
    return on_plan(ascend(objective, to_unit_interval, start, steps=150).losses)


def plans(key: jax.Array, samples: int) -> jax.Array:
    """Sequences of every law at the largest size; shorter and narrower ones are cut from them."""
    arms, rounds = (max(sizes) for sizes in zip(*SIZES, strict=True))
    draw = lambda law: lambda key: law(key, length=rounds, dimension=arms)
    keys = jax.random.split(key, samples)
    # One sequence after another: batched, the generators take twice as long to compile.
    return jnp.concatenate([jax.lax.map(draw(law), keys) for law in families.losses.LAWS.values()])


@draws.once
@functools.partial(jax.jit, static_argnums=1)
def ratios(key: jax.Array, samples: int) -> dict[str, jax.Array]:
    """Every ratio found, by where the sequences came from."""
    key_plan, key_attack = jax.random.split(key)
    found, drawn = {"bits": on_plan(all_bits(BITS))[None]}, plans(key_plan, samples)
    for index, (arms, rounds) in enumerate(SIZES):
        cut = jax.vmap(families.losses.unit_interval)(drawn[:, :rounds, :arms])
        found[f"laws {arms}"] = jax.vmap(on_plan)(cut)
        found[f"reacting {arms}"] = on_adversary(rounds, arms)[None]
        bits = jax.random.bernoulli(jax.random.fold_in(key_attack, index), 0.5, (max(samples, RESTARTS), rounds, arms))
        found[f"attack {arms}"] = jax.vmap(under_attack)(bits.astype(float))
    return found


def claim(key: jax.Array, samples: int, factor: float) -> Claim:
    """The claim with the bound multiplied by `factor`."""
    found = ratios(key, samples)
    attacks = sum(len(value) for name, value in found.items() if name.startswith("attack"))
    plain = sum(len(value) for value in found.values()) - attacks
    worst = max(float(jnp.max(value)) for value in found.values())
    return at_most("O1", STATEMENT.format(plain, attacks), SOURCE, worst, factor, ROUNDING)


def check(key: jax.Array, samples: int = 100) -> Claim:
    """No sequence exceeds the bound; the largest ratio is the tightness."""
    return claim(key, samples, 1.0)


def refute(key: jax.Array, samples: int = 100) -> Claim:
    """Nine tenths of the bound would do."""
    return claim(key, samples, 0.9)
