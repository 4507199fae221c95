"""Every claim holds and its wrong version is refuted, for several keys; the command line says so and exits rightly."""

import ast
import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from jaxdm.analysis import storage
from jaxdm.analysis.claims import FAILS, HOLDS, VOID, at_most, covers, exactly, near, read_claims
from jaxdm.validation import InvalidInput
from theory import __main__ as runner
from theory import draws, harness
from theory.catalogue import CLAIMS
from theory.linear_attention import (
    in_context_regression,
    l3_training_optimum,
    l5_error_bound,
    l8c_softmax_attention,
    training,
)

SAMPLES, KEYS = 30, (1, 2, 3, 4, 5)


FEWEST = {
    "L3": 2,
    "L4": 10,
    "L5": 8000,
    "L5-M": 60,
    "L5-N": 1000,
    "L6a": 500,
    "L6b": 20,
    "L7": 64,
    "L7b": 6,
    "N8": 3,
    "N14": 3,
}
"""Where a check needs more draws than that, or can do with fewer."""


COSTLY = {"L7": 2, "L7b": 2, "L8c": 2, "L8d": 2, "N3": 2, "N4": 2, "N5": 2, "N12": 1, "N13": 2}
"""Claims that train layers for every key, or roll out many, and how many keys they get."""


COMMAND = [sys.executable, "-m", "theory"]


ROOT = Path(runner.__file__).parent.parent


@pytest.mark.parametrize("id", CLAIMS)
def test_a_claim_holds_its_wrong_version_is_refuted_and_every_listed_one_rejected(id):
    """All keys in one test, so that what a claim compiles serves them all."""
    samples = FEWEST.get(id, SAMPLES)
    for seed in KEYS[: COSTLY.get(id, len(KEYS))]:
        whole = seed == KEYS[0]
        found, table = runner.run(id, runner.TheoryConfig(samples=samples, seed=seed), wrong=None if whole else 1)
        assert (found.verdict, found.refuted) == (HOLDS, True), found
        assert found.id == id
        assert found.source
        assert found.low <= found.measured <= found.high
        assert found.command == f"python -m theory {id} --samples {samples} --seed {seed}"
        assert [row.wrong for row in table if not row.rejected] == []
        if whole:
            assert len(table) >= 4
            assert [row.wrong for row in table] == list(CLAIMS[id].WRONG)


def test_every_id_has_a_file_that_begins_with_it_and_a_row_of_the_readme():
    rows = re.findall(
        r"^\| ([LNOPA]\S*) \| .+ \| `(\S+)` \| .+ \|$", (ROOT / "theory/README.md").read_text(), re.MULTILINE
    )
    modules = {id: f"{module.__name__.removeprefix('theory.').replace('.', '/')}.py" for id, module in CLAIMS.items()}
    assert sorted(rows) == sorted(modules.items())
    numbered = {id.lower().replace("-", ""): path.split("/")[1] for id, path in modules.items()}
    assert {name: file for name, file in numbered.items() if not file.startswith(f"{name}_")} == {
        "l5bound": "l5_error_bound.py"  # the paper's form of L5
    }
    files = {path.name for path in (ROOT / "theory").glob("*/*.py") if re.match(r"[lnopa]\d", path.name)}
    assert files == set(numbered.values())


def test_an_id_is_written_in_the_catalogue_alone():
    for path in (ROOT / "theory").rglob("*.py"):
        words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert path.name == "catalogue.py" or not words & set(CLAIMS), path


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("L2", "python -m theory L2"),
        ("L2 --samples 10 --seed 2", "python -m theory L2 --samples 10 --seed 2"),
        ("A1 L2 --samples 1e1", "python -m theory L2 --samples 10"),
        ("--seed 3", "python -m theory L2 --seed 3"),
    ],
)
def test_the_stored_command_runs_that_claim_alone_on_the_same_draws(arguments, command, tmp_path, monkeypatch):
    config = tyro.cli(runner.TheoryConfig, args=arguments.split())
    assert runner.command("L2", config) == command
    again = tyro.cli(runner.TheoryConfig, args=shlex.split(command)[3:])
    assert again == dataclasses.replace(config, ids=("L2",))
    if config.samples:
        monkeypatch.chdir(tmp_path)
        runner.main(again)
        (path,) = (tmp_path / "results/theory").glob("L2*.json")
        (stored,) = read_claims(path)
        assert stored == runner.run("L2", config, wrong=1).claim
        assert stored.command == command


def test_the_draws_of_a_measurement_are_made_once_for_a_key_and_a_precision():
    made = []
    measure = draws.once(lambda key, count: made.append(count) or len(made))
    keys = jax.random.split(jax.random.key(0))
    assert [measure(keys[0], 3), measure(keys[1], 3), measure(keys[0], 3), measure(keys[0], 4)] == [1, 2, 1, 3]
    with jax.enable_x64(True):
        assert measure(keys[0], 3) == 4


