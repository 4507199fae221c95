"""Drifting bandits in the regret-minimisation study: trained on switching means, evaluated there and on other drift."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft import classical
from experiments.rmft.comparison import (
    Measures,
    evaluate_classical,
    evaluate_networks,
    explored,
    join,
    worlds,
)
from experiments.rmft.training import Setup, Subject, distil, initial_weights
from jaxdm import random
from jaxdm.analysis.storage import named
from jaxdm.envs import bandit, families
from jaxdm.envs.bandit import Bandit
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rmft import games
from jaxdm.rmft.distillation import Distillation

ARMS = 4


DISTRIBUTIONS = ("switching (training)", "one switch at half time", "random walk", "seasonal")
"""Of drifting bandits."""


WINDOW = 5
"""A method has settled when, in so many rounds, it plays the optimal arm in all but one."""


def draw(key: jax.Array, index: jax.Array, rounds: int, chance: float) -> Bandit:
    """A bandit of the distribution with that index in `DISTRIBUTIONS`; `chance` is that of a switch before a round."""
    sizes = {"arms": ARMS, "rounds": rounds}
    distributions = (
        lambda key: families.bandit.switching(key, chance=chance, **sizes),
        lambda key: one_switch(key, rounds),
        lambda key: families.bandit.wandering(key, step=0.1, **sizes),
        lambda key: families.bandit.seasonal(key, period=rounds / 2, **sizes),
    )
    return jax.lax.switch(index, distributions, key)


def one_switch(key: jax.Array, rounds: int) -> Bandit:
    """One arm has mean 0.9, the others 0.1; from half time on it is another one."""
    place = random.places(key, ARMS)
    early, late = (0.1 + 0.8 * (place == i).astype(jnp.float32) for i in (0, 1))
    switched = (jnp.arange(rounds) >= rounds // 2)[:, None]
    return bandit.make(jnp.where(switched, late[None], early[None]), horizon=rounds)


def drifting_game(length: int, chance: float) -> games.Game:
    """Drifting bandits; an instance is of the distribution whose index is its data, or of the first without."""

    def instance(key: jax.Array, data: Any) -> Bandit:
        return draw(key, jnp.int32(0) if isinstance(data, tuple) else data, length, chance)

    return games.bandit_game(lambda key: instance(key, ()), ARMS, length)._replace(instance=instance)


def study(
    shared: Setup,
    distillation: Distillation,
    architecture: TransformerConfig,
    *,
    train_length: int,
    length: int,
    chance: float,
    runs: int,
) -> dict[str, Any]:
    """Train on switching means, evaluate on all distributions; metrics are named `drift_*`.

    `drift_first_play` is the mean number of rounds, after the switch of the second distribution, until the new optimal
    arm is first played, and `drift_settled` until it is played in all but one of `WINDOW` rounds; at most all that
    remain.

    Args:
        shared: seeds and checkpoints.
        distillation: of the fine-tuning.
        architecture: of the network.
        train_length: rounds in training.
        length: rounds in evaluation.
        chance: of a switch before each round.
        runs: evaluation episodes for each distribution and seed.
    """
    trained_on, game = drifting_game(train_length, chance), drifting_game(length, chance)
    net = network(architecture, trained_on.features, trained_on.outputs)
    initial = initial_weights(shared, "drift", net)
    fit = distil(shared, "drift", {"RMFT": (distillation, initial)}, trained_on, net)["RMFT"]
    where, count = worlds(shared.seed, shared.seeds, runs), len(DISTRIBUTIONS)
    weights = {"round 0": initial, "RMFT": fit.state.params}

    def measure(played: games.Rollout) -> Measures:
        return explored(played) | waits(played, length // 2)

    players = classical.stationary(ARMS) | classical.forgetful(ARMS, length)
    theirs = evaluate_classical(where, game, players, count, measure)
    compared = join([evaluate_networks(where, game, net, weights, count, measure), theirs.measures])
    methods = [*weights, *theirs.names]
    one = DISTRIBUTIONS.index("one switch at half time")
    seeds, rounds = np.arange(shared.seeds), np.arange(1, length + 1)
    by_seed: dict[str, Any] = {"agent": methods, "seed": seeds}
    training_round = np.arange(1, distillation.rounds + 1)
    return {
        "drift_regret": named(compared["regret"], agent=methods, distribution=DISTRIBUTIONS, seed=seeds, round=rounds),
        "drift_optimal_play": named(compared["optimal_play"][:, one], **by_seed, round=rounds),
        "drift_first_play": named(compared["first_play"][:, one], **by_seed),
        "drift_settled": named(compared["settled"][:, one], **by_seed),
        "drift_training_regret": named(fit.losses[None], agent=["RMFT"], seed=seeds, training_round=training_round),
        "drift_seconds": fit.seconds,
    }


def subject(
    shared: Setup, architecture: TransformerConfig, *, train_length: int, length: int, chance: float, runs: int
) -> Subject:
    """What a sweep fine-tunes and judges; arguments as of `study`."""
    game = drifting_game(train_length, chance)
    net = network(architecture, game.features, game.outputs)
    return Subject(
        game=game,
        network=net,
        initial=initial_weights(shared, "drift", net),
        evaluated_on=drifting_game(length, chance),
        distributions=DISTRIBUTIONS,
        measure=explored,
        runs=runs,
    )


def waits(played: games.Rollout, switch: int) -> Measures:
    """Rounds after a switch until the best arm is first played, and until it is in all but one of `WINDOW` rounds."""
    right = (jnp.sum(played.label * played.best, axis=-1) > 0.5)[switch:]
    size = min(WINDOW, right.shape[0])
    recent = jnp.convolve(right.astype(float), jnp.ones(size), mode="valid")
    return {"first_play": rounds_until(right), "settled": rounds_until(recent >= size - 1)}


def rounds_until(reached: jax.Array) -> jax.Array:
    """Rounds until it is first true, []; all of them where it never is."""
    return jnp.where(jnp.any(reached), jnp.argmax(reached), reached.shape[0]).astype(float)
