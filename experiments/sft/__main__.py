"""Supervised fine-tuning on expert-labelled trajectories: MDPs, POMDPs, and POMDPs with several models.

Figures: `sft_gap` (methods against demonstrations), `sft_gain`, `sft_axes`, `sft_labels`, `sft_imitation`,
`sft_learnt`, `sft_curves`.
Commands: `python -m experiments.sft full` (the evidence), `... quick` (a preview), `... paper` (a GPU); with
`--world tiger` (or maintenance, treatment, a .POMDP or .MDP file) the tasks are the worlds near that one; `... quick
--help` lists every size.
Cost: see `experiments/README.md`.
Expectation: in every setting SFT < ICL-only < random; how far SFT stays from who knows the family is shown beside.

Tasks are rooms with a hidden goal, a slippery floor and unlabelled controls; in one of two modes, seen or hidden, every
control does the opposite. Identities (goal and controls) of held-out tasks were not trained on. One network for each
training seed is pretrained on unlabelled behaviour in many families; from it start SFT on a fixed set of sequences with
the oracle's labels, DPT and algorithm distillation. Primary rows are named in `primary.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import xarray as xr

from experiments import cli, rooms
from experiments.fields import at_least, check, switch, word
from experiments.fields import each as every_one
from experiments.sft import axes, claims, imitation, methods, probe, stages, sweep
from experiments.sft.config import PRESETS, RULES, AxisPoints, SFTConfig, check_division
from experiments.sft.methods import Judge, make_methods, of_seed
from experiments.sft.primary import PRIMARY
from experiments.sft.stages import Sequences, Stages, Trained, loss_curve, runner, still_falling
from experiments.sft.tasks import Domain, held_out, particles, room_domain
from experiments.sft.worlds import study_world
from experiments.streams import Use, stream
from experiments.sweep import command
from jaxdm.analysis import storage
from jaxdm.analysis.claims import ranked, write_claims
from jaxdm.analysis.storage import named
from jaxdm.models.transformer import network
from jaxdm.sft.data import Kind
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, number_in, positive_number, probability

AMBIGUOUS_ROOMS = 216
"""Rooms over which the cost of ambiguity is measured: each identity of side 3 once."""


class Measured(NamedTuple):
    """What a setting leaves: metrics by name, training curves by stage, and what later stages start from."""

    metrics: dict[str, xr.DataArray]
    curves: dict[str, Trained]
    domain: Domain
    labelled: Sequences
    weights: dict[str, Tree]


def validate(config: SFTConfig) -> None:
    """Check every field, also those of settings that are not run.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(
        config,
        settings=every_one(word(get_args(Kind))),
        axis_setting=word(get_args(Kind)),
        world=text_or_none,
        data=text_or_none,
        fresh=switch,
        demonstrations=every_one(at_least(0)),
        concentration=positive_number,
        scratch_rate=positive_number,
        axes=points,
        **dict.fromkeys(("world_horizon", "particles", "axis_steps", "imitation_steps"), at_least(1)),
        **RULES,
    )
    if config.supports not in config.demonstrations:
        wanted = f"the training number {config.supports} among them"
        raise InvalidInput(f"demonstrations: {config.demonstrations}; expected {wanted}")
    check_division(config, (config.horizon, *config.axes.horizon) if config.world is None else ())


def text_or_none(name: str, value: str | None) -> None:
    """A name or a path, or nothing."""
    if value is not None and not (isinstance(value, str) and value):
        raise InvalidInput(f"{name}: {value!r}; expected a name or a path")


