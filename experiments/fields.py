"""What a study's fields may be: every field has a rule, whether or not the part that uses it is run.

check(config, seeds=at_least(2), rate=positive_number, horizons=each(at_least(1), count=3), network=shape, ...)
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxdm.analysis import storage
from jaxdm.models import transformer
from jaxdm.models.transformer import TransformerConfig
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.validation import InvalidInput, choice, integer, shown

Rule = Callable[[str, Any], object]
"""`(field, value)`, which raises `InvalidInput` that names the field where the value is not to be used."""


LARGEST_SEED = 2**32 - 1
"""What the key of a random stream holds."""


def check(values: Any, **rules: Rule) -> None:
    """Check every field of a configuration by its rule; `seed` and `results` have theirs here.

    Raises:
        InvalidInput: the first value that its rule refuses.
        TypeError: a field without a rule, or a rule without a field: a fault of the study.
    """
    common: Mapping[str, Rule] = {"seed": lambda name, value: integer(name, value, 0, LARGEST_SEED), "results": folder}
    whole = {name: rule for name, rule in common.items() if hasattr(values, name)} | rules
    names = {field.name for field in dataclasses.fields(values)}
    if names != set(whole):
        raise TypeError(f"rules of {type(values).__name__} differ from its fields: {sorted(names ^ set(whole))}")
    for name, rule in whole.items():
        rule(name, getattr(values, name))


def at_least(least: int) -> Rule:
    """An integer, no less."""

    def rule(name: str, value: Any) -> None:
        integer(name, value, least)

    return rule


def each(rule: Rule, count: int = 1) -> Rule:
    """A tuple of at least so many values, all different, each by the rule."""

    def of_each(name: str, value: Any) -> None:
        if not isinstance(value, tuple) or len(value) < count:
            raise InvalidInput(f"{name}: {shown(value)}; expected at least {count} of them")
        for one in value:
            rule(name, one)
        if len(set(value)) < len(value):
            raise InvalidInput(f"{name}: {shown(value)}; expected each once")

    return of_each


def word(choices: Iterable[str]) -> Rule:
    """One of these words."""
    words = tuple(choices)

    def rule(name: str, value: Any) -> None:
        choice(name, value, words)

    return rule


def switch(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name}: {shown(value)}; expected True or False")


def folder(name: str, value: Any) -> None:
    """A folder, or a place where one can be made."""
    try:
        storage.check_folder(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from error


def shape(name: str, value: TransformerConfig) -> None:
    """A network's shape."""
    _within(name, transformer.validate, value)


def tuning(name: str, value: Distillation) -> None:
    """A configuration of iterative fine-tuning."""
    _within(name, distillation.validate, value)


def _within(name: str, check_part: Callable[[Any], None], part: Any) -> None:
    try:
        check_part(part)
    except InvalidInput as error:
        raise InvalidInput(f"{name}.{error}") from error
