"""Online learning in the regret-minimisation study: stochastic losses in training, and more in evaluation."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.rmft.comparison import Worlds, evaluate_learner, evaluate_networks, stacked, worlds
from experiments.rmft.config import RMFTConfig
from experiments.rmft.training import Setup, distil, initial_weights, setup, train
from experiments.streams import Use, stream
from jaxdm import random
from jaxdm.analysis.storage import named
from jaxdm.envs import families, online
from jaxdm.learners import online as learners
from jaxdm.models.agents import DecisionSetName
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles import attack
from jaxdm.oracles.attack import ATTACK_SPACES
from jaxdm.oracles.regret import external
from jaxdm.rmft import baselines, games
from jaxdm.rmft.distillation import Distillation
from jaxdm.rmft.games import Game, Losses
from jaxdm.types import Agent, Network, Tree

SLOTS = {"simplex": 5, "ball": 4}
"""Coordinates that a network has room for."""


USED = {"simplex": 3, "ball": 2}
"""And those that count in training, at random places."""


TRAINED = {"simplex": ("uniform", "bernoulli", "random_mean"), "ball": ("gaussian", "random_mean")}
"""Distributions of loss sequences in training."""


NOT_TRAINED = ("linear_trend", "sine_trend", "switching", "alternating", "noisy_alternating")
"""And those of evaluation alone."""


OTHER_SIZES = {"simplex": (2, 5), "ball": (3, 4)}
"""Coordinates that count where the last distribution of training is evaluated in other dimensions."""


CLASSICAL: dict[DecisionSetName, str] = {"simplex": "Hedge, tuned", "ball": "FTRL, tuned"}


OTHER_NETWORKS: dict[str, Any] = {"linear attention": {"attention": "linear"}, "two layers": {"layers": 2}}
"""What differs from the study's own network, a single layer of softmax attention."""


FOLLOW_THE_LEADER = 1e6
"""Scale of a rate so high that Hedge and FTRL play the best decision so far."""


class Suite(NamedTuple):
    """Distributions of losses on which all methods are evaluated; the last one is an adaptive adversary."""

    names: tuple[str, ...]  # [Q]
    distributions: tuple[str, ...]  # [Q - 1] in `families.losses`
    used: tuple[int, ...]  # [Q - 1] coordinates that count


def evaluation_suite(decisions: DecisionSetName) -> Suite:
    """The distributions of training first, then others, then other dimensions."""
    usual = (*TRAINED[decisions], *NOT_TRAINED)
    other = OTHER_SIZES[decisions]
    last = TRAINED[decisions][-1]
    return Suite(
        names=(*usual, *(f"{last}, d={size}" for size in other), "adaptive adversary"),
        distributions=(*usual, *[last] * len(other)),
        used=(*[USED[decisions]] * len(usual), *other),
    )


def scaled(name: str, decisions: DecisionSetName) -> Callable[..., jax.Array]:
    """A distribution of loss sequences, each scaled to what the decision set allows."""
    draw = families.losses.LAWS[name]
    return lambda key, **sizes: ATTACK_SPACES[decisions].scale(draw(key, **sizes))


def loss_game(decisions: DecisionSetName, length: int, names: tuple[str, ...], **options: Any) -> Game:
    """Online learning on these distributions."""
    distributions = tuple(scaled(name, decisions) for name in names)
    return games.online_game(distributions, SLOTS[decisions], length, decisions, used=USED[decisions], **options)


def suite_game(decisions: DecisionSetName, length: int) -> Game:
    """The game whose instances are drawn from the entry of the suite with the index given as data."""
    suite = evaluation_suite(decisions)
    names = tuple(dict.fromkeys(suite.distributions))
    index = jnp.asarray([names.index(name) for name in suite.distributions])
    used = jnp.asarray(suite.used)

    def instance(key: jax.Array, entry: jax.Array) -> Losses:
        at = jnp.minimum(entry, len(suite.distributions) - 1)
        reacting = entry == len(suite.distributions)
        size = jnp.where(reacting, USED[decisions], used[at])
        available = random.places(key, SLOTS[decisions]) < size
        return Losses(distribution=index[at], available=available, reacting=reacting)

    return loss_game(decisions, length, names, adversary=True)._replace(instance=instance)


