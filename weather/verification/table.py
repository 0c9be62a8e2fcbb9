"""The table of scores in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["table_text"]

_TITLES = {
    "crps": "CRPS", "skill": "skill", "attainable": "attainable", "rmse": "RMSE",
    "ssr": "spread/skill", "rank_outliers": "outliers", "energy": "energy",
    "energy_skill": "energy skill", "energy_attainable": "energy attainable",
}  # fmt: skip


def table_text(rows: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
    """Lay out rows of `weather.verification.output.summary_rows`, one table per channel.

    Args:
        rows: Main figures.
        width: Columns of the terminal; default its own.
    """
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width or _terminal_width())
    for channel in dict.fromkeys(row["channel"] for row in rows):
        chosen = [row for row in rows if row["channel"] == channel]
        console.print(_channel_table(str(channel), chosen))
    file = console.file
    return file.getvalue() if isinstance(file, StringIO) else ""


def _terminal_width() -> int:
    from shutil import get_terminal_size

    return max(get_terminal_size((110, 24)).columns, 80)


def _channel_table(channel: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = "all channels, standardised" if channel == "all" else channel
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("forecast")
    table.add_column("day", justify="right")
    names = [name for name in _TITLES if any(name in row for row in rows)]
    for name in names:
        table.add_column(_TITLES[name], justify="right")
    before = None
    for row in rows:
        if before not in (None, row["forecast"]):
            table.add_section()
        label = row["forecast"] if row["forecast"] != before else ""
        before = row["forecast"]
        cells = [_cell(row.get(name)) for name in names]
        table.add_row(label, f"{row['lead_days']:g}", *cells)
    return table


def _cell(figure: Sequence[float] | None) -> str:
    if figure is None or not math.isfinite(figure[0]):
        return ""
    value, low, high = figure
    if not math.isfinite(low):
        return f"{value:.3g}"
    # One number for people; the files hold both bounds.
    return f"{value:.3g} ±{max(value - low, high - value, 0.0):.2g}"
