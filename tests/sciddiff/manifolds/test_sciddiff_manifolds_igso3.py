"""IGSO(3): against the series in many digits, the heat equation, random walks, its own samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import pytest
import torch

from sciddiff.manifolds import igso3
from sciddiff.manifolds.igso3_fast import score_float32
from sciddiff.manifolds.so3 import angle, exp_map, log_map
from sciddiff.streams import Streams

SIGMAS = [0.02, 0.05, 0.1, 0.2, 0.5, 0.85, 1.0, 1.000001, 1.3, 1.65, 2.0, 3.0, 4.0]
ANGLES = [
    *(
        1e-12,
        1e-7,
        1e-5,
        1e-3,
        0.05,
        0.3,
        0.9,
        1.5,
        1.999,
        2.0,
        2.001,
        2.6,
        3.0,
        3.1,
        3.14,
        3.1415,
    ),
    *(math.pi - 1e-6, math.pi - 1e-9),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_definition(omega: float, sigma: float) -> tuple[mp.mpf, mp.mpf]:
    """Log-density and score by the character series of the definition, in enough digits."""
    with mp.workdps(60 + int(5 / sigma**2 / 2)):  # the tail is exp(-pi^2 / 2 sigma^2) of the terms
        w, s = mp.mpf(omega), mp.mpf(sigma)
        value = slope = mp.mpf(0)
        terms = 5 + int(math.sqrt(2 * mp.mp.dps * math.log(10)) / sigma)
        sine, cosine = mp.sin(w / 2), mp.cos(w / 2)
        for l in range(terms):
            h = l + mp.mpf(1) / 2
            weight = (2 * l + 1) * mp.exp(-l * (l + 1) * s**2 / 2)
            value += weight * mp.sin(h * w) / sine
            slope += weight * (h * mp.cos(h * w) * sine - mp.sin(h * w) * cosine / 2) / sine**2
        return mp.log(value), slope / value


def by_images(omega: float, sigma: float) -> tuple[mp.mpf, mp.mpf]:
    """The same by Poisson's formula, where the series would need thousands of digits."""
    with mp.workdps(60):
        w, s = mp.mpf(omega), mp.mpf(sigma)
        shifts = [(k, w - 2 * mp.pi * k) for k in range(-8, 9)]
        weights = [(y, (-1) ** k * mp.exp(-(y**2) / (2 * s**2))) for k, y in shifts]
        value = sum(y * e for y, e in weights)
        slope = sum((1 - y**2 / s**2) * e for y, e in weights)
        log = mp.log(mp.sqrt(2 * mp.pi) * value / (s**3 * mp.sin(w / 2))) + s**2 / 8
        return log, slope / value - mp.cot(w / 2) / 2


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 1.5])
def test_the_two_references_agree(sigma: float) -> None:
    for w in (0.01, 1.0, 3.1):
        for a, b in zip(by_definition(w, sigma), by_images(w, sigma), strict=True):
            assert abs(a - b) <= 1e-30 * abs(b)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_and_score_to_ten_digits(sigma: float) -> None:
    omega = torch.tensor(ANGLES, dtype=torch.float64)
    logs, scores = igso3.log_density(omega, sigma), igso3.score(omega, sigma)
    for k, w in enumerate(ANGLES):
        log, score = (by_images if sigma < 0.3 else by_definition)(w, sigma)
        assert abs(float(logs[k]) - log) <= 1e-11 + 1e-13 * abs(log)  # the density, relative
        assert abs(float(logs[k]) - log) <= 1e-10 * abs(log)
        assert abs(float(scores[k]) - score) <= 1e-10 * abs(score)
    torch.testing.assert_close(igso3.density(omega, sigma), logs.exp(), rtol=1e-14, atol=0)


def test_score_vanishes_at_both_ends_and_is_negative_between() -> None:
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)[:, None]
    omega = torch.linspace(0, math.pi, 301, dtype=torch.float64)
    score = igso3.score(omega, sigma)
    assert (score[:, 0] == 0).all()
    assert (score[:, 1:-1] < 0).all()
    # pi in float64 is short of pi by 1.2e-16, and the slope there is pi^2 / sigma^4.
    assert (score[:, -1].abs() <= 1.3e-16 * math.pi**2 / sigma[:, 0] ** 4 + 1e-15).all()


def test_score_is_the_derivative_of_the_log_density() -> None:
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)[:, None]
    omega = torch.linspace(1e-3, math.pi, 200, dtype=torch.float64).repeat(len(SIGMAS), 1)
    omega.requires_grad_()
    (slope,) = torch.autograd.grad(igso3.log_density(omega, sigma).sum(), omega)
    torch.testing.assert_close(igso3.score(omega, sigma), slope, rtol=1e-9, atol=1e-8)


