"""Padding: what lies beyond a pole is the field itself, seen in coordinates that go on."""

import numpy as np
import pytest
import torch

from sciddiff.errors import InputError
from weather.sphere.grids import Grid
from weather.sphere.padding import pad_sphere

KINDS = ("gaussian", "equiangular")


def _extended(grid, width):
    """Latitudes that go on beyond the poles, ``[H + 2 width, 1]``, and longitudes, in radians."""
    lat, step = grid.lat, 360.0 / grid.width
    lat = np.r_[-180 - lat[:width][::-1], lat, 180 - lat[-width:][::-1]]
    lon = np.arange(-width, grid.width + width) * step
    return np.radians(lat)[:, None], np.radians(lon)[None, :]


def _point(lat, lon):
    x, y = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)
    return np.stack(np.broadcast_arrays(x, y, np.sin(lat)))


def _scalar(lat, lon):
    x, y, z = _point(lat, lon)
    return np.exp(x - 0.3 * y) * np.cos(2 * z + 0.5) + x * y * z


def _vector(lat, lon):
    """East and north components of a smooth tangent field, nowhere zero at the poles."""
    x, y, z = _point(lat, lon)
    flow = np.stack([np.cos(z) + 0.4 * y, np.sin(x) + 0.7, x * y + 0.2])
    east = np.stack(np.broadcast_arrays(-np.sin(lon), np.cos(lon), 0 * lat))
    north = np.stack(
        np.broadcast_arrays(-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat))
    )
    return np.stack([(flow * east).sum(0), (flow * north).sum(0)])


def _sample(grid):
    lat, lon = np.radians(grid.lat)[:, None], np.radians(grid.lon)[None, :]
    fields = np.concatenate([_scalar(lat, lon)[None], _vector(lat, lon)])
    return torch.tensor(fields)[None], torch.tensor([1.0, -1.0, -1.0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 3])
def test_padding_continues_scalars_and_vectors_over_the_poles(kind, width):
    grid = Grid(kind, 12, 24)
    x, signs = _sample(grid)
    lat, lon = _extended(grid, width)
    expected = np.concatenate([_scalar(lat, lon)[None], _vector(lat, lon)])
    padded = pad_sphere(x, width, signs)[0]
    torch.testing.assert_close(padded, torch.tensor(expected), rtol=0, atol=1e-13)


def _polar_error(grid, signs):
    """Error at the pole of the mean of the first row and the row beyond it, per channel."""
    x, right = _sample(grid)
    padded = pad_sphere(x, 1, right if signs else None)[0, :, :, 1:-1]
    pole, lon = np.full((1, 1), -np.pi / 2), np.radians(grid.lon)[None, :]
    exact = np.concatenate([_scalar(pole, lon)[None], _vector(pole, lon)])[:, 0]
    return (0.5 * (padded[:, 0] + padded[:, 1]) - torch.tensor(exact)).abs().amax(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_interpolation_across_the_pole_is_of_second_order(kind):
    coarse, fine = (_polar_error(Grid(kind, n, 2 * n), True) for n in (24, 48))
    order = (coarse / fine).log2()
    assert ((order > 1.8) & (order < 2.2)).all(), order
    # Without the sign the components of a vector do not even converge.
    wrong = [_polar_error(Grid(kind, n, 2 * n), False)[1:] for n in (24, 48)]
    assert (wrong[0] > 0.1).all()
    assert (wrong[1] > 0.9 * wrong[0]).all()


def test_rows_at_the_poles_are_not_repeated():
    """On a regular grid the row at the pole is its own mirror: beyond it comes the next row."""
    grid = Grid("regular", 13, 24)
    x, signs = _sample(grid)
    lat = np.radians(np.linspace(-120, 120, 17))[:, None]
    lon = np.radians(np.arange(-2, 26) * 15.0)[None, :]
    expected = np.concatenate([_scalar(lat, lon)[None], _vector(lat, lon)])
    padded = pad_sphere(x, 2, signs, poles=True)[0]
    torch.testing.assert_close(padded, torch.tensor(expected), rtol=0, atol=1e-13)


def test_padding_commutes_with_a_turn_about_the_axis():
    x, signs = _sample(Grid("gaussian", 8, 16))
    turned = pad_sphere(x.roll(5, -1), 2, signs)[..., 2:-2]
    assert torch.equal(turned, pad_sphere(x, 2, signs)[..., 2:-2].roll(5, -1))


def test_sizes_that_cannot_be_padded_are_named():
    with pytest.raises(InputError, match="15 longitudes; an even number"):
        pad_sphere(torch.zeros(1, 1, 8, 15))
    with pytest.raises(InputError, match="padding of 9 needs as many"):
        pad_sphere(torch.zeros(1, 1, 8, 16), 9)
