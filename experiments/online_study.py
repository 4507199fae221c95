"""Sizes of the online-learning study: `quick` for two CPU cores, `paper` for a GPU, `toy` for trying the path."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the study; every default is the quick preset's."""

    name: str = "quick"
    """Of the preset, for the commands in the report."""
    dimension: int = 4
    """Arms, and coordinates on the ball."""
    length: int = 256
    """Rounds of the regret curves."""
    seeds: int = 5
    """The unit of every interval, at least two."""
    runs: int = 16
    """Sequences of each law and seed."""
    horizons: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Rounds of the attacked games, at least three."""
    restarts: int = 16
    """Starts of an attack, for each seed and number of rounds."""
    attack_steps: int = 100
    """Gradient steps from each start."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        name="paper",
        length=4096,
        seeds=10,
        runs=256,
        horizons=(16, 32, 64, 128, 256, 512, 1024),
        restarts=256,
        attack_steps=500,
    ),
    "toy": Config(name="toy", length=16, seeds=2, runs=2, horizons=(4, 8, 16), restarts=2, attack_steps=3),
}