def test_heat_equation() -> None:
    """df / d(sigma^2) = (f'' + cot(omega / 2) f') / 2, all by automatic differentiation."""
    omega = torch.linspace(0.05, 3.1, 60, dtype=torch.float64).repeat(8, 1).requires_grad_()
    sigma = torch.tensor([0.3, 0.5, 0.8, 0.99, 1.01, 1.5, 2.0, 3.0], dtype=torch.float64)[:, None]
    variance = (sigma**2).expand_as(omega).clone().requires_grad_()
    density = igso3.density(omega, variance.sqrt())
    (rate,) = torch.autograd.grad(density.sum(), variance, retain_graph=True)
    (first,) = torch.autograd.grad(density.sum(), omega, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), omega)
    laplacian = second + first / torch.tan(omega / 2)
    torch.testing.assert_close(rate, 0.5 * laplacian, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_derivatives_are_finite(dtype: torch.dtype) -> None:
    omega = torch.tensor([0.0, 1e-8, 1e-3, 1.0, 2.0, 3.0, math.pi], dtype=dtype)
    omega = omega.repeat(len(SIGMAS), 1).requires_grad_()
    sigma = torch.tensor(SIGMAS, dtype=dtype)[:, None].requires_grad_()
    for function in (igso3.log_density, igso3.score, igso3.density, igso3.angle_pdf):
        value = function(omega, sigma)
        assert value.isfinite().all()
        for gradient in torch.autograd.grad(value.sum(), (omega, sigma)):
            assert gradient.isfinite().all()
    (slope,) = torch.autograd.grad(igso3.score(omega, sigma).sum(), omega)
    near = -1 / sigma.detach()[:5, 0] ** 2  # at the identity -1 / sigma^2 + 1 / 12
    torch.testing.assert_close(slope[:5, 0], near + 1 / 12, rtol=1e-5, atol=0)


def test_score_vector_is_the_gradient_in_the_body_frame() -> None:
    v = torch.randn(20, 3, generator=generator(), dtype=torch.float64)
    v = torch.cat([v, torch.zeros(1, 3).double(), 1e-9 * v[:3]])
    sigma = torch.linspace(0.3, 2.0, len(v), dtype=torch.float64)
    step = torch.zeros_like(v).requires_grad_()
    omega = angle(exp_map(v) @ exp_map(step))
    moved = omega > 1e-6  # angle has no gradient at the identity, by symmetry the score is 0
    (gradient,) = torch.autograd.grad(igso3.log_density(omega, sigma).sum(), step)
    score = igso3.score_vector(v, sigma)
    torch.testing.assert_close(score[moved], gradient[moved], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(score[~moved], v[~moved] * 0, rtol=0, atol=1e-6)
    (slope,) = torch.autograd.grad(igso3.score_vector(v.requires_grad_(), sigma).sum(), v)
    assert slope.isfinite().all()


def series_cdf(omega: torch.Tensor, sigma: float) -> torch.Tensor:
    """Integral of the character series: absolute error below 1e-12 in float64."""
    total = omega - omega.sin()
    for l in range(1, 8 + int(9 / sigma)):
        weight = (2 * l + 1) * math.exp(-l * (l + 1) * sigma**2 / 2)
        total = total + weight * ((l * omega).sin() / l - ((l + 1) * omega).sin() / (l + 1))
    return total / math.pi


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5, 1.0, 1.2, 2.0, 4.0])
def test_cdf_is_the_integral_of_the_series(sigma: float) -> None:
    omega = torch.linspace(0, min(math.pi, 6 * sigma), 40, dtype=torch.float64)
    cdf = igso3.angle_cdf(omega, sigma)
    torch.testing.assert_close(cdf, series_cdf(omega, sigma), rtol=0, atol=1e-11)
    whole = igso3.angle_cdf(torch.tensor(math.pi, dtype=torch.float64), sigma)
    assert abs(float(whole) - 1) < 1e-12


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.4, 0.9, 1.1, 1.7, 4.0])
def test_samples_follow_the_exact_cdf(sigma: float) -> None:
    n, bins = 100_000, 60
    like = torch.empty(n, dtype=torch.float64)
    omega = igso3.sample_angle(sigma, like, generator(int(100 * sigma)))
    edges = torch.linspace(0, min(math.pi, 4 * sigma), bins + 1, dtype=torch.float64)
    edges[-1] = math.pi
    expected = n * series_cdf(edges, sigma).diff()
    counts = torch.histogram(omega, bins=edges).hist
    assert counts.sum() == n
    kept = expected > 5
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    freedom = int(kept.sum()) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_inversion_of_the_cdf_is_exact_in_its_own_grid() -> None:
    sigma = torch.tensor([0.05, 0.6, 1.5, 3.0], dtype=torch.float64)
    u = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:-1]
    for row in range(len(sigma)):
        omega = igso3._invert(u, torch.full((len(u),), row), sigma)
        error = series_cdf(omega, float(sigma[row])) - u
        assert error.abs().max() < 3e-6
    small = torch.logspace(-5, -3, 40, dtype=torch.float64)  # all in the first cell
    for row in range(len(sigma)):
        omega = igso3._invert(small, torch.full((len(small),), row), sigma)
        assert (igso3.angle_cdf(omega, sigma[row]) / small - 1.0).abs().max() < 0.03


