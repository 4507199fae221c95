"""What an experiment found, as rows of the claims table; an empirical statement holds here, or differs.

Dimensions: `N` training seeds, the unit of every interval.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.sft_study import Config
from jaxdm.statistics import Interval, mean_interval


def below(id: str, source: str, statement: str, values: Any, target: float, command: str) -> dict[str, Any]:
    """Holds when the whole interval of the mean lies at or below the target.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence that names what is measured.
        values: [N] one number per seed.
        target: largest acceptable number.
        command: what runs it again.

    Returns:
        A record for `storage.write_claims`.
    """
    interval = mean_interval(values)
    return _row(id, source, statement, interval, f"<= {target:g}", bool(interval.high <= target), command)


def ordered(id: str, source: str, statement: str, groups: dict[str, Any], command: str) -> dict[str, Any]:
    """Holds when the intervals of the groups, in the order given, follow each other without touching.

    The number shown is the smallest distance between neighbouring intervals, and its interval that of the pair's
    difference, seed by seed.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence.
        groups: name to [N], from the group claimed smallest to the one claimed largest.
        command: what runs it again.
    """
    values = list(groups.values())
    pairs = list(itertools.pairwise(values))
    distances = [float(mean_interval(high).low - mean_interval(low).high) for low, high in pairs]
    closest = int(np.argmin(distances))
    difference = mean_interval(np.asarray(pairs[closest][1]) - np.asarray(pairs[closest][0]))
    shown = Interval(estimate=np.asarray(distances[closest]), low=difference.low, high=difference.high)
    return _row(id, source, statement, shown, "> 0 between intervals", distances[closest] > 0, command)


def sft(config: Config, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the fine-tuning study, at the number of demonstrations it was trained with."""
    column = config.demonstrations.index(config.supports)
    gap = dict(zip(metrics["methods"], metrics["gap"][:, column], strict=True))
    shown = f"with {config.supports} demonstrations, {config.side**2} states, horizon {config.horizon}"
    effort = f"{config.pretrain_steps} + {config.sft_steps} gradient steps"
    seconds = float(metrics["seconds_pretrain"] + metrics["seconds_sft"])
    command = f"python -m experiments.sft {config.name}"
    paper = "paper 1, abstract (its sizes are not known; these are ours)"
    order = {name: gap[name] for name in ("SFT", "ICL-only", "random")}
    half = f"SFT leaves at most half of ICL-only's optimality gap, {shown} ({effort}, {seconds:.0f} s for all seeds)"
    return [
        ordered("SFT-order", paper, f"Optimality gap: SFT < ICL-only < random, {shown}", order, command),
        below("SFT-half", "ours, after paper 1", half, gap["SFT"] / gap["ICL-only"], 0.5, command),
        below(
            "SFT-vote",
            "ours",
            f"SFT's gap over that of the demonstrations' vote, {shown}: below 1 it does more than copy",
            gap["SFT"] / gap["demonstration vote"],
            1.0,
            command,
        ),
    ]


def _row(
    id: str, source: str, statement: str, interval: Interval, target: str, holds: bool, command: str
) -> dict[str, Any]:
    return {
        "id": id,
        "source": source,
        "statement": statement,
        "measured": float(interval.estimate),
        "low": float(interval.low),
        "high": float(interval.high),
        "target": target,
        "verdict": "holds" if holds else "differs",
        "refuted": None,
        "command": command,
    }
