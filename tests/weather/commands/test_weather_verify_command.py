"""A forecast made by the command is verified against the store it began from."""

import json
import sys

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from weather.data.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_a_forecast_is_verified_against_the_prepared_store(
    small_models, small_store, tmp_path, capsys
):
    forecast, out = tmp_path / "fc.zarr", tmp_path / "scores"
    starts = ("0003-04-01", "0003-04-20", "0003-06-27")
    words = ["forecast", small_store, "--model", small_models["crps"], "-o", forecast, "--days",
             3, "--members", 3, "--batch", 3, "--json", "--start", *starts]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    words = ["verify", forecast, small_store, "-o", out, "--json", "--no-plots", "--draws", 20]
    assert main([str(word) for word in words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["initial_times"] == 3
    assert "the truth ends before the last leads" in found["notes"][0]
    stamp = (out / "scores.csv").stat().st_mtime_ns
    assert main([str(word) for word in (*words, "--workers", 2)]) == 0  # no change of the request
    assert json.loads(capsys.readouterr().out) == found
    assert (out / "scores.csv").stat().st_mtime_ns == stamp
    assert main([str(word) for word in (*words, "--channels", "u850")]) == 2
    assert "another command: channels was not given and is now" in capsys.readouterr().err
    data = xr.open_dataset(out / "scores.nc")
    made, store = xr.open_zarr(forecast), Store(small_store)
    index = store.nearest("0003-04-20") + 2
    truth = store.read(index, index + 1)[0, store.names.index("u850")]
    weights = np.broadcast_to(store.grid.weights[:, None], truth.shape)
    error = made.u850.isel(time=1, prediction_timedelta=1).mean("number").values - truth
    square = np.average(error.astype(np.float64) ** 2, weights=weights)
    kept = data.mse_by_time.sel(channel="u850", region="globe").isel(forecast=0, time=1, lead=1)
    assert float(kept) == pytest.approx(square, rel=1e-5)
    # The last start has a truth for fewer leads: what is missing counts nowhere.
    assert np.isfinite(data.crps).all()
    assert np.isnan(data.crps_by_time.isel(time=2)).any()


def test_baselines_need_a_climate_of_the_season(small_models, small_store, tmp_path, capsys):
    forecast = tmp_path / "fc.zarr"
    words = ["forecast", small_store, "--model", small_models["crps"], "-o", forecast, "--days",
             1, "--members", 2, "--json", "--start", "0003-04-20"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    words = ["verify", forecast, small_store, "--train", small_store, "-o", tmp_path / "s"]
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert "prepare more years" in error


def test_a_scheduler_needs_the_extra_cluster(small_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["verify", small_store, small_store, "--scheduler", "tcp://127.0.0.1:1"]
    assert main([str(word) for word in (*words, "-o", tmp_path / "scores")]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "distributed is not installed" in lines[0]
    assert "[cluster]" in lines[0]
    assert not (tmp_path / "scores" / "scores.csv").exists()