def test_samples_with_one_sigma_per_row_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sigma = torch.linspace(0.05, 2.0, 10)
    like = torch.empty(10, 500)
    streams = lambda: Streams(5, torch.arange(10))  # noqa: E731
    together = igso3.sample_angle(sigma[:, None], like, streams())
    monkeypatch.setattr(igso3, "_ROWS", 3)
    assert torch.equal(igso3.sample_angle(sigma[:, None], like, streams()), together)
    alone = igso3.sample_angle(sigma[7], like[7:8], Streams(5, torch.tensor([7])))
    torch.testing.assert_close(alone, together[7:8])
    # E (1 + 2 cos omega) / 3 = exp(-sigma^2)
    mean = ((1 + 2 * together.cos()) / 3).mean(1)
    torch.testing.assert_close(mean, torch.exp(-(sigma**2)), rtol=0, atol=0.12)


def test_sampled_vectors_have_uniform_axes() -> None:
    v = igso3.sample(0.5, torch.empty(20_000, 3), generator(3))
    axis = v / v.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(axis.T @ axis / len(v), torch.eye(3) / 3, rtol=0, atol=0.02)
    assert axis.mean(0).abs().max() < 0.03


def kolmogorov(omega: torch.Tensor, sigma: float) -> float:
    """sqrt(n) times the largest distance of the empirical cdf; above 1.95 once in a thousand."""
    cdf = series_cdf(omega.sort().values, sigma)
    rank = torch.arange(1, len(omega) + 1, dtype=torch.float64) / len(omega)
    return float((cdf - rank).abs().max() * math.sqrt(len(omega)))


@pytest.mark.parametrize("sigma", [0.3, 1.2])
def test_random_walk_arrives_at_the_kernel(sigma: float) -> None:
    steps, walkers, source = 60, 20_000, generator(4)
    r = torch.eye(3, dtype=torch.float64).repeat(walkers, 1, 1)
    for _ in range(steps):
        noise = torch.randn(walkers, 3, generator=source, dtype=torch.float64)
        r = r @ exp_map(sigma / math.sqrt(steps) * noise)
    assert kolmogorov(angle(r), sigma) < 1.95


def test_two_kernels_in_a_row_are_one() -> None:
    like = torch.empty(50_000, 3, dtype=torch.float64)
    first, second = igso3.sample(0.7, like, generator(5)), igso3.sample(1.1, like, generator(6))
    composed = log_map(exp_map(first) @ exp_map(second)).norm(dim=-1)
    assert kolmogorov(composed, math.hypot(0.7, 1.1)) < 1.95


def test_score_norm_is_the_expected_square() -> None:
    sigma = torch.tensor([0.02, 0.3, 1.0, 1.5, 3.0], dtype=torch.float64)
    norm = igso3.score_norm(sigma)
    assert abs(float(norm[0]) * 0.02**2 / 3 - 1) < 1e-3
    for k in range(1, 5):
        omega = igso3.sample_angle(sigma[k], torch.empty(100_000).double(), generator(k))
        square = igso3.score(omega, sigma[k]) ** 2
        assert abs(square.mean() - norm[k]) < 5 * square.std() / math.sqrt(len(omega))


def test_score_norm_is_twice_the_rate_of_the_entropy() -> None:
    """De Bruijn: d/d(sigma^2) of -E log f is E |score|^2 / 2."""
    sigma = torch.tensor([0.1, 0.5, 0.99, 1.01, 2.0, 4.0], dtype=torch.float64)
    variance = (sigma**2).requires_grad_()
    upper = (12 * sigma).clamp(max=math.pi)
    omega = upper[:, None] * torch.linspace(0, 1, 20_001, dtype=torch.float64)
    wide = variance.sqrt()[:, None]
    values = igso3.angle_pdf(omega, wide) * igso3.log_density(omega, wide)
    entropy = -torch.trapezoid(values, omega, dim=1)
    (rate,) = torch.autograd.grad(entropy.sum(), variance)
    torch.testing.assert_close(igso3.score_norm(sigma), 2 * rate, rtol=2e-6, atol=0)


