"""Guidance is exact where there is a closed form, and changes nothing where it should not."""

import pytest
import torch
from torch import nn

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import AutoGuidance, ClassifierFree, Compose, Energy
from sciddiff.manifolds import SO3, Torus
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, Heun
from sciddiff.sampling import sample
from sciddiff.schedules import VP, Cosine, Linear
from sciddiff.state import Batch
from sciddiff.streams import Streams, normal
from sciddiff.testing import AnalyticDenoiser, GaussianMixture

F64 = torch.float64


class Classes(nn.Module):
    """Exact data of N(mean(label), variance(label)); label 0 is the union's null."""

    def __init__(self, means, variances, schedule, **path):
        super().__init__()
        self.means, self.variances = torch.tensor(means), torch.tensor(variances)
        self.schedule = schedule
        self.calls = 0

    def forward(self, x_t, t, batch):
        self.calls += 1
        x = x_t["x"]
        label = batch.cond["label"]
        m, v = (value.to(x)[label][:, None] for value in (self.means, self.variances))
        alpha, sigma = (level[:, None] for level in self.schedule.values(t))
        return {"x": m + alpha * v / (alpha**2 * v + sigma**2) * (x - alpha * m)}


def classes(schedule=None, means=(0.0, 1.0), variances=(1.0, 1.0)):
    schedule = schedule or Linear()
    return Denoiser(Classes(means, variances, schedule), {"x": GaussianPath(schedule)})


def labelled(count=64, label=1):
    return Batch(
        {"x": torch.zeros(count, 1, dtype=F64)},
        cond={"label": torch.full((count,), label, dtype=torch.int64)},
    )


def test_weight_one_is_no_guidance():
    model, like = classes(), labelled()
    plain = sample(model, like, Heun(), uniform(8), 0)
    for guidance in (
        ClassifierFree(1.0, {"label": 0}),
        AutoGuidance(classes(means=(0.0, 3.0)), 1.0),
        Energy(lambda data, batch: data["x"].sum(1), weight=0.0),
    ):
        guided = sample(guidance(model), like, Heun(), uniform(8), 0)
        assert torch.equal(guided.x["x"], plain.x["x"])
        assert guided.nfe == plain.nfe


@pytest.mark.parametrize("schedule", [Linear(), VP(), Cosine()], ids=lambda s: type(s).__name__)
def test_classifier_free_moves_equal_variances_by_the_weight(schedule):
    """N(0, 1) against N(1, 1): scores differ by a constant, so weight w draws N(w, 1)."""
    weight = 2.5
    guided = ClassifierFree(weight, {"label": 0})(classes(schedule))
    like = labelled(4000)
    grid = uniform(60)
    out = sample(guided, like, Heun(), grid, 0).x["x"]
    plain = sample(classes(schedule), like, Heun(), grid, 0).x["x"]
    torch.testing.assert_close(out - plain, torch.full_like(out, weight - 1.0), atol=0.03, rtol=0)


def test_weight_zero_is_the_null_condition():
    model, like = classes(variances=(0.5, 1.0)), labelled()
    zero = sample(ClassifierFree(0.0, {"label": 0})(model), like, Heun(), uniform(8), 0).x["x"]
    null = sample(model, labelled(label=0), Heun(), uniform(8), 0).x["x"]
    torch.testing.assert_close(zero, null, atol=1e-12, rtol=0)


def test_interval_saves_evaluations():
    model = classes()
    guided = ClassifierFree(2.0, {"label": 0}, interval=(0.35, 0.65))(model)
    out = sample(guided, labelled(4), Ancestral(0.0), uniform(10), 0)
    assert out.nfe == 10 + 3 == model.net.calls


def test_null_conditions_of_every_kind():
    seen = []

    class Looks(nn.Module):
        def forward(self, x_t, t, batch):
            seen.append(batch.cond)
            return {"x": x_t["x"]}

    model = Denoiser(Looks(), {"x": GaussianPath()})
    cond = {"a": torch.ones(2, 3), "b": torch.ones(2), "c": torch.ones(2), "d": torch.ones(2)}
    guided = ClassifierFree(2.0, {"a": torch.zeros(3), "b": -1, "c": None})(model)
    guided({"x": torch.zeros(2, 1)}, torch.full((2,), 0.5), Batch({"x": torch.zeros(2, 1)}, cond))
    full, null = seen
    assert set(full) == {"a", "b", "c", "d"} and set(null) == {"a", "b", "d"}
    assert null["a"].eq(0).all() and null["b"].eq(-1).all() and null["d"].eq(1).all()
    with pytest.raises(InputError, match="no condition 'fold'; the batch has: a, b, c, d"):
        ClassifierFree(2.0, {"fold": 0})(model)(
            {"x": torch.zeros(2, 1)}, torch.zeros(2), Batch({"x": torch.zeros(2, 1)}, cond)
        )


