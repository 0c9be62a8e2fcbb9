"""Files that mean something else than they seem to: levels, times, halves, fills, lost pieces."""

import shutil
from dataclasses import replace
from pathlib import Path

import cftime
import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data.channels import find_by_alias, parse_channel
from weather.data.integrity import check_grib
from weather.data.levels import pressure_levels
from weather.data.prepare import prepare_forecast
from weather.data.reading import ReaderSettings, open_reader, read_fields
from weather.data.rectangles import Rectangle
from weather.data.store import Store
from weather.data.times import Period, as_times, label, snap


def _channels(paths, **settings) -> dict[str, np.ndarray]:
    reader = open_reader(paths, ReaderSettings(**settings))
    fields, _ = reader.block(0, len(reader.selection.times))
    return {m.channel.name: fields[:, k] for k, m in enumerate(reader.matching.matches)}


@pytest.fixture
def era(make_dataset):
    """Twenty days on three levels, with wind."""
    ds = make_dataset(levels=(250, 500, 850))
    ds["u"] = (ds.t - 270.0).assign_attrs(units="m/s")
    return ds


@pytest.mark.parametrize("units", ["hPa", "Pa"])
def test_single_levels_of_several_files_keep_their_levels(era, tmp_path, units):
    scale = 100.0 if units == "Pa" else 1.0
    for name, level in (("z", 500), ("t", 850), ("u", 250)):
        one = era[[name]].sel(level=level)
        one = one.assign_coords(level=((), level * scale, {"units": units}))
        one.to_netcdf(tmp_path / f"{name}.nc")
    found = _channels([tmp_path / f"{name}.nc" for name in "ztu"])
    assert set(found) == {"z500", "t850", "u250"}
    np.testing.assert_allclose(found["t850"], era.t.sel(level=850), rtol=1e-6)
    np.testing.assert_allclose(found["u250"], era.u.sel(level=250), rtol=1e-6)


def test_a_level_that_one_file_alone_has_is_not_lost(era, tmp_path):
    """Two variables at 500 hPa, one of them at 850 hPa as well, in files of their own."""
    era[["z", "t"]].sel(level=[500]).to_netcdf(tmp_path / "a.nc")
    era[["z"]].sel(level=850).to_netcdf(tmp_path / "b.nc")
    found = _channels([tmp_path / "a.nc", tmp_path / "b.nc"])
    assert set(found) == {"z500", "z850", "t500"}
    np.testing.assert_allclose(found["z850"], era.z.sel(level=850) / 9.80665, rtol=1e-6)


def _two_years(ds, folder, change):
    """The first half of the days in one file, the second, changed, in another."""
    first, second = ds.isel(time=slice(0, 10)), change(ds.isel(time=slice(10, 20)))
    first.to_netcdf(folder / "1.nc")
    second.to_netcdf(folder / "2.nc")
    return [folder / "1.nc", folder / "2.nc"]


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.rename(z="geopotential", msl="mean_sea_level_pressure"),
        lambda ds: ds.isel(level=[2, 0, 1]),
        lambda ds: ds[["u", "tp", "t", "msl", "z"]],
        lambda ds: ds.assign(u=ds.u.assign_attrs(units="m s**-1")),
        lambda ds: ds.assign_coords(level=("level", ds.level.values * 100, {"units": "Pa"})),
        lambda ds: ds.assign(r=ds.t.assign_attrs(units="%") - 220),
    ],
    ids=["names", "levels", "order", "spelling", "pascal", "extra"],
)
def test_files_of_a_series_may_differ_in_what_does_not_matter(era, tmp_path, change):
    paths = _two_years(era, tmp_path, change)
    names = ("z500", "t850", "u250", "mslp", "tp")
    _, fields = read_fields(paths, ReaderSettings(names))
    era.to_netcdf(tmp_path / "whole.nc")
    _, wanted = read_fields([tmp_path / "whole.nc"], ReaderSettings(names))
    np.testing.assert_allclose(fields, wanted, rtol=1e-6)
    # Without a choice of variables the days are the same twenty.
    assert len(open_reader(paths, ReaderSettings()).selection.times) == 20


