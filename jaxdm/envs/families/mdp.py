"""Families of MDPs, `key -> instance`: random ones, grids and the textbook's; every size but S and A is data.

Dimensions: `S` states, `A` actions. A family draws in `dtype`, that of jax when left out. A parameter
outside its range is a ValueError from `jaxdm.envs.mdp.validate` (or names itself), where values are not traced.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.envs.mdp import MDP, checked, masked_reward, validate
from jaxdm.validation import (
    check_distribution,
    check_shape,
    check_sizes,
    distribution,
    float_array,
    float_type,
    integer,
    is_concrete,
    number,
    positive_integer,
    positive_number,
    probability,
    real_array,
    require,
    whole_number,
)

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Row and column change of a grid's actions: up, down, left, right."""


ORDERS = np.array(
    [np.array(order) ^ way for order in itertools.permutations(range(4)) if order[0] % 2 == 0 for way in (0, 1)]
)
"""The 24 orders of four controls, [24, 4]; those of numbers 2 k and 2 k + 1 are each other's reversal."""


LARGEST_SIDE = 9_000
"""Cells along a wall of a room, at most, so that the identities of rooms are int32."""


def dirichlet(
    key: jax.Array, *, states: int, actions: int, concentration: Any = 1.0, discount: Any = 1.0, dtype: Any = None
) -> MDP:
    """Dense random MDP: `P(.|s,a) ~ Dirichlet(concentration)`, `r(s,a) ~ U[0,1]`, uniform start.

    Args:
        key: random key.
        states: S.
        actions: A.
        concentration: [] or [S] parameters of the Dirichlet distribution; small ones make nearly deterministic moves.
        discount: [] in [0, 1].
        dtype: float type.
    """
    check_sizes(states=states, actions=actions)
    key_transition, key_reward = random.split(key)
    dtype = float_type(dtype)
    probability("discount", discount)
    concentration = real_array("concentration", concentration, " or S", dtype, S=states)
    if is_concrete(concentration):
        require("concentration", concentration > 0, concentration, "positive numbers")
    alpha = jnp.broadcast_to(concentration, (states,))
    return checked(
        MDP(
            transition=jax.random.dirichlet(key_transition, alpha, (states, actions), dtype),
            reward=random.uniform(key_reward, (states, actions), dtype),
            initial=jnp.full((states,), 1 / states, dtype),
            discount=jnp.asarray(discount, dtype),
        )
    )


def garnet(key: jax.Array, *, states: int, actions: int, branching: int, discount: Any = 1.0, dtype: Any = None) -> MDP:
    """Garnet(S, A, b): each (s, a) reaches b states chosen uniformly, with the spacings of b - 1 uniform cuts.

    Rewards are `U[0,1]`, the start uniform.

    Args:
        key: random key.
        states: S.
        actions: A.
        branching: b, number of successors, 1 <= b <= S.
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: branching outside 1..S.

    Reference: Bhatnagar, Sutton, Ghavamzadeh, Lee, Natural actor-critic algorithms, 2009, section 6.
    """
    check_sizes(states=states, actions=actions)
    branching = positive_integer("branching", branching, at_most=states)
    key_support, key_cuts, key_reward = random.split(key, 3)
    dtype = float_type(dtype)
    probability("discount", discount)
    cuts = jnp.sort(random.uniform(key_cuts, (states, actions, branching - 1), dtype), axis=-1)
    edge = jnp.zeros((states, actions, 1), dtype)
    weights = jnp.diff(jnp.concatenate([edge, cuts, edge + 1], axis=-1), axis=-1)
    order = jnp.argsort(random.uniform(key_support, (states, actions, states)), axis=-1)[..., :branching]
    row, column = jnp.arange(states)[:, None, None], jnp.arange(actions)[None, :, None]
    return checked(
        MDP(
            transition=jnp.zeros((states, actions, states), dtype).at[row, column, order].set(weights),
            reward=random.uniform(key_reward, (states, actions), dtype),
            initial=jnp.full((states,), 1 / states, dtype),
            discount=jnp.asarray(discount, dtype),
        )
    )


