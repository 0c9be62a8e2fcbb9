"""Units as files spell them, and every conversion there is.

A conversion is linear, ``canonical = scale * value + offset``. Nothing is guessed from numbers:
a pair of units that is not listed here is an error that names the variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

import numpy as np

__all__ = ["CONVERSIONS", "GRAVITY", "Conversion", "conversion", "normal_units"]

GRAVITY: Final = 9.80665
"""Standard gravity, m s-2: geopotential over geopotential height."""

_SYNONYMS: Final = {
    "K": ("kelvin", "kelvins", "degk", "deg k", "degree_kelvin", "degrees kelvin"),
    "degC": ("c", "celsius", "deg c", "degree_celsius", "degrees_celsius", "degree_c", "degc",
             "degrees celsius", "degrees c", "°c"),
    "degF": ("f", "fahrenheit", "degf", "deg f", "degrees_fahrenheit", "°f"),
    "Pa": ("pascal", "pascals"),
    "hPa": ("mb", "mbar", "millibar", "millibars", "hectopascal", "hectopascals"),
    "kPa": ("kilopascal", "kilopascals"),
    "m": ("gpm", "meter", "meters", "metre", "metres", "m of water equivalent", "geopotential m"),
    "dam": ("gpdam", "dm", "decametre", "decameter"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "cm": ("centimetre", "centimeter"),
    "%": ("percent", "percentage"),
    "1": ("", "-", "(0 - 1)", "fraction", "dimensionless", "proportion", "0-1", "(0-1)"),
    "kg kg-1": ("kgkg-1", "kg kg^-1"),
    "g kg-1": ("gkg-1",),
    "m s-1": ("meter/second", "metres per second", "meters per second", "mps"),
    "knot": ("kt", "kts", "knots"),
    "mm day-1": ("mm d-1", "mm/d"),
    "mm h-1": ("mm hr-1", "mm hour-1"),
}  # fmt: skip
_BY_NAME: Final = {
    name: unit for unit, names in _SYNONYMS.items() for name in (*names, unit.lower())
}


@final
@dataclass(frozen=True)
class Conversion:
    """``canonical = scale * value + offset``."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Convert, in the precision of the values."""
        if self == Conversion():
            return values
        kind = values.dtype.type
        return values * kind(self.scale) + kind(self.offset)


CONVERSIONS: Final[dict[tuple[str, str], Conversion]] = {
    ("m2 s-2", "m"): Conversion(1.0 / GRAVITY),
    ("dam", "m"): Conversion(10.0),
    ("km", "m"): Conversion(1000.0),
    ("degC", "K"): Conversion(1.0, 273.15),
    ("degF", "K"): Conversion(5.0 / 9.0, 273.15 - 32.0 * 5.0 / 9.0),
    ("hPa", "Pa"): Conversion(100.0),
    ("kPa", "Pa"): Conversion(1000.0),
    ("hPa s-1", "Pa s-1"): Conversion(100.0),
    ("knot", "m s-1"): Conversion(1852.0 / 3600.0),
    ("km h-1", "m s-1"): Conversion(1.0 / 3.6),
    ("cm s-1", "m s-1"): Conversion(0.01),
    ("g kg-1", "kg kg-1"): Conversion(1e-3),
    ("1", "kg kg-1"): Conversion(),
    ("%", "1"): Conversion(0.01),
    ("1", "%"): Conversion(100.0),
    # Water on the ground: 1 mm is 1 kg m-2.
    ("mm", "kg m-2"): Conversion(),
    ("cm", "kg m-2"): Conversion(10.0),
    ("m", "kg m-2"): Conversion(1000.0),
    ("mm day-1", "kg m-2 s-1"): Conversion(1.0 / 86400.0),
    ("mm h-1", "kg m-2 s-1"): Conversion(1.0 / 3600.0),
    ("mm s-1", "kg m-2 s-1"): Conversion(),
    ("m s-1", "kg m-2 s-1"): Conversion(1000.0),
}
"""Every conversion, by (units of the file, units of the channel)."""


def normal_units(text: str) -> str:
    """Spell units one way: powers bare, divisions as negative powers, synonyms replaced.

    ``m**2 s**-2``, ``m^2/s^2`` and ``m2 s-2`` are all ``m2 s-2``.
    """
    plain = " ".join(str(text).split())
    if plain.lower() in _BY_NAME:
        return _BY_NAME[plain.lower()]
    plain = plain.replace("**", "").replace("^", "").replace("·", " ").replace("*", " ")
    top, *below = plain.split("/")
    words = [w for w in top.split() if w != "1"]
    for part in below:
        for i, word in enumerate(part.split()):
            words.append(_inverse(word) if i == 0 else word)
    plain = " ".join(words)
    return _BY_NAME.get(plain.lower(), plain)


def conversion(source: str, target: str) -> Conversion | None:
    """Conversion between two spellings of units; None where there is none."""
    first, second = normal_units(source), normal_units(target)
    if first == second or set(first.split()) == set(second.split()):
        return Conversion()
    return CONVERSIONS.get((first, second))


def _inverse(word: str) -> str:
    match = re.fullmatch(r"([A-Za-z%]+)(\d*)", word)
    if match is None:
        return word
    return f"{match[1]}-{match[2] or 1}"
