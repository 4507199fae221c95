"""How an experiment is started: a preset by name, any field changed on the command line, errors without a trace."""

import contextlib
import functools
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NoReturn, TypeVar

import jax
import tyro

from jaxdm import trainer
from jaxdm.sweep import TooLarge
from jaxdm.validation import InvalidInput, RefusedFile

Config = TypeVar("Config")


Item = TypeVar("Item")


Found = TypeVar("Found")


Command = Callable[[Sequence[str]], tuple[Path | None, Callable[[str], Path]]]
"""`arguments -> (results folder, work)`; the work takes the command as it was given, and gives where its result is."""


CACHE_BYTES = 2**30
"""Of compiled programs that are kept; those not used for longest go first."""


OWN_CACHE = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"}
"""Settings of the environment by which users say themselves what is kept."""


INTERRUPTED = "interrupted: run the same command again to go on from the last checkpoint"


def compile_quicker() -> None:
    """A third off the processor time of compilation on a CPU; programs of these studies do not run slower for it.

    Read when jax is first used; what the user says in XLA_FLAGS comes later, and wins.
    """
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=2 {os.environ.get('XLA_FLAGS', '')}"


def keep_compiled(results: Path | None) -> None:
    """Keep compiled programs in `results/.compiled`, up to `CACHE_BYTES`: the next run need not compile them again.

    A second `python -m experiments.online toy` takes a third of the first one's processor time, to the same bits.
    Not in continuous integration, where nothing is run twice; the user's own settings win (`OWN_CACHE`).
    """
    if results is None or OWN_CACHE & os.environ.keys() or "CI" in os.environ:
        return
    jax.config.update("jax_compilation_cache_dir", str((results / ".compiled").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)


def preset(presets: Mapping[str, Config], name: str) -> Config:
    """The configuration of that name.

    Raises:
        InvalidInput: no such preset.
    """
    if name not in presets:
        raise InvalidInput(f"preset: {name!r}; expected one of {', '.join(presets)}")
    return presets[name]


def command_line(
    presets: Mapping[str, Config],
    run: Callable[[Config, str], Path],
    description: str | None,
    validate: Callable[[Config], None] | None = None,
    others: Mapping[str, Command] | None = None,
) -> None:
    """Read `PRESET [--field value ...]` (the first preset when nothing is given), run, and print where the result is.

    A wrong value ends with one line and exit code 2, before any work; so does a stored run that is not this one. SIGINT
    and SIGTERM end with one line and 130 or 143, after what is being trained has finished its chunk and stored it: the
    next run of the same command goes on from there. Any other error, and any during work, whatever its type, is a fault
    of the program, and shows its trace.

    Args:
        presets: configurations by name, the default first.
        run: `(config, command) -> path`, with the command as it was given.
        description: for `--help`.
        validate: raises `InvalidInput` for a configuration that is not to be run.
        others: commands whose first word is no preset.
    """
    compile_quicker()
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [next(iter(presets)), *arguments]
    try:
        if others is not None and arguments[0] in others:
            results, work = others[arguments[0]](arguments[1:])
        else:
            if not arguments[0].startswith("-"):
                preset(presets, arguments[0])
            choices = {name: (f"the {name} preset", config) for name, config in presets.items()}
            config = tyro.extras.overridable_config_cli(choices, args=arguments, description=description)
            if validate is not None:
                validate(config)
            results, work = getattr(config, "results", None), functools.partial(run, config)
    except InvalidInput as error:
        _leave(2, f"error: {error}")
    keep_compiled(results)
    try:
        with trainer.ending_on_signals():
            _run(functools.partial(work, given_command(arguments)))
    except (RefusedFile, TooLarge) as error:
        _leave(2, f"error: {error}")
    except KeyboardInterrupt:
        _leave(130, INTERRUPTED)


def _run(work: Callable[[], Path]) -> None:
    """Work, and print where the result is; when a signal comes, leave once every run has stored its chunk."""
    try:
        path = work()
        if jax.process_index() == 0:
            print(path)
    except trainer.Interrupted as stop:
        with contextlib.suppress(trainer.Interrupted):  # a second signal: at once
            while trainer.runs_in_progress():
                time.sleep(0.05)
        _leave(int(stop.code or 0), INTERRUPTED)


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
        tasks = [pool.submit(work, item) for item in items]
        for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
            task.result()
        return [task.result() for task in tasks]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave(code: int, message: str) -> NoReturn:
    """End without waiting for work in other threads: files are written whole or not at all."""
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
