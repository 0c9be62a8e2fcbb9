"""Twisted particles: unbiased, and nearer to the posterior of Gaussian data than plain ones."""

import math

import pytest
import torch

from sciddiff import GaussianPath, ProductPath
from sciddiff.analytic import AnalyticDenoiser, GaussianMixture
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.rare_events import effective_sizes
from sciddiff.samplers import Ancestral, Heun
from sciddiff.sampling import sample
from sciddiff.state import Batch, Layout
from sciddiff.steering import Reward, Steered, steer
from sciddiff.streams import index_of

MEAN = torch.tensor([0.5, -1.0]).double()
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]]).double()
DATA = AnalyticDenoiser(
    {"x": GaussianPath()}, {"x": GaussianMixture(MEAN[None], COVARIANCE[None])}
)
PULL = torch.tensor([1.5, -0.5]).double()
GOAL, WIDTH = torch.tensor([2.0, 1.0]).double(), 1.8


def linear(state, batch):
    return state["x"] @ PULL


def quadratic(state, batch):
    return -((state["x"] - GOAL) ** 2).sum(1) / (2.0 * WIDTH**2)


def points(count: int) -> Batch:
    return Batch({"x": torch.zeros(count, 2).double()})


def posterior(name: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and covariance of the tilted law, and the log of its normalisation."""
    if name == "linear":
        half = 0.5 * PULL @ COVARIANCE @ PULL
        return MEAN + COVARIANCE @ PULL, COVARIANCE, float(PULL @ MEAN + half)
    noise = WIDTH**2 * torch.eye(2).double()
    total = COVARIANCE + noise
    gain = COVARIANCE @ torch.linalg.inv(total)
    law = torch.distributions.MultivariateNormal(MEAN, total)
    log_z = float(law.log_prob(GOAL)) + math.log(2.0 * math.pi * WIDTH**2)
    return MEAN + gain @ (GOAL - MEAN), COVARIANCE - gain @ COVARIANCE, log_z


def steered(function, twisted: bool, count: int, steps: int = 24, **settings):
    reward = Reward(function, differentiable=True)
    sampler = Steered(Ancestral(1.0), reward, every=4, twisted=twisted, **settings)
    return steer(DATA, points(count), sampler, uniform(steps), seed=3)


@pytest.mark.parametrize("function", [linear, quadratic])
def test_the_normalisation_is_unbiased_and_weights_vary_less(function):
    # Of the law that 24 steps draw from, which is not quite that of the data.
    plain = sample(DATA, points(40_000), Ancestral(1.0), uniform(24), 7).x
    tilt = function(plain, None).exp()
    wanted, wanted_error = float(tilt.mean()), float(tilt.std()) / 200.0
    assert wanted == pytest.approx(math.exp(posterior(function.__name__)[2]), rel=0.35)
    sizes = {}
    for twisted in (False, True):
        found = steered(function, twisted, 400, particles=4, resample_below=0.0)
        z = found.log_z.exp()
        error = math.hypot(float(z.std()) / 20.0, wanted_error)
        assert abs(float(z.mean()) - wanted) < 4.0 * error
        log = found.weights.clamp_min(1e-300).log()
        sizes[twisted] = float(effective_sizes(log).mean()), float(z.std())
    assert sizes[True][0] > sizes[False][0] + 0.5, "more of four particles carry the weight"
    assert sizes[True][1] < 0.7 * sizes[False][1], "and the estimate varies less"


@pytest.mark.parametrize("function", [linear, quadratic])
def test_samples_follow_the_posterior(function):
    mean, covariance, log_z = posterior(function.__name__)
    result = steered(function, True, 400, 80, particles=6)
    found, error = result.x["x"], (covariance.diagonal() / 400).sqrt()
    assert ((found.mean(0) - mean).abs() < 3.0 * error + 0.02).all()
    assert ((MEAN - mean).abs() > 6.0 * error).any(), "the test can tell"
    assert torch.allclose(found.T.cov(), covariance, atol=0.2)
    assert float(result.log_z.exp().mean()) == pytest.approx(math.exp(log_z), rel=0.1)


def test_no_reward_is_plain_sampling_bit_for_bit_and_fixed_rows_stay():
    none = Reward(lambda state, batch: 0.0 * state["x"].flatten(1).sum(1), differentiable=True)
    sampler = Steered(Ancestral(0.7), none, 3, every=1, twisted=True)
    found = steer(DATA, points(4), sampler, uniform(6), seed=5)
    numbers = torch.tensor([index_of(i, p) for i in range(4) for p in range(3)])
    plain = sample(DATA, points(12), Ancestral(0.7), uniform(6), 5, indices=numbers)
    assert torch.equal(found.particles["x"], plain.x["x"])
    assert found.log_z.abs().max() < 1e-12

    fixed = torch.tensor([[True, False]]).expand(5, -1)
    rows = Batch({"x": torch.ones(5, 2, 2).double()}, layouts={"x": Layout(5, fixed=fixed)})
    pulled = Reward(lambda state, batch: state["x"][:, :, 0].sum(1), differentiable=True)
    held = steer(
        DATA, rows, Steered(Ancestral(1.0), pulled, 4, every=2, twisted=True), uniform(6), seed=0
    )  # fmt: skip
    assert (held.x["x"][:, 0] == 1.0).all() and held.log_z.isfinite().all()


def test_wrong_settings_are_refused():
    smooth = Reward(linear, differentiable=True)
    for sampler, reward, said in (
        (Heun(), smooth, "Ancestral with eta above 0"),
        (Ancestral(0.0), smooth, "Ancestral with eta above 0"),
        (Ancestral(1.0), Reward(linear), "differentiable reward"),
        (Ancestral(1.0), Reward(linear, True, True), "judges predictions"),
    ):
        with pytest.raises(InputError, match=said):
            Steered(sampler, reward, twisted=True)
    assert isinstance(DATA.path, ProductPath)
