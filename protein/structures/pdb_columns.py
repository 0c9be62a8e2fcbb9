"""PDB records to an ``AtomTable``: fixed columns, as programs really fill them.

Besides the format (wwPDB 3.3) these are read: residue numbers in hybrid-36 (Grosse-Kunstleve, the
cctbx project) or of five digits, chain names of two letters in columns 21-22, residue names of
four letters in columns 18-21, and lines that end early.
"""

import re

import numpy as np
from numpy.typing import NDArray

from protein.structures.atom_table import AtomTable
from protein.structures.residues import is_nucleotide, parent_letter
from sciddiff.errors import InputError

_WIDTH = 80
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RESOLUTION = re.compile(r"REMARK   2 RESOLUTION\.\s+([0-9.]+)")
# Residue names that force fields write with four letters.
_LONG_NAMES = frozenset(
    "HISA HISB HISD HISE HISH HIS1 HIS2 CYS2 CYSH CYM1 LYSH LYSN ARGN ASPH GLUH TIP3 TIP4 TIP5 "
    "SPCE POPC POPE DPPC CHL1 ACE1 NME1".split()
)


def pdb_atoms(text: str, source: str) -> AtomTable:
    """Every ATOM and HETATM record of a PDB file.

    Args:
        text: the file.
        source: its name, for messages.

    Raises:
        InputError: a record whose coordinates or residue number are not numbers; the message
            names the line.
    """
    lines, places, model, parts = [], [], [], []
    current, part, open_model = 0, 0, False
    for place, line in enumerate(text.splitlines(), start=1):
        record = line[:6]
        if record in ("ATOM  ", "HETATM"):
            lines.append(line[:_WIDTH].ljust(_WIDTH))
            places.append(place)
            model.append(current)
            parts.append(part)
            open_model = True
        elif record.startswith("TER") and record.strip() == "TER":
            part += 1
        elif record in ("MODEL ", "ENDMDL") or record.rstrip() == "MODEL":
            # A model begins where atoms of another have come before.
            current, open_model = current + int(open_model), False
            part += 1
    grid = _grid(lines)
    coords = np.stack([_floats(grid, a, b, places, source) for a, b in _COORDINATES], axis=1)
    resnames, chains = _names(grid)
    numbers, codes = _numbers(grid, places, source)
    raw = _column(grid, 12, 16)
    return AtomTable(
        model=np.asarray(model, dtype=np.int64),
        chains=chains,
        numbers=numbers,
        codes=codes,
        resnames=resnames,
        names=[name.strip() for name in raw],
        altlocs=[c.strip() for c in _column(grid, 16, 17)],
        hetero=np.asarray([record == "HETATM" for record in _column(grid, 0, 6)], dtype=bool),
        coords=coords,
        occupancies=_floats(grid, 54, 60, places, source, default=1.0),
        b_factors=_floats(grid, 60, 66, places, source, default=0.0),
        elements=[e.strip().upper() for e in _column(grid, 76, 78)],
        left=np.asarray([name[:1].isalpha() for name in raw], dtype=bool),
        parts=np.asarray(parts, dtype=np.int64),
    )


def pdb_resolution(text: str) -> str | None:
    """The resolution of REMARK 2 as text, None where there is none."""
    found = _RESOLUTION.search(text)
    return found[1] if found else None


def decode_hybrid36(text: str) -> int:
    """A number of four columns in hybrid-36.

    >>> decode_hybrid36("9999"), decode_hybrid36("A000"), decode_hybrid36("a000")
    (9999, 10000, 1223056)

    Raises:
        ValueError: it is none.
    """
    text = text.strip()
    if not text or text[0].isdigit() or text[0] == "-":
        return int(text)
    if len(text) != 4 or not text.isalnum() or not (text.isupper() or text.islower()):
        raise ValueError(text)
    value = int(text.upper(), 36) if all(c in _DIGITS for c in text.upper()) else 0
    # Capitals follow 9999; small letters follow ZZZZ.
    base = value - 10 * 36**3 + 10**4
    return base if text[0].isupper() else base + 26 * 36**3


