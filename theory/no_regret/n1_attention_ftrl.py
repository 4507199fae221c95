"""N1. One linear-attention layer with a projection is follow-the-regularised-leader (FTRL), exactly.

Statement. The layer reads past losses `l_1..l_t` with a fixed query c and plays the projection on the ball of radius R
of `g = sum_i (V l_i + v)(K l_i + k)^T (Q c + q)`. Write `u = Q c + q` and `S_t = l_1 + ... + l_t`. Under the conditions
`K^T u = 0`, `v = 0` and `(k^T u) V = -eta I` the play is that of FTRL, `argmin <S_t, x> + |x|^2 / (2 eta)`.

Proof. Every score is the constant `k^T u`, so `g = (k^T u) V S_t = -eta S_t`. Completing the square, `<S, x> + |x|^2 /
(2 eta) = |x + eta S|^2 / (2 eta) - eta |S|^2 / 2`: the projection is the minimiser. With a softmax in place of the
projection the same sum minimises `<S, x> + sum_i x_i log x_i / eta` over the simplex: Hedge.

Check: random weights under the conditions, on the library's attention, against minimisers found from their optimality
conditions alone. Refutation: `K^T u` is one in every coordinate, so that the scores depend on the losses.

Source: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import families
from jaxdm.envs.online import BALL
from jaxdm.models import attention
from theory import draws
from theory.verdicts import exactly, largest

SOURCE = "Park, Liu, Ozdaglar, Zhang, ICLR 2025"


STATEMENT = "linear attention, then a projection (a softmax), plays the minimiser that defines FTRL (Hedge)"


DIMENSION, ROUNDS, WIDTH = 4, 20, 6


CHUNK = 5000
"""Layers at once."""


ROUNDING = 1e4 * float(np.finfo(np.float64).eps)
"""Sums of 20 losses through random matrices of condition about 100, and 200 halvings of an interval."""


class AttentionFTRLForm(NamedTuple):
    """The stated conditions and minimisers, with their constants."""

    leak: float = 0.0  # K^T u, in every coordinate
    bias: float = 0.0  # v, in every coordinate
    rate: float = 1.0  # times the minimisers' eta
    delay: int = 0  # losses, the latest ones, that the minimisers leave out


STATED = AttentionFTRLForm()


WRONG = {
    "K^T u = 1": AttentionFTRLForm(leak=1.0),
    "v = 1": AttentionFTRLForm(bias=1.0),
    "eta x 0.5": AttentionFTRLForm(rate=0.5),
    "eta x 2": AttentionFTRLForm(rate=2.0),
    "the last loss left out": AttentionFTRLForm(delay=1),
}


class AttentionHead(NamedTuple):
    """Weights of one linear-attention head, and its query token; `d` coordinates, `m` width."""

    value: jax.Array  # [d, d] V
    value_bias: jax.Array  # [d] v
    key: jax.Array  # [m, d] K
    key_bias: jax.Array  # [m] k
    query: jax.Array  # [m, d] Q
    query_bias: jax.Array  # [m] q
    token: jax.Array  # [d] c


def attend(layer: AttentionHead, losses: jax.Array, first: jax.Array | int = 0, rows: int | None = None) -> jax.Array:
    """`g` after rounds first, first + 1, ... (all by default), [rows, d]: row 0 is the sum over losses 0..first."""
    u = layer.query @ layer.token + layer.query_bias
    cached = attention.KeyValues(
        keys=(losses @ layer.key.T + layer.key_bias[None])[None],
        values=(losses @ layer.value.T + layer.value_bias[None])[None],
    )
    rows = rows or losses.shape[0]
    mean = attention.attend(jnp.broadcast_to(u, (1, rows, WIDTH)), cached, first, "linear")[0]
    return mean * jnp.maximum(first + jnp.arange(rows), 1).astype(mean.dtype)[:, None]


def ftrl_layer(
    key: jax.Array, eta: jax.Array, dimension: int, leak: jax.Array | float = 0.0, bias: jax.Array | float = 0.0
) -> AttentionHead:
    """Random weights that satisfy the conditions.

    Args:
        key: random key.
        eta: FTRL's rate, [].
        dimension: d.
        leak: the coordinates of `K^T u`; zero as a condition.
        bias: the coordinates of v; zero as a condition.
    """
    shapes = ((WIDTH, dimension), (WIDTH, dimension), (WIDTH,), (WIDTH,), (dimension,))
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1])  # one flat draw compiles faster than five
    query, raw, query_bias, key_bias, token = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    u = query @ token + query_bias
    keys_matrix = raw - jnp.outer(u, u @ raw) / (u @ u) + leak * jnp.outer(u, jnp.ones(dimension)) / (u @ u)
    key_bias = key_bias - u * (u @ key_bias) / (u @ u) + u  # k^T u = |u|^2, never near zero
    return AttentionHead(
        value=-eta / (key_bias @ u) * jnp.eye(dimension),
        value_bias=jnp.full(dimension, bias),
        key=keys_matrix,
        key_bias=key_bias,
        query=query,
        query_bias=query_bias,
        token=token,
    )


HALVINGS = 200


def minimisers_on_ball(totals: np.ndarray, etas: np.ndarray, radius: float) -> np.ndarray:
    """`argmin <S, x> + |x|^2 / (2 eta)`, `|x| <= R`, from its optimality conditions: halving for the multiplier.

    Args:
        totals: [n, d] S.
        etas: [n].
        radius: R.
    """

    def points(multipliers: np.ndarray) -> np.ndarray:
        return -totals / (1 / etas + 2 * multipliers)[:, None]

    low, high = np.zeros(len(totals)), np.linalg.norm(totals, axis=1) / radius
    inside = np.linalg.norm(points(low), axis=1) <= radius
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        outside = np.linalg.norm(points(middle), axis=1) > radius
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return points(np.where(inside, 0, high))


def minimisers_on_simplex(totals: np.ndarray, etas: np.ndarray) -> np.ndarray:
    """`argmin <S, x> + sum x log x / eta`, `sum x = 1`, from its optimality conditions: halving for the multiplier.

    Args:
        totals: [n, d] S.
        etas: [n].
    """

    def points(multipliers: np.ndarray) -> np.ndarray:
        return np.exp(-etas[:, None] * (totals + multipliers[:, None]))

    least = totals.min(axis=1)
    low, high = -least - 1 / etas, -least + (1 + np.log(totals.shape[1])) / etas
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        large = points(middle).sum(axis=1) > 1
        low, high = np.where(large, middle, low), np.where(large, high, middle)
    return points(high)


def decisions(key: jax.Array, leak: float, bias: float) -> tuple:
    """A random layer on a random sequence: `S_t`, eta, and its decisions on the unit ball and on the simplex."""
    key_losses, key_layer, key_eta = jax.random.split(key, 3)
    losses = families.losses.gaussian(key_losses, length=ROUNDS, dimension=DIMENSION)
    eta = 10 ** jax.random.uniform(key_eta, minval=-1.5, maxval=0.5)
    summed = attend(ftrl_layer(key_layer, eta, DIMENSION, leak, bias), losses)
    return jnp.cumsum(losses, axis=0), eta, jax.vmap(BALL.project)(summed), jax.nn.softmax(summed, axis=1)


def errors(form: AttentionFTRLForm, key: jax.Array, count: int) -> np.ndarray:
    """Largest distance between a layer's decisions and the minimisers, of random layers and sequences, [count]."""
    played = _decisions(jax.random.split(key, count), form.leak, form.bias)
    totals, etas, on_ball, on_simplex = map(np.asarray, played)
    worst = np.zeros(count)
    for t in range(0, ROUNDS, 5):
        total, eta = totals[:, max(t - form.delay, 0)], form.rate * etas
        ball, simplex = minimisers_on_ball(total, eta, 1.0), minimisers_on_simplex(total, eta)
        worst = np.maximum(worst, np.abs(on_ball[:, t] - ball).max(axis=1))
        worst = np.maximum(worst, np.abs(on_simplex[:, t] - simplex).max(axis=1))
    return worst


_decisions = jax.jit(jax.vmap(decisions, (0, None, None)))


def check(key: jax.Array, samples: int = 100, form: AttentionFTRLForm = STATED) -> Claim:
    """The largest distance between decisions of random layers under the conditions and the minimisers.

    Args:
        key: random key.
        samples: random layers, each on one random sequence of losses.
        form: what is claimed.
    """
    found = draws.in_chunks(functools.partial(errors, form), key, samples, CHUNK)
    return exactly(STATEMENT, SOURCE, largest(found), ROUNDING)
