"""The spectral term: every degree in its own units, all degrees alike."""

import pytest
import torch

from sciddiff.objectives import fair_crps
from weather.forecast.spectral import CosineCoefficients, SpectralCoefficients
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


def _area(count: int, slope: float, seed: int) -> torch.Tensor:
    """Fields of two channels on an area whose cosine coefficients fall with their wavenumber."""
    scipy_fft = pytest.importorskip("scipy.fft")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((count, 2, 9, 17), generator=generator).double()
    number = 9 * ((torch.arange(9) / 9)[:, None] ** 2 + (torch.arange(17) / 17) ** 2).sqrt()
    band = torch.where(number == 0, 0.0, number.floor() + 1)
    drawn = drawn * torch.tensor([1.0, 30.0])[:, None, None] * (1 + band) ** -slope
    return torch.from_numpy(scipy_fft.idctn(drawn.numpy(), axes=(-2, -1), norm="ortho"))


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_bands_of_an_area_count_alike_whatever_their_power(slope):
    transform = CosineCoefficients(_area(2000, slope, 0))
    members, truth = _area(4000, slope, 1), _area(2000, slope, 2)
    seen = transform(members).unflatten(0, (2, 2000))
    score = fair_crps(seen, transform(truth), 1.0).mean(0)  # [C, H, W]
    bands = transform.band.max() + 1
    assert bands == 13 and (transform.band == 0).sum() == 1
    total = torch.stack([score[:, transform.band == b].sum(-1) for b in range(bands)], 1)
    assert (total / total.mean() - 1.0).abs().max() < 0.1


def test_errors_that_hang_together_are_seen_by_the_cosines_alone():
    """Members without large scales, of the right variance at each point: points see nothing."""
    truth, rough = _area(600, 1.0, 3), _area(1200, 0.0, 4)
    smooth = _area(1200, 1.0, 5)
    rough = rough * (smooth.square().mean((0, 2, 3)) / rough.square().mean((0, 2, 3)))[
        :, None, None
    ].sqrt()
    transform = CosineCoefficients(truth)

    def score(members: torch.Tensor, seen) -> torch.Tensor:
        return fair_crps(seen(members).unflatten(0, (2, 600)), seen(truth), 1.0).mean()

    by_point = score(rough, lambda x: x) / score(smooth, lambda x: x)
    assert abs(by_point - 1.0) < 0.03
    assert score(rough, transform) > 1.06 * score(smooth, transform)
