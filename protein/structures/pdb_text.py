"""Chains as the text of a PDB file, and what has to change so that its columns can hold them.

PDB has one letter for a chain and four digits for a residue. What does not fit is renamed or
renumbered, and the file says so in REMARK 99; the mmCIF written beside it has everything as it is.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from protein.structures.atom_table import AtomTable
from protein.structures.chain import Backbone, OtherAtom
from protein.structures.pdb_columns import encode_hybrid36
from protein.structures.pdb_records import (
    HIGHEST,
    LETTERS,
    LOWEST,
    atom_record,
    chain_letters,
    fit_residues,
)
from protein.structures.residues import is_nucleotide
from protein.structures.written_atoms import BFactors, WrittenAtom, written_atoms
from sciddiff.errors import InputError


@dataclass(frozen=True)
class PdbMap:
    """How a PDB file differs from the chains it was written from.

    Attributes:
        chains: own name and name in the PDB file of every renamed chain.
        notes: sentences about renamed chains and renumbered residues.
    """

    chains: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.notes)


def fit_columns(
    chains: list[Backbone], path: str | os.PathLike[str]
) -> tuple[list[Backbone], PdbMap]:
    """Chains that fit the columns of PDB, and what was changed.

    Args:
        chains: any chains.
        path: the file, for the message.

    Raises:
        InputError: more chains than PDB has letters for.
    """
    if len(chains) > len(LETTERS):
        raise InputError(
            f"{path}: PDB has names for {len(LETTERS)} chains, not {len(chains)}; use the mmCIF"
        )
    notes: list[str] = []
    named = chain_letters([chain.chain_id for chain in chains])
    renamed = [
        (chain.chain_id, name)
        for chain, name in zip(chains, named, strict=True)
        if chain.chain_id != name
    ]
    notes += [f"chain {own} is called {name} here" for own, name in renamed]
    fitted = []
    for chain, name in zip(chains, named, strict=True):
        numbers, codes = chain.residue_numbers, chain.insertion_codes
        if numbers.min() < LOWEST or numbers.max() > HIGHEST:
            numbers, codes = _renumbered(chain)
            notes.append(
                f"residues {numbers[0]}-{numbers[-1]} of chain {name} are "
                f"{chain.labels[0]} to {chain.labels[-1]}"
            )
        fitted.append(
            replace(chain, chain_id=name, residue_numbers=numbers, insertion_codes=codes)
        )
    return fitted, PdbMap(tuple(renamed), tuple(notes))


def pdb_lines(
    chains: list[Backbone],
    b_factors: BFactors,
    beta_carbon: bool,
    title: str,
    path: str | os.PathLike[str],
    remarks: tuple[str, ...] = (),
    others: Sequence[OtherAtom] = (),
) -> Iterator[str]:
    """Lines of a PDB file of chains that fit its columns.

    Args:
        chains: as ``fit_columns`` gives them.
        b_factors: a number for each residue.
        beta_carbon: add an idealised CB.
        title: text of the TITLE record.
        path: the file, for messages.
        remarks: sentences for REMARK 99.
        others: atoms of ligands and the like; `fits_columns` says whether they can be written.
    """
    if title:
        yield f"TITLE     {' '.join(title.split())[:70]:<70}\n"
    for remark in remarks:
        words = remark.split()
        line = ""
        for word in [*words, ""]:
            if word and len(line) + len(word) < 68:
                line = f"{line} {word}".strip()
            else:
                yield f"REMARK  99 {line}\n"
                line = word
    last: WrittenAtom | None = None
    extra = 0
    for atom in written_atoms(chains, b_factors, beta_carbon, path):
        if last is not None and atom.chain != last.chain:
            extra += 1
            yield _ter_line(last, chains, last.serial + extra)
        yield _atom_line(atom, chains, atom.serial + extra, path)
        last = atom
    before = 0
    if last is not None:
        before = last.serial + extra + 1
        yield _ter_line(last, chains, before)
    for serial, other in enumerate(others, start=before + 1):
        record = "ATOM" if is_nucleotide(other.residue) else "HETATM"
        residue = (other.chain, other.number, other.code)
        yield (
            atom_record(record, serial, other.name, other.element, other.residue, residue,
                        other.position) + "\n"
        )  # fmt: skip
    yield "END\n"


def fits_columns(others: Iterable[OtherAtom]) -> bool:
    """Whether atoms of ligands and the like fit the columns of PDB under their own names."""
    return all(
        len(atom.chain) <= 1
        and len(atom.name) <= 4
        and len(atom.residue) <= 3
        and len(atom.code) <= 1
        and LOWEST <= atom.number <= HIGHEST
        for atom in others
    )


def _renumbered(chain: Backbone) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers from 1 on with the same steps where they fit, else counted."""
    numbers = chain.residue_numbers - chain.residue_numbers.min() + 1
    if numbers.max() <= HIGHEST:
        return numbers, chain.insertion_codes
    return np.arange(1, len(chain) + 1, dtype=np.int64), ("",) * len(chain)


def _atom_line(
    atom: WrittenAtom, chains: list[Backbone], serial: int, path: str | os.PathLike[str]
) -> str:
    chain = chains[atom.chain]
    if not -99.99 <= atom.b_factor <= 999.99:
        raise InputError(f"{path}: b_factor {atom.b_factor:g} does not fit PDB; scale to 0-100")
    residue = (
        chain.chain_id,
        int(chain.residue_numbers[atom.index]),
        chain.insertion_codes[atom.index],
    )
    line = atom_record(
        *("ATOM", serial, atom.name, atom.element, atom.residue, residue),
        atom.position.tolist(),
        atom.b_factor,
    )
    return f"{line}\n"


def _ter_line(atom: WrittenAtom, chains: list[Backbone], serial: int) -> str:
    chain = chains[atom.chain]
    code = chain.insertion_codes[atom.index] or " "
    number = chain.residue_numbers[atom.index]
    serial_text = encode_hybrid36(serial, 5)
    return f"TER   {serial_text}      {atom.residue:>3s} {chain.chain_id}{number:4d}{code}\n"


def table_lines(table: AtomTable) -> Iterator[str]:
    """Lines of a PDB file of the first model of any atoms, with names that its columns can hold.

    Args:
        table: the atoms.
    """
    rows = np.flatnonzero(table.model == 0)
    residues = [(table.chains[i], int(table.numbers[i]), table.codes[i]) for i in rows]
    written = fit_residues(residues)
    for serial, (row, residue) in enumerate(zip(rows, residues, strict=True), start=1):
        line = atom_record(
            "HETATM" if table.hetero[row] else "ATOM",
            serial,
            table.names[row],
            table.elements[row],
            table.resnames[row],
            written[residue],
            table.coords[row].tolist(),
            float(np.clip(table.b_factors[row], -99.0, 999.0)),
            float(np.clip(table.occupancies[row], 0.0, 1.0)),
        )
        yield f"{line[:16]}{table.altlocs[row] or ' '}{line[17:]}\n"
    yield "END\n"
