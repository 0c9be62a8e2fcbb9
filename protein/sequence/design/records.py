"""What is kept of every design, and the FASTA records that users of ProteinMPNN know.

The header of a design has ProteinMPNN's fields in its order and spelling, then ours::

    >T=0.1, sample=1, score=1.4011, global_score=1.4011, seq_recovery=0.3846, score_se=0.0062, ...

The first record of a file is the sequence of the structure. Sequences hold the chains in which
anything is designed, in the order of the file, as the header of the first record lists them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS, letters, tokens
from protein.sequence.design.designer import Scores
from protein.sequence.design.plan import Plan
from protein.sequence.design.quality import composition_entropy
from sciddiff.errors import reading
from sciddiff.files import read_json, replacing

__all__ = ["Record", "design_header", "native_header", "recovery", "records_of"]


@final
@dataclass(frozen=True)
class Record:
    """One sequence of a structure with its figures.

    Attributes:
        sequence: letters of all residues, X where unknown.
        temperature: at which it was drawn; NaN for the structure's own.
        sample: its number, from 1; 0 for the structure's own.
        score: nats a designed residue, lower is better.
        score_se: standard error of `score` over pairs of orders.
        global_score: nats a residue, over all residues.
        seq_recovery: share of the designed residues that are the structure's; NaN where that means
            nothing.
        entropy: of the composition of the designed residues, nats.
        probability: of each residue given the others, 1 where fixed `[L]`.
        row_entropy: entropy of the law of each residue given the others, nats `[L]`.
        redrawn: how often it was drawn again to look more like natives.
        reward: what it was steered towards; None where it was not.
    """

    sequence: str
    temperature: float
    sample: int
    score: float
    score_se: float
    global_score: float
    seq_recovery: float
    entropy: float
    probability: tuple[float, ...]
    row_entropy: tuple[float, ...]
    redrawn: int = 0
    reward: float | None = None

    def write(self, file: Path) -> None:
        """Write it as JSON; the file appears whole."""
        with replacing(file) as out:
            out.write((json.dumps(asdict(self)) + "\n").encode())

    @staticmethod
    def read(file: Path, length: int) -> Record:
        """Read what `write` wrote.

        Args:
            file: where.
            length: residues that it has to have.

        Raises:
            InputError: damaged, or of another length.
        """
        found = read_json(file, "remove it, and run the command again")
        with reading(file, "a record of a design", "remove it, and run the command again"):
            plain: dict[str, Any] = dict(found)
            for name in ("probability", "row_entropy"):
                plain[name] = tuple(float(value) for value in plain[name])
            record = Record(**plain)
            if not set(record.sequence) <= set(LETTERS + "X"):
                raise ValueError("its sequence has other letters")
            rows = {len(record.sequence), len(record.probability), len(record.row_entropy), length}
            if len(rows) > 1:
                raise ValueError(f"it is not of {length} residues")
            return record

    def tokens(self) -> NDArray[np.int64]:
        """Its residues as tokens `[L]`."""
        return tokens(self.sequence)[0]


def records_of(
    plan: Plan,
    sequences: NDArray[np.int64],
    scores: Scores,
    temperature: float,
    samples: Sequence[int],
    redrawn: Sequence[int] | None = None,
    rewards: Sequence[float] | None = None,
) -> list[Record]:
    """Records of n sequences of L residues.

    Args:
        plan: what was designed.
        sequences: tokens `[n, L]`.
        scores: their scores.
        temperature: at which they were drawn.
        samples: their numbers, from 1.
        redrawn: how often each was drawn again; None: never.
        rewards: what each was steered towards; None: nothing.
    """
    laws = scores.laws
    picked = np.take_along_axis(laws, sequences[..., None], -1)[..., 0]
    probability = np.where(scores.counted, np.exp(picked), 1.0)
    spread = np.where(scores.counted, -(np.exp(laws) * laws).sum(-1), 0.0)
    known = scores.counted | plan.held
    found = []
    for k, number in enumerate(samples):
        text = letters(np.where(known[k], sequences[k], 20))
        drawn = sequences[k][scores.counted[k]]
        found.append(
            Record(
                text,
                temperature,
                int(number),
                _short(scores.score[k]),
                _short(scores.error[k]),
                _short(scores.total[k]),
                _short(recovery(plan, sequences[k])),
                _short(composition_entropy(drawn)),
                tuple(_short(value) for value in probability[k]),
                tuple(_short(value) for value in spread[k]),
                0 if redrawn is None else int(redrawn[k]),
                None if rewards is None else _short(rewards[k]),
            )
        )
    return found


def recovery(plan: Plan, sequence: NDArray[np.int64]) -> float:
    """Share of the designed residues that are those of the file.

    NaN where that means nothing (`Plan.no_recovery`): unknown residues, or a single amino acid.
    """
    rows = plan.designed & plan.known
    return math.nan if plan.no_recovery else float((sequence == plan.native)[rows].mean())


def native_header(plan: Plan, record: Record, model: str, checksum: str, seed: int) -> str:
    """Header of the structure's own sequence, ProteinMPNN's fields first.

    The checksum of the weights stands where ProteinMPNN names the commit of its code.
    """
    names = [chain.chain_id for chain in plan.template.chains]
    designed = [names[number] for number in plan.designed_chains]
    fixed = [name for name in names if name not in designed]
    return (
        f"{plan.name}, score={record.score:.4f}, global_score={record.global_score:.4f}, "
        f"fixed_chains={fixed}, designed_chains={designed}, model_name={model}, "
        f"git_hash={checksum}, seed={seed}, score_se={record.score_se:.4f}, "
        f"entropy={record.entropy:.4f}"
    )


def design_header(record: Record, order: str) -> str:
    """Header of a design, ProteinMPNN's fields first."""
    return (
        f"T={record.temperature:g}, sample={record.sample}, score={record.score:.4f}, "
        f"global_score={record.global_score:.4f}, seq_recovery={record.seq_recovery:.4f}, "
        f"score_se={record.score_se:.4f}, entropy={record.entropy:.4f}, order={order}"
    )


def _short(value: float) -> float:
    """As many digits as are shown: the last bits depend on what else is computed together."""
    return round(float(value), 4)
