"""Lines of PDB files, and names for chains and residues that their columns can hold."""

import string
from collections.abc import Iterable, Sequence

from protein.structures.pdb_columns import encode_hybrid36

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
"""Names that PDB has for chains."""

LOWEST, HIGHEST = -999, 9999
"""Residue numbers that fit four columns."""

Residue = tuple[str, int, str]
"""Chain, number and insertion code."""


def atom_record(
    record: str,
    serial: int,
    name: str,
    element: str,
    resname: str,
    residue: Residue,
    position: Sequence[float],
    b_factor: float = 0.0,
    occupancy: float = 1.0,
) -> str:
    """An ATOM or HETATM line of 78 columns.

    Serial numbers above 99,999 are in hybrid-36; a coordinate below -999.999 or above 9999.999 Å
    has as many decimals as its eight columns hold.

    Args:
        record: ``ATOM`` or ``HETATM``.
        serial: number of the atom in the file.
        name: atom name, of which four letters are written.
        element: symbol; one-letter elements start in the second column of the name.
        resname: residue name, of which three letters are written.
        residue: chain (one letter), number and insertion code, as ``fit_residues`` gives them.
        position: x, y, z in Å.
        b_factor: its B factor.
        occupancy: its occupancy.
    """
    chain, number, code = residue
    named = f" {name:<3s}" if len(element) == 1 and len(name) < 4 else f"{name:<4s}"
    x, y, z = (_eight_columns(float(value)) for value in position)
    return (
        f"{record:<6s}{encode_hybrid36(serial, 5)} {named[:4]} {resname[:3]:>3s} {chain or ' '}"
        f"{number:4d}{code or ' '}   {x}{y}{z}{occupancy:6.2f}{b_factor:6.2f}"
        f"          {element.upper():>2s}"
    )


def link_record(first: str, second: str, length: float) -> str:
    """A LINK line for a bond between two residues.

    Args:
        first: ATOM or HETATM line of one atom.
        second: that of the other.
        length: length of the bond, Å.
    """
    a, b = first[12:27], second[12:27]
    return f"LINK        {a}{'':15s}{b}  {'1555':>6s} {'1555':>6s} {length:5.2f}"


def conect_records(first: str, second: str) -> list[str]:
    """The CONECT lines of a bond, one for each end.

    Args:
        first: ATOM or HETATM line of one atom.
        second: that of the other.
    """
    a, b = first[6:11], second[6:11]
    return [f"CONECT{a}{b}", f"CONECT{b}{a}"]


def chain_letters(own: Sequence[str], reserved: str = "") -> list[str]:
    """One letter for every chain: its own where it is one and no chain before it has it.

    Beyond 62 chains the last letter comes again.

    Args:
        own: names of the chains.
        reserved: letters not to use.

    >>> chain_letters(["A", "AB", "A"])
    ['A', 'B', 'C']
    """
    single = {name for name in own if name in LETTERS}
    free = [c for c in LETTERS if c not in single and c not in reserved]
    letters: list[str] = []
    for name in own:
        fits = len(name) == 1 and name in LETTERS and name not in reserved
        if not fits or name in letters:
            name = free.pop(0) if free else LETTERS[-1]
        letters.append(name)
    return letters


def fit_residues(residues: Iterable[Residue], reserved: str = "") -> dict[Residue, Residue]:
    """Names of residues for a PDB file; no two are the same.

    Residues keep their numbers unless a chain has some beyond four digits, or shares its letter:
    such a chain is counted from 1 on.

    Args:
        residues: chain, number and insertion code, in file order.
        reserved: letters not to use for chains.

    >>> fit_residues([("AB", 10000, ""), ("AB", 10001, "")])
    {('AB', 10000, ''): ('A', 1, ''), ('AB', 10001, ''): ('A', 2, '')}
    """
    listed = list(dict.fromkeys(residues))
    chains = list(dict.fromkeys(chain for chain, _, _ in listed))
    letters = dict(zip(chains, chain_letters(chains, reserved), strict=True))
    shared = [letter for letter in letters.values()]
    beyond = {chain for chain, number, _ in listed if not LOWEST <= number <= HIGHEST}
    beyond |= {chain for chain in chains if shared.count(letters[chain]) > 1}
    counted = dict.fromkeys(letters.values(), 0)
    fitted: dict[Residue, Residue] = {}
    for residue in listed:
        chain, number, code = residue
        letter = letters[chain]
        if chain in beyond:
            counted[letter] += 1
            number, code = counted[letter], ""
        fitted[residue] = (letter, number, code)
    return fitted


def _eight_columns(value: float) -> str:
    """A coordinate in eight columns, with three decimals where they fit."""
    for decimals in (3, 2, 1, 0):
        text = f"{value:8.{decimals}f}"
        if len(text) <= 8:
            return text
    return text[:8]  # pragma: no cover - a tenth of a millimetre away
