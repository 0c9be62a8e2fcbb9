"""Colours of the report and how its plots are drawn as SVG that follows the page's theme.

Lines and letters that should change between a light and a dark page are drawn in two marker
colours, which `svg_text` turns into ``currentColor`` and a variable of the style sheet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sciddiff.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELIX_COLOUR = "#d1495b"
STRAND_COLOUR = "#2e86ab"
COIL_COLOUR = "#9aa7b3"
STATE_COLOURS = (COIL_COLOUR, HELIX_COLOUR, STRAND_COLOUR)
"""Colours of coil, helix and strand, indexed by state; told apart by colour-blind readers."""

DESIGN_COLOUR = "#e07a1f"
NATIVE_COLOUR = "#3b8f7a"

INK = "#010203"
GRID = "#040506"
"""Marker colours: text and axes, and faint lines."""

# Any: matplotlib's stubs name every key, older ones none.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "image.cmap": "viridis",
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
        raise MissingExtra("matplotlib", "protein") from error
    # Figures made by hand: pyplot would keep global state and choose a display.
    with mpl.rc_context(_SETTINGS):
        figure = MplFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def svg_text(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element for an HTML page.

    Args:
        figure: what `new_figure` gave.
        name: unique in the page; keeps identifiers of several drawings apart.
        description: what the picture shows, for those who cannot see it.
    """
    import html

    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=110)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Identifiers are unique within one drawing only.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', text)
    text = text.replace(INK, "currentColor").replace(GRID, "var(--line)")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = html.escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
