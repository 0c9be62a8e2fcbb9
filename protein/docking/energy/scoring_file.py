"""Scoring functions by name, or from a file of weights."""

from dataclasses import fields, replace
from pathlib import Path

from protein.docking.energy.smina_terms import is_smina, read_smina
from protein.docking.energy.terms import SCORINGS, VINA, VinaWeights
from sciddiff.errors import InputError, nearest
from sciddiff.files import read_text

_BASE = "base"
# Names of Vina's own options for the weights.
_ALIASES = {"weight_hydrogen": "hbond", "weight_rot": "rotors", "hydrogen": "hbond"}
_LARGEST = 1e3


def find_scoring(name: str) -> VinaWeights:
    """A scoring function by its name, or by a file of lines ``key = value``.

    Keys are the weights and shapes of ``VinaWeights`` (``gauss1``, ``rotors``, ``width`` …), in
    Vina's spelling as well (``weight_gauss1``, ``weight_rot``), and ``base``, whose other values
    are kept: ``vina`` (the default) or ``vinardo``. What follows ``#`` is a comment. A file in the
    language of smina is understood as well, see ``energy.smina_terms``.

    Args:
        name: ``vina``, ``vinardo`` or a file.

    Raises:
        InputError: there is no such file, or a line of it is not understood.
    """
    if name in SCORINGS:
        return SCORINGS[name]
    path = Path(name)
    if not path.is_file():
        known_names = ", ".join(SCORINGS)
        raise InputError(f"scoring {name}: is none of {known_names}, and no file; correct it")
    known = {f.name for f in fields(VinaWeights)} - {"radii"}
    base, values = VINA, dict[str, float]()
    lines = read_text(path, "a file of weights").splitlines()
    lines = [line.partition("#")[0].strip() for line in lines]
    if is_smina(lines):
        return read_smina(path, lines)
    for number, text in enumerate(lines, 1):
        if not text:
            continue
        key, equals, value = (word.strip() for word in text.partition("="))
        if key == _BASE and value in SCORINGS:
            base = SCORINGS[value]
            continue
        key = _ALIASES.get(key, key.removeprefix("weight_"))
        if not equals or key not in known:
            raise InputError(f"{path}: line {number}: {text!r} sets no weight; "
                             f"{nearest(key, known | {_BASE})}")  # fmt: skip
        values[key] = _number(path, number, value)
    made = replace(base, **values)
    falls = made.hydrophobic_none > made.hydrophobic_full
    if not (made.width > 0 > made.hbond_full and falls):
        raise InputError(
            f"{path}: width must be above 0, hbond_full below 0, and hydrophobic_none above "
            "hydrophobic_full; correct them"
        )
    if made.rotors < 0:
        raise InputError(f"{path}: rotors must not be below 0; correct it")
    return made


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = _LARGEST + 1
    if not abs(value) <= _LARGEST:
        raise InputError(f"{path}: line {line}: {text!r} is not a number up to {_LARGEST:g}")
    return value
