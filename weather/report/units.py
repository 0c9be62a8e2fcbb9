"""How channels are shown: units for people, and thresholds worth a map.

Files are brought to the units of `weather.data.channels` first; a report then shows what a
forecaster reads (hPa, degrees Celsius, millimetres). Every conversion is a scale and an offset,
listed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from weather.data.channels import Channel, parse_channel
from weather.data.units import Conversion, normal_units

__all__ = ["Display", "Threshold", "default_threshold", "display_of", "find_name", "squared"]

# Units of a channel -> (units shown, scale, offset).
_SHOWN = {
    "K": ("°C", 1.0, -273.15),
    "Pa": ("hPa", 0.01, 0.0),
    "kg m-2": ("mm", 1.0, 0.0),
    "kg m-2 s-1": ("mm day⁻¹", 86400.0, 0.0),
    "kg kg-1": ("g kg⁻¹", 1000.0, 0.0),
    "m s-1": ("m s⁻¹", 1.0, 0.0),
    "Pa s-1": ("Pa s⁻¹", 1.0, 0.0),
    "1": ("", 1.0, 0.0),
}

# Shown units: the value that makes a useful map where the user names none.
_THRESHOLDS = (
    (r"tas", "°C", "<", 0.0),
    (r"t850", "°C", ">", 15.0),
    (r"mslp", "hPa", "<", 990.0),
    (r"tp", "mm", ">", 5.0),
    (r"wind10", "m s⁻¹", ">", 10.0),
    (r"wind850", "m s⁻¹", ">", 20.0),
    (r"wind250", "m s⁻¹", ">", 50.0),
    (r"z500", "m", "<", 5200.0),
)


@final
@dataclass(frozen=True)
class Display:
    """How one variable is shown.

    Attributes:
        name: Short name: ``z500``.
        label: Words: ``500 hPa geopotential height``.
        units: Units shown.
        scale: Shown value per value of the file.
        offset: Added after scaling, in shown units.
        file_units: Units of the file, as spelt there.
    """

    name: str
    label: str
    units: str
    scale: float = 1.0
    offset: float = 0.0
    file_units: str = ""

    @property
    def difference_units(self) -> str:
        """Units of a difference, such as a spread."""
        return "K" if self.units == "°C" else self.units

    @property
    def title(self) -> str:
        """Words with units: ``2 m temperature (°C)``."""
        return f"{self.label} ({self.units})" if self.units else self.label


@final
@dataclass(frozen=True)
class Threshold:
    """An event at every grid point: a variable above or below a value.

    Attributes:
        name: Short name of the variable.
        above: Above the value, else below.
        value: In shown units.
        units: Units shown.
    """

    name: str
    above: bool
    value: float
    units: str

    @classmethod
    def parse(cls, text: str, shown: Mapping[str, Display]) -> Threshold:
        """Read ``tas>30degC`` or ``mslp < 99000``; a bare number is in the file's units.

        Args:
            text: Name, comparison, number and optionally units of the file or as shown.
            shown: The variables there are.

        Raises:
            InputError: Not of that form, no such variable, or units it does not have.
        """
        found = re.fullmatch(r"\s*(\w+)\s*([<>])=?\s*([-+.\deE]+?)\s*([^\d\s.].*?)?\s*", text)
        try:
            value = float(found[3]) if found else float("nan")
        except ValueError:
            found = None
        if found is None:
            raise InputError(f"threshold {text!r}: not of the form 'tas>30degC'; correct it")
        name = find_name(found[1], shown)
        display, units = shown[name], found[4] or ""
        if not units or normal_units(units) == normal_units(display.file_units):
            value = value * display.scale + display.offset
        elif _plain(units) != _plain(display.units):
            raise InputError(
                f"threshold {text!r}: {name} is in {display.file_units or 'no units'} and "
                f"shown in {display.units or 'none'}; use one of these"
            )
        return cls(name, found[2] == ">", value, display.units)

    def __str__(self) -> str:
        sign = ">" if self.above else "<"
        return f"{self.name} {sign} {self.value:g} {self.units}".rstrip()


def display_of(channel: Channel, source: str, first: Conversion) -> Display:
    """How a channel is shown.

    Args:
        channel: The channel.
        source: Units of the file.
        first: What brings the file's values to the channel's units.
    """
    label = channel.long_name[:1].upper() + channel.long_name[1:]
    anomaly = "anomal" in label.lower()
    shown = (channel.units, 1.0, 0.0) if anomaly else _SHOWN.get(
        channel.units, (channel.units, 1.0, 0.0)
    )  # fmt: skip
    units, scale, offset = shown
    return Display(
        channel.name, label, units, first.scale * scale, first.offset * scale + offset, source
    )


def default_threshold(display: Display) -> Threshold | None:
    """A threshold worth a map, for the variables that have a usual one."""
    for pattern, units, sign, value in _THRESHOLDS:
        if re.fullmatch(pattern, display.name) and display.units == units:
            return Threshold(display.name, sign == ">", value, units)
    return None


def find_name(name: str, shown: Mapping[str, Display]) -> str:
    """The variable that a name or an alias of it (``t2m`` for ``tas``) stands for.

    Raises:
        InputError: There is no such variable.
    """
    if name in shown:
        return name
    try:
        canonical = parse_channel(name).name
    except InputError:
        canonical = name
    if canonical in shown:
        return canonical
    few = list(shown)[:20]
    more = f" and {len(shown) - len(few)} more" if len(shown) > len(few) else ""
    raise InputError(f"variable {name}: not in the file; there are {', '.join(few)}{more}")


def squared(units: str) -> str:
    """Units of a power, written so that the exponent cannot be misread.

    >>> squared("K"), squared("m s⁻¹"), squared("g kg⁻¹")
    ('K²', 'm² s⁻²', 'g² kg⁻²')
    """
    powers = {"": "²", "⁻¹": "⁻²", "²": "⁴", "⁻²": "⁻⁴"}
    words = []
    for word in units.split():
        found = re.fullmatch(r"([^⁻¹²]+)([⁻¹²]*)", word)
        if found is None or found[2] not in powers:
            return f"({units})²"
        words.append(found[1] + powers[found[2]])
    return " ".join(words)


def _plain(units: str) -> str:
    """Units as typed on a keyboard: ``°C`` is ``degC``, powers without raising."""
    raised = str.maketrans("⁻¹²", "-12")
    return normal_units(units.translate(raised))
