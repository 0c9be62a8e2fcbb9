"""Scores over the points that hold values: sea-surface temperature has none on land."""

import json

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.verification.cases import Frame, score_case
from weather.verification.coverage import Coverage
from weather.verification.kernels import score_field
from weather.verification.regions import parse_region
from weather.verification.remarks import leaving_the_data

LAT, LON = np.linspace(10, 60, 6), np.arange(0.0, 40.0, 5.0)
LAND, FROZEN = (slice(1, 3), slice(2, 5)), (5, slice(None))


def _files(folder, members=4, days=6):
    """A forecast without values on land, and a truth without values on land and ice."""
    rng = np.random.default_rng(0)
    sst = 280 + rng.normal(size=(2, members, 2, 6, 8))
    happened = 280 + rng.normal(size=(days, 6, 8))
    sst[..., LAND[0], LAND[1]] = np.nan
    happened[:, FROZEN[0]] = np.nan
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    start = np.datetime64("2001-01-01", "ns")
    day = np.timedelta64(1, "D")
    axes = {"latitude": LAT, "longitude": LON}
    forecast = xr.Dataset(
        {"sst": (dims, sst.astype("f4"), {"units": "K"})},
        {"time": [start, start + 2 * day], "number": np.arange(members), **axes,
         "prediction_timedelta": ("prediction_timedelta", [1, 2], {"units": "days"})},
    )  # fmt: skip
    truth = xr.Dataset(
        {"sst": (("time", "latitude", "longitude"), happened.astype("f4"), {"units": "K"})},
        {"time": start + np.arange(days) * day, **axes},
    )
    return forecast, truth


def _verify(folder, forecast, truth, *words):
    forecast.to_netcdf(folder / "fc.nc")
    if isinstance(truth, xr.Dataset):
        truth.to_netcdf(folder / "truth.nc")
        truth = folder / "truth.nc"
    words = ["verify", folder / "fc.nc", truth, "-o", folder / "scores", "--no-plots", "--draws",
             10, "--json", *words]  # fmt: skip
    return main([str(word) for word in words])


def test_area_weights_are_those_of_the_points_that_are_left(tmp_path, capsys):
    forecast, truth = _files(tmp_path)
    assert _verify(tmp_path, forecast, truth) == 0
    told = json.loads(capsys.readouterr().out)
    scores = xr.open_dataset(tmp_path / "scores" / "scores.nc")
    valid = np.ones((6, 8), bool)
    valid[LAND] = valid[FROZEN] = False
    weights = np.where(valid, np.cos(np.radians(LAT))[:, None], 0.0)
    for case in range(2):
        for lead in range(2):
            members = forecast.sst.values[case, :, lead].astype(np.float64)
            actual = truth.sst.values[2 * case + lead + 1]
            error = np.nan_to_num(members.mean(0) - actual)
            pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / (2 * 4 * 3)
            crps = np.nan_to_num(np.abs(members - actual).mean(0) - pairs)
            found = scores.isel(forecast=0, channel=0, region=0, time=case, lead=lead)
            square = (weights * error**2).sum() / weights.sum()
            assert float(found.mse_by_time) == pytest.approx(square, rel=1e-5)
            expected = (weights * crps).sum() / weights.sum()
            assert float(found.crps_by_time) == pytest.approx(expected, rel=1e-5)
    share = weights.sum() / (np.cos(np.radians(LAT)).sum() * 8)
    assert told["notes"] == [
        f"sst: scored on {100 * share:.3g} % of the area at least; elsewhere the truth and fc "
        "have no values"
    ]
    assert scores.attrs["notes"] == told["notes"][0]


def test_what_prepare_filled_is_not_scored(tmp_path, capsys):
    forecast, truth = _files(tmp_path)
    truth.to_netcdf(tmp_path / "raw.nc")
    store = tmp_path / "truth.zarr"
    words = ["prepare", "forecast", tmp_path / "raw.nc", "-o", store, "--nan", "sst=fill"]
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    assert _verify(tmp_path, forecast, store) == 0
    filled = json.loads(capsys.readouterr().out)
    (tmp_path / "b").mkdir()
    assert _verify(tmp_path / "b", forecast, truth) == 0
    raw = json.loads(capsys.readouterr().out)
    assert filled["notes"] == raw["notes"]
    for one, other in zip(filled["scores"], raw["scores"], strict=True):
        if "rmse" in one:
            assert one["rmse"][0] == pytest.approx(other["rmse"][0], rel=1e-5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda x: x.__setitem__((0, 2, 0, 0, 0), np.nan), "at lead 24 h, member 2"),
        (lambda x: x.__setitem__((1, slice(None), 1, 0, 0), np.nan), "at lead 48 h, member 0"),
        (lambda x: x.__setitem__((1, slice(None), 1), np.nan), "at lead 48 h, member 0"),
        (lambda x: x.__setitem__((0, slice(None), 0), np.nan), "at lead 24 h, member 0"),
    ],
    ids=["one member", "later", "unfinished", "never begun"],
)
def test_values_that_should_be_there_are_missed(tmp_path, capsys, fault, message):
    forecast, truth = _files(tmp_path)
    fault(forecast.sst.values)
    assert _verify(tmp_path, forecast, truth) == 2
    assert message in capsys.readouterr().err


