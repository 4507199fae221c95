"""The report: what a results folder holds, question by question, as one self-contained page.

What is not there yet is named, with the command that makes it; a statement that came out otherwise is shown as such.
"""

import base64
import importlib
import io
import json
import math
import pkgutil
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib

import figures
from figures import answers, style
from figures.selection import chosen, experiment, stored_results
from figures.style import Drawn
from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS, VOID, Claim, read_claims, write_rows
from jaxdm.analysis.storage import Result, Run

SPEED_FIELDS = ("work", "ours", "peer", "peer_name", "units", "ratio")


MUTATIONS = "mutations"
"""Name of the files beside the theorems' claims that hold their wrong versions."""


NOT_FIGURES = ("__main__", "answers", "mathematics", "questions", "readme", "report", "selection", "style")


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


class Figures(NamedTuple):
    """What was drawn, with the command that made each figure's results, and what could not be."""

    drawn: list[Drawn]
    commands: dict[str, str]
    missing: list[Missing]


def draw_all(shown: Sequence[Result]) -> Figures:
    """Every module's figures; one that has no results, or breaks on them, is reported and does not stop the others."""
    whole = Figures(drawn=[], commands={}, missing=[])
    for name in figure_modules():
        module = importlib.import_module(f"figures.{name}")
        command = getattr(module, "COMMAND", f"python -m experiments.{name}")
        what = f"Figure {name}"
        results = [result for result in shown if experiment(result) == name]
        try:
            found = module.draw(results)
        except Exception as error:  # a figure of someone's broken results must not cost them the rest of the report
            why = f"could not be drawn: {type(error).__name__}: {error}"
            whole.missing.append(Missing(what=what, why=why, command=command))
            continue
        whole.drawn.extend(found)
        made_by = results[-1].run.command if results and name != "theory" else command
        whole.commands.update({item.name: made_by for item in found})
        if not found:
            whole.missing.append(Missing(what=what, why="no results yet", command=command))
    return whole


