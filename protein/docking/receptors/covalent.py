"""The side chain that ligands are bonded to: ``A:145:SG``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.adduct import Nucleophile, nucleophile, nucleophiles
from protein.docking.molecules.atom_types import INDEX
from protein.docking.molecules.warheads import BUILT_IN, Warhead, read_warhead
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.residues import named_residues
from protein.docking.receptors.side_chains import SideChains, side_chains
from protein.structures.residues import parent_letter
from sciddiff.errors import InputError

__all__ = ["CovalentSite", "covalent_atom", "covalent_site"]

# Distance of the atom from the box beyond which a ligand in the box cannot be bonded to it, Å, and
# the edges of the box around it if the user gives none.
_FAR = 4.0
_EDGE = 30.0
# Types of the atom once it is bonded: oxygen has lost its hydrogen, and so has histidine's ring.
_BONDED = {"S": "S_P", "O": "O_A", "N": "N_D"}


@dataclass(frozen=True, eq=False)
class CovalentSite:
    """A side chain that ligands are bonded to.

    Attributes:
        sides: the flexible side chains, of which this is the first.
        names: names of the atoms of this residue, and their places in ``sides``.
        residue: the residue and its atom that binds.
        warheads: the warheads that it may bind.
    """

    sides: SideChains
    names: dict[str, int]
    residue: Nucleophile
    warheads: tuple[Warhead, ...]

    @property
    def label(self) -> str:
        """Label of the residue."""
        return self.sides.residues[0]

    @property
    def position(self) -> NDArray[np.float64]:
        """Where the receptor has the atom that binds `[3]`, Å."""
        return self.sides.coords[self.names[self.residue.atom]]

    @property
    def box(self) -> Box:
        """A box around the atom, which holds most ligands that are bonded to it."""
        x, y, z = self.position.tolist()
        return Box((x, y, z), (_EDGE, _EDGE, _EDGE))

    def check(self, boxes: Sequence[Box]) -> None:
        """Refuse a box that the atom is far from.

        Raises:
            InputError: it is, or there are several boxes.
        """
        if len(boxes) > 1:
            raise InputError("--covalent: says where to search; give one box, or none")
        gap = float(boxes[0].distance(self.position[None])[0])
        if gap > _FAR:
            raise InputError(
                f"--covalent: {self.label}:{self.residue.atom} is {gap:.1f} Å from the box; move "
                "the box, or leave it out to search around this atom"
            )


def covalent_atom(receptor: Receptor, name: str) -> tuple[str, str]:
    """Label of the residue and name of the atom that ligands are bonded to.

    Args:
        receptor: the protein.
        name: such as ``A:145:SG``.

    Raises:
        InputError: the residue or the atom is not there, or cannot bind a ligand.
    """
    where, _, atom = name.strip().rpartition(":")
    atom = atom.upper()
    if ":" not in where:
        raise InputError(f"--covalent: {name!r} is not chain:number:atom; write A:145:SG")
    (label,) = named_residues(receptor, where, "--covalent")
    own = [i for i, residue in enumerate(receptor.residues) if residue == label]
    resname = receptor.resnames[own[0]]
    fit = nucleophiles(parent_letter(resname) or "")
    if not fit:
        raise InputError(
            f"--covalent: {label} is {resname}, whose side chain binds no ligand; name a CYS, "
            "SER, THR, TYR, LYS, HIS, ASP or GLU"
        )
    if atom not in fit:
        raise InputError(
            f"--covalent: {label} ({resname}) binds ligands with {' or '.join(fit)}, not with "
            f"{atom}; write {label}:{fit[0]}"
        )
    if atom not in {receptor.atoms[i] for i in own}:
        raise InputError(
            f"--covalent: {label} ({resname}) lacks its atom {atom}; rebuild its side chain (for "
            "example with sciddiff pack)"
        )
    return label, atom


def covalent_site(
    receptor: Receptor, name: str, flexible: Sequence[str] = (), warhead: str | None = None
) -> CovalentSite:
    """The side chain that ligands are bonded to, with further flexible ones.

    Args:
        receptor: the protein.
        name: its atom, such as ``A:145:SG``.
        flexible: labels of further residues whose side chains turn.
        warhead: SMARTS of the warhead; None for those that are built in.

    Raises:
        InputError: the residue, the atom, the warhead or a flexible residue cannot be used.
    """
    label, atom = covalent_atom(receptor, name)
    if label in flexible:
        raise InputError(
            f"--covalent, --flex: {label} turns already, as the ligand is bonded to it; leave it "
            "out of --flex"
        )
    sides = side_chains(receptor, (label, *flexible), "--covalent")
    letter = parent_letter(receptor.resnames[sides.rows[0]]) or ""
    residue = nucleophile(letter, atom)
    assert residue is not None  # noqa: S101 - `covalent_atom` has looked
    mine = {
        receptor.atoms[row]: k for k, row in enumerate(sides.rows.tolist())
        if receptor.residues[row] == label
    }  # fmt: skip
    types = sides.types.copy()
    types[mine[atom]] = INDEX["N_P" if letter == "H" else _BONDED[residue.element]]
    moving = sum(k < sides.moving for k in mine.values())
    warheads = BUILT_IN if warhead is None else (read_warhead(warhead),)
    return CovalentSite(
        replace(sides, types=types, bonded=moving), mine, residue, warheads
    )
