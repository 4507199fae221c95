"""The command line of every study: what is stored of a run runs it again."""

import importlib.util
import os
import shlex
import sys

import pytest

import experiments.online.__main__ as online
import experiments.rmft.__main__ as rmft
import experiments.sft.__main__ as sft
from experiments import bandit, cli, fields
from experiments.bandit import PRESETS
from jaxdm.analysis import storage
from jaxdm.validation import InvalidInput, RefusedFile


@pytest.fixture(autouse=True)
def started_as_a_module(monkeypatch):
    """As `python -m experiments.bandit` starts it; the compiler of the other tests in this process stays as it is."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", importlib.util.find_spec("experiments.bandit"))
    monkeypatch.setattr(cli, "compile_quicker", lambda: None)
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "1"))


def store(config, command):
    return storage.write_result(config.results, "bandit", config, {}, command)


def test_the_stored_command_runs_the_same_configuration_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bandit", "toy", "--seed", "3", "--results", str(tmp_path / "a folder")])
    cli.command_line(PRESETS, store, None)
    (first,) = storage.read_results(tmp_path / "a folder", "bandit")
    words = shlex.split(first.run.command)
    assert words[:3] == ["python", "-m", "experiments.bandit"]
    assert (first.run.preset, first.run.changed, first.run.seed) == ("toy", True, 3)
    monkeypatch.setattr(sys, "argv", words[words.index("toy") - 1 :])
    cli.command_line(PRESETS, store, None)
    (again,) = storage.read_results(tmp_path / "a folder", "bandit")
    assert again.path == first.path
    assert again.run.command == first.run.command


def test_the_default_preset_is_written_out(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bandit", "--results", str(tmp_path)])
    cli.command_line(PRESETS, store, None)
    (result,) = storage.read_results(tmp_path, "bandit")
    assert result.run.preset == "quick"
    assert f" quick --results {tmp_path}" in result.run.command


def test_every_preset_is_valid_and_a_field_without_a_rule_is_a_fault():
    for study in (bandit, online, rmft, sft):
        for config in study.PRESETS.values():
            study.validate(config)
    with pytest.raises(TypeError, match=r"rules of BanditConfig differ from its fields: \['runs', 'speed'\]"):
        fields.check(
            PRESETS["toy"], **dict.fromkeys(("arms", "rounds", "switches", "budget", "seeds", "speed"), fields.switch)
        )


def test_a_wrong_value_is_one_line_before_work_and_a_refusal_during_work_is_a_fault(monkeypatch):
    def leave(code, message):
        raise SystemExit(code, message)

    monkeypatch.setattr(cli, "_leave", leave)
    monkeypatch.setattr(sys, "argv", ["bandit", "toy", "--arms", "1"])
    with pytest.raises(SystemExit) as left:
        cli.command_line(PRESETS, store, None, bandit.validate)
    assert left.value.args == (2, "error: arms: 1; expected an integer, at least 2")

    def broken(config, command):
        raise InvalidInput("losses: shape (3,); expected [T, d]")

    monkeypatch.setattr(sys, "argv", ["bandit", "toy"])
    with pytest.raises(InvalidInput, match="losses"):
        cli.command_line(PRESETS, broken, None, bandit.validate)


def test_a_stored_run_of_another_kind_is_one_line_too(monkeypatch):
    def leave(code, message):
        raise SystemExit(code, message)

    def resumed(config, command):
        raise RefusedFile("folder: x holds another run")

    monkeypatch.setattr(cli, "_leave", leave)
    monkeypatch.setattr(cli, "keep_compiled", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["bandit", "toy"])
    with pytest.raises(SystemExit) as left:
        cli.command_line(PRESETS, resumed, None, bandit.validate)
    assert left.value.args == (2, "error: folder: x holds another run")


def test_a_fault_of_the_program_is_not_taken_for_a_wrong_value(monkeypatch):
    def broken(config, command):
        raise ValueError("shapes (2,) and (3,) do not fit")

    monkeypatch.setattr(sys, "argv", ["bandit", "toy"])
    with pytest.raises(ValueError, match="do not fit"):
        cli.command_line(PRESETS, broken, None)
