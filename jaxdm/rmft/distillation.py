"""Iterative regret-minimisation fine-tuning: roll out, keep the decisions of least regret, imitate them, repeat.

Dimensions: `M` scenarios, `L` rollouts of each, `k` kept of each, `n` gradient steps of a round, on `B` rollouts each.

    play        M instances, L rollouts each by the network itself          scored by regret, which the trainer knows
    keep        the k of least regret of every scenario, or M k of the pool
    imitate     n gradient steps on the cost of not deciding as the kept rollouts did

A round is one step of a `jaxdm.trainer.Trainer`, whose loss is the mean regret of the round's rollouts: chunks,
checkpoints, seeds and exact resume are `jaxdm.trainer.fit`'s. Sizes are compiled; runs that differ in `SWITCHES` alone,
which are data in the state, are one more axis of one program.

Reference: Park, Chen, Ozdaglar, Zhang, Post-training LLMs as better decision-making agents, arXiv 2511.04393: the loop.
    Its sizes are not known; every default, and what the switches offer beside the loop, is ours.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from jaxdm import random
from jaxdm.numerics import batched_map
from jaxdm.rmft.games import Game, Rollout, seeded
from jaxdm.trainer import Trainer, TrainState
from jaxdm.types import Network, Tree

Unit = Literal["scenario", "pool"]


Sequences = Literal["shared", "fresh"]


Select = Literal["regret", "reward"]


Credit = Literal["equal", "advantage"]


Memory = Literal["keep", "reset"]


BATCH_SIZE = 4
"""Scenarios played at once on a CPU, so that their caches stay in its own; eight times more where one serves all L."""


READ_ALIKE = Rollout._make(map({"label": 0, "course": 0, "reward": 0}.get, Rollout._fields))
"""Axes of the rollouts in records that are to be merged: what they read has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """The sizes and switches of a run; the labels are the game's."""

    rounds: int = 150
    """Rounds of play and imitation, over which the rate falls to zero along a cosine."""
    scenarios: int = 16
    """M, instances of a round."""
    rollouts: int = 16
    """L, rollouts of an instance."""
    keep: int = 8
    """k, kept of them. Half avoids the trap of rewarding luck; few of many falls into it."""
    unit: Unit = "scenario"
    """Whether the best k of each scenario are kept, or the best M k of all."""
    sequences: Sequences = "shared"
    """Whether the rollouts of a scenario meet the same luck (losses, reward draws), or each its own."""
    select: Select = "regret"
    """What decides who is kept."""
    credit: Credit = "equal"
    """Kept rollouts count alike; or each by `(mean - regret) / deviation`: with k = L that is REINFORCE, a rival."""
    exploration: float = 0.0
    """Standard deviation of the noise on the outputs of rollouts."""
    steps: int = 4
    """n, gradient steps of a round."""
    batch: int = 32
    """B, kept rollouts of a step: all of them in a random order, again from the first where n B is more."""
    rate: float = 3e-3
    """Peak learning rate of Adam."""
    decay: float = 0.0
    """Decoupled weight decay."""
    memory: Memory = "keep"
    """Whether the moments of Adam outlive a round."""
    merge: bool = False
    """Whether the k kept of a scenario are imitated as one, by their mean label, where all of them read the same: the
    gradient of imitating each, for the price of one. B then counts scenarios."""


HYPERPARAMETERS = ("keep", "unit", "select", "credit", "exploration", "rate", "decay", "memory")
"""Fields of a configuration that are data."""


class Hyperparameters(NamedTuple):
    """What runs of one program may differ in."""

    keep: jax.Array  # [] int32 k
    pooled: jax.Array  # [] bool
    by_reward: jax.Array  # [] bool
    advantage: jax.Array  # [] bool
    forgetful: jax.Array  # [] bool, whether every round starts with new moments
    exploration: jax.Array  # []
    rate: jax.Array  # []
    decay: jax.Array  # []


class Optimiser(NamedTuple):
    """What the state of a run holds beside weights."""

    moments: Tree
    hyperparameters: Hyperparameters


class Ranked(NamedTuple):
    """All M L rollouts in the order in which they are kept: the first M k are."""

    place: jax.Array  # [M L] int32, among the rollouts counted scenario by scenario
    weight: jax.Array  # [M L]


