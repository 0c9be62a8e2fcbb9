"""Structures for the tests of this folder: an ideal chain, native chains, PDB text."""

import os
from pathlib import Path

import numpy as np
import pytest

from protein.structures.archive import ChainArchive
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions


@pytest.fixture
def chain() -> Backbone:
    """Twenty residues of mixed torsions, one of every amino acid, rounded to 0.001 Å."""
    rng = np.random.default_rng(7)
    torsions = np.radians(np.stack([rng.uniform(-150, -50, 20), rng.uniform(-60, 150, 20)], 1))
    torsions = np.column_stack([torsions, np.full(20, np.pi)])
    coords = np.round(backbone_from_torsions(torsions), 3)
    return Backbone.from_coords(coords, "ACDEFGHIKLMNPQRSTVWY", name="ideal")


@pytest.fixture(scope="session")
def natives() -> ChainArchive:
    """Native chains, where the data set is at hand."""
    root = Path(__file__).parents[3]
    folder = Path(os.environ.get("SCIDDIFF_DATA", root.parent / "shared" / "data"))
    path = folder / "protein" / "chains.npz"
    if not path.is_file():
        pytest.skip("native chains absent: set SCIDDIFF_DATA to a folder with protein/chains.npz")
    return ChainArchive.open(path)
