"""This project beside what users would pick instead: same work, same process, as ratios.

Table: `results/speed.json`, shown in the report; a ratio above 1 means that we are faster.
Commands: `make speed`, or `python -m experiments.speed` with the `peers` extra; a missing peer is named and skipped.
Cost: about five minutes on two CPU cores.
Expectation: solvers at least as fast as QuantEcon, simulation at least 3 times gymnax, a cache at least 5 times faster.

Every number is the median of runs that alternate between the two sides, after a first run that compiles.
"""

import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.speed.baselines import bandits, pomdps
from experiments.speed.networks import network_rollouts, training
from experiments.speed.stopwatch import Row, compare
from jaxdm import tokens
from jaxdm.analysis import storage
from jaxdm.envs import families, mdp
from jaxdm.learners import tabular
from jaxdm.models.agents import Deployment, choose, deploy, network_agent
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles.mdp import planning
from jaxdm.rollout import rollout, rollouts, uniform_draws
from jaxdm.tokens import Spaces, token
from jaxdm.types import Agent, Network, Transition

MDPS, STATES, ACTIONS, HORIZON = 256, 50, 5, 20


SOLVED_AT_ONCE = 16
"""MDPs whose kernels stay in the processor's cache together: `jax.lax.map(f, mdps, batch_size=16)` on CPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How much to measure."""

    repeats: int = 7
    """Timed runs of each side."""
    results: Path = Path("results")
    """Where the table goes."""


def main(config: Config) -> Path:
    """Measure everything that can be measured here, print and store the table."""
    console, rows = Console(), []
    for measure in (planners, simulators, deployments, training, network_rollouts, pomdps, bandits):
        try:
            rows += list(measure(config.repeats))
        except ModuleNotFoundError as error:
            console.print(f"skipped {measure.__name__}: the peer {error.name} is not installed (see README)")
    table = Table("work", "ours", "peer", "peer's name", "units", "ratio")
    for row in rows:
        table.add_row(row.work, f"{row.ours:,.0f}", f"{row.peer:,.0f}", row.peer_name, row.units, f"{row.ratio:.2f}")
    console.print(table)
    return storage.write_json(config.results / "speed.json", [row._asdict() for row in rows])


def planners(repeats: int) -> Iterator[Row]:
    """Backward induction and policy iteration on a batch of dense random MDPs, in float64."""
    peer = importlib.import_module("quantecon").markov
    with jax.enable_x64(True):
        family = lambda key: families.mdp.dirichlet(key, states=STATES, actions=ACTIONS, discount=0.95)
        worlds = jax.jit(jax.vmap(family))(jax.random.split(jax.random.key(0), MDPS))
        pairs = [(np.asarray(r), np.asarray(p)) for r, p in zip(worlds.reward, worlds.transition, strict=True)]
        solved = [peer.DiscreteDP(r, p, 0.95) for r, p in pairs]
        undiscounted = [peer.DiscreteDP(r, p, 1.0) for r, p in pairs]
        batched = lambda solve: jax.jit(lambda worlds: jax.lax.map(solve, worlds, batch_size=SOLVED_AT_ONCE))
        total = worlds._replace(discount=jnp.ones(MDPS))
        finite = batched(lambda world: planning.backward_induction(world, HORIZON).policy)
        endless = batched(lambda world: planning.policy_iteration(world).policy)
        size = f"{MDPS} dense MDPs, S={STATES}, A={ACTIONS}"
        yield compare(
            f"backward induction, H={HORIZON}: {size}",
            "MDPs/s",
            MDPS,
            lambda: finite(total),
            lambda: [peer.backward_induction(dp, HORIZON) for dp in undiscounted],
            "QuantEcon",
            repeats,
        )
        yield compare(
            f"policy iteration: {size}",
            "MDPs/s",
            MDPS,
            lambda: endless(worlds),
            lambda: [dp.solve(method="policy_iteration") for dp in solved],
            "QuantEcon",
            repeats,
        )