def points(name: str, value: AxisPoints) -> None:
    """The points of every axis; more labels or tasks than there are stand for all of them."""
    try:
        check(
            value,
            cue_accuracy=every_one(lambda name, x: number_in(name, x, 0.5, 1)),
            attitude=every_one(probability),
            slip=every_one(probability),
            **dict.fromkeys(("horizon", "models", "labels", "tasks", "steps"), every_one(at_least(1))),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{name}.{error}") from error


def main(config: SFTConfig, command: str) -> Path:
    """Every setting, in one result; returns its folder.

    Args:
        config: sizes.
        command: what was typed, stored with the results.

    Raises:
        InvalidInput: a field out of range.
        ValueError: a checkpoint of another run.
    """
    validate(config)
    if config.world is not None:
        return study_world(config, command)
    play = (config.visit_exploration, config.behaviour_scale)
    spaces = rooms.setting("mdp", config.side, config.horizon, *play).spaces
    shared = Stages(
        runner=runner(config.seeds, config.workers, config.results, config),
        network=network(config.network, spaces.features, spaces.outputs),
        spaces=spaces,
        **{name: getattr(config, name) for name in stages.COPIED},
    )

    def domain(kind: Kind, horizon: int) -> Domain:
        return room_domain(kind, config.side, horizon, play, config.seed, config.train_share, config.train_tasks)

    def judge(where: Domain, most: int, held: Sequence[Any]) -> Judge:
        return Judge(
            methods=make_methods(where.setting, shared.network, most, config.episodes),
            held_out=held,
            keys=stages.keys(config.seed, config.seeds, Use.SFT_TEST),
            workers=config.workers,
        )

    def held_out_of(where: Domain, **options: Any) -> list[Any]:
        return held_out(where, config.seed, config.seeds, config.test_tasks, config.workers, **options)

    cost, error = rooms.cost_of_ambiguity(
        stream(config.seed, Use.SFT_AMBIGUITY), config.side, config.horizon, config.axes.models, AMBIGUOUS_ROOMS
    )
    metrics: dict[str, xr.DataArray] = {
        "value_by_models": named(np.stack([cost, error]), statistic=["mean", "error"], models=config.axes.models)
    }
    domains: dict[tuple[Kind, int], Domain] = {
        (kind, config.horizon): domain(kind, config.horizon) for kind in config.settings
    }
    domains |= {
        (config.axis_setting, horizon): domain(config.axis_setting, horizon)
        for horizon in (*config.axes.horizon, config.horizon)
        if (config.axis_setting, horizon) not in domains
    }
    untrained = stages.initial_weights(shared)
    base = stages.pretrain(
        shared,
        untrained,
        pretraining_sources(domains, config.pretrain_items, config.pretrain_tokens, config.room_share),
        rate=config.pretrain_rate,
        steps=config.pretrain_steps,
    )
    curves = {"pretraining": base}

    def setting(kind: Kind) -> Measured:
        where = domains[kind, config.horizon]
        labelled = stages.gathered(
            shared, f"{kind} SFT", where.setting, where.pool, "SFT", config.supports, config.items
        )
        trained = train_methods(shared, kind, where, labelled, untrained, base.params)
        weights = {name: each.params for name, each in trained.items()} | {"ICL-only": base.params}
        known = particles(where, stream(config.seed, Use.SFT_PARTICLES, kind), config.particles)
        new = judge(where, max(config.demonstrations), held_out_of(where))
        found = methods.evaluate_methods(new, weights, known, config.demonstrations, config.supports)
        seen = new._replace(held_out=held_out_of(where, seen=True))
        followed = [name for name in found["gap"].agent.values if name not in methods.SHOWN]
        gaps = methods.gaps(seen, weights, followed, config.supports, known)
        found["gap_seen"] = named(gaps, agent=followed, seed=range(config.seeds))

        def along(ranges: rooms.TaskRanges) -> np.ndarray:
            there = new._replace(held_out=held_out_of(where, ranges=ranges))
            return methods.gaps(there, weights, axes.FOLLOWED, config.supports, known)

        found |= axes.sweep(axes.task_axes(config.axes, kind, where.ranges), along)
        return Measured(metrics=found, curves=trained, domain=where, labelled=labelled, weights=weights)

    found = {kind: setting(kind) for kind in config.settings}
    metrics |= joined({kind: each.metrics for kind, each in found.items()})
    curves |= {f"{kind} {name}": each for kind, there in found.items() for name, each in there.curves.items()}
    if config.axis_setting in found:
        here = found[config.axis_setting]
        new = judge(here.domain, max(config.demonstrations), held_out_of(here.domain))
        metrics |= retrained(shared, config.axes, here, new, untrained, base.params)
        items = min(config.items, max(config.axes.labels))
        by_horizon = {steps: each for (kind, steps), each in domains.items() if kind == config.axis_setting}
        metrics |= horizons(
            shared, config.axes.horizon, config.horizon, items, by_horizon, judge, held_out_of, base.params
        )
        metrics |= imitated(shared, items, here, new.held_out, base.params)
        if config.axis_setting != "mdp":
            probed = {"SFT": here.weights["SFT"], "ICL-only": base.params, "untrained": untrained}
            key = stream(config.seed, Use.SFT_PROBE)
            metrics |= probe.probe(config.network, here.domain.setting, new.held_out, probed, key, config.supports)
    for name, each in curves.items():
        step, curve = loss_curve(each.losses)
        metrics[f"curve {name}"] = named(curve, seed=range(config.seeds), step=step)
        metrics[f"seconds {name}"] = named(each.seconds)
        metrics[f"falling {name}"] = named(still_falling(each.losses), seed=range(config.seeds))
    path = storage.write_result(config.results, "sft", config, metrics, command)
    rows = claims.claims(metrics, config.supports)
    # A few seeds, or a part of the study, are a preview; so is whatever was changed on the command line.
    whole = config == replace(PRESETS["full"], seed=config.seed, results=config.results, workers=config.workers)
    write_claims(path, ranked(rows, PRIMARY if whole else (), preview=not whole), command)
    return path


def pretraining_sources(
    domains: Mapping[tuple[Kind, int], Domain], count: int, tokens: int, room_share: float
) -> list[stages.Source]:
    """What the base is pretrained on: other families at every horizon, and training rooms of every domain."""
    horizons = sorted({horizon for _, horizon in domains})
    spaces = next(iter(domains.values())).setting.spaces
    own = round(room_share * count / len(domains))
    rest = round((count - own * len(domains)) / len(horizons))
    others = [stages.other_families(spaces, horizon, tokens, rest) for horizon in horizons]
    return others + [stages.own_family(where.setting, where.pool, tokens, own) for where in domains.values()]


def train_methods(
    shared: Stages,
    kind: Kind,
    where: Domain,
    labelled: Sequences,
    untrained: Tree,
    base: Tree,
) -> dict[str, Trained]:
    """SFT, the same from random weights, and its rivals, all for the same number of steps."""
    sizes: Any = {"rate": shared.rate, "steps": shared.sft_steps}
    slow: Any = sizes | {"rate": shared.scratch_rate}
    if shared.data is not None:
        labelled = stages.read_file(shared.data, shared.spaces)
    if shared.fresh:
        sft = stages.tune_on_fresh(shared, f"{kind} SFT", base, where.setting, where.pool, "SFT", **sizes)
        scratch = stages.tune_on_fresh(shared, f"{kind} scratch", untrained, where.setting, where.pool, "SFT", **slow)
    else:
        sft = stages.tune(shared, f"{kind} SFT", base, labelled, **sizes)
        scratch = stages.tune(shared, f"{kind} scratch", untrained, labelled, **slow)
    trained = {"SFT": sft, "SFT from scratch": scratch}
    for name in methods.SHOWN:
        told = stages.gathered(shared, f"{kind} {name}", where.setting, where.pool, name, shared.supports, shared.items)
        trained[name] = stages.tune(shared, f"{kind} {name}", base, told, **sizes)
    return trained


def retrained(
    shared: Stages, points: AxisPoints, here: Measured, new: Judge, untrained: Tree, base: Tree
) -> dict[str, xr.DataArray]:
    """Along labelled sequences and gradient steps, pretrained and from scratch; along the number of training tasks."""
    starts = {"SFT": (base, shared.rate), "SFT from scratch": (untrained, shared.scratch_rate)}

    def gap(name: str, params: Tree) -> np.ndarray:
        return np.asarray(methods.evaluate(new, name, of_seed(params), shared.supports).gap)

    def both(axis: str, point: int, steps: int, count: int) -> np.ndarray:
        rows = []
        for name, (params, rate) in starts.items():
            sizes: Any = {"rate": rate, "steps": steps, "count": count}
            tuned = stages.tune(shared, f"{axis} {point} {name}", params, here.labelled, **sizes)
            rows.append(gap(name, tuned.params))
        return np.stack(rows)

    labels = axes.within(points.labels, shared.items)
    enough = [min(shared.axis_steps, max(1, stages.LABELS_PER_STEP * count)) for count in labels]
    by_labels = [both("labels", n, steps, n) for n, steps in zip(labels, enough, strict=True)]
    by_steps = [both("steps", steps, steps, shared.items) for steps in points.steps]
    pool, by_tasks = here.domain.pool, []
    few = axes.within(points.tasks, here.domain.pool.bound.shape[0])
    for count in few:
        few_tasks, items = axes.first_tasks(pool, count), min(shared.items, max(labels))
        setting = here.domain.setting
        told = stages.gathered(shared, f"tasks {count}", setting, few_tasks, "SFT", shared.supports, items)
        sizes: Any = {"rate": shared.rate, "steps": shared.axis_steps}
        by_tasks.append(gap("SFT", stages.tune(shared, f"tasks {count}", base, told, **sizes).params)[None])
    return {
        "axis_labels": axes.along("labels", labels, list(starts), by_labels),
        "axis_steps": axes.along("steps", points.steps, list(starts), by_steps),
        "axis_tasks": axes.along("tasks", few, ["SFT"], by_tasks),
    }


def horizons(
    shared: Stages,
    steps: Sequence[int],
    trained_horizon: int,
    items: int,
    domains: Mapping[int, Domain],
    judge: Callable[..., Judge],
    held_out_of: Callable[..., list[Any]],
    base: Tree,
) -> dict[str, xr.DataArray]:
    """Along the horizon, with a network fine-tuned for each, at equal numbers of episodes shown and of steps shown."""
    names = ("SFT", "ICL-only", "demonstration vote")
    found, done = {}, {}
    for equal, shown in axes.shown_episodes(steps, trained_horizon, shared.supports).items():
        for horizon, episodes in zip(steps, shown, strict=True):
            if (horizon, episodes) in done:
                continue
            where = domains[horizon]
            name = f"horizon {horizon} shown {episodes}"
            told = stages.gathered(shared, name, where.setting, where.pool, "SFT", episodes, items)
            tuned = stages.tune(shared, name, base, told, rate=shared.rate, steps=shared.axis_steps)
            there = judge(where, max(episodes, 1), held_out_of(where))
            done[horizon, episodes] = methods.gaps(there, {"SFT": tuned.params, "ICL-only": base}, names, episodes)
        gaps = [done[at] for at in zip(steps, shown, strict=True)]
        found[f"axis_horizon_{equal}"] = axes.along("horizon", steps, names, gaps)
    return found


def imitated(shared: Stages, items: int, here: Measured, held: Sequence[Any], base: Tree) -> dict[str, xr.DataArray]:
    """Networks fine-tuned on each expert, and whose policy they cover."""

    def tune(taught: Any, name: str) -> Tree:
        setting = here.domain.setting
        told = stages.gathered(shared, f"expert {name}", setting, taught, "SFT", shared.supports, items)
        sizes: Any = {"rate": shared.rate, "steps": shared.imitation_steps}
        return stages.tune(shared, f"expert {name}", base, told, **sizes).params

    key = stream(shared.seed, Use.SFT_IMITATION)
    pool, setting = here.domain.pool, here.domain.setting
    return imitation.overlaps(shared.network, setting, pool, held, key, shared.supports, tune)


def joined(found: Mapping[str, Mapping[str, xr.DataArray]]) -> dict[str, xr.DataArray]:
    """The metrics of all settings: what all of them have, with a first axis `setting`; the others as they are."""
    metrics: dict[str, xr.DataArray] = {}
    for name in dict.fromkeys(name for each in found.values() for name in each):
        having = [kind for kind, each in found.items() if name in each]
        if name.startswith("axis_"):
            metrics[name] = found[having[0]][name]
            continue
        first = found[having[0]][name]
        coordinates: dict[str, Any] = {str(dim): first.coords[dim].values for dim in first.dims}
        metrics[name] = named(np.stack([found[kind][name].values for kind in having]), setting=having, **coordinates)
    return metrics


SWEEP = command(sweep.SWEEPS, sweep.validate, sweep.run, sweep.__doc__)


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__, validate, {"sweep": SWEEP})
