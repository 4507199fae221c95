"""Certificates put to random problems of every kind: no value outside its bound, no policy worse than its bound allows.

    python -m tests.campaign --problems 100000 --kind all --seed 0

Problems have rewards of mixed scales (1e-6 to 1e7), actions that are not available, impossible transitions and
observations, rewards of zero, near-ties, and discounts from 0 to 1 - 1e-7 and 1. They are drawn in float64, planned in
float32 and in float64, and compared with solvers in extended precision that share nothing with the planners. A problem
counts once for each float type. `tests/oracles/test_campaign.py` runs a few thousand of them.
"""

import argparse
import collections
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles.apomdp import history_graph, history_tree
from jaxdm.oracles.mdp import planning
from jaxdm.oracles.pomdp import exact
from jaxdm.oracles.pomdp.history_tree import plan_tree, tree_value
from tests.references import mdp as reference_mdp

STATES, ACTIONS, OBSERVATIONS, MODELS, HORIZON = 3, 3, 2, 2, 3
WIDE = np.longdouble
DISCOUNTS = (0.0, 0.5, 0.95, 0.999, 1 - 1e-7)
HOSTED = 10
"""One in so many problems is also given to the planners on the host, which take one at a time."""


class Drawn(NamedTuple):
    """A batch of problems, in float64."""

    transition: np.ndarray  # [B, M, S, A, S]
    observation: np.ndarray  # [B, M, A, S, O]
    initial: np.ndarray  # [B, M, S]
    initial_observation: np.ndarray  # [B, M, S, O]
    reward: np.ndarray  # [B, S, A]
    discount: np.ndarray  # [B]
    attitude: np.ndarray  # [B]


def draw(rng: np.random.Generator, batch: int, models: int) -> Drawn:
    """Random problems, of which each may be degenerate in its own ways."""

    def rows(*shape: int) -> np.ndarray:
        weight = rng.gamma(0.7, size=(batch, models, *shape)) + 1e-12
        sparse = rng.random((batch,) + (1,) * (weight.ndim - 1)) < 0.5
        kept = ~sparse | (rng.random(weight.shape) < 0.6)
        kept[..., 0] |= ~kept.any(axis=-1)
        rare = np.where(rng.random(weight.shape) < 0.1, 1e-6, 1)
        weight = weight * kept * rare
        return weight / weight.sum(axis=-1, keepdims=True)

    shape = (batch, STATES, ACTIONS)
    scale = 10.0 ** rng.integers(-6, 8, shape)
    common = 10.0 ** rng.integers(-6, 8, (batch, 1, 1))
    reward = rng.normal(size=shape) * np.where(rng.random((batch, 1, 1)) < 0.5, scale, common)
    reward = np.where(rng.random(shape) < 0.15, 0.0, reward)
    # Near-ties: the last action pays what the first does, but for a hair.
    hair = 1 + rng.choice([0, 1e-15, 1e-8, 1e-6], (batch, 1)) * rng.normal(size=(batch, STATES))
    reward[..., -1] = np.where(rng.random((batch, 1)) < 0.3, reward[..., 0] * hair, reward[..., -1])
    # Action 1 is always available, so that some action is at every belief.
    closed = (rng.random(shape) < 0.3) & (rng.random((batch, 1, 1)) < 0.4)
    closed[..., 1] = False
    return Drawn(
        transition=rows(STATES, ACTIONS, STATES),
        observation=rows(ACTIONS, STATES, OBSERVATIONS),
        initial=rows(STATES),
        initial_observation=rows(STATES, OBSERVATIONS),
        reward=np.where(closed, -np.inf, reward),
        discount=rng.choice(DISCOUNTS, batch),
        attitude=rng.choice([0.0, 0.3, 1.0], batch),
    )


class Truth(NamedTuple):
    """Values in extended precision after every history, numbered as `jaxdm.oracles.apomdp.history_tree` does."""

    root_value: np.ndarray  # [B]
    q: np.ndarray  # [B, R, A]
    possible: np.ndarray  # [B, R]


