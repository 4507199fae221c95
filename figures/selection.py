"""Which of the stored results a report shows: one run of each subject, never a mere trial beside a whole one."""

from collections.abc import Sequence
from pathlib import Path

from jaxdm.analysis import storage
from jaxdm.analysis.storage import PRESETS, Result


def stored_results(results: Path) -> list[Result]:
    """Every whole result of a folder, oldest first within an experiment.

    Raises:
        ValueError: there is no such folder, or a result is damaged or of another format.
    """
    if not results.is_dir():
        wrong = f"{results} is a file" if results.exists() else f"there is no folder {results}"
        raise ValueError(f"results: {wrong}; expected one that an experiment wrote to")
    try:
        experiments = sorted({path.parent.parent.name for path in results.glob("*/*/*.npz")})
    except OSError as error:
        raise ValueError(f"results: {results} cannot be read ({error}); expected a folder of results") from error
    return [result for name in experiments for result in storage.read_results(results, name)]


def chosen(stored: Sequence[Result], preset: str | None = None) -> list[Result]:
    """One result of every subject: an experiment, and its setting or theorem where it has several.

    With a preset, that one's. Without, the largest there is (toy < quick < full < paper); runs of the toy preset, and
    runs whose command changed a field, only count where a folder holds nothing else. Of equals the newest.

    Args:
        stored: results, oldest first.
        preset: one of `storage.PRESETS`; theorems, which have none, are shown with each. Sweeps, which change a preset
            by their nature, are all shown.

    Raises:
        ValueError: no such preset, or no run of it.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset: {preset!r}; expected one of {', '.join(PRESETS)}")
    studies = [result for result in stored if experiment(result) not in ("theory", "sweep")]
    theorems = [result for result in stored if experiment(result) == "theory"]
    sweeps = [result for result in stored if experiment(result) == "sweep" and preset in (None, result.run.preset)]
    if preset is None:
        whole = [result for result in studies if not result.run.changed and result.run.preset != "toy"]
        studies = whole or studies
    else:
        there = {str(result.run.preset) for result in studies}
        studies = [result for result in studies if result.run.preset == preset]
        if not studies:
            stored_presets = ", ".join(sorted(there)) or "none, for no study is stored"
            raise ValueError(f"preset: no run of {preset!r} is stored; expected one of {stored_presets}")
    shown: dict[tuple[str, str], Result] = {}
    for result in [*studies, *sweeps, *theorems]:
        other = shown.setdefault(subject(result), result)
        if rank(result) >= rank(other):
            shown[subject(result)] = result
    return list(shown.values())


def experiment(result: Result) -> str:
    """The name of the experiment that stored it."""
    return result.path.parent.name


def subject(result: Result) -> tuple[str, str]:
    """What a result is about."""
    return experiment(result), str(result.config.get("setting", result.config.get("id", "")))


def rank(result: Result) -> tuple[int, bool]:
    """By which results of one subject are compared."""
    size = PRESETS.index(result.run.preset) if result.run.preset in PRESETS else -1
    return size, not result.run.changed
