"""Predictions that say nothing of the data where there is no signal: finite, and right."""

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.likelihood import log_prob
from sciddiff.paths import GaussianPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Midpoint
from sciddiff.sampling import sample
from sciddiff.schedules import EDM, VE, VP, Cosine, Linear, Polynomial
from sciddiff.state import Batch
from sciddiff.testing import GaussianMixture

SAMPLERS = [
    Ancestral(0.0), Ancestral(1.0), Heun(), Midpoint(), DPMSolverPP("2M"), DPMSolverPP("2S"),
    DPMSolverPP("2M", stochastic=True), EulerMaruyama(),
]  # fmt: skip
SCHEDULES = [Linear(), Cosine(), VP(), VE(), EDM(), Polynomial()]
LAW = GaussianMixture.standard()


class Exact(torch.nn.Module):
    """The exact prediction of a law, in the parametrization of the path."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, x_t, t, batch):
        alpha, sigma = (level[:, None] for level in self.path.schedule.values(t))
        data = LAW.data(x_t["x"], alpha, sigma)
        noise = (x_t["x"] - alpha * data) / sigma
        said = {"noise": noise, "score": -noise / sigma, "data": data}
        return {"x": said[self.path.parametrization]}


def drawn(parametrization, schedule, sampler, steps=24):
    path = GaussianPath(schedule, parametrization=parametrization)
    like = Batch({"x": torch.zeros(256, 2, dtype=torch.float64)})
    grid = torch.linspace(0, 1, steps + 1)
    return sample(Denoiser(Exact(path), {"x": path}), like, sampler, grid, 0).x["x"]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", ["noise", "score"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_noise_and_score_draw_what_data_draw(schedule, kind, sampler):
    expected, found = (drawn(p, schedule, sampler) for p in ("data", kind))
    assert bool(found.isfinite().all())
    assert float((found - expected).abs().mean()) < 0.02


def test_a_network_that_gives_no_numbers_is_named():
    class Broken(torch.nn.Module):
        def forward(self, x_t, t, batch):
            out = x_t["x"].clone()
            out[1] = torch.nan
            return {"x": out}

    like, model = Batch({"x": torch.zeros(3, 2)}), Denoiser(Broken(), {"x": GaussianPath()})
    with pytest.raises(InputError, match="not finite, first in leaf 'x' of sample 1; check"):
        sample(model, like, Ancestral(0.0), torch.linspace(0, 1, 4), 0)


def test_the_density_of_a_noise_prediction_is_that_of_the_law():
    path = GaussianPath(Linear(), parametrization="noise")
    x = LAW.sample(torch.empty(16, 2, dtype=torch.float64), torch.Generator().manual_seed(1))
    found = log_prob(Denoiser(Exact(path), {"x": path}), Batch({"x": x}), steps=128, t_end=0.999)
    assert float((found - LAW.log_prob(x)).abs().max()) < 0.02