def test_chunks_are_independent_and_give_as_many_samples_as_wanted():
    found = draws.in_chunks(lambda key, count: draws.uniform(key, (count, 2)), jax.random.key(0), 25, 10)
    assert found.shape == (25, 2)
    assert len(np.unique(found)) == 50


def test_the_table_of_wrong_versions_keeps_other_claims(tmp_path):
    row = harness.Mutation(id="A", wrong="x 2", measured=1.0, target="<= 0.5", rejected=True)
    path = harness.store_mutations(tmp_path / "mutations.json", [row, row._replace(id="B")])
    harness.store_mutations(path, [row._replace(rejected=False)])
    assert [(row["id"], row["rejected"]) for row in json.loads(path.read_text())] == [("B", True), ("A", False)]


def test_the_split_by_moments_is_the_displayed_gaussian_form(double):
    """Two roads to `E e^2`: traces of moments for any law, and the formula in Gamma (see L5)."""
    moment = jnp.asarray([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
    law, root, trace = (
        in_context_regression.gaussian(moment),
        in_context_regression.gaussian_optimum(moment, 7),
        jnp.trace(moment),
    )
    parts = in_context_regression.split(law, root, jnp.eye(3))
    context = jnp.trace((trace * moment + moment @ moment) @ root @ root @ moment)
    power = [jnp.trace(root @ root @ jnp.linalg.matrix_power(moment, k)) for k in (1, 2, 3)]
    length = (power[2] + 2 * trace * power[1] + trace**2 * power[0]) / 7**2
    np.testing.assert_allclose([parts.estimation, parts.bias], [context, length], rtol=1e-12)
    np.testing.assert_allclose(in_context_regression.optimum(law, jnp.eye(3), 7), root, rtol=1e-11, atol=1e-14)


def test_the_bound_is_attained_so_that_its_constants_are_the_smallest(double):
    shares = l5_error_bound.shares(jax.random.key(0), 1, l5_error_bound.STATED)
    np.testing.assert_allclose(shares[0, :, :, -1], 1.0, rtol=1e-3)  # flat spectrum, the longest training contexts


def test_fourth_moments_are_those_of_the_samples(double):
    tasks = jnp.asarray([[1.0, 0.2], [0.2, 0.5]])
    moment = jnp.asarray([[1.0, 0.4], [0.4, 2.0]])
    points, chance = in_context_regression.simplex(jax.random.key(1), 4, 2)
    for law in (in_context_regression.gaussian(moment), in_context_regression.finite(points, chance)):
        x = law.sample(jax.random.key(2), 20_000)
        product = jnp.einsum("ni,nj->nij", x, x)
        for values, exact in ((product, law.moment), (product @ tasks[None] @ product, law.fourth(tasks))):
            error = 5 * jnp.std(values, axis=0) / len(x) ** 0.5
            assert jnp.all(jnp.abs(jnp.mean(values, axis=0) - exact) <= error)


def test_the_flow_follows_the_gradient_of_the_risk(double):
    """Written out for a diagonal L, against the derivative of the moments' form."""
    spectrum, length = jnp.asarray([2.0, 1.0, 0.5]), jnp.asarray(7.0)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=10))

    def half(weights):
        law = in_context_regression.gaussian(jnp.diag(spectrum))
        parts = in_context_regression.split(law, weights[-1] * weights[:-1].reshape(3, 3).T, jnp.eye(3))
        return (parts.estimation / length + parts.bias) / 2

    np.testing.assert_allclose(
        l3_training_optimum.slope(weights, spectrum, length), jax.grad(half)(weights), rtol=1e-12
    )


