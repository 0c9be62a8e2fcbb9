"""Redocking with a known pocket: our physics and AutoDock Vina on the same inputs.

For each complex of a split the box is the extent of the crystal ligand plus 4 Å on every side
(8 Å along each axis); the ligand starts from fresh ETKDG conformers at random places and
orientations. Rows go to a CSV as they are found, and complexes already there are not done again:

    python benchmarks/docking_physics.py physics --data DIR --index index.csv -o physics.csv
    python benchmarks/docking_physics.py vina --data DIR --index index.csv -o vina.csv --every 3
    python benchmarks/docking_physics.py table physics.csv vina.csv

With `--blind` nothing is known of the place: the search goes into the sites of the pocket finder,
with the effort of `sciddiff dock --blind`.

`table` compares files on the complexes they share. A molecule that cannot be docked is a row with
its reason. It counts as a failure in every rate of success; the share of valid first poses is of
the molecules that have a pose.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.vina_reference import VinaReference
from protein.docking.confidence.ranker import find_ranker
from protein.docking.diffusion.propose import find_proposer
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import bust, success_interval, symmetric_rmsd
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.pockets import find_pockets
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from protein.docking.search.monte_carlo import SearchSettings
from protein.docking.search.ranking import Docked
from sciddiff.calibration import auroc, brier, expected_calibration_error
from sciddiff.errors import InputError

FIELDS = ("id", "status", "atoms", "torsions", "energy", "top1", "best9", "valid",
          "failed", "cpu", "reason", "rmsds", "confidences")  # fmt: skip


def main() -> None:
    """Dock, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=("physics", "vina", "table"))
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, help="folder with <split>/<id>/")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="only every n-th complex")
    parser.add_argument("--small-first", action="store_true", help="quick complexes first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", type=int, default=SearchSettings().chains)
    parser.add_argument("--rounds", type=int, default=SearchSettings().rounds)
    parser.add_argument("--conformers", type=int, default=DockSettings().conformers)
    parser.add_argument("--exhaustiveness", type=int, default=8)
    parser.add_argument("--blind", action="store_true", help="into the sites of the pocket finder")
    parser.add_argument("--sites", type=int, default=5, help="of the pocket finder")
    parser.add_argument("--effort", default="normal", help="of the blind search")
    parser.add_argument("--ranker", help="order by confidence: a model folder, or shipped weights")
    parser.add_argument("--model", help="network that draws poses")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.method == "table":
        print_table(args.files)
        return
    rows = list(csv.DictReader(args.index.open()))
    chosen = [row for row in rows if row["split"] == args.split][:: args.every]
    if args.small_first:
        chosen.sort(key=lambda row: int(row["heavy_atoms"]) * (1 + int(row["rot_bonds"])))
    ids = [row["id"] for row in chosen]
    done = {row["id"] for row in csv.DictReader(args.out.open())} if args.out.exists() else set()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS)
        if not done:
            writer.writeheader()
        for name in ids:
            if name not in done:
                writer.writerow(_row(args, name))
                handle.flush()


def _row(args: argparse.Namespace, name: str) -> dict[str, object]:
    folder = args.data / args.split / name
    try:
        ligand = read_ligand(folder / "ligand.sdf")
        receptor = read_receptor(folder / "protein.pdb")
        box = box_around(ligand.require_coords())
        sure = None
        start = time.process_time()
        if args.method == "vina":
            conformer = fresh_conformers(ligand, 1, args.seed)[0]
            reference = VinaReference(receptor.near(box, 12.0), box, seed=args.seed + 1)
            coords, energies = reference.dock(ligand, conformer, args.exhaustiveness)
        else:
            docked = _docked(args, name, ligand, receptor, box)
            sure, coords, energies = docked.confidence, docked.coords, docked.affinity
        cpu = time.process_time() - start
    except (InputError, ValueError, RuntimeError) as error:
        return {"id": name, "status": "failed", "reason": " ".join(str(error).split())}
    return {"id": name, **measured(ligand, coords, energies, sure, cpu, folder / "protein.pdb")}


