"""Speed rows of hidden states and of bandits: peers where one can be installed, else the plain way to write it."""

import importlib
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed.stopwatch import Row, compare
from jaxdm.envs import bandit, families
from jaxdm.envs.pomdp import POMDP
from jaxdm.learners import thompson
from jaxdm.learners.bandit import UCBParams, ucb
from jaxdm.oracles.pomdp.history_tree import tree_value
from jaxdm.rollout import rollout

PROBLEMS, HORIZON = 256, 6


ARMS, ROUNDS, RUNS, LOOPS = 10, 1000, 500, 5


def pomdps(repeats: int) -> Iterator[Row]:
    """A batch of random POMDPs, and Tiger; exact values of the first belief."""
    family = lambda key: families.pomdp.dense(key, states=5, actions=3, observations=3)
    worlds = jax.jit(jax.vmap(family))(jax.random.split(jax.random.key(0), PROBLEMS))
    first = jnp.full(5, 0.2)
    solve = jax.jit(lambda worlds: jax.lax.map(lambda world: tree_value(world, HORIZON, first)[0], worlds))
    plain = [jax.tree.map(lambda x, n=n: np.asarray(x[n], np.float64), worlds) for n in range(2)]
    yield compare(
        f"{PROBLEMS} random POMDPs, S=5, A=3, O=3, horizon {HORIZON}",
        "problems/s",
        PROBLEMS,
        lambda: solve(worlds),
        lambda: [_value(world, np.full(5, 0.2), HORIZON) for world in plain],
        "recursion in numpy, per problem",
        repeats,
        peer_amount=len(plain),
    )

    peer, problem = importlib.import_module("pomdp_py"), "pomdp_py.problems.tiger.tiger_problem"
    tiger = importlib.import_module(problem)
    left, right = tiger.TigerState("tiger-left"), tiger.TigerState("tiger-right")
    theirs_tiger = tiger.TigerProblem(0.15, left, peer.Histogram({left: 0.5, right: 0.5}))
    planner = importlib.import_module("pomdp_py.algorithms.value_iteration").ValueIteration(3, 0.95)
    value, world = jax.jit(lambda world: tree_value(world, 3)[0]), families.pomdp.tiger()
    yield compare(
        "Tiger, exact, horizon 3 (the peer does not finish horizon 4 in 100 s)",
        "problems/s",
        1,
        lambda: value(world),
        lambda: planner.plan(theirs_tiger.agent),
        "pomdp_py",
        repeats,
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


def bandits(repeats: int) -> Iterator[Row]:
    """Runs of ten Bernoulli arms, our players against one run at a time in plain Python."""
    means = np.arange(ARMS) / ARMS + 0.05
    world, keys = bandit.make(means), jax.random.split(jax.random.key(0), RUNS)
    for name, agent, rates in (
        ("UCB1", ucb(ARMS), UCBParams()),
        ("Thompson sampling", thompson.beta_thompson(ARMS), thompson.BetaPrior()),
    ):
        run = lambda key, a=agent, r=rates: rollout(key, bandit.bernoulli(), world, a, r, ROUNDS).reward.sum()
        play = jax.jit(jax.vmap(run))
        yield compare(
            f"{name}, {ARMS} arms, {ROUNDS} rounds",
            "runs/s",
            RUNS,
            lambda play=play: play(keys),
            lambda name=name: [_loop(name, means, seed) for seed in range(LOOPS)],
            "plain Python, one run at a time",
            repeats,
            peer_amount=LOOPS,
        )


def _loop(name: str, means: np.ndarray, seed: int) -> float:
    """One run, an arm at a time."""
    rng, pulls, wins = np.random.default_rng(seed), np.zeros(ARMS), np.zeros(ARMS)
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
