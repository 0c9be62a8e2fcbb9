"""The plots of an evaluation: success against RMSD, reliability, and selective success.

Each function draws on a figure it is given, so that one drawing serves a file and a page.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from protein.docking.evaluation.summary import CUTS, SUCCESS, Evaluation, label_of
from sciddiff.report.figures import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw: TypeAlias = "Callable[[Figure, Evaluation], None]"
"""Draws one plot on an empty figure."""

_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_INK, _GRID = "#010203", "#040506"
_PAGE = Look(
    extra="protein", ink=_INK, ticks=_INK, edge=_GRID, grid=_GRID,
    swaps={_INK: "currentColor", _GRID: "var(--line)"},
)  # fmt: skip
_FILE = Look(
    extra="protein", ink="#1c2733", ticks="#5b6b7a", edge="#b8c4ce", grid="#dde4ea", paper="white"
)
_SIZE = (5.4, 3.8)


def plots(evaluation: Evaluation) -> dict[str, tuple[Draw, str]]:
    """Plots that can be drawn: by file stem, the function and a caption."""
    drawn: dict[str, tuple[Draw, str]] = {
        "success": (_success, "share of complexes within each RMSD")
    }
    if evaluation.trust is not None:
        if evaluation.trust.table is not None:
            drawn["reliability"] = (_reliability, "confidence against frequency of right poses")
        if len(evaluation.trust.coverage) > 1:
            drawn["selective"] = (_selective, "success among the most confident complexes")
    return drawn


def as_png(draw: Draw, evaluation: Evaluation) -> bytes:
    """A plot as a file."""
    buffer = io.BytesIO()
    with _FILE.new_figure(*_SIZE) as figure:
        draw(figure, evaluation)
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def as_svg(draw: Draw, evaluation: Evaluation, name: str, description: str) -> str:
    """A plot as an element of a page."""
    with _PAGE.new_figure(*_SIZE) as figure:
        draw(figure, evaluation)
        return _PAGE.svg_text(figure, name, description)


def _success(figure: Figure, evaluation: Evaluation) -> None:
    curves, axes = evaluation.curves, figure.subplots()
    shown = curves.rmsd <= 6.0
    x = curves.rmsd[shown]
    axes.fill_between(
        x, curves.low[shown], curves.high[shown], color=_LINES[0], alpha=0.18, linewidth=0
    )
    for colour, (n, share) in zip(_LINES, curves.share.items(), strict=False):
        # Where lines coincide, top-1 is the one to see.
        axes.plot(
            x, share[shown], color=colour, linewidth=1.8, label=label_of(n), zorder=3 - n / 100
        )
    for cut in CUTS:
        axes.axvline(cut, linewidth=0.8, linestyle=":", color="#8a97a3", zorder=0)
    _shares(axes, "RMSD below, Å", "share of complexes")
    axes.set_xlim(0, 6)
    axes.legend(loc="lower right")
    count = len(evaluation.cases)
    axes.set_title(f"Success on {count} complex{'es' * (count != 1)}")


def _reliability(figure: Figure, evaluation: Evaluation) -> None:
    trust = evaluation.trust
    table = None if trust is None else trust.table
    if table is None:
        return
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = table.count > 0
    axes.plot([0, 1], [0, 1], linestyle=":", color="#8a97a3", linewidth=1)
    axes.plot(table.forecast[filled], table.frequency[filled], "o-", color=_LINES[0])
    _shares(axes, "", f"within {SUCCESS:g} Å")
    axes.set_title(f"Reliability of confidence (calibration error {table.error:.3f})")
    middle = (table.edges[:-1] + table.edges[1:]) / 2
    below.bar(middle, table.count, width=0.9 * np.diff(table.edges), color="#9aa7b3")
    below.set_xlabel("confidence")
    below.set_ylabel("poses")
    below.set_xlim(0, 1)


def _selective(figure: Figure, evaluation: Evaluation) -> None:
    trust, axes = evaluation.trust, figure.subplots()
    if trust is None:
        return
    axes.plot(trust.coverage, trust.success, drawstyle="steps-post", color=_LINES[0])
    rate = evaluation.rate(1)["share"]
    axes.axhline(rate, linestyle=":", color="#8a97a3", linewidth=1)
    _shares(axes, "share of complexes kept, the surest first", f"top-1 within {SUCCESS:g} Å")
    axes.set_xlim(0, 1)
    axes.set_title("Selective success")


def _shares(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(True)
