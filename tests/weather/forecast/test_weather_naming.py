"""A forecast under the names of WeatherBench holds the same fields, and is read as the others."""

import json

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.forecast.naming import NAMES, OWN, Layout
from weather.report.reading import open_ensemble
from weather.verification.ensembles import FileEnsemble

CHANNELS = tuple(parse_channel(n) for n in ("z500", "z850", "t850", "u10", "tas", "mslp", "tp"))
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_layout_of_our_own_is_a_variable_a_channel():
    layout = Layout(CHANNELS, OWN, 24)
    assert list(layout.arrays) == [c.name for c in CHANNELS]
    assert layout.levels == () and layout.arrays["z500"]["pressure_level_hPa"] == 500.0


def test_layout_of_weatherbench():
    layout = Layout(CHANNELS, NAMES["weatherbenchx"], 6)
    assert list(layout.arrays) == [
        "geopotential", "temperature", "10m_u_component_of_wind", "2m_temperature",
        "mean_sea_level_pressure", "total_precipitation_6hr",
    ]  # fmt: skip
    assert layout.levels == (500.0, 850.0)
    assert layout.arrays["geopotential"]["units"] == "m2 s-2"
    assert layout.arrays["temperature"]["levels_held"] == [850.0]
    assert "levels_held" not in layout.arrays["geopotential"]
    assert layout.dimensions("temperature") == (
        "init_time", "number", "lead_time", "level", "latitude", "longitude",
    )  # fmt: skip
    assert layout.dimensions("2m_temperature") == (
        "init_time", "number", "lead_time", "latitude", "longitude",
    )  # fmt: skip
    place = layout.places[-1]
    assert (place.level, place.scale, layout.arrays[place.variable]["units"]) == (None, 1e-3, "m")


@pytest.fixture(scope="module")
def made(small_models, small_store, tmp_path_factory):
    """The same forecast under all names, as stores and as a NetCDF file."""
    folder, found = tmp_path_factory.mktemp("named"), {}
    for names, suffix in (("own", ".zarr"), ("weatherbench2", ".zarr"), ("weatherbenchx", ".nc")):
        out = folder / f"{names}{suffix}"
        words = ["forecast", small_store, "--model", small_models["crps"], "-o", out, "--members",
                 3, "--batch", 2, "--days", 2, "--start", "0003-04-01", "0003-04-20", "--json",
                 "--names", names]  # fmt: skip
        assert main([str(word) for word in words]) == 0
        found[names] = out
    return found


@pytest.mark.parametrize("names", ["weatherbench2", "weatherbenchx"])
def test_the_same_fields_are_read(made, names):
    own, other = FileEnsemble(made["own"]), FileEnsemble(made[names])
    # z500 and q700, not z700 and q500, of which there are none.
    assert set(own.channels) == set(other.channels) == {"z500", "u850", "v850", "q700", "tas"}
    assert np.array_equal(own.leads, other.leads)
    assert np.array_equal(own.times.seconds, other.times.seconds)
    for channel in own.channels:
        for case in (0, 1):
            wanted = own.open(case, [0, 1])(1, channel)
            found = other.open(case, [0, 1])(1, channel)
            np.testing.assert_allclose(found, wanted, rtol=3e-7)
    page = open_ensemble(made[names])
    assert set(page.names) == set(own.channels) and page.members == 3


def test_names_and_units_are_those_of_weatherbench(made):
    data = xr.open_zarr(made["weatherbench2"])
    assert set(data.geopotential.dims) == {
        "time", "number", "prediction_timedelta", "level", "latitude", "longitude",
    }  # fmt: skip
    assert data.level.values.tolist() == [500.0, 700.0, 850.0]
    own = xr.open_zarr(made["own"])
    np.testing.assert_allclose(
        data.geopotential.sel(level=500), own.z500 * 9.80665, rtol=3e-7
    )
    other = xr.open_dataset(made["weatherbenchx"], decode_timedelta=True)
    assert {"init_time", "lead_time"} <= set(other.dims)
    assert other.lead_time.values.tolist() == np.array([1, 2], "timedelta64[D]").astype(
        "timedelta64[ns]").tolist()  # fmt: skip


def test_forecast_and_truth_under_these_names_are_verified(made, small_store, tmp_path, capsys):
    tables = {}
    for names in made:
        words = ["verify", made[names], small_store, "-o", tmp_path / names, "--no-plots"]
        assert main([str(word) for word in (*words, "--json")]) == 0
        tables[names] = json.loads(capsys.readouterr().out)["scores"]
    for names in ("weatherbench2", "weatherbenchx"):
        same = {(r["channel"], r["lead_days"]): r for r in tables[names]}
        for row in tables["own"]:
            other = same[row["channel"], row["lead_days"]]
            for score in ("crps", "rmse", "energy"):
                if score in row:
                    assert other[score][0] == pytest.approx(row[score][0], rel=1e-4)
    # As a truth of several members, too.
    words = ["verify", made["own"], made["weatherbenchx"], "-o", tmp_path / "t", "--no-plots"]
    assert main([str(word) for word in (*words, "--json")]) == 0
    assert json.loads(capsys.readouterr().out)["truths"] == 3


def test_a_forecast_that_was_begun_keeps_its_names(made, small_models, small_store, capsys):
    words = ["forecast", small_store, "--model", small_models["crps"], "--members", 3, "--days", 2]
    words += ["--start", "0003-04-01", "0003-04-20", "-o", made["weatherbench2"]]
    assert main([str(word) for word in words]) == 2
    assert "names" in capsys.readouterr().err
    assert main([str(word) for word in (*words, "--names", "weatherbench2")]) == 0


def test_geopotential_without_units_is_refused(made, tmp_path):
    data = xr.open_zarr(made["weatherbench2"])
    del data.geopotential.attrs["units"]
    for name in data.variables:
        data[name].encoding.clear()
    data.to_netcdf(tmp_path / "bare.nc")
    with pytest.raises(InputError, match="geopotential has no units"):
        FileEnsemble(tmp_path / "bare.nc")