def test_errors_of_softmax_layers_are_those_of_all_contexts(double):
    """One pair: the mean over the contexts that are drawn is near that over all, from the closed form."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 3))
    points, tasks = rng.dirichlet(np.ones(3), size=5), rows.T @ rows
    made = training.TrainedLayers(
        last=np.ones((1, 1)), key_query=rng.normal(size=(1, 1, 3, 3)), points=points, tasks=tasks
    )
    params = {"v": made.last[0, 0], "K": made.key_query[0, 0]}
    read = [
        [
            l8c_softmax_attention.stated(params, x[None], jnp.ones(1), query, 1.0, l8c_softmax_attention.ANSWER) * x
            - query
            for x in points
        ]
        for query in points
    ]
    exact = np.einsum("qci,ij,qcj->qc", read, tasks, read).mean()
    found = l8c_softmax_attention.context_errors(made, jax.random.key(0), 1, 2000)[:, 0]
    assert abs(found.mean() - exact) <= 5 * found.std() / len(found) ** 0.5
    np.testing.assert_allclose(l8c_softmax_attention.null_error(made, 2.0), 4 * np.trace(tasks @ points.T @ points) / 5)


def constant(verdict, refuted_verdict):
    """A theory module whose check comes out so, of the claim and of its refutation."""
    module = ModuleType("constant")
    made = exactly("", "a statement, E[x | y]", "a source", 0.0, 1e-9)
    module.__dict__["check"] = lambda key, samples=1, form=verdict: made._replace(verdict=form)
    module.__dict__["WRONG"] = {"the refutation": refuted_verdict, "another": FAILS}
    return module


@pytest.mark.parametrize(
    ("verdict", "refuted_verdict", "code", "says", "stored_verdict"),
    [
        (HOLDS, FAILS, 0, "refuted", HOLDS),
        (FAILS, FAILS, 1, "fails", FAILS),
        (HOLDS, HOLDS, 1, "NOT REFUTED", VOID),
    ],
)
def test_the_exit_code_is_1_when_anything_fails_and_a_claim_is_void_when_a_wrong_version_passes(
    tmp_path, monkeypatch, capsys, verdict, refuted_verdict, code, says, stored_verdict
):
    monkeypatch.setattr(runner, "CLAIMS", {"X": constant(verdict, refuted_verdict)})
    assert runner.main(runner.TheoryConfig(results=tmp_path)) == code
    out = capsys.readouterr().out
    assert says in out
    assert "a statement, E[x | y]" in out
    (stored,) = read_claims(tmp_path / "theory" / "X.json")
    assert (stored.id, stored.verdict) == ("X", stored_verdict)
    assert stored.command == f"python -m theory X --results {tmp_path}"
    assert stored.refuted == (refuted_verdict != HOLDS)


def test_a_run_with_other_samples_or_another_seed_is_stored_beside_the_whole_one(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "CLAIMS", {"X": constant(HOLDS, FAILS)})
    for samples, seed in ((None, 0), (10, 0), (None, 2), (10, 2)):
        runner.main(runner.TheoryConfig(samples=samples, seed=seed, results=tmp_path))
    endings = ("", ".samples-10", ".seed-2", ".samples-10-seed-2")
    assert {path.name for path in (tmp_path / "theory").iterdir()} == {
        f"{name}{ending}.json" for name in ("X", "mutations") for ending in endings
    }
    (whole,) = read_claims(tmp_path / "theory" / "X.json")
    assert whole.command == f"python -m theory X --results {tmp_path}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["L0"], "ids: 'L0' is no claim; expected some of L1"),
        (["L1", "--samples", "0"], "samples: 0"),
        (["L1", "--seed", "-1"], "seed: -1; expected an integer, at least 0"),
        (["L1", "--results", __file__], f"results: {__file__} is a file; expected a folder"),
    ],
)
def test_a_bad_value_is_refused_before_anything_runs(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    config = tyro.cli(runner.TheoryConfig, args=arguments)
    with pytest.raises(InvalidInput, match=re.escape(message)):
        runner.main(config)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_command_gets_one_clean_line_and_exit_code_2(tmp_path):
    arguments = [*COMMAND, "L0", "--results", str(tmp_path / "new")]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ids: 'L0' is no claim; expected some of L1")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_claim_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="ids: 'L0' is no claim"):
        runner.main(runner.TheoryConfig(ids=("L1", "L0"), results=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_samples_are_refused_where_none_are_drawn():
    module = ModuleType("exact")
    module.__dict__["check"] = lambda key: None
    assert harness.options("X", module, None) == {}
    with pytest.raises(ValueError, match="samples: 10; expected none, for X draws no samples"):
        harness.options("X", module, 10.0)


def test_curves_are_stored_beside_their_claim(tmp_path):
    runner.main(runner.TheoryConfig(ids=("L5-N",), samples=1000, seed=1, results=tmp_path))
    (stored,) = storage.read_results(tmp_path, "theory")
    assert stored.config["id"] == "L5-N"
    errors, exact = stored.metrics["errors"], stored.metrics["exact"]
    deviation = abs(errors.mean("run") / exact - 1)
    assert np.all(deviation <= 5 * errors.std("run") / errors.mean("run") / errors.sizes["run"] ** 0.5)
    np.testing.assert_array_equal(errors["length"], CLAIMS["L5-N"].__dict__["LENGTHS"])


def test_verdicts_of_each_kind_of_claim():
    arguments = ("X", "statement", "source")
    assert at_most(*arguments, 1.0, 1.0).verdict == HOLDS
    assert at_most(*arguments, 1.1, 1.0).verdict == FAILS
    assert at_most(*arguments, 1.1, 1.0, slack=0.2).verdict == HOLDS
    assert exactly(*arguments, 1e-12, 1e-10).verdict == HOLDS
    assert exactly(*arguments, float("nan"), 1e-10).verdict == FAILS
    assert near(*arguments, 1.0, 1.2, 0.3).verdict == HOLDS
    assert near(*arguments, 1.0, 0.6, 0.3).verdict == FAILS
    assert covers(*arguments, -1.0, -1.1, -0.9, -1.0).verdict == HOLDS
    assert covers(*arguments, -1.0, -1.1, -0.9, -2.0).verdict == FAILS
    assert covers(*arguments, float("nan"), float("nan"), float("nan"), -2.0).verdict == FAILS


def test_claims_are_jax_free_records(tmp_path):
    with jax.enable_x64(True):
        found = runner.run("L1", runner.TheoryConfig(samples=SAMPLES)).claim
    assert json.loads(json.dumps(found._asdict()))["id"] == "L1"
