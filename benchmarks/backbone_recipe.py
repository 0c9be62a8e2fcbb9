"""Training recipes of the backbone network at equal CPU time.

Starts from shipped weights (or from scratch with `--start none`), trains for so many seconds of
CPU time, and prints one JSON object: samples seen, and the terms of the loss on the validation
split by the power-law average of the weights (width 0.10, or `--width`). Times, noise and
conditions of the validation are the same in every trial, so that two trials differ by their
weights alone. With `--out` the averaged weights are written, to be measured by
`benchmarks/backbone_quality.py`.

    python benchmarks/backbone_recipe.py chains.npz --seconds 160 --optim.name muon --optim.lr 1e-3
    python benchmarks/backbone_recipe.py chains.npz --seconds 160 --data.max_length 80
    python benchmarks/backbone_recipe.py chains.npz --seconds 160 --weight.torsions 0
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from protein.backbone import domain as backbone
from protein.backbone.data import BackboneData, BackboneDataSettings
from protein.backbone.domain import BackboneDomain
from protein.backbone.network import BackboneNetwork
from protein.pretrained import find_model
from sciddiff.checkpoint import save
from sciddiff.config import OptimSettings
from sciddiff.denoiser import Denoiser
from sciddiff.state import Batch
from sciddiff.training.ema import PowerEMA
from sciddiff.training.optim import make_optimizer, rate

EMBEDDINGS = (
    "time",
    "fold",
    "fixed",
    "relative",
    "noisy_distance",
    "seen_distance",
    "orientation",
)


def main() -> None:
    """Train, validate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive")
    parser.add_argument("--seconds", type=float, default=160.0, help="seconds of CPU time")
    parser.add_argument("--start", default="lite", help="weights to start from, or none")
    parser.add_argument("--width", type=float, default=0.10, help="width of the average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", type=int, default=300, help="chains to validate on")
    parser.add_argument("--out", type=Path, help="folder of the averaged weights")
    args, rest = parser.parse_known_args()
    torch.set_num_threads(1)
    changes = _changes(rest, parser)
    data = BackboneDataSettings(args.archive, alpha_share=0.5, max_length=128)
    data = replace(data, **changes["data"])
    optim = OptimSettings(lr=1e-3, weight_decay=0.01, warmup=100, decay="constant")
    optim = replace(optim, **changes["optim"])
    if optim.name == "muon":
        optim = replace(optim, by_adam=EMBEDDINGS)
    usual = dict(backbone.LOSS_WEIGHTS)
    backbone.LOSS_WEIGHTS.update(changes["weight"])
    domain = BackboneDomain(data)
    torch.manual_seed(args.seed)
    net = BackboneNetwork()
    if args.start != "none":
        net.load_state_dict(find_model(args.start).denoiser.net.state_dict())
    denoiser, objective = Denoiser(net, domain.path()), domain.objective()
    ema = PowerEMA(net, (args.width,))
    optimizer = make_optimizer(net.named_parameters(), optim)
    begin, steps, samples = time.process_time(), 0, 0
    for batch in _endless(domain, args.seed):
        if time.process_time() - begin >= args.seconds:
            break
        generator = torch.Generator().manual_seed(1000 * args.seed + steps)
        objective(denoiser, batch, generator).loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), optim.grad_clip)
        steps, samples = steps + 1, samples + batch.size
        for group in optimizer.param_groups:
            group["lr"] = rate(steps, optim)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(steps)
    spent = time.process_time() - begin
    backbone.LOSS_WEIGHTS.update(usual)
    if steps:
        net.load_state_dict(ema.weights(args.width))
    result = {"changes": " ".join(rest), "steps": steps, "samples": samples}
    result["cpu_seconds"] = round(spent, 1)
    result |= _validation(denoiser, args.archive, args.validate)
    print(json.dumps(result), flush=True)
    if args.out is not None:
        save(args.out, net.state_dict(), find_model("lite").config)


def _changes(rest: list[str], parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """Overrides `--data.X`, `--optim.X` and `--weight.X`, by group."""
    known = {
        "data": {f.name for f in fields(BackboneDataSettings)},
        "optim": {f.name for f in fields(OptimSettings)},
        "weight": set(backbone.LOSS_WEIGHTS),
    }
    changes: dict[str, dict[str, Any]] = {group: {} for group in known}
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        group, _, key = name.removeprefix("--").partition(".")
        if key not in known.get(group, ()):
            parser.error(f"{name}: unknown; {sorted(known.get(group, known))} are known")
        changes[group][key] = _value(value)
    return changes


def _value(text: str) -> Any:  # noqa: ANN401 - whatever the setting takes
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


def _endless(domain: BackboneDomain, seed: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from domain.train_batches(epoch, seed, 0, 1)
        epoch += 1


@torch.no_grad()
def _validation(denoiser: Denoiser, archive: str, most: int) -> dict[str, float]:
    """Every term of the loss, without its weight, over whole chains of the validation split."""
    settings = BackboneDataSettings(archive, motif_fraction=0.0)
    objective, totals, seen = BackboneDomain().objective(), dict[str, float](), 0
    for i, batch in enumerate(BackboneData(settings, "val").batches(epoch=0, seed=0)):
        if seen >= most:
            break
        output = objective(denoiser, batch, torch.Generator().manual_seed(i))
        for name, value in output.metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value) * batch.size
        seen += batch.size
    means = {name.removeprefix("loss/"): total / seen for name, total in totals.items()}
    own = ("translations", "rotations", "loss")
    return {
        name: round(v if name in own else v / backbone.LOSS_WEIGHTS[name], 5)
        for name, v in means.items()
    }


if __name__ == "__main__":
    sys.exit(main())
