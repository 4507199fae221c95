"""N2: the regret of FTRL on the ball, on every sequence of losses.

For `x_t = Proj_R(-eta S_{t-1})`: `Regret <= R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`. Let
`F_t = min_x <S_t, x> + |x|^2 / (2 eta)` over the ball, so `F_0 = 0`. The minimand of round t is 1/eta-strongly convex,
hence `F_t >= F_{t-1} + min_y <l_t, x_t + y> + |y|^2 / (2 eta) = F_{t-1} + <l_t, x_t> - (eta / 2) |l_t|^2`. Summed,
`sum_t <l_t, x_t> - (eta / 2) sum_t |l_t|^2 <= F_T <= min_x <S_T, x> + R^2 / (2 eta)`, which is the bound.
While nothing is projected the regret is exactly `R|S_T| - (eta/2)|S_T|^2 + (eta/2) sum_t |l_t|^2`: the bound is met
with equality whenever `|S_T| = R / eta`, for instance by unit losses orthogonal to the past at `eta = R / sqrt(T)`,
where both sides are `R sqrt(T)`.

The check looks for a violation: every law of losses, an adversary that reacts, the orthogonal adversary, and
gradient ascent of `Regret - bound` through the learner from random starts.

Reference: Shalev-Shwartz, Online Learning and Online Convex Optimization, 2012, theorem 2.11.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim, at_most
from jaxdm.envs import families, online
from jaxdm.envs.online import BALL
from jaxdm.learners.online import Rate, ftrl, ftrl_rate, rate
from jaxdm.oracles.attack import ascend, to_unit_ball
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from theory import draws

SOURCE = "Shalev-Shwartz 2012, theorem 2.11"


STATEMENT = "regret of FTRL on the ball / (R^2/(2 eta) + eta/2 sum |l|^2), largest found, attacked from {} starts"


ROUNDS, DIMENSION, RESTARTS = 40, 2, 64


ROUNDING = 100 * ROUNDS * float(np.finfo(np.float64).eps)


AGENT = ftrl(BALL, DIMENSION)


def bound(losses: jax.Array, params: Rate) -> jax.Array:
    """`R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`, []."""
    return params.size**2 / (2 * params.scale) + params.scale / 2 * jnp.sum(losses**2)


def ratio(losses: jax.Array, decisions: jax.Array, params: Rate) -> jax.Array:
    """Regret over bound, []."""
    return external(BALL, losses, decisions, params.size)[-1] / bound(losses, params)


def on_plan(key: jax.Array, losses: jax.Array) -> jax.Array:
    """The ratio on a given sequence, at a random radius and rate."""
    key_radius, key_rate, key_play = jax.random.split(key, 3)
    radius = 10 ** jax.random.uniform(key_radius, minval=-1, maxval=1)
    params = rate(radius * 10 ** jax.random.uniform(key_rate, minval=-2.5, maxval=0.5), size=radius)
    return ratio(losses, online.play(key_play, losses, AGENT, params), params)


def on_adversary(key: jax.Array, respond: online.Response) -> jax.Array:
    """The ratio against a world that reacts with unit losses, at the tuned rate."""
    key_plan, key_play = jax.random.split(key)
    plan = families.losses.gaussian(key_plan, length=ROUNDS, dimension=DIMENSION)
    plan = plan / jnp.linalg.norm(plan, axis=1, keepdims=True)
    params = ftrl_rate(1.0, ROUNDS)
    episode = rollout(key_play, online.env(respond), plan, AGENT, params, ROUNDS)
    return ratio(episode.next_observation, episode.action, params)


def under_attack(key: jax.Array) -> jax.Array:
    """The ratio on what gradient ascent of `Regret - bound` finds from one random start, losses in the unit ball."""
    key_start, key_play = jax.random.split(key)
    params = ftrl_rate(1.0, ROUNDS)
    play = lambda losses: online.play(key_play, losses, AGENT, params)
    excess = lambda losses: external(BALL, losses, play(losses))[-1] - bound(losses, params)
    start = families.losses.unit_ball(families.losses.gaussian(key_start, length=ROUNDS, dimension=DIMENSION))
    found = ascend(excess, to_unit_ball, start, steps=150).losses
    return ratio(found, play(found), params)


@draws.once
@functools.partial(jax.jit, static_argnums=1)
def ratios(key: jax.Array, samples: int) -> dict[str, jax.Array]:
    """Every ratio found, by where the sequences came from."""
    key_plan, *keys = jax.random.split(key, 5)
    draw = lambda law: lambda key: law(key, length=ROUNDS, dimension=DIMENSION)
    # One sequence after another: batched, the generators take twice as long to compile.
    plans = [jax.lax.map(draw(law), jax.random.split(key_plan, samples)) for law in families.losses.LAWS.values()]
    plan = jnp.concatenate(plans)
    return {
        "laws": jax.vmap(on_plan)(jax.random.split(keys[0], len(plan)), plan),
        "reacting": jax.vmap(lambda k: on_adversary(k, online.against_ball))(jax.random.split(keys[1], samples)),
        "orthogonal": jax.vmap(lambda k: on_adversary(k, online.orthogonal))(jax.random.split(keys[2], samples)),
        "attack": jax.vmap(under_attack)(jax.random.split(keys[3], max(samples, RESTARTS))),
    }


def claim(key: jax.Array, samples: int, factor: float) -> Claim:
    """The claim with the bound multiplied by `factor`."""
    worst = max(float(jnp.max(found)) for found in ratios(key, samples).values())
    statement = STATEMENT.format(max(samples, RESTARTS))
    return at_most("N2", statement, SOURCE, worst, factor, ROUNDING)


def check(key: jax.Array, samples: int = 100) -> Claim:
    """No sequence exceeds the bound; the largest ratio is the tightness."""
    return claim(key, samples, 1.0)


def refute(key: jax.Array, samples: int = 100) -> Claim:
    """Nine tenths of the bound would do."""
    return claim(key, samples, 0.9)
