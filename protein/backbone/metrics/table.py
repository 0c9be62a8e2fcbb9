"""The dictionary of metrics, `designs.csv`, and the table of designs beside natives.

One entry per figure says what it is, in which unit and which way is better; the file, the
report and the command line all read it, so that a figure has the same name everywhere.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from protein.backbone.metrics.evaluation import Figure
from sciddiff.names import cell

Better = Literal["high", "low", "native", "none"]


@dataclass(frozen=True)
class Column:
    """One figure.

    Attributes:
        label: heading people read.
        meaning: one sentence: what is measured, with its thresholds.
        unit: unit, ``%`` where a fraction is shown in percent, or empty.
        better: which way is better; ``native`` means close to natives.
        digits: decimals shown.
        of_set: true for a figure of the whole set, which no single design has.
    """

    label: str
    meaning: str
    unit: str = ""
    better: Better = "native"
    digits: int = 2
    of_set: bool = False

    def show(self, value: object) -> str:
        """The value as text, with its unit left to the heading."""
        if value is None or value == "":
            return "–"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int | float):
            if not math.isfinite(value):
                return "–"
            return f"{value * (100 if self.unit == '%' else 1):.{self.digits}f}"
        return str(value)


COLUMNS: dict[str, Column] = {
    "name": Column("Design", "name of the design, also of its files", better="none"),
    "length": Column("Length", "number of residues", better="none", digits=0),
    "flags": Column("Flags", "what a reviewer should look at; empty when nothing", better="none"),
    "intact": Column(
        "Intact",
        "no chain break, and every N–CA, CA–C, C–N and CA–CA length within 4 standard "
        "deviations of its ideal",
        "%",
        "high",
        1,
    ),
    "broken": Column("Broken", "a C–N above 1.7 Å or a CA–CA step above 4.3 Å", "%", "low", 1),
    "breaks": Column("Breaks", "number of broken links", better="low"),
    "max_bond_z": Column(
        "Worst bond", "largest deviation of a bond length or CA–CA step", "σ", "low", 1
    ),
    "bonds_4_sigma": Column(
        "Bonds within 4 σ", "every N–CA, CA–C, C–N and CA–CA length within 4 σ", "%", "high", 1
    ),
    "max_angle_z": Column("Worst angle", "largest deviation of a bond angle", "σ", "low", 1),
    "angles_4_sigma": Column(
        "Angles within 4 σ", "every N–CA–C, CA–C–N and C–N–CA angle within 4 σ", "%", "high", 1
    ),
    "bad_ca": Column("Odd CA–CA", "CA–CA steps outside 3.6–4.0 Å", "%", "low", 2),
    "clashes_per_100": Column(
        "CA clashes",
        "CA pairs three or more residues apart and closer than 3.6 Å, per 100 residues",
        better="low",
    ),
    "overlaps_per_100": Column(
        "Atom overlaps",
        "atom pairs two or more residues apart overlapping by over 0.4 Å (N and O: closer than "
        "2.4 Å), per 100 residues",
        better="low",
    ),
    "phi_negative": Column("φ < 0", "residues with negative phi", "%", "native", 1),
    "trans": Column("Trans", "peptides with |ω| above 150°", "%", "native", 1),
    "rama_favoured": Column(
        "Rama favoured", "residues where 98 % of natives' φ, ψ lie", "%", "high", 1
    ),
    "rama_outliers": Column(
        "Rama outliers", "residues outside the region of 99.8 % of natives", "%", "low", 1
    ),
    "rama_jsd": Column(
        "Rama JSD",
        "Jensen–Shannon divergence of φ, ψ to natives, 30° bins, one chain",
        "bit",
        "low",
        3,
    ),
    "left_handed": Column(
        "Left-handed helix", "runs of four helical residues that turn left", "", "low", 2
    ),
    "helix": Column("Helix", "residues in helices (pydssp)", "%", "native", 1),
    "strand": Column("Strand", "residues in strands (pydssp)", "%", "native", 1),
    "coil": Column("Coil", "residues in neither", "%", "native", 1),
    "rg": Column("Rg", "radius of gyration of CA", "Å", "native", 1),
    "rg_ratio": Column("Rg ratio", "Rg over 2.2 L^0.38", "", "native", 2),
    "contacts": Column("Contacts", "CA pairs within 8 Å per residue", "", "native", 2),
    "long_range_contacts": Column(
        "Long-range", "contacts twelve or more residues apart, per residue", "", "native", 2
    ),
    "contact_order": Column(
        "Contact order", "mean separation of contacts over the length", "", "native", 3
    ),
    "core": Column(
        "Core", "residues with over 5.2 neighbours in the side-chain cone", "%", "native", 1
    ),
    "nearest_tm": Column("Nearest TM", "largest TM-score to another design", "", "low", 2),
    "cluster": Column(
        "Cluster", "cluster at TM 0.6, in order of appearance", better="none", digits=0
    ),
    "novelty_tm": Column(
        "TM to training", "largest TM-score to the training set (a lower bound)", "", "low", 2
    ),
    "novelty_match": Column("Nearest known", "training chain that reaches it", better="none"),
    "nll": Column(
        "MPNN NLL",
        "ProteinMPNN negative log-likelihood of its own sequences, nats",
        "",
        "native",
        2,
    ),
    "nll_entropy": Column(
        "MPNN entropy",
        "entropy of their composition, nats; trust no NLL where it is below 2.3",
        "",
        "high",
        2,
    ),
    "interface_contacts": Column(
        "Interface contacts",
        "CA contacts (8 Å) with other chains per residue; of two sides, of the smaller",
        "",
        "native",
        2,
    ),
    "buried_area": Column(
        "Buried area",
        "area of backbone and CB atoms that each side buries in the other, mean of the sides",
        "Å²",
        "native",
        0,
    ),
    "chain_clashes": Column(
        "Chain clashes", "CA pairs of different chains closer than 3.6 Å", "", "low", 0
    ),
    "hotspots_met": Column(
        "Hotspots met", "hotspots with a CB of the binder within 8 Å", "%", "high", 0
    ),
    "sc_rmsd": Column(
        "scRMSD",
        "CA distance of the best refolded structure to the design, after superposition",
        "Å",
        "low",
        2,
    ),
    "sc_tm": Column(
        "scTM", "TM-score of the best refolded structure to the design", "", "high", 3
    ),
    "plddt": Column(
        "pLDDT", "mean confidence of the best refolded structure, 0 to 100", "", "high", 1
    ),
    "ptm": Column("pTM", "predicted TM-score of the best refolded structure", "", "high", 2),
    "iptm": Column("ipTM", "the same of its interfaces", "", "high", 2),
    "refold_passes": Column(
        "Refolds",
        "the best refolded structure meets the thresholds: scRMSD < 2 Å, scTM > 0.5 and "
        "pLDDT > 70 unless others were asked for; share of the designs that were refolded",
        "%",
        "high",
        1,
    ),
    "sequences_refolded": Column(
        "Sequences refolded", "sequences with a refolded structure", "", "none", 1
    ),
    "sequences_passing": Column(
        "Sequences that refold", "sequences of which one structure meets the thresholds", "",
        "high", 1,
    ),
    "refold_file": Column("Best refold", "file of the best refolded structure", better="none"),
    "status": Column("Status", "ok, or failed: not delivered", better="none"),
    "reason": Column("Reason", "why a design failed", better="none"),
    "symmetry": Column("Symmetry", "point group of the assembly", better="none"),
    "binder": Column("Binder", "chain that was designed against the target", better="none"),
    "hotspots": Column("Hotspots", "residues of the target to bind at", better="none"),
    "contig": Column(
        "Contig", "what was kept and designed, with the lengths drawn", better="none"
    ),
    "motif_from": Column("Motif from", "kept residues as the motif's file names them", "", "none"),
    "motif_to": Column("Motif to", "the same residues as the design names them", "", "none"),
    "clusters_per_100": Column(
        "Clusters per 100", "clusters at TM 0.6 among the first 100 designs", "", "high", 0, True
    ),
    "mean_tm": Column("Mean TM", "mean TM-score between designs", "", "low", 2, True),
    "novelty_median": Column(
        "Median TM to training",
        "median of the largest TM-scores to the training set",
        "",
        "low",
        2,
        True,
    ),
    "rama_jsd_all": Column(
        "Rama JSD, all",
        "Jensen–Shannon divergence of all φ, ψ to natives, 20° bins; natives: "
        "one half to the other",
        "bit",
        "low",
        3,
        True,
    ),
    "rg_jsd": Column(
        "Rg JSD",
        "the same of the Rg ratio; natives: one half to the other",
        "bit",
        "low",
        3,
        True,
    ),
    "ss_jsd": Column(
        "Secondary structure JSD",
        "the same of helix and strand fractions together",
        "bit",
        "low",
        3,
        True,
    ),
    "core_jsd": Column(
        "Core JSD", "the same of the share of core residues", "bit", "low", 3, True
    ),
    "long_range_contacts_jsd": Column(
        "Long-range JSD", "the same of long-range contacts", "bit", "low", 3, True
    ),
    "contact_order_jsd": Column(
        "Contact order JSD", "the same of the contact order", "bit", "low", 3, True
    ),
}
"""Every figure, in the order of `designs.csv`, then the figures of a whole set."""


def csv_text(
    rows: Sequence[Mapping[str, Any]], extra: Iterable[str] = (), first: Sequence[str] = ()
) -> str:
    """Rows as CSV with a heading: known figures in their order, then other keys.

    Args:
        rows: one mapping per design.
        extra: further columns to write though no row may have them.
        first: columns to write before all others, in this order.
    """
    present = {key for row in rows for key in row} | set(extra)
    figures = [key for key, column in COLUMNS.items() if not column.of_set and key in present]
    known = list(dict.fromkeys([*first, *figures]))
    keys = known + sorted(present - set(known))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(keys)
    for row in rows:
        writer.writerow([_cell(row.get(key)) for key in keys])
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return "" if not math.isfinite(value) else f"{value:.6g}"
    return cell(value)


def write_designs_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write `designs.csv`; the file appears whole or not at all.

    Args:
        path: file to write.
        rows: one mapping per design; keys outside the dictionary follow in alphabetical order.
    """
    partial = path.with_name(path.name + ".part")
    partial.write_text(csv_text(rows), encoding="utf-8")
    os.replace(partial, path)
    return path