def truth(drawn: Drawn) -> Truth:
    """Alpha-maxmin values of every history of a batch, from unnormalised joint chances of history and state."""
    wide = Drawn(*(field.astype(WIDE) for field in drawn))
    paid, closed = np.where(drawn.reward > -np.inf, wide.reward, 0), drawn.reward == -np.inf
    batch, models = drawn.initial.shape[:2]

    def weigh(g: np.ndarray, alive: np.ndarray) -> np.ndarray:
        some = alive.any(axis=1)
        worst = np.where(some, np.where(alive, g, np.inf).min(axis=1), 0)
        best = np.where(some, np.where(alive, g, -np.inf).max(axis=1), 0)
        alpha = wide.attitude.reshape((batch,) + (1,) * (worst.ndim - 1))
        return alpha * worst + (1 - alpha) * best

    joint = (wide.initial[..., None] * wide.initial_observation).swapaxes(-1, -2)  # [B, M, n, S]
    levels = [joint]
    for _ in range(HORIZON - 1):
        moved = np.einsum("bmns,bmsat->bmnat", levels[-1], wide.transition)
        after = np.einsum("bmnat,bmato->bmnaot", moved, wide.observation)
        levels.append(after.reshape(batch, models, -1, STATES))
    found, ahead = [], None
    for joint in reversed(levels):
        mass = joint.sum(axis=-1)
        alive = mass > 0
        g = np.einsum("bmns,bsa->bmna", joint, paid)
        if ahead is not None:
            after, value = ahead
            future = (after * value[:, None]).reshape(*g.shape, OBSERVATIONS).sum(axis=-1)
            g = g + wide.discount[:, None, None, None] * future
        q = weigh(g / np.where(alive, mass, 1)[..., None], alive[..., None])
        barred = (np.einsum("bmns,bsa->bmna", joint, closed.astype(WIDE)) > 0).any(axis=1)
        q = np.where(barred, -np.inf, q)
        found.append((q, alive.any(axis=1)))
        ahead = mass, q.max(axis=-1)
    assert ahead is not None
    mass, value = ahead
    root = weigh((mass * value[:, None]).sum(axis=-1), np.ones(mass.shape[:2], bool))
    q, possible = (np.concatenate(each, axis=1) for each in zip(*reversed(found), strict=True))
    return Truth(root_value=root, q=q, possible=possible)


def as_apomdp(drawn: Drawn, dtype: Any) -> APOMDP:
    """The stored problems, a leading axis [B] on every field."""
    nature = np.full(drawn.initial.shape[:2], 1 / drawn.initial.shape[1])
    return APOMDP(
        **{name: jnp.asarray(x, dtype) for name, x in drawn._asdict().items()}, nature=jnp.asarray(nature, dtype)
    )


def as_pomdp(drawn: Drawn, dtype: Any) -> POMDP:
    """The same of the only model."""
    apomdp = as_apomdp(drawn, dtype)
    alone = {
        name: getattr(apomdp, name)[:, 0] for name in ("transition", "observation", "initial", "initial_observation")
    }
    return POMDP(**alone, reward=apomdp.reward, discount=apomdp.discount)


Violations = Iterator[tuple[str, np.ndarray]]
"""What is wrong, and where: [B] bool."""


