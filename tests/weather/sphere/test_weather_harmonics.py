"""Spherical harmonics: analytic fields, round trips, Parseval, gradients; spectra by degree."""

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from sciddiff.errors import InputError
from sciddiff.streams import Streams
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics, legendre
from weather.sphere.spectra import coherence, cross_spectrum, power_spectrum

KINDS = ("gaussian", "equiangular", "regular")


def _angles(grid):
    return np.radians(90.0 - grid.lat)[:, None], np.radians(grid.lon)[None, :]


def _random(*shape):
    """Coefficients of a real field, without power above the degree."""
    size = shape[-1]
    like = torch.empty(shape[0], *shape[1:], 2, dtype=torch.float64)
    a = torch.view_as_complex(Streams.first(3, shape[0]).normal(like))
    a[..., 0] = a[..., 0].real + 0j
    return a * torch.ones(size, size).tril()


def _area_mean(grid, field):
    return (torch.tensor(grid.weights)[:, None] * field).mean((-2, -1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("degree", "order"), [(0, 0), (1, 0), (1, 1), (4, 3), (7, 7), (12, 5)])
def test_analytic_fields(kind, degree, order):
    grid = Grid(kind, 26, 52)
    harmonics = SphericalHarmonics(grid)
    scale = np.sqrt(4 * np.pi)
    value = scale * sph_harm_y(degree, order, *_angles(grid))
    a = (1.5 - 0.7j) if order else 1.5
    field = torch.tensor((1 if order == 0 else 2) * (a * value).real)
    expected = torch.zeros(harmonics.lmax + 1, harmonics.lmax + 1, dtype=torch.complex128)
    expected[degree, order] = a
    torch.testing.assert_close(harmonics.analysis(field), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(harmonics.synthesis(expected), field, rtol=0, atol=1e-12)


def test_legendre_functions_of_high_degree():
    x = np.sin(np.radians(np.array([-89.7, -30.0, 0.0, 12.3, 89.7])))
    values = legendre(180, x)
    for degree, order in [(180, 0), (180, 1), (180, 90), (180, 180), (179, 60)]:
        expected = np.sqrt(4 * np.pi) * sph_harm_y(degree, order, np.arccos(x), 0.0).real
        np.testing.assert_allclose(values[order, degree], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 64), (17, 35), (33, 20)])
