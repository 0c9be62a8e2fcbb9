"""Insolation against closed forms, the calendar, and the packaged surface against other grids."""

import datetime

import cftime
import numpy as np
import pytest
import torch
import xarray as xr

from weather.data.forcings import FORCINGS, SOLAR_CONSTANT, Forcings, insolation
from weather.data.rectangles import Rectangle, grid_of
from weather.data.surface import coastlines, surface_fields
from weather.data.times import day_of_year
from weather.sphere.grids import Grid

GRID = Grid("gaussian", 32, 64)


def test_insolation_at_the_equinox_is_a_cosine():
    lat = np.asarray([-60.0, 0.0, 30.0, 75.0])
    want = SOLAR_CONSTANT / np.pi * np.cos(np.radians(lat))
    np.testing.assert_allclose(insolation(lat, [80])[0], want, rtol=1e-12)


def test_polar_night_and_day():
    solstice = 80 + 365 / 4
    night, day = insolation(np.asarray([-85.0, 85.0]), [solstice])[0]
    assert night == pytest.approx(0.0, abs=1e-9)
    tilt = np.radians(23.441)
    assert day == pytest.approx(SOLAR_CONSTANT * np.sin(np.radians(85.0)) * np.sin(tilt))


def test_the_globe_receives_a_quarter_of_the_solar_constant():
    fine = Grid("gaussian", 400, 8)
    q = insolation(fine.lat, np.arange(1, 366))
    mean = (q * fine.weights).mean(1)
    np.testing.assert_allclose(mean, SOLAR_CONSTANT / 4, rtol=1e-4)


def test_order_and_values_of_the_fields():
    fields = Forcings(GRID).of_days([172])[0]
    assert fields.shape == (len(FORCINGS), 32, 64) == (8, 32, 64)
    points = GRID.unit_vectors()
    np.testing.assert_allclose(fields[:3].transpose(1, 2, 0), points[..., [2, 0, 1]], atol=1e-6)
    orography, land = surface_fields(GRID)
    np.testing.assert_allclose(fields[3] * 1000, orography, rtol=1e-5, atol=1e-3)
    assert np.array_equal(fields[4], land)
    np.testing.assert_allclose(fields[5, :, 7] * 400, insolation(GRID.lat, [172])[0], rtol=1e-5)
    angle = 2 * np.pi * 172 / 365
    np.testing.assert_allclose(fields[6:, 3, 3], [np.cos(angle), np.sin(angle)], rtol=1e-5)


def test_the_day_is_that_of_the_calendar():
    forcings = Forcings(GRID)
    times = np.asarray([cftime.DatetimeNoLeap(3, 3, 3), cftime.DatetimeNoLeap(4, 12, 31)])
    assert np.array_equal(forcings.at(times), forcings.of_days([62, 365]))
    tensor = forcings.tensor(torch.tensor([62, 365]))
    assert np.array_equal(tensor.numpy(), forcings.of_days([62, 365]))


def test_days_of_a_leap_year_keep_their_dates():
    days = np.datetime64("2020-01-01", "s") + 86400 * np.arange(366)
    found = day_of_year(days)
    assert found[[0, 58, 59, 60, 365]].tolist() == [1, 59, 59, 60, 365]
    assert np.array_equal(day_of_year(days[:59] - np.timedelta64(365, "D")), found[:59])
    year = [cftime.Datetime360Day(1, 1, 1) + datetime.timedelta(days=i) for i in range(360)]
    spread = day_of_year(np.asarray(year))
    assert spread[0] == 1 and spread[-1] in (364, 365) and (np.diff(spread) >= 1).all()


@pytest.mark.parametrize("name", ["64x32_gaussian_t21", "96x48_gaussian_t30"])
def test_surface_agrees_with_the_fine_map(name: str, weather_files):
    with xr.open_dataset(weather_files / "static" / f"etopo5_{name}.nc") as fine:
        orography, land = surface_fields(grid_of(fine.lat, fine.lon))
        assert np.abs(orography - fine.orog.values).mean() < 6.0
        assert np.corrcoef(orography.ravel(), fine.orog.values.ravel())[0, 1] > 0.9998
        assert np.abs(land - fine.lsm.values).mean() < 0.004


def test_surface_of_a_region_is_that_of_the_globe():
    globe = Grid("regular", 181, 360)
    orography, _ = surface_fields(globe)
    tibet = Rectangle(globe.lat[115:130], globe.lon[75:100])
    cut, land = surface_fields(tibet)
    np.testing.assert_allclose(cut[1:-1], orography[116:129, 75:100], rtol=2e-3, atol=2.0)
    assert cut.max() > 5000 and land.min() > 0.9


def test_coastlines_are_lines_on_the_globe():
    lon, lat = coastlines()
    assert lon.shape == lat.shape and np.isnan(lon).sum() > 50
    assert np.nanmax(np.abs(lon)) <= 180 and np.nanmax(np.abs(lat)) <= 90