def validate(config: Distillation) -> None:
    """Check a configuration.

    Raises:
        ValueError: a size below one, k > L, a number out of range, or an unknown name.
    """
    for name in ("rounds", "scenarios", "rollouts", "keep", "steps", "batch"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: {getattr(config, name)}; expected at least 1")
    if config.keep > config.rollouts:
        raise ValueError(f"keep: {config.keep}; expected at most rollouts = {config.rollouts}")
    for name, low in (("exploration", 0.0), ("decay", 0.0), ("rate", math.ulp(0.0))):
        if not low <= getattr(config, name) < math.inf:
            raise ValueError(f"{name}: {getattr(config, name)}; expected a finite number, at least {low:.3g}")
    for name, kind in {
        "unit": Unit,
        "sequences": Sequences,
        "select": Select,
        "credit": Credit,
        "memory": Memory,
    }.items():
        if getattr(config, name) not in get_args(kind):
            raise ValueError(f"{name}: {getattr(config, name)!r}; expected one of {', '.join(get_args(kind))}")
    if config.merge and (config.unit, config.sequences, config.credit) != ("scenario", "shared", "equal"):
        raise ValueError("merge: True; expected the unit 'scenario', 'shared' sequences and 'equal' credit")


def hyperparameters(config: Distillation) -> Hyperparameters:
    """The part of a configuration that is data."""
    number = lambda value: jnp.asarray(value, jnp.result_type(float))
    return Hyperparameters(
        keep=jnp.int32(config.keep),
        pooled=jnp.bool_(config.unit == "pool"),
        by_reward=jnp.bool_(config.select == "reward"),
        advantage=jnp.bool_(config.credit == "advantage"),
        forgetful=jnp.bool_(config.memory == "reset"),
        exploration=number(config.exploration),
        rate=number(config.rate),
        decay=number(config.decay),
    )


def make(config: Distillation, game: Game, network: Network) -> Trainer:
    """The trainer whose steps are rounds; its losses are the mean regret of each round's rollouts.

    States of trainers whose configurations agree but for `SWITCHES` can be run by either of them.

    Args:
        config: sizes and switches.
        game: what is played; the `data` of `jaxdm.trainer.fit` are what its instances are drawn from.
        network: with `game.features` features and `game.outputs` outputs.

    Raises:
        ValueError: as `validate`; or rollouts are to be merged that do not read the same.
    """
    validate(config)
    if config.merge and not game.full_information:
        raise ValueError("merge: True; expected a game of full information")
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())

    def init(key: jax.Array, params: Tree) -> TrainState:
        inner = Optimiser(moments=adam.init(params), hyperparameters=hyperparameters(config))
        return TrainState(params=params, optimiser=inner, step=jnp.int32(0), key=key)

    def one_round(state: TrainState, data: Tree) -> tuple[TrainState, jax.Array]:
        how = state.optimiser.hyperparameters
        key_play, key_order = random.split(random.fold_in(state.key, state.step))
        played = collect(key_play, config, how.exploration, game, network, state.params, data)
        regret = played.course[..., -1]
        ranked = rank(how, regret, played.reward)
        flat = lambda x: x.reshape(-1, *x.shape[2:])
        lessons, ranked = merged(how.keep, ranked, played) if config.merge else (jax.tree.map(flat, played), ranked)
        rate = how.rate * (0.5 + 0.5 * jnp.cos(jnp.pi * state.step / config.rounds))

        def imitate(carry: tuple, chosen: jax.Array) -> tuple:
            params, moments = carry
            batch = jax.tree.map(lambda x: x[ranked.place[chosen]], lessons)
            gradient = jax.grad(cost_of(game, network))(params, batch, ranked.weight[chosen])
            direction, moments = adam.update(gradient, moments)
            params = jax.tree.map(lambda x, change: x - rate * (change + how.decay * x), params, direction)
            return (params, moments), None

        moments = jax.tree.map(lambda old: jnp.where(how.forgetful, 0, old), state.optimiser.moments)
        order = batches(key_order, config, how.keep)
        (params, moments), _ = jax.lax.scan(imitate, (state.params, moments), order)
        inner = Optimiser(moments=moments, hyperparameters=how)
        return TrainState(params=params, optimiser=inner, step=state.step + 1, key=state.key), jnp.mean(regret)

    def run(state: TrainState, data: Tree, steps: int) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(lambda state, _: one_round(state, data), state, length=steps)

    return Trainer(init=init, run=run)


