"""A history as an episode, for what looks only at what was done and seen."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxdm.types import Episode


def as_episode(actions: Sequence[int] | jax.Array, observations: Sequence[int] | jax.Array) -> Episode:
    """T decisions from T - 1 actions and T observations; the last action and what follows it do not matter."""
    seen, none = jnp.asarray(observations, jnp.int32), jnp.zeros(1, jnp.int32)
    false = jnp.zeros(len(seen), bool)
    return Episode(
        observation=seen,
        action=jnp.concatenate([jnp.asarray(actions, jnp.int32), none]),
        reward=jnp.zeros(len(seen)),
        next_observation=jnp.concatenate([seen[1:], none]),
        terminated=false,
        truncated=false,
        state=jnp.zeros(len(seen)),
        mask=~false,
    )