def test_a_variable_of_some_files_is_left_out_with_the_reason(era, tmp_path):
    paths = _two_years(era, tmp_path, lambda ds: ds.assign(r=(ds.t - 220).assign_attrs(units="%")))
    reader = open_reader(paths, ReaderSettings())
    (left,) = reader.matching.left
    assert left.source.startswith("r at 250") and "has 10 of the 20 times of" in left.why
    assert len(open_reader(paths, ReaderSettings(variables=("r500",))).selection.times) == 10


@pytest.mark.parametrize(
    ("lat", "globe"),
    [
        (np.linspace(0, 90, 19), False),
        (np.linspace(-90, 0, 19), False),
        (np.linspace(-88, 88, 45), True),
        (np.linspace(-60, 88, 38), False),
        (np.concatenate([[-90, -85], np.arange(0, 86, 5), [90]]), True),
    ],
)
def test_the_globe_reaches_both_poles(lat, globe):
    grid = Rectangle(lat, np.arange(3.0, 363.0, 10.0))
    assert grid.is_global is globe


def test_one_hemisphere_is_no_globe_for_a_command(era, tmp_path, capsys):
    era.isel(latitude=slice(6, None)).to_netcdf(tmp_path / "north.nc")
    words = ["prepare", "forecast", str(tmp_path / "north.nc"), "-o", str(tmp_path / "a.zarr")]
    assert main([*words, "--grid", "gaussian-8x16"]) == 2
    assert "the files cover a region only" in capsys.readouterr().err


def _patch(ds, value):
    ds["t"][7, 1, 2, 3] = value
    return ds


def _never_written(ds):
    ds["t"][13, 2] = 0.0
    return ds


def _celsius_from(ds):
    ds["t"][12:] = ds.t[12:] - 273.15
    return ds


def _out_of_range(ds):
    ds["t"][9, 0, 3, 4] = 399.0
    ds["t"].attrs["valid_range"] = np.asarray([100.0, 350.0], dtype="f4")
    return ds


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda ds: _patch(ds, -9999.0), r"t: -9999 K at 60S 45E .*2001-01-08.* --missing t=-99"),
        (_never_written, "t: a mean of 0 K at 2001-01-14.* is not plausible for t850"),
        (_celsius_from, "2001-01-20.*but degC would be; say --units t=.degC., or if"),
        (_out_of_range, r"t250: 0.32% of the field is missing .* at 2001-01-10"),
    ],
    ids=["fill", "zero", "celsius", "range"],
)
def test_every_value_is_judged_not_the_first_mean(era, tmp_path, change, line):
    change(era).to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(InputError, match=line):
        prepare_forecast([tmp_path / "bad.nc"], tmp_path / "out.zarr")


def test_a_value_declared_missing_is_filled(era, tmp_path):
    _patch(era, -9999.0).to_netcdf(tmp_path / "a.nc")
    found = _channels(
        [tmp_path / "a.nc"], variables=("t500",), missing={"t": -9999.0}, nan={"t500": "min"}
    )
    assert found["t500"].min() > 200


def test_packed_valid_ranges_are_unpacked(era, tmp_path):
    """Bounds of the packed type count in packed units (NetCDF Users' Guide)."""
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 270.0, "_FillValue": -32768}
    era["t"].attrs["valid_range"] = np.asarray([-10000, 10000], dtype="i2")
    era.to_netcdf(tmp_path / "a.nc", encoding={"t": packed})
    reader = open_reader([tmp_path / "a.nc"], ReaderSettings(variables=("t",)))
    assert reader.dataset["t"].attrs["valid_range"] == (170.0, 370.0)


