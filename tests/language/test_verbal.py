"""Prompts, parsers and players who say why."""

import collections

import numpy as np
import pytest

from jaxdm.language import speakers, verbal
from jaxdm.language.verbal import HELD_OUT, TRAINING, Scenario, parse_leniently, parse_strictly, prompt, scenario

CLINIC = Scenario(context=TRAINING["clinic"], names=("D", "A", "F"), order=(2, 0, 1), rounds=5)


SEEN = np.array([[1, np.nan, np.nan], [np.nan, np.nan, 0], [0, np.nan, np.nan]])


def test_a_prompt_tells_what_happened():
    (message,) = prompt(CLINIC, [0, 2, 0], SEEN)
    assert message["content"] == (
        "You run a clinic with 3 treatments. Choose one in each of 5 rounds, for the most you can get.\n"
        "F: tried 1, cured 0.\nD: tried 2, cured 1.\nA: tried 0, cured 0.\n"
        'Round 4 of 5. Give a reason, then "Decision: " and a name.'
    )
    listed = prompt(CLINIC._replace(history="rounds", reasoning="none"), [0, 2, 0], SEEN)[0]["content"]
    assert "Round 2: F, cured 0.\nRound 3: D, cured 0.\nRound 4 of 5. Write" in listed
    losses = np.array([[0.5, 1.0, 0.0], [0.25, 0.5, 1.0]])
    online = CLINIC._replace(feedback="all")
    assert (
        "F: lost 1.0 so far.\nD: lost 0.8 so far.\nA: lost 1.5 so far." in prompt(online, [0, 1], losses)[0]["content"]
    )
    rounds = prompt(online._replace(history="rounds"), [0, 1], losses)[0]["content"]
    assert "Round 1: D, losses F 0.0, D 0.5, A 1.0." in rounds
    with pytest.raises(ValueError, match="seen"):
        prompt(CLINIC, [0] * 5, np.zeros((5, 3)))


def test_names_and_places_say_nothing_about_arms():
    """Of 3,000 scenarios each name and each place is as often arm 0 as any other, within 5 s.e."""
    rng = np.random.default_rng(0)
    drawn = [scenario(rng, [TRAINING["routes"]], 3, 4) for _ in range(3_000)]
    for counts, sides in (
        (collections.Counter(one.names[0] for one in drawn), 5),
        (collections.Counter(one.order.index(0) for one in drawn), 3),
    ):
        assert len(counts) == sides
        error = np.sqrt(3_000 * (1 / sides) * (1 - 1 / sides))
        assert max(abs(count - 3_000 / sides) for count in counts.values()) < 5 * error
    with pytest.raises(ValueError, match="arms"):
        scenario(rng, [TRAINING["routes"]], 6, 4)
    with pytest.raises(ValueError, match="reasoning"):
        scenario(rng, [TRAINING["routes"]], 2, 4, reasoning="long")  # pyright: ignore


def test_contexts_have_names_that_are_single_words_and_meet_nowhere():
    for one in (*TRAINING.values(), *HELD_OUT.values()):
        assert len(set(one.names)) == len(one.names) >= 5
        assert all(name.isalpha() for name in one.names)
    assert not set(TRAINING) & set(HELD_OUT)


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("A was tried least. Decision: A", "A", "A"),
        ("Decision: D.", "D", "D"),
        ("Decision: D.\n", "D", "D"),
        ("I think of A. Then **Decision:** `F`", "wrong form", "F"),
        ("decision is f", "no decision", "F"),
        ("Decision: A. Or better, Decision: D", "several decisions", "D"),
        ("Decision: A because it is best", "wrong form", "A"),
        ("A is best.", "no decision", "no decision"),
        ("Decision: B", "unknown name", "unknown name"),
        ("Decision:", "wrong form", "no decision"),
        ("", "no decision", "no decision"),
        ("Indecision: A", "no decision", "no decision"),
    ],
)
def test_replies_are_read_or_counted(text, strict, lenient):
    for parse, expected in ((parse_strictly, strict), (parse_leniently, lenient)):
        found = parse(CLINIC, text, True)
        assert (found.fault if found.arm is None else CLINIC.names[found.arm]) == expected
        assert parse(CLINIC, text, False).fault == "cut off"


def test_no_reply_of_rubbish_raises_or_decides_without_a_name():
    rng = np.random.default_rng(1)
    parts = ["Decision", "decision:", "Decision: ", "A", "D", "\n", "**", "é", "🎉", ":", " ", "\x00", ".", "None"]
    for _ in range(500):
        text = "".join(rng.choice(parts, rng.integers(0, 8)))
        for parse in (parse_strictly, parse_leniently):
            found = parse(CLINIC, text, True)
            assert (found.arm is None) == bool(found.fault)
            assert found.arm is None or CLINIC.names[found.arm].lower() in text.lower()


def test_players_do_as_they_say():
    rng = np.random.default_rng(2)
    told = {kind: speakers.speak(rng, CLINIC, [0, 2, 0], SEEN, kind) for kind in speakers.RULES}
    assert told["best"] == "Best record: D. Decision: D"
    assert told["least"] == "Tried least: A. Decision: A"
    assert told["most"] == "My habit: D. Decision: D"
    for kind, text in told.items():
        assert speakers.kind_of(text, CLINIC) == kind
        assert speakers.is_faithful(text, CLINIC, [0, 2, 0], SEEN)
    assert not speakers.is_faithful("Best record: A.", CLINIC, [0, 2, 0], SEEN)
    assert speakers.kind_of("Best record: B.", CLINIC) == "other"
    losses = CLINIC._replace(feedback="all")
    assert speakers.speak(rng, losses, [0], np.array([[0.5, 0.2, 0.7]]), "best").startswith("Best record: A.")
    with pytest.raises(ValueError, match="kind"):
        speakers.speak(rng, CLINIC, [], np.zeros((0, 3)), "worst")
    assert verbal.tried(SEEN).tolist() == [2, 0, 1]
