"""Regret-minimisation fine-tuning: bandits, drifting bandits, online learning, MDPs and POMDPs, and its ablations.

Figures: `rmft_training`, `rmft_regret`, `rmft_exploration`, `rmft_failures`, `rmft_selection`, `rmft_transfer`,
    `rmft_drift`, `rmft_online`, `rmft_ablations`.
Commands: `python -m experiments.rmft quick`, `... full`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick is a preview of minutes on two cores, full takes hours; paper is meant for one GPU, and has not been timed.
Expectation: from a base that fails to explore, less regret and fewer lost best arms without playing any arm less, where
    it was trained and elsewhere; within 20 % of the best classical player, each tuned for the distribution; no linear
    regret under attack. The twelve rows that are tested first are in `primary`.

Parts run at the same time, each with its own random streams; the results do not depend on it.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.fields import at_least, check, each, shape, switch, tuning, word
from experiments.rmft import ablations, bandit, decision_processes, drift, online, primary, selection, sweep
from experiments.rmft.claims import claims
from experiments.rmft.config import PARTS, PRESETS, RMFTConfig
from experiments.rmft.training import Setup, Subject, setup
from experiments.sweep import command
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.validation import (
    InvalidInput,
    integer,
    nonnegative_number,
    positive_integer,
    positive_number,
    probability,
)


def validate(config: RMFTConfig) -> None:
    """Check every field, also those of parts that are not run.

    Raises:
        InvalidInput: a size too small for the study, or an unknown name; the message names the field.
    """
    others = each(word(online.OTHER_NETWORKS), count=0)
    check(
        config,
        seeds=at_least(2),
        runs=at_least(2),
        train_length=at_least(2),
        length=at_least(6),
        stretch=at_least(2),
        bandit=tuning,
        reinforce=tuning,
        ppo=tuning,
        bandit_network=shape,
        pretraining_steps=at_least(1),
        pretraining_rate=positive_number,
        tuned=switch,
        rates=each(positive_number),
        keeps=each(at_least(1)),
        entropies=each(nonnegative_number),
        deviations=each(nonnegative_number),
        drift=tuning,
        drift_network=shape,
        drift_chance=probability,
        online_length=at_least(3),
        simplex=tuning,
        ball=tuning,
        online_network=shape,
        simplex_others=others,
        ball_others=others,
        rate_scales=each(positive_number),
        attacks=at_least(1),
        attack_cycles=at_least(1),
        squared=tuning,
        attack_steps=at_least(0),
        decision_process=tuning,
        decision_process_network=shape,
        side=at_least(3),
        horizon=at_least(1),
        tasks=at_least(8),
        sft_steps=steps,
        sft_rate=positive_number,
        sft_batch=at_least(1),
        ablated=tuning,
        ablated_length=at_least(2),
        ablated_network=shape,
        selection=tuning,
        selection_arms=each(at_least(2)),
        baseline_steps=at_least(1),
        baseline_rate=positive_number,
        baseline_batch=at_least(1),
        baselines=switch,
        parts=each(word(PARTS)),
        workers=at_least(1),
    )
    integer("stretch", config.stretch, 2, at_most=config.runs)
    for variant in ablations.variants(config.ablated).values():
        tuning("ablated", variant)
    if len(config.keeps) != len(config.entropies):
        raise InvalidInput(f"entropies: {config.entropies}; expected as many as keeps, {config.keeps}: equal tuning")
    for keep in config.keeps:
        tuning("keeps", dataclasses.replace(config.bandit, keep=keep))


def steps(name: str, value: Any) -> None:
    """Gradient steps in MDPs and in POMDPs."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise InvalidInput(f"{name}: {value}; expected two numbers, of MDPs and of POMDPs")
    for one in value:
        positive_integer(name, one)


def main(config: RMFTConfig, command: str) -> Path:
    """Study all parts and store what they found.

    Args:
        config: the study.
        command: what ran it, for the report.

    Returns:
        The folder of the result.

    Raises:
        InvalidInput: as `validate`.
    """
    validate(config)
    shared = setup(config.seed, config.seeds, config.results, config)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "bandit": functools.partial(bandit.study, config),
        "simplex": functools.partial(online.study, config, "simplex"),
        "ball": functools.partial(online.study, config, "ball"),
        "ablations": functools.partial(
            ablations.study, shared, config.ablated, config.ablated_network, config.ablated_length
        ),
        "drift": functools.partial(
            drift.study,
            shared,
            config.drift,
            config.drift_network,
            train_length=config.train_length,
            length=config.length,
            chance=config.drift_chance,
            runs=config.runs,
        ),
        "selection": functools.partial(
            selection.study,
            shared,
            config.selection,
            config.ablated_network,
            arms=config.selection_arms,
            length=config.ablated_length,
            runs=config.runs,
        ),
        "pomdp": functools.partial(decision_processes.study, config, "pomdp"),
        "mdp": functools.partial(decision_processes.study, config, "mdp"),
    }
    found = cli.at_once(lambda part: parts[part](), config.parts, config.workers)
    metrics = {name: value for of_part in found for name, value in of_part.items()}
    path = storage.write_result(config.results, "rmft", config, metrics, command)
    write_claims(path, primary.rows(claims(storage.read_result(path).metrics), config.seeds), command)
    return path


def swept(part: sweep.Part, shared: Setup, values: sweep.RMFTSweep) -> Subject:
    """What a part of the study trains, and on what it judges, in a sweep."""
    if part == "bandit":
        return bandit.subject(
            shared,
            values.bandit_network,
            values.train_length,
            values.length,
            values.runs,
            rate=values.pretraining_rate,
            steps=values.pretraining_steps,
            batch=values.baseline_batch,
        )
    if part == "drift":
        return drift.subject(
            shared,
            values.drift_network,
            train_length=values.train_length,
            length=values.length,
            chance=values.drift_chance,
            runs=values.runs,
        )
    return online.subject(shared, part, values.online_network, values.online_length, values.runs)


SWEEP = command(sweep.SWEEPS, sweep.validate, functools.partial(sweep.run, subject=swept), sweep.__doc__)


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__, validate, {"sweep": SWEEP})
