"""Chains as the text of a PDB file, and what has to change so that its columns can hold them.

PDB has one letter for a chain, four digits for a residue, and eight columns for a coordinate. What
does not fit is renamed, renumbered or moved, and the file says so in REMARK 99; the mmCIF written
beside it has everything as it is.
"""

import os
import string
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from protein.structures.chain import Backbone
from protein.structures.pdb_columns import encode_hybrid36
from protein.structures.written_atoms import BFactors, WrittenAtom, written_atoms
from sciddiff.errors import InputError

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
_LOWEST, _HIGHEST = -999, 9999
# What eight columns with three decimals hold, Å.
_LEAST, _MOST = -999.9994, 9999.9994


@dataclass(frozen=True)
class PdbMap:
    """How a PDB file differs from the chains it was written from.

    Attributes:
        chains: own name and name in the PDB file of every renamed chain.
        notes: sentences about renamed chains, renumbered residues and moved atoms.
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
    if len(chains) > len(_LETTERS):
        raise InputError(
            f"{path}: PDB has names for {len(_LETTERS)} chains, not {len(chains)}; use the mmCIF"
        )
    notes: list[str] = []
    named = _names([chain.chain_id for chain in chains])
    renamed = [
        (chain.chain_id, name)
        for chain, name in zip(chains, named, strict=True)
        if chain.chain_id != name
    ]
    notes += [f"chain {own} is called {name} here" for own, name in renamed]
    fitted = []
    for chain, name in zip(chains, named, strict=True):
        numbers, codes = chain.residue_numbers, chain.insertion_codes
        if numbers.min() < _LOWEST or numbers.max() > _HIGHEST:
            numbers, codes = _renumbered(chain)
            notes.append(
                f"residues {numbers[0]}-{numbers[-1]} of chain {name} are "
                f"{chain.labels[0]} to {chain.labels[-1]}"
            )
        fitted.append(
            replace(chain, chain_id=name, residue_numbers=numbers, insertion_codes=codes)
        )
    fitted, moved = _moved(fitted)
    return fitted, PdbMap(tuple(renamed), tuple(notes + moved))


def pdb_lines(
    chains: list[Backbone],
    b_factors: BFactors,
    beta_carbon: bool,
    title: str,
    path: str | os.PathLike[str],
    remarks: tuple[str, ...] = (),
) -> Iterator[str]:
    """Lines of a PDB file of chains that fit its columns.

    Args:
        chains: as ``fit_columns`` gives them.
        b_factors: a number for each residue.
        beta_carbon: add an idealised CB.
        title: text of the TITLE record.
        path: the file, for messages.
        remarks: sentences for REMARK 99.
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
    if last is not None:
        yield _ter_line(last, chains, last.serial + extra + 1)
    yield "END\n"


def _names(own: list[str]) -> list[str]:
    """One letter for every chain: its own where it has one that no chain before it has."""
    single = {name for name in own if len(name) == 1}
    free = (letter for letter in _LETTERS if letter not in single)
    names: list[str] = []
    for name in own:
        fits = len(name) == 1 and name.isascii() and name.isprintable() and name != " "
        names.append(name if fits and name not in names else next(free))
    return names


def _renumbered(chain: Backbone) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers from 1 on with the same steps where they fit, else counted."""
    numbers = chain.residue_numbers - chain.residue_numbers.min() + 1
    if numbers.max() <= _HIGHEST:
        return numbers, chain.insertion_codes
    return np.arange(1, len(chain) + 1, dtype=np.int64), ("",) * len(chain)


def _moved(chains: list[Backbone]) -> tuple[list[Backbone], list[str]]:
    """Chains whose coordinates fit, moved together by whole ångströms if need be."""
    every = np.concatenate([chain.coords.reshape(-1, 3) for chain in chains]).astype(np.float64)
    low, high = every.min(0) - 20.0, every.max(0) + 20.0  # room for side chains
    if (low > _LEAST).all() and (high < _MOST).all():
        return chains, []
    # To the middle of the columns' range, or its lower end where the atoms need all of it.
    shift = -np.round(np.where(high - low < 1900.0, every.mean(0), low + 990.0))
    moved = [
        replace(
            chain,
            coords=(chain.coords.astype(np.float64) + shift).astype(np.float32),
            side_chains=tuple(
                tuple(atom.moved(shift) for atom in residue) for residue in chain.side_chains
            ),
        )
        for chain in chains
    ]
    by = ", ".join(f"{-value:g}" for value in shift)
    return moved, [f"all atoms are moved: add ({by}) A for their own places"]


def _atom_line(
    atom: WrittenAtom, chains: list[Backbone], serial: int, path: str | os.PathLike[str]
) -> str:
    chain = chains[atom.chain]
    if not -99.99 <= atom.b_factor <= 999.99:
        raise InputError(f"{path}: b_factor {atom.b_factor:g} does not fit PDB; scale to 0-100")
    if not all(_LEAST < value < _MOST for value in atom.position):
        raise InputError(
            f"{path}: atoms of {chain.chain_id} are further apart than PDB can say; use the mmCIF"
        )
    x, y, z = atom.position
    code = chain.insertion_codes[atom.index] or " "
    name = f" {atom.name:<3s}" if len(atom.name) < 4 and len(atom.element) == 1 else atom.name
    return (
        f"ATOM  {encode_hybrid36(serial, 5)} {name:<4s} {atom.residue:>3s} {chain.chain_id}"
        f"{chain.residue_numbers[atom.index]:4d}{code}   {x:8.3f}{y:8.3f}{z:8.3f}"
        f"  1.00{atom.b_factor:6.2f}          {atom.element:>2s}\n"
    )


def _ter_line(atom: WrittenAtom, chains: list[Backbone], serial: int) -> str:
    chain = chains[atom.chain]
    code = chain.insertion_codes[atom.index] or " "
    number = chain.residue_numbers[atom.index]
    serial_text = encode_hybrid36(serial, 5)
    return f"TER   {serial_text}      {atom.residue:>3s} {chain.chain_id}{number:4d}{code}\n"
