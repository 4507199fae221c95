"""Speed rows of worlds: planning, simulation, hidden states, bandits; beside peers, or the plain way to write it."""

import importlib
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed.stopwatch import SpeedRow, compare
from jaxdm.envs import bandit, families, mdp
from jaxdm.envs.bandit import Bandit
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.learners import tabular, thompson
from jaxdm.learners.bandit import UCBParams, ucb
from jaxdm.numerics import batched_map
from jaxdm.oracles.mdp import planning
from jaxdm.oracles.pomdp.history_tree import tree_value
from jaxdm.rollout import rollout
from jaxdm.tokens import Spaces

MDPS, STATES, ACTIONS, HORIZON = 256, 50, 5, 20
"""The MDPs that are planned in, and for how many steps."""


TOLERANCE = 1e-6
"""Of values by successive approximation."""


SOLVED_AT_ONCE = 16
"""MDPs whose kernels stay in the processor's cache together: `jax.lax.map(f, mdps, batch_size=16)` on a CPU."""


PLAYED_AT_ONCE = 1024
"""Episodes whose noise, drawn for all their steps at once, stays in the processor's cache: of 8192, twice the speed."""


POMDPS, BELIEF_HORIZON = 256, 6
"""Random POMDPs, and for how many steps they are planned in."""


ARMS, ROUNDS, RUNS = 10, 1000, 500
"""Of the bandits."""


SLOW_RUNS = 5
"""Runs that plain Python is timed on."""


def planners(repeats: int) -> Iterator[SpeedRow]:
    """Backward induction, policy and value iteration on dense random MDPs, in float64, beside QuantEcon."""
    peer = importlib.import_module("quantecon").markov

    def family(key: jax.Array) -> MDP:
        return families.mdp.dirichlet(key, states=STATES, actions=ACTIONS, discount=0.95)

    def finite(world: MDP) -> jax.Array:
        return planning.backward_induction(world, HORIZON).policy

    def endless(world: MDP) -> jax.Array:
        return planning.policy_iteration(world).policy

    def approximate(world: MDP) -> jax.Array:
        return planning.value_iteration(world, TOLERANCE).policy

    with jax.enable_x64(True):
        worlds = jax.jit(jax.vmap(family))(jax.random.split(jax.random.key(0), MDPS))
        total = worlds._replace(discount=jnp.ones(MDPS))
        solve_finite = jax.jit(lambda worlds: jax.lax.map(finite, worlds, batch_size=SOLVED_AT_ONCE))
        solve_endless = jax.jit(lambda worlds: jax.lax.map(endless, worlds, batch_size=SOLVED_AT_ONCE))
        solve_approximately = jax.jit(lambda worlds: jax.lax.map(approximate, worlds, batch_size=SOLVED_AT_ONCE))
        pairs = [(np.asarray(r), np.asarray(p)) for r, p in zip(worlds.reward, worlds.transition, strict=True)]
        discounted = [peer.DiscreteDP(r, p, 0.95) for r, p in pairs]
        undiscounted = [peer.DiscreteDP(r, p, 1.0) for r, p in pairs]
        size = f"{MDPS} dense MDPs, S={STATES}, A={ACTIONS}"
        yield compare(
            f"backward induction, H={HORIZON}: {size}",
            "MDPs/s",
            MDPS,
            lambda: solve_finite(total),
            lambda: [peer.backward_induction(dp, HORIZON) for dp in undiscounted],
            "QuantEcon",
            repeats,
        )
        yield compare(
            f"policy iteration: {size}",
            "MDPs/s",
            MDPS,
            lambda: solve_endless(worlds),
            lambda: [dp.solve(method="policy_iteration") for dp in discounted],
            "QuantEcon",
            repeats,
        )
        yield compare(
            f"value iteration to {TOLERANCE:g}: {size}",
            "MDPs/s",
            MDPS,
            lambda: solve_approximately(worlds),
            lambda: [dp.solve(method="value_iteration", epsilon=2 * TOLERANCE) for dp in discounted],
            "QuantEcon",
            repeats,
        )


def simulators(repeats: int, steps: int = 100) -> Iterator[SpeedRow]:
    """Random play in the frozen lake: ours as a tabular MDP, gymnax's own."""
    gymnax = importlib.import_module("gymnax")
    lake, params = gymnax.make("FrozenLake-misc")
    world = families.mdp.frozen_lake()
    env = mdp.env(steps)
    player = tabular.random(Spaces(observations=16, actions=4))

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

    ours_batch = jax.jit(lambda keys: batched_map(ours, keys, PLAYED_AT_ONCE))
    theirs_batch = jax.jit(jax.vmap(theirs))
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


def noise(repeats: int, steps: int = 200, instances: int = 256) -> Iterator[SpeedRow]:
    """Random play in the frozen lake, its noise drawn at once for an episode, beside a key for every step."""
    world = families.mdp.frozen_lake()
    env = mdp.env()
    player = tabular.random(Spaces(observations=16, actions=4))
    keys = jax.random.split(jax.random.key(1), instances)

    def at_once(key: jax.Array) -> jax.Array:
        return rollout(key, env, world, player, (), steps).reward

    def keyed(key: jax.Array) -> jax.Array:
        slow = env._replace(predrawn=None), player._replace(predrawn=None)
        return rollout(key, slow[0], world, slow[1], (), steps).reward

    ours = jax.jit(jax.vmap(at_once))
    theirs = jax.jit(jax.vmap(keyed))
    yield compare(
        f"noise drawn at once, frozen lake, {instances} episodes x {steps} steps",
        "steps/s",
        instances * steps,
        lambda: ours(keys),
        lambda: theirs(keys),
        "a key for every step",
        repeats,
    )


