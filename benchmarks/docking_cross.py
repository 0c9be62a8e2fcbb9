"""Cross-docking: into a receptor that was solved with another ligand, beside AutoDock Vina.

Within each pocket cluster of a split, complexes of the same protein are paired: each ligand with
the receptor of the next complex in the order of the index whose protein is the same, that is, at
least `--identity` of the residues within 8 Å of the ligand align with equal ones. The C-alpha
atoms of these residues are superposed, and a pair whose pocket differs by more than 2 Å (RMSD) is
passed over. The ligand starts from fresh conformers; the box is its crystal extent plus 4 Å on
each side, and its crystal place in its own protein is the truth. Both programs have the same
receptor, box and molecule. Rows go to a CSV as they are found, and pairs already there are not
done again:

    python benchmarks/docking_cross.py run --data DIR --index index.csv -o cross.csv
    python benchmarks/docking_cross.py table cross.csv

Large and very flexible ligands, and the later pairs of a large cluster, are left out by
`--atoms`, `--torsions` and `--most`, since Vina needs minutes for each. A ligand that cannot be
docked is a failure of the program that could not.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import docking_rows
from benchmarks.docking_rows import mcnemar, rate
from benchmarks.vina_reference import VinaReference
from protein.docking.confidence.ranker import find_ranker
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.other_structure import superposed
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from sciddiff.errors import InputError

ARMS = ("ours", "vina")
MEASURES = ("top1", "best9", "cpu", "reason")
FIELDS = ("id", "receptor", "residues", "apart",
          *(f"{arm}_{what}" for arm in ARMS for what in MEASURES))  # fmt: skip


def main() -> None:
    """Dock, or compare."""
    parser = docking_rows.arguments(__doc__)
    parser.add_argument("--identity", type=float, default=0.95, help="of the pocket's residues")
    parser.add_argument("--most", type=int, default=5, help="pairs of each cluster")
    parser.add_argument("--atoms", type=int, default=40, help="largest ligand")
    parser.add_argument("--torsions", type=int, default=8, help="most flexible ligand")
    parser.add_argument("--exhaustiveness", type=int, default=8)
    docking_rows.run(parser.parse_args(), FIELDS, rows_of, print_table)


def rows_of(args: argparse.Namespace, done: frozenset[str]) -> Iterator[dict[str, object]]:
    """Rows of the pairs that have none."""
    ranker = find_ranker()
    for name, other, ligand, receptor, facts in _pairs(args):
        if name in done:
            continue
        box = box_around(ligand.require_coords())
        row: dict[str, object] = {"id": name, "receptor": other, **facts}
        for arm in ARMS:
            start = time.process_time()
            try:
                if arm == "ours":
                    settings = DockSettings(seed=args.seed)
                    docker = Docker(receptor, box, settings, ranker=ranker)
                    coords = _first(docker, ligand, name)
                else:
                    coords = _vina(args, ligand, receptor, box)
            except (InputError, ValueError, RuntimeError) as error:
                row[f"{arm}_reason"] = " ".join(str(error).split())
                continue
            row[f"{arm}_cpu"] = f"{time.process_time() - start:.2f}"
            rmsd = symmetric_rmsd(coords[:9], ligand.require_coords(), ligand.symmetries)
            row[f"{arm}_top1"] = f"{rmsd[0]:.3f}"
            row[f"{arm}_best9"] = f"{rmsd.min():.3f}"
        yield row


def _first(docker: Docker, ligand: Ligand, name: str) -> NDArray[np.float64]:
    """Poses of the usual effort, the surest first."""
    (result,) = docker.dock([ligand], [number_of(name)])
    if result.docked is None:
        raise InputError(result.error)
    return result.docked.coords


def _vina(
    args: argparse.Namespace, ligand: Ligand, receptor: Receptor, box: Box
) -> NDArray[np.float64]:
    conformer = fresh_conformers(ligand, 1, args.seed)[0]
    reference = VinaReference(receptor.near(box, 12.0), box, seed=args.seed + 1)
    return reference.dock(ligand, conformer, args.exhaustiveness)[0]


def _pairs(
    args: argparse.Namespace,
) -> Iterator[tuple[str, str, Ligand, Receptor, dict[str, object]]]:
    """Name, the other complex, the ligand in place, the other's receptor there, and facts."""
    rows = docking_rows.chosen(args)
    found: Counter[str] = Counter()
    for i, row in enumerate(rows):
        cluster = row["cluster40"]
        if (
            found[cluster] >= args.most
            or int(row["heavy_atoms"]) > args.atoms
            or int(row["rot_bonds"]) > args.torsions
        ):
            continue
        folder = args.data / args.split
        ligand = read_ligand(folder / row["id"] / "ligand.sdf")
        own = read_receptor(folder / row["id"] / "protein.pdb")
        for other in [*rows[i + 1 :], *rows[:i]]:
            if other["cluster40"] != cluster:
                continue
            receptor = read_receptor(folder / other["id"] / "protein.pdb")
            placed = superposed(own, receptor, ligand.require_coords(), args.identity)
            if placed is not None:
                moved, apart, residues = placed
                facts = {"residues": residues, "apart": f"{apart:.2f}"}
                found[cluster] += 1
                yield row["id"], other["id"], ligand, moved, facts
                break


def print_table(path: Path) -> None:
    """Shares within 2 Å of both programs, and the exact test of the pairs they differ on."""
    rows = list(csv.DictReader(path.open()))
    apart = [float(row["apart"]) for row in rows]
    print(f"{path}: {len(rows)} pairs, pockets {np.mean(apart):.2f} Å apart on average")
    for arm in ARMS:
        good = [row for row in rows if row[f"{arm}_top1"]]
        shares = [
            f"{what} {rate([float(row[f'{arm}_{what}']) < 2 for row in good], len(rows))}"
            for what in ("top1", "best9")
        ]
        cpu = [float(row[f"{arm}_cpu"]) for row in good]
        print(f"{arm:5s} " + "  ".join(shares) + f"  CPU {np.mean(cpu):.1f} s, "
              f"{len(rows) - len(good)} not docked")  # fmt: skip
    for what in ("top1", "best9"):
        ours, theirs = (
            [bool(row[f"{arm}_{what}"]) and float(row[f"{arm}_{what}"]) < 2 for row in rows]
            for arm in ARMS
        )
        more = sum(a and not b for a, b in zip(ours, theirs, strict=True))
        less = sum(b and not a for a, b in zip(ours, theirs, strict=True))
        print(f"{what}: right here alone {more}, by Vina alone {less}, "
              f"p = {mcnemar(more, less):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
