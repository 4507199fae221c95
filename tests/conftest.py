"""Strictness for the whole suite: no silent rank promotion, no legacy keys, no warnings; and quick compilation."""

import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest

from experiments.cli import OWN_CACHE, compile_quicker

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


COMPILED = pytest.StashKey[str]()
"""The folder of compiled programs, in the process that made it."""


def share_compiled(config: pytest.Config) -> None:
    """Compile a program once for all workers, children and repetitions; a new folder each time, so nothing is left."""
    if OWN_CACHE & os.environ.keys():
        return
    config.stash[COMPILED] = folder = tempfile.mkdtemp(prefix="jaxdm-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", folder)  # workers read the environment, this process has done so
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_configure(config: pytest.Config) -> None:
    share_compiled(config)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_legacy_prng_key", "error")
    config.addinivalue_line("filterwarnings", "error")
    # A program that another worker is just writing: compiled again.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache")


def pytest_unconfigure(config: pytest.Config) -> None:
    if COMPILED in config.stash:
        shutil.rmtree(config.stash[COMPILED], ignore_errors=True)


@pytest.fixture
def double():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield
