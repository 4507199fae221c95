"""Strictness for the whole suite: no silent rank promotion, no legacy keys, no warnings; and quick compilation."""

import jax
import pytest

from experiments.cli import compile_quicker

compile_quicker()


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_legacy_prng_key", "error")
    config.addinivalue_line("filterwarnings", "error")


@pytest.fixture
def double():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield
