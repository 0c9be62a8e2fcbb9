"""Verification from files to tables, with laws that a known truth must obey."""

import csv
import json
import tracemalloc

import cftime
import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.sphere.grids import Grid
from weather.verification import (
    ArrayEnsemble,
    Ensemble,
    EnsembleTruth,
    FileEnsemble,
    Instants,
    VerifySettings,
    align,
    verify,
)
from weather.verification.instants import DAY
from weather.verification.output import to_dataset
from weather.verification.regions import GLOBE
from weather.verification.thresholds import Quantiles, parse_event

GRID = Grid.parse("gaussian-8x16")
LEADS = np.array([1, 2]) * DAY


def draws(starts=6, members=10, seed=0, spread=1.0, channels=("z500", "t850")):
    """Members around signals that belong to start and lead."""
    signal = np.random.default_rng(99).standard_normal((starts, 1, 2, 2, *GRID.shape)) * 3
    noise = np.random.default_rng(seed).standard_normal((starts, members, 2, 2, *GRID.shape))
    values = (signal + spread * noise).astype(np.float32)
    return {name: values[:, :, :, i] for i, name in enumerate(channels)}


def ensemble(name, fields, gap=30):
    dates = [cftime.DatetimeNoLeap(1, 1, 1 + i) for i in range(2)]
    first = Instants.of(dates[:1]).seconds[0]
    count = len(next(iter(fields.values())))
    times = Instants(first + np.arange(count) * gap * DAY, "noleap")
    return ArrayEnsemble(name, fields, times, LEADS, GRID.lat, GRID.lon)


def scored(fields, truths, **settings):
    forecast, truth = ensemble("model", fields), EnsembleTruth(ensemble("truth", truths))
    settings = VerifySettings((GLOBE,), **settings)
    return verify([forecast], truth, align(forecast, truth), settings)


def test_draws_from_the_truth_reach_the_limit():
    result = scored(draws(seed=1, members=20), draws(seed=2))
    own, limit = (result.figure("crps", f) for f in ("model", "perfect"))
    np.testing.assert_allclose(own, limit, rtol=0.03)
    np.testing.assert_allclose(limit, 1 / np.sqrt(np.pi), rtol=0.03)
    np.testing.assert_allclose(result.figure("energy", "model"),
                               result.figure("energy", "perfect"), rtol=0.05)  # fmt: skip
    np.testing.assert_allclose(result.figure("ssr", "model"), 1.0, atol=0.04)
    np.testing.assert_allclose(result.figure("rank_outliers", "model"), 1.0, atol=0.15)
    ratio = result.figure("spectrum_ratio", "model")[..., 1:]
    np.testing.assert_allclose(ratio, 1.0, atol=0.25)


def test_roc_area_is_the_chance_that_the_event_has_the_higher_probability():
    """From all pairs of points with and without the event; half for equal probabilities."""
    forecast, truth = draws(seed=1, members=5), draws(seed=2, members=1)
    one, actual = ensemble("model", forecast), EnsembleTruth(ensemble("truth", truth))
    events = Quantiles((parse_event("z500>1"),), None)
    result = verify([one], actual, align(one, actual), VerifySettings((GLOBE,)), events)
    area = result.figure("roc_area", "model")[0, :, 0, 0, 0]
    weight = np.repeat(GRID.weights, GRID.shape[1])
    weight = np.tile(weight, 6)
    for lead in range(2):
        chance = (forecast["z500"][:, :, lead] >= 1).mean(1).reshape(-1)
        event = (truth["z500"][:, 0, lead] >= 1).reshape(-1)
        pairs = np.sign(chance[event][:, None] - chance[~event]) / 2 + 0.5
        each = weight[event][:, None] * weight[~event]
        np.testing.assert_allclose(area[lead], (each * pairs).sum() / each.sum(), rtol=1e-6)
    assert (area > 0.8).all()


def test_narrow_and_smooth_ensembles_are_told():
    narrow = scored(draws(seed=1, members=20, spread=0.5), draws(seed=2))
    # The mean of 20 half-wide members against a truth of width 1.
    expected = np.sqrt(21 / 20 * 0.25 / (1 + 0.25 / 20))
    np.testing.assert_allclose(narrow.figure("ssr", "model"), expected, rtol=0.03)
    assert (narrow.figure("rank_outliers", "model") > 3).all()
    assert (narrow.figure("rank_chi2", "model") > 0.3).all()
    half = {name: field * 0.5 for name, field in draws(seed=2).items()}
    dim = scored(half, draws(seed=2))
    np.testing.assert_allclose(dim.figure("spectrum_ratio", "model"), 0.25, rtol=1e-4)


