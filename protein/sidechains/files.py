"""Samples of the domain as files, and folders of files beside each other."""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import MASK, letters
from protein.sequence.design.tables import write_fasta
from protein.sidechains.geometry import build
from protein.sidechains.measure import Comparison, compare
from protein.sidechains.records import side_chain_atoms
from protein.sidechains.samples import CHI, angles_of, from_state
from protein.sidechains.templates import Template, template_of
from protein.structures.chain import Backbone
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.prepare import find_structures
from protein.structures.read import read_structure
from protein.structures.write import write_mmcif, write_pdb
from sciddiff.errors import InputError
from sciddiff.state import Batch, State

__all__ = ["compared_folders", "drawn_folders", "write_sample", "write_sequence"]


def write_sample(batch: Batch, x: State, sample: int, directory: Path) -> list[Path]:
    """Write one sample of a batch as mmCIF, and as PDB where that has letters for its chains.

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
    index = batch.cond["residue_index"][sample][rows].cpu().numpy()
    chains = []
    for number, (here, text) in enumerate(_chains(batch, sample)):
        chains.append(
            Backbone(
                backbone.numpy()[here],
                text,
                ascii_uppercase[number % len(ascii_uppercase)],
                residue_numbers=index[here] + 1,
                side_chains=tuple(
                    side_chain_atoms(letter, sides[row])
                    for letter, row in zip(text, here, strict=True)
                ),
            )
        )
    target = directory / f"{batch.ids[sample]}.cif"
    write_mmcif(target, chains)
    if len(chains) > len(ascii_uppercase):
        return [target]
    write_pdb(target.with_suffix(".pdb"), chains)
    return [target, target.with_suffix(".pdb")]


def write_sequence(batch: Batch, sample: int, directory: Path) -> Path:
    """Write the residues of one sample of a batch as FASTA, its chains with / between them."""
    target = directory / f"{batch.ids[sample]}.fasta"
    pieces = [text for _, text in _chains(batch, sample)]
    write_fasta(target, [(batch.ids[sample], "/".join(pieces))])
    return target


def _chains(batch: Batch, sample: int) -> list[tuple[NDArray[np.int64], str]]:
    """Rows of every chain of a sample, and its one-letter sequence."""
    rows = batch.cond["present"][sample]
    unknown = batch.cond["unknown"][sample][rows].cpu().numpy()
    tokens = batch.cond["residues"][sample][rows].cpu().numpy()
    text = letters(np.where(unknown, MASK, tokens))
    chain = batch.cond["chain_index"][sample][rows].cpu().numpy()
    found = [np.flatnonzero(chain == name) for name in np.unique(chain)]
    return [(here, "".join(text[row] for row in here)) for here in found]


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


def drawn_folders(directory: Path, reference: Path) -> list[tuple[Template, Template]]:
    """Structures that types and side chains were drawn for, and the drawn ones.

    A drawn file is named after its structure, with the number of the draw behind it.

    Args:
        directory: drawn structures.
        reference: a folder of the structures, or the file of one.

    Raises:
        InputError: no drawn file belongs to one of them, or one has another number of residues.
    """
    files = find_structures(reference) if reference.is_dir() else [reference]
    known = {file.name.split(".")[0]: file for file in files}
    found: list[tuple[Template, Template]] = []
    for file in find_structures(directory):
        own = file.name.split(".")[0].rpartition("_")[0]
        if own not in known or (file.suffix == ".pdb" and file.with_suffix(".cif").exists()):
            continue
        native, drawn = (
            template_of(read_structure(one, side_chains=True)) for one in (known[own], file)
        )
        if len(native) != len(drawn):
            raise InputError(
                f"{file}: has {len(drawn)} residues, and {known[own]} {len(native)}; give the "
                "structures that it was drawn for"
            )
        found.append((native, drawn))
    if not found:
        raise InputError(f"{directory}: no file is named after one in {reference}")
    return found
