"""Reading any file, places, thresholds, maps and diagnostics of the report."""

import os
from pathlib import Path

import cftime
import numpy as np
import pytest
import xarray as xr

from sciddiff.errors import InputError
from weather.report import diagnostics
from weather.report.collect import LeadFields, Truth, collect
from weather.report.maps import MapFrame, coastlines, equal_earth
from weather.report.places import Place, places_within
from weather.report.reading import open_ensemble, when
from weather.report.units import Threshold
from weather.report.write import ReportSettings, write_report
from weather.sphere.grids import Grid

LAT = np.linspace(-84, 84, 15)
LON = np.arange(0, 360, 15.0)


def field(lat, lon):
    """A field that tells every point and turn apart."""
    lat, lon = np.radians(lat), np.radians(lon)
    return 280.0 + 10 * np.sin(lat) + 5 * np.cos(lat) * np.cos(lon - 0.3)


def values(members=4, leads=3):
    base = field(LAT[:, None], LON[None])
    number = np.arange(members)[:, None, None, None]
    lead = np.arange(leads)[None, :, None, None]
    return (base + 0.5 * number + 2.0 * lead).astype(np.float32)


def forecast(path, turned=False, **more):
    """The same forecast in two dialects."""
    data = values()
    start = [cftime.DatetimeNoLeap(2001, 2, 28)]
    if not turned:
        dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
        coords = {"time": start, "number": np.arange(4), "latitude": LAT, "longitude": LON,
                  "prediction_timedelta": np.array([1, 2, 3], "timedelta64[D]")}  # fmt: skip
        z = {"units": "K"}
        made = xr.Dataset({"t850": (dims, data[None], z)}, {**coords, **more})
    else:
        east = (LON + 180) % 360 - 180
        order = np.argsort(east)
        made = xr.Dataset(
            {"temperature": (("lead", "level", "lon", "lat", "member"),
                             data.transpose(1, 3, 2, 0)[:, None, order, ::-1] - 273.15,
                             {"units": "degC"})},
            {"lead": ("lead", [24, 48, 72], {"units": "hours"}), "level": [850],
             "lon": east[order], "lat": LAT[::-1], "start": start[0]},
        )  # fmt: skip
    if path.suffix == ".zarr":
        made.to_zarr(path, consolidated=False, zarr_format=2)
    else:
        made.to_netcdf(path)
    return path


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_every_dialect_gives_the_same_members_at_a_place(tmp_path, name):
    place = [Place("here", 50.0, -10.0)]
    one = open_ensemble(forecast(tmp_path / name))
    two = open_ensemble(forecast(tmp_path / "b.nc", turned=True))
    assert one.kind == two.kind == "forecast" and one.members == two.members == 4
    assert list(one.shown) == list(two.shown) == ["t850"]
    first, second = (collect(e, "t850", 0, [0, 1, 2], [2], place) for e in (one, two))
    np.testing.assert_allclose(first.places, second.places, atol=1e-3)
    wanted = field(50.0, -10.0) - 273.15 + 0.5 * np.arange(4)[:, None] + 2.0 * np.arange(3)
    np.testing.assert_allclose(first.places[0], wanted, atol=0.15)
    np.testing.assert_allclose(one.leads, two.leads)
    # The calendar without leap days goes from 28 February to 1 March.
    assert when(one.valid(0, 0)) == when(two.valid(0, 0)) == "1 Mar 2001 00 UTC"
    assert one.shown["t850"].units == "°C" and one.shown["t850"].difference_units == "K"


def test_analyses_have_one_start_and_leads_from_it(tmp_path):
    times = np.array(["2017-01-01", "2017-01-01T12", "2017-01-03"], "datetime64[ns]")
    made = xr.Dataset(
        {"z": (("time", "level", "lat", "lon"), np.full((3, 1, 15, 24), 9806.65),
               {"units": "m**2 s**-2"}),
         "odd": (("time", "lat", "lon"), np.zeros((3, 15, 24)), {"units": "furlong"})},
        {"time": times, "level": [500], "lat": LAT, "lon": LON},
    )  # fmt: skip
    made.to_netcdf(tmp_path / "era.nc")
    found = open_ensemble(tmp_path / "era.nc")
    assert found.kind == "analysis" and found.members == 1
    np.testing.assert_allclose(found.leads, [0, 0.5, 2])
    np.testing.assert_allclose(found.read("z500", 0, 1), 1000.0, rtol=1e-6)
    assert list(found.shown) == ["z500", "odd"] and found.shown["odd"].units == "furlong"


