"""Templates of inverse folding: backbones with what is known of their sequences, and batches.

The state has one leaf, `sequence [B, N]`, int64: tokens of `protein.sequence.alphabet`. Rows that
are held keep their residue. The conditions of a batch are

================ ======================= =========================================================
key              type, shape             meaning
================ ======================= =========================================================
`atoms`          float32 `[B, N, 4, 3]`  N, CA, C, O in Å, wherever they lie; NaN: missing
`chain_index`    int64 `[B, N]`          number of the chain
`residue_index`  int64 `[B, N]`          place along the chain; gaps leave numbers out
`noise`          float32 `[B]`           standard deviation of the noise that the atoms carry, Å
`unknown`        bool `[B, N]`           residues that are neither known nor to be designed: they
                                         are held, and networks see the mask whatever the leaf says
================ ======================= =========================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from protein.sequence.alphabet import tokens
from protein.structures.chain import Backbone
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout

SEQUENCE = "sequence"
"""The leaf of the state."""

ATOMS = "atoms"
"""The condition that holds the backbone."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One template of L residues before it is padded; chains lie end to end.

    Attributes:
        atoms: N, CA, C, O `[L, 4, 3]`, float32, Å; NaN for a missing atom.
        tokens: residues `[L]`, int64, 0 to 19.
        chain: number of the chain `[L]`, int64.
        index: place along the chain `[L]`, int64.
        fixed: residues that are held `[L]`, bool.
        unknown: held residues that are not known `[L]`, bool.
        noise: standard deviation of the noise that the atoms carry, Å.
        name: its name.
    """

    atoms: NDArray[np.float32]
    tokens: NDArray[np.int64]
    chain: NDArray[np.int64]
    index: NDArray[np.int64]
    fixed: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    noise: float = 0.0
    name: str = ""

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.tokens)


def sample_of(
    chains: Sequence[Backbone],
    fixed: NDArray[np.bool_] | None = None,
    noise: float = 0.0,
    name: str = "",
) -> Sample:
    """A template of the chains of a structure.

    Args:
        chains: chains in the order in which they are to lie.
        fixed: residues that are held `[L]`, over all chains; None for none. X among them is
            unknown; X elsewhere is designed.
        noise: standard deviation (Å) of the noise that the network is told the atoms carry.
        name: name of the template.

    Raises:
        InputError: No chains, or `fixed` has another number of residues.
    """
    if not chains:
        raise InputError(f"{name or 'template'}: no chains; give at least one")
    residues, unknown = tokens("".join(chain.sequence for chain in chains))
    held = np.zeros(len(residues), dtype=bool) if fixed is None else np.asarray(fixed, dtype=bool)
    if held.shape != residues.shape:
        raise InputError(
            f"{name or 'template'}: fixed has {held.size} entries for {len(residues)} residues"
        )
    return Sample(
        np.concatenate([chain.coords for chain in chains]).astype(np.float32),
        residues,
        np.repeat(np.arange(len(chains)), [len(chain) for chain in chains]),
        np.concatenate([chain.places for chain in chains]),
        held,
        unknown & held,
        noise,
        name,
    )


def jittered(sample: Sample, sigma: float, rng: np.random.Generator) -> Sample:
    """The template with Gaussian noise of `sigma` (Å) on its atoms, and told so."""
    drawn = rng.standard_normal(sample.atoms.shape, dtype=np.float32)
    total = float(np.hypot(sample.noise, sigma))
    return replace(sample, atoms=sample.atoms + np.float32(sigma) * drawn, noise=total)


def collate(samples: Sequence[Sample]) -> Batch:
    """A padded batch of templates, named after them."""
    lengths = torch.tensor([len(s) for s in samples])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    layout = Layout(len(samples), mask=mask, fixed=_padded([s.fixed for s in samples]))
    cond = {
        ATOMS: _padded([s.atoms for s in samples]),
        "chain_index": _padded([s.chain for s in samples]),
        "residue_index": _padded([s.index for s in samples]),
        "noise": torch.tensor([s.noise for s in samples], dtype=torch.float32),
        "unknown": _padded([s.unknown for s in samples]),
    }
    return Batch(
        {SEQUENCE: _padded([s.tokens for s in samples])},
        cond,
        {SEQUENCE: layout},
        len(samples),
        tuple(s.name for s in samples),
    )


def _padded(arrays: list[NDArray]) -> torch.Tensor:
    return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
