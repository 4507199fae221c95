"""Games: families of worlds with a regret, as iterative fine-tuning plays them.

Dimensions: `T` rounds, `A` arms or coordinates, `N` tokens, `F` features.

A game draws an instance, lets any agent play it, and returns the rollout that imitation needs. Everything random in the
world comes from one key, so that rollouts may share it; the agent has a key of its own.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import bandit, online
from jaxdm.envs.online import BALL, SIMPLEX
from jaxdm.models import agents as numeric
from jaxdm.models.agents import DecisionNoise, DecisionSetName, Labels, Player
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.oracles.regret import external
from jaxdm.rollout import noise_entry, rollout
from jaxdm.tokens import bandit_features, bandit_tokens, online_features, online_tokens
from jaxdm.types import Agent, Network, Tree
from jaxdm.validation import InvalidInput, choice, positive_integer, probability


class Rollout(NamedTuple):
    """One episode as imitation sees it: what was read, what was decided, and the regret of it."""

    tokens: jax.Array  # [N, F]
    label: jax.Array  # [N, A] the decision to be imitated: a one-hot arm, probabilities of arms, or a point
    best: jax.Array  # [N, A] the oracle's decision
    available: jax.Array  # [N, A] bool
    mask: jax.Array  # [N] bool, True where the player decided, False at demonstrations
    cumulative_regret: jax.Array  # [T] regret of the rounds so far; it stands still once the episode ended
    reward: jax.Array  # [] sum over the rounds until the episode ended


class Game(NamedTuple):
    """A family of worlds with a regret.

    Fields:
        features: F.
        outputs: numbers that a network predicts at every token; the first A are read as a decision.
        player: `network -> agent`.
        instance: `(key, data) -> instance`; `data` is what instances are drawn from, `()` where nothing is stored.
        deploy: `(weights, exploration [], instance) -> params` of the player.
        play: `(key, instance, agent, agent_params) -> Rollout`; the key is the world's, see `seeded`.
        relabel: `(outputs [N, ...], noise, rollout, exploration []) -> label [N, A]`: what a player with these outputs
            and this noise in its decisions is to imitate; None: what it played.
        cost: `(outputs [N, ...], rollout) -> [N]`, the imitation loss of every decision.
        full_information: whether the tokens do not depend on the decisions.
        entropy: `(outputs [N, ...], rollout) -> [N]` of the policy, in nats; None where players draw no arm.
    """

    features: int
    outputs: int
    player: Callable[[Network], Agent]
    instance: Callable[[jax.Array, Tree], Tree]
    deploy: Callable[[Tree, jax.Array, Tree], Tree]
    play: Callable[[jax.Array, Tree, Agent, Tree], Rollout]
    relabel: Callable[[jax.Array, Any, Rollout, jax.Array], jax.Array] | None
    cost: Callable[[jax.Array, Rollout], jax.Array]
    full_information: bool = False
    entropy: Callable[[jax.Array, Rollout], jax.Array] | None = None


class Losses(NamedTuple):
    """An instance of online learning: how its losses are drawn, which coordinates count, and whether they react."""

    distribution: jax.Array  # [] int32, which distribution of loss sequences
    available: jax.Array  # [A] bool, the coordinates that count
    reacting: jax.Array  # [] bool, whether an adaptive adversary turns each loss against the decision it meets
    given: jax.Array | None = None  # [T, A] a sequence that is played in place of a drawn one
    is_given: jax.Array | None = None  # [] bool, whether it is


def seeded(agent: Agent, key: jax.Array) -> Agent:
    """The agent whose randomness comes from `key` alone, whatever key the episode has."""
    entry = noise_entry(agent.act, agent.predrawn)
    return agent._replace(predrawn=entry._replace(draw=lambda _, length: entry.draw(key, length)))


def bandit_game(
    family: Callable[[jax.Array], bandit.Bandit],
    arms: int,
    length: int,
    labels: Labels = "sampled",
    rewards: Literal["bernoulli", "gaussian"] = "bernoulli",
) -> Game:
    """Bandits, stationary or drifting; regret is `jaxdm.oracles.bandit.pseudo_regret`.

    Args:
        family: `key -> Bandit` with A arms, of which some may be unavailable.
        arms: A.
        length: T.
        labels: "sampled" imitates the arm played, "probabilities" the probabilities that it was drawn with.
        rewards: distribution of the rewards.

    Raises:
        ValueError: unknown labels or rewards, or sizes below one.
    """
    choice("labels", labels, ("sampled", "probabilities"))
    choice("rewards", rewards, ("bernoulli", "gaussian"))
    arms, length = positive_integer("arms", arms), positive_integer("length", length)
    env = bandit.bernoulli() if rewards == "bernoulli" else bandit.gaussian()

    def play(key: jax.Array, instance: bandit.Bandit, agent: Agent, agent_params: Tree) -> Rollout:
        episode = rollout(key, env, instance, agent, agent_params, length)
        means = bandit.means_at(instance, jnp.arange(length))
        best = jnp.argmax(jnp.where(instance.available, means, -jnp.inf), axis=-1)
        return Rollout(
            tokens=bandit_tokens(episode, arms),
            label=jax.nn.one_hot(episode.action, arms, dtype=means.dtype),
            best=jax.nn.one_hot(best, arms, dtype=means.dtype),
            available=episode.observation,
            mask=episode.mask,
            cumulative_regret=until_the_end(pseudo_regret(instance, episode.action), episode.mask),
            reward=jnp.sum(jnp.where(episode.mask, episode.reward, 0)),
        )

    def relabel(outputs: jax.Array, noise: DecisionNoise, played: Rollout, exploration: jax.Array) -> jax.Array:
        return jax.vmap(numeric.arm_probabilities, (0, 0, 0, None))(
            outputs[:, :arms], played.available, noise.outputs, exploration
        )

    return Game(
        features=bandit_features(arms),
        outputs=arms,
        player=lambda network: numeric.bandit_player(network, arms, length),
        instance=lambda key, data: family(key),
        deploy=_deploy,
        play=play,
        relabel=None if labels == "sampled" else relabel,
        cost=cross_entropy,
        entropy=policy_entropy,
    )


def online_game(
    distributions: tuple[Callable[..., jax.Array], ...],
    dimension: int,
    length: int,
    decisions: DecisionSetName = "simplex",
    labels: Labels = "probabilities",
    used: int | None = None,
    adversary: bool = False,
) -> Game:
    """Full-information online learning; regret is `jaxdm.oracles.regret.external`, against the best fixed decision.

    A mean of noisy decisions lies in the interior of the set, so a network that imitates decisions cannot reach its
    boundary; one that imitates the outputs before projection can.

    Args:
        distributions: of loss sequences, each `(key, length=, dimension=) -> [T, d]` in [0, 1] or in the unit ball; an
            instance has one of them, drawn uniformly.
        dimension: d.
        length: T.
        decisions: the decision set.
        labels: what is played and imitated, see `jaxdm.models.agents.Labels`; no sampled arms on the ball.
        used: how many coordinates count, at random places; all when left out.
        adversary: whether instances may react to decisions. Without it, rollouts on the same losses have the same
            tokens.

    Raises:
        ValueError: unknown decisions or labels, sizes below one, or more coordinates used than there are.
    """
    numeric.check(decisions, labels)
    dimension, length = positive_integer("dimension", dimension), positive_integer("length", length)
    used = dimension if used is None else positive_integer("used", used, at_most=dimension)
    if not distributions:
        raise InvalidInput("distributions: none; expected at least one")

    def instance(key: jax.Array, data: Tree) -> Losses:
        key_distribution, key_place = random.split(key)
        index = jnp.floor(random.uniform(key_distribution) * len(distributions)).astype(jnp.int32)
        available = random.places(key_place, dimension) < used
        return Losses(distribution=index, available=available, reacting=jnp.bool_(False))

    def relabel(outputs: jax.Array, noise: DecisionNoise, played: Rollout, exploration: jax.Array) -> jax.Array:
        return outputs[:, :dimension] + exploration * noise.outputs

    def scaled_cross_entropy(outputs: jax.Array, played: Rollout) -> jax.Array:
        return cross_entropy(numeric.INVERSE_TEMPERATURE * outputs, played)

    sized = [functools.partial(draw, length=length, dimension=dimension) for draw in distributions]
    return Game(
        features=online_features(dimension),
        outputs=dimension,
        player=lambda network: numeric.online_player(network, dimension, length, decisions, labels),
        instance=instance,
        deploy=_deploy,
        play=_online_play(sized, decisions, adversary),
        relabel=relabel if labels == "output" else None,
        cost=squared_error if decisions == "ball" or labels == "output" else scaled_cross_entropy,
        full_information=not adversary,
    )


def _online_play(draw: list[Callable[..., jax.Array]], decisions: DecisionSetName, adversary: bool) -> Callable:
    """`Game.play` of online learning.

    Unused arms of the simplex lose one in every round, so that they are never best; unused coordinates of the ball are
    zero.
    """
    decision_set = BALL if decisions == "ball" else SIMPLEX
    unused = 0.0 if decisions == "ball" else 1.0
    against = online.against_ball if decisions == "ball" else online.against_simplex

    def play(key: jax.Array, instance: Losses, agent: Agent, agent_params: Tree) -> Rollout:
        key_losses, key_play = random.split(key)
        drawn = jax.lax.switch(instance.distribution, draw, key_losses)
        if instance.given is not None and instance.is_given is not None:
            drawn = jnp.where(instance.is_given, instance.given, drawn)
        plan = jnp.where(instance.available, drawn, unused)

        def answer(loss: jax.Array, total: jax.Array, action: jax.Array) -> jax.Array:
            return jnp.where(instance.reacting, against(loss, total, action), loss)

        env = online.env(answer) if adversary else online.env()
        episode = rollout(key_play, env, plan, agent, agent_params, plan.shape[0])
        losses = episode.next_observation
        return Rollout(
            tokens=online_tokens(losses, instance.available),
            label=episode.action,
            best=jnp.broadcast_to(decision_set.minimise(jnp.sum(losses, axis=0)), losses.shape),
            available=jnp.broadcast_to(instance.available, losses.shape),
            mask=episode.mask,
            cumulative_regret=external(decision_set, losses, episode.action),
            reward=-jnp.cumsum(jnp.sum(losses * episode.action, axis=-1))[-1],
        )

    return play


def with_bank(game: Game, used: int, share: float) -> Game:
    """The same online learning, where a share of the instances plays a stored sequence, e.g. one that an attack found.

    The `data` of an instance are the bank, [B, T, d]: sequences whose first `used` coordinates count. An instance gives
    these coordinates the random places of its own.

    Args:
        game: of `online_game`.
        used: coordinates that count.
        share: of the instances, in [0, 1].

    Raises:
        ValueError: a share outside [0, 1], or used < 1.
    """
    probability("share", share)
    positive_integer("used", used)

    def instance(key: jax.Array, data: jax.Array) -> Losses:
        key_drawn, key_row, key_place, key_share = random.split(key, 4)
        row = data[jnp.floor(random.uniform(key_row) * data.shape[0]).astype(jnp.int32)]
        is_given = random.uniform(key_share) < share
        place = random.places(key_place, data.shape[-1])
        drawn = game.instance(key_drawn, ())
        available = jnp.where(is_given, place < used, drawn.available)
        return drawn._replace(available=available, given=row[:, place], is_given=is_given)

    return game._replace(instance=instance)


def until_the_end(curve: jax.Array, mask: jax.Array) -> jax.Array:
    """A curve over rounds that keeps its last value from the round on that `mask` [T] leaves out."""
    last = jnp.maximum(jnp.sum(mask) - 1, 0)
    return jnp.where(mask, curve, curve[last])


def _deploy(weights: Tree, exploration: jax.Array, instance: Any) -> Player:
    return Player(weights=weights, exploration=jnp.asarray(exploration), available=instance.available)


def cross_entropy(outputs: jax.Array, played: Rollout) -> jax.Array:
    """Cross-entropy `-sum_a label(a) log softmax(z)(a)` over the available arms, [N] in nats."""
    arms = played.label.shape[-1]
    log_policy = jax.nn.log_softmax(jnp.where(played.available, outputs[:, :arms], -jnp.inf))
    # Zero before the product: where a label has a gradient too, that of zero times infinity is NaN.
    return -jnp.sum(played.label * jnp.where(played.available, log_policy, 0), axis=-1)


def policy_entropy(outputs: jax.Array, played: Rollout) -> jax.Array:
    """Entropy of `softmax(z)` over the available arms, [N] in nats."""
    arms = played.label.shape[-1]
    logits = jnp.where(played.available, outputs[:, :arms], -jnp.inf)
    return cross_entropy(outputs, played._replace(label=jax.nn.softmax(logits)))


def squared_error(outputs: jax.Array, played: Rollout) -> jax.Array:
    """`|z - label|^2 / 2` over the available coordinates, [N]."""
    arms = played.label.shape[-1]
    error = jnp.where(played.available, outputs[:, :arms] - played.label, 0)
    return jnp.sum(error**2, axis=-1) / 2
