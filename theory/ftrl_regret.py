"""N2: the regret of FTRL on the ball, on every sequence of losses.

For `x_t = Proj_R(-eta S_{t-1})`: `Regret <= R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`. Be-the-leader for the regularised
losses gives `Regret <= R^2 / (2 eta) + sum_t <l_t, x_t - x_{t+1}>`, and projection moves no two points apart, so
that `<l_t, x_t - x_{t+1}> <= eta |l_t|^2`; the halved constant comes from the strong convexity of the regulariser.
While nothing is projected the regret is exactly `R|S_T| - (eta/2)|S_T|^2 + (eta/2) sum_t |l_t|^2`: the bound is met with
equality whenever `|S_T| = R / eta`, for instance by unit losses orthogonal to the past at `eta = R / sqrt(T)`, where
both sides are `R sqrt(T)`.

The check looks for a violation: every law of losses, an adversary that reacts, the orthogonal adversary, and
gradient ascent of `Regret - bound` through the learner from random starts.

Reference: Shalev-Shwartz, Online Learning and Online Convex Optimization, 2012, theorem 2.11.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import losses as laws
from jaxdm.envs import online
from jaxdm.envs.online import BALL
from jaxdm.episodes import rollout
from jaxdm.learners.online import Rate, ftrl, ftrl_rate, rate
from jaxdm.oracles.attack import ascend, to_unit_ball
from jaxdm.oracles.regret import external
from theory.claim import Claim, at_most

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


def on_law(key: jax.Array, law: str) -> jax.Array:
    """The ratio on one sequence of a law, at a random radius and rate."""
    key_losses, key_radius, key_rate, key_play = jax.random.split(key, 4)
    losses = laws.LAWS[law](key_losses, length=ROUNDS, dimension=DIMENSION)
    radius = 10 ** jax.random.uniform(key_radius, minval=-1, maxval=1)
    params = rate(radius * 10 ** jax.random.uniform(key_rate, minval=-2.5, maxval=0.5), size=radius)
    return ratio(losses, online.play(key_play, losses, AGENT, params), params)


def on_adversary(key: jax.Array, respond: online.Response) -> jax.Array:
    """The ratio against a world that reacts with unit losses, at the tuned rate."""
    key_plan, key_play = jax.random.split(key)
    plan = jax.random.normal(key_plan, (ROUNDS, DIMENSION))
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
    start = laws.unit_ball(jax.random.normal(key_start, (ROUNDS, DIMENSION)))
    found = ascend(excess, to_unit_ball, start, steps=150).losses
    return ratio(found, play(found), params)


def ratios(key: jax.Array, samples: int) -> dict[str, np.ndarray]:
    """Every ratio found, by where the sequences came from."""
    cases = {name: (lambda key, name=name: on_law(key, name), samples) for name in laws.LAWS}
    cases["reacting"] = (lambda key: on_adversary(key, online.against_ball), samples)
    cases["orthogonal"] = (lambda key: on_adversary(key, online.orthogonal), samples)
    cases["attack"] = (under_attack, max(samples, RESTARTS))
    found = {}
    for index, (name, (case, count)) in enumerate(cases.items()):
        keys = jax.random.split(jax.random.fold_in(key, index), count)
        found[name] = np.asarray(jax.jit(jax.vmap(case))(keys))
    return found


def claim(key: jax.Array, samples: int, factor: float) -> Claim:
    """The claim with the bound multiplied by `factor`."""
    worst = max(found.max() for found in ratios(key, samples).values())
    statement = STATEMENT.format(max(samples, RESTARTS))
    return at_most("N2", statement, SOURCE, worst, factor, ROUNDING)


def check(key: jax.Array, samples: int = 100) -> Claim:
    """No sequence exceeds the bound; the largest ratio is the tightness."""
    return claim(key, samples, 1.0)


def refute(key: jax.Array, samples: int = 100) -> Claim:
    """Nine tenths of the bound would do."""
    return claim(key, samples, 0.9)
