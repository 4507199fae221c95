"""What the online-learning study found, as rows of the claims table."""

from collections.abc import Mapping
from typing import Any

EXPECTED = {"Hedge": (0.4, 0.6), "FTRL, ball": (0.4, 0.6), "follow the leader": (0.9, 1.1)}
"""Targets of the attacks, and where the exponent of the worst regret must lie."""


def claims(preset: str, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How the worst regret that attacks found grows with the number of rounds; holds when the whole interval fits.

    Args:
        preset: name of the configuration.
        metrics: as `experiments.online` stores them.

    Returns:
        Records for `storage.write_claims`.
    """
    fits = dict(zip(metrics["attack_learners"], metrics["attack_exponent"], strict=True))
    horizons = metrics["horizons"]
    rows = []
    for name, (least, most) in EXPECTED.items():
        estimate, low, high = (float(number) for number in fits[name])
        rows.append(
            {
                "id": f"online {name}",
                "source": "classical",
                "statement": f"worst regret of {name} found by attack grows as T^x, T = {horizons[0]}..{horizons[-1]}",
                "measured": estimate,
                "low": low,
                "high": high,
                "target": f"in [{least:g}, {most:g}]",
                "verdict": "holds" if least <= low and high <= most else "differs",
                "refuted": None,
                "command": f"python -m experiments.online {preset}",
            }
        )
    return rows
