"""Iterative regret-minimisation fine-tuning: roll out, keep the decisions of least regret, imitate them, repeat.

Dimensions: `M` scenarios, `L` rollouts of each, `k` kept of each, `n` gradient steps of a round, on `B` rollouts each.

    roll out    M instances, L rollouts of each by the network itself; their regret is known in training
    select      the k rollouts of least regret of every scenario, or the M k of least regret of all
    imitate     n gradient steps on the imitation loss of the selected rollouts

How many to keep: where one of K arms is best, a share `k / L` below `1 / K` selects rollouts that committed to an arm
and were lucky, and the policy that does so is a trap; of the shares above it, those near 0.27 waste the fewest rollouts
(`selection_size`). With k = L, weights that depend on regret make the same round a policy gradient: REINFORCE, and
with a clipped ratio of probabilities a step in the manner of PPO.

A round is one step of a `jaxdm.trainer.Trainer`, whose loss is the mean regret of the round's rollouts: chunks,
checkpoints, seeds and exact resume are those of `jaxdm.trainer.fit`. Sizes are compiled in. `HYPERPARAMETERS` are data
in the state, so runs that differ in nothing else share one compiled program.

Reference: Park, Chen, Ozdaglar, Zhang, Post-training LLMs as better decision-making agents, arXiv 2511.04393: the loop.
    Its sizes are not known; every default, and every choice beside the loop, is ours.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from jaxdm import random, trainer
from jaxdm.numerics import batched_map, masked_mean
from jaxdm.rmft.games import Game, Rollout, seeded
from jaxdm.rollout import noise_entry
from jaxdm.trainer import Trainer, TrainState
from jaxdm.types import Network, Tree
from jaxdm.validation import (
    InvalidInput,
    choice,
    integer,
    nonnegative_number,
    positive_integer,
    positive_number,
)

Unit = Literal["scenario", "pool"]


Sequences = Literal["shared", "fresh"]


Select = Literal["regret", "reward"]


Credit = Literal["equal", "advantage", "to go", "square"]


Moments = Literal["keep", "reset"]


BATCH_SIZE = 4
"""Scenarios played at once on a CPU, so that their attention caches fit its cache; merged ones, whose L rollouts share
one attention cache, are played eight times as many at once."""


EFFICIENT_SHARE = 0.27
"""The share k / L that loses the least of the gradient's signal, if regrets are normal: phi(z_p)^2 / p is largest."""


MARGIN = 1.2
"""How far above 1 / K the share k / L stays."""


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
    keep: int = 5
    """k, rollouts of a scenario that are imitated; `selection_size` of four arms or more."""
    unit: Unit = "scenario"
    """Whether the best k of each scenario are selected, or the best M k of all."""
    sequences: Sequences = "shared"
    """Whether the rollouts of a scenario share the world's randomness (losses, reward draws), or each has its own."""
    select: Select = "regret"
    """Whether rollouts are ranked by regret, or by reward."""
    credit: Credit = "equal"
    """Weight of a selected rollout: 1; or `(mean - x) / deviation`, the mean being its scenario's, where x is regret
    (with k = L: REINFORCE), or in each round the regret from there on, or `max(regret, 0)^2`, whose mean step is a
    gradient step on the predecessor's regret loss."""
    clip: float = 0.0
    """How far the ratio of a decision's probability to that in the rollout may be from one before its gradient is cut:
    a step then has PPO's objective; zero: imitation as it is. Whether it is zero is compiled in."""
    entropy: float = 0.0
    """Weight of the policy's entropy, a bonus, in games whose players draw an arm."""
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


HYPERPARAMETERS = ("keep", "unit", "select", "credit", "clip", "entropy", "exploration", "rate", "decay", "moments")
"""Fields of a configuration that are data; of `clip`, whether it is zero is not."""


class Hyperparameters(NamedTuple):
    """`HYPERPARAMETERS` of a configuration as arrays, but for rate and decay, which the optimiser holds as data."""

    keep: jax.Array  # [] int32 k
    pooled: jax.Array  # [] bool, whether the best M k of all are selected
    by_reward: jax.Array  # [] bool, whether rollouts are ranked by reward
    credit: jax.Array  # [] int32, the place of what weighs them in `Credit`
    clip: jax.Array  # [], how far the ratio of probabilities may be from one
    entropy: jax.Array  # [], weight of the bonus
    reset_moments: jax.Array  # [] bool, whether every round starts with Adam's moments at zero
    exploration: jax.Array  # [], standard deviation of the noise on outputs


class Optimiser(NamedTuple):
    """What the state of a run holds beside its weights."""

    adamw: Tree  # of `jaxdm.trainer.adamw`, rate and decay included
    hyperparameters: Hyperparameters


