"""Any world with an oracle as the study's tasks: `python -m experiments.sft quick --world tiger`, or a file's path.

Tasks are the worlds near the one named (`jaxdm.sft.worlds`). One network is pretrained on other families and on
unlabelled play in training tasks, and fine-tuned on stored sequences with the oracle's labels. Beside it: the base
alone, the demonstrations' vote, planning on what they count, the Bayes posterior over fresh draws, and the centre's own
plan, of somebody who takes the world for the one named. The result is one of its own, `sft_world`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.sft import methods, stages
from experiments.sft.config import PRESETS, SFTConfig
from experiments.sft.methods import Judge, make_methods
from experiments.sft.stages import Stages, loss_curve, runner
from experiments.sft.tasks import Domain, held_out, particles, without_models
from experiments.streams import Use, stream
from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim, ordered, ranked, smaller, write_claims
from jaxdm.analysis.storage import named
from jaxdm.envs import cassandra, families
from jaxdm.envs.sparse_mdp import SparseMDP
from jaxdm.models.transformer import network
from jaxdm.sft import tasks, worlds
from jaxdm.sft.worlds import World
from jaxdm.validation import InvalidInput

NAMED: dict[str, Callable[[], World]] = {
    "tiger": families.pomdp.tiger,
    "maintenance": families.pomdp.machine_maintenance,
    "treatment": families.pomdp.treatment,
}
"""Worlds with a name."""


CENTRE = "the centre's plan"


def load(name: str) -> World:
    """A world by its name, or from a file.

    Raises:
        InvalidInput: neither a name nor a file, or a file that cannot be read.
    """
    if name in NAMED:
        return NAMED[name]()
    path = Path(name)
    if not path.is_file() or path.suffix.lower() not in (".pomdp", ".mdp"):
        known = ", ".join(NAMED)
        raise InvalidInput(f"world: {name!r}; expected {known}, or the path of a .POMDP or .MDP file")
    try:
        problem = cassandra.read(path).problem
    except ValueError as error:
        raise InvalidInput(f"world: {error}") from error
    assert not isinstance(problem, SparseMDP), "read as a dense one"
    return problem


def study_world(config: SFTConfig, command: str) -> Path:
    """Pretrain, fine-tune, evaluate and store; returns the folder of the result."""
    assert config.world is not None
    with jax.enable_x64(True):
        world = load(config.world)
        held = config.seeds * config.test_tasks
        family, centre = worlds.around(world, config.world_horizon, config.train_tasks + held + 250 * config.particles)
        centre_plan = np.asarray(jax.jit(worlds.solve, static_argnums=1)(centre, config.world_horizon).expert.policy)
    ranges = (centre, np.float64(config.concentration))
    setting = worlds.setting(centre, config.world_horizon, config.visit_exploration, config.behaviour_scale)
    pool = tasks.sample(stream(config.seed, Use.SFT_POOL, "world"), family, ranges, config.train_tasks)
    where = Domain(setting=setting, family=family, ranges=ranges, known=None, new=None, pool=without_models(pool))
    shared = Stages(
        runner=runner(config.seeds, config.workers, config.results, config),
        network=network(config.network, setting.spaces.features, setting.spaces.outputs),
        spaces=setting.spaces,
        **{name: getattr(config, name) for name in stages.COPIED},
    )
    tokens = (config.supports + 1) * config.world_horizon
    own = round(config.room_share * config.pretrain_items)
    sources = [
        stages.other_families(setting.spaces, config.world_horizon, tokens, config.pretrain_items - own),
        stages.own_family(setting, where.pool, tokens, own),
    ]
    sizes: Any = {"rate": config.rate, "steps": config.sft_steps}
    base = stages.pretrain(
        shared, stages.initial_weights(shared), sources, rate=config.pretrain_rate, steps=config.pretrain_steps
    )
    if config.fresh:
        sft = stages.tune_on_fresh(shared, "world SFT", base.params, setting, where.pool, "SFT", **sizes)
    else:
        labelled = stages.gathered(shared, "world", setting, where.pool, "SFT", config.supports, config.items)
        told = labelled if config.data is None else stages.read_file(config.data, setting.spaces)
        sft = stages.tune(shared, "world SFT", base.params, told, **sizes)
    judge = Judge(
        methods=make_methods(setting, shared.network, max(config.demonstrations), config.episodes),
        held_out=held_out(where, config.seed, config.seeds, config.test_tasks, config.workers),
        keys=stages.keys(config.seed, config.seeds, Use.SFT_TEST),
        workers=config.workers,
    )
    known = particles(where, stream(config.seed, Use.SFT_PARTICLES, "world"), config.particles)
    weights = {"SFT": sft.params, "ICL-only": base.params}
    metrics: dict[str, Any] = methods.evaluate_methods(judge, weights, known, config.demonstrations, config.supports)
    metrics["gap_of_centre"] = named(
        methods.evaluate(judge, CENTRE, lambda seed: centre_plan, 0).gap, seed=range(config.seeds)
    )
    for name, each in {"pretraining": base, "SFT": sft}.items():
        step, curve = loss_curve(each.losses)
        metrics[f"curve {name}"] = named(curve, seed=range(config.seeds), step=step)
        metrics[f"seconds {name}"] = named(each.seconds)
    path = storage.write_result(config.results, "sft_world", config, metrics, command)
    rows = claims(config.world, metrics, config.supports)
    write_claims(path, ranked(rows, (), preview=config.seeds < PRESETS["full"].seeds), command)
    return path


def claims(world: str, metrics: dict[str, Any], supports: int) -> list[Claim]:
    """What fine-tuning gains in these worlds, and what it is worth to know which of them it is."""
    shown = metrics["gap"].sel(demonstrations=supports)
    gap = {str(name): shown.sel(agent=name).values for name in shown.agent.values}
    name, context = Path(world).stem, f"near {Path(world).name}, {supports} demonstrations"
    order = {kind: gap[kind] for kind in ("SFT", "ICL-only", "random")}
    centre = metrics["gap_of_centre"].values
    statement = f"Optimality gap: SFT < ICL-only < random, in worlds {context}"
    beaten = f"SFT's gap is smaller than that of the centre's plan, in worlds {context}"
    return [
        ordered(f"SFT-{name}-order", statement, "ours, after paper 1", order),
        smaller(f"SFT-{name}-centre", beaten, "ours", gap["SFT"], centre),
    ]
