"""What the fine-tuning study found, as rows of the claims table, in one setting."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim, above, below, ordered, rising
from jaxdm.sft.data import Kind

PAPER = "paper 1, abstract (its sizes are not known; these are ours)"


OURS = "ours"


TRENDS = {
    "horizon": (1, "the horizon, per step"),
    "cue_accuracy": (-1, "1 - cue accuracy (worse observations), per unit"),
    "models": (1, "the number of models, per model"),
}
"""Axes of which the abstract says that gains grow along them: the direction, and what grows."""


def claims(kind: Kind, metrics: Mapping[str, xr.DataArray], supports: int) -> list[Claim]:
    """All rows of a setting.

    Args:
        kind: of world.
        metrics: as stored.
        supports: demonstrations in the context, in training and in the claims.
    """
    rows = [*gaps(metrics, supports), *trends(metrics), *imitation(metrics), *learnt(metrics, supports)]
    return [row._replace(id=f"SFT-{kind.upper()}-{row.id}") for row in rows]


def gaps(metrics: Mapping[str, xr.DataArray], supports: int) -> list[Claim]:
    """Which method comes closer to the oracle, the control, and the second-hand line."""
    of = metrics["gap"].sel(demonstrations=supports)
    gap = {str(name): of.sel(agent=name).values for name in of.agent.values}
    of = metrics["gap_of_value"].sel(demonstrations=supports)
    share = {str(name): of.sel(agent=name).values for name in ("SFT", "ICL-only", "random")}
    steps = {stage: int(metrics[f"curve_{stage}"].step[-1]) for stage in ("pretrain", "sft", "dpt")}
    context = f"with {supports} demonstrations, horizon {metrics['accuracy'].sizes['step']}"
    seconds = float(metrics["seconds_pretrain"]) + float(metrics["seconds_sft"])
    effort = f"{steps['pretrain']} + {steps['sft']} gradient steps, {seconds:.0f} s for all seeds"
    shares = ", ".join(f"{name} {100 * value.mean():.0f} %" for name, value in share.items())
    return [
        ordered(
            "order",
            f"Optimality gap: SFT < ICL-only < random, {context}",
            PAPER,
            {name: gap[name] for name in ("SFT", "ICL-only", "random")},
        ),
        below(
            "half",
            f"SFT leaves at most half of ICL-only's optimality gap, {context} ({effort})",
            "ours, after paper 1",
            gap["SFT"] / gap["ICL-only"],
            0.5,
        ),
        below(
            "dpt",
            f"SFT's gap over that of DPT, which is shown unlabelled behaviour instead ({steps['dpt']} steps)",
            OURS,
            gap["SFT"] / gap["DPT"],
            1.0,
        ),
        below(
            "vote",
            f"SFT's gap over that of the demonstrations' vote, {context}: below 1 it does more than copy",
            OURS,
            gap["SFT"] / gap["demonstration vote"],
            1.0,
        ),
        above(
            "control",
            "Shown another task's demonstrations, SFT's gap is at least ICL-only's: what it gains comes from them",
            OURS,
            metrics["swapped"].values - gap["ICL-only"],
            0.0,
        ),
        below(
            "second-hand",
            f"SFT's share of V* lost, over random play's; here {shares}; said of the paper: 15 % of 30 % of 50 %",
            "second-hand, of paper 1",
            share["SFT"] / share["random"],
            0.3,
        ),
    ]


def trends(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Along which axes the gain over ICL-only grows."""
    rows = []
    for name, (direction, growing) in TRENDS.items():
        gap = metrics.get(f"axis_{name}")
        if gap is None or gap.sizes[name] < 2:
            continue
        gain = gap.sel(agent="ICL-only").values - gap.sel(agent="SFT").values
        statement = f"ICL-only's gap less SFT's grows with {growing}"
        rows.append(rising(name.replace("_", "-"), statement, PAPER, direction * gap[name].values, gain))
    return rows


def imitation(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Imitation of any expert."""
    overlap = metrics["imitation"]
    leads = []
    for expert in overlap.shown.values:
        shown = overlap.sel(shown=expert)
        others = shown.drop_sel(trained_on=expert).max("trained_on")
        leads.append(shown.sel(trained_on=expert).values - others.values)
    statement = (
        "In each expert's episodes the network trained on it overlaps most with it: the smallest lead over the others"
    )
    return [above("imitation", statement, PAPER, np.min(leads, axis=0), 0.0)]


def learnt(metrics: Mapping[str, xr.DataArray], supports: int) -> list[Claim]:
    """Decisions where no demonstration has been, and the belief in the network."""
    rows = []
    accuracy = metrics["accuracy_by_visit"].sel(demonstrations=supports, visit="never demonstrated")
    beyond = accuracy.sel(agent="SFT").values - accuracy.sel(agent="demonstration vote").values
    if np.all(np.isfinite(beyond)):
        statement = "Share of optimal decisions where no demonstration went: SFT's less the vote's, which must guess"
        rows.append(above("beyond", statement, OURS, beyond, 0.0))
    if "probe" in metrics:
        explained = metrics["probe"]
        lead = explained.sel(network="SFT").values - np.maximum(explained.sel(network="untrained").values, 0)
        statement = (
            "Held-out R^2 of a linear probe for the belief in the cue: SFT's network less an untrained one's, or 0"
        )
        rows.append(above("belief", statement, OURS, lead, 0.0))
    return rows
