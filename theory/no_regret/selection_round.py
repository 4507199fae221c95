"""One round of the library's distillation on the summing layer: roll out, rank, keep; and what a refit makes of it.

Dimensions: `M` scenarios, `L` rollouts of each, `k` kept of each, `T` rounds, `d` coordinates.

The round's rollouts, their order and their mean labels are those of `jaxdm.rmft.distillation`. The refit is the
least-squares fit of the kept labels by `a S_{t-1}`, which is where the imitation steps of a round lead in the limit.
Losses are `l_t = s^t m + noise` with `m ~ N(0, strength^2 I)`, `noise ~ N(0, I)`, and s the sign of the strength: drift
where it is positive, alternation where it is negative, independent losses at zero.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from jaxdm import random
from jaxdm.envs import families
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation, Hyperparameters
from jaxdm.rmft.games import Rollout
from theory.no_regret import attention_player

CHUNK = 2**16
"""Rollouts played at once."""


class SequenceSums(NamedTuple):
    """What the laws of selection read of a loss sequence."""

    product: jax.Array  # [...] Q = sum_t <S_{t-1}, l_t> = (|S_T|^2 - |l|^2) / 2
    size: jax.Array  # [...] |l| = sqrt(sum_t |l_t|^2)
    squares: jax.Array  # [...] sum_t |S_{t-1}|^2
    total: jax.Array  # [...] |S_T|


class RoundSizes(NamedTuple):
    """A round's sizes, compiled in."""

    dimension: int = 2
    length: int = 25
    rollouts: int = 64
    sequences: distillation.Sequences = "shared"


class RoundData(NamedTuple):
    """What a round's compiled program is given."""

    strength: float = 0.3  # of the drift, or of the alternation where negative
    keep: int = 4  # k
    gain: float = 0.0  # a, the layer plays `a S_{t-1}`
    exploration: float = 0.3  # sigma
    projected: bool = False  # whether decisions are, as the library plays


class ScenarioRefit(NamedTuple):
    """Of every scenario, what enters the refit of its kept labels, and its sequence; leading axis [M]."""

    moved: jax.Array  # [M] mean over the kept of sum_t <S_{t-1}, sigma xi_t>
    squares: jax.Array  # [M] mean over the kept of sum_t |S_{t-1}|^2
    sequence: SequenceSums  # [M], means over all L where rollouts have their own
    before: jax.Array  # [M, T, d] S_{t-1}; T = 0 where rollouts have their own
    losses: jax.Array  # [M, T, d]; T = 0 likewise
    same: jax.Array  # [M] bool, whether ranks by regret are those by reward


def sums(losses: jax.Array) -> SequenceSums:
    """Of one sequence, [T, d]."""
    before = jnp.cumsum(losses, axis=0) - losses
    return SequenceSums(
        product=jnp.sum(before * losses),
        size=jnp.linalg.norm(losses),
        squares=jnp.sum(before**2),
        total=jnp.linalg.norm(before[-1] + losses[-1]),
    )


def signed_mean(key: jax.Array, strength: jax.Array | float, *, length: int, dimension: int) -> jax.Array:
    """`l_t = s^t m + noise`, [T, d], see the module's docstring."""
    key_mean, key_noise = random.split(key)
    mean = strength * families.losses.gaussian(key_mean, length=1, dimension=dimension)
    sign = jnp.where(jnp.asarray(strength) < 0, -1.0, 1.0) ** jnp.arange(length)
    return sign[:, None] * mean + families.losses.gaussian(key_noise, length=length, dimension=dimension)


