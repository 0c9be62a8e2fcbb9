"""Regridding: conservation of the area mean, exactness, convergence, vectors, missing values."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.data.rectangles import Rectangle, grid_of, row_edges
from weather.data.regrid import Regridder
from weather.sphere.grids import Grid

NAMES = ["gaussian-16x32", "equiangular-18x36", "regular-37x72", "gaussian-24x40"]
GRIDS = [Grid.parse(name) for name in NAMES]


def _mean(grid, fields: np.ndarray) -> np.ndarray:
    return (fields * grid.weights[:, None]).mean((-1, -2))


def _smooth(grid) -> np.ndarray:
    phi, lam = np.radians(grid.lat)[:, None], np.radians(grid.lon)[None, :]
    return 1 + np.sin(phi) ** 2 + np.cos(phi) ** 2 * np.cos(2 * lam) + np.cos(phi) * np.sin(lam)


@pytest.mark.parametrize("source", GRIDS, ids=str)
@pytest.mark.parametrize("target", GRIDS, ids=str)
def test_the_area_mean_is_conserved(source: Grid, target: Grid):
    fields = np.random.default_rng(0).normal(5000, 100, size=(3, 2, *source.shape))
    out = Regridder(source, target, "conservative")(fields)
    assert out.shape == (3, 2, *target.shape) and out.dtype == np.float32
    np.testing.assert_allclose(_mean(target, out), _mean(source, fields), rtol=2e-7)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rows_contain_their_latitude(grid: Grid):
    edges = np.degrees(np.arcsin(row_edges(grid)))
    assert (edges[:-1] <= grid.lat + 1e-9).all() and (grid.lat <= edges[1:] + 1e-9).all()


@pytest.mark.parametrize("method", ["conservative", "bilinear"])
def test_constants_and_bounds_stay(method):
    for source in GRIDS:
        for target in GRIDS:
            regrid = Regridder(source, target, method)
            np.testing.assert_allclose(regrid(np.full(source.shape, 3.5)), 3.5, rtol=1e-6)
            noise = np.random.default_rng(1).uniform(2, 3, source.shape)
            out = regrid(noise)
            assert 2 - 1e-6 <= out.min() and out.max() <= 3 + 1e-6


def test_bilinear_is_of_second_order():
    target, errors = Grid("gaussian", 20, 38), []
    for n in (18, 36, 72):
        source = Grid("equiangular", n, 2 * n)
        out = Regridder(source, target, "bilinear")(_smooth(source))
        errors.append(np.abs(out - _smooth(target)).max())
    assert errors[0] / errors[1] > 3.4 and errors[1] / errors[2] > 3.4


def test_a_vector_crosses_the_pole():
    """A uniform flow across the pole: u = cos(lon) there, of opposite sign on either side."""
    source, target = Grid("equiangular", 18, 36), Grid("regular", 181, 72)

    def flow(grid: Grid) -> np.ndarray:
        return np.broadcast_to(np.cos(np.radians(grid.lon)), grid.shape)

    right = Regridder(source, target, "bilinear")(flow(source), vector=True)
    wrong = Regridder(source, target, "bilinear")(flow(source))
    assert np.abs(right - flow(target)).max() < 5e-3
    assert np.abs(wrong - flow(target)).max() > 0.5


def test_coarsening_by_whole_cells_is_the_area_mean():
    """Two by two cells of a fine grid; the rows of a Gaussian grid would not nest."""
    fine = Grid("equiangular", 12, 24)
    x = np.random.default_rng(2).normal(size=fine.shape)
    coarse = Rectangle(
        0.5 * (fine.lat[::2] + fine.lat[1::2]), 0.5 * (fine.lon[::2] + fine.lon[1::2])
    )
    source = Rectangle(fine.lat, fine.lon)
    w = source.weights[:, None] * np.ones(24)
    blocks = (x * w).reshape(6, 2, 12, 2).sum((1, 3)) / w.reshape(6, 2, 12, 2).sum((1, 3))
    np.testing.assert_allclose(Regridder(source, coarse)(x), blocks, rtol=1e-6, atol=1e-7)


def test_missing_values_take_no_part():
    source, target = Grid("equiangular", 36, 72), Grid("equiangular", 12, 24)
    x = np.full(source.shape, 285.0)
    land = np.zeros(source.shape, dtype=bool)
    land[:20, 10:31] = True
    x[land] = np.nan
    out = Regridder(source, target)(x)
    assert np.isnan(out[:6, 4:10]).all()
    np.testing.assert_allclose(out[~np.isnan(out)], 285.0, rtol=1e-6)
    share = Regridder(source, target)(land.astype(float))
    assert np.array_equal(np.isnan(out), share > 0.5)


def test_same_grid_is_untouched():
    grid = Grid("gaussian", 16, 32)
    x = np.random.default_rng(3).normal(size=(2, 16, 32)).astype(np.float32)
    assert np.array_equal(Regridder(grid, grid)(x), x)


def test_rows_without_poles_reach_them():
    """Rows from 89S to 89N are no named grid; the outermost are widened."""
    source = grid_of(np.arange(-89.0, 90.0), np.arange(360.0) + 0.5)
    assert isinstance(source, Rectangle) and source.is_global
    assert source.lat_bounds[[0, -1]].tolist() == [-90.0, 90.0]
    for method in ("conservative", "bilinear"):
        out = Regridder(source, Grid("regular", 19, 36), method)(_smooth(source))
        assert np.abs(out - _smooth(Grid("regular", 19, 36))).max() < 0.08


def test_a_region_is_no_globe():
    region = Rectangle(np.arange(30.0, 71, 2.5), np.arange(290.0, 371, 2.5))
    with pytest.raises(InputError, match="cover a region only .*leave --grid out"):
        Regridder(region, Grid("gaussian", 16, 32))
    with pytest.raises(InputError, match="--method cubic: unknown"):
        Regridder(GRIDS[0], GRIDS[1], "cubic")
