"""From stored rows to what the report says: the rows of each question, the verdict on each sentence, what was hard.

Nothing here is judged anew. A sentence has the verdict of its rows: it holds where all of them do, differs where one
does, and is inconclusive otherwise; a row without a run leaves it open, and says which command would tell.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from markupsafe import Markup

from figures import mathematics
from figures.questions import PARTS, SAYS, Part, Question, Says, Sentence
from jaxdm.analysis.claims import DIFFERS, EXPLORATORY, FAILS, HOLDS, INCONCLUSIVE, PREVIEW, PRIMARY, VOID, Claim

NOT_RUN = "not run"


WORST_FIRST = (VOID, FAILS, DIFFERS, INCONCLUSIVE, HOLDS)
"""Of verdicts, which one tells on a sentence."""


CLEAR = 1e-3
"""P-value, corrected where a row is primary, at most that of a row that was easy."""


WORTH_NAMING = ("", PRIMARY, PREVIEW)
"""Ranks of rows that are named one by one where the report says what was easy and what hard; others are counted."""


class Row(NamedTuple):
    """A claim as the report shows it."""

    claim: Claim
    anchor: str
    statement: Markup
    says: Says | None
    preset: str | None
    question: str  # id of its section
    wrong: tuple[int, int]  # wrong versions that were rejected, and all of them


class Answer(NamedTuple):
    """A sentence, and what its rows say of it."""

    text: Markup
    hand: str
    question: str
    number: str
    figure: str  # one that was drawn, or nothing
    verdict: str  # one of the claims' verdicts, or `NOT_RUN`
    rows: list[Row]
    preview: bool
    command: str


class Section(NamedTuple):
    """A question, and its rows."""

    question: Question
    text: Markup
    formulas: list[tuple[str, Markup]]
    primary: list[Row]  # named before the run, or, where nothing was, those that the summary names, or theorems
    others: list[Row]
    counts: str
    exceptions: list[tuple[str, list[Row]]]  # leading rows that do not hold, by verdict, the worst first
    figures: list[str]


class Told(NamedTuple):
    """A part of the report."""

    part: Part
    answers: list[Answer]
    sections: list[Section]


class Effort(NamedTuple):
    """What was easy, what was hard, what differs, with the rows' own notes."""

    easy: list[Row]
    hard: list[Row]
    differs: list[Row]
    others: str  # exploratory rows, counted


def rows_of(
    claims: Mapping[str, tuple[Claim, str | None]], wrong: Mapping[str, tuple[int, int]] | None = None
) -> list[Row]:
    """Every claim with the question that asks for it, what its paper says, and its wrong versions."""
    return [
        Row(
            claim=claim,
            anchor=anchor(id),
            statement=mathematics.markup(claim.statement),
            says=next((says for says in SAYS if named_by(id, says.rows)), None),
            preset=preset,
            question=next(each.id for part in PARTS for each in part.questions if named_by(id, each.rows)),
            wrong=(wrong or {}).get(id, (0, 0)),
        )
        for id, (claim, preset) in claims.items()
    ]


def told(rows: Sequence[Row], figures: Sequence[str]) -> list[Told]:
    """The report's parts with their answers and sections; a figure stands in the first section that names it."""
    left = list(figures)
    parts = []
    for part in PARTS:
        sections = []
        for question in part.questions:
            shown = [name for pattern in question.figures for name in left if fnmatchcase(name, pattern)]
            left = [name for name in left if name not in shown]
            here = [row for row in rows if row.question == question.id]
            sections.append(section(question, here, shown, rows))
        answers = [answer(sentence, rows, figures) for sentence in part.sentences]
        parts.append(Told(part=part, answers=answers, sections=sections))
    return parts


def section(question: Question, here: Sequence[Row], figures: list[str], rows: Sequence[Row]) -> Section:
    """A question with its rows, those that were named before the run apart from all others."""
    named_first = [row for row in here if row.claim.rank == PRIMARY]
    others = [row for row in here if row.claim.rank != PRIMARY]
    if not named_first:  # theorems have no ranks; a preview's first rows are those that would be primary
        leading = [row for row in here if row.claim.rank in ("", PREVIEW) and leads(row.claim.id)]
        named_first = leading or [row for row in here if row.claim.rank == ""]
        others = [row for row in here if row not in named_first]
    named_first.sort(key=lambda row: next(n for n, each in enumerate(question.rows) if fnmatchcase(row.claim.id, each)))
    by_verdict = {verdict: [row for row in named_first if row.claim.verdict == verdict] for verdict in WORST_FIRST[:-1]}
    return Section(
        question=question,
        text=prose(question.text, rows),
        formulas=[(name, mathematics.mathml(formula, "block")) for name, formula in question.formulas],
        primary=named_first,
        others=others,
        counts=counted(here),
        exceptions=[(verdict, rows) for verdict, rows in by_verdict.items() if rows],
        figures=figures,
    )