def test_half_way_between_climate_and_limit_is_half():
    """CRPS of a wide Gaussian against draws of another is known, and so is the fraction."""
    forecast = ensemble("model", draws(seed=1, members=30, spread=2.0))
    climate = ensemble("climatology", draws(seed=3, members=30, spread=5.0))
    truth = EnsembleTruth(ensemble("truth", draws(seed=2)))
    plan = align(forecast, truth)
    result = verify([forecast, climate], truth, plan, VerifySettings((GLOBE,)))

    def crps(s):
        return np.sqrt(2 / np.pi) * np.sqrt(s**2 + 1) - s / np.sqrt(np.pi)

    exact = (crps(5) - crps(2)) / (crps(5) - crps(1))
    value, low, high = result.estimate("attainable", "model")
    np.testing.assert_allclose(value, exact, atol=0.02)
    assert (low <= value).all()
    assert (value <= high).all()
    assert (high - low < 0.05).all()
    jack = result.jackknifed("attainable", "model", lambda x: x.mean((1, 2, 3)))
    assert jack[1] < exact + 0.02
    assert jack[2] > exact - 0.02


def test_workers_and_chunks_change_nothing():
    alone = scored(draws(seed=1), draws(seed=2))
    together = scored(draws(seed=1), draws(seed=2), workers=3)
    for name in ("crps", "ssr", "energy", "rank_chi2"):
        np.testing.assert_array_equal(
            alone.figure(name, "model"), together.figure(name, "model")
        )


class Endless(Ensemble):
    """Fields made while they are read, so that only what verification keeps is in memory."""

    def __init__(self, name, starts):
        self.name, self.channels, self.members = name, ("z500", "t850"), 20
        self.times = Instants(np.arange(starts, dtype=np.int64) * 30 * DAY, "noleap")
        self.leads, self.lat, self.lon = LEADS, GRID.lat, GRID.lon

    def open(self, case, leads):
        def read(lead, channel):
            generator = np.random.default_rng([case, lead, *self.name.encode()])
            return generator.standard_normal((20, *GRID.shape)).astype(np.float32)

        return read


def test_memory_does_not_grow_with_the_archive():
    def peak(starts):
        forecast, truth = Endless("model", starts), EnsembleTruth(Endless("truth", starts))
        plan = align(forecast, truth)
        tracemalloc.start()
        verify([forecast], truth, plan, VerifySettings((GLOBE,)))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)
    few, many = peak(2), peak(12)
    fields = 20 * 8 * 16 * 4  # of one lead and channel
    # Ten more starts have 60 such fields in the forecast alone. What is kept of a start are sums,
    # with a bin for each member, which do not grow with the grid.
    assert many - few < 20 * fields


def test_a_gap_in_the_forecast_fails_loudly():
    broken = draws(seed=1)
    broken["t850"][0, 3, 1, 2, 2] = np.nan
    with pytest.raises(InputError, match="t850 is not finite at lead 48 h, member 3"):
        scored(broken, draws(seed=2))


def forecast_file(path, fields=None, **change):
    """A file as the forecast command writes them; `change` makes it a foreign one."""
    fields = fields or draws(seed=1)
    starts, members = next(iter(fields.values())).shape[:2]
    times = [cftime.DatetimeNoLeap(1, 1 + i, 1) for i in range(starts)]
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    units = {"z500": "m", "t850": "K", "slp": "hPa"}
    data = xr.Dataset(
        {name: (dims, field, {"units": units[name]}) for name, field in fields.items()},
        {
            "time": times,
            "number": np.arange(members),
            "prediction_timedelta": ("prediction_timedelta", [24, 48], {"units": "hours"}),
            "latitude": GRID.lat,
            "longitude": GRID.lon,
        },
    )
    data = change.pop("then", lambda x: x)(data)
    data.to_zarr(path, zarr_format=2) if path.suffix == ".zarr" else data.to_netcdf(path)
    return path


def test_files_of_other_orders_names_and_units_are_the_same_forecast(tmp_path):
    plain = FileEnsemble(forecast_file(tmp_path / "a.zarr"))

    def foreign(data):
        data = data.isel(latitude=slice(None, None, -1)).roll(longitude=8, roll_coords=True)
        east = data.longitude.values
        data = data.assign_coords(longitude=np.where(east >= 180, east - 360, east))
        data["t850"] = (data.t850 - 273.15).assign_attrs(units="degC")
        data["z500"] = (data.z500 * 9.80665).assign_attrs(units="m**2 s**-2")
        renamed = {"latitude": "lat", "number": "member", "prediction_timedelta": "lead"}
        return data.rename({**renamed, "t850": "ta850", "z500": "geopotential_500"})

    other = FileEnsemble(forecast_file(tmp_path / "b.nc", then=foreign))
    assert set(other.channels) == set(plain.channels)
    np.testing.assert_allclose(other.lon, plain.lon)
    np.testing.assert_allclose(other.lat, plain.lat)
    np.testing.assert_array_equal(other.leads, LEADS)
    for channel in plain.channels:
        np.testing.assert_allclose(
            other.open(3, [0, 1])(1, channel), plain.open(3, [0, 1])(1, channel), atol=1e-4
        )