def measured(
    ligand: Ligand,
    coords: NDArray[np.floating],
    energies: NDArray[np.floating],
    sure: NDArray[np.floating] | None,
    cpu: float,
    receptor: Path,
) -> dict[str, object]:
    """A row of a ligand that was docked, but for its name: poses `[K, N, 3]`, the best first."""
    rmsd = symmetric_rmsd(coords, ligand.require_coords(), ligand.symmetries)
    verdict = bust(ligand, coords[:1], receptor)[0]
    return {
        "status": "ok", "atoms": len(ligand), "torsions": len(ligand.tree),
        "energy": round(float(energies[0]), 3), "top1": round(float(rmsd[0]), 3),
        "best9": round(float(rmsd[:9].min()), 3), "valid": int(verdict.valid),
        "failed": " ".join(verdict.failed), "cpu": round(cpu, 2),
        "rmsds": " ".join(f"{x:.3f}" for x in rmsd),
        "confidences": "" if sure is None else " ".join(f"{x:.4f}" for x in sure),
    }  # fmt: skip


def _docked(
    args: argparse.Namespace, name: str, ligand: Ligand, receptor: Receptor, box: Box
) -> Docked:
    """Poses of `sciddiff dock --dataset`, draw for draw."""
    search: str | SearchSettings = SearchSettings(chains=args.chains, rounds=args.rounds)
    boxes = [site.box for site in find_pockets(receptor, args.sites)] if args.blind else [box]
    settings = DockSettings(
        conformers=args.conformers, effort=args.effort if args.blind else search, seed=args.seed
    )
    denoiser = find_proposer(args.model, torch.device("cpu"))
    docker = Docker(receptor, boxes, settings, denoiser, find_ranker(args.ranker or "none"))
    (result,) = docker.dock([ligand], [number_of(name)])
    if result.docked is None:
        raise InputError(result.error)
    return result.docked


def print_table(files: list[Path]) -> None:
    """Figures of several files on the complexes they share."""
    tables = [{row["id"]: row for row in csv.DictReader(path.open())} for path in files]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    print(f"{len(shared)} complexes in common")
    for path, table in zip(files, tables, strict=True):
        rows = [table[name] for name in shared]
        good = [row for row in rows if row["status"] == "ok"]
        n = len(rows)
        top = sum(float(row["top1"]) < 2 for row in good)
        valid = sum(float(row["top1"]) < 2 and row["valid"] == "1" for row in good)
        best = sum(float(row["best9"]) < 2 for row in good)
        sound = sum(row["valid"] == "1" for row in good)
        cpu = [float(row["cpu"]) for row in good]
        print(f"{path.stem:20s} " + "  ".join([
            f"top-1 {_rate(top, n)}", f"top-1 and valid {_rate(valid, n)}",
            f"best of 9 {_rate(best, n)}", f"valid {_rate(sound, len(good))}",
            f"CPU mean {np.mean(cpu):.1f} s median {np.median(cpu):.1f} s",
        ]))  # fmt: skip
        _calibration([row for row in good if row.get("confidences")])


def _calibration(rows: list[dict[str, str]]) -> None:
    """How good the confidences of all poses are, and those of the first poses."""
    if not rows:
        return
    pairs = [
        [(float(p), float(r) < 2) for p, r in
         zip(row["confidences"].split(), row["rmsds"].split(), strict=True)]
        for row in rows
    ]  # fmt: skip
    for name, chosen in (("all poses", sum(pairs, [])), ("first poses", [x[0] for x in pairs])):
        p, y = zip(*chosen, strict=True)
        print(
            f"    {name}: n {len(p)}, AUROC {auroc(p, y):.3f}, calibration error "
            f"{expected_calibration_error(p, y):.3f}, Brier {brier(p, y):.3f}"
        )


def _rate(hits: int, n: int) -> str:
    low, high = success_interval(hits, n)
    return f"{hits}/{n} = {100 * hits / max(n, 1):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


if __name__ == "__main__":
    main()
