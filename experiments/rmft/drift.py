"""Drifting bandits in the regret-minimisation study: trained on switching means, evaluated there and on other drift."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.comparison import evaluate_learner, evaluate_networks, join, worlds
from experiments.rmft.training import Setup, distil, initial_weights
from jaxdm import random
from jaxdm.analysis.storage import named
from jaxdm.envs import bandit, families
from jaxdm.envs.bandit import Bandit
from jaxdm.learners import bandit as learners
from jaxdm.learners import thompson
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rmft import games
from jaxdm.rmft.distillation import Distillation

ARMS = 4


DISTRIBUTIONS = ("switching (training)", "one switch at half time", "random walk", "seasonal")
"""Of drifting bandits."""


METHODS = ("round 0", "RMFT", "UCB1", "Thompson", "SW-UCB, tuned")


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
    windows: tuple[int, ...],
    window_exploration: float,
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
        windows: rounds in the window of SW-UCB, which is tuned over them.
        window_exploration: width of its confidence intervals.
        runs: evaluation episodes for each distribution and seed.
    """
    trained_on, game = drifting_game(train_length, chance), drifting_game(length, chance)
    net = network(architecture, trained_on.features, trained_on.outputs)
    initial = initial_weights(shared, "drift", net)
    fit = distil(shared, "drift", {"RMFT": (distillation, initial)}, trained_on, net)["RMFT"]
    where, count = worlds(shared.seed, shared.seeds, runs), len(DISTRIBUTIONS)
    candidates = [
        learners.WindowParams(exploration=window_exploration, window=min(window, length)) for window in windows
    ]
    compared = join(
        [
            evaluate_networks(where, game, net, {"round 0": initial, "RMFT": fit.state.params}, count),
            evaluate_learner(where, game, learners.ucb(ARMS), [learners.UCBParams()], count),
            evaluate_learner(where, game, thompson.beta_thompson(ARMS), [thompson.BetaPrior()], count),
            evaluate_learner(where, game, learners.sliding_window_ucb(ARMS, length), candidates, count),
        ]
    )
    one = DISTRIBUTIONS.index("one switch at half time")
    after = compared.optimal_play[:, one, :, :, length // 2 :] > 0.5
    windowed = np.lib.stride_tricks.sliding_window_view(after, min(WINDOW, after.shape[-1]), axis=-1)
    seeds, rounds = np.arange(shared.seeds), np.arange(1, length + 1)
    by_seed: dict[str, Any] = {"agent": METHODS, "seed": seeds}
    training_round = np.arange(1, distillation.rounds + 1)
    return {
        "drift_regret": named(
            compared.cumulative_regret, agent=METHODS, distribution=DISTRIBUTIONS, seed=seeds, round=rounds
        ),
        "drift_optimal_play": named(compared.optimal_play[:, one].mean(axis=2), **by_seed, round=rounds),
        "drift_first_play": named(rounds_until(after), **by_seed),
        "drift_settled": named(rounds_until(windowed.sum(axis=-1) >= windowed.shape[-1] - 1), **by_seed),
        "drift_training_regret": named(fit.losses[None], agent=["RMFT"], seed=seeds, training_round=training_round),
        "drift_seconds": fit.seconds,
    }


def rounds_until(reached: np.ndarray) -> np.ndarray:
    """Rounds until it is first true, [..., R, T] to the mean over runs; all of them where it never is."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), reached.shape[-1]).mean(axis=-1)
