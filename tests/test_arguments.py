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
from jaxdm import learners, models, rollout, trainer
from jaxdm.analysis import exploration, statistics
from jaxdm.envs import apomdp, bandit, families, linear_mdp, mdp, online, pomdp, sparse_mdp
from jaxdm.learners import exp3, thompson
from jaxdm.models.transformer import TransformerConfig
from jaxdm.oracles import apomdp as apomdp_oracles
from jaxdm.oracles import attack, regret
from jaxdm.oracles import bandit as bandit_oracles
from jaxdm.oracles import pomdp as pomdp_oracles
from jaxdm.oracles.mdp import sparse
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation

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
        {"side": COUNT, "slip": CHANCE, "extent": [0, 3, NAN, "a"], "discount": CHANCE, "dtype": DTYPE},
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
            "extent": [2, 4, NAN],
            **dict.fromkeys(("slip", "cue_accuracy", "mode_prior"), ROOM_CHANCES),
        },
    ),
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
        {"horizon": COUNT, "resolution": RESOLUTION, "memory": [-1, NAN, "a", None]},
    ),
    (
        pomdp_oracles.plan_endless,
        {"pomdp": HIDDEN},
        {"tolerance": TOLERANCE, "resolution": RESOLUTION, "max_iterations": COUNT, "memory": [-1, NAN, "a", None]},
    ),
    (pomdp_oracles.plan_tree, {"pomdp": HIDDEN, "horizon": 2}, {"horizon": COUNT}),
    (
        pomdp_oracles.tree_value,
        {"pomdp": HIDDEN, "horizon": 2},
        {"horizon": COUNT, "belief": [[2.0, -1.0], [1.0], "ab"]},
    ),
    (pomdp_oracles.reachable, {"pomdp": HIDDEN, "depth": 2}, {"resolution": RESOLUTION, "depth": [-1, 1.5, "a"]}),
    (apomdp_oracles.plan_tree, {"apomdp": DOUBTFUL, "horizon": 2}, {"horizon": COUNT}),
    (
        apomdp_oracles.plan_merged,
        {"apomdp": DOUBTFUL, "horizon": 2},
        {"horizon": COUNT, "resolution": [0, -1, NAN, "a"], "memory": [-1, NAN, "a", None]},
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
    # after a run
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
    """But for those whose arguments are records of a plan or an episode alone, and a few that have none yet."""
    rows = {function for function, *_ in TABLE}
    face = [getattr(mdp_oracles, name) for name in mdp_oracles.__all__]
    listed = {function for function in face if inspect.isfunction(function)}
    for module in (statistics, exploration, families.mdp, families.bandit, families.apomdp, families.rooms):
        own = {f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__}
        listed |= {function for function in own if not function.__name__.startswith("_")}
    plain = {"variation", "within", "member", "exponent_interval", "mean_test", "holm", "numbers"}
    without = {"deterministic", "perturbed", "perturbed_rows", "identities", "room_identity"}
    assert {function.__name__ for function in listed - rows} == plain | without
