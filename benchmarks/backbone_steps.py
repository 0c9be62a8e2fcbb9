"""The same weights sampled with 5 to 1000 steps, as a table and a figure.

The error of sampling is measured before the junctions are relaxed, on the frames as they leave
the sampler: how far
peptide bonds are from their length, how often CA atoms overlap, and how many residues are in
helices and strands.
Run it as `python benchmarks/backbone_steps.py --model lite -n 10 -o docs/figures/steps.png`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.metrics.measure import measure
from protein.backbone.polish import PolishSettings
from protein.backbone.request import GenerationRequest, templates
from protein.pretrained import find_model

STEPS = (5, 10, 20, 50, 100, 200, 500, 1000)


def main() -> None:
    """Sample at every number of steps, print a table, draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lite")
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--sampler", default=GenerateSettings().sampler)
    parser.add_argument("--temperature", type=float, default=GenerateSettings().temperature)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    denoiser = find_model(args.model).denoiser
    request = GenerationRequest(n=args.n, seed=args.seed)
    rows = []
    for steps in args.steps:
        settings = GenerateSettings(
            steps=steps,
            sampler=args.sampler,
            temperature=args.temperature,
            seed=args.seed,
            polish=PolishSettings(steps=0),
        )
        designs = [d for batch in templates(request) for d in generate(denoiser, batch, settings)]
        rows.append({"steps": steps, **_errors([design.coords for design in designs])})
        print(json.dumps(rows[-1]), flush=True)
    if args.out is not None:
        _draw(rows, args.out)


def _errors(chains: list[np.ndarray]) -> dict[str, float]:
    bonds, overlaps, ordered = [], [], []
    for coords in chains:
        length = np.linalg.norm(coords[1:, 0] - coords[:-1, 2], axis=-1)
        bonds.append(np.abs(length - 1.336).mean())
        row = measure("design", coords).row
        overlaps.append(row["clashes_per_100"])
        ordered.append(row["helix"] + row["strand"])
    return {
        "bond_error": float(np.mean(bonds)),
        "overlaps_per_100": float(np.mean(overlaps)),
        "helix_or_strand": float(np.mean(ordered)),
    }


def _draw(rows: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = {
        "bond_error": "error of peptide bonds (Å)",
        "overlaps_per_100": "CA overlaps per 100 residues",
        "helix_or_strand": "share in helices and strands",
    }
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, (key, label) in zip(axes, labels.items(), strict=True):
        axis.semilogx([row["steps"] for row in rows], [row[key] for row in rows], "o-")
        axis.set(xlabel="steps", ylabel=label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
