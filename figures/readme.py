"""Refill the tables of results in the READMEs from stored results: `python -m figures.readme [--results DIR]`.

What the summary of the report says is written to `experiments/summary.json`, a small file that is committed, and from
there into the marked parts of `README.md` and `experiments/README.md`; so no number in them is written by hand. A test
makes the marked parts again from that file. `python -m figures.readme --check` says whether they are as it says.

    <!-- summary: paper-1 -->
    (a table)
    <!-- summary: end -->
"""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import tyro
from matplotlib.figure import Figure

from figures import answers, report, style
from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS, as_row
from jaxdm.analysis.storage import Result

ROOT = Path(__file__).parent.parent


SUMMARY = ROOT / "experiments" / "summary.json"


PICTURE = ROOT / "figures" / "previews" / "overview.png"


PAGES = (ROOT / "README.md", ROOT / "experiments" / "README.md")


MARK = re.compile(r"(?P<begin><!-- summary: (?P<part>[\w-]+) -->\n).*?(?P<end><!-- summary: end -->)", re.DOTALL)


ROW_FIELDS = ("id", "statement", "measured", "low", "high", "target", "verdict", "rank", "command")


Summary = Mapping[str, Any]
"""`runs`, one line a study; `sentences` by part; `rows`, those that a sentence names. JSON types."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadmeConfig:
    """Where results are."""

    results: Path = Path("results")
    """Folder that experiments and theory wrote to."""
    preset: str | None = None
    """Whose results count; the largest preset there is when left out."""
    check: bool = False
    """Only compare the pages with the file."""


def collect(results: Path, preset: str | None) -> Summary:
    """What the summary of the report says of a results folder.

    Raises:
        ValueError: as `report.readable`.
    """
    shown = report.readable(results, preset)
    mutations = report.collect_mutations(results)
    rows = answers.rows_of(report.void(report.collect_claims(results, shown), mutations))
    runs = report.collect_runs([result for result in shown if report.experiment(result) != "theory"])
    sentences = {
        told.part.id: [
            {
                "text": sentence.text,
                "verdict": answer.verdict,
                "preview": answer.preview,
                "number": sentence.number,
                "rows": [row.claim.id for row in answer.rows],
                "command": answer.command,
            }
            for sentence, answer in zip(told.part.sentences, told.answers, strict=True)
        ]
        for told in answers.told(rows, [])
    }
    named = {id for part in sentences.values() for sentence in part for id in sentence["rows"]}
    kept = [as_row(row.claim) for row in rows if row.claim.id in named]
    return {
        "runs": [f"`{anywhere(run['command'])}` (seed {run['seed']}, {run['date'][:10]})" for run in runs],
        "sentences": sentences,
        "rows": [{name: row[name] for name in ROW_FIELDS} | {"command": anywhere(row["command"])} for row in kept],
    }


def anywhere(command: str) -> str:
    """A command without the folder that its results went to."""
    return re.sub(r" --results[ =]\S+", "", command)


def filled(page: str, summary: Summary) -> str:
    """A page whose marked parts are made anew.

    Raises:
        ValueError: a mark names no part.
    """

    def table(mark: re.Match[str]) -> str:
        part = mark["part"]
        if part == "rows":
            text = rows_table(summary)
        elif part in summary["sentences"]:
            text = sentences_table(summary["sentences"][part], summary["rows"])
        else:
            raise ValueError(f"summary: {part!r}; expected rows or one of {', '.join(summary['sentences'])}")
        return f"{mark['begin']}{text}\n{mark['end']}"

    return MARK.sub(table, page)


def sentences_table(sentences: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Each sentence with its verdict, its number, and the rows that do not hold."""
    by_id = {row["id"]: row for row in rows}
    lines = ["| sentence | here | number | what differs, or is open |", "|---|---|---|---|"]
    for sentence in sentences:
        found = [by_id[id] for id in sentence["rows"]]
        verdict = f"{sentence['verdict']}{', a preview' if sentence['preview'] else ''}"
        number = f"{interval(found[0])}: {sentence['number']}" if found else "\N{EN DASH}"
        open_rows = {row["verdict"]: [] for row in found if row["verdict"] != HOLDS}
        for row in found:
            if row["verdict"] in open_rows:
                open_rows[row["verdict"]].append(row["id"])
        others = "; ".join(f"{verdict}: {', '.join(ids)}" for verdict, ids in open_rows.items())
        absent = f"run `{sentence['command']}`" if sentence["command"] else "not studied here"
        rest = (others or "nothing") if found else absent
        lines.append(f"| {cell(sentence['text'])} | {verdict} | {number} | {rest} |")
    return "\n".join(lines)


