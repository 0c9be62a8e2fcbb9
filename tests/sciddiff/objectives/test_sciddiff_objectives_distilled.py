"""A student of a guided teacher: the loss is zero at the guided prediction, and its exact size."""

import math

import pytest
import torch

from sciddiff import SO3, Batch, Denoiser, Layout, Torus
from sciddiff.drawing import Drawing, draw, noise_of
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import ClassifierFree
from sciddiff.objectives import Denoising, Distilled, LabelDropout, Paired
from sciddiff.paths import (
    BrownianPath,
    GaussianPath,
    GeodesicPath,
    MaskPath,
    ProductPath,
    UniformDiscretePath,
)
from sciddiff.schedules import ExponentialKappa

G = torch.Generator


def _draws(manifold, *shape):
    return manifold.uniform(torch.zeros(*shape, dtype=torch.float64), G().manual_seed(3))


KINDS = ("data", "noise", "velocity", "score", "v", "edm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", ["native", "data", "velocity"])
def test_a_target_that_knows_the_data_is_the_loss(kind, space):
    path = GaussianPath(
        parametrization=kind, loss_space=space, sigma_data=0.5, prior_scale=1.3,
        loss_weight=torch.tensor([1.0, 3.0]),
    )  # fmt: skip
    g = G().manual_seed(0)
    x1, raw = (torch.randn(5, 4, 2, generator=g, dtype=torch.float64) for _ in range(2))
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    sample = path.sample(x1, t, g)
    said = path.predict(raw, sample.x_t, t)
    found = path.match(said, said.with_data(x1))
    torch.testing.assert_close(found, path.loss(said, sample), rtol=1e-9, atol=1e-9)
    assert float(path.match(said, said).abs().max()) == 0.0


@pytest.mark.parametrize("path", [
    GeodesicPath(SO3()), GeodesicPath(Torus()), GeodesicPath(SO3(), scale_loss=False),
    GeodesicPath(SO3(), parametrization="displacement"), BrownianPath(SO3()),
    BrownianPath(Torus(), parametrization="data"),
])  # fmt: skip
def test_on_manifolds_too(path):
    shape = (6, 3, 3) if path.manifold.tangent_ndim else (6, 4)
    x1, guess = _draws(path.manifold, *shape), _draws(path.manifold, *shape).flip(0)
    t = torch.linspace(0.05, 0.9, 6, dtype=torch.float64)
    sample = path.sample(x1, t, G().manual_seed(1))
    if getattr(path, "parametrization", "data") in ("displacement", "score"):
        raw = 0.3 * torch.ones_like(path.manifold.zero_tangent(x1))
        said = path.predict(raw, sample.x_t, t)
        # Of a target that says data the displacement is the logarithm; a score keeps its turns.
        target = said.with_data(x1) if isinstance(path, GeodesicPath) else None
    else:
        said = path.predict(guess, sample.x_t, t)
        target = said.with_data(x1)
    assert float(path.match(said, said).abs().max()) == 0.0
    if target is not None:
        torch.testing.assert_close(path.match(said, target), path.loss(said, sample))


@pytest.mark.parametrize("path", [MaskPath(4), UniformDiscretePath(4)])
def test_tokens_compare_laws(path):
    """Value and gradient of the divergence; fixed and revealed rows do not count."""
    g = G().manual_seed(0)
    x1 = torch.randint(0, 4, (3, 5), generator=g)
    fixed = torch.zeros(3, 5, dtype=torch.bool)
    fixed[:, 1] = True
    layout = Layout(3, fixed=fixed)
    t = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    x_t = path.sample(x1, t, g, layout=layout).x_t
    logits = torch.randn(2, 3, 5, 4, generator=g, dtype=torch.float64)
    raw = logits[0].clone().requires_grad_()
    said = path.predict(raw, x_t, t, layout)
    wanted = path.predict(logits[1], x_t, t, layout)
    found = path.match(said, wanted, layout)
    p, q = logits[1].softmax(-1), logits[0].softmax(-1)
    counted = ~fixed & ((x_t == 4) if isinstance(path, MaskPath) else True)
    expected = (p * (p / q).log()).sum(-1) * counted
    torch.testing.assert_close(found.detach(), expected)
    found.sum().backward()
    torch.testing.assert_close(raw.grad, (q - p) * counted[..., None])
    assert float(path.match(said, said, layout).abs().max()) < 1e-12


def test_a_stranger_path_compares_data():
    from sciddiff.paths import Path

    path = GaussianPath()
    said = path.predict(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([0.5, 0.5]))
    found = Path.match(path, said, said.with_data(torch.zeros(2, 3)))
    assert torch.equal(found, torch.ones(2, 3))


class Labelled(torch.nn.Module):
    """Says the label times a number, without a label half the state."""

    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x_t, t, batch):
        label = batch.cond["label"].float().reshape(-1, 1, 1)
        said = torch.where(label < 0, 0.5 * x_t["x"], self.scale * label + 0.0 * x_t["x"])
        return {"x": said}


def _batch(size=64):
    label = torch.arange(size) % 3
    return Batch({"x": torch.randn(size, 2, 3, generator=G().manual_seed(5))}, {"label": label})


