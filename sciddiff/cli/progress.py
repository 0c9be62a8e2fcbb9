"""The one progress display: a bar where stderr is a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Progress", "progress"]

_FIRST, _LATER, _SELDOM = 15.0, 60.0, 600.0


@final
class Progress:
    """Handle of a running display.

    Args:
        display: The bar and its task, on a terminal.
        task: The task.
        lines: The lines that are printed elsewhere.
    """

    def __init__(
        self,
        display: RichProgress | None = None,
        task: TaskID | None = None,
        lines: _Lines | None = None,
    ) -> None:
        self._display, self._task, self._lines = display, task, lines

    def advance(self, n: float = 1, label: str | None = None, total: float | None = None) -> None:
        """Say that `n` more units are done.

        Args:
            n: Units.
            label: What is being done now, if that has changed.
            total: Units in all, where they have become known.
        """
        if self._lines is not None:
            self._lines.advance(n, label, total)
        if self._display is None or self._task is None:
            return
        changes = {"description": label, "total": total}
        given = {key: value for key, value in changes.items() if value is not None}
        self._display.update(self._task, advance=n, **given)


@final
class _Lines:
    """A line on stderr after 15 s, then every minute, and every ten minutes after an hour."""

    def __init__(self, label: str, total: float | None) -> None:
        self._label, self._total, self._done = label, total, 0.0
        self._start = time.monotonic()
        self._next = self._start + _FIRST

    def advance(self, n: float, label: str | None, total: float | None) -> None:
        self._done += n
        self._label = label or self._label
        self._total = self._total if total is None else total
        now = time.monotonic()
        if now < self._next:
            return
        seconds = now - self._start
        self._next = now + (_LATER if seconds < 3600 else _SELDOM)
        of = f" of {self._total:g}" if self._total else ""
        left = ""
        if self._total and 0 < self._done < self._total:
            left = f", about {_duration(seconds * (self._total / self._done - 1))} left"
        sys.stderr.write(f"{self._label}: {self._done:g}{of} after {_duration(seconds)}{left}\n")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    """A span of time as people say it, such as ``3 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def progress(label: str, total: float | None, *, show: bool = True) -> Iterator[Progress]:
    """Show how far the block has come, with count, elapsed and remaining time.

    Everything goes to stderr, so that stdout stays what the verb prints. On a terminal a bar
    moves and disappears at the end; elsewhere, as in a batch job, a line is printed now and then,
    and none before 15 seconds.

    Args:
        label: What is being done.
        total: Units of work, or None if unknown.
        show: Show nothing if false.
    """
    if not show:
        yield Progress()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Progress(lines=_Lines(label, total))
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
