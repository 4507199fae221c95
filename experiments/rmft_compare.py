"""Judging in the regret-minimisation study: everyone meets the same worlds with the same luck.

Dimensions: `W` competitors, `Q` laws, `N` seeds, `R` runs, `T` rounds, `K` arms.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft_study import Config
from jaxdm import exploration, randomness
from jaxdm.games import Game
from jaxdm.types import Agent, Network, Tree


class Judged(NamedTuple):
    """How competitors did."""

    course: np.ndarray  # [W, Q, N, T] regret, mean over runs
    right: np.ndarray  # [W, Q, N, R, T] share of the decision that agrees with the oracle's
    rank: np.ndarray  # [W, Q, N, R, T] place of the likeliest arm among those available


def judge(
    config: Config,
    game: Game,
    agent: Agent,
    told: Callable[[Tree, Tree], Tree],
    known: Tree,
    laws: int = 1,
    runs: int | None = None,
) -> Judged:
    """Play one agent with W sets of parameters in Q laws; one compilation.

    Args:
        config: sizes.
        game: whose `instance(key, q)` draws from law q.
        agent: who plays.
        told: `(known, instance) -> params`.
        known: leading axes [W, N].
        laws: Q.
        runs: R; that of the configuration when left out.
    """
    stream = jax.random.fold_in(jax.random.key(config.seed), 3)
    keys = jax.random.split(stream, (config.seeds, config.runs if runs is None else runs))

    def run(key: jax.Array, law: jax.Array, known: Tree) -> tuple:
        key_instance, key_play = randomness.split(key)
        instance = game.instance(key_instance, law)
        record = game.play(key_play, instance, agent, told(known, instance))
        chosen = jnp.argmax(record.label, axis=-1)
        places = jnp.cumsum(record.available, axis=-1) - 1  # an unavailable arm has no place to leave untried
        rank = jnp.take_along_axis(places, chosen[:, None], axis=-1)[:, 0]
        return record.course, jnp.sum(record.label * record.best, axis=-1), rank

    def of_seed(law: jax.Array, inputs: tuple) -> tuple:
        course, right, rank = jax.vmap(run, (0, None, None))(inputs[0], law, inputs[1])
        return jnp.mean(course, axis=0), right, rank

    def of_law(law: jax.Array, known: Tree) -> tuple:
        return jax.lax.map(lambda inputs: of_seed(law, inputs), (keys, known))

    everyone = lambda known: jax.lax.map(lambda law: of_law(law, known), jnp.arange(laws))
    course, right, rank = jax.jit(lambda known: jax.lax.map(everyone, known))(known)
    return Judged(course=np.asarray(course), right=np.asarray(right), rank=np.asarray(rank))


def judge_networks(config: Config, game: Game, network: Network, weights: dict[str, Tree], laws: int = 1) -> Judged:
    """Networks of one shape, without exploration noise, in the order given."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights.values())
    silent = jnp.zeros(())
    return judge(config, game, game.player(network), lambda w, i: game.deploy(w, silent, i), stacked, laws)


def judge_learner(config: Config, game: Game, agent: Agent, rates: list[Any], laws: int = 1) -> Judged:
    """A classical learner with W choices of its rates."""
    spread = lambda *leaves: jnp.broadcast_to(jnp.stack([jnp.asarray(x) for x in leaves])[:, None], shape)
    shape = (len(rates), config.seeds)
    return judge(config, game, agent, lambda known, instance: known, jax.tree.map(spread, *rates), laws)


def join(parts: list[Judged]) -> Judged:
    """Competitors of several calls as one list."""
    return Judged(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Judged._fields})


def explored(judged: Judged, arms: list[int], length: int) -> dict[str, np.ndarray]:
    """SuffFailFreq at half time, `K MinFrac` at the end, both [W, Q, N], and how often play was right [W, Q, N, T]."""
    best = np.zeros(judged.right.shape[:-1], int)
    never = exploration.suffix_failure((judged.right < 0.5).astype(int), best, length // 2)
    least = [exploration.min_fraction(judged.rank[:, q], arms[q])[..., -1].mean(axis=-1) for q in range(len(arms))]
    return {
        "never_best": never.mean(axis=-1),
        "min_fraction": np.stack(least, axis=1),
        "right": judged.right.mean(axis=3),
    }
