"""Write backbones as PDB or mmCIF, gzipped by suffix; files appear whole or not at all.

Chain identifiers, residue numbers and insertion codes are kept, so that a file read and written
again differs only in what the reader left out. Coordinates carry three decimals in both formats.
The mmCIF has the categories viewers and Biopython look for: ``_entity``, ``_entity_poly``,
``_entity_poly_seq``, ``_struct_asym`` and ``_atom_site`` with author and label fields.
"""

import gzip
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protein.structures.atomic import replacing
from protein.structures.chain import Backbone, Structure
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.residues import ONE_TO_THREE
from sciddiff.errors import InputError

Chains = Backbone | Structure | Sequence[Backbone]
"""What the writers take: one chain, several, or a whole structure."""

_MAX_PDB = 99_999
_ELEMENTS = {"N": "N", "CA": "C", "C": "C", "O": "O", "CB": "C"}


@dataclass(frozen=True)
class _Atom:
    """One line of output."""

    serial: int
    name: str
    residue: str
    chain: int
    index: int
    position: NDArray[np.float64]
    b_factor: float


def write_pdb(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
) -> None:
    """Write a PDB file.

    Args:
        path: target; ``.gz`` compresses.
        chains: one chain, several, or a structure.
        b_factors: a number per residue, `[L]` or one such array per chain; 0 by default.
        beta_carbon: add an idealised CB to every residue but glycine.
        title: text of the TITLE record.

    Raises:
        InputError: what PDB cannot hold (chain names of several letters, too many atoms, numbers
            or coordinates too large), or the file cannot be written.
    """
    listed = _as_list(chains, path)
    text = "".join(_pdb_lines(listed, b_factors, beta_carbon, title, path))
    _write_text(path, text)


def write_mmcif(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    beta_carbon: bool = False,
    title: str = "",
) -> None:
    """Write an mmCIF file.

    Args:
        path: target; ``.gz`` compresses.
        chains: one chain, several, or a structure.
        b_factors: a number per residue, `[L]` or one such array per chain; 0 by default.
        beta_carbon: add an idealised CB to every residue but glycine.
        title: text of ``_struct.title``.

    Raises:
        InputError: nothing to write, or the file cannot be written.
    """
    listed = _as_list(chains, path)
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(path).name.split(".")[0]) or "structure"
    text = "".join(_mmcif_lines(listed, b_factors, beta_carbon, title, stem, path))
    _write_text(path, text)


