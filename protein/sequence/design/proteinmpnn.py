"""Dictionaries of ProteinMPNN (JSON, one object a line) as wishes in our words.

What a file holds is told by its shape, so that one option reads all kinds:

================= ===============================================================
dictionary        for example
================= ===============================================================
`chain_id`        ``{"3HTN": [["A", "B"], ["C"]]}``: designed, fixed chains
`fixed_positions` ``{"3HTN": {"A": [1, 2, 3], "B": []}}``
`tied_positions`  ``{"3HTN": [{"A": [1], "B": [1]}, ...]}``, with weights
                  ``{"A": [[1], [1.0]], "B": [[1], [-0.5]]}``
`omit_AA`         ``{"3HTN": {"A": [[[1, 2], "PG"], [[7], "C"]]}}``
`bias_by_res`     ``{"3HTN": {"A": [[21 numbers], ...]}}``
`bias_AA`         ``{"A": -1.1, "F": 0.7}``, of all structures
================= ===============================================================

Positions count the residues of a chain from 1. ProteinMPNN counts those of its own parser, which
puts a gap into the numbering where residues are missing (X); so do we, by the author's numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.residues import Residues
from protein.sequence.design.wishes import BiasAt, Wishes
from sciddiff.errors import InputError, nearest, reading
from sciddiff.files import read_text

__all__ = ["read_dictionary", "wishes_of"]

Entry = tuple[Path, str, Any]
"""File, name of the structure (empty for all), and what is said of it."""

_WIDE = len(LETTERS) + 1  # with X
_NONE_BELOW = -1e5  # a bias so low is an omission


def read_dictionary(file: Path) -> list[Entry]:
    """Read one dictionary.

    Raises:
        InputError: not JSON, or not an object on every line.
    """
    text = read_text(file, "a dictionary of ProteinMPNN")
    found: list[Entry] = []
    with reading(file, "a dictionary of ProteinMPNN", "give JSON, one object a line"):
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict):
            raise InputError(
                f"{file}: line {number} is no object; give a dictionary of ProteinMPNN such as "
                '{"name": {"A": [1, 2]}}'
            )
        if line and all(isinstance(value, int | float) for value in line.values()):
            found.append((file, "", line))
        else:
            found += [(file, str(name), value) for name, value in line.items()]
    return found


def wishes_of(entries: Sequence[Entry], name: str, residues: Residues) -> Wishes:
    """What the dictionaries say of one structure, in our words.

    Args:
        entries: of `read_dictionary`.
        name: the structure's name; its file's stem.
        residues: its residues.

    Raises:
        InputError: an entry of no known shape, a chain or position that is not there, or
            dictionaries without this structure.
    """
    found, mine = Wishes(), [entry for entry in entries if entry[1] in ("", name)]
    for file in dict.fromkeys(entry[0] for entry in entries):
        if all(entry[0] != file for entry in mine):
            names = {entry[1] for entry in entries if entry[0] == file}
            raise InputError(f"{file}: says nothing of {name}; {nearest(name, names)}")
    for file, _, value in mine:
        try:
            found = found.joined(_wishes(value, residues, f"{file}: {name}"))
        except (TypeError, ValueError, KeyError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{file}: what it says of {name} is no dictionary of ProteinMPNN; give "
                "chain_id, fixed_positions, tied_positions, omit_AA, bias_by_res or bias_AA"
            ) from error
    return found


def _wishes(value: Any, residues: Residues, where: str) -> Wishes:
    if isinstance(value, Mapping) and all(isinstance(v, int | float) for v in value.values()):
        kept = {letter: nats for letter, nats in value.items() if letter != "X" and nats}
        return Wishes(bias_aa=",".join(f"{letter}:{nats:g}" for letter, nats in kept.items()))
    if isinstance(value, Sequence):
        if all(isinstance(one, Mapping) for one in value):
            return _tied(value, residues, where)
        designed, _ = value
        return Wishes(chains=",".join(map(str, designed)))
    found = Wishes()
    for chain, said in value.items():
        found = found.joined(_of_chain(str(chain), said, residues, where))
    return found


def _of_chain(chain: str, said: Sequence[Any], residues: Residues, where: str) -> Wishes:
    """What is said of one chain: positions, omissions, or a table of biases."""
    if not said:
        return Wishes()
    if all(isinstance(one, int) for one in said):
        rows = [_row(residues, chain, one, where) for one in said]
        return Wishes(fix=residues.words(rows))
    if all(len(one) == 2 and isinstance(one[1], str) for one in said):
        items = []
        for positions, letters in said:
            rows = [_row(residues, chain, one, where) for one in positions]
            kept = letters.upper().replace("X", "")
            if rows and kept:
                items.append(f"{residues.words(rows)}:{kept}")
        return Wishes(omit_at=",".join(items))
    table = np.asarray(said, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != _WIDE:
        raise InputError(
            f"{where}, chain {chain}: the table has shape {table.shape}; give {_WIDE} numbers for "
            "every residue"
        )
    return _biased(chain, table, residues, where)


def _biased(chain: str, table: np.ndarray, residues: Residues, where: str) -> Wishes:
    nats, omitted = [], []
    for place, column in np.argwhere(table[:, : len(LETTERS)] != 0.0).tolist():
        label = residues.words([_row(residues, chain, place + 1, where)])
        value = float(table[place, column])
        if value < _NONE_BELOW:
            omitted.append(f"{label}:{LETTERS[column]}")
        else:
            nats.append(BiasAt(label, LETTERS[column], value))
    return Wishes(omit_at=",".join(omitted), bias_at=tuple(nats))


def _tied(value: Sequence[Mapping[str, Any]], residues: Residues, where: str) -> Wishes:
    ties, weights = [], []
    for one in value:
        places = list(_places(one))
        words = [residues.words([_row(residues, c, p, where)]) for c, p, _ in places]
        if len(words) > 1:
            ties.append("=".join(words))
        weights += [
            f"{word}:{w:g}" for word, (_, _, w) in zip(words, places, strict=True) if w != 1
        ]
    return Wishes(tie=",".join(ties), tie_weight=",".join(weights))


def _places(group: Mapping[str, Any]) -> Iterator[tuple[str, int, float]]:
    """Chain, position and weight of everything in a group."""
    for chain, said in group.items():
        if said and isinstance(said[0], Sequence):
            positions, weights = said
            yield from ((str(chain), p, float(w)) for p, w in zip(positions, weights, strict=True))
        else:
            yield from ((str(chain), p, 1.0) for p in said)


def _row(residues: Residues, chain: str, position: int, where: str) -> int:
    """Row of a position of a chain, counted from 1, gaps of the numbering included.

    Raises:
        InputError: no such chain, or no residue there.
    """
    ids = [one.chain_id for one in residues.chains]
    if chain not in ids:
        raise InputError(
            f"{where}: no chain {chain} in {residues.source}; it has {', '.join(ids)}"
        )
    one = residues.chains[ids.index(chain)]
    numbers = one.residue_numbers
    # Residues with insertion codes share a number and count one by one.
    same = np.concatenate([[0], np.cumsum(np.diff(numbers) == 0)])
    places = numbers - numbers[0] + 1 + same
    hits = np.flatnonzero(places == position)
    if not len(hits):
        raise InputError(
            f"{where}: chain {chain} has no residue at position {position}; its positions are 1 "
            f"to {places[-1]}, residues {one.number_ranges()}"
        )
    return int(np.searchsorted(residues.chain_of, ids.index(chain)) + hits[0])
