"""The ``_atom_site`` loop of an mmCIF file to an ``AtomTable``.

Of its items only the coordinates, the names of atoms and residues, and one numbering are needed.
What else is absent takes the value that the format means by it; where the author's numbering is
absent, the one of the archive (``label_*``) is used and a note says so.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.structures.atom_table import AtomTable
from protein.structures.residues import is_nucleotide, is_standard
from sciddiff.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNKNOWN = (".", "?", "")
_BLOCK = re.compile(r"^data_", re.MULTILINE | re.IGNORECASE)
# A standard uncertainty behind a number, as in 12.345(6).
_UNCERTAINTY = re.compile(r"\(\d+\)$")


def mmcif_atoms(text: str, source: str) -> tuple[AtomTable, str | None]:
    """Every atom of the first data block that has some, and the resolution as text.

    Args:
        text: the file.
        source: its name, for messages.

    Raises:
        InputError: no atoms, columns that are needed and absent, a table that is cut off, or
            values that are not numbers.
        MissingExtra: Biopython is not installed.
    """
    try:
        from Bio.PDB.MMCIF2Dict import MMCIF2Dict
    except ImportError as error:
        raise MissingExtra("biopython", "protein") from error
    block, notes = _block(text)
    try:
        items = dict(MMCIF2Dict(io.StringIO(block)))
    except Exception as error:  # Biopython fails on bad files in any of a dozen ways
        raise _corrupt(
            source, " ".join(str(error).split())[:120] or type(error).__name__
        ) from error
    site = {
        key.removeprefix("_atom_site."): value
        for key, value in items.items()
        if key.startswith("_atom_site.")
    }
    sizes = {len(value) for value in site.values()}
    if len(sizes) > 1:
        raise _corrupt(source, "the table of atoms is cut off or has a value too many")
    return _table(site, source, notes), _resolution(items)


def _block(text: str) -> tuple[str, list[str]]:
    """The first data block with atoms, and a note where there are others."""
    starts = [match.start() for match in _BLOCK.finditer(text)]
    if len(starts) < 2:
        return text, []
    blocks = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    full = [block for block in blocks if "_atom_site." in block]
    note = f"{len(full)} data blocks with atoms, the first used"
    return (full or blocks)[0], [note] if len(full) > 1 else []


def _table(site: Mapping[str, list[str]], source: str, notes: list[str]) -> AtomTable:
    n = len(next(iter(site.values()), []))
    if not n:
        raise InputError(f"{source}: mmCIF without atoms in _atom_site; give one with coordinates")

    def column(*names: str, default: str | None = None) -> list[str]:
        """The first of these columns that is there, gaps filled from the later ones."""
        there = [site[name] for name in names if name in site]
        if not there and default is None:
            raise InputError(
                f"{source}: its _atom_site has no {' or '.join(names)}; give a complete mmCIF"
            )
        result = list(there[0]) if there else [default or ""] * n
        for other in there[1:]:
            result = [o if r in _UNKNOWN else r for r, o in zip(result, other, strict=True)]
        return [(default or "") if value in _UNKNOWN else value for value in result]

    resnames = [name.upper() for name in column("label_comp_id", "auth_comp_id")]
    if "auth_seq_id" not in site and "label_seq_id" in site:
        notes = [*notes, "no auth_seq_id: residues are numbered as in label_seq_id"]
    if "auth_asym_id" not in site and "label_asym_id" in site:
        notes = [*notes, "no auth_asym_id: chains are named as in label_asym_id"]
    chains = column("auth_asym_id", "label_asym_id", default="")
    polymer = [is_standard(name) or is_nucleotide(name) for name in resnames]
    groups = column("group_PDB", default="")
    hetero = [g == "HETATM" if g else not p for g, p in zip(groups, polymer, strict=True)]
    names = column("label_atom_id", "auth_atom_id")
    return AtomTable(
        model=_models(column("pdbx_PDB_model_num", default="1")),
        chains=chains,
        numbers=_numbers(site, column, chains, names, source),
        codes=column("pdbx_PDB_ins_code", default=""),
        resnames=resnames,
        names=names,
        altlocs=column("label_alt_id", default=""),
        hetero=np.asarray(hetero, dtype=bool),
        coords=np.stack(
            [_floats(column(f"Cartn_{axis}"), f"Cartn_{axis}", source) for axis in "xyz"], axis=1
        ),
        occupancies=_floats(column("occupancy", default="1"), "occupancy", source),
        b_factors=_floats(column("B_iso_or_equiv", default="0"), "B_iso_or_equiv", source),
        elements=[e.upper() for e in column("type_symbol", default="")],
        left=np.zeros(n, dtype=bool),
        parts=np.zeros(n, dtype=np.int64),
        notes=tuple(notes),
    )


def _numbers(
    site: Mapping[str, list[str]], column: object, chains: list[str], names: list[str], source: str
) -> NDArray[np.int64]:
    """Residue numbers `[n]`: the author's, else the archive's; else counted along the chain."""
    words = column("auth_seq_id", "label_seq_id", default="")  # type: ignore[operator]
    if not any(words):
        raise InputError(
            f"{source}: its _atom_site has no auth_seq_id or label_seq_id; give a complete mmCIF"
        )
    numbers = np.zeros(len(words), dtype=np.int64)
    last: dict[str, tuple[int, set[str]]] = {}
    for row, (word, chain, name) in enumerate(zip(words, chains, names, strict=True)):
        if word:
            try:
                numbers[row] = int(word)
            except (ValueError, OverflowError):
                raise _corrupt(source, f"{word!r} is not a residue number") from None
            last[chain] = (int(numbers[row]), set())
        else:
            # Ligands and waters have no label_seq_id: a name that comes again is another group.
            number, seen = last.get(chain, (0, set()))
            number, seen = (number + 1, set()) if name in seen or not seen else (number, seen)
            seen.add(name)
            numbers[row], last[chain] = number, (number, seen)
    return numbers


def _models(words: list[str]) -> NDArray[np.int64]:
    """Models counted from 0 in file order `[n]`."""
    order = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return np.asarray([order[word] for word in words], dtype=np.int64)


def _floats(words: list[str], name: str, source: str) -> NDArray[np.float64]:
    try:
        return np.asarray([float(_UNCERTAINTY.sub("", word)) for word in words], dtype=np.float64)
    except ValueError as error:
        raise _corrupt(source, f"{name}: {error}") from None


def _resolution(items: Mapping[str, list[str]]) -> str | None:
    """Resolution of diffraction or of the map, as text."""
    for key in (
        "_refine.ls_d_res_high",
        "_refine_hist.d_res_high",
        "_em_3d_reconstruction.resolution",
    ):
        for value in items.get(key, []):
            if value not in _UNKNOWN:
                return value
    return None


def _corrupt(source: str, detail: str) -> InputError:
    return InputError(f"{source}: corrupt mmCIF ({detail}); repair it or download it again")
