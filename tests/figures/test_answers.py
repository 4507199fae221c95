"""The report says what the rows say: verdicts of sentences, where rows stand, what was easy and what hard."""

import math

import pytest

from experiments.rmft import primary as rmft
from experiments.sft import primary as sft
from figures import answers, questions
from figures.questions import PARTS, SECOND_HAND
from jaxdm.analysis.claims import DIFFERS, EXPLORATORY, FAILS, HOLDS, INCONCLUSIVE, PREVIEW, PRIMARY, VOID, Claim


def claim(id, verdict=HOLDS, rank=PRIMARY, p_value=1e-4, **changes):
    fields = {"id": id, "verdict": verdict, "rank": rank, "p_value": p_value} | changes
    return Claim(statement=f"{id} `V* <= 2`", source="ours", measured=0.3, low=0.2, high=0.4, target="<= 0.5", **fields)


def rows(*claims):
    return answers.rows_of({each.id: (each, None) for each in claims})


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), answers.NOT_RUN),
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, INCONCLUSIVE), INCONCLUSIVE),
        ((INCONCLUSIVE, DIFFERS, HOLDS), DIFFERS),
        ((FAILS, DIFFERS), FAILS),
        ((HOLDS, VOID, FAILS), VOID),
    ],
)
def test_a_sentence_has_the_verdict_of_its_worst_row(verdicts, expected):
    assert answers.verdict_of(claim(str(n), verdict) for n, verdict in enumerate(verdicts)) == expected


def test_a_sentence_shows_the_row_that_it_names_first_and_the_figure_if_it_was_drawn():
    found = answers.told(rows(claim("SFT-MDP-order", INCONCLUSIVE), claim("SFT-half")), ["sft_gap"])
    first, second = found[0].answers[:2]
    assert [row.claim.id for row in first.rows] == ["SFT-half", "SFT-MDP-order"]
    assert (first.verdict, first.figure, first.preview) == (INCONCLUSIVE, "sft_gap", False)
    assert (second.verdict, second.rows, second.figure) == (answers.NOT_RUN, [], "")
    assert second.command == "python -m experiments.sft full"


def test_every_row_and_every_figure_stands_in_one_section_and_primary_rows_apart():
    given = [claim("SFT-half"), claim("SFT-MDP-half", rank=EXPLORATORY), claim("L5-M", rank=""), claim("new", rank="")]
    names = ["sft_gap", "rmft_new", "theory_new", "online_attack", "unheard of"]
    sections = [section for told in answers.told(rows(*given), names) for section in told.sections]
    stands = {row.claim.id: section.question.id for section in sections for row in (*section.primary, *section.others)}
    assert stands == {"SFT-half": "gap", "SFT-MDP-half": "gap", "L5-M": "estimation", "new": "classical"}
    gap = next(section for section in sections if section.question.id == "gap")
    assert [[row.claim.id for row in part] for part in (gap.primary, gap.others)] == [["SFT-half"], ["SFT-MDP-half"]]
    assert gap.counts == "2 hold"
    assert sorted(name for section in sections for name in section.figures) == sorted(names)


def test_of_a_preview_the_rows_that_the_summary_names_come_first():
    given = rows(claim("SFT-vote", DIFFERS, PREVIEW), claim("SFT-half", INCONCLUSIVE, PREVIEW))
    found = answers.told(given, [])[0]
    assert [row.claim.id for row in found.sections[0].primary] == ["SFT-half"]
    assert [(name, len(these)) for name, these in found.sections[0].exceptions] == [(INCONCLUSIVE, 1)]
    assert found.answers[0].preview


def test_easy_hard_and_different_rows_are_told_apart():
    given = rows(
        claim("SFT-half", p_value=1e-5),
        claim("SFT-hidden", p_value=0.02),
        claim("SFT-models", INCONCLUSIVE, p_value=0.4),
        claim("RMFT-longer", DIFFERS, p_value=0.01, note="since"),
        claim("SFT-MDP-half", DIFFERS, EXPLORATORY),
        claim("L1", rank="", p_value=math.nan),
    )
    found = answers.effort(given)
    ids = [[row.claim.id for row in part] for part in (found.easy, found.hard, found.differs)]
    assert ids == [["SFT-half"], ["SFT-hidden", "SFT-models"], ["RMFT-longer"]]
    assert found.others == "1 differs"


def test_texts_link_the_rows_that_there_are_and_set_quotes_and_mathematics():
    found = answers.prose('"so" [L1] [N9] `E[V]`', rows(claim("L1", rank="")))
    assert found.startswith(
        '\N{LEFT DOUBLE QUOTATION MARK}so\N{RIGHT DOUBLE QUOTATION MARK} [<a href="#row-L1">L1</a>] [N9]'
    )
    assert "<math" in found


@pytest.mark.parametrize("id", [*sft.PRIMARY, *rmft.PRIMARY])
def test_every_row_that_the_studies_name_first_is_asked_for_by_a_question_of_its_own(id):
    patterns = [pattern for part in PARTS for question in part.questions for pattern in question.rows]
    first = next(pattern for pattern in patterns if answers.named_by(id, [pattern]))
    assert first not in ("SFT-*", "RMFT-*", "*")  # these take what is left


def test_what_is_not_the_papers_own_words_is_marked_and_quotes_are_words():
    for says in questions.SAYS:
        assert says.hand in (questions.WORDS, questions.ABSTRACT, SECOND_HAND)
        assert ('"' in says.text) == (says.hand == questions.WORDS)
    ids = [each.id for part in PARTS for each in part.questions]
    assert len(set(ids)) == len(ids)
    assert {sentence.question for part in PARTS for sentence in part.sentences} <= {*ids, ""}
