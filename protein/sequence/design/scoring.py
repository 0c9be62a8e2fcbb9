"""Scores of given sequences, profiles, and all single mutants."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS, tokens
from protein.sequence.design.engine import SequenceDesigner
from protein.sequence.design.plan import Plan
from protein.sequence.design.quality import composition_entropy
from protein.sequence.design.records import recovery
from protein.sequence.design.tables import write_csv, written
from protein.sequence.fasta import FastaRecord, check_protein
from sciddiff.errors import InputError
from sciddiff.files import replacing

__all__ = ["RESIDUE_SCORES", "SCORES", "score_records", "write_mutants", "write_profile"]

SCORES = ("template", "record", "name", "score", "score_se", "global_score", "seq_recovery",
          "entropy")  # fmt: skip
"""Columns of `scores.csv`."""

RESIDUE_SCORES = ("template", "record", "residue", "aa", "score", "probability")
"""Columns of `residues.csv` beside it."""

_TOGETHER = 64


@final
@dataclass(frozen=True, eq=False)
class Given:
    """A sequence to score.

    Attributes:
        record: number and header.
        tokens: its residues over all chains `[L]`.
    """

    record: FastaRecord
    tokens: NDArray[np.int64]


def score_records(
    designer: SequenceDesigner, records: Iterator[FastaRecord]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Score sequences for one structure.

    Args:
        designer: the structure.
        records: sequences of all chains, or of those in which anything is designed.

    Yields:
        A row of `scores.csv` for each, and rows for each of its residues. All that come before
        a record that cannot be used are yielded before it is refused.

    Raises:
        InputError: a record of another length, with letters that are no amino acids, or that
            differs from the structure at a fixed residue.
    """
    waiting: list[Given] = []
    try:
        for record in records:
            waiting.append(Given(record, _aligned(designer.plan, record)))
            if len(waiting) == _TOGETHER:
                yield from _scored(designer, waiting)
                waiting = []
    except InputError:
        yield from _scored(designer, waiting)
        raise
    yield from _scored(designer, waiting)


def _scored(
    designer: SequenceDesigner, given: Sequence[Given]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    if not given:
        return
    plan, found = designer.plan, np.stack([one.tokens for one in given])
    scores = designer.score(found)
    rows = -scores.rows.mean(0)
    laws = scores.laws
    for k, one in enumerate(given):
        row = {
            "template": plan.name,
            "record": one.record.number,
            "name": one.record.header,
            "score": f"{scores.score[k]:.4f}",
            "score_se": written(scores.error[k]),
            "global_score": f"{scores.total[k]:.4f}",
            "seq_recovery": written(recovery(plan, found[k])),
            "entropy": f"{composition_entropy(found[k][plan.designed]):.4f}",
        }
        residues = [
            {
                "template": plan.name,
                "record": one.record.number,
                "residue": plan.residues.labels[at],
                "aa": LETTERS[found[k, at]],
                "score": f"{rows[k, at]:.4f}",
                "probability": f"{np.exp(laws[k, at, found[k, at]]):.4f}",
            }
            for at in np.flatnonzero(plan.designed).tolist()
        ]
        yield row, residues


def _aligned(plan: Plan, record: FastaRecord) -> NDArray[np.int64]:
    """Tokens of a record over all chains of the structure `[L]`."""
    record = replace(record, chains=tuple(plan.ungapped(record.chains)))
    text = "".join(record.chains)
    check_protein(record, string.ascii_uppercase)
    rows = _rows(plan, record)
    found = plan.tokens.copy()
    found[rows], unknown = tokens(text)
    if unknown.any():
        place = int(np.flatnonzero(unknown)[0])
        raise InputError(
            f"{record.where}: {text[place]} at residue {plan.residues.labels[rows[place]]} is no "
            f"amino acid; use letters of {LETTERS}"
        )
    wrong = np.flatnonzero(plan.held & (found != plan.tokens))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{record.where}: has {LETTERS[found[row]]} at {plan.residues.labels[row]}, which is "
            f"fixed to {LETTERS[plan.tokens[row]]}; fix fewer residues, or correct the record"
        )
    return found