def deterministic(key: jax.Array, *, states: int, actions: int, discount: Any = 1.0, dtype: Any = None) -> MDP:
    """Every (s, a) leads to one state, chosen uniformly; one state, likewise, pays 1 for every step that starts in it.

    The start is uniform.

    Args:
        key: random key.
        states: S.
        actions: A.
        discount: [] in [0, 1].
        dtype: float type.
    """
    check_sizes(states=states, actions=actions)
    key_target, key_goal = random.split(key)
    dtype = float_type(dtype)
    probability("discount", discount)
    goal = jax.nn.one_hot(jax.random.randint(key_goal, (), 0, states), states, dtype=dtype)
    target = jax.random.randint(key_target, (states, actions), 0, states)
    return checked(
        MDP(
            transition=jax.nn.one_hot(target, states, dtype=dtype),
            reward=jnp.broadcast_to(goal[:, None], (states, actions)),
            initial=jnp.full((states,), 1 / states, dtype),
            discount=jnp.asarray(discount, dtype),
        )
    )


def perturbed(key: jax.Array, mdp: MDP, concentration: Any) -> MDP:
    """An MDP near a given one: every row of `P` and the start are drawn from `Dirichlet(concentration row)`.

    What was impossible stays impossible; rewards and discount stay as they are.

    Args:
        key: random key.
        mdp: the centre; no batch axis.
        concentration: [] > 0: a probability p moves by about `sqrt(p (1 - p) / (concentration + 1))`.

    Raises:
        ValueError: a bad MDP (see `jaxdm.envs.mdp.validate`) or a batch, or a concentration that is not positive.
    """
    validate(mdp)
    check_shape("transition", mdp.transition, "S A S")
    key_transition, key_initial = random.split(key)
    return mdp._replace(
        transition=perturbed_rows(key_transition, mdp.transition, concentration),
        initial=perturbed_rows(key_initial, mdp.initial, concentration),
    )


def perturbed_rows(key: jax.Array, rows: jax.Array, concentration: Any) -> jax.Array:
    """Distributions [..., S] drawn from `Dirichlet(concentration row)`: mean `row`, zeros where it has zeros.

    Args:
        key: random key.
        rows: [..., S] distributions.
        concentration: [] > 0.

    Raises:
        ValueError: rows that are no distributions, or a concentration that is not positive.
    """
    positive_number("concentration", concentration)
    rows = float_array("rows", rows, "... S")
    if is_concrete(rows):
        check_distribution("rows", rows)
    possible = rows > 0
    alpha = jnp.where(possible, concentration * rows, 1)
    # As logarithms: gamma variates of small shape underflow, and a row must not lose all its weight.
    drawn = jax.random.loggamma(key, alpha, rows.shape, rows.dtype)
    return jax.nn.softmax(jnp.where(possible, drawn, -jnp.inf), axis=-1)


def dark_room(
    key: jax.Array,
    *,
    side: int,
    slip: Any = 0.0,
    extent: Any = None,
    identity: Any = None,
    discount: Any = 1.0,
    dtype: Any = None,
) -> MDP:
    """A side x side room with a hidden goal and unlabelled controls.

    The goal cell pays 1 for every step that starts in it. Which of the four actions moves which way is one of `ORDERS`.
    Both are the room's identity, uniform unless it is given. With chance `slip` the move goes in a uniformly random
    direction; a wall keeps the walker in place. The start is uniform. Demonstrations must be read for the goal *and*
    the controls.

    Args:
        key: random key of the identity.
        side: cells along a wall; S = side^2, A = 4.
        slip: [] in [0, 1], chance of a random move.
        extent: [] cells along a wall that are in use, 1..side; all when left out.
        identity: [] int32 in 0..`identities(side)` - 1, see `room_identity`.
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: side < 1, an extent or identity that there is not, or a chance outside [0, 1].

    Reference: after the dark room of Laskin et al., In-context RL with algorithm distillation, 2023; the permuted
        controls and the slip are ours.
    """
    check_sizes(side=side)
    probability("slip", slip)
    dtype = float_type(dtype)
    probability("discount", discount)
    states, actions = side * side, len(MOVES)
    cell = np.stack(np.divmod(np.arange(states), side), axis=-1)
    wide = side if extent is None else extent
    goal, controls = room_identity(key, side, wide, identity)
    wide = jnp.asarray(wide, jnp.int32)
    target = jnp.clip(cell[:, None] + np.asarray(MOVES), 0, wide - 1) @ np.asarray([side, 1])
    moves = jax.nn.one_hot(target, states, dtype=dtype)
    random_move = jnp.mean(moves, axis=1, keepdims=True)
    reward = jax.nn.one_hot(goal, states, dtype=dtype)
    used = jnp.all(cell < wide, axis=-1).astype(dtype)
    return checked(
        MDP(
            transition=(1 - slip) * moves[:, controls] + slip * random_move,
            reward=jnp.broadcast_to(reward[:, None], (states, actions)),
            initial=used / jnp.sum(used),
            discount=jnp.asarray(discount, dtype),
        )
    )


