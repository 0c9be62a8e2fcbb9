"""A folder with a file for every initial time makes one page, as `verify` reads it."""

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.report.reading import open_ensemble

STARTS = np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(5, "D")


def _forecast(starts, leads=(1, 2, 3), units="K"):
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(30, 60, 7), np.linspace(0, 40, 9)
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    fields = {
        name: (dims, (mean + rng.normal(size=(4, 3, 3, 7, 9))).astype("f4"), {"units": unit})
        for name, mean, unit in (("t850", 280, units), ("mslp", 101300, "Pa"))
    }
    axes = {
        "time": STARTS, "number": np.arange(3), "latitude": lat, "longitude": lon,
        "prediction_timedelta": ("prediction_timedelta", [1, 2, 3], {"units": "days"}),
    }  # fmt: skip
    whole = xr.Dataset(fields, axes, {"model": "toy"})
    return whole.isel(time=starts, prediction_timedelta=[lead - 1 for lead in leads])


@pytest.fixture
def folder(tmp_path):
    """Parts in another order than that of time; one holds two starts, one lacks something."""
    where = tmp_path / "runs"
    where.mkdir()
    _forecast([2]).to_netcdf(where / "a.nc")
    _forecast([0, 3]).to_zarr(where / "b.zarr", zarr_format=2)
    last = _forecast([1], (2, 3)).drop_vars("mslp")
    hours = ("prediction_timedelta", [48, 72], {"units": "hours"})
    last.assign_coords(prediction_timedelta=hours).to_netcdf(where / "c.nc")
    return where


def test_parts_are_one_forecast_in_the_order_of_time(folder, tmp_path):
    _forecast(slice(None)).to_netcdf(tmp_path / "whole.nc")
    joined, whole = open_ensemble(folder), open_ensemble(tmp_path / "whole.nc")
    assert list(joined.inits) == list(STARTS) and joined.kind == "forecast"
    assert joined.leads.tolist() == [2.0, 3.0] and set(joined.channels) == {"t850"}
    assert joined.members == 3 and joined.attributes["model"] == "toy"
    for init in range(4):
        for lead in (0, 1):
            wanted = whole.read("t850", init, lead + 1)
            assert np.array_equal(joined.read("t850", init, lead), wanted)
    assert joined.notes == (
        "runs: 1 lead(s) left out that not all of its forecasts hold",
        "runs: 1 channel(s) left out that not all of its forecasts hold",
    )


def test_parts_may_run_from_the_north_under_another_name(tmp_path):
    """As GRIB has them; joined as they are, they would be upside down."""
    for where in (tmp_path / "alike", tmp_path / "turned"):
        where.mkdir()
        _forecast([0]).to_netcdf(where / "a.nc")
        _forecast([1]).to_netcdf(where / "b.nc")
    data = xr.load_dataset(tmp_path / "turned" / "b.nc").isel(latitude=slice(None, None, -1))
    data = data.assign_coords(longitude=data.longitude - 360.0).rename(mslp="msl")
    data.to_netcdf(tmp_path / "turned" / "b.nc")
    whole, turned = (open_ensemble(tmp_path / name) for name in ("alike", "turned"))
    assert turned.names.keys() == whole.names.keys() == {"t850", "mslp"}
    assert np.array_equal(turned.lat, whole.lat) and np.allclose(turned.lon, whole.lon)
    for name in whole.names:
        for init in (0, 1):
            assert np.array_equal(turned.read(name, init, 2), whole.read(name, init, 2))


def test_the_page_has_a_tab_for_every_start(folder, tmp_path, capsys):
    words = ["report", folder, "--init", 0, 3, "--lead", 2, "-o", tmp_path / "page"]
    assert main([str(word) for word in words]) == 0
    assert "1 lead(s) left out" in capsys.readouterr().err
    text = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert "1 Jan 2001" in text and "16 Jan 2001" in text and "11 Jan 2001" not in text


def test_parts_that_do_not_fit_are_refused(folder, tmp_path, capsys):
    _forecast([1], units="degC").to_netcdf(folder / "c.nc")
    with pytest.raises(InputError, match="c.nc has t850 in degC, and a.nc in K"):
        open_ensemble(folder)
    _forecast([0]).to_netcdf(folder / "c.nc")
    assert main(["report", str(folder), "-o", str(tmp_path / "page")]) == 2
    assert "b.zarr, c.nc both start at 2001-01-01T00:00" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
