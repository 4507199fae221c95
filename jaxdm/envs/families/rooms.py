"""Hidden-mode rooms: the cell is observed, but in one of two hidden modes every control does the opposite.

Dimensions: `M` models, `X = side^2` cells, `S = 4 X` states, `A = 4` actions, `O = 2 X` observations.

The room is a torus with a hidden goal and unlabelled controls; the goal pays 1 for every step that starts in it. The
mode is drawn at the start of an episode and stays. A cue, drawn with it and shown all along, equals the mode with
probability `cue_accuracy` (the quality q of observations); how moves turn out tells more. State `(x, mode, cue)` has
index `4 x + 2 mode + cue`, observation `(x, cue)` index `2 x + cue`; rewards tell nothing that the cell does not.
Models differ in slip, cue accuracy and prior of the mode. The room extends the dark room of `jaxdm.envs.families.mdp`;
the modes are ours.

Reference: Choi, Yeung and Zhang, Hidden-mode Markov decision processes for nonstationary sequential decision making,
Sequence Learning, 2001.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.apomdp import APOMDP, make, members
from jaxdm.envs.families.mdp import MOVES, room_identity
from jaxdm.envs.pomdp import POMDP
from jaxdm.validation import check_shape, integer, is_concrete, real_array, record, require, whole_number


class Room(NamedTuple):
    """The models of a room, and the numbers from which beliefs follow by counting moves."""

    world: APOMDP
    target: jax.Array  # [2, X, A] int32, where a control leads in either mode
    slip: jax.Array  # [M]
    cue_accuracy: jax.Array  # [M]
    mode_prior: jax.Array  # [M] chance of mode 0


def hidden_mode_room(
    key: jax.Array,
    *,
    side: int,
    slip: Any,
    cue_accuracy: Any,
    mode_prior: Any,
    attitude: Any = 1.0,
    extent: Any = None,
    identity: Any = None,
    dtype: Any = None,
) -> Room:
    """A random goal and a random order of controls, unless the identity is given; everything but the size is data.

    A room whose controls are reversed is the same room with its modes exchanged: a split of identities that is to keep
    alike rooms together must not part identities 2 k and 2 k + 1 (see `jaxdm.envs.families.mdp.ORDERS`).

    Args:
        key: random key of the identity.
        side: cells along a wall, at least 3.
        slip: [M] in [0, 1], chance of a random move; above 0 where there are several models, so that none is ruled out.
        cue_accuracy: [M] in [1/2, 1], chance that the cue equals the mode; below 1 likewise.
        mode_prior: [M] in [0, 1], chance of mode 0.
        attitude: alpha, [] in [0, 1].
        extent: [] cells along a wall that are in use, 3..side; all when left out.
        identity: [] int32 in 0..`jaxdm.envs.families.mdp.identities(side)` - 1: goal and order of the controls.
        dtype: float type; jax's default when left out.

    Returns:
        Room of M models.

    Raises:
        InvalidInput: side below 3, numbers outside their range (where they are concrete), or as
            `jaxdm.envs.apomdp.make`.
    """
    side = integer("side", side, 3)  # so that four moves lead to four cells
    if extent is not None:
        whole_number("extent", extent, 3, side)
    chances = []
    for name, value, low in (("slip", slip, 0.0), ("cue_accuracy", cue_accuracy, 0.5), ("mode_prior", mode_prior, 0.0)):
        found = real_array(name, value, " or M", dtype)
        if is_concrete(found):
            require(name, (found >= low) & (found <= 1), found, f"numbers in [{low:g}, 1]")
        chances.append(jnp.atleast_1d(found))
    slip, cue_accuracy, mode_prior = chances
    wide = side if extent is None else extent
    cell = np.stack(np.divmod(np.arange(side * side), side), axis=-1)
    target = jnp.mod(cell[:, None] + np.asarray(MOVES), wide) @ np.asarray([side, 1])
    place, controls = room_identity(key, side, wide, identity)
    target = jnp.stack([target[:, controls], target[:, controls ^ 1]]).astype(jnp.int32)  # MOVES are in opposite pairs
    used = jnp.all(jnp.asarray(cell) < wide, axis=-1)
    goal = jnp.arange(side * side) == place
    world = make(_members(target, used, goal, slip, cue_accuracy, mode_prior), attitude)
    return Room(world=world, target=target, slip=slip, cue_accuracy=cue_accuracy, mode_prior=mode_prior)


def member(world: APOMDP, model: int) -> POMDP:
    """One of the models as a POMDP; no batch axis.

    Raises:
        InvalidInput: what is no APOMDP or a batch, or a model that there is not.
    """
    record("world", world, APOMDP)
    check_shape("transition", world.transition, "M S A S")
    whole_number("model", model, 0, world.transition.shape[0] - 1)
    return jax.tree.map(lambda x: x[model], members(world))


def _members(
    target: jax.Array, used: jax.Array, goal: jax.Array, slip: jax.Array, cue_accuracy: jax.Array, mode_prior: jax.Array
) -> POMDP:
    """The M models from where controls lead [2, X, A], the cells in use and the goal [X]."""
    (_, cells, actions), models, dtype = target.shape, slip.shape[0], slip.dtype
    reach = jax.nn.one_hot(target, cells, dtype=dtype)
    slip = slip[:, None, None, None, None]
    moves = (1 - slip) * reach[None] + slip * jnp.mean(reach, axis=2, keepdims=True)[None]  # [M, mode, x, a, x']
    same = jnp.eye(2, dtype=dtype)
    transition = jnp.einsum("mgxay,gh,zw->mxgzayhw", moves, same, same)
    mode = jnp.stack([mode_prior, 1 - mode_prior], axis=-1)
    cue = jnp.where(jnp.eye(2, dtype=bool), cue_accuracy[:, None, None], 1 - cue_accuracy[:, None, None])
    start = used.astype(dtype) / jnp.sum(used)
    seen = jnp.einsum("xy,zw->xzyw", jnp.eye(cells, dtype=dtype), same)[:, None]
    seen = jnp.broadcast_to(seen, (cells, 2, 2, cells, 2)).reshape(4 * cells, 2 * cells)
    reward = jnp.repeat(goal.astype(dtype), 4)
    return POMDP(
        transition=transition.reshape(models, 4 * cells, actions, 4 * cells),
        reward=jnp.broadcast_to(reward[None, :, None], (models, 4 * cells, actions)),
        initial=jnp.einsum("x,mg,mgz->mxgz", start, mode, cue).reshape(models, -1),
        discount=jnp.ones(models, dtype),
        observation=jnp.broadcast_to(seen, (models, actions, *seen.shape)),
        initial_observation=jnp.broadcast_to(seen, (models, *seen.shape)),
    )