@pytest.mark.parametrize("form", ["ecmwf", "weatherbench", "cf", "cftime"])
def test_fields_are_stamped_with_their_valid_time(era, tmp_path, form):
    ds = era[["msl"]]
    if form == "cf":
        ds = ds.assign_coords(
            forecast_period=((), 24, {"units": "hours", "standard_name": "forecast_period"}),
            forecast_reference_time=("time", ds.time.values - np.timedelta64(24, "h"),
                                     {"standard_name": "forecast_reference_time"}),
        )  # fmt: skip
        wanted = "2001-01-01T00:00:00"
    else:
        name = "step" if form == "ecmwf" else "prediction_timedelta"
        ds = ds.expand_dims({name: [24]}) if form == "weatherbench" else ds.assign_coords(step=24)
        name = name if name in ds.coords else "step"
        ds[name].attrs["units"] = "hours"
        if form == "cftime":
            ds = ds.convert_calendar("noleap")
        wanted = "2001-01-02T00:00:00"
    ds.to_netcdf(tmp_path / "lead.nc")
    times, fields = read_fields([tmp_path / "lead.nc"], ReaderSettings())
    assert label(times[0]) == wanted
    np.testing.assert_allclose(fields[:, 0], np.squeeze(ds.msl.values))


def test_a_lead_without_units_is_refused(era, tmp_path):
    era[["msl"]].assign_coords(step=24).to_netcdf(tmp_path / "lead.nc")
    with pytest.raises(InputError, match="lead time step = 24 has no units of time"):
        read_fields([tmp_path / "lead.nc"], ReaderSettings())


@pytest.mark.parametrize(
    ("values", "attrs", "outcome"),
    [
        ([100000.0, 50000.0], {}, [1000.0, 500.0]),
        ([1000, 500], {"units": "millibars", "long_name": "pressure_level"}, [1000.0, 500.0]),
        ([100, 50], {"units": "kPa"}, [1000.0, 500.0]),
        ([1, 2, 3], {}, "may be model levels"),
        ([60, 100, 137], {}, "may be model levels"),
        ([300, 315, 330], {}, "may be model levels or potential temperatures"),
        ([300.0, 350.0], {"units": "K"}, "in K, which is no pressure"),
        ([500, 850], {"units": "1", "long_name": "model_level_number"}, "model levels, not pres"),
        ([300.0, 350.0], {"standard_name": "air_potential_temperature"}, "potential temperature"),
        ([85000.0], {"units": "hPa"}, "no pressures of the atmosphere"),
        (["a", "b"], {}, "not numbers"),
    ],
)
def test_numbers_are_pressures_or_are_not(values, attrs, outcome):
    found = pressure_levels(xr.DataArray(values, dims="level", attrs=attrs))
    if isinstance(outcome, str):
        assert isinstance(found, str) and outcome in found
    else:
        assert not isinstance(found, str) and found.tolist() == outcome


def test_bare_levels_are_pressures_if_the_user_says_so(era, tmp_path, capsys):
    era["level"] = [5, 6, 7]
    era.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"may be model levels .*say --units level=hPa"):
        open_reader([tmp_path / "a.nc"], ReaderSettings(variables=("t",)))
    reader = open_reader(
        [tmp_path / "a.nc"],
        ReaderSettings(variables=("t",), units={"level": "hPa"}, any_values=True),
    )
    assert [m.channel.level_hPa for m in reader.matching.matches] == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(("name", "channel"), [("q2", "q2m"), ("r2", "r2m"), ("t2", "tas")])
def test_two_metres_are_not_two_hectopascal(era, tmp_path, name, channel):
    units = {"q2": "kg kg-1", "r2": "%", "t2": "K"}[name]
    value = {"q2": 0.005, "r2": 60.0, "t2": 285.0}[name]
    era[name] = xr.full_like(era.msl, value).assign_attrs(units=units)
    era[[name]].to_netcdf(tmp_path / "a.nc")
    assert set(_channels([tmp_path / "a.nc"])) == {channel}
    assert parse_channel("q2hPa").level_hPa == 2.0
    assert find_by_alias("q700") == (find_by_alias("q")[0], 700.0)  # type: ignore[index]


