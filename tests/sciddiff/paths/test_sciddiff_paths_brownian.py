"""BrownianPath: heat-kernel marginals, kept by every step; scores of unit size."""

import math

import pytest
import torch

from sciddiff import grids
from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, igso3, wrapped_normal
from sciddiff.manifolds.sphere import Sphere
from sciddiff.manifolds.torus import Torus
from sciddiff.paths import BrownianPath, BrownianPrediction
from sciddiff.schedules import VE, Linear, Logarithmic
from sciddiff.state import Layout
from sciddiff.streams import Streams

SPREAD = 0.3  # of the data about the identity
PATHS = {
    "SO3": BrownianPath(SO3(), Logarithmic(0.05, 2.0)),
    "Torus": BrownianPath(Torus(), VE(0.05, 3.0)),
}


def _centre(name, n):
    if name == "Torus":
        return torch.zeros(n, dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64).expand(n, 3, 3)


def _draw(name, variance, n, seed):
    """Points after Brownian motion from the identity."""
    path, x = PATHS[name], _centre(name, n)
    sigma = torch.full((n,), math.sqrt(variance), dtype=torch.float64)
    like = path._tangent_like(x)
    return path.manifold.exp(x, path.kernel.sample(like, sigma, Streams.first(seed, n), None))


def _score(name, x, t):
    """Exact score of the marginal: a heat kernel, since heat kernels convolve."""
    path = PATHS[name]
    sigma = torch.sqrt(SPREAD**2 + path.schedule.sigma(t) ** 2)
    return path.kernel.score(path.manifold.log(_centre(name, len(x)), x), sigma)


def _first_mode(name, x):
    """Mean of the slowest mode, ``exp(-e variance / 2)`` of Brownian motion."""
    if name == "Torus":
        return float(torch.cos(x).mean())
    return float((x.diagonal(dim1=-2, dim2=-1).sum(-1) / 3).mean())


def _decay(name, variance):
    return math.exp(-variance / 2 if name == "Torus" else -variance)


@pytest.mark.parametrize("name", PATHS)
def test_samples_have_heat_kernel_marginals(name):
    n = 20_000
    path, x1 = PATHS[name], _draw(name, SPREAD**2, n, 0)
    for time in (0.1, 0.5, 0.9):
        t = torch.full((n,), time, dtype=torch.float64)
        x = path.sample(x1, t, Streams.first(1, n)).x_t
        variance = SPREAD**2 + float(path.schedule.sigma(t[0])) ** 2
        assert abs(_first_mode(name, x) - _decay(name, variance)) < 4 / math.sqrt(n)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_steps_keep_the_marginals(name, eta):
    n, path = 5_000, PATHS[name]
    start = float(path.schedule.sigma(torch.zeros(()).double()))
    x = _draw(name, SPREAD**2 + start**2, n, 2)
    streams = Streams.first(3, n)
    times = grids.karras(80, path.schedule, 0.05, start)
    for now, then in zip(times[:-1], times[1:], strict=True):
        t, s = now.expand(n), then.expand(n)
        prediction = BrownianPrediction("score", _score(name, x, t), x, t, path)
        x = path.transition(x, prediction, float(t[0]), float(s[0]), eta, streams)
    end = float(path.schedule.sigma(torch.ones(()).double()))
    expected = _decay(name, SPREAD**2 + end**2)
    assert abs(_first_mode(name, x) - expected) < 0.02


@pytest.mark.parametrize("name", PATHS)
def test_known_data_give_the_kernel_score_and_no_loss(name):
    path, n = PATHS[name], 64
    x1 = _draw(name, SPREAD**2, n, 0)
    t = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    sample = path.sample(x1, t, Streams.first(1, n))
    truth = BrownianPrediction("data", x1, sample.x_t, t, path)
    assert float(path.loss(truth, sample).max()) < 1e-12
    sigma = path.schedule.sigma(t)
    v = path.manifold.log(x1, sample.x_t)
    if name == "Torus":
        expected = wrapped_normal.score(v, sigma)
    else:
        expected = igso3.score_vector(v, sigma)
    torch.testing.assert_close(truth.score, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_an_output_of_zero_has_loss_one_at_every_time(name):
    n, path = 20_000, PATHS[name]
    x1 = _centre(name, n)
    for time in (0.0, 0.5, 1.0):
        t = torch.full((n,), time, dtype=torch.float64)
        sample = path.sample(x1, t, Streams.first(1, n))
        nothing = path.predict(torch.zeros_like(path._tangent_like(x1)), sample.x_t, t)
        assert float(path.loss(nothing, sample).mean()) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", PATHS)
def test_tweedie_returns_to_the_data_and_back(name):
    path, n = PATHS[name], 64
    x1 = _draw(name, SPREAD**2, n, 0)
    t = torch.full((n,), 0.97, dtype=torch.float64)
    sample = path.sample(x1, t, Streams.first(1, n))
    exact = BrownianPrediction("score", path.kernel_score(x1, sample.x_t, t), sample.x_t, t, path)
    assert float(path.manifold.dist(exact.data, x1).max()) < 1e-2
    again = exact.with_data(exact.data)
    torch.testing.assert_close(again.score, exact.score, rtol=1e-6, atol=1e-6)


def test_fixed_rows_stay_and_ragged_rows_take_their_own_time():
    path = PATHS["Torus"]
    index = torch.arange(2).repeat_interleave(4000)
    fixed = torch.zeros(8000, dtype=torch.bool)
    fixed[::4] = True
    layout = Layout(2, index=index, fixed=fixed)
    t = torch.tensor([0.8, 0.95], dtype=torch.float64)
    x1 = torch.zeros(8000, dtype=torch.float64)
    x = path.sample(x1, t, Streams.first(0, 2), layout=layout).x_t
    assert (x[fixed] == 0).all()
    for i in range(2):
        std = float(x[(index == i) & ~fixed].std())
        assert std == pytest.approx(float(path.schedule.sigma(t[i])), rel=0.06)


def test_what_has_no_heat_kernel_is_refused():
    with pytest.raises(InputError, match="no heat kernel for Sphere"):
        BrownianPath(Sphere(3))
    with pytest.raises(InputError, match="Linear scales the data"):
        BrownianPath(SO3(), Linear())
