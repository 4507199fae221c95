"""How an experiment is started: a preset by name, any field changed on the command line, errors without a trace."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

import tyro

Config = TypeVar("Config")


Item = TypeVar("Item")


Found = TypeVar("Found")


def compile_quicker() -> None:
    """A third off the processor time of compilation on a CPU; programs of these studies do not run slower for it.

    Read when jax is first used; what the user says in XLA_FLAGS comes later, and wins.
    """
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {os.environ.get('XLA_FLAGS', '')}"


def preset(presets: Mapping[str, Config], name: str) -> Config:
    """The configuration of that name.

    Raises:
        ValueError: no such preset.
    """
    if name not in presets:
        raise ValueError(f"preset: {name!r}; expected one of {', '.join(presets)}")
    return presets[name]


def command_line(presets: Mapping[str, Config], run: Callable[[Config], Path], description: str | None) -> None:
    """Read `PRESET [--field value ...]` (the first preset when nothing is given), run, and print where the result is.

    A wrong value ends with one line and exit code 2; an interruption with one line and 130: the next run of the same
    command goes on where this one stopped.
    """
    compile_quicker()
    arguments = sys.argv[1:] or [next(iter(presets))]
    try:
        if not arguments[0].startswith("-"):
            preset(presets, arguments[0])
        choices = {name: (f"the {name} preset", config) for name, config in presets.items()}
        config = tyro.extras.overridable_config_cli(choices, args=arguments, description=description)
        print(run(config))
    except ValueError as error:
        _leave(2, f"error: {error}")
    except KeyboardInterrupt:
        _leave(130, "interrupted: run the same command again to go on from the last checkpoint")


def at_once(work: Callable[[Item], Found], items: Iterable[Item], workers: int) -> list[Found]:
    """`[work(item) for item in items]`, so many at a time; an error or an interruption waits for nobody.

    Raises:
        ValueError: workers < 1.
    """
    if workers < 1:
        raise ValueError(f"workers: {workers}; expected at least 1")
    pool = ThreadPoolExecutor(workers)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave(code: int, message: str) -> NoReturn:
    """End without waiting for work in other threads: files are written whole or not at all."""
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
