"""Iterative regret-minimisation fine-tuning: roll out, keep the decisions of least regret, imitate them, repeat.

Dimensions: `M` scenarios, `L` rollouts of each, `k` kept of each, `n` gradient steps of a round, on `B` rollouts each.

    roll out    M instances, L rollouts of each by the network itself; their regret is known in training
    select      the k rollouts of least regret of every scenario, or the M k of least regret of all
    imitate     n gradient steps on the imitation loss of the selected rollouts

A round is one step of a `jaxdm.trainer.Trainer`, whose loss is the mean regret of the round's rollouts: chunks,
checkpoints, seeds and exact resume are those of `jaxdm.trainer.fit`. Sizes are compiled in. `HYPERPARAMETERS` are data
in the state, so runs that differ in nothing else share one compiled program.

Reference: Park, Chen, Ozdaglar, Zhang, Post-training LLMs as better decision-making agents, arXiv 2511.04393: the loop.
    Its sizes are not known; every default, and every choice beside the loop, is ours.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from jaxdm import random, trainer
from jaxdm.numerics import batched_map
from jaxdm.rmft.games import Game, Rollout, seeded
from jaxdm.rollout import noise_entry
from jaxdm.trainer import Trainer, TrainState
from jaxdm.types import Network, Tree
from jaxdm.validation import InvalidInput, choice, nonnegative_number, positive_integer, positive_number

Unit = Literal["scenario", "pool"]


Sequences = Literal["shared", "fresh"]


Select = Literal["regret", "reward"]


Credit = Literal["equal", "advantage"]


Moments = Literal["keep", "reset"]


BATCH_SIZE = 4
"""Scenarios played at once on a CPU, so that their attention caches fit its cache; merged ones, whose L rollouts share
one attention cache, are played eight times as many at once."""


MERGED_AXES = Rollout._make(map({"label": 0, "cumulative_regret": 0, "reward": 0}.get, Rollout._fields))
"""Axes of the L rollouts of a merged scenario: what they read is the same, and has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """Sizes and hyperparameters of a run; what is imitated is the game's choice."""

    rounds: int = 150
    """Rounds, over which the learning rate falls to zero along a cosine."""
    scenarios: int = 16
    """M, instances of a round."""
    rollouts: int = 16
    """L, rollouts of an instance."""
    keep: int = 8
    """k, rollouts of a scenario that are imitated. A small share k / L selects lucky rollouts; a half does not."""
    unit: Unit = "scenario"
    """Whether the best k of each scenario are selected, or the best M k of all."""
    sequences: Sequences = "shared"
    """Whether the rollouts of a scenario share the world's randomness (losses, reward draws), or each has its own."""
    select: Select = "regret"
    """Whether rollouts are ranked by regret, or by reward."""
    credit: Credit = "equal"
    """Weight of a selected rollout: 1, or `(mean - regret) / deviation`, which with k = L is REINFORCE, a baseline."""
    exploration: float = 0.0
    """Standard deviation of the Gaussian noise on the network's outputs in rollouts."""
    steps: int = 4
    """n, gradient steps of a round."""
    batch: int = 32
    """B, selected rollouts of a gradient step, in a random order, again from the first where n B is more than M k."""
    rate: float = 3e-3
    """Initial learning rate of AdamW."""
    decay: float = 0.0
    """Decoupled weight decay."""
    moments: Moments = "keep"
    """Whether Adam's moments carry over from round to round, or start anew in each."""
    merge: bool = False
    """Whether the k selected rollouts of a scenario are imitated as one with their mean label, where all of them have
    the same tokens: the gradient of imitating each, at the cost of one. B then counts scenarios."""


HYPERPARAMETERS = ("keep", "unit", "select", "credit", "exploration", "rate", "decay", "moments")
"""Fields of a configuration that are data."""


class Hyperparameters(NamedTuple):
    """`HYPERPARAMETERS` of a configuration as arrays, but for rate and decay, which the optimiser holds as data."""

    keep: jax.Array  # [] int32 k
    pooled: jax.Array  # [] bool, whether the best M k of all are selected
    by_reward: jax.Array  # [] bool, whether rollouts are ranked by reward
    advantage: jax.Array  # [] bool, whether rollouts are weighed by their advantage
    reset_moments: jax.Array  # [] bool, whether every round starts with Adam's moments at zero
    exploration: jax.Array  # [], standard deviation of the noise on outputs


class Optimiser(NamedTuple):
    """What the state of a run holds beside its weights."""

    adamw: Tree  # of `jaxdm.trainer.adamw`, rate and decay included
    hyperparameters: Hyperparameters


class Ranked(NamedTuple):
    """All M L rollouts, best first: the first M k are selected."""

    rollout: jax.Array  # [M L] int32, the rollout with that rank, counted scenario by scenario
    weight: jax.Array  # [M L], of that rollout in the imitation loss


def validate(config: Distillation) -> None:
    """Check a configuration.

    Raises:
        ValueError: a size below one, k > L, a number out of range, or an unknown name.
    """
    for name in ("rounds", "scenarios", "rollouts", "keep", "steps", "batch"):
        positive_integer(name, getattr(config, name))
    if config.keep > config.rollouts:
        raise InvalidInput(f"keep: {config.keep}; expected at most rollouts = {config.rollouts}")
    nonnegative_number("exploration", config.exploration)
    nonnegative_number("decay", config.decay)
    positive_number("rate", config.rate)
    for name, kind in {
        "unit": Unit,
        "sequences": Sequences,
        "select": Select,
        "credit": Credit,
        "moments": Moments,
    }.items():
        choice(name, getattr(config, name), get_args(kind))
    if config.merge and (config.unit, config.sequences, config.credit) != ("scenario", "shared", "equal"):
        raise InvalidInput("merge: True; expected the unit 'scenario', 'shared' sequences and 'equal' credit")


def hyperparameters(config: Distillation) -> Hyperparameters:
    """The part of a configuration that is data."""
    return Hyperparameters(
        keep=jnp.int32(config.keep),
        pooled=jnp.bool_(config.unit == "pool"),
        by_reward=jnp.bool_(config.select == "reward"),
        advantage=jnp.bool_(config.credit == "advantage"),
        reset_moments=jnp.bool_(config.moments == "reset"),
        exploration=jnp.asarray(config.exploration, jnp.result_type(float)),
    )


def make_trainer(config: Distillation, game: Game, network: Network) -> Trainer:
    """The trainer whose steps are rounds; its losses are the mean regret of each round's rollouts.

    Trainers whose configurations differ in `HYPERPARAMETERS` alone can run each other's states.

    Args:
        config: sizes and hyperparameters.
        game: what is played; the `data` of `jaxdm.trainer.fit` are what its instances are drawn from.
        network: with `game.features` features and `game.outputs` outputs.

    Raises:
        ValueError: as `validate`; or rollouts are to be merged in a game without full information.
    """
    validate(config)
    if config.merge and not game.full_information:
        raise ValueError("merge: True; expected a game of full information")
    adamw = trainer.adamw(config.rate, config.rounds, warmup=0.0, floor=0.0, decay=config.decay, hold=config.steps)

    def init(key: jax.Array, params: Tree) -> TrainState:
        inner = Optimiser(adamw=adamw.init(params), hyperparameters=hyperparameters(config))
        return TrainState(params=params, optimiser=inner, step=jnp.int32(0), key=key)

    def one_round(state: TrainState, data: Tree) -> tuple[TrainState, jax.Array]:
        chosen = state.optimiser.hyperparameters
        key_play, key_order = random.split(random.fold_in(state.key, state.step))
        rollouts = collect(key_play, config, chosen.exploration, game, network, state.params, data)
        regret = rollouts.cumulative_regret[..., -1]
        ranked = rank(chosen, regret, rollouts.reward)
        if config.merge:
            rollouts, ranked = merged(chosen.keep, ranked, rollouts)
        else:
            rollouts = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollouts)

        def imitate(carry: tuple, ranks: jax.Array) -> tuple:
            params, inner = carry
            batch = jax.tree.map(lambda x: x[ranked.rollout[ranks]], rollouts)
            gradient = jax.grad(imitation_cost(game, network))(params, batch, ranked.weight[ranks])
            updates, inner = adamw.update(gradient, inner, params)
            return (optax.apply_updates(params, updates), inner), None

        begun = trainer.reset_moments(state.optimiser.adamw, chosen.reset_moments)
        order = batches(key_order, config, chosen.keep)
        (params, inner), _ = jax.lax.scan(imitate, (state.params, begun), order)
        optimiser = Optimiser(adamw=inner, hyperparameters=chosen)
        return TrainState(params=params, optimiser=optimiser, step=state.step + 1, key=state.key), jnp.mean(regret)

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
    """M scenarios by L rollouts of the network, labelled with what is to be imitated.

    Args:
        key: random key.
        config: sizes, and whether rollouts share the world's randomness.
        exploration: [] standard deviation of the noise on the outputs.
        game: what is played.
        network: who plays.
        params: its weights.
        data: what instances are drawn from.

    Returns:
        Rollout with leading axes [M, L]; merged ones have no axis L where all L are the same.
    """
    agent = game.player(network)

    def scenario(key: jax.Array) -> Rollout:
        key_instance, key_world, key_agent = random.split(key, 3)
        instance = game.instance(key_instance, data)
        agent_params = game.deploy(params, exploration, instance)

        def one(key_world: jax.Array, key_agent: jax.Array) -> Rollout:
            played = game.play(key_world, instance, seeded(agent, key_agent), agent_params)
            # Where the label is what was played, neither of these is ever computed.
            outputs = network.apply(params, played.tokens)
            noise = noise_entry(agent.act, agent.predrawn).draw(key_agent, played.mask.shape[0])
            return played._replace(label=game.relabel(outputs, noise, played, exploration))

        shared = config.sequences == "shared"
        worlds = key_world if shared else random.split(key_world, config.rollouts)
        agents = random.split(key_agent, config.rollouts)
        return jax.vmap(one, (None if shared else 0, 0), MERGED_AXES if config.merge else 0)(worlds, agents)

    return batched_map(scenario, random.split(key, config.scenarios), 8 * BATCH_SIZE if config.merge else BATCH_SIZE)


def rank(hyperparameters: Hyperparameters, regret: jax.Array, reward: jax.Array) -> Ranked:
    """Rollouts from best to worst, and their weights; ties go to the earlier rollout.

    The best of every scenario come first, then the second of every scenario, and so on; in a pool, the best of all.

    Args:
        hyperparameters: what decides the order and the weights.
        regret: [M, L].
        reward: [M, L].
    """
    scenarios, rollouts = regret.shape
    score = jnp.where(hyperparameters.by_reward, -reward, regret)
    within = jnp.argsort(score, axis=1) + rollouts * jnp.arange(scenarios)[:, None]
    index = jnp.where(hyperparameters.pooled, jnp.argsort(score.reshape(-1)), within.T.reshape(-1)).astype(jnp.int32)
    advantage = jnp.mean(score, axis=1, keepdims=True) - score
    deviation = jnp.sqrt(jnp.mean(advantage**2))
    scaled = (advantage / jnp.where(deviation > 0, deviation, 1)).reshape(-1)[index]
    return Ranked(rollout=index, weight=jnp.where(hyperparameters.advantage, scaled, 1))


def merged(keep: jax.Array, ranked: Ranked, rollouts: Rollout) -> tuple[Rollout, Ranked]:
    """One rollout of each scenario, [M], with the mean label of its k selected ones, and their order.

    The imitation loss of a label y is `|z - y|^2 / 2` or linear in y, so the mean loss over labels has the gradient of
    the loss at the mean label.

    Args:
        keep: [] k.
        ranked: of all M L rollouts.
        rollouts: leading axes [M, L].
    """
    shape = rollouts.reward.shape
    selected = (jnp.arange(rollouts.reward.size) < shape[0] * keep).astype(rollouts.label.dtype)
    weight = jnp.zeros_like(selected).at[ranked.rollout].set(selected).reshape(shape) / keep
    label = jnp.einsum("ml,ml...->m...", weight, rollouts.label)
    ranked = Ranked(rollout=jnp.arange(shape[0]), weight=jnp.ones(shape[0], label.dtype))
    return rollouts._replace(label=label), ranked


def batches(key: jax.Array, config: Distillation, keep: jax.Array) -> jax.Array:
    """For every gradient step the ranks of the rollouts that it imitates, [n, B], below M k (merged: M).

    All selected rollouts are visited in a random order before any is visited again.

    Args:
        key: random key.
        config: sizes.
        keep: [] k.
    """
    selected = config.scenarios * (1 if config.merge else keep)
    rank = jnp.arange(config.scenarios * (1 if config.merge else config.rollouts))
    order = jnp.argsort(jnp.where(rank < selected, random.uniform(key, rank.shape), 2))
    return order[jnp.arange(config.steps * config.batch) % selected].reshape(config.steps, config.batch)


def imitation_cost(game: Game, network: Network) -> Callable[[Tree, Rollout, jax.Array], jax.Array]:
    """`(params, rollouts [n], weight [n]) -> []`: the weighted mean imitation loss of n rollouts."""

    def cost(params: Tree, rollouts: Rollout, weight: jax.Array) -> jax.Array:
        costs = jax.vmap(game.cost)(network.apply(params, rollouts.tokens), rollouts)
        return jnp.mean(weight * costs)

    return cost
