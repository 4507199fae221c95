"""Online learning in the regret-minimisation study: on the simplex and the ball, stochastic losses in training."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.comparison import judge_learner, judge_networks
from experiments.rmft.config import Config
from experiments.rmft.training import distil, imitate, stacked, start
from jaxdm import random
from jaxdm.envs import families, online
from jaxdm.learners import online as learners
from jaxdm.models.agents import Decisions
from jaxdm.models.transformer import network
from jaxdm.oracles import attack
from jaxdm.oracles.attack import ATTACK_SPACES
from jaxdm.oracles.regret import external
from jaxdm.rmft import baselines, games
from jaxdm.rmft.distillation import Distillation
from jaxdm.rmft.games import Game, Losses
from jaxdm.types import Agent, Network, Tree


def attacked(
    config: Config, decisions: Decisions, used: int, game: Game, network: Network, weights: dict[str, Tree]
) -> np.ndarray:
    """Regret after T rounds on the worst of `config.attacks` found sequences, [W, N].

    Args:
        config: sizes.
        decisions: the set.
        used: coordinates that count, here the first ones.
        game: with its player's features and deployment.
        network: who is attacked.
        weights: leading axis [N] each.
    """
    arena, size = ATTACK_SPACES[decisions], game.outputs
    available = jnp.arange(size) < used
    unused = 1.0 if decisions == "simplex" else 0.0  # such arms are never best, such coordinates cost nothing
    agent, instance = (
        game.player(network),
        Losses(distribution=jnp.int32(0), available=available, reacting=jnp.bool_(False)),
    )

    def worst(weights: Tree) -> jax.Array:
        told = game.deploy(weights, jnp.zeros(()), instance)

        def one(key: jax.Array) -> jax.Array:
            key_plan, key_play = jax.random.split(key)
            plan = arena.scale(families.losses.gaussian(key_plan, length=config.online_length, dimension=size))
            allowed = lambda plan: jnp.where(available, arena.project(plan), unused)
            regret = lambda plan: external(arena.region, plan, online.play(key_play, plan, agent, told))[-1]
            return attack.ascend(regret, allowed, plan, config.attack_steps).value

        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 5), config.attacks)
        return jnp.max(jax.vmap(one)(keys))

    everyone = jax.jit(lambda weights: jax.lax.map(lambda w: jax.lax.map(worst, w), weights))
    return np.asarray(everyone(stacked(weights)))


SLOTS = {"simplex": 5, "ball": 4}
"""Coordinates that a network has room for."""


USED = {"simplex": 3, "ball": 2}
"""And those that count in training, at random places."""


TRAINED = {"simplex": ("uniform", "bernoulli", "random_mean"), "ball": ("gaussian", "random_mean")}


ELSEWHERE = ("linear_trend", "sine_trend", "switching", "alternating", "noisy_alternating")


OTHER_SIZES = {"simplex": (2, 5), "ball": (3, 4)}
"""Coordinates that count where the last training law is judged in other dimensions."""


NAMES = {"simplex": "Hedge", "ball": "FTRL"}


class Suite(NamedTuple):
    """Where everyone is judged: the laws of losses, and how many coordinates count; last, an adversary that reacts."""

    names: tuple[str, ...]  # [Q]
    laws: tuple[str, ...]  # [Q - 1]
    used: tuple[int, ...]  # [Q - 1]


def evaluation_suite(decisions: Decisions) -> Suite:
    """The laws of training first, then others, then other dimensions."""
    usual, other = (*TRAINED[decisions], *ELSEWHERE), OTHER_SIZES[decisions]
    last = TRAINED[decisions][-1]
    return Suite(
        names=(*usual, *(f"{last}, d={size}" for size in other), "reacting"),
        laws=(*usual, *[last] * len(other)),
        used=(*[USED[decisions]] * len(usual), *other),
    )


def law(name: str, decisions: Decisions) -> Callable[..., jax.Array]:
    """A law of losses, each sequence scaled to what the decision set allows."""
    return lambda key, **sizes: ATTACK_SPACES[decisions].scale(families.losses.LAWS[name](key, **sizes))


def game(decisions: Decisions, length: int, names: tuple[str, ...], **options: Any) -> games.Game:
    """Online learning on these laws."""
    laws = tuple(law(name, decisions) for name in names)
    return games.online_game(laws, SLOTS[decisions], length, decisions, used=USED[decisions], **options)


def everywhere(decisions: Decisions, length: int) -> games.Game:
    """The game whose instances are drawn from the place with the index given as data."""
    where = evaluation_suite(decisions)
    names = tuple(dict.fromkeys(where.laws))
    index, used = jnp.asarray([names.index(name) for name in where.laws]), jnp.asarray(where.used)

    def instance(key: jax.Array, q: jax.Array) -> games.Losses:
        at = jnp.minimum(q, len(where.laws) - 1)
        reacting = q == len(where.laws)
        size = jnp.where(reacting, USED[decisions], used[at])
        available = random.places(key, SLOTS[decisions]) < size
        return games.Losses(distribution=index[at], available=available, reacting=reacting)

    return game(decisions, length, names, adversary=True)._replace(instance=instance)


def knowing(agent: Agent, decisions: Decisions) -> Agent:
    """The learner with params `(rate, available)`: on the simplex its law among the arms that count.

    On the ball, coordinates that do not count have no losses, and stay where they are.
    """

    def act(draw: Any, memory: Any, observation: jax.Array, params: tuple) -> tuple:
        decision, memory = agent.act(draw, memory, observation, params[0])
        if decisions == "ball":
            return decision, memory
        kept = jnp.where(params[1], decision, 0)
        whole, even = jnp.sum(kept), params[1] / jnp.sum(params[1]).astype(kept.dtype)
        return jnp.where(whole > 0, kept / jnp.where(whole > 0, whole, 1), even), memory

    return agent._replace(
        init=lambda key, params: agent.init(key, params[0]),
        act=act,
        observe=lambda memory, transition, params: agent.observe(memory, transition, params[0]),
    )


def classic(decisions: Decisions) -> Agent:
    """Hedge on the simplex, FTRL on the ball; params are `(rate, available)`."""
    size = SLOTS[decisions]
    return knowing(learners.hedge(size) if decisions == "simplex" else learners.ftrl(online.BALL, size), decisions)


SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Rates `scale / sqrt(T)` that the classical learner is tuned over, for each law and horizon, in other worlds."""


