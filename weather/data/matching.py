"""Which field of a data set is which channel, in which units, and what was left out and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from sciddiff.errors import InputError
from weather.data.channels import (
    VARIABLES,
    Channel,
    Variable,
    channel,
    find_by_alias,
    find_by_standard_name,
    parse_channel,
)
from weather.data.levels import pressure_levels
from weather.data.units import Conversion, conversion

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Left", "Match", "Matching", "check_names", "match"]

_LEVEL = re.compile(r"(?<![\d.])(\d{1,4}(?:\.\d+)?)\s*-?\s*(?:hPa|mbar|mb|millibars?)\b", re.I)
_PASCAL = re.compile(r"(?<![\d.])(\d{3,6}(?:\.\d+)?)\s*-?\s*Pa\b", re.I)
_HEIGHT = re.compile(r"(?<![\d.])(\d+)\s*-?\s*(?:m|metres?|meters?)\b(?!\s*\*?\*?\s*s)", re.I)


@final
@dataclass(frozen=True)
class Match:
    """One channel and where it comes from.

    Attributes:
        channel: What it is.
        source: Name of the variable in the files.
        level_dim: Its dimension of levels, or None.
        level: Index along it.
        units: Units in the files, or those the user stated.
        conversion: To the channel's units; None if there is none.
    """

    channel: Channel
    source: str
    level_dim: str | None
    level: int
    units: str
    conversion: Conversion | None

    @property
    def note(self) -> str:
        """What happens to the values, for the table."""
        if self.conversion is None:
            return "units unknown" if self.units else "no units"
        if self.conversion == Conversion():
            return ""
        offset = f" {self.conversion.offset:+g}" if self.conversion.offset else ""
        return f"x {self.conversion.scale:.6g}{offset}"


@final
@dataclass(frozen=True)
class Left:
    """A variable that was left out, and why."""

    source: str
    why: str


@final
@dataclass(frozen=True)
class Matching:
    """Outcome.

    Attributes:
        matches: Channels, in the order of the store.
        left: Variables not used.
    """

    matches: tuple[Match, ...]
    left: tuple[Left, ...]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table: variable, its units, channel, its units, what is done or why not."""
        rows = []
        for m in self.matches:
            rows.append((m.source, m.units or "-", m.channel.name, m.channel.units, m.note))
        return [*rows, *((left.source, "", "-", "", left.why) for left in self.left)]


