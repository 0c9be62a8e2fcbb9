"""GaussianPath: marginals, steps that keep them, preconditioning, frames and densities."""

import math

import pytest
import torch

from sciddiff import grids
from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, ZeroCenterOfMass
from sciddiff.noise import Correlated
from sciddiff.paths import GaussianPath
from sciddiff.schedules import EDM, VE, VP, Cosine, Linear, Polynomial
from sciddiff.state import Layout
from sciddiff.streams import Streams

SCHEDULES = [Linear(), Cosine(), VP(), VE(), EDM(), Polynomial()]
MEAN, STD = 0.6, 0.4


def _data(path, x, t):
    """The exact denoiser of one-dimensional Gaussian data."""
    alpha, sigma = path.schedule.values(t)
    scale = (path.prior_scale * sigma) ** 2
    gain = alpha * STD**2 / (alpha**2 * STD**2 + scale)
    return MEAN + gain[:, None] * (x - alpha[:, None] * MEAN)


def _moments(path, t):
    alpha, sigma = (float(level) for level in path.schedule.values(torch.tensor(t)))
    return alpha * MEAN, math.hypot(alpha * STD, path.prior_scale * sigma)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_samples_have_the_marginals_of_the_path(schedule):
    n, path = 40_000, GaussianPath(schedule, prior_scale=1.5)
    streams = Streams.first(0, n)
    x1 = MEAN + STD * streams.normal(torch.empty(n, 1, dtype=torch.float64))
    for t in (0.0, 0.3, 0.9):
        x = path.sample(x1, torch.full((n,), t, dtype=torch.float64), streams).x_t
        mean, std = _moments(path, t)
        assert abs(float(x.mean()) - mean) < 4 * std / math.sqrt(n)
        assert float(x.std()) == pytest.approx(std, rel=0.015)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_steps_keep_the_marginals(schedule, eta):
    n, path = 5_000, GaussianPath(schedule, prior_scale=1.5)
    streams = Streams.first(0, n)
    x1 = MEAN + STD * streams.normal(torch.empty(n, 1, dtype=torch.float64))
    grid = grids.uniform_log_snr(162, schedule, -3.0, 3.0)[1:-1].tolist()
    times = [torch.full((n,), t, dtype=torch.float64) for t in grid]
    x = path.sample(x1, times[0], streams).x_t
    for t, s in zip(times[:-1], times[1:], strict=True):
        prediction = path.predict(_data(path, x, t), x, t)
        x = path.transition(x, prediction, float(t[0]), float(s[0]), eta, streams)
    mean, std = _moments(path, grid[-1])
    assert abs(float(x.mean()) - mean) < 0.03 * std + 0.01
    assert float(x.std()) == pytest.approx(std, rel=0.04)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_a_known_end_makes_any_step_exact(schedule, eta):
    """With the data known, x_s is normal about alpha_s x1 with deviation sigma_s."""
    n, path = 40_000, GaussianPath(schedule)
    streams = Streams.first(1, n)
    x1 = torch.full((n, 1), 0.7, dtype=torch.float64)
    t, s = (torch.full((n,), time, dtype=torch.float64) for time in (0.2, 0.7))
    x = path.sample(x1, t, streams).x_t
    x = path.transition(x, path.predict(x1, x, t), float(t[0]), float(s[0]), eta, streams)
    alpha, sigma = (float(level[0]) for level in schedule.values(s))
    z = (x - 0.7 * alpha) / sigma
    assert abs(float(z.mean())) < 4 / math.sqrt(n)
    assert float(z.std()) == pytest.approx(1.0, rel=0.015)


