"""The speed table: a missing peer costs its own rows alone, and every row is a ratio of two rates."""

import io

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


def test_bandits_and_deployment_run_at_small_sizes(monkeypatch):
    for name, size in {"ARMS": 3, "ROUNDS": 20, "RUNS": 4}.items():
        monkeypatch.setattr(baselines, name, size)
    for name in ("DECISIONS", "INSTANCES"):
        monkeypatch.setattr(networks, name, 2)
    rows = [*baselines.bandits(1), *networks.deployments(1, context=4)]
    assert len(rows) == 3
    assert all(row.ratio > 0 for row in rows)
