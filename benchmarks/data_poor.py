"""When data are few: autoregressive, masked, uniform, block and flow models on repeated data.

    python benchmarks/data_poor.py run -o runs/data_poor --corpora hmm --unique 2048 8192
    python benchmarks/data_poor.py fit -o runs/data_poor

Every run of (corpus, arm, unique data, size, seed) has a record of its own, a JSON file, and is
not repeated; an interrupted run begins again. The arms of a corpus are one network with the same
parameters, see the same unique data and the same number of tokens, with a constant learning rate,
so that the evaluation after e epochs is the last checkpoint of a run of e epochs. The best
evaluation is chosen on some held-out samples, and measured on others, as the last one is. The seed
of a run chooses the unique data, the weights and the order.

`fit` prints a table of best and last checkpoints and the half-life of repeated data, R: with e
epochs over U unique tokens, L = E + B / D'^b and D' = U + U R (1 - exp(-(e - 1) / R))
(Muennighoff et al., *Scaling data-constrained language models*, 2023, eq. 5; at each size by
itself, so that the term of the parameters is part of E).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from data_poor_arms import ARMS
from data_poor_corpora import CORPORA, Corpus, Sources, Split, corpus
from data_poor_fit import fit

from sciddiff import Batch, Denoiser
from sciddiff.files import replacing


def train(
    problem: Corpus, arm: str, split: Split, size: tuple[int, int], epochs: int, seed: int
) -> dict[str, Any]:
    """Train one model, and measure it whenever its epochs have doubled; the record of the run."""
    torch.manual_seed(seed)
    denoiser, objective = problem.build(arm, *size)
    net = denoiser.net
    rate = problem.rate * (64 / size[0]) ** 0.5
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.1)
    warm = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1.0, (k + 1) / 50))
    g, start, due = torch.Generator().manual_seed(seed), time.process_time(), max(1, epochs // 32)
    learning, rows, best, kept = 0.0, list[dict[str, float]](), None, net.state_dict()
    for epoch in range(1, epochs + 1):
        net.train()
        began, total = time.process_time(), 0.0
        for batch in _batches(split.train, problem.batch, g):
            optimiser.zero_grad()
            loss = objective(denoiser, batch, g).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            warm.step()
            total += float(loss.detach()) * batch.size
        learning += time.process_time() - began
        if epoch == due or epoch == epochs:
            due *= 2
            net.eval()
            found = problem.measured(arm, denoiser, split.choose)
            rows.append({
                "epoch": epoch, "nats": found.value, "error": found.error,
                "train_loss": total / split.train.size, "learning_cpu_s": learning,
            })  # fmt: skip
            if best is None or found.value < best["nats"]:
                best, kept = rows[-1], deepcopy(net.state_dict())
    record: dict[str, Any] = {
        "parameters": sum(p.numel() for p in net.parameters()), "unit": problem.unit,
        "epochs": epochs, "rows": rows, "last": _final(problem, arm, denoiser, split, epochs),
    }  # fmt: skip
    assert best is not None
    net.load_state_dict(kept)
    record["best"] = _final(problem, arm, denoiser, split, int(best["epoch"]))
    if seed == 0:
        record["best"] |= problem.tightened(arm, denoiser, split.measure)
    return record | {"cpu_s": time.process_time() - start}


def _batches(data: Batch, size: int, g: torch.Generator) -> Iterator[Batch]:
    for rows in torch.randperm(data.size, generator=g).split(size):
        yield data.select(rows)


def _final(
    problem: Corpus, arm: str, denoiser: Denoiser, split: Split, epoch: int
) -> dict[str, float]:
    denoiser.net.eval()
    found = problem.measured(arm, denoiser, split.measure)
    return {"epoch": epoch, "nats": found.value, "error": found.error}


def run(args: argparse.Namespace) -> None:
    """Every run that has no record yet."""
    args.out.mkdir(parents=True, exist_ok=True)
    problems = {name: corpus(name, Sources(args.archive, args.store)) for name in args.corpora}
    todo = [
        (seed, name, unique, size, arm)
        for seed in args.seeds
        for name, problem in problems.items()
        for unique in args.unique
        for size in args.sizes
        for arm in problem.arms
        if arm in args.arms or problem.arms == ("flow",)
    ]
    for done, (seed, name, unique, size, arm) in enumerate(todo, 1):
        problem = problems[name]
        record = args.out / f"{name}-{arm}-{unique}-{size}-{seed}.json"
        if record.exists():
            continue
        width, depth = (int(n) for n in size.split("x"))
        epochs, split = max(1, args.seen // unique), problem.split(unique, seed)
        facts = {
            "corpus": name, "arm": arm, "unique": unique, "size": size, "seed": seed,
            "entropy": problem.entropy(),
        }  # fmt: skip
        found = facts | train(problem, arm, split, (width, depth), epochs, seed)
        with replacing(record) as part:
            part.write((json.dumps(found) + "\n").encode())
        best, last = found["best"], found["last"]
        print(
            f"{done}/{len(todo)} {record.stem}: best {best['nats']:.4f} (epoch {best['epoch']}), "
            f"last {last['nats']:.4f}, {found['cpu_s']:.0f} CPU-s", flush=True,
        )  # fmt: skip


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("run", help="train and measure what has no record yet")
    one.add_argument("--corpora", nargs="+", choices=CORPORA, default=["hmm"])
    one.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    one.add_argument(
        "--unique", nargs="+", type=int, default=[2048, 8192],
        help="unique tokens; for backbone and weather, chains and days",
    )  # fmt: skip
    one.add_argument("--sizes", nargs="+", default=["32x2"], help="width x depth")
    one.add_argument("--seen", type=int, default=524288, help="unique data times epochs")
    one.add_argument("--seeds", nargs="+", type=int, default=[0])
    one.add_argument("--archive", type=Path, help="chains, by sciddiff prepare backbone")
    one.add_argument("--store", type=Path, help="store of an area, by sciddiff prepare forecast")
    one.set_defaults(do=run)
    two = verbs.add_parser("fit", help="tables and half-lives of the records")
    two.add_argument("--draws", type=int, default=100, help="bootstrap draws")
    two.add_argument("--figure", type=Path, help="where to draw the curves, .svg or .png")
    two.set_defaults(do=lambda args: fit(args.out, args.draws, args.figure))
    for verb in (one, two):
        verb.add_argument("-o", "--out", type=Path, default=Path("runs/data_poor"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.do(args)


if __name__ == "__main__":
    main()