def save_figures(folder: Path, drawn: list[Drawn]) -> None:
    """Store each figure as PDF and PNG in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure, _ in drawn:
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png")


def collect_claims(results: Path, shown: Sequence[Result]) -> dict[str, tuple[Claim, str | None]]:
    """Claims by id, theorems first, each with the preset that it was found with; theorems have none.

    Raises:
        ValueError: a stored claim is damaged.
    """
    theorems = collect_theorems(results)
    found: list[tuple[Path, str | None]] = []
    for id in sorted(theorems, key=_natural):
        changes = theorems[id]
        found.append((results / "theory" / _file(id, changes), "changed" if changes else None))
    found += [(result.path / storage.CLAIMS, preset_of(result)) for result in shown]
    return {claim.id: (claim, preset) for path, preset in found if path.exists() for claim in read_claims(path)}


def collect_theorems(results: Path) -> dict[str, str]:
    """For every theorem how the run that is shown was changed, as its file says: `L1.samples-10.json`.

    A run with the default samples and seed, `L1.json`, comes before changed ones, whenever it was made; of those the
    newest counts.
    """
    paths = [path for path in (results / "theory").glob("*.json") if path.name.partition(".")[0] != MUTATIONS]
    shown = {}
    for path in sorted(paths, key=lambda path: ("." not in path.stem, path.stat().st_mtime)):
        id, _, changes = path.stem.partition(".")
        shown[id] = changes
    return shown


def _file(name: str, changes: str) -> str:
    """Where a run of theorem checks stores something."""
    return f"{name}.{changes}.json" if changes else f"{name}.json"


def preset_of(result: Result) -> str | None:
    """The preset of a run as the report names it."""
    words = [result.run.preset or "", "changed" if result.run.changed else ""]
    return ", ".join(word for word in words if word) or None


def collect_runs(shown: Sequence[Result]) -> list[Row]:
    """What made the results that are shown, one row a command; versions and machine are those of its newest result."""
    rows: dict[str, Row] = {}
    for result in shown:
        versions = ", ".join(f"{name} {version}" for name, version in result.run.versions.items())
        row = {"experiment": experiment(result), "preset": preset_of(result), "seed": result.run.seed}
        row |= {"date": result.run.date, "machine": result.run.machine, "versions": versions}
        row |= {"command": result.run.command}
        rows[result.run.command] = row
    return list(rows.values())


def collect_mutations(results: Path) -> list[Row]:
    """For every claim its wrong versions that its check rejected, and those that passed, in the run that is shown.

    Raises:
        ValueError: the file is damaged.
    """
    theorems = collect_theorems(results)
    table: dict[str, Row] = {}
    for path in (results / "theory").glob(f"{MUTATIONS}*.json"):
        changes = path.stem.partition(".")[2]
        try:
            for row in json.loads(path.read_text()):
                entry = {"id": row["id"], "rejected": [], "passed": []}
                if theorems.get(row["id"]) == changes:
                    entry = table.setdefault(row["id"], entry)
                entry["rejected" if row["rejected"] else "passed"].append(row["wrong"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"path: {path} is no table of mutations ({error}); expected id, wrong, rejected"
            ) from error
    return sorted(table.values(), key=lambda row: _natural(row["id"]))


def void(claims: Mapping[str, tuple[Claim, str | None]], mutations: list[Row]) -> dict[str, tuple[Claim, str | None]]:
    """The claims, those void that hold only because their check accepts a wrong version of them too."""
    accepted = {row["id"] for row in mutations if row["passed"]}
    accepted |= {id for id, (claim, _) in claims.items() if claim.refuted is False}
    return {
        id: (claim._replace(verdict=VOID) if id in accepted and claim.verdict == HOLDS else claim, preset)
        for id, (claim, preset) in claims.items()
    }


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


def missing_tables(claims: Mapping[str, Any], speed: list[Row], results: Path) -> list[Missing]:
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
    claims: Mapping[str, tuple[Claim, str | None]],
    runs: list[Row],
    mutations: list[Row],
    speed: list[Row],
    drawn: list[Drawn],
    missing: list[Missing],
    commands: Mapping[str, str],
) -> str:
    """The page, with every figure inside it; where claims come from several presets, each row names its own.

    Args:
        claims: by id, each with the preset that it was found with.
        runs: what made the results.
        mutations: wrong versions of the theorems.
        speed: the speed table.
        drawn: figures.
        missing: what could be shown but is not.
        commands: of every figure, what made its results.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    wrong = {row["id"]: (len(row["rejected"]), len(row["rejected"]) + len(row["passed"])) for row in mutations}
    rows = answers.rows_of(claims, wrong)
    parts = answers.told(rows, [item.name for item in drawn])
    shown = {name: section for told in parts for section in told.sections for name in section.figures}
    figures = {
        item.name: {
            "caption": item.caption,
            "source": as_data_uri(item),
            "command": commands[item.name],
            "rows": [row for row in shown[item.name].primary if study(row.claim.command) == study(commands[item.name])],
        }
        for item in drawn
    }
    environment.filters |= {"number": number, "symbols": symbols, "prose": lambda text: answers.prose(text, rows)}
    template = environment.get_template("report.html.j2")
    return template.render(
        about=about(runs),
        rows=rows,
        parts=parts,
        sections={each.question.id: each for told in parts for each in told.sections},
        figures=figures,
        effort=answers.effort(rows),
        counts=answers.counted(rows),
        mixed=len({row.preset for row in rows if row.preset}) > 1,
        void=[row.claim.id for row in rows if row.claim.verdict == VOID],
        runs=runs,
        mutations=mutations,
        speed=speed,
        missing=missing,
    )


def study(command: str) -> str:
    """The module that a command runs, by which rows and figures of one study are told."""
    words = command.split()
    return words[words.index("-m") + 1] if "-m" in words[:-1] else command


