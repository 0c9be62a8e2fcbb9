"""Samples of the domain as files, and folders of files beside each other."""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

import numpy as np

from protein.sequence.alphabet import letters
from protein.sidechains.geometry import build
from protein.sidechains.measure import Comparison, compare
from protein.sidechains.records import side_chain_atoms
from protein.sidechains.samples import CHI, angles_of, from_state
from protein.sidechains.templates import template_of
from protein.structures.chain import Backbone
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.prepare import find_structures
from protein.structures.read import read_structure
from protein.structures.write import write_mmcif
from sciddiff.errors import InputError
from sciddiff.state import Batch, State

__all__ = ["compared_folders", "write_sample"]


def write_sample(batch: Batch, x: State, sample: int, directory: Path) -> Path:
    """Write one sample of a batch as mmCIF.

    Args:
        batch: the template.
        x: samples of its shape.
        sample: which.
        directory: folder to write to.
    """
    rows = batch.cond["present"][sample]
    tokens = batch.cond["residues"][sample][rows].cpu()
    backbone = batch.cond["atoms"][sample][rows].cpu()
    chi = from_state(angles_of(x[CHI])[sample][rows].cpu(), tokens)
    sides = build(backbone, tokens, chi).numpy()
    unknown = batch.cond["unknown"][sample][rows].cpu().numpy()
    text = letters(np.where(unknown, 20, tokens.numpy()))
    chain = batch.cond["chain_index"][sample][rows].cpu().numpy()
    chains = []
    for number, name in enumerate(np.unique(chain)):
        here = np.flatnonzero(chain == name)
        chains.append(
            Backbone(
                backbone.numpy()[here],
                "".join(text[row] for row in here),
                ascii_uppercase[number % len(ascii_uppercase)],
                side_chains=tuple(side_chain_atoms(text[row], sides[row]) for row in here),
            )
        )
    target = directory / f"{batch.ids[sample]}.cif"
    write_mmcif(target, chains)
    return target


def compared_folders(directory: Path, reference: Path) -> list[Comparison]:
    """Structures of a folder beside those of the same name in another, one by one.

    Raises:
        InputError: no two files have one name, or two of one name have different residues.
    """
    known = {file.name.split(".")[0]: file for file in find_structures(reference)}
    found = []
    for file in find_structures(directory):
        other = known.get(file.name.split(".")[0])
        if other is None:
            continue
        made, true = (template_of(read_structure(one, side_chains=True)) for one in (file, other))
        if not np.array_equal(made.tokens, true.tokens):
            raise InputError(f"{file}: has other residues than {other}; give the same structure")
        found.append(compare(true, np.nan_to_num(made.atoms[:, len(ATOM_NAMES) :]), made.complete))
    if not found:
        raise InputError(f"{directory}: no file has the name of one in {reference}")
    return found
