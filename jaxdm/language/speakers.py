"""Players who say why: a rule, the sentence that gives it as a reason, and the decision that follows.

They speak the corpus that a small model is pretrained on, verbalise expert play, and name the kind of a rationale.

Dimensions: `K` arms, `t` rounds played.
"""

from collections.abc import Callable, Mapping

import numpy as np

from jaxdm.language.verbal import Scenario, tried
from jaxdm.validation import InvalidInput

Rule = Callable[[np.random.Generator, list[int], np.ndarray], int]
"""`(rng, arms chosen, gains [t, K]) -> arm`; gains are rewards, or losses turned round, NaN where nothing was seen."""


def _among(rng: np.random.Generator, good: np.ndarray) -> int:
    return int(rng.choice(np.flatnonzero(good)))


def best(rng: np.random.Generator, arms: list[int], gains: np.ndarray) -> int:
    """An arm of the largest mean reward so far, any where none was tried."""
    mean = means(gains)
    return _among(rng, mean == mean.max())


def least(rng: np.random.Generator, arms: list[int], gains: np.ndarray) -> int:
    """An arm that was tried least."""
    count = tried(gains)
    return _among(rng, count == count.min())


def most(rng: np.random.Generator, arms: list[int], gains: np.ndarray) -> int:
    """An arm that was tried most: habit."""
    count = tried(gains)
    return _among(rng, count == count.max())


def anything(rng: np.random.Generator, arms: list[int], gains: np.ndarray) -> int:
    """Any arm."""
    return int(rng.integers(gains.shape[1]))


RULES: Mapping[str, tuple[Rule, str]] = {
    "best": (best, "Best record: {}."),
    "least": (least, "Tried least: {}."),
    "most": (most, "My habit: {}."),
    "anything": (anything, "Just a pick: {}."),
}
"""By kind of rationale: the rule and its sentence, which names its kind first: who speaks it decides how to decide
before deciding."""


def means(gains: np.ndarray) -> np.ndarray:
    """Mean of what was gained by each arm, [K]; -inf where nothing was seen."""
    count = tried(gains)
    return np.where(count > 0, np.nansum(gains, axis=0) / np.maximum(count, 1), -np.inf)


def as_gains(scenario: Scenario, seen: np.ndarray) -> np.ndarray:
    """What was seen, as something to be maximised."""
    return -seen if scenario.feedback == "all" else seen


def speak(rng: np.random.Generator, scenario: Scenario, arms: list[int], seen: np.ndarray, kind: str) -> str:
    """The reply of a player of that kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in RULES:
        raise InvalidInput(f"kind: {kind!r}; expected one of {', '.join(RULES)}")
    rule, sentence = RULES[kind]
    name = scenario.names[rule(rng, arms, as_gains(scenario, seen))]
    return f"{sentence.format(name)} Decision: {name}"


def kind_of(text: str, scenario: Scenario) -> str:
    """The kind of rationale that a reply gives; "other" where it is none of these."""
    for kind, (_, sentence) in RULES.items():
        if any(text.startswith(sentence.format(name)) for name in scenario.names):
            return kind
    return "other"


def is_faithful(text: str, scenario: Scenario, arms: list[int], seen: np.ndarray) -> bool:
    """Whether what a reply gives as its reason is so: the arm that it calls best, least tried, or its habit, is."""
    kind = kind_of(text, scenario)
    named = [name for name in scenario.names if kind != "other" and text.startswith(RULES[kind][1].format(name))]
    if not named:
        return False
    arm, count, mean = scenario.names.index(named[0]), tried(seen), means(as_gains(scenario, seen))
    said = {
        "best": mean[arm] == mean.max(),
        "least": count[arm] == count.min(),
        "most": count[arm] == count.max(),
        "anything": True,
    }
    return bool(said[kind])
