"""Stochastic samplers keep the marginals; the known special cases coincide."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.manifolds import Torus
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Reciprocal
from sciddiff.sampling import sample
from sciddiff.schedules import EDM, VP, Linear
from sciddiff.state import Batch
from sciddiff.streams import Streams
from sciddiff.testing import AnalyticDenoiser, GaussianMixture, TorusMixture, assert_marginals

F64 = torch.float64
STOCHASTIC = {
    "DDPM": Ancestral(1.0),
    "DDIM half": Ancestral(0.5),
    "churn": Heun(churn=20.0),
    "SDE 2M": DPMSolverPP("2M", stochastic=True),
    "SDE 2S": DPMSolverPP("2S", stochastic=True),
    "reverse SDE": EulerMaruyama(),
    "constant w": EulerMaruyama(w=lambda t: 1.0),
    "Proteina w": EulerMaruyama(w=Reciprocal()),
}


@pytest.mark.parametrize("name", STOCHASTIC)
@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "VP"])
def test_marginals_are_kept(name, schedule):
    # Even in log-SNR between pure noise and data, which is where every solver is at its best.
    log_snr = torch.linspace(-4.5, 6.0, 90, dtype=F64)
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    grid = torch.cat([ends[:1], schedule.inverse(log_snr), ends[1:]])
    assert_marginals(STOCHASTIC[name], schedule, grid, count=4096, tolerance=0.05)


def test_wrong_marginals_are_refused():
    with pytest.raises(AssertionError, match="off by"):
        cold = EulerMaruyama(noise_scale=0.5)
        assert_marginals(cold, Linear(), torch.linspace(0, 1, 41), count=1024)


def draw(sampler, seed=0, schedule=None):
    law = GaussianMixture.standard()
    path = GaussianPath(schedule or Linear())
    denoiser = AnalyticDenoiser({"x": path}, {"x": law})
    like = Batch({"x": torch.zeros(6, 2, dtype=F64)})
    return sample(denoiser, like, sampler, torch.linspace(0, 1, 21), seed).x["x"]


@pytest.mark.parametrize("schedule", [Linear(), VP(), EDM()], ids=["linear", "VP", "EDM"])
def test_ddpm_is_ddim_with_eta_one_is_the_reverse_sde(schedule):
    ancestral = draw(Ancestral(1.0), schedule=schedule)
    natural = draw(EulerMaruyama(), schedule=schedule)
    torch.testing.assert_close(ancestral, natural, atol=1e-9, rtol=0)


def test_ddpm_step_is_the_gaussian_posterior():
    """One DDPM step has the mean and variance of q(x_s | x_t, x1) (Ho et al., 2020, eq. 7)."""
    path, count = GaussianPath(VP()), 200_000
    t, s = torch.tensor([0.4], dtype=F64), torch.tensor([0.5], dtype=F64)
    x1, x_t = 0.7, -0.3
    (a, v), (b, w) = (tuple(map(float, path.schedule.values(u))) for u in (t, s))
    ratio = a / b  # alpha_t / alpha_s, and the variance q adds from s to t
    added = v**2 - ratio**2 * w**2
    mean = (ratio * w**2 * x_t + b * added * x1) / v**2
    variance = w**2 * added / v**2
    x = torch.full((1, count), x_t, dtype=F64)
    prediction = path.predict(torch.full_like(x, x1), x, t)
    out = path.transition(x, prediction, float(t[0]), float(s[0]), 1.0, Streams.first(0, 1))
    assert abs(float(out.mean()) - mean) < 5 * (variance / count) ** 0.5
    assert abs(float(out.var()) / variance - 1) < 0.02


def test_no_churn_is_the_ode_and_zero_w_is_ddim():
    torch.testing.assert_close(draw(Heun(churn=0.0), 1), draw(Heun(), 1))
    zero = draw(EulerMaruyama(w=lambda t: 0.0), 1)
    torch.testing.assert_close(zero, draw(Ancestral(0.0), 1), atol=1e-12, rtol=0)


def test_temperature_narrows():
    wide, narrow = draw(EulerMaruyama(), 2), draw(EulerMaruyama(noise_scale=0.3), 2)
    law = GaussianMixture.standard()
    assert law.log_prob(narrow).mean() > law.log_prob(wide).mean()


@pytest.mark.parametrize("sampler", [Ancestral(1.0), EulerMaruyama(), DPMSolverPP("2M", True)])
def test_marginals_on_the_torus(sampler):
    law = TorusMixture(torch.tensor([0.5, -1.8]), torch.tensor([0.5, 0.8]))
    denoiser = AnalyticDenoiser({"a": GeodesicPath(Torus())}, {"a": law})
    like = Batch({"a": torch.zeros(2048, 1, dtype=F64)})
    a = sample(denoiser, like, sampler, torch.linspace(0, 1, 101), 0).x["a"]
    exact = law.sample(like.x["a"], Streams.first(9, 2048))
    for k in (1, 2):
        for wave in (torch.sin, torch.cos):
            assert abs(float(wave(k * a).mean() - wave(k * exact).mean())) < 0.08


def test_churn_asks_for_gaussian_leaves():
    law = TorusMixture(torch.tensor([0.5]), torch.tensor([0.5]))
    denoiser = AnalyticDenoiser({"a": GeodesicPath(Torus())}, {"a": law})
    like = Batch({"a": torch.zeros(2, 1, dtype=F64)})
    with pytest.raises(InputError, match="leaf 'a': GeodesicPath: cannot add noise back"):
        sample(denoiser, like, Heun(churn=5.0), torch.linspace(0, 1, 5), 0)
