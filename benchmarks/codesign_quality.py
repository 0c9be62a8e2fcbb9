"""What a model of frames and residues has learned, on chains it has not seen.

Prints one JSON object. Intervals are 95 %, by resampling chains.

- ``residues``: nats of a residue whose frame is known and all others are hidden (inverse folding
  in one shot), of a random half hidden, and by composition alone.
- ``structure``: the loss of the frames at given times with the residues held, for the true
  sequence, for the same residues in random order, and with all residues hidden, with one noise for
  all three; and the differences, chain by chain. A model that reads the sequence has a lower loss
  with the true one.

    python benchmarks/codesign_quality.py --model models/codesign --archive data/chains.npz -n 60
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protein.backbone.data import Sample
from protein.backbone.domain import LOSS_WEIGHTS
from protein.backbone.network import FOLDS
from protein.codesign.poses import FRAMES, collate_pairs, held
from protein.pretrained import find_model
from protein.sequence.alphabet import LETTERS, MASK, tokens
from protein.sequence.samples import SEQUENCE
from protein.structures.archive import ChainArchive
from sciddiff.denoiser import Denoiser
from sciddiff.state import Batch

TIMES = (0.1, 0.3, 0.5, 0.7)
"""Times of the frames, 0 for noise."""


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("-n", type=int, default=60, help="chains")
    parser.add_argument("--longest", type=int, default=96, help="residues")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = find_model(args.model)
    archive = ChainArchive.open(args.archive).subset(args.split, 40, args.longest)
    rng = np.random.default_rng(args.seed)
    chosen = rng.permutation(len(archive))[: args.n]
    composition = _composition(ChainArchive.open(args.archive).subset("train"))
    residues, structure = [], []
    for item in chosen.tolist():
        sample = _sample(archive, item)
        residues.append(_residues(model.denoiser, collate_pairs([sample]), composition, rng))
        shuffled = "".join(rng.permutation(list(sample.sequence)))
        pair = [sample, replace(sample, sequence=shuffled), replace(sample, sequence="")]
        structure.append(_structure(model.denoiser, collate_pairs(pair), args.seed + item))
    names = ("one_shot", "half_hidden", "composition")
    columns = zip(names, np.transpose(residues), strict=True)
    nats = {name: _interval(column) for name, column in columns}
    losses = np.array(structure)  # chains, times, (true, shuffled, hidden)
    found = {}
    for k, t in enumerate(TIMES):
        true, shuffled, hidden = losses[:, k].T
        found[str(t)] = {
            "true": _interval(true),
            "shuffled_minus_true": _interval(shuffled - true),
            "hidden_minus_true": _interval(hidden - true),
        }
    mean = losses.mean(1)
    found["mean"] = {
        "true": _interval(mean[:, 0]),
        "shuffled_minus_true": _interval(mean[:, 1] - mean[:, 0]),
        "hidden_minus_true": _interval(mean[:, 2] - mean[:, 0]),
    }
    said = {"model": args.model, "step": model.meta.get("step"), "chains": len(chosen)}
    print(json.dumps({**said, "residues": nats, "structure": found}, indent=1))


def _sample(archive: ChainArchive, item: int) -> Sample:
    chain = archive.backbone(item)
    fixed = np.zeros(len(chain), dtype=bool)
    return Sample(chain.coords, FOLDS.index("none"), fixed, archive.ids[item], chain.sequence)


def _composition(archive: ChainArchive) -> NDArray[np.float64]:
    """Log-probabilities of the letters of the training chains `[20]`."""
    found, unknown = tokens("".join(archive.sequences))
    count = np.bincount(found[~unknown], minlength=len(LETTERS)) + 1.0
    return np.log(count / count.sum())


@torch.no_grad()
def _residues(
    denoiser: Denoiser, batch: Batch, composition: NDArray, rng: np.random.Generator
) -> list[float]:
    """Nats a residue: all hidden, half hidden, by composition."""
    batch, data = held(batch, frames=True), batch.x[SEQUENCE]
    real = ~batch.cond["unknown"]
    half = real & torch.from_numpy(rng.random(data.shape) < 0.5)
    found = []
    for hidden in (real, half):
        x = {**batch.x, SEQUENCE: torch.where(hidden, MASK, data)}
        nats = -denoiser(x, torch.ones(1), batch)[SEQUENCE].log_prob_of(data)
        found.append(float(nats[hidden].mean()))
    return [*found, float(-composition[data[real].numpy()].mean())]


@torch.no_grad()
def _structure(denoiser: Denoiser, batch: Batch, seed: int) -> list[list[float]]:
    """Loss of the frames at each time, for each sample of a batch whose data are the same."""
    batch = held(batch, residues=True)
    found = []
    for k, t in enumerate(TIMES):
        generator = torch.Generator().manual_seed(97 * seed + k)
        times = torch.full((batch.size,), t)
        noise = denoiser.path.prior(batch.x, generator, batch.layouts)
        noise = {name: leaf[:1].expand_as(leaf) for name, leaf in noise.items()}
        noisy = denoiser.path.sample(batch.x, times, generator, noise, batch.layouts)
        said = denoiser({name: one.x_t for name, one in noisy.items()}, times, batch)
        rows = denoiser.path.loss(said, noisy, batch.layouts)
        total = torch.zeros(batch.size)
        for name in FRAMES:
            loss = batch.layouts[name].free_mean_per_sample(rows[name])
            total += LOSS_WEIGHTS[name] * loss
        found.append(total.tolist())
    return found


def _interval(values: NDArray[np.float64]) -> list[float]:
    """Mean, and the ends of its 95 % interval."""
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return [round(float(v), 4) for v in (values.mean(), low, high)]


if __name__ == "__main__":
    main()
