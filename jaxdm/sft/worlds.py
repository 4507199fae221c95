"""Any world with an oracle as a family of tasks: the worlds near it.

Dimensions: `H` horizon, `S` states, `A` actions, `O` observations, `M` models.

Tasks are drawn around a centre, an MDP, a POMDP or an APOMDP of the user's own: every row of the transition and
observation kernels, and of the first state, is drawn from `Dirichlet(concentration row)`, so that zeros stay zeros and
a probability p moves by about `sqrt(p (1 - p) / (concentration + 1))`. Rewards are the centre's, divided by the largest
in modulus: optimality gaps do not change, and networks read numbers of size one. Horizons are finite; the discount is
the centre's.

An MDP's information states are its states; the others' are the rows of the whole tree of histories, which all worlds
of the same sizes share.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdm.envs import apomdp as apomdps
from jaxdm.envs import mdp as mdps
from jaxdm.envs import pomdp as pomdps
from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.families.mdp import perturbed as perturbed_mdp
from jaxdm.envs.families.mdp import perturbed_rows
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.numerics import cast_floats
from jaxdm.oracles.apomdp.history_tree import histories, require_memory, tree_memory, validate_one
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Family, Task, solve_mdp, solve_tree
from jaxdm.tokens import Spaces
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, check_shape, nonnegative_number, positive_integer, probability

World = MDP | POMDP | APOMDP

POOL_MEMORY = 2.0 * 2**30
"""Bytes that a pool of solved tasks may take."""


def prepared(world: World) -> MDP | APOMDP:
    """The centre of a family: a POMDP as an APOMDP of one model, and rewards of size one.

    Raises:
        ValueError: a bad world, a batch, or what is none.
    """
    if isinstance(world, MDP):
        mdps.validate(world)
        check_shape("transition", world.transition, "S A S")
    elif isinstance(world, POMDP):
        pomdps.validate(world)
        check_shape("transition", world.transition, "S A S")
        world = apomdps.of_one_model(world)
    elif isinstance(world, APOMDP):
        validate_one(world)
    else:
        raise InvalidInput(f"world: {type(world).__name__}; expected an MDP, a POMDP or an APOMDP")
    size = jnp.max(jnp.where(jnp.isfinite(world.reward), jnp.abs(world.reward), 0))
    return world._replace(reward=world.reward / jnp.where(size > 0, size, 1))


def perturbed(key: jax.Array, world: MDP | APOMDP, concentration: Any) -> MDP | APOMDP:
    """A world near a given one, see this module's docstring."""
    if isinstance(world, MDP):
        return perturbed_mdp(key, world, concentration)
    names = ("transition", "observation", "initial", "initial_observation")
    keys = jax.random.split(key, len(names))
    rows = {name: perturbed_rows(k, getattr(world, name), concentration) for name, k in zip(names, keys, strict=True)}
    return world._replace(**rows)


def solve(world: MDP | APOMDP, horizon: int) -> Task:
    """A world that is `prepared`, solved for a horizon."""
    return solve_mdp(world, horizon) if isinstance(world, MDP) else solve_tree(world, horizon)


def around(world: World, horizon: int, count: int) -> tuple[Family, MDP | APOMDP]:
    """The family of the worlds near a centre, and the prepared centre.

    The family's `ranges` are `(centre, concentration)`.

    Args:
        world: no batch axis.
        horizon: H.
        count: tasks that are to be solved and kept.

    Raises:
        ValueError: a bad world, horizon < 1, or tasks that need more memory than `POOL_MEMORY`, with the numbers.
    """
    horizon, count = positive_integer("horizon", horizon), positive_integer("count", count)
    centre = prepared(world)
    if isinstance(centre, APOMDP):
        observations, actions = centre.observation.shape[-1], centre.reward.shape[1]
        rows = histories(observations, actions * observations, horizon)
        try:
            require_memory(
                count * tree_memory(cast_floats(centre, jnp.float32), observations, horizon), POOL_MEMORY, ""
            )
        except ValueError as error:
            raise InvalidInput(
                f"horizon: {horizon} with A = {actions}, O = {observations} makes {rows} histories, for each of "
                f"{count} tasks ({error}); expected a shorter horizon or fewer tasks"
            ) from error
    return Family(draw=_drawer(horizon)), centre


@functools.cache
def _drawer(horizon: int):
    """One object for a horizon, so that it is compiled once."""

    def draw(key: jax.Array, identity: jax.Array, ranges: Tree) -> Task:
        centre, concentration = ranges
        return solve(perturbed(key, centre, concentration), horizon)

    return draw


def setting(centre: MDP | APOMDP, horizon: int, visit_exploration: float, behaviour_scale: float) -> Setting:
    """How a family's tasks are played; the last two as in `jaxdm.sft.data.Setting`.

    Raises:
        ValueError: horizon < 1, an exploration outside [0, 1], or a scale that is negative.
    """
    horizon = positive_integer("horizon", horizon)
    probability("visit_exploration", visit_exploration)
    nonnegative_number("behaviour_scale", behaviour_scale)
    actions = centre.reward.shape[1]
    if isinstance(centre, MDP):
        env, observations, models = mdps.env(horizon), centre.reward.shape[0], 1
    else:
        env, observations, models = apomdps.env(horizon), centre.observation.shape[-1], centre.nature.shape[0]
    return Setting(
        env=env,
        spaces=Spaces(observations=observations, actions=actions),
        horizon=horizon,
        member=apomdps.certain if models > 1 else only,
        visit_exploration=visit_exploration,
        behaviour_scale=behaviour_scale,
    )


def only(world: Tree, model: jax.Array) -> Tree:
    """The world of a setting that has one model."""
    return world
