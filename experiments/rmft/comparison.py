"""Evaluation in the regret-minimisation study: all methods meet the same instances with the same randomness.

Dimensions: `W` methods, `Q` distributions of instances, `N` seeds, `R` runs, `T` rounds, `K` arms.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.streams import Use, stream
from jaxdm import random
from jaxdm.numerics import batched_map
from jaxdm.rmft.games import Game
from jaxdm.types import Agent, Network, Tree

BATCH_SIZE = 32
"""Runs played at once on a CPU."""


class Comparison(NamedTuple):
    """How methods did."""

    cumulative_regret: np.ndarray  # [W, Q, N, T] mean over runs
    optimal_play: np.ndarray  # [W, Q, N, R, T] probability that the decision gives the oracle's decision
    arm: np.ndarray  # [W, Q, N, R, T] int, the likeliest arm, counted among those available


class Worlds(NamedTuple):
    """The keys of evaluation episodes: of those in which methods are compared, and of those that tune baselines."""

    evaluation: jax.Array  # [N, R]
    tuning: jax.Array  # [N, R]


def worlds(seed: int, seeds: int, runs: int) -> Worlds:
    """The keys of R episodes for each of N seeds."""
    shape = (seeds, max(1, runs))
    return Worlds(
        evaluation=jax.random.split(stream(seed, Use.RMFT_EVALUATION), shape),
        tuning=jax.random.split(stream(seed, Use.RMFT_TUNING), shape),
    )


def evaluator(
    game: Game, agent: Agent, agent_params: Callable[[Tree, Tree], Tree], distributions: int = 1
) -> Callable[[jax.Array, Tree], Comparison]:
    """`(keys [N, R], settings) -> Comparison`: one agent with W settings, leading axes [W, N]; compiled once.

    Args:
        game: whose `instance(key, q)` draws from distribution q.
        agent: who plays.
        agent_params: `(settings, instance) -> params` of the agent.
        distributions: Q.
    """

    def run(key: jax.Array, index: jax.Array, settings: Tree) -> tuple:
        key_instance, key_play = random.split(key)
        instance = game.instance(key_instance, index)
        played = game.play(key_play, instance, agent, agent_params(settings, instance))
        chosen = jnp.argmax(played.label, axis=-1)
        places = jnp.cumsum(played.available, axis=-1) - 1  # an unavailable arm has no place to leave untried
        arm = jnp.take_along_axis(places, chosen[:, None], axis=-1)[:, 0]
        return played.cumulative_regret, jnp.sum(played.label * played.best, axis=-1), arm

    def of_seed(index: jax.Array, keys: jax.Array, settings: Tree) -> tuple:
        regret, optimal, arm = batched_map(lambda key: run(key, index, settings), keys, BATCH_SIZE)
        return jnp.mean(regret, axis=0), optimal, arm

    def of_distribution(index: jax.Array, keys: jax.Array, settings: Tree) -> tuple:
        return jax.lax.map(lambda inputs: of_seed(index, *inputs), (keys, settings))

    def of_method(keys: jax.Array, settings: Tree) -> tuple:
        return jax.lax.map(lambda index: of_distribution(index, keys, settings), jnp.arange(distributions))

    compiled = jax.jit(lambda keys, settings: jax.lax.map(lambda one: of_method(keys, one), settings))
    return lambda keys, settings: Comparison._make(map(np.asarray, compiled(keys, settings)))


def evaluate_networks(
    where: Worlds, game: Game, network: Network, weights: Mapping[str, Tree], distributions: int = 1
) -> Comparison:
    """Networks of one shape, without exploration noise, in the order given; weights have a leading axis [N]."""

    def agent_params(weights: Tree, instance: Tree) -> Tree:
        return game.deploy(weights, jnp.zeros(()), instance)

    return evaluator(game, game.player(network), agent_params, distributions)(where.evaluation, stacked(weights))


def evaluate_learner(
    where: Worlds,
    game: Game,
    agent: Agent,
    candidates: Sequence[Any],
    distributions: int = 1,
    agent_params: Callable[[Tree, Tree], Tree] = lambda candidate, instance: candidate,
    fixed: Sequence[Any] = (),
) -> Comparison:
    """A classical learner, tuned for each distribution: the candidate of least regret in the tuning episodes.

    Args:
        where: keys of episodes.
        game: whose `instance(key, q)` draws from distribution q.
        agent: the learner.
        candidates: its params that are chosen from; a single one is not tuned.
        distributions: Q.
        agent_params: `(candidate, instance) -> params`.
        fixed: params that are evaluated beside, and not chosen from.

    Returns:
        Comparison with W = 1 + len(fixed).
    """
    shape = (len(candidates) + len(fixed), where.evaluation.shape[0])

    def spread(*leaves: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.stack([jnp.asarray(x) for x in leaves])[:, None], shape)

    settings = jax.tree.map(spread, *candidates, *fixed)
    evaluate = evaluator(game, agent, agent_params, distributions)
    if len(candidates) == 1:
        return evaluate(where.evaluation, settings)
    final = evaluate(where.tuning, settings).cumulative_regret[: len(candidates), ..., -1]
    best = final.mean(axis=-1).argmin(axis=0)
    others = np.arange(len(candidates), shape[0])[:, None].repeat(distributions, axis=1)
    chosen = np.concatenate([best[None], others])
    found = evaluate(where.evaluation, settings)
    return Comparison._make(values[chosen, np.arange(distributions)] for values in found)


def join(parts: Sequence[Comparison]) -> Comparison:
    """Methods of several calls, one after the other."""
    return Comparison._make(np.concatenate(values) for values in zip(*parts, strict=True))


def stacked(weights: Mapping[str, Tree]) -> Tree:
    """Weights of networks of one shape, leading axis [W] in the order given."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights.values())
