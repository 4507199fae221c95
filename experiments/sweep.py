"""Sweeps of a study: `python -m experiments.STUDY sweep [PRESET] --FIELD VALUE VALUE ... --seeds N`.

Every number, switch or word of the configuration takes several values; every combination of them, with every seed, is a
point. Points that differ in data alone are one program and one axis (`jaxdm.sweep`); those that differ in a size are
programs of their own, which are listed. The result has one axis for each swept field, and `table.csv` lies beside it.
"""

import ast
import csv
import dataclasses
import functools
import inspect
import io
import itertools
import os
import sys
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr

from experiments import cli
from experiments.progress import bar
from jaxdm import sweep, trainer
from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim, ranked, smaller, write_claims
from jaxdm.analysis.storage import named
from jaxdm.numerics import largest_divisor
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Values = TypeVar("Values", bound="DataclassInstance")


EXPERIMENT, TABLE = "sweep", "table.csv"
"""Where results of sweeps lie, and the table beside each."""


SINGLE = ("seeds", "seed", "results", "runs", "part", "setting", "player", "workers")
"""Fields that have one value in a sweep: seeds are an axis anyway."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machines:
    """Where a sweep runs. All processes get the same command, but for `--process`; their results folder is shared."""

    coordinator: str | None = None
    """HOST:PORT of process 0, where several processes sweep together."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """Which of them this is, from 0."""
    cluster: bool = False
    """Find all of that out, on clusters that JAX knows: Slurm, Open MPI, TPU pods, Kubernetes."""
    cpu_devices: int = os.cpu_count() or 1
    """Devices that the processor counts as, where there is no other; each computes points of its own."""


class Grid(NamedTuple):
    """What is swept, and the configuration at every combination."""

    axes: dict[str, tuple]  # values by field, as on the command line: "bandit.rate"
    configs: list[Any]  # in the order of the axes, the last one fastest


class Swept(NamedTuple):
    """What a sweep found.

    The last axis of every measure is `seed`; those of `Grid.axes` come first.
    """

    subject: str  # what was swept, one figure each: "rmft bandit"
    measure: str  # the name of what counts, less being better
    metrics: dict[str, xr.DataArray]


def command(
    presets: Mapping[str, Any],
    validate: Callable[[Any], None],
    run: Callable[[Grid], Swept],
    description: str | None,
) -> Callable[[Sequence[str]], tuple[Path, Callable[[str], Path]]]:
    """The command `sweep` of a study, for `cli.command_line`.

    Args:
        presets: configurations by name, the default first.
        validate: raises `InvalidInput` for a configuration that is not to be run.
        run: does the points of a grid.
        description: for `--help`.
    """

    def parse(arguments: Sequence[str]) -> tuple[Path, Callable[[str], Path]]:
        asked = read(presets, validate, arguments, description)
        join(asked.machines)
        return asked.points.configs[0].results, functools.partial(_run, run, asked.points, asked.values)

    return parse


class Asked(NamedTuple):
    """What a command line asks for."""

    points: Grid
    values: dict[str, Any]  # all of them by field, as JSON types
    machines: Machines


def read(
    presets: Mapping[str, Any],
    validate: Callable[[Any], None],
    arguments: Sequence[str],
    description: str | None = None,
) -> Asked:
    """`[PRESET] --FIELD VALUE VALUE ...`; arguments as of `command`.

    Raises:
        InvalidInput: a wrong value.
    """
    named_first = bool(arguments) and not arguments[0].startswith("-")
    base = cli.preset(presets, arguments[0] if named_first else next(iter(presets)))
    default = several(base)
    without_prefix = tyro.conf.arg(name="")
    values = ("values", Annotated[type(default), without_prefix], default)
    machines = ("machines", Annotated[Machines, without_prefix], Machines())
    kind = dataclasses.make_dataclass("Sweep", [values, machines])
    given: Any = tyro.cli(kind, args=list(arguments[named_first:]), description=description)
    points = grid(base, given.values)
    for config in points.configs:
        validate(config)
    return Asked(points=points, values=storage.as_plain(given.values), machines=given.machines)


def same_fields(kind: type[Values], preset: Any) -> Values:
    """What can be swept of a study: the fields that have no default, with the values of a preset."""
    names = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    return kind(**{name: getattr(preset, name) for name in names})


def several(values: Any) -> Any:
    """The same fields with a tuple of one in the place of each value that can be swept."""
    kind, fields = type(values), []
    hints, documented = typing.get_type_hints(kind), documentation(kind)
    for field in dataclasses.fields(kind):
        hint, value = hints[field.name], getattr(values, field.name)
        if dataclasses.is_dataclass(value):
            value = several(value)
            hint = type(value)
        elif field.name not in SINGLE and not isinstance(value, (tuple, Path)):
            hint, value = tuple[hint, ...], (value,)
        fields.append((field.name, Annotated[hint, tyro.conf.arg(help=documented.get(field.name, ""))], value))
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True, kw_only=True)()


def documentation(kind: type) -> dict[str, str]:
    """What the text below each field of a class says."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found, field = {}, None
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and field:
            found[field] = " ".join(str(node.value.value).split())
    return found


