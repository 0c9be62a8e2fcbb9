"""Quality of backbones against network calls and CPU-seconds, for teachers and their students.

Every row is a model with its way of drawing, written ``MODEL[:STEPS[:FOLD_WEIGHT]]``; what is left
out is what the model says it is best drawn with (students record that). All rows get the same
lengths, fold classes and seed. Prints one JSON object a row, with every figure and its 95 %
interval, then a table whose last column counts the figures that lie within the intervals of the
first row's. Designs are kept under DIR, so that a rerun goes on; costs are those of the
designs that a run has drawn.

    python benchmarks/few_steps.py lite:20:2.5 lite:20 models/guided models/jumps:4 -n 100 -o DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from backbone_quality import draw, evaluate

from protein.backbone.generate import GenerateSettings
from protein.backbone.request import GenerationRequest
from protein.pretrained import find_model
from sciddiff.cli.output import as_table
from sciddiff.weights import Recommended

FIGURES = (
    "intact", "phi_negative", "left_handed", "rama_favoured", "helix", "strand", "clashes_per_100",
    "rg_ratio", "core",
)  # fmt: skip
"""Figures of the table; the JSON has all."""


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", metavar="MODEL[:STEPS[:FOLD_WEIGHT]]")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--lengths", type=int, nargs=2, default=(60, 128))
    parser.add_argument("--fold", default="any")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="clusters and novelty too")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    request = GenerationRequest(tuple(args.lengths), args.n, args.fold, args.seed)
    found = []
    for text in args.rows:
        name, settings, model = _row(text, args.seed)
        folder = args.out / text.replace("/", "_").replace(":", "_")
        cost = _kept(folder / "cost.json", draw(model, settings, request, folder))
        summary = evaluate(folder, args.reference, not args.full).summary
        row = {"row": text, "model": name, "n": args.n, "steps": settings.steps,
               "sampler": settings.sampler, "fold_weight": settings.fold_weight, **cost,
               "figures": summary}  # fmt: skip
        found.append(row)
        print(json.dumps(row), flush=True)
    print(_table(found))


def _row(text: str, seed: int) -> tuple[str, GenerateSettings, Any]:
    """The name, the way of drawing and the model of a row."""
    name, *rest = text.split(":")
    model = find_model(name)
    best = Recommended.of(model.meta)
    settings = GenerateSettings(
        steps=int(rest[0]) if rest else best.steps or GenerateSettings().steps,
        sampler="map" if best.flow_map else "sde",
        fold_weight=float(rest[1]) if len(rest) > 1 else 1.0,
        seed=seed,
    )
    return name, settings, model


def _kept(file: Path, cost: dict[str, float]) -> dict[str, float]:
    """The cost of the run that drew the designs, if this one drew none."""
    if cost["calls_per_design"] > 0 or not file.exists():
        file.write_text(json.dumps(cost))
    return json.loads(file.read_text())


def _table(found: list[dict[str, Any]]) -> str:
    header = ("row", "calls", "CPU s", *FIGURES, "as the first")
    first = {name: one for name, one in found[0]["figures"].items() if one["low"] is not None}
    rows = []
    for row in found:
        figures = row["figures"]
        within = [name for name, one in first.items() if name in figures and (
            one["low"] <= (figures[name]["value"] or 0.0) <= one["high"])]  # fmt: skip
        rows.append((
            row["row"], f"{row['calls_per_design']:.1f}", f"{row['cpu_seconds_per_design']:.2f}",
            *(_said(figures.get(name)) for name in FIGURES), f"{len(within)} of {len(first)}",
        ))  # fmt: skip
    return as_table(header, rows)


def _said(figure: dict[str, float | None] | None) -> str:
    value = None if figure is None else figure["value"]
    return "-" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
