"""Names and units: every table entry, and the traps among them."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.data.channels import (
    VARIABLES,
    channel,
    find_by_alias,
    find_by_standard_name,
    parse_channel,
)
from weather.data.units import CONVERSIONS, conversion, normal_units

NAMES = {
    # planet and CMIP
    "z500": "z500", "u850": "u850", "q700": "q700", "mslp": "mslp", "tas": "tas", "tp": "tp",
    "zg500": "z500", "ua850": "u850", "hus700": "q700", "psl": "mslp", "uas": "u10", "prw": "tcwv",
    "wap500": "w500", "tos": "sst", "siconc": "sic",
    # ERA5, short and long, WeatherBench 2
    "msl": "mslp", "t2m": "tas", "2t": "tas", "u10": "u10", "10v": "v10", "sp": "sp", "ci": "sic",
    "geopotential_500": "z500", "2m_temperature": "tas", "mean_sea_level_pressure": "mslp",
    "10m_u_component_of_wind": "u10", "total_precipitation_24hr": "tp",
    "total_column_water_vapour": "tcwv", "sea_ice_cover": "sic", "100u": "u100m",
    # NCEP
    "hgt500": "z500", "air850": "t850", "uwnd250": "u250", "slp": "mslp", "shum700": "q700",
    "prate": "pr", "pr_wtr": "tcwv", "olr": "rlut", "Z_500hPa": "z500", "T-850": "t850",
}  # fmt: skip


@pytest.mark.parametrize(("name", "wanted"), NAMES.items())
def test_names_of_files(name: str, wanted: str):
    assert parse_channel(name).name == wanted


def test_every_channel_is_found_by_its_own_name():
    for variable in VARIABLES.values():
        levels = (1.0, 10.0, 100.0, 500.0, 925.0) if variable.upper else (None,)
        for level in levels:
            made = channel(variable, level)
            assert parse_channel(made.name) == made


def test_names_are_unambiguous():
    aliases = [name for v in VARIABLES.values() for name in v.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(VARIABLES)


def test_ten_metres_is_not_ten_hectopascals():
    assert parse_channel("u10").level_hPa is None
    high = channel(VARIABLES["u"], 10.0)
    assert high.name == "u10hPa" and high.level_hPa == 10.0


@pytest.mark.parametrize(
    ("name", "upper", "wanted"),
    [
        ("geopotential", True, "z"),
        ("geopotential_height", True, "z"),
        ("air_temperature", True, "t"),
        ("air_temperature", False, "tas"),
        ("eastward_wind", False, "u10"),
        ("air_pressure_at_mean_sea_level", False, "mslp"),
        ("air_pressure_at_sea_level", False, "mslp"),
        ("precipitation_flux", False, "pr"),
    ],
)
def test_standard_names(name: str, upper: bool, wanted: str):
    found = find_by_standard_name(name, upper)
    assert found is not None and found.name == wanted


def test_unknown_names_are_refused():
    assert find_by_alias("ssta") is None
    assert find_by_alias("mslp500") is None
    with pytest.raises(InputError, match="channel cape: not a known field; write .* such as z500"):
        parse_channel("cape")
    with pytest.raises(InputError, match="channel z: a level in hPa is needed; write z500"):
        parse_channel("z")


CASES = [
    ("m**2 s**-2", "m", 9.80665, 1.0), ("m2/s2", "m", 98.0665, 10.0), ("gpm", "m", 5.0, 5.0),
    ("dam", "m", 552.0, 5520.0), ("degC", "K", 20.0, 293.15), ("Celsius", "K", -40.0, 233.15),
    ("degF", "K", -40.0, 233.15), ("kelvin", "K", 7.0, 7.0), ("hPa", "Pa", 1013.0, 101300.0),
    ("millibars", "Pa", 1.0, 100.0), ("knots", "m s-1", 36.0, 18.52),
    ("m/s", "m s-1", 3.0, 3.0), ("m s**-1", "m s-1", 3.0, 3.0), ("g/kg", "kg kg-1", 4.0, 0.004),
    ("kg kg**-1", "kg kg-1", 0.1, 0.1), ("m", "kg m-2", 0.003, 3.0), ("mm", "kg m-2", 3.0, 3.0),
    ("kg m**-2", "kg m-2", 3.0, 3.0), ("mm/day", "kg m-2 s-1", 86.4, 0.001),
    ("kg/m2/s", "kg m-2 s-1", 0.1, 0.1), ("(0 - 1)", "1", 0.5, 0.5), ("%", "1", 50.0, 0.5),
    ("K m**2 kg**-1 s**-1", "K m2 kg-1 s-1", 1e-6, 1e-6), ("1/s", "s-1", 1e-4, 1e-4),
]  # fmt: skip


@pytest.mark.parametrize(("units", "target", "value", "wanted"), CASES)
def test_conversions(units: str, target: str, value: float, wanted: float):
    how = conversion(units, target)
    assert how is not None
    assert how(np.asarray([value]))[0] == pytest.approx(wanted, rel=1e-12)
    assert how(np.asarray([value], dtype=np.float32)).dtype == np.float32


def test_no_conversion_is_invented():
    for pair in (("hPa", "K"), ("m", "Pa"), ("kg m-2", "kg m-2 s-1"), ("furlong", "m"), ("", "K")):
        assert conversion(*pair) is None


def test_listed_conversions_end_in_units_of_channels():
    for source, target in CONVERSIONS:
        assert normal_units(source) == source and normal_units(target) == target
        assert target in {v.units for v in VARIABLES.values()}