def grid(base: Any, values: Any) -> Grid:
    """All combinations of the values.

    Args:
        base: a configuration, for its types.
        values: as `several`, with any number of values in a tuple.

    Raises:
        InvalidInput: no value, or one twice.
    """
    options = dict(_options(base, values, ""))
    for name, tried in options.items():
        if not tried or len(set(tried)) < len(tried):
            raise InvalidInput(f"{name}: {tried}; expected at least one value, and each once")
    combinations = itertools.product(*options.values())
    configs = [_chosen(base, values, "", dict(zip(options, chosen, strict=True))) for chosen in combinations]
    return Grid(axes={name: tried for name, tried in options.items() if len(tried) > 1}, configs=configs)


def _options(base: Any, values: Any, prefix: str) -> list[tuple[str, tuple]]:
    found: list[tuple[str, tuple]] = []
    for field in dataclasses.fields(base):
        name, tried = f"{prefix}{field.name}", getattr(values, field.name)
        if dataclasses.is_dataclass(tried):
            found += _options(getattr(base, field.name), tried, f"{name}.")
        elif isinstance(tried, tuple) and not isinstance(getattr(base, field.name), tuple):
            found.append((name, tried))
    return found


def _chosen(base: Any, values: Any, prefix: str, chosen: Mapping[str, Any]) -> Any:
    changes = {}
    for field in dataclasses.fields(base):
        name, tried = f"{prefix}{field.name}", getattr(values, field.name)
        if dataclasses.is_dataclass(tried):
            tried = _chosen(getattr(base, field.name), tried, f"{name}.", chosen)
        changes[field.name] = chosen.get(name, tried)
    return dataclasses.replace(base, **changes)


def join(machines: Machines) -> None:
    """Count the processor as several devices, and become one of several processes where they are asked for.

    Raises:
        InvalidInput: a part of what names a process without the others.
    """
    told = (machines.coordinator, machines.processes, machines.process)
    if machines.cpu_devices < 1:
        raise InvalidInput(f"cpu-devices: {machines.cpu_devices}; expected at least 1")
    if any(part is not None for part in told) and None in told:
        raise InvalidInput(f"coordinator, processes, process: {told}; expected all of them, or none")
    if machines.process is not None and not 0 <= machines.process < (machines.processes or 0):
        raise InvalidInput(f"process: {machines.process}; expected 0 to {(machines.processes or 0) - 1}")
    jax.config.update("jax_num_cpu_devices", machines.cpu_devices)
    if machines.cluster:
        jax.distributed.initialize()
    elif machines.coordinator is not None:
        jax.distributed.initialize(machines.coordinator, machines.processes, machines.process)


