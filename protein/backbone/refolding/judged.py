"""What is asked of a predicted structure, what was measured, and the best of each design."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

SHOWN = 3
"""Names and files that a line on stderr spells out, at most; the JSON has all."""


@final
@dataclass(frozen=True)
class Thresholds:
    """What the field asks of a design: scRMSD < 2 Å, scTM > 0.5 and a mean pLDDT > 70.

    scRMSD below 2 Å is the usual sign of a designable backbone (Trippe et al. 2023, Watson et al.
    2023), scTM above 0.5 of the same fold (Zhang & Skolnick 2004), and pLDDT above 70 of a
    confident prediction (Jumper et al. 2021).

    Attributes:
        rmsd: CA distance after superposition must be below, Å.
        tm: TM-score must be above.
        plddt: mean confidence must be above, 0 to 100.

    >>> str(Thresholds())
    'scRMSD < 2 Å, scTM > 0.5, pLDDT > 70'
    """

    rmsd: float = 2.0
    tm: float = 0.5
    plddt: float = 70.0

    def met(self, rmsd: float, tm: float, plddt: float | None) -> bool:
        """Whether a prediction meets all of them; a confidence that is not known is not asked."""
        sure = plddt is None or plddt > self.plddt
        return rmsd < self.rmsd and tm > self.tm and sure

    def __str__(self) -> str:
        """As people write them."""
        return f"scRMSD < {self.rmsd:g} Å, scTM > {self.tm:g}, pLDDT > {self.plddt:g}"


USUAL = Thresholds()


@final
@dataclass(frozen=True)
class Refold:
    """One predicted structure beside its design.

    Attributes:
        design: name of the design.
        sequence: name of the sequence that was folded.
        prediction: the tool's own words for this prediction of the sequence.
        file: the structure, as seen from the folder of predictions.
        chains: chains of the design that it was compared with.
        residues: CA atoms that were compared.
        sc_rmsd: their distance after superposition, Å.
        sc_tm: TM-score of these residues.
        plddt: their mean confidence, 0 to 100; None where it is not known.
        ptm: the tool's predicted TM-score; None where it says nothing.
        iptm: the same of the interfaces.
        passes: whether it meets the thresholds.
    """

    design: str
    sequence: str
    prediction: str
    file: str
    chains: str
    residues: int
    sc_rmsd: float
    sc_tm: float
    plddt: float | None
    ptm: float | None
    iptm: float | None
    passes: bool

    @property
    def rank(self) -> tuple[bool, float, str]:
        """Smaller is better: what passes, then what is closer to the design."""
        return not self.passes, self.sc_rmsd, self.file


@final
@dataclass(frozen=True)
class Refolding:
    """All predictions of a set of designs.

    Attributes:
        folder: where the predictions are.
        thresholds: what was asked of them.
        refolds: every prediction that was compared, in order of design, sequence and file.
        designs: names of all designs, in order.
        unmatched: files that belong to no design.
        left_out: why other files were not compared, by file.
        notes: sentences on what could not be read of a confidence.
    """

    folder: str
    thresholds: Thresholds
    refolds: tuple[Refold, ...]
    designs: tuple[str, ...]
    unmatched: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def of_design(self) -> dict[str, list[Refold]]:
        """The predictions of each design that has some."""
        return _grouped((one.design, one) for one in self.refolds)

    @cached_property
    def best(self) -> dict[str, Refold]:
        """The best prediction of each design that has some."""
        return {name: min(all_, key=_rank) for name, all_ in self.of_design.items()}

    @cached_property
    def best_of_sequence(self) -> dict[str, Refold]:
        """The best prediction of each sequence."""
        grouped = _grouped((one.sequence, one) for one in self.refolds)
        return {name: min(all_, key=_rank) for name, all_ in grouped.items()}

    @property
    def absent(self) -> list[str]:
        """Designs without a prediction."""
        return [name for name in self.designs if name not in self.of_design]

    def columns(self) -> dict[str, dict[str, Any]]:
        """What the table of designs says of each that was refolded: its best prediction."""
        return {name: self._columns(one) for name, one in self.best.items()}

    def _columns(self, best: Refold) -> dict[str, Any]:
        sequences = [one for one in self.best_of_sequence.values() if one.design == best.design]
        figures: dict[str, Any] = {
            "sc_rmsd": best.sc_rmsd,
            "sc_tm": best.sc_tm,
            "plddt": math.nan if best.plddt is None else best.plddt,
            "refold_passes": best.passes,
            "sequences_refolded": len(sequences),
            "sequences_passing": sum(one.passes for one in sequences),
            "refold_file": best.file,
        }
        scores = {"ptm": best.ptm, "iptm": best.iptm}
        return figures | {key: value for key, value in scores.items() if value is not None}

    def summary(self) -> dict[str, int]:
        """Numbers of designs and sequences, and of those that pass."""
        best, sequences = self.best.values(), self.best_of_sequence.values()
        return {
            "designs": len(self.designs),
            "designs_refolded": len(best),
            "designs_passing": sum(one.passes for one in best),
            "sequences": len(sequences),
            "sequences_passing": sum(one.passes for one in sequences),
            "structures": len(self.refolds),
        }

    def remarks(self, directory: Path) -> dict[str, list[str]]:
        """What a user should know of what was not compared: sentences by what they are about.

        Each kind of trouble is one line with its number, and a file that is left out has a line of
        its own while there are few.

        Args:
            directory: the folder of the designs.
        """
        of_files, of_designs = [], []
        if self.unmatched:
            n = len(self.unmatched)
            of_files.append(
                f"{n} structure{'s are' if n > 1 else ' is'} named after no design: "
                f"{few(self.unmatched)}"
            )
        reasons = [f"{file} is left out: {reason}" for file, reason in self.left_out.items()]
        of_files += reasons[:SHOWN]
        if len(reasons) > SHOWN:
            of_files.append(f"{len(reasons) - SHOWN} more structures are left out")
        of_files += self.notes[:SHOWN]
        if self.absent:
            of_designs.append(
                f"{len(self.absent)} of {len(self.designs)} designs have no refolded structure: "
                f"{few(self.absent)}"
            )
        return {self.folder: of_files, str(directory): of_designs}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; `from_json` reads them."""
        best, of_sequence = set(self.best.values()), set(self.best_of_sequence.values())
        return {
            "folder": self.folder,
            "thresholds": asdict(self.thresholds),
            "summary": self.summary(),
            "structures": [
                {
                    **asdict(one),
                    "best_of_sequence": one in of_sequence,
                    "best_of_design": one in best,
                }
                for one in self.refolds
            ],
            "without_refold": self.absent,
            "unmatched": list(self.unmatched),
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any], designs: Iterable[str]) -> Refolding:
        """What `to_json` wrote, of those designs that are still there.

        Args:
            said: the values.
            designs: names of the designs.

        Raises:
            KeyError, TypeError, ValueError: the values are others.
        """
        names = tuple(designs)
        fields = Refold.__dataclass_fields__
        refolds = (
            Refold(**{key: one[key] for key in fields})
            for one in said["structures"]
            if one["design"] in names
        )
        thresholds = Thresholds(**said["thresholds"])
        return cls(str(said["folder"]), thresholds, tuple(refolds), names)


def few(names: Sequence[str]) -> str:
    """The first names of many.

    >>> few(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    more = ", ..." if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _rank(one: Refold) -> tuple[bool, float, str]:
    return one.rank


def _grouped(pairs: Iterable[tuple[str, Refold]]) -> dict[str, list[Refold]]:
    groups: defaultdict[str, list[Refold]] = defaultdict(list)
    for key, one in pairs:
        groups[key].append(one)
    return dict(groups)
