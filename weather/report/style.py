"""The look of the report: figures without a display, as SVG or PNG, readable for all.

Lines use the palette of Okabe and Ito, maps the perceptually even or ColorBrewer scales that
colour-blind readers can order; nothing is said by red against green.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sciddiff.errors import MissingExtra

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

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 9.5,
    "axes.edgecolor": "#b8c4ce",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,
}


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of that size (inches) with the report's settings, drawn without a display.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as MplFigure
    except ImportError as error:
        raise MissingExtra("matplotlib", "weather") from error
    # Figures made by hand: pyplot would keep global state and choose a display.
    with mpl.rc_context(_SETTINGS):
        figure = MplFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


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


def svg_text(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element for an HTML page.

    Args:
        figure: What `new_figure` gave.
        name: Unique in the page; keeps identifiers of several drawings apart.
        description: What the picture shows, for those who cannot see it.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    figure.set_layout_engine("none")  # laid out once
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Identifiers are unique within one drawing only.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = html.escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def colour_map(units: str, name: str) -> tuple[str, bool]:
    """The colour scale of a variable and whether zero is its middle."""
    if re.fullmatch(r"wind\d*|tp|pr|tcwv", name):
        return "YlGnBu", False
    if units == "°C":
        return "RdYlBu_r", False
    if re.fullmatch(r"[uvw]\d*", name) or "anom" in name or name.endswith("a"):
        return "PuOr_r", True
    return "viridis", False
