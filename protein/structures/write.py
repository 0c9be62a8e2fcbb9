"""Write backbones as PDB or mmCIF, gzipped by suffix; files appear whole or not at all.

Chain identifiers, residue numbers and insertion codes are kept, so that a file read and written
again differs only in what the reader left out. Coordinates carry three decimals in both formats.
The mmCIF has the categories viewers and Biopython look for: ``_entity``, ``_entity_poly``,
``_entity_poly_seq``, ``_struct_asym`` and ``_atom_site`` with author and label fields. What PDB
cannot hold is renamed or renumbered, and said (``protein.structures.pdb_text``).
"""

import gzip
import os
import re
from collections.abc import Sequence
from pathlib import Path

from protein.structures.chain import Backbone, OtherAtom, Structure
from protein.structures.mmcif_text import mmcif_lines
from protein.structures.pdb_text import PdbMap, fit_columns, fits_columns, pdb_lines
from protein.structures.written_atoms import BFactors
from sciddiff.errors import InputError
from sciddiff.files import replacing

Chains = Backbone | Structure | Sequence[Backbone]
"""What the writers take: one chain, several, or a whole structure."""


def write_pdb(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: BFactors = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
    others: Sequence[OtherAtom] = (),
) -> PdbMap:
    """Write a PDB file.

    Args:
        path: target; ``.gz`` compresses.
        chains: one chain, several, or a structure.
        b_factors: a number per residue, `[L]` or one such array per chain; 0 by default.
        beta_carbon: add an idealised CB to every residue but glycine.
        title: text of the TITLE record.
        others: atoms of ligands and the like, after the chains.

    Returns:
        What was renamed or renumbered because PDB could not hold it; false if nothing was.

    Raises:
        InputError: more chains than PDB has letters for, other atoms whose names do not fit, or
            the file cannot be written.
    """
    fitted, changes = fit_columns(_as_list(chains, path), path)
    if not fits_columns(others):
        raise InputError(f"{path}: ligands have names that PDB cannot hold; use the mmCIF")
    lines = pdb_lines(fitted, b_factors, beta_carbon, title, path, changes.notes, others)
    _write_text(path, "".join(lines))
    return changes


def write_mmcif(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: BFactors = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
    others: Sequence[OtherAtom] = (),
) -> None:
    """Write an mmCIF file.

    Args:
        path: target; ``.gz`` compresses.
        chains: one chain, several, or a structure.
        b_factors: a number per residue, `[L]` or one such array per chain; 0 by default.
        beta_carbon: add an idealised CB to every residue but glycine.
        title: text of ``_struct.title``.
        others: atoms of ligands and the like, after the chains.

    Raises:
        InputError: nothing to write, or the file cannot be written.
    """
    write_models(path, [chains], b_factors, beta_carbon=beta_carbon, title=title, others=others)


def write_models(
    path: str | os.PathLike[str],
    models: Sequence[Chains],
    b_factors: BFactors = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
    others: Sequence[OtherAtom] = (),
) -> None:
    """Write an mmCIF file of several models, such as the steps of a trajectory.

    Args:
        path: target; ``.gz`` compresses.
        models: structures that differ in coordinates alone.
        b_factors: a number per residue, the same in every model; 0 by default.
        beta_carbon: add an idealised CB to every residue but glycine.
        title: text of ``_struct.title``.
        others: atoms of ligands and the like, after the chains.

    Raises:
        InputError: nothing to write, models of different residues, or the file cannot be written.
    """
    listed = [_as_list(chains, path) for chains in models]
    if not listed:
        raise InputError(f"{path}: no model to write; give at least one")
    if any([len(c) for c in one] != [len(c) for c in listed[0]] for one in listed):
        raise InputError(f"{path}: its models have different residues; write several files")
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(path).name.split(".")[0]) or "structure"
    text = "".join(mmcif_lines(listed, b_factors, beta_carbon, title, stem, path, others))
    _write_text(path, text)


def write_structure(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: BFactors = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
) -> None:
    """Write PDB or mmCIF by the suffix of ``path``; see ``write_pdb`` and ``write_mmcif``."""
    name = str(path).lower().removesuffix(".gz")
    if name.endswith((".cif", ".mmcif")):
        write_mmcif(path, chains, b_factors, beta_carbon=beta_carbon, title=title)
    elif name.endswith((".pdb", ".ent")):
        write_pdb(path, chains, b_factors, beta_carbon=beta_carbon, title=title)
    else:
        raise InputError(f"{path}: unknown suffix; end it in .pdb or .cif, optionally .gz")


def _as_list(chains: Chains, path: str | os.PathLike[str]) -> list[Backbone]:
    if isinstance(chains, Backbone):
        listed = [chains]
    else:
        listed = list(chains.chains if isinstance(chains, Structure) else chains)
    if not listed or not all(len(chain) for chain in listed):
        raise InputError(f"{path}: no residues to write; give at least one in every chain")
    return listed


def _write_text(path: str | os.PathLike[str], text: str) -> None:
    data = text.encode("utf-8")
    if str(path).lower().endswith(".gz"):
        # No time stamp: the same structure gives the same bytes.
        data = gzip.compress(data, mtime=0)
    with replacing(path) as out:
        out.write(data)
