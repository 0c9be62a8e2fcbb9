"""How sure a predicted structure is: pLDDT from its B factors, and what stands in files beside it.

Tools write pLDDT from 0 to 1 or from 0 to 100 into the B factors. Boltz wrote 1 everywhere for a
while; its pLDDT, and pTM and ipTM of every tool, are in a file beside the structure:
``NAME_scores_rank_*.json`` (ColabFold), ``confidence_*.json`` and ``plddt_*.npz`` (Boltz),
``scores.model_idx_*.npz`` (Chai), ``*_summary_confidences.json`` (AlphaFold 3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protein.structures.chain import Backbone
from sciddiff.errors import InputError
from sciddiff.files import open_arrays, read_json

MOST = 100.0
"""The best pLDDT, in the scale used here."""


@final
@dataclass(frozen=True, eq=False)
class Confidence:
    """What a tool says of one of its predictions.

    Attributes:
        plddt: of every residue, chain after chain, 0 to 100 `[L]`; None where it is not known.
        ptm: predicted TM-score, 0 to 1.
        iptm: predicted TM-score of the interfaces, 0 to 1.
        notes: sentences on what could not be read.
    """

    plddt: NDArray[np.float64] | None = None
    ptm: float | None = None
    iptm: float | None = None
    notes: tuple[str, ...] = ()


def confidence_of(file: Path, stem: str, chains: Sequence[Backbone]) -> Confidence:
    """The confidence of a predicted structure.

    Args:
        file: the structure.
        stem: its name without the suffix of the format.
        chains: what was read from it.
    """
    found: dict[str, Any] = {}
    notes = []
    for beside in _files_beside(file, stem):
        try:
            found |= _read(beside)
        except InputError as error:
            notes.append(str(error))
    plddt = plddt_of(np.concatenate([chain.b_factors for chain in chains]))
    if plddt is None and found.get("plddt") is not None:
        plddt = plddt_of(found["plddt"])
        if plddt is not None and len(plddt) != sum(len(chain) for chain in chains):
            plddt = None  # tokens of ligands, or residues that the structure lacks
    return Confidence(plddt, _score(found.get("ptm")), _score(found.get("iptm")), tuple(notes))


def plddt_of(values: ArrayLike) -> NDArray[np.float64] | None:
    """Values as pLDDT from 0 to 100, or None where they cannot be pLDDT.

    Values up to 1 are of the scale from 0 to 1. Values that are all 0 or 1 are no confidence but a
    default or a mark, and values beyond 100 or below 0 are the B factors of a crystal.

    Args:
        values: a number for each residue `[L]`.

    >>> plddt_of([0.5, 0.93]).tolist(), plddt_of([50.0, 93.0]).tolist()
    ([50.0, 93.0], [50.0, 93.0])
    >>> plddt_of([0, 1, 1]), plddt_of([12.0, 140.0])
    (None, None)
    """
    try:
        array = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):  # a table of scores may hold anything
        return None
    if not len(array) or not np.isfinite(array).all() or np.isin(array, (0.0, 1.0)).all():
        return None
    if array.min() < 0.0 or array.max() > MOST:
        return None
    return array * MOST if array.max() <= 1.0 else array


def _files_beside(file: Path, stem: str) -> list[Path]:
    """Files of scores that belong to a structure, the most telling last."""
    folder = file.parent
    ranked = re.sub(r"_(?:un)?relaxed_(?=(?:rank|alphafold|model))", "_scores_", stem)
    names = [
        f"{stem}_summary_confidences.json",
        f"{stem.removesuffix('model')}summary_confidences.json",
        f"confidence_{stem}.json",
        f"plddt_{stem}.npz",
    ]
    if ranked != stem:
        names.append(f"{ranked}.json")
    if stem.lower().startswith("pred."):
        names.append(f"scores{stem[4:]}.npz")
    return [folder / name for name in names if (folder / name).is_file()]


def _read(file: Path) -> dict[str, Any]:
    """What a file of scores says of pLDDT, pTM and ipTM."""
    if file.suffix == ".npz":
        with open_arrays(file) as arrays:
            said: Mapping[str, Any] = {
                key: np.asarray(arrays[key]).squeeze()
                for key in ("plddt", "ptm", "iptm")
                if key in arrays
            }
    else:
        said = read_json(file)
        if not isinstance(said, Mapping):
            raise InputError(f"{file}: is not a table of scores; copy or download it again")
    return {key: said[key] for key in ("plddt", "ptm", "iptm") if said.get(key) is not None}


def _score(value: Any) -> float | None:
    """One number from 0 to 1, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0.0 <= number <= 1.0 else None