def among_available(agent: Agent, decisions: DecisionSetName) -> Agent:
    """The learner with params `(rate, available)`: on the simplex it plays its probabilities given the available arms.

    On the ball, coordinates that do not count have no losses, and stay at zero.
    """

    def act(draw: Any, memory: Any, observation: jax.Array, params: tuple) -> tuple:
        decision, memory = agent.act(draw, memory, observation, params[0])
        if decisions == "ball":
            return decision, memory
        kept = jnp.where(params[1], decision, 0)
        total = jnp.sum(kept)
        uniform = params[1] / jnp.sum(params[1]).astype(kept.dtype)
        return jnp.where(total > 0, kept / jnp.where(total > 0, total, 1), uniform), memory

    return agent._replace(
        init=lambda key, params: agent.init(key, params[0]),
        act=act,
        observe=lambda memory, transition, params: agent.observe(memory, transition, params[0]),
    )


def classical(decisions: DecisionSetName) -> Agent:
    """Hedge on the simplex, FTRL on the ball; params are `(rate, available)`."""
    size = SLOTS[decisions]
    agent = learners.hedge(size) if decisions == "simplex" else learners.ftrl(online.BALL, size)
    return among_available(agent, decisions)


def with_available(rate: Any, instance: Losses) -> tuple:
    """The params of `classical` in an instance."""
    return rate, instance.available


def guarantee(decisions: DecisionSetName, length: int) -> float:
    """Regret that the classical learner guarantees for any losses in training's dimension."""
    return float(np.sqrt(length * np.log(USED["simplex"]) / 2) if decisions == "simplex" else np.sqrt(length))


