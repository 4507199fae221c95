"""What the fine-tuning study found, as rows of the claims table. Which rows are primary is said in `primary.py`.

Dimensions: `G` training seeds.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim, above, below, ordered, rising, smaller

PAPER = "paper 1, abstract (its sizes are not known; these are ours)"


OURS = "ours"


Metrics = Mapping[str, xr.DataArray]


def claims(metrics: Metrics, supports: int) -> list[Claim]:
    """All rows; those for which nothing was measured are left out.

    Args:
        metrics: as stored.
        supports: demonstrations in the context, in training and in the claims.
    """
    settings = [str(name) for name in metrics["gap"].setting.values]
    rows = [row for name in settings for row in of_setting(name, metrics, supports)]
    rows += [*together(metrics, supports), *trends(metrics), *offline(metrics), *imitation(metrics), *learnt(metrics)]
    return [row._replace(id=f"SFT-{row.id}") for row in rows]


def of_setting(name: str, metrics: Metrics, supports: int) -> list[Claim]:
    """Which method comes closer to the oracle in one setting, on identities that were not trained on."""
    shown = metrics["gap"].sel(setting=name, demonstrations=supports)
    gap = {str(agent): shown.sel(agent=agent).values for agent in shown.agent.values}
    seen = metrics["gap_seen"].sel(setting=name, agent="SFT").values
    sampled = metrics["gap_sampled"].sel(setting=name)
    context = f"{name.upper()}, {supports} demonstrations, new identities"
    order = {agent: gap[agent] for agent in ("SFT", "ICL-only", "random")}
    drawn = {agent: sampled.sel(agent=agent).values for agent in ("SFT", "ICL-only")} | {"random": gap["random"]}
    rows = [
        ordered("order", f"Optimality gap: SFT < ICL-only < random ({context})", PAPER, order),
        below(
            "half",
            f"SFT's gap is at most half of ICL-only's ({context}; on identities trained on SFT has {seen.mean():.3f})",
            "ours, after paper 1",
            gap["SFT"] / gap["ICL-only"],
            0.5,
        ),
        ordered("sampled", f"The same order when networks sample their actions ({context})", PAPER, drawn),
        below(
            "posterior",
            f"SFT's gap is at most 0.05 above that of the Bayes posterior over the family ({context})",
            OURS,
            gap["SFT"] - gap["Bayes posterior"],
            0.05,
        ),
        smaller("vote", f"SFT's gap is smaller than that of the vote ({context})", OURS, gap["SFT"], gap[VOTE]),
        above(
            "control",
            f"Shown another task's demonstrations, SFT's gap is at least ICL-only's ({context})",
            OURS,
            metrics["swapped"].sel(setting=name).values - gap["ICL-only"],
            0.0,
        ),
        uses_context(name, metrics, supports),
    ]
    for baseline in ("DPT", "algorithm distillation", "SFT from scratch"):
        if baseline in gap:
            falling = metrics[f"falling {name} {baseline}"].values.mean()
            statement = (
                f"SFT's gap is smaller than that of {baseline} ({context}; its loss still falls by {falling:.1%})"
            )
            rows.append(smaller(baseline.replace(" ", "-"), statement, OURS, gap["SFT"], gap[baseline]))
    return [row._replace(id=f"{name.upper()}-{row.id}") for row in rows]


VOTE = "demonstration vote"


def uses_context(name: str, metrics: Metrics, supports: int) -> Claim:
    """Whether the base learns in context at all."""
    base = metrics["gap"].sel(setting=name, agent="ICL-only")
    statement = f"The base uses its context: {supports} demonstrations lower ICL-only's gap ({name.upper()})"
    return smaller(
        "context", statement, OURS, base.sel(demonstrations=supports).values, base.isel(demonstrations=0).values
    )


def together(metrics: Metrics, supports: int) -> list[Claim]:
    """What is said of all settings together: gaps are summed over them, seed by seed."""
    gap = metrics["gap"].sel(demonstrations=supports)

    def total(agent: str) -> np.ndarray:
        return gap.sel(agent=agent).transpose("setting", "seed").values.sum(axis=0)

    settings = ", ".join(str(name).upper() for name in gap.setting.values)
    swapped = metrics["swapped"].transpose("setting", "seed").values.mean(axis=0)
    rows = [
        below(
            "half",
            f"SFT leaves at most half of ICL-only's optimality gap ({settings} together, new identities)",
            "ours, after paper 1 ('substantially smaller')",
            total("SFT") / total("ICL-only"),
            0.5,
        )._replace(note=levels(gap)),
        smaller(
            "vote",
            f"SFT's gap is smaller than that of the demonstrations' vote ({settings} summed)",
            OURS,
            total("SFT"),
            total(VOTE),
        ),
        above(
            "control",
            f"Shown another task's demonstrations, SFT's gap is at least ICL-only's: they matter ({settings}, mean)",
            OURS,
            swapped - total("ICL-only") / gap.sizes["setting"],
            0.0,
        ),
    ]
    kinds = gap.setting.values.tolist()
    gain = gap.sel(agent="ICL-only") - gap.sel(agent="SFT")
    for id, less, more, what in (
        ("hidden", "mdp", "pomdp", "when the mode is hidden, MDP to POMDP"),
        ("ambiguous", "pomdp", "apomdp", "when models disagree, POMDP to APOMDP"),
    ):
        if less in kinds and more in kinds:
            statement = f"ICL-only's gap less SFT's grows {what}"
            rows.append(smaller(id, statement, PAPER, gain.sel(setting=less).values, gain.sel(setting=more).values))
    return rows


def levels(gap: xr.DataArray) -> str:
    """A sentence with the mean gap of those between whom the truth must lie, and of the network."""
    agents = ("SFT", "ICL-only", VOTE, "Bayes posterior")
    means = gap.mean("seed")
    parts = []
    for name in gap.setting.values:
        here = [f"{agent} {float(means.sel(setting=name, agent=agent)):.2f}" for agent in agents]
        parts.append(f"{str(name).upper()}: {', '.join(here)}")
    return f"Gaps, {'; '.join(parts)}."


TRENDS = {
    "horizon_episodes": (1, "horizon", "the horizon, per step, at equal numbers of demonstrated episodes"),
    "horizon_steps": (1, "horizon", "the horizon, per step, at equal numbers of demonstrated steps"),
    "cue_accuracy": (-1, "cue_accuracy", "1 - cue accuracy (worse observations), per unit"),
    "models": (1, "models", "the number of models, per model, for a pessimist"),
}
"""Axes of which the abstract says that gains grow along them: the direction, the axis, and what grows."""


def trends(metrics: Metrics) -> list[Claim]:
    """Along which axes the gain over ICL-only grows."""
    rows = []
    for name, (direction, axis, growing) in TRENDS.items():
        gap = metrics.get(f"axis_{name}")
        if gap is None or gap.sizes[axis] < 2:
            continue
        gain = (gap.sel(agent="ICL-only") - gap.sel(agent="SFT")).transpose(axis, "seed").values
        statement = f"ICL-only's gap less SFT's grows with {growing}"
        rows.append(rising(name.replace("_", "-"), statement, PAPER, direction * gap[axis].values, gain))
    return rows


def offline(metrics: Metrics) -> list[Claim]:
    """What few labels do for a pretrained network and for one with random weights, and whether more do more."""
    gap = metrics.get("axis_labels")
    if gap is None:
        return []
    few, many = int(gap.labels[0]), int(gap.labels[-1])
    at = {agent: gap.sel(agent=agent, labels=few).values for agent in ("SFT", "SFT from scratch")}
    sft = gap.sel(agent="SFT")
    return [
        smaller(
            "pretraining",
            f"With {few} labelled sequences the pretrained network's gap is smaller than that from scratch",
            PAPER,
            at["SFT"],
            at["SFT from scratch"],
        ),
        smaller(
            "labels",
            f"SFT's gap is smaller with {many} labelled sequences than with {few}",
            OURS,
            sft.sel(labels=many).values,
            sft.sel(labels=few).values,
        ),
    ]


def imitation(metrics: Metrics) -> list[Claim]:
    """Imitation of any expert."""
    overlap = metrics.get("imitation")
    if overlap is None:
        return []
    leads = []
    for expert in overlap.shown.values:
        shown = overlap.sel(shown=expert)
        others = shown.drop_sel(trained_on=expert).max("trained_on")
        leads.append(shown.sel(trained_on=expert).values - others.values)
    statement = (
        "In each expert's episodes the network trained on it overlaps most with it: the smallest lead over the others"
    )
    return [above("imitation", statement, PAPER, np.min(leads, axis=0), 0.0)]


def learnt(metrics: Metrics) -> list[Claim]:
    """The belief in the network."""
    explained = metrics.get("probe")
    if explained is None:
        return []
    lead = explained.sel(network="SFT").values - np.maximum(explained.sel(network="untrained").values, 0)
    statement = "Held-out R^2 of a linear probe for the belief in the cue: SFT's network less an untrained one's, or 0"
    return [above("belief", statement, OURS, lead, 0.0)]
