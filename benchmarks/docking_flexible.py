"""Redocking into receptors whose side chains are wrong: rigid against flexible.

In each complex of a split the three side chains nearest to the crystal ligand that can turn are
set to another rotamer: the first torsion turns by 120 degrees either way, the further ones by 0 or
120 degrees either way (0 or 90 about a flat end), and of all these the one of least energy without
the ligand is taken. Nothing else is known of the ligand than its molecule and the box of its
extent plus 4 Å on each side. The ligand is then docked three times with the same effort:

- `crystal`: into the crystal's receptor, rigid, the best that can be hoped for;
- `rigid`: into the altered receptor, rigid;
- `flexible`: into the altered receptor, with these three side chains flexible.

Rows go to a CSV as they are found, and complexes already there are not done again:

    python benchmarks/docking_flexible.py run --data DIR --index index.csv --every 3 -o flex.csv
    python benchmarks/docking_flexible.py table flex.csv

`table` gives the share of first poses within 2 Å, in the order of the energy and in that of the
ranker that ships, and of any of nine, with 95 % intervals. Differences have an exact McNemar test.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import docking_rows
from benchmarks.docking_rows import mcnemar, rate
from protein.docking.confidence.pose_set import pose_set
from protein.docking.confidence.ranker import Ranker, find_ranker
from protein.docking.energy.side_chains import SideField
from protein.docking.energy.vina import SearchSpace
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch, coordinates
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.receptors.side_chains import SideChains, residues_near, side_chains
from protein.docking.search.draws import number_of
from protein.docking.search.ranking import JUDGED, diverse
from protein.structures.residues import parent_letter
from sciddiff.errors import InputError

ARMS = ("crystal", "rigid", "flexible")
MEASURES = ("energy", "ranker", "best9", "cpu")
FIELDS = ("id", "status", "residues", "moved", "apart", "reason",
          *(f"{arm}_{what}" for arm in ARMS for what in MEASURES))  # fmt: skip
FLAT = {"F": 2, "Y": 2, "W": 2, "H": 2, "D": 2, "N": 2, "E": 3, "Q": 3, "R": 4}
"""Torsions that end at a flat group."""


def main() -> None:
    """Dock, or compare."""
    parser = docking_rows.arguments(__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every n-th complex")
    parser.add_argument("--first", type=int, default=0, help="of them, the first one taken")
    parser.add_argument("--atoms", type=int, default=1000, help="largest ligand")
    parser.add_argument("--torsions", type=int, default=1000, help="most flexible ligand")
    parser.add_argument("--residues", type=int, default=3, help="side chains that are altered")
    parser.add_argument("--effort", default="fast", choices=[e for e in EFFORTS if e != "none"])
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    docking_rows.run(parser.parse_args(), FIELDS, rows_of, print_table)


def rows_of(args: argparse.Namespace, done: frozenset[str]) -> Iterator[dict[str, object]]:
    """Rows of the complexes that have none."""
    ranker = find_ranker()
    fit = [
        row for row in docking_rows.chosen(args)
        if int(row["heavy_atoms"]) <= args.atoms and int(row["rot_bonds"]) <= args.torsions
    ]
    for row in fit[args.first :: args.every]:
        if row["id"] not in done:
            yield {"id": row["id"], **row_of(args, row["id"], ranker)}


def row_of(args: argparse.Namespace, name: str, ranker: Ranker | None) -> dict[str, object]:
    """Figures of one complex, or why there are none."""
    folder = args.data / args.split / name
    try:
        ligand = read_ligand(folder / "ligand.sdf")
        crystal = read_receptor(folder / "protein.pdb")
        coords = ligand.require_coords()
        box = box_around(coords)
        own = side_chains(crystal, nearest(crystal, coords, args.residues))
        altered, apart = other_rotamers(ligand, crystal, own, box)
        # As in the crystal: an altered side chain may overlap another one, which is no bond.
        sides = replace(own, coords=altered.coords[own.rows])
        row: dict[str, object] = {
            "status": "ok", "residues": " ".join(own.residues), "moved": own.moving,
            "apart": f"{apart:.2f}",
        }  # fmt: skip
        places = {
            "crystal": (crystal, None), "rigid": (altered, None), "flexible": (altered, sides),
        }  # fmt: skip
        for arm in args.arms:
            found = measured(args, name, ligand, *places[arm], box, ranker)
            row |= {f"{arm}_{what}": value for what, value in found.items()}
        return row
    except (InputError, ValueError, RuntimeError) as error:
        return {"status": "failed", "reason": " ".join(str(error).split())}


def nearest(receptor: Receptor, coords: NDArray[np.floating], count: int) -> tuple[str, ...]:
    """The side chains that can turn and are nearest to the ligand."""
    for distance in np.arange(2.5, 8.0, 0.1):
        try:
            labels, _ = residues_near(receptor, coords, float(distance))
        except InputError:
            continue
        if len(labels) >= count:
            return labels[:count]
    raise InputError(f"{receptor.name}: has no {count} side chains near the ligand")


def other_rotamers(
    ligand: Ligand, receptor: Receptor, sides: SideChains, box: Box
) -> tuple[Receptor, float]:
    """The receptor with each of the side chains in another rotamer, and their RMSD, Å."""
    space = SearchSpace(receptor, box, sides=SideField.make(receptor, sides))
    energy = space.energy([ligand])
    assert energy.sides is not None  # noqa: S101 - it was given
    batch = LigandBatch.pack([ligand.tree], [fresh_conformers(ligand)[0]], sides=sides)
    first = len(ligand.tree)
    turns = torch.zeros(1, 1, batch.dofs - 6)
    starts = [*np.flatnonzero(sides.tree.parents < 0).tolist(), len(sides.tree)]
    names = dict(zip(receptor.residues, receptor.resnames, strict=True))
    third = 2 * math.pi / 3
    for label, begin, end in zip(sides.residues, starts, starts[1:], strict=False):
        flat = FLAT.get(parent_letter(names[label]) or "", 0)
        choices = [[third, -third]]
        choices += [
            [0.0, math.pi / 2] if k == flat else [0.0, third, -third]
            for k in range(2, end - begin + 1)
        ]
        options = torch.tensor(list(itertools.product(*choices)))
        trial = turns.repeat(1, len(options), 1)
        trial[0, :, first + begin : first + end] = options
        x = coordinates(batch, batch.identity(len(options))._replace(torsions=trial))
        best = int(energy.sides.energy(x, 10.0)[0].argmin())
        turns = trial[:, best : best + 1]
    x = coordinates(batch, batch.identity(1)._replace(torsions=turns))[0, 0].double().numpy()
    moved = x[len(ligand) : len(ligand) + sides.moving]
    gap = np.square(moved - sides.coords[: sides.moving]).sum(-1).mean()
    return sides.placed(receptor, moved), float(np.sqrt(gap))


def measured(
    args: argparse.Namespace,
    name: str,
    ligand: Ligand,
    receptor: Receptor,
    sides: SideChains | None,
    box: Box,
    ranker: Ranker | None,
) -> dict[str, str]:
    """RMSD of the first pose in both orders, and of the best of nine by the ranker, Å."""
    start = time.process_time()
    settings = DockSettings(poses=JUDGED, effort=args.effort, seed=args.seed)
    docker = Docker(receptor, box, settings, sides=sides)
    (result,) = docker.dock([ligand], [number_of(name)])
    docked = result.docked
    if docked is None:
        raise InputError(result.error)
    by_energy = diverse(ligand, docked, 9)
    by_ranker = by_energy
    if ranker is not None:
        receptors = [result.receptor(receptor, k) for k in range(len(docked.coords))]
        poses = pose_set(ligand, receptor if sides is None else receptors, docked)
        sure = replace(docked, confidence=ranker.probabilities(poses))
        by_ranker = diverse(ligand, sure, 9)
    cpu = time.process_time() - start
    truth, ways = ligand.require_coords(), ligand.symmetries
    ranked = symmetric_rmsd(by_ranker.coords, truth, ways)
    energy = symmetric_rmsd(by_energy.coords[:1], truth, ways)
    values = (float(energy[0]), float(ranked[0]), float(ranked.min()), cpu)
    return {what: f"{value:.3f}" for what, value in zip(MEASURES, values, strict=True)}


def print_table(path: Path) -> None:
    """Shares within 2 Å of every arm; a complex that could not be docked is a failure of all."""
    rows = list(csv.DictReader(path.open()))
    good = [row for row in rows if row["status"] == "ok"]
    apart = [float(row["apart"]) for row in good]
    print(f"{path}: {len(rows)} complexes, {len(good)} docked; altered side chains moved by "
          f"{np.mean(apart):.1f} Å (root mean square, mean of complexes)")  # fmt: skip
    for arm in (arm for arm in ARMS if all(row[f"{arm}_cpu"] for row in good)):
        shares = [
            f"{what} {rate([float(row[f'{arm}_{what}']) < 2 for row in good], len(rows))}"
            for what in ("energy", "ranker", "best9")
        ]
        cpu = [float(row[f"{arm}_cpu"]) for row in good]
        print(f"{arm:10s} " + "  ".join(shares) + f"  CPU {np.mean(cpu):.1f} s")
    for what in ("energy", "ranker", "best9"):
        more = sum(
            float(row[f"flexible_{what}"]) < 2 <= float(row[f"rigid_{what}"]) for row in good
        )
        less = sum(
            float(row[f"rigid_{what}"]) < 2 <= float(row[f"flexible_{what}"]) for row in good
        )
        print(f"{what}: right with flexible alone {more}, with rigid alone {less}, "
              f"p = {mcnemar(more, less):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
