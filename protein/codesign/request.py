"""Templates of the three questions: both leaves free, the frames held, or the residues held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protein.backbone.data import Sample, backbone_batch, collate
from protein.backbone.network import FOLDS
from protein.backbone.request import (
    PAIR_BUDGET,
    GenerationRequest,
    design_name,
    grouped,
    templates,
)
from protein.codesign.poses import held, with_residues
from protein.codesign.records import FoldRecord, fold_records
from protein.sequence.samples import sample_of
from protein.structures.chain import Backbone
from protein.structures.complexes import CHAIN_JUMP
from protein.structures.read import read_structure
from sciddiff.errors import InputError
from sciddiff.state import Batch

QUESTIONS = {"fasta": {"fasta", "n", "seed"}, "structures": {"structures", "n", "seed"}}
"""What a request that names sequences, or structures, may hold."""


def answer_templates(request: Mapping[str, Any]) -> Iterator[Batch]:
    """Templates of a request as a user types it.

    Args:
        request: `fasta`, a file of sequences to fold; or `structures`, files of backbones to find
            residues for; or neither, and the fields of `GenerationRequest`. `n` is the number of
            samples of each.

    Raises:
        InputError: An unknown field, or a file that cannot be used.
    """
    asked = [name for name in QUESTIONS if name in request]
    if not asked:
        yield from codesign_templates(GenerationRequest.parse(request))
        return
    other = sorted(set(request) - QUESTIONS[asked[0]])
    if other:
        raise InputError(
            f"request field {other[0]}: does not go with {asked[0]}; use "
            f"{', '.join(sorted(QUESTIONS[asked[0]]))}"
        )
    n = GenerationRequest.parse({"n": request.get("n", 1)}).n
    if asked == ["fasta"]:
        records, _ = fold_records(request["fasta"])
        yield from fold_templates(records, range(n * len(records)))
        return
    files = request["structures"]
    for file in [files] if isinstance(files, str | Path) else files:
        yield inverse_template(read_structure(Path(file)).chains, n, Path(file).stem)


def codesign_templates(
    request: GenerationRequest, indices: Iterable[int] | None = None
) -> Iterator[Batch]:
    """Backbone templates whose residues are free too."""
    return (with_residues(batch) for batch in templates(request, indices))


def fold_templates(records: Sequence[FoldRecord], indices: Iterable[int]) -> Iterator[Batch]:
    """Templates whose residues are held and whose frames are free.

    Args:
        records: the proteins; design i is one of record i modulo their number, so that asking for
            more of each leaves those that are there as they are.
        indices: the designs.
    """
    sized = sorted((len(records[i % len(records)].sequence), i) for i in indices)
    for group in grouped(sized, PAIR_BUDGET):
        chosen = [records[index % len(records)] for _, index in group]
        lengths = [length for length, _ in group]
        coords = torch.zeros(len(group), max(lengths), 4, 3)
        folds = torch.full((len(group),), FOLDS.index("none"))
        names = tuple(design_name(index) for _, index in group)
        batch = backbone_batch(coords, lengths, folds, ids=names)
        chain = torch.zeros_like(batch.cond["residue_index"])
        for row, record in enumerate(chosen):
            sizes = torch.tensor([len(part) for part in record.chains])
            chain[row, : lengths[row]] = torch.repeat_interleave(sizes)
        batch = batch.with_cond(
            index=torch.tensor([index for _, index in group]),
            chain_index=chain,
            residue_index=batch.cond["residue_index"] + CHAIN_JUMP * chain,
        )
        batch = with_residues(batch, [record.sequence for record in chosen])
        yield held(batch, residues=True)


def inverse_template(chains: Sequence[Backbone], n: int, name: str) -> Batch:
    """A template of n samples whose frames are held and whose residues are free.

    Args:
        chains: the backbone.
        n: number of samples.
        name: stem of their names.
    """
    one = sample_of(chains, name=name)
    fixed = np.zeros(len(one), dtype=bool)
    index = one.index + CHAIN_JUMP * one.chain
    sample = Sample(
        one.atoms, FOLDS.index("none"), fixed, name, "", one.chain, index.astype(np.int64)
    )
    batch = with_residues(collate([sample])).select(torch.zeros(n, dtype=torch.int64))
    batch = Batch(
        batch.x,
        {**batch.cond, "index": torch.arange(n)},
        batch.layouts,
        n,
        tuple(f"{name}_{k + 1}" for k in range(n)),
    )
    return held(batch, frames=True)
