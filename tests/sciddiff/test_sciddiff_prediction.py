"""Predictions: every conversion on every schedule, exact."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.manifolds import SO3
from sciddiff.noise import Correlated
from sciddiff.prediction import GaussianPrediction, TangentPrediction
from sciddiff.schedules import (
    EDM,
    VE,
    VP,
    Cosine,
    ExponentialKappa,
    Linear,
    Logarithmic,
    Polynomial,
)
from sciddiff.streams import Streams

KINDS = ("data", "noise", "velocity", "score", "v", "edm")
SCHEDULES = [Linear(), Cosine(0.5), VP(), VE(), EDM(), Logarithmic(), Polynomial()]
T = torch.linspace(0.02, 0.98, 9, dtype=torch.float64)


def _truth(schedule):
    """A state made of known data and noise, stated as data."""
    streams = Streams.first(0, 9)
    like = torch.empty(9, 4, 3, dtype=torch.float64)
    place = torch.arange(3, dtype=torch.float64)
    law = Correlated.from_covariance(torch.exp(-(place[:, None] - place).abs()))
    x1, x0 = streams.normal(like), 2.0 * law.sample(like, streams)
    alpha, sigma = (level.view(-1, 1, 1) for level in schedule.values(T))
    prediction = GaussianPrediction(
        "data", x1, alpha * x1 + sigma * x0, T, schedule, law, 2.0,
        torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64),
    )  # fmt: skip
    return prediction, x1, x0, law


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("said", KINDS)
def test_every_conversion(schedule, said):
    truth, *_ = _truth(schedule)
    for asked in KINDS:
        want = truth.as_kind(asked)
        got = truth.with_value(said, truth.as_kind(said)).as_kind(asked)
        assert float(((got - want).abs() / (1 + want.abs())).max()) < 1e-10


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_meanings(schedule):
    """The quantities are what they are called, by independent means."""
    truth, x1, x0, law = _truth(schedule)
    torch.testing.assert_close(truth.noise, x0, rtol=1e-9, atol=1e-9)

    def state(t):
        alpha, sigma = schedule.values(t)
        return alpha.view(-1, 1, 1) * x1 + sigma.view(-1, 1, 1) * x0

    h = 1e-6
    torch.testing.assert_close(truth.velocity, (state(T + h) - state(T - h)) / (2 * h), rtol=1e-4,
                               atol=1e-4)  # fmt: skip
    alpha, sigma = (level.view(-1, 1, 1) for level in schedule.values(T))
    x = truth.x_t.clone().requires_grad_()
    density = law.log_prob((x - alpha * x1) / (2.0 * sigma)).sum()
    torch.testing.assert_close(truth.score, torch.autograd.grad(density, x)[0], rtol=1e-8,
                               atol=1e-8)  # fmt: skip


@pytest.mark.parametrize("kind", ["velocity", "v", "edm"])
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_regular_kinds_are_finite_at_both_ends(kind, end):
    t = torch.full((3,), end)
    x = Streams.first(0, 3).normal(torch.empty(3, 2))
    prediction = GaussianPrediction(kind, x, x, t, Linear(), sigma_data=0.5)
    for asked in ("data", "noise", "velocity", "v", "edm"):
        assert prediction.as_kind(asked).isfinite().all()


def test_data_said_instead():
    truth, x1, _, _ = _truth(Linear())
    said = truth.with_value("v", truth.v).with_data(x1 + 1.0)
    torch.testing.assert_close(said.data, x1 + 1.0)
    alpha, sigma = (level.view(-1, 1, 1) for level in Linear().values(T))
    torch.testing.assert_close(alpha * said.data + sigma * said.noise, truth.x_t)


def test_tangent_conversions_round_trip():
    manifold, streams = SO3(), Streams.first(0, 9)
    like = torch.empty(9, 4, 3, 3, dtype=torch.float64)
    x, y = manifold.uniform(like, streams), manifold.uniform(like, streams)
    first = TangentPrediction("data", y, x, T, manifold, ExponentialKappa(3.0))
    for kind in ("displacement", "velocity"):
        again = TangentPrediction(kind, getattr(first, kind), x, T, manifold, first.kappa)
        torch.testing.assert_close(again.data, y, rtol=0, atol=1e-10)
        torch.testing.assert_close(again.velocity, first.velocity, rtol=1e-9, atol=1e-9)


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(InputError, match="'eps' is unknown; choose one of data, noise"):
        GaussianPrediction("eps", torch.ones(1), torch.ones(1), torch.ones(1), Linear())
