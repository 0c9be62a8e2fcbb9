"""Which design a predicted structure belongs to, by the names that prediction tools write.

Tools keep the name of the sequence, replace what a file's name should not hold, and add words of
their own after it: ``NAME_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000.pdb`` (ColabFold),
``NAME/NAME_model_0.cif`` (Boltz), ``NAME/pred.model_idx_0.cif`` (Chai), ``NAME.pdb`` (ESMFold),
``NAME/seed-1_sample-0/model.cif`` (AlphaFold 3), ``NAME/ranked_0.pdb`` (AlphaFold 2). Names of
sequences begin with the name of their design, so the design is the longest name with which a
sequence's name begins, up to something that is neither letter nor digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

# A file with one of these names says nothing of its design: its folder does.
_NAMELESS = re.compile(
    r"(?:un)?relaxed\b.*|(?:un)?relaxed_.*|ranked_?\d+|rank_?\d+.*|pred(?:iction)?(?:[._-].*)?"
    r"|(?:seed-\d+_sample-\d+_)?model(?:[._-].*)?|ptm[\d.]+_r\d+.*|structure|result",
    re.IGNORECASE,
)
# What tools put after the name of a sequence.
_TAGS = re.compile(
    r"[_.-](?:(?:un)?relaxed(?:[_.-].*)?|rank(?:ed)?_?\d+.*"
    r"|(?:seed-\d+_sample-\d+_)?model(?:_\d+)?|esmfold)$",
    re.IGNORECASE,
)
# Folders of a name that stand between a prediction and the folder of its sequence.
_BETWEEN = re.compile(r"(?:trunk|seed|sample)[_-].*", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Match:
    """What the name of a predicted structure says.

    Attributes:
        design: the name of the design.
        sequence: the name of the sequence, which begins with that of the design.
        prediction: the tool's own words for this prediction; empty where there are none.
    """

    design: str
    sequence: str
    prediction: str


class DesignNames:
    """Finds designs by names that begin with theirs.

    Args:
        names: the designs.

    >>> names = DesignNames(["design_0001", "design_0001_b", "T0.1 x"])
    >>> names.match("design_0001_s2_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000")
    Match(design='design_0001', sequence='design_0001_s2', \
prediction='unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000')
    >>> names.match("design_0001_b_model_0").design
    'design_0001_b'
    >>> names.match("T0.1_x, T=0.1, sample=2").sequence
    'T0.1_x, T=0.1, sample=2'
    >>> names.match("design_00011") is None
    True
    >>> names.match("pred.model_idx_0", ["trunk_0", "design_0001_s3", "chai"])
    Match(design='design_0001', sequence='design_0001_s3', prediction='trunk_0/pred.model_idx_0')
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {_plain(name): name for name in sorted(names, reverse=True)}

    def match(self, stem: str, folders: Sequence[str] = ()) -> Match | None:
        """The design, the sequence and the prediction of a file, or None.

        Args:
            stem: name of the file without the suffix of its format.
            folders: names of the folders that hold it, the nearest first.
        """
        design = self._design(stem)
        if design is not None:
            tags = _TAGS.search(stem, len(design))
            sequence = stem[: tags.start()] if tags else stem
            return Match(design, sequence, stem[len(sequence) :].strip("_.-"))
        if not _NAMELESS.fullmatch(stem):
            return None
        between: list[str] = []
        for folder in folders:
            if not _BETWEEN.fullmatch(folder):
                design = self._design(folder)
                words = "/".join([*between[::-1], stem])
                return None if design is None else Match(design, folder, words)
            between.append(folder)
        return None

    def _design(self, text: str) -> str | None:
        """The longest name with which a text begins."""
        plain = _plain(text)
        ends = (n for n in range(len(plain), 0, -1) if not plain[n : n + 1].isalnum())
        return next((self._names[plain[:n]] for n in ends if plain[:n] in self._names), None)


def _plain(name: str) -> str:
    """A name as tools write it, letter by letter: lower case, ``_`` for what is unusual."""
    kept = (c if c.isalnum() or c in ".-" else "_" for c in name)
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in kept)