def identities(side: int) -> int:
    """How many rooms there are of a side, but for continuous numbers: goal cells times orders of the controls.

    Raises:
        ValueError: side < 1, or so large that they cannot be numbered.
    """
    side = positive_integer("side", side, at_most=LARGEST_SIDE)
    return side * side * len(ORDERS)


def room_identity(key: jax.Array, side: int, extent: Any, identity: Any = None) -> tuple[jax.Array, jax.Array]:
    """The goal cell [] and the order of the controls [4] of a room; uniform where no identity is given.

    Identity `24 g + o` is the goal in the g-th of the `extent^2` cells in use (counted anew after the last), with the
    controls of `ORDERS[o]`.

    Args:
        key: random key.
        side: cells along a wall.
        extent: [] cells along a wall that are in use.
        identity: [] int32 in 0..`identities(side)` - 1.

    Raises:
        ValueError: side < 1, an extent outside 1..side, or an identity that there is not.
    """
    rooms = identities(side)
    whole_number("extent", extent, 1, side)
    if identity is not None:
        whole_number("identity", identity, 0, rooms - 1)
    count = extent * extent
    number = jax.random.randint(key, (), 0, count * len(ORDERS)) if identity is None else jnp.asarray(identity)
    place, order = jnp.divmod(number.astype(jnp.int32), len(ORDERS))
    row, column = jnp.divmod(place % count, extent)
    return row * side + column, jnp.asarray(ORDERS, jnp.int32)[order]


def frozen_lake(*, slip: Any = 2 / 3, discount: Any = 1.0, dtype: Any = None) -> MDP:
    """The 4 x 4 frozen lake: reaching the goal pays 1; holes and goal are never left. The start is the first cell.

    Args:
        slip: [] chance that the move goes to one of the two sides instead, each with half of it; 2/3 is the
            "slippery" lake, 0 the other.
        discount: [] in [0, 1].
        dtype: float type.

    Reference: Towers et al., Gymnasium, 2024, FrozenLake-v1; actions are left, down, right, up as there.
    """
    probability("slip", slip)
    dtype = float_type(dtype)
    probability("discount", discount)
    tiles = np.array(list("SFFFFHFHFFFHHFFG"))
    moves = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
    cell = np.stack(np.divmod(np.arange(16), 4), axis=-1)
    target = np.clip(cell[:, None] + moves, 0, 3) @ np.asarray([4, 1])
    target = np.where(np.isin(tiles, ["H", "G"])[:, None], np.arange(16)[:, None], target)
    reached = jax.nn.one_hot(target, 16, dtype=dtype)
    sides = (jnp.roll(reached, 1, axis=1) + jnp.roll(reached, -1, axis=1)) / 2
    transition = (1 - slip) * reached + slip * sides
    return MDP(
        transition=transition,
        reward=jnp.where(jnp.asarray(tiles == "G")[:, None], 0, transition[:, :, 15]),
        initial=jnp.zeros(16, dtype).at[0].set(1),
        discount=jnp.asarray(discount, dtype),
    )


def chain(*, states: int, slip: Any = 0.2, discount: Any = 0.9, dtype: Any = None) -> MDP:
    """The chain of hard exploration: action 0 walks right and pays 10 at the end, action 1 returns home and pays 2.

    With chance `slip` the other action's effect happens. The start is state 0.

    Args:
        states: S.
        slip: [] in [0, 1].
        discount: [] in [0, 1].
        dtype: float type.

    Reference: Dearden, Friedman, Russell, Bayesian Q-learning, 1998 (S = 5).
    """
    check_sizes(states=states)
    probability("slip", slip)
    dtype = float_type(dtype)
    probability("discount", discount)
    right = jax.nn.one_hot(jnp.minimum(jnp.arange(states) + 1, states - 1), states, dtype=dtype)
    home = jnp.zeros((states, states), dtype).at[:, 0].set(1)
    forward_pay = jnp.zeros(states, dtype).at[-1].set(10)
    home_pay = jnp.full(states, 2, dtype)

    def mix(x, y):
        return (1 - slip) * x + slip * y

    return checked(
        MDP(
            transition=jnp.stack([mix(right, home), mix(home, right)], axis=1),
            reward=jnp.stack([mix(forward_pay, home_pay), mix(home_pay, forward_pay)], axis=1),
            initial=jnp.zeros(states, dtype).at[0].set(1),
            discount=jnp.asarray(discount, dtype),
        )
    )


