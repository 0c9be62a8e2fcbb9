"""The scorecard: for each variable, level and lead, whether a forecast beats the reference.

Blue is better and brown is worse, in steps that colour-blind readers can tell apart. A cell whose
interval holds 0 is hatched. The picture and the page show the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sciddiff.report.page import document, heading
from weather.verification.differences import Difference
from weather.verification.figures import Verification
from weather.verification.instants import DAY

__all__ = ["verdict", "write_scorecard"]

Floats = NDArray[np.float64]

_MOST_PERCENT = 20.0
_TITLES = {"crps": "CRPS", "rmse": "RMSE of the mean"}
_STYLE = """
table.card-of{border-collapse:collapse;margin:.4rem 0 1.2rem}
table.card-of th{font-weight:500;padding:.15rem .5rem;text-align:right}
table.card-of td{width:3.6rem;height:1.7rem;text-align:center;border:1px solid #fff;
font-variant-numeric:tabular-nums;font-size:.85rem}
td.unsure{background-image:repeating-linear-gradient(45deg,transparent 0 4px,
rgba(90,100,110,.35) 4px 5px)}
"""


def write_scorecard(
    result: Verification, found: Sequence[Difference], folder: Path, plots: bool = True
) -> list[Path]:
    """Write ``scorecard.html`` and, with `plots`, a picture for each forecast.

    Args:
        result: The scores.
        found: From `weather.verification.differences.compare`.
        folder: Where.
        plots: Also write the pictures.

    Returns:
        The files.
    """
    shown = [one for one in found if one.score in _TITLES]
    page = folder / "scorecard.html"
    part = page.with_name(f".{page.name}.part")
    part.write_text(_page(result, shown), encoding="utf-8")
    part.replace(page)
    written = [page]
    if plots:
        for forecast in dict.fromkeys(one.forecast for one in shown):
            mine = [one for one in shown if one.forecast == forecast]
            written.append(folder / f"scorecard_{_identifier(forecast)}.png")
            _picture(result, mine, written[-1])
    return written


def verdict(one: Difference) -> str:
    """One line for the terminal: how many cells are better and worse."""
    known = np.isfinite(one.percent)
    sure = one.significant & known
    better, worse = int((sure & (one.percent < 0)).sum()), int((sure & (one.percent > 0)).sum())
    return (
        f"{one.forecast} against {one.reference}, {_TITLES.get(one.score, one.score)}: better in "
        f"{better}, worse in {worse} of {int(known.sum())} cells; the others are not significant"
    )


def _page(result: Verification, shown: Sequence[Difference]) -> str:
    reference = shown[0].reference if shown else ""
    size = len(result.times)
    lead = (
        f"Relative difference from {reference} in per cent over {size} initial times. Below 0 "
        "(blue) is better. Hatched cells are not significant: their "
        f"{100 * result.level:g} % interval of the paired difference, from a bootstrap over "
        f"blocks of {result.block} initial times, holds 0. One cell in twenty stands out by "
        "chance."
    )
    sections = [heading("Scorecard", lead), "<main>"]
    for one in shown:
        for r, region in enumerate(result.regions):
            title = f"{one.forecast}, {_TITLES[one.score]}, {region}"
            sections.append(
                f'<section class="card"><h2>{escape(title)}</h2>{_table(result, one, r)}</section>'
            )
    sections.append("</main>")
    return document("Scorecard", sections, _STYLE, "")


def _table(result: Verification, one: Difference, region: int) -> str:
    days = "".join(f"<th>day {lead / DAY:g}</th>" for lead in result.leads)
    lines = []
    for v, channel in enumerate(result.channels):
        cells = []
        for k in range(len(result.leads)):
            at = (k, v, region)
            value, low, high = one.percent[at], one.low[at], one.high[at]
            if not np.isfinite(value):
                cells.append("<td></td>")
                continue
            kind = "" if one.significant[at] else ' class="unsure"'
            words = f"{one.value[at]:.4g} against {one.reference_value[at]:.4g}"
            if np.isfinite(low):
                words += f"; {low:+.2f} to {high:+.2f} %"
            cells.append(
                f'<td{kind} style="background-color:{_colour(value)}" title="{escape(words)}">'
                f"{value:+.1f}</td>"
            )
        lines.append(f"<tr><th>{escape(channel)}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="card-of"><thead><tr><th></th>{days}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _picture(result: Verification, shown: Sequence[Difference], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    leads, channels = len(result.leads), len(result.channels)
    regions = len(result.regions)
    width, height = max(2.4, 0.34 * leads + 0.9), 0.26 * channels + 0.75
    figure = Figure(figsize=(width * regions + 0.3, height * len(shown) + 0.9),
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    first = shown[0]
    figure.suptitle(
        f"{first.forecast} against {first.reference}\nblue: better, brown: worse,\n"
        f"hatched: not significant at {100 * result.level:g} %", fontsize=8,
    )  # fmt: skip
    grid = figure.subplots(len(shown), regions, squeeze=False)
    for row, one in zip(grid, shown, strict=True):
        for r, axis in enumerate(row):
            for k, v in np.ndindex(leads, channels):
                value = one.percent[k, v, r]
                if not np.isfinite(value):
                    continue
                unsure = not one.significant[k, v, r]
                axis.add_patch(
                    Rectangle(
                        (k, v), 1, 1, facecolor=_colour(value), edgecolor="#8a949e" if unsure
                        else "white", hatch="////" if unsure else None, lw=0.0 if unsure else 0.6,
                    )
                )  # fmt: skip
            axis.set(xlim=(0, leads), ylim=(channels, 0))
            axis.set_xticks(np.arange(leads) + 0.5, [f"{x / DAY:g}" for x in result.leads],
                            fontsize=7)  # fmt: skip
            axis.set_yticks(np.arange(channels) + 0.5, result.channels if r == 0 else [""] *
                            channels, fontsize=7)  # fmt: skip
            axis.tick_params(length=0)
            axis.set_title(f"{_TITLES[one.score]}, {result.regions[r]}", fontsize=8)
            axis.set_xlabel("day", fontsize=7)
            axis.spines[:].set_visible(False)
    figure.savefig(path, dpi=140)


def _colour(percent: float) -> str:
    """From blue (better) over white to brown (worse), saturated at 20 %."""
    share = float(np.clip(percent / _MOST_PERCENT, -1.0, 1.0))
    end = np.asarray([33, 102, 172] if share < 0 else [166, 97, 26])
    red, green, blue = (255 + (end - 255) * abs(share) ** 0.7).round().astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _identifier(name: str) -> str:
    kept = "".join(letter if letter.isalnum() else "_" for letter in name)
    return kept.strip("_").lower() or "forecast"
