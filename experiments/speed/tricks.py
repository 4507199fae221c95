"""What the hand-made tricks of the library buy: `python -m experiments.speed.tricks`, a line each.

A comment beside a trick names its ratio; this is the command that shows it. Times are the least of several runs; how
long a program takes to compile is measured once.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.envs import bandit
from jaxdm.learners import bandit as learners
from jaxdm.models import attention
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rollout import rollout

KEYS, NUMBERS, OUTCOMES, STATES, ACTIONS, TOKENS, WIDTH = 1000, 50, 32, 200, 5, 500, 32


def main() -> None:
    """Measure all of them and print a table."""
    key = jax.random.key(0)
    keys = jax.random.split(key, KEYS)
    print(f"{'trick':58} {'with':>10} {'without':>10} {'ratio':>6}")
    bits = (ours_uniform, jax_uniform)
    report("random: own bits, vmapped, run", *(run(jax.vmap(f), keys) for f in bits))
    report("random: own bits, vmapped, compile", *(compiling(jax.vmap(f), keys) for f in bits))
    orders = (ours_places, jax_places)
    report("random.places: order by comparison, compile", *(compiling(jax.vmap(f), keys) for f in orders))
    rows = jax.random.dirichlet(key, jnp.ones(OUTCOMES), (KEYS,))
    report("random.inverse_cdf: triangle of ones, run", run(random.inverse_cdf, rows), run(by_cumsum, rows))
    kernel = jax.random.dirichlet(key, jnp.ones(STATES), (STATES, ACTIONS))
    ahead = jnp.ones((2, STATES))
    report("bellman: two products for two columns, run", run(two_products, kernel, ahead), run(columns, kernel, ahead))
    report("transformer.drawn: one generator for all matrices, compile", *(compiling(f, key) for f in initialisers()))
    best = (bandit.best_available, by_argmax)
    report("bandit.best_available: no argmax, run", *(run(ucb_runs(f), keys) for f in best))
    report("sweep.over_points: mapped, not vmapped, run", *(run(f, seeds(keys[:SEEDS])) for f in (mapped, vmapped)))
    report("attention: one head without its axis, run", *(run(generate, cache(shape)) for shape in HEAD_SHAPES))


def report(name: str, ours: float, other: float) -> None:
    """Print a line."""
    print(f"{name:58} {ours:10.2e} {other:10.2e} {other / ours:6.1f}")


def run(function: Callable[..., Any], *arguments: Any, repeats: int = 20) -> float:
    """Seconds of a compiled call, the least of several."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


def compiling(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds to compile."""
    lowered = jax.jit(function).lower(*arguments)
    start = time.perf_counter()
    lowered.compile()
    return time.perf_counter() - start


def ours_uniform(key: jax.Array) -> jax.Array:
    """Of `jaxdm.random`."""
    return random.uniform(key, (NUMBERS,))


def jax_uniform(key: jax.Array) -> jax.Array:
    """The same numbers of jax."""
    return jax.random.uniform(key, (NUMBERS,))


def ours_places(key: jax.Array) -> jax.Array:
    """A random order by comparison."""
    return random.places(key, 20)


def jax_places(key: jax.Array) -> jax.Array:
    """A random order by sorting."""
    return jax.random.permutation(key, 20)


def by_cumsum(probabilities: jax.Array) -> jax.Array:
    """Thresholds without a product."""
    return jnp.where(probabilities > 0, jnp.cumsum(probabilities, axis=-1), -1)


ARMS, PLAYED = 10, 100


def ucb_runs(choose: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """UCB1 that chooses an arm so, for many keys."""

    def act(key: jax.Array, memory: Any, observation: jax.Array, params: learners.UCBParams) -> tuple:
        return choose(learners.ucb_index(memory, params.exploration), observation), memory

    agent = learners.ucb(ARMS)._replace(act=act)
    world = bandit.make(np.arange(ARMS) / ARMS)

    def play(key: jax.Array) -> jax.Array:
        return jnp.sum(rollout(key, bandit.bernoulli(), world, agent, learners.UCBParams(), PLAYED).reward)

    return jax.vmap(play)


def by_argmax(score: jax.Array, available: jax.Array) -> jax.Array:
    """The available arm of highest score."""
    masked = jnp.where(available, jnp.maximum(score, jnp.finfo(score.dtype).min), -jnp.inf)
    return jnp.where(jnp.max(masked) > -jnp.inf, jnp.argmax(masked), -1).astype(jnp.int32)


def two_products(kernel: jax.Array, ahead: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the kernel with each of two vectors."""
    one = jnp.einsum("sat,t->sa", kernel, ahead[0], precision=jax.lax.Precision.HIGHEST)
    return one, jnp.einsum("sat,t->sa", kernel, ahead[1], precision=jax.lax.Precision.HIGHEST)


def columns(kernel: jax.Array, ahead: jax.Array) -> jax.Array:
    """The same as one product."""
    return jnp.einsum("sat,kt->sak", kernel, ahead, precision=jax.lax.Precision.HIGHEST)


def initialisers() -> tuple[Callable[[jax.Array], Any], Callable[[jax.Array], Any]]:
    """The network's, and one that draws each matrix by itself."""
    net = network(TransformerConfig(width=64, layers=4, heads=4), 20, 10)
    leaves, tree = jax.tree.flatten(jax.eval_shape(net.init, jax.random.key(0)))

    def each(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(leaves))
        return tree.unflatten([jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])

    return net.init, each


SEEDS, BATCH, ROUNDS = 8, 64, 50


TRAINED = network(TransformerConfig(width=WIDTH, layers=1, heads=1, position="none", mlp_ratio=2), 20, 10)


def seeds(keys: jax.Array) -> Any:
    """Weights of a small network for each key."""
    return jax.vmap(TRAINED.init)(keys)


def gradient(weights: Any) -> Any:
    """Of a loss on a batch of sequences."""

    def loss(weights: Any) -> jax.Array:
        return jnp.mean(TRAINED.apply(weights, jnp.ones((BATCH, ROUNDS, 20))) ** 2)

    return jax.grad(loss)(weights)


def mapped(weights: Any) -> Any:
    """Gradients of all seeds, one after the other."""
    return jax.lax.map(gradient, weights)


def vmapped(weights: Any) -> Any:
    """Gradients of all seeds at once."""
    return jax.vmap(gradient)(weights)


HEAD_SHAPES = ((TOKENS, WIDTH), (1, TOKENS, WIDTH))
"""A cache without and with the axis of its single head."""


def cache(shape: tuple[int, ...]) -> attention.KeyValues:
    """Of ones."""
    return attention.KeyValues(keys=jnp.ones(shape), values=jnp.ones(shape))


def generate(cached: attention.KeyValues) -> jax.Array:
    """A token after another, each written to the cache and then asking it."""

    def step(cached: attention.KeyValues, index: jax.Array) -> tuple[attention.KeyValues, jax.Array]:
        token = jnp.full((*cached.keys.shape[:-2], 1, WIDTH), index.astype(jnp.float32))
        cached = attention.extend(cached, attention.KeyValues(keys=token, values=token), index)
        return cached, attention.attend(token, cached, index)

    return jax.lax.scan(step, cached, jnp.arange(TOKENS))[1]


if __name__ == "__main__":
    main()