def about(runs: Sequence[Row]) -> list[str]:
    """Preset and seed of every study, then versions, machines and dates, each said once."""
    studies = [f"{run['experiment']} {run['preset'] or ''} (seed {run['seed']})" for run in runs if run["preset"]]
    versions, machines = (list(dict.fromkeys(run[name] for run in runs)) for name in ("versions", "machine"))
    dates = sorted(run["date"][:10] for run in runs)
    days = dates[:1] if dates[:1] == dates[-1:] else [f"{dates[0]} to {dates[-1]}"]
    known = [machine for machine in machines if machine != Run._field_defaults["machine"]]
    return [part for part in (", ".join(studies), *versions, *known, *days) if part]


def readable(results: Path, preset: str | None = None) -> list[Result]:
    """The results that are shown, of a folder in which there is something to show and that can be written to.

    Args:
        results: the results folder.
        preset: whose results are shown; the largest preset there is, when left out.

    Raises:
        ValueError: no such folder or preset, nothing stored, or a stored result that is damaged or of another format.
    """
    stored = stored_results(results)
    try:
        storage.check_folder(results)
    except ValueError as error:
        raise ValueError(f"results: {error}") from error
    if not stored and not any(results.glob("theory/*.json")) and not (results / "speed.json").exists():
        wanted = "those of a study, such as `python -m experiments.rmft quick`, or of `make reproduce`"
        raise ValueError(f"results: nothing is stored in {results}; expected {wanted}")
    return chosen(stored, preset)


def write_figures(results: Path, preset: str | None, name: str) -> list[Missing]:
    """Draw every figure for a paper or a talk, into `results/figures/<style>`; the report stays as it is.

    Args:
        results: the results folder.
        preset: as in `readable`.
        name: one of `style.STYLES`.

    Returns:
        What could not be drawn.

    Raises:
        ValueError: no such style, or as in `readable`.
    """
    settings = style.settings(name)
    shown = readable(results, preset)
    with matplotlib.rc_context(settings):
        found = draw_all(shown)
        save_figures(results / "figures" / name, found.drawn)
    return found.missing


def write_report(results: Path, preset: str | None = None) -> list[Missing]:
    """Draw, collect and write `results/{figures/, claims.json, report.html}`.

    Args:
        results: the results folder.
        preset: whose results are shown; the largest preset there is, when left out.

    Returns:
        What the report says is missing.

    Raises:
        ValueError: no such folder or preset, nothing stored, or a stored result, claim or table that is damaged or of
            another format; nothing has been written then.
    """
    shown = readable(results, preset)
    speed, mutations = collect_speed(results), collect_mutations(results)
    claims = void(collect_claims(results, shown), mutations)
    with matplotlib.rc_context(style.settings()):
        drawn, commands, missing = draw_all(shown)
        missing = missing_tables(claims, speed, results) + missing
        save_figures(results / "figures", drawn)
        write_rows(results / "claims.json", [claim for claim, _ in claims.values()])
        page = render(claims, collect_runs(shown), mutations, speed, drawn, missing, commands)
        storage.write_text(results / "report.html", page)
    return missing


def as_data_uri(item: Drawn) -> str:
    """A figure as SVG inside a URI: sharp at any size, and its element names cannot clash with another's."""
    file = io.BytesIO()
    item.figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def number(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits, a dash where there is none."""
    absent = value is None or math.isnan(value)
    return "\N{EN DASH}" if absent else f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def symbols(text: str) -> str:
    """A target with the signs of mathematics."""
    signs = {"<=": "\N{LESS-THAN OR EQUAL TO}", ">=": "\N{GREATER-THAN OR EQUAL TO}", "e-": "e\N{MINUS SIGN}"}
    for plain, sign in signs.items():
        text = text.replace(plain, sign)
    return text


def _natural(text: str) -> list[Any]:
    """Sorting key by which L2 comes before L10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
