"""The parts of the report as HTML. Every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from protein.backbone.metrics.evaluation import Evaluation
from protein.backbone.metrics.table import COLUMNS, comparison
from protein.backbone.report.style import COIL_COLOUR, HELIX_COLOUR, STRAND_COLOUR
from protein.viewer.molstar import (
    MISSING,
    MolstarAssets,
    credit,
    viewer_data,
    viewer_script,
    viewer_style,
)
from sciddiff.report.page import asset, document, heading, inline_png, provenance, tile
from sciddiff.report.page import tiles as card_row

_HERE = "protein.backbone.report"

_TILES = (
    "intact",
    "phi_negative",
    "left_handed",
    "clashes_per_100",
    "helix",
    "strand",
    "clusters_per_100",
    "novelty_median",
    "refold_passes",
)

_LISTED = (
    "name",
    "length",
    "flags",
    "refold_passes",
    "sc_rmsd",
    "sc_tm",
    "plddt",
    "iptm",
    "sequences_refolded",
    "sequences_passing",
    "helix",
    "strand",
    "rg",
    "rg_ratio",
    "contact_order",
    "rama_favoured",
    "phi_negative",
    "max_bond_z",
    "max_angle_z",
    "clashes_per_100",
    "overlaps_per_100",
    "core",
    "nearest_tm",
    "cluster",
    "novelty_tm",
    "novelty_match",
    "nll",
    "nll_entropy",
)


def page(title: str, sections: Sequence[str], assets: MolstarAssets | None, payload: str) -> str:
    """The whole document.

    Args:
        title: heading of the browser's tab, plain text.
        sections: HTML of the body, in order.
        assets: Mol*, or None for the simple viewer alone.
        payload: packed structures.
    """
    return document(
        title,
        sections,
        viewer_style() + asset(_HERE, "report.css"),
        viewer_script() + asset(_HERE, "report.js"),
        {"structures": payload, **viewer_data(assets)},
        viewer=True,
    )


def header(title: str, evaluation: Evaluation, run_info: Mapping[str, Any]) -> str:
    """Title, one sentence on what was made, and the command."""
    rows = evaluation.rows
    lengths = [row["length"] for row in rows]
    clean = sum(not row["flags"] for row in rows)
    span = f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)}–{max(lengths)}"
    lead = (
        f"{len(rows)} design{'s' * (len(rows) != 1)} of {span} residues, "
        f"{clean} without a flag; compared with {evaluation.reference.label}."
    )
    return heading(title, lead, _plain(run_info.get("command") or ""))


def tiles(evaluation: Evaluation) -> str:
    """The most important figures, each with natives below it."""
    cards = []
    for key in _TILES:
        ours = evaluation.summary.get(key)
        if ours is None or ours["value"] is None:
            continue
        column = COLUMNS[key]
        native = (evaluation.natives.get(key) or {}).get("value")
        beside = f"natives {column.show(native)}" if native is not None else "\u00a0"
        figure = column.show(ours["value"])
        cards.append(tile(figure, column.label, beside, column.unit, column.meaning))
    return card_row(cards)


def stage(names: Sequence[str], total: int, assets: MolstarAssets | None) -> str:
    """The viewer with its selector and the facts of the chosen design."""
    options = "".join(
        f'<option value="{escape(name, quote=True)}">{escape(name)}</option>' for name in names
    )
    note = ""
    if len(names) < total:
        note = (
            f"The first {len(names)} of {total} structures are in this page; "
            "the others are in the files beside it. "
        )
    if assets is None:
        note += f"{MISSING} "
    key = "".join(
        f'<span style="--c:{colour}">{word}</span>'
        for word, colour in (
            ("helix", HELIX_COLOUR),
            ("strand", STRAND_COLOUR),
            ("coil", COIL_COLOUR),
        )
    )
    return f"""<section class="card"><h2>Designs in three dimensions</h2>
<div class="bar">
<button id="before" aria-label="previous design">‹</button>
<select id="select" aria-label="design">{options}</select>
<button id="after" aria-label="next design">›</button>
<span class="grow"></span>
<button id="colour" aria-pressed="false">Rainbow</button>
<button id="spin" aria-pressed="false">Spin</button>
<button id="reset">Reset view</button></div>
<div class="stage"><div><div id="viewer"></div>
<p class="note key" style="margin-top:8px">{key}</p>
<p class="note">{escape(note)}<span id="why"></span></p></div>
<div><dl id="facts"></dl><div class="sse" aria-label="secondary structure"></div></div></div>
<noscript><p class="note">The viewer and the sorting of the table need JavaScript.</p></noscript>
</section>"""


def gallery(png: bytes, more: bool) -> str:
    """The picture of the designs, inlined."""
    which = "The twelve highest-ranked designs" if more else "The designs"
    picture = inline_png(png, f"{which} as ribbons")
    return f'<section><div class="gallery">{picture}</div></section>'


def design_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All designs, sortable by every column."""
    keys = [key for key in _LISTED if any(row.get(key) is not None for row in rows)]
    head = "".join(
        f'<th class="{_side(key)}" title="{escape(COLUMNS[key].meaning)}">'
        f"<button>{escape(_heading(key))}</button></th>"
        for key in keys
    )
    lines = []
    for row in rows:
        cells = "".join(_cell(key, row.get(key)) for key in keys)
        name = escape(str(row["name"]), quote=True)
        lines.append(f'<tr tabindex="0" data-name="{name}">{cells}</tr>')
    return f"""<section class="card"><div class="bar"><h2 style="margin:0">All designs</h2>
<span class="grow"></span><input type="search" id="filter" placeholder="Filter"
aria-label="filter the table"></div>
<p class="note">Click a heading to sort, a row to see the design. Ranked with unflagged designs
first, then by Ramachandran quality. Everything is in <code>designs.csv</code>.</p>
<div class="scroll tall"><table id="designs" class="sortable"><thead><tr>{head}</tr></thead>
<tbody>{"".join(lines)}</tbody></table></div></section>"""


