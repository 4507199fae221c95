"""Iterative regret-minimisation fine-tuning: roll out, keep the decisions of least regret, imitate them, repeat.

Dimensions: `M` scenarios, `L` rollouts of each, `k` kept of each, `n` gradient steps of a round.

    play        M instances, L rollouts each by the network itself          scored by regret, which the trainer knows
    keep        the k of least regret of every scenario, or M k of the pool
    imitate     n gradient steps on the cost of not deciding as the kept rollouts did

A round is one step of a `jaxdm.trainer.Trainer`, whose loss is the mean regret of the round's rollouts: chunks,
checkpoints, seeds and exact resume are `jaxdm.trainer.fit`'s.

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

from jaxdm import randomness
from jaxdm.games import Game, Record, seeded
from jaxdm.objectives import regret_loss
from jaxdm.trainer import Trainer, TrainState
from jaxdm.types import Agent, Network, Tree

Unit = Literal["scenario", "pool"]
Sequences = Literal["shared", "fresh"]
Select = Literal["regret", "reward"]
Credit = Literal["equal", "advantage"]
Memory = Literal["keep", "reset"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """The sizes and switches of a run; the labels are the game's."""

    rounds: int = 150
    """Rounds of play and imitation, over which the rate falls to a tenth along a cosine."""
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
    passes: int = 1
    """How often a round's kept rollouts are gone through; a step sees `passes M k / n` of them."""
    rate: float = 3e-3
    """Peak learning rate of Adam."""
    decay: float = 0.0
    """Decoupled weight decay."""
    memory: Memory = "keep"
    """Whether the moments of Adam outlive a round."""


class Kept(NamedTuple):
    """What a round imitates."""

    place: jax.Array  # [M k] int32, among M L rollouts counted scenario by scenario
    weight: jax.Array  # [M k]


def validate(config: Distillation) -> None:
    """Check a configuration.

    Raises:
        ValueError: a size below one, k > L, a batch that does not come out even, or an unknown name.
    """
    for name in ("rounds", "scenarios", "rollouts", "keep", "steps", "passes"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: {getattr(config, name)}; expected at least 1")
    if config.keep > config.rollouts:
        raise ValueError(f"keep: {config.keep}; expected at most rollouts = {config.rollouts}")
    if config.passes * config.scenarios * config.keep % config.steps:
        kept = config.passes * config.scenarios * config.keep
        raise ValueError(f"steps: {config.steps}; expected a divisor of passes * scenarios * keep = {kept}")
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


def make(config: Distillation, game: Game, network: Network) -> Trainer:
    """The trainer whose steps are rounds; its losses are the mean regret of each round's rollouts.

    Args:
        config: sizes and switches.
        game: what is played; the `data` of `jaxdm.trainer.fit` are what its instances are drawn from.
        network: with `game.features` features and `game.outputs` outputs.

    Raises:
        ValueError: as `validate`.
    """
    validate(config)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(config.decay)
    )

    def init(key: jax.Array, params: Tree) -> TrainState:
        return TrainState(params=params, optimiser=optimiser.init(params), step=jnp.int32(0), key=key)

    def one_round(state: TrainState, data: Tree) -> tuple[TrainState, jax.Array]:
        key_play, key_order = randomness.split(randomness.fold_in(state.key, state.step))
        played = collect(key_play, config, game, network, state.params, data)
        regret = played.course[..., -1]
        kept = choose(config, regret, played.reward)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), played)
        rate = config.rate * (0.55 + 0.45 * jnp.cos(jnp.pi * state.step / config.rounds))

        def imitate(carry: tuple, chosen: jax.Array) -> tuple:
            params, inner = carry
            batch = jax.tree.map(lambda x: x[kept.place[chosen]], flat)
            gradient = jax.grad(cost_of(game, network))(params, batch, kept.weight[chosen])
            direction, inner = optimiser.update(gradient, inner, params)
            return (optax.apply_updates(params, jax.tree.map(lambda x: -rate * x, direction)), inner), None

        inner = optimiser.init(state.params) if config.memory == "reset" else state.optimiser
        order = batches(key_order, config, kept.place.shape[0])
        (params, inner), _ = jax.lax.scan(imitate, (state.params, inner), order)
        return TrainState(params=params, optimiser=inner, step=state.step + 1, key=state.key), jnp.mean(regret)

    def run(state: TrainState, data: Tree, steps: int) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(lambda state, _: one_round(state, data), state, length=steps)

    return Trainer(init=init, run=run)