def test_the_loss_is_the_distance_to_the_guided_prediction():
    teacher = Denoiser(Labelled(1.0), {"x": GaussianPath()})
    guided = ClassifierFree(2.0, {"label": -1.0})(teacher)  # 2 label - x_t / 2
    seen = []

    class Student(torch.nn.Module):
        def forward(self, x_t, t, batch):
            seen.append(batch.cond["label"])
            label = batch.cond["label"].float().reshape(-1, 1, 1)
            plain = torch.where(label < 0, 0.5 * x_t["x"], 2.0 * label - 0.5 * x_t["x"])
            return {"x": plain + 0.3}

    student = Denoiser(Student(), {"x": GaussianPath()})
    drops = Denoising(label_dropout={"label": LabelDropout(-1.0, 0.5)})
    out = Distilled(guided, drops)(student, _batch(), G().manual_seed(0))
    assert float(out.loss) == pytest.approx(0.09, abs=1e-5)
    assert 0.2 < float((seen[-1] < 0).float().mean()) < 0.8


def test_gradients_reach_the_student_alone():
    teacher = Denoiser(Labelled(1.0), {"x": GaussianPath()})
    student = Denoiser(Labelled(0.5), {"x": GaussianPath()})
    guided = ClassifierFree(2.0, {"label": -1.0})(teacher)
    Distilled(guided)(student, _batch(), G().manual_seed(0)).loss.backward()
    assert teacher.net.scale.grad is None and float(student.net.scale.grad) != 0.0


def test_domain_losses_take_the_teacher_for_the_truth():
    kept = {}

    def extra(predictions, samples, batch):
        kept.update(samples)
        return {"own": torch.full((batch.size,), 2.0)}

    teacher = Denoiser(Labelled(1.0), {"x": GaussianPath()})
    out = Distilled(teacher, Denoising(extra_losses=(extra,)))(
        teacher, _batch(), G().manual_seed(0)
    )
    assert float(out.loss) == 2.0 and float(out.metrics["loss/own"]) == 2.0
    assert torch.equal(kept["x"].x1[1], torch.ones(2, 3))  # what it says of label 1


def test_states_are_those_of_sampling_in_a_share_of_the_batches():
    """Progress along the geodesic: that of training, or that of sampling at the same time."""
    kappa = ExponentialKappa(10.0)
    path = ProductPath({"turn": GeodesicPath(Torus(), sampling_kappa=kappa)})
    data = torch.full((256, 1), 0.5)

    class Keep(torch.nn.Module):
        def forward(self, x_t, t, batch):
            self.seen = (x_t["turn"][:, 0], t)
            return {"turn": torch.zeros_like(x_t["turn"])}

    for share in (0.0, 1.0):
        net = Keep()
        denoiser = Denoiser(net, path)
        Distilled(denoiser, sampling=share)(denoiser, Batch({"turn": data}), G().manual_seed(0))
        x, t = net.seen
        left = (x - 0.5).abs() / math.pi  # (1 - kappa) times a number below 1
        bound = 1.0 - (kappa(t) if share else t)
        assert bool((left <= bound + 1e-4).all())
        assert float((left / bound).max()) > 0.95


def test_a_share_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"Distilled.sampling: 1.5 is not in \[0, 1\]"):
        Distilled(Denoiser(Labelled(1.0), {"x": GaussianPath()}), sampling=1.5)


class Stay(torch.nn.Module):
    """Says that the state is the data, so that it never moves."""

    def forward(self, x_t, t, batch):
        return dict(x_t)


def test_the_noise_of_a_draw_is_told():
    denoiser = Denoiser(Stay(), {"x": GaussianPath(), "turn": GeodesicPath(SO3())})
    like = Batch({"x": torch.zeros(3, 2, 3), "turn": torch.eye(3).expand(3, 3, 3).clone()})
    drawing = Drawing(grid=uniform(4), prior_scale=0.5)
    drawn = draw(denoiser, like, drawing, seed=7, first=2)
    noise = noise_of(denoiser, like, drawing, seed=7, first=2)
    for name, leaf in drawn.items():
        torch.testing.assert_close(leaf, noise[name], rtol=0, atol=1e-5)


def test_pairs_start_from_the_noise_they_are_given():
    noise, data = torch.full((4, 2), 3.0), torch.zeros(4, 2)
    seen = {}

    class Keep(torch.nn.Module):
        def forward(self, x_t, t, batch):
            seen["x"], seen["t"] = x_t["x"], t
            return {"x": torch.zeros_like(x_t["x"])}

    denoiser = Denoiser(Keep(), {"x": GaussianPath()})
    batch = Batch({"x": data}, {"noise": {"x": noise}})
    Denoising(coupling=Paired())(denoiser, batch, G().manual_seed(0))
    torch.testing.assert_close(seen["x"], 3.0 * (1.0 - seen["t"])[:, None].expand(4, 2))
    with pytest.raises(InputError, match="no condition 'noise' in the batch"):
        Denoising(coupling=Paired())(denoiser, Batch({"x": data}), G().manual_seed(0))