def _run(run: Callable[[Grid], Swept], points: Grid, plain: dict[str, Any], command: str) -> Path:
    """Do all points; the first process stores what they gave, a table beside it, and what it says."""
    swept = run(points)
    about = {"setting": f"{swept.subject}: {', '.join(points.axes) or 'seeds'}", "measure": swept.measure}
    config = {**about, "axes": list(points.axes), "values": plain}
    results = points.configs[0].results
    path = results / EXPERIMENT / storage.config_hash(config)
    if jax.process_index() == 0:
        path = storage.write_result(results, EXPERIMENT, config, swept.metrics, command)
        storage.write_text(path / TABLE, as_csv(swept.metrics, swept.measure))
        rows = claims(about["setting"], swept.measure, swept.metrics[swept.measure], points.axes)
        write_claims(path, ranked(rows, (), preview=True), command)
    sweep.agreed(0)  # the others wait until it is written
    return path


def as_csv(metrics: Mapping[str, xr.DataArray], measure: str) -> str:
    """All metrics with the axes of the measure as one table: a row for every combination of their coordinates."""
    axes = {str(dim): metrics[measure][dim].values for dim in metrics[measure].dims}
    shown = {name: array for name, array in metrics.items() if "seed" in array.dims and set(array.dims) <= set(axes)}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*axes, *shown])
    for chosen in itertools.product(*axes.values()):
        at = dict(zip(axes, chosen, strict=True))
        values = [array.sel({dim: at[str(dim)] for dim in array.dims}).item() for array in shown.values()]
        rows.writerow([*chosen, *values])
    return text.getvalue()


def claims(id: str, name: str, measure: xr.DataArray, axes: Mapping[str, tuple]) -> list[Claim]:
    """For every swept field whether its best value beats its worst: chosen on the even seeds, tested on the odd ones.

    Means are over all other axes.

    Args:
        id: of the sweep.
        name: of the measure.
        measure: less is better; with an axis `seed` and those swept.
        axes: what was swept.

    Returns:
        One row a field; none of fewer than four seeds.
    """
    rows = []
    if measure.sizes["seed"] < 4:
        return rows
    for field, values in axes.items():
        mean = measure.mean([dim for dim in measure.dims if dim not in (field, "seed")]).transpose(field, "seed").values
        even, odd = mean[:, ::2].mean(axis=1), mean[:, 1::2]
        best, worst = int(even.argmin()), int(even.argmax())
        if best == worst:
            continue
        statement = (
            f"{name}: {field} {values[best]} < {values[worst]}, chosen on the even seeds, tested on the odd ones, mean "
            "over all else that is swept"
        )
        rows.append(smaller(f"SWEEP {id} / {field}", statement, "ours", odd[best], odd[worst]))
    return rows


def shaped(values: Any, points: Grid, /, **axes: Any) -> xr.DataArray:
    """Values [points, ...] with an axis for each swept field.

    Args:
        values: one row for each configuration of the grid.
        points: the grid.
        axes: names and coordinates of the other axes.
    """
    values = np.asarray(values)
    whole = values.reshape(*(len(tried) for tried in points.axes.values()), *values.shape[1:])
    return named(whole, **points.axes, **axes)


def programs(points: Grid, structure: Callable[[Any], Any]) -> dict[Any, list[int]]:
    """The configurations of each program, by what is compiled in, which is told on standard error.

    Args:
        points: the grid.
        structure: `config -> the same` but for what is data; hashable.
    """
    found: dict[Any, list[int]] = {}
    for index, config in enumerate(points.configs):
        found.setdefault(structure(config), []).append(index)
    combinations = list(itertools.product(*points.axes.values()))
    for number, members in enumerate(found.values(), start=1):
        fixed = {
            name: values[0]
            for name, *values in zip(points.axes, *(combinations[index] for index in members), strict=True)
            if len(set(values)) == 1
        }
        sizes = ", ".join(f"{name} {value}" for name, value in fixed.items()) or "all points"
        tell(f"program {number} of {len(found)}: {sizes} ({len(members)} combinations)")
    return found


