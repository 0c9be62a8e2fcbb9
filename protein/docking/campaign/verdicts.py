"""Verdicts of PoseBusters on what was docked, beside the receptor that a pose belongs to."""

import tempfile
from pathlib import Path

from protein.docking.campaign.output import receptor_lines
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.result import Result
from protein.docking.poses.metrics import Verdict, bust, pdb_file
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.waters import is_water


def verdicts(
    ligand: Ligand, result: Result, receptor: Receptor, file: Path, most: int
) -> list[Verdict]:
    """Judge the first poses of a ligand; none if it was not docked.

    A pose with flexible side chains, or that may displace waters, is judged beside the heavy atoms
    that were docked to, with its own side chains and waters; any other beside the file, without
    the waters that were not docked to. For a pose that is bonded to a side chain, the atom that it
    is bonded to and that atom's neighbours are left out, which a bond brings close.

    Args:
        ligand: the molecule.
        result: result of docking it.
        receptor: the receptor that was docked to.
        file: its structure file.
        most: number of poses to judge.

    Raises:
        InputError: the file cannot be read.
        MissingExtra: PoseBusters is not installed.
    """
    ligand = result.molecule(ligand)
    coords = () if result.docked is None else result.docked.coords[:most]
    if len(coords) == 0:
        return []
    if result.sides is None and not result.waters:
        with pdb_file(file) as plain:
            return bust(ligand, coords, plain, receptor.coords[is_water(receptor)])
    found: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder:
        moved = Path(folder) / "moved.pdb"
        for k in range(len(coords)):
            beside = result.receptor(receptor, k)
            if result.bond is not None:
                beside = beside.select(~result.bond.close(beside.residues, beside.atoms))
            lines = receptor_lines(beside)
            moved.write_text("\n".join([*lines, "END", ""]), encoding="ascii", errors="replace")
            found += bust(ligand, coords[k : k + 1], moved)
    return found