def _heading(key: str) -> str:
    column = COLUMNS[key]
    return f"{column.label} ({column.unit})" if column.unit else column.label


def _side(key: str) -> str:
    return "text" if key in ("name", "flags", "novelty_match") else ""


def _cell(key: str, value: Any) -> str:
    if key == "flags":
        shown = "".join(f'<span class="flag">{escape(word)}</span> ' for word in _words(value))
        content = shown or '<span class="ok">none</span>'
        return f'<td class="text" data-value="{len(_words(value))}">{content}</td>'
    text = escape(COLUMNS[key].show(value))
    if isinstance(value, int | float):
        number = "" if value != value else f"{float(value):.6g}"  # noqa: PLR0124 - NaN
        return f'<td data-value="{number}">{text}</td>'
    return f'<td class="{_side(key)}">{text}</td>'


def _words(value: Any) -> list[str]:
    return [word for word in str(value or "").split("; ") if word]


def plot_grid(plots: Sequence[tuple[str, bool]]) -> str:
    """Plots in two columns; the flagged ones take both.

    Args:
        plots: SVG and whether it is wide.
    """
    cards = "".join(
        f'<div class="card{" wide" if wide else ""}">{svg}</div>' for svg, wide in plots
    )
    return f'<section class="plots">{cards}</section>'


def comparison_table(evaluation: Evaluation) -> str:
    """Every figure of the set beside natives, with its meaning."""
    lines = "".join(
        f'<tr title="{escape(row["meaning"])}"><td>{escape(row["figure"])}'
        f"{' (' + escape(row['unit']) + ')' if row['unit'] else ''}</td>"
        f"<td><b>{row['designs']}</b></td><td>{row['interval']}</td><td>{row['natives']}</td></tr>"
        for row in comparison(evaluation.summary, evaluation.natives)
    )
    return f"""<section class="card"><h2>Designs beside natives</h2>
<p class="note">Means over designs with 95 % bootstrap intervals; natives:
{escape(evaluation.reference.label)}.</p>
<div class="scroll"><table><thead><tr><th>Figure</th><th>Designs</th><th>95 % interval</th>
<th>Natives</th></tr></thead><tbody>{lines}</tbody></table></div></section>"""


def sequences(rows: Sequence[Mapping[str, Any]]) -> str:
    """The best sequence of every design, where sequences were designed."""
    there = [row for row in rows if row.get("sequence") and "sequence_score" in row]
    if not there:
        return ""
    lines = "".join(
        f'<tr><td class="text">{escape(str(row["name"]))}</td><td>{row["sequence_score"]:.3f}</td>'
        f'<td>{row["sequences"]}</td><td class="text">'
        f'{escape(str(row.get("sequence_warnings") or "none"))}</td>'
        f'<td class="text"><code>{escape(str(row["sequence"]))}</code></td></tr>'
        for row in there
    )
    return f"""<section class="card"><h2>Sequences</h2><p class="note">The best of each design;
score in nats a residue, lower is better. All are in <code>sequences/</code>, with a page of their
own.</p><div class="scroll tall"><table><thead><tr><th>Design</th><th>Score</th><th>Distinct</th>
<th class="text">Remarkable</th><th class="text">Sequence</th></tr></thead><tbody>{lines}</tbody>
</table></div></section>"""


def dictionary() -> str:
    """What every figure means."""
    lines = "".join(
        f"<tr><td><code>{key}</code></td><td>{escape(column.meaning)}</td></tr>"
        for key, column in COLUMNS.items()
    )
    return f"""<section class="card"><details><summary>What the figures mean</summary>
<div class="scroll"><table class="dictionary"><tbody>{lines}</tbody></table></div>
</details></section>"""


def made(run_info: Mapping[str, Any]) -> str:
    """Everything known about the run, folded away."""
    kept = {key: value for key, value in run_info.items() if key != "steps_study"}
    return provenance(kept, "How these designs were made")


def footer(assets: MolstarAssets | None) -> str:
    """Credits and limits."""
    return (
        "<footer><p>These figures say that a backbone looks like a protein, not that a sequence "
        "folds into it: design sequences, predict their structures and give them to sciddiff "
        "evaluate --refolded before making anything."
        f" {escape(credit(assets))} This page is one file and uses no network.</p></footer>"
    )


def _plain(command: Any) -> str:
    return command if isinstance(command, str) else " ".join(str(part) for part in command)
