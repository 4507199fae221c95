"""Every program that the studies compile, lowered for CUDA and TPU on a machine that has neither.

    python -m tests.lowering                # bandit, online, rmft, sft at toy size, some minutes
    python -m tests.lowering rmft

The studies run at toy size as on an accelerator (vmapped, not mapped), with a `jax.jit` that remembers what it is
called with; then each program is exported for both platforms. That fails for a primitive without a rule there and for
host callbacks; a program with numbers of 64 bits is refused unless it was asked for under `jax.enable_x64`, as the
solvers of tasks are. `tests/experiments/test_lowering.py` does so with a few programs of fine-tuning.
"""

import argparse
import contextlib
import dataclasses
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.core
import jax.export
import jax.numpy as jnp
import numpy as np

PLATFORMS = ("cuda", "tpu")


STUDIES = ("bandit", "online", "rmft", "sft")


class Call(NamedTuple):
    """One compiled program, and what it was called with, without numbers."""

    program: Any
    name: str
    args: tuple
    kwargs: dict[str, Any]
    wide: bool  # whether numbers of 64 bits were asked for


CALLS: dict[Any, Call] = {}
"""Of this block; programs of modules that an earlier one imported are among them."""


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """The calls of programs that `jax.jit` made in such blocks, each kind of arguments once, as on an accelerator."""
    jit, backend = jax.jit, jax.default_backend
    CALLS.clear()

    def recording(function: Callable | None = None, **options: Any) -> Any:
        if function is None:
            return lambda function: recording(function, **options)
        program = jit(function, **options)
        return _Recorder(program, getattr(function, "__qualname__", str(function)))

    jax.jit, jax.default_backend = recording, lambda: "gpu"
    try:
        found: list[Call] = []
        yield found
        found += CALLS.values()
    finally:
        jax.jit, jax.default_backend = jit, backend


class _Recorder:
    """A compiled function that remembers what it is called with; within other programs it is a part of them."""

    def __init__(self, program: Any, name: str):
        self.program, self.name = program, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            shapes = [_shape(leaf) for leaf in leaves]
            wide = jnp.result_type(float) == np.float64
            key = (id(self.program), tree, tuple(map(str, shapes)), wide)
            if key not in CALLS:
                given, named = tree.unflatten(shapes)
                CALLS[key] = Call(program=self.program, name=self.name, args=given, kwargs=named, wide=wide)
        return self.program(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)


def _shape(leaf: Any) -> Any:
    """An array without its numbers; functions and numbers of Python stay, for they may be static."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, (jax.Array, np.ndarray)) else leaf


def refused(call: Call) -> str | None:
    """Why a program cannot be run on every platform; None where it can."""
    try:
        with jax.enable_x64(call.wide):
            program = call.program.program if isinstance(call.program, _Recorder) else call.program
            exported = jax.export.export(program, platforms=PLATFORMS)(*call.args, **call.kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    text = exported.mlir_module()
    return "numbers of 64 bits" if "f64>" in text and not call.wide else None


def run(study: str, folder: Path) -> list[Call]:
    """All programs of a study at toy size."""
    with recorded() as calls:
        module = importlib.import_module(f"experiments.{study}")
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"experiments.{study}.__main__")
        config = module.PRESETS["toy"]
        if study == "rmft":
            config = dataclasses.replace(config, parts=importlib.import_module("experiments.rmft.config").PARTS)
            config = dataclasses.replace(config, baselines=True, workers=1)
        module.main(dataclasses.replace(config, results=folder), f"python -m experiments.{study} toy")
    return calls


def main() -> int:
    """Lower the programs of all studies that are asked for; 1 where one does not lower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=STUDIES, help=", ".join(STUDIES))
    failed = 0
    for study in parser.parse_args().studies:
        with tempfile.TemporaryDirectory() as folder:
            calls = run(study, Path(folder))
        reasons = {call.name: reason for call in calls if (reason := refused(call)) is not None}
        print(f"{study}: {len(calls)} programs, {len(reasons)} that do not lower for {' and '.join(PLATFORMS)}")
        for name, reason in reasons.items():
            print(f"    {name}: {reason[:300]}")
        failed += len(reasons)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
