"""Sweeps of regret-minimisation fine-tuning: regret against learning rate, decay, k, exploration noise and the rest.

Figure: `sweep_...`, regret against each swept field, every seed a point.
Command: `python -m experiments.rmft sweep --bandit.rate 1e-3 3e-3 --bandit.keep 2 4 8 --seeds 64`; `... sweep --help`
lists what can be swept.

One part of the study is swept: that of the swept fields, or `--part`. Bandits start from the base that struggles, all
others from random weights. A point is what the study does with that configuration and seed, to rounding.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments.fields import at_least, check, shape, tuning
from experiments.rmft.comparison import Measures, mean_over_runs, worlds
from experiments.rmft.config import PRESETS
from experiments.rmft.training import Setup, Subject, setup
from experiments.streams import Use, stream
from experiments.sweep import Grid, Swept, fit_points, map_points, programs, same_fields, shaped
from jaxdm.analysis import storage
from jaxdm.models.transformer import TransformerConfig
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import HYPERPARAMETERS, Distillation
from jaxdm.rmft.games import Rollout
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, choice, positive_number, probability

Part = Literal["bandit", "drift", "simplex", "ball"]


PRETRAINING = ("pretraining_steps", "pretraining_rate", "baseline_batch")


USED: dict[Part, tuple[str, ...]] = {
    "bandit": ("bandit", "bandit_network", "train_length", "length", *PRETRAINING),
    "drift": ("drift", "drift_network", "drift_chance", "train_length", "length"),
    "simplex": ("simplex", "online_network", "online_length"),
    "ball": ("ball", "online_network", "online_length"),
}
"""The fields that each part uses, beside seeds and runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMFTSweep:
    """What a sweep of the study can change; the meaning of a field is that of the study's."""

    part: Part | None = None
    """What is swept: bandit, drift, simplex or ball; that of the swept fields when left out."""
    seeds: int
    """Training seeds of every combination."""
    runs: int
    """Evaluation episodes for each distribution and seed."""
    bandit: Distillation
    """Fine-tuning on stationary bandits."""
    bandit_network: TransformerConfig
    pretraining_steps: int
    """Gradient steps of the base that struggles."""
    pretraining_rate: float
    """Their peak learning rate."""
    baseline_batch: int
    """Rollouts of their gradient step."""
    train_length: int
    """Rounds of a bandit in training."""
    length: int
    """Rounds of a bandit in evaluation."""
    drift: Distillation
    """Fine-tuning on switching bandits."""
    drift_network: TransformerConfig
    drift_chance: float
    """Chance of a switch before each round."""
    simplex: Distillation
    """Fine-tuning on losses in [0, 1]."""
    ball: Distillation
    """Fine-tuning on losses in the unit ball."""
    online_network: TransformerConfig
    online_length: int
    """Rounds of online learning."""
    seed: int
    """Of all random streams."""
    results: Path
    """Where results go."""


SWEEPS = {name: same_fields(RMFTSweep, study) for name, study in PRESETS.items()}
"""One for each preset."""


