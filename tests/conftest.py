"""Strictness for the whole suite: no silent rank promotion, no legacy keys, no warnings; and quick compilation."""

from pathlib import Path

import jax
import pytest

from experiments.cli import compile_quicker

compile_quicker()


MAPS = Path("/proc/self/maps")
"""Where Linux lists the memory mappings of this process, of which it allows 65,530."""


MOST_MAPS = 25_000


@pytest.fixture(autouse=True)
def room_for_programs():
    """Every compiled program takes some mappings, and XLA aborts without more: forget those of other tests."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_legacy_prng_key", "error")
    config.addinivalue_line("filterwarnings", "error")


@pytest.fixture
def double():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield
