"""Games: families of worlds with a regret, as iterative fine-tuning plays them.

Dimensions: `T` rounds, `A` arms or coordinates, `N` tokens, `F` features.

A game draws an instance, lets any agent play it, and returns the record that imitation needs. Everything random of the
world comes from one key, so that rollouts may share it; the agent has its own.
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
from jaxdm.models.agents import Decisions, Labels, Player
from jaxdm.numerics import masked_mean
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from jaxdm.tokens import bandit_features, bandit_tokens, online_features, online_tokens
from jaxdm.types import Agent, Network, Tree
from jaxdm.validation import check_sizes


class Rollout(NamedTuple):
    """One rollout: what was read and decided, and what it cost."""

    tokens: jax.Array  # [N, F]
    label: jax.Array  # [N, A] the decision: a one-hot arm, a law, or a point
    best: jax.Array  # [N, A] the oracle's decision
    available: jax.Array  # [N, A] bool
    mask: jax.Array  # [N] bool, the player's own decisions
    course: jax.Array  # [T] regret of the rounds so far
    reward: jax.Array  # [] their reward


class Game(NamedTuple):
    """A family of worlds with a regret.

    Fields:
        features: F.
        outputs: numbers that a network must predict; the first A decide.
        player: `network -> agent`.
        instance: `(key, data) -> instance`; `data` is what instances are drawn from, `()` where nothing is stored.
        deploy: `(weights, exploration [], instance) -> params` of the player.
        play: `(key, instance, agent, agent_params) -> Record`; the key is the world's, see `seeded`.
        relabel: `(outputs [N, ...], draws, record, exploration []) -> label [N, A]`: what a player with these outputs
            and draws is to imitate.
        cost: `(outputs [N, ...], record) -> []`, what not imitating the labels costs, a mean over the mask.
        full_information: whether what a player reads does not depend on what it decides.
    """

    features: int
    outputs: int
    player: Callable[[Network], Agent]
    instance: Callable[[jax.Array, Tree], Tree]
    deploy: Callable[[Tree, jax.Array, Tree], Tree]
    play: Callable[[jax.Array, Tree, Agent, Tree], Rollout]
    relabel: Callable[[jax.Array, jax.Array, Rollout, jax.Array], jax.Array]
    cost: Callable[[jax.Array, Rollout], jax.Array]
    full_information: bool = False


class Losses(NamedTuple):
    """An instance of online learning: which law draws the losses, which coordinates count, who answers."""

    law: jax.Array  # [] int32
    available: jax.Array  # [A] bool
    reacting: jax.Array  # [] bool, whether each loss is turned against the decision that it meets


def seeded(agent: Agent, key: jax.Array) -> Agent:
    """The agent with randomness of its own, whatever key the episode has."""
    return agent._replace(draws=lambda _, length: agent.draws(key, length))


def bandit_game(
    family: Callable[[jax.Array], bandit.Bandit],
    arms: int,
    length: int,
    labels: Labels = "sampled",
    rewards: Literal["bernoulli", "gaussian"] = "bernoulli",
) -> Game:
    """Bandits, standing still or drifting; regret is `jaxdm.oracles.bandit.pseudo_regret`.

    Args:
        family: `key -> Bandit` with A arms, of which some may be unavailable.
        arms: A.
        length: T.
        labels: "sampled" imitates the arm played, "law" the law that it was drawn from.
        rewards: law of the rewards.

    Raises:
        ValueError: unknown labels or rewards, or sizes below one.
    """
    numeric.check("simplex", labels)
    check_sizes(arms=arms, length=length)
    if labels == "output":
        raise ValueError("labels: 'output'; expected 'sampled' or 'law' where an arm is drawn")
    if rewards not in ("bernoulli", "gaussian"):
        raise ValueError(f"rewards: {rewards!r}; expected 'bernoulli' or 'gaussian'")
    env = bandit.bernoulli() if rewards == "bernoulli" else bandit.gaussian()

    def play(key: jax.Array, instance: bandit.Bandit, agent: Agent, agent_params: Tree) -> Rollout:
        played = rollout(key, env, instance, agent, agent_params, length)
        means = bandit.means_at(instance, jnp.arange(length))
        best = jnp.argmax(jnp.where(instance.available, means, -jnp.inf), axis=-1)
        return Rollout(
            tokens=bandit_tokens(played, arms),
            label=jax.nn.one_hot(played.action, arms, dtype=means.dtype),
            best=jax.nn.one_hot(best, arms, dtype=means.dtype),
            available=played.observation,
            mask=played.mask,
            course=pseudo_regret(instance, played.action),
            reward=jnp.sum(played.reward),
        )

    def relabel(outputs: jax.Array, draws: jax.Array, record: Rollout, exploration: jax.Array) -> jax.Array:
        if labels == "sampled":
            return record.label
        return jax.vmap(numeric.arm_law, (0, 0, 0, None))(
            outputs[:, :arms], record.available, draws[:, 1:], exploration
        )

    return Game(
        features=bandit_features(arms),
        outputs=arms,
        player=lambda network: numeric.bandit_player(network, arms, length),
        instance=lambda key, data: family(key),
        deploy=_deploy,
        play=play,
        relabel=relabel,
        cost=law_cost,
    )


def online_game(
    laws: tuple[Callable[..., jax.Array], ...],
    dimension: int,
    length: int,
    decisions: Decisions = "simplex",
    labels: Labels = "law",
    used: int | None = None,
    adversary: bool = False,
) -> Game:
    """Full-information online learning; regret is `jaxdm.oracles.regret.external`, against the best fixed decision.

    Means of noisy laws, and of projected noisy points, lie inside the set, however sure a player is: what imitates
    outputs can become surer than what imitates decisions.

    Args:
        laws: of losses, each `(key, length=, dimension=) -> [T, d]` in [0, 1] or in the unit ball; one is drawn.
        dimension: d.
        length: T.
        decisions: the set.
        labels: what is played and imitated; no drawn arms on the ball.
        used: how many coordinates count, at random places; all when left out.
        adversary: whether instances may react. Without, rollouts on the same losses share all that a network reads.

    Raises:
        ValueError: unknown decisions or labels, sizes below one, or more coordinates used than there are.
    """
    numeric.check(decisions, labels)
    used = dimension if used is None else used
    check_sizes(dimension=dimension, length=length, used=used)
    if used > dimension:
        raise ValueError(f"used: {used}; expected at most dimension = {dimension}")

    def instance(key: jax.Array, data: Tree) -> Losses:
        key_law, key_place = random.split(key)
        law = jnp.floor(random.uniform(key_law) * len(laws)).astype(jnp.int32)
        available = random.places(key_place, dimension) < used
        return Losses(law=law, available=available, reacting=jnp.bool_(False))

    def relabel(outputs: jax.Array, draws: jax.Array, record: Rollout, exploration: jax.Array) -> jax.Array:
        return outputs[:, :dimension] + exploration * draws[:, 1:] if labels == "output" else record.label

    sharp_cost = lambda outputs, record: law_cost(numeric.INVERSE_TEMPERATURE * outputs, record)
    drawn = [functools.partial(law, length=length, dimension=dimension) for law in laws]
    return Game(
        features=online_features(dimension),
        outputs=dimension,
        player=lambda network: numeric.online_player(network, dimension, length, decisions, labels),
        instance=instance,
        deploy=_deploy,
        play=_online_play(drawn, decisions, adversary),
        relabel=relabel,
        cost=point_cost if decisions == "ball" or labels == "output" else sharp_cost,
        full_information=not adversary,
    )


def _online_play(draw: list[Callable[..., jax.Array]], decisions: Decisions, adversary: bool) -> Callable:
    """`Game.play` of online learning.

    Unused arms of the simplex lose one in every round, so that they are never best; unused coordinates of the ball are
    zero.
    """
    region, unused = (BALL, 0.0) if decisions == "ball" else (SIMPLEX, 1.0)
    against = online.against_ball if decisions == "ball" else online.against_simplex

    def play(key: jax.Array, instance: Losses, agent: Agent, agent_params: Tree) -> Rollout:
        key_losses, key_play = random.split(key)
        drawn = jax.lax.switch(instance.law, draw, key_losses)
        plan = jnp.where(instance.available, drawn, unused)
        answer = lambda loss, total, action: jnp.where(instance.reacting, against(loss, total, action), loss)
        env = online.env(answer) if adversary else online.env()
        played = rollout(key_play, env, plan, agent, agent_params, plan.shape[0])
        losses = played.next_observation
        return Rollout(
            tokens=online_tokens(losses, instance.available),
            label=played.action,
            best=jnp.broadcast_to(region.minimise(jnp.sum(losses, axis=0)), losses.shape),
            available=jnp.broadcast_to(instance.available, losses.shape),
            mask=played.mask,
            course=external(region, losses, played.action),
            reward=-jnp.cumsum(jnp.sum(losses * played.action, axis=-1))[-1],
        )

    return play


def _deploy(weights: Tree, exploration: jax.Array, instance: Any) -> Player:
    return Player(weights=weights, exploration=exploration, available=instance.available)


def law_cost(outputs: jax.Array, record: Rollout) -> jax.Array:
    """Mean cross-entropy `-sum_a label(a) log softmax(z)(a)` over the available arms, [] nats."""
    arms = record.label.shape[-1]
    log_law = jax.nn.log_softmax(jnp.where(record.available, outputs[:, :arms], -jnp.inf))
    return masked_mean(-jnp.sum(jnp.where(record.available, record.label * log_law, 0), axis=-1), record.mask)


def point_cost(outputs: jax.Array, record: Rollout) -> jax.Array:
    """Mean of `|z - label|^2 / 2` over the available coordinates, []."""
    arms = record.label.shape[-1]
    error = jnp.where(record.available, outputs[:, :arms] - record.label, 0)
    return masked_mean(jnp.sum(error**2, axis=-1) / 2, record.mask)
