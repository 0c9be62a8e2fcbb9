"""What guidance keeps, restores and asks for, on any path."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.guidance import AutoGuidance, ClassifierFree, Compose, Energy, Posterior
from sciddiff.guidance.base import evaluation_mode
from sciddiff.manifolds import SO3, Euclidean, Sphere, Torus, ZeroCenterOfMass
from sciddiff.noise import Correlated
from sciddiff.objectives import MinibatchOT
from sciddiff.paths import (
    BrownianPath,
    FreshNoise,
    GaussianPath,
    GeodesicPath,
    LeafStage,
    Move,
    ProductPath,
)
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.schedules import ExponentialKappa, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams
from sciddiff.testing import AnalyticDenoiser, GaussianMixture


class WithExtras(torch.nn.Module):
    def forward(self, x_t, t, batch):
        shift = batch.cond["label"][:, None] if "label" in batch.cond else 0.0
        return {"x": x_t["x"] * 0.5 + shift, "confidence": t + 1.0}


def test_guidance_passes_on_what_the_network_said_beside_the_leaves():
    model = Denoiser(WithExtras(), {"x": GaussianPath()})
    batch = Batch({"x": torch.ones(2, 3)}, {"label": torch.ones(2)})
    t = torch.full((2,), 0.5)
    flat = lambda state, _: state["x"].square().sum(1)  # noqa: E731
    for guidance in (
        ClassifierFree(2.0, {"label": 0.0}),
        AutoGuidance(model, 2.0),
        Energy(flat),
        Energy(flat, through_network=True),
        Posterior(lambda state, _: state["x"], torch.ones(3), torch.ones(3)),
        Compose((ClassifierFree(2.0, {"label": 0.0}), Energy(flat))),
    ):
        said = guidance(model)(batch.x, t, batch)
        torch.testing.assert_close(said.extras["confidence"], t + 1.0, msg=str(guidance))


def test_weak_networks_and_their_parts_are_evaluated_and_restored():
    """The weak network too is in evaluation mode, and every part gets back the mode it had."""
    modes = []

    class Watches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Dropout(0.5)

        def forward(self, x_t, t, batch):
            modes.append((self.training, self.inner.training))
            return {"x": self.inner(x_t["x"])}

    strong, weak = (Denoiser(Watches(), {"x": GaussianPath()}) for _ in range(2))
    weak.net.inner.eval()
    like = Batch({"x": torch.ones(2, 3)})
    sample(AutoGuidance(weak, 2.0)(strong), like, Ancestral(0.0), torch.linspace(0, 1, 3), 0)
    assert modes == [(False, False)] * 4
    assert strong.training and strong.net.inner.training and weak.training
    assert not weak.net.inner.training
    with pytest.raises(RuntimeError), evaluation_mode(strong):
        raise RuntimeError
    assert strong.training


def test_the_noise_level_of_an_energy_is_the_one_the_sampler_follows():
    """A path that samples by another progress than it trains by has the variance of the former."""
    path = GeodesicPath(Torus(), sampling_kappa=ExponentialKappa(10.0))
    model = Denoiser(WithTorus(), {"a": path})
    batch, t = Batch({"a": torch.zeros(1, 1).double()}), torch.tensor([0.1]).double()
    pulled = Energy(lambda state, _: state["a"].sum(1))(model)(batch.x, t, batch)["a"].data
    kappa = float(path.step_kappa(t)[0])
    assert kappa == pytest.approx((1 - math.exp(-1.0)) / (1 - math.exp(-10.0)), abs=1e-3)
    left = 1.0 - kappa
    assert float(pulled - 0.3) == pytest.approx(-(left**2) / (left**2 + kappa**2), rel=1e-6)


class WithTorus(torch.nn.Module):
    def forward(self, x_t, t, batch):
        return {"a": torch.full_like(x_t["a"], 0.3)}


def test_an_energy_moves_a_rotation_within_its_tangent_space():
    """The gradient is projected: on a sphere it has no part along the radius."""
    class Stays(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"x": x_t["x"]}

    path = GeodesicPath(Sphere(3))
    model = Denoiser(Stays(), {"x": path})
    x = torch.tensor([[[1.0, 0.0, 0.0]]]).double()
    slope = torch.tensor([5.0, 1.0, 0.0]).double()
    pull = Energy(lambda state, _: (state["x"] @ slope).sum(1))
    batch = Batch({"x": x})
    said = pull(model)(batch.x, torch.tensor([0.5]).double(), batch)["x"].data
    torch.testing.assert_close(said.norm(dim=-1), torch.ones(1, 1).double())
    way = Sphere(3).log(x, said)[0, 0]
    torch.testing.assert_close(way, torch.tensor([0.0, -0.5, 0.0]).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_energy_through_the_network_knows_the_law_of_the_noise(scale):
    """A linear energy of Gaussian data is exact whatever the covariance of the noise."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 1.0]]).double()
    path = GaussianPath(
        Linear(), Euclidean(), Correlated.from_covariance(covariance), prior_scale=scale
    )
    t, prior = torch.tensor([0.4]).double(), torch.eye(2).double()
    alpha, sigma, slope = 0.4, 0.6, torch.tensor([1.0, -2.0]).double()
    noise = (scale * sigma) ** 2 * covariance

    class Gaussian(torch.nn.Module):
        def __init__(self, mean):
            super().__init__()
            self.mean = mean

        def forward(self, x_t, t, batch):
            gain = alpha * prior @ torch.linalg.inv(alpha**2 * prior + noise)
            return {"x": self.mean + (x_t["x"] - alpha * self.mean) @ gain.T}

    batch = Batch({"x": torch.tensor([[0.3, -0.7]]).double()})
    model = Denoiser(Gaussian(torch.zeros(2).double()), {"x": path})
    guided = Energy(lambda state, _: state["x"] @ slope, through_network=True)(model)
    # exp(-slope x) times a normal law is the normal law whose mean is moved by -slope.
    expected = Denoiser(Gaussian(-prior @ slope), {"x": path})
    torch.testing.assert_close(
        guided(batch.x, t, batch)["x"].data, expected(batch.x, t, batch)["x"].data
    )


