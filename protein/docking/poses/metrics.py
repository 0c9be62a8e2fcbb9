"""The quality of poses: symmetry-corrected RMSD, and the verdict of PoseBusters.

The RMSD is over heavy atoms in the frame of the receptor, without superposition. It is the least
value over the automorphisms of the molecule, so that a flipped phenyl ring makes no difference.
"""

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.ligand import Ligand, quietly
from protein.structures.residues import WATERS
from sciddiff.errors import MissingExtra

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_log = logging.getLogger(__name__)
_MOST = 20_000_000
_LOOKED_AT = 12.0
_SAME_PLACE = 0.01  # Å; files have three decimals


def symmetric_rmsd(
    coords: NDArray[np.floating],
    reference: NDArray[np.floating],
    symmetries: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Least RMSD of poses to a reference over the ways to match their atoms.

    Args:
        coords: poses `[K, N, 3]`, Å.
        reference: `[N, 3]`, Å.
        symmetries: such as ``Ligand.symmetries`` `[S, N]`; for each atom of a pose the atom of the
            reference that it is matched to.

    Returns:
        `[K]`, Å.
    """
    squares = np.square(coords[:, :, None] - reference[None, None]).sum(-1)
    atoms = np.arange(coords.shape[1])
    step = max(1, _MOST // (len(coords) * len(atoms) + 1))
    best = np.full(len(coords), np.inf)
    for start in range(0, len(symmetries), step):
        chosen = squares[:, atoms, symmetries[start : start + step]]
        best = np.minimum(best, chosen.mean(-1).min(-1))
    return np.sqrt(best)


@dataclass(frozen=True)
class Verdict:
    """Verdict of PoseBusters on one pose.

    Attributes:
        valid: whether every check passes, except for the RMSD to the crystal.
        failed: names of the checks that fail.
        checks: all checks that apply to the molecule, and whether they pass.
    """

    valid: bool
    failed: tuple[str, ...]
    checks: Mapping[str, bool]


def bust(
    ligand: Ligand,
    coords: NDArray[np.floating],
    receptor: str | Path | None = None,
    waters: NDArray[np.floating] | None = None,
) -> list[Verdict]:
    """Check poses with PoseBusters: chemistry, geometry, energy, and clashes with the protein.

    Args:
        ligand: the molecule.
        coords: poses `[K, N, 3]`, Å.
        receptor: PDB file of the receptor; None to check the molecule alone.
        waters: where the waters of the file that are there have their atoms `[W, 3]`, Å; None for
            all.

    Returns:
        One verdict per pose; if PoseBusters itself fails, the pose is invalid with the name of the
        error.

    Raises:
        MissingExtra: PoseBusters is not installed.
    """
    try:
        from posebusters import PoseBusters
    except ImportError as error:
        raise MissingExtra("posebusters", "docking") from error
    _reopen_log()
    if receptor is None:
        runner = PoseBusters(config="mol")
        return [_verdict(runner, ligand.with_coords(c), None) for c in coords]
    runner = PoseBusters(config="dock")
    with _near(Path(receptor), coords, waters) as near:
        return [_verdict(runner, ligand.with_coords(c), near) for c in coords]


@contextmanager
def _near(
    receptor: Path, coords: NDArray[np.floating], waters: NDArray[np.floating] | None = None
) -> Iterator[Path]:
    """A copy of a PDB file with the residues that have an atom within 12 Å of a pose.

    PoseBusters looks at what is within 6 Å, but reads the whole file for every pose.
    """
    from scipy.spatial import KDTree

    lines = receptor.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    atoms = [i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    places = np.asarray([[float(lines[i][a : a + 8]) for a in (30, 38, 46)] for i in atoms])
    # Chain, number and insertion code of the residue.
    labels = [lines[i][21:27] for i in atoms]
    gaps = KDTree(np.reshape(coords, (-1, 3))).query(places.reshape(-1, 3))[0]
    kept = {label for label, gap in zip(labels, gaps, strict=True) if gap < _LOOKED_AT}
    far = {i for i, label in zip(atoms, labels, strict=True) if label not in kept}
    if waters is not None:
        wet = [i for i in atoms if lines[i][17:20].strip() in WATERS]
        # By place: a copy of mmCIF has other names for chains and numbers that PDB cannot hold.
        tree = KDTree(np.reshape(waters, (-1, 3)))
        found = dict(zip(atoms, tree.query(places.reshape(-1, 3))[0], strict=True))
        there = {lines[i][21:27] for i in wet if found[i] < _SAME_PLACE}
        far |= {i for i in wet if lines[i][21:27] not in there}
    serials = {lines[i][6:11] for i in far}

    def stays(i: int, line: str) -> bool:
        bonded = [line[k : k + 5] for k in range(6, len(line.rstrip()), 5)]
        return i not in far and not (line.startswith("CONECT") and serials & {*bonded})

    if not kept:  # the pose is far from everything, which PoseBusters says itself
        yield receptor
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "near.pdb"
        copy.write_text("".join(x for i, x in enumerate(lines) if stays(i, x)), encoding="utf-8")
        yield copy


def _reopen_log() -> None:
    """Point RDKit's log at today's stderr, if that of yesterday was closed.

    PoseBusters leaves it at the stderr it met; where that has been replaced since (notebooks,
    tests), flushing it fails, and PoseBusters reports checks as failed.
    """
    import rdkit

    handler = getattr(rdkit, "log_handler", None)
    if handler is not None and getattr(handler.stream, "closed", False):
        handler.stream = sys.stderr


@contextmanager
def pdb_file(receptor: Path, drop: frozenset[str] = frozenset()) -> Iterator[Path]:
    """A receptor as the plain PDB file that PoseBusters reads; a copy where it is another format.

    Chains and residues that PDB has no names for are renamed in the copy.

    Args:
        receptor: PDB or mmCIF, also gzipped.
        drop: names of residues that the copy is without, such as that of the ligand.

    Raises:
        InputError: it cannot be read.
    """
    if receptor.suffix.lower() == ".pdb" and not drop:
        yield receptor
        return
    from protein.structures.parse import read_atoms
    from protein.structures.pdb_text import table_lines

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "receptor.pdb"
        table, _ = read_atoms(receptor)
        if drop:
            kept = [i for i, name in enumerate(table.resnames) if name.upper() not in drop]
            table = table.select(kept)
        copy.write_text("".join(table_lines(table)), encoding="ascii", errors="replace")
        yield copy


def _verdict(runner: Any, pose: "Mol", receptor: str | Path | None) -> Verdict:
    try:
        table = quietly(
            runner.bust, mol_pred=pose, mol_cond=None if receptor is None else Path(receptor)
        )
    except Exception as error:  # any failure of the judge is a verdict, not a crash
        _log.warning("PoseBusters failed: %s", error)
        return Verdict(False, (type(error).__name__,), {})
    # What does not apply to a molecule, such as flatness without rings, has no value.
    row = table.iloc[0].dropna()
    checks = {str(name): bool(value) for name, value in row.items()}
    failed = tuple(name for name, passed in checks.items() if not passed)
    return Verdict(not failed, failed, checks)


def success_interval(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a success rate.

    Args:
        successes: number of successes among the trials.
        total: number of trials; 0 gives the whole interval.
        z: normal quantile; 1.96 for 95 %.
    """
    if total == 0:
        return 0.0, 1.0
    p, square = successes / total, z * z / total
    centre = (p + square / 2) / (1 + square)
    half = z * np.sqrt(p * (1 - p) / total + square / (4 * total)) / (1 + square)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))
