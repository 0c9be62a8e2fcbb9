"""Scoring functions in the language of smina and GNINA: a weight and a term on each line.

    -0.035579    gauss(o=0,_w=0.5,_c=8)
    -0.005156    gauss(o=3,_w=2,_c=8)
    0.840245     repulsion(o=0,_c=8)
    -0.035069    hydrophobic(g=0.5,_b=1.5,_c=8)
    -0.587439    non_dir_h_bond(g=-0.7,_b=0,_c=8)
    1.923        num_tors_div

Terms that are not there weigh nothing. Those of other kinds and shapes have no like here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protein.docking.energy.terms import VinaWeights
from sciddiff.errors import InputError

__all__ = ["is_smina", "read_smina"]

_LINE = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s+([a-z_]+)\s*(?:\(([^)]*)\))?")
_CUTOFF = 8.0
_KNOWN = "gauss, repulsion, hydrophobic, non_dir_h_bond and num_tors_div"


def is_smina(lines: Sequence[str]) -> bool:
    """Whether a file is in this language, by its first line that says something.

    Args:
        lines: its lines, without comments.
    """
    first = next((line for line in lines if line), "")
    return _LINE.fullmatch(first) is not None


def read_smina(path: Path, lines: Sequence[str]) -> VinaWeights:
    """Read a scoring function.

    >>> lines = ["-0.03 gauss(o=0,_w=0.5,_c=8)", "1.923 num_tors_div"]
    >>> made = read_smina(Path("x"), lines)
    >>> made.gauss1, made.gauss2, round(made.rotors, 5)
    (-0.03, 0.0, 0.05846)

    Args:
        path: the file, for messages.
        lines: its lines, without comments.

    Raises:
        InputError: a line is none of a weight and a term, is of a term or a shape that there is
            not, or gives a term again.
    """
    values: dict[str, Any] = dict.fromkeys(
        ("gauss1", "gauss2", "repulsion", "hydrophobic", "hbond", "rotors"), 0.0
    )
    given: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        place = f"{path}: line {number}: {line!r}"
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(f"{place} is not a weight and a term, as 0.84 repulsion(o=0,_c=8)")
        name, set_ = _term(place, float(found[1]), found[2], _shape(place, found[3] or ""))
        if name in given:
            raise InputError(f"{place} gives the term of line {given[name]} again; leave one out")
        given[name] = number
        values |= set_
    return VinaWeights(**values)


def _shape(place: str, text: str) -> dict[str, float]:
    """The parameters of a term, without the underscores of their names."""
    shape: dict[str, float] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        key, _, value = word.partition("=")
        try:
            shape[key.strip().lstrip("_")] = float(value)
        except ValueError as error:
            raise InputError(f"{place}: {word!r} is not NAME=NUMBER; correct it") from error
    if shape.pop("c", _CUTOFF) != _CUTOFF:
        raise InputError(f"{place}: the cut-off is {_CUTOFF:g} Å here; write _c=8")
    return shape


def _term(
    place: str, weight: float, term: str, shape: dict[str, float]
) -> tuple[str, dict[str, float]]:
    """Name of a term here, and what the line sets."""
    o, w, g, b = (shape.get(key, 0.0) for key in ("o", "w", "g", "b"))
    if term == "gauss" and o == 0.0 and w > 0.0:
        return "gauss1", {"gauss1": weight, "width": w}
    if term == "gauss" and (o, w) == (3.0, 2.0):
        return "gauss2", {"gauss2": weight}
    if term == "repulsion" and o == 0.0:
        return "repulsion", {"repulsion": weight}
    if term == "hydrophobic" and g < b:
        return term, {term: weight, "hydrophobic_full": g, "hydrophobic_none": b}
    if term == "non_dir_h_bond" and b == 0.0 and g < 0.0:
        return "hbond", {"hbond": weight, "hbond_full": g}
    if term == "num_tors_div" and not shape and weight >= -1.0:
        return "rotors", {"rotors": 0.1 * (weight + 1.0) / 5.0}
    raise InputError(
        f"{place}: has no like here; terms are {_KNOWN}, with the shapes of Vina or Vinardo"
    )
