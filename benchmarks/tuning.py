"""What tuning buys and costs: the frontier over the temperature beta, for one real domain.

Sequences of held-out backbones are tuned towards a reward by `sciddiff tune`, once for every
method and temperature, and measured on samples that nothing was tuned on: the reward, a judge that
was not tuned on, the divergence of trajectories from those of the model it started from, entropy,
and the share of distinct samples. The same model without tuning, and the best of as many of its
samples as a group has, are the controls. What is maximised, reward minus beta times the
divergence, has a column of its own. The departure that is wanted grows with 1 / beta, for additive
rewards exactly so in the logits, and `--rate` is the learning rate at beta 1, divided by beta at
others. Finished models stay in the folder, and a rerun makes the rest.

    python benchmarks/tuning.py --archive data/chains.npz --chains 2 -o runs/tuning
    python benchmarks/tuning.py --archive data/chains.npz --beta 1 -o runs/one
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import time
from pathlib import Path
from typing import Any

from protein.structures.archive import ChainArchive
from protein.structures.write import write_mmcif
from sciddiff.cli.main import main as sciddiff

COLUMNS = ("reward", "judge", "path_kl", "entropy", "distinct")
METHODS = ("reward-weighted", "policy-gradient", "reward-gradient")


def main() -> None:
    """Tune, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="design_lite")
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--length", type=int, nargs=2, default=(40, 60))
    parser.add_argument("--reward", default="charge")
    parser.add_argument("--judge", default="hydropathy")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--beta", type=float, nargs="+", default=[10.0, 3.0, 1.0, 0.3])
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate at beta 1")
    parser.add_argument("--options", default="", help="further options of sciddiff tune")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    files = _structures(args)
    shown: set[tuple[str, str]] = set()
    print(f"| model | beta | {' | '.join(COLUMNS)} | reward - beta KL | seconds |")
    print("|" + "---|" * (len(COLUMNS) + 4))
    for beta in args.beta:
        for method in args.methods:
            found, seconds = _tune(args, files, method, beta)
            for row in found:
                name = method if row["name"] == "tuned" else row["name"]
                at = "" if name == "reference" else f"{beta:g}"
                if (name, at) in shown:
                    continue
                shown.add((name, at))
                spent = f"{seconds:.0f}" if name == method else ""
                cells = [_cell(row, column) for column in COLUMNS]
                cells.append("" if name == "reference" else _maximised(row, beta))
                print(f"| {name} | {at} | {' | '.join(cells)} | {spent} |", flush=True)


def _structures(args: argparse.Namespace) -> list[Path]:
    """Files of the first chains of a split that are short enough, in the order of the archive."""
    chosen = ChainArchive.open(args.archive).subset(args.split, *args.length)
    folder = args.out / "structures"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, name in enumerate(chosen.ids[: args.chains]):
        file = folder / f"{name.replace('/', '_')}.cif"
        write_mmcif(file, [chosen.backbone(number)])
        files.append(file)
    return files


def _tune(
    args: argparse.Namespace, files: list[Path], method: str, beta: float
) -> tuple[list[dict[str, Any]], float]:
    """The table of one model, and the CPU-seconds of this call."""
    named = ",".join(str(file) for file in files)
    words = [
        "tune", args.model, "--reward", args.reward, "--judge", args.judge, "--method", method,
        "--beta", str(beta), "--request", f"structures=[{named}]", "--json",
        "--optim.lr", f"{args.rate / beta:.3g}",
        "-o", str(args.out / f"{method}_{beta:g}"), *args.options.split(),
    ]  # fmt: skip
    started, said = time.process_time(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = sciddiff(words)
    if status:
        raise SystemExit(status)
    return json.loads(said.getvalue())["tuned"]["table"], time.process_time() - started


def _maximised(row: dict[str, Any], beta: float) -> str:
    """Reward minus beta times the divergence; at least so much where that is a bound."""
    if row["path_kl"] is None:
        return "–"
    value = row["reward"] - beta * row["path_kl"]
    error = math.hypot(row["reward_error"], beta * row["path_kl_error"])
    return f"{'≥ ' if row['bound'] else ''}{value:.2f} ± {error:.2f}"


def _cell(row: dict[str, Any], column: str) -> str:
    value, error = row[column], row.get(f"{column}_error")
    sign = "≤ " if column == "path_kl" and row["bound"] else ""
    if value is None:
        return "–"
    return f"{sign}{value:.2f}" + ("" if error is None else f" ± {error:.2f}")


if __name__ == "__main__":
    main()