class Ranked(NamedTuple):
    """All M L rollouts, best first: the first M k are selected."""

    rollout: jax.Array  # [M L] int32, the rollout with that rank, counted scenario by scenario
    weight: jax.Array  # [M L, T or 1], of that rollout's rounds in the imitation loss


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
    nonnegative_number("entropy", config.entropy)
    nonnegative_number("clip", config.clip)
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


def selection_size(arms: int, rollouts: int) -> int:
    """k for games of K arms: the least with `k / L >= max(0.27, 1.2 / K)`, but no more than L.

    Args:
        arms: K >= 2; where it varies, the fewest.
        rollouts: L.

    Raises:
        ValueError: K < 2 or L < 1.

    Reference: ours: above 1 / K the policy that commits to a random arm is no trap; 0.27 after Kelley, The selection of
        upper and lower groups for the validation of test items, J. Educ. Psych. 30, 1939.
    """
    integer("arms", arms, 2)
    return min(rollouts, math.ceil(positive_integer("rollouts", rollouts) * max(EFFICIENT_SHARE, MARGIN / arms)))


def hyperparameters(config: Distillation) -> Hyperparameters:
    """The part of a configuration that is data."""
    real = jnp.result_type(float)
    return Hyperparameters(
        keep=jnp.int32(config.keep),
        pooled=jnp.bool_(config.unit == "pool"),
        by_reward=jnp.bool_(config.select == "reward"),
        credit=jnp.int32(get_args(Credit).index(config.credit)),
        clip=jnp.asarray(config.clip, real),
        entropy=jnp.asarray(config.entropy, real),
        reset_moments=jnp.bool_(config.moments == "reset"),
        exploration=jnp.asarray(config.exploration, real),
    )


def make_trainer(config: Distillation, game: Game, network: Network) -> Trainer:
    """The trainer whose steps are rounds; its losses are the mean regret of each round's rollouts.

    Trainers whose configurations differ in `HYPERPARAMETERS` alone can run each other's states.

    Args:
        config: sizes and hyperparameters.
        game: what is played; the `data` of `jaxdm.trainer.fit` are what its instances are drawn from.
        network: with `game.features` features and `game.outputs` outputs.

    Raises:
        ValueError: as `validate`; or rollouts are to be merged in a game without full information, or a bonus for
            entropy or a clipped ratio is asked for in a game whose players draw no arm.
    """
    validate(config)
    if config.merge and not game.full_information:
        raise ValueError("merge: True; expected a game of full information")
    clipped = config.clip > 0
    if game.entropy is None and (config.entropy > 0 or clipped):
        raise ValueError(f"entropy, clip: {config.entropy}, {config.clip}; expected a game whose players draw an arm")
    adamw = trainer.adamw(config.rate, config.rounds, warmup=0.0, floor=0.0, decay=config.decay, hold=config.steps)

    def init(key: jax.Array, params: Tree) -> TrainState:
        inner = Optimiser(adamw=adamw.init(params), hyperparameters=hyperparameters(config))
        return TrainState(params=params, optimiser=inner, step=jnp.int32(0), key=key)

    def one_round(state: TrainState, data: Tree) -> tuple[TrainState, jax.Array]:
        chosen = state.optimiser.hyperparameters
        key_play, key_order = random.split(random.fold_in(state.key, state.step))
        rollouts = collect(key_play, config, chosen.exploration, game, network, state.params, data)
        regret = rollouts.cumulative_regret[..., -1]
        if config.merge:
            ranked = rank(chosen, regret, rollouts.reward)
            rollouts, ranked = merged(chosen.keep, ranked, rollouts)
        else:
            ranked = rank(chosen, regret, rollouts.reward, regret_to_go(rollouts.cumulative_regret))
            rollouts = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollouts)

        weighted = imitation_cost(game, network, chosen.entropy)

        def imitate(carry: tuple, ranks: jax.Array) -> tuple:
            params, inner = carry
            batch = jax.tree.map(lambda x: x[ranked.rollout[ranks]], rollouts)
            objective = policy_cost(game, network, state.params, chosen) if clipped else weighted
            gradient = jax.grad(objective)(params, batch, ranked.weight[ranks])
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
            if game.relabel is None:
                return played
            outputs = network.apply(params, played.tokens)
            noise = noise_entry(agent.act, agent.predrawn).draw(key_agent, played.mask.shape[0])
            return played._replace(label=game.relabel(outputs, noise, played, exploration))

        shared = config.sequences == "shared"
        worlds = key_world if shared else random.split(key_world, config.rollouts)
        agents = random.split(key_agent, config.rollouts)
        return jax.vmap(one, (None if shared else 0, 0), MERGED_AXES if config.merge else 0)(worlds, agents)

    return batched_map(scenario, random.split(key, config.scenarios), 8 * BATCH_SIZE if config.merge else BATCH_SIZE)


