"""How an experiment is started: a preset by name, any field changed on the command line, errors without a trace."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

import tyro

from jaxdm.validation import InvalidInput

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
        InvalidInput: no such preset.
    """
    if name not in presets:
        raise InvalidInput(f"preset: {name!r}; expected one of {', '.join(presets)}")
    return presets[name]


def command_line(presets: Mapping[str, Config], run: Callable[[Config, str], Path], description: str | None) -> None:
    """Read `PRESET [--field value ...]` (the first preset when nothing is given), run, and print where the result is.

    A wrong value ends with one line and exit code 2; an interruption with one line and 130: the next run of the same
    command goes on where this one stopped. Any other error is a fault of the program, and shows its trace.

    Args:
        presets: configurations by name, the default first.
        run: `(config, command) -> path`, with the command as it was given.
        description: for `--help`.
    """
    compile_quicker()
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [next(iter(presets)), *arguments]
    try:
        if not arguments[0].startswith("-"):
            preset(presets, arguments[0])
        choices = {name: (f"the {name} preset", config) for name, config in presets.items()}
        config = tyro.extras.overridable_config_cli(choices, args=arguments, description=description)
        print(run(config, given_command(arguments)))
    except InvalidInput as error:
        _leave(2, f"error: {error}")
    except KeyboardInterrupt:
        _leave(130, "interrupted: run the same command again to go on from the last checkpoint")


def given_command(arguments: Sequence[str]) -> str:
    """The command line of this process, to be pasted into a shell: `python -m experiments.rmft quick --seed 3`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else None
    return shlex.join(["python", *(["-m", module] if module else sys.argv[:1]), *arguments])


def at_once(work: Callable[[Item], Found], items: Iterable[Item], workers: int) -> list[Found]:
    """`[work(item) for item in items]`, so many at a time; an error or an interruption waits for nobody.

    Raises:
        InvalidInput: workers < 1.
    """
    if workers < 1:
        raise InvalidInput(f"workers: {workers}; expected at least 1")
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
