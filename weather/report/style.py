"""The look of the report: figures without a display, as SVG or PNG, readable for all.

Lines use the palette of Okabe and Ito, maps the perceptually even or ColorBrewer scales that
colour-blind readers can order; nothing is said by red against green.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from sciddiff.report.figures import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "LINES",
    "ORANGE",
    "colour_map",
    "new_figure",
    "png_bytes",
    "svg_text",
]

INK = "#1c2733"
GREY = "#5b6b7a"
FAINT = "#dde4ea"
BLUE = "#0072b2"
ORANGE = "#d55e00"
LINES = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours for lines, in the order of use."""

_MAP_DPI = 120

LOOK = Look(
    extra="weather", ink=INK, ticks=GREY, edge="#b8c4ce", grid=FAINT, paper="white", size=9.5,
    more={"grid.linewidth": 0.7, "text.parse_math": False},
)  # fmt: skip
"""What all figures of the page have in common."""

new_figure = LOOK.new_figure
svg_text = LOOK.svg_text


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG of at most 256 colours, a third of the size of a full one."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_MAP_DPI, metadata={"Software": None},
                   pil_kwargs={"compress_level": 1})  # fmt: skip
    figure.set_layout_engine("none")  # laid out once
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="PNG", compress_level=9)
    return small.getvalue()


def colour_map(units: str, name: str) -> tuple[str, bool]:
    """The colour scale of a variable and whether zero is its middle."""
    if re.fullmatch(r"wind\d*|tp|pr|tcwv", name):
        return "YlGnBu", False
    if units == "°C":
        return "RdYlBu_r", False
    if re.fullmatch(r"[uvw]\d*", name) or "anom" in name or name.endswith("a"):
        return "PuOr_r", True
    return "viridis", False
