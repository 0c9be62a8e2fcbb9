"""The atoms of a structure file as columns, before anything is made of them.

Both formats are read into an ``AtomTable``. What real files do wrong is mended here, in one place
for every reader, and counted: elements that are absent or impossible, chains without a name, and
chains whose residue numbers start again, of which any tree keyed by (chain, number) would lose a
part.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase, ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from protein.structures.elements import element_of
from protein.structures.residues import WATERS, is_standard
from sciddiff.errors import InputError

# Two atoms of one name in one residue are one atom given twice below this distance, Å: beyond it
# they cannot be two places of the same atom without a label.
_SAME_PLACE = 2.0


@dataclass(frozen=True, eq=False)
class AtomTable:
    """n atoms in file order.

    Attributes:
        model: which model each atom belongs to, counted from 0 `[n]`.
        chains: chain identifiers, empty where the file has none, length n.
        numbers: residue numbers `[n]`, int64.
        codes: insertion codes, empty where there is none, length n.
        resnames: residue names, length n.
        names: atom names without blanks, length n.
        altlocs: alternate locations, empty where there is none, length n.
        hetero: true for HETATM records `[n]`, bool.
        coords: positions `[n, 3]`, float64, Å.
        occupancies: `[n]`, float64; 1 where the file has none.
        b_factors: `[n]`, float64; 0 where the file has none.
        elements: symbols in upper case, empty where the file has none, length n.
        left: true where a PDB line has its atom name at the column of two-letter elements `[n]`.
        parts: the number of TER records seen before each atom `[n]`, int64.
        counts: what was mended, as numbers.
        notes: the same as sentences.
    """

    model: NDArray[np.int64]
    chains: list[str]
    numbers: NDArray[np.int64]
    codes: list[str]
    resnames: list[str]
    names: list[str]
    altlocs: list[str]
    hetero: NDArray[np.bool_]
    coords: NDArray[np.float64]
    occupancies: NDArray[np.float64]
    b_factors: NDArray[np.float64]
    elements: list[str]
    left: NDArray[np.bool_]
    parts: NDArray[np.int64]
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.names)

    def label(self, row: int) -> str:
        """The residue of an atom as people write it: ``GLY A25``."""
        return f"{self.resnames[row]} {self.chains[row]}{self.numbers[row]}{self.codes[row]}"

    def select(self, rows: Sequence[int] | NDArray[np.integer]) -> "AtomTable":
        """Some of the atoms, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        picked: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                picked[name] = value[index]
            elif isinstance(value, list):
                picked[name] = [value[i] for i in index]
        return replace(self, **picked)


def mended(table: AtomTable, source: str) -> AtomTable:
    """The table with an element for every atom and every residue under a name of its own.

    Args:
        table: as read from the file.
        source: the file, for messages.

    Raises:
        InputError: coordinates that are not finite.
    """
    bad = np.flatnonzero(~np.isfinite(table.coords).all(axis=1))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            f"{source}: the coordinates of {len(bad)} atom{'s' * (len(bad) > 1)} are not numbers "
            f"(first {table.names[row]} of {table.label(row)}); repair the file or remove them"
        )
    return _with_chains(_with_elements(table))


def _with_elements(table: AtomTable) -> AtomTable:
    """Fill in or correct the elements."""
    residues = list(zip(table.model.tolist(), table.parts.tolist(), table.chains,
                        table.numbers.tolist(), table.resnames, strict=True))  # fmt: skip
    alone = Counter(residues)
    # Some programs start every atom name at the same column. Then the column says nothing.
    short = [
        row
        for row, (resname, name) in enumerate(zip(table.resnames, table.names, strict=True))
        if len(name) < 4 and is_standard(resname)
    ]
    shifted = bool(short) and bool(table.left[short].mean() > 0.5)
    left = [bool(value) and not shifted for value in table.left.tolist()]
    elements, inferred, wrong = [], 0, 0
    for name, resname, given, two, key in zip(
        table.names, table.resnames, table.elements, left, residues, strict=True
    ):
        found = element_of(name, resname, given, two_letters=two, alone=alone[key] == 1)
        inferred += int(not given)
        wrong += int(bool(given) and found != given)
        elements.append(found)
    notes = []
    if inferred:
        notes.append(f"{inferred} atoms without an element: it was taken from the atom's name")
    if wrong:
        notes.append(f"{wrong} atoms with an impossible element: the atom's name decided")
    counts = {"elements_inferred": inferred, "elements_corrected": wrong}
    return replace(
        table,
        elements=elements,
        counts={**table.counts, **{k: v for k, v in counts.items() if v}},
        notes=(*table.notes, *notes),
    )