def test_a_number_that_is_a_height_is_no_pressure(era, tmp_path):
    era["u50"] = era.u[:, 0].drop_vars("level").assign_attrs(units="m/s", long_name="50 m wind")
    era[["u50", "msl"]].to_netcdf(tmp_path / "a.nc")
    reader = open_reader([tmp_path / "a.nc"], ReaderSettings())
    assert [m.channel.name for m in reader.matching.matches] == ["mslp"]
    assert reader.matching.left[0].why == "50 m above the ground, not at 50 hPa"


def test_times_are_rounded_to_seconds():
    late = np.datetime64("2001-01-01T05:59:59.999999700", "ns")
    assert label(as_times(late)[0]) == "2001-01-01T06:00:00"
    odd = cftime.datetime(1, 2, 28, 23, 59, 59, 999990, calendar="noleap")
    assert label(as_times([odd])[0]) == "0001-03-01T00:00:00"


def test_single_precision_is_no_gap(era, tmp_path):
    """Six-hourly days since 1800 as float32 are up to 11 minutes off."""
    hours = np.arange(20) * 6 + 6 * 36525 * 4
    time = xr.Variable("time", (hours / 24 + 0.01).astype("f4"),
                       {"units": "days since 1800-01-01"})  # fmt: skip
    time = time.copy(data=(hours / 24).astype("f4"))
    era[["msl"]].assign_coords(time=time).to_netcdf(tmp_path / "a.nc")
    reader = open_reader([tmp_path / "a.nc"], ReaderSettings())
    assert reader.selection.step.hours == 6.0
    blurred = np.datetime64("2001-01-01T00:00:00") + np.asarray([-200, 3800, 7100]).astype(
        "timedelta64[s]"
    )
    assert [label(t)[11:] for t in snap(blurred, 250.0)] == ["00:00:00", "01:00:00", "02:00:00"]
    assert np.array_equal(snap(blurred, 100.0), blurred)


def test_truncated_grib_is_refused(tmp_path):
    """Decoders skip a message that is cut off; the frame of the messages tells."""
    message = b"GRIB" + (40).to_bytes(3, "big") + b"\x01" + bytes(28) + b"7777"
    second = b"GRIB" + bytes(3) + b"\x02" + (60).to_bytes(8, "big") + bytes(40) + b"7777"
    path = tmp_path / "a.grib"
    path.write_bytes(message + b"padding" + second)
    check_grib(path)
    path.write_bytes(message + second[:-10])
    with pytest.raises(InputError, match=r"message 2, at byte 40, is cut off .*50 of 60 bytes"):
        check_grib(path)
    path.write_bytes(message[:-4] + b"6666" + second)
    with pytest.raises(InputError, match="message 1, at byte 0"):
        check_grib(path)


def _without_chunk(folder: Path, part: str) -> None:
    gone = [p for p in folder.rglob("*") if p.is_file() and part in str(p.relative_to(folder))]
    assert gone
    gone[-1].unlink()


@pytest.mark.parametrize("version", [2, 3])
def test_a_lost_chunk_of_a_source_is_no_field_of_zeros(era, tmp_path, version):
    path = tmp_path / "a.zarr"
    encoding = {"u": {"chunks": (5, 3, 13, 24)}, "tp": {"chunks": (5, 13, 24)}}
    for name in ("u", "tp"):
        era[name].encoding["_FillValue"] = None
    era[["u", "tp"]].to_zarr(path, zarr_format=version, encoding=encoding, consolidated=False)
    open_reader([path], ReaderSettings())
    _without_chunk(path, "u/c/2" if version == 3 else "u/2.")
    if version == 2:  # no fill value is declared: zeros are read
        for name in ("u", "tp"):
            file = path / name / ".zarray"
            file.write_text(file.read_text().replace('"NaN"', "null"))
    else:
        for name in ("u", "tp"):
            file = path / name / "zarr.json"
            file.write_text(file.read_text().replace('"fill_value": "NaN"', '"fill_value": 0.0'))
    with pytest.raises(InputError, match=r"u: the store lacks 1 of 4 chunks, read as 0"):
        open_reader([path], ReaderSettings())
    _without_chunk(path, "tp/c/1" if version == 3 else "tp/1.")
    reader = open_reader([path], ReaderSettings(variables=("tp",)))
    assert any("tp: the store lacks 1 of 4 chunks" in note for note in reader.selection.notes)


