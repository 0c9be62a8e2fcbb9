"""The weights of real weather that ship forecast a year they never saw."""

import os
from pathlib import Path

import numpy as np
import pytest

from weather.calibration.members import calibration_of
from weather.calibration.origin import made_by
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import read_initial
from weather.verification.instants import DAY

DATA = Path(os.environ.get("SCIDDIFF_DATA", "")) / "weather/real"
FILE = DATA / "ncep_r1_slp_natlantic_daily_2001-2010.nc"


def test_the_spec_tells_area_and_years():
    spec = Forecaster("natlantic_slp").spec
    assert spec.grid == "regional-17x33:30:70:290:370" and spec.names == ("mslp",)
    assert (spec.frames, spec.step_hours, spec.head, spec.boundary) == (3, 24.0, "crps", 0)
    assert spec.period[0].startswith("2001-01-01") and spec.period[1].startswith("2008-12-31")


def test_its_calibration_is_of_these_weights_and_used_by_default():
    """Fitted to 362 starts of 2009: the spread alone, from the second day on."""
    meta = Forecaster("natlantic_slp").model.meta
    made = made_by(meta, {"head": "crps", "perturb": "none"})
    found, why = calibration_of(meta, None, made)
    assert found is not None and why == "" and found.made["weights"] == meta["sha256"]
    assert found.fitted["first"][:4] == found.fitted["last"][:4] == "2009"
    alpha, beta, tau = found.channels["mslp"].at([DAY * n for n in (1, 2, 3, 10)])
    assert (alpha == 0).all() and (beta == 1).all()
    np.testing.assert_allclose(tau, [1.0, 1.245, 1.270, 1.209], atol=5e-4)
    assert calibration_of(meta, "none", made) == (None, "")
    assert calibration_of(meta, None, {**made, "perturb": "random-field"})[0] is None


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
