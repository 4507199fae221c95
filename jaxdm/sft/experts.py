"""Demonstrators: experts that know what the oracle knows, and how well each of them plays."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdm.oracles.graph_policy import GraphPolicy
from jaxdm.sft.tasks import ExpertPolicy, Task, expert_policy


def as_graph_policy(task: Task, lesson: ExpertPolicy, exploration: Any = 0.0) -> GraphPolicy:
    """The `Guide` that plays as a teacher does, with uniform play mixed in once more."""
    mixed = 1 - (1 - exploration) * (1 - lesson.exploration)
    return GraphPolicy(root=task.root, child=task.child, policy=lesson.policy, exploration=mixed)


Expert = Callable[[Task], ExpertPolicy]
"""Who teaches in a task."""


def oracle(task: Task) -> ExpertPolicy:
    """The optimal policy."""
    return expert_policy(task.optimal, task.q.dtype)


def soft_oracle(exploration: float) -> Expert:
    """The oracle that plays a uniform action with chance eps.

    Raises:
        ValueError: exploration outside [0, 1].
    """
    if not 0 <= exploration <= 1:
        raise ValueError(f"exploration: {exploration}; expected a number in [0, 1]")
    return lambda task: oracle(task)._replace(exploration=jnp.asarray(exploration, task.q.dtype))


def myopic(steps: int) -> Expert:
    """The policy that plans as if the world ended after so many more steps.

    Raises:
        ValueError: steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps: {steps}; expected at least 1")

    def lesson(task: Task) -> ExpertPolicy:
        horizon = task.q.shape[0]
        return expert_policy(task.optimal[jnp.maximum(jnp.arange(horizon), horizon - steps)], task.q.dtype)

    return lesson


def adversarial(task: Task) -> ExpertPolicy:
    """The policy that takes what the oracle likes least: no teacher to follow, but one to imitate."""
    return expert_policy(jax.nn.one_hot(jnp.argmin(task.q, axis=-1), task.q.shape[-1], dtype=bool), task.q.dtype)
