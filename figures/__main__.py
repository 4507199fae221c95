"""Draw all figures and the report from stored results: `python -m figures [--results DIR] [--preset NAME]`.

Writes `figures/*.pdf`, `figures/*.png`, `claims.json` and `report.html` in the results folder; with `--style` figures
alone, into `figures/<style>/`, as wide as that paper's text or as a slide. The exit code is 1
when a figure could not be drawn; it is 2, and nothing is written, when there is no such folder or preset, when nothing
is stored there, or when a stored file is damaged or of another format.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.markup import escape

from figures import report


@dataclasses.dataclass(frozen=True, kw_only=True)
class FiguresConfig:
    """Where results are."""

    results: Path = Path("results")
    """Folder that experiments and theory wrote to."""
    preset: str | None = None
    """Whose results are shown: toy, quick, full or paper; the largest there is when left out."""
    style: Literal["report", "neurips", "icml", "slides"] = "report"
    """What figures are drawn for; all but the report's are vector graphics for LaTeX or a talk."""


def main(config: FiguresConfig) -> int:
    """Write the report, say what is missing from it, and return the exit code."""
    console = Console(soft_wrap=True, highlight=False)
    if config.style == "report":
        missing, written = report.write_report(config.results, config.preset), config.results / "report.html"
    else:
        missing = report.write_figures(config.results, config.preset, config.style)
        written = config.results / "figures" / config.style
    for item in missing:
        console.print(f"[yellow]{escape(item.what)}[/]: {escape(item.why)}; run `{escape(item.command)}`")
    console.print(f"wrote {escape(str(written))}")
    return 1 if any("could not be drawn" in item.why for item in missing) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(FiguresConfig, description=__doc__)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