def study(config: RMFTConfig, decisions: DecisionSetName) -> dict[str, Any]:
    """Train on one decision set, compare there and elsewhere, at the trained horizon and beyond; and attack.

    Metrics are named `<decisions>_*`.
    """
    shared = setup(config.seed, config.seeds, config.results, config)
    run = config.simplex if decisions == "simplex" else config.ball
    length = config.online_length
    trained_on = loss_game(decisions, length, TRAINED[decisions], labels="output")
    net = network(config.online_network, trained_on.features, trained_on.outputs)
    initial = initial_weights(shared, decisions, net)
    fit = distil(shared, decisions, {"RMFT": (run, initial)}, trained_on, net)["RMFT"]
    weights = {"round 0": initial, "RMFT": fit.state.params}
    if config.baselines:
        losses = baseline_losses(decisions, length, net, config.baseline_batch)
        for name, loss in losses.items():
            weights[name] = train(shared, decisions, name, loss, initial, config.baseline_rate, config.baseline_steps)
    suite = evaluation_suite(decisions).names
    seeds = np.arange(config.seeds)
    where = worlds(config.seed, config.seeds, config.runs)
    compare = functools.partial(compared, decisions=decisions, network=net, weights=weights, scales=config.rate_scales)
    found: dict[str, Any] = {
        "trained": named([name in TRAINED[decisions] for name in suite], distribution=suite),
        "training_regret": named(
            fit.losses[None], agent=["RMFT"], seed=seeds, training_round=np.arange(1, run.rounds + 1)
        ),
        "guarantee": guarantee(decisions, length),
        "seconds": fit.seconds,
        "regret": compare(where, length=length),
    }
    if config.baselines:
        fewer = worlds(config.seed, config.seeds, config.runs // config.stretch)
        found["long_regret"] = compare(fewer, length=length * config.stretch)
        pair = {name: weights[name] for name in ("round 0", "RMFT")}
        keys = jax.random.split(stream(config.seed, Use.RMFT_ATTACK, decisions), config.attacks)
        worst = attacked(keys, decisions, USED[decisions], length, config.attack_steps, trained_on, net, pair)
        found["attacked_regret"] = named(worst, agent=list(pair), seed=seeds)
        names = config.simplex_others if decisions == "simplex" else config.ball_others
        shapes = {name: dataclasses.replace(config.online_network, **OTHER_NETWORKS[name]) for name in names}
        others = [
            other_network(shared, where, decisions, length, name, shape, run, trained_on)
            for name, shape in shapes.items()
        ]
        if others:
            found["other_networks_regret"] = named(others, network=names, distribution=suite, seed=seeds)
    return {f"{decisions}_{name}": value for name, value in found.items()}


def baseline_losses(
    decisions: DecisionSetName, length: int, net: Network, batch: int
) -> dict[str, Callable[..., jax.Array]]:
    """Training losses of networks that descend regret itself, or imitate the classical learner."""
    game = loss_game(decisions, length, TRAINED[decisions])
    rate = learners.hedge_rate(USED[decisions]) if decisions == "simplex" else learners.ftrl_rate()
    agent_params = functools.partial(with_available, rate)
    return {
        "regret loss": baselines.regret_training_loss(game, net, batch),
        f"distilled {CLASSICAL[decisions].removesuffix(', tuned')}": baselines.imitation_loss(
            game, net, classical(decisions), agent_params, batch
        ),
    }


def compared(
    where: Worlds,
    decisions: DecisionSetName,
    length: int,
    network: Network,
    weights: Mapping[str, Tree],
    scales: tuple[float, ...],
) -> xr.DataArray:
    """Regret of the networks, the tuned classical learner, and follow-the-leader on every distribution of the suite."""
    game, suite = suite_game(decisions, length), evaluation_suite(decisions).names
    networks = evaluate_networks(where, game, network, weights, len(suite))
    rates = [learners.rate(scale / length**0.5) for scale in scales]
    leader = learners.rate(FOLLOW_THE_LEADER)
    tuned, _ = evaluate_learner(
        where, game, classical(decisions), rates, len(suite), agent_params=with_available, fixed=(leader,)
    )
    regret = np.concatenate([networks["regret"], tuned["regret"]])
    return named(
        regret,
        agent=[*weights, CLASSICAL[decisions], "follow the leader"],
        distribution=suite,
        seed=np.arange(regret.shape[2]),
        round=np.arange(1, length + 1),
    )


def other_network(
    shared: Setup,
    where: Worlds,
    decisions: DecisionSetName,
    length: int,
    name: str,
    architecture: TransformerConfig,
    run: Distillation,
    trained_on: Game,
) -> np.ndarray:
    """Final regret of a network of another shape that is fine-tuned alike, [Q, N]."""
    net = network(architecture, trained_on.features, trained_on.outputs)
    initial = initial_weights(shared, f"{decisions} {name}", net)
    weights = distil(shared, decisions, {"RMFT": (run, initial)}, trained_on, net, stage=name)["RMFT"].state.params
    count = len(evaluation_suite(decisions).names)
    found = evaluate_networks(where, suite_game(decisions, length), net, {"RMFT": weights}, count)
    return found["regret"][0, ..., -1]


def attacked(
    keys: jax.Array,
    decisions: DecisionSetName,
    used: int,
    length: int,
    steps: int,
    game: Game,
    network: Network,
    weights: Mapping[str, Tree],
) -> np.ndarray:
    """Regret after T rounds on the worst loss sequence that gradient ascent finds, [W, N].

    Args:
        keys: one for each random start.
        decisions: the decision set.
        used: coordinates that count, here the first ones.
        length: T.
        steps: of gradient ascent.
        game: with its player's features and deployment.
        network: what is attacked.
        weights: leading axis [N] each.
    """
    space, size = ATTACK_SPACES[decisions], game.outputs
    available = jnp.arange(size) < used
    unused = 1.0 if decisions == "simplex" else 0.0  # such arms are never best, such coordinates cost nothing
    agent = game.player(network)
    instance = Losses(distribution=jnp.int32(0), available=available, reacting=jnp.bool_(False))

    def allowed(plan: jax.Array) -> jax.Array:
        return jnp.where(available, space.project(plan), unused)

    def worst(weights: Tree) -> jax.Array:
        params = game.deploy(weights, jnp.zeros(()), instance)

        def one(key: jax.Array) -> jax.Array:
            key_plan, key_play = random.split(key)
            plan = space.scale(families.losses.gaussian(key_plan, length=length, dimension=size))

            def regret(plan: jax.Array) -> jax.Array:
                return external(space.decision_set, plan, online.play(key_play, plan, agent, params))[-1]

            return attack.ascend(regret, allowed, plan, steps).value

        return jnp.max(jax.vmap(one)(keys))

    of_all = jax.jit(lambda weights: jax.lax.map(lambda seeds: jax.lax.map(worst, seeds), weights))
    return np.asarray(of_all(stacked(weights)))
