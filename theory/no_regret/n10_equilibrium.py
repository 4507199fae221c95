"""N10. No-regret play reaches coarse correlated equilibria.

Statement. Two players repeat a game with losses `A_i(a, b)` in [0, 1], play mixed actions `x_t, y_t`, and see the
losses of all their actions, `A_1 y_t` and `A_2^T x_t`. The joint distribution `z = (1/T) sum_t x_t y_t^T` is an
e-coarse-correlated equilibrium when no player gains more than e by leaving it for a fixed action.

Proof. Player 1's gain is
`<A_1, z> - min_a sum_b A_1(a, b) sum_a' z(a', b) = (1/T) (sum_t <x_t, A_1 y_t> - min_a sum_t (A_1 y_t)(a))`,
the regret over T, and so for player 2: `e = max_i Regret_i / T` exactly. With Hedge at its tuned rate,
`e <= sqrt(log K / (2 T))`. The linear-attention layer with a softmax (N1) is Hedge, and keeps the promise; FTRL with
the squared norm has `Regret <= 1 / (2 eta) + (eta / 2) K T`, and `e <= sqrt(K / T)` at the best rate.

Check: that equality, and the largest gap over its bound, in random games and one of pure conflict. Refutation:
follow-the-leader; where both are charged for the same action, both always change together, and `e = 1/2`. Hedge's
bound is not tight in self-play: half of it would pass in some draws, and is not among the wrong versions.

Source: classical: Hannan 1957; Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006, section 7.4.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.envs.online import SIMPLEX
from jaxdm.learners.online import OnlineParams, follow_leader, ftrl, hedge, hedge_rate, rate
from jaxdm.oracles.regret import external
from jaxdm.types import Agent, Transition, Tree
from theory import draws
from theory.no_regret.n1_attention_ftrl import attend, ftrl_layer
from theory.verdicts import at_most, largest

SOURCE = "Cesa-Bianchi, Lugosi 2006, section 7.4"


STATEMENT = "average play is an e-coarse-correlated equilibrium, `e = max_i Regret_i / T`; largest share of the bound"


ROUNDS, SIZES = 200, (2, 3)


CHUNK = 2000
"""Games of one size at once."""


ROUNDING = ROUNDS * 100 * float(np.finfo(np.float64).eps)


class EquilibriumForm(NamedTuple):
    """The stated gap: at most `factor T^(1/2 - power)` times the regret bound over T."""

    factor: float = 1.0
    power: float = 0.5
    regularised: bool = True  # whether the players are no-regret learners, or follow the leader
    last: bool = False  # whether the last play alone is said to be the equilibrium


STATED = EquilibriumForm()


WRONG = {
    "follow-the-leader": EquilibriumForm(regularised=False),
    "bound x 0.25": EquilibriumForm(factor=0.25),
    "1/T for 1/sqrt T": EquilibriumForm(power=1.0),
    "the last play for the average": EquilibriumForm(last=True),
}


def self_play(key: jax.Array, games: jax.Array, agent: Agent, params: OnlineParams) -> tuple[jax.Array, jax.Array]:
    """Two copies of a learner in a game: decisions and losses, each [2, T, K]."""
    off, none = jnp.bool_(False), jnp.zeros(0)

    def step(memory: Tree, _: None) -> tuple:
        actions, memory = jax.vmap(lambda memory: agent.act(none, memory, none, params))(memory)
        losses = jnp.stack([games[0] @ actions[1], games[1].T @ actions[0]])

        def observe(memory: Tree, action: jax.Array, loss: jax.Array) -> Tree:
            paid = -jnp.dot(loss, action)
            transition = Transition(
                observation=loss, action=action, reward=paid, next_observation=loss, terminated=off, truncated=off
            )
            return agent.observe(memory, transition, params)

        return jax.vmap(observe)(memory, actions, losses), (actions, losses)

    memory = jax.vmap(lambda key: agent.init(key, params))(jax.random.split(key))
    decisions, losses = jax.lax.scan(step, memory, length=ROUNDS)[1]
    return jnp.swapaxes(decisions, 0, 1), jnp.swapaxes(losses, 0, 1)


def equilibrium_gap(games: jax.Array, joint: jax.Array) -> jax.Array:
    """The most that a player gains by leaving the joint distribution [K, K] for a fixed action, []."""
    first = jnp.sum(games[0] * joint) - jnp.min(games[0] @ jnp.sum(joint, axis=0))
    second = jnp.sum(games[1] * joint) - jnp.min(games[1].T @ jnp.sum(joint, axis=1))
    return jnp.maximum(first, second)


def gap_over_bound(
    key: jax.Array, games: jax.Array, last: jax.Array | bool, agent: Agent, params: OnlineParams, bound: float
) -> jax.Array:
    """The gap of the average play, or of the last, over `bound / T`, []; inf unless it is the larger regret over T."""
    decisions, losses = self_play(key, games, agent, params)
    joint = jnp.einsum("ti,tj->ij", decisions[0], decisions[1]) / ROUNDS
    joint = jnp.where(last, jnp.outer(decisions[0, -1], decisions[1, -1]), joint)
    regrets = jax.vmap(functools.partial(external, SIMPLEX))(losses, decisions)[:, -1]
    gap = equilibrium_gap(games, joint)
    same = jnp.abs(gap - jnp.max(regrets) / ROUNDS) <= ROUNDING
    return jnp.where(same, gap * ROUNDS / bound, jnp.inf)


def attention_layer(arms: int) -> Agent:
    """N1's layer with random weights under its conditions, then a softmax, as a player that keeps all losses it saw."""

    def act(draw: jax.Array, memory: tuple, observation: jax.Array, params: OnlineParams) -> tuple:
        layer, losses, time = memory
        return jax.nn.softmax(attend(layer, losses, time - 1, 1)[0]), memory

    def observe(memory: tuple, after: Transition, params: OnlineParams) -> tuple:
        layer, losses, time = memory
        return layer, losses.at[time].set(after.next_observation), time + 1

    return Agent(
        init=lambda key, params: (ftrl_layer(key, params.scale, arms), jnp.zeros((ROUNDS, arms)), jnp.int32(0)),
        act=act,
        observe=observe,
    )


