"""What refining does to damaged crystal poses: their validity and RMSD before and after.

    python benchmarks/docking_refine.py run --data DIR --index index.csv --every 5 -o refine.csv
    python benchmarks/docking_refine.py table refine.csv

The crystal ligand of every n-th complex of a split is damaged in known ways, each with a random
stream of its own from the seed: every atom moved by Gaussian noise of 0.1, 0.2 or 0.3 Å in each
direction; the whole moved by 1 Å in a random direction and turned by 20° about a random axis; or
reflected in the plane of its two longest axes, which makes the other enantiomer. Each is refined
with the crystal ligand as the template, as `sciddiff refine` does, without a ranker.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protein.docking.molecules.conformers import same_stereo
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.files import ANY_SIZE, GivenPose
from protein.docking.poses.metrics import bust, success_interval, symmetric_rmsd
from protein.docking.receptors.receptor import read_receptor
from protein.docking.scoring.refine import refine_poses
from sciddiff.errors import InputError
from sciddiff.streams import seed_of

KINDS = ("crystal", "noise 0.1 Å", "noise 0.2 Å", "noise 0.3 Å", "1 Å and 20°", "reflected")
COLUMNS = ("id", "kind", "rmsd_before", "valid_before", "stereo_before", "status", "rmsd_after",
           "reason")  # fmt: skip


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("--data", type=Path, required=True, help="folder with <split>/<id>/")
    run.add_argument("--index", type=Path, required=True)
    run.add_argument("--split", default="val")
    run.add_argument("--every", type=int, default=1)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("-o", "--out", type=Path, required=True)
    verbs.add_parser("table").add_argument("file", type=Path)
    args = parser.parse_args()
    if args.verb == "table":
        _table(args.file)
        return
    torch.set_num_threads(1)
    rows = [row for row in csv.DictReader(args.index.open()) if row["split"] == args.split]
    with args.out.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for row in rows[:: args.every]:
            for found in _one(args.data / args.split / row["id"], args.seed):
                writer.writerow(found)
                out.flush()


def _one(folder: Path, seed: int) -> Iterator[dict[str, object]]:
    """Rows of one complex."""
    file = folder / "protein.pdb"
    try:
        ligand, receptor = read_ligand(folder / "ligand.sdf", ANY_SIZE), read_receptor(file)
    except InputError as error:
        print(f"{folder.name}: {error}", file=sys.stderr)
        return
    crystal = ligand.require_coords()
    for kind in KINDS:
        coords = _damaged(crystal, kind, seed, folder.name)
        (verdict,) = bust(ligand, coords[None], file)
        given = GivenPose(file, 1, folder.name, ligand, coords)
        (found,) = refine_poses([given], receptor, receptor_file=file)
        (pose,) = found.poses
        scores = pose.scores
        after = "" if scores is None else _rmsd(ligand, scores.coords[pose.place], crystal)
        yield {
            "id": folder.name, "kind": kind, "rmsd_before": _rmsd(ligand, coords, crystal),
            "valid_before": verdict.valid, "stereo_before": same_stereo(ligand, coords),
            "status": pose.status, "rmsd_after": after, "reason": pose.reason,
        }  # fmt: skip


def _rmsd(ligand: Ligand, coords: np.ndarray, crystal: np.ndarray) -> float:
    return round(float(symmetric_rmsd(coords[None], crystal, ligand.symmetries)[0]), 3)


def _damaged(crystal: np.ndarray, kind: str, seed: int, name: str) -> np.ndarray:
    draws = np.random.default_rng(seed_of(seed, "damage", name, kind, bits=31))
    centre = crystal.mean(0)
    if kind.startswith("noise"):
        return crystal + float(kind.split()[1]) * draws.normal(size=crystal.shape)
    if kind == "1 Å and 20°":
        way, axis = (x / np.linalg.norm(x) for x in draws.normal(size=(2, 3)))
        cross = np.cross(np.eye(3), axis)
        angle = np.deg2rad(20.0)
        turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        return (crystal - centre) @ turn.T + centre + way
    if kind == "reflected":
        shortest = np.linalg.eigh((crystal - centre).T @ (crystal - centre))[1][:, 0]
        return crystal - 2 * np.outer((crystal - centre) @ shortest, shortest)
    return crystal


def _table(file: Path) -> None:
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    print("| damage | poses | valid before | kept (valid) after | wrong-handed before | of these "
          "kept | RMSD before | after, of those kept |")
    print("|---|---|---|---|---|---|---|---|")  # fmt: skip
    for kind in KINDS:
        mine = [row for row in rows if row["kind"] == kind]
        kept = [row for row in mine if row["status"] == "kept"]
        wrong = [row for row in mine if row["stereo_before"] == "False"]
        saved = sum(row["status"] == "kept" for row in wrong)
        before = np.median([float(row["rmsd_before"]) for row in mine])
        after = np.median([float(row["rmsd_after"]) for row in kept]) if kept else float("nan")
        valid = sum(row["valid_before"] == "True" for row in mine)
        print(f"| {kind} | {len(mine)} | {_share(valid, len(mine))} | "
              f"{_share(len(kept), len(mine))} | {len(wrong)} | {saved} | {before:.2f} Å | "
              f"{after:.2f} Å |")  # fmt: skip


def _share(count: int, total: int) -> str:
    low, high = success_interval(count, total)
    return f"{count} ({100 * count / max(1, total):.0f} % [{100 * low:.0f}, {100 * high:.0f}])"


if __name__ == "__main__":
    main()
