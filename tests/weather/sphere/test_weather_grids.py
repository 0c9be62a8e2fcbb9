"""Grids: what each quadrature promises, detection from coordinates, cells, distances."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.special import sph_harm_y

from sciddiff.errors import InputError
from weather.sphere.grids import Grid, great_circle, unit_vectors

KINDS = ("gaussian", "equiangular", "regular")


def _mean(grid, field):
    return (grid.weights[:, None] * field).mean()


def _harmonic(grid, degree, order):
    theta, phi = np.radians(90.0 - grid.lat)[:, None], np.radians(grid.lon)[None, :]
    return np.sqrt(4 * np.pi) * sph_harm_y(degree, order, theta, phi)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("height", [8, 9, 32])
def test_harmonics_are_integrated_exactly_up_to_the_promised_degree(kind, height):
    grid = Grid(kind, height, 4 * height)
    for degree in range(grid.exact_degree + 1):
        orders = range(-degree, degree + 1) if height < 10 else {0, min(1, degree), degree}
        for order in orders:
            mean = _mean(grid, _harmonic(grid, degree, order))
            assert abs(mean - (degree == 0)) < 2e-14, (degree, order)
    # and no further: the promise is sharp
    beyond = grid.exact_degree + 1
    assert abs(_mean(grid, _harmonic(grid, beyond, 0))) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_harmonics_are_orthonormal_up_to_the_band_limit(kind):
    grid = Grid(kind, 12, 24)
    pairs = [(n, m) for n in range(grid.band_limit + 1) for m in range(n + 1)]
    basis = np.stack([_harmonic(grid, *pair) for pair in pairs]).reshape(len(pairs), -1)
    gram = (basis.conj() * np.repeat(grid.weights, 24)) @ basis.T / grid.weights.size / 24
    np.testing.assert_allclose(gram, np.eye(len(pairs)), atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("height", [8, 9, 32, 181])
def test_weights_are_positive_areas(kind, height):
    grid = Grid(kind, height, 8)
    assert grid.weights.min() > 0
    assert abs(grid.weights.mean() - 1.0) < 1e-14
    cells = np.diff(np.sin(np.radians(grid.lat_bounds))) * height / 2
    assert abs(cells.mean() - 1.0) < 1e-14
    if kind == "gaussian":
        np.testing.assert_allclose(cells, grid.weights, rtol=1e-9)
    inside = slice(1, -1)
    np.testing.assert_allclose(cells[inside], grid.weights[inside], rtol=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_every_latitude_lies_in_its_cell(kind):
    grid = Grid(kind, 32, 64)
    assert (grid.lat_bounds[:-1] <= grid.lat).all()
    assert (grid.lat <= grid.lat_bounds[1:]).all()
    assert (np.diff(grid.lat_bounds) > 0).all()
    np.testing.assert_allclose(grid.lon, 0.5 * (grid.lon_bounds[1:] + grid.lon_bounds[:-1]))
    assert grid.lon_bounds[-1] - grid.lon_bounds[0] == 360.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 64), (73, 144), (181, 360), (121, 240), (19, 40)])
def test_names_and_coordinates_give_the_grid_back(kind, size):
    grid = Grid(kind, *size)
    assert Grid.parse(str(grid)) == grid
    assert Grid.detect(grid.lat, grid.lon) == grid
    assert Grid.detect(grid.lat.astype("f4"), grid.lon.round(3)) == grid
    assert hash(Grid.parse(str(grid))) == hash(grid)


def test_latitudes_of_the_planet_are_gaussian():
    xarray = pytest.importorskip("xarray")
    root = Path(__file__).parents[3]
    folder = Path(os.environ.get("SCIDDIFF_DATA", root.parent / "shared" / "data"))
    path = folder / "weather" / "planet" / "plasim_verify_control.nc"
    if not path.is_file():
        pytest.skip("planet absent: set SCIDDIFF_DATA to a folder with weather/planet")
    with xarray.open_dataset(path, decode_times=False) as data:
        grid = Grid.detect(data["lat"].values, data["lon"].values)
    assert str(grid) == "gaussian-32x64"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lat, lon: (lat[::-1], lon), "latitude: runs north to south"),
        (lambda lat, lon: (np.r_[np.nan, lat[1:]], lon), "latitude: holds missing"),
        (lambda lat, lon: (lat, lon - 180), "longitude: begins at -180"),
        (lambda lat, lon: (lat, lon / 2), "longitude: .* not evenly spaced"),
        (lambda lat, lon: (lat, np.linspace(0, 360, 64)), "the last repeats the first"),
        (lambda lat, lon: (lat * 0.7, lon), "latitude: .* neither Gaussian"),
        (lambda lat, lon: (np.sort(np.r_[lat[1:], lat[3]]), lon), "is not monotonic"),
        (lambda lat, lon: (lat * 2, lon), "beyond 90 degrees"),
        (lambda lat, lon: (lat[:, None] + 0 * lon, lon), "2 dimensions"),
        (lambda lat, lon: (["a", "b", "c"], lon), "latitude: not numbers"),
        (lambda lat, lon: (lat[:2], lon), "at least 3x4"),
    ],
)
def test_bad_coordinates_are_named(change, message):
    grid = Grid.parse("gaussian-32x64")
    with pytest.raises(InputError, match=message) as caught:
        Grid.detect(*change(grid.lat, grid.lon))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["gaussian", "gaussian-32", "hexagonal-32x64", "gaussian-1x2"])
def test_bad_names_are_named(text):
    with pytest.raises(InputError, match="grid: "):
        Grid.parse(text)


def test_coordinates_cannot_be_changed():
    grid = Grid.parse("gaussian-32x64")
    with pytest.raises(ValueError, match="read-only"):
        grid.lat[0] = 0.0


def test_great_circle_distance_is_the_angle_between_unit_vectors():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, (2, 500)), rng.uniform(-400, 400, (2, 500))
    a, b = unit_vectors(lat[0], lon[0]), unit_vectors(lat[1], lon[1])
    angle = np.degrees(2 * np.arcsin(np.linalg.norm(a - b, axis=-1) / 2))
    np.testing.assert_allclose(great_circle(lat[0], lon[0], lat[1], lon[1]), angle, atol=1e-6)
    assert great_circle(10.0, 20.0, 10.0, 380.0) == pytest.approx(0, abs=1e-12)
    # a step of a thousandth of a millimetre survives, where arccos would give zero
    assert great_circle(45.0, 0.0, 45.0 + 1e-11, 0.0) == pytest.approx(1e-11, rel=1e-3)
    assert Grid.parse("regular-5x8").unit_vectors()[2, 2] == pytest.approx([0, 1, 0], abs=1e-15)
