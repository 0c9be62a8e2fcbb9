"""The page of a run of designs: logos, composition, and a table; one file without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.quality import COMMONEST, ENTROPY, NATIVE_SHARES, RUN
from protein.sequence.design.tables import COLUMNS, Tables, burial, written
from sciddiff.files import replacing
from sciddiff.report.page import asset, document, heading, provenance, tile, tiles

__all__ = ["write_report"]

_GROUPS = {"AVLIMC": "#4f8f5b", "FWY": "#b8860b", "KRH": "#2e6fb2", "DE": "#c0392b",
           "STNQ": "#7a5aa6", "GP": "#6b7785"}  # fmt: skip
_COLOUR = {letter: colour for letters, colour in _GROUPS.items() for letter in letters}
_DEPTHS = (
    ("surface, below 12", 0, 12),
    ("between, 12 to 19", 12, 20),
    ("core, 20 or more", 20, 999),
)
_MOST_LOGOS = 40
_MOST_ROWS = 2000
_A_LINE = 50  # residues of a logo in one line


def write_report(directory: Path, tables: Sequence[Tables], record: Mapping[str, Any]) -> Path:
    """Write `report.html`.

    Args:
        directory: its folder.
        tables: what was designed.
        record: content of `run.json`.
    """
    count = sum(len(one.designs) for one in tables)
    lead = (
        f"{count} sequences for {len(tables)} structure{'s' * (len(tables) != 1)}. Scores are "
        "negative log-probabilities in nats a residue: lower is better."
    )
    sections = [
        heading("Designed sequences", lead, str(record.get("command", ""))),
        "<main>",
        _tiles(tables),
        _remarks(tables),
        _composition(tables),
        _by_burial(tables),
        *(_logo(one) for one in tables[:_MOST_LOGOS]),
        _table(tables),
        _dictionary(),
        provenance(dict(record), "How these sequences were made"),
        "</main>",
        "<footer><p>A good score says that the network finds a sequence likely for its backbone, "
        "not that it folds: predict the structures of refold.fasta before making anything. This "
        "page is one file and uses no network.</p></footer>",
    ]
    file = directory / "report.html"
    here = "protein.sequence.design"
    with replacing(file) as out:
        text = document("Designed sequences", sections, asset(here, "report.css"),
                        asset(here, "report.js"))  # fmt: skip
        out.write(text.encode("utf-8"))
    return file


def _tiles(tables: Sequence[Tables]) -> str:
    figures = [one.figures() for one in tables]

    def mean(name: str) -> float:
        there = [said[name] for said in figures if said[name] is not None]
        return float(np.mean(there)) if there else float("nan")

    flagged = sum(said["remarkable"] for said in figures)
    total = sum(said["sequences"] for said in figures)
    distinct = sum(said["distinct"] for said in figures)
    alike = sum(said["native_like"] for said in figures)
    recovered = written(100.0 * mean("recovery"), 0)
    blank = "" if recovered else figures[0]["no_recovery"]
    cards = [
        tile(f"{mean('score'):.3f}", "mean score", f"structures' own {mean('native_score'):.3f}",
             "nats", COLUMNS["score"]),
        tile(recovered or "–", "recovery", blank, "%" * bool(recovered), COLUMNS["seq_recovery"]),
        tile(f"{mean('entropy'):.2f}", "composition entropy", "natives 2.8", "nats",
             COLUMNS["entropy"]),
        tile(f"{distinct}", "distinct sequences", f"of {total}"),
        tile(f"{alike}", "like natives", f"of {total}", "", COLUMNS["native_like"]),
        tile(f"{flagged}", "remarkable", f"of {total}", "",
             f"{RUN} equal residues in a row, more than {100.0 * COMMONEST:.0f} % of one amino "
             f"acid, or an entropy below {ENTROPY} nats"),
    ]  # fmt: skip
    return tiles(cards)


def _remarks(tables: Sequence[Tables]) -> str:
    """Designs that are remarkable, at most twenty."""
    found = [
        f"<li>{escape(design.name)}: {escape('; '.join(design.quality.warnings))}</li>"
        for one in tables
        for design in one.designs
        if design.quality.warnings
    ]
    if not found:
        return ""
    more = f"<li>and {len(found) - 20} more</li>" if len(found) > 20 else ""
    return (
        '<section class="card"><h2>Remarkable designs</h2><p class="note">Runs and poor '
        "compositions are mostly a sign of a backbone unlike natural ones. Try another backbone, "
        f"--backbone-noise 0.2, --omit-aa or --bias-aa.</p><ul>{''.join(found[:20])}{more}</ul>"
        "</section>"
    )


def _composition(tables: Sequence[Tables]) -> str:
    """Shares of the amino acids beside those of natives."""
    counts = np.zeros(len(LETTERS))
    for one in tables:
        for design in one.designs:
            drawn = design.record.tokens()[one.plan.designed]
            counts += np.bincount(drawn, minlength=len(LETTERS))
    shares = counts / max(counts.sum(), 1.0)
    top, width = max(shares.max(), NATIVE_SHARES.max()), 30
    bars = []
    for k, letter in enumerate(LETTERS):
        ours, theirs = 130.0 * shares[k] / top, 130.0 * NATIVE_SHARES[k] / top
        x = 10 + k * width
        title = f"{letter}: {100.0 * shares[k]:.1f} %, natives {100.0 * NATIVE_SHARES[k]:.1f} %"
        bars.append(
            f'<g><title>{title}</title><rect x="{x}" y="{140 - ours:.1f}" width="11" '
            f'height="{ours:.1f}" fill="{_COLOUR[letter]}"/><rect x="{x + 12}" '
            f'y="{140 - theirs:.1f}" width="11" height="{theirs:.1f}" fill="var(--line)"/>'
            f'<text x="{x + 11}" y="156" text-anchor="middle">{letter}</text></g>'
        )
    return (
        '<section class="card"><h2>Composition</h2><p class="note">Designed residues in colour, '
        "natives in grey.</p>"
        f'<svg role="img" aria-label="shares of the amino acids" viewBox="0 0 {20 + 20 * width} '
        f'165" class="composition">{"".join(bars)}</svg></section>'
    )


def _by_burial(tables: Sequence[Tables]) -> str:
    """Recovery at the surface, between, and in the core; nothing for backbones without natives."""
    found: dict[str, list[bool]] = {name: [] for name, _, _ in _DEPTHS}
    for one in tables:
        plan, depth = one.plan, burial(one.plan)
        rows = plan.designed & plan.known
        if plan.no_recovery:
            continue
        for name, low, high in _DEPTHS:
            here = rows & (depth >= low) & (depth < high)
            for design in one.designs:
                found[name] += (design.record.tokens() == plan.native)[here].tolist()
    lines = "".join(
        f'<tr><td class="text">{name}</td><td>{100.0 * float(np.mean(hits)):.1f}</td>'
        f"<td>{len(hits)}</td></tr>"
        for name, hits in found.items()
        if hits
    )
    if not lines:
        return ""
    return (
        '<section class="card"><h2>Recovery by burial</h2><p class="note">By the number of CA '
        "atoms within 10 Å of the CB of a residue.</p><table><thead><tr><th>Place</th>"
        f"<th>Recovery (%)</th><th>Residues</th></tr></thead><tbody>{lines}</tbody></table>"
        "</section>"
    )


def _logo(one: Tables) -> str:
    """A logo of the designs of one structure: shares of the letters, scaled by information."""
    plan = one.plan
    shares = np.zeros((len(plan), len(LETTERS)))
    for design in one.designs:
        shares[np.arange(len(plan)), design.record.tokens()] += 1.0 / len(one.designs)
    rows = [_line(one, shares, start) for start in range(0, len(plan), _A_LINE)]
    said = one.figures()
    return (
        f'<section class="card"><h2>{escape(plan.name)}</h2><p class="note">{said["sequences"]} '
        f"sequences of {len(plan)} residues, {said['designed']} designed, {said['distinct']} "
        f"distinct. Height: information (bits); below: the structure's own residue, fixed ones "
        f'underlined.</p><div class="logos">{"".join(rows)}</div></section>'
    )


def _line(one: Tables, shares: NDArray[np.float64], start: int) -> str:
    plan, height, width = one.plan, 60.0, 18
    stop = min(start + _A_LINE, len(plan))
    marks = []
    for row in range(start, stop):
        x, y = 9 + width * (row - start), height
        law = shares[row]
        bits = np.log2(20.0) + float((law[law > 0] * np.log2(law[law > 0])).sum())
        for letter in np.argsort(law)[law[np.argsort(law)] > 0.0].tolist():
            size = height * law[letter] * max(bits, 0.15) / np.log2(20.0)
            # A capital letter is 0.72 of its font size high.
            scale = size / (0.72 * 20.0)
            marks.append(
                f'<text transform="translate({x},{y:.1f}) scale(1,{scale:.3f})" '
                f'fill="{_COLOUR[LETTERS[letter]]}">{LETTERS[letter]}</text>'
            )
            y -= size
        own = LETTERS[plan.native[row]] if plan.known[row] else "X"
        kind = "own" if plan.designed[row] else "own fixed"
        label = escape(plan.residues.labels[row])
        marks.append(
            f'<text class="{kind}" x="{x}" y="{height + 15}">{own}<title>{label}</title></text>'
        )
    first = escape(plan.residues.labels[start])
    return (
        f'<svg role="img" aria-label="logo from {first}" viewBox="0 -4 {9 + width * _A_LINE} 96" '
        f'class="logo">{"".join(marks)}<text class="label" x="1" y="{height + 29}">{first}</text>'
        "</svg>"
    )


def _table(tables: Sequence[Tables]) -> str:
    keys = ("name", "score", "score_se", "global_score", "seq_recovery", "entropy", "longest_run",
            "cysteines", "warnings", "sequence")  # fmt: skip
    head = "".join(
        f'<th class="{_side(key)}" title="{escape(COLUMNS[key], quote=True)}"><button>'
        f"{escape(key.replace('_', ' '))}</button></th>"
        for key in keys
    )
    lines = []
    for one in tables:
        for design in one.designs:
            record, quality = design.record, design.quality
            flags = "".join(f'<span class="flag">{escape(w)}</span> ' for w in quality.warnings)
            lines.append(
                f'<tr><td class="text">{escape(design.name)}</td><td>{record.score:.4f}</td>'
                f"<td>{written(record.score_se)}</td><td>{record.global_score:.4f}</td>"
                f"<td>{written(record.seq_recovery, 3)}</td><td>{record.entropy:.2f}</td>"
                f"<td>{quality.longest_run}</td><td>{quality.cysteines}</td>"
                f'<td class="text">{flags or "none"}</td>'
                f'<td class="text sequence">{escape(record.sequence)}</td></tr>'
            )
    note = ""
    if len(lines) > _MOST_ROWS:
        note = f"The first {_MOST_ROWS} of {len(lines)} are shown; all are in designs.csv. "
    return (
        '<section class="card"><div class="bar"><h2 style="margin:0">All sequences</h2><span '
        'class="grow"></span><input type="search" id="filter" placeholder="Filter" '
        f'aria-label="filter the table"></div><p class="note">{note}Click a heading to sort.</p>'
        f'<div class="scroll tall"><table id="designs" class="sortable"><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(lines[:_MOST_ROWS])}</tbody></table></div></section>"
    )


def _side(key: str) -> str:
    return "text" if key in ("name", "warnings", "sequence") else ""


def _dictionary() -> str:
    lines = "".join(
        f"<tr><td><code>{key}</code></td><td class='text'>{escape(meaning)}</td></tr>"
        for key, meaning in COLUMNS.items()
    )
    return (
        '<section class="card"><details><summary>What the columns mean</summary><div '
        f'class="scroll"><table><tbody>{lines}</tbody></table></div></details></section>'
    )
