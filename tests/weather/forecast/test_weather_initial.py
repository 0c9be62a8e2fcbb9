"""Initial states from files as users have them."""

import numpy as np
import pytest
import xarray as xr

from sciddiff.errors import InputError
from weather.data.store import Store
from weather.forecast.initial import read_initial
from weather.sphere.grids import Grid


@pytest.fixture(scope="module")
def fields(small_store) -> xr.Dataset:
    """The small world as a CF data set, five days of it."""
    store = Store(small_store)
    grid, values = store.grid, store.read(10, 15)
    data = {
        channel.name: (
            ("time", "lat", "lon"),
            values[:, c],
            {"units": channel.units, "standard_name": channel.standard_name},
        )
        for c, channel in enumerate(store.channels)
    }
    coords = {"time": store.times[10:15], "lat": grid.lat, "lon": grid.lon}
    return xr.Dataset(data, coords)


def _write(dataset: xr.Dataset, path) -> list:
    dataset.to_netcdf(path)
    return [path]


def test_files_and_store_give_the_same_states(fields, small_store, small_spec, tmp_path):
    paths = _write(fields, tmp_path / "init.nc")
    (one,) = read_initial(paths, small_spec)
    (other,) = read_initial([small_store], small_spec, ["0003-03-15"])
    assert one.time == other.time
    assert np.allclose(one.frames, other.frames, rtol=1e-6)


def test_several_starts_and_all(fields, small_spec, tmp_path):
    paths = _write(fields, tmp_path / "init.nc")
    found = read_initial(paths, small_spec, ["0003-03-14", "3-3-12"])
    assert [state.time.day for state in found] == [12, 14]
    assert len(read_initial(paths, small_spec, ["all"])) == 4
    assert np.array_equal(found[1].frames[1], fields.isel(time=3).to_array().values.astype("f4"))


def test_other_names_units_order_and_layout(fields, small_spec, tmp_path):
    """Levels as a dimension, geopotential, Celsius, north to south, -180 to 180, unsorted."""
    turned = xr.Dataset(
        {
            "geopotential": ((fields.z500 * 9.80665).expand_dims(level=[500.0], axis=1)),
            "u_component_of_wind": fields.u850.expand_dims(level=[850.0], axis=1),
            "v_component_of_wind": fields.v850.expand_dims(level=[850.0], axis=1),
            "2m_temperature": fields.tas - 273.15,
        }
    )
    turned["geopotential"].attrs = {"units": "m2 s-2"}
    turned["2m_temperature"].attrs = {"units": "degC"}
    for name in ("u_component_of_wind", "v_component_of_wind"):
        turned[name].attrs = {"units": "m/s"}
    wind = turned[["u_component_of_wind", "v_component_of_wind"]]
    rest = turned[["geopotential"]]
    humidity = fields[["q700"]]
    turned["level"].attrs["units"] = "hPa"
    parts = {"a.nc": rest, "b.nc": wind, "c.nc": humidity, "d.nc": turned[["2m_temperature"]]}
    paths = []
    for name, part in parts.items():
        part = part.isel(lat=slice(None, None, -1), time=[3, 4, 0, 1, 2])
        part = part.assign_coords(lon=(part.lon + 180) % 360 - 180).sortby("lon")
        if "level" in part.coords and "level" in part.dims:
            part["level"].attrs["units"] = "hPa"
            part = part.dropna("level", how="all")
        paths += _write(part, tmp_path / name)
    (one,) = read_initial(paths, small_spec)
    expected = fields.isel(time=[3, 4]).to_array().values.swapaxes(0, 1)
    std = np.array(small_spec.std)[:, None, None]
    assert (np.abs(one.frames.numpy() - expected) / std).max() < 1e-4


def test_regridding_is_offered_and_done(fields, small_spec, tmp_path):
    fine = Grid("regular", 33, 64)
    wide = fields.interp(lat=fine.lat, lon=fine.lon, kwargs={"fill_value": "extrapolate"})
    for name in fields.data_vars:
        wide[name].attrs = fields[name].attrs
    paths = _write(wide, tmp_path / "fine.nc")
    with pytest.raises(InputError, match="regular-33x64.*--regrid conservative"):
        read_initial(paths, small_spec)
    for method in ("conservative", "bilinear"):
        (one,) = read_initial(paths, small_spec, None, method)
        error = one.frames[1, 0].numpy() - fields.z500.values[4]
        assert np.abs(error[2:-2]).max() < 0.15 * small_spec.std[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.isel(time=[2]), "needs 2 times 24 h apart, and 0003-03-12T00:00:00 is miss"),
        (lambda d: d.isel(time=[0, 2, 4]), "0003-03-14T00:00:00 is missing"),
        (lambda d: d.drop_vars("q700"), "q700: not in the files"),
        (lambda d: d.rename(z500="z250"), "level 500 hPa is not in the files; z is at 250 hPa"),
        (lambda d: d.isel(lat=slice(3, 9), lon=slice(3, 9)), "covers a region only"),
        (lambda d: _units(d, "tas", "bananas"), "tas is in bananas"),
        (lambda d: _units(d, "tas", "degC"), "is not plausible for tas"),
        (lambda d: _units(d, "z500", "m2 s-2"), "say --units z500='m'"),
        (lambda d: _units(d, "tas", ""), "tas has no units"),
    ],
)
def test_what_the_model_cannot_use_is_said_in_one_line(fields, small_spec, tmp_path, change, said):
    paths = _write(change(fields.copy(deep=True)), tmp_path / "bad.nc")
    with pytest.raises(InputError) as caught:
        read_initial(paths, small_spec)
    text = str(caught.value)
    assert said in text and "\n" not in text
    assert text.startswith(str(paths[0]))


def _units(dataset: xr.Dataset, name: str, units: str) -> xr.Dataset:
    dataset[name].attrs["units"] = units
    return dataset


def test_absent_and_mixed_paths(fields, small_spec, small_store, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_initial([tmp_path / "absent.nc"], small_spec)
    paths = _write(fields, tmp_path / "init.nc")
    with pytest.raises(InputError, match="give it alone"):
        read_initial([small_store, *paths], small_spec)
    with pytest.raises(InputError, match="given twice"):
        read_initial(paths, small_spec, ["0003-03-14", "0003-03-14T00"])