def validate(values: RMFTSweep) -> None:
    """Check every field.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(
        values,
        part=lambda name, value: value is None or choice(name, value, get_args(Part)),
        drift_chance=probability,
        pretraining_rate=positive_number,
        **dict.fromkeys(("bandit", "drift", "simplex", "ball"), tuning),
        **dict.fromkeys(("bandit_network", "drift_network", "online_network"), shape),
        **dict.fromkeys(("seeds", "train_length"), at_least(2)),
        **dict.fromkeys(("runs", "online_length"), at_least(4)),
        **dict.fromkeys(("pretraining_steps", "baseline_batch"), at_least(1)),
        length=at_least(6),
    )
    for part in ("simplex", "ball"):
        run: Distillation = getattr(values, part)
        if run.entropy > 0 or run.clip > 0:
            raise InvalidInput(f"{part}: entropy {run.entropy}, clip {run.clip}; expected 0 where no arm is drawn")


def part_of(points: Grid) -> Part:
    """The part that is swept.

    Raises:
        InvalidInput: a field is swept that this part does not use.
    """
    given: Part | None = points.configs[0].part
    owners: list[Part] = [part for name in points.axes for part in USED if name.partition(".")[0] == part]
    using: list[Part] = [part for part in USED if all(name.partition(".")[0] in USED[part] for name in points.axes)]
    found: list[Part] = [given] if given is not None else [*owners, *using]
    part: Part = found[0] if found else "bandit"
    for name in points.axes:
        if name.partition(".")[0] not in USED[part]:
            raise InvalidInput(f"{name}: swept with part {part}; expected fields of {', '.join(USED[part])}")
    return part


def structure(part: Part, values: RMFTSweep) -> RMFTSweep:
    """The same but for what is data: equal for two configurations if they are one program."""
    run: Distillation = getattr(values, part)
    plain = {name: getattr(Distillation(), name) for name in HYPERPARAMETERS} | {"keep": 1, "clip": float(run.clip > 0)}
    return dataclasses.replace(values, **{part: dataclasses.replace(run, **plain)})


def run(points: Grid, subject: Callable[[Part, Setup, Any], Subject]) -> Swept:
    """Train every point, and judge it on every distribution of the part.

    Args:
        points: of `RMFTSweep`.
        subject: `(part, setup, values) -> what is trained, and on what it is evaluated`.

    Returns:
        `regret` [..., distribution, seed] at the last round, and for bandits the measures of `comparison.explored`,
        with `suffix_failure` at half time; `initial_regret` before any fine-tuning; and `training_regret`
        [..., seed, training_round], the regret of the rollouts.
    """
    part, first = part_of(points), points.configs[0]
    count, seeds = len(points.configs), first.seeds
    rows: list[Any] = [None] * count
    distributions: tuple[str, ...] = ()
    for shared_by, members in programs(points, lambda values: structure(part, values)).items():
        shared = setup(first.seed, seeds, first.results, ["sweep", part, dataclasses.replace(shared_by, part=part)])
        what = subject(part, shared, shared_by)
        distributions = what.distributions
        runs: list[Distillation] = [getattr(points.configs[index], part) for index in members]
        found = trained(shared, part, runs, what)
        for place, index in enumerate(members):
            rows[index] = jax.tree.map(lambda leaf, place=place: leaf[place], found)
    seed = range(seeds)
    metrics: dict[str, Any] = {
        name: shaped([row[0][name] for row in rows], points, distribution=distributions, seed=seed)
        for name in rows[0][0]
    }
    length = min(row[1].shape[-1] for row in rows)  # where the number of rounds is swept, the last ones of each
    curves = [row[1][:, -length:] for row in rows]
    metrics["training_regret"] = shaped(curves, points, seed=seed, training_round=np.arange(1, length + 1))
    metrics["seconds"] = shaped([row[2] for row in rows], points)
    return Swept(subject=f"rmft {part}", measure="regret", metrics=metrics)


def trained(shared: Setup, part: Part, runs: list[Distillation], what: Subject) -> tuple[Measures, Any, Any]:
    """Points of one program: measures [W, Q, N], regret of the rollouts [W, N, rounds], and seconds [W]."""
    makers = [distillation.make_trainer(one, what.game, what.network) for one in runs]
    keys = jax.random.split(stream(shared.seed, Use.RMFT_TRAINING, part), shared.seeds)
    states = [jax.vmap(maker.init)(keys, what.initial) for maker in makers]
    fit = fit_points(
        f"rmft {part}",
        makers[0],
        jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states),
        (),
        runs[0].rounds,
        folder=shared.folder / part / storage.config_hash(runs),
        identity=[shared.identity, runs],
    )
    played = worlds(shared.seed, shared.seeds, what.runs).evaluation
    weights = jax.tree.map(lambda new, old: jnp.concatenate([new, old]), fit.state.params, what.initial)
    evaluated = map_points(f"evaluation of rmft {part}", judge(what), (weights, jnp.tile(played, (len(runs) + 1, 1))))
    measures = {
        name: np.moveaxis(value.reshape(len(runs) + 1, shared.seeds, -1), 1, 2) for name, value in evaluated.items()
    }
    after = {name: value[:-1] for name, value in measures.items()}
    after["initial_regret"] = np.broadcast_to(measures["regret"][-1:], after["regret"].shape)
    losses = fit.losses.reshape(len(runs), shared.seeds, -1)
    return after, losses, np.full(len(runs), fit.seconds / len(runs))


def judge(what: Subject) -> Callable[[Tree, Tree], Measures]:
    """`((weights, keys [R]), ()) -> measures [Q]` at the end of an episode."""

    def at_the_end(played: Rollout) -> Measures:
        found: Mapping[str, jax.Array] = what.measure(played)
        half = played.cumulative_regret.shape[0] // 2
        return {
            name: value if value.ndim == 0 else value[half if name == "suffix_failure" else -1]
            for name, value in found.items()
        }

    def agent_params(weights: Tree, instance: Tree) -> Tree:
        return what.evaluated_on.deploy(weights, jnp.zeros(()), instance)

    mean = mean_over_runs(what.evaluated_on, what.evaluated_on.player(what.network), agent_params, at_the_end)

    def of_point(point: Tree, _: Tree) -> Measures:
        weights, keys = point
        return jax.lax.map(lambda index: mean(index, keys, weights), jnp.arange(len(what.distributions)))

    return of_point