def simulators(repeats: int, steps: int = 100) -> Iterator[Row]:
    """Random play in the frozen lake: ours as a tabular MDP, gymnax's own."""
    gymnax = importlib.import_module("gymnax")
    lake, params = gymnax.make("FrozenLake-misc")
    world, spaces = families.mdp.frozen_lake(), Spaces(observations=16, actions=4)
    env, player = mdp.env(steps), tabular.random(spaces)

    def theirs(key: jax.Array) -> tuple:
        key_reset, key_steps = jax.random.split(key)

        def step(carry: tuple, key: jax.Array) -> tuple:
            key_action, key_step = jax.random.split(key)
            action = lake.action_space(params).sample(key_action)
            observation, state, reward, terminated, truncated, _ = lake.step(key_step, carry[1], action, params)
            return (observation, state), (carry[0], action, reward, terminated, truncated)

        return jax.lax.scan(step, lake.reset(key_reset, params), jax.random.split(key_steps, steps))[1]

    def ours(key: jax.Array) -> tuple:
        played = rollout(key, env, world, player, (), steps)
        return played.observation, played.action, played.reward, played.terminated, played.truncated

    ours_batch, theirs_batch = jax.jit(jax.vmap(ours)), jax.jit(jax.vmap(theirs))
    for instances in (1024, 8192):
        keys = jax.random.split(jax.random.key(1), instances)
        yield compare(
            f"frozen lake, random policy, {instances} instances x {steps} steps",
            "steps/s",
            instances * steps,
            lambda keys=keys: ours_batch(keys),
            lambda keys=keys: theirs_batch(keys),
            "gymnax",
            repeats,
        )


def deployments(repeats: int, context: int = 256, decisions: int = 32, instances: int = 64) -> Iterator[Row]:
    """A network that decides with its cache, and the same one that reads everything again at every decision."""
    spaces = Spaces(observations=16, actions=4)
    net = network(TransformerConfig(), spaces.features, spaces.outputs)
    weights = net.init(jax.random.key(0))
    world, env = families.mdp.frozen_lake(), mdp.env(decisions)
    shown = rollouts(jax.random.key(1), env, world, tabular.random(spaces), (), decisions, context // decisions)
    told = deploy(weights, tokens.encode(shown, spaces))
    keys = jax.random.split(jax.random.key(2), instances)
    play = lambda agent: jax.jit(jax.vmap(lambda key: rollout(key, env, world, agent, told, decisions).action))
    cached, uncached = play(network_agent(net, spaces, decisions)), play(rereading_agent(net, spaces, decisions))
    yield compare(
        f"deployment, context {context} + {decisions} decisions, {instances} instances",
        "decisions/s",
        instances * decisions,
        lambda: cached(keys),
        lambda: uncached(keys),
        "the same network without a cache",
        repeats,
    )


class Reread(NamedTuple):
    """All tokens so far, and how many there are."""

    tokens: jax.Array  # [N + T, F]
    length: jax.Array  # [] int32
    last: tuple  # previous observation, action and reward, and whether an episode starts


def rereading_agent(net: Network, spaces: Spaces, length: int) -> Agent:
    """What is common practice: the whole context is encoded again for every decision."""

    def init(key: jax.Array, params: Deployment) -> Reread:
        room = jnp.pad(params.context, ((0, length), (0, 0)))
        last = (jnp.int32(0), jnp.int32(0), jnp.float32(0), jnp.bool_(True))
        return Reread(tokens=room, length=jnp.int32(len(params.context)), last=last)

    def act(draw: jax.Array, memory: Reread, observation: jax.Array, params: Deployment) -> tuple:
        now = token(observation, memory.last[0], memory.last[1], memory.last[2], memory.last[3], spaces)
        tokens = memory.tokens.at[memory.length].set(now)
        logits = net.apply(params.weights, tokens)[memory.length, : spaces.actions]
        return choose(logits, draw, params.temperature), memory._replace(tokens=tokens, length=memory.length + 1)

    def observe(memory: Reread, transition: Transition, params: Deployment) -> Reread:
        start = transition.terminated | transition.truncated
        return memory._replace(last=(transition.observation, transition.action, transition.reward, start))

    return Agent(init=init, act=act, observe=observe, draws=uniform_draws)


if __name__ == "__main__":
    print(main(tyro.cli(Config, description=__doc__)))
