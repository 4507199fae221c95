"""The command line of every study: what is stored of a run runs it again."""

import importlib.util
import os
import shlex
import sys

import pytest

from experiments import cli
from experiments.bandit import PRESETS
from jaxdm.analysis import storage


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


def test_a_fault_of_the_program_is_not_taken_for_a_wrong_value(monkeypatch):
    def broken(config, command):
        raise ValueError("shapes (2,) and (3,) do not fit")

    monkeypatch.setattr(sys, "argv", ["bandit", "toy"])
    with pytest.raises(ValueError, match="do not fit"):
        cli.command_line(PRESETS, broken, None)
