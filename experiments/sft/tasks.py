"""The tasks of a study, drawn and solved before any training: identities to train on, and others to be judged on.

Dimensions: `G` training seeds, `P` held-out tasks of each, `I` particles.
"""

from typing import NamedTuple

import jax
import numpy as np

from experiments import cli, rooms
from experiments.rooms import TaskRanges
from experiments.streams import Use, stream
from jaxdm.sft import posterior, tasks
from jaxdm.sft.data import Kind, Setting
from jaxdm.sft.tasks import Family, Task
from jaxdm.types import Tree


class Domain(NamedTuple):
    """One setting of the study: how its tasks are drawn, and those to train on."""

    setting: Setting
    family: Family
    ranges: Tree  # of training
    known: np.ndarray | None  # identities to train on; none where the family has none
    new: np.ndarray | None  # the others
    pool: Task  # leading axis [train_tasks]; without values by model, which are large


def room_domain(
    kind: Kind, side: int, horizon: int, play: tuple[float, float], seed: int, share: float, count: int
) -> Domain:
    """The domain of rooms; all settings and horizons of a study have the same identities to train on.

    Args:
        kind: of world.
        side: cells along a wall.
        horizon: H.
        play: exploration of the expert in query episodes, inverse temperature of random behaviour.
        seed: of the study.
        share: of the identities, to train on.
        count: training tasks.
    """
    family, ranges = rooms.family(kind, side, horizon), rooms.training_ranges(kind, side)
    known, new = tasks.split_identities(stream(seed, Use.SFT_IDENTITIES), family, share)
    pool = tasks.sample(stream(seed, Use.SFT_POOL, kind, horizon), family, ranges, count, known)
    return Domain(
        setting=rooms.setting(kind, side, horizon, *play),
        family=family,
        ranges=ranges,
        known=known,
        new=new,
        pool=without_models(pool),
    )


def without_models(pool: Task) -> Task:
    """Tasks without values by model, which are large, and which only evaluation needs."""
    return pool._replace(model_q=pool.model_q[:, :0])


def held_out(
    domain: Domain,
    seed: int,
    seeds: int,
    count: int,
    workers: int,
    *,
    ranges: TaskRanges | None = None,
    seen: bool = False,
) -> list[Task]:
    """Held-out tasks for each training seed, leading axis [P] each.

    Along an axis of tasks they are drawn from the same streams, so that they share all but what the axis fixes.

    Args:
        domain: whose family they are of.
        seed: of the study.
        seeds: G.
        count: P.
        workers: seeds at once.
        ranges: of their numbers; those of training when left out.
        seen: new draws of identities that were trained on, not new identities.
    """
    use = Use.SFT_SEEN if seen else Use.SFT_HELD_OUT
    numbers = domain.ranges if ranges is None else ranges
    identities = domain.known if seen else domain.new

    def one(index: int) -> Task:
        return tasks.sample(stream(seed, use, index), domain.family, numbers, count, identities)

    return cli.at_once(one, range(seeds), workers)


def particles(domain: Domain, key: jax.Array, repeats: int) -> posterior.Particle:
    """The enumeration of a family, leading axis [I]: every identity with some draws of its continuous numbers.

    Without identities, `1000 repeats / 4` fresh draws of the family.

    Args:
        domain: whose family it is.
        key: random key.
        repeats: draws for each identity.
    """
    count = domain.family.identities or 250
    everyone = np.tile(np.arange(count, dtype=np.int32), repeats)
    solved = tasks.solve_each(key, domain.family, domain.ranges, everyone)
    return _as_particles(solved)


_as_particles = jax.jit(jax.vmap(posterior.particle))
