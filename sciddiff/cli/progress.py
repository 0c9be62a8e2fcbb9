"""The one progress display: a rich bar on stderr, silent where stderr is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Progress", "progress"]


@final
class Progress:
    """Handle of a running display."""

    def __init__(self, display: RichProgress | None = None, task: TaskID | None = None) -> None:
        self._display = display
        self._task = task

    def advance(self, n: float = 1, label: str | None = None) -> None:
        """Say that `n` more units are done, and optionally what is being done now."""
        if self._display is None or self._task is None:
            return
        if label is None:
            self._display.update(self._task, advance=n)
        else:
            self._display.update(self._task, advance=n, description=label)


@contextmanager
def progress(label: str, total: float | None, *, show: bool = True) -> Iterator[Progress]:
    """Show a bar with count, elapsed and remaining time while the block runs.

    The bar goes to stderr, so that stdout stays what the verb prints, and disappears at the end.

    Args:
        label: What is being done.
        total: Units of work, or None if unknown.
        show: Show nothing if false.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield Progress()
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True) as display:
        yield Progress(display, display.add_task(label, total=total))
