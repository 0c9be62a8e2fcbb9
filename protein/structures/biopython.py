"""Chains as structures of Biopython, for scripts that go on with them.

Names of chains, residue numbers, insertion codes and residue types are kept. A residue is named by
Biopython's own triple, ``(" ", number, insertion code)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protein.structures.chain import Backbone
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.residues import ONE_TO_THREE
from sciddiff.errors import MissingExtra

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure


def to_biopython(chains: Sequence[Backbone], name: str = "structure") -> Structure:
    """Build a structure with one model.

    Args:
        chains: With different names; coordinates in Å.
        name: Identifier of the structure.

    Returns:
        A `Bio.PDB.Structure.Structure` with the atoms N, CA, C and O of every residue.

    Raises:
        MissingExtra: Biopython is not installed.
    """
    try:
        from Bio.PDB.StructureBuilder import StructureBuilder
    except ImportError as error:
        raise MissingExtra("biopython", "protein") from error
    builder = StructureBuilder()
    builder.init_structure(name)
    builder.init_model(0)
    for chain in chains:
        builder.init_chain(chain.chain_id)
        builder.init_seg("    ")
        codes = chain.insertion_codes or ("",) * len(chain)
        rows = zip(chain.sequence, chain.residue_numbers, codes, chain.coords, strict=True)
        for letter, number, code, atoms in rows:
            residue = ONE_TO_THREE.get(letter.upper(), "UNK")
            builder.init_residue(residue, " ", int(number), code.strip() or " ")
            for atom, place in zip(ATOM_NAMES, atoms, strict=True):
                builder.init_atom(atom, place.copy(), 0.0, 1.0, " ", f" {atom:<3}", None, atom[0])
    built = builder.get_structure()
    assert built is not None
    return built