def entries(q: Any, error: Any, policy: Any, ties: Any, exact_q: np.ndarray, counts: np.ndarray) -> Violations:
    """What a plan's entries [B, R, A] promise, against the exact ones, where [B, R] counts."""
    q, error = np.asarray(q, WIDE), np.asarray(error, WIDE)
    policy, ties = np.asarray(policy)[..., None], np.asarray(ties)
    closed, counts = exact_q == -np.inf, counts[..., None]
    yield "a NaN", (np.isnan(q) | np.isnan(error)).any(axis=(1, 2))
    yield "availability", ((closed != (q == -np.inf)) & counts).any(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        yield "q outside its bound", ((np.abs(q - exact_q) > error) & ~closed & counts).any(axis=(1, 2))
        chosen, of_chosen = (np.take_along_axis(x, policy, -1) for x in (q, error))
        yield "policy beyond two bounds", ((q - chosen > error + of_chosen) & counts).any(axis=(1, 2))
        loss = exact_q.max(axis=-1, keepdims=True) - np.take_along_axis(exact_q, policy, -1)
        best = np.take_along_axis(error, exact_q.argmax(axis=-1)[..., None], -1)
        yield "loss of the policy", ((loss > 2 * (best + of_chosen)) & counts).any(axis=(1, 2))
    optimal = exact_q == exact_q.max(axis=-1, keepdims=True)
    yield "a best action is no tie", (optimal & ~ties & counts).any(axis=(1, 2))
    yield "a tie is not available", (ties & closed & counts).any(axis=(1, 2))


def outside(name: str, value: Any, bound: Any, right: np.ndarray) -> Violations:
    """One value [B] and its bound."""
    value, bound = np.asarray(value, WIDE), np.asarray(bound, WIDE)
    yield f"{name} outside its bound", ~(np.abs(value - right) <= bound)


def check_mdp(drawn: Drawn, dtype: Any) -> Violations:
    """Backward induction, value iteration and policy iteration."""
    mdp = as_pomdp(drawn, dtype)
    mdp = MDP(transition=mdp.transition, reward=mdp.reward, initial=mdp.initial, discount=mdp.discount)
    kernel, reward, gamma = (x.astype(WIDE) for x in (drawn.transition[:, 0], drawn.reward, drawn.discount))
    value, found = np.zeros(reward.shape[:2], WIDE), []
    for _ in range(HORIZON):
        q = reward + gamma[:, None, None] * np.einsum("bsat,bt->bsa", kernel, value)
        value = q.max(axis=-1)
        found.append(q)
    plan, _, _ = _mdp_planners()
    solved = plan(mdp)
    whole = np.concatenate(found[::-1], axis=1)
    fields = (solved.q, solved.error, solved.policy, solved.ties)
    q, error, policy, ties = (np.asarray(x).reshape(len(whole), -1, *np.shape(x)[3:]) for x in fields)
    yield from _named("backward induction", entries(q, error, policy, ties, whole, np.ones(whole.shape[:2], bool)))
    # An action that is not available is as if it were another name of one that is.
    stand_in, pay = drawn.transition[:, 0].copy(), drawn.reward.copy()
    closed = pay == -np.inf
    pay = np.where(closed, pay[..., 1:2], pay)
    stand_in = np.where(closed[..., None], stand_in[:, :, 1:2], stand_in)
    exact_q = np.stack([reference_mdp.extended(*each)[1] for each in zip(stand_in, pay, drawn.discount, strict=True)])
    exact_q = np.where(closed, -np.inf, exact_q)
    # The solver's float64 corrections of residuals in extended precision leave that much of the largest value anywhere.
    largest = np.abs(np.where(closed, 0, exact_q)).max(axis=(1, 2), keepdims=True)
    left = 64 * np.finfo(WIDE).eps * np.finfo(np.float64).eps * largest
    for name, planner in zip(("value iteration", "policy iteration"), _mdp_planners()[1:], strict=True):
        solved = planner(mdp)
        error = np.asarray(solved.error, WIDE) + left
        same = entries(solved.q, error, solved.policy, solved.ties, exact_q, np.ones(exact_q.shape[:2], bool))
        yield from _named(name, same)
        worst = np.abs(np.asarray(solved.value, WIDE) - exact_q.max(axis=-1)).max(axis=-1)
        yield from _named(name, outside("value", worst, solved.certificate.bound, np.zeros_like(worst)))


def check_pomdp(drawn: Drawn, dtype: Any) -> Violations:
    """The whole tree, its value alone, and the graph of merged beliefs."""
    pomdp, right = as_pomdp(drawn, dtype), truth(drawn)
    whole, alone = _pomdp_planners()
    plan = whole(pomdp)
    yield from _named("tree", entries(plan.q, plan.error, plan.policy, plan.ties, right.q, right.possible))
    yield from _named("tree", outside("root", plan.root_value, plan.certificate.bound, right.root_value))
    value, error = alone(pomdp)
    yield from _named("tree value", outside("root", value, error, right.root_value))
    hosted = jax.tree.map(np.asarray, pomdp)

    def planned(world: POMDP) -> tuple[Any, ...]:
        solved = exact.plan(world, HORIZON)
        merged = exact.history_error(world, solved)
        rows = _rows(solved.graph)
        fields = (solved.q, solved.error, solved.policy, solved.ties)
        q, error, policy, ties = (np.concatenate([x[t][n] for t, n in enumerate(rows)]) for x in fields)
        error = error + np.concatenate([merged[t][n] for t, n in enumerate(rows)])[:, None]
        return q, error, policy, ties, solved.root_value, solved.certificate.bound

    yield from _host(planned, hosted, right, "belief graph")


def check_apomdp(drawn: Drawn, dtype: Any) -> Violations:
    """The whole tree of an ambiguous POMDP, and the same with equal histories merged."""
    apomdp, right = as_apomdp(drawn, dtype), truth(drawn)
    plan = _apomdp_planner()(apomdp)
    yield from _named("ambiguous tree", entries(plan.q, plan.error, plan.policy, plan.ties, right.q, right.possible))
    yield from _named("ambiguous tree", outside("root", plan.root_value, plan.certificate.bound, right.root_value))

    def planned(world: APOMDP) -> tuple[Any, ...]:
        solved = history_graph.plan(world, HORIZON)
        rows = np.concatenate(_rows(solved.graph))
        fields = (np.asarray(x)[rows] for x in (solved.q, solved.error, solved.policy, solved.ties))
        return *fields, solved.root_value, solved.certificate.bound

    yield from _host(planned, jax.tree.map(np.asarray, apomdp), right, "ambiguous graph")


def _host(planned: Callable[[Any], tuple[Any, ...]], worlds: Any, right: Truth, name: str) -> Violations:
    """The planners that take one problem at a time, on every `HOSTED`-th."""
    some = slice(0, None, HOSTED)
    chosen = [planned(jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), worlds)) for i in range(0, len(right.q), HOSTED)]
    q, error, policy, ties, value, bound = (
        np.stack([np.asarray(x) for x in each]) for each in zip(*chosen, strict=True)
    )
    same = (*entries(q, error, policy, ties, right.q[some], right.possible[some]),)
    for what, where in (*same, *outside("root", value, bound, right.root_value[some])):
        every = np.zeros(len(right.q), bool)
        every[some] = where
        yield f"{name}: {what}", every


