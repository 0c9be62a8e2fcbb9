"""Solver orders on flat leaves of every schedule, on the torus, on SO(3) and on mixed states."""

import math

import pytest
import torch

from sciddiff.leaf_times import time_tensors
from sciddiff.manifolds import SO3, Torus
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath, ProductPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Midpoint
from sciddiff.schedules import EDM, VE, VP, Cosine, Linear
from sciddiff.state import Batch
from sciddiff.streams import Streams, normal, uniform
from sciddiff.testing import AnalyticDenoiser, TorusMixture, assert_order

F64 = torch.float64
SCHEDULES = [Linear(), VP(), VE(), Cosine(), EDM()]
SOLVERS = [
    (Ancestral(0.0), 1),
    (EulerMaruyama(w=lambda t: 0.0), 1),
    (Heun(), 2),
    (Midpoint(), 2),
    (DPMSolverPP("2M"), 2),
    (DPMSolverPP("2S"), 2),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize(
    ("sampler", "order"), SOLVERS, ids=["DDIM", "EM0", "Heun", "midpoint", "2M", "2S"]
)
def test_order_on_flat_leaves(sampler, order, schedule):
    assert abs(assert_order(sampler, order, schedule) - order) < 0.2


def test_a_wrong_order_is_refused():
    with pytest.raises(AssertionError, match="measured order"):
        assert_order(Ancestral(0.0), 2, Linear())


def slope(run, steps, reference):
    errors = torch.stack([(run(n) - reference).abs().max() for n in steps]).log2()
    logs = torch.tensor(steps, dtype=F64).log2()
    logs = logs - logs.mean()
    return -float((logs * errors).sum() / (logs**2).sum())


@pytest.mark.parametrize(
    ("sampler", "order"),
    [(Ancestral(0.0), 1), (Heun(), 2), (Midpoint(), 2), (DPMSolverPP("2M"), 2),
     (DPMSolverPP("2S"), 2)],
)  # fmt: skip
def test_order_on_the_torus(sampler, order):
    law = TorusMixture(torch.tensor([0.5, -1.8]), torch.tensor([0.6, 0.9]))
    denoiser = AnalyticDenoiser({"a": GeodesicPath(Torus())}, {"a": law})
    x = {"a": 6.0 * uniform(torch.empty(16, 1, dtype=F64), Streams.first(0, 16)) - 3.0}
    batch = Batch(x)

    def run(n, solver=sampler):
        grid = torch.linspace(0.1, 0.8, n + 1, dtype=F64)
        call = lambda x, t: denoiser(x, t, batch)  # noqa: E731
        return solver(call, denoiser.path, x, grid).x["a"]

    reference = run(512, Heun())
    assert abs(slope(run, (16, 32, 64), reference) - order) < 0.3


class SmoothRotations:
    """Any smooth field of data on SO(3): not a law, but a flow with an exact order."""

    def __init__(self, path):
        self.path = ProductPath(path)

    def __call__(self, x_t, t, batch):
        t = time_tensors(t, x_t, batch.size)
        r = x_t["r"]
        wave = torch.sin(2.0 * r.sum(-1) + 3.0 * t[:, None, None])
        data = SO3().exp(r, 0.8 * torch.stack([wave[..., 1], wave[..., 2], wave[..., 0]], -1))
        result = {"r": self.path["r"].predict(data, r, t)}
        if "x" in x_t:
            data = torch.tanh(x_t["x"]) + r.diagonal(dim1=-2, dim2=-1)
            result["x"] = self.path["x"].predict(data, x_t["x"], t)
        return result


@pytest.mark.parametrize(
    ("sampler", "order"), [(Ancestral(0.0), 1), (Heun(), 2), (DPMSolverPP("2M"), 2)]
)
def test_order_on_rotations_with_translations(sampler, order):
    denoiser = SmoothRotations({"r": GeodesicPath(SO3()), "x": GaussianPath(Linear())})
    streams = Streams.first(2, 4)
    x = {
        "r": SO3().uniform(torch.empty(4, 2, 3, 3, dtype=F64), streams),
        "x": normal(torch.empty(4, 2, 3, dtype=F64), streams),
    }
    batch = Batch(x)

    def run(n, solver=sampler):
        grid = torch.linspace(0.1, 0.8, n + 1, dtype=F64)
        out = solver(lambda x, t: denoiser(x, t, batch), denoiser.path, x, grid).x
        return torch.cat([out["r"].flatten(), out["x"].flatten()])

    reference = run(256, Heun())
    assert order - 0.3 < slope(run, (12, 24, 48), reference) < order + 0.7


@pytest.mark.parametrize(
    ("sampler", "order"),
    [(Ancestral(0.0), 1), (Heun(), 2), (Midpoint(), 2), (DPMSolverPP("2M"), 2)],
)
def test_order_of_score_diffusion_on_rotations(sampler, order):
    path = {"r": BrownianPath(SO3(), parametrization="data"), "x": GaussianPath(Linear())}
    denoiser = SmoothRotations(path)
    streams = Streams.first(2, 3)
    x = {
        "r": SO3().uniform(torch.empty(3, 2, 3, 3, dtype=F64), streams),
        "x": normal(torch.empty(3, 2, 3, dtype=F64), streams),
    }
    batch = Batch(x)

    def run(n, solver=sampler):
        grid = torch.linspace(0.5, 0.8, n + 1, dtype=F64)
        out = solver(lambda x, t: denoiser(x, t, batch), denoiser.path, x, grid).x
        return torch.cat([out["r"].flatten(), out["x"].flatten()])

    reference = run(256, Midpoint())
    assert order - 0.3 < slope(run, (12, 24, 48), reference) < order + 0.7


def test_straight_trajectories_are_followed_exactly():
    """With constant predictions every solver lands on the data, in one step or many."""
    target = normal(torch.empty(3, 2, dtype=F64), Streams.first(5, 3))
    for schedule in (Linear(), Cosine(), VP()):
        path = ProductPath({"x": GaussianPath(schedule)})

        def call(x, t, path=path):
            return {"x": path["x"].predict(target, x["x"], torch.full((3,), t))}

        for sampler, _ in SOLVERS:
            for n in (1, 4):
                grid = torch.linspace(0, 1, n + 1)
                x = {"x": normal(target, Streams.first(6, 3))}
                out = sampler(call, path, x, grid).x["x"]
                torch.testing.assert_close(out, target, atol=1e-12, rtol=0)
    assert math.isfinite(float(out.sum()))
