"""The weights of real weather that ship forecast a year they never saw."""

import os
from pathlib import Path

import numpy as np
import pytest

from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import read_initial

DATA = Path(os.environ.get("SCIDDIFF_DATA", "")) / "weather/real"
FILE = DATA / "ncep_r1_slp_natlantic_daily_2001-2010.nc"


def test_the_spec_tells_area_and_years():
    spec = Forecaster("natlantic_slp").spec
    assert spec.grid == "regional-17x33:30:70:290:370" and spec.names == ("mslp",)
    assert (spec.frames, spec.step_hours, spec.head, spec.boundary) == (3, 24.0, "crps", 0)
    assert spec.period[0].startswith("2001-01-01") and spec.period[1].startswith("2008-12-31")


@pytest.mark.skipif(not FILE.exists(), reason="needs the real fields: set SCIDDIFF_DATA")
def test_a_day_ahead_the_mean_is_far_better_than_the_last_state():
    """Twelve days of 2010: the card says 4.0 hPa against 6.1 of persistence over the year."""
    forecaster = Forecaster("natlantic_slp")
    starts = [f"2010-{month:02d}-10" for month in range(1, 13)]
    after = [f"2010-{month:02d}-11" for month in range(1, 13)]
    initial, truths = (read_initial(FILE, forecaster.spec, dates) for dates in (starts, after))
    weights = np.asarray(forecaster.spec.area.weights)[:, None]
    squares = []
    for state, truth in zip(initial, truths, strict=True):
        members = next(forecaster.rollout(state.frames, state.time, 1, range(8)))
        actual = truth.frames[-1, 0]
        made = members[:, 0].mean(0), state.frames[-1, 0]
        squares.append([float((((x - actual) ** 2).numpy() * weights).mean()) for x in made])
    model, persistence = np.sqrt(np.mean(squares, 0)) / 100.0
    assert model < 0.75 * persistence and model < 4.7