def test_wind_speed_comes_from_its_components(tmp_path):
    full = np.ones((1, 15, 24))
    made = xr.Dataset(
        {"u10": (("time", "lat", "lon"), 3 * full, {"units": "m s-1"}),
         "v10": (("time", "lat", "lon"), -4 * full, {"units": "m/s"})},
        {"time": np.array(["2020-01-01"], "datetime64[ns]"), "lat": LAT, "lon": LON},
    )  # fmt: skip
    made.to_netcdf(tmp_path / "wind.nc")
    found = open_ensemble(tmp_path / "wind.nc")
    assert found.shown["wind10"].label == "10 m wind speed"
    np.testing.assert_allclose(found.read("wind10", 0, 0), 5.0)


def test_files_that_cannot_be_shown_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_ensemble(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not a file of data")
    with pytest.raises(InputError, match="text.nc: damaged, or not a Zarr store or a NetCDF file"):
        open_ensemble(tmp_path / "text.nc")
    made = xr.Dataset({"z": (("month", "lat", "lon"), np.zeros((2, 15, 24)))},
                      {"month": [1, 7], "lat": LAT, "lon": LON})  # fmt: skip
    made.to_netcdf(tmp_path / "month.nc")
    with pytest.raises(InputError, match="--select month=0"):
        open_ensemble(tmp_path / "month.nc")
    assert open_ensemble(tmp_path / "month.nc", {"month": 1}).read("z", 0, 0).shape == (1, 15, 24)
    with pytest.raises(InputError, match="choose from these"):
        open_ensemble(tmp_path / "month.nc", {"month": 9})


def test_prepared_store_gives_its_channels(tmp_path):
    made = xr.Dataset(
        {"fields": (("time", "channel", "lat", "lon"), np.stack([values()[:2, 0]] * 2, 1))},
        {"time": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), "lat": LAT,
         "channel": ["tas", "t850"], "lon": LON, "units": ("channel", ["K", "K"])},
    )  # fmt: skip
    made.to_zarr(tmp_path / "store.zarr", consolidated=False, zarr_format=2)
    found = open_ensemble(tmp_path / "store.zarr")
    assert list(found.shown) == ["tas", "t850"]
    np.testing.assert_allclose(found.read("t850", 0, 1)[0], values()[1, 0, :, :][
        :, np.argsort((LON + 180) % 360)] - 273.15, atol=1e-4)  # fmt: skip


def test_thresholds_in_units_of_the_file_or_as_shown(tmp_path):
    shown = open_ensemble(forecast(tmp_path / "a.nc")).shown
    for text in ("t850>10degC", "t850 > 283.15", "t850>283.15 K", "t850 >= 10 °C"):
        found = Threshold.parse(text, shown)
        assert found.above and found.value == pytest.approx(10.0), text
    assert str(Threshold.parse("t850<-5.5degC", shown)) == "t850 < -5.5 °C"
    for text, message in (
        ("t850", "not of the form"),
        ("t850>x", "not of the form"),
        ("z500>1", "there are t850"),
        ("t850>3 hPa", "shown in °C"),
    ):
        with pytest.raises(InputError, match=message):
            Threshold.parse(text, shown)


def test_places():
    place = Place.parse("Rio, de Janeiro,-22.9,-43.2")
    assert place == Place("Rio, de Janeiro", -22.9, -43.2)
    assert str(place) == "22.9°S 43.2°W"
    for text in ("Bergen", "Bergen,60.4", "Bergen,north,5", ",1,2", "x,100,0"):
        with pytest.raises(InputError, match="--place"):
            Place.parse(text)
    box = np.linspace(30, 70, 9), np.linspace(-70, 10, 17)
    assert [p.name for p in places_within((), *box)] == ["Bergen"]
    with pytest.raises(InputError, match="--place Tokyo"):
        places_within((Place("Tokyo", 35.7, 139.7),), *box)
    (middle,) = places_within((), np.linspace(-60, -50, 3), np.linspace(-150, -140, 3))
    assert (middle.lat, middle.lon) == (-55.0, -145.0)


