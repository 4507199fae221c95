"""Every claim holds and its wrong version is refuted, for several keys; the command line says so and exits rightly."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
import pytest

from theory import __main__ as runner
from theory import claim

SAMPLES = 30
COMMAND = [sys.executable, "-m", "theory"]
ROOT = Path(runner.__file__).parent.parent


@pytest.mark.parametrize("id", runner.CLAIMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_claim_holds_and_its_wrong_version_is_refuted(id, seed):
    found = runner.run(id, runner.Config(samples=SAMPLES, seed=seed))
    assert found.verdict == claim.HOLDS
    assert found.refuted is True
    assert found.id == id
    assert found.source
    assert found.low <= found.measured <= found.high
    assert found.command == f"python -m theory {id}"


def constant(verdict, refuted_verdict):
    """A theory module whose check and refutation come out as told."""
    module = ModuleType("constant")
    made = claim.exactly("X", "a statement", "a source", 0.0, 1e-9)
    module.__dict__["check"] = lambda key, samples=1: made._replace(verdict=verdict)
    module.__dict__["refute"] = lambda key, samples=1: made._replace(verdict=refuted_verdict)
    return module


@pytest.mark.parametrize(
    ("verdict", "refuted_verdict", "code", "says"),
    [
        (claim.HOLDS, claim.FAILS, 0, "refuted"),
        (claim.FAILS, claim.FAILS, 1, "fails"),
        (claim.HOLDS, claim.HOLDS, 1, "NOT REFUTED"),
    ],
)
def test_the_exit_code_is_1_when_anything_fails(tmp_path, monkeypatch, capsys, verdict, refuted_verdict, code, says):
    monkeypatch.setattr(runner, "CLAIMS", {"X": constant(verdict, refuted_verdict)})
    assert runner.main(runner.Config(results=tmp_path)) == code
    assert says in capsys.readouterr().out
    stored = json.loads((tmp_path / "theory" / "X.json").read_text())
    assert stored["verdict"] == verdict
    assert stored["refuted"] == (refuted_verdict != claim.HOLDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["L0"], "error: ids: 'L0' is no claim; expected some of L1"), (["L1", "--samples", "0"], "error: samples: 0")],
)
def test_a_bad_command_gets_one_clean_line_and_a_nonzero_exit(tmp_path, arguments, message):
    done = subprocess.run(
        [*COMMAND, *arguments, "--results", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode not in (0, None)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_claim_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="ids: 'L0' is no claim"):
        runner.main(runner.Config(ids=("L1", "L0"), results=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_verdicts_of_each_kind_of_claim():
    arguments = ("X", "statement", "source")
    assert claim.at_most(*arguments, 1.0, 1.0).verdict == claim.HOLDS
    assert claim.at_most(*arguments, 1.1, 1.0).verdict == claim.FAILS
    assert claim.at_most(*arguments, 1.1, 1.0, slack=0.2).verdict == claim.HOLDS
    assert claim.exactly(*arguments, 1e-12, 1e-10).verdict == claim.HOLDS
    assert claim.exactly(*arguments, float("nan"), 1e-10).verdict == claim.FAILS
    assert claim.near(*arguments, 1.0, 1.2, 0.3).verdict == claim.HOLDS
    assert claim.near(*arguments, 1.0, 0.6, 0.3).verdict == claim.FAILS
    assert claim.covers(*arguments, -1.0, -1.1, -0.9, -1.0).verdict == claim.HOLDS
    assert claim.covers(*arguments, -1.0, -1.1, -0.9, -2.0).verdict == claim.FAILS
    assert claim.covers(*arguments, float("nan"), float("nan"), float("nan"), -2.0).verdict == claim.FAILS


def test_claims_are_jax_free_records(tmp_path):
    with jax.enable_x64(True):
        found = runner.run("L1", runner.Config(samples=SAMPLES))
    assert json.loads(json.dumps(found._asdict()))["id"] == "L1"