def rows_table(summary: Summary) -> str:
    """Every row that a sentence names, as it is stored."""
    runs = "; ".join(summary["runs"]) or "no study"
    lines = [f"From {runs}, and `python -m theory`.", "", "| row | statement | measured | target | verdict |"]
    lines.append("|---|---|---|---|---|")
    for row in summary["rows"]:
        verdict = f"{row['verdict']}, {row['rank']}" if row["rank"] else row["verdict"]
        target = cell(row["target"])
        lines.append(f"| {row['id']} | {cell(row['statement'])} | {interval(row)} | {target} | {verdict} |")
    return "\n".join(lines)


def interval(row: Mapping[str, Any]) -> str:
    """The number that was measured and its interval, if it has one that can be seen."""
    measured, low, high = (report.number(row[name], 3) for name in ("measured", "low", "high"))
    return measured if low == high else f"{measured} [{low}, {high}]"


def cell(text: str) -> str:
    """A text in a table of Markdown, where a bar would end the cell."""
    return text.replace("|", "\\|")


def picture(shown: Sequence[Result]) -> Figure:
    """Two panels for the first page: what fine-tuning gains on new POMDPs, and what a network's regret becomes.

    Where no network's regret is stored, the second shows a trained attention layer's loss and its bound.
    """
    by_name = {report.experiment(result): result for result in shown}
    by_id = {str(result.config.get("id")): result for result in shown}
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.6)
    if "sft" in by_name:
        gaps = by_name["sft"].metrics["gap"].sel(setting="pomdp")
        for order, agent in enumerate(("SFT", "ICL-only", "random", "Bayes posterior")):
            values = gaps.sel(agent=agent).transpose("demonstrations", "seed")
            style.line(left, values["demonstrations"].values, values.values, agent, order)
        left.set_xticks(gaps["demonstrations"].values)
        left.set(title="new POMDPs", xlabel="demonstrations in the context", ylabel="optimality gap", ylim=(-0.05, 1.2))
    if "rmft" in by_name and "bandit_regret" in by_name["rmft"].metrics:
        regret = by_name["rmft"].metrics["bandit_regret"].sel(distribution="K=5, gap 0.2")
        labels = {"RMFT": "RMFT", "base": "before", "best classical": "best classical"}
        for order, (agent, label) in enumerate(labels.items()):
            values = regret.sel(agent=agent).transpose("round", "seed")
            style.line(right, values["round"].values, values.values, label, order, marked=False)
        right.set(title="bandits, K=5, gap 0.2", xlabel="round", ylabel="regret", ylim=(0, None))
    elif "L7b" in by_id:
        metrics = by_id["L7b"].metrics
        for order, (name, label) in enumerate({"gap": "a trained attention layer", "bound": "its bound"}.items()):
            values = metrics[name].isel(length=-1).transpose("context", "run")
            style.line(right, values["context"].values, values.values, label, order)
        right.set(title="new linear MDPs", xlabel="demonstrations M", ylabel="loss against V*")
        right.set_xscale("log", base=2)
        right.set_yscale("log")
    for axes in (left, right):
        axes.legend(*axes.get_legend_handles_labels())
    runs = [run for run in report.collect_runs(shown) if run["preset"]]
    words = [f"{run['experiment']} {run['preset']}, seed {run['seed']}" for run in runs]
    figure.supxlabel("; ".join(words), fontsize="small", color=style.PALETTE[-1])
    return figure


def stored() -> Summary:
    """The file's content."""
    return json.loads(SUMMARY.read_text())


def main(config: ReadmeConfig) -> int:
    """Refill the pages, or compare them; the exit code is 1 when they are not as the file says."""
    if config.check:
        wrong = [page for page in PAGES if filled(page.read_text(), stored()) != page.read_text()]
        for page in wrong:
            print(f"{page.relative_to(ROOT)} differs from {SUMMARY.name}; run `python -m figures.readme`")
        return 1 if wrong else 0
    if not all(page.exists() for page in PAGES):
        raise ValueError(f"pages: none in {ROOT}; expected a checkout, whose READMEs are refilled")
    summary = collect(config.results, config.preset)
    with matplotlib.rc_context(style.settings()):
        figure = picture(report.readable(config.results, config.preset))
        PICTURE.parent.mkdir(exist_ok=True)
        figure.savefig(PICTURE, dpi=150)
    storage.write_json(SUMMARY, summary)
    for page in PAGES:
        storage.write_text(page, filled(page.read_text(), summary))
        print(f"refilled {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(ReadmeConfig, description=__doc__)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