def rank(
    hyperparameters: Hyperparameters, regret: jax.Array, reward: jax.Array, to_go: jax.Array | None = None
) -> Ranked:
    """Rollouts from best to worst, and their weights; ties go to the earlier rollout.

    The best of every scenario come first, then the second of every scenario, and so on; in a pool, the best of all.

    Args:
        hyperparameters: what decides the order and the weights.
        regret: [M, L].
        reward: [M, L].
        to_go: [M, L, T] the regret from each round on; left out, it is taken as a whole.
    """
    scenarios, rollouts = regret.shape
    score = jnp.where(hyperparameters.by_reward, -reward, regret)
    within = jnp.argsort(score, axis=1) + rollouts * jnp.arange(scenarios)[:, None]
    index = jnp.where(hyperparameters.pooled, jnp.argsort(score.reshape(-1)), within.T.reshape(-1)).astype(jnp.int32)
    later = score[..., None] if to_go is None else to_go
    whole = jnp.broadcast_to(score[..., None], later.shape)
    costs = jnp.stack([whole, whole, later, jnp.maximum(whole, 0) ** 2])[hyperparameters.credit]
    advantage = jnp.mean(costs, axis=1, keepdims=True) - costs
    deviation = jnp.sqrt(jnp.mean(advantage**2))
    scaled = (advantage / jnp.where(deviation > 0, deviation, 1)).reshape(scenarios * rollouts, -1)[index]
    return Ranked(rollout=index, weight=jnp.where(hyperparameters.credit > 0, scaled, 1))


def regret_to_go(cumulative_regret: jax.Array) -> jax.Array:
    """The regret of each round and those after it, [..., T]; all of it where it is told at the end, T = 1."""
    before = jnp.concatenate([jnp.zeros_like(cumulative_regret[..., :1]), cumulative_regret[..., :-1]], axis=-1)
    return cumulative_regret[..., -1:] - before


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
    ranked = Ranked(rollout=jnp.arange(shape[0]), weight=jnp.ones((shape[0], 1), label.dtype))
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


Cost = Callable[[Tree, Rollout, jax.Array], jax.Array]


def imitation_cost(game: Game, network: Network, entropy: jax.Array | float = 0.0) -> Cost:
    """`(params, rollouts [n], weight [n, T or 1]) -> []`: the mean over rollouts of each one's weighted imitation loss.

    Args:
        game: what was played.
        network: whose outputs are to give the labels.
        entropy: [] weight of the entropy bonus.
    """

    def cost(params: Tree, rollouts: Rollout, weight: jax.Array) -> jax.Array:
        outputs = network.apply(params, rollouts.tokens)
        costs = weight * jax.vmap(game.cost)(outputs, rollouts) - _bonus(game, entropy, outputs, rollouts)
        return jnp.mean(jax.vmap(masked_mean)(costs, rollouts.mask))

    return cost


def policy_cost(game: Game, network: Network, before: Tree, hyperparameters: Hyperparameters) -> Cost:
    """PPO's objective, with the sign of a cost: `-min(rho w, clip(rho, 1 - c, 1 + c) w)`, less the bonus.

    `rho` is the probability of the decision over that under the weights `before`, with which it was made. At `before`
    itself the gradient is that of `imitation_cost`.

    Args:
        game: whose players draw an arm.
        network: the policy.
        before: weights at the beginning of the round.
        hyperparameters: c, and the weight of the entropy.

    Reference: Schulman, Wolski, Dhariwal, Radford, Klimov, Proximal policy optimization algorithms, 2017, equation 7.
    """

    def cost(params: Tree, rollouts: Rollout, weight: jax.Array) -> jax.Array:
        outputs = network.apply(params, rollouts.tokens)
        surprise = jax.vmap(game.cost)(outputs, rollouts)
        ratio = jnp.exp(jax.vmap(game.cost)(network.apply(before, rollouts.tokens), rollouts) - surprise)
        near = jnp.clip(ratio, 1 - hyperparameters.clip, 1 + hyperparameters.clip)
        costs = -jnp.minimum(ratio * weight, near * weight)
        bonus = _bonus(game, hyperparameters.entropy, outputs, rollouts)
        return jnp.mean(jax.vmap(masked_mean)(costs - bonus, rollouts.mask))

    return cost


def _bonus(game: Game, weight: jax.Array | float, outputs: jax.Array, rollouts: Rollout) -> jax.Array | float:
    return 0.0 if game.entropy is None else weight * jax.vmap(game.entropy)(outputs, rollouts)
