"""Ideal chains and native chains for the tests of the metrics."""

import os
from pathlib import Path

import numpy as np
import pytest

from protein.structures.archive import ChainArchive
from protein.structures.torsions import backbone_from_torsions

SHARED = Path(__file__).parents[5] / "shared"


def ideal(phi: float, psi: float, length: int = 20) -> np.ndarray:
    """Chain of ideal bonds with one pair of torsions (degrees) `[L, 4, 3]`."""
    return backbone_from_torsions(np.radians(np.tile([phi, psi, 180.0], (length, 1))))


@pytest.fixture
def helix() -> np.ndarray:
    """Twenty residues of right-handed alpha helix."""
    return ideal(-57.0, -47.0)


@pytest.fixture
def strand() -> np.ndarray:
    """Twenty residues of extended strand."""
    return ideal(-120.0, 130.0)


@pytest.fixture(scope="session")
def native_chains() -> list[tuple[str, np.ndarray]]:
    """A few native chains of 60 to 128 residues, where the data set is at hand."""
    from protein.backbone.metrics.reference import chains_of

    chains = chains_of(_archive(), "val", (60, 128))
    return chains[:: max(len(chains) // 8, 1)][:8]


@pytest.fixture(scope="session")
def native_sequences(native_chains: list[tuple[str, np.ndarray]]) -> list[str]:
    """The natives' own amino acids."""
    archive = _archive()
    known = dict(zip(archive.ids, archive.sequences, strict=True))
    return [known[name] for name, _ in native_chains]


def _archive() -> ChainArchive:
    folder = Path(os.environ.get("SCIDDIFF_DATA", SHARED / "data"))
    path = folder / "protein" / "chains.npz"
    if not path.is_file():
        pytest.skip("native chains absent: set SCIDDIFF_DATA to a folder with protein/chains.npz")
    return ChainArchive.open(path)
