"""Quality of shipped backbone weights: designs by default settings beside held-out natives.

Prints one JSON object per number of steps: every figure with its 95 % interval, and the seconds a
design took.
Run it as `python benchmarks/backbone_quality.py --model lite -n 200 --steps 20 100 -o DIR`; give
an archive with
`--reference` for novelty. Designs are kept under DIR, so that a rerun goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from protein.backbone.designs import evaluate_directory
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.request import GenerationRequest, design_name, templates
from protein.pretrained import find_model


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lite")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--steps", type=int, nargs="+", default=[20])
    parser.add_argument("--lengths", type=int, nargs=2, default=(60, 128))
    parser.add_argument("--fold", default="any")
    parser.add_argument("--temperature", type=float, default=GenerateSettings().temperature)
    parser.add_argument("--sampler", default=GenerateSettings().sampler)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    denoiser = find_model(args.model).denoiser
    request = GenerationRequest(tuple(args.lengths), args.n, args.fold, args.seed)
    for steps in args.steps:
        settings = GenerateSettings(
            steps=steps, sampler=args.sampler, temperature=args.temperature, seed=args.seed
        )
        folder = args.out / f"steps_{steps}"
        folder.mkdir(parents=True, exist_ok=True)
        missing = [i for i in range(args.n) if not (folder / f"{design_name(i)}.cif").exists()]
        started = time.perf_counter()
        for batch in templates(request, missing):
            for design in generate(denoiser, batch, settings):
                design.write(folder)
        seconds = time.perf_counter() - started
        evaluation, _ = evaluate_directory(folder, args.reference)
        print(
            json.dumps(
                {
                    "steps": steps,
                    "n": args.n,
                    "seconds_per_design": seconds / max(len(missing), 1),
                    "designs": evaluation.summary,
                    "natives": evaluation.natives,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