def _with_chains(table: AtomTable) -> AtomTable:
    """Split chains whose numbering starts again, name those without a name, drop doubles."""
    if _all_distinct(table):
        return table
    keep: list[int] = []
    names = list(table.names)
    segment = np.zeros(len(table), dtype=np.int64)
    twice = renamed = 0
    for rows in _by_chain(table):
        taken: dict[tuple[object, ...], dict[tuple[str, str], int]] = defaultdict(dict)
        number = 0
        for piece in _pieces(table, rows):
            if _clashes(table, piece, taken):
                number += 1
                taken = defaultdict(dict)
            for row in piece:
                residue = taken[_residue(table, row)]
                atom = (names[row], table.altlocs[row])
                before = residue.get(atom)
                if before is not None:
                    apart = float(np.linalg.norm(table.coords[row] - table.coords[before]))
                    if apart < (0.1 if table.hetero[row] else _SAME_PLACE):
                        twice += 1
                        continue
                    names[row] = _free_name(names[row], table.altlocs[row], residue)
                    atom = (names[row], table.altlocs[row])
                    renamed += 1
                residue[atom] = row
                segment[row] = number
                keep.append(row)
    keep.sort()
    chains, chain_notes, split = _chain_names(table, segment)
    notes = list(chain_notes)
    if twice:
        notes.append(f"{twice} atoms that the file gives twice were read once")
    if renamed:
        notes.append(f"{renamed} atoms share their name with another of their group; all are kept")
    counts = {"split_chains": split, "doubled_atoms": twice, "renamed_atoms": renamed}
    table = replace(
        table,
        names=names,
        chains=chains,
        counts={**table.counts, **{k: v for k, v in counts.items() if v}},
        notes=(*table.notes, *notes),
    )
    return table if len(keep) == len(table) else table.select(keep)


def _all_distinct(table: AtomTable) -> bool:
    """Whether every atom has a place of its own already, as in nearly all files."""
    groups = [
        name if hetero else ""
        for name, hetero in zip(table.resnames, table.hetero.tolist(), strict=True)
    ]
    keys = set(
        zip(table.model.tolist(), table.chains, table.numbers.tolist(), table.codes, groups,
            table.names, table.altlocs, strict=True)
    )  # fmt: skip
    return len(keys) == len(table) and "" not in set(table.chains)


def _by_chain(table: AtomTable) -> Iterator[list[int]]:
    """Rows of every chain of every model, in file order."""
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(table.model.tolist(), table.chains, strict=True)):
        groups[key].append(row)
    yield from groups.values()


def _residue(table: AtomTable, row: int) -> tuple[object, ...]:
    """What tells the residues of a chain apart: number, insertion code, and group of a HETATM."""
    group = table.resnames[row] if table.hetero[row] else ""
    return int(table.numbers[row]), table.codes[row], group


def _pieces(table: AtomTable, rows: list[int]) -> Iterator[list[int]]:
    """Stretches of a chain that belong together: cut after TER and where numbers fall.

    A residue that follows another of the same number with all its atoms again is a piece too.
    """
    piece: list[int] = []
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if piece:
            last = piece[-1]
            same = _residue(table, row) == _residue(table, last)
            seen = seen if same else set()
            again = (
                same
                and not table.hetero[row]
                and (table.names[row], table.altlocs[row]) in seen
                and (
                    table.resnames[row] != table.resnames[last]
                    or float(np.linalg.norm(table.coords[row] - table.coords[last])) > 3.0
                )
                and table.names[row] in ("N", "CA", "P")
            )
            if table.parts[row] != table.parts[last] or (
                table.numbers[row] < table.numbers[last] or again
            ):
                yield piece
                piece, seen = [], set()
        piece.append(row)
        seen.add((table.names[row], table.altlocs[row]))
    if piece:
        yield piece


def _clashes(
    table: AtomTable,
    piece: list[int],
    taken: dict[tuple[object, ...], dict[tuple[str, str], int]],
) -> bool:
    """Whether a piece has an atom elsewhere that the chain has already under the same name."""
    for row in piece:
        before = taken.get(_residue(table, row), {}).get((table.names[row], table.altlocs[row]))
        if before is not None:
            apart = float(np.linalg.norm(table.coords[row] - table.coords[before]))
            if apart > (0.1 if table.hetero[row] else _SAME_PLACE):
                return True
    return False


def _free_name(name: str, altloc: str, residue: dict[tuple[str, str], int]) -> str:
    number = 2
    while (f"{name}#{number}", altloc) in residue:
        number += 1
    return f"{name}#{number}"


def _chain_names(table: AtomTable, segment: NDArray[np.int64]) -> tuple[list[str], list[str], int]:
    """A name for every part of every chain; sentences; the number of chains that were split."""
    keys = list(zip(table.chains, segment.tolist(), strict=True))
    ordered = list(dict.fromkeys(keys))
    taken = {chain for chain, _ in ordered if chain}
    free = (name for name in _identifiers() if name not in taken)
    called: dict[tuple[str, int], str] = {}
    for chain, number in ordered:
        called[chain, number] = chain if chain and number == 0 else next(free)
    notes, split = [], 0
    polymer = {
        key
        for key, name, hetero in zip(keys, table.resnames, table.hetero, strict=True)
        if not hetero and name not in WATERS
    }
    for chain in dict.fromkeys(chain for chain, _ in ordered):
        parts = [key for key in ordered if key[0] == chain]
        what = f"chain {chain}" if chain else "the chain without a name"
        names = ", ".join(called[key] for key in parts)
        if len([key for key in parts if key in polymer]) > 1:
            split += 1
            notes.append(f"the residue numbers of {what} start again: its parts are {names}")
        elif len(parts) > 1:
            notes.append(f"numbers of {what} repeat outside the polymer: its parts are {names}")
        elif not chain:
            notes.append(f"{what} is called {names}")
    return [called[key] for key in keys], notes, split


def _identifiers() -> Iterator[str]:
    """Names for chains: single letters, then pairs of letters."""
    letters = ascii_uppercase + ascii_lowercase
    yield from letters
    for first in ascii_uppercase:
        for second in letters:
            yield first + second
    number = 0
    while True:
        number += 1
        yield f"Z{number}"