def collect(
    key: jax.Array,
    config: Distillation,
    exploration: jax.Array,
    game: Game,
    network: Network,
    params: Tree,
    data: Tree,
) -> Rollout:
    """M scenarios by L rollouts of the network, leading axes [M, L], labelled with what is to be imitated.

    Args:
        key: random key.
        config: sizes, and whether luck is shared.
        exploration: [] standard deviation of the noise on the outputs.
        game: what is played.
        network: who plays.
        params: its weights.
        data: what instances are drawn from.
    """
    agent = game.player(network)

    def scenario(key: jax.Array) -> Rollout:
        key_instance, key_world, key_agent = random.split(key, 3)
        instance = game.instance(key_instance, data)
        told = game.deploy(params, exploration, instance)

        def one(key_world: jax.Array, key_agent: jax.Array) -> Rollout:
            record = game.play(key_world, instance, seeded(agent, key_agent), told)
            # Where the label is what was played, neither of these is ever computed.
            outputs, draws = network.apply(params, record.tokens), agent.draws(key_agent, record.mask.shape[0])
            return record._replace(label=game.relabel(outputs, draws, record, exploration))

        shared = config.sequences == "shared"
        worlds = key_world if shared else random.split(key_world, config.rollouts)
        agents = random.split(key_agent, config.rollouts)
        return jax.vmap(one, (None if shared else 0, 0), READ_ALIKE if config.merge else 0)(worlds, agents)

    return batched_map(scenario, random.split(key, config.scenarios), 8 * BATCH_SIZE if config.merge else BATCH_SIZE)


def rank(how: Hyperparameters, regret: jax.Array, reward: jax.Array) -> Ranked:
    """In what order rollouts are kept, and with what weight; ties go to the earlier rollout.

    The best of every scenario come first, then the second of every scenario, and so on; in a pool, the best of all.

    Args:
        how: switches.
        regret: [M, L].
        reward: [M, L].
    """
    scenarios, rollouts = regret.shape
    score = jnp.where(how.by_reward, -reward, regret)
    within = jnp.argsort(score, axis=1) + rollouts * jnp.arange(scenarios)[:, None]
    place = jnp.where(how.pooled, jnp.argsort(score.reshape(-1)), within.T.reshape(-1)).astype(jnp.int32)
    ahead = jnp.mean(score, axis=1, keepdims=True) - score
    spread = jnp.sqrt(jnp.mean(ahead**2))
    credit = (ahead / jnp.where(spread > 0, spread, 1)).reshape(-1)[place]
    return Ranked(place=place, weight=jnp.where(how.advantage, credit, 1))


def merged(keep: jax.Array, ranked: Ranked, played: Rollout) -> tuple[Rollout, Ranked]:
    """One record of each scenario, [M], with the mean label of its k kept, and their order.

    Costs on a label y are `|z - y|^2 / 2` or linear in y: their mean has the gradient of the cost on the mean label.
    """
    shape, size = played.reward.shape, played.reward.size
    first = (jnp.arange(size) < shape[0] * keep).astype(played.label.dtype)
    weight = jnp.zeros_like(first).at[ranked.place].set(first).reshape(shape) / keep
    label = jnp.einsum("ml,ml...->m...", weight, played.label)
    return played._replace(label=label), Ranked(place=jnp.arange(shape[0]), weight=jnp.ones(shape[0], label.dtype))


def batches(key: jax.Array, config: Distillation, keep: jax.Array) -> jax.Array:
    """For every gradient step the ranks of the lessons that it sees, [n, B] below M k, or M, in a random order.

    Args:
        key: random key.
        config: sizes.
        keep: [] k.
    """
    kept = config.scenarios * (1 if config.merge else keep)
    rank = jnp.arange(config.scenarios * (1 if config.merge else config.rollouts))
    order = jnp.argsort(jnp.where(rank < kept, random.uniform(key, rank.shape), 2))
    return order[jnp.arange(config.steps * config.batch) % kept].reshape(config.steps, config.batch)


def cost_of(game: Game, network: Network) -> Callable[[Tree, Rollout, jax.Array], jax.Array]:
    """`(params, records [n], weight [n]) -> []`: the weighted mean cost of not deciding as the records did."""

    def cost(params: Tree, records: Rollout, weight: jax.Array) -> jax.Array:
        costs = jax.vmap(game.cost)(network.apply(params, records.tokens), records)
        return jnp.mean(weight * costs)

    return cost
