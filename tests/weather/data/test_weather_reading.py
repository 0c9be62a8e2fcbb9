"""Opening, matching and checking: layouts of files, joined files, times, units, missing values."""

import cftime
import numpy as np
import pytest
import xarray as xr

from sciddiff.errors import InputError
from weather.data.checks import choose_times, parse_step
from weather.data.reading import ReaderSettings, open_reader, read_fields
from weather.data.rectangles import Rectangle
from weather.data.times import Period, Step, TimeAxis, find_step, label


def _read(path, **settings):
    return read_fields([path] if not isinstance(path, list) else path, ReaderSettings(**settings))


@pytest.fixture
def era(make_dataset, tmp_path):
    """A data set and its file."""
    ds = make_dataset()
    ds.to_netcdf(tmp_path / "era.nc")
    return ds, tmp_path / "era.nc"


def test_values_are_converted(era):
    ds, path = era
    reader = open_reader([path], ReaderSettings())
    assert [m.channel.name for m in reader.matching.matches] == [
        "z500", "z850", "t500", "t850", "mslp", "tp"
    ]  # fmt: skip
    fields, filled = reader.block(0, 20)
    np.testing.assert_allclose(fields[:, 1], ds.z[:, 1] / 9.80665, rtol=1e-6)
    np.testing.assert_allclose(fields[:, 5], ds.tp * 1000, rtol=1e-6)
    assert not filled.any()
    assert str(reader.grid) == "regular-13x24"


def _descending(ds):
    return ds.isel(latitude=slice(None, None, -1))


def _west(ds):
    return ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")


def _cyclic(ds):
    return xr.concat([ds, ds.isel(longitude=[0]).assign_coords(longitude=[360.0])], "longitude")


def _transposed(ds):
    return ds.transpose("longitude", "level", "latitude", "time")


def _cmip(ds):
    ds = ds.rename(latitude="lat", longitude="lon", level="plev", z="zg", t="ta", msl="psl")
    plev = ("plev", ds.plev.values * 100.0, {"units": "Pa", "standard_name": "air_pressure"})
    return ds.assign_coords(plev=plev)


def _weatherbench(ds):
    long = dict(z="geopotential", t="temperature", msl="mean_sea_level_pressure",
                tp="total_precipitation_24hr")  # fmt: skip
    ds = ds.rename(long)
    ds.level.attrs.clear()
    return ds


def _new_cds(ds):
    ds = ds.rename(time="valid_time", level="pressure_level")
    return ds.assign_coords(number=0, expver=("valid_time", ["0001"] * ds.sizes["valid_time"]))


def _anonymous(ds):
    ds = ds.rename(z="var129", t="var130", msl="var151", tp="var228")
    for name, standard in (("var129", "geopotential"), ("var130", "air_temperature"),
                           ("var151", "air_pressure_at_mean_sea_level"),
                           ("var228", "precipitation_amount")):  # fmt: skip
        ds[name].attrs["standard_name"] = standard
    return ds


def _preliminary(ds):
    """Old ERA5 downloads: final and preliminary months along a dimension."""
    first = ds.where(ds.time < ds.time[12])
    return xr.concat([first, ds.where(ds.time >= ds.time[12])], xr.Variable("expver", [1, 5]))


LAYOUTS = (_descending, _west, _cyclic, _transposed, _cmip, _weatherbench, _new_cds, _anonymous,
           _preliminary)  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "zarr"),
    [*((layout, 0) for layout in LAYOUTS), (_descending, 3), (_weatherbench, 2)],
)
def test_every_layout_gives_the_same_fields(era, layout, zarr, tmp_path):
    ds, plain = era
    other = layout(ds.copy(deep=True))
    path = tmp_path / ("other.zarr" if zarr else "other.nc")
    if zarr:
        other.to_zarr(path, zarr_format=zarr, consolidated=False)
    else:
        other.to_netcdf(path)
    names = ("z500", "z850", "t500", "t850", "mslp", "tp")
    times, fields = _read(path, variables=names)
    wanted_times, wanted = _read(plain, variables=names)
    assert np.array_equal(times, wanted_times)
    np.testing.assert_allclose(fields, wanted, rtol=1e-6)


