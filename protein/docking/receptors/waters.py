"""Which groups of a file are kept beside the protein, and its waters.

A list such as ``GDP,HOH:3.5,A:301`` keeps groups by name, waters by their distance from the box,
and single residues by chain and number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.structures.residues import WATERS
from sciddiff.errors import InputError

_LABEL = re.compile(r"^[^:]*:-?\d+[A-Za-z]?$")


@dataclass(frozen=True)
class KeptGroups:
    """What is kept of a file.

    Attributes:
        names: names of groups, and labels of residues such as ``A:301``.
        reach: largest distance of a kept water from the box, Å; None for any.
    """

    names: frozenset[str]
    reach: float | None = None


def kept_groups(text: str, reach: bool = False) -> KeptGroups:
    """Understand a list of groups to keep.

    >>> sorted(kept_groups("gdp, A:301").names)
    ['A:301', 'GDP']
    >>> kept_groups("HOH:3.5", reach=True).reach
    3.5

    Args:
        text: such as ``GDP,HOH:3.5,A:301``; labels of residues keep their case.
        reach: whether there is a box, from which a distance can be meant.

    Raises:
        InputError: a word that is neither a name, nor a label, nor waters with a distance.
    """
    names: set[str] = set()
    within: float | None = None
    for word in (word.strip() for word in text.split(",")):
        name, colon, number = word.partition(":")
        if not colon:
            names |= {word.upper()} - {""}
        elif name.upper() in WATERS:
            within = _distance(word, number)
            if not reach:
                raise InputError(f"keep: {word!r}: there is no box here; write {name}")
            names.add(name.upper())
        elif _LABEL.match(word):
            names.add(word)
        else:
            raise InputError(
                f"keep: {word!r} is neither a group (GDP), nor a residue (A:301), nor waters near "
                "the box (HOH:3.5)"
            )
    return KeptGroups(frozenset(names), within)


def refuse_absent(file: Path, receptor: Receptor, names: frozenset[str]) -> None:
    """Refuse a group that was to be kept by its name and is not there: a typing error.

    Args:
        file: of the receptor, for the message.
        receptor: as it was read, with the groups that are kept.
        names: names of groups, and labels of residues; waters may be absent.

    Raises:
        InputError: a name that no group of the receptor has.
    """
    there = set(receptor.resnames)
    absent = sorted(n for n in names - WATERS - there if ":" not in n and n != "*")
    if absent:
        dropped = next((n for n in receptor.notes if n.startswith("groups dropped")), "")
        others = dropped or "it holds no group that is not kept anyway"
        raise InputError(
            f"keep: {', '.join(absent)}: no such group is in {file} ({others}); correct the name, "
            "or leave it out"
        )


def _distance(word: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 100.0:
        raise InputError(f"keep: {word!r} is not waters and a distance in Å; write HOH:3.5")
    return value


def is_water(receptor: Receptor) -> NDArray[np.bool_]:
    """Which atoms are of waters `[M]`."""
    return np.isin(receptor.resnames, sorted(WATERS))


def with_near_waters(receptor: Receptor, boxes: Sequence[Box], kept: KeptGroups) -> Receptor:
    """The receptor without the waters that are too far from every box; a note counts the others.

    Args:
        receptor: with all its waters.
        boxes: where ligand atoms may be.
        kept: what is kept; waters that it names one by one stay.
    """
    if kept.reach is None:
        return receptor
    water = is_water(receptor)
    gap = np.min([box.distance(receptor.coords) for box in boxes], axis=0)
    far = water & (gap > kept.reach) & ~np.isin(receptor.residues, sorted(kept.names))
    count = int((water & ~far).sum())
    note = f"{count} of {int(water.sum())} waters are within {kept.reach:g} Å of the box, and kept"
    left = receptor.select(~far)
    notes = (*(text for text in receptor.notes if not text.endswith("waters kept")), note)
    return replace(left, notes=notes)