def test_forecasts_are_compared_where_all_have_values():
    """A point that one of two forecasts lacks is left out of both."""
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(12), size=2)
    truths = rng.normal(size=(1, 12)).astype("f4")
    one, other = (rng.normal(size=(5, 12)).astype("f4") for _ in range(2))
    other[:, 3] = np.nan

    class Stub:
        def __init__(self, name, members):
            from weather.verification.instants import Instants

            self.name, self.members, self.fields = name, len(members), members
            self.times = Instants(np.array([0]), "noleap")
            self.leads = np.array([86400])

        def open(self, case, leads):
            return lambda lead, channel: self.fields.reshape(-1, 3, 4)

    class Truth:
        def covers(self, time, lead):
            return True

        def open(self, time, leads):
            return lambda lead, channel: truths.reshape(1, 3, 4)

    coverage = Coverage(np.ones(12))
    frame = Frame(
        ("sst",), np.array([86400]), weights, np.ones(1), None, None, "noleap", None, coverage
    )
    scored = score_case([Stub("a", one), Stub("b", other)], Truth(), 0, frame, False)
    keep = np.arange(12) != 3
    left = weights[:, keep] / weights[:, keep].sum(-1, keepdims=True)
    for members, found in zip((one, other), scored, strict=True):
        wanted = score_field(members[:, keep], truths[:, keep], left)
        for name in ("crps", "mse", "variance", "ranks"):
            np.testing.assert_allclose(found[name][0, 0], wanted[name], rtol=1e-6)
    assert coverage.notes() == (
        "sst: scored on 91.7 % of the area at least; elsewhere b has no values",
    )


def test_all_of_a_region_may_be_missing():
    weights = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    truths = np.array([[np.nan, np.nan, 1, 2]], "f4")
    found = score_field(np.zeros((3, 4), "f4"), truths, weights)
    assert np.isnan(found["mse"][0]) and found["mse"][1] == 2.5


def test_coverage_refuses_what_is_missing_everywhere():
    fields = np.full((2, 3), np.nan, "f4")
    with pytest.raises(InputError, match="finish the forecast"):
        Coverage(np.ones(3)).lacking("a", "sst", fields, np.zeros((1, 3), "f4"), 3600)


def test_what_other_processes_have_noticed_is_taken_over_if_it_agrees():
    weights = np.full(4, 0.25)
    truths, fields = np.zeros((1, 4), "f4"), np.zeros((2, 4), "f4")
    land = fields.copy()
    land[:, 3] = np.nan
    one, other, odd = Coverage(weights), Coverage(weights), Coverage(weights)
    assert one.lacking("fc", "sst", land, truths, 0).tolist() == [False, False, False, True]
    other.lacking("fc", "sst", land, truths, 0)
    ice = truths.copy()
    ice[:, :2] = np.nan
    one.note("sst", truths, truths)
    other.note("sst", ice, ice)
    one.merge(other)
    assert one.notes() == (
        "sst: scored on 50 % of the area at least; elsewhere the truth and fc have no values",
    )
    odd.lacking("fc", "sst", fields, truths, 0)
    with pytest.raises(InputError, match="fc: sst lacks values at other points from one initial"):
        one.merge(odd)


def test_a_region_that_leaves_the_data_is_said(tmp_path, capsys):
    forecast, truth = _files(tmp_path)
    words = ["--region", "europe", "inside=20:50,5:30"]
    assert _verify(tmp_path, forecast, truth, *words) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [note for note in notes if "leaves the data" in note] == [
        "region europe: leaves the data (10 to 60 N, 0 to 35 E); only its part inside counts"
    ]


@pytest.mark.parametrize(
    ("box", "leaves"),
    [
        ("30:60,350:10", False), ("30:60,-10:10", False), ("30:71,-71:11", False),
        ("30:60,-10:30", True), ("20:60,-10:10", True), ("30:60,200:300", True),
        ("30:60,0:360", True),
    ],
)  # fmt: skip
def test_edges_may_be_out_by_one_spacing(box, leaves):
    lat, lon = np.linspace(30, 70, 17), np.linspace(290, 370, 33)
    assert bool(leaving_the_data([parse_region(box)], lat, lon)) == leaves
    everywhere = np.linspace(-88.75, 88.75, 72), np.arange(0, 360, 2.5)
    assert not leaving_the_data([parse_region(box)], *everywhere)


def test_an_event_that_never_was_is_said(tmp_path, capsys):
    """A pressure below 980 Pa, where 980 hPa is meant, has a perfect Brier score."""
    forecast, truth = _files(tmp_path)
    words = ["--threshold", "sst>8", "sst<8", "sst>280"]
    assert _verify(tmp_path, forecast, truth, *words) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    events = [note for note in notes if note.startswith("event")]
    assert events == [
        f"event sst{name}: {often} there, in every forecast and in the truth (sst is in K); check "
        "its value"
        for name, often in ((">8", "always"), ("<8", "never"))
    ]


def test_events_are_scored_at_the_points_that_have_a_truth():
    rng = np.random.default_rng(1)
    members, truths = rng.normal(size=(2, 5, 9)).astype("f4")
    weights, limits = np.full((1, 9), 1 / 9), np.zeros((2, 9), "f4")
    below = np.array([False, True])
    here = np.arange(9) % 3 > 0
    truths[:, ~here] = np.nan
    found = score_field(members, truths, weights, limits, None, below)
    cut = members[:, here], truths[:, here], np.full((1, 6), 1 / 6), limits[:, here], None, below
    for name, value in score_field(*cut).items():
        np.testing.assert_allclose(found[name], value, err_msg=name)