def selected_normal(keep: int, rollouts: int) -> float:
    """`z_{k,L}`: the mean of the k smallest of L standard normals, in expectation.

    `(L / k) int x phi(x) P(Bin(L - 1, Phi(x)) < k) dx`, by the trapezoidal rule, which is exact to rounding here.
    """
    x = np.linspace(-12, 12, 4001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    among = special.bdtr(keep - 1, rollouts - 1, special.ndtr(x)) if keep < rollouts else np.ones_like(x)
    return float(rollouts / keep * np.trapezoid(x * density * among, x))


def rank_rule(keep: int, *, pooled: bool = False, by_reward: bool = False) -> Hyperparameters:
    """The library's switches of a round, as data."""
    unit, select = "pool" if pooled else "scenario", "reward" if by_reward else "regret"
    return distillation.hyperparameters(Distillation(keep=keep, unit=unit, select=select))


@functools.partial(jax.jit, static_argnums=(1, 3))
def losses_of(key: jax.Array, sizes: RoundSizes, strength: jax.Array | float, scenarios: int) -> jax.Array:
    """The sequences that `jaxdm.rmft.distillation.collect` plays on with this key, [M, T, d], or [M, L, T, d]."""

    def draw(key_world: jax.Array) -> jax.Array:
        return signed_mean(random.split(key_world)[0], strength, length=sizes.length, dimension=sizes.dimension)

    def scenario(key: jax.Array) -> jax.Array:
        key_world = random.split(key, 3)[1]
        shared = sizes.sequences == "shared"
        return draw(key_world) if shared else jax.vmap(draw)(random.split(key_world, sizes.rollouts))

    return jax.vmap(scenario)(random.split(key, scenarios))


@functools.partial(jax.jit, static_argnums=(1, 2))
def collected(key: jax.Array, count: int, sizes: RoundSizes, data: RoundData) -> tuple:
    """The library's rollouts of M = `count` scenarios by the layer with gain `a I`, and the noise in their labels.

    Returns:
        Rollouts, leading axes [M, L]; `sigma xi`, [M, L, T, d]. Rollouts on shared sequences share their tokens, [M].
    """
    shared = sizes.sequences == "shared"
    config = Distillation(scenarios=count, rollouts=sizes.rollouts, keep=1, sequences=sizes.sequences, merge=shared)
    draw = functools.partial(signed_mean, strength=data.strength)
    game = attention_player.ball_game(draw, sizes.dimension, sizes.length, data.projected)
    layer = attention_player.summing_layer(sizes.dimension)
    weights = attention_player.gain_weights(data.gain * jnp.eye(sizes.dimension))
    played = distillation.collect(key, config, jnp.asarray(data.exploration), game, layer, weights, ())
    outputs = layer.apply(weights, played.tokens)
    return played, played.label - (outputs[:, None] if shared else outputs)


def refit_parts(key: jax.Array, count: int, sizes: RoundSizes, data: RoundData) -> ScenarioRefit:
    """One round on M = `count` scenarios, where the best k of each are kept.

    Three programs and not one: XLA would fuse the draws of the world into all that reads them, and compile 1.6 times as
    long (`JAX_LOG_COMPILES=1 python -m theory N4`).
    """
    played, noise = collected(key, count, sizes, data)
    return refit_kept(played, noise, losses_of(key, sizes, data.strength, count), data.keep)


@jax.jit
def refit_kept(played: Rollout, noise: jax.Array, losses: jax.Array, keep: jax.Array | int) -> ScenarioRefit:
    """What the best k of each scenario make of the gain.

    Args:
        played: leading axes [M, L].
        noise: [M, L, T, d] sigma xi.
        losses: [M, T, d], or [M, L, T, d] where rollouts have their own.
        keep: k.
    """
    regret = played.cumulative_regret[..., -1]
    scenarios = len(regret)
    ranked = distillation.rank(rank_rule(1), regret, played.reward)
    same = ranked.rollout == distillation.rank(rank_rule(1, by_reward=True), regret, played.reward).rollout
    before = jnp.cumsum(losses, axis=-2) - losses
    if losses.ndim == 3:
        kept, _ = distillation.merged(jnp.asarray(keep), ranked, played._replace(label=noise))
        each = jax.vmap(sums)(losses)
        moved, squares = jnp.sum(before * kept.label, axis=(1, 2)), each.squares
    else:
        each = jax.vmap(jax.vmap(sums))(losses)
        chosen = (jnp.arange(regret.size) < scenarios * jnp.asarray(keep)) / jnp.asarray(keep)
        chosen = jnp.zeros(regret.size).at[ranked.rollout].set(chosen).reshape(regret.shape)
        moved = jnp.sum(chosen * jnp.sum(before * noise, axis=(2, 3)), axis=1)
        squares = jnp.sum(chosen * each.squares, axis=1)
        each = jax.tree.map(lambda x: jnp.mean(x, axis=1), each)
        before, losses = before[:, 0, :0], losses[:, 0, :0]
    return ScenarioRefit(
        moved=moved,
        squares=squares,
        sequence=each,
        before=before,
        losses=losses,
        same=jnp.all(same.reshape(-1, scenarios), axis=0),
    )
