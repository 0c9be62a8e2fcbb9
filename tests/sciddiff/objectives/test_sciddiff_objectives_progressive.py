"""Progressive: jumps that learn where a solver of a fixed denoiser leads."""

import math

import pytest
import torch

from sciddiff import Batch, Denoiser, Layout, Torus, sample
from sciddiff.analytic import GaussianMixture
from sciddiff.errors import InputError
from sciddiff.objectives import Denoising, LabelDropout, Progressive
from sciddiff.paths import GaussianPath, GeodesicPath, MaskPath
from sciddiff.samplers import Ancestral, FlowMap, Midpoint
from sciddiff.testing import AnalyticDenoiser

G = torch.Generator
MEAN, SPREAD = 0.8, 0.6


class NormalMap(torch.nn.Module):
    """The exact flow map of normal data on the linear path, off by a shift of its data."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.seen = []

    def forward(self, x_t, t, batch, until=None):
        self.seen.append((t, until, x_t["x"]))
        law = lambda u: ((u * SPREAD) ** 2 + (1 - u) ** 2).sqrt()[:, None]  # noqa: E731
        x, mean, end = x_t["x"], MEAN * t[:, None], MEAN * until[:, None]
        moved = end + law(until) / law(t) * (x - mean)
        kept = (1 - until) / (1 - t)
        return {"x": (moved - kept[:, None] * x) / (until - kept * t)[:, None] + self.shift}


def _normal(size=256):
    path = GaussianPath()
    data = MEAN + SPREAD * torch.randn(size, 3, generator=G().manual_seed(0), dtype=torch.float64)
    means = torch.full((1, 3), MEAN, dtype=torch.float64)
    law = GaussianMixture(means, SPREAD**2 * torch.eye(3, dtype=torch.float64)[None])
    source = AnalyticDenoiser({"x": path}, {"x": law})
    return source, Denoiser(NormalMap(), {"x": path}), Batch({"x": data})


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_the_exact_map_is_a_fixed_point_of_the_order_of_the_solver(calls):
    source, student, batch = _normal()
    losses = {}
    for within in (4, 8):
        objective = Progressive(source, Midpoint(), calls=calls, within=within)
        losses[within] = max(
            float(objective(student, batch, G().manual_seed(k)).loss.detach()) for k in range(6)
        )
    # The solver's error falls with the square of the number of steps, its square with the fourth.
    assert losses[8] < losses[4] / 10.0 and losses[8] < 1e-5
    with torch.no_grad():
        student.net.shift += 0.5
    found = float(objective(student, batch, G().manual_seed(0)).loss.detach())
    assert found == pytest.approx(0.25, abs=0.01)


def test_every_jump_is_learned_and_no_other():
    source, student, batch = _normal(8)
    objective = Progressive(source, Midpoint(), calls=4)
    for seed in range(60):
        objective(student, batch, G().manual_seed(seed)).loss.backward()
    spans = {(float(t[0]), float(s[0])) for t, s, _ in student.net.seen}
    assert spans == {(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)}
    assert all(bool((t == t[0]).all()) for t, _, _ in student.net.seen)
    # At the beginning of a jump from noise the state is noise.
    noise = torch.cat([x for t, _, x in student.net.seen if float(t[0]) == 0.0])
    assert abs(float(noise.std()) - 1.0) < 0.1


class Flow(torch.nn.Module):
    """A small network that learns jumps on the plane or on two angles."""

    def __init__(self, angles=False):
        super().__init__()
        torch.manual_seed(0)
        self.angles = angles
        self.body = torch.nn.Sequential(
            torch.nn.Linear(10 if angles else 4, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64),
            torch.nn.SiLU(), torch.nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, x_t, t, batch, until):
        x = x_t["x"]
        if self.angles:
            x = torch.cat([x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos()], -1)
        return {"x": self.body(torch.cat([x, t[:, None], until[:, None]], -1))}


def _learn(objective, student, draw, steps=300):
    optimiser = torch.optim.Adam(student.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    g = G().manual_seed(1)
    for _ in range(steps):
        optimiser.zero_grad()
        objective(student, Batch({"x": draw(128, g)}), g).loss.backward()
        optimiser.step()
        schedule.step()


def test_two_jumps_end_where_many_steps_of_the_teacher_do():
    """The same noise leads to the same sample, which two steps of the teacher miss."""
    law, path = GaussianMixture.standard(), GaussianPath(parametrization="velocity")
    source = AnalyticDenoiser({"x": path}, {"x": law})
    student = Denoiser(Flow(), {"x": path})
    objective = Progressive(source, Midpoint(), calls=2, within=4)
    _learn(objective, student, lambda n, g: law.sample(torch.empty(n, 2), g))
    like, two = Batch({"x": torch.empty(512, 2)}), torch.linspace(0, 1, 3)
    truth = sample(source, like, Midpoint(), torch.linspace(0, 1, 41), 0).x["x"]
    jumps = sample(student, like, FlowMap(), two, 0).x["x"]
    steps = sample(source, like, Ancestral(0.0), two, 0).x["x"]
    missed = lambda x: float((x - truth).norm(dim=-1).median())  # noqa: E731
    assert missed(jumps) < 0.6 * missed(steps)


def test_jumps_follow_a_solver_round_the_torus():
    path = GeodesicPath(Torus(), parametrization="velocity")

    class Towards(torch.nn.Module):
        """Data that are one point."""

        def forward(self, x_t, t, batch):
            away = torch.remainder(2.5 - x_t["x"] + math.pi, 2 * math.pi) - math.pi
            return {"x": away / (1.0 - t)[:, None].clamp(min=0.01)}

    source = Denoiser(Towards(), {"x": path})
    student = Denoiser(Flow(angles=True), {"x": path})
    point = lambda n, g: torch.full((n, 2), 2.5)  # noqa: E731
    _learn(Progressive(source, Midpoint(), calls=1, within=2), student, point)
    like, one = Batch({"x": torch.zeros(512, 2)}), torch.tensor([0.0, 1.0])
    drawn = sample(student, like, FlowMap(), one, 0).x["x"]
    away = torch.remainder(drawn - 2.5 + math.pi, 2 * math.pi) - math.pi
    assert float(away.abs().median()) < 0.3  # of noise it is 1.6


def test_fixed_rows_are_held_for_teacher_and_student():
    fixed = torch.zeros(8, 3, dtype=torch.bool)
    fixed[:, 0] = True
    data = torch.full((8, 3, 2), 5.0)
    batch = Batch({"x": data}, layouts={"x": Layout(8, fixed=fixed)})
    shown = []

    class Zero(torch.nn.Module):
        def forward(self, x_t, t, batch, until=None):
            shown.append(x_t["x"])
            return {"x": 0.0 * x_t["x"]}

    denoiser = Denoiser(Zero(), {"x": GaussianPath()})
    Progressive(denoiser, Midpoint())(denoiser, batch, G().manual_seed(0))
    assert len(shown) == 5
    assert all(torch.equal(x[:, 0], data[:, 0]) for x in (shown[0], shown[2], shown[4]))


def test_labels_are_dropped_for_both():
    told = []

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch, until=None):
            told.append(batch.cond["label"])
            return {"x": 0.0 * x_t["x"]}

    denoiser = Denoiser(Net(), {"x": GaussianPath()})
    batch = Batch({"x": torch.zeros(64, 2)}, {"label": torch.ones(64, dtype=torch.int64)})
    learning = Denoising(label_dropout={"label": LabelDropout(9, 0.5)})
    Progressive(denoiser, Midpoint(), learning)(denoiser, batch, G().manual_seed(0))
    assert len(told) == 5 and all(torch.equal(label, told[0]) for label in told)
    assert set(told[0].tolist()) == {1, 9}


def test_leaves_that_do_not_flow_are_refused():
    path = {"x": GaussianPath(), "word": MaskPath(3)}
    batch = Batch({"x": torch.zeros(4, 2), "word": torch.zeros(4, 2, dtype=torch.int64)})
    denoiser = Denoiser(Flow(), path)
    with pytest.raises(InputError, match="Progressive: leaf 'word' does not flow"):
        Progressive(denoiser, Midpoint())(denoiser, batch, G().manual_seed(0))
    with pytest.raises(InputError, match=r"Progressive\.within: 0 is below 1"):
        Progressive(denoiser, Midpoint(), within=0)