def write_structure(
    path: str | os.PathLike[str],
    chains: Chains,
    b_factors: ArrayLike | Sequence[ArrayLike] | None = None,
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


def _atoms(
    chains: list[Backbone],
    b_factors: ArrayLike | Sequence[ArrayLike] | None,
    beta_carbon: bool,
    path: str | os.PathLike[str],
) -> Iterator[_Atom]:
    """Every atom in file order, serial numbers from 1."""
    serial = 0
    per_chain = _b_factors(chains, b_factors, path)
    for number, (chain, values) in enumerate(zip(chains, per_chain, strict=True)):
        coords = chain.coords.astype(np.float64)
        betas = _beta_carbons(coords) if beta_carbon else None
        for index, letter in enumerate(chain.sequence):
            atoms = list(zip(ATOM_NAMES, coords[index], strict=True))
            if betas is not None and letter != "G":
                atoms.append(("CB", betas[index]))
            residue = ONE_TO_THREE.get(letter.upper(), "UNK")
            for name, position in atoms:
                serial += 1
                yield _Atom(serial, name, residue, number, index, position, float(values[index]))


def _b_factors(
    chains: list[Backbone],
    b_factors: ArrayLike | Sequence[ArrayLike] | None,
    path: str | os.PathLike[str],
) -> list[NDArray[np.float64]]:
    """One array `[L]` per chain."""
    lengths = [len(chain) for chain in chains]
    if b_factors is None:
        return [np.zeros(length) for length in lengths]
    several = (
        isinstance(b_factors, (list, tuple))
        and len(b_factors) == len(chains)
        and all(np.ndim(part) == 1 for part in b_factors)
    )
    parts = list(b_factors) if several else [b_factors]  # type: ignore[arg-type]
    flat = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
    if len(flat) != sum(lengths) or not np.isfinite(flat).all():
        raise InputError(
            f"{path}: {len(flat)} b_factors for {sum(lengths)} residues; "
            "give one finite number each"
        )
    return np.split(flat, np.cumsum(lengths)[:-1])


def _beta_carbons(coords: NDArray[np.float64]) -> NDArray[np.float64]:
    import torch

    from protein.structures.frames import beta_carbons

    return beta_carbons(torch.from_numpy(coords)).numpy()


def _pdb_lines(
    chains: list[Backbone],
    b_factors: ArrayLike | Sequence[ArrayLike] | None,
    beta_carbon: bool,
    title: str,
    path: str | os.PathLike[str],
) -> Iterator[str]:
    _check_pdb_limits(chains, path)
    if title:
        yield f"TITLE     {' '.join(title.split())[:70]:<70}\n"
    last: _Atom | None = None
    extra = 0
    for atom in _atoms(chains, b_factors, beta_carbon, path):
        if last is not None and atom.chain != last.chain:
            extra += 1
            yield _ter_line(last, chains, last.serial + extra)
        yield _atom_line(atom, chains, atom.serial + extra, path)
        last = atom
    if last is not None:
        yield _ter_line(last, chains, last.serial + extra + 1)
    yield "END\n"


def _check_pdb_limits(chains: list[Backbone], path: str | os.PathLike[str]) -> None:
    """Refuse what the fixed columns of PDB would garble."""
    ids = [chain.chain_id for chain in chains]
    numbers = np.concatenate([chain.residue_numbers for chain in chains])
    trouble = ""
    if any(len(name) != 1 for name in ids):
        trouble = f"chain names {', '.join(n for n in ids if len(n) != 1)!r} of not one letter"
    elif len(set(ids)) != len(ids):
        trouble = "two chains of the same name"
    elif numbers.min() < -999 or numbers.max() > 9999:
        trouble = "residue numbers beyond 9999"
    elif 5 * len(numbers) + len(chains) > _MAX_PDB:
        trouble = "more than 99,999 atoms"
    elif max(float(np.abs(chain.coords).max()) for chain in chains) >= 999.9995:
        trouble = "coordinates beyond 999 Å"
    if trouble:
        raise InputError(f"{path}: PDB cannot hold {trouble}; write mmCIF (.cif) instead")


def _atom_line(
    atom: _Atom, chains: list[Backbone], serial: int, path: str | os.PathLike[str]
) -> str:
    chain = chains[atom.chain]
    if not -99.99 <= atom.b_factor <= 999.99:
        raise InputError(f"{path}: b_factor {atom.b_factor:g} does not fit PDB; scale to 0-100")
    x, y, z = atom.position
    code = chain.insertion_codes[atom.index] or " "
    return (
        f"ATOM  {serial:5d}  {atom.name:<3s} {atom.residue:>3s} {chain.chain_id}"
        f"{chain.residue_numbers[atom.index]:4d}{code}   {x:8.3f}{y:8.3f}{z:8.3f}"
        f"  1.00{atom.b_factor:6.2f}          {_ELEMENTS[atom.name]:>2s}\n"
    )


def _ter_line(atom: _Atom, chains: list[Backbone], serial: int) -> str:
    chain = chains[atom.chain]
    code = chain.insertion_codes[atom.index] or " "
    number = chain.residue_numbers[atom.index]
    return f"TER   {serial:5d}      {atom.residue:>3s} {chain.chain_id}{number:4d}{code}\n"


def _mmcif_lines(
    chains: list[Backbone],
    b_factors: ArrayLike | Sequence[ArrayLike] | None,
    beta_carbon: bool,
    title: str,
    name: str,
    path: str | os.PathLike[str],
) -> Iterator[str]:
    entities, of_chain = _entities(chains)
    asym = [_asym_id(number) for number in range(len(chains))]
    quoted = _quote(" ".join(title.split()) or name)
    yield f"data_{name}\n#\n_entry.id {_quote(name)}\n_struct.entry_id {_quote(name)}\n"
    yield f"_struct.title {quoted}\n#\n"
    rows = [
        (number, "polymer", "man", f"'designed chain {number}'") for number in entities.values()
    ]
    yield _loop("entity", ("id", "type", "src_method", "pdbx_description"), rows)
    yield _loop(
        "entity_poly",
        ("entity_id", "type", "nstd_linkage", "pdbx_seq_one_letter_code", "pdbx_strand_id"),
        [
            (
                number,
                "polypeptide(L)",
                "no",
                _quote(sequence.upper().replace("X", "(UNK)")),
                ",".join(c.chain_id for c, e in zip(chains, of_chain, strict=True) if e == number),
            )
            for sequence, number in entities.items()
        ],
    )
    yield _loop(
        "entity_poly_seq",
        ("entity_id", "num", "mon_id", "hetero"),
        [
            (number, place, ONE_TO_THREE.get(letter.upper(), "UNK"), "n")
            for sequence, number in entities.items()
            for place, letter in enumerate(sequence, start=1)
        ],
    )
    yield _loop("struct_asym", ("id", "entity_id"), zip(asym, of_chain, strict=True))
    fields = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
        "label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
        "B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id auth_atom_id pdbx_PDB_model_num"
    )
    rows = (
        _site_row(atom, chains[atom.chain], asym[atom.chain], of_chain[atom.chain])
        for atom in _atoms(chains, b_factors, beta_carbon, path)
    )
    yield _loop("atom_site", fields.split(), rows)


