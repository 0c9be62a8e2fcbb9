"""Numbers that compiled loops and the tensors they replace share; they bring no torch with them.

Single precision where tensors hold them, so that both work with the same numbers.
"""

import numpy as np

ARMIJO = 1e-4
"""Part of the expected decrease that a step must bring (Nocedal and Wright 2006, eq. 3.4)."""

SHIFT, TURN, TWIST = (float(np.float32(x)) for x in (1.0, 0.6, 0.8))
"""Largest change in one step: Å of the centre, radians of the whole, radians of a torsion."""

FIRST = 0.1
"""Root-mean-square displacement of the first step, Å."""

SMALLEST = 1e-3
"""Part of a step below which its direction is given up."""

WALL = 10.0
"""Force constant outside the box, kcal/mol/Å²."""

BINS = 32
"""Points of the table of pairs within a ligand per Å²."""

CUTOFF2 = 64.0
"""Squared distance beyond which a pair has no energy, Å²."""
