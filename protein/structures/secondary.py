"""Secondary structure of a backbone: helix, strand, coil, by hydrogen bonds (DSSP rules).

The work is ``pydssp``'s: hydrogen bonds by the electrostatic energy of Kabsch & Sander (1983),
three classes, from N, CA, C, O alone.
"""

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import MissingExtra

FOLDS = ("none", "alpha", "beta", "mixed")
"""Classes of folds; ``none`` says that it is not known, or left out."""

_LETTERS = {"H": "h", "E": "e", "-": "c"}
# Below this many residues no helix turn or ladder can form, and pydssp's windows do not fit.
_SHORTEST = 6


def secondary_structure(coords: NDArray[np.floating]) -> str:
    """Class of each residue: ``h`` helix, ``e`` strand, ``c`` coil.

    Args:
        coords: N, CA, C, O of one chain `[L, 4, 3]`, Å.

    Returns:
        A string of L letters.

    Raises:
        MissingExtra: pydssp is not installed.
    """
    if len(coords) < _SHORTEST:
        return "c" * len(coords)
    try:
        import pydssp
    except ImportError as error:
        raise MissingExtra("pydssp", "protein") from error
    classes = pydssp.assign(np.asarray(coords, dtype=np.float32), out_type="c3")
    return "".join(_LETTERS[str(letter)] for letter in classes)


def fold_class(ss3: str) -> int:
    """Class of a chain by its secondary structure string (h, e, c): an index into `FOLDS`."""
    helix, strand = ss3.count("h") / len(ss3), ss3.count("e") / len(ss3)
    if helix >= 0.3 and strand < 0.1:
        return FOLDS.index("alpha")
    if helix < 0.12 and strand > 0.2:
        return FOLDS.index("beta")
    return FOLDS.index("mixed")
