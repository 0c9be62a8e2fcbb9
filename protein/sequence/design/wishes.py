"""What a user wishes of the residues of a structure, as words of the command line.

=========== ======================= ==============================================================
wish        for example             meaning
=========== ======================= ==============================================================
chains      ``A,B``                 chains to design; others are kept as they are
fix         ``B10-20,B35``          residues that are kept
omit_aa     ``CM``                  amino acids that are nowhere drawn
bias_aa     ``A:-0.5,W:0.3``        nats added to the log-probability of amino acids everywhere
omit_at     ``A12:PG,A30-35:C``     amino acids that are not drawn there
only_at     ``A30:DE``              the only ones that are drawn there
tie         ``A1-50=B1-50``         residues that are equal, pairwise in the order given
tie_weight  ``A:1,B:-0.5``          how much each says about what they are tied to
=========== ======================= ==============================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from sciddiff.errors import InputError
from sciddiff.files import read_table

__all__ = ["BiasAt", "Wishes", "amino_acids", "at_places", "biases", "read_biases", "tied_items",
           "weights"]  # fmt: skip

_AT = re.compile(r"(?P<residues>.+):(?P<letters>[A-Za-z]+)")
_NUMBER = re.compile(r"(?P<what>.+):\s*(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)")
_MOST = 50.0  # nats; more is an omission, which --omit-at says exactly


class BiasAt(NamedTuple):
    """Nats added to the log-probability of one amino acid at some residues."""

    residues: str
    letter: str
    nats: float


@final
@dataclass(frozen=True)
class Wishes:
    """What is wished; see the module.

    Attributes:
        bias_at: nats by residue and amino acid.
        symmetric: tie the residues of equal chains.
    """

    chains: str = ""
    fix: str = ""
    omit_aa: str = ""
    bias_aa: str = ""
    omit_at: str = ""
    only_at: str = ""
    tie: str = ""
    tie_weight: str = ""
    bias_at: tuple[BiasAt, ...] = ()
    symmetric: bool = False

    def joined(self, other: Wishes) -> Wishes:
        """These wishes and others; lists are joined, and chains of the other are taken."""
        lists = ("fix", "bias_aa", "omit_at", "only_at", "tie", "tie_weight")
        both = {
            name: ",".join(filter(None, (getattr(self, name), getattr(other, name))))
            for name in lists
        }
        return replace(
            self,
            chains=other.chains or self.chains,
            omit_aa="".join(dict.fromkeys(self.omit_aa + other.omit_aa)),
            bias_at=self.bias_at + other.bias_at,
            symmetric=self.symmetric or other.symmetric,
            **both,
        )

    def words(self) -> list[str]:
        """The wishes as options of the command line; biases by residue as lines of their table."""
        found = []
        for one in fields(self):
            value = getattr(self, one.name)
            option = f"--{one.name.replace('_', '-')}"
            if one.name == "bias_at" or not value:
                continue
            found.append(option if value is True else f'{option} "{value}"')
        if self.bias_at:
            found.append("--bias-at with the table\n  residue,aa,bias")
            found[-1] += "".join(f"\n  {b.residues},{b.letter},{b.nats:g}" for b in self.bias_at)
        return found


def amino_acids(text: str, option: str) -> NDArray[np.bool_]:
    """Which amino acids a word of letters names, by token `[20]`.

    Raises:
        InputError: a sign that is none of the twenty.
    """
    wrong = [sign for sign in text.upper() if sign not in LETTERS]
    if wrong:
        raise InputError(f"{option} {text}: {wrong[0]} is no amino acid; use letters of {LETTERS}")
    return np.isin(list(LETTERS), list(text.upper()))


def biases(text: str, option: str = "--bias-aa") -> NDArray[np.float32]:
    """Nats of each amino acid, by token `[20]`, of ``A:-0.5,W:0.3``.

    Raises:
        InputError: an item that is not understood, or given twice.
    """
    found = np.zeros(len(LETTERS), dtype=np.float32)
    seen = np.zeros(len(LETTERS), dtype=bool)
    for letter, nats in weights(text, option):
        which = amino_acids(letter.upper(), option)
        if len(letter) != 1:
            raise InputError(f"{option} {text!r}: {letter} is no single amino acid; write A:-0.5")
        if (seen & which).any():
            raise InputError(f"{option} {text!r}: {letter} is given twice; keep one")
        seen |= which
        found[which] = _nats(nats, f"{option} {letter}:{nats:g}")
    return found


def at_places(text: str, option: str) -> list[tuple[str, NDArray[np.bool_]]]:
    """Residues and amino acids `[20]` of each item of ``A12:PG,A30-35:C``.

    Items without amino acids share those of the next: ``A12,A14:PG``.

    Raises:
        InputError: an item that is not understood.
    """
    found: list[tuple[str, NDArray[np.bool_]]] = []
    waiting: list[str] = []
    for item in _items(text):
        match = _AT.fullmatch(item)
        if match is None:
            waiting.append(item)
            continue
        letters = amino_acids(match["letters"], f"{option} {item!r}:")
        found += [(residues, letters) for residues in (*waiting, match["residues"])]
        waiting = []
    if waiting:
        raise InputError(
            f"{option} {text!r}: {waiting[0]} has no amino acids behind it; write A12:PG"
        )
    return found


def tied_items(text: str) -> list[list[str]]:
    """Lists of residues that are equal to each other, for each item of ``A1-50=B1-50``.

    Raises:
        InputError: an item without an equals sign.
    """
    found = []
    for item in _items(text):
        sides = [side.strip() for side in item.split("=")]
        if len(sides) < 2 or not all(sides):
            raise InputError(f"--tie {text!r}: {item} ties nothing; write A1-50=B1-50")
        found.append(sides)
    return found


def weights(text: str, option: str) -> list[tuple[str, float]]:
    """Names and numbers of ``A:1,B:-0.5``.

    Raises:
        InputError: an item that is not understood.
    """
    found = []
    for item in _items(text):
        match = _NUMBER.fullmatch(item)
        if match is None:
            raise InputError(f"{option} {text!r}: {item} is not understood; write A:-0.5,B:0.3")
        found.append((match["what"].strip(), float(match["number"])))
    return found


def read_biases(file: Path) -> tuple[BiasAt, ...]:
    """Read a table of nats by residue: columns ``residue,aa,bias``, or ``residue`` and one for
    each amino acid.

    Raises:
        InputError: other columns, or a cell that is not a number.
    """
    rows = read_table(file)
    columns = list(rows[0]) if rows else []
    long = {"residue", "aa", "bias"} <= set(columns)
    wide = [name for name in columns if name != "residue"]
    if "residue" not in columns or not (long or (wide and set(wide) <= set(LETTERS))):
        raise InputError(
            f"{file}: its columns are {', '.join(columns) or 'none'}; give residue,aa,bias, or "
            "residue and one for each amino acid"
        )
    found = []
    for number, row in enumerate(rows, start=2):
        cells = [(row["aa"], row["bias"])] if long else [(name, row[name]) for name in wide]
        for letter, cell in cells:
            where = f"{file}: row {number}, {letter}"
            if letter.strip().upper() not in tuple(LETTERS):
                raise InputError(f"{where} is no amino acid; use letters of {LETTERS}")
            if cell.strip():
                nats = _nats(_float(cell, where), where)
                found.append(BiasAt(row["residue"].strip(), letter.strip().upper(), nats))
    return tuple(found)


def _items(text: str) -> Sequence[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _float(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError(f"{where}: {cell!r} is not a number; give nats") from None


def _nats(value: float, where: str) -> float:
    if not abs(value) <= _MOST:  # NaN is not, either
        raise InputError(
            f"{where}: a bias is a number from -{_MOST:g} to {_MOST:g} nats; to rule an amino "
            "acid out, use --omit-aa or --omit-at"
        )
    return value
