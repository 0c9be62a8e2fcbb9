"""Ideal internal coordinates of the side chains of the twenty amino acids.

Each line places one atom beyond CB: residue, atom, the three atoms before it (a, b, c), the length
of the bond c-atom (Å), the angle b-c-atom and the torsion a-b-c-atom (degrees). A torsion that
turns is written `chi1` to `chi4`, with what is added to it where a second atom turns along.
Lengths and angles are the means over the Protein Data Bank that Biopython's `Bio.PDB.ic_data`
lists, with two changes: the two sides of a symmetric end (Phe, Tyr, Asp, Glu) are equal, so that
half a turn exchanges them exactly, and the rings of Phe and Tyr are regular hexagons.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from protein.sequence.alphabet import LETTERS

__all__ = ["MOST_ATOMS", "MOST_CHI", "Placement", "SYMMETRIC", "placements", "side_atoms"]

MOST_ATOMS = 10
"""Atoms of the largest side chain, CB included."""

MOST_CHI = 4
"""Torsions of the longest side chain."""

SYMMETRIC = {"F": 2, "Y": 2, "D": 2, "E": 3}
"""The torsion, counted from 1, whose half turn only exchanges the names of atoms, by residue."""

_TABLE = """
R CG   N   CA  CB   1.521 113.9 chi1
R CD   CA  CB  CG   1.522 111.7 chi2
R NE   CB  CG  CD   1.461 111.7 chi3
R CZ   CG  CD  NE   1.331 124.7 chi4
R NH1  CD  NE  CZ   1.329 120.6 0
R NH2  CD  NE  CZ   1.327 119.7 180
N CG   N   CA  CB   1.516 112.6 chi1
N OD1  CA  CB  CG   1.233 120.9 chi2
N ND2  CA  CB  CG   1.328 116.5 chi2+180
D CG   N   CA  CB   1.520 113.0 chi1
D OD1  CA  CB  CG   1.251 118.6 chi2
D OD2  CA  CB  CG   1.251 118.6 chi2+180
C SG   N   CA  CB   1.808 113.9 chi1
Q CG   N   CA  CB   1.523 113.9 chi1
Q CD   CA  CB  CG   1.518 112.7 chi2
Q OE1  CB  CG  CD   1.234 120.9 chi3
Q NE2  CB  CG  CD   1.328 116.4 chi3+180
E CG   N   CA  CB   1.522 113.9 chi1
E CD   CA  CB  CG   1.522 113.3 chi2
E OE1  CB  CG  CD   1.252 118.5 chi3
E OE2  CB  CG  CD   1.252 118.5 chi3+180
H CG   N   CA  CB   1.496 113.6 chi1
H ND1  CA  CB  CG   1.378 122.6 chi2
H CD2  CA  CB  CG   1.355 131.0 chi2+180
H CE1  CB  CG  ND1  1.323 109.2 180
H NE2  CB  CG  CD2  1.374 107.2 180
I CG1  N   CA  CB   1.533 110.4 chi1
I CG2  N   CA  CB   1.531 110.7 chi1-123.2
I CD1  CA  CB  CG1  1.520 114.0 chi2
L CG   N   CA  CB   1.530 116.3 chi1
L CD1  CA  CB  CG   1.524 110.4 chi2
L CD2  CA  CB  CG   1.525 110.6 chi2+122.9
K CG   N   CA  CB   1.522 114.0 chi1
K CD   CA  CB  CG   1.524 111.6 chi2
K CE   CB  CG  CD   1.522 111.6 chi3
K NZ   CG  CD  CE   1.493 111.8 chi4
M CG   N   CA  CB   1.521 113.9 chi1
M SD   CA  CB  CG   1.806 112.7 chi2
M CE   CB  CG  SD   1.786 100.6 chi3
F CG   N   CA  CB   1.504 113.8 chi1
F CD1  CA  CB  CG   1.389 120.0 chi2
F CD2  CA  CB  CG   1.389 120.0 chi2+180
F CE1  CB  CG  CD1  1.389 120.0 180
F CE2  CB  CG  CD2  1.389 120.0 180
F CZ   CG  CD1 CE1  1.389 120.0 0
P CG   N   CA  CB   1.494 104.4 chi1
P CD   CA  CB  CG   1.506 105.3 chi2
S OG   N   CA  CB   1.417 110.8 chi1
T OG1  N   CA  CB   1.432 109.3 chi1
T CG2  N   CA  CB   1.525 111.1 chi1-120.6
W CG   N   CA  CB   1.499 114.0 chi1
W CD1  CA  CB  CG   1.368 127.0 chi2
W CD2  CA  CB  CG   1.433 126.6 chi2+180
W NE1  CB  CG  CD1  1.375 110.1 180
W CE2  CB  CG  CD2  1.413 107.2 180
W CE3  CB  CG  CD2  1.401 133.9 0
W CZ2  CG  CD2 CE2  1.397 122.4 180
W CZ3  CG  CD2 CE3  1.382 118.7 180
W CH2  CD2 CE2 CZ2  1.372 117.5 0
Y CG   N   CA  CB   1.511 113.7 chi1
Y CD1  CA  CB  CG   1.391 120.0 chi2
Y CD2  CA  CB  CG   1.391 120.0 chi2+180
Y CE1  CB  CG  CD1  1.391 120.0 180
Y CE2  CB  CG  CD2  1.391 120.0 180
Y CZ   CG  CD1 CE1  1.391 120.0 0
Y OH   CD1 CE1 CZ   1.377 120.0 180
V CG1  N   CA  CB   1.527 110.8 chi1
V CG2  N   CA  CB   1.526 110.5 chi1+122.9
"""


class Placement(NamedTuple):
    """Where an atom lies by three others.

    Attributes:
        atom: its name.
        before: names of a, b and c.
        length: of the bond c-atom, Å.
        angle: b-c-atom, degrees.
        chi: the torsion that turns it, counted from 1; 0: it turns by itself with none.
        torsion: a-b-c-atom, degrees; with a `chi`, what is added to that.
    """

    atom: str
    before: tuple[str, str, str]
    length: float
    angle: float
    chi: int
    torsion: float


@cache
def placements() -> dict[str, tuple[Placement, ...]]:
    """Placements of the atoms beyond CB by residue, in the order in which atoms are placed."""
    found: dict[str, list[Placement]] = {letter: [] for letter in LETTERS}
    for line in _TABLE.split("\n")[1:-1]:
        letter, atom, a, b, c, length, angle, text = line.split()
        chi, more = (int(text[3]), text[4:] or "0") if text.startswith("chi") else (0, text)
        place = Placement(atom, (a, b, c), float(length), float(angle), chi, float(more))
        found[letter].append(place)
    return {letter: tuple(rows) for letter, rows in found.items()}


@cache
def side_atoms() -> dict[str, tuple[str, ...]]:
    """Names of the atoms of each side chain, CB first."""
    return {
        letter: () if letter == "G" else ("CB", *(row.atom for row in rows))
        for letter, rows in placements().items()
    }
