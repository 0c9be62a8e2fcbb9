"""Times: one for all leaves or one each, in a type that follows no integers."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.guidance import ClassifierFree
from sciddiff.leaf_times import time_dtype, time_tensors
from sciddiff.manifolds import SO3
from sciddiff.objectives import Denoising
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Midpoint
from sciddiff.sampling import sample
from sciddiff.schedules import Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams
from sciddiff.testing import AnalyticDenoiser, GaussianMixture
from sciddiff.times import LogitNormal, Uniform

SAMPLERS = [
    Ancestral(0.0), Ancestral(1.0), Heun(), Midpoint(), DPMSolverPP("2M"), DPMSolverPP("2S"),
    EulerMaruyama(),
]  # fmt: skip
PATHS = {"x": GaussianPath(Linear()), "r": GeodesicPath(SO3())}


class Net(torch.nn.Module):
    """A network that uses the time of each leaf, and records it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x_t, t, batch):
        times = t if isinstance(t, dict) else {"x": t, "r": t}
        self.seen.append({name: float(own[0]) for name, own in times.items()})
        turn = torch.zeros(*x_t["x"].shape[:2], 3).double()
        turn[..., 0] = 0.5 + times["r"][:, None]
        x = torch.tanh(x_t["x"]) + times["x"][:, None, None]
        return {"x": x, "r": SO3().exp(x_t["r"], turn)}


def template():
    return Batch({
        "x": torch.zeros(3, 4, 2).double(), "r": torch.eye(3).double().expand(3, 4, 3, 3).clone(),
    })  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_equal_times_by_leaf_are_one_time(sampler):
    grid = torch.linspace(0, 1, 9)
    one = sample(Denoiser(Net(), PATHS), template(), sampler, grid, 1).x
    two = sample(Denoiser(Net(), PATHS), template(), sampler, {"x": grid, "r": grid}, 1).x
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-12, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_a_leaf_whose_times_are_all_one_stays_at_its_data(sampler):
    """So one model designs, folds or designs both, without a line of its own for any of them."""
    grid, like = torch.linspace(0, 1, 9), template()
    like.x["x"][:] = torch.arange(8).reshape(4, 2).double()
    net = Net()
    held = sample(Denoiser(net, PATHS), like, sampler, {"x": torch.ones(9), "r": grid}, 1)
    assert torch.equal(held.x["x"], like.x["x"])
    assert {seen["x"] for seen in net.seen} == {1.0} and net.seen[0]["r"] == 0.0
    # The other leaf goes its way as if its neighbour were fixed row by row.
    fixed = {"x": Layout(3, fixed=torch.ones(3, 4, dtype=torch.bool))}
    rows = Batch(like.x, layouts=fixed)
    alike = sample(Denoiser(net, PATHS), rows, sampler, {"x": torch.ones(9), "r": grid}, 1)
    torch.testing.assert_close(alike.x["r"], held.x["r"], atol=1e-12, rtol=0)


def test_leaves_travel_one_after_the_other():
    """Independent leaves do not mind when their neighbour travels."""
    law = GaussianMixture.standard()
    model = AnalyticDenoiser({"a": GaussianPath(), "b": GaussianPath()}, {"a": law, "b": law})
    like = Batch({name: torch.zeros(64, 2).double() for name in "ab"})
    half, rest = torch.linspace(0, 1, 33), torch.ones(32)
    grids = {"a": torch.cat([half, rest]), "b": torch.cat([0 * rest, half])}
    apart = sample(model, like, Midpoint(), grids, 2).x
    together = sample(model, like, Midpoint(), half, 2).x
    for name in "ab":
        torch.testing.assert_close(apart[name], together[name], atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"x": torch.linspace(0, 1, 3)}, "give them for each of x, r"),
        ({"x": torch.linspace(0, 1, 3), "r": torch.linspace(0, 1, 4)}, "different numbers"),
        ({"x": torch.tensor([0, 0.9, 0.5]), "r": torch.linspace(0, 1, 3)}, "'x' decrease"),
        ({"x": torch.tensor([0, 0.5, 1.5]), "r": torch.linspace(0, 1, 3)}, "'x' leave"),
        ({"x": torch.zeros(3), "r": torch.zeros(3)}, "times do not increase"),
    ],
)
def test_wrong_times_by_leaf_are_refused(grid, message):
    with pytest.raises(InputError, match=message):
        sample(Denoiser(Net(), PATHS), template(), Ancestral(0.0), grid, 0)


