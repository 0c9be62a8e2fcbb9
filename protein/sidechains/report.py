"""The page of packed side chains: figures and tables; one file without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from protein.sidechains.records import Record
from protein.sidechains.tables import RESIDUES, STRUCTURES, structure_row
from protein.sidechains.targets import Target
from sciddiff.files import replacing
from sciddiff.report.page import asset, document, heading, provenance, tile, tiles

__all__ = ["write_report"]

_HERE = "protein.sidechains"
_MOST_ROWS = 2000
_DOUBTFUL = 0.5


def write_report(
    directory: Path, made: Sequence[tuple[Target, Record]], record: Mapping[str, Any]
) -> Path:
    """Write `report.html`.

    Args:
        directory: its folder.
        made: the packed structures.
        record: content of `run.json`.
    """
    count = sum(one.packed for _, one in made)
    lead = (
        f"{count} side chains of {len(made)} structure{'s' * (len(made) != 1)}. Confidence is the "
        "probability that the first two torsions are within 20 degrees."
    )
    sections = [
        heading("Packed side chains", lead, str(record.get("command", ""))),
        "<main>",
        _tiles(made),
        _by_confidence(made),
        _structures(made),
        _doubtful(made),
        _dictionary(),
        provenance(dict(record), "How these side chains were made"),
        "</main>",
        "<footer><p>Bond lengths and angles are ideal, and the backbone does not move: relax a "
        "structure before computing energies. This page is one file and uses no network.</p>"
        "</footer>",
    ]
    file = directory / "report.html"
    with replacing(file) as out:
        text = document(
            "Packed side chains", sections, asset(_HERE, "report.css"), asset(_HERE, "report.js")
        )
        out.write(text.encode("utf-8"))
    return file


def _tiles(made: Sequence[tuple[Target, Record]]) -> str:
    records = [record for _, record in made]
    clashes = sum(one.clashes for one in records)
    packed = max(sum(one.packed for one in records), 1)
    confidence = float(np.mean([one.confidence for one in records if one.packed] or [np.nan]))
    cards = [
        tile(f"{packed}", "side chains packed", f"{sum(one.fixed for one in records)} kept"),
        tile(f"{100.0 * confidence:.0f}", "confidence", "mean", "%", STRUCTURES["confidence"]),
        tile(f"{clashes}", "clashes", f"{100.0 * clashes / packed:.2f} in 100 side chains", "",
             STRUCTURES["clashes"]),
    ]  # fmt: skip
    own = [one.own for one in records if one.own]
    if own:
        weights = [said["residues"] for said in own]
        right = float(np.average([said["chi1_20"] for said in own], weights=weights))
        cards.append(
            tile(f"{100.0 * right:.0f}", "as in the file", "first torsion", "%",
                 STRUCTURES["own_chi1"])
        )  # fmt: skip
    return tiles(cards)


def _by_confidence(made: Sequence[tuple[Target, Record]]) -> str:
    """How many side chains have which confidence."""
    values = np.asarray(
        [
            value
            for _, record in made
            for value, drawn in zip(record.row_confidence, record.drawn, strict=True)
            if drawn
        ]
    )
    if not len(values):
        return ""
    counts, _ = np.histogram(values, bins=10, range=(0.0, 1.0))
    bars = "".join(
        f'<g><title>{10 * k}-{10 * k + 10} %: {n}</title><rect x="{10 + 38 * k}" '
        f'y="{130 - 120.0 * n / counts.max():.1f}" width="34" '
        f'height="{120.0 * n / counts.max():.1f}" fill="#2e6fb2"/>'
        f'<text x="{27 + 38 * k}" y="146" text-anchor="middle">{10 * k}</text></g>'
        for k, n in enumerate(counts.tolist())
    )
    return (
        '<section class="card"><h2>Confidence</h2><p class="note">Side chains by confidence, per '
        'cent.</p><svg role="img" aria-label="side chains by confidence" viewBox="0 0 400 152" '
        f'class="calibration">{bars}</svg></section>'
    )


def _table(name: str, title: str, columns: Sequence[str], rows: Sequence[str], note: str) -> str:
    meanings = {**RESIDUES, **STRUCTURES}
    head = "".join(
        f'<th title="{escape(meanings.get(key, ""), quote=True)}"><button>'
        f"{escape(key.replace('_', ' '))}</button></th>"
        for key in columns
    )
    return (
        f'<section class="card"><div class="bar"><h2 style="margin:0">{title}</h2><span '
        f'class="grow"></span><input type="search" id="{name}-filter" placeholder="Filter" '
        f'aria-label="filter the table"></div><p class="note">{note}</p><div class="scroll tall">'
        f'<table id="{name}" class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _structures(made: Sequence[tuple[Target, Record]]) -> str:
    columns = [key for key in STRUCTURES if key != "source"]
    rows = []
    for target, record in made[:_MOST_ROWS]:
        said = structure_row(target, record)
        cells = "".join(
            f'<td class="text">{escape(str(said[key]))}</td>'
            if key == "name"
            else f"<td>{escape(str(said[key]))}</td>"
            for key in columns
        )
        rows.append(f"<tr>{cells}</tr>")
    more = f"The first {_MOST_ROWS} of {len(made)}. " if len(made) > _MOST_ROWS else ""
    return _table("structures", "Structures", columns, rows, f"{more}Click a heading to sort.")


def _doubtful(made: Sequence[tuple[Target, Record]]) -> str:
    """Residues that clash or are doubtful, the worst first."""
    found = [
        (record.row_clashes[row], record.row_confidence[row], target, record, row)
        for target, record in made
        for row, drawn in enumerate(record.drawn)
        if drawn and (record.row_clashes[row] or record.row_confidence[row] < _DOUBTFUL)
    ]
    if not found:
        return ""
    found.sort(key=lambda one: (-one[0], one[1]))
    rows = [
        f'<tr><td class="text">{escape(target.name)}</td>'
        f'<td class="text">{escape(target.labels[row])}</td><td>{target.sequence[row]}</td>'
        f"<td>{confidence:.2f}</td><td>{record.row_spread[row]:.0f}</td><td>{clashes}</td></tr>"
        for clashes, confidence, target, record, row in found[:_MOST_ROWS]
    ]
    note = (
        f"{len(found)} side chains that clash, or whose confidence is below {_DOUBTFUL:g}; all "
        "residues are in residues.csv."
    )
    columns = ("structure", "residue", "type", "confidence", "spread", "clashes")
    return _table("residues", "Side chains to look at", columns, rows, note)


def _dictionary() -> str:
    lines = "".join(
        f"<tr><td><code>{key}</code></td><td class='text'>{escape(meaning)}</td></tr>"
        for key, meaning in STRUCTURES.items()
    )
    return (
        '<section class="card"><details><summary>What the columns mean</summary><div '
        f'class="scroll"><table><tbody>{lines}</tbody></table></div></details></section>'
    )