def test_files_are_joined_along_time_levels_and_variables(era, tmp_path):
    ds, plain = era
    parts = {
        "b": ds[["z"]].isel(time=slice(10, 20)),
        "a": ds[["z"]].isel(time=slice(0, 10)),
        "t500": ds[["t"]].sel(level=[500]),
        "t850": ds[["t"]].sel(level=850),
        "flat": ds[["msl", "tp"]],
    }
    folder = tmp_path / "many"
    folder.mkdir()
    for name, part in parts.items():
        part.to_netcdf(folder / f"{name}.nc")
    names = ("z500", "z850", "t500", "t850", "mslp", "tp")
    _, fields = _read(folder, variables=names)
    _, wanted = _read(plain)
    np.testing.assert_allclose(fields, wanted, rtol=1e-6)


def test_files_that_do_not_fit(era, tmp_path):
    ds, plain = era
    other = tmp_path / "other.nc"
    ds.isel(latitude=slice(2, None)).to_netcdf(other)
    with pytest.raises(InputError, match="other.nc: grid 11x24 is not that of .*era.nc"):
        _read([plain, other])
    later = ds.assign_coords(time=ds.time + np.timedelta64(20, "D"))
    later["t"] = later["t"] - 273.15
    later["t"].attrs["units"] = "degC"
    later.to_netcdf(other)
    with pytest.raises(InputError, match="other.nc: t in degC, but K in .*prepare them apart"):
        _read([plain, other])


def test_a_region_across_greenwich_stays_whole(era, tmp_path):
    ds, plain = era
    west = _west(ds)
    west.isel(latitude=slice(6, 12)).sel(longitude=slice(-60, 30)).to_netcdf(tmp_path / "r.nc")
    reader = open_reader([tmp_path / "r.nc"], ReaderSettings())
    assert isinstance(reader.grid, Rectangle) and str(reader.grid) == "regional-6x7"
    assert reader.grid.lon.tolist() == [300.0, 315.0, 330.0, 345.0, 360.0, 375.0, 390.0]
    _, whole = _read(plain)
    columns = (reader.grid.lon % 360 / 15).astype(int)
    np.testing.assert_allclose(reader.block(0, 20)[0], whole[:, :, 6:12][..., columns], rtol=1e-6)
    with pytest.raises(InputError, match="leave --grid out"):
        _read(tmp_path / "r.nc", grid="gaussian-8x16")


def test_members_leads_and_climatologies(era, tmp_path):
    ds, _ = era
    many = xr.concat([ds, ds + 1.0], xr.Variable("number", [3, 4]), combine_attrs="override")
    for name in ds:
        many[name].attrs = ds[name].attrs
    many.to_netcdf(tmp_path / "m.nc")
    with pytest.raises(
        InputError, match=r"2 ensemble members; choose one with --member L.* \(3 to"
    ):
        _read(tmp_path / "m.nc")
    with pytest.raises(InputError, match="has no member 7; it has 3 to 4"):
        _read(tmp_path / "m.nc", member=7)
    _, fields = _read(tmp_path / "m.nc", member=4, variables=("t850",))
    np.testing.assert_allclose(fields[:, 0], ds.t[:, 1] + 1.0, rtol=1e-6)
    ds.expand_dims(step=3).to_netcdf(tmp_path / "f.nc")
    with pytest.raises(InputError, match="holds forecasts .dimension step of 3"):
        _read(tmp_path / "f.nc")
    ds.isel(time=[0, 1]).drop_vars("time").rename(time="month").to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match="months of a climatology"):
        _read(tmp_path / "c.nc")