OTHER_NETWORKS: dict[str, Any] = {"linear attention": {"attention": "linear"}, "two layers": {"layers": 2}}
"""What differs from the study's own network, a single layer of softmax attention."""


def study(config: Config, decisions: Decisions, how: Distillation) -> dict[str, Any]:
    """Train on one decision set, compare there and elsewhere, at the trained horizon and beyond; and attack.

    Metrics are named `<decisions>_*`.
    """
    length = config.online_length
    trained_on = game(decisions, length, TRAINED[decisions], labels="output")
    net = network(config.online_network, trained_on.features, trained_on.outputs)
    fresh = start(config, net)
    fit = distil(config, decisions, {"RMFT": (how, fresh)}, trained_on, net)["RMFT"]
    weights = {"round 0": fresh, "RMFT": fit.state.params}
    if config.rivals:
        weights |= rivals_of(config, decisions, net, fresh)
    found: dict[str, Any] = {
        "laws": evaluation_suite(decisions).names,
        "methods": [*weights, f"{NAMES[decisions]}, tuned", "follow the leader"],
        "trained": len(TRAINED[decisions]),
        "rounds": fit.losses,
        "seconds": fit.seconds,
    }
    for horizon, longer in (("course", 1), ("longer", config.stretch))[: 2 if config.rivals else 1]:
        found[horizon] = everyone(config, decisions, length * longer, net, weights)
    if config.rivals:
        pair = {name: weights[name] for name in ("round 0", "RMFT")}
        found["attacked"] = attacked(config, decisions, USED[decisions], trained_on, net, pair)
        found |= others(config, decisions, how, trained_on)
    return {f"{decisions}_{name}": value for name, value in found.items()}


def rivals_of(config: Config, decisions: Decisions, net: Network, fresh: Tree) -> dict[str, Tree]:
    """Networks that descend regret itself, or imitate the classical learner."""
    played = game(decisions, config.online_length, TRAINED[decisions])
    regret = baselines.regret_training_loss(played, net, config.teacher_batch)
    rate = learners.hedge_rate(USED[decisions]) if decisions == "simplex" else learners.ftrl_rate()
    told = lambda instance: (rate, instance.available)
    copied = baselines.imitation_loss(played, net, classic(decisions), told, config.teacher_batch)
    return {
        "regret loss": imitate(config, f"{decisions} regret loss", regret, fresh).state.params,
        f"distilled {NAMES[decisions]}": imitate(config, f"{decisions} distilled", copied, fresh).state.params,
    }


def everyone(config: Config, decisions: Decisions, length: int, net: Network, weights: dict[str, Tree]) -> np.ndarray:
    """Regret of the networks, the best-tuned classical learner and follow-the-leader, [W, Q, N, T]."""
    where, laws = everywhere(decisions, length), len(evaluation_suite(decisions).names)
    runs = max(1, config.runs * config.online_length // length)
    played = judge_networks(config, where, net, weights, laws, runs)
    told = lambda rate, instance: (rate, instance.available)
    rates = [learners.rate(scale / length**0.5) for scale in SCALES]
    known = judge_learner(config, where, classic(decisions), rates, laws, told, fixed=(learners.rate(1e6),), runs=runs)
    return np.concatenate([played.course, known.course])


def others(config: Config, decisions: Decisions, how: Distillation, trained_on: games.Game) -> dict[str, Any]:
    """Networks of other shapes, fine-tuned alike; `others [V, Q, N]` is their regret after T rounds."""
    names, regret = config.simplex_others if decisions == "simplex" else config.ball_others, []
    for name in names:
        shape = dataclasses.replace(config.online_network, **OTHER_NETWORKS[name])
        net = network(shape, trained_on.features, trained_on.outputs)
        fit = distil(config, f"{decisions} {name}", {"RMFT": (how, start(config, net))}, trained_on, net)["RMFT"]
        where, laws = everywhere(decisions, config.online_length), len(evaluation_suite(decisions).names)
        judged = judge_networks(config, where, net, {"RMFT": fit.state.params}, laws)
        regret.append(judged.course[0, ..., -1])
    shape = (len(names), len(evaluation_suite(decisions).names), config.seeds)
    return {"others": np.reshape(regret, shape), "other_networks": np.asarray(names, np.str_)}
