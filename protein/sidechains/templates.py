"""What side chains are put on: backbones with residue types, and what lies around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS, tokens
from protein.sidechains.geometry import ATOMS, ELEMENTS, tables
from protein.sidechains.internal import side_atoms
from protein.structures.chain import Backbone, Structure
from protein.structures.geometry_constants import ATOM_NAMES

__all__ = ["OTHER", "Template", "template_of"]

OTHER = len(ELEMENTS)
"""Number of the elements that a protein does not have, in `Template.around_elements`."""


@final
@dataclass(frozen=True, eq=False)
class Template:
    """One structure of L residues, chains end to end, and M atoms around it.

    Attributes:
        atoms: all fourteen places `[L, 14, 3]`, float32, Å; NaN where there is no atom.
        tokens: residues `[L]`, int64, 0 to 19.
        unknown: residues that are none of the twenty `[L]`, bool: they get no side chain.
        chain: number of the chain `[L]`, int64.
        index: place along the chain `[L]`, int64; gaps leave numbers out.
        around: atoms of ligands, ions and the like `[M, 3]`, float32, Å.
        around_elements: their elements `[M]`, int64: numbers of `ELEMENTS`, or `OTHER`.
        name: its name.
    """

    atoms: NDArray[np.float32]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.bool_]
    chain: NDArray[np.int64]
    index: NDArray[np.int64]
    around: NDArray[np.float32]
    around_elements: NDArray[np.int64]
    name: str = ""

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.tokens)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Residues of which every atom is there `[L]`."""
        wanted = tables().present.numpy()[self.tokens]
        there = np.isfinite(self.atoms).all(-1)
        return (there | ~wanted).all(-1) & ~self.unknown


def template_of(
    chains: Structure | Sequence[Backbone], sequence: str | None = None, name: str = ""
) -> Template:
    """A template of the chains of a structure, read with side chains.

    Args:
        chains: the chains, or a structure whose surroundings count too.
        sequence: one-letter amino acids of all chains end to end, in place of their own; atoms of
            a side chain that its new residue does not have are left out.
        name: name of the template.
    """
    around = chains.surroundings if isinstance(chains, Structure) else ()
    listed = list(chains.chains if isinstance(chains, Structure) else chains)
    own = "".join(chain.sequence for chain in listed)
    residues, unknown = tokens(own if sequence is None else sequence)
    atoms = np.full((len(residues), ATOMS, 3), np.nan, dtype=np.float32)
    atoms[:, : len(ATOM_NAMES)] = np.concatenate([chain.coords for chain in listed])
    slots = {
        letter: {name: k for k, name in enumerate(names, len(ATOM_NAMES))}
        for letter, names in side_atoms().items()
    }
    sides = [side for chain in listed for side in chain.side_chains or ((),) * len(chain)]
    for row, side in enumerate(sides):
        if unknown[row] or (sequence is not None and sequence[row] != own[row]):
            continue
        places = slots[LETTERS[residues[row]]]
        for atom in side:
            if atom.name in places:
                atoms[row, places[atom.name]] = atom.position
    kinds = {element: number for number, element in enumerate(ELEMENTS)}
    return Template(
        atoms,
        residues,
        unknown,
        np.repeat(np.arange(len(listed)), [len(chain) for chain in listed]),
        np.concatenate([chain.places for chain in listed]),
        np.asarray([atom.position for atom in around], np.float32).reshape(-1, 3),
        np.asarray([kinds.get(atom.element, OTHER) for atom in around], dtype=np.int64),
        name,
    )
