"""A small protein with every amino acid, and what is made of it."""

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import ATOMS, build, tables
from protein.sidechains.templates import Template
from protein.structures.torsions import backbone_from_torsions


@pytest.fixture(scope="session")
def built():
    """As `made`, for fixtures that live longer."""
    return made_template


@pytest.fixture
def made():
    """Makes a compact chain of every amino acid with drawn torsions."""
    return made_template


def made_template(length=40, seed=0, sequence=None, around=4, name="made"):
    """A compact chain with drawn torsions, built in float64."""
    rng = np.random.default_rng(seed)
    length = len(sequence or range(length))
    kinds = np.radians([[-63.0, -43.0, 180.0], [-120.0, 130.0, 180.0]])
    angles = kinds[rng.integers(0, 2, length)] + rng.normal(0.0, 0.1, (length, 3))
    backbone = backbone_from_torsions(angles)
    tokens = np.arange(length) % len(LETTERS)
    if sequence is not None:
        tokens = np.asarray([LETTERS.index(letter) for letter in sequence])
    chi = rng.uniform(-np.pi, np.pi, (length, 4))
    side = build(torch.from_numpy(backbone), torch.from_numpy(tokens), torch.from_numpy(chi))
    atoms = np.concatenate([backbone, side.numpy()], axis=1)
    atoms = np.where(tables().present.numpy()[tokens][..., None], atoms, np.nan)
    assert atoms.shape[1] == ATOMS
    near = atoms[length // 2, 1] + rng.normal(0.0, 4.0, (around, 3))
    return Template(
        atoms.astype(np.float32),
        tokens.astype(np.int64),
        np.zeros(length, dtype=bool),
        np.zeros(length, dtype=np.int64),
        np.arange(length),
        near.astype(np.float32),
        rng.integers(0, 5, around),
        name,
    )
