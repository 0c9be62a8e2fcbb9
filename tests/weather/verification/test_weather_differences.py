"""Differences of forecasts: level of the test, power, what is shared, and the scorecard."""

import csv
import json
import sys

import cftime
import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.sphere.grids import Grid
from weather.verification import Instants
from weather.verification.differences import compare, expanded_level
from weather.verification.figures import Verification
from weather.verification.instants import DAY
from weather.verification.tally import Tally

GRID = Grid.parse("gaussian-8x16")
CELLS = 400


def _verification(scores, gap=30, level=0.95):
    """CRPS of forecasts by name, `[T, CELLS]`, `gap` days apart."""
    tallies = {}
    for name, values in scores.items():
        tallies[name] = Tally(len(values))
        for case, row in enumerate(values):
            tallies[name].add(case, {"crps": row[None, :, None]})
    count = len(next(iter(scores.values())))
    return Verification(
        tallies, dict.fromkeys(scores, 10), Instants(np.arange(count) * gap * DAY, "noleap"),
        np.array([DAY]), tuple(f"c{i}" for i in range(CELLS)), ("globe",), (), 1, level=level,
    )  # fmt: skip


def _difference(**scores):
    (found,) = [one for one in compare(_verification(scores), "b") if one.score == "crps"]
    return found


@pytest.mark.parametrize("count", [8, 20])
def test_equal_forecasts_differ_as_often_as_the_level_says(count):
    """Independent starts; with 8 of them the plain percentile interval is wrong in 13 %."""
    rng = np.random.default_rng(count)
    weather = rng.gamma(8.0, size=(count, CELLS))
    a, b = (10 + weather + 0.3 * rng.standard_normal((count, CELLS)) for _ in range(2))
    share = _difference(a=a, b=b).significant.mean()
    assert 0.02 < share < 0.085


