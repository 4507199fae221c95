"""Speed rows of networks: a training step, and acting; beside PyTorch's way to do them, or the plain one.

A training step is that of fine-tuning on oracle labels in the `quick` preset of `experiments.sft`, for one seed: it
draws its tasks, episodes and labels itself, while PyTorch's step gets its batch for nothing.

Dimensions: `B` sequences, `T` tokens, `F` features, `A` actions.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rooms
from experiments.speed import torch_gpt
from experiments.speed.stopwatch import SpeedRow, compare
from jaxdm import random, tokens, trainer
from jaxdm.envs import families, mdp
from jaxdm.learners import tabular
from jaxdm.models.agents import Deployment, choose, deploy, network_agent
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rollout import rollout, rollouts, uniform_noise
from jaxdm.sft import data, losses, tasks
from jaxdm.tokens import Spaces, token
from jaxdm.types import Agent, Network, Predrawn, Transition

SIDE, HORIZON, DEMONSTRATIONS, POOL, BATCH = 3, 10, 2, 1000, 32
"""Of the training step: cells along a wall, steps of an episode, episodes shown, tasks, sequences of a batch."""


SHAPE = TransformerConfig(mlp_ratio=2)
"""Of the network that is trained."""


STEPS = 20
"""Training steps in one timed run."""


INSTANCES, DECISIONS = 64, 32
"""Of the networks that act."""


class Step(NamedTuple):
    """What one timed run of training needs."""

    run: Callable[[], Any]  # our `STEPS` steps
    tokens: jax.Array  # [B, T, F] one batch
    label: jax.Array  # [B, T, A]
    spaces: Spaces
    work: str


def training_step() -> Step:
    """`STEPS` steps of fine-tuning, compiled into one loop, and one batch like those that they draw."""
    setting = rooms.setting("mdp", SIDE, HORIZON, visit_exploration=0.3, behaviour_scale=3.0)
    ranges = rooms.training_ranges("mdp", SIDE)
    pool = tasks.sample(jax.random.key(0), rooms.family("mdp", SIDE, HORIZON), ranges, POOL)
    net = network(SHAPE, setting.spaces.features, setting.spaces.outputs)
    sizes: Any = {"supports": DEMONSTRATIONS, "batch": BATCH, "targets": "actions"}
    loss = losses.batch_loss(net, setting, data.expert_sequence, **sizes)
    stage = trainer.make(loss, trainer.adamw(3e-3, STEPS))
    state = stage.init(jax.random.key(0), net.init(jax.random.key(1)))
    run = jax.jit(lambda state, pool: stage.run(state, pool, STEPS))

    def prompt(key: jax.Array, task: tasks.Task) -> data.Prompt:
        return data.as_prompt(data.expert_sequence(key, setting, task, DEMONSTRATIONS), setting.spaces)

    few = jax.tree.map(lambda x: x[:BATCH], pool)
    batch = jax.jit(jax.vmap(prompt))(random.split(jax.random.key(2), BATCH), few)
    size = f"width {SHAPE.width}, {SHAPE.layers} layers"
    return Step(
        run=lambda: run(state, pool),
        tokens=batch.tokens,
        label=batch.label,
        spaces=setting.spaces,
        work=f"training step, {BATCH} sequences of {batch.tokens.shape[1]} tokens, {size}",
    )


def training(repeats: int) -> Iterator[SpeedRow]:
    """A training step beside its matrix products."""
    step = training_step()
    length = step.tokens.shape[1]
    yield compare(
        f"{step.work}: ratio = share of its matrix products",
        "tokens/s",
        STEPS * BATCH * length,
        step.run,
        matrix_products(SHAPE, step.spaces.features, step.spaces.outputs, BATCH, length),
        "its matrix products alone",
        repeats,
    )


def torch_training(repeats: int) -> Iterator[SpeedRow]:
    """A training step beside PyTorch's."""
    step = training_step()
    length = step.tokens.shape[1]
    module = torch_gpt.gpt(SHAPE, step.spaces.features, step.spaces.outputs, length)
    theirs = torch_gpt.training(module, np.asarray(step.tokens), np.asarray(step.label), 3e-3)
    yield compare(
        f"{step.work}, with sampling and labels",
        "tokens/s",
        STEPS * BATCH * length,
        step.run,
        lambda: [theirs() for _ in range(STEPS)],
        "PyTorch GPT",
        repeats,
    )