def match(
    dataset: xr.Dataset,
    variables: Sequence[str] = (),
    levels: Sequence[float] = (),
    rename: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Matching:
    """Find the channels of a data set.

    Args:
        dataset: As `weather.data.opening.open_files` gives it.
        variables: Channels (``z500``) or quantities on all levels (``z``) to take, in this order;
            by default everything known.
        levels: Pressure levels to take, hPa; by default all.
        rename: What a variable is, by its name in the files, where the name does not tell.
        units: What units a variable is in, where its attribute is absent or wrong; those of the
            levels go by the name ``level``.

    Raises:
        InputError: Nothing was recognised, or something asked for is missing.
    """
    rename, units = dict(rename or {}), dict(units or {})
    check_names(dataset, rename, "--rename")
    check_names(dataset, {n: u for n, u in units.items() if n != "level"}, "--units")
    found: dict[str, Match] = {}
    left = [Left(name, why) for name, why in dataset.attrs.get("left_out", {}).items()]
    # What is asked for by its name in the files comes before others of the same channel, such as
    # total_precipitation_24hr before total_precipitation_6hr.
    for name in sorted(dataset.data_vars, key=lambda name: str(name) not in variables):
        outcome = _match_one(dataset, str(name), rename, units)
        if isinstance(outcome, Left):
            left.append(outcome)
            continue
        for m in outcome:
            if m.channel.name in found:
                other = found[m.channel.name].source
                left.append(Left(m.source, f"{m.channel.name} is taken from {other} already"))
            else:
                found[m.channel.name] = m
    if levels:
        found = _at_levels(found, levels)
    matches = tuple(_asked(found, variables, left) if variables else found.values())
    if not matches:
        raise InputError(_nothing(left))
    return Matching(matches, tuple(left))


def _match_one(
    dataset: xr.Dataset, name: str, rename: Mapping[str, str], units: Mapping[str, str]
) -> list[Match] | Left:
    field = dataset[name]
    level_dim = next((str(d) for d in field.dims if re.fullmatch(r"level(_\d+)?", str(d))), None)
    fault = _shape_fault(field, level_dim)
    if fault:
        return Left(name, fault)
    if level_dim is not None and field.sizes[level_dim] == 1 and level_dim not in field.coords:
        return Left(name, "its level has no value")
    said = units.get(name, str(field.attrs.get("units", "")))
    if name in rename:
        known = _renamed(rename[name])
        if known is None:
            c = Channel.unknown(rename[name], said, str(field.attrs.get("long_name", "")))
            return [Match(c, name, level_dim, 0, said, Conversion())]
    else:
        known = _identify(field, name, level_dim)
    if isinstance(known, str):
        return Left(name, known)
    variable, level = known
    if level_dim is None:
        return [_made(channel(variable, level), name, None, 0, said)]
    if not variable.upper:
        count = field.sizes[level_dim]
        if count > 1:
            return Left(name, f"{variable.name} has no levels, the file has {count}")
        return [_made(channel(variable), name, level_dim, 0, said)]
    values = pressure_levels(dataset[level_dim], units.get("level", ""))
    if isinstance(values, str):
        return Left(name, values)
    return [
        _made(channel(variable, float(value)), name, level_dim, i, said)
        for i, value in enumerate(values)
    ]


def _made(c: Channel, name: str, level_dim: str | None, level: int, said: str) -> Match:
    blank = not said.strip() and c.units != "1"
    how = None if blank else conversion(said, c.units)
    return Match(c, name, level_dim, level, said, how)


def _shape_fault(field: xr.DataArray, level_dim: str | None) -> str:
    """Why a variable cannot be a channel, or an empty text."""
    if not np.issubdtype(field.dtype, np.number):
        return "no numbers"
    if "lat" not in field.dims or "lon" not in field.dims:
        shape = " x ".join(f"{d} {field.sizes[d]}" for d in field.dims)
        grids = [d for d in field.dims if re.match(r"(lat|lon)", str(d))]
        return f"on another grid ({shape})" if len(grids) == 2 else "not a field over lat, lon"
    if "month" in field.dims:
        return "a climatology of months, not times"
    if "time" not in field.dims:
        return "does not change in time"
    extra = [d for d in field.dims if d not in ("time", "lat", "lon", level_dim)]
    if extra:
        sizes = ", ".join(f"{d} ({field.sizes[d]})" for d in extra)
        return f"dimension {sizes} is not time, level, latitude or longitude"
    return ""


def _identify(
    field: xr.DataArray, name: str, level_dim: str | None
) -> tuple[Variable, float | None] | str:
    """Quantity and level of a variable, or why they are not known."""
    long_name = str(field.attrs.get("long_name", ""))
    alias = find_by_alias(name)
    if alias is not None and alias[1] == 100 and alias[0].name in ("u", "v") and level_dim is None:
        # u100: wind 100 m above the ground (ERA5), or at 100 hPa.
        if _HEIGHT.search(long_name):
            return VARIABLES[f"{alias[0].name}100m"], None
    if alias is None:
        standard = str(field.attrs.get("standard_name", ""))
        level = _stated_level(field)
        upper = level_dim is not None or isinstance(level, float)
        variable = find_by_standard_name(standard, upper) if standard else None
        if variable is None:
            return f"not a known name; say what it is: --rename {name}=CHANNEL"
        near = _near_ground(variable, field)
        alias = (near or variable), None
    variable, level = alias
    if level is not None and level_dim is None and _height(field) == level:
        # A number in the name that is a height above the ground: t2 of some models, u50 of others.
        near = _near_ground(variable, field)
        return (near, None) if near else f"{level:g} m above the ground, not at {level:g} hPa"
    if not variable.upper or level is not None or level_dim is not None:
        return variable, level
    stated = _stated_level(field)
    if isinstance(stated, float):
        return variable, stated
    near = _near_ground(variable, field)
    if near is not None:
        return near, None
    return f"at no known pressure level; say which: --rename {name}={variable.name}500"


def _stated_level(field: xr.DataArray) -> float | None:
    """Pressure level in hPa a variable's coordinates or attributes tell."""
    texts = [str(field.attrs.get(key, "")) for key in ("level", "long_name")]
    for text in texts:
        found, pascal = _LEVEL.search(text), _PASCAL.search(text)
        if found or pascal:
            return float(found[1]) if found else float(pascal[1]) / 100.0  # type: ignore[index]
    bare = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*", texts[0])
    if bare is None:
        return None
    level = float(bare[1])
    return level / 100.0 if level > 2000.0 else level


def _near_ground(variable: Variable, field: xr.DataArray) -> Variable | None:
    """The quantity 2 m or 10 m above the ground, where name or coordinates say so."""
    height = _height(field)
    table = {("t", 2.0): "tas", ("u", 10.0): "u10", ("v", 10.0): "v10", ("q", 2.0): "q2m",
             ("r", 2.0): "r2m", ("u", 100.0): "u100m", ("v", 100.0): "v100m"}  # fmt: skip
    upper = {"tas": "t", "u10": "u", "v10": "v", "q2m": "q", "r2m": "r"}
    kind = upper.get(variable.name, variable.name)
    name = table.get((kind, height)) if height is not None else None
    return VARIABLES[name] if name else None


def _height(field: xr.DataArray) -> float | None:
    """Height above the ground in m that coordinates or the long name tell."""
    for name in ("height", "heightAboveGround"):
        if name in field.coords and not field[name].ndim:
            return float(field[name].values)
    found = _HEIGHT.search(str(field.attrs.get("long_name", "")))
    return float(found[1]) if found else None


def _renamed(name: str) -> tuple[Variable, float | None] | None:
    return find_by_alias(name)


def _at_levels(found: Mapping[str, Match], levels: Sequence[float]) -> dict[str, Match]:
    have = sorted({m.channel.level_hPa for m in found.values() if m.channel.level_hPa is not None})
    missing = [f"{level:g}" for level in levels if level not in have]
    if missing:
        there = ", ".join(f"{level:g}" for level in have) or "none"
        raise InputError(f"--levels: {', '.join(missing)} hPa not in the files; they have {there}")
    return {
        name: m
        for name, m in found.items()
        if m.channel.level_hPa is None or m.channel.level_hPa in levels
    }


def _asked(
    found: Mapping[str, Match], variables: Sequence[str], left: Sequence[Left]
) -> list[Match]:
    chosen: dict[str, Match] = {}
    for name in variables:
        if name in found:
            chosen[name] = found[name]
            continue
        alias = find_by_alias(name)
        if alias is not None and alias[0].upper and alias[1] is None:
            members = [m for m in found.values() if m.channel.variable == alias[0].name]
            if not members:
                raise InputError(_missing(name, alias[0], None, found, left))
            chosen.update({m.channel.name: m for m in members})
            continue
        wanted = parse_channel(name) if alias is not None else None
        if wanted is None:
            by_source = [m for m in found.values() if m.source == name]
            if not by_source:
                parse_channel(name)
            chosen.update({m.channel.name: m for m in by_source})
        elif wanted.name in found:
            chosen[wanted.name] = found[wanted.name]
        else:
            variable = VARIABLES[wanted.variable]
            raise InputError(_missing(name, variable, wanted.level_hPa, found, left))
    return list(chosen.values())


def _missing(
    name: str,
    variable: Variable,
    level: float | None,
    found: Mapping[str, Match],
    left: Sequence[Left],
) -> str:
    same = [m.channel for m in found.values() if m.channel.variable == variable.name]
    if level is not None and same:
        have = ", ".join(f"{c.level_hPa:g}" for c in same)
        return f"{name}: level {level:g} hPa is not in the files; {variable.name} is at {have} hPa"
    why = [f"{x.source} {x.why}" for x in left if _same_quantity(x.source, variable)]
    there = why[0] if why else f"they hold {', '.join(found) or 'nothing known'}"
    return f"{name}: not in the files; {there}"


def _same_quantity(source: str, variable: Variable) -> bool:
    alias = find_by_alias(source)
    return alias is not None and alias[0] == variable


def _nothing(left: Sequence[Left]) -> str:
    if not left:
        return "FILES: hold no field; give files with fields over time, latitude and longitude"
    first = "; ".join(f"{x.source}: {x.why}" for x in left[:3])
    more = f" (and {len(left) - 3} more)" if len(left) > 3 else ""
    return f"FILES: nothing recognised; {first}{more}"


def check_names(dataset: xr.Dataset, names: Iterable[str], option: str) -> None:
    """Refuse names of an option that no variable of the files has.

    Args:
        dataset: The files.
        names: As the user wrote them.
        option: For the message.

    Raises:
        InputError: One of them is not there.
    """
    unknown = [n for n in names if n not in dataset.data_vars]
    if unknown:
        have = ", ".join(str(n) for n in dataset.data_vars)
        raise InputError(f"{option} {unknown[0]}: not in the files; they hold {have}")
