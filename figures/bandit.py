"""Regret of bandit players over time, where means stand still and where they move."""

from pathlib import Path

from figures import style
from figures.style import Drawn
from jaxdm.analysis import storage


def draw(results: Path) -> list[Drawn]:
    """The figure of the newest stored run; metrics are named as `experiments.bandit` writes them.

    `times [X]`, `players [P]`, `laws [W]`, `regret [P, W, seeds, X]`.
    """
    stored = [style.plain(result) for result in storage.read_results(results, "bandit")]
    return [regret(stored[-1])] if stored else []


def regret(result: style.Plain) -> Drawn:
    """One panel per law, one line per player, with seed intervals."""
    times, regrets = result.metrics["times"], result.metrics["regret"]
    names, laws = [str(name) for name in result.metrics["players"]], [str(law) for law in result.metrics["laws"]]
    figure, panels = style.panels(len(laws), width=style.PAGE, height=2.9)
    for column, (axes, law) in enumerate(zip(panels, laws, strict=True)):
        for order, name in enumerate(names):
            style.line(axes, times, regrets[order, column].T, name, order, marked=False)
            if order >= len(style.PALETTE):
                axes.lines[-1].set_linestyle("--")
        axes.set(title=law, xlabel="round", ylim=(0, None))
    panels[0].set_ylabel("regret")
    style.legend_above(figure, panels[0], columns=5)
    least = [names[int(order)] for order in regrets[..., -1].mean(axis=-1).argmin(axis=0)]
    ends = style.listed([f"{name} ({law})" for name, law in zip(least, laws, strict=True)])
    caption = (
        "Cumulative regret against the best arm of each round. Look at which lines flatten: with means that stand "
        "still a good player's do, with means that move none can; where they switch, which lines bend upwards: those "
        f"players trust the past. Least at the end: {ends}. Lines are means over {regrets.shape[2]} seeds, bands 95 % "
        f"intervals (result {result.path.name})."
    )
    return Drawn(name="bandit", figure=figure, caption=caption)
