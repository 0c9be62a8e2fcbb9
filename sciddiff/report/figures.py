"""Figures of a page: drawn by matplotlib without a display, as SVG elements or files.

A `Look` is what all figures of one page have in common. Its colours may be markers that stand for
the page's own (``currentColor``, variables of the style sheet), so that a drawing follows a light
or dark page.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from sciddiff.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Look", "page_svg"]


@final
@dataclass(frozen=True)
class Look:
    """What figures of one page have in common.

    Attributes:
        extra: Extra of this distribution that brings matplotlib.
        ink: Colour of text.
        ticks: Colour of ticks and their numbers.
        edge: Colour of axes.
        grid: Colour of faint lines.
        paper: Background, a colour or ``none``.
        size: Of letters, points.
        swaps: In SVG, colours and what they become.
        more: Further settings of matplotlib.
    """

    extra: str
    ink: str
    ticks: str
    edge: str
    grid: str
    paper: str = "none"
    size: float = 10.0
    swaps: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    # Any: matplotlib's stubs name every key, older ones none.
    def _settings(self) -> Any:
        return {
            "svg.fonttype": "none",
            "font.family": ["sans-serif"],
            "font.size": self.size,
            "axes.edgecolor": self.edge,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.titlesize": self.size + 1.0,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "text.color": self.ink,
            "xtick.color": self.ticks,
            "ytick.color": self.ticks,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "legend.frameon": False,
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            **self.more,
        }

    @contextmanager
    def new_figure(self, width: float, height: float) -> Iterator[Figure]:
        """A figure of that size (inches) with these settings, drawn without a display.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        try:
            import matplotlib as mpl
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure as MplFigure
        except ImportError as error:
            raise MissingExtra("matplotlib", self.extra) from error
        # Figures made by hand: pyplot would keep global state and choose a display.
        with mpl.rc_context(self._settings()):
            figure = MplFigure(figsize=(width, height), layout="constrained")
            FigureCanvasAgg(figure)
            yield figure

    def svg_text(self, figure: Figure, name: str, description: str) -> str:
        """The figure as an SVG element for an HTML page.

        Args:
            figure: What `new_figure` gave.
            name: Unique in the page; keeps identifiers of several drawings apart.
            description: What the picture shows, for those who cannot see it.
        """
        import matplotlib as mpl

        buffer = io.StringIO()
        with mpl.rc_context({**self._settings(), "svg.hashsalt": name}):
            figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=110)
        figure.set_layout_engine("none")  # laid out once
        return page_svg(buffer.getvalue(), name, description, self.swaps)


def page_svg(text: str, name: str, description: str, swaps: Mapping[str, str]) -> str:
    """An SVG document as an element of an HTML page, as wide as its place there.

    Args:
        text: The document.
        name: Unique in the page; keeps identifiers of several drawings apart.
        description: What the picture shows, for those who cannot see it.
        swaps: Words of the document and what they become.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Identifiers are unique within one drawing only.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', text)
    for old, new in swaps.items():
        text = text.replace(old, new)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = html.escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
