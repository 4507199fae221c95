"""Decisions asked for in words: contexts, prompts that tell what happened, parsers that say what they cannot read.

    user        You run a clinic with 3 treatments. Choose one in each of 8 rounds, for the most you can get.
                A: tried 2, cured 1.
                C: tried 0, cured 0.
                ...
                Round 3 of 8. Give a reason, then "Decision: " and a name.
    assistant   Tried least: C. Decision: C

Names and the order in which they are listed are drawn for each scenario, so that no letter and no place is the best.

Dimensions: `K` arms, `T` rounds, `t` rounds played.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxdm.language.tokenizer import Messages
from jaxdm.validation import InvalidInput, choice, positive_integer

Feedback = Literal["chosen", "all"]
"""What a round tells: the reward of the arm that was chosen (bandits), or the losses of all (online learning)."""


History = Literal["totals", "rounds"]
"""Whether a prompt sums up what happened, or lists it round by round."""


Reasoning = Literal["free", "short", "none"]
"""How much is to be said before a decision."""


class Context(NamedTuple):
    """A story in which arms are something."""

    opening: str  # who decides, among `{count}` of what
    paid: str  # what an arm did when it was rewarded
    names: tuple[str, ...]  # that arms may have, single words


LETTERS = tuple("ABCDEFGH")


TRAINING: Mapping[str, Context] = {
    "buttons": Context(
        opening="You press one of {count} buttons.", paid="paid", names=("red", "blue", "green", "white", "black")
    ),
    "clinic": Context(opening="You run a clinic with {count} treatments.", paid="cured", names=LETTERS),
    "advertisements": Context(opening="You advertise with {count} pictures.", paid="sold", names=LETTERS),
    "routes": Context(
        opening="You drive to work on {count} roads.",
        paid="saved",
        names=("north", "south", "east", "west", "middle"),
    ),
}
"""Contexts to train in."""


HELD_OUT: Mapping[str, Context] = {
    "investments": Context(
        opening="You invest in {count} funds.", paid="gained", names=("oak", "pine", "elm", "ash", "birch")
    ),
    "fishing": Context(
        opening="You fish in {count} lakes.", paid="gave", names=("upper", "lower", "near", "far", "deep")
    ),
}
"""Contexts that fine-tuning never sees."""


ASK: Mapping[str, str] = {
    "free": 'Think about what you know and what you do not, then write "Decision: " and a name.',
    "short": 'Give a reason, then "Decision: " and a name.',
    "none": 'Write "Decision: " and a name, nothing else.',
}


class Scenario(NamedTuple):
    """How one instance is told."""

    context: Context
    names: tuple[str, ...]  # [K] of the arms
    order: tuple[int, ...]  # [K] in which they are listed
    rounds: int  # T
    feedback: Feedback = "chosen"
    history: History = "totals"
    reasoning: Reasoning = "short"


def scenario(
    rng: np.random.Generator,
    contexts: Sequence[Context],
    arms: int,
    rounds: int,
    feedback: Feedback = "chosen",
    history: History = "totals",
    reasoning: Reasoning = "short",
) -> Scenario:
    """A scenario with a context, names and an order of its own.

    Raises:
        ValueError: more arms than a context has names for, no context, or an unknown word.
    """
    positive_integer("rounds", rounds)
    for name, value, words in (
        ("feedback", feedback, ("chosen", "all")),
        ("history", history, ("totals", "rounds")),
        ("reasoning", reasoning, tuple(ASK)),
    ):
        choice(name, value, words)
    if not contexts:
        raise InvalidInput("contexts: none; expected at least one")
    context = contexts[int(rng.integers(len(contexts)))]
    positive_integer("arms", arms, at_most=len(context.names))
    return Scenario(
        context=context,
        names=tuple(str(name) for name in rng.permutation(context.names)[:arms]),
        order=tuple(int(arm) for arm in rng.permutation(arms)),
        rounds=rounds,
        feedback=feedback,
        history=history,
        reasoning=reasoning,
    )


def prompt(scenario: Scenario, arms: Sequence[int], seen: np.ndarray) -> Messages:
    """What is said before the next decision, one message of the user.

    Args:
        scenario: how it is told.
        arms: [t] that were chosen.
        seen: [t, K] rewards, or losses where all are told; NaN where nothing was seen.

    Raises:
        ValueError: histories that do not fit each other, or are over.
    """
    count, context = len(arms), scenario.context
    if np.shape(seen) != (count, len(scenario.names)) or count >= scenario.rounds:
        raise InvalidInput(f"seen: shape {np.shape(seen)}; expected [{count}, {len(scenario.names)}], before the end")
    goal = "to lose the least you can" if scenario.feedback == "all" else "for the most you can get"
    opening = (
        f"{context.opening.format(count=len(scenario.names))} Choose one in each of {scenario.rounds} rounds, {goal}."
    )
    tell = _totals if scenario.history == "totals" else _rounds
    ask = f"Round {count + 1} of {scenario.rounds}. {ASK[scenario.reasoning]}"
    return [{"role": "user", "content": "\n".join([opening, *tell(scenario, arms, seen), ask])}]


def _totals(scenario: Scenario, arms: Sequence[int], seen: np.ndarray) -> list[str]:
    count, total, paid = tried(seen), np.nansum(seen, axis=0), scenario.context.paid
    if scenario.feedback == "all":
        return [f"{scenario.names[arm]}: lost {total[arm]:.1f} so far." for arm in scenario.order]
    return [f"{scenario.names[arm]}: tried {count[arm]}, {paid} {total[arm]:g}." for arm in scenario.order]


def _rounds(scenario: Scenario, arms: Sequence[int], seen: np.ndarray) -> list[str]:
    lines = []
    for place, (arm, row) in enumerate(zip(arms, seen, strict=True), start=1):
        told = f"{scenario.context.paid} {row[arm]:g}"
        if scenario.feedback == "all":
            told = "losses " + ", ".join(f"{scenario.names[one]} {row[one]:.1f}" for one in scenario.order)
        lines.append(f"Round {place}: {scenario.names[arm]}, {told}.")
    return lines


def tried(seen: np.ndarray) -> np.ndarray:
    """How often each arm was seen, [K]."""
    return np.sum(~np.isnan(seen), axis=0)


Fault = Literal["", "cut off", "no decision", "several decisions", "unknown name", "wrong form"]
"""Why a reply is no decision; nothing where it is one."""


class Parsed(NamedTuple):
    """What a reply decides."""

    arm: int | None
    fault: Fault


STRICT = re.compile(r"Decision: (\w+)\.?\Z")


LENIENT = re.compile(r"\bdecision\b(?:\s+is)?[\s:*=\"'`_-]*(\w+)", re.IGNORECASE)


def parse_strictly(scenario: Scenario, text: str, finished: bool = True) -> Parsed:
    """A reply that says `Decision: NAME` once, as its last words.

    Args:
        scenario: whose names count.
        text: of the reply.
        finished: False where a limit cut it off: what stands there then may be half of something.
    """
    count = text.count("Decision:")
    if not finished:
        return Parsed(arm=None, fault="cut off")
    if count != 1:
        return Parsed(arm=None, fault="several decisions" if count else "no decision")
    found = STRICT.search(text.rstrip())
    if found is None:
        return Parsed(arm=None, fault="wrong form")
    return _named(scenario, found[1], scenario.names)


def parse_leniently(scenario: Scenario, text: str, finished: bool = True) -> Parsed:
    """The name behind the last "decision" of a reply, whatever its case, its signs and what follows.

    A name elsewhere in the reply is none: it is what the reply thinks about.
    """
    if not finished:
        return Parsed(arm=None, fault="cut off")
    found = LENIENT.findall(text)
    if not found:
        return Parsed(arm=None, fault="no decision")
    return _named(scenario, found[-1].lower(), tuple(name.lower() for name in scenario.names))


def _named(scenario: Scenario, word: str, names: tuple[str, ...]) -> Parsed:
    return Parsed(arm=names.index(word), fault="") if word in names else Parsed(arm=None, fault="unknown name")