def column_dictionary() -> str:
    """The dictionary of figures as a Markdown table."""
    lines = ["| column | meaning | unit | better |", "|---|---|---|---|"]
    for key, column in COLUMNS.items():
        unit = "fraction" if column.unit == "%" else column.unit
        better = {"native": "as natives", "none": ""}.get(column.better, column.better + "er")
        lines.append(f"| `{key}` | {column.meaning} | {unit} | {better} |")
    return "\n".join(lines) + "\n"


def comparison(
    summary: Mapping[str, Figure], natives: Mapping[str, Figure]
) -> list[dict[str, str]]:
    """The summary of designs beside the same figures of natives, as text.

    Args:
        summary: `Evaluation.summary`.
        natives: `Evaluation.natives`.

    Returns:
        Rows with ``figure``, ``unit``, ``designs``, ``interval``, ``natives``, ``meaning``.
    """
    rows = []
    for key, column in COLUMNS.items():
        ours = summary.get(key)
        if ours is None or ours["value"] is None:
            continue
        theirs = natives.get(key) or {"value": None}
        low, high = ours["low"], ours["high"]
        known = low is not None and high is not None
        rows.append(
            {
                "key": key,
                "figure": column.label,
                "unit": column.unit,
                "designs": column.show(ours["value"]),
                "interval": f"{column.show(low)} – {column.show(high)}" if known else "",
                "natives": column.show(theirs["value"]),
                "meaning": column.meaning,
            }
        )
    return rows


def comparison_text(summary: Mapping[str, Figure], natives: Mapping[str, Figure]) -> str:
    """`comparison` as an aligned table for a terminal."""
    heading = ("figure", "designs", "95 % interval", "natives")
    body = [
        (f"{row['figure']} {row['unit']}".strip(), row["designs"], row["interval"], row["natives"])
        for row in comparison(summary, natives)
    ]
    widths = [max(len(line[i]) for line in [heading, *body]) for i in range(4)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [heading, *body]
    ]
    return "\n".join(lines) + "\n"
