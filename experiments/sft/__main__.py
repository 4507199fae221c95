"""Supervised fine-tuning on expert-labelled trajectories: MDPs, POMDPs, and POMDPs with several models.

Figures: `sft_gap` (methods against demonstrations), `sft_axes`, `sft_imitation`, `sft_learnt`, `sft_curves`.
Commands: `python -m experiments.sft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: 11 minutes (quick) on two cores; the paper preset, meant for one GPU, has not been timed.
Expectation: in every setting SFT < ICL-only < random with intervals apart, and SFT at most half of ICL-only.

Tasks are rooms with a hidden goal, a slippery floor and unlabelled controls; in hidden-mode rooms, half of the time
every control does the opposite. Demonstrations visit part of a room, in part of its modes, so that copying them (their
vote) stays far from optimal, and so does planning on what they count.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from experiments import cli, rooms
from experiments.fields import at_least, check, each, shape, word
from experiments.progress import bar
from experiments.rooms import TaskRanges
from experiments.sft import axes, claims, imitation, methods, probe
from experiments.sft.config import PRESETS, AxisPoints, SFTConfig
from experiments.sft.methods import NETWORKS
from experiments.sft.tasks import prepare
from experiments.sft.training import imitator, loss_curve, pretrainer
from experiments.streams import Use, stream
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.sft import data, tasks
from jaxdm.sft.data import Kind
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, nonnegative_number, number_in, positive_number, probability

EVERY = 50
"""Steps of a chunk, a divisor of every stage's, so that a stage is one compiled program."""