def test_first_and_last_steps_are_regular():
    path = GaussianPath(Linear())
    x = torch.ones(3, 2)
    t, s = torch.zeros(3), torch.ones(3)
    prediction = path.predict(torch.full_like(x, 5.0), x, t)
    for eta in (0.0, 1.0):
        moved = path.transition(x, prediction, float(t[0]), float(s[0]), eta, Streams.first(0, 3))
        assert torch.equal(moved, torch.full_like(x, 5.0))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_edm_preconditioning_gives_unit_input_and_output(schedule):
    n = 20_000
    deviation = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    path = GaussianPath(schedule, parametrization="edm", sigma_data=deviation, prior_scale=1.7)
    streams = Streams.first(0, n)
    x1 = deviation * streams.normal(torch.empty(n, 3, dtype=torch.float64))
    for time in (0.05, 0.5, 0.95):
        t = torch.full((n,), time, dtype=torch.float64)
        sample = path.sample(x1, t, streams)
        seen = path.net_input(sample.x_t, t)
        torch.testing.assert_close(seen.std(0), torch.ones(3).double(), rtol=0.02, atol=0)
        nothing = path.predict(torch.zeros_like(seen), sample.x_t, t)
        power = path.loss(nothing, sample).mean(0)
        torch.testing.assert_close(power, torch.ones(3).double(), rtol=0.03, atol=0)
        exact = path.predict(nothing.with_data(x1).edm, sample.x_t, t)
        torch.testing.assert_close(exact.data, x1, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["data", "noise", "velocity", "score", "v", "edm"])
@pytest.mark.parametrize("space", ["native", "data", "velocity", "v"])
def test_the_truth_has_no_loss(kind, space):
    path = GaussianPath(Cosine(), parametrization=kind, loss_space=space, sigma_data=[0.5, 2.0])
    streams = Streams.first(0, 5)
    x1 = streams.normal(torch.empty(5, 4, 2, dtype=torch.float64))
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    sample = path.sample(x1, t, streams)
    truth = path.predict(x1, sample.x_t, t).with_data(x1)
    prediction = path.predict(truth.as_kind(kind), sample.x_t, t)
    assert float(path.loss(prediction, sample).abs().max()) < 1e-18


def _clouds():
    lengths = torch.tensor([4, 6])
    mask = torch.arange(7) < lengths[:, None]
    x = Streams.first(4, 2).normal(torch.empty(2, 7, 3, dtype=torch.float64))
    return x, mask, Layout(2, mask=mask), Layout(2, index=torch.repeat_interleave(
        torch.arange(2), lengths))  # fmt: skip


def test_centred_paths_ignore_padding_and_agree_dense_and_ragged():
    x, mask, padded, packed = _clouds()
    path = GaussianPath(Linear(), ZeroCenterOfMass(), prior_scale=10.0)
    t = torch.tensor([0.3, 0.6], dtype=torch.float64)
    dense = path.sample(x, t, Streams.first(0, 2), layout=padded)
    ragged = path.sample(x[mask], t, Streams.first(0, 2), layout=packed)
    torch.testing.assert_close(dense.x_t[mask], ragged.x_t)
    for leaf in (ragged.x_t, ragged.x0, ragged.x1):
        assert float(packed.mean(leaf).abs().max()) < 1e-14
    prediction = path.predict(ragged.x_t + 3.0, ragged.x_t, t, packed)
    assert float(packed.mean(prediction.data).abs().max()) < 1e-14


def test_fixed_rows_stay_and_keep_the_frame_of_their_sample():
    x, mask, _, _ = _clouds()
    fixed = torch.zeros_like(mask)
    fixed[1, :2] = True
    layout = Layout(2, mask=mask, fixed=fixed)
    path = GaussianPath(Linear(), ZeroCenterOfMass())
    x = x + 5.0
    t = torch.tensor([0.3, 0.6], dtype=torch.float64)
    sample = path.sample(x, t, Streams.first(0, 2), layout=layout)
    assert torch.equal(sample.x_t[1, :2], x[1, :2])
    assert torch.equal(sample.x1[1], x[1])
    assert float(layout.mean(sample.x1)[0].abs().max()) < 1e-14


