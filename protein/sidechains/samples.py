r"""Batches of side chains: torsions as the state, everything else as conditions.

The state has one leaf, `chi [B, 4 N]`: four angles to a residue, end to end. Where half a turn of
a torsion only exchanges the names of atoms (the last of Phe, Tyr, Asp and Glu), the leaf holds
twice the torsion. Both names of one structure are then one point of the torus, so that noise,
path, loss and density cannot tell them apart. Angles that a residue does not have are padding.
Residues whose torsions are not known are padding too, and show no side chain; residues that are
held are fixed rows.

================== ======================= =======================================================
condition          type, shape             meaning
================== ======================= =======================================================
`atoms`            float32 `[B, N, 4, 3]`  N, CA, C, O in Å, wherever they lie; NaN: missing
`present`          bool `[B, N]`           rows that are residues
`residues`         int64 `[B, N]`          residue types, tokens 0 to 19
`unknown`          bool `[B, N]`           residues of no type, without a side chain
`chain_index`      int64 `[B, N]`          number of the chain
`residue_index`    int64 `[B, N]`          place along the chain; gaps leave numbers out
`noise`            float32 `[B]`           standard deviation of the noise on the backbone, Å
`around`           float32 `[B, M, 3]`     atoms of ligands and the like, Å
`around_elements`  int64 `[B, M]`          their elements (`Template`); -1: no atom
================== ======================= =======================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from protein.sidechains.geometry import tables, torsions
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.templates import Template
from protein.structures.geometry_constants import ATOM_NAMES
from sciddiff.manifolds.torus import wrap
from sciddiff.state import Batch, Layout

__all__ = [
    "CHI",
    "NEAR_ATOMS",
    "Sample",
    "collate",
    "from_state",
    "jittered",
    "sample_of",
    "to_state",
]

CHI = "chi"
"""The leaf of the state."""

NEAR_ATOMS = 8
"""Atoms around that a residue sees; a batch with any has room for so many."""


def to_state(chi: Tensor, tokens: Tensor) -> Tensor:
    """Angles of the leaf `[..., 4]` from torsions `[..., 4]` of residues `[...]`, rad."""
    return wrap(chi * _periods(tokens, chi))


def from_state(angles: Tensor, tokens: Tensor) -> Tensor:
    """Torsions `[..., 4]` from angles of the leaf; symmetric ones in [-pi/2, pi/2), rad."""
    return wrap(angles) / _periods(tokens, angles)


def _periods(tokens: Tensor, like: Tensor) -> Tensor:
    return tables().periods.to(like)[tokens]


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """A template with what is known of its torsions.

    Attributes:
        template: the structure.
        chi: torsions `[L, 4]`, float32, rad; 0 where not known.
        drawn: residues whose torsions are part of the state `[L]`, bool.
        fixed: of these, the ones that are held `[L]`, bool.
        noise: standard deviation of the noise that the backbone carries, Å.
    """

    template: Template
    chi: NDArray[np.float32]
    drawn: NDArray[np.bool_]
    fixed: NDArray[np.bool_]
    noise: float = 0.0

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.template)


def sample_of(
    template: Template, fixed: NDArray[np.bool_] | None = None, known: bool = False
) -> Sample:
    """A sample of a template.

    Args:
        template: the structure.
        fixed: residues whose side chains are held `[L]`; they must be complete.
        known: take torsions from the atoms, and only residues that have them all: data to learn
            from. Otherwise every residue of a known type is drawn.
    """
    complete = template.complete
    held = np.zeros(len(template), bool) if fixed is None else fixed & complete
    atoms = np.nan_to_num(template.atoms)
    chi = torsions(torch.from_numpy(atoms), torch.from_numpy(template.tokens)).numpy()
    read = complete if known else held
    chi = np.where(read[:, None], chi, np.float32(0.0))
    drawn = complete if known else ~template.unknown
    return Sample(template, chi, drawn, held)


def jittered(sample: Sample, sigma: float, rng: np.random.Generator) -> Sample:
    """The sample with Gaussian noise of `sigma` (Å) on its backbone, and told so."""
    atoms = sample.template.atoms.copy()
    back = atoms[:, : len(ATOM_NAMES)]
    back += np.float32(sigma) * rng.standard_normal(back.shape, dtype=np.float32)
    total = float(np.hypot(sample.noise, sigma))
    return replace(sample, template=replace(sample.template, atoms=atoms), noise=total)


def collate(samples: Sequence[Sample]) -> Batch:
    """A padded batch, named after its templates."""
    lengths = torch.tensor([len(s) for s in samples])
    rows = torch.arange(int(lengths.max())) < lengths[:, None]
    templates = [s.template for s in samples]
    residues = _padded([one.tokens for one in templates])
    drawn = _padded([s.drawn for s in samples])[..., None] & tables().chi[residues]
    fixed = _padded([s.fixed for s in samples])[..., None].expand(*drawn.shape)
    chi = _padded([s.chi for s in samples])
    angles = torch.where(drawn, to_state(chi, residues), torch.zeros_like(chi))
    layout = Layout(len(samples), mask=drawn.flatten(1), fixed=(fixed & drawn).flatten(1))
    around = [one.around for one in templates]
    elements = [one.around_elements for one in templates]
    if any(len(part) for part in around):
        most = max(NEAR_ATOMS, *(len(part) for part in around))
        around = [np.pad(part, ((0, most - len(part)), (0, 0))) for part in around]
        elements = [np.pad(p, (0, most - len(p)), constant_values=-1) for p in elements]
    cond = {
        "atoms": _padded([one.atoms[:, : len(ATOM_NAMES)] for one in templates]),
        "present": rows,
        "residues": residues,
        "unknown": _padded([one.unknown for one in templates]),
        "chain_index": _padded([one.chain for one in templates]),
        "residue_index": _padded([one.index for one in templates]),
        "noise": torch.tensor([s.noise for s in samples], dtype=torch.float32),
        "around": _padded(around),
        "around_elements": _padded(elements),
    }
    names = tuple(one.name for one in templates)
    return Batch({CHI: angles.flatten(1)}, cond, {CHI: layout}, len(samples), names)


def angles_of(values: Tensor) -> Tensor:
    """The leaf or its layout's rows `[B, 4 N]` by residue, `[B, N, 4]`."""
    return values.unflatten(1, (-1, MOST_CHI))


def _padded(arrays: Sequence[NDArray]) -> Tensor:
    return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