def leads(id: str) -> bool:
    """Whether a sentence of the summary names the row."""
    return any(id in sentence.rows for part in PARTS for sentence in part.sentences)


def answer(sentence: Sentence, rows: Sequence[Row], figures: Sequence[str]) -> Answer:
    """The verdict of a sentence's rows, those in front that were asked for first."""
    found = [row for pattern in sentence.rows for row in rows if fnmatchcase(row.claim.id, pattern)]
    commands = {each.id: each.command for part in PARTS for each in part.questions}
    return Answer(
        text=prose(sentence.text, rows),
        hand=sentence.hand,
        question=sentence.question,
        number=sentence.number,
        figure=sentence.figure if sentence.figure in figures else "",
        verdict=verdict_of(row.claim for row in found),
        rows=found,
        preview=any(row.claim.rank == PREVIEW for row in found),
        command=commands.get(sentence.question, ""),
    )


def verdict_of(claims: Iterable[Claim]) -> str:
    """The verdict that tells on the whole: the worst there is; `NOT_RUN` of nothing."""
    found = {claim.verdict for claim in claims}
    return next((verdict for verdict in WORST_FIRST if verdict in found), NOT_RUN)


def counted(rows: Sequence[Row]) -> str:
    """Rows by verdict, in words: `3 hold, 1 differs`."""
    words = {HOLDS: "hold", DIFFERS: "differ", INCONCLUSIVE: "are inconclusive", FAILS: "fail", VOID: "are void"}
    single = {HOLDS: "holds", DIFFERS: "differs", INCONCLUSIVE: "is inconclusive", FAILS: "fails", VOID: "is void"}
    numbers = {verdict: sum(row.claim.verdict == verdict for row in rows) for verdict in words}
    phrases = [f"{n} {(single if n == 1 else words)[verdict]}" for verdict, n in numbers.items() if n]
    return ", ".join(phrases)


def effort(rows: Sequence[Row]) -> Effort:
    """Rows by how hard they were: clear ones, those near their target or undecided, and those that came out otherwise.

    Theorems count as they are; of empirical rows those that are primary, or of a preview, are named.
    """
    named = [row for row in rows if row.claim.rank in WORTH_NAMING and (not row.claim.rank or leads(row.claim.id))]
    tested = [row for row in named if not math.isnan(row.claim.p_value)]
    clear = [row for row in tested if row.claim.verdict == HOLDS and row.claim.p_value <= CLEAR]
    wrong = [row for row in named if row.claim.verdict in (DIFFERS, FAILS, VOID)]
    hard = [row for row in tested if row not in clear and row not in wrong]
    exploratory = [row for row in rows if row.claim.rank in (EXPLORATORY, PREVIEW) and row not in named]
    return Effort(easy=clear, hard=hard, differs=wrong, others=counted(exploratory))


def prose(text: str, rows: Sequence[Row]) -> Markup:
    """A text with its mathematics typeset, curly quotes, and links to the rows that it names in brackets."""
    known = {row.claim.id: row.anchor for row in rows}
    curly = re.sub(r'"([^"]*)"', "\N{LEFT DOUBLE QUOTATION MARK}\\1\N{RIGHT DOUBLE QUOTATION MARK}", text)
    parts = re.split(r"\[([A-Z]\w*(?:-\w+)?)\](?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", curly)
    pieces = []
    for place, part in enumerate(parts):
        if place % 2 == 0:
            pieces.append(mathematics.markup(part))
        elif part in known:
            pieces.append(Markup('[<a href="#{}">{}</a>]').format(known[part], part))
        else:
            pieces.append(Markup("[{}]").format(part))
    return Markup("").join(pieces)


def named_by(id: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names the id."""
    return any(fnmatchcase(id, pattern) for pattern in patterns)


def anchor(id: str) -> str:
    """What a link to the row says."""
    return "row-" + re.sub(r"[^A-Za-z0-9]+", "-", id).strip("-")