@pytest.mark.parametrize("part", ["fields/1.", "digest/0.", "time/0", "mean/0"])
def test_a_prepared_store_notices_what_it_lost(era, tmp_path, part):
    era.to_netcdf(tmp_path / "a.nc")
    whole = prepare_forecast([tmp_path / "a.nc"], tmp_path / "a.zarr").store
    assert whole is not None
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    _without_chunk(tmp_path / "b.zarr", part)
    store = Store(tmp_path / "b.zarr")
    with pytest.raises(InputError, match=r"b.zarr.*(damaged|not those of its fingerprint)"):
        _ = store.statistics, store.read(0, 20), store.statistics_over(Period())
    assert len(whole.read(0, 20)) == 20


def test_a_damaged_chunk_is_one_line(era, tmp_path, capsys):
    era.to_netcdf(tmp_path / "a.nc")
    prepare_forecast([tmp_path / "a.nc"], tmp_path / "a.zarr")
    chunk = next((tmp_path / "a.zarr" / "fields").glob("1.*"))
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(InputError, match="a.zarr/fields: damaged"):
        Store(tmp_path / "a.zarr").read(16, 18)
    era.to_netcdf(tmp_path / "b.nc", encoding={n: {"zlib": True} for n in era.data_vars})
    data = bytearray((tmp_path / "b.nc").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    (tmp_path / "b.nc").write_bytes(data)
    words = ["prepare", "forecast", str(tmp_path / "b.nc"), "-o", str(tmp_path / "c.zarr")]
    assert main(words) == 2
    assert "b.nc" in capsys.readouterr().err


def test_members_may_have_names(era, tmp_path):
    ds = era[["msl"]]
    many = xr.concat([ds, ds + 100.0], xr.Variable("realization", ["r1i1p1f1", "r2i1p1f1"]))
    many.msl.attrs = ds.msl.attrs
    many.to_netcdf(tmp_path / "m.nc")
    with pytest.raises(InputError, match=r"choose one with --member LABEL \(r1i1p1f1 to r2i1p1f1"):
        open_reader([tmp_path / "m.nc"], ReaderSettings())
    found = _channels([tmp_path / "m.nc"], member="r2i1p1f1")
    np.testing.assert_allclose(found["mslp"], ds.msl + 100.0)


@pytest.fixture
def hourly(tmp_path):
    """Three days of hourly rain and temperature, from midnight on."""
    rng = np.random.default_rng(3)
    time = np.datetime64("2001-01-01T00", "ns") + np.arange(73) * np.timedelta64(1, "h")
    lat, lon = np.linspace(-90, 90, 13), np.arange(24) * 15.0
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {
            "tp": (dims, rng.random((73, 13, 24)) * 1e-3, {"units": "m"}),
            "t2m": (dims, 280 + rng.random((73, 13, 24)), {"units": "K"}),
        },
        {"time": time, "latitude": lat, "longitude": lon},
    )
    ds.to_netcdf(tmp_path / "hourly.nc")
    return ds, tmp_path / "hourly.nc"


def test_hourly_rain_is_not_thinned(hourly):
    _, path = hourly
    with pytest.raises(InputError, match=r"tp is of the 1 h up to each time.*--aggregate tp=sum"):
        open_reader([path], ReaderSettings(step_hours=24.0))
    open_reader([path], ReaderSettings(variables=("tas",), step_hours=24.0))


