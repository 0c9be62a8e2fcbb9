"""What benchmarks of docking share: rows in a CSV that are not done again, and exact statistics.

A benchmark gives its options, the columns, a generator of rows and a printer of tables:

    python benchmarks/docking_cross.py run … -o rows.csv    # adds what is not there
    python benchmarks/docking_cross.py table rows.csv
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from protein.docking.poses.metrics import success_interval


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that all of them have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("method", choices=("run", "table"))
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, help="folder with <split>/<id>/")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    return parser


def chosen(args: argparse.Namespace) -> list[dict[str, str]]:
    """Rows of the index that are of the split, in its order."""
    with args.index.open() as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == args.split]


def run(
    args: argparse.Namespace,
    fields: Sequence[str],
    rows: Callable[[argparse.Namespace, frozenset[str]], Iterator[dict[str, object]]],
    table: Callable[[Path], None],
) -> None:
    """Print tables, or add the rows that are not there yet, one by one.

    Args:
        args: the command line, of `arguments` and more.
        fields: columns, of which ``id`` names a row.
        rows: makes the rows but for those whose ids it is given.
        table: prints the table of a file.
    """
    torch.set_num_threads(1)
    if args.method == "table":
        for path in args.files:
            table(path)
        return
    done: set[str] = set()
    if args.out.exists():
        with args.out.open() as handle:
            done = {row["id"] for row in csv.DictReader(handle)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, list(fields))
        if not done:
            writer.writeheader()
        for row in rows(args, frozenset(done)):
            writer.writerow(row)
            handle.flush()


def rate(hits: Sequence[bool], total: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    low, high = success_interval(sum(hits), total)
    return f"{sum(hits)}/{total} = {sum(hits) / total:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


def mcnemar(more: int, less: int) -> float:
    """Two-sided exact test of the discordant pairs."""
    n, k = more + less, min(more, less)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