@draws.once
def worst_ratios(key: jax.Array, samples: int, arms: int, regularised: bool, last: bool) -> np.ndarray:
    """The largest ratio in each of so many games, of no-regret learners or follow-the-leader, [samples]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        return _worst_ratios(key, count, arms, regularised, last)

    return draws.in_chunks(measure, key, samples, CHUNK)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _worst_ratios(key: jax.Array, samples: int, arms: int, regularised: bool, last: bool) -> jax.Array:
    """Of random games, the first of them that of equal charges."""
    key_games, key_play = jax.random.split(key)
    games = random.uniform(key_games, (samples, 2, arms, arms), float)
    games = games.at[0].set(jnp.broadcast_to(jnp.eye(arms), (2, arms, arms)))
    entropy, square = math.sqrt(ROUNDS * math.log(arms) / 2), math.sqrt(arms * ROUNDS)
    tuned = hedge_rate(arms, ROUNDS)
    players = [
        (hedge(arms), tuned, entropy),
        (attention_layer(arms), tuned, entropy),
        (ftrl(SIMPLEX, arms), rate(1 / square), square),
    ]
    worst = []
    for agent, params, bound in players if regularised else [(follow_leader(SIMPLEX, arms), tuned, entropy)]:
        ratio = functools.partial(gap_over_bound, agent=agent, params=params, bound=bound)
        found = jax.vmap(ratio, (0, 0, None))(jax.random.split(key_play, samples), games, last)
        worst.append(found)
    return jnp.max(jnp.stack(worst), axis=0)


def check(key: jax.Array, samples: int = 200, form: EquilibriumForm = STATED) -> Claim:
    """Hedge, the attention layer and FTRL in random games of two and of three actions, and in those of pure conflict.

    Args:
        key: random key.
        samples: games of each size.
        form: what is claimed.
    """
    worst = largest(worst_ratios(key, samples, arms, form.regularised, form.last) for arms in SIZES)
    stated = form.factor * ROUNDS ** (0.5 - form.power)
    return at_most(STATEMENT, SOURCE, worst / stated, 1.0, ROUNDING)
