"""Forecasts from several initial times, each in a file of its own, are verified as one."""

import json

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.verification.ensembles import FileEnsemble, JoinedEnsemble, open_forecast

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

STARTS = np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(5, "D")


def _forecast(starts=slice(None), leads=(1, 2, 3), members=3):
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(30, 60, 4), np.linspace(0, 40, 5)
    shape = (4, 3, 3, 4, 5)
    fields = {
        name: (("time", "number", "prediction_timedelta", "latitude", "longitude"),
               (mean + rng.normal(size=shape)).astype("f4"), {"units": units})
        for name, mean, units in (("t850", 280, "K"), ("mslp", 101300, "Pa"))
    }  # fmt: skip
    axes = {
        "time": STARTS, "number": np.arange(3), "latitude": lat, "longitude": lon,
        "prediction_timedelta": ("prediction_timedelta", [1, 2, 3], {"units": "days"}),
    }  # fmt: skip
    whole = xr.Dataset(fields, axes, {"model": "toy"})
    chosen = whole.isel(time=starts, number=slice(members))
    return chosen.isel(prediction_timedelta=[lead - 1 for lead in leads])


@pytest.fixture
def folder(tmp_path):
    """Parts in another order than that of time; one is a Zarr store of two starts."""
    where = tmp_path / "runs"
    where.mkdir()
    _forecast([2]).to_netcdf(where / "a.nc")
    _forecast([0, 3]).to_zarr(where / "b.zarr")
    _forecast([1], (2, 3)).drop_vars("mslp").to_netcdf(where / "c.nc")
    return where


def test_parts_are_one_forecast(folder, tmp_path):
    _forecast().to_netcdf(tmp_path / "whole.nc")
    joined, whole = open_forecast(folder), FileEnsemble(tmp_path / "whole.nc")
    assert isinstance(joined, JoinedEnsemble) and joined.name == "toy"
    assert np.array_equal(joined.times.seconds, whole.times.seconds)
    assert joined.channels == ("t850",) and joined.leads.tolist() == [2 * 86400, 3 * 86400]
    for case in range(4):
        read, wanted = joined.open(case, [0, 1]), whole.open(case, [1, 2])
        for lead in (0, 1):
            assert np.array_equal(read(lead, "t850"), wanted(lead + 1, "t850"))
    assert joined.notes == (
        "runs: 1 lead(s) left out that not all of its forecasts hold",
        "runs: 1 channel(s) left out that not all of its forecasts hold",
    )


def test_verify_takes_a_folder(folder, tmp_path, capsys):
    _forecast().to_netcdf(tmp_path / "whole.nc")
    times = STARTS[0] + np.arange(20) * np.timedelta64(1, "D")
    rng = np.random.default_rng(1)
    truth = (280 + rng.normal(size=(20, 4, 5))).astype("f4")
    data = xr.Dataset(
        {"t850": (("time", "latitude", "longitude"), truth, {"units": "K"})},
        {"time": times, **{n: _forecast()[n] for n in ("latitude", "longitude")}},
    )
    data.to_netcdf(tmp_path / "truth.nc")
    told = []
    for forecast, out in ((folder, "a"), (tmp_path / "whole.nc", "b")):
        words = ["verify", forecast, tmp_path / "truth.nc", "-o", tmp_path / out, "--no-plots"]
        words += ["--draws", 20, "--json", "--leads", 2, 3]
        assert main([str(word) for word in words]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["initial_times"] == 4
    assert told[0]["scores"] == told[1]["scores"]
    assert told[0]["notes"][0].startswith("runs: 1 lead(s)")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: _forecast([0]), "b.zarr, d.nc both start at 2001-01-01T00:00; remove one"),
        (lambda: _forecast([1], members=2), "d.nc has members 2, and a.nc 3"),
        (lambda: _forecast([1], (1,)), None),
        (lambda: _forecast([1]).isel(latitude=[0, 1]), "d.nc has grid"),
    ],
    ids=["start", "members", "lead", "grid"],
)
def test_parts_that_do_not_fit_are_refused(folder, part, message):
    (folder / "c.nc").unlink()
    part().to_netcdf(folder / "d.nc")
    if message is None:
        assert open_forecast(folder).leads.tolist() == [86400]
        return
    with pytest.raises(InputError, match=message):
        open_forecast(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no Zarr store, NetCDF or GRIB file"):
        open_forecast(tmp_path)
