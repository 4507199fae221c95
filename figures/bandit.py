"""Regret of bandit players over time, where means stand still and where they move."""

from collections.abc import Sequence

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figure of the run of `experiments.bandit` that is shown."""
    return [regret(result) for result in shown[-1:]]


def regret(result: Result) -> Drawn:
    """One panel per distribution of the means, one line per player, with seed intervals.

    Args:
        result: with `regret [player, distribution, seed, round]`.
    """
    values = result.metrics["regret"]
    names = values.coords["player"].values.tolist()
    distributions = values.coords["distribution"].values.tolist()
    figure, panels = style.panels(len(distributions), width=style.PAGE, height=2.9)
    for axes, distribution in zip(panels, distributions, strict=True):
        for order, name in enumerate(names):
            curve = values.sel(player=name, distribution=distribution).transpose("round", "seed")
            style.line(axes, curve.coords["round"].values, curve.values, name, order, marked=False)
        axes.set(title=distribution, xlabel="round", ylim=(0, None))
    panels[0].set_ylabel("regret")
    style.legend_above(figure, panels[0], columns=5)
    ends = values.isel(round=-1).mean("seed")
    least = [names[int(ends.sel(distribution=distribution).argmin("player"))] for distribution in distributions]
    lowest = style.listed([f"{name} ({where})" for name, where in zip(least, distributions, strict=True)])
    caption = (
        "Cumulative regret against the best arm of each round. Look at which lines flatten: with means that stand "
        "still a good player's do, with means that move none can; where they switch, which lines bend upwards: those "
        f"players trust the past. Least at the end: {lowest}. Lines are means over {values.sizes['seed']} seeds, bands "
        f"95 % intervals (result {result.path.name})."
    )
    return Drawn(name="bandit", figure=figure, caption=caption)