def test_autoguidance_extrapolates_and_counts():
    strong, weak = classes(variances=(1.0, 1.0)), classes(means=(0.0, 0.6))
    out = sample(AutoGuidance(weak, 3.0)(strong), labelled(500), Heun(), uniform(40), 0)
    plain = sample(strong, labelled(500), Heun(), uniform(40), 0)
    shift = torch.full_like(out.x["x"], 2.0 * (1.0 - 0.6))
    torch.testing.assert_close(out.x["x"] - plain.x["x"], shift, atol=0.02, rtol=0)
    assert out.nfe == 2 * plain.nfe


class Rotations(nn.Module):
    def __init__(self, turn):
        super().__init__()
        self.turn = torch.tensor(turn, dtype=F64)

    def forward(self, x_t, t, batch):
        step = self.turn[batch.cond["label"]][:, None].expand(*x_t["r"].shape[:-1])
        return {"r": SO3().exp(x_t["r"], step)}


def test_manifold_guidance_adds_tangents_at_the_state():
    turns = [[0.1, 0.0, 0.3], [0.4, -0.2, 0.1]]
    streams = Streams.first(0, 3)
    r = SO3().uniform(torch.empty(3, 2, 3, 3, dtype=F64), streams)
    batch = Batch({"r": r}, {"label": torch.ones(3, dtype=torch.int64)})
    t = torch.full((3,), 0.4, dtype=F64)
    model = Denoiser(Rotations(turns), {"r": GeodesicPath(SO3())})
    guided = ClassifierFree(3.0, {"label": 0})(model)({"r": r}, t, batch)["r"]
    null, full = torch.tensor(turns, dtype=F64)
    expected = (null + 3.0 * (full - null)).expand(3, 2, 3)
    torch.testing.assert_close(guided.displacement, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(SO3().log(r, guided.data), expected, atol=1e-12, rtol=0)


def test_scores_of_brownian_paths_are_combined():
    class Score(nn.Module):
        def forward(self, x_t, t, batch):
            return {"a": torch.sin(x_t["a"]) * (1.0 + batch.cond["label"][:, None])}

    path = BrownianPath(Torus())
    model = Denoiser(Score(), {"a": path})
    a = torch.tensor([[0.3, -2.0]], dtype=F64)
    batch = Batch({"a": a}, {"label": torch.ones(1, dtype=torch.int64)})
    t = torch.full((1,), 0.3, dtype=F64)
    plain = model({"a": a}, t, batch)["a"].score
    guided = ClassifierFree(2.0, {"label": 0})(model)({"a": a}, t, batch)["a"].score
    torch.testing.assert_close(guided, 1.5 * plain, atol=1e-12, rtol=0)


PRIOR = GaussianMixture(torch.tensor([[0.5, -1.0]]), torch.tensor([[[1.0, 0.4], [0.4, 0.6]]]))


def prior_denoiser(schedule):
    return AnalyticDenoiser({"x": GaussianPath(schedule)}, {"x": PRIOR})


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "VP"])
def test_linear_energy_through_the_network_is_the_exact_tilt(schedule):
    """exp(-b.x) tilts N(m, C) to N(m - C b, C)."""
    b = torch.tensor([0.7, -0.3], dtype=F64)
    like = Batch({"x": torch.zeros(3000, 2, dtype=F64)})
    guided = Energy(lambda data, batch: data["x"] @ b, through_network=True)(
        prior_denoiser(schedule)
    )
    x = sample(guided, like, Heun(), uniform(100), 0).x["x"]
    wanted = PRIOR.mean - PRIOR.covariance @ b
    torch.testing.assert_close(x.mean(0), wanted, atol=0.08, rtol=0)
    torch.testing.assert_close(x.T.cov(), PRIOR.covariance, atol=0.08, rtol=0)
    # The prediction itself is the tilted law's, at every time inside.
    tilted = GaussianMixture(wanted[None], PRIOR.covariance[None])
    exact = AnalyticDenoiser({"x": GaussianPath(schedule)}, {"x": tilted})
    for t in (0.2, 0.5, 0.9):
        times = torch.full((3000,), t, dtype=F64)
        found = guided(like.x, times, like)["x"].data
        torch.testing.assert_close(found, exact(like.x, times, like)["x"].data)