def test_selection_of_channels(era):
    _, path = era
    reader = open_reader([path], ReaderSettings(variables=("mslp", "t"), levels=(850.0,)))
    assert [m.channel.name for m in reader.matching.matches] == ["mslp", "t850"]
    for settings, line in (
        ({"variables": ("t700",)}, "t700: level 700 hPa is not in the files; t is at 500, 850"),
        ({"variables": ("q700",)}, "q700: not in the files; they hold z500"),
        ({"variables": ("cape",)}, "channel cape: not a known field"),
        ({"levels": (700.0,)}, "--levels: 700 hPa not in the files; they have 500, 850"),
        ({"rename": {"x": "z500"}}, "--rename x: not in the files; they hold z, t, msl, tp"),
        ({"nan": {"sst": "fill"}}, "--nan sst: not among the channels"),
    ):
        with pytest.raises(InputError, match=line):
            open_reader([path], ReaderSettings(**settings))


def test_of_two_variables_the_one_that_is_named_is_taken(era, tmp_path):
    """WeatherBench 2 holds precipitation over 6, 12 and 24 hours, all of them the channel tp."""
    ds, _ = era
    for hours, share in ((6, 0.25), (24, 1.0)):
        ds[f"total_precipitation_{hours}hr"] = (ds.tp * share).assign_attrs(ds.tp.attrs)
    ds.drop_vars("tp").to_netcdf(tmp_path / "both.nc")
    name = "total_precipitation_24hr"
    _, named = _read(tmp_path / "both.nc", variables=("z500", name))
    _, other = _read(tmp_path / "both.nc", variables=("z500", "tp"))
    np.testing.assert_allclose(named[:, 1], 4 * other[:, 1], rtol=1e-5)
    reader = open_reader([tmp_path / "both.nc"], ReaderSettings(variables=("z500", name)))
    assert any("already" in one.why for one in reader.matching.left)


@pytest.mark.parametrize(
    ("name", "change", "units", "line"),
    [
        (
            "z",
            1 / 9.80665,
            "m2 s-2",
            r"not plausible for z500.* but m would be; say --units z='m'",
        ),
        ("z", 1.0, "m", r"z: a mean of 5.*e\+04 m is not plausible .*say --units z='m2 s-2'"),
        ("t", -273.15, "K", r"t: a mean of -.* K is not plausible for t500.*--units t='degC'"),
        ("t", 1.0, "", r"t: no units to convert to K .t500.; .*fits K; say --units t='K'"),
        ("msl", 0.01, "Pa", r"msl: a mean of 101. Pa is not .* but hPa would be"),
        ("msl", 1.0, "bananas", r"msl: units 'bananas' do not become Pa .*fits Pa; say --units"),
    ],
)
def test_units_that_cannot_be(era, tmp_path, name, change, units, line):
    ds, _ = era
    changed = ds[name] + change if change < -1 else ds[name] * change
    ds[name] = changed.assign_attrs(units=units, long_name=name)
    ds.to_netcdf(tmp_path / "wrong.nc")
    with pytest.raises(InputError, match=line) as caught:
        _read(tmp_path / "wrong.nc")
    # The remedy the message names is one.
    remedy = str(caught.value).rsplit("=", 1)[1].strip("'")
    _read(tmp_path / "wrong.nc", units={name: remedy})


def test_missing_values_need_a_rule(era, tmp_path):
    ds, _ = era
    ds["sst"] = (ds.t.isel(level=0, drop=True) + 15).assign_attrs(units="K")
    land = np.zeros((13, 24), dtype=bool)
    land[4:9, 3:9] = True
    ds["sst"] = ds.sst.where(~xr.DataArray(land, dims=("latitude", "longitude")))
    ds.to_netcdf(tmp_path / "sst.nc")
    path = tmp_path / "sst.nc"
    line = (
        r"sst: 9.62% of the field is missing \(NaN\) at 2001-01-01T00:00:00, first at 30S 45E; "
        "say what to do: --nan sst=fill"
    )
    with pytest.raises(InputError, match=line):
        _read(path)
    sea = ~land
    for rule in ("fill", "min", "271.5"):
        _, fields = _read(path, variables=("sst",), nan={"sst": rule})
        field = fields[3, 0]
        np.testing.assert_allclose(field[sea], ds.sst.values[3][sea], rtol=1e-6)
        w = open_reader([path], ReaderSettings(nan={"sst": rule})).grid.weights[:, None] * sea
        valid = ds.sst.values[3]
        wanted = {"fill": np.nansum(valid * w) / w.sum(), "min": np.nanmin(valid)}
        np.testing.assert_allclose(field[land], wanted.get(rule, 271.5), rtol=1e-6)
    _, fields = _read(path, nan={"sst": "drop"})
    assert fields.shape[1] == 6


