"""Posterior guidance is Kalman's formula wherever data are Gaussian."""

import math

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.grids import karras, uniform
from sciddiff.guidance import Posterior
from sciddiff.manifolds import SO3
from sciddiff.noise import Correlated
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import DPMSolverPP, Heun
from sciddiff.sampling import sample
from sciddiff.schedules import VP, Linear
from sciddiff.state import Batch
from sciddiff.testing import AnalyticDenoiser, GaussianMixture

F64 = torch.float64
MEAN = torch.tensor([0.5, -1.0, 0.3], dtype=F64)
COVARIANCE = torch.tensor([[1.0, 0.6, 0.1], [0.6, 0.8, -0.2], [0.1, -0.2, 0.5]], dtype=F64)
H = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, -1.0]], dtype=F64)
VALUES = torch.tensor([1.4, -2.5], dtype=F64)
ERRORS = torch.tensor([0.3, 0.5], dtype=F64)


def kalman(mean, covariance, h, values, errors):
    """Mean and covariance of a Gaussian after linear observations."""
    gain = covariance @ h.T @ torch.linalg.inv(h @ covariance @ h.T + torch.diag(errors**2))
    return mean + gain @ (values - h @ mean), covariance - gain @ h @ covariance


def exact(mean, covariance, schedule, **path):
    law = GaussianMixture(mean[None], covariance[None])
    return AnalyticDenoiser({"x": GaussianPath(schedule, **path)}, {"x": law})


def linear(h):
    return lambda data, batch: data["x"] @ h.T


def points(count, dimension=3):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, dimension, generator=generator, dtype=F64)


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "VP"])
def test_with_the_true_variance_every_prediction_is_the_exact_one(schedule):
    model = exact(MEAN, COVARIANCE, schedule)
    guided = Posterior(linear(H), VALUES, ERRORS, iterations=2)(model)
    wanted = exact(*kalman(MEAN, COVARIANCE, H, VALUES, ERRORS), schedule)
    batch = Batch({"x": points(50)})
    for t in (0.05, 0.3, 0.7, 0.99):
        times = torch.full((50,), t, dtype=F64)
        found = guided(batch.x, times, batch)["x"].data
        torch.testing.assert_close(found, wanted(batch.x, times, batch)["x"].data)


@pytest.mark.parametrize("sampler", [Heun(), DPMSolverPP("2M")], ids=["heun", "dpm"])
def test_samples_have_the_mean_and_covariance_of_kalman(sampler):
    """To four standard errors: the posterior's deviations over sqrt(N), and C sqrt(2 / N)."""
    count = 4000
    guided = Posterior(linear(H), VALUES, ERRORS, iterations=2)(exact(MEAN, COVARIANCE, Linear()))
    like = Batch({"x": torch.zeros(count, 3, dtype=F64)})
    grid = karras(40, Linear(), 0.005, 80.0)
    x = sample(guided, like, sampler, grid, 0).x["x"]
    mean, covariance = kalman(MEAN, COVARIANCE, H, VALUES, ERRORS)
    scale = covariance.diagonal().sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4 * scale / math.sqrt(count)).all())
    size = scale[:, None] * scale[None] * math.sqrt(2 / count)
    assert bool(((x.T.cov() - covariance).abs() < 4 * size).all())


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "VP"])
def test_the_diagonal_rule_is_exact_for_isotropic_data_seen_by_orthonormal_rows(schedule):
    variance = 0.7
    rows = torch.linalg.qr(points(3))[0][:2]
    model = exact(MEAN, variance * torch.eye(3, dtype=F64), schedule)
    posterior = Posterior(linear(rows), VALUES, ERRORS, gamma=1.0, prior=math.sqrt(variance))
    wanted = exact(
        *kalman(MEAN, variance * torch.eye(3, dtype=F64), rows, VALUES, ERRORS), schedule
    )
    batch = Batch({"x": points(50)})
    for t in (0.1, 0.5, 0.95):
        times = torch.full((50,), t, dtype=F64)
        found = posterior(model)(batch.x, times, batch)["x"].data
        torch.testing.assert_close(found, wanted(batch.x, times, batch)["x"].data)


def test_the_diagonal_rule_errs_as_it_is_said_to():
    """No variance: too close to the observation and too sure. Too much: the reverse."""
    one = torch.ones(1, 1, dtype=F64)
    model = exact(torch.zeros(1, dtype=F64), one, Linear())
    like = Batch({"x": torch.zeros(4000, 1, dtype=F64)})
    grid = karras(40, Linear(), 0.005, 80.0)
    y, error = torch.tensor([1.5], dtype=F64), torch.tensor([0.7], dtype=F64)
    mean, variance = kalman(torch.zeros(1, dtype=F64), one, one, y, error)
    found = {}
    for gamma in (0.0, 30.0):
        guided = Posterior(linear(one), y, error, gamma=gamma)(model)
        x = sample(guided, like, Heun(), grid, 0).x["x"]
        found[gamma] = float(x.mean()), float(x.var())
    assert found[0.0][0] > float(mean) + 0.1 and found[0.0][1] < 0.9 * float(variance)
    assert found[30.0][0] < float(mean) - 0.1 and found[30.0][1] > 1.1 * float(variance)