def fit_points(
    name: str,
    maker: trainer.Trainer,
    state: trainer.TrainState,
    data: Tree,
    steps: int,
    *,
    folder: Path,
    identity: Any,
    own_data: bool = False,
) -> trainer.Fit:
    """`trainer.fit` of all points, so many at once as fit the memory of the devices.

    Args:
        name: for the progress bar.
        maker: the trainer.
        state: leading axis [P].
        data: of all, or of each its own.
        steps: of each.
        folder: of checkpoints.
        identity: what the run is.
        own_data: whether data have a leading axis [P].

    Raises:
        jaxdm.sweep.TooLarge: not even one point fits on each device.
    """
    count, every = state.step.shape[0], largest_divisor(steps, max(1, steps // 4))

    def needed(points: int) -> int:
        own = _shapes(data, points) if own_data else data
        return trainer.footprint(maker, _shapes(state, points), own, every, own_data=own_data)

    at_once = _fitting(name, count, needed)
    fits = []
    for first in range(0, count, at_once):
        rows = np.minimum(np.arange(first, first + at_once), count - 1)  # of one size, and one program
        told = f"{name}, points {first + 1} to {min(first + at_once, count)} of {count}"
        with bar(told, steps) as progress:
            fit = trainer.fit(
                maker,
                _rows(state, rows),
                _rows(data, rows) if own_data else data,
                steps,
                every=every,
                folder=folder / f"{first} of {count}, {at_once} at once",
                identity=identity,
                progress=progress,
                own_data=own_data,
            )
        fits.append(fit)
    return trainer.Fit(
        state=jax.tree.map(lambda *parts: jnp.concatenate(parts)[:count], *(fit.state for fit in fits)),
        losses=np.concatenate([fit.losses for fit in fits])[:count],
        seconds=sum(fit.seconds for fit in fits),
    )


def map_points(name: str, function: Callable[[Tree, Tree], Tree], points: Tree, shared: Tree = ()) -> Tree:
    """`function(point, shared)` at every point, as numpy arrays with leading axis [P]; so many at once as fit.

    Args:
        name: of the work.
        function: pure.
        points: leading axis [P].
        shared: what all points share.

    Raises:
        jaxdm.sweep.TooLarge: not even one point fits on each device.
    """
    count = jax.tree.leaves(points)[0].shape[0]

    @functools.cache
    def compiled(size: int) -> Any:
        mesh = sweep.device_mesh(size)
        lowered = jax.jit(sweep.over_points(function, mesh)).lower(
            sweep.shapes(_shapes(points, size), mesh), sweep.shapes(shared, mesh, shared=True)
        )
        return lowered.compile()

    at_once = _fitting(name, count, lambda size: sweep.footprint(compiled(size)))
    mesh, parts = sweep.device_mesh(at_once), []
    for first in range(0, count, at_once):
        rows = np.minimum(np.arange(first, first + at_once), count - 1)
        found = compiled(at_once)(sweep.spread(_rows(points, rows), mesh), sweep.replicated(shared, mesh))
        parts.append(jax.tree.map(np.asarray, sweep.gathered(found, at_once, mesh)))
    return jax.tree.map(lambda *rows: np.concatenate(rows)[:count], *parts)


def _fitting(name: str, count: int, needed: Callable[[int], int]) -> int:
    """How many points fit at once; told where they are not all."""
    mesh = sweep.device_mesh(count)
    free = sweep.free_memory(mesh)
    at_once = sweep.points_at_once(count, mesh.size, needed, free)
    if at_once < count:
        here = f"{free / 1e9:.2f} GB of each of {mesh.size} devices"
        tell(f"{name}: {count} points, {at_once} at once, which take {needed(at_once) / 1e9:.2f} GB of {here}")
    return at_once


def _rows(tree: Tree, rows: Any) -> Tree:
    """Some points of a tree of points."""
    index = np.asarray(rows)
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _shapes(tree: Tree, points: int) -> Tree:
    """So many points, without numbers."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((points, *leaf.shape[1:]), leaf.dtype), tree)


def tell(line: str) -> None:
    """A line on standard error, of the first process."""
    if jax.process_index() == 0:
        print(line, file=sys.stderr, flush=True)
