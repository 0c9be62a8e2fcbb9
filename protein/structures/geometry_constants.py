"""Ideal backbone geometry: every bond length (Å) and angle (rad) used anywhere in ``protein``.

Values and standard deviations: Engh & Huber, International Tables for Crystallography F
(2001), chapter 18.3, tables 18.3.2.1 and 18.3.2.2 (non-glycine, non-proline residues).

Local residue frame (AlphaFold 2, algorithm 21): CA at the origin, C on +x, N in the xy plane
with y > 0; a point of the frame is carried to the laboratory by ``R @ local + CA``.
"""

import math

ATOM_NAMES: tuple[str, str, str, str] = ("N", "CA", "C", "O")
"""Order of the atom axis of every backbone array."""

# Bond lengths, Å.
N_CA = 1.459
N_CA_SD = 0.020
CA_C = 1.525
CA_C_SD = 0.026
C_N = 1.336
C_N_SD = 0.023
C_O = 1.229
C_O_SD = 0.019
CA_CB = 1.532
CA_CB_SD = 0.021

# Bond angles, rad.
N_CA_C = math.radians(111.0)
N_CA_C_SD = math.radians(2.7)
CA_C_N = math.radians(117.2)
CA_C_N_SD = math.radians(2.2)
C_N_CA = math.radians(121.7)
C_N_CA_SD = math.radians(2.5)
CA_C_O = math.radians(120.1)
CA_C_O_SD = math.radians(2.1)
O_C_N = math.radians(122.7)
O_C_N_SD = math.radians(1.6)

# Distances between consecutive CA atoms across a trans and a cis peptide, Å.
CA_CA_TRANS = 3.80
CA_CA_CIS = 2.94

# A chain is broken between two residues when either distance is exceeded, Å.
BREAK_CA_CA = 4.2
BREAK_C_N = 1.6

# O of a residue without successor (nor predecessor) is placed at this psi, rad: the alpha basin.
DEFAULT_PSI = math.radians(-47.0)

BOND_LENGTHS: dict[str, tuple[float, float]] = {
    "N-CA": (N_CA, N_CA_SD),
    "CA-C": (CA_C, CA_C_SD),
    "C-O": (C_O, C_O_SD),
    "C-N": (C_N, C_N_SD),
}
"""Mean and standard deviation of each backbone bond, Å; ``C-N`` joins a residue to the next."""

BOND_ANGLES: dict[str, tuple[float, float]] = {
    "N-CA-C": (N_CA_C, N_CA_C_SD),
    "CA-C-N": (CA_C_N, CA_C_N_SD),
    "C-N-CA": (C_N_CA, C_N_CA_SD),
    "CA-C-O": (CA_C_O, CA_C_O_SD),
    "O-C-N": (O_C_N, O_C_N_SD),
}
"""Mean and standard deviation of each backbone angle, rad."""

LOCAL_N: tuple[float, float, float] = (N_CA * math.cos(N_CA_C), N_CA * math.sin(N_CA_C), 0.0)
LOCAL_CA: tuple[float, float, float] = (0.0, 0.0, 0.0)
LOCAL_C: tuple[float, float, float] = (CA_C, 0.0, 0.0)
"""Ideal N, CA and C in the residue frame, Å."""

CB_IN_BOND_BASIS: tuple[float, float, float] = (-0.58273431, 0.56802827, -0.54067466)
"""CB of an L residue: CA + a·(b × c) + b'·b + c'·c with b = CA − N, c = C − CA (trRosetta)."""

CB_OF_PROLINE: tuple[float, float, float] = (-0.6242, 0.4541, -0.5295)
"""The same of proline, whose ring pulls CB towards N: medians over crystal structures."""