@pytest.mark.parametrize("schedule", [Linear(), EDM()], ids=repr)
def test_log_prior(schedule):
    path = GaussianPath(schedule, prior_scale=3.0)
    x = 3 * float(schedule.sigma(torch.zeros(()))) * torch.randn(
        4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # fmt: skip
    law = torch.distributions.Normal(0.0, 3.0 * float(schedule.sigma(torch.zeros(()).double())))
    torch.testing.assert_close(path.log_prior(x), law.log_prob(x).sum((1, 2)))
    # In the centred subspace: the density of the coordinates along an orthonormal basis of it.
    centered = GaussianPath(schedule, ZeroCenterOfMass(), prior_scale=3.0)
    x = x - x.mean(1, keepdim=True)
    basis = torch.linalg.qr(torch.eye(5).double() - 0.2)[0][:, :4]
    inside = torch.einsum("nk,bnc->bkc", basis, x)
    torch.testing.assert_close(centered.log_prior(x), law.log_prob(inside).sum((1, 2)))


def test_correlated_noise_reaches_the_step():
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    path = GaussianPath(Linear(), noise=Correlated.from_covariance(covariance))
    n = 40_000
    t = torch.zeros(n)
    x = path.prior(torch.empty(n, 2, dtype=torch.float64), Streams.first(0, n))
    prediction = path.predict(torch.zeros_like(x), x, t)
    x = path.transition(x, prediction, 0.0, 0.5, 1.0, Streams.first(1, n))
    torch.testing.assert_close(torch.cov(x.T), 0.25 * covariance, rtol=0, atol=0.01)


def test_curved_manifolds_are_refused():
    with pytest.raises(InputError, match="SO3 is curved; use GeodesicPath"):
        GaussianPath(manifold=SO3())


@pytest.mark.parametrize("space", ["native", "score", "velocity"])
def test_a_loss_weight_multiplies_the_loss_of_its_entries(space):
    area = torch.tensor([0.5, 1.5, 1.0], dtype=torch.float64)[:, None]  # of [C, H, W] = [2, 3, 4]
    variable = torch.tensor([2.0, 0.0], dtype=torch.float64)[:, None, None]
    plain = GaussianPath(Cosine(), loss_space=space)
    weighted = GaussianPath(Cosine(), loss_space=space, loss_weight=area * variable)
    streams = Streams.first(0, 5)
    x1 = streams.normal(torch.empty(5, 2, 3, 4, dtype=torch.float64))
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    sample = plain.sample(x1, t, streams)
    prediction = plain.predict(torch.zeros_like(x1), sample.x_t, t)
    expected = area * variable * plain.loss(prediction, sample)
    torch.testing.assert_close(weighted.loss(prediction, sample), expected)
    assert float(weighted.loss(prediction, sample)[:, 1].abs().max()) == 0.0
    nested = GaussianPath(Cosine(), loss_space=space, loss_weight=[[[2.0]], [[0.0]]])
    torch.testing.assert_close(nested.loss(prediction, sample) * area, expected)
    double = GaussianPath(Cosine(), loss_space=space, loss_weight=2.0)
    torch.testing.assert_close(
        double.loss(prediction, sample), 2.0 * plain.loss(prediction, sample)
    )


def test_loss_weights_that_do_not_fit_are_refused():
    x = torch.zeros(5, 2, 3)
    for shape in ((2,), (3, 3), (5, 2, 3)):
        with pytest.raises(InputError, match=r"does not broadcast against \(2, 3\)"):
            GaussianPath(loss_weight=torch.ones(shape)).entry_weight(x)
    weight = GaussianPath(loss_weight=torch.ones(2, 1)).entry_weight(x)
    assert weight is not None
    assert (weight * x).shape == x.shape
    assert GaussianPath().entry_weight(x) is None
    for wrong in (-1.0, [1.0, math.nan], [0.0, 0.0], [[1.0], [1.0, 2.0]]):
        with pytest.raises(InputError, match="GaussianPath.loss_weight"):
            GaussianPath(loss_weight=wrong)
