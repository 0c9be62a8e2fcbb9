"""A forecast from a script: what the verb writes, with coordinates."""

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.forecast.dataset import forecast
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import read_initial


def test_the_function_gives_what_the_verb_writes(small_models, small_store, tmp_path):
    starts = ["0003-04-01", "0003-04-20"]
    words = ["--members", "5", "--batch", "2", "--days", "3", "--seed", "4", "--start", *starts]
    out = tmp_path / "fc.zarr"
    given = ["forecast", str(small_store), "--model", small_models["crps"], "-o", str(out)]
    assert main([*given, *words]) == 0
    written = xr.open_zarr(out)
    made = forecast(
        str(small_store), small_models["crps"], members=5, days=3, seed=4, start=starts, batch=2
    )
    assert dict(made.sizes) == dict(written.sizes)
    for name in written.data_vars:
        np.testing.assert_array_equal(made[name].values, written[name].values)
        assert made[name].attrs["units"] == written[name].attrs["units"]
    for name in written.coords:
        assert (made[name].values == written[name].values).all()
    first = made.valid_time.isel(time=1, prediction_timedelta=0).item()
    assert first.isoformat() == "0003-04-21T00:00:00"
    # A forecaster that is loaded, states that are read: the same once more.
    forecaster = Forecaster(small_models["crps"])
    states = read_initial(str(small_store), forecaster.spec, starts)
    again = forecast(states, forecaster, members=5, days=3, seed=4, batch=2)
    xr.testing.assert_identical(made, again)


def test_what_cannot_be_used_is_said(small_models, small_store):
    with pytest.raises(InputError, match="not a whole number of steps"):
        forecast(small_store, small_models["crps"], members=1, days=0.3)
    with pytest.raises(InputError, match="no such file"):
        forecast("absent.nc", small_models["crps"])
