"""Supervised fine-tuning on oracle-labelled trajectories: the optimality gap against the number of demonstrations.

Figure: `sft`, one line per method over the same held-out tasks, demonstrations and keys.
Commands: `python -m experiments.sft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: about 6 minutes (quick) on two CPU cores; the paper preset is meant for one GPU, and has not been timed.
Expectation: SFT < ICL-only < random with intervals apart, and SFT at most half of ICL-only.

Tasks are dark rooms with a hidden goal, a slippery floor and unlabelled controls. Few states are demonstrated, so that
copying the demonstrations (their vote) stays far from optimal, and so does planning on what they count.
"""

from pathlib import Path

import jax
import numpy as np

from experiments import findings, launch
from experiments.sft_compare import NETWORKS, compare
from experiments.sft_study import PRESETS, Config, Study, prepare
from jaxdm import finetuning, storage, trainer
from jaxdm.progress import bar
from jaxdm.types import Tree


def main(config: Config) -> Path:
    """Pretrain, fine-tune, compare, store; returns the result's folder.

    Raises:
        ValueError: a field out of range, or a checkpoint of another run.
    """
    study = prepare(config)
    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    fresh = jax.vmap(study.network.init)(keys)
    imitation = imitator(study)
    pretrained = train(study, pretrainer(study), "pretrain", fresh)
    tuned = train(study, imitation, "sft", pretrained.state.params)
    scratch = train(study, imitation, "scratch", fresh)
    trained = (tuned.state.params, scratch.state.params, pretrained.state.params)
    weights: dict[str, Tree] = dict(zip(NETWORKS, trained, strict=True))
    metrics = compare(study, weights)
    for stage, fit in {"pretrain": pretrained, "sft": tuned, "scratch": scratch}.items():
        steps, curve = windows(fit.losses)
        metrics |= {f"curve_{stage}": curve, f"curve_steps_{stage}": steps, f"seconds_{stage}": fit.seconds}
    path = storage.write_result(config.results, "sft", config, metrics)
    storage.write_claims(path, findings.sft(config, metrics))
    return path


def pretrainer(study: Study) -> trainer.Trainer:
    """Predict everything about unlabelled behaviour."""
    config = study.config
    sizes = {"supports": config.supports, "batch": config.batch}
    behaviour = finetuning.behaviour_prompt
    loss = finetuning.batch_loss(study.network, study.setting, behaviour, targets="all", **sizes)
    return trainer.make(loss, trainer.adamw(config.rate, config.pretrain_steps))


def imitator(study: Study) -> trainer.Trainer:
    """Predict the oracle's actions."""
    config = study.config
    sizes = {"supports": config.supports, "batch": config.batch}
    labelled = finetuning.oracle_prompt
    loss = finetuning.batch_loss(study.network, study.setting, labelled, targets=config.targets, **sizes)
    return trainer.make(loss, trainer.adamw(config.rate, config.sft_steps))


def train(study: Study, stage: trainer.Trainer, name: str, params: Tree) -> trainer.Fit:
    """One stage for all seeds, with checkpoints beside the results."""
    config = study.config
    steps = config.pretrain_steps if name == "pretrain" else config.sft_steps
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 2), config.seeds)
    folder = config.results / "checkpoints" / "sft" / storage.config_hash(config) / name
    with bar(f"sft {name}, {config.seeds} seeds", steps) as progress:
        state = jax.vmap(stage.init)(keys, params)
        return trainer.fit(stage, state, study.pool, steps, folder=folder, identity=[config, name], progress=progress)


def windows(losses: np.ndarray, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Training losses averaged over windows of equal length: last steps [points], means [seeds, points]."""
    width = max(1, losses.shape[1] // points)
    count = losses.shape[1] // width
    means = losses[:, : count * width].reshape(len(losses), count, width).mean(axis=-1)
    return width * np.arange(1, count + 1), means


if __name__ == "__main__":
    launch.command_line(PRESETS, main, __doc__)
