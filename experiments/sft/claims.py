"""What the fine-tuning study found, as rows of the claims table, in one setting.

Dimensions: `X` points of an axis, `N` training seeds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.sft.axes import SHOWN
from experiments.sft.config import Config
from jaxdm.analysis.claims import Claim, above, below, ordered, rising
from jaxdm.sft.data import Kind

PAPER = "paper 1, abstract (its sizes are not known; these are ours)"


OURS = "ours"


TRENDS = {
    "horizon": (lambda x: x, "a step of horizon"),
    "quality": (lambda x: 1 - x, "a unit of chance that the sign is wrong"),
    "models": (lambda x: x, "a model"),
}
"""Axes of which the abstract says that gains grow along them: the number that grows, and its unit."""


def claims(config: Config, kind: Kind, metrics: Mapping[str, Any]) -> list[Claim]:
    """All rows of a setting, at the number of demonstrations it was trained with."""
    rows = [*gaps(config, kind, metrics), *trends(config, kind, metrics), *learnt(config, kind, metrics)]
    return [row._replace(id=f"SFT-{kind.upper()}-{row.id}") for row in rows]


def gaps(config: Config, kind: Kind, metrics: Mapping[str, Any]) -> list[Claim]:
    """Who comes closer to the oracle, the control, and the second-hand line."""
    column = config.demonstrations.index(config.supports)
    gap = dict(zip(metrics["methods"], metrics["gap"][:, column], strict=True))
    share = dict(zip(metrics["methods"], metrics["gap_of_value"][:, column], strict=True))
    shown = f"with {config.supports} demonstrations, horizon {config.horizon}"
    seconds = float(metrics["seconds_pretrain"] + metrics["seconds_sft"])
    effort = f"{config.pretrain_steps} + {config.sft_steps} gradient steps, {seconds:.0f} s for all seeds"
    order = {name: gap[name] for name in ("SFT", "ICL-only", "random")}
    half = f"SFT leaves at most half of ICL-only's optimality gap, {shown} ({effort})"
    vote = f"SFT's gap over that of the demonstrations' vote, {shown}: below 1 it does more than copy"
    dpt = f"SFT's gap over that of DPT, which is shown unlabelled behaviour instead ({config.dpt_steps} steps)"
    swapped = "Shown another task's demonstrations, SFT's gap is at least ICL-only's: what it gains comes from them"
    line = ", ".join(f"{name} {100 * share[name].mean():.0f} %" for name in order)
    hearsay = f"SFT's share of V* lost, over random play's; here {line}; told of the paper: 15 % of 30 % of 50 %"
    return [
        ordered("order", f"Optimality gap: SFT < ICL-only < random, {shown}", PAPER, order),
        below("half", half, "ours, after paper 1", gap["SFT"] / gap["ICL-only"], 0.5),
        below("dpt", dpt, OURS, gap["SFT"] / gap["DPT"], 1.0),
        below("vote", vote, OURS, gap["SFT"] / gap["demonstration vote"], 1.0),
        above("control", swapped, OURS, metrics["swapped"] - gap["ICL-only"], 0.0),
        below("second-hand", hearsay, "second-hand, of paper 1", share["SFT"] / share["random"], 0.3),
    ]


def trends(config: Config, kind: Kind, metrics: Mapping[str, Any]) -> list[Claim]:
    """Along which axes the gain over ICL-only grows."""
    rows = []
    for name, (growing, unit) in TRENDS.items():
        points = metrics.get(f"axis_{name}", np.zeros(0))
        if len(points) > 1:
            gap = dict(zip(SHOWN, metrics[f"axis_{name}_gap"], strict=True))
            statement = (
                f"ICL-only's gap less SFT's grows with {name if name != 'quality' else '1 - quality'}, per {unit}"
            )
            rows.append(rising(name, statement, PAPER, growing(points), gap["ICL-only"] - gap["SFT"]))
    return rows


def learnt(config: Config, kind: Kind, metrics: Mapping[str, Any]) -> list[Claim]:
    """Imitation of any teacher, observations never demonstrated, and the belief in the network."""
    overlap = metrics["imitation"]
    own = np.diagonal(overlap).T
    others = np.where(np.eye(len(overlap), dtype=bool)[..., None], -np.inf, overlap).max(axis=0)
    nearest = (
        "In each teacher's episodes the network it taught overlaps most with it: the smallest lead over the others"
    )
    rows = [above("imitation", nearest, PAPER, (own - others).min(axis=0), 0.0)]
    column = config.demonstrations.index(config.supports)
    new = dict(zip(metrics["methods"], metrics["copied"][:, column, :, 0], strict=True))
    if np.all(np.isfinite([new["SFT"], new["demonstration vote"]])):
        beyond = "Share of optimal decisions where no demonstration has been: SFT's less the vote's, which must guess"
        rows.append(above("beyond", beyond, OURS, new["SFT"] - new["demonstration vote"], 0.0))
    if "probe" in metrics:
        found = dict(zip(metrics["probed"], metrics["probe"], strict=True))
        inside = (
            "Held-out R^2 of a linear probe for the belief in the sign: SFT's network less an untrained one's, or 0"
        )
        rows.append(above("belief", inside, OURS, found["SFT"] - np.maximum(found["untrained"], 0), 0.0))
    return rows