GRID = torch.cat(
    [
        torch.linspace(0, math.pi, 4001, dtype=torch.float64),
        torch.logspace(-8, -1, 300, dtype=torch.float64),
        math.pi - torch.logspace(-7, -1, 300, dtype=torch.float64),
    ]
).float()


@pytest.mark.parametrize(
    "sigma", [0.02, 0.05, 0.1, 0.2, 0.5, 0.84, 0.86, 1.0, 1.64, 1.66, 2.5, 4.0]
)
def test_float32_score_is_accurate(sigma: float) -> None:
    exact = igso3.score(GRID.double(), torch.tensor(sigma).double())
    for shape in ((1,), (3, 1), ()):  # whole rows and scalars
        fast = igso3.score(GRID.expand(*shape[:1], -1), torch.full(shape, sigma))
        assert fast.dtype == torch.float32
        assert (fast - exact).abs().max() * sigma <= 1e-4  # the target is 2e-3 above 0.1
    each = igso3.score(GRID, torch.full_like(GRID, sigma))
    assert (each - exact).abs().max() * sigma <= 1e-4
    few = torch.cat([igso3.score(part, torch.full_like(part, sigma)) for part in GRID.split(999)])
    assert (few - exact).abs().max() * sigma <= 1e-4


def test_float32_score_of_mixed_shapes() -> None:
    sigma = torch.rand(40, generator=generator(1)) * 3 + 0.05
    omega = torch.rand(40, 30, 5, generator=generator(2)) * math.pi
    wide = sigma[:, None, None]
    exact = igso3.score(omega.double(), wide.double())
    for a, b in (
        (omega, wide),
        (omega, wide.expand_as(omega)),
        (omega.mT.contiguous().mT, wide),
        (omega[:, 0, 0], sigma),
    ):
        reference = exact if a.ndim == 3 else exact[:, 0, 0]
        error = (score_float32(a, b) - reference).abs() * b
        assert error.max() < 1e-4
    crossed = score_float32(omega[0, :, 0], sigma[:, None])  # angles x sigmas
    reference = igso3.score(omega[0, :, 0].double(), sigma[:, None].double())
    assert ((crossed - reference).abs() * sigma[:, None]).max() < 1e-4
    last = score_float32(omega[:5, :5, :], sigma[:5])  # sigma along the last dimension
    reference = igso3.score(omega[:5, :5, :].double(), sigma[:5].double())
    assert ((last - reference).abs() * sigma[:5]).max() < 1e-4
    assert score_float32(omega[:0], wide[:0]).shape == (0, 30, 5)
    assert score_float32(torch.tensor(1.0), torch.tensor(0.5)).shape == ()


def test_float32_score_under_function_transforms() -> None:
    omega, sigma = torch.linspace(0.1, 3.0, 6), torch.full((6,), 0.7)
    plain: Callable = lambda w: igso3.score(w, sigma)  # noqa: E731
    expected = plain(omega)
    close = {"rtol": 1e-5, "atol": 1e-5}
    mapped = torch.func.vmap(igso3.score)(omega, sigma)
    torch.testing.assert_close(mapped, expected, **close)
    slope = torch.func.grad(lambda w: plain(w).sum())(omega)
    value, tangent = torch.func.jvp(plain, (omega,), (torch.ones(6),))
    torch.testing.assert_close(value, expected, **close)
    torch.testing.assert_close(tangent, slope, **close)
    jacobian = torch.func.jacrev(plain)(omega)
    torch.testing.assert_close(jacobian.diagonal(), slope, **close)
    forward = torch.func.jacfwd(plain)(omega)
    torch.testing.assert_close(forward.diagonal(), slope, **close)
    each = torch.func.vmap(torch.func.grad(igso3.score), in_dims=(0, None))(omega, sigma[0])
    torch.testing.assert_close(each, slope, **close)
    inside = torch.func.grad(lambda w: torch.func.vmap(igso3.score)(w, sigma).sum())(omega)
    torch.testing.assert_close(inside, slope, **close)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_served(dtype: torch.dtype) -> None:
    omega = torch.linspace(0, 3, 50).to(dtype)
    score = igso3.score(omega, 0.5)
    assert score.dtype == dtype
    torch.testing.assert_close(
        score.double(), igso3.score(omega.double(), 0.5), rtol=1e-2, atol=1e-2
    )
