"""When data are few: autoregressive, masked, uniform and block models on the same tokens.

    python benchmarks/data_poor.py run -o runs/data_poor --corpora hmm --unique 20000 60000 \
        --sizes 64x2 --epochs 64
    python benchmarks/data_poor.py fit -o runs/data_poor

Every run of (corpus, arm, unique tokens, size) has a table of its own, one row an evaluation, and
is not repeated; an interrupted run begins again. All arms are one network with the same
parameters (`sciddiff.nn.TokenTransformer`) and see the number of rows. Held-out figures are nats a
token: exact for autoregressive arms, a bound for the others.

`fit` takes the best and the last evaluation of every run and fits, for each corpus and arm,
L = E + B / D'^b with D' = U + U R (1 - exp(-(e - 1) / R)) for e epochs over U unique tokens
(Muennighoff et al., *Scaling data-constrained language models*, 2023, eq. 5; at one size, the term
of the parameters is part of E). R is given in epochs, with a bootstrap interval over runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sciddiff import (
    Batch,
    Denoiser,
    Denoising,
    MaskPath,
    UniformDiscretePath,
    elbo,
    order_log_prob,
)
from sciddiff.nn import TokenTransformer
from sciddiff.objectives import Autoregressive, BlockMasked, Objective
from sciddiff.paths import TokenPath
from sciddiff.times import Uniform

SYMBOLS, LENGTH, LEAF = 20, 64, "word"
HELD_OUT, BATCH_TOKENS = 128, 2048


# Corpora: sequences of 64 tokens, int64 [count, 64], and the entropy a token where it is known.


def hidden_markov(count: int, rng: np.random.Generator) -> np.ndarray:
    """A hidden Markov source: 6 states that persist, each with its own symbols."""
    law = np.random.default_rng(1)
    move = 0.9 * np.eye(6) + 0.1 * law.dirichlet(np.ones(6), 6)
    emit = law.dirichlet(0.3 * np.ones(SYMBOLS), 6)
    state = rng.integers(6, size=count)
    found = np.empty((count, LENGTH), dtype=np.int64)
    for k in range(LENGTH):
        found[:, k] = _draw(emit[state], rng)
        state = _draw(move[state], rng)
    return found


def hidden_markov_entropy(words: np.ndarray) -> float:
    """Mean of -log p a token by the forward algorithm, nats."""
    law = np.random.default_rng(1)
    move = 0.9 * np.eye(6) + 0.1 * law.dirichlet(np.ones(6), 6)
    emit = law.dirichlet(0.3 * np.ones(SYMBOLS), 6)
    belief, total = np.full((len(words), 6), 1.0 / 6.0), 0.0
    for k in range(LENGTH):
        joint = belief * emit[:, words[:, k]].T
        chance = joint.sum(1, keepdims=True)
        total -= np.log(chance).mean()
        belief = joint / chance @ move
    return total / LENGTH


def brackets(count: int, rng: np.random.Generator) -> np.ndarray:
    """A stochastic grammar: ten pairs of brackets, opened by chance and closed in order."""
    return np.array([_bracket_word(rng) for _ in range(count)])


def _bracket_word(rng: np.random.Generator) -> list[int]:
    word, stack = [], []
    for k in range(LENGTH):
        left = LENGTH - k
        must_close = len(stack) >= left
        if must_close or (stack and rng.random() < 0.5):
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


def _archive() -> np.lib.npyio.NpzFile:
    folder = os.environ.get("SCIDDIFF_DATA")
    if folder is None:
        raise SystemExit("corpus: set SCIDDIFF_DATA to the folder that holds protein/chains.npz")
    return np.load(Path(folder) / "protein" / "chains.npz")


def _windows(tokens: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """One window of 64 of each chain that is long enough, in random order."""
    long = [chain for chain in tokens if len(chain) >= LENGTH]
    order = rng.permutation(len(long))[:count]
    if len(order) < count:
        raise SystemExit(f"corpus: {len(long)} chains; {count} windows were asked for")
    starts = [int(rng.integers(len(long[i]) - LENGTH + 1)) for i in order]
    return np.array([long[i][s : s + LENGTH] for i, s in zip(order, starts, strict=True)])


def plain_sequences(count: int, rng: np.random.Generator) -> np.ndarray:
    """Amino acids of natural domains."""
    from protein.sequence.alphabet import tokens

    data = _archive()
    text = [s.decode() for s in data["sequence"].tolist()]
    return _windows([tokens(s)[0] for s in text], count, rng)


def torsion_tokens(count: int, rng: np.random.Generator) -> np.ndarray:
    """Backbone torsions of natural domains in 20 classes, by k-means on the torus."""
    from protein.structures.torsions import backbone_torsions

    data = _archive()
    offsets, scale = data["offsets"], float(data["coord_scale"])
    coords = data["coords"]
    chains = [
        backbone_torsions(scale * coords[a:b].astype(np.float32))
        for a, b in zip(offsets[:-1], offsets[1:], strict=True)
        if b - a >= LENGTH + 2
    ]
    angles = [chain[1:-1, :2] for chain in chains]
    points = np.concatenate([_on_circles(a) for a in angles[:2000]])
    draws = np.random.default_rng(2)
    centres = points[draws.choice(len(points), SYMBOLS, replace=False)]
    for _ in range(20):
        label = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack([points[label == k].mean(0) for k in range(SYMBOLS)])
    tokens = [((_on_circles(a)[:, None] - centres) ** 2).sum(-1).argmin(1) for a in angles]
    return _windows(tokens, count, rng)


def _on_circles(angles: np.ndarray) -> np.ndarray:
    return np.concatenate([np.cos(angles), np.sin(angles)], -1)


def _draw(law: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (law.cumsum(1) > rng.random((len(law), 1))).argmax(1)


CORPORA: dict[str, tuple[Callable[..., np.ndarray], Callable[[np.ndarray], float] | None]] = {
    "hmm": (hidden_markov, hidden_markov_entropy),
    "brackets": (brackets, brackets_entropy),
    "torsions": (torsion_tokens, None),
    "sequences": (plain_sequences, None),
}


# Arms.


@dataclass(frozen=True)
class Arm:
    """A way to learn and to be measured.

    Attributes:
        objective: How it learns.
        path: The path of its tokens.
        attention: Which rows see each other.
        block: Rows of a block.
        dropout: Of the network.
    """

    objective: Objective
    path: TokenPath = MaskPath(SYMBOLS)
    attention: Literal["full", "block", "causal"] = "full"
    block: int = 8
    dropout: float = 0.0


_MASK_TIMES = Uniform(0.0, 0.98)
ARMS = {
    "ar": Arm(Autoregressive(), attention="causal"),
    "ar_dropout": Arm(Autoregressive(), attention="causal", dropout=0.2),
    "ar_input_masking": Arm(Autoregressive(input_masking=0.15), attention="causal"),
    "ar_random_order": Arm(Autoregressive("random"), attention="causal"),
    "masked": Arm(Denoising(times=_MASK_TIMES)),
    "masked_elbo": Arm(Denoising(times=_MASK_TIMES, weighting="elbo")),
    "uniform": Arm(
        Denoising(times=_MASK_TIMES), path=UniformDiscretePath(SYMBOLS, parametrization="cavity")
    ),
    "block8": Arm(BlockMasked(8, (0.3, 0.8)), attention="block"),
}


def measured(arm: str, denoiser: Denoiser, words: Tensor) -> tuple[float, float]:
    """Nats a token of held-out words and their standard error over words."""
    batch = Batch({LEAF: words})
    count, length = words.shape
    if arm == "uniform":
        nats = -elbo(denoiser, batch, draws=64)[0]
    elif arm.startswith("masked"):
        nats = -elbo(denoiser, batch, draws=64, estimator="rotated")[0]
    elif arm == "ar_random_order":
        ranks = torch.rand(count, length, generator=torch.Generator().manual_seed(0)).argsort(1)
        nats = _ranked_nats(denoiser, words, ranks)
    elif arm == "block8":
        g = torch.Generator().manual_seed(0)
        within = torch.rand(count, length, generator=g) + torch.arange(length) // 8 * 2.0
        order = within.argsort(1).argsort(1)
        nats = -order_log_prob(denoiser, batch, order=order, chunk=8).mean
    else:
        nats = _ranked_nats(denoiser, words, torch.arange(length).expand(count, length))
    nats = nats / length
    return float(nats.mean()), float(nats.std()) / count**0.5


def _ranked_nats(denoiser: Denoiser, words: Tensor, ranks: Tensor) -> Tensor:
    """-log p of each word, one row at a time by rank, in one pass; nats."""
    noisy = torch.full_like(words, SYMBOLS)
    net = denoiser.net
    assert isinstance(net, TokenTransformer)
    with torch.no_grad():
        raw = net.ranked(noisy, words, ranks, 0.0, Batch({LEAF: words}))
    return -raw.double().log_softmax(-1).gather(-1, words[..., None]).sum((1, 2))


def train(
    arm: str, words: Tensor, held_out: Tensor, size: tuple[int, int], epochs: int, seed: int
) -> Iterator[dict[str, float]]:
    """Train, and measure after 1, 2, 4, ... epochs."""
    way = ARMS[arm]
    torch.manual_seed(seed)
    net = TokenTransformer(
        SYMBOLS, size[0], size[1], 4, LEAF, way.attention, way.block, way.dropout,
        timed=arm == "uniform",
    )  # fmt: skip
    denoiser = Denoiser(net, {LEAF: way.path})
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3 * (64 / size[0]) ** 0.5, weight_decay=0.1)
    per_epoch = max(1, words.numel() // BATCH_TOKENS)
    warm = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1.0, (k + 1) / 50))
    g, start, due = torch.Generator().manual_seed(seed), time.process_time(), 1
    parameters = sum(p.numel() for p in net.parameters())
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(words), generator=g).chunk(per_epoch):
            optimiser.zero_grad()
            loss = way.objective(denoiser, Batch({LEAF: words[rows]}), g).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            warm.step()
            total += float(loss.detach()) * len(rows)
        if epoch == due or epoch == epochs:
            due *= 2
            net.eval()
            nats, error = measured(arm, denoiser, held_out)
            yield {
                "epoch": epoch, "nats": nats, "error": error, "train_loss": total / len(words),
                "cpu_s": time.process_time() - start, "parameters": parameters,
            }  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Every run that has no table yet."""
    args.out.mkdir(parents=True, exist_ok=True)
    for corpus in args.corpora:
        make, entropy = CORPORA[corpus]
        most = max(args.unique) // LENGTH
        words = make(most + HELD_OUT, np.random.default_rng(0))
        held_out, words = words[:HELD_OUT], words[HELD_OUT:]
        if entropy is not None:
            known = {"corpus": corpus, "entropy": entropy(make(4000, np.random.default_rng(9)))}
            (args.out / f"{corpus}.json").write_text(json.dumps(known) + "\n")
        for unique in args.unique:
            chosen = torch.from_numpy(words[: unique // LENGTH])
            for size in args.sizes:
                width, depth = (int(n) for n in size.split("x"))
                for arm in args.arms:
                    table = args.out / f"{corpus}-{arm}-{unique}-{size}-{args.seed}.csv"
                    if table.exists():
                        continue
                    shown = torch.from_numpy(held_out)
                    rows = list(train(arm, chosen, shown, (width, depth), args.epochs, args.seed))
                    _write(table, rows)
                    best = min(rows, key=lambda row: row["nats"])
                    print(
                        f"{table.stem}: best {best['nats']:.4f} nats (epoch {best['epoch']}), "
                        f"last {rows[-1]['nats']:.4f}, {rows[-1]['cpu_s']:.0f} CPU-s", flush=True,
                    )  # fmt: skip


def _write(table: Path, rows: list[dict[str, float]]) -> None:
    part = table.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part.replace(table)


def fit(args: argparse.Namespace) -> None:
    """The half-life of repeated data of each corpus and arm, and a table of all runs."""
    tables: dict[tuple[str, str], list[tuple[int, list[dict[str, float]]]]] = defaultdict(list)
    for file in sorted(args.out.glob("*.csv")):
        corpus, arm, unique = file.stem.split("-")[:3]
        with file.open() as stream:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
        tables[corpus, arm].append((int(unique), rows))
    print("corpus      arm               unique   best (epoch)     last      error")
    for (corpus, arm), runs in tables.items():
        for unique, rows in sorted(runs):
            best = min(rows, key=lambda row: row["nats"])
            print(f"{corpus:11} {arm:17} {unique:7d}  {best['nats']:.4f} ({best['epoch']:4.0f})  "
                  f"{rows[-1]['nats']:.4f}  {best['error']:.4f}")  # fmt: skip
    for (corpus, arm), runs in tables.items():
        points = [(u, row["epoch"], row["nats"]) for u, rows in runs for row in _rising(rows)]
        found = _half_life(points, np.random.default_rng(0), args.draws)
        if found is not None:
            low, middle, high = found
            print(f"{corpus} {arm}: repeated data are worth R = {middle:.0f} epochs "
                  f"({low:.0f} to {high:.0f})")  # fmt: skip


def _rising(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Evaluations up to the best one; over-fitting is another law."""
    best = min(range(len(rows)), key=lambda k: rows[k]["nats"])
    return rows[: best + 1]


def _half_life(
    points: list[tuple[int, float, float]], rng: np.random.Generator, draws: int
) -> tuple[float, float, float] | None:
    """R in epochs: 10 %, 50 % and 90 % of bootstrap draws; None if points are too few."""
    from scipy.optimize import least_squares

    data = np.array(points)
    if len(data) < 6 or len(np.unique(data[:, 0])) < 2:
        return None

    def residual(theta: np.ndarray, rows: np.ndarray) -> np.ndarray:
        floor, scale, power, log_r = theta
        unique, epoch, nats = rows.T
        r = np.exp(log_r)
        seen = unique * (1.0 + r * (1.0 - np.exp(-(epoch - 1.0) / r)))
        return floor + np.exp(scale) * (seen / 1e5) ** -np.exp(power) - nats

    found = []
    for k in range(draws):
        rows = data if k == 0 else data[rng.integers(len(data), size=len(data))]
        start = np.array([rows[:, 2].min() - 0.05, -1.0, -1.0, 2.0])
        bounds = ([0.0, -8.0, -3.0, 0.0], [4.0, 3.0, 1.0, 7.0])
        solved = least_squares(residual, start, args=(rows,), bounds=bounds)
        found.append(float(np.exp(solved.x[3])))
    low, middle, high = np.percentile(found, [10, 50, 90]).tolist()
    return low, middle, high


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("run")
    one.add_argument("--corpora", nargs="+", choices=list(CORPORA), default=["hmm"])
    one.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    one.add_argument("--unique", nargs="+", type=int, default=[20_000, 60_000])
    one.add_argument("--sizes", nargs="+", default=["64x2"], help="width x depth")
    one.add_argument("--epochs", type=int, default=64)
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(do=run)
    two = verbs.add_parser("fit")
    two.add_argument("--draws", type=int, default=200, help="bootstrap draws")
    two.set_defaults(do=fit)
    for verb in (one, two):
        verb.add_argument("-o", "--out", type=Path, default=Path("runs/data_poor"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.do(args)


if __name__ == "__main__":
    main()
