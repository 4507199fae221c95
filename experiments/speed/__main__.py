"""This project beside what users would pick instead: same work, same process, as ratios.

Table: `results/speed.json`, shown in the report; a ratio above 1 means that we are faster.
Commands: `make speed`, or `python -m experiments.speed` with the `peers` extra; a missing peer is named and skipped.
Cost: about five minutes on two CPU cores.
Expectation: solvers at least as fast as QuantEcon, simulation at least 3 times gymnax, a cache at least 5 times faster.

Every number is the median of runs that alternate between the two sides, after a first run that compiles.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from experiments.fields import at_least, check
from experiments.speed import baselines, networks
from experiments.speed.stopwatch import SpeedRow
from jaxdm.analysis import storage
from jaxdm.validation import InvalidInput

MEASUREMENTS: tuple[Callable[[int], Iterator[SpeedRow]], ...] = (
    baselines.planners,
    baselines.simulators,
    baselines.noise,
    networks.deployments,
    networks.training,
    networks.torch_training,
    networks.torch_rollouts,
    baselines.pomdps,
    baselines.tiger,
    baselines.bandits,
)
"""In the order of the table; each needs one peer at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """How much to measure."""

    repeats: int = 7
    """Timed runs of each side."""
    results: Path = Path("results")
    """Where the table goes."""


def validate(config: SpeedConfig) -> None:
    """Check every field.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(config, repeats=at_least(1))


def main(config: SpeedConfig) -> Path:
    """Measure everything that can be measured here, print and store the table."""
    validate(config)
    console = Console()
    rows = measured(MEASUREMENTS, config.repeats, console)
    table = Table("work", "ours", "peer", "peer's name", "units", "ratio", "interval")
    for row in rows:
        numbers = (f"{row.ours:,.0f}", f"{row.peer:,.0f}", row.peer_name, row.units, f"{row.ratio:.2f}")
        table.add_row(row.work, *numbers, f"{row.low:.2f} to {row.high:.2f}")
    console.print(table)
    return storage.write_json(config.results / "speed.json", [row._asdict() for row in rows])


def measured(
    measurements: Sequence[Callable[[int], Iterator[SpeedRow]]], repeats: int, console: Console
) -> list[SpeedRow]:
    """The rows of all measurements; one whose peer is missing is named on the console and left out, alone."""
    rows = []
    for measure in measurements:
        try:
            rows += measure(repeats)
        except ModuleNotFoundError as error:
            console.print(f"skipped {measure.__name__}: the peer {error.name} is not installed (see README)")
    return rows


if __name__ == "__main__":
    chosen = tyro.cli(SpeedConfig, description=__doc__)
    try:
        validate(chosen)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(main(chosen))