def collect(key: jax.Array, config: Distillation, game: Game, network: Network, params: Tree, data: Tree) -> Record:
    """M scenarios by L rollouts of the network, leading axes [M, L], labelled with what is to be imitated.

    Args:
        key: random key.
        config: sizes and switches.
        game: what is played.
        network: who plays.
        params: its weights.
        data: what instances are drawn from.
    """
    agent, exploration = game.player(network), jnp.asarray(config.exploration, jnp.result_type(float))

    def scenario(key: jax.Array) -> Record:
        key_instance, key_world, key_agent = randomness.split(key, 3)
        instance = game.instance(key_instance, data)
        told = game.deploy(params, exploration, instance)

        def one(key_world: jax.Array, key_agent: jax.Array) -> Record:
            record = game.play(key_world, instance, seeded(agent, key_agent), told)
            # Where the label is what was played, neither of these is ever computed.
            outputs, draws = network.apply(params, record.tokens), agent.draws(key_agent, record.mask.shape[0])
            return record._replace(label=game.relabel(outputs, draws, record, exploration))

        shared = config.sequences == "shared"
        worlds = key_world if shared else randomness.split(key_world, config.rollouts)
        agents = randomness.split(key_agent, config.rollouts)
        return jax.vmap(one, (None if shared else 0, 0))(worlds, agents)

    return jax.vmap(scenario)(randomness.split(key, config.scenarios))


def choose(config: Distillation, regret: jax.Array, reward: jax.Array) -> Kept:
    """Who is imitated, and with what weight; ties go to the earlier rollout.

    Args:
        config: sizes and switches.
        regret: [M, L].
        reward: [M, L].
    """
    score = regret if config.select == "regret" else -reward
    place = lowest(score, config.keep, config.unit)
    if config.credit == "equal":
        return Kept(place=place, weight=jnp.ones(place.shape, score.dtype))
    ahead = jnp.mean(score, axis=1, keepdims=True) - score
    spread = jnp.sqrt(jnp.mean(ahead**2))
    return Kept(place=place, weight=(ahead / jnp.where(spread > 0, spread, 1)).reshape(-1)[place])


def lowest(score: jax.Array, keep: int, unit: Unit) -> jax.Array:
    """Places of the k lowest of every row, or of the M k lowest of all, in the flattened score, [M k] int32.

    Args:
        score: [M, L].
        keep: k.
        unit: "scenario" or "pool".
    """
    scenarios, rollouts = score.shape
    if unit == "pool":
        return jax.lax.top_k(-score.reshape(-1), scenarios * keep)[1]
    places = jax.lax.top_k(-score, keep)[1]
    return (places + rollouts * jnp.arange(scenarios, dtype=jnp.int32)[:, None]).reshape(-1)


def batches(key: jax.Array, config: Distillation, kept: int) -> jax.Array:
    """For every gradient step the kept rollouts that it sees, [n, passes * kept / n]: each pass in a fresh order."""
    keys = randomness.split(key, config.passes)
    orders = jax.vmap(lambda key: jax.random.permutation(key, kept))(keys)
    return orders.reshape(config.steps, -1)


def cost_of(game: Game, network: Network) -> Callable[[Tree, Record, jax.Array], jax.Array]:
    """`(params, records [n], weight [n]) -> []`: the weighted mean cost of not deciding as the records did."""

    def cost(params: Tree, records: Record, weight: jax.Array) -> jax.Array:
        costs = jax.vmap(lambda record: game.cost(network.apply(params, record.tokens), record))(records)
        return jnp.mean(weight * costs)

    return cost


def imitation_loss(
    game: Game, network: Network, teacher: Agent, rates: Tree, batch: int, labels: Literal["own", "best"] = "own"
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` of imitating another agent, for `jaxdm.trainer.make`.

    With its own decisions as labels this is algorithm distillation, with the oracle's it is a decision-pretrained
    transformer.

    Args:
        game: what the teacher plays.
        network: who learns.
        teacher: who plays.
        rates: the teacher's parameters.
        batch: rollouts of a step.
        labels: the teacher's decisions or the oracle's.

    Raises:
        ValueError: batch < 1 or unknown labels.

    Reference: Laskin et al., In-context reinforcement learning with algorithm distillation, 2022; Lee et al.,
        Supervised pretraining can learn in-context reinforcement learning, 2023.
    """
    if batch < 1 or labels not in ("own", "best"):
        raise ValueError(f"batch, labels: {batch}, {labels!r}; expected at least 1, and 'own' or 'best'")

    def one(key: jax.Array, data: Tree) -> Record:
        key_instance, key_play = randomness.split(key)
        record = game.play(key_play, game.instance(key_instance, data), teacher, rates)
        return record if labels == "own" else record._replace(label=record.best)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        records = jax.vmap(lambda key: one(key, data))(randomness.split(key, batch))
        return cost_of(game, network)(params, records, jnp.ones(batch, records.reward.dtype))

    return loss


def regret_training_loss(
    game: Game, network: Network, batch: int, sharpness: float = 0.0
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` of `jaxdm.objectives.regret_loss` on the network's own play.

    For games whose decisions are differentiable: points and laws, not drawn arms.

    Args:
        game: what is played.
        network: who learns.
        batch: sequences of a step.
        sharpness: of the weight on the worst of them.

    Raises:
        ValueError: batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch: {batch}; expected at least 1")
    agent = game.player(network)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            key_instance, key_play = randomness.split(key)
            instance = game.instance(key_instance, data)
            told = game.deploy(params, jnp.zeros((), jnp.result_type(float)), instance)
            return game.play(key_play, instance, agent, told).course[-1]

        return regret_loss(jax.vmap(one)(randomness.split(key, batch)), sharpness)

    return loss
