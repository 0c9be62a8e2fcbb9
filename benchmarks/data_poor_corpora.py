"""The corpora of `benchmarks/data_poor.py`: data, the network that learns them, and its measure.

Words of 32 symbols from a hidden Markov source and from a grammar of brackets, whose entropy is
known; torsions and residues of natural chains; residues given the backbone; and two flows, of
backbones and of weather, by their registered domains. All but the first two read an archive of
chains (`sciddiff prepare backbone`) or a store (`sciddiff prepare forecast`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_poor_arms import ARMS, Arm, Measured, OrderedGraph, log_mean_exp, nats_of
from torch import nn

from protein.backbone.data import BackboneDataSettings
from protein.backbone.network import BackboneNetwork
from protein.sequence.alphabet import tokens
from protein.sequence.data import SequenceDataSettings
from protein.sequence.samples import SEQUENCE
from protein.structures.archive import ChainArchive
from protein.structures.clustering import one_per_cluster
from protein.structures.torsions import backbone_torsions
from sciddiff import Batch, Denoiser
from sciddiff.domains import get_domain
from sciddiff.nn import TokenTransformer
from sciddiff.objectives import Objective
from weather.forecast.training import ForecastDataSettings
from weather.nets.unet import AreaUNet

SYMBOLS, LENGTH, LEAF = 20, 32, "word"
BATCH_TOKENS = 512
HELD_OUT = 64, 128
"""Samples to choose the best evaluation by, and samples to measure it on."""


@dataclass(frozen=True)
class Sources:
    """Files that the corpora read.

    Attributes:
        archive: Archive of chains.
        store: Prepared store of a limited area.
    """

    archive: Path | None = None
    store: Path | None = None

    def need(self, name: str, corpus: str) -> Path:
        """One of the files.

        Raises:
            SystemExit: It was not given, or is not there.
        """
        path = getattr(self, name)
        if path is None or not path.exists():
            raise SystemExit(f"corpus {corpus}: --{name} {path or ''}: there is no such file")
        return path


@dataclass(frozen=True)
class Split:
    """Unique samples to learn from, and held-out ones to choose by and to measure on."""

    train: Batch
    choose: Batch
    measure: Batch


class Corpus(ABC):
    """Where data come from, what learns them, and how well.

    Attributes:
        unit: What unique data are counted in.
        rows: Units of a sample.
        batch: Samples of a training step.
        rate: Learning rate at width 64; it falls with the root of the width.
        arms: Ways to learn it.
    """

    unit, rows, batch, rate = "tokens", LENGTH, BATCH_TOKENS // LENGTH, 3e-3
    arms: tuple[str, ...] = tuple(ARMS)

    @abstractmethod
    def split(self, unique: int, seed: int) -> Split:
        """`unique` units to learn from, chosen by the seed; held-out samples are always equal.

        Raises:
            SystemExit: There are not so many.
        """

    @abstractmethod
    def build(self, arm: str, width: int, depth: int) -> tuple[Denoiser, Objective]:
        """A fresh network of a size on its path, and how it learns."""

    def measured(self, arm: str, denoiser: Denoiser, held_out: Batch) -> Measured:
        """Nats a token of held-out samples."""
        return nats_of(arm, denoiser, held_out)

    def tightened(self, arm: str, denoiser: Denoiser, held_out: Batch) -> dict[str, float]:
        """Tighter bounds of models that have several orders; empty for others."""
        return log_mean_exp(arm, denoiser, held_out)

    def entropy(self) -> float | None:
        """Nats a token of the source itself, where they are known."""
        return None


class Words(Corpus):
    """Words of symbols.

    Args:
        name: Name of the corpus.
        make: Makes words ``[count, LENGTH]``, of the training or the held-out part.
        entropy: Nats a token of words.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[int, np.random.Generator, bool], np.ndarray],
        entropy: Callable[[np.ndarray], float] | None = None,
    ) -> None:
        self.name, self._make, self._entropy = name, make, entropy

    def split(self, unique: int, seed: int) -> Split:
        """See `Corpus`."""
        words = self._make(unique // LENGTH, np.random.default_rng([seed, 1]), False)
        held_out = self._make(sum(HELD_OUT), np.random.default_rng(0), True)
        parts = (words, held_out[: HELD_OUT[0]], held_out[HELD_OUT[0] :])
        return Split(*(Batch({LEAF: torch.from_numpy(part)}) for part in parts))

    def build(self, arm: str, width: int, depth: int) -> tuple[Denoiser, Objective]:
        """See `Corpus`."""
        way: Arm = ARMS[arm]
        net = TokenTransformer(
            SYMBOLS, width, depth, 4, LEAF, way.attention, way.block, way.dropout,
            timed=arm == "uniform",
        )  # fmt: skip
        return Denoiser(net, {LEAF: way.path}), way.objective

    def entropy(self) -> float | None:
        """See `Corpus`: of the very words that models are measured on."""
        if self._entropy is None:
            return None
        held_out = self._make(sum(HELD_OUT), np.random.default_rng(0), True)
        return self._entropy(held_out[HELD_OUT[0] :])


def _source() -> tuple[np.ndarray, np.ndarray]:
    law = np.random.default_rng(1)
    move = 0.9 * np.eye(6) + 0.1 * law.dirichlet(np.ones(6), 6)
    return move, law.dirichlet(0.3 * np.ones(SYMBOLS), 6)


def hidden_markov(count: int, rng: np.random.Generator, held_out: bool = False) -> np.ndarray:
    """A hidden Markov source: 6 states that persist, each with its own symbols."""
    move, emit = _source()
    state = rng.integers(6, size=count)
    found = np.empty((count, LENGTH), dtype=np.int64)
    for k in range(LENGTH):
        found[:, k] = _draw(emit[state], rng)
        state = _draw(move[state], rng)
    return found


def hidden_markov_entropy(words: np.ndarray) -> float:
    """Mean of -log p a token by the forward algorithm, nats."""
    move, emit = _source()
    belief, total = np.full((len(words), 6), 1.0 / 6.0), 0.0
    for k in range(words.shape[1]):
        joint = belief * emit[:, words[:, k]].T
        chance = joint.sum(1, keepdims=True)
        total -= np.log(chance).mean()
        belief = joint / chance @ move
    return total / words.shape[1]


def brackets(count: int, rng: np.random.Generator, held_out: bool = False) -> np.ndarray:
    """A stochastic grammar: ten pairs of brackets, opened by chance and closed in order."""
    return np.array([_bracket_word(rng) for _ in range(count)])


def _bracket_word(rng: np.random.Generator) -> list[int]:
    word, stack = [], []
    for k in range(LENGTH):
        if len(stack) >= LENGTH - k or (stack and rng.random() < 0.5):
            word.append(10 + stack.pop())
        else:
            stack.append(int(rng.integers(10)))
            word.append(stack[-1])
    return word


def brackets_entropy(words: np.ndarray) -> float:
    """Mean of -log p a token by the grammar itself, nats."""
    total = 0.0
    for word in words:
        depth = 0
        for k, symbol in enumerate(word):
            forced = depth >= LENGTH - k
            if symbol >= 10:
                total -= 0.0 if forced else np.log(0.5)
                depth -= 1
            else:
                total -= (0.0 if depth == 0 else np.log(0.5)) - np.log(10.0)
                depth += 1
    return total / words.size


def _draw(law: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (law.cumsum(1) > rng.random((len(law), 1))).argmax(1)


@cache
def _chains(archive: Path, split: str, torsions: bool) -> list[np.ndarray]:
    """Tokens of one chain of every cluster of a split, of those that hold a word."""
    found = ChainArchive.open(archive).subset(split, LENGTH + 2)
    rows = one_per_cluster(np.asarray(found.cluster(30)), np.random.default_rng(0))
    if not torsions:
        text = found.sequences
        return [tokens(text[i])[0] for i in rows]
    angles = [backbone_torsions(found[int(i)])[1:-1, :2] for i in rows]
    centres = _classes(archive)
    return [((_on_circles(a)[:, None] - centres) ** 2).sum(-1).argmin(1) for a in angles]


@cache
def _classes(archive: Path) -> np.ndarray:
    """Centres of 20 classes of (phi, psi) by k-means on the torus, from 1000 training chains."""
    found = ChainArchive.open(archive).subset("train", LENGTH + 2)
    rng = np.random.default_rng(2)
    some = rng.choice(len(found), min(1000, len(found)), replace=False)
    points = [_on_circles(backbone_torsions(found[int(i)])[1:-1, :2]) for i in some]
    points = np.concatenate(points)[::4]
    centres = points[rng.choice(len(points), SYMBOLS, replace=False)]
    for _ in range(20):
        label = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack([points[label == k].mean(0) for k in range(SYMBOLS)])
    return centres


def _on_circles(angles: np.ndarray) -> np.ndarray:
    return np.concatenate([np.cos(angles), np.sin(angles)], -1)


def _windows(
    sources: Sources, name: str
) -> Callable[[int, np.random.Generator, bool], np.ndarray]:
    """Makes windows of natural chains, one of each chain, held-out ones of the split val."""

    def make(count: int, rng: np.random.Generator, held_out: bool) -> np.ndarray:
        path = sources.need("archive", name)
        chains = _chains(path, "val" if held_out else "train", name == "torsions")
        if len(chains) < count:
            raise SystemExit(f"corpus {name}: {len(chains)} chains; {count} were asked for")
        order = rng.permutation(len(chains))[:count]
        starts = [int(rng.integers(len(chains[i]) - LENGTH + 1)) for i in order]
        return np.array(
            [chains[i][s : s + LENGTH] for i, s in zip(order, starts, strict=True)],
            dtype=np.int64,
        )

    return make


class FromDomain(Corpus):
    """Samples of a registered domain, one of every cluster, learned by the domain's own means.

    Args:
        name: Name of the domain.
        source: Which of the files it reads.
        settings: Its data, of a path.
        net: Makes a network of (width, depth, dropout).
        options: Of the domain.
    """

    unit, rows, batch, rate, held_out = "samples", 1, 8, 2e-3, (64, 64)
    arms = ("flow",)

    def __init__(
        self,
        name: str,
        source: Path,
        settings: Callable[[str], Any],
        net: Callable[[int, int, float], nn.Module],
        **options: Any,
    ) -> None:
        self.name, self._net = name, net
        self._domain = get_domain(name)(data=settings(str(source)), **options)

    def split(self, unique: int, seed: int) -> Split:
        """See `Corpus`."""
        pool = self._pool
        held_out, count = sum(self.held_out), unique // self.rows
        order = torch.from_numpy(np.random.default_rng(0).permutation(pool.size))
        rest = order[held_out:]
        if len(rest) < count:
            raise SystemExit(f"corpus {self.name}: {len(rest)} samples; {count} were asked for")
        chosen = rest[np.random.default_rng([seed, 1]).permutation(len(rest))[:count]]
        choose, measure = order[:held_out].split(self.held_out)
        return Split(*(pool.select(rows) for rows in (chosen, choose, measure)))

    @cached_property
    def _pool(self) -> Batch:
        """Every sample of one epoch, in one batch."""
        (batch,) = self._domain.train_batches(0, 0, 0, 1)
        return batch

    def build(self, arm: str, width: int, depth: int) -> tuple[Denoiser, Objective]:
        """See `Corpus`."""
        net = self._net(width, depth, 0.0)
        return Denoiser(net, self._domain.training_path()), self._domain.objective()

    def measured(self, arm: str, denoiser: Denoiser, held_out: Batch) -> Measured:
        """The domain's loss on held-out samples, 4 draws of time and noise, always the same."""
        found = []
        for k in range(4):
            g = torch.Generator().manual_seed(k)
            with torch.no_grad():
                found.append(self._domain.objective()(denoiser, held_out, g).per_sample)
        values = torch.stack(found).double().mean(0)
        return Measured(float(values.mean()), float(values.std()) / len(values) ** 0.5)

    def tightened(self, arm: str, denoiser: Denoiser, held_out: Batch) -> dict[str, float]:
        """See `Corpus`: none."""
        return {}


class Weather(FromDomain):
    """Days of a store; the held-out ones are of its last year, which no training day is in.

    The best evaluation is chosen by the first half of that year, and measured on the second.
    """

    def split(self, unique: int, seed: int) -> Split:
        """See `Corpus`."""
        pool = self._pool
        if pool.size < unique:
            raise SystemExit(f"corpus weather: {pool.size} days; {unique} were asked for")
        chosen = torch.from_numpy(np.random.default_rng([seed, 1]).permutation(pool.size))
        (held_out,) = self._domain.val_batches()
        choose, measure = torch.arange(held_out.size).chunk(2)
        parts = (held_out.select(choose), held_out.select(measure))
        return Split(pool.select(chosen[:unique]), *parts)


class Structures(FromDomain):
    """Residues given the backbone: crops of 64 residues, and a graph network with ranks."""

    unit, rows, batch, held_out = "tokens", 64, BATCH_TOKENS // 64, (32, 64)
    arms = tuple(arm for arm in ARMS if arm != "uniform")

    def build(self, arm: str, width: int, depth: int) -> tuple[Denoiser, Objective]:
        """See `Corpus`."""
        way = ARMS[arm]
        net = self._net(width, depth, way.dropout)
        return Denoiser(net, {SEQUENCE: way.path}), way.objective

    measured, tightened = Corpus.measured, Corpus.tightened


def corpus(name: str, sources: Sources) -> Corpus:
    """The corpus of a name."""
    if name == "hmm":
        return Words(name, hidden_markov, hidden_markov_entropy)
    if name == "brackets":
        return Words(name, brackets, brackets_entropy)
    if name in ("torsions", "sequences"):
        sources.need("archive", name)
        return Words(name, _windows(sources, name))
    if name == "structures":
        return Structures(
            "design",
            sources.need("archive", name),
            lambda path: SequenceDataSettings(
                path, min_length=64, max_length=64, budget=1e12, noise=0.0, cut_share=0.0
            ),
            lambda width, depth, dropout: OrderedGraph(width, 16, depth, depth, dropout=dropout),
        )
    if name == "backbone":
        return FromDomain(
            name,
            sources.need("archive", name),
            lambda path: BackboneDataSettings(
                path, min_length=48, max_length=48, budget=1e12, motif_fraction=0.0
            ),
            lambda width, depth, dropout: BackboneNetwork(width, width // 2, depth, 4),
        )
    return Weather(
        "forecast",
        sources.need("store", name),
        lambda path: ForecastDataSettings(path, batch=10**6, val_days=365, val_samples=128),
        lambda width, depth, dropout: AreaUNet(
            widths=(width, 2 * width), blocks=(depth, depth), embedding=32
        ),
        head="diffusion",
        parametrization="velocity",
    )


CORPORA = ("hmm", "brackets", "torsions", "sequences", "structures", "backbone", "weather")
