"""Figures of backbone designs against the samples the weights have seen: a table and a figure.

Reads what `benchmarks/backbone_quality.py` printed for the weights of several checkpoints, one
file each:

    python benchmarks/backbone_quality.py --model A -n 60 --raw -o A.designs > A.json
    python benchmarks/backbone_curve.py A.json B.json --samples 107623 130000 -o curve.png

Relaxed and raw designs may be mixed; they are drawn apart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FIGURES = {
    "rama_favoured": ("Ramachandran favoured (%)", 100.0),
    "overlaps_per_100": ("overlaps per 100 residues", 1.0),
    "clashes_per_100": ("CA clashes per 100 residues", 1.0),
    "strand": ("strand (%)", 100.0),
    "helix": ("helix (%)", 100.0),
    "intact": ("intact (%)", 100.0),
    "phi_negative": ("φ < 0 (%)", 100.0),
    "left_handed": ("left-handed quads per design", 1.0),
}


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, nargs="+", help="samples seen, one for each file")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    rows = []
    for i, path in enumerate(args.files):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            samples = args.samples[i] if args.samples else row["samples"]
            rows.append({**row, "samples": int(samples)})
    rows.sort(key=lambda row: (row["raw"], row["samples"]))
    print("| samples | relaxed | n | " + " | ".join(label for label, _ in FIGURES.values()) + " |")
    print("|" + "---|" * (len(FIGURES) + 3))
    for row in rows:
        cells = [_cell(row["designs"][key], scale) for key, (_, scale) in FIGURES.items()]
        relaxed = "no" if row["raw"] else "yes"
        print(f"| {row['samples']:,} | {relaxed} | {row['n']} | " + " | ".join(cells) + " |")
    if args.out is not None:
        _draw(rows, args.out)


def _cell(figure: dict[str, float], scale: float) -> str:
    value, low, high = (figure[part] * scale for part in ("value", "low", "high"))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    for axis, (key, (label, scale)) in zip(axes, FIGURES.items(), strict=True):
        for raw, name in ((True, "before relaxation"), (False, "relaxed")):
            some = [row for row in rows if row["raw"] is raw]
            if not some:
                continue
            x = [row["samples"] / 1000.0 for row in some]
            value, low, high = (
                [row["designs"][key][part] * scale for row in some]
                for part in ("value", "low", "high")
            )
            below = [v - a for v, a in zip(value, low, strict=True)]
            above = [b - v for v, b in zip(value, high, strict=True)]
            axis.errorbar(x, value, [below, above], marker="o", capsize=2, label=name)
        native = rows[0]["natives"][key]["value"] * scale
        axis.axhline(native, color="0.5", linestyle="--", linewidth=1, label="natives")
        axis.set_title(label, fontsize=9)
        axis.set_xlabel("samples seen (thousand)", fontsize=8)
    axes[0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
