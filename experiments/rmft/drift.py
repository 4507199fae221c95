"""Drifting bandits in the regret-minimisation study: means redrawn at random; judged there and on other drift."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.comparison import join, judge_learner, judge_networks
from experiments.rmft.config import Config
from experiments.rmft.training import distil, start
from jaxdm import random
from jaxdm.envs import bandit, families
from jaxdm.envs.bandit import Bandit
from jaxdm.learners import bandit as tallies
from jaxdm.learners import thompson
from jaxdm.models.transformer import network
from jaxdm.rmft import games

ARMS = 4


CHANCE = 0.03
"""Of a change before each round of training."""


LAWS = ("switching (training law)", "one change at half time", "wandering", "seasonal")


WINDOWS = (10, 20, 40)
"""Rounds that the sliding window may count; for each law the best in other worlds is shown."""


METHODS = ("round 0", "RMFT", "UCB1", "Thompson", "SW-UCB, tuned")


STEADY = 5
"""Rounds of which a player who has switched plays the new best arm in all but one."""


def draw(key: jax.Array, law: jax.Array, rounds: int) -> Bandit:
    """A bandit of the law with that index in `LAWS`."""
    sizes = {"arms": ARMS, "rounds": rounds}
    one = lambda key: _one_change(key, rounds)
    kinds = (
        lambda key: families.bandit.switching(key, chance=CHANCE, **sizes),
        one,
        lambda key: families.bandit.wandering(key, step=0.1, **sizes),
        lambda key: families.bandit.seasonal(key, period=rounds / 2, **sizes),
    )
    return jax.lax.switch(law, kinds, key)


def _one_change(key: jax.Array, rounds: int) -> Bandit:
    """One arm pays 0.9, the others 0.1; from half time on it is another one."""
    place = random.places(key, ARMS)
    rows = [0.1 + 0.8 * (place == i).astype(jnp.float32) for i in (0, 1)]
    late = (jnp.arange(rounds) >= rounds // 2)[:, None]
    return bandit.make(jnp.where(late, rows[1][None], rows[0][None]), horizon=rounds)


def study(config: Config) -> dict[str, Any]:
    """Train on switching means, judge on all laws; metrics are named `drift_*`.

    `drift_switch [W, N]` is the mean number of rounds, after the change of the second law, until the new best arm is
    first played, and `drift_settled [W, N]` until a stretch of `STEADY` rounds with it in all but one begins; at most
    all that remain.
    """
    training = lambda key: draw(key, jnp.int32(0), config.train_length)
    trained_on = games.bandit_game(training, ARMS, config.train_length)
    where = games.bandit_game(training, ARMS, config.length)
    net = network(config.drift_network, trained_on.features, trained_on.outputs)
    fresh = start(config, net)
    fit = distil(config, "drift", {"RMFT": (config.drift, fresh)}, trained_on, net)["RMFT"]
    where = where._replace(instance=lambda key, law: draw(key, law, config.length))
    windows = [tallies.WindowParams(exploration=0.6, window=min(window, config.length)) for window in WINDOWS]
    judged = join(
        [
            judge_networks(config, where, net, {"round 0": fresh, "RMFT": fit.state.params}, len(LAWS)),
            judge_learner(config, where, tallies.ucb(ARMS), [tallies.UCBParams()], len(LAWS)),
            judge_learner(config, where, thompson.beta_thompson(ARMS), [thompson.BetaPrior()], len(LAWS)),
            judge_learner(config, where, tallies.sliding_window_ucb(ARMS, config.length), windows, len(LAWS)),
        ]
    )
    changed = judged.right[:, 1, :, :, config.length // 2 :] > 0.5
    stretches = np.lib.stride_tricks.sliding_window_view(changed, min(STEADY, changed.shape[-1]), axis=-1)
    return {
        "drift_laws": LAWS,
        "drift_methods": METHODS,
        "drift_course": judged.course,
        "drift_right": judged.right[:, 1].mean(axis=2),
        "drift_switch": waited(changed),
        "drift_settled": waited(stretches.sum(axis=-1) >= stretches.shape[-1] - 1),
        "drift_rounds": fit.losses,
        "drift_seconds": fit.seconds,
    }


def waited(reached: np.ndarray) -> np.ndarray:
    """Rounds until it is first true, [..., R, T] to the mean over runs; all of them where it never is."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), reached.shape[-1]).mean(axis=-1)
