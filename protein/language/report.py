"""The page of drawn sequences: one HTML file without anything from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from protein.sequence.measure import NATIVE, measure
from sciddiff.files import replacing
from sciddiff.report.page import document, heading, provenance, tile, tiles

_STYLE = """
.bars{display:grid;grid-template-columns:repeat(20,1fr);gap:.3rem;align-items:end;height:10rem}
.bars div{display:flex;gap:1px;align-items:end;height:100%}
.bars i{flex:1;background:#2a6f97;display:block}.bars i+i{background:#b8c4cc}
.letters{display:grid;grid-template-columns:repeat(20,1fr);gap:.3rem;text-align:center}
pre.sequence{white-space:pre-wrap;word-break:break-all;margin:.2rem 0 1rem}
"""


def write_page(
    out: Path, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> Path:
    """Write `report.html` of some sequences.

    Args:
        out: folder of the results.
        rows: `name`, `length`, `longest_run` and `sequence` of each.
        record: what is known of the request; empty for sequences from elsewhere.

    Returns:
        The file.
    """
    measured = measure([row["sequence"] for row in rows])
    cards = [
        tile(str(measured["count"]), "sequences"),
        tile(f"{100 * measured['distinct']:.0f}", "distinct", unit=" %"),
        tile(f"{measured['entropy']:.2f}", "entropy of the composition", "natives 2.89", " nats"),
        tile(str(measured["longest_run"]), "longest run of one residue",
             "95 % of natives: at most 3"),
    ]  # fmt: skip
    sections = [
        heading(
            "Sequences",
            "Drawn without a structure." if record else f"Of {out.resolve().name}.",
            str(record.get("command", "")),
        ),
        tiles(cards),
        _composition(measured["shares"]),
        '<section class="card"><h2>Sequences</h2>',
        *(
            f"<b>{escape(str(row['name']))}</b> <small>{row['length']} residues</small>"
            f'<pre class="sequence">{escape(str(row["sequence"]))}</pre>'
            for row in rows
        ),
        "</section>",
        provenance(record, "How these sequences were made") if record else "",
    ]
    page = out / "report.html"
    with replacing(page) as file:
        file.write(document("Sequences", sections, _STYLE, "").encode())
    return page


def _composition(shares: Mapping[str, float]) -> str:
    """Bars of the shares of the residues beside those of natives."""
    highest = max(*shares.values(), *NATIVE.values())
    bars = "".join(
        f'<div title="{letter}: {100 * share:.1f} %, natives {100 * NATIVE[letter]:.1f} %">'
        f'<i style="height:{100 * share / highest:.1f}%"></i>'
        f'<i style="height:{100 * NATIVE[letter] / highest:.1f}%"></i></div>'
        for letter, share in shares.items()
    )
    letters = "".join(f"<span>{letter}</span>" for letter in shares)
    return (
        '<section class="card"><h2>Composition</h2><p>Blue: these sequences. Grey: natural '
        f'domains.</p><div class="bars">{bars}</div><div class="letters">{letters}</div></section>'
    )
