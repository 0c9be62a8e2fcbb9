"""The parts of the report as HTML. Every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import final

from sciddiff.report.page import asset, heading, inline_png, tile, tiles
from sciddiff.report.page import document as page_document

__all__ = [
    "Picture", "Start", "VariableMaps", "document", "maps_section", "score_table",
    "starts_sections", "tracks_section",
]  # fmt: skip

_HERE = "weather.report"


@final
@dataclass(frozen=True)
class Picture:
    """A PNG with the words for those who cannot see it."""

    png: bytes
    text: str

    def html(self, more: str = "") -> str:
        """The picture as an element that holds its own data."""
        return inline_png(self.png, self.text, more)


@final
@dataclass
class VariableMaps:
    """Maps of one variable by lead.

    Attributes:
        name: Short name.
        label: Words.
        leads: Leads in words, in order.
        pictures: For each lead its pictures, in order.
    """

    name: str
    label: str
    leads: list[str] = field(default_factory=list)
    pictures: list[list[Picture]] = field(default_factory=list)


@final
@dataclass
class Start:
    """What the page shows of one initial time.

    Attributes:
        name: The initial time in words.
        sentence: What is shown of it.
        mark: What its elements' names begin with; empty if it is the only one.
        sections: HTML, in order.
    """

    name: str
    sentence: str
    mark: str
    sections: list[str]


def document(title: str, sections: Sequence[str]) -> str:
    """The whole page.

    Args:
        title: Heading of the browser's tab, plain text.
        sections: HTML of the body, in order.
    """
    return page_document(
        title, sections, asset(_HERE, "report.css"), asset(_HERE, "report.js")
    )


def header(title: str, lead: str, facts: Mapping[str, str]) -> str:
    """Title, one sentence, and the facts that matter.

    Args:
        title: Plain text.
        lead: What is shown.
        facts: Short values by their names.
    """
    cards = [tile(value, key) for key, value in facts.items()]
    return f"{heading(title, lead)}<main>{tiles(cards)}"


def starts_sections(starts: Sequence[Start]) -> list[str]:
    """Sections of the only initial time, or a tab for each of several."""
    if len(starts) == 1:
        return starts[0].sections
    tabs = "".join(
        f'<button role="tab" data-panel="{one.mark}all" aria-selected="{_bool(i == 0)}">'
        f"{escape(one.name)}</button>"
        for i, one in enumerate(starts)
    )
    panels = [
        f'<div class="panel" id="{one.mark}all"><p class="note">{escape(one.sentence)}</p>'
        f"{''.join(one.sections)}</div>"
        for one in starts
    ]
    return [
        '<div class="tabs" id="starts"><div class="card"><h2>Initial times</h2>'
        f'<div class="bar" role="tablist">{tabs}</div></div>{"".join(panels)}</div>'
    ]


def places_section(places: Sequence[tuple[str, str, str]], mark: str = "") -> str:
    """Meteograms, one place at a time.

    Args:
        places: Name, position in words, and SVG.
        mark: What the names of elements begin with.
    """
    if not places:
        return ""
    tabs = "".join(
        f'<button role="tab" data-panel="{mark}place-{i}" aria-selected="{_bool(i == 0)}">'
        f"{escape(name)}</button>"
        for i, (name, _, _) in enumerate(places)
    )
    panels = "".join(
        f'<div class="panel" id="{mark}place-{i}"><p class="note">{escape(name)}, '
        f"{escape(where)}; the grid box values are interpolated.</p>{svg}</div>"
        for i, (name, where, svg) in enumerate(places)
    )
    return (
        f'<section class="card tabs" id="{mark}places"><h2>At places</h2>'
        f'<div class="bar" role="tablist">{tabs}</div>{panels}</section>'
    )


def maps_section(variables: Sequence[VariableMaps], note: str, mark: str = "") -> str:
    """Maps: tabs for the variables, a slider for the lead.

    Args:
        variables: All with the same leads.
        note: What the pictures are, plain text.
        mark: What the names of elements begin with.
    """
    leads = variables[0].leads
    tabs = "".join(
        f'<button role="tab" data-panel="{mark}maps-{i}" aria-selected="{_bool(i == 0)}" '
        f'title="{escape(one.label, quote=True)}">{escape(one.name)}</button>'
        for i, one in enumerate(variables)
    )
    slider = ""
    if len(leads) > 1:
        slider = (
            f'<label class="slide">Valid <input type="range" id="{mark}lead" min="0" '
            f'max="{len(leads) - 1}" value="0" step="1" aria-describedby="{mark}lead-name">'
            f'<output id="{mark}lead-name" for="{mark}lead">{escape(leads[0])}</output></label>'
        )
    panels = []
    for i, one in enumerate(variables):
        frames = "".join(
            f'<div class="frame" data-lead="{k}" data-name="{escape(lead, quote=True)}">'
            f"<h3>{escape(one.label)}, {escape(lead)}</h3>"
            f"{''.join(picture.html() for picture in pictures)}</div>"
            for k, (lead, pictures) in enumerate(zip(one.leads, one.pictures, strict=True))
        )
        panels.append(f'<div class="panel" id="{mark}maps-{i}">{frames}</div>')
    return (
        f'<section class="card tabs" id="{mark}maps"><h2>Maps</h2><div class="bar sticky">'
        f'<div role="tablist" class="bar">{tabs}</div>{slider}</div>'
        f'<p class="note">{escape(note)}</p>{"".join(panels)}</section>'
    )


def tracks_section(picture: Picture, note: str) -> str:
    """Tracks of lows.

    Args:
        picture: Tracks and strike probabilities.
        note: How lows were followed, plain text.
    """
    return (
        f'<section class="card"><h2>Tracks of lows</h2><p class="note">{escape(note)}</p>'
        f"{picture.html()}</section>"
    )


def plots_section(title: str, note: str, plots: Sequence[str], wide: bool = False) -> str:
    """Drawings in two columns, or one where they are wide.

    Args:
        title: Plain text.
        note: What they show, plain text.
        plots: SVG.
        wide: One column.
    """
    if not plots:
        return ""
    cards = "".join(f'<div class="plot">{svg}</div>' for svg in plots)
    kind = "plots one" if wide else "plots"
    return (
        f'<section class="card"><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>'
        f'<div class="{kind}">{cards}</div></section>'
    )


def score_table(
    rows: Sequence[tuple[str, str, str, Mapping[str, float]]], mark: str = ""
) -> str:
    """Error, spread and CRPS by variable and lead.

    Args:
        rows: Variable, units, lead in words, and figures.
        mark: What the names of elements begin with.
    """
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td>{escape(label)}{' (' + escape(units) + ')' if units else ''}</td>"
        f"<td>{escape(lead)}</td><td>{one['crps']:.3g}</td><td>{one['rmse']:.3g}</td>"
        f"<td>{one['spread']:.3g}</td><td>{one['ratio']:.2f}</td></tr>"
        for label, units, lead, one in rows
    )
    return f"""<section class="card"><h2>Against the truth</h2>
<p class="note">Area means over the map. Spread is corrected for the number of members, so that
spread / error is 1 for a reliable ensemble. For intervals, regions and baselines, use
<code>sciddiff verify</code>.</p>
<div class="scroll"><table id="{mark}scores"><thead><tr><th>Variable</th><th>Valid</th>
<th>fair CRPS</th><th>RMSE of mean</th><th>Spread</th><th>Spread / error</th></tr></thead>
<tbody>{lines}</tbody></table></div></section>"""


def footer() -> str:
    """Credits."""
    return (
        "</main><footer><p>Coastlines: Natural Earth, public domain. Global maps are in the Equal "
        "Earth projection, which keeps areas. This page is one file and uses no network.</p>"
        "</footer>"
    )


def _bool(value: bool) -> str:
    return "true" if value else "false"