def test_equal_earth_keeps_areas():
    lat = np.linspace(-90, 90, 2001)
    x, y = equal_earth(np.full_like(lat, 180.0), lat)
    area = np.concatenate([[0], np.cumsum(np.diff(y) * (x[1:] + x[:-1]))])
    np.testing.assert_allclose(area, 2 * np.pi * (np.sin(np.radians(lat)) + 1), atol=1e-4)
    west, _ = equal_earth(-180.0, 30.0)
    east, _ = equal_earth(180.0, 30.0)
    assert west == -east


def test_maps_close_the_seam_and_the_poles():
    lon = np.arange(-175.0, 180.0, 10.0)
    frame = MapFrame(LAT, lon)
    east = np.radians(lon)[None] + 0 * LAT[:, None]
    x, y, closed = frame.mesh(np.cos(east))
    np.testing.assert_allclose(closed[1:-1, 0], closed[1:-1, -1])
    np.testing.assert_allclose(closed[1:-1, 0], np.cos(np.radians(175.0)))
    np.testing.assert_allclose([x.min(), x.max()], [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose([y.min(), y.max()], [0.0, frame.aspect], atol=1e-12)
    moved = frame.at(2.0, 3.0, 5.0)
    np.testing.assert_allclose(moved.project(0.0, 0.0), (4.5, 3.0 + 2.5 * frame.aspect))


def test_no_coast_jumps_over_the_date_line():
    lon, lat = coastlines()
    assert len(lon) == len(lat) > 5000
    steps = np.abs(np.diff(lon))
    assert np.nanmax(steps) < 60.0


def test_rank_histogram_is_flat_for_an_exchangeable_truth_and_u_shaped_without_spread():
    rng = np.random.default_rng(3)
    weights = diagnostics.row_weights(LAT, LON)
    draws = rng.normal(size=(10, 120, 120))
    even = np.ones(120)
    shares = diagnostics.rank_shares(draws[:9], draws[9:], even)
    np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / 14400))
    narrow = diagnostics.rank_shares(0.3 * draws[:9], draws[9:], even)
    assert narrow[0] > 0.3 and narrow[-1] > 0.3
    zeros = np.zeros((10, 120, 120))
    tied = diagnostics.rank_shares(zeros[:9], zeros[9:], even)
    np.testing.assert_allclose(tied, 0.1, atol=4 * np.sqrt(0.09 / 14400))
    assert weights.mean() == pytest.approx(1.0) and weights[0] < weights[7]


def test_scores_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    members, truth = rng.normal(size=(6, 15, 24)), rng.normal(size=(2, 15, 24))
    weights = diagnostics.row_weights(LAT, LON)
    found = diagnostics.scores(LeadFields(0, members, truth), weights)
    pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / (6 * 5)
    crps = np.abs(members[None] - truth[:, None]).mean((0, 1)) - 0.5 * pairs
    assert found["crps"] == pytest.approx((crps * weights[:, None]).mean())
    error = ((members.mean(0) - truth) ** 2).mean(0)
    assert found["rmse"] == pytest.approx(np.sqrt((error * weights[:, None]).mean()))
    assert diagnostics.scores(LeadFields(0, members[:1], truth), weights) is None


def test_power_of_one_harmonic_is_at_its_wavenumber():
    grid = Grid.parse("gaussian-32x64")
    lat, lon = np.radians(grid.lat)[:, None], np.radians(grid.lon - 180.0)[None]
    one = 3.0 * np.cos(lat) ** 4 * np.cos(4 * lon)  # Y(4, 4)
    wavenumber, values, kind = diagnostics.power(one[None], grid.lat, grid.lon - 180.0)
    assert kind == "total wavenumber" and wavenumber[np.argmax(values)] == 4
    np.testing.assert_allclose(values[3], (one**2 * grid.weights[:, None]).mean(), rtol=1e-6)
    assert np.delete(values, 3).max() < 1e-10 * values[3]
    box = np.sin(2 * np.pi * 3 * np.arange(30) / 30)[None, None] * np.ones((1, 5, 1))
    wavenumber, values, kind = diagnostics.power(box, np.linspace(40, 50, 5), np.arange(30.0))
    assert wavenumber[np.argmax(values)] == 3 and values[2] == pytest.approx(0.5)


