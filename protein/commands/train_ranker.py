"""``sciddiff train-ranker``: networks that say which docked pose is right, and how surely."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add = parser.add_argument
    add("examples", type=Path, metavar="DIR", help="folder that `sciddiff prepare ranker` made")
    add(
        "--further",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="folders of other poses of the same complexes (other --seed, --cross, --jitter), "
        "which are used for training and scored apart",
    )
    add("-o", "--out", type=Path, required=True, metavar="DIR", help="model folder to write")
    add("--epochs", type=count(), default=6, metavar="N", help="epochs of each fold (default 6)")
    add("--folds", type=count(2), default=5, metavar="N", help="number of folds (default 5)")
    add(
        "--width", type=count(), default=32, metavar="N", help="width of the networks (default 32)"
    )
    add_seed(parser)
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Train, calibrate and write the ranker.

    Raises:
        InputError: examples that cannot be used.
    """
    import torch

    from protein.docking.campaign.examples import read_examples
    from protein.docking.confidence.ranker import save_ranker
    from protein.docking.confidence.training import RankerSettings, folds, train_ranker

    if args.threads:
        torch.set_num_threads(args.threads)
    examples = read_examples(args.examples)
    further = [example for folder in args.further for example in read_examples(folder)]
    settings = RankerSettings(args.width, epochs=args.epochs, folds=args.folds, seed=args.seed)
    with progress("training", args.epochs * args.folds, show=not args.json) as bar:
        ranker, scores = train_ranker(
            examples, settings, lambda _, loss: bar.advance(1, f"loss {loss:.3f}"), further
        )
    clusters = [e.cluster for e in examples]
    parts: dict[str, list[str]] = {str(k): [] for k in range(args.folds)}
    for example, k in zip(examples, folds(clusters, args.folds).tolist(), strict=True):
        parts[str(k)].append(example.name)
    save_ranker(
        args.out,
        ranker,
        {"width": args.width},
        seed=args.seed,
        data={"complexes": len(examples), "clusters": len(set(clusters)), "folds": parts},
        command=args.command_line,
        metrics=scores,
    )
    rows = [(name, f"{value:.3f}" if isinstance(value, float) else value)
            for name, value in scores.items()]  # fmt: skip
    text = as_table(("on clusters left out", ""), rows) + f"\n{args.out}"
    emit(args, {"model": str(args.out), "scores": scores}, text)
    return 0


command = Command(
    name="train-ranker",
    help="train the ranker of docked poses, and calibrate its confidence",
    configure=configure,
    run=run,
    example="sciddiff train-ranker data/ranker/ -o models/ranker",
    needs=NEEDS,
)
