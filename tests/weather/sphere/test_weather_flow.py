"""Flow from vorticity and divergence: known flows, derivatives, and back again."""

import numpy as np
import pytest
import torch

from sciddiff.errors import InputError
from weather.sphere.flow import (
    EARTH_RADIUS,
    along_meridian,
    along_parallel,
    inverse_laplacian,
    wind,
)
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

GRID = Grid.parse("gaussian-16x32")
LAT = torch.tensor(np.radians(GRID.lat))[:, None]
LON = torch.tensor(np.radians(GRID.lon))[None, :]


def _smooth(seed, degree=8):
    """Coefficients up to a degree, `[12, 12]`, of a transform to degree 11."""
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(12, 12, 2, dtype=torch.float64, generator=draw)
    a = torch.view_as_complex(a) * torch.ones(12, 12).tril()
    a[degree + 1 :] = 0
    a[:, 0] = a[:, 0].real + 0j
    return a


def test_solid_rotation():
    """Vorticity 2 w sin(latitude) is a wind of w a cos(latitude) to the east."""
    harmonics = SphericalHarmonics(GRID, 5)
    w = 1e-5
    vorticity = harmonics.analysis((2 * w * LAT.sin()).expand(GRID.shape).contiguous())
    vorticity[-1] = 0
    u, v = wind(harmonics, vorticity, torch.zeros_like(vorticity))
    expected = (w * EARTH_RADIUS * LAT.cos()).expand(GRID.shape)
    torch.testing.assert_close(u, expected, rtol=1e-10, atol=1e-9)
    assert float(v.abs().max()) < 1e-9


def test_derivatives_of_a_known_field():
    harmonics = SphericalHarmonics(GRID, 6)
    field = LAT.cos() ** 2 * LAT.sin() * (2 * LON).cos()
    a = harmonics.analysis(field)
    south = LAT.cos() * (-2 * LAT.cos() * LAT.sin() ** 2 + LAT.cos() ** 3) * (2 * LON).cos()
    torch.testing.assert_close(harmonics.synthesis(along_meridian(a)), south, rtol=0, atol=1e-12)
    west = -2 * LAT.cos() ** 2 * LAT.sin() * (2 * LON).sin()
    torch.testing.assert_close(harmonics.synthesis(along_parallel(a)), west, rtol=0, atol=1e-12)
    # Degree 3: the Laplacian is -12 / a^2 times the field.
    back = inverse_laplacian(a, 2.0) * -12.0 / 4.0
    torch.testing.assert_close(back, a, rtol=0, atol=1e-12)


def test_the_flow_has_the_vorticity_and_divergence_it_was_made_of():
    harmonics = SphericalHarmonics(GRID, 11)
    vorticity, divergence = _smooth(0), _smooth(1)
    vorticity[0], divergence[0] = 0, 0
    u, v = wind(harmonics, vorticity, divergence, 1.0)
    cosine = LAT.cos()
    eastward, northward = (harmonics.analysis(x * cosine) for x in (u, v))
    curl = along_parallel(northward) - along_meridian(eastward)
    spread = along_parallel(eastward) + along_meridian(northward)
    for made, given in ((curl, vorticity), (spread, divergence)):
        field = harmonics.synthesis(made) / cosine**2
        torch.testing.assert_close(field, harmonics.synthesis(given), rtol=0, atol=1e-10)


def test_bad_input():
    harmonics = SphericalHarmonics(GRID, 8)
    full = torch.ones(9, 9, dtype=torch.complex64)
    with pytest.raises(InputError, match="lmax 9"):
        wind(harmonics, full, full)
    poles = SphericalHarmonics("regular-17x32", 8)
    with pytest.raises(InputError, match="rows at the poles"):
        wind(poles, full * 0, full * 0)