def test_missing_values_in_the_middle_name_their_time(era, tmp_path):
    ds, _ = era
    ds["z"][7, 1, 2, 3] = np.nan
    ds["msl"][13] = 1e36  # a fill value without its attribute
    ds.to_netcdf(tmp_path / "holes.nc")
    with pytest.raises(InputError, match="z850: 0.32% .* at 2001-01-08T00:00:00, first at 60S"):
        _read(tmp_path / "holes.nc", variables=("z",), grid="gaussian-8x16")
    with pytest.raises(InputError, match="mslp: missing everywhere at 2001-01-14"):
        _read(tmp_path / "holes.nc", variables=("mslp",), nan={"mslp": "fill"})


def _days(*numbers: float):
    return np.datetime64("2001-01-01", "s") + (np.asarray(numbers) * 86400).astype(
        "timedelta64[s]"
    )


def test_times_are_sorted_and_thinned():
    chosen = choose_times(_days(2, 0, 1, 3))
    assert chosen.index.tolist() == [1, 2, 0, 3] and "sorted" in chosen.notes[0]
    six = _days(*np.arange(0, 4, 0.25))
    daily = choose_times(six, Period.parse("2001-01-02:2001-01-03"), parse_step("1d"))
    assert [label(t) for t in daily.times] == ["2001-01-02T00:00:00", "2001-01-03T00:00:00"]
    assert daily.step == Step(24.0)
    for step, line in (("3h", "a field every 6 h only"), ("10h", ""), ("6", "not a time")):
        if line:
            with pytest.raises(InputError, match=line):
                choose_times(six, None, parse_step(step))


def test_times_repeated_or_missing():
    twice = _days(0, 1, 1, 2)
    with pytest.raises(InputError, match="time: 1 repeated, first 2001-01-02T00:00:00; keep one"):
        choose_times(twice)
    assert choose_times(twice, duplicates="first").index.tolist() == [0, 1, 3]
    assert choose_times(twice, duplicates="last").index.tolist() == [0, 2, 3]
    holes = _days(0, 1, 2, 5, 6)
    with pytest.raises(InputError, match="a gap in steps of 24 h, first between 2001-01-03.* and"):
        choose_times(holes)
    kept = choose_times(holes, gaps="keep")
    assert kept.step.runs(kept.times) == [(0, 3), (3, 5)]


def test_months_and_years_are_steps():
    months = np.arange("2001-01", "2003-01", dtype="datetime64[M]").astype("datetime64[s]")
    assert find_step(months) == Step(730.5, 1)
    assert find_step(months).runs(months) == [(0, 24)]
    middle = months + ((months + np.timedelta64(31, "D")).astype("datetime64[M]") - months) // 2
    assert find_step(middle).runs(middle) == [(0, 24)]
    assert str(find_step(months[::12])) == "12 months"


@pytest.mark.parametrize("kind", [cftime.DatetimeNoLeap, cftime.Datetime360Day])
def test_other_calendars(kind, make_dataset, tmp_path):
    ds = make_dataset(40)
    first = kind(3, 2, 10)
    import datetime

    times = np.asarray([first + datetime.timedelta(days=i) for i in range(40)])
    ds.assign_coords(time=times).to_netcdf(tmp_path / "c.nc")
    found, _ = _read(tmp_path / "c.nc", period=Period.parse("0003-02-27:0003-03-02"))
    last = 30 if kind is cftime.Datetime360Day else 28
    assert label(found[0]) == "0003-02-27T00:00:00"
    assert len(found) == last - 26 + 2
    axis = TimeAxis.encode(found)
    assert axis.calendar in ("noleap", "360_day")
    assert [label(t) for t in axis.decode()] == [label(t) for t in found]


