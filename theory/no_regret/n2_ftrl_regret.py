"""N2. The regret of FTRL on the ball, on every sequence of losses.

Statement. For `x_t = Proj_R(-eta S_{t-1})`: `Regret <= R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`.

Proof. Let
`F_t = min_x <S_t, x> + |x|^2 / (2 eta)` over the ball, so `F_0 = 0`. The minimand of round t is 1/eta-strongly convex,
hence `F_t >= F_{t-1} + min_y <l_t, x_t + y> + |y|^2 / (2 eta) = F_{t-1} + <l_t, x_t> - (eta / 2) |l_t|^2`. Summed,
`sum_t <l_t, x_t> - (eta / 2) sum_t |l_t|^2 <= F_T <= min_x <S_T, x> + R^2 / (2 eta)`, which is the bound.

Tightness. While nothing is projected the regret is exactly `R|S_T| - (eta/2)|S_T|^2 + (eta/2) sum_t |l_t|^2`: the bound
is met with equality whenever `|S_T| = R / eta`, for instance by unit losses orthogonal to the past at `eta = R /
sqrt(T)`, where both sides are `R sqrt(T)`.

Check: the search for a violation among every distribution of losses, an adversary that reacts, the orthogonal
adversary, and what gradient ascent of `Regret - bound` through the learner finds from random starts. Refutation: nine
tenths of the bound would do. The orthogonal adversary meets the bound with both terms equal, so that neither constant
can be smaller; larger ones hold as well, being weaker.

Source: classical: Shalev-Shwartz, Online Learning and Online Convex Optimization, 2012, theorem 2.11.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import families, online
from jaxdm.envs.online import BALL
from jaxdm.learners.online import OnlineParams, ftrl, ftrl_rate, rate
from jaxdm.oracles.attack import ascend, to_unit_ball
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from theory import draws
from theory.verdicts import at_most, largest

SOURCE = "Shalev-Shwartz 2012, theorem 2.11"


STATEMENT = (
    "regret of FTRL on the ball over `R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`, largest found, attacked from {} starts"
)


ROUNDS, DIMENSION, RESTARTS = 40, 2, 64


CHUNK = 2000
"""Sequences of each kind at once."""


ROUNDING = 100 * ROUNDS * float(np.finfo(np.float64).eps)


AGENT = ftrl(BALL, DIMENSION)


class FTRLBoundForm(NamedTuple):
    """The stated bound, `radius R^2 / (2 eta) + losses (eta / 2) sum |l|^2`."""

    radius: float = 1.0
    losses: float = 1.0


STATED = FTRLBoundForm()


WRONG = {
    "bound x 0.9": FTRLBoundForm(radius=0.9, losses=0.9),
    "R^2 / (2 eta) x 0.5": FTRLBoundForm(radius=0.5),
    "no R^2 / (2 eta)": FTRLBoundForm(radius=0.0),
    "(eta / 2) sum |l|^2 x 0.5": FTRLBoundForm(losses=0.5),
    "no (eta / 2) sum |l|^2": FTRLBoundForm(losses=0.0),
}


class FTRLRegret(NamedTuple):
    """The regret on one sequence, and the two terms that bound it."""

    regret: jax.Array  # []
    radius: jax.Array  # [] R^2 / (2 eta)
    losses: jax.Array  # [] (eta / 2) sum |l|^2


def measured(losses: jax.Array, decisions: jax.Array, params: OnlineParams) -> FTRLRegret:
    """Of one play."""
    return FTRLRegret(
        regret=external(BALL, losses, decisions, params.size)[-1],
        radius=params.size**2 / (2 * params.scale),
        losses=params.scale / 2 * jnp.sum(losses**2),
    )


def on_losses(key: jax.Array, losses: jax.Array) -> FTRLRegret:
    """On a given sequence, at a random radius and rate."""
    key_radius, key_rate, key_play = jax.random.split(key, 3)
    radius = 10 ** jax.random.uniform(key_radius, minval=-1, maxval=1)
    params = rate(radius * 10 ** jax.random.uniform(key_rate, minval=-2.5, maxval=0.5), size=radius)
    return measured(losses, online.play(key_play, losses, AGENT, params), params)


def on_adversary(key: jax.Array, respond: online.Response) -> FTRLRegret:
    """Against a world that reacts with unit losses, at the tuned rate."""
    key_plan, key_play = jax.random.split(key)
    plan = families.losses.gaussian(key_plan, length=ROUNDS, dimension=DIMENSION)
    plan = plan / jnp.linalg.norm(plan, axis=1, keepdims=True)
    params = ftrl_rate(1.0, ROUNDS)
    episode = rollout(key_play, online.env(respond), plan, AGENT, params, ROUNDS)
    return measured(episode.next_observation, episode.action, params)


def under_attack(key: jax.Array, direction: jax.Array | float = 1.0, steps: int = 150) -> FTRLRegret:
    """On what gradient ascent of `Regret - bound` finds from one random start, losses in the unit ball.

    Args:
        key: random key.
        direction: 1; -1 to descend instead.
        steps: of the ascent.
    """
    key_start, key_play = jax.random.split(key)
    params = ftrl_rate(1.0, ROUNDS)

    def on(losses: jax.Array) -> FTRLRegret:
        return measured(losses, online.play(key_play, losses, AGENT, params), params)

    def excess(losses: jax.Array) -> jax.Array:
        found = on(losses)
        return direction * (found.regret - (found.radius + found.losses))

    start = families.losses.unit_ball(families.losses.gaussian(key_start, length=ROUNDS, dimension=DIMENSION))
    return on(ascend(excess, to_unit_ball, start, steps=steps).losses)


@draws.once
def regrets(key: jax.Array, samples: int) -> dict[str, FTRLRegret]:
    """Every regret found, by where the sequences came from."""
    return draws.in_chunks(_regrets, key, samples, CHUNK)


@functools.partial(jax.jit, static_argnums=1)
def _regrets(key: jax.Array, count: int) -> dict[str, FTRLRegret]:
    """The same, with leading axis [count]: that of the distributions too, as many of each as there are."""
    key_plan, *keys = jax.random.split(key, 5)
    # One sequence after another: batched, the generators take twice as long to compile.
    draw = [functools.partial(each, length=ROUNDS, dimension=DIMENSION) for each in families.losses.LAWS.values()]
    plan = jnp.stack([jax.lax.map(each, jax.random.split(key_plan, count)) for each in draw], axis=1)
    play = jax.vmap(on_losses)
    return {
        "distributions": jax.vmap(play)(jax.random.split(keys[0], plan.shape[:2]), plan),
        "reacting": jax.vmap(lambda k: on_adversary(k, online.against_ball))(jax.random.split(keys[1], count)),
        "orthogonal": jax.vmap(lambda k: on_adversary(k, online.orthogonal))(jax.random.split(keys[2], count)),
        "attack": jax.vmap(under_attack)(jax.random.split(keys[3], count)),
    }


def check(key: jax.Array, samples: int = 100, form: FTRLBoundForm = STATED) -> Claim:
    """No sequence exceeds the bound; the largest ratio is the tightness.

    Args:
        key: random key.
        samples: sequences of every distribution and of every adversary, and starts of the attack; at least 64.
        form: what is claimed.
    """
    count = max(samples, RESTARTS)
    ratios = [
        each.regret / (form.radius * each.radius + form.losses * each.losses) for each in regrets(key, count).values()
    ]
    return at_most(STATEMENT.format(count), SOURCE, largest(ratios), 1.0, ROUNDING)
