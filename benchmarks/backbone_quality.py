"""Quality of shipped backbone weights: designs by default settings beside held-out natives.

Prints one JSON object per number of steps: every figure with its 95 % interval, and the network
calls and seconds of CPU time a design took. Designs are kept under DIR, so that a rerun goes on;
give an archive with `--reference` for novelty. With `--raw` designs are measured as they leave the
sampler, before junctions are relaxed: what of the figures is the network's own.

    python benchmarks/backbone_quality.py --model lite -n 200 --steps 20 100 -o DIR
    python benchmarks/backbone_quality.py --model lite -n 200 --raw -o DIR
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from protein.backbone.folder import read_folder
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.measuring import evaluate_directory
from protein.backbone.metrics import Evaluation, evaluate_designs
from protein.backbone.network import TRANSLATIONS
from protein.backbone.polish import DEFAULT, PolishSettings
from protein.backbone.request import GenerationRequest, design_name, templates
from protein.pretrained import find_model
from sciddiff.checkpoint import Model


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lite")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--steps", type=int, nargs="+", default=[20])
    parser.add_argument("--lengths", type=int, nargs=2, default=(60, 128))
    parser.add_argument("--fold", default="any")
    parser.add_argument("--fold-weight", type=float, default=GenerateSettings().fold_weight)
    parser.add_argument("--temperature", type=float, default=GenerateSettings().temperature)
    parser.add_argument("--sampler", default=GenerateSettings().sampler)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--quick", action="store_true", help="no clusters and no novelty")
    parser.add_argument("--raw", action="store_true", help="leave the junctions as they are")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = find_model(args.model)
    request = GenerationRequest(tuple(args.lengths), args.n, args.fold, args.seed)
    for steps in args.steps:
        settings = GenerateSettings(
            steps=steps,
            sampler=args.sampler,
            temperature=args.temperature,
            fold_weight=args.fold_weight,
            seed=args.seed,
            polish=PolishSettings(steps=0) if args.raw else DEFAULT,
        )
        folder = args.out / (f"raw_{steps}" if args.raw else f"steps_{steps}")
        cost = draw(model, settings, request, folder)
        evaluation = evaluate(folder, args.reference, args.quick)
        row = {
            "model": args.model,
            "samples": model.meta.get("data", {}).get("samples"),
            "steps": steps,
            "raw": args.raw,
            "n": args.n,
            **cost,
            "designs": evaluation.summary,
            "natives": evaluation.natives,
        }
        print(json.dumps(row), flush=True)


def draw(
    model: Model, settings: GenerateSettings, request: GenerationRequest, folder: Path
) -> dict[str, float]:
    """Draw the designs of a request that are not in a folder yet.

    Returns:
        Network calls and seconds of CPU time a design, of those that were drawn; both 0 if none
        was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    indices = range(request.n)
    missing = [i for i in indices if not (folder / f"{design_name(i)}.cif").exists()]
    calls = 0

    def count(net: torch.nn.Module, inputs: tuple) -> None:
        nonlocal calls
        calls += len(inputs[0][TRANSLATIONS])

    hook = model.denoiser.net.register_forward_pre_hook(count)
    started = time.process_time()
    for batch in templates(request, missing):
        for design in generate(model.denoiser, batch, settings):
            design.write(folder)
    seconds = time.process_time() - started
    hook.remove()
    made = max(len(missing), 1)
    return {"calls_per_design": calls / made, "cpu_seconds_per_design": seconds / made}


def evaluate(folder: Path, reference: Path | None = None, quick: bool = False) -> Evaluation:
    """Measure a folder of designs; ``quick``: without clusters and novelty."""
    return (_geometry if quick else _everything)(folder, reference)


def _everything(folder: Path, reference: Path | None) -> Evaluation:
    return evaluate_directory(folder, reference)[0]


def _geometry(folder: Path, reference: Path | None) -> Evaluation:
    """The figures that need no alignment of structures, which takes most of the time."""
    structures = read_folder(folder).structures
    chains = [(name, np.concatenate([c.coords for c in s])) for name, s in structures.items()]
    return evaluate_designs(chains, compare=1)


if __name__ == "__main__":
    main()