def test_grib(make_dataset, tmp_path):
    eccodes = pytest.importorskip("eccodes", exc_type=ImportError)
    pytest.importorskip("cfgrib", exc_type=ImportError)
    ds = make_dataset(3)
    with (tmp_path / "a.grib").open("wb") as file:
        for day in range(3):
            for k, level in enumerate((500, 850)):
                gid = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib1")
                for key, value in {
                    "Ni": 24, "Nj": 13, "iDirectionIncrementInDegrees": 15.0,
                    "jDirectionIncrementInDegrees": 15.0,
                    "latitudeOfFirstGridPointInDegrees": 90.0,
                    "latitudeOfLastGridPointInDegrees": -90.0,
                    "longitudeOfFirstGridPointInDegrees": 0.0,
                    "longitudeOfLastGridPointInDegrees": 345.0,
                    "dataDate": 20010101 + day, "dataTime": 0, "level": level,
                    "shortName": "z",
                }.items():  # fmt: skip
                    eccodes.codes_set(gid, key, value)
                eccodes.codes_set_values(gid, ds.z.values[day, k, ::-1].ravel())
                eccodes.codes_write(gid, file)
                eccodes.codes_release(gid)
    _, fields = _read(tmp_path / "a.grib", variables=("z500", "z850"))
    np.testing.assert_allclose(fields, ds.z.values / 9.80665, rtol=1e-4)
    assert not list(tmp_path.glob("*.idx"))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "neither NetCDF, GRIB nor a Zarr store"),
        (b"time,z500\n1,2\n", "neither NetCDF, GRIB nor a Zarr store"),
        (b"\x89HDF\r\n\x1a\nbroken", "cannot be read .* is it complete"),
    ],
)
def test_files_that_are_none(content, line, tmp_path):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(InputError, match=line):
        _read(tmp_path / "a.nc")
    with pytest.raises(InputError, match="no such file"):
        _read(tmp_path / "absent.nc")


def test_grids_that_are_none(era, tmp_path):
    ds, _ = era
    half = ds.assign_coords(longitude=ds.longitude + 7.5)
    half.to_netcdf(tmp_path / "half.nc")
    with pytest.raises(InputError, match="say which to regrid to, for example --grid equiang"):
        _read(tmp_path / "half.nc")
    _read(tmp_path / "half.nc", grid="gaussian-8x16")
    curved = (
        ds.isel(time=[0]).drop_vars(["latitude", "longitude"]).rename(latitude="y", longitude="x")
    )
    curved = curved.assign_coords(lat=(("y", "x"), np.zeros((13, 24))),
                                  lon=(("y", "x"), np.zeros((13, 24))))  # fmt: skip
    curved.to_netcdf(tmp_path / "curved.nc")
    with pytest.raises(InputError, match="latitudes vary along the rows .*regrid"):
        _read(tmp_path / "curved.nc")
    with pytest.raises(InputError, match="grid: 'gauss' is not KIND-HEIGHTxWIDTH"):
        _read(tmp_path / "half.nc", grid="gauss")


def test_two_grids_in_one_file(era, tmp_path):
    """The one with more fields, unless the fields asked for are on the other."""
    ds, _ = era
    other = ds[["msl"]].isel(latitude=slice(0, 9), longitude=slice(0, 12))
    other = other.rename(latitude="lat_g", longitude="lon_g", msl="t2m") - 101300 + 280
    other.t2m.attrs["units"] = "K"
    xr.merge([ds, other]).to_netcdf(tmp_path / "two.nc")
    reader = open_reader([tmp_path / "two.nc"], ReaderSettings())
    assert str(reader.grid) == "regular-13x24"
    assert reader.matching.left[0].why == "on another grid (time 20 x lat_g 9 x lon_g 12)"
    for name in ("tas", "2m_temperature"):
        reader = open_reader(
            [tmp_path / "two.nc"], ReaderSettings(variables=(name,), any_values=True)
        )
        assert str(reader.grid) == "regional-9x12"
