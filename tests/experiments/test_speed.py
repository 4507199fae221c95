"""The speed table: a missing peer costs its own rows alone, and every row is a ratio of two rates."""

import io

import numpy as np
import pytest
from rich.console import Console

from experiments.speed import __main__ as speed
from experiments.speed import baselines, networks
from experiments.speed.stopwatch import compare


def test_a_missing_peer_skips_its_own_rows():
    def row(work):
        return compare(work, "runs/s", 1, lambda: 0, lambda: 0, "nothing", 1)

    def before(repeats):
        yield row("before")

    def lacking(repeats):
        raise ModuleNotFoundError("no module", name="peer")
        yield

    def after(repeats):
        yield row("after")

    told = io.StringIO()
    rows = speed.measured((before, lacking, after), 1, Console(file=told, width=200))
    assert [row.work for row in rows] == ["before", "after"]
    assert "skipped lacking: the peer peer is not installed" in told.getvalue()


def test_ratios_are_those_of_the_rates():
    row = compare("work", "runs/s", 6, lambda: sum(range(1000)), lambda: 0, "nothing", 3, peer_amount=2)
    assert row.ratio == pytest.approx(row.ours / row.peer)
    assert row.low <= row.high
    assert row.confidence == 0.75


def test_bandits_and_deployment_run_at_small_sizes(monkeypatch):
    for name, size in {"ARMS": 3, "ROUNDS": 20, "RUNS": 4}.items():
        monkeypatch.setattr(baselines, name, size)
    for name in ("DECISIONS", "INSTANCES"):
        monkeypatch.setattr(networks, name, 2)
    rows = [*baselines.bandits(1), *networks.deployments(1, context=4)]
    assert len(rows) == 5
    assert all(row.ratio > 0 for row in rows)


def test_all_runs_at_once_earn_what_they_earn_one_at_a_time(monkeypatch):
    """Means over runs of the two baselines, within five standard errors."""
    for name, size in {"ARMS": 3, "ROUNDS": 60, "RUNS": 400}.items():
        monkeypatch.setattr(baselines, name, size)
    means = np.array([0.1, 0.5, 0.9])
    for name in ("UCB1", "Thompson sampling"):
        together = baselines._all_runs_at_once(name, means)
        alone = np.array([baselines._one_arm_at_a_time(name, means, seed) for seed in range(60)])
        error = np.hypot(together.std() / np.sqrt(len(together)), alone.std() / np.sqrt(len(alone)))
        assert abs(together.mean() - alone.mean()) <= 5 * error
