"""Chains as the atoms of a file, in order: what both writers put into lines."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protein.structures.chain import Backbone
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.residues import ONE_TO_THREE
from sciddiff.errors import InputError

BFactors = ArrayLike | Sequence[ArrayLike] | None
"""A number for each residue, `[L]` or one such array for each chain; None for zeros."""


@dataclass(frozen=True)
class WrittenAtom:
    """One line of output.

    Attributes:
        serial: number in the file, from 1.
        name: atom name.
        element: its symbol.
        residue: residue name.
        chain: number of its chain, from 0.
        index: number of its residue in the chain, from 0.
        position: `[3]`, Å.
        b_factor: its B factor.
    """

    serial: int
    name: str
    element: str
    residue: str
    chain: int
    index: int
    position: NDArray[np.float64]
    b_factor: float


def written_atoms(
    chains: list[Backbone],
    b_factors: BFactors,
    beta_carbon: bool,
    path: str | os.PathLike[str],
) -> Iterator[WrittenAtom]:
    """Every atom in file order, serial numbers from 1.

    Args:
        chains: what to write.
        b_factors: a number for each residue.
        beta_carbon: add an idealised CB to residues that are not glycine and have no side chain.
        path: the file, for messages.

    Raises:
        InputError: the B factors are not one finite number for each residue.
    """
    serial = 0
    per_chain = _b_factors(chains, b_factors, path)
    for number, (chain, values) in enumerate(zip(chains, per_chain, strict=True)):
        coords = chain.coords.astype(np.float64)
        betas = _beta_carbons(coords) if beta_carbon else None
        for index, letter in enumerate(chain.sequence):
            atoms = [
                (name, name[0], place)
                for name, place in zip(ATOM_NAMES, coords[index], strict=True)
            ]
            side = chain.side_chains[index] if chain.side_chains else ()
            atoms += [(atom.name, atom.element, np.asarray(atom.position, float)) for atom in side]
            if betas is not None and letter != "G" and not side:
                atoms.append(("CB", "C", betas[index]))
            residue = ONE_TO_THREE.get(letter.upper(), "UNK")
            for name, element, place in atoms:
                serial += 1
                yield WrittenAtom(
                    serial, name, element, residue, number, index, place, float(values[index])
                )


def _b_factors(
    chains: list[Backbone],
    b_factors: BFactors,
    path: str | os.PathLike[str],
) -> list[NDArray[np.float64]]:
    """One array `[L]` per chain."""
    lengths = [len(chain) for chain in chains]
    if b_factors is None:
        return [np.zeros(length) for length in lengths]
    several = (
        isinstance(b_factors, (list, tuple))
        and len(b_factors) == len(chains)
        and all(np.ndim(part) == 1 for part in b_factors)
    )
    parts = list(b_factors) if several else [b_factors]  # type: ignore[arg-type]
    flat = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
    if len(flat) != sum(lengths) or not np.isfinite(flat).all():
        raise InputError(
            f"{path}: {len(flat)} b_factors for {sum(lengths)} residues; "
            "give one finite number each"
        )
    return np.split(flat, np.cumsum(lengths)[:-1])


def _beta_carbons(coords: NDArray[np.float64]) -> NDArray[np.float64]:
    import torch

    from protein.structures.frames import beta_carbons

    return beta_carbons(torch.from_numpy(coords)).numpy()