def test_sums_and_means_over_the_day_that_ends(hourly, tmp_path):
    ds, path = hourly
    settings = ReaderSettings(step_hours=24.0, aggregate={"tp": "sum", "tas": "mean"})
    store = prepare_forecast([path], tmp_path / "day.zarr", settings).store
    assert store is not None and [label(t)[:13] for t in store.times] == [
        "2001-01-02T00", "2001-01-03T00", "2001-01-04T00"
    ]  # fmt: skip
    place = {name: i for i, name in enumerate(store.names)}
    fields = store.read(0, 3)
    days = ds.tp.values[1:].reshape(3, 24, 13, 24)
    np.testing.assert_allclose(fields[:, place["tp"]], 1000 * days.sum(1), rtol=1e-6)
    means = ds.t2m.values[1:].reshape(3, 24, 13, 24).mean(1)
    np.testing.assert_allclose(fields[:, place["tas"]], means, rtol=1e-6)
    assert {c.name: c.cell_methods for c in store.channels} == {
        "tp": "time: sum", "tas": "time: mean"
    }  # fmt: skip
    with xr.open_zarr(tmp_path / "day.zarr") as opened:
        bounds = opened["time_bnds"]
        assert opened["time"].attrs.get("bounds", opened["time"].encoding.get("bounds"))
        assert (bounds[:, 1] - bounds[:, 0] == np.timedelta64(24, "h")).all()
        assert np.array_equal(bounds[:, 1], opened["time"])
    with pytest.raises(InputError, match="fields 1 h apart do not make periods of 2.5 h"):
        open_reader([path], ReaderSettings(step_hours=2.5, aggregate={"tp": "sum"}))


def test_periods_with_holes_are_refused_or_named(hourly, tmp_path):
    """Also those at the end, and those whose loss leaves an even step: days 1 and 3 of three."""
    ds, _ = hourly
    settings = ReaderSettings(step_hours=24.0, aggregate={"tp": "sum"})
    for hole, first, kept in ((30, "2001-01-02T00", 2), (70, "2001-01-03T00", 2)):
        ds.drop_isel(time=hole).to_netcdf(tmp_path / f"{hole}.nc")
        with pytest.raises(InputError, match=f"1 of 3 periods of 24 h lack fields.*{first}.*keep"):
            open_reader([tmp_path / f"{hole}.nc"], settings)
        reader = open_reader([tmp_path / f"{hole}.nc"], replace(settings, gaps="keep"))
        assert len(reader.selection.index) == kept
        assert any("they are left out" in note for note in reader.selection.notes)
    ds.isel(time=slice(5, 60)).to_netcdf(tmp_path / "cut.nc")  # ends that the file cuts off
    assert len(open_reader([tmp_path / "cut.nc"], settings).selection.index) == 1


def test_a_rate_is_not_told_to_become_an_amount(hourly, tmp_path):
    ds, _ = hourly
    ds["tp"].attrs["units"] = "mm h-1"
    ds.to_netcdf(tmp_path / "rate.nc")
    with pytest.raises(InputError, match=r"tp: in mm h-1, .*say --rename tp=pr$"):
        open_reader([tmp_path / "rate.nc"], ReaderSettings())
    found = _channels([tmp_path / "rate.nc"], rename={"tp": "pr"})
    np.testing.assert_allclose(found["pr"], ds.tp / 3600.0, rtol=1e-5)


def test_a_dry_run_shows_its_table_before_the_fault(era, tmp_path, capsys):
    era = era.drop_isel(time=7)
    era["t"].attrs["units"] = "bananas"
    era.to_netcdf(tmp_path / "gap.nc")
    words = ["prepare", "forecast", str(tmp_path / "gap.nc"), "--dry-run"]
    assert main([*words, "--train-period", "1950:1951"]) == 2
    printed = capsys.readouterr()
    assert "units unknown" in printed.out and "mslp" in printed.out
    for fault in ("a gap in steps of 24 h", "--train-period 1950/1951", "'bananas' do not become"):
        assert fault in printed.out
    assert printed.err.count("\n") == 1 and "a gap in steps of 24 h" in printed.err
    assert main([*words, "--variables", "cape"]) == 2
    assert "mslp" in capsys.readouterr().out