def validate(config: SFTConfig) -> None:
    """Check every field, also those of settings that are not run.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(
        config,
        settings=each(word(get_args(Kind))),
        workers=at_least(1),
        side=at_least(3),
        hidden_mode_side=at_least(3),
        horizon=at_least(1),
        supports=at_least(0),
        demonstrations=each(at_least(0)),
        train_tasks=at_least(1),
        test_tasks=at_least(1),
        episodes=at_least(1),
        seeds=at_least(2),
        pretrain_steps=at_least(1),
        sft_steps=at_least(1),
        dpt_steps=at_least(1),
        further_steps=at_least(1),
        rate=positive_number,
        batch=at_least(1),
        targets=word(("actions", "all")),
        visit_exploration=probability,
        behaviour_scale=nonnegative_number,
        axes=points,
        network=shape,
    )
    if config.supports not in config.demonstrations:
        wanted = f"the training number {config.supports} among them"
        raise InvalidInput(f"demonstrations: {config.demonstrations}; expected {wanted}")


def points(name: str, value: AxisPoints) -> None:
    """The points of every axis; larger pools than there are tasks stand for all tasks."""
    try:
        check(
            value,
            horizon=each(at_least(1)),
            cue_accuracy=each(lambda name, x: number_in(name, x, 0.5, 1)),
            models=each(at_least(1)),
            attitude=each(probability),
            slip=each(probability),
            extent=each(at_least(1)),
            pool=each(at_least(1)),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{name}.{error}") from error


def main(config: SFTConfig, command: str) -> Path:
    """Every setting, a result each; returns the folder that holds them.

    Args:
        config: sizes.
        command: what was typed, stored with the results.

    Raises:
        InvalidInput: a field out of range.
        ValueError: a checkpoint of another run.
    """
    validate(config)
    cli.at_once(functools.partial(study_setting, config, command), config.settings, config.workers)
    return config.results / "sft"


def study_setting(config: SFTConfig, command: str, kind: Kind) -> Path:
    """Pretrain, fine-tune, evaluate and store, in one setting."""
    study = prepare(config, kind)
    setting, network = study.setting, study.network
    checkpoints = config.results / "checkpoints" / "sft" / storage.config_hash(config) / kind
    sizes: Any = {"supports": config.supports, "batch": config.batch, "rate": config.rate}

    def keys(use: Use, *index: str) -> jax.Array:
        return jax.random.split(stream(config.seed, use, *index), config.seeds)

    def stage(maker: trainer.Trainer, name: str, params: Tree, steps: int, pool: Task = study.pool) -> trainer.Fit:
        phase = "pretraining" if name == "pretrain" else "fine-tuning"
        return train(
            maker,
            pool,
            params,
            keys(Use.SFT_TRAINING, phase),
            steps,
            folder=checkpoints / name.replace(" ", "_"),
            identity=[config, kind, name],
            title=f"sft {kind} {name}",
        )

    def imitate(steps: int, prompt: data.Item = data.expert_prompt) -> trainer.Trainer:
        return imitator(network, setting, prompt, targets=config.targets, steps=steps, **sizes)

    untrained = jax.jit(jax.vmap(network.init))(keys(Use.SFT_INITIAL_WEIGHTS))
    pretraining = pretrainer(network, setting, steps=config.pretrain_steps, **sizes)
    sft = imitate(config.sft_steps)
    further = imitate(config.further_steps)._replace(run=sft.run)  # how long it takes is data: one compiled program
    pretrained = stage(pretraining, "pretrain", untrained, config.pretrain_steps)
    start = pretrained.state.params
    tuned = stage(sft, "sft", start, config.sft_steps)
    scratch = stage(sft, "scratch", untrained, config.sft_steps)
    dpt = stage(imitate(config.dpt_steps, data.dpt_prompt), "dpt", start, config.dpt_steps)
    trained = (tuned.state.params, scratch.state.params, dpt.state.params, start)
    weights: dict[str, Tree] = dict(zip(NETWORKS, trained, strict=True))

    def tune_on(pool: Task, name: str) -> Tree:
        return stage(further, f"on {name}", start, config.further_steps, pool).state.params

    test_keys = keys(Use.SFT_TEST)
    most = max(config.demonstrations)
    programs = methods.make_methods(setting, network, test_keys, most, config.episodes)

    def sft_gap(params: Tree) -> np.ndarray:
        score = methods.evaluate(programs, "SFT", {"SFT": params}, config.supports, study.held_out)
        return np.asarray(score.gap)

    def gaps(ranges: TaskRanges, horizon: int | None) -> np.ndarray:
        """Gaps [methods, seeds] on other held-out tasks, drawn from the same stream, so that they share rooms."""
        steps = config.horizon if horizon is None else horizon
        family = rooms.family(kind, study.side, steps)
        held_out = tasks.sample(stream(config.seed, Use.SFT_HELD_OUT), family, ranges, config.test_tasks)
        where = programs
        if steps != config.horizon:
            other = rooms.setting(kind, study.side, steps, config.visit_exploration, config.behaviour_scale)
            where = methods.make_methods(other, network, test_keys, config.supports, config.episodes)
        scores = [methods.evaluate(where, name, weights, config.supports, held_out) for name in axes.FOLLOWED]
        return np.stack([score.gap for score in scores])

    metrics: dict[str, Any] = {}
    metrics |= methods.evaluate_methods(programs, weights, study.held_out, config.demonstrations, config.supports)
    metrics |= axes.sweep(config.axes, kind, study.side, gaps)
    metrics |= axes.fewer_tasks(study.pool, config.axes.pool, tune_on, sft_gap)
    imitation_key = stream(config.seed, Use.SFT_IMITATION)
    metrics |= imitation.overlaps(network, setting, study.pool, study.held_out, imitation_key, config.supports, tune_on)
    if kind != "mdp":
        probed = {"SFT": tuned.state.params, "ICL-only": start, "untrained": untrained}
        probe_key = stream(config.seed, Use.SFT_PROBE)
        metrics |= probe.probe(config.network, setting, study.held_out, probed, probe_key, config.supports)
    for name, fit in {"pretrain": pretrained, "sft": tuned, "scratch": scratch, "dpt": dpt}.items():
        step, curve = loss_curve(fit.losses)
        metrics[f"curve_{name}"] = storage.named(curve, seed=range(config.seeds), step=step)
        metrics[f"seconds_{name}"] = storage.named(fit.seconds)
    path = storage.write_result(config.results, "sft", {"setting": kind, "config": config}, metrics, command)
    write_claims(path, claims.claims(kind, metrics, config.supports), command)
    return path


def train(
    maker: trainer.Trainer,
    pool: Task,
    params: Tree,
    keys: jax.Array,
    steps: int,
    *,
    folder: Path,
    identity: Sequence[Any],
    title: str,
) -> trainer.Fit:
    """One training stage for all seeds, with checkpoints beside the results.

    Args:
        maker: what a gradient step does.
        pool: training tasks.
        params: weights at the start, leading axis [seeds].
        keys: [seeds].
        steps: gradient steps.
        folder: of the checkpoints.
        identity: what a checkpoint must be of, to be resumed.
        title: of the progress bar.
    """
    state = jax.vmap(maker.init)(keys, params)
    with bar(f"{title}, {len(keys)} seeds", steps) as progress:
        return trainer.fit(
            maker, state, pool, steps, every=EVERY, folder=folder, identity=list(identity), progress=progress
        )


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__, validate)
