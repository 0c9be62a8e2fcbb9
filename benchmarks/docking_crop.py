"""Whether PoseBusters says the same of a pose beside the residues near it and the whole file.

For complexes of a split, the crystal pose and the same pose moved as a whole (1.5 Å along each
axis, standard normal) are judged in both ways, check by check:

    python benchmarks/docking_crop.py --data DIR --every 3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protein.docking.molecules.files import read_ligand
from protein.docking.poses import metrics


def main() -> None:
    """Judge and print."""
    from posebusters import PoseBusters

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<id>/")
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="only every n-th complex")
    args = parser.parse_args()
    runner = PoseBusters(config="dock")
    poses = same = invalid = 0
    for folder in sorted((args.data / args.split).iterdir())[:: args.every]:
        ligand, file = read_ligand(folder / "ligand.sdf"), folder / "protein.pdb"
        crystal = ligand.require_coords()
        moved = crystal + 1.5 * np.random.default_rng(0).normal(size=3)
        for coords in (crystal, moved):
            cropped = metrics.bust(ligand, coords[None], file)[0]
            judged = metrics._verdict(runner, ligand.with_coords(coords), file)
            poses += 1
            same += cropped.checks == judged.checks
            invalid += not judged.valid
            if cropped.checks != judged.checks:
                print(f"{folder.name}: {cropped.failed} near, {judged.failed} beside the whole")
    print(f"{same} of {poses} poses alike in every check, {invalid} of them invalid")


if __name__ == "__main__":
    main()
