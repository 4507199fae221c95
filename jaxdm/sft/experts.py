"""Experts: policies that know what the oracle knows, and how well each of them plays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdm.oracles.graph_policy import GraphPolicy
from jaxdm.sft.tasks import ExpertPolicy, Task, expert_policy
from jaxdm.validation import positive_integer, probability


def as_graph_policy(task: Task, expert: ExpertPolicy, exploration: Any = 0.0) -> GraphPolicy:
    """An expert's policy on the task's graph of histories, with uniform play mixed in.

    With the expert's own eps, actions are uniform with chance `1 - (1 - exploration) (1 - eps)`.

    Args:
        task: no batch axis.
        expert: who plays.
        exploration: [] in [0, 1].
    """
    mixed = 1 - (1 - exploration) * (1 - expert.exploration)
    return GraphPolicy(graph=task.graph, policy=expert.policy, exploration=mixed, available=expert.available)


Expert = Callable[[Task], ExpertPolicy]
"""`task -> policy` of whoever demonstrates and labels."""


def oracle(task: Task) -> ExpertPolicy:
    """The optimal policy."""
    return expert_policy(task.optimal, task.q)


def soft_oracle(exploration: float) -> Expert:
    """The eps-soft optimal policy: a uniform action with chance eps.

    Args:
        exploration: eps in [0, 1].

    Raises:
        InvalidInput: exploration outside [0, 1].
    """
    probability("exploration", exploration)

    def expert(task: Task) -> ExpertPolicy:
        return oracle(task)._replace(exploration=jnp.asarray(exploration, task.q.dtype))

    return expert


def myopic(steps: int) -> Expert:
    """The policy that at every time plans for the next few steps alone.

    Args:
        steps: length of its plan, at least 1; the horizon gives the oracle.

    Raises:
        InvalidInput: steps < 1.
    """
    steps = positive_integer("steps", steps)

    def expert(task: Task) -> ExpertPolicy:
        horizon = task.q.shape[0]
        return expert_policy(task.optimal[jnp.maximum(jnp.arange(horizon), horizon - steps)], task.q)

    return expert


def adversarial(task: Task) -> ExpertPolicy:
    """The policy of least optimal action value, `argmin_a Q*(n, a)` over available actions: to imitate, no guide."""
    worst = jnp.argmin(jnp.where(task.q > -jnp.inf, task.q, jnp.inf), axis=-1)
    return expert_policy(jax.nn.one_hot(worst, task.q.shape[-1], dtype=bool), task.q)
