"""N10: no-regret play reaches coarse correlated equilibria.

Two players repeat a game with losses `A_i(a, b)` in [0, 1], play laws `x_t, y_t`, and see the losses of all their
actions, `A_1 y_t` and `A_2^T x_t`. The joint law `z = (1/T) sum_t x_t y_t^T` is an e-coarse-correlated equilibrium when
no player gains more than e by leaving it for a fixed action. Player 1's gain is
`<A_1, z> - min_a sum_b A_1(a, b) sum_a' z(a', b) = (1/T) (sum_t <x_t, A_1 y_t> - min_a sum_t (A_1 y_t)(a))`,
the regret over T, and so for player 2: `e = max_i Regret_i / T` exactly. With Hedge at its tuned rate,
`e <= sqrt(log K / (2 T))`. The linear-attention layer with a softmax (N1) is Hedge, and keeps the promise; FTRL with
the squared norm has `Regret <= 1 / (2 eta) + (eta / 2) K T`, and `e <= sqrt(K / T)` at the best rate.

Follow-the-leader does not: where both are charged for the same action, both always change together, and `e = 1/2`.

Reference: Hannan 1957; Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006, section 7.4.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.online import SIMPLEX
from jaxdm.learners.online import Rate, follow_leader, ftrl, hedge, hedge_rate, rate
from jaxdm.oracles.regret import external
from jaxdm.types import Agent, Transition
from theory.attention_ftrl import attend, ftrl_layer
from theory.claim import Claim, at_most

SOURCE = "Cesa-Bianchi, Lugosi 2006, section 7.4"
STATEMENT = "average play is an e-coarse-correlated equilibrium, e = max regret / T; largest e / (regret bound / T)"
ROUNDS, SIZES = 200, (2, 3)
ROUNDING = ROUNDS * 100 * float(np.finfo(np.float64).eps)


def self_play(games: jax.Array, agent: Agent, params: Rate, rounds: int) -> tuple[jax.Array, jax.Array]:
    """Two copies of a learner in a game: decisions and losses, each [2, T, K]."""
    off, none = jnp.bool_(False), jnp.zeros(0)

    def step(memories: tuple, _: None) -> tuple:
        acts = [agent.act(none, memory, none, params) for memory in memories]
        (x, first), (y, second) = acts
        losses = (games[0] @ y, games[1].T @ x)
        after = []
        for memory, action, loss in ((first, x, losses[0]), (second, y, losses[1])):
            paid = -jnp.dot(loss, action)
            transition = Transition(
                observation=loss, action=action, reward=paid, next_observation=loss, terminated=off, truncated=off
            )
            after.append(agent.observe(memory, transition, params))
        return tuple(after), (jnp.stack([x, y]), jnp.stack(losses))

    start = agent.init(jax.random.key(0), params)
    decisions, losses = jax.lax.scan(step, (start, start), length=rounds)[1]
    return jnp.swapaxes(decisions, 0, 1), jnp.swapaxes(losses, 0, 1)


def equilibrium_gap(games: jax.Array, joint: jax.Array) -> jax.Array:
    """The most that a player gains by leaving the joint law [K, K] for a fixed action, []."""
    first = jnp.sum(games[0] * joint) - jnp.min(games[0] @ jnp.sum(joint, axis=0))
    second = jnp.sum(games[1] * joint) - jnp.min(games[1].T @ jnp.sum(joint, axis=1))
    return jnp.maximum(first, second)


def gap_and_regret(games: jax.Array, agent: Agent, params: Rate) -> tuple[jax.Array, jax.Array]:
    """The gap of the average play, and the larger regret over T."""
    decisions, losses = self_play(games, agent, params, ROUNDS)
    joint = jnp.einsum("ti,tj->ij", decisions[0], decisions[1]) / ROUNDS
    regrets = jax.vmap(functools.partial(external, SIMPLEX))(losses, decisions)[:, -1]
    return equilibrium_gap(games, joint), jnp.max(regrets) / ROUNDS


def attention_layer(key: jax.Array, arms: int) -> Agent:
    """N1's layer with random weights under its conditions, then a softmax, as a player that keeps all losses it saw."""

    def act(draw: jax.Array, memory: tuple, observation: jax.Array, params: Rate) -> tuple:
        losses, time = memory
        return jax.nn.softmax(attend(ftrl_layer(key, params.scale, arms), losses, time - 1, 1)[0]), memory

    return Agent(
        init=lambda key, params: (jnp.zeros((ROUNDS, arms)), jnp.int32(0)),
        act=act,
        observe=lambda memory, after, params: (memory[0].at[memory[1]].set(after.next_observation), memory[1] + 1),
    )


def worst_ratio(key: jax.Array, samples: int, arms: int, agent: Agent, params: Rate, bound: float) -> float:
    """The largest gap over `bound / T`, on random games and on that of equal charges; inf unless gap = regret / T."""
    games = jax.random.uniform(key, (samples, 2, arms, arms))
    games = games.at[0].set(jnp.broadcast_to(jnp.eye(arms), (2, arms, arms)))
    gap, average = jax.jit(jax.vmap(lambda games: gap_and_regret(games, agent, params)))(games)
    error = float(jnp.max(jnp.abs(gap - average)))
    return float(jnp.max(gap)) * ROUNDS / bound if error <= ROUNDING else math.inf


def check(key: jax.Array, samples: int = 200) -> Claim:
    """Hedge, the attention layer and FTRL in random games of two and three actions, and one of pure conflict."""
    worst = 0.0
    for arms in SIZES:
        key_layer, key_games = jax.random.split(jax.random.fold_in(key, arms))
        entropy, square = math.sqrt(ROUNDS * math.log(arms) / 2), math.sqrt(arms * ROUNDS)
        tuned, wide = hedge_rate(arms, ROUNDS), rate(1 / square)
        players = [(hedge(arms), tuned, entropy), (attention_layer(key_layer, arms), tuned, entropy)]
        for agent, params, bound in [*players, (ftrl(SIMPLEX, arms), wide, square)]:
            worst = max(worst, worst_ratio(key_games, samples, arms, agent, params, bound))
    return at_most("N10", STATEMENT, SOURCE, worst, 1.0, ROUNDING)


def refute(key: jax.Array, samples: int = 200) -> Claim:
    """The same promise for follow-the-leader."""
    bound = math.sqrt(ROUNDS * math.log(2) / 2)
    worst = worst_ratio(key, samples, 2, follow_leader(SIMPLEX, 2), rate(1.0), bound)
    return at_most("N10", STATEMENT, SOURCE, worst, 1.0, ROUNDING)
