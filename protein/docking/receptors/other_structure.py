"""A structure of a protein laid on another one, by the residues of a pocket."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.receptors.receptor import Receptor
from protein.structures.residues import parent_letter
from protein.structures.superposition import kabsch

__all__ = ["superposed"]

POCKET, APART, LEAST = 8.0, 2.0, 8
"""Å around a ligand that are its pocket; largest RMSD of two pockets, Å; fewest residues."""


def superposed(
    fixed: Receptor, moving: Receptor, ligand: NDArray[np.floating], identity: float = 0.95
) -> tuple[Receptor, float, int] | None:
    """Lay another structure of a protein on this one by the C-alpha atoms of a pocket.

    Chains are aligned by sequence; residues within 8 Å of the ligand are paired with equal ones.

    Args:
        fixed: the receptor of the ligand.
        moving: the other one.
        ligand: the ligand in the first receptor `[N, 3]`, Å.
        identity: least share of the pocket's residues that align with equal ones.

    Returns:
        The other receptor in its new place, RMSD of the pockets in Å, and how many residues were
        paired. None if the proteins differ, or their pockets are more than 2 Å apart.
    """
    gaps = np.linalg.norm(fixed.coords[:, None] - ligand[None], axis=-1).min(axis=1)
    near = {fixed.residues[i] for i in np.flatnonzero(gaps < POCKET)}
    best: list[tuple[int, int]] = []
    whole = 0
    for mine in _chains(fixed).values():
        inside = [fixed.residues[i] in near for i in mine]
        whole += sum(inside)
        choices = [
            _equal(fixed, moving, mine, theirs, inside) for theirs in _chains(moving).values()
        ]
        best += max(choices, key=len, default=[])
    if len(best) < max(LEAST, identity * whole):
        return None
    a, b = (torch.from_numpy(x.coords[list(rows)]) for x, rows in
            zip((fixed, moving), zip(*best, strict=True), strict=True))  # fmt: skip
    turn = kabsch(b - b.mean(0), a - a.mean(0)).numpy()
    coords = (moving.coords - b.mean(0).numpy()) @ turn.T + a.mean(0).numpy()
    placed = replace(moving, coords=coords)
    gap = coords[[j for _, j in best]] - fixed.coords[[i for i, _ in best]]
    apart = float(np.sqrt(np.square(gap).sum(-1).mean()))
    return (placed, apart, len(best)) if apart <= APART else None


def _chains(receptor: Receptor) -> dict[str, list[int]]:
    """Rows of the C-alpha atoms of every chain."""
    chains: dict[str, list[int]] = {}
    for i, (atom, element) in enumerate(zip(receptor.atoms, receptor.elements, strict=True)):
        if atom == "CA" and element == "C":
            chains.setdefault(receptor.residues[i].split(":")[0], []).append(i)
    return chains


def _equal(
    fixed: Receptor, moving: Receptor, mine: list[int], theirs: list[int], inside: list[bool]
) -> list[tuple[int, int]]:
    """Rows of residues of the pocket that align with the same residue of the other chain."""
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(mode="global", match_score=2.0, mismatch_score=-1.0)
    aligner.open_gap_score, aligner.extend_gap_score = -5.0, -0.5
    one, two = (
        "".join(parent_letter(x.resnames[i]) or "X" for i in rows)
        for x, rows in ((fixed, mine), (moving, theirs))
    )
    pairs = []
    for (a, end), (b, _) in zip(*aligner.align(one, two)[0].aligned, strict=True):
        pairs += [
            (mine[a + k], theirs[b + k])
            for k in range(end - a)
            if inside[a + k] and one[a + k] == two[b + k]
        ]
    return pairs