def test_leaves_may_learn_at_times_of_their_own():
    net = Net()
    objective = Denoising(times={"x": LogitNormal(2.0, 0.1)})
    like = template()
    for seed in range(60):
        objective(Denoiser(net, PATHS), like, torch.Generator().manual_seed(seed))
    x, r = (torch.tensor([seen[name] for seen in net.seen]) for name in "xr")
    assert float(x.mean()) == pytest.approx(1 / (1 + math.exp(-2)), abs=0.02)
    assert float(r.mean()) == pytest.approx(0.5, abs=0.12) and float(r.std()) > 0.2
    assert abs(float(torch.corrcoef(torch.stack([x, r]))[0, 1])) < 0.35
    with pytest.raises(InputError, match="unknown leaf 'y'"):
        Denoising(times={"y": Uniform()})(Denoiser(net, PATHS), like, torch.Generator())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64])
def test_times_are_not_rounded_to_the_type_of_a_leaf(dtype):
    x = {"x": torch.zeros(2, 3, dtype=dtype)}
    assert time_dtype(x) == torch.float32
    times = time_tensors(0.123456, x, 2)
    torch.testing.assert_close(times, torch.full((2,), 0.123456), atol=1e-7, rtol=0)
    both = {**x, "y": torch.zeros(2, dtype=torch.float64)}
    assert time_dtype(both) == torch.float64


def test_a_walk_in_half_precision_follows_the_times_of_its_grid():
    seen = []

    class Watches(torch.nn.Module):
        def forward(self, x_t, t, batch):
            seen.append(float(t[0]))
            return {"x": torch.full_like(x_t["x"], 3.0)}

    grid = torch.linspace(0, 1, 301, dtype=torch.float64)
    like = Batch({"x": torch.zeros(2, 3, dtype=torch.bfloat16)})
    out = sample(Denoiser(Watches(), {"x": GaussianPath()}), like, Ancestral(0.0), grid, 0)
    assert seen == pytest.approx(grid[:-1].tolist(), abs=1e-7)
    assert torch.equal(out.x["x"], torch.full_like(out.x["x"], 3.0))


def test_an_interval_of_guidance_follows_the_time_of_each_leaf():
    grid = {"x": torch.linspace(0, 1, 5), "r": torch.ones(5)}
    model = Denoiser(Net(), PATHS)
    like = Batch(template().x, {"label": torch.ones(3)})
    guided = ClassifierFree(2.0, {"label": 0.0}, (0.0, 0.4))(model)
    assert sample(guided, like, Ancestral(0.0), grid, 0).nfe == 2 * 2 + 2
    late = ClassifierFree(2.0, {"label": 0.0}, (0.9, 1.0))(model)
    # The other leaf is late all the time.
    assert sample(late, like, Ancestral(0.0), grid, 0).nfe == 2 * 4


def test_seeds_may_be_streams():
    model, like = Denoiser(Net(), PATHS), template()
    grid = torch.linspace(0, 1, 5)
    plain = sample(model, like, Ancestral(1.0), grid, 7, indices=torch.tensor([3, 1, 2])).x
    given = sample(model, like, Ancestral(1.0), grid, Streams(7, torch.tensor([3, 1, 2]))).x
    assert all(torch.equal(plain[name], given[name]) for name in plain)