def test_levels_along_a_dimension_are_channels(tmp_path):
    def stack(data):
        levels = xr.concat([data.z500, 2 * data.z500], "level").assign_coords(level=[850, 500])
        return data.drop_vars(["z500", "t850"]).assign(geopotential_height=levels)

    found = FileEnsemble(forecast_file(tmp_path / "a.nc", then=stack))
    assert found.channels == ("z850", "z500")
    read = found.open(0, [0, 1])
    np.testing.assert_allclose(read(0, "z500"), 2 * read(0, "z850"), rtol=1e-6)


@pytest.fixture
def files(tmp_path):
    forecast = forecast_file(tmp_path / "fc.zarr")
    truth = forecast_file(tmp_path / "truth.nc", draws(seed=2))
    return forecast, truth


def test_the_command_writes_all_files_and_says_the_numbers(files, tmp_path, capsys):
    forecast, truth = map(str, files)
    out = tmp_path / "scores"
    words = ["verify", forecast, truth, "-o", str(out), "--threshold", "z500>1", "--draws", "50"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["truths"] == 10
    data = xr.open_dataset(out / "scores.nc", decode_times=xr.coders.CFDatetimeCoder())
    assert set(data.forecast.values) == {"fc", "perfect"}
    assert data.crps.dims == ("forecast", "lead", "channel", "region")
    row = next(r for r in found["scores"] if r["forecast"] == "fc" and r["channel"] == "z500")
    first = data.crps.sel(forecast="fc", channel="z500", region="globe").isel(lead=0)
    assert row["crps"][0] == pytest.approx(float(first))
    assert row["crps"][1] <= row["crps"][0] <= row["crps"][2]
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"crps", "brier", "energy", "rank_chi2", "ssr"} <= {r["score"] for r in rows}
    chosen = [r for r in rows if r["score"] == "crps" and r["forecast"] == "fc"
              and r["channel"] == "z500" and r["region"] == "globe"]  # fmt: skip
    assert float(chosen[0]["value"]) == pytest.approx(float(first), rel=1e-5)
    assert (chosen[0]["variable"], chosen[0]["level_hPa"], chosen[0]["lead_hours"]) == (
        "z", "500", "24",
    )  # fmt: skip
    for name in ("skill", "spread_skill", "ranks", "spectra", "reliability"):
        assert (out / f"{name}.png").stat().st_size > 5000
    again = [*words[:4], str(tmp_path / "again"), "--no-plots", "--draws", "50"]
    assert main(again) == 0
    text = capsys.readouterr().out
    assert "spread/skill" in text
    assert "10 truths each" in text


def _elsewhere(data):
    return data.assign_coords(time=[cftime.DatetimeNoLeap(9, 1 + i, 1) for i in range(6)])


def _gregorian(data):
    return data.assign_coords(time=np.datetime64("2001-01-01", "s") + np.arange(6) * DAY)


def _coarse(data):
    return data.isel(longitude=slice(None, None, 2))


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (_elsewhere, [], "is in the truth"),
        (_gregorian, [], "calendar"),
        (_coarse, [], "is not the truth's 8x8 ("),
        (None, ["--channels", "q700"], "q700"),
        (None, ["--region", "atlantis"], "atlantis"),
        (None, ["--threshold", ">q0.9"], "--train"),
        (None, ["--baselines", "lim"], "--train"),
        (None, ["--baseline-members", "9"], "--baseline-members: applies to --train only"),
        (None, ["--compare", "nowhere.zarr"], "no such file"),
    ],
)
def test_what_cannot_be_verified_is_one_line(tmp_path, capsys, change, words, message):
    forecast = forecast_file(tmp_path / "fc.zarr")
    truth = forecast_file(
        tmp_path / "truth.nc", draws(seed=2), **({"then": change} if change else {})
    )
    assert main(["verify", str(forecast), str(truth), "-o", str(tmp_path / "s"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "error: " in error
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_dataset_keeps_scores_of_every_start():
    result = scored(draws(seed=1), draws(seed=2))
    data = to_dataset(result)
    np.testing.assert_allclose(
        data.crps_by_time.mean("time").sel(forecast="model"),
        data.crps.sel(forecast="model"), rtol=1e-6,
    )  # fmt: skip
    ranks = data.rank_frequency.sel(forecast="model").sum("rank")
    np.testing.assert_allclose(ranks, 1.0)


def test_scales_of_the_energy_score_weigh_by_area(make_states):
    """A field that varies near the poles alone: they are few of the points by area."""
    from weather.sphere.grids import Grid
    from weather.verification.truths import SeriesTruth

    grid = Grid.parse("regular-19x36")
    rng = np.random.default_rng(0)
    fields = rng.standard_normal((200, 1, *grid.shape)).astype(np.float32)
    fields[:, :, np.abs(grid.lat) < 60] = 0.0
    truth = SeriesTruth(make_states(fields, grid, ("z500",)))
    share = grid.weights[np.abs(grid.lat) >= 60].sum() / grid.weights.sum()
    assert truth.variance("z500", grid.weights) == pytest.approx(share, rel=0.05)
    assert share < 0.2 < (np.abs(grid.lat) >= 60).mean()
