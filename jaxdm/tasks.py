"""Tasks: a world's instance together with what its oracle says of it.

Dimensions: `H` horizon, `S` states, `A` actions, `T` steps of an episode.

Tasks are planned in float64 and handed to the simulators in float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import MDP
from jaxdm.numerics import cast_floats
from jaxdm.oracles.planning import backward_induction
from jaxdm.oracles.policies import finite_policy_evaluation
from jaxdm.types import Episode, Tree


class Task(NamedTuple):
    """An instance of a fully observed world, solved for a horizon."""

    world: Tree  # parameters of the Env
    q: jax.Array  # [H, S, A] optimal action values
    optimal: jax.Array  # [H, S, A] bool, actions that cannot be told from the best
    policy: jax.Array  # [H, S] int32, the lowest optimal action
    best_value: jax.Array  # [] expected return of the oracle
    random_value: jax.Array  # [] expected return of uniform play
    bound: jax.Array  # [] certified error of `q`, before the cast to float32


def solve(mdp: MDP, horizon: int) -> Task:
    """Solve one MDP for a horizon: `Q*` by backward induction, and the value of uniform play.

    Args:
        mdp: the instance.
        horizon: H.

    Returns:
        Task.
    """
    plan = backward_induction(mdp, horizon)
    uniform = jnp.full_like(mdp.reward, 1 / mdp.reward.shape[-1])
    random = finite_policy_evaluation(mdp, uniform, horizon)
    return Task(
        world=mdp,
        q=plan.q,
        optimal=plan.ties,
        policy=plan.policy,
        best_value=plan.value[0] @ mdp.initial,
        random_value=random.value[0] @ mdp.initial,
        bound=plan.certificate.bound,
    )


def sample(key: jax.Array, family: Callable[[jax.Array], MDP], horizon: int, count: int) -> Task:
    """Draw and solve tasks in float64; the result is float32.

    Args:
        key: random key; training and held-out tasks are drawn with different ones.
        family: `key -> MDP`.
        horizon: H.
        count: number of tasks.

    Returns:
        Task with leading axis [count].

    Raises:
        ValueError: count < 1.
    """
    if count < 1:
        raise ValueError(f"count: {count}; expected at least 1")
    with jax.enable_x64(True):
        solved = jax.jit(jax.vmap(lambda k: solve(family(k), horizon)))(jax.random.split(key, count))
        return cast_floats(solved, jnp.float32)


def oracle_law(task: Task, episode: Episode) -> jax.Array:
    """The oracle's label of every step: the uniform law over the actions that are optimal there, [T, A].

    Args:
        task: the task in which the episode was played.
        episode: T steps, started at time 0; T <= H.
    """
    best = task.optimal[jnp.arange(episode.reward.shape[0]), episode.state.state].astype(task.q.dtype)
    return best / jnp.sum(best, axis=-1, keepdims=True)


def loss_along(task: Task, episode: Episode) -> jax.Array:
    """`sum_t gamma^t (max_a Q*_t(s_t, a) - Q*_t(s_t, a_t))`, []: its mean over episodes is `V* - V^pi`.

    The performance-difference identity: exact in mean, and far less noisy than returns, since the luck of rewards and
    transitions does not enter.

    Args:
        task: the task in which the episode was played.
        episode: T = H steps.

    Reference: Kakade and Langford, Approximately optimal approximate reinforcement learning, 2002, lemma 6.1.
    """
    time = jnp.arange(episode.reward.shape[0])
    q = task.q[time, episode.state.state]
    chosen = jnp.take_along_axis(q, episode.action[:, None], axis=-1)[:, 0]
    lost = (jnp.max(q, axis=-1) - chosen) * task.world.discount ** time.astype(q.dtype)
    return jnp.sum(jnp.where(episode.mask, lost, 0))