def pomdps(repeats: int) -> Iterator[SpeedRow]:
    """A batch of random POMDPs: exact values of the first belief, beside the recursion in numpy."""

    def family(key: jax.Array) -> POMDP:
        return families.pomdp.dense(key, states=5, actions=3, observations=3)

    first = jnp.full(5, 0.2)
    worlds = jax.jit(jax.vmap(family))(jax.random.split(jax.random.key(0), POMDPS))
    solve = jax.jit(lambda worlds: jax.lax.map(lambda world: tree_value(world, BELIEF_HORIZON, first)[0], worlds))
    few = [jax.tree.map(lambda x, n=n: np.asarray(x[n], np.float64), worlds) for n in range(2)]
    yield compare(
        f"{POMDPS} random POMDPs, S=5, A=3, O=3, horizon {BELIEF_HORIZON}",
        "problems/s",
        POMDPS,
        lambda: solve(worlds),
        lambda: [_value(world, np.full(5, 0.2), BELIEF_HORIZON) for world in few],
        "recursion in numpy, per problem",
        repeats,
        peer_amount=len(few),
    )


def _value(world: POMDP, weight: np.ndarray, steps: int) -> float:
    """`V_n(w) = max_a w . r_a + gamma sum_o V_{n-1}(w M_ao)`, the recursion as one would first write it."""
    if steps == 0:
        return 0.0
    best = -math.inf
    for action in range(world.reward.shape[1]):
        ahead = weight @ world.transition[:, action]
        after = [_value(world, ahead * seen, steps - 1) for seen in world.observation[action].T]
        best = max(best, float(weight @ world.reward[:, action] + world.discount * sum(after)))
    return best


def tiger(repeats: int) -> Iterator[SpeedRow]:
    """Tiger, planned exactly, beside pomdp_py."""
    peer = importlib.import_module("pomdp_py")
    problem = importlib.import_module("pomdp_py.problems.tiger.tiger_problem")
    left = problem.TigerState("tiger-left")
    right = problem.TigerState("tiger-right")
    theirs = problem.TigerProblem(0.15, left, peer.Histogram({left: 0.5, right: 0.5}))
    planner = importlib.import_module("pomdp_py.algorithms.value_iteration").ValueIteration(3, 0.95)
    world = families.pomdp.tiger()
    value = jax.jit(lambda world: tree_value(world, 3)[0])
    yield compare(
        "Tiger, exact, horizon 3 (the peer does not finish horizon 4 in 100 s)",
        "problems/s",
        1,
        lambda: value(world),
        lambda: planner.plan(theirs.agent),
        "pomdp_py",
        repeats,
    )


def bandits(repeats: int) -> Iterator[SpeedRow]:
    """Runs of ten Bernoulli arms, our players against one run at a time in plain Python."""
    means = np.arange(ARMS) / ARMS + 0.05
    world: Bandit = bandit.make(means)
    keys = jax.random.split(jax.random.key(0), RUNS)
    players = {
        "UCB1": (ucb(ARMS), UCBParams()),
        "Thompson sampling": (thompson.beta_thompson(ARMS), thompson.BetaPrior()),
    }
    for name, (agent, params) in players.items():

        def total(key: jax.Array, agent=agent, params=params) -> jax.Array:
            return rollout(key, bandit.bernoulli(), world, agent, params, ROUNDS).reward.sum()

        play = jax.jit(jax.vmap(total))
        yield compare(
            f"{name}, {ARMS} arms, {ROUNDS} rounds",
            "runs/s",
            RUNS,
            lambda play=play: play(keys),
            lambda name=name: [_one_arm_at_a_time(name, means, seed) for seed in range(SLOW_RUNS)],
            "plain Python, one run at a time",
            repeats,
            peer_amount=SLOW_RUNS,
        )
        yield compare(
            f"{name}, {ARMS} arms, {ROUNDS} rounds, {RUNS} runs at once",
            "runs/s",
            RUNS,
            lambda play=play: play(keys),
            lambda name=name: _all_runs_at_once(name, means),
            "numpy, all runs at once",
            repeats,
        )


def _all_runs_at_once(name: str, means: np.ndarray) -> np.ndarray:
    """All runs as one would write them in numpy: a loop over rounds, arrays over runs; wins, [RUNS]."""
    rng = np.random.default_rng(0)
    runs = np.arange(RUNS)
    pulls, wins = np.zeros((2, RUNS, ARMS))
    for t in range(ROUNDS):
        if name != "UCB1":
            arm = np.argmax(rng.beta(1 + wins, 1 + pulls - wins), axis=1)
        elif t < ARMS:
            arm = np.full(RUNS, t)
        else:
            arm = np.argmax(wins / pulls + np.sqrt(2 * np.log(t + 1) / pulls), axis=1)
        pulls[runs, arm] += 1
        wins[runs, arm] += rng.random(RUNS) < means[arm]
    return wins.sum(axis=1)


def _one_arm_at_a_time(name: str, means: np.ndarray, seed: int) -> float:
    """One run as one would first write it."""
    rng = np.random.default_rng(seed)
    pulls = np.zeros(ARMS)
    wins = np.zeros(ARMS)
    for t in range(ROUNDS):
        if name == "UCB1":
            with np.errstate(divide="ignore", invalid="ignore"):
                bonus = np.sqrt(2 * np.log(t + 1) / pulls)
                arm = int(np.argmax(np.where(pulls > 0, wins / pulls + bonus, np.inf)))
        else:
            arm = int(np.argmax(rng.beta(1 + wins, 1 + pulls - wins)))
        pulls[arm] += 1
        wins[arm] += rng.random() < means[arm]
    return float(wins.sum())