def test_round_trip_is_exact_for_band_limited_fields(kind, size):
    grid = Grid(kind, *size)
    for lmax in (grid.band_limit, grid.max_degree):
        harmonics = SphericalHarmonics(grid, lmax)
        a = _random(3, 2, lmax + 1, lmax + 1)
        field = harmonics.synthesis(a)
        assert field.shape == (3, 2, *size)
        torch.testing.assert_close(harmonics.analysis(field), a, rtol=0, atol=1e-11)
        single = harmonics.analysis(field.float())
        assert single.dtype == torch.complex64
        torch.testing.assert_close(single, a.to(torch.complex64), rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_parseval(kind):
    grid = Grid(kind, 20, 40)
    harmonics = SphericalHarmonics(grid, grid.band_limit)
    a = _random(4, 2, harmonics.lmax + 1, harmonics.lmax + 1)
    field = harmonics.synthesis(a)
    power = power_spectrum(field, harmonics)
    torch.testing.assert_close(power.sum(-1), _area_mean(grid, field**2), rtol=1e-12, atol=0)
    cross = cross_spectrum(field[:, 0], field[:, 1], harmonics)
    expected = _area_mean(grid, field[:, 0] * field[:, 1])
    torch.testing.assert_close(cross.sum(-1), expected, rtol=0, atol=1e-11)


def test_a_rotation_about_the_axis_is_a_phase_and_keeps_the_spectrum():
    harmonics = SphericalHarmonics("gaussian-16x32")
    a = _random(2, 16, 16)
    field = harmonics.synthesis(a)
    moved = harmonics.analysis(field.roll(5, -1))
    phase = torch.exp(-2j * torch.pi * 5 / 32 * torch.arange(16).double())
    torch.testing.assert_close(moved, a * phase, rtol=0, atol=1e-12)


def test_a_rotation_of_the_sphere_keeps_the_spectrum():
    """A bump is moved from the pole to the tropics: S_l depends on its shape alone."""
    grid = Grid.parse("gaussian-48x96")
    harmonics = SphericalHarmonics(grid)
    points = torch.tensor(grid.unit_vectors())

    def bump(centre):
        centre = torch.tensor(centre, dtype=torch.float64)
        return torch.exp(8.0 * (points @ (centre / centre.norm()) - 1.0))

    power = power_spectrum(torch.stack([bump([0, 0, 1]), bump([1, 2, 0.3])]), harmonics)
    torch.testing.assert_close(power[0], power[1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_one_harmonic_has_power_at_one_degree(kind):
    grid = Grid(kind, 24, 48)
    harmonics = SphericalHarmonics(grid)
    for degree, order in [(0, 0), (3, 2), (9, 9), (20, 4)]:
        field = torch.tensor(sph_harm_y(degree, order, *_angles(grid)).real)
        power = power_spectrum(field, harmonics)
        total = (1.0 if order == 0 else 0.5) / (4 * np.pi)
        expected = torch.zeros_like(power)
        expected[degree] = total
        torch.testing.assert_close(power, expected, rtol=0, atol=1e-14)


def test_coherence_of_scaled_opposite_and_empty_degrees():
    harmonics = SphericalHarmonics("gaussian-16x32", 9)
    field = harmonics.synthesis(_random(2, 10, 10))[0]
    low = harmonics.filter(field, (torch.arange(10) < 4).double())
    result = coherence(field, -3.0 * low, harmonics)
    expected = torch.tensor([-1.0] * 4 + [0.0] * 6, dtype=torch.float64)
    torch.testing.assert_close(result[:4], expected[:4], rtol=0, atol=1e-12)
    assert coherence(field, torch.zeros_like(field), harmonics).abs().max() == 0
    torch.testing.assert_close(harmonics.filter(low, torch.ones(10)), low)


def test_gradients():
    harmonics = SphericalHarmonics("equiangular-8x16")
    field = Streams.first(0, 2).normal(torch.empty(2, 8, 16, dtype=torch.float64))
    field.requires_grad_()
    assert torch.autograd.gradcheck(harmonics.analysis, (field,), fast_mode=True)
    a = _random(2, 8, 8).requires_grad_()
    assert torch.autograd.gradcheck(harmonics.synthesis, (a,), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda x: power_spectrum(x, harmonics), (field,), fast_mode=True
    )


def test_a_transform_first_used_without_gradients_serves_them_later():
    harmonics = SphericalHarmonics("gaussian-8x16")
    with torch.inference_mode():
        harmonics.analysis(torch.zeros(8, 16))
    field = torch.zeros(8, 16, requires_grad=True)
    harmonics.analysis(field).real.sum().backward()
    assert field.grad is not None


def test_mixed_precision_stays_out():
    harmonics = SphericalHarmonics("gaussian-8x16")
    field = harmonics.synthesis(_random(1, 8, 8)).float()
    expected = harmonics.analysis(field)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(harmonics.analysis(field), expected)
    half = harmonics.analysis(field.bfloat16())
    torch.testing.assert_close(half, expected, rtol=0, atol=0.05)


def test_wrong_shapes_and_degrees_are_named():
    with pytest.raises(InputError, match="lmax: 32 on gaussian-32x64; choose from 0 to 31"):
        SphericalHarmonics("gaussian-32x64", 32)
    harmonics = SphericalHarmonics("gaussian-32x64", 21)
    with pytest.raises(InputError, match="gaussian-32x64 was expected"):
        harmonics.analysis(torch.zeros(64, 32))
    with pytest.raises(InputError, match=r"\[\.\.\., 22, 22\] expected"):
        harmonics.synthesis(torch.zeros(21, 21, dtype=torch.complex64))


def test_copies_and_pickles_are_light_and_work():
    harmonics = SphericalHarmonics("gaussian-16x32")
    field = harmonics.synthesis(_random(1, 16, 16))
    text = pickle.dumps(harmonics)
    assert len(text) < 1000
    for twin in (pickle.loads(text), copy.deepcopy(harmonics)):
        torch.testing.assert_close(twin.analysis(field), harmonics.analysis(field))


def test_agrees_with_torch_harmonics():
    """Theirs begins in the north and has a mean square of 1 / 4 pi."""
    torch_harmonics = pytest.importorskip(
        "torch_harmonics", reason="torch-harmonics is not installed"
    )
    harmonics = SphericalHarmonics(Grid("gaussian", 32, 64), 21)
    field = Streams.first(5, 2).normal(torch.empty(2, 32, 64, dtype=torch.float64))
    forward = torch_harmonics.RealSHT(32, 64, lmax=22, mmax=22, grid="legendre-gauss")
    backward = torch_harmonics.InverseRealSHT(32, 64, lmax=22, mmax=22, grid="legendre-gauss")
    scale = np.sqrt(4 * np.pi)
    ours = harmonics.analysis(field)
    torch.testing.assert_close(scale * ours, forward(field.flip(-2)), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        harmonics.synthesis(ours).flip(-2), backward(scale * ours), rtol=0, atol=1e-12
    )
