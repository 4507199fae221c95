"""Progress of long work on the terminal, with the time left, from the host side of compiled chunks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar on standard error; yields the function to call with the steps done and the latest loss.

    Where standard error is no terminal, one line is printed at the start and one at the end.

    Args:
        what: name of the work.
        total: number of steps.
    """
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    if not console.is_terminal:
        console.print(f"{what}: {total} steps")
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, loss: progress.update(task, completed=done, description=f"{what}, loss {loss:.3f}")
