"""Noise on the sphere: isotropy, spectrum, exact whitening, density, correlation in time."""

import math

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre

from sciddiff.errors import InputError
from sciddiff.noise import White
from sciddiff.streams import Streams
from weather.sphere.grids import Grid
from weather.sphere.noise import SphericalNoise, ornstein_uhlenbeck
from weather.sphere.spectra import power_spectrum

SPECTRA = [("white", 1.0), ("equal_power", 1.0), ("power_law", 3.0)]
KINDS = ("gaussian", "equiangular", "regular")


def _law(kind="gaussian", size=(8, 16), **settings):
    return SphericalNoise(Grid(kind, *size), **settings)


def _normal(*shape, seed=0):
    return Streams.first(seed, shape[0]).normal(torch.empty(*shape, dtype=torch.float64))


def _matrix(law):
    """L as a dense matrix."""
    n = math.prod(law.harmonics.grid.shape)
    eye = torch.eye(n, dtype=torch.float64).view(n, *law.harmonics.grid.shape)
    return law.color(eye).view(n, n).T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("spectrum", "alpha"), SPECTRA)
def test_operators_agree_with_the_dense_matrix(kind, spectrum, alpha):
    law = _law(kind, spectrum=spectrum, alpha=alpha)
    factor = _matrix(law)
    sigma = factor @ factor.T
    x = _normal(3, 2, 8, 16)
    flat = x.flatten(-2)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(law.covariance(x).flatten(-2), flat @ sigma, **close)
    white = torch.linalg.solve(factor, flat.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(law.whiten(x).flatten(-2), white, **close)
    torch.testing.assert_close(
        law.precision(x).flatten(-2), flat @ torch.linalg.inv(sigma), rtol=1e-7, atol=1e-6
    )
    log_det = 2 * torch.linalg.slogdet(factor)[1]
    torch.testing.assert_close(law.log_det(x), log_det.expand(3), rtol=1e-11, atol=0)
    reference = torch.distributions.MultivariateNormal(torch.zeros_like(flat[0, 0]), sigma)
    small = law.color(0.1 * x)
    expected = reference.log_prob(small.flatten(-2)).sum(-1)
    torch.testing.assert_close(law.log_prob(small), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
@pytest.mark.parametrize(("spectrum", "alpha"), SPECTRA)
def test_noise_is_exactly_whitened_at_full_size(spectrum, alpha, dtype, atol):
    law = _law(size=(32, 64), spectrum=spectrum, alpha=alpha)
    z = _normal(2, 3, 32, 64).to(dtype)
    torch.testing.assert_close(law.whiten(law.color(z)), z, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("spectrum", "alpha"), SPECTRA)
def test_covariance_is_a_function_of_the_angle_alone(kind, spectrum, alpha):
    """All pairs of points against the Legendre series; so also one variance everywhere."""
    law = _law(kind, (12, 24), spectrum=spectrum, alpha=alpha, rest=1e-4)
    factor = _matrix(law)
    points = law.harmonics.grid.unit_vectors().reshape(-1, 3)
    cosine = np.clip(points @ points.T, -1, 1)
    degree = np.arange(law.harmonics.lmax + 1)
    power = (2.0 * degree + 1) ** (1 - {"white": 0.0, "equal_power": 1.0}.get(spectrum, alpha))
    power /= power.sum()
    expected = sum(p * eval_legendre(l, cosine) for l, p in zip(degree, power, strict=True))
    torch.testing.assert_close(
        factor @ factor.T, torch.tensor(expected), rtol=0, atol=3e-6 if kind == "regular" else 1e-6
    )


@pytest.mark.parametrize("spectrum", ["white", "equal_power"])
def test_variance_at_the_poles_is_that_at_the_equator(spectrum):
    """Drawn, at full size and default settings: every latitude within the Monte-Carlo error."""
    law = _law(size=(32, 64), spectrum=spectrum)
    draws = 1000
    x = law.sample(torch.empty(draws, 1, 32, 64), Streams.first(5, draws))[:, 0]
    variance = x.double().square().mean(0).mean(-1)
    # Neighbours on a latitude are correlated, above all at the poles: bound by one longitude.
    assert abs(variance - 1).max() < 4.5 * math.sqrt(2 / draws)
    poles, equator = variance[[0, 1, -2, -1]].mean(), variance[14:18].mean()
    assert abs(poles / equator - 1) < 0.1
    # The exact variance of each row, part outside the band included.
    eye = torch.zeros(32, 1, 32, 64, dtype=torch.float64)
    eye[range(32), 0, range(32), 0] = 1.0
    exact = law.covariance(eye)[range(32), 0, range(32), 0]
    assert abs(exact - 1).max() < 0.02
    mean = (exact * torch.tensor(law.harmonics.grid.weights)).mean()
    assert mean.item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("spectrum", "alpha"), SPECTRA)
def test_drawn_spectrum_is_the_one_asked_for(spectrum, alpha):
    law = _law(size=(16, 32), spectrum=spectrum, alpha=alpha)
    x = law.sample(torch.empty(500, 4, 16, 32, dtype=torch.float64), Streams.first(1, 500))
    power = power_spectrum(x, law.harmonics).flatten(0, 1).mean(0)
    degree = torch.arange(16, dtype=torch.float64)
    exponent = {"white": 0.0, "equal_power": 1.0}.get(spectrum, alpha)
    expected = (2 * degree + 1) ** (1 - exponent)
    expected *= (1 - law.rest**2) / expected.sum()
    error = expected * (2 / (2 * degree + 1) / 2000).sqrt()
    assert ((power - expected).abs() < 4.5 * error).all()


def test_a_spectrum_by_numbers():
    law = _law(lmax=3, power=[1.0, 4.0, 2.0, 1.0])
    band, _ = law.deviations
    power = band**2 * (2 * torch.arange(4) + 1)
    torch.testing.assert_close(power, torch.tensor([1, 4, 2, 1]).double() / 8 * (1 - law.rest**2))


def test_channels_and_samples_are_independent_and_draws_belong_to_samples():
    law = _law()
    x = law.sample(torch.empty(400, 3, 8, 16, dtype=torch.float64), Streams.first(9, 400))
    weights = torch.tensor(law.harmonics.grid.weights)[:, None]
    products = torch.einsum("bchw,bdhw->cd", x * weights, x) / (400 * 8 * 16)
    assert (products - torch.eye(3)).abs().max() < 0.05
    alone = law.sample(torch.empty(1, 3, 8, 16).double(), Streams(9, torch.tensor([17])))
    torch.testing.assert_close(alone[0], x[17], rtol=0, atol=1e-13)


@pytest.mark.parametrize("law", [_law(spectrum="equal_power"), White()])
def test_noise_in_time_keeps_its_law_and_forgets_at_the_given_rate(law):
    streams = Streams.first(2, 500)
    like = torch.empty(500, 2, 8, 16, dtype=torch.float64)
    phi = torch.tensor([0.9, 0.4]).view(2, 1, 1)
    first = law.sample(like, streams)
    x = first
    for _ in range(3):
        x = ornstein_uhlenbeck(law, x, phi, streams)
    white, start = law.whiten(x), law.whiten(first)
    variance = white.square().mean((0, 2, 3))
    correlation = (white * start).mean((0, 2, 3))
    torch.testing.assert_close(variance, torch.ones(2).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(
        correlation, torch.tensor([0.729, 0.064]).double(), rtol=0, atol=0.03
    )
    kept = ornstein_uhlenbeck(law, first, 1.0, streams)
    torch.testing.assert_close(kept, first)


def test_gradients_pass_and_laws_compare_by_their_settings():
    law = _law()
    assert law == _law()
    assert law != _law(spectrum="white")
    assert SphericalNoise("gaussian-8x16").harmonics.grid == law.harmonics.grid
    x = _normal(1, 1, 8, 16).requires_grad_()
    law.log_prob(x).sum().backward()
    torch.testing.assert_close(x.grad, -law.precision(x.detach()), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lmax": 8}, "lmax: 8 on gaussian-8x16; choose from 0 to 7"),
        ({"rest": 0.0}, "rest: 0.0"),
        ({"spectrum": "pink"}, "'pink' is unknown"),
        ({"power": [1.0, 2.0]}, "8 positive finite numbers"),
        ({"power": [1.0] * 7 + [math.nan]}, "8 positive finite numbers"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        _law(**settings)


def test_bad_correlation_is_named():
    with pytest.raises(InputError, match="phi"):
        ornstein_uhlenbeck(White(), torch.zeros(1, 1, 8, 16), 1.2, Streams.first(0, 1))