def _rows(plan: Plan, record: FastaRecord) -> NDArray[np.int64]:
    """Rows of a structure that a record names: those of all chains, or of the designed ones."""
    given = [len(chain) for chain in record.chains]
    whole = [len(chain) for chain in plan.template.chains]
    part = [whole[number] for number in plan.designed_chains]
    for sizes, rows in ((whole, np.arange(len(plan))), (part, _designed_rows(plan))):
        if given in (sizes, [sum(sizes)]):
            return rows
    raise InputError(
        f"{record.where} has {'/'.join(map(str, given))} residues, and {plan.template.source} has "
        f"{'/'.join(map(str, whole))}; give all chains, or those that are designed, with / between"
    )


def _designed_rows(plan: Plan) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(plan.residues.chain_of, plan.designed_chains))


def write_profile(directory: Path, designer: SequenceDesigner) -> list[Path]:
    """Write the profile of a structure, `NAME.profile.npz` and `.csv`.

    Log-probabilities of all amino acids at every residue `[L, 20]`, nats: `alone` given the
    structure and the fixed residues, `given` with the structure's own other residues, too. Rows
    that are fixed are 0.
    """
    plan = designer.plan
    known = (plan.known | plan.held)[None]
    alone, given = designer.alone(), designer.conditional(plan.tokens[None], known)[0]
    stem = directory / f"{plan.name}.profile"
    file, table = stem.with_suffix(".profile.npz"), stem.with_suffix(".profile.csv")
    arrays = {
        "alone": alone.astype(np.float32),
        "given": given.astype(np.float32),
        "designed": plan.designed,
        "residues": np.array(plan.residues.labels),
        "letters": np.array(list(LETTERS)),
    }
    with replacing(file) as out:
        np.savez(out, **arrays)
    names = [_native(plan, row) for row in range(len(plan))]
    rows = (
        {"residue": plan.residues.labels[row], "native": names[row], "law": law}
        | {letter: f"{value:.4f}" for letter, value in zip(LETTERS, values[row], strict=True)}
        for law, values in (("alone", alone), ("given", given))
        for row in np.flatnonzero(plan.designed).tolist()
    )
    write_csv(table, ["residue", "native", "law", *LETTERS], rows)
    return [file, table]


def write_mutants(directory: Path, designer: SequenceDesigner) -> list[Path]:
    """Write all single mutants of a structure's own sequence, `NAME.scan.csv`.

    `change` is the change of the log-probability of the sequence, nats: that of the new amino acid
    less that of the old, given the structure and all other residues; above 0 the network prefers
    the mutant. What `--omit-aa` and the like rule out is marked.
    """
    plan = designer.plan
    laws = designer.mutants(plan.tokens, plan.known | plan.held)
    table = directory / f"{plan.name}.scan.csv"
    rows = (
        {
            "residue": plan.residues.labels[row],
            "native": LETTERS[plan.native[row]],
            "mutant": LETTERS[letter],
            "mutation": f"{plan.residues.labels[row]}{LETTERS[letter]}",
            "change": f"{laws[row, letter] - laws[row, plan.native[row]]:.4f}",
            "probability": f"{np.exp(laws[row, letter]):.4f}",
            "allowed": int(not plan.omitted[row, letter]),
        }
        for row in np.flatnonzero(plan.designed & plan.known).tolist()
        for letter in range(len(LETTERS))
        if letter != plan.native[row]
    )
    columns = ["residue", "native", "mutant", "mutation", "change", "probability", "allowed"]
    write_csv(table, columns, rows)
    return [table]


def _native(plan: Plan, row: int) -> str:
    return LETTERS[plan.native[row]] if plan.known[row] else "X"
