"""Supervised fine-tuning on oracle-labelled trajectories: MDPs, hidden moods, and models that disagree about them.

Figures: `sft_gap` (methods against demonstrations), `sft_axes`, `sft_imitation`, `sft_learnt`, `sft_curves`.
Commands: `python -m experiments.sft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: 11 minutes (quick) on two cores; the paper preset, meant for one GPU, has not been timed.
Expectation: in every setting SFT < ICL-only < random with intervals apart, and SFT at most half of ICL-only.

Tasks are rooms with a hidden goal, a slippery floor and unlabelled controls; where moods are hidden, half of the time
every control does the opposite. Demonstrations visit part of a room, in part of its moods, so that copying them (their
vote) stays far from optimal, and so does planning on what they count.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import cli
from experiments.progress import bar
from experiments.sft import axes, claims, probe
from experiments.sft.config import PRESETS, Config
from experiments.sft.imitation import matrix
from experiments.sft.methods import NETWORKS, arena, compare
from experiments.sft.tasks import Study, key_of, prepare
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.sft import data, losses
from jaxdm.sft.data import Kind
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

EVERY = 50
"""Steps of a chunk, a divisor of every stage's, so that a stage is one compiled program."""


def main(config: Config, command: str) -> Path:
    """Every setting, a result each; returns the folder that holds them.

    Raises:
        InvalidInput: a field out of range, or a checkpoint of another run.
    """
    cli.at_once(functools.partial(run, config, command), config.settings, config.workers)
    return config.results / "sft"


def run(config: Config, command: str, kind: Kind) -> Path:
    """Pretrain, fine-tune, compare and store, in one setting."""
    study = prepare(config, kind)
    fresh = jax.jit(jax.vmap(study.network.init))(jax.random.split(key_of(config, "initial weights"), config.seeds))
    imitation = imitator(study, config.sft_steps)
    short = imitator(study, config.further_steps)._replace(run=imitation.run)  # how long it takes is data
    pretrained = train(study, pretrainer(study), "pretrain", fresh, config.pretrain_steps)
    start = pretrained.state.params
    tuned = train(study, imitation, "sft", start, config.sft_steps)
    scratch = train(study, imitation, "scratch", fresh, config.sft_steps)
    dpt = train(study, imitator(study, config.dpt_steps, data.dpt_prompt), "dpt", start, config.dpt_steps)
    trained = (tuned.state.params, scratch.state.params, dpt.state.params, start)
    weights: dict[str, Tree] = dict(zip(NETWORKS, trained, strict=True))
    usual = arena(config, study.setting, study.network, max(config.demonstrations))
    metrics = compare(study, usual, weights) | axes.sweep(study, usual, weights)

    def again(pool: Task, name: object) -> Tree:
        return train(study._replace(pool=pool), short, f"on {name}", start, config.further_steps).state.params

    metrics |= axes.fewer_tasks(study, usual, again)
    metrics |= matrix(study, again)
    metrics |= probe.probe(study, {"SFT": tuned.state.params, "ICL-only": start, "untrained": fresh})
    for stage, fit in {"pretrain": pretrained, "sft": tuned, "scratch": scratch, "dpt": dpt}.items():
        steps, curve = windows(fit.losses)
        metrics |= {f"curve_{stage}": curve, f"curve_steps_{stage}": steps, f"seconds_{stage}": fit.seconds}
    path = storage.write_result(
        config.results, "sft", {"setting": kind, "config": config}, named_metrics(metrics), command
    )
    write_claims(path, claims.claims(config, kind, metrics), command)
    return path


def named_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same with names and coordinates of every axis, as stored."""
    compared = {"agent": metrics["methods"], "demonstrations": metrics["demonstrations"], "seed": None}
    places = {**compared, "observation": ("never demonstrated", "demonstrated")}
    teachers, seeds = metrics.get("teachers"), {"seed": None}
    named_axes: dict[str, dict[str, Any]] = {
        "methods": {"agent": None},
        "demonstrations": {"demonstrations": None},
        **dict.fromkeys(("gap", "gap_of_value", "slip"), compared),
        "agreed": {**compared, "step": None},
        **dict.fromkeys(("copied", "met"), places),
        "swapped": seeds,
        "teachers": {"taught_by": None},
        "imitation": {"taught_by": teachers, "shown": teachers, **seeds},
        "probed": {"network": None},
        "probe": {"network": metrics.get("probed"), **seeds},
    }
    for name, values in metrics.items():
        if name.startswith("axis_"):
            points = metrics[name.removesuffix("_gap")]
            along = {"agent": axes.SHOWN[: len(values)], "point": points, **seeds}
            named_axes[name] = along if name.endswith("_gap") else {"point": None}
        elif name.startswith("curve_steps_"):
            named_axes[name] = {"step": None}
        elif name.startswith("curve_"):
            named_axes[name] = {**seeds, "step": metrics[name.replace("curve_", "curve_steps_")]}
    return {name: storage.named(value, **named_axes.get(name, {})) for name, value in metrics.items()}


def pretrainer(study: Study) -> trainer.Trainer:
    """Predict everything about unlabelled behaviour."""
    config = study.config
    sizes = {"supports": config.supports, "batch": config.batch}
    behaviour = data.behaviour_prompt
    loss = losses.batch_loss(study.network, study.setting, behaviour, targets="all", **sizes)
    return trainer.make(loss, trainer.adamw(config.rate, config.pretrain_steps))


def imitator(study: Study, steps: int, prompt: data.Item = data.expert_prompt) -> trainer.Trainer:
    """Predict the teacher's actions."""
    config = study.config
    sizes = {"supports": config.supports, "batch": config.batch}
    loss = losses.batch_loss(study.network, study.setting, prompt, targets=config.targets, **sizes)
    return trainer.make(loss, trainer.adamw(config.rate, steps))


def train(study: Study, stage: trainer.Trainer, name: str, params: Tree, steps: int) -> trainer.Fit:
    """One stage for all seeds, with checkpoints beside the results."""
    config = study.config
    keys = jax.random.split(key_of(config, "training"), config.seeds)
    folder = config.results / "checkpoints" / "sft" / storage.config_hash(config) / study.kind / name.replace(" ", "_")
    with bar(f"sft {study.kind} {name}, {config.seeds} seeds", steps) as progress:
        state = jax.vmap(stage.init)(keys, params)
        identity = [config, study.kind, name]
        settled = {"every": EVERY, "folder": folder, "identity": identity}
        return trainer.fit(stage, state, study.pool, steps, progress=progress, **settled)


def windows(losses: np.ndarray, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Training losses averaged over windows of equal length: last steps [points], means [seeds, points]."""
    width = max(1, losses.shape[1] // points)
    count = losses.shape[1] // width
    means = losses[:, : count * width].reshape(len(losses), count, width).mean(axis=-1)
    return width * np.arange(1, count + 1), means


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
