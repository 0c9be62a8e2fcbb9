"""The checks that ship for third parties: right on right things, loud on wrong ones."""

import pytest
import torch

from sciddiff.grids import uniform
from sciddiff.manifolds import SO3, Torus
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral
from sciddiff.schedules import VP, Linear
from sciddiff.state import Batch
from sciddiff.streams import Streams, normal
from sciddiff.testing import (
    AnalyticDenoiser,
    GaussianMixture,
    TorusMixture,
    assert_batch_independent,
    assert_equivariant,
)

F64 = torch.float64


def test_mixture_density_integrates_to_one_and_matches_its_samples():
    law = GaussianMixture.standard()
    side = torch.linspace(-9, 9, 601, dtype=F64)
    square = torch.cartesian_prod(side, side)
    density = law.log_prob(square).exp()
    cell = (side[1] - side[0]) ** 2
    assert abs(float(density.sum() * cell) - 1) < 1e-9
    mean = (density[:, None] * square).sum(0) * cell
    torch.testing.assert_close(mean, law.mean, atol=1e-8, rtol=0)
    x = law.sample(torch.empty(40_000, 2, dtype=F64), Streams.first(0, 40_000))
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(x.T.cov(), law.covariance, atol=0.04, rtol=0)


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "VP"])
def test_mixture_denoiser_obeys_tweedie(schedule):
    """alpha x1 = x + sigma^2 grad log p_t(x), with the density's own gradient."""
    law = GaussianMixture.standard()
    x = normal(torch.empty(20, 2, dtype=F64), Streams.first(0, 20)).requires_grad_()
    for t in (0.2, 0.5, 0.8):
        alpha, sigma = (float(v) for v in schedule.values(torch.tensor(t, dtype=F64)))
        (score,) = torch.autograd.grad(law.log_prob_at(x, alpha, sigma).sum(), x)
        data = law.data(x, *(torch.tensor(v, dtype=F64) for v in (alpha, sigma)))
        torch.testing.assert_close(alpha * data, x + sigma**2 * score, atol=1e-10, rtol=0)


def test_torus_denoiser_is_the_posterior_mean_of_the_displacement():
    weights = torch.tensor([0.3, 0.7])
    law = TorusMixture(torch.tensor([0.5, -2.0]), torch.tensor([0.4, 0.9]), weights)
    points = torch.linspace(-torch.pi, torch.pi, 200_001, dtype=F64)[:-1]
    density = law.log_prob(points).exp()
    assert abs(float(density.mean()) - 1) < 1e-9
    for kappa in (0.1, 0.6):
        for x in (0.2, 3.0):
            place = torch.tensor(x, dtype=F64)
            step = Torus().log(place, points)
            weight = density * (step.abs() < (1 - kappa) * torch.pi)
            wanted = (weight * step).sum() / weight.sum()
            data = law.data(place, torch.tensor(kappa), torch.tensor(1 - kappa))
            torch.testing.assert_close(Torus().log(place, data), wanted, atol=2e-4, rtol=0)


def test_analytic_denoisers_are_denoisers():
    denoiser = AnalyticDenoiser(
        {"x": GaussianPath(), "a": GeodesicPath(Torus())},
        {"x": GaussianMixture.standard(), "a": TorusMixture(torch.zeros(1), torch.ones(1))},
    )
    batch = Batch({"x": torch.zeros(3, 4, 2), "a": torch.zeros(3, 5)})
    out = denoiser(batch.x, torch.full((3,), 0.5), batch)
    assert out["x"].velocity.shape == (3, 4, 2) and out["a"].velocity.shape == (3, 5)
    assert out["x"].data.dtype == torch.float32


def test_equivariance():
    turn = SO3().uniform(torch.empty(1, 3, 3), Streams.first(0, 1))[0]
    x = {"x": normal(torch.empty(2, 5, 3), Streams.first(1, 2))}

    def act(state):
        return {"x": state["x"] @ turn.T}

    def scaled(state):
        return {"x": state["x"] * state["x"].norm(dim=-1, keepdim=True)}

    assert assert_equivariant(scaled, x, act) < 1e-5
    assert_equivariant(lambda s: {"d": torch.cdist(s["x"], s["x"])}, x, act, lambda s: s)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda s: {"x": s["x"] + 1.0}, x, act)
    with pytest.raises(AssertionError, match="nan"):
        assert_equivariant(lambda s: {"x": s["x"] * float("nan")}, x, act)


def test_batch_dependence_is_found():
    class Leaky:
        path = AnalyticDenoiser(
            {"x": GaussianPath()}, {"x": GaussianMixture.standard()}
        ).path

        def __call__(self, x_t, t, batch):
            data = 0.5 * x_t["x"] + x_t["x"].mean(0, keepdim=True)
            return {"x": self.path["x"].predict(data, x_t["x"], t)}

    like = Batch({"x": torch.zeros(3, 2)})
    with pytest.raises(AssertionError, match="change with their batch"):
        assert_batch_independent(Leaky(), like, Ancestral(), uniform(4))