def test_coloured_noise_is_taken_into_account():
    noise = Correlated.from_covariance(
        torch.tensor([[1.0, 0.4, 0.0], [0.4, 1.0, 0.3], [0.0, 0.3, 0.6]], dtype=F64)
    )
    path = GaussianPath(Linear(), noise=noise, prior_scale=1.3)
    sigma_x = noise.factor @ noise.factor.T * 1.3**2

    class Coloured:
        """The exact denoiser of N(mean, covariance) under coloured noise."""

        def __init__(self, mean, covariance):
            from sciddiff.paths import ProductPath

            self.path, self.mean, self.covariance = ProductPath({"x": path}), mean, covariance

        def __call__(self, x_t, t, batch):
            a, s = (float(one[0]) for one in path.schedule.values(t))
            gain = a * self.covariance @ torch.linalg.inv(
                a**2 * self.covariance + s**2 * sigma_x
            )
            data = self.mean + (x_t["x"] - a * self.mean) @ gain.T
            return {"x": path.predict(x_t["x"], x_t["x"], t).with_data(data)}

    guided = Posterior(linear(H), VALUES, ERRORS, iterations=2)(Coloured(MEAN, COVARIANCE))
    wanted = Coloured(*kalman(MEAN, COVARIANCE, H, VALUES, ERRORS))
    batch, times = Batch({"x": points(20)}), torch.full((20,), 0.4, dtype=F64)
    found = guided(batch.x, times, batch)["x"].data
    torch.testing.assert_close(found, wanted(batch.x, times, batch)["x"].data)


def test_two_leaves_seen_together_and_values_for_each_sample():
    laws = {
        "a": GaussianMixture(MEAN[None], COVARIANCE[None]),
        "b": GaussianMixture(torch.zeros(1, 1), torch.full((1, 1, 1), 0.4)),
    }
    model = AnalyticDenoiser({name: GaussianPath(Linear()) for name in laws}, laws)
    values = points(30, 1)
    guided = Posterior(
        lambda data, batch: data["a"][:, :1] + data["b"],
        values,
        torch.tensor([0.3], dtype=F64),
        iterations=1,
    )(model)
    whole = torch.block_diag(COVARIANCE, torch.tensor([[0.4]], dtype=F64))
    mean = torch.cat([MEAN, torch.zeros(1, dtype=F64)])
    row = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=F64)
    batch = Batch({"a": points(30), "b": 0.5 * points(30, 1)})
    t = torch.full((30,), 0.6, dtype=F64)
    found = guided(batch.x, t, batch)
    for i in (0, 7):
        posterior = kalman(mean, whole, row, values[i], torch.tensor([0.3], dtype=F64))
        one = Batch({"x": torch.cat([batch.x["a"][i], batch.x["b"][i]])[None]})
        wanted = exact(*posterior, Linear())(one.x, t[:1], one)["x"].data[0]
        torch.testing.assert_close(torch.cat([found["a"].data[i], found["b"].data[i]]), wanted)


def test_a_nonlinear_observation_pulls_towards_its_value():
    model = exact(MEAN, 0.5 * torch.eye(3, dtype=F64), Linear())
    like = Batch({"x": torch.zeros(500, 3, dtype=F64)})
    guided = Posterior(
        lambda data, batch: data["x"].norm(dim=1, keepdim=True),
        torch.tensor([3.0], dtype=F64),
        torch.tensor([0.05], dtype=F64),
        iterations=1,
    )(model)
    x = sample(guided, like, Heun(), karras(40, Linear(), 0.005, 80.0), 0).x["x"]
    assert float((x.norm(dim=1) - 3.0).abs().median()) < 0.1


def test_outside_its_interval_and_without_information_nothing_changes():
    model = exact(MEAN, COVARIANCE, Linear())
    batch, t = Batch({"x": points(5)}), torch.full((5,), 0.3, dtype=F64)
    plain = model(batch.x, t, batch)["x"].data
    late = Posterior(linear(H), VALUES, ERRORS, interval=(0.5, 1.0))(model)
    assert torch.equal(late(batch.x, t, batch)["x"].data, plain)
    vague = Posterior(linear(H), VALUES, 1e6 * ERRORS, iterations=2)(model)
    with torch.no_grad():
        found = vague(batch.x, t, batch)["x"].data
    torch.testing.assert_close(found, plain, atol=1e-9, rtol=0)
    assert not found.requires_grad and vague.evaluations(t) == 1


def test_it_works_inside_a_sampler_that_needs_no_gradient():
    guided = Posterior(linear(H), VALUES, ERRORS, gamma=0.5)(exact(MEAN, COVARIANCE, VP()))
    like = Batch({"x": torch.zeros(4, 3, dtype=F64)})
    x = sample(guided, like, Heun(), uniform(6), 0).x["x"]
    assert bool(x.isfinite().all()) and not x.requires_grad


def test_what_does_not_fit_is_refused():
    model = exact(MEAN, COVARIANCE, Linear())
    with pytest.raises(InputError, match="give \\[K\\] or \\[B, K\\]"):
        Posterior(linear(H), VALUES, ERRORS[:1])
    with pytest.raises(InputError, match="positive"):
        Posterior(linear(H), VALUES, 0.0 * ERRORS)
    with pytest.raises(InputError, match="negative"):
        Posterior(linear(H), VALUES, ERRORS, gamma=-1.0)
    batch, t = Batch({"x": points(5)}), torch.full((5,), 0.3, dtype=F64)
    with pytest.raises(InputError, match="returned shape"):
        Posterior(linear(H[:1]), VALUES, ERRORS)(model)(batch.x, t, batch)
    turning = AnalyticDenoiser({"r": GeodesicPath(SO3())}, {})
    with pytest.raises(InputError, match="only Gaussian paths"):
        Posterior(linear(H), VALUES, ERRORS)(turning)
