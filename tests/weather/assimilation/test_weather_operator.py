"""Interpolation to points: exact where it says so, second order elsewhere, across seams too."""

import numpy as np
import pytest
import torch

from sciddiff.errors import InputError
from weather.assimilation.operator import PointOperator, is_global


def grid(h: int, poles: bool = False) -> tuple[np.ndarray, np.ndarray]:
    step = 180.0 / h
    lat = np.linspace(-90, 90, h + 1) if poles else -90 + step * (np.arange(h) + 0.5)
    return lat, np.arange(2 * h) * step


def points(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-400, 400, n)


def smooth(lat, lon):
    """A smooth function on the sphere, of the three Cartesian coordinates."""
    lat, lon = np.radians(lat), np.radians(lon)
    x, y, z = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    return x + 0.5 * y - z + x * y + 0.3 * z**2 * x


@pytest.mark.parametrize("poles", [False, True])
def test_smooth_fields_converge_at_second_order_poles_and_date_line_included(poles):
    lat, lon = points()
    lat[:6], lon[:6] = [90, -90, 89.9, -89.9, 88, -88], [0, 77, 10, 200, 359.9, -0.1]
    errors = []
    for h in (16, 32, 64):
        rows, columns = grid(h, poles)
        field = smooth(rows[:, None], columns[None])
        operator = PointOperator.build(rows, columns, lat, lon)
        np.testing.assert_allclose(operator.weight.sum(1), 1.0, atol=1e-12)
        assert (operator.weight > -1e-12).all()
        errors.append(np.abs(operator.array(field) - smooth(lat, lon)).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.8).all(), errors


def test_components_of_vectors_change_sign_beyond_a_pole():
    """A constant wind in space, seen as its eastward component, is smooth across the pole."""
    rows, columns = grid(48)
    lat = np.array([89.5, 89.0, -89.4, 30.0])
    lon = np.array([10.0, 200.0, 300.0, 5.0])

    def eastward(lat, lon):
        return -np.sin(np.radians(lon)) + 0 * lat

    operator = PointOperator.build(rows, columns, lat, lon).signed([True] * 4)
    found = operator.array(eastward(rows[:, None], columns[None]))
    np.testing.assert_allclose(found, eastward(lat, lon), atol=2e-3)


def test_linear_fields_in_a_region_are_exact_at_any_turn_of_longitude():
    rows, columns = np.linspace(30, 70, 17), np.linspace(-70, 10, 33)
    assert not is_global(columns)
    field = 2.0 * rows[:, None] - 0.7 * columns[None] + 3.0
    operator = PointOperator.build(rows, columns, [60.4, 30.0, 70.0], [5.3, 290.0, 370.0])
    np.testing.assert_allclose(
        operator.array(field), [2 * 60.4 - 0.7 * 5.3 + 3, 60 + 49 + 3, 140 - 7 + 3], atol=1e-12
    )
    with pytest.raises(InputError, match="longitude 11 is outside the grid"):
        PointOperator.build(rows, columns, [50.0], [11.0])
    with pytest.raises(InputError, match="latitude 20 is outside"):
        PointOperator.build(rows, columns, [20.0], [0.0])
    with pytest.raises(InputError, match="latitude 10 is outside"):
        PointOperator.build(rows, np.arange(0, 360, 2.5), [10.0], [0.0])
    with pytest.raises(InputError, match="not on the globe"):
        PointOperator.build(rows, columns, [95.0], [0.0])


def test_grid_points_are_reproduced_and_channels_picked():
    rows, columns = grid(8)
    fields = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(0)).double()
    r, c = np.array([0, 7, 3]), np.array([15, 0, 8])
    operator = PointOperator.build(rows, columns, rows[r], columns[c])
    channel = torch.tensor([2, 0, 1])
    found = operator(fields, channel)
    torch.testing.assert_close(found, fields[:, channel, torch.tensor(r), torch.tensor(c)])
    torch.testing.assert_close(
        operator(fields), torch.as_tensor(operator.array(fields.numpy()))
    )


def test_it_is_linear_so_that_its_gradient_is_its_transpose():
    rows, columns = grid(8)
    operator = PointOperator.build(rows, columns, [40.0], [33.0])
    x = torch.zeros(8, 16, dtype=torch.float64, requires_grad=True)
    operator(x).sum().backward()
    assert int((x.grad != 0).sum()) == 4
    assert float(x.grad.sum()) == pytest.approx(1.0)
