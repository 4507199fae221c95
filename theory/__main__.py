"""Run the theorem checks: `python -m theory [ID ...] [--samples N] [--seed N]`.

The exit code is 1 when anything fails; it is 2, and nothing is checked or written, when a value is refused.
"""

import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import jax
import tyro
from rich.console import Console
from rich.markup import escape

from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS
from jaxdm.validation import InvalidInput, integer
from theory import harness
from theory.catalogue import CLAIMS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TheoryConfig:
    """Which theorems to check, and how hard to try."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Claims to check, e.g. `L1 L2`; all of them when left out."""
    samples: float | None = None
    """Random instances per check (1e6 is accepted); each module's own default when left out."""
    seed: int = 0
    """Seed of the random instances."""
    results: Path = Path("results")
    """Where results go."""


def validate(config: TheoryConfig) -> None:
    """Check every field, before any work.

    Raises:
        InvalidInput: names the first one that is refused.
    """
    for id in config.ids or tuple(CLAIMS):
        _options(id, config)
    integer("seed", config.seed, 0)
    try:
        storage.check_folder(config.results)
    except ValueError as error:
        raise InvalidInput(f"results: {error}") from error


def command(id: str, config: TheoryConfig) -> str:
    """The command line that runs this claim alone, with everything else as it was given."""
    words = ["python", "-m", "theory", id]
    for name, value in changes(config).items():
        words += [f"--{name}", str(value)]
    if config.results != TheoryConfig.results:
        words += ["--results", str(config.results)]
    return shlex.join(words)


def changes(config: TheoryConfig) -> dict[str, int]:
    """The options that change what is drawn, by name; none for a run with the defaults."""
    changed = {}
    if config.samples is not None:
        changed["samples"] = int(config.samples)
    if config.seed != TheoryConfig.seed:
        changed["seed"] = config.seed
    return changed


def run(id: str, config: TheoryConfig, wrong: int | None = None) -> harness.Checked:
    """Check one claim and its wrong versions, or the first so many of them.

    Raises:
        InvalidInput: no such claim, no samples, or samples for a claim that draws none.
    """
    options, key = _options(id, config), jax.random.key(config.seed)
    return harness.check_claim(id, CLAIMS[id], key, command=command(id, config), wrong=wrong, **options)


def main(config: TheoryConfig) -> int:
    """Check the claims, print a line each, store them, and return the exit code.

    Raises:
        InvalidInput: as `validate`.
    """
    validate(config)
    console, good = Console(soft_wrap=True, highlight=False), True
    ids = config.ids or tuple(CLAIMS)
    key = jax.random.key(config.seed)
    changed = "-".join(f"{name}-{value}" for name, value in changes(config).items())
    for id in ids:
        start = time.perf_counter()
        checked = run(id, config)
        harness.store_checked(config.results, checked, CLAIMS[id], key, changes=changed, **_options(id, config))
        good &= checked.claim.verdict == HOLDS
        console.print(_line(checked, time.perf_counter() - start))
    return 0 if good else 1


def _options(id: str, config: TheoryConfig) -> dict[str, int]:
    if id not in CLAIMS:
        raise InvalidInput(f"ids: {id!r} is no claim; expected some of {', '.join(CLAIMS)}")
    return harness.options(id, CLAIMS[id], config.samples)


def _line(checked: harness.Checked, seconds: float) -> str:
    """What is printed of a claim."""
    claim, table = checked.claim, checked.mutations
    passed = [row.wrong for row in table if not row.rejected]
    colour = "green" if claim.verdict == HOLDS else "red"
    return (
        f"[{colour}]{claim.id:4} {claim.verdict}[/] {escape(claim.statement)}: measured {claim.measured:.6g} "
        f"\\[{claim.low:.6g}, {claim.high:.6g}], target {claim.target}; "
        f"wrong version {'refuted' if claim.refuted else 'NOT REFUTED'}; "
        f"{len(table) - len(passed)} of {len(table)} mutations rejected"
        f"{''.join(f', NOT {name}' for name in passed)} ({seconds:.1f} s)"
    )


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(TheoryConfig, description=__doc__)))
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