def machine_replacement(
    *, states: int, wear: Any = 0.3, replacement_cost: Any = 0.5, discount: Any = 0.9, dtype: Any = None
) -> MDP:
    """Run a machine that wears out (action 0), or replace it (action 1).

    Running in wear state s pays `1 - s / (S - 1)` and moves to s + 1 with chance `wear`; replacing pays
    `1 - replacement_cost` and leads to state 0. The start is a new machine.

    Args:
        states: S >= 2 wear levels, 0 is new.
        wear: [] in [0, 1], chance to lose one level.
        replacement_cost: [] reward units.
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: fewer than 2 states.

    Reference: Puterman 1994, section 4.7.5; the numbers are ours.
    """
    states = integer("states", states, 2)
    probability("wear", wear)
    number("replacement_cost", replacement_cost, math.isfinite, "a finite number")
    dtype = float_type(dtype)
    probability("discount", discount)
    level = jnp.arange(states)
    worse = jax.nn.one_hot(jnp.minimum(level + 1, states - 1), states, dtype=dtype)
    keep = (1 - wear) * jnp.eye(states, dtype=dtype) + wear * worse
    new = jnp.zeros((states, states), dtype).at[:, 0].set(1)
    run_pay = 1 - level.astype(dtype) / (states - 1)
    return checked(
        MDP(
            transition=jnp.stack([keep, new], axis=1),
            reward=jnp.stack([run_pay, jnp.full(states, 1 - replacement_cost, dtype)], axis=1),
            initial=jnp.zeros(states, dtype).at[0].set(1),
            discount=jnp.asarray(discount, dtype),
        )
    )


def inventory(
    *,
    capacity: int,
    demand: Any = None,
    price: Any = 4.0,
    order_cost: Any = 2.0,
    fixed_cost: Any = 1.0,
    holding_cost: Any = 0.3,
    discount: Any = 0.9,
    dtype: Any = None,
) -> MDP:
    """Stochastic inventory control: with stock s, order a units, as far as they fit: s + a <= capacity.

    Then demand D comes, `min(s + a, D)` units are sold, and demand that is not met is lost:
    `r(s,a) = price E min(s + a, D) - order_cost a - fixed_cost 1{a > 0} - holding_cost E (s + a - D)^+`. Orders that do
    not fit are not available. The start is an empty store.

    Args:
        capacity: most units in stock; S = A = capacity + 1.
        demand: [capacity + 1] chance of each demand; uniform when left out.
        price: [] reward units for a unit sold.
        order_cost: [] for a unit ordered.
        fixed_cost: [] for an order of any size.
        holding_cost: [] for a unit that is left over.
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: capacity < 1, or a demand that is no probability distribution on 0..capacity.

    Reference: Puterman 1994, section 3.2; the numbers are ours.
    """
    check_sizes(capacity=capacity)
    probability("discount", discount)
    costs = {"price": price, "order_cost": order_cost, "fixed_cost": fixed_cost, "holding_cost": holding_cost}
    for name, cost in costs.items():
        number(name, cost, math.isfinite, "a finite number")
    units = np.arange(capacity + 1)
    chance = np.full(capacity + 1, 1 / (capacity + 1)) if demand is None else demand
    chance = distribution("demand", chance, "D", dtype, D=capacity + 1)
    dtype = chance.dtype
    fits = units[:, None] + units <= capacity
    level = np.where(fits, units[:, None] + units, units[:, None])
    left = np.maximum(level[..., None] - units, 0)  # [S, A, D]
    sold = level[..., None] - left
    ordered = (order_cost * units + fixed_cost * (units > 0))[None]
    paid = (price * sold - holding_cost * left) @ chance - ordered
    moves = jax.nn.one_hot(left, capacity + 1, dtype=dtype)
    return checked(
        MDP(
            transition=jnp.einsum("sadt,d->sat", moves, chance, precision=jax.lax.Precision.HIGHEST),
            reward=masked_reward(jnp.asarray(paid, dtype), fits),
            initial=jnp.zeros(capacity + 1, dtype).at[0].set(1),
            discount=jnp.asarray(discount, dtype),
        )
    )
