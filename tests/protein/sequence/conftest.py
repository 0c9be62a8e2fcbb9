"""Templates of random residues in a ball, and an archive whose letters follow from its atoms."""

from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sequence.samples import Sample
from protein.structures.archive import write_archive
from protein.structures.frames import backbone_from_frames
from sciddiff.manifolds.so3 import exp_map


def residues(length: int, rng: np.random.Generator) -> np.ndarray:
    """Residues at random places in a ball, turned at random: `[L, 4, 3]`, Å."""
    places = torch.from_numpy(2.0 * length ** (1 / 3) * rng.normal(size=(length, 3)))
    turned = exp_map(torch.from_numpy(2.0 * rng.normal(size=(length, 3))))
    return backbone_from_frames(turned, places).numpy()


@pytest.fixture
def ball():
    """Makes a template of so many residues in one or more chains."""

    def make(length: int, seed: int = 0, chains: int = 1, name: str = "") -> Sample:
        rng = np.random.default_rng([length, seed])
        chain = np.sort(rng.integers(0, chains, length))
        return Sample(
            residues(length, rng).astype(np.float32),
            rng.integers(0, len(LETTERS), length),
            chain,
            np.arange(length) + 200 * chain,
            np.zeros(length, dtype=bool),
            np.zeros(length, dtype=bool),
            0.1,
            name or f"ball{seed}",
        )

    return make


def letter_of(x: np.ndarray) -> np.ndarray:
    """The letter of a residue by the last digits of the x of its CA, in hundredths of an Å."""
    return np.rint(x * 100.0).astype(int) % len(LETTERS)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty hairpins of two strands that touch, two a cluster; every letter follows from its CA.

    One residue of every chain is unknown, and chains 16 to 19 are for validation.
    """
    rng = np.random.default_rng(0)
    chains, words, ss3, lengths = [], [], [], rng.integers(60, 90, 20)
    for length in lengths.tolist():
        half = length // 2
        ca = np.zeros((length, 3))
        ca[:half, 0] = 3.4 * np.arange(half)
        ca[half:, 0] = 3.4 * np.arange(length - half)[::-1]
        ca[half:, 1] = 5.0
        ca += rng.uniform(-0.5, 0.5, ca.shape)
        around = np.array([[-1.2, 0.5, 0.3], [0, 0, 0], [1.2, 0.6, -0.2], [1.4, 1.7, 0]])
        atoms = ca[:, None] + around
        # As the archive stores it, so that letters are those of the stored atoms.
        atoms = np.rint((atoms - atoms.mean((0, 1))) * 100.0) / 100.0
        chains.append(atoms)
        word = "".join(LETTERS[k] for k in letter_of(atoms[:, 1, 0]))
        words.append(word[:25] + "X" + word[26:])
        ss3.append("e" * (half - 4) + "c" * 8 + "e" * (length - half - 4))
    path = tmp_path_factory.mktemp("data") / "chains.npz"
    write_archive(
        path,
        chains,
        {
            "length": lengths.astype(np.int32),
            "id": np.array([f"chain{i}" for i in range(20)]),
            "sequence": np.array(words, dtype="S"),
            "ss3": np.array(ss3, dtype="S"),
            "cluster_c30": np.arange(20, dtype=np.int32) // 2,
            "split": np.array(["train"] * 16 + ["val"] * 4),
        },
    )
    return path