def test_truth_is_found_by_its_valid_time_on_another_grid(tmp_path):
    ensemble = open_ensemble(forecast(tmp_path / "a.nc"))
    fine = np.linspace(-90, 90, 91)
    east = np.arange(-180, 180, 3.0)
    days = xr.date_range("2001-02-27", periods=5, calendar="noleap", use_cftime=True)
    fields = field(fine[:, None], east[None]) + 10.0 * np.arange(5)[:, None, None]
    xr.Dataset(
        {"ta850": (("time", "lat", "lon"), fields, {"units": "K"})},
        {"time": days, "lat": fine, "lon": east},
    ).to_netcdf(tmp_path / "truth.nc")
    truth = Truth(open_ensemble(tmp_path / "truth.nc"), ensemble)
    found = truth.fields("t850", 0, 1)  # 2 March: the fourth day of the file
    wanted = field(ensemble.lat[:, None], ensemble.lon[None]) + 30.0 - 273.15
    np.testing.assert_allclose(found[0], wanted, atol=0.02)
    assert truth.fields("t850", 0, 2) is not None and truth.fields("mslp", 0, 1) is None
    small = open_ensemble(tmp_path / "truth.nc")
    box = xr.Dataset({"ta850": (("time", "lat", "lon"), fields[:, :9, :9], {"units": "K"})},
                     {"time": days, "lat": fine[:9], "lon": east[:9]})  # fmt: skip
    box.to_netcdf(tmp_path / "box.nc")
    assert small.members == 1
    with pytest.raises(InputError, match="does not cover"):
        Truth(open_ensemble(tmp_path / "box.nc"), ensemble)


def test_members_without_values_are_left_out(tmp_path):
    path = forecast(tmp_path / "a.nc")
    with xr.open_dataset(path, decode_timedelta=False) as opened:
        half = opened.load()
    half["t850"][:, 2:] = np.nan
    half.to_netcdf(tmp_path / "half.nc")
    found = open_ensemble(tmp_path / "half.nc")
    data = collect(found, "t850", 0, [0], [0], [Place("x", 0, 0)])
    assert len(data.maps[0].members) == 2
    half["t850"][:] = np.nan
    half.to_netcdf(tmp_path / "none.nc")
    with pytest.raises(InputError, match="no values"):
        collect(open_ensemble(tmp_path / "none.nc"), "t850", 0, [0], [0], [Place("x", 0, 0)])


DATA = Path(os.environ.get("SCIDDIFF_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("era5_eda_10members_3deg_20170101.nc", {"leads": (1.0,), "variables": ("z500",)}),
        ("era5_global_1deg_7days_2026.nc", {"leads": (0.0,), "variables": ("t2m", "wind10")}),
        ("era5_tl31_1959-01-02T00_37levels.nc", {"variables": ("sst", "q700")}),
        ("ncep_r1_slp_natlantic_daily_2001-2010.nc", {"leads": (3.0,)}),
        ("ncep_r1_iberia_djf_daily_1983-2002.nc", {"leads": (0.0,), "variables": ("t850",)}),
    ],
)
def test_real_files_are_shown_as_they_are(tmp_path, name, settings):
    path = DATA / "weather" / "real" / name
    if not path.is_file():
        pytest.skip("reanalysis absent: set SCIDDIFF_DATA to a folder with weather/real")
    ensemble = open_ensemble(path)
    page = write_report(tmp_path, ensemble, ReportSettings(**settings))
    assert page.stat().st_size > 50_000
    assert any((tmp_path / "figures").glob("mean_*.png"))
    assert bool(list((tmp_path / "figures").glob("stamps_*.png"))) == (ensemble.members > 1)
