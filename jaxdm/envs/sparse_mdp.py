"""Finite MDPs in which few states can follow: the record, its check, its simulator, and the forms other tools use.

Dimensions: `S` states, `A` actions, `K` successors of a state and an action, `L` pairs of a state and an action.

A dense MDP stores `S A S` probabilities; this one stores `S A K` with the index of each. Rows with fewer than K
successors are padded with probability zero. A reward of -inf marks an action that is not available in a state, as in
`jaxdm.envs.mdp`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import sparse

from jaxdm.envs.mdp import MDP, check_reward, simulator
from jaxdm.envs.mdp import make as make_dense
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.types import Env
from jaxdm.validation import (
    check_distribution,
    check_shape,
    distributions,
    integer_array,
    is_concrete,
    real_array,
    record,
    require,
)


class SparseMDP(NamedTuple):
    """A finite MDP where (s, a) leads to `successor[s, a, k]` with chance `probability[s, a, k]`.

    `P(s'|s,a) = sum_k probability[s,a,k] 1{successor[s,a,k] = s'}`: a state may stand in a row twice.
    """

    successor: jax.Array  # [S, A, K] int32
    probability: jax.Array  # [S, A, K], zero where a row is padded
    reward: jax.Array  # [S, A], -inf where the action is not available
    initial: jax.Array  # [S]
    discount: jax.Array  # []


def make(
    successor: Any, probability: Any, reward: Any, initial: Any = None, discount: Any = 1.0, dtype: Any = None
) -> SparseMDP:
    """A sparse MDP from anything array-like, checked.

    Args:
        successor: [S, A, K], indices of states.
        probability: [S, A, K], rows sum to one.
        reward: [S, A]; -inf where an action is not available.
        initial: [S]; uniform when left out.
        discount: [] in [0, 1].
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).

    Returns:
        The MDP.

    Raises:
        ValueError: as `validate`.
    """
    probability = distributions("probability", probability, "... S A K", dtype)
    dtype = probability.dtype
    reward = real_array("reward", reward, "... S A", dtype, finite=False)
    if initial is None:
        initial = np.full(reward.shape[:-1], 1 / reward.shape[-2])
    problem = SparseMDP(
        successor=integer_array("successor", successor, "... S A K", at_most=reward.shape[-2] - 1),
        probability=probability,
        reward=reward,
        initial=distributions("initial", initial, dtype=dtype),
        discount=real_array("discount", discount, dtype=dtype),
    )
    validate(problem)
    return problem


def validate(mdp: SparseMDP) -> None:
    """Check a sparse MDP, or a batch of them with the same leading axes on every field.

    Shapes are checked always, values only where they are not traced.

    Raises:
        ValueError: names the field, the value found and what was expected: wrong shapes, an index that is no state, a
            number that is not finite (but rewards of -inf), a state without an available action, a row that is no
            probability distribution, a discount outside [0, 1].
    """
    record("mdp", mdp, SparseMDP)
    check_shape("reward", mdp.reward, "... S A")
    check_shape("probability", mdp.probability, "... S A K")
    shape = mdp.reward.shape
    batch, (states, actions) = shape[:-2], shape[-2:]
    if mdp.probability.ndim != len(shape) + 1 or mdp.probability.shape[-1] == 0:
        raise ValueError(f"probability: shape {mdp.probability.shape}; expected [S, A, K] with K >= 1")
    row = (states, actions, mdp.probability.shape[-1])
    expected = {"successor": row, "probability": row, "initial": (states,), "discount": ()}
    for name, tail in expected.items():
        found = getattr(mdp, name).shape
        if found != batch + tail:
            raise ValueError(f"{name}: shape {found}; expected {batch + tail} beside reward {shape}")
    if not is_concrete(mdp):
        return
    _check_indices(np.asarray(mdp.successor), states)
    check_reward(mdp.reward)
    discount = np.asarray(mdp.discount)
    for name in ("probability", "initial"):
        require(name, np.isfinite(getattr(mdp, name)), getattr(mdp, name), "finite numbers")
        check_distribution(name, getattr(mdp, name))
    require("discount", (discount >= 0) & (discount <= 1), discount, "a number in [0, 1]")


def _check_indices(successor: np.ndarray, states: int) -> None:
    if successor.dtype.kind not in "iu":
        raise ValueError(f"successor: {successor.dtype} numbers; expected indices of states")
    require("successor", (successor >= 0) & (successor < states), successor, f"an index of a state, 0 to {states - 1}")


def from_csr(
    transitions: Sequence[Any], reward: Any, initial: Any = None, discount: Any = 1.0, dtype: Any = None
) -> SparseMDP:
    """A sparse MDP from one scipy sparse matrix for each action.

    Args:
        transitions: A matrices [S, S] in any form of `scipy.sparse`, rows sum to one.
        reward: [S, A].
        initial: [S]; uniform when left out.
        discount: [] in [0, 1].
        dtype: float type; that of jax when left out.

    Returns:
        The MDP; K is the largest number of entries in a row.

    Raises:
        ValueError: no matrix, matrices of different shapes, or as `validate`.
    """
    matrices: list[Any] = [sparse.csr_array(matrix) for matrix in transitions]
    if not matrices:
        raise ValueError("transitions: no matrix; expected one for each action")
    size = matrices[0].shape[0]
    for action, matrix in enumerate(matrices):
        if matrix.shape != (size, size):
            raise ValueError(f"transitions: shape {matrix.shape} for action {action}; expected {(size, size)}")
    successor, probability = padded_rows(sparse.csr_array(sparse.vstack(matrices)))
    by_state = (len(matrices), size, successor.shape[-1])
    return make(
        successor.reshape(by_state).swapaxes(0, 1),
        probability.reshape(by_state).swapaxes(0, 1),
        reward,
        initial,
        discount,
        dtype,
    )


def from_pairs(
    reward: Any,
    transition: Any,
    states: Any,
    actions: Any,
    initial: Any = None,
    discount: Any = 1.0,
    dtype: Any = None,
) -> SparseMDP:
    """A sparse MDP from pairs of a state and an action, as QuantEcon's `DiscreteDP(R, Q, beta, s_indices, a_indices)`.

    Args:
        reward: [L], `R`.
        transition: [L, S], `Q`, a scipy sparse matrix or an array; rows sum to one.
        states: [L], `s_indices`.
        actions: [L], `a_indices`; pairs that are not listed are not available.
        initial: [S]; uniform when left out.
        discount: [] in [0, 1], `beta`.
        dtype: float type; that of jax when left out.

    Returns:
        The MDP with A = 1 + the largest action; where a pair is not available the reward is -inf and the state stays.

    Raises:
        ValueError: lengths that differ, a pair twice, an index out of range, or as `validate`.
    """
    matrix: Any = sparse.csr_array(transition)
    pairs, size = matrix.shape
    states, actions, reward = np.asarray(states), np.asarray(actions), np.asarray(reward, np.float64)
    for name, value in (("states", states), ("actions", actions), ("reward", reward)):
        if value.shape != (pairs,) or pairs == 0:
            raise ValueError(f"{name}: shape {value.shape}; expected {(pairs,)} and L >= 1")
    _check_indices(states, size)
    if actions.dtype.kind not in "iu" or actions.min() < 0:
        raise ValueError(f"actions: {actions.min()} of {actions.dtype}; expected indices >= 0")
    count = int(actions.max()) + 1
    row = states.astype(np.int64) * count + actions
    if len(np.unique(row)) < pairs:
        raise ValueError("states, actions: a pair stands there twice; expected each once")
    listed, chance = padded_rows(matrix)
    successor = np.repeat(np.arange(size, dtype=np.int32), count)[:, None].repeat(listed.shape[-1], axis=1)
    probability = np.zeros(successor.shape)
    probability[:, 0] = 1
    paid = np.full(size * count, -np.inf)
    successor[row], probability[row], paid[row] = listed, chance, reward
    shape = (size, count, -1)
    return make(
        successor.reshape(shape), probability.reshape(shape), paid.reshape(size, count), initial, discount, dtype
    )


def from_dense(mdp: MDP) -> SparseMDP:
    """The sparse form of a dense MDP without batch axes; K is the largest number of successors."""
    if mdp.reward.ndim != 2:
        raise ValueError(f"reward: shape {mdp.reward.shape}; expected [S, A], one MDP at a time")
    matrices = [sparse.csr_array(np.asarray(mdp.transition)[:, action]) for action in range(mdp.reward.shape[1])]
    return from_csr(matrices, mdp.reward, mdp.initial, mdp.discount, mdp.reward.dtype)


def to_dense(mdp: SparseMDP) -> MDP:
    """The dense form, with `S A S` probabilities."""
    states, actions = mdp.reward.shape
    row = np.arange(states)[:, None, None], np.arange(actions)[:, None], np.asarray(mdp.successor)
    transition = np.zeros((states, actions, states), np.asarray(mdp.probability).dtype)
    np.add.at(transition, row, np.asarray(mdp.probability))
    return make_dense(transition, mdp.reward, mdp.initial, mdp.discount, mdp.reward.dtype)


def padded_rows(matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a scipy CSR array as indices and values of equal length.

    Args:
        matrix: [n, S].

    Returns:
        Indices [n, K] int32, padded with a row's first one, and values [n, K], padded with zero; K >= 1.
    """
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    count = np.diff(matrix.indptr)
    row = np.repeat(np.arange(len(count)), count)
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], count)
    values = np.zeros((len(count), max(int(count.max(initial=0)), 1)))
    indices = np.zeros(values.shape, np.int32)
    indices[count > 0] = matrix.indices[matrix.indptr[:-1][count > 0]][:, None]
    indices[row, place], values[row, place] = matrix.indices, matrix.data
    return indices, values


def env(horizon: int | None = None) -> Env:
    """The simulator of any sparse MDP: `params` is a `SparseMDP`, observations and actions are int32 indices.

    The reward is `r(s, a)`. A sparse MDP never terminates; the step that reaches `horizon` is truncated.

    Args:
        horizon: number of steps of an episode; endless when left out.

    Returns:
        An `Env`; the noise of a step is a uniform number.

    Raises:
        ValueError: horizon < 1.
    """
    return simulator(horizon, _successor)


def _successor(noise: jax.Array, state: jax.Array, action: jax.Array, params: SparseMDP) -> jax.Array:
    chosen = sample_index(inverse_cdf(params.probability[state, action]), noise)
    return params.successor[state, action, chosen]