def test_energy_of_an_observation_is_the_posterior():
    """y = x + noise of variance g, prior N(0, v): the posterior is N(y v/(v+g), v g/(v+g))."""
    v, g, y = 0.8, 0.3, 1.4
    law = GaussianMixture(torch.zeros(1, 1), torch.full((1, 1, 1), v))
    model = AnalyticDenoiser({"x": GaussianPath(Linear())}, {"x": law})

    def variance(t):
        left = v * (1 - t) ** 2 / (t**2 * v + (1 - t) ** 2)
        return left * g / (left + g)

    energy = Energy(lambda data, batch: (data["x"][:, 0] - y) ** 2 / (2 * g), variance=variance)
    like = Batch({"x": torch.zeros(4000, 1, dtype=F64)})
    x = sample(energy(model), like, Heun(), uniform(80), 0).x["x"]
    assert abs(float(x.mean()) - y * v / (v + g)) < 0.02
    assert abs(float(x.var()) / (v * g / (v + g)) - 1) < 0.06
    posterior = GaussianMixture(
        torch.tensor([[y * v / (v + g)]]), torch.tensor([[[v * g / (v + g)]]])
    )
    exact = AnalyticDenoiser({"x": GaussianPath(Linear())}, {"x": posterior})
    for t in (0.1, 0.6, 0.95):
        times = torch.full((4000,), t, dtype=F64)
        found = energy(model)(x_t := {"x": x}, times, like)["x"].data
        wanted = exact(x_t, times, like)["x"].data
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("path", [GeodesicPath(SO3()), BrownianPath(SO3())], ids=["flow", "score"])
def test_energy_turns_rotations_downhill(through, path):
    class Still(nn.Module):
        def forward(self, x_t, t, batch):
            tangent = 0.0 * x_t["r"][..., 0]
            return {"r": tangent if isinstance(path, BrownianPath) else x_t["r"] + 0.0}

    target = torch.eye(3, dtype=F64)
    model = Denoiser(Still(), {"r": path})
    noise = normal(torch.empty(4, 2, 3, dtype=F64), Streams.first(0, 4))
    r = SO3().exp(target.expand(4, 2, 3, 3), 0.5 * noise)
    batch = Batch({"r": r})
    t = torch.full((4,), 0.7, dtype=F64)
    energy = Energy(
        lambda data, batch: SO3().dist(target, data["r"]).square().sum(1),
        weight=0.2,
        through_network=through,
    )
    with torch.no_grad():
        data = energy(model)({"r": r}, t, batch)["r"].data
    assert not data.requires_grad
    before, after = SO3().dist(target, r), SO3().dist(target, data)
    assert bool((after < before).all())
    torch.testing.assert_close(data @ data.mT, target.expand_as(data), atol=1e-10, rtol=0)
    # Straight downhill: the axis stays.
    crossed = torch.linalg.cross(SO3().log(target, r), SO3().log(target, data))
    assert float(crossed.abs().max()) < 1e-8


def test_compose_applies_the_first_innermost():
    model, like = classes(), labelled(8)
    free = ClassifierFree(2.0, {"label": 0})
    energy = Energy(lambda data, batch: data["x"].square().sum(1))
    t = torch.full((8,), 0.5, dtype=F64)
    composed = Compose((free, energy))(model)
    nested = energy(free(model))
    assert torch.equal(composed(like.x, t, like)["x"].data, nested(like.x, t, like)["x"].data)
    assert composed.path is model.path
    assert composed.evaluations(t) == 2
    with pytest.raises(InputError, match="empty"):
        Compose(())


def test_an_energy_of_the_wrong_shape_is_refused():
    guided = Energy(lambda data, batch: data["x"].sum())(classes())
    with pytest.raises(InputError, match=r"one number per sample, \[4\]"):
        guided(labelled(4).x, torch.full((4,), 0.5, dtype=F64), labelled(4))
