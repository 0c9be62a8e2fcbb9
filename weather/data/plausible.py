"""Whether values can be what names and units say: by the mean of every field, and by every value.

A mean tells units apart (geopotential from height, Celsius from kelvin). A single value tells a
fill value without its attribute, a field that was never written, or another unit from some date
on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.channels import VARIABLES, Channel
from weather.data.matching import Match
from weather.data.rectangles import position
from weather.data.times import label
from weather.data.units import CONVERSIONS, Conversion, normal_units

__all__ = ["check_units", "check_values", "standard_height"]

Floats = NDArray[np.float64]

_EXTREMES: Final[dict[str, tuple[float, float]]] = {
    "t": (100, 400), "u": (-300, 300), "v": (-300, 300), "w": (-200, 200), "q": (-0.01, 0.1),
    "r": (-30, 250), "vo": (-0.1, 0.1), "d": (-0.1, 0.1), "pv": (-10, 10), "o3": (-1e-5, 1e-3),
    "clwc": (-1e-3, 0.1), "ciwc": (-1e-3, 0.1), "mslp": (8e4, 1.2e5), "sp": (2.5e4, 1.2e5),
    "tas": (140, 370), "tasmax": (140, 380), "tasmin": (140, 370), "q2m": (-0.01, 0.1),
    "r2m": (-30, 250), "d2m": (120, 330), "skt": (140, 400), "sst": (260, 330),
    "sic": (-0.1, 1.1), "tp": (-1, 2e4), "pr": (-1e-3, 0.2), "tcwv": (-5, 200),
    "u10": (-150, 150), "v10": (-150, 150), "u100m": (-170, 170), "v100m": (-170, 170),
    "tcc": (-0.1, 1.1), "rlut": (20, 600),
}  # fmt: skip
"""Smallest and largest value at any point, with room for other planets and for packing."""

_SAME_QUANTITY: Final = {"tp": "pr", "pr": "tp"}
"""Amount and rate of precipitation share their names in files, and nothing else."""


def standard_height(level_hPa: float) -> float:  # noqa: N803 - a unit keeps its letters
    """Height of a pressure level in the ICAO standard atmosphere, m (isothermal above 11 km)."""
    if level_hPa > 226.32:
        return 44330.8 * (1.0 - (level_hPa / 1013.25) ** 0.190263)
    return 11000.0 + 6341.6 * float(np.log(226.32 / level_hPa))


def check_units(found: Match, raw_mean: float, when: str = "") -> None:
    """Refuse a field whose mean cannot be in the units it is said to be in.

    Args:
        found: Its channel, source and conversion.
        raw_mean: Mean of a field as it is in the file.
        when: Its time, where earlier fields were plausible.

    Raises:
        InputError: No units, or others than the values suggest; names the ones that would do.
    """
    c, name = found.channel, found.source
    if found.conversion is not None:
        mean = found.conversion(np.asarray([raw_mean]))[0]
        if not np.isfinite(mean) or _plausible(c, float(mean)):
            return
    at = f" at {when}" if when else ""
    fits = [unit for unit in _units_for(c.units) if _plausible(c, _to(unit, c, raw_mean))]
    hint = f"say --units {name}='{fits[0]}'" if fits else f"say --units {name}=UNITS"
    if found.conversion is None:
        said = found.units.strip()
        other = _other_quantity(c, said)
        if other:
            raise InputError(
                f"{name}: in {said}, which is no unit of {c.long_name} ({c.name}, {c.units}) but "
                f"one of {VARIABLES[other].long_name}; say --rename {name}={other}"
            )
        fit = f", which fits {' and '.join(fits)}" if fits else ""
        what = f"units {said!r} do not become" if said else "no units to convert to"
        raise InputError(
            f"{name}: {what} {c.units} ({c.name}); its mean is {raw_mean:.4g}{fit}; {hint}"
        )
    if when and fits:
        raise InputError(
            f"{name}: a mean of {raw_mean:.4g} {found.units}{at} is not plausible for {c.name}, "
            f"{c.long_name}, but {fits[0]} would be; {hint}, or if the units change with time, "
            "prepare the two periods apart (--period)"
        )
    if fits:
        raise InputError(
            f"{name}: a mean of {raw_mean:.4g} {found.units} is not plausible for {c.name}, "
            f"{c.long_name}, but {fits[0]} would be; {hint}"
        )
    raise InputError(
        f"{name}: a mean of {raw_mean:.4g} {found.units}{at} is not plausible for {c.name}, "
        f"{c.long_name}; correct it with --rename or --units, or say --any-values"
    )


def check_values(
    found: Match, fields: NDArray[Any], weights: Floats, times: NDArray[Any], lat: Floats,
    lon: Floats,
) -> None:  # fmt: skip
    """Judge every value of some fields, and the mean of each.

    Args:
        found: Channel, source and conversion.
        fields: In the channel's units, NaN where missing `[n, h, w]`.
        weights: Area of the rows `[h]`.
        times: Of the fields `[n]`.
        lat: Of the rows, for the message.
        lon: Of the columns, for the message.

    Raises:
        InputError: A value no atmosphere has, or a mean that suggests other units.
    """
    c, known = found.channel, np.isfinite(fields)
    low, high = _extremes(c)
    bad = known & ~((fields >= low) & (fields <= high))
    if not bad.any() and c.variable not in VARIABLES:
        return
    area = weights[:, None] * known
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (np.where(known, fields, 0.0) * area).sum((1, 2)) / area.sum((1, 2))
    for n in np.flatnonzero(bad.any((1, 2)) | ~_all_plausible(c, means)):
        if not bad[n].any() or bad[n].mean() > 0.5:
            # Most of the field is wrong: another unit, if one fits.
            raw = _back(found, float(means[n]))
            check_units(found, raw, label(times[n]))
        if bad[n].any():
            i, j = (int(k) for k in np.unravel_index(int(bad[n].argmax()), bad[n].shape))
            raise InputError(_value_line(found, fields[n], bad[n], times[n], lat[i], lon[j], i, j))


def _value_line(
    found: Match, field: NDArray[Any], bad: NDArray[np.bool_], time: Any, lat: float, lon: float,
    i: int, j: int,
) -> str:  # fmt: skip
    c, raw = found.channel, _back(found, float(field[i, j]))
    low, high = _extremes(c)
    where = "everywhere" if bad.all() else f"at {position(lat, lon)}"
    share = "" if bad.all() else f" and {bad.mean():.2%} of the field"
    return (
        f"{found.source}: {raw:.6g} {found.units} {where}{share} at {label(time)} is no value of "
        f"{c.name}, {c.long_name} ({low:.4g} to {high:.4g} {c.units}); if it marks missing "
        f"values, say --missing {found.source}={raw:.6g}, or say --any-values"
    )


def _back(found: Match, value: float) -> float:
    """A value of the channel as it is in the file."""
    how = found.conversion or Conversion()
    return (value - how.offset) / how.scale


def _extremes(c: Channel) -> tuple[float, float]:
    if c.variable == "z" and c.level_hPa is not None:
        expected = standard_height(c.level_hPa)
        room = max(3000.0, 0.5 * expected)
        return expected - room, expected + room
    return _EXTREMES.get(c.variable, (-np.inf, np.inf))


def _other_quantity(c: Channel, units: str) -> str:
    """The quantity these are units of, where it goes by the same names in files."""
    other = _SAME_QUANTITY.get(c.variable)
    if other is None or not units:
        return ""
    target = VARIABLES[other].units
    known = (normal_units(units), target) in CONVERSIONS or normal_units(units) == target
    return other if known else ""


def _units_for(units: str) -> list[str]:
    return [units, *(source for source, target in CONVERSIONS if target == units)]


def _to(unit: str, c: Channel, value: float) -> float:
    how = CONVERSIONS.get((unit, c.units), Conversion())
    return float(how(np.asarray([value]))[0])


def _plausible(c: Channel, mean: float) -> bool:
    return bool(_all_plausible(c, np.asarray([mean]))[0])


def _all_plausible(c: Channel, means: Floats) -> NDArray[np.bool_]:
    """Whether means can be of the channel; those of fields that are missing can."""
    variable = VARIABLES.get(c.variable)
    if variable is None:
        return np.ones(len(means), dtype=bool)
    low, high = variable.low, variable.high
    if variable.name == "z" and c.level_hPa is not None:
        expected = standard_height(c.level_hPa)
        room = max(600.0, 0.2 * expected)
        low, high = expected - room, expected + room
    return ~np.isfinite(means) | ((means >= low) & (means <= high))
