"""Wrapped normal: against the sum over images in 50 digits, its derivatives and its samples."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import torch

from sciddiff.manifolds import wrapped_normal

SIGMAS = [0.02, 0.1, 0.5, 1.0, 1.5, 1.500001, 2.0, 3.0, 4.0]
ANGLES = [1e-12, 1e-6, 1e-3, 0.3, 1.4, 2.0, 2.001, 3.0, 3.14, 3.1415, math.pi - 1e-9, -0.2, -3.1]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_definition(x: float, sigma: float) -> tuple[mp.mpf, mp.mpf]:
    with mp.workdps(50):
        s = mp.mpf(sigma)
        shifts = [mp.mpf(x) - 2 * mp.pi * k for k in range(-12, 13)]
        weights = [mp.exp(-(y**2) / (2 * s**2)) for y in shifts]
        total = sum(weights)
        slope = sum(-y * w for y, w in zip(shifts, weights, strict=True)) / s**2
        return mp.log(total / (mp.sqrt(2 * mp.pi) * s)), slope / total


@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_and_score_to_ten_digits(sigma: float) -> None:
    x = torch.tensor(ANGLES, dtype=torch.float64)
    logs, scores = wrapped_normal.log_density(x, sigma), wrapped_normal.score(x, sigma)
    turned = wrapped_normal.score(x + 6 * math.pi, sigma)
    for k, angle in enumerate(ANGLES):
        log, score = by_definition(angle, sigma)
        assert abs(float(logs[k]) - log) <= 1e-13 * abs(log) + 1e-11
        assert abs(float(scores[k]) - score) <= 1e-10 * abs(score)
        slope = 1 / sigma**2 + math.pi**2 / sigma**4  # the angle is 1e-14 off after three turns
        assert abs(float(turned[k]) - score) <= 1e-9 * abs(score) + 1e-14 * slope


@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_integrates_to_one(sigma: float) -> None:
    x = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)  # trapezoid on a circle
    density = wrapped_normal.log_density(x, sigma).exp()
    assert abs(float(torch.trapezoid(density, x)) - 1) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_are_right_and_finite(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, 1e-8, 0.5, -0.5, 2.0, 3.0, math.pi, -math.pi], dtype=dtype)
    x = x.repeat(len(SIGMAS), 1).requires_grad_()
    sigma = torch.tensor(SIGMAS, dtype=dtype)[:, None].requires_grad_()
    log, score = wrapped_normal.log_density(x, sigma), wrapped_normal.score(x, sigma)
    assert score.dtype == dtype
    slope, rate = torch.autograd.grad(log.sum(), (x, sigma))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    inside = slice(0, 6)  # at +-pi the two sides differ by rounding times the curvature
    torch.testing.assert_close(
        slope[:, inside], score[:, inside].detach(), rtol=tolerance, atol=tolerance
    )
    bends = torch.autograd.grad(score.sum(), (x, sigma))
    assert all(g.isfinite().all() for g in (slope, rate, *bends))
    torch.testing.assert_close(bends[0][0, 0], -1 / sigma.detach()[0, 0] ** 2)


def test_heat_equation() -> None:
    x = torch.linspace(-3, 3, 50, dtype=torch.float64).repeat(5, 1).requires_grad_()
    sigma = torch.tensor([0.3, 1.0, 1.49, 1.51, 3.0], dtype=torch.float64)[:, None]
    variance = (sigma**2).expand_as(x).clone().requires_grad_()
    density = wrapped_normal.log_density(x, variance.sqrt()).exp()
    (rate,) = torch.autograd.grad(density.sum(), variance, retain_graph=True)
    (first,) = torch.autograd.grad(density.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(rate, 0.5 * second, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 1.6, 3.0])
def test_samples_follow_the_density(sigma: float) -> None:
    n = 100_000
    x = wrapped_normal.sample(sigma, torch.empty(n, dtype=torch.float64), generator(1))
    assert x.min() >= -math.pi
    assert x.max() < math.pi
    half = min(math.pi, 4 * sigma)
    counts = torch.histc(x, 40, -half, half)
    fine = torch.linspace(-half, half, 40 * 50 + 1, dtype=torch.float64)
    density = wrapped_normal.log_density(fine, sigma).exp()
    cdf = torch.cumulative_trapezoid(density, fine)[49::50]
    expected = n * torch.cat([cdf[:1], cdf.diff()])
    kept = expected > 5
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    freedom = int(kept.sum()) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_score_norm_is_the_expected_square() -> None:
    sigma = torch.tensor([0.02, 0.3, 1.0, 1.4, 1.6, 3.0], dtype=torch.float64)
    norm = wrapped_normal.score_norm(sigma)
    assert abs(float(norm[0]) * 0.02**2 - 1) < 1e-12
    x = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    density = wrapped_normal.log_density(x, sigma[:, None]).exp()
    square = wrapped_normal.score(x, sigma[:, None]) ** 2
    torch.testing.assert_close(norm, torch.trapezoid(density * square, x), rtol=1e-7, atol=0)
