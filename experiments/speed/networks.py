"""Speed rows of networks: a training step and a rollout, beside PyTorch's way to do them."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft import __main__ as sft_study
from experiments.sft import tasks
from experiments.sft.config import PRESETS
from experiments.speed import torch_gpt
from experiments.speed.stopwatch import Row, compare
from jaxdm import random
from jaxdm.envs import families, mdp
from jaxdm.models.agents import deploy, network_agent
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rollout import rollout
from jaxdm.sft import data
from jaxdm.tokens import Spaces

STEPS, INSTANCES, DECISIONS = 20, 64, 32


def training(repeats: int) -> Iterator[Row]:
    """The quick preset's fine-tuning step for one seed: tasks, episodes, labels, forward, backward, update.

    The peer gets its batch for nothing.
    """
    config = PRESETS["quick"]
    study = tasks.prepare(config, "mdp")
    stage, spaces, shape = sft_study.imitator(study, config.sft_steps), study.setting.spaces, config.network
    state = stage.init(jax.random.key(0), study.network.init(jax.random.key(1)))
    ours = jax.jit(lambda state, pool: stage.run(state, pool, STEPS))
    few = jax.tree.map(lambda x: x[: config.batch], study.pool)
    prompt = lambda key, task: data.expert_prompt(key, study.setting, task, config.supports)
    batch = jax.jit(jax.vmap(prompt))(random.split(jax.random.key(2), config.batch), few)
    tokens, length = batch.tokens.shape[0] * batch.tokens.shape[1], batch.tokens.shape[1]
    alone = matrix_products(shape, spaces.features, spaces.outputs, config.batch, length)
    work = f"training step, {config.batch} sequences of {length} tokens, width {shape.width}, {shape.layers} layers"
    run = lambda: ours(state, study.pool)
    yield compare(
        f"{work}: ratio = share of its matrix products",
        "tokens/s",
        STEPS * tokens,
        run,
        alone,
        "its matrix products alone",
        repeats,
    )
    module = torch_gpt.gpt(shape, spaces.features, spaces.outputs, length)
    step = torch_gpt.training(module, np.asarray(batch.tokens), np.asarray(batch.label), config.rate)
    theirs = lambda: [step() for _ in range(STEPS)]
    yield compare(f"{work}, with sampling and labels", "tokens/s", STEPS * tokens, run, theirs, "PyTorch GPT", repeats)


def matrix_products(
    shape: TransformerConfig, features: int, outputs: int, batch: int, length: int
) -> Callable[[], jax.Array]:
    """All matrix products of `STEPS` steps and nothing else: forward, by inputs and by weights."""
    hidden, heads = shape.mlp_ratio * shape.width, batch * shape.heads
    block = [(shape.width, shape.width)] * 4 + [(shape.width, hidden), (hidden, shape.width)]
    sizes = [(features, shape.width), *block * shape.layers, (shape.width, outputs)]
    keys = iter(jax.random.split(jax.random.key(3), 8 + 3 * len(sizes)))
    draw = lambda *dims: jax.random.normal(next(keys), dims)
    layers = [(draw(batch * length, i), draw(i, o), draw(batch * length, o)) for i, o in sizes]
    query, weight = draw(heads, length, shape.width // shape.heads), draw(heads, length, length)

    def step(scale: jax.Array, _: None) -> tuple[jax.Array, None]:
        total = jnp.zeros(())
        for layer in layers:
            x, w, dy = jax.lax.optimization_barrier(jax.tree.map(lambda y: scale * y, layer))
            for left, right in ((x, w), (dy, w.T), (x.T, dy)):
                total += jax.lax.optimization_barrier(left @ right)[0, 0]
        for _round in range(3 * shape.layers):
            q, a = jax.lax.optimization_barrier((scale * query, scale * weight))
            total += jax.lax.optimization_barrier(q @ q.mT)[0, 0, 0] + jax.lax.optimization_barrier(a @ q)[0, 0, 0]
        return 1 + 1e-20 * total, None

    run = jax.jit(lambda scale: jax.lax.scan(step, scale, None, length=STEPS)[0])
    return lambda: run(jnp.ones(()))


def network_rollouts(repeats: int) -> Iterator[Row]:
    """A network in a world, its context cached and the loop fused, beside reading all again at every decision.

    The peer's world costs nothing.
    """
    spaces, shape = Spaces(observations=16, actions=4), TransformerConfig()
    net, world, env = network(shape, spaces.features, spaces.outputs), families.mdp.frozen_lake(), mdp.env(DECISIONS)
    weights, agent = net.init(jax.random.key(0)), network_agent(net, spaces, DECISIONS)
    keys = jax.random.split(jax.random.key(1), INSTANCES)
    play = jax.jit(jax.vmap(lambda key, seen: rollout(key, env, world, agent, deploy(weights, seen), DECISIONS).action))
    for context in (100, 500):
        shown = jax.random.normal(jax.random.key(2), (INSTANCES, context, spaces.features))
        module = torch_gpt.gpt(shape, spaces.features, spaces.outputs, context + DECISIONS)
        yield compare(
            f"rollout of a network, context {context} + {DECISIONS} decisions, {INSTANCES} instances",
            "decisions/s",
            INSTANCES * DECISIONS,
            lambda shown=shown: play(keys, shown),
            torch_gpt.playing(module, np.asarray(shown), spaces.actions, DECISIONS),
            "PyTorch GPT without a cache",
            repeats,
        )
