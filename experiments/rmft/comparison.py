"""Judging in the regret-minimisation study: everyone meets the same worlds with the same luck.

Dimensions: `W` competitors, `Q` laws, `N` seeds, `R` runs, `T` rounds, `K` arms.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.config import Config
from experiments.rmft.training import stacked
from jaxdm import random
from jaxdm.numerics import batched_map
from jaxdm.rmft.games import Game
from jaxdm.types import Agent, Network, Tree

TUNED, JUDGED = 4, 3
"""Streams of keys: worlds in which rates are chosen, and those in which everyone is compared."""


BATCH_SIZE = 32
"""Runs played at once on a CPU."""


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
    streams: tuple[int, ...] = (JUDGED,),
) -> list[Judged]:
    """Play one agent with W sets of parameters in Q laws, on the worlds of each stream; one compilation.

    Args:
        config: sizes.
        game: whose `instance(key, q)` draws from law q.
        agent: who plays.
        told: `(known, instance) -> params`.
        known: leading axes [W, N].
        laws: Q.
        runs: R; that of the configuration when left out.
        streams: whose worlds differ.
    """

    def run(key: jax.Array, law: jax.Array, known: Tree) -> tuple:
        key_instance, key_play = random.split(key)
        instance = game.instance(key_instance, law)
        record = game.play(key_play, instance, agent, told(known, instance))
        chosen = jnp.argmax(record.label, axis=-1)
        places = jnp.cumsum(record.available, axis=-1) - 1  # an unavailable arm has no place to leave untried
        rank = jnp.take_along_axis(places, chosen[:, None], axis=-1)[:, 0]
        return record.cumulative_regret, jnp.sum(record.label * record.best, axis=-1), rank

    def of_seed(law: jax.Array, inputs: tuple) -> tuple:
        course, right, rank = batched_map(lambda key: run(key, law, inputs[1]), inputs[0], BATCH_SIZE)
        return jnp.mean(course, axis=0), right, rank

    of_law = lambda keys, law, known: jax.lax.map(lambda inputs: of_seed(law, inputs), (keys, known))

    @jax.jit
    def everyone(keys: jax.Array, known: Tree) -> tuple:
        return jax.lax.map(lambda one: jax.lax.map(lambda law: of_law(keys, law, one), jnp.arange(laws)), known)

    judged = []
    for stream in streams:
        key = jax.random.fold_in(jax.random.key(config.seed), stream)
        keys = jax.random.split(key, (config.seeds, config.runs if runs is None else runs))
        judged.append(Judged._make(map(np.asarray, everyone(keys, known))))
    return judged


def judge_networks(
    config: Config, game: Game, network: Network, weights: dict[str, Tree], laws: int = 1, runs: int | None = None
) -> Judged:
    """Networks of one shape, without exploration noise, in the order given."""
    told = lambda known, instance: game.deploy(known, jnp.zeros(()), instance)
    return judge(config, game, game.player(network), told, stacked(weights), laws, runs)[0]


def judge_learner(
    config: Config,
    game: Game,
    agent: Agent,
    rates: list[Any],
    laws: int = 1,
    told: Callable[[Tree, Tree], Tree] = lambda rate, instance: rate,
    fixed: tuple[Any, ...] = (),
    runs: int | None = None,
) -> Judged:
    """A classical learner; of several choices of its rates, each law gets the one of least regret in other worlds.

    Returns:
        Judged with W = 1, and then one for each of the `fixed` rates, which are not chosen from.
    """
    shape = (len(rates) + len(fixed), config.seeds)
    spread = lambda *leaves: jnp.broadcast_to(jnp.stack([jnp.asarray(x) for x in leaves])[:, None], shape)
    streams = (TUNED, JUDGED) if len(rates) > 1 else (JUDGED,)
    *tuned, judged = judge(config, game, agent, told, jax.tree.map(spread, *rates, *fixed), laws, runs, streams)
    if not tuned:
        return judged
    best = tuned[0].course[: len(rates), ..., -1].mean(axis=-1).argmin(axis=0)
    chosen = np.concatenate([best[None], np.arange(len(rates), shape[0])[:, None].repeat(laws, axis=1)])
    return Judged(**{name: getattr(judged, name)[chosen, np.arange(laws)] for name in Judged._fields})


def join(parts: list[Judged]) -> Judged:
    """Competitors of several calls as one list."""
    return Judged(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Judged._fields})