def encode_hybrid36(number: int, width: int) -> str:
    """A number in so many columns, beyond the decimal ones with letters.

    >>> encode_hybrid36(99999, 5), encode_hybrid36(100000, 5), encode_hybrid36(10000, 4)
    ('99999', 'A0000', 'A000')
    """
    if number < 10**width:
        return f"{number:{width}d}"
    rest, shift = number - 10**width, 26 * 36 ** (width - 1)
    value, digits = rest % shift + 10 * 36 ** (width - 1), ""
    while value:
        value, digit = divmod(value, 36)
        digits = _DIGITS[digit] + digits
    return digits if rest < shift else digits.lower()


_COORDINATES = ((30, 38), (38, 46), (46, 54))


def _grid(lines: list[str]) -> NDArray[np.str_]:
    """One character a cell `[lines, 80]`."""
    if not lines:
        return np.empty((0, _WIDTH), dtype="U1")
    return np.asarray(lines, dtype=f"U{_WIDTH}").view("U1").reshape(len(lines), _WIDTH)


def _column(grid: NDArray[np.str_], start: int, stop: int) -> list[str]:
    """Text of a column, blanks on the right dropped."""
    part = np.ascontiguousarray(grid[:, start:stop])
    return part.view(f"U{stop - start}")[:, 0].tolist() if len(grid) else []


def _floats(
    grid: NDArray[np.str_],
    start: int,
    stop: int,
    places: list[int],
    source: str,
    default: float | None = None,
) -> NDArray[np.float64]:
    """A column of numbers; blanks are ``default``, or a mistake where there is none."""
    words = [word.strip() for word in _column(grid, start, stop)]
    if default is not None:
        words = [word or str(default) for word in words]
    try:
        return np.asarray([float(word) for word in words], dtype=np.float64)
    except ValueError:
        pass
    for place, word in zip(places, words, strict=True):
        try:
            float(word)
        except ValueError:
            what = "a coordinate" if default is None else "an occupancy or B factor"
            raise InputError(
                f"{source}: corrupt PDB (line {place}: {word!r} is not {what}); "
                "repair it or download it again"
            ) from None
    raise AssertionError(words)  # pragma: no cover - some word was no number


def _names(grid: NDArray[np.str_]) -> tuple[list[str], list[str]]:
    """Residue names and chain names; column 21 belongs to one or the other."""
    three, between, one = _column(grid, 17, 20), _column(grid, 20, 21), _column(grid, 21, 22)
    names, chains = [], []
    for name, extra, chain in zip(three, between, one, strict=True):
        name, chain = name.strip().upper(), chain.strip()
        if extra.strip():
            known = parent_letter(name) is not None or is_nucleotide(name)
            if known and name + extra not in _LONG_NAMES:
                chain = extra + chain
            else:
                name += extra.upper()
        names.append(name)
        chains.append(chain)
    return names, chains


def _numbers(
    grid: NDArray[np.str_], places: list[int], source: str
) -> tuple[NDArray[np.int64], list[str]]:
    """Residue numbers `[n]` and insertion codes."""
    words, codes = _column(grid, 22, 26), [c.strip() for c in _column(grid, 26, 27)]
    numbers = np.zeros(len(words), dtype=np.int64)
    for row, (word, code) in enumerate(zip(words, codes, strict=True)):
        if code.isdigit() and word.strip().isdigit():
            # A fifth digit, where the insertion code should be.
            word, codes[row] = word + code, ""
        try:
            numbers[row] = decode_hybrid36(word)
        except ValueError:
            raise InputError(
                f"{source}: corrupt PDB (line {places[row]}: {word.strip()!r} is not a residue "
                "number); repair it or download it again"
            ) from None
    return numbers, codes
