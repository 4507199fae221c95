"""Run the theorem checks: `python -m theory [ID ...] [--samples N] [--seed N]`; exit code 1 when anything fails."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated

import jax
import tyro
from rich.console import Console

from jaxdm.analysis.claims import HOLDS, Claim
from theory import harness
from theory.catalogue import CLAIMS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which theorems to check, and how hard to try."""

    ids: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Claims to check, e.g. `L1 L2`; all of them when left out."""
    samples: float | None = None
    """Random instances per check (1e6 is accepted); each module's own default when left out."""
    seed: int = 0
    """Seed of the random instances."""
    results: Path = Path("results")
    """Where results go."""


def run(id: str, config: Config) -> Claim:
    """Check one claim and its refutation, in float64 and on the same draws.

    Raises:
        ValueError: no such claim, no samples, or samples for a claim that draws none.
    """
    options, key = _options(id, config), jax.random.key(config.seed)
    with jax.enable_x64(True):
        claim = CLAIMS[id].check(key, **options)
        refuted = CLAIMS[id].refute(key, **options).verdict != HOLDS
    return claim._replace(refuted=refuted, command=f"python -m theory {id}")


def _options(id: str, config: Config) -> dict[str, int]:
    if id not in CLAIMS:
        raise ValueError(f"ids: {id!r} is no claim; expected some of {', '.join(CLAIMS)}")
    return harness.options(id, CLAIMS[id], config.samples)


def main(config: Config) -> int:
    """Check the claims, print a line each, store them, and return the exit code."""
    console, good = Console(soft_wrap=True, highlight=False), True
    ids = config.ids or tuple(CLAIMS)
    for id in ids:
        _options(id, config)
    for id in ids:
        start = time.perf_counter()
        claim = run(id, config)
        table = harness.store_claim(
            config.results, claim, CLAIMS[id], jax.random.key(config.seed), **_options(id, config)
        )
        passed = [row.wrong for row in table if not row.rejected]
        good &= claim.verdict == HOLDS and bool(claim.refuted) and not passed
        colour = "green" if claim.verdict == HOLDS and claim.refuted else "red"
        console.print(
            f"[{colour}]{id:4} {claim.verdict}[/] {claim.statement}: measured {claim.measured:.6g} "
            f"\\[{claim.low:.6g}, {claim.high:.6g}], target {claim.target}; "
            f"wrong version {'refuted' if claim.refuted else 'NOT REFUTED'}"
            + (f"; {len(table) - len(passed)} of {len(table)} mutations rejected" if table else "")
            + f"{''.join(f', NOT {name}' for name in passed)} ({time.perf_counter() - start:.1f} s)"
        )
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Config, description=__doc__)))
    except ValueError as error:
        sys.exit(f"error: {error}")