def _site_row(atom: _Atom, chain: Backbone, asym: str, entity: int) -> tuple[object, ...]:
    x, y, z = (f"{value:.3f}" for value in atom.position)
    return (
        *("ATOM", atom.serial, _ELEMENTS[atom.name], atom.name, ".", atom.residue, asym, entity),
        *(atom.index + 1, chain.insertion_codes[atom.index] or "?", x, y, z, "1.00"),
        *(f"{atom.b_factor:.2f}", chain.residue_numbers[atom.index], atom.residue),
        *(_quote(chain.chain_id), atom.name, 1),
    )


def _entities(chains: list[Backbone]) -> tuple[dict[str, int], list[int]]:
    """Entity number by sequence, and of each chain: equal sequences are one entity."""
    entities: dict[str, int] = {}
    return entities, [entities.setdefault(c.sequence, len(entities) + 1) for c in chains]


def _asym_id(number: int) -> str:
    """A … Z, AA, BA, …: the wwPDB's own order of label_asym_id."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters += chr(ord("A") + rest)
    return letters


def _loop(category: str, fields: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"_{category}.{field}\n" for field in fields)
    body = "".join(" ".join(str(value) for value in row) + "\n" for row in rows)
    return f"loop_\n{head}{body}#\n"


def _quote(text: str) -> str:
    """A CIF value: quoted when it holds blanks or could be read as syntax."""
    reserved = text.lower().startswith(("data_", "loop_", "save_", "stop_", "global_"))
    if text and text not in ".?" and not reserved and text[0] not in "_#$'\"[];":
        if not any(c.isspace() for c in text):
            return text
    mark = '"' if "'" in text else "'"
    return f"{mark}{text.replace(mark, ' ')}{mark}"


def _write_text(path: str | os.PathLike[str], text: str) -> None:
    data = text.encode("utf-8")
    if str(path).lower().endswith(".gz"):
        # No time stamp: the same structure gives the same bytes.
        data = gzip.compress(data, mtime=0)
    with replacing(path) as out:
        out.write(data)
