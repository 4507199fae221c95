"""Every public function refuses every bad argument, by a `ValueError` that names it, and before anything is compiled.

`TABLE` has a row for each function: good arguments, and for each argument kinds of bad values. A kind that a function
needs is listed once, above the table.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdm.oracles.mdp as mdp_oracles
import jaxdm.rmft
from jaxdm import learners, models, rollout, sft, tokens, trainer
from jaxdm.analysis import claims, exploration, statistics, storage
from jaxdm.envs import apomdp, bandit, families, linear_mdp, mdp, online, pomdp, sparse_mdp
from jaxdm.learners import exp3, thompson
from jaxdm.models.transformer import TransformerConfig
from jaxdm.oracles import apomdp as apomdp_oracles
from jaxdm.oracles import attack, regret
from jaxdm.oracles import bandit as bandit_oracles
from jaxdm.oracles import pomdp as pomdp_oracles
from jaxdm.oracles.apomdp import information_states
from jaxdm.oracles.apomdp.bounds import GridBounds, WindowBounds
from jaxdm.oracles.mdp import sparse
from jaxdm.oracles.pomdp import belief
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.sft import data, experts, offline, posterior, pretraining, tasks
from jaxdm.types import Agent, Episode

NAN, INF = float("nan"), float("inf")


TEXT = ["a", None, 1j]
"""What is no number at all."""


COUNT = [0, -1, 1.5, 2.0, NAN, "3", 2**31, True, None, [1]]
"""What is no number of things."""


AT_LEAST_ZERO = [-1, 1.5, NAN, "3", 2**31, None]


OPTIONAL = [value for value in COUNT if value is not None]


POSITIVE = [0, -1, NAN, INF, *TEXT, [0.5, 0.5]]


TOLERANCE = [0, -1, NAN, *TEXT]


NOT_NEGATIVE = [-1, NAN, INF, *TEXT]


BUDGET = [-1, NAN, *TEXT]


BAD_MEMORY = [-1, NAN, "a", None]


CHANCE = [-0.1, 1.1, NAN, *TEXT, [0.5, 0.5]]


CHANCES = [-0.1, 1.1, NAN, *TEXT, [0.5] * 7, np.float16(0.5)]


FINITE = [NAN, INF, *TEXT]


BELOW_ONE = [1, -0.1, NAN, *TEXT]


DTYPE = [int, np.float16, jnp.bfloat16, complex, "text"]


RESOLUTION = [0, -1, NAN, 1e-20, 2, "a"]


WORDS = ["words", 3, None]


def arrays(good: Any) -> list:
    """Bad versions of a good array of numbers."""
    good = np.asarray(good, float)
    return [
        good * 1j,
        good.astype(np.float16),
        np.ma.masked_array(good, np.zeros(good.shape, bool)),
        np.full(good.shape, NAN),
        good[None, None],
        good[..., :0],
        [[1.0], [1.0, 2.0]],
        "abc",
        object(),
    ]


def rows(good: Any) -> list:
    """Bad versions of a good array of probabilities."""
    wrong = np.asarray(good, float).copy()
    wrong[..., 0], wrong[..., 1] = 2, -1
    return [*arrays(good), wrong, np.asarray(good) * 0.9]


def several(record: Any) -> Any:
    """Two of a record, as jax.vmap would take them."""
    return jax.tree.map(lambda x: jnp.stack([x, x]), record)


KEY = jax.random.key(0)


P, R, Z = np.full((2, 2, 2), 0.5), np.eye(2), np.full((2, 2, 2), 0.5)


WORLD = mdp.make(P, R, discount=0.9)


HIDDEN = pomdp.make(P, R, Z, discount=0.9)


DOUBTFUL = apomdp.make(several(HIDDEN), 0.5)


SPARSE = sparse_mdp.make(np.zeros((2, 2, 1), int), np.ones((2, 2, 1)), R, discount=0.9)


HALF = [0.5, 0.5]


LOSSES = np.ones((3, 2))


POLICY = jnp.full((2, 2), 0.5)


SMALL = TransformerConfig(width=4, layers=1, heads=1)


LENGTH_AND_SIZE = {"key": KEY, "length": 3, "dimension": 2}


ARMS_AND_ROUNDS = {"key": KEY, "arms": 2, "rounds": 4}


ROOM = {"key": KEY, "side": 3, "slip": 0.1, "cue_accuracy": 0.8, "mode_prior": 0.5}


ROOM_CHANCES = [-0.1, 1.1, NAN, *TEXT]


TWO = tokens.Spaces(observations=2, actions=2)


STATED = {"id": "a", "statement": "b", "source": "c"}


ROW = claims.below(**STATED, values=[1.0, 2.0], target=0.0)


def constant(action: int) -> Agent:
    """The agent that always takes one action."""

    def act(key, memory, observation, params):
        return jnp.int32(action), memory

    return Agent(init=lambda key, params: jnp.int32(0), act=act, observe=lambda memory, transition, params: memory)


FIRST = constant(0)


GRAPH = apomdp_oracles.merged(DOUBTFUL, 2)


PLANNED = pomdp_oracles.plan(HIDDEN, 2)


BELIEFS = len(PLANNED.reachable.reward)


WINDOWS = WindowBounds(*jnp.zeros((2, 3, 4)))


LONE = jax.jit(sft.solve_mdp, static_argnums=1)(WORLD, 2)


SOLVED = jax.tree.map(lambda x: jnp.asarray(x)[None], LONE)


SETTING = sft.setting(WORLD, 2, 0.1, 1.0)


FAMILY = sft.Family(draw=lambda key, identity, ranges: LONE, identities=2)


SEQUENCE = sft.Sequence(
    **dict.fromkeys(("observation", "action", "next_observation"), jnp.zeros(2, jnp.int32)),
    reward=jnp.zeros(2),
    start=jnp.array([True, False]),
    label=jnp.full((2, 2), 0.5),
    mask=jnp.ones(2, bool),
)


SEQUENCES = jax.tree.map(lambda x: x[None], SEQUENCE)


PROMPT = data.as_prompt(SEQUENCE, TWO)


EPISODE = Episode(
    **{name: getattr(SEQUENCE, name) for name in ("observation", "action", "reward", "next_observation", "mask")},
    **dict.fromkeys(("terminated", "truncated", "state"), jnp.zeros(2, bool)),
)


EPISODES = jax.tree.map(lambda x: x[None], EPISODE)


PLAYED = EPISODE._replace(observation=jnp.ones((2, 2), bool))


PARTICLES = posterior.before(jax.tree.map(lambda x: x[None], posterior.particle(LONE)))


ROOM_OF_ONE = families.rooms.hidden_mode_room(**ROOM)


TABLE: list[tuple[Callable, dict[str, Any], dict[str, list]]] = [
    # worlds
    (
        mdp.make,
        {"transition": P, "reward": R},
        {
            "transition": [*rows(P)[:4], [[1]], "abc", None, *rows(P)[-2:]],
            "reward": arrays(R),
            "initial": rows(HALF),
            "discount": [2, -1, NAN, "a", 1j, HALF],
            "dtype": DTYPE,
            "available": ["ab", [0, 1], R, [True, False]],
        },
    ),
    (
        pomdp.make,
        {"transition": P, "reward": R, "observation": Z},
        {
            "reward": arrays(R),
            "observation": rows(Z),
            "initial": rows(HALF),
            "initial_observation": rows(np.full((2, 2), 0.5)),
            "discount": [2, -1, NAN, "a", 1j],
            "dtype": DTYPE,
        },
    ),
    (pomdp.from_mdp, {"hidden": WORLD, "quality": 1.0}, {"quality": [0.1, *CHANCE], "hidden": [None, "world"]}),
    (
        apomdp.make,
        {"members": several(HIDDEN), "attitude": 0.5},
        {"members": [[], None, WORLD], "attitude": CHANCE, "nature": rows(HALF)},
    ),
    (
        sparse_mdp.make,
        {"successor": np.zeros((2, 2, 1), int), "probability": np.ones((2, 2, 1)), "reward": R},
        {
            "successor": [np.full((2, 2, 1), 2), np.full((2, 2, 1), -1), np.zeros((2, 2, 1)), "abc", None],
            "probability": [np.full((2, 2, 1), 0.5), *arrays(np.ones((2, 2, 1)))[:4], "abc", None],
            "reward": arrays(R)[:4],
            "initial": rows(HALF),
            "discount": [2, -1, NAN, "a", 1j],
            "dtype": DTYPE,
        },
    ),
    *((module.env, {}, {"horizon": OPTIONAL}) for module in (mdp, pomdp, apomdp, sparse_mdp)),
    (
        linear_mdp.random,
        {"key": KEY, "states": 2, "actions": 2, "dimension": 2, "horizon": 2},
        {**dict.fromkeys(("states", "actions", "dimension", "horizon"), COUNT), "dtype": DTYPE},
    ),
    (
        bandit.make,
        {"mean": [0.5, 0.9]},
        {
            "mean": [[0.5, 1.5], [], *arrays(HALF)],
            "deviation": [-1, NAN, "a", 1j, [1, 1, 1], np.float16(1)],
            "available": ["ab", [1, 0], [False, False], [True], [[True, True]]],
            "horizon": [0, -1, 1.5, NAN, "3", 2**31],
            "dtype": DTYPE,
        },
    ),
    (
        bandit.best_available,
        {"score": jnp.ones(2), "available": jnp.ones(2, bool)},
        {"available": [jnp.zeros(2, bool)]},
    ),
    (online.checked, {"losses": LOSSES}, {"losses": arrays(LOSSES)}),
    # families
    (
        families.mdp.dirichlet,
        {"key": KEY, "states": 2, "actions": 2},
        {
            "states": COUNT,
            "actions": COUNT,
            "concentration": [0, *FINITE, [1, 1, 1]],
            "discount": CHANCE,
            "dtype": DTYPE,
        },
    ),
    (
        families.mdp.garnet,
        {"key": KEY, "states": 3, "actions": 2, "branching": 2},
        {"states": COUNT, "actions": COUNT, "branching": [4, *COUNT], "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.mdp.dark_room,
        {"key": KEY, "side": 2},
        {
            "side": COUNT,
            "slip": CHANCE,
            "extent": [0, 3, NAN, "a", 1.5],
            "identity": [96, -1, 0.5],
            "discount": CHANCE,
            "dtype": DTYPE,
        },
    ),
    (
        families.mdp.deterministic,
        {"key": KEY, "states": 2, "actions": 2},
        {"states": COUNT, "actions": COUNT, "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.mdp.perturbed,
        {"key": KEY, "mdp": WORLD, "concentration": 1.0},
        {"mdp": [None, "world"], "concentration": POSITIVE},
    ),
    (
        families.mdp.perturbed_rows,
        {"key": KEY, "rows": np.full((2, 2), 0.5), "concentration": 1.0},
        {"rows": [0.5, None, *rows(np.full((2, 2), 0.5))[:4], *rows(HALF)[-2:]], "concentration": POSITIVE},
    ),
    (families.mdp.identities, {"side": 2}, {"side": [*COUNT, 10_000]}),
    (
        families.mdp.room_identity,
        {"key": KEY, "side": 3, "extent": 2},
        {"side": COUNT, "extent": [4, *COUNT], "identity": [216, *AT_LEAST_ZERO[:-1]]},
    ),
    (families.mdp.frozen_lake, {}, {"slip": CHANCE, "discount": CHANCE, "dtype": DTYPE}),
    (families.mdp.chain, {"states": 3}, {"states": COUNT, "slip": CHANCE, "discount": CHANCE, "dtype": DTYPE}),
    (
        families.mdp.machine_replacement,
        {"states": 3},
        {"states": [1, *COUNT], "wear": CHANCE, "replacement_cost": FINITE, "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.mdp.inventory,
        {"capacity": 1},
        {
            "capacity": COUNT,
            "demand": rows(HALF),
            **dict.fromkeys(("price", "order_cost", "fixed_cost", "holding_cost"), FINITE),
            "discount": CHANCE,
            "dtype": DTYPE,
        },
    ),
    (
        families.pomdp.dirichlet,
        {"key": KEY, "states": 2, "actions": 2, "quality": 1.0},
        {"states": COUNT, "actions": COUNT, "quality": [0.1, *CHANCE], "concentration": [0, *FINITE], "dtype": DTYPE},
    ),
    (
        families.pomdp.garnet,
        {"key": KEY, "states": 3, "actions": 2, "branching": 2, "quality": 1.0},
        {"states": COUNT, "branching": [4, *COUNT], "quality": [0.1, *CHANCE], "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.pomdp.random_treatment,
        {"key": KEY},
        {"stages": [1, *COUNT], "levels": [1, *COUNT], "accuracy": CHANCE, "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.pomdp.dense,
        {"key": KEY, "states": 2, "actions": 2, "observations": 2},
        {"observations": COUNT, "observation_concentration": POSITIVE, "discount": CHANCE},
    ),
    (
        families.pomdp.tiger,
        {},
        {"accuracy": CHANCE, **dict.fromkeys(("listen", "right", "wrong"), FINITE), "discount": CHANCE, "dtype": DTYPE},
    ),
    (
        families.pomdp.machine_maintenance,
        {},
        {
            "components": COUNT,
            **dict.fromkeys(("wear", "defect", "discount"), CHANCE),
            **dict.fromkeys(("examination", "inspection", "part"), FINITE),
        },
    ),
    (
        families.pomdp.treatment,
        {},
        {
            "stages": [1, *COUNT],
            "levels": [1, *COUNT],
            **dict.fromkeys(("progression", "response", "harm", "recovery", "accuracy", "discount"), CHANCE),
            **dict.fromkeys(("test_cost", "toxicity_cost"), FINITE),
        },
    ),
    (
        families.apomdp.around,
        {"key": KEY, "nominal": HIDDEN, "models": 2, "radius": 0.1},
        {"models": COUNT, "radius": CHANCE, "nominal": [None, WORLD], "attitude": CHANCE},
    ),
    (
        families.apomdp.independent,
        {"key": KEY, "models": 2, "states": 2, "actions": 2, "observations": 2},
        {
            **dict.fromkeys(("models", "states", "actions", "observations"), COUNT),
            "density": CHANCE,
            "discount": CHANCE,
        },
    ),
    (
        families.apomdp.clinicians,
        {"key": KEY, "models": 2},
        {"models": COUNT, "disagreement": NOT_NEGATIVE, "progression": CHANCE, "accuracy": CHANCE},
    ),
    (
        families.rooms.hidden_mode_room,
        ROOM,
        {
            "side": [2, *COUNT],
            "extent": [2, 4, NAN, 3.5],
            "identity": [216, -1, 0.5],
            **dict.fromkeys(("slip", "cue_accuracy", "mode_prior"), ROOM_CHANCES),
        },
    ),
    (families.rooms.member, {"world": DOUBTFUL, "model": 0}, {"world": [None, HIDDEN], "model": [2, -1, 0.5, "a"]}),
    (families.bandit.uniform_means, {"key": KEY, "arms": 2}, {"arms": COUNT, "dtype": DTYPE, "horizon": [0, 1.5]}),
    (families.bandit.one_gap, {"key": KEY, "arms": 2, "gap": 0.2}, {"arms": COUNT, "gap": CHANCE, "dtype": DTYPE}),
    (
        families.bandit.linear,
        {"key": KEY, "features": jnp.ones((2, 2)), "deviation": 1.0},
        {"features": arrays(R), "deviation": [-1, NAN, "a", 1j]},
    ),
    *(
        (
            function,
            {**ARMS_AND_ROUNDS, field: 0.5},
            {"arms": COUNT, "rounds": COUNT, field: bad, "budget": BUDGET, "dtype": DTYPE},
        )
        for function, field, bad in (
            (families.bandit.switching, "chance", CHANCE),
            (families.bandit.wandering, "step", NOT_NEGATIVE),
            (families.bandit.seasonal, "period", POSITIVE),
        )
    ),
    *(
        (law, LENGTH_AND_SIZE, {"length": COUNT, "dimension": COUNT, "dtype": DTYPE})
        for law in families.losses.LAWS.values()
    ),
    *(
        (families.losses.LAWS[name], LENGTH_AND_SIZE, {field: [*bad, [1.0, 1.0, 1.0]]})
        for name, field, bad in (
            ("uniform", "low", FINITE),
            ("uniform", "high", FINITE),
            ("gaussian", "mean", FINITE),
            ("gaussian", "deviation", NOT_NEGATIVE),
            ("bernoulli", "chance", [-0.1, 1.1, NAN, *TEXT]),
            ("random_mean", "spread", NOT_NEGATIVE),
            ("linear_trend", "slope", FINITE),
            ("sine_trend", "period", [0, -1, NAN, *TEXT]),
            ("sine_trend", "amplitude", FINITE),
            ("random_walk", "step", NOT_NEGATIVE),
            ("periodic", "period", COUNT),
            ("switching", "hazard", CHANCE),
            ("noisy_alternating", "deviation", NOT_NEGATIVE),
        )
    ),
    # oracles
    (
        mdp_oracles.backward_induction,
        {"mdp": WORLD, "horizon": 2},
        {"horizon": COUNT, "terminal": [*arrays(HALF)], "mdp": [None, "world"]},
    ),
    (mdp_oracles.backward_induction_staged, {"stages": several(WORLD)}, {"terminal": arrays(HALF)}),
    (mdp_oracles.value_iteration, {"mdp": WORLD}, {"tolerance": TOLERANCE, "max_iterations": COUNT, "mdp": [None]}),
    (
        mdp_oracles.policy_iteration,
        {"mdp": WORLD},
        {"max_iterations": COUNT, "sweeps": AT_LEAST_ZERO, "mdp": [None, "world"]},
    ),
    (mdp_oracles.policy_evaluation, {"mdp": WORLD, "policy": POLICY}, {"policy": [None, jnp.ones(3), 2 * POLICY]}),
    (
        mdp_oracles.finite_policy_evaluation,
        {"mdp": WORLD, "policy": POLICY, "horizon": 2},
        {"horizon": COUNT, "policy": [None, jnp.ones(3), 2 * POLICY]},
    ),
    (mdp_oracles.reach_probabilities, {"mdp": WORLD, "policy": POLICY, "horizon": 2}, {"horizon": COUNT}),
    (sparse.value_iteration, {"mdp": SPARSE}, {"tolerance": TOLERANCE, "max_iterations": COUNT}),
    (
        sparse.modified_policy_iteration,
        {"mdp": SPARSE},
        {"tolerance": TOLERANCE, "max_iterations": COUNT, "sweeps": AT_LEAST_ZERO},
    ),
    (sparse.policy_iteration, {"mdp": SPARSE}, {"max_iterations": COUNT, "linear_steps": COUNT}),
    (
        pomdp_oracles.plan,
        {"pomdp": HIDDEN, "horizon": 2},
        {"pomdp": [None, WORLD, 3], "horizon": COUNT, "resolution": RESOLUTION, "memory": BAD_MEMORY},
    ),
    (
        pomdp_oracles.plan_endless,
        {"pomdp": HIDDEN},
        {
            "pomdp": [None, WORLD, 3],
            "tolerance": TOLERANCE,
            "resolution": RESOLUTION,
            "max_iterations": COUNT,
            "memory": BAD_MEMORY,
        },
    ),
    (
        pomdp_oracles.plan_tree,
        {"pomdp": HIDDEN, "horizon": 2},
        {"pomdp": [None, WORLD], "horizon": COUNT, "memory": BAD_MEMORY},
    ),
    (
        pomdp_oracles.tree_value,
        {"pomdp": HIDDEN, "horizon": 2},
        {"pomdp": [None], "horizon": COUNT, "belief": [[2.0, -1.0], [1.0], "ab"], "memory": BAD_MEMORY},
    ),
    (pomdp_oracles.reachable, {"pomdp": HIDDEN, "depth": 2}, {"resolution": RESOLUTION, "depth": [-1, 1.5, "a"]}),
    (
        apomdp_oracles.plan_tree,
        {"apomdp": DOUBTFUL, "horizon": 2},
        {"apomdp": [None, HIDDEN], "horizon": COUNT, "memory": BAD_MEMORY},
    ),
    (
        apomdp_oracles.plan_merged,
        {"apomdp": DOUBTFUL, "horizon": 2},
        {
            "apomdp": [None, HIDDEN],
            "horizon": COUNT,
            "resolution": [0, -1, NAN, "a"],
            "memory": BAD_MEMORY,
        },
    ),
    (
        apomdp_oracles.merged,
        {"apomdp": DOUBTFUL, "horizon": 2},
        {"apomdp": [None, HIDDEN], "horizon": COUNT, "resolution": [0, -1, NAN, "a"], "memory": BAD_MEMORY},
    ),
    (
        apomdp_oracles.plan_on_graph,
        {"apomdp": DOUBTFUL, "graph": GRAPH, "horizon": 2},
        {"apomdp": [None, HIDDEN], "graph": [None, HIDDEN], "horizon": COUNT},
    ),
    (
        information_states.evaluate,
        {"apomdp": DOUBTFUL, "graph": GRAPH, "probabilities": np.full((2, 10, 2), 0.5)},
        {"graph": [None], "probabilities": rows(np.full((2, 10, 2), 0.5))},
    ),
    (
        apomdp_oracles.evaluate,
        {"apomdp": DOUBTFUL, "probabilities": np.full((10, 2), 0.5), "horizon": 2},
        {
            "apomdp": [None, HIDDEN],
            "probabilities": [None, *rows(np.full((10, 2), 0.5))],
            "horizon": COUNT,
            "memory": BAD_MEMORY,
        },
    ),
    (
        apomdp_oracles.agent_probabilities,
        {"key": KEY, "agent": FIRST, "params": None, "horizon": 1, "actions": 2, "observations": 2},
        {**dict.fromkeys(("horizon", "actions", "observations"), COUNT), "agent": [constant(2), constant(-2)]},
    ),
    (
        apomdp_oracles.simulate,
        {"key": KEY, "apomdp": DOUBTFUL, "agent": FIRST, "params": None, "horizon": 1, "episodes": 2},
        {"apomdp": [None, HIDDEN], "horizon": COUNT, "episodes": [1, *COUNT]},
    ),
    (
        apomdp_oracles.window_bounds,
        {"apomdp": DOUBTFUL, "horizon": 2, "window": 1},
        {"apomdp": [None, HIDDEN], "horizon": AT_LEAST_ZERO, "window": AT_LEAST_ZERO, "memory": BAD_MEMORY},
    ),
    (
        apomdp_oracles.grid_bounds,
        {"apomdp": DOUBTFUL, "horizon": 2, "cells": 2},
        {"apomdp": [None, HIDDEN], "horizon": AT_LEAST_ZERO, "cells": COUNT, "memory": BAD_MEMORY},
    ),
    (
        apomdp_oracles.look_ahead,
        {"apomdp": DOUBTFUL, "bounds": WINDOWS, "depth": 1},
        {
            "apomdp": [None, HIDDEN],
            "bounds": [None, HIDDEN, WindowBounds(*jnp.ones((2, 2, 3))), GridBounds(*jnp.ones((2, 2, 3)))],
            "depth": COUNT,
            "memory": BAD_MEMORY,
        },
    ),
    (apomdp_oracles.look_ahead_agent, {"depth": 1}, {"depth": COUNT}),
    (
        pomdp_oracles.policy_value,
        {"pomdp": HIDDEN, "solved": PLANNED, "probabilities": np.full((2, BELIEFS, 2), 0.5)},
        {
            "pomdp": [None, WORLD],
            "solved": [None, WORLD],
            "probabilities": [None, *rows(np.full((2, BELIEFS, 2), 0.5))],
        },
    ),
    (pomdp_oracles.qmdp, {"pomdp": HIDDEN}, {"pomdp": [None, WORLD], "horizon": OPTIONAL}),
    (pomdp_oracles.myopic, {"pomdp": HIDDEN}, {"pomdp": [None, WORLD]}),
    (
        pomdp_oracles.solve_point_based,
        {"pomdp": HIDDEN},
        {
            "pomdp": [None, WORLD, "tiger"],
            "horizon": OPTIONAL,
            "tolerance": NOT_NEGATIVE,
            "relative": NOT_NEGATIVE,
            "trials": COUNT,
            "seconds": BUDGET,
        },
    ),
    (belief.first, {"pomdp": HIDDEN, "observation": 0}, {"pomdp": [None, WORLD], "observation": [2, -1, 0.5, "a"]}),
    (
        belief.update,
        {"pomdp": HIDDEN, "belief": jnp.full(2, 0.5), "action": 0, "observation": 0},
        {
            "pomdp": [None, WORLD],
            "belief": [None, jnp.ones(3), "ab"],
            "action": [2, -1, 0.5, None],
            "observation": [2, -1, 0.5, None],
        },
    ),
    (
        belief.follow,
        {"pomdp": HIDDEN, "actions": jnp.zeros(1, int), "observations": jnp.zeros(2, int)},
        {"actions": [None, jnp.zeros(2, int), jnp.full(1, 2)], "observations": [None, jnp.full(2, 2), jnp.ones(2)]},
    ),
    (
        bandit_oracles.gittins_index,
        {"successes": 1.0, "failures": 1.0, "discount": 0.9},
        {"successes": POSITIVE, "failures": POSITIVE, "discount": BELOW_ONE, "plays": COUNT},
    ),
    (
        bandit_oracles.bayes_plan,
        {"prior": np.ones((2, 2)), "horizon": 2},
        {
            "prior": [-np.ones((2, 2)), *arrays(np.ones((2, 2)))],
            "horizon": [100, *COUNT],
            "discount": CHANCE,
            "available": [[False, False], [1, 0], "ab", [True]],
        },
    ),
    *(
        (
            function,
            {"decision_set": online.BALL, "losses": LOSSES},
            {"decision_set": [None, "ball"], "losses": arrays(LOSSES), "size": POSITIVE},
        )
        for function in (regret.best_fixed, regret.best_so_far, regret.best_each_round)
    ),
    (regret.best_switching, {"losses": LOSSES, "switches": 1}, {"switches": AT_LEAST_ZERO, "losses": arrays(LOSSES)}),
    *(
        (function, {"losses": LOSSES, "decisions": LOSSES}, {"losses": arrays(LOSSES), "decisions": arrays(LOSSES)})
        for function in (regret.internal, regret.swap)
    ),
    (regret.best_arm, {"losses": LOSSES}, {"losses": arrays(LOSSES)}),
    (
        regret.pseudo,
        {"means": HALF, "actions": [0, 1]},
        {"means": arrays(HALF), "actions": [[0, 2], [-1], [0.5], "ab", [[0]]]},
    ),
    (
        regret.nonstationary,
        {"means": R, "actions": [0, 1]},
        {"means": arrays(R), "actions": [[0, 2], [-1, 0], [0.5, 1], "ab", [0]]},
    ),
    (regret.variation, {"means": R}, {"means": arrays(R)}),
    (
        attack.ascend,
        {"objective": jnp.sum, "project": attack.to_unit_ball, "start": LOSSES},
        {"steps": AT_LEAST_ZERO, "rate": POSITIVE},
    ),
    # learners
    *(
        (function, {}, {"arms": COUNT})
        for function in (
            learners.bandit.ucb,
            learners.bandit.kl_ucb,
            learners.bandit.epsilon_greedy,
            learners.bandit.successive_elimination,
            exp3.exp3,
            thompson.beta_thompson,
            thompson.normal_thompson,
            bandit_oracles.bayes_optimal,
        )
    ),
    (learners.bandit.sliding_window_ucb, {"arms": 2, "longest": 3}, {"arms": COUNT, "longest": COUNT}),
    (
        learners.online.rate,
        {"scale": 1.0},
        {"scale": [0, -1, *FINITE], "power": [-1, 2, *FINITE], "size": [0, -1, *FINITE], "dtype": DTYPE},
    ),
    (learners.online.hedge_rate, {"arms": 2}, {"arms": [1, *COUNT], "length": OPTIONAL, "dtype": DTYPE}),
    (learners.online.ftrl_rate, {}, {"radius": POSITIVE, "length": OPTIONAL}),
    (learners.online.hedge, {}, {"dimension": COUNT}),
    *(
        (function, {"decision_set": online.BALL}, {"dimension": COUNT})
        for function in (
            learners.online.ftrl,
            learners.online.follow_leader,
            learners.online.lazy_descent,
            learners.online.greedy_descent,
            learners.online.perturbed_leader,
        )
    ),
    (learners.online.perturbed_leader, {"decision_set": online.BALL, "dimension": 2}, {"samples": COUNT}),
    (rollout.markov_agent, {}, {"horizon": OPTIONAL}),
    (rollout.epsilon_soft, {"policy": jnp.zeros(2, int), "actions": 2}, {"actions": COUNT, "exploration": CHANCE}),
    # networks and training
    (models.network, {"config": SMALL, "features": 2, "outputs": 2}, {"features": COUNT, "outputs": COUNT}),
    (
        trainer.adamw,
        {"rate": 0.1, "steps": 3},
        {
            "rate": POSITIVE,
            "steps": COUNT,
            "warmup": CHANCE,
            "floor": CHANCE,
            "decay": NOT_NEGATIVE,
            "hold": COUNT,
        },
    ),
    (
        jaxdm.rmft.bandit_game,
        {"family": None, "arms": 2, "length": 3},
        {"arms": COUNT, "length": COUNT, "labels": ["output", *WORDS], "rewards": WORDS},
    ),
    (
        jaxdm.rmft.online_game,
        {"distributions": (families.losses.uniform,), "dimension": 2, "length": 3},
        {
            "dimension": COUNT,
            "length": COUNT,
            "used": [3, *OPTIONAL],
            "distributions": [()],
            "labels": WORDS,
            "decisions": WORDS,
        },
    ),
    # tokens
    (tokens.bandit_features, {"arms": 2}, {"arms": COUNT}),
    (tokens.online_features, {"dimension": 2}, {"dimension": COUNT}),
    (
        tokens.encode_steps,
        {"observation": [0, 1], "action": [0, 1], "reward": jnp.ones(2), "start": [True, False], "spaces": TWO},
        {
            "observation": [[0, 2], [-1, 0], [0.5, 0], "ab", None, [[0]]],
            "action": [[0, 2], [-2, 0], [0.5, 0], "ab", None, [0]],
            "reward": [jnp.ones(3), None],
            "start": [[0, 1], [True], None],
            "spaces": [None, 3],
        },
    ),
    (
        tokens.online_tokens,
        {"losses": jnp.ones((3, 2)), "available": [True, True]},
        {"losses": [None, jnp.ones(3)], "available": [[1, 0], [True], None]},
    ),
    (tokens.encode, {"episodes": EPISODES, "spaces": TWO}, {"episodes": [None, EPISODE], "spaces": [None]}),
    (tokens.bandit_tokens, {"episode": PLAYED, "arms": 2}, {"episode": [None], "arms": COUNT}),
    # paper 1
    (sft.solve_mdp, {"mdp": WORLD, "horizon": 2}, {"mdp": [None], "horizon": COUNT}),
    (sft.solve_pomdp, {"pomdp": HIDDEN, "horizon": 2}, {"pomdp": [None, WORLD], "horizon": COUNT}),
    (tasks.solve_merged, {"apomdp": DOUBTFUL, "horizon": 2}, {"apomdp": [None, HIDDEN], "horizon": COUNT}),
    (
        sft.solve_tree,
        {"apomdp": DOUBTFUL, "horizon": 2},
        {"apomdp": [None, HIDDEN], "horizon": COUNT, "memory": BAD_MEMORY},
    ),
    (
        sft.solve_apomdp,
        {"apomdp": DOUBTFUL, "graph": GRAPH, "horizon": 2},
        {"apomdp": [None], "graph": [None], "horizon": COUNT},
    ),
    (sft.solve_room, {"room": ROOM_OF_ONE, "horizon": 2}, {"room": [None, HIDDEN], "horizon": COUNT}),
    (tasks.room_information, {"room": ROOM_OF_ONE, "horizon": 2}, {"room": [None, HIDDEN], "horizon": COUNT}),
    (
        tasks.tree_value,
        {"apomdp": DOUBTFUL, "horizon": 2, "probabilities": np.full((10, 2), 0.5)},
        {"apomdp": [None, HIDDEN], "horizon": COUNT, "probabilities": arrays(np.full((10, 2), 0.5))},
    ),
    (
        sft.split_identities,
        {"key": KEY, "family": FAMILY, "share": 0.5},
        {"family": [None, FAMILY._replace(identities=1)], "share": [0, 1, *CHANCE]},
    ),
    (
        sft.sample,
        {"key": KEY, "family": FAMILY, "ranges": None, "count": 1},
        {"family": [None], "count": COUNT, "identities": [[], "ab", [0.5], -1, [-1]]},
    ),
    (
        tasks.solve_each,
        {"key": KEY, "family": FAMILY, "ranges": None, "identities": [0]},
        {"family": [None], "identities": [[], "ab", [0.5], -1, [-2], None]},
    ),
    (sft.soft_oracle, {"exploration": 0.5}, {"exploration": CHANCE}),
    (experts.myopic, {"steps": 1}, {"steps": COUNT}),
    (
        sft.around,
        {"world": WORLD, "horizon": 2, "count": 1},
        {"world": [None, "tiger", SPARSE], "horizon": COUNT, "count": COUNT},
    ),
    (
        sft.setting,
        {"centre": WORLD, "horizon": 2, "visit_exploration": 0.1, "behaviour_scale": 1.0},
        {"horizon": COUNT, "visit_exploration": CHANCE, "behaviour_scale": NOT_NEGATIVE},
    ),
    (
        sft.trial,
        {**dict.fromkeys(("key", "setting", "task", "agent", "inform", "show")), "episodes": 2},
        {"episodes": [1, 3, *COUNT]},
    ),
    (
        sft.gap,
        {"loss": np.zeros((1, 2, 1)), "task": SOLVED},
        {"loss": arrays(np.zeros((1, 2, 1))), "task": [None, WORLD]},
    ),
    (
        sft.batch_loss,
        {**dict.fromkeys(("network", "setting", "item")), "supports": 0, "batch": 1, "targets": "all"},
        {"supports": AT_LEAST_ZERO, "batch": COUNT, "targets": WORDS},
    ),
    (
        sft.stored_loss,
        {**dict.fromkeys(("network", "spaces")), "batch": 1, "targets": "all"},
        {"batch": COUNT, "targets": WORDS},
    ),
    (
        sft.prediction_loss,
        {"outputs": jnp.ones((2, 8)), "prompt": PROMPT, "spaces": TWO},
        {"outputs": [None, jnp.ones((2, 3)), jnp.ones((1, 8))], "prompt": [None, WORLD], "targets": WORDS},
    ),
    *(
        (
            item,
            {"key": KEY, "setting": SETTING, "task": LONE, "supports": 0},
            {"setting": [None, WORLD], "task": [None, WORLD], "supports": AT_LEAST_ZERO},
        )
        for item in (sft.expert_sequence, sft.dpt_sequence, sft.behaviour_sequence, sft.learning_sequence)
    ),
    (sft.store, {"sequences": SEQUENCES}, {"sequences": [None, WORLD], "count": [3, *OPTIONAL]}),
    (
        sft.gather,
        {"key": KEY, "setting": SETTING, "pool": SOLVED, "item": sft.expert_sequence, "supports": 0, "count": 1},
        {"supports": AT_LEAST_ZERO, "count": COUNT},
    ),
    (offline.in_chunks, {"key": KEY, "draw": None, "data": None, "count": 1}, {"count": COUNT}),
    (sft.write, {"path": "a.npz", "sequences": None}, {"path": ["a.txt", "", None, 3], "sequences": [None, WORLD]}),
    (sft.read, {"path": "a.npz", "spaces": TWO}, {"path": ["a.txt", "", None, 3, "missing.npz"]}),
    (
        pretraining.any_sequence,
        {"key": KEY, "spaces": TWO, "horizon": 1, "count": 1},
        {"spaces": [None], "horizon": COUNT, "count": COUNT},
    ),
    (pretraining.draw_behaviour, {"key": KEY, "spaces": TWO, "horizon": 1}, {"spaces": [None], "horizon": COUNT}),
    (pretraining.mixed_agent, {"horizon": 1}, {"horizon": COUNT}),
    (posterior.particle, {"task": LONE}, {"task": [None, WORLD, LONE._replace(world=SPARSE)]}),
    (
        posterior.learn,
        {"beliefs": PARTICLES, "shown": EPISODES, "count": 0},
        {"beliefs": [None], "shown": [None], "count": [2, 0.5, -1]},
    ),
    # after a run
    (
        claims.at_most,
        {**STATED, "measured": 1.0, "bound": 2.0},
        {
            **{name: [3, None] for name in STATED},
            "measured": ["a", None, 1j, [1.0, 2.0]],
            "bound": [NAN, "a", None],
            "slack": [-1, "a", None],
        },
    ),
    (claims.exactly, {**STATED, "error": 0.0, "rounding": 1.0}, {"error": ["a", None], "rounding": [NAN, "a", None]}),
    (claims.near, {**STATED, "measured": 1.0, "target": 1.0, "slack": 1.0}, {"target": [NAN, "a"], "slack": [-1, "a"]}),
    (
        claims.covers,
        {**STATED, "measured": 1.0, "low": 0.0, "high": 2.0, "target": 1.0},
        {"low": ["a", None], "high": ["a", [1, 2]], "target": [NAN, "a"]},
    ),
    *(
        (
            function,
            {**STATED, "values": [1.0, 2.0], "target": 0.0},
            {"id": [3], "values": [[1.0], [1, NAN], "ab", np.ones((2, 2)), None], "target": [NAN, "a", None]},
        )
        for function in (claims.below, claims.above)
    ),
    (
        claims.within,
        {**STATED, "interval": statistics.mean_interval([1.0, 2.0]), "least": 0.0, "most": 2.0},
        {"interval": [None, 3], "least": [3.0, NAN, "a"], "most": [NAN, "a"]},
    ),
    (
        claims.ordered,
        {**STATED, "groups": {"a": [1.0, 2.0], "b": [2.0, 4.0]}},
        {"groups": [{}, {"a": [1.0, 2.0]}, {"a": [1.0, 2.0], "b": [1.0]}, None, {"a": "ab", "b": "ab"}]},
    ),
    (
        claims.smaller,
        {**STATED, "ours": [1.0, 2.0], "theirs": [2.0, 4.0]},
        {"ours": ["ab", None], "theirs": [[1.0], "ab", None]},
    ),
    (
        claims.rising,
        {**STATED, "points": [0.0, 1.0], "values": np.eye(2)},
        {"points": [[1, 1], [1, NAN], "ab", 3], "values": [[1, 2], np.eye(3), "ab"]},
    ),
    (
        claims.ranked,
        {"claims": [ROW], "primary": ["a"]},
        {"claims": [None, [3], [WORLD]], "primary": [["b"], ["a", "a"], ["c"] * 13]},
    ),
    (claims.write_claims, {"path": ".", "claims": [], "command": ""}, {"claims": [None, [3], WORLD]}),
    (claims.write_rows, {"path": ".", "claims": []}, {"claims": [None, [3], WORLD]}),
    (claims.as_row, {"claim": ROW}, {"claim": [None, 3]}),
    (claims.read_claims, {"path": "a.json"}, {"path": ["missing.json", None, 3]}),
    (storage.describe_run, {"command": "", "config": {}}, {"command": [None, 3, "'"], "config": [object(), 1j]}),
    (storage.config_hash, {"config": {}}, {"config": [object(), 1j, {"a": {1, 2}}, {1: 0, "1": 0}]}),
    (
        storage.write_result,
        {"root": "never", "experiment": "e", "config": {}, "metrics": {}, "command": "c"},
        {
            "root": [None, 3],
            "experiment": [None, "", "a/b", ".."],
            "config": [object()],
            "metrics": [None, {"a": [1.0]}, {"": 1.0}, {3: 1.0}, {"a/b": 1.0}, {"a": object()}, {"a": None}],
            "command": [None, 3],
        },
    ),
    (storage.read_result, {"path": "missing"}, {"path": ["missing", None, 3]}),
    (storage.read_results, {"root": "missing", "experiment": "e"}, {"root": [None, 3]}),
    (storage.write_text, {"path": "never", "text": ""}, {"path": [None, 3]}),
    (
        statistics.mean_interval,
        {"values": [1.0, 2.0]},
        {"values": [[1.0], [1.0, NAN], "ab", None, [[1.0], [1.0, 2.0]], [1j, 1]], "confidence": [0, 1, 95, NAN, "a"]},
    ),
    (
        statistics.exponent_fit,
        {"times": [1, 2, 3], "values": [1, 2, 3]},
        {
            "times": [[2, 2, 2], [0, 1, 2], "abc", [NAN, 1, 2]],
            "values": [[1, -1, 2], [1, 2], "abc"],
            "confidence": [95, NAN],
        },
    ),
    (
        statistics.linear_part,
        {"times": [1, 2, 3, 4], "values": [1, 2, 3, 4]},
        {"times": [[1, 1, 2, 2], [0, 1, 2, 3], [1, 2, 3, INF]], "values": [[1, 2, 3, NAN], "abcd"], "sublinear": WORDS},
    ),
    (exploration.suffix_failure, {"actions": [0, 1], "best": 0, "start": 1}, {"start": [2, -1, 0.5, "a", None]}),
    (
        exploration.min_fraction,
        {"actions": [0, 1], "arms": 2},
        {
            "actions": [[0, 2], [-1], [0.5], "ab", []],
            "arms": [0, 1.5, "a", None],
            "available": [[1, 0], [False, False]],
        },
    ),
    (
        exploration.greedy_fraction,
        {"actions": [0, 1], "rewards": [0.0, 1.0], "arms": 2},
        {"actions": [[0, 2], [0.5, 1]], "rewards": [[0.0], [NAN, 0], "ab"], "arms": [0, 1.5, "a"]},
    ),
]


ELSEWHERE = {"hidden": ("hidden", "transition"), "mdp": ("mdp",), "demand": ("demand",)}
"""Arguments that an error may name by one of their fields."""


def cases(bad: dict[str, list]) -> list[tuple[str, Any]]:
    return [(field, value) for field, values in bad.items() for value in values]


@pytest.mark.parametrize(("function", "good", "bad"), TABLE, ids=[f"{f.__module__}.{f.__name__}" for f, *_ in TABLE])
def test_bad_arguments_are_refused_by_name(function, good, bad):
    accepted = []
    for field, value in cases(bad):
        try:
            function(**{**good, field: value})
        except ValueError as error:
            if not str(error).startswith(ELSEWHERE.get(field, field)):
                accepted.append((field, value, str(error)))
        except Exception as error:
            accepted.append((field, value, repr(error)))
        else:
            accepted.append((field, value, "accepted"))
    assert not accepted


@pytest.mark.parametrize(
    ("function", "record", "field"),
    [
        (lambda mdp: mdp_oracles.backward_induction(mdp, 2), several(WORLD), "transition"),
        (mdp_oracles.value_iteration, several(WORLD), "transition"),
        (mdp_oracles.policy_iteration, several(WORLD), "transition"),
        (sparse.value_iteration, several(SPARSE), "reward"),
        (lambda pomdp: pomdp_oracles.plan(pomdp, 2), several(HIDDEN), "transition"),
        (lambda pomdp: pomdp_oracles.plan_tree(pomdp, 2), several(HIDDEN), "transition"),
        (lambda apomdp: apomdp_oracles.plan_tree(apomdp, 2), several(DOUBTFUL), "transition"),
        (lambda apomdp: apomdp_oracles.plan_merged(apomdp, 2), several(DOUBTFUL), "transition"),
        (lambda world: pomdp.from_mdp(world, 1.0), several(WORLD), "reward"),
    ],
)
def test_a_batch_without_vmap_is_refused_by_name(function, record, field):
    with pytest.raises(ValueError, match=rf"^{field}: shape \(2, 2, 2.*expected .*"):
        function(record)


@pytest.mark.parametrize(
    ("player", "params", "message"),
    [
        (learners.bandit.ucb(2), learners.bandit.UCBParams(discount=0.0), "discount: 0"),
        (learners.bandit.ucb(2), learners.bandit.UCBParams(exploration=NAN), "exploration: nan"),
        (learners.bandit.sliding_window_ucb(2, 3), learners.bandit.WindowParams(window=4), "window: 4"),
        (learners.bandit.kl_ucb(2), learners.bandit.KLUCBParams(patience=-1), "patience: -1"),
        (learners.bandit.epsilon_greedy(2), learners.bandit.EpsilonGreedyParams(floor=2), "floor: 2"),
        (learners.bandit.successive_elimination(2), learners.bandit.EliminationParams(failure=0), "failure: 0"),
        (exp3.exp3(2), exp3.Exp3Params(exploration=0), "exploration: 0"),
        (exp3.exp3(2), exp3.Exp3Params(sharing=-1), "sharing: -1"),
        (thompson.beta_thompson(2), thompson.BetaPrior(successes=NAN), "successes: nan"),
        (thompson.normal_thompson(2), thompson.NormalPrior(noise=-1), "noise: -1"),
        (thompson.normal_thompson(2), thompson.NormalPrior(deviation=0), "deviation: 0"),
    ],
)
def test_rates_of_players_are_refused_by_name(player, params, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        player.init(KEY, params)


@pytest.mark.parametrize("field", ["rounds", "scenarios", "rollouts", "keep", "steps", "batch"])
def test_sizes_of_iterative_fine_tuning_are_refused_by_name(field):
    for value in COUNT:
        with pytest.raises(ValueError, match=f"^{field}: "):
            distillation.validate(Distillation(**{field: value}))


def test_every_function_of_the_faces_of_oracles_and_families_has_a_row():
    """But for those whose arguments are records of a plan or an episode alone."""
    rows = {function for function, *_ in TABLE}
    face = [getattr(mdp_oracles, name) for name in mdp_oracles.__all__]
    listed = {function for function in face if inspect.isfunction(function)}
    faces = [getattr(module, name) for module in (pomdp_oracles, apomdp_oracles) for name in module.__all__]
    listed |= {function for function in faces if inspect.isfunction(function)}
    modules = (statistics, exploration, claims, tasks, experts, offline)
    for module in (*modules, *(getattr(families, name) for name in ("mdp", "pomdp", "bandit", "apomdp", "rooms"))):
        own = {f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__}
        listed |= {function for function in own if not function.__name__.startswith("_")}
    plain = {"variation", "within", "exponent_interval", "mean_test", "holm", "numbers"}
    plain |= {"adversarial", "as_graph_policy", "at_nodes", "expert_policy", "label_probabilities", "loss_along"}
    plain |= {"agent", "oracle", "play_probabilities"}
    assert {function.__name__ for function in listed - rows} == plain