def test_noise_cannot_be_paired_with_a_walk_that_does_not_use_it():
    path = ProductPath({"x": GaussianPath(), "r": BrownianPath(SO3())})
    batch = Batch({"x": torch.zeros(3, 2), "r": torch.eye(3).expand(3, 3, 3).clone()})
    with pytest.raises(InputError, match="BrownianPath of leaf 'r' starts from its data"):
        MinibatchOT()(path, batch, torch.Generator().manual_seed(0))
    assert MinibatchOT(("x",))(path, batch, torch.Generator().manual_seed(0))["x"].shape == (3, 2)


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("manifold", [SO3(), Torus()], ids=["SO3", "torus"])
def test_a_stochastic_step_forgets_the_share_it_is_told(manifold, share):
    """The slowest mode of the noise end decays by sqrt(1 - tau): it knows its eigenvalue."""
    path, n = GeodesicPath(manifold), 20_000
    like = torch.empty(n, *((3, 3) if isinstance(manifold, SO3) else ()), dtype=torch.float64)
    x = path.prior(like, Streams.first(1, n))
    far = path.prior(like, Streams.first(2, n))  # data; at t = 0 the state is the noise end
    stage = LeafStage(x, path.predict(far, x, torch.zeros(n).double()), 0.0, (0.0, 1.0))
    move = Move((stage,), 1e-9, noise=FreshNoise.replacing(share), end=(1e-9, 1.0 - 1e-9))
    moved = path.step(move, Streams.first(3, n))
    if isinstance(manifold, SO3):
        trace = torch.einsum("bij,bij->b", x, moved)
        mode = (trace.mean() / 3.0).item()
    else:
        mode = torch.cos(moved - x).mean().item()
    assert mode == pytest.approx(math.sqrt(1.0 - share), abs=0.015)


def test_conditions_of_all_samples_are_not_cut():
    table = torch.arange(4.0)
    batch = Batch(
        {"x": torch.zeros(4, 2)}, {"table": table, "label": torch.arange(4)},
        shared=frozenset({"table"}),
    )  # fmt: skip
    some = batch.select(torch.tensor([2]))
    assert torch.equal(some.cond["table"], table) and some.cond["label"].tolist() == [2]
    assert some.shared == batch.shared and some.with_cond(a=1).shared == batch.shared
    free = ClassifierFree(2.0, {"label": 0}).without(batch)
    assert free.shared == batch.shared
    odd = Batch({"x": torch.zeros(4, 2)}, {"table": torch.arange(7)})
    with pytest.raises(InputError, match=r"cond\['table'\]: 7 entries for 4 samples; give one"):
        odd.select(torch.tensor([0]))


def test_objects_among_the_conditions_move_and_are_selected():
    class Systems:
        def __init__(self, value):
            self.value = value

        def to(self, device):
            return Systems((self.value, str(device)))

        def select(self, indices):
            return Systems(indices.tolist())

    batch = Batch({"x": torch.zeros(3, 2)}, {"systems": Systems(0), "name": "a"})
    assert batch.to("cpu").cond["systems"].value == (0, "cpu")
    some = batch.select(torch.tensor([2, 0]))
    assert some.cond["systems"].value == [2, 0] and some.cond["name"] == "a"


def test_padding_and_masks_do_not_reach_other_samples():
    law = GaussianMixture.standard()
    model = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    mask = torch.tensor([[True, True, False], [True, True, True]])
    like = Batch({"x": torch.zeros(2, 3, 2).double()}, layouts={"x": Layout(2, mask=mask)})
    out = sample(model, like, Ancestral(1.0), torch.linspace(0, 1, 9), 0).x["x"]
    one = Batch({"x": torch.zeros(1, 2, 2).double()})
    alone = sample(model, one, Ancestral(1.0), torch.linspace(0, 1, 9), 0).x["x"]
    torch.testing.assert_close(out[:1, :2], alone, atol=1e-9, rtol=0)


def test_an_energy_does_not_move_the_centre_of_a_centred_leaf():
    class Stays(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"x": x_t["x"]}

    path = GaussianPath(Linear(), ZeroCenterOfMass())
    x = {"x": ZeroCenterOfMass().project(torch.randn(2, 5, 3).double())}
    pull = Energy(lambda state, _: 7.0 * state["x"][:, 0, 1] + state["x"][:, :, 0].sum(1))
    said = pull(Denoiser(Stays(), {"x": path}))(x, torch.tensor([0.5, 0.5]).double(), Batch(x))
    moved = said["x"].data - x["x"]
    torch.testing.assert_close(moved.mean(1), torch.zeros(2, 3).double(), atol=1e-12, rtol=0)
    assert float(moved[0, 0, 1]) == pytest.approx(-0.5 * 7.0 * 0.8)
