"""The report: claims, speed and figures of a results folder as one self-contained page.

What is not there yet is named, with the command that makes it; a statement that came out otherwise is shown as such.
"""

import base64
import importlib
import io
import json
import math
import pkgutil
import re
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib

import figures
from figures import style
from figures.style import Drawn
from jaxdm.analysis import storage
from jaxdm.analysis.claims import VERDICTS, Claim, read_claims, write_rows

SPEED_FIELDS = ("work", "ours", "peer", "peer_name", "units", "ratio")


MUTATIONS = "mutations.json"
"""Beside the theorems' claims: their wrong versions."""


NOT_FIGURES = ("__main__", "report", "style")


Row = dict[str, Any]
"""A row of a table, by column."""


class Missing(NamedTuple):
    """Something the report could show but does not: what, why, and the command that brings it."""

    what: str
    why: str
    command: str


def figure_modules() -> list[str]:
    """Names of the modules of this package that draw."""
    return [module.name for module in pkgutil.iter_modules(figures.__path__) if module.name not in NOT_FIGURES]


def draw_all(results: Path) -> tuple[list[Drawn], list[Missing]]:
    """Every module's figures; one that has no results, or breaks on them, is reported and does not stop the others."""
    drawn, missing = [], []
    for name in figure_modules():
        module = importlib.import_module(f"figures.{name}")
        command = getattr(module, "COMMAND", f"python -m experiments.{name}")
        what = f"Figure {name}"
        try:
            found = module.draw(results)
        except Exception as error:  # a figure of someone's broken results must not cost them the rest of the report
            why = f"could not be drawn: {type(error).__name__}: {error}"
            missing.append(Missing(what=what, why=why, command=command))
            continue
        drawn += found
        if not found:
            missing.append(Missing(what=what, why="no results yet", command=command))
    return drawn, missing


def save_figures(results: Path, drawn: list[Drawn]) -> None:
    """Store each figure as PDF and PNG under `results/figures/`."""
    folder = results / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure, _ in drawn:
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png")


def collect_claims(results: Path) -> list[Claim]:
    """All stored claims, theorems first; of two with the same id the newer one.

    Raises:
        ValueError: a stored claim is damaged.
    """
    theory = sorted((results / "theory").glob("*.json"), key=lambda path: _natural(path.stem))
    empirical = sorted(results.glob("*/*/claims.json"), key=lambda path: path.stat().st_mtime)
    claims = {}
    theory = [path for path in theory if path.name != MUTATIONS]
    for path in [*theory, *(path for path in empirical if not path.parent.name.startswith("."))]:
        claims.update({claim.id: claim for claim in read_claims(path)})
    return list(claims.values())


def collect_mutations(results: Path) -> list[Row]:
    """For every claim its wrong versions that its check rejected, and those that passed; none where not stored.

    Raises:
        ValueError: the file is damaged.
    """
    path = results / "theory" / MUTATIONS
    table: dict[str, Row] = {}
    try:
        for row in json.loads(path.read_text()) if path.exists() else []:
            entry = table.setdefault(row["id"], {"id": row["id"], "rejected": [], "passed": []})
            entry["rejected" if row["rejected"] else "passed"].append(row["wrong"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path: {path} is no table of mutations ({error}); expected id, wrong, rejected") from error
    return sorted(table.values(), key=lambda row: _natural(row["id"]))


def collect_speed(results: Path) -> list[Row]:
    """The rows of `results/speed.json`, none where it is missing.

    Raises:
        ValueError: the file is damaged.
    """
    path = results / "speed.json"
    if not path.exists():
        return []
    try:
        return [{name: row[name] for name in SPEED_FIELDS} for row in json.loads(path.read_text())]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path: {path} is no speed table ({error}); expected rows of {SPEED_FIELDS}") from error


def missing_tables(claims: list[Claim], speed: list[Row], results: Path) -> list[Missing]:
    """Which tables are empty."""
    missing = []
    if not any((results / "theory").glob("*.json")):
        missing.append(Missing(what="Theorems", why="none checked yet", command="python -m theory"))
    if not claims:
        missing.append(Missing(what="Claims table", why="no claim stored yet", command="make reproduce"))
    if not speed:
        missing.append(Missing(what="Speed table", why="not measured yet", command="python -m experiments.speed"))
    return missing


def render(
    claims: list[Claim], mutations: list[Row], speed: list[Row], drawn: list[Drawn], missing: list[Missing]
) -> str:
    """The page, with every figure inside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    shown = [{"name": item.name, "caption": item.caption, "source": as_data_uri(item)} for item in drawn]
    counts = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS}
    unrefuted = [claim.id for claim in claims if claim.refuted is False]
    template = environment.get_template("report.html.j2")
    return template.render(
        claims=claims,
        counts=counts,
        unrefuted=unrefuted,
        mutations=mutations,
        speed=speed,
        figures=shown,
        missing=missing,
    )


def write_report(results: Path) -> list[Missing]:
    """Draw, collect and write `results/{figures/, claims.json, report.html}`.

    Returns:
        What the report says is missing.

    Raises:
        ValueError: a stored claim or the speed table is damaged.
    """
    claims, speed = collect_claims(results), collect_speed(results)
    with matplotlib.rc_context(style.SETTINGS):
        drawn, missing = draw_all(results)
        missing = missing_tables(claims, speed, results) + missing
        save_figures(results, drawn)
        write_rows(results / "claims.json", claims)
        storage.write_text(results / "report.html", render(claims, collect_mutations(results), speed, drawn, missing))
    return missing


def as_data_uri(item: Drawn) -> str:
    """A figure as SVG inside a URI: sharp at any size, and its element names cannot clash with another's."""
    file = io.BytesIO()
    item.figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def number(value: Any) -> str:
    """A number with four significant digits, a dash where there is none."""
    return "\N{EN DASH}" if value is None or math.isnan(value) else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _natural(text: str) -> list[Any]:
    """Sorting key by which L2 comes before L10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
