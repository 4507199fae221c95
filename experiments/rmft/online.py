"""Online learning in the regret-minimisation study: stochastic losses in training, and more in evaluation."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.rmft.comparison import Worlds, evaluate_learner, evaluate_networks, regret_alone, stacked, worlds
from experiments.rmft.config import RMFTConfig
from experiments.rmft.training import Setup, Subject, distil, initial_weights, setup, train
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


HARDENED, SQUARED = "RMFT against attacks", "RMFT, squared regret"
"""Fine-tuned once more on a mixture with attacked sequences; and with weights by squared regret, without selection."""


BANK_SHARE = 0.5
"""Share of the instances that are attacked sequences."""


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
    length, suite, seeds = config.online_length, evaluation_suite(decisions).names, np.arange(config.seeds)
    attacks = jax.random.split(stream(config.seed, Use.RMFT_ATTACK, decisions), config.attacks)
    hardening = dataclasses.replace(run, rounds=max(1, run.rounds // 2), rate=run.rate / 2)
    trained_on = loss_game(decisions, length, TRAINED[decisions], labels="output")
    where = worlds(config.seed, config.seeds, config.runs)
    fewer = worlds(config.seed, config.seeds, config.runs // config.stretch)
    compare = functools.partial(compared, decisions=decisions, scales=config.rate_scales)
    found: dict[str, Any] = {
        "trained": named([name in TRAINED[decisions] for name in suite], distribution=suite),
        "guarantee": guarantee(decisions, length),
    }
    others = config.simplex_others if decisions == "simplex" else config.ball_others
    for shape in ("", *(others if config.baselines else ())):
        net = network(
            dataclasses.replace(config.online_network, **OTHER_NETWORKS.get(shape, {})),
            trained_on.features,
            trained_on.outputs,
        )
        part = f"{decisions} {shape}".strip()
        initial = initial_weights(shared, part, net)
        fit = distil(shared, decisions, {"RMFT": (run, initial)}, trained_on, net, stage=shape)["RMFT"]
        weights = {"round 0": initial, "RMFT": fit.state.params}
        if config.baselines:
            weights[HARDENED] = hardened(
                shared,
                part,
                decisions,
                length,
                weights["RMFT"],
                hardening,
                net,
                attacks,
                config.attack_steps,
                config.attack_cycles,
            )
            square = {SQUARED: (config.squared, initial)}
            weights[SQUARED] = distil(shared, decisions, square, trained_on, net, stage=f"{shape} squared".strip())[
                SQUARED
            ].state.params
        if config.baselines and not shape:
            losses = baseline_losses(decisions, length, net, config.baseline_batch)
            for name, loss in losses.items():
                weights[name] = train(
                    shared, decisions, name, loss, initial, config.baseline_rate, config.baseline_steps
                )
        curves = {"regret": compare(where, length=length, network=net, weights=weights)}
        if config.baselines:
            longest = length * config.stretch
            curves["long_regret"] = compare(fewer, length=longest, network=net, weights=weights)
            some = {name: weights[name] for name in ("round 0", "RMFT", HARDENED, SQUARED)}
            curves["attacked_regret"] = attacked_everywhere(
                attacks, decisions, [length, longest // 2, longest], config.attack_steps, net, some
            )
        found |= {f"{name} {shape}".strip().replace(" ", "_"): value for name, value in curves.items()}
        if not shape:
            found["seconds"] = fit.seconds
            found["training_regret"] = named(
                fit.losses[None], agent=["RMFT"], seed=seeds, training_round=np.arange(1, run.rounds + 1)
            )
    return {f"{decisions}_{name}": value for name, value in found.items()}


def subject(
    shared: Setup, decisions: DecisionSetName, architecture: TransformerConfig, length: int, runs: int
) -> Subject:
    """What a sweep fine-tunes and judges.

    Args:
        shared: seeds and checkpoints.
        decisions: the decision set.
        architecture: of the network.
        length: T.
        runs: evaluation episodes.
    """
    game = loss_game(decisions, length, TRAINED[decisions], labels="output")
    net = network(architecture, game.features, game.outputs)
    return Subject(
        game=game,
        network=net,
        initial=initial_weights(shared, decisions, net),
        evaluated_on=suite_game(decisions, length),
        distributions=evaluation_suite(decisions).names,
        measure=regret_alone,
        runs=runs,
    )


def hardened(
    shared: Setup,
    part: str,
    decisions: DecisionSetName,
    length: int,
    weights: Tree,
    run: Distillation,
    net: Network,
    keys: jax.Array,
    steps: int,
    cycles: int,
) -> Tree:
    """Weights after cycles of: attack them, add the sequences to a bank, fine-tune on a mixture with that bank.

    Half of the instances are of the bank, which is common to all seeds and keeps the finds of earlier cycles.

    Args:
        shared: seeds and checkpoints.
        part: of the study.
        decisions: the decision set.
        length: T.
        weights: leading axis [N].
        run: the fine-tuning of a cycle.
        net: the network.
        keys: of an attack's random starts.
        steps: of gradient ascent.
        cycles: how often.
    """
    game = games.with_bank(
        loss_game(decisions, length, TRAINED[decisions], labels="output"), USED[decisions], BANK_SHARE
    )
    stored = []
    for cycle in range(cycles):
        losses = attacked(keys, decisions, length, steps, net, {"now": weights}).losses
        stored.append(losses.reshape(-1, *losses.shape[-2:]))
        whole = np.concatenate(stored)
        rows = np.arange(cycles * len(stored[0])) % len(whole)  # of one size in every cycle
        fits = distil(
            shared, part, {"now": (run, weights)}, game, net, jnp.asarray(whole[rows]), stage=f"attacked {cycle}"
        )
        weights = fits["now"].state.params
    return weights


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


class Found(NamedTuple):
    """What gradient ascent found."""

    regret: np.ndarray  # [W, N], on the worst sequence
    losses: np.ndarray  # [W, N, starts, T, d]


def attacked_everywhere(
    keys: jax.Array,
    decisions: DecisionSetName,
    lengths: Sequence[int],
    steps: int,
    net: Network,
    weights: Mapping[str, Tree],
) -> xr.DataArray:
    """Regret on attacked sequences of every length, of networks and of the classical learner with its guarantee."""
    values = []
    for length in lengths:
        networks = attacked(keys, decisions, length, steps, net, weights).regret
        rate = (
            learners.hedge_rate(USED[decisions], length) if decisions == "simplex" else learners.ftrl_rate(1.0, length)
        )
        theirs = attacked(keys, decisions, length, steps, None, {"": jax.tree.map(lambda x: x[None], rate)}).regret
        values.append(np.concatenate([networks, np.broadcast_to(theirs, (1, networks.shape[1]))]))
    agents = [*weights, CLASSICAL[decisions].removesuffix(", tuned")]
    seeds = np.arange(values[0].shape[1])
    return named(np.stack(values, axis=-1), agent=agents, seed=seeds, horizon=list(lengths))


def attacked(
    keys: jax.Array,
    decisions: DecisionSetName,
    length: int,
    steps: int,
    net: Network | None,
    weights: Mapping[str, Tree],
) -> Found:
    """The worst loss sequences that gradient ascent finds, from random starts.

    Args:
        keys: one for each start.
        decisions: the decision set; the first of its coordinates count, as many as in training.
        length: T.
        steps: of gradient ascent.
        net: what is attacked; the classical learner where there is none.
        weights: leading axis [N] each; the classical learner's rates.
    """
    space, size = ATTACK_SPACES[decisions], SLOTS[decisions]
    game = loss_game(decisions, length, TRAINED[decisions], labels="output")
    available = jnp.arange(size) < USED[decisions]
    unused = 1.0 if decisions == "simplex" else 0.0  # such arms are never best, such coordinates cost nothing
    agent = classical(decisions) if net is None else game.player(net)
    instance = Losses(distribution=jnp.int32(0), available=available, reacting=jnp.bool_(False))

    def allowed(plan: jax.Array) -> jax.Array:
        return jnp.where(available, space.project(plan), unused)

    def worst(weights: Tree) -> attack.Attack:
        params = (weights, available) if net is None else game.deploy(weights, jnp.zeros(()), instance)

        def one(key: jax.Array) -> attack.Attack:
            key_plan, key_play = random.split(key)
            plan = space.scale(families.losses.gaussian(key_plan, length=length, dimension=size))

            def regret(plan: jax.Array) -> jax.Array:
                return external(space.decision_set, plan, online.play(key_play, plan, agent, params))[-1]

            return attack.ascend(regret, allowed, plan, steps)

        return jax.vmap(one)(keys)

    of_all = jax.jit(lambda weights: jax.lax.map(lambda seeds: jax.lax.map(worst, seeds), weights))
    found = of_all(stacked(weights))
    return Found(regret=np.asarray(found.value.max(axis=-1)), losses=np.asarray(found.losses))