def test_neighbouring_starts_are_resampled_in_blocks():
    """Errors that last for days: single starts would call a fifth of equal forecasts different."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((60, CELLS))
    for day in range(1, 60):
        noise[day] = 0.7 * noise[day - 1] + np.sqrt(1 - 0.7**2) * noise[day]
    scores = {"a": 10 + 0.5 * noise, "b": np.full((60, CELLS), 10.0)}
    (blocks,) = compare(_verification(scores, gap=1), "b")
    (singles,) = compare(_verification(scores, gap=30), "b")
    assert blocks.significant.mean() < 0.14 < 0.25 < singles.significant.mean()


@pytest.mark.parametrize("starts", [3, 8, 19])
def test_a_single_block_of_starts_has_no_interval(starts):
    """It would be drawn again and again: an interval of no width, and all cells significant."""
    rng = np.random.default_rng(starts)
    a, b = (10 + rng.random((starts, CELLS)) for _ in range(2))
    near = _verification({"a": a, "b": b}, gap=1)
    (found,) = compare(near, "b")
    assert np.isfinite(found.percent).all() and not found.significant.any()
    assert np.isnan(found.low).all() and np.isnan(near.estimate("crps", "a")[1]).all()
    far = _verification({"a": a, "b": b}, gap=30)
    assert np.isfinite(far.estimate("crps", "a")[1]).all()


def test_shared_weather_cancels():
    """A gain of 2 % among weather that varies by 30 % is found, in nearly every cell."""
    rng = np.random.default_rng(1)
    weather = 10 + 3 * rng.standard_normal((20, CELLS))
    better = 0.98 * weather + 0.05 * rng.standard_normal((20, CELLS))
    found = _difference(a=better, b=weather)
    assert (found.high < 0).mean() > 0.99
    assert found.percent.mean() == pytest.approx(-2.0, abs=0.1)


def test_the_interval_widens_with_few_blocks():
    assert expanded_level(0.95, 4) > expanded_level(0.95, 8) > expanded_level(0.95, 1e6) > 0.9499
    with pytest.raises(InputError, match="--reference c: not among the forecasts a, b"):
        compare(_verification({"a": np.ones((4, CELLS)), "b": np.ones((4, CELLS))}), "c")


def _forecast(path, name, starts, noise, leads=(1, 2, 3)):
    """Members around the truth, whose fields are functions of the valid day."""
    rng = np.random.default_rng(len(name))
    days = np.asarray(starts)[:, None] + np.asarray(leads)
    fields = _truth(days)[:, None] + noise * rng.standard_normal(
        (len(starts), 6, len(leads), *GRID.shape)
    )
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    xr.Dataset(
        {n: (dims, (offset + fields).astype("f4"), {"units": u}) for n, offset, u in FIELDS},
        {
            "time": cftime.num2date(starts, "days since 0001-01-01", "noleap"),
            "prediction_timedelta": np.asarray(leads, "timedelta64[D]"),
            "latitude": GRID.lat,
            "longitude": GRID.lon,
        },
        {"model": name},
    ).to_netcdf(path)
    return path


FIELDS = (("z500", 5500.0, "m"), ("t850", 280.0, "K"))


def _truth(days):
    rng = np.random.default_rng(7)
    return rng.standard_normal((400, *GRID.shape))[np.asarray(days)]


@pytest.fixture
def files(tmp_path):
    """A good and a bad forecast, which share eight of ten starts, and what happened."""
    truth = tmp_path / "truth.nc"
    dims, days = ("time", "latitude", "longitude"), np.arange(330)
    xr.Dataset(
        {n: (dims, (offset + _truth(days)).astype("f4"), {"units": u}) for n, offset, u in FIELDS},
        {
            "time": cftime.num2date(days, "days since 0001-01-01", "noleap"),
            "latitude": GRID.lat,
            "longitude": GRID.lon,
        },
    ).to_netcdf(truth)
    starts = np.arange(0, 300, 30)
    good = _forecast(tmp_path / "good.nc", "good", starts, 0.5)
    bad = _forecast(tmp_path / "bad.nc", "bad", starts[2:], 1.0)
    return good, bad, truth


def test_compare_from_files_to_the_scorecard(files, tmp_path, capsys):
    good, bad, truth = files
    out = tmp_path / "scores"
    words = [good, truth, "--compare", bad, "--region", "globe", "-o", out, "--json"]
    assert main(["verify", *map(str, words), "--leads", "1", "2", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "good against bad, CRPS: better in 6, worse in 0 of 6 cells" in told["differences"][0]
    assert any("2 of 10 initial times are not in every forecast" in note for note in told["notes"])
    with (out / "differences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["score"] == "crps"]
    assert len(rows) == 6 and {row["significant"] for row in rows} == {"yes"}
    one = rows[0]
    change = float(one["value"]) / float(one["reference_value"]) - 1
    assert float(one["percent"]) == pytest.approx(100 * change, rel=1e-3)
    assert float(one["low"]) < float(one["percent"]) < float(one["high"]) < 0
    page = (out / "scorecard.html").read_text(encoding="utf-8")
    assert f"{float(one['percent']):+.1f}</td>" in page and "http:" not in page
    assert (out / "scorecard_good.png").stat().st_size > 4000
    # The table of the terminal has every lead that was asked for.
    assert {row["lead_days"] for row in told["scores"]} == {1.0, 2.0, 3.0}


def test_forecasts_of_one_model_and_one_file_name_are_told_apart(files, tmp_path, capsys):
    """Of ``new/fc.nc`` and ``old/fc.nc`` there was no difference, since both were ``fc``."""
    starts = np.arange(0, 300, 30)
    for folder, noise in (("new", 0.5), ("old", 1.0)):
        (tmp_path / folder).mkdir()
        _forecast(tmp_path / folder / "fc.nc", "one model", starts, noise)
    new, old = tmp_path / "new" / "fc.nc", tmp_path / "old" / "fc.nc"
    words = [new, files[2], "--compare", old, "--region", "globe", "-o", tmp_path / "s", "--json"]
    assert main(["verify", *map(str, words), "--no-plots", "--channels", "t850"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "new/fc against old/fc, CRPS: better in 3" in told["differences"][0]


def test_what_cannot_be_compared_is_one_line(files, tmp_path, capsys, monkeypatch):
    good, bad, truth = files
    monkeypatch.setattr(sys.modules["weather.verification.verify"], "verify", None)  # not reached
    late = _forecast(tmp_path / "late.nc", "late", np.arange(5, 60, 30), 1.0)
    for words, line in (
        (("--compare", late), "--compare late: shares no initial time and lead with good"),
        (("--leads", 1, 9), "--leads 9: not in good, which has days 1, 2, 3"),
        (("--compare", bad, "--reference", "x"), "--reference x: not among the forecasts"),
        (("--reference", "lim"), "--reference lim: not among the forecasts good; give --train"),
    ):
        given = ["verify", str(good), str(truth), "-o", str(tmp_path / "s"), *map(str, words)]
        assert main(given) == 2
        assert line in capsys.readouterr().err