def matrix_products(
    shape: TransformerConfig, features: int, outputs: int, batch: int, length: int
) -> Callable[[], jax.Array]:
    """All matrix products of `STEPS` steps and nothing else: forward, by inputs and by weights."""
    hidden = shape.mlp_ratio * shape.width
    heads = batch * shape.heads
    block = [(shape.width, shape.width)] * 4 + [(shape.width, hidden), (hidden, shape.width)]
    sizes = [(features, shape.width), *block * shape.layers, (shape.width, outputs)]
    keys = iter(jax.random.split(jax.random.key(3), 8 + 3 * len(sizes)))

    def draw(*dims: int) -> jax.Array:
        return jax.random.normal(next(keys), dims)

    layers = [(draw(batch * length, i), draw(i, o), draw(batch * length, o)) for i, o in sizes]
    query = draw(heads, length, shape.width // shape.heads)
    weight = draw(heads, length, length)

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


def torch_rollouts(repeats: int) -> Iterator[SpeedRow]:
    """A network in a world, its context cached and the loop fused, beside PyTorch that reads all again every time.

    The peer's world costs nothing.
    """
    spaces = Spaces(observations=16, actions=4)
    shape = TransformerConfig()
    net = network(shape, spaces.features, spaces.outputs)
    world = families.mdp.frozen_lake()
    env = mdp.env(DECISIONS)
    agent = network_agent(net, spaces, DECISIONS)
    weights = net.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), INSTANCES)

    def actions(key: jax.Array, context: jax.Array) -> jax.Array:
        return rollout(key, env, world, agent, deploy(weights, context), DECISIONS).action

    play = jax.jit(jax.vmap(actions))
    for length in (100, 500):
        context = jax.random.normal(jax.random.key(2), (INSTANCES, length, spaces.features))
        module = torch_gpt.gpt(shape, spaces.features, spaces.outputs, length + DECISIONS)
        yield compare(
            f"rollout of a network, context {length} + {DECISIONS} decisions, {INSTANCES} instances",
            "decisions/s",
            INSTANCES * DECISIONS,
            lambda context=context: play(keys, context),
            torch_gpt.playing(module, np.asarray(context), spaces.actions, DECISIONS),
            "PyTorch GPT without a cache",
            repeats,
        )


def deployments(repeats: int, context: int = 256) -> Iterator[SpeedRow]:
    """A network that decides with its cache, and the same one that reads everything again at every decision."""
    spaces = Spaces(observations=16, actions=4)
    net = network(TransformerConfig(), spaces.features, spaces.outputs)
    world = families.mdp.frozen_lake()
    env = mdp.env(DECISIONS)
    shown = rollouts(jax.random.key(1), env, world, tabular.random(spaces), (), DECISIONS, context // DECISIONS)
    deployed = deploy(net.init(jax.random.key(0)), tokens.encode(shown, spaces))
    keys = jax.random.split(jax.random.key(2), INSTANCES)

    def play(agent: Agent) -> Callable[[jax.Array], jax.Array]:
        return jax.jit(jax.vmap(lambda key: rollout(key, env, world, agent, deployed, DECISIONS).action))

    cached = play(network_agent(net, spaces, DECISIONS))
    uncached = play(rereading_agent(net, spaces, DECISIONS))
    yield compare(
        f"deployment, context {context} + {DECISIONS} decisions, {INSTANCES} instances",
        "decisions/s",
        INSTANCES * DECISIONS,
        lambda: cached(keys),
        lambda: uncached(keys),
        "the same network without a cache",
        repeats,
    )


class RereadingMemory(NamedTuple):
    """All tokens so far, and how many there are."""

    tokens: jax.Array  # [N + T, F]
    length: jax.Array  # [] int32
    last: tuple  # previous observation, action and reward, and whether an episode starts


def rereading_agent(net: Network, spaces: Spaces, length: int) -> Agent:
    """What is common practice: the whole context is encoded again for every decision."""

    def init(key: jax.Array, params: Deployment) -> RereadingMemory:
        room = jnp.pad(params.context, ((0, length), (0, 0)))
        last = (jnp.int32(0), jnp.int32(0), jnp.float32(0), jnp.bool_(True))
        return RereadingMemory(tokens=room, length=jnp.int32(len(params.context)), last=last)

    def act(uniform: jax.Array, memory: RereadingMemory, observation: jax.Array, params: Deployment) -> tuple:
        now = token(observation, memory.last[0], memory.last[1], memory.last[2], memory.last[3], spaces)
        seen = memory.tokens.at[memory.length].set(now)
        logits = net.apply(params.weights, seen)[memory.length, : spaces.actions]
        return choose(logits, uniform, params.temperature), memory._replace(tokens=seen, length=memory.length + 1)

    def observe(memory: RereadingMemory, transition: Transition, params: Deployment) -> RereadingMemory:
        start = transition.terminated | transition.truncated
        return memory._replace(last=(transition.observation, transition.action, transition.reward, start))

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)
