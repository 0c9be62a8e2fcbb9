"""The spectral term: every degree in its own units, all degrees alike."""

import pytest
import torch

from sciddiff.objectives import fair_crps
from weather.forecast.spectral import SpectralCoefficients
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

GRID = Grid.parse("gaussian-32x64")


def _fields(count: int, slope: float, seed: int) -> torch.Tensor:
    """Isotropic fields of two channels whose coefficients fall like (l + 1)^-slope."""
    harmonics = SphericalHarmonics(GRID)
    size = harmonics.lmax + 1
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 2, size, size)
    real, imaginary = (torch.randn(shape, generator=generator).double() for _ in range(2))
    imaginary[..., 0] = 0.0
    real[..., 0] *= 2**0.5
    degree = torch.arange(1, size + 1).double()[:, None]
    scale = torch.tensor([1.0, 30.0]).double()[:, None, None]
    return harmonics.synthesis(torch.complex(real, imaginary) * scale * degree**-slope)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_degrees_and_channels_count_alike_whatever_their_power(slope):
    transform = SpectralCoefficients(_fields(200, slope, 0), GRID)
    members, truth = _fields(200, slope, 1), _fields(100, slope, 2)
    seen = transform(members).unflatten(0, (2, 100))
    score = fair_crps(seen, transform(truth), 1.0)  # [n, C, L, M]
    by_degree = score.mean(0).mean(-1)
    mean = by_degree.mean()
    assert (by_degree[:, 3:] / mean).sub(1.0).abs().max() < 0.15
    assert (by_degree.mean(1) / mean).sub(1.0).abs().max() < 0.05
    assert 0.3 < mean < 0.9


def test_weights_scale_channels_and_rounding_beyond_the_truncation_stays_small():
    sample = _fields(50, 0.0, 3)
    harmonics = SphericalHarmonics(GRID)
    cut = (torch.arange(harmonics.lmax + 1) <= 21).double()
    smooth = harmonics.filter(sample, cut + 1e-3 * (1 - cut))
    plain = SpectralCoefficients(smooth, GRID)(smooth).abs().square().mean((0, 3)).sqrt()
    assert plain[:, 22:].max() < 0.03 * plain[:, :22].min()
    weights = torch.tensor([3.0, 1.0]).double()
    heavy = SpectralCoefficients(smooth, GRID, weights)(smooth).abs().square().mean((0, 3)).sqrt()
    torch.testing.assert_close(heavy / plain, (weights / 2)[:, None].expand_as(plain))