def _rows(graph: Any) -> list[np.ndarray]:
    """The node of each history of 0, 1, ..., H - 1 steps."""
    rows = [np.asarray(graph.root)]
    for _ in range(HORIZON - 1):
        rows.append(np.asarray(graph.child)[rows[-1]].reshape(-1))
    return rows


def _named(name: str, found: Violations) -> Violations:
    for what, where in found:
        yield f"{name}: {what}", where


COMPILED: dict[str, Any] = {}
"""Planners of batches, made once."""


def _once(name: str, make: Callable[[], Any]) -> Any:
    if name not in COMPILED:
        COMPILED[name] = make()
    return COMPILED[name]


def _mdp_planners() -> tuple[Any, Any, Any]:
    planners = {
        "backward": lambda x: planning.backward_induction(x, HORIZON),
        "value": lambda x: planning.value_iteration(x, max_iterations=2000),
        "policy": planning.policy_iteration,
    }
    first, second, third = (_once(name, lambda f=f: jax.jit(jax.vmap(f))) for name, f in planners.items())
    return first, second, third


def _pomdp_planners() -> tuple[Any, Any]:
    whole = _once("tree", lambda: jax.jit(jax.vmap(lambda x: plan_tree(x, HORIZON))))
    alone = _once("tree value", lambda: jax.jit(jax.vmap(lambda x: tree_value(x, HORIZON))))
    return whole, alone


def _apomdp_planner() -> Any:
    return _once("ambiguous", lambda: jax.jit(jax.vmap(lambda x: history_tree.plan(x, HORIZON))))


KINDS = {"mdp": (check_mdp, 1), "pomdp": (check_pomdp, 1), "apomdp": (check_apomdp, MODELS)}


def run(
    kind: str, problems: int, seed: int, batch: int = 250
) -> tuple[int, dict[str, int], list[tuple[str, int, int]]]:
    """Put problems of a kind to their planners in both float types.

    Args:
        kind: of `KINDS`.
        problems: how many, at least; whole batches of both types are run.
        seed: of the draws.
        batch: problems at a time.

    Returns:
        How many were run, violations of each sort, and the first of each as (sort, batch number, index in the batch).
    """
    check, models = KINDS[kind]
    done, counts, first = 0, collections.Counter(), []
    for number in range(-(-problems // (2 * batch))):
        drawn = draw(np.random.default_rng([seed, sorted(KINDS).index(kind), number]), batch, models)
        for dtype in (np.float32, np.float64):
            with jax.enable_x64(dtype is np.float64):
                for what, where in check(drawn, dtype):
                    sort = f"{kind} {np.dtype(dtype)} {what}"
                    if where.any() and sort not in counts:
                        first.append((sort, number, int(where.argmax())))
                    counts[sort] += int(where.sum())
            done += batch
    return done, {sort: count for sort, count in counts.items() if count}, first


def main() -> None:
    """Run, and print one line for each kind and each sort of violation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = list(KINDS) if options.kind == "all" else [options.kind]
    for kind in kinds:
        start = time.perf_counter()
        done, counts, first = run(kind, -(-options.problems // len(kinds)), options.seed)
        took = time.perf_counter() - start
        print(f"{kind}: {done} problems in {took:.0f} s, {sum(counts.values())} violations", flush=True)
        for sort, number, index in first:
            print(f"  {counts[sort]} x {sort}; first in batch {number}, problem {index}", flush=True)


if __name__ == "__main__":
    main()
