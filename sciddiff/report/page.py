"""One HTML file that holds everything it shows and reaches no network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

__all__ = ["asset", "document", "heading", "inline_png", "pack", "provenance", "tile", "tiles"]

# What nothing in a page may do: reach a network. The scripts are in the page itself.
_PLAIN = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
# A large viewer makes code, fonts and workers of what the page holds; still nothing from outside.
_VIEWER = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src data: blob:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'"
)
_HERE = "sciddiff.report"


def document(
    title: str,
    sections: Sequence[str],
    style: str,
    script: str,
    data: Mapping[str, str] | None = None,
    viewer: bool = False,
) -> str:
    """The whole page: the shared style and script, then those of the domain.

    Args:
        title: Heading of the browser's tab, plain text.
        sections: HTML of the body, in order.
        style: Style sheet of the domain.
        script: Script of the domain; it finds the shared functions in ``page``.
        data: What the script reads, by the identifiers of their elements; packed by `pack`, or
            any text without ``<``.
        viewer: Allow what Mol* needs.
    """
    blocks = [
        f'<script type="text/plain" id="{key}">{text}</script>'
        for key, text in (data or {}).items()
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            f'content="{_VIEWER if viewer else _PLAIN}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{asset(_HERE, 'page.css')}{style}</style></head><body>",
            *sections,
            *blocks,
            f"<script>{asset(_HERE, 'page.js')}{script}</script>",
            "</body></html>",
            "",
        ]
    )


def heading(title: str, lead: str, command: str = "") -> str:
    """Title, one sentence on what is shown, and the command that made it; all plain text."""
    shown = f"<p><code>{escape(command)}</code></p>" if command else ""
    return f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{shown}</header>'


def tile(value: str, label: str, beside: str = "", unit: str = "", meaning: str = "") -> str:
    """A card with one figure.

    Args:
        value: The figure.
        label: What it is.
        beside: What to compare it with.
        unit: Of the figure.
        meaning: Shown when the pointer rests on it.
    """
    hint = f' title="{escape(meaning, quote=True)}"' if meaning else ""
    small = f"<small>{escape(unit)}</small>" if unit else ""
    more = f"<em>{escape(beside)}</em>" if beside else ""
    return (
        f'<div class="card tile"{hint}><b>{escape(value)}{small}</b>'
        f"<span>{escape(label)}</span>{more}</div>"
    )


def tiles(cards: Sequence[str]) -> str:
    """Cards side by side.

    Args:
        cards: HTML of `tile`.
    """
    return f'<section class="tiles">{"".join(cards)}</section>'


def inline_png(png: bytes, description: str, more: str = "") -> str:
    """A picture as an element that holds its own data.

    Args:
        png: The file.
        description: What it shows, for those who cannot see it.
        more: Further attributes, HTML.
    """
    data = base64.b64encode(png).decode("ascii")
    alt = escape(description, quote=True)
    return f'<img alt="{alt}" src="data:image/png;base64,{data}"{more}>'


def provenance(facts: Mapping[str, Any], summary: str) -> str:
    """Everything known about how something was made, folded away.

    Args:
        facts: Plain values.
        summary: The line that unfolds them.
    """
    if not facts:
        return ""
    text = escape(json.dumps(dict(facts), indent=2, ensure_ascii=False, default=str))
    return (
        f'<section class="card"><details><summary>{escape(summary)}</summary>'
        f"<pre>{text}</pre></details></section>"
    )


def pack(text: str) -> str:
    """Text as base64 of gzip, for a page that unpacks it with ``DecompressionStream``."""
    # A fixed time stamp: the same data give the same file.
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")


def asset(package: str, name: str) -> str:
    """Text of a file in the folder ``assets`` of a package."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
