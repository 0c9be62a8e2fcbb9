"""The sampling loop: reproducible, independent of the batch, faithful to fixed rows."""

import pytest
import torch
from torch import nn

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.grids import uniform, uniform_log_snr
from sciddiff.manifolds import SO3
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun
from sciddiff.sampling import sample
from sciddiff.schedules import EDM, VP, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams
from sciddiff.testing import AnalyticDenoiser, GaussianMixture, assert_batch_independent

F64 = torch.float64


class PairNet(nn.Module):
    """Rows of a sample see each other through a masked mean; predicts data of both leaves."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.seen = []

    def forward(self, x_t, t, batch):
        layout = batch.layouts["x"]
        self.seen.append((x_t, batch.cond.get("self_condition")))
        mean = layout.mean(x_t["x"])
        x = self.dropout(0.5 * x_t["x"] + 0.2 * mean + layout.spread(t, x_t["x"]))
        turn = SO3().exp(x_t["r"], 0.3 * torch.tanh(x_t["x"] - mean))
        return {"x": x, "r": turn}


def frames(size=3, rows=5, mask=True, fixed=False, dtype=torch.float32):
    real = torch.ones(size, rows, dtype=torch.bool)
    if mask:
        real[-1, -2:] = False
    held = torch.zeros_like(real)
    held[:, 1] = fixed
    layout = Layout(size, mask=real, fixed=held if fixed else None)
    streams = Streams.first(11, size)
    x = streams.normal(torch.empty(size, rows, 3, dtype=dtype))
    r = SO3().uniform(torch.empty(size, rows, 3, 3, dtype=dtype), streams)
    return Batch({"x": x, "r": r}, layouts={"x": layout, "r": layout})


def denoiser():
    return Denoiser(PairNet(), {"x": GaussianPath(Linear()), "r": GeodesicPath(SO3())})


SAMPLERS = [
    Ancestral(0.0), Ancestral(1.0), Heun(), EulerMaruyama(), DPMSolverPP("2M"), DPMSolverPP("2S")
]  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_samples_depend_on_seed_and_index_alone(sampler):
    assert_batch_independent(denoiser(), frames(), sampler, uniform(6), tolerance=1e-5)


def test_padding_changes_nothing():
    batch = frames()
    longer = torch.zeros(3, 9, dtype=torch.bool)
    longer[:, :5] = batch.layouts["x"].mask
    layout = Layout(3, mask=longer)
    x = torch.zeros(3, 9, 3)
    r = torch.eye(3).expand(3, 9, 3, 3)
    padded = Batch({"x": x, "r": r}, layouts={"x": layout, "r": layout})
    short = sample(denoiser(), batch, EulerMaruyama(), uniform(6), 4).x
    long = sample(denoiser(), padded, EulerMaruyama(), uniform(6), 4).x
    real = batch.layouts["x"].mask
    for name in short:
        torch.testing.assert_close(short[name][real], long[name][:, :5][real], atol=1e-5, rtol=0)


def test_ragged_equals_dense():
    law = GaussianMixture.standard(3)
    exact = AnalyticDenoiser({"x": GaussianPath(Linear())}, {"x": law})
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    dense = Batch({"x": torch.zeros(2, 4, 3)}, layouts={"x": Layout(2, mask=mask)})
    index = torch.tensor([0, 0, 0, 0, 1, 1])
    ragged = Batch({"x": torch.zeros(6, 3)}, layouts={"x": Layout(2, index=index)})
    a = sample(exact, dense, EulerMaruyama(), uniform(8), 3).x["x"][mask]
    b = sample(exact, ragged, EulerMaruyama(), uniform(8), 3).x["x"]
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_same_seed_same_bits_and_the_global_generator_is_untouched():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = sample(denoiser(), frames(), EulerMaruyama(), uniform(5), 8).x
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    second = sample(denoiser(), frames(), EulerMaruyama(), uniform(5), 8).x
    other = sample(denoiser(), frames(), EulerMaruyama(), uniform(5), 9).x
    for name in first:
        assert torch.equal(first[name], second[name])
        assert not torch.allclose(first[name], other[name])


def test_one_generator_for_the_batch():
    seeds = [torch.Generator().manual_seed(2) for _ in range(2)]
    a, b = (sample(denoiser(), frames(), EulerMaruyama(), uniform(3), seed).x for seed in seeds)
    assert torch.equal(a["x"], b["x"])


def test_rotations_stay_rotations_and_networks_return_to_their_mode():
    model = denoiser()
    model.train()
    r = sample(model, frames(), EulerMaruyama(), uniform(40), 0).x["r"]
    torch.testing.assert_close(
        r @ r.mT, torch.eye(3).expand_as(r), atol=2e-6, rtol=0
    )
    assert model.training and model.net.dropout.training


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("replace", ["data", "noised"])
def test_fixed_rows_end_exactly_in_their_data(sampler, replace):
    batch = frames(fixed=True)
    model = denoiser()
    out = sample(
        model, batch, sampler, uniform(4), 0, replace=replace, keep_trajectory=True
    )
    for name, leaf in out.x.items():
        assert torch.equal(leaf[:, 1], batch.x[name][:, 1])
        assert not torch.allclose(leaf[:, 0], batch.x[name][:, 0])
    same = [torch.equal(x_t["x"][:, 1], batch.x["x"][:, 1]) for x_t, _ in model.net.seen]
    assert all(same) if replace == "data" else not any(same)


def test_noised_fixed_rows_are_on_the_straight_line_to_their_data():
    batch = frames(fixed=True)
    out = sample(
        denoiser(), batch, Ancestral(0.0), uniform(4), 0, replace="noised", keep_trajectory=True
    )
    rows = torch.stack([state["x"][:, 1] for state in out.trajectory])
    steps = rows.diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), atol=1e-5, rtol=0)


def test_inpainting_gives_the_conditional_law():
    """Two correlated coordinates as two rows, one fixed, under the conditional denoiser."""
    rho, count = 0.8, 4000

    class Conditional(nn.Module):
        def forward(self, x_t, t, batch):
            x, level = x_t["x"], t[:, None, None]
            known = x[:, :1]
            # E[x1 | x_t] for N(rho * known, 1 - rho^2), linear path.
            variance = (1 - rho**2) * torch.ones_like(level)
            gain = level * variance / (level**2 * variance + (1 - level) ** 2)
            free = rho * known + gain * (x[:, 1:] - level * rho * known)
            return {"x": torch.cat([known, free], dim=1)}

    fixed = torch.tensor([[True, False]]).expand(count, 2)
    like = Batch(
        {"x": torch.full((count, 2, 1), 1.5, dtype=F64)}, layouts={"x": Layout(count, fixed=fixed)}
    )
    model = Denoiser(Conditional(), {"x": GaussianPath(Linear())})
    x = sample(model, like, Heun(), uniform(40), 0).x["x"][:, 1, 0]
    assert abs(float(x.mean()) - rho * 1.5) < 0.03
    assert abs(float(x.std()) - 0.6) < 0.03


def test_self_conditioning_feeds_the_last_data_back():
    model = denoiser()
    sample(model, frames(), Heun(), uniform(3), 0, self_condition=True)
    conditions = [condition for _, condition in model.net.seen]
    assert conditions[0] is None
    assert all(set(condition) == {"x", "r"} for condition in conditions[1:])
    model.net.seen.clear()
    sample(model, frames(), Heun(), uniform(3), 0)
    assert all(condition is None for _, condition in model.net.seen)


def test_partial_diffusion_starts_from_noised_data():
    law = GaussianMixture.standard()
    exact = AnalyticDenoiser({"x": GaussianPath(Linear())}, {"x": law})
    like = Batch({"x": law.sample(torch.empty(512, 2, dtype=F64), Streams.first(0, 512))})
    moved = {}
    for start in (0.3, 0.6, 0.95):
        out = sample(
            exact, like, Ancestral(0.0), uniform(20), 0, start_t=start, keep_trajectory=True
        )
        first = out.trajectory[0]["x"]
        noise = (first - start * like.x["x"]) / (1 - start)
        assert abs(float(noise.std()) - 1) < 0.1
        assert out.nfe == sum(t > start + 1e-9 for t in uniform(20).tolist())
        moved[start] = float((out.x["x"] - like.x["x"]).norm())
    assert moved[0.3] > moved[0.6] > moved[0.95]
    elsewhere = {"x": like.x["x"] + 7.0}
    out = sample(exact, like, Ancestral(0.0), uniform(20), 0, start_t=0.99, x_start=elsewhere)
    assert float((out.x["x"] - elsewhere["x"]).abs().max()) < 1.0
    state = {"x": torch.full((512, 2), 0.25, dtype=F64)}
    out = sample(
        exact, like, Ancestral(0.0), uniform(4), 0, x_init=state, keep_trajectory=True
    )
    assert torch.equal(out.trajectory[0]["x"], state["x"])


def test_prior_scale_and_callback():
    batch = frames()
    told = []
    wide, narrow = (
        sample(
            denoiser(), batch, Ancestral(0.0), uniform(5), 0, prior_scale=scale,
            keep_trajectory=True, callback=told.append,
        )
        for scale in (1.0, {"x": 0.5})
    )  # fmt: skip
    torch.testing.assert_close(narrow.trajectory[0]["x"], 0.5 * wide.trajectory[0]["x"])
    assert torch.equal(narrow.trajectory[0]["r"], wide.trajectory[0]["r"])
    assert [(done.step, done.steps) for done in told[:5]] == [(k, 5) for k in range(1, 6)]
    assert told[4].t == 1.0 and set(told[4].data) == {"x", "r"}


def test_schedules_that_end_in_noise_are_denoised():
    law = GaussianMixture.standard()
    path = GaussianPath(EDM(sigma_min=0.5))
    exact = AnalyticDenoiser({"x": path}, {"x": law})
    like = Batch({"x": torch.zeros(4, 2, dtype=F64)})
    out = sample(exact, like, Ancestral(0.0), uniform(30), 0, keep_trajectory=True)
    assert out.nfe == 31
    before = Ancestral(0.0)(
        lambda x, t: exact(x, t, like), exact.path, out.trajectory[0], uniform(30)
    ).x["x"]
    half = torch.tensor(0.5, dtype=F64)
    torch.testing.assert_close(out.x["x"], law.data(before, torch.ones((), dtype=F64), half))


def test_evaluations_are_counted():
    like = frames()
    for sampler, evaluations in ((Ancestral(0.0), 6), (Heun(), 12), (DPMSolverPP("2S"), 10)):
        assert sample(denoiser(), like, sampler, uniform(6), 0).nfe == evaluations


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [(Ancestral(0.0), Linear()), (Heun(), Linear()), (DPMSolverPP("2M"), VP())],
    ids=["DDIM linear", "Heun linear", "2M VP"],
)
def test_steps_are_free(sampler, schedule):
    """The same denoiser at 5 to 1000 steps: the distance to the exact flow only falls."""
    law = GaussianMixture.standard()
    exact = AnalyticDenoiser({"x": GaussianPath(schedule)}, {"x": law})
    like = Batch({"x": torch.zeros(48, 2, dtype=F64)})
    grid = uniform if isinstance(schedule, Linear) else lambda n: uniform_log_snr(n, schedule)

    def end(solver, n):
        return sample(exact, like, solver, grid(n), 0).x["x"]

    best = end(Heun(), 1000)
    steps = (5, 10, 20, 50, 100, 300, 1000)
    errors = [float((end(sampler, n) - best).norm(dim=1).mean()) for n in steps]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert fine < 1.02 * coarse + 1e-4
    assert errors[-1] < 0.02 * errors[0] + 1e-4


def test_bad_input_is_named():
    model, like = denoiser(), frames()
    with pytest.raises(InputError, match="grid: times do not increase"):
        sample(model, like, Ancestral(), torch.tensor([0.0, 0.5, 0.5, 1.0]), 0)
    with pytest.raises(InputError, match="must lie in"):
        sample(model, like, Ancestral(), torch.tensor([0.0, 2.0]), 0)
    with pytest.raises(InputError, match="start_t"):
        sample(model, like, Ancestral(), uniform(4), 0, start_t=1.0)
    with pytest.raises(InputError, match="indices"):
        sample(model, like, Ancestral(), uniform(4), 0, indices=torch.arange(2))
    for bad in (lambda: Ancestral(2.0), lambda: Heun(-1.0), lambda: DPMSolverPP("3M")):
        with pytest.raises(InputError):
            bad()


def test_samples_end_on_their_manifold():
    """A thousand products of rounded rotations drift; what is returned does not."""
    class Turns(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"x": 2.0 * torch.sin(3.0 * x_t["x"].sum(-1) + t[:, None, None])}

    drift = []

    def watch(progress):
        x = progress.x["x"].double()
        drift.append(float((x.mT @ x - torch.eye(3)).abs().max()))

    path = GeodesicPath(SO3(), parametrization="displacement")
    like = Batch({"x": torch.eye(3).expand(8, 16, 3, 3).clone()})
    out = sample(
        Denoiser(Turns(), {"x": path}), like, Ancestral(0.0), uniform(1000), 0, callback=watch
    )
    assert out.nfe == 1000 and 2.0 * drift[-1] < drift[-2]
