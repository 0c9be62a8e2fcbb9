"""ProperScore: it learns laws, counts what counts, and practises several steps."""

import math

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.manifolds import SO3
from sciddiff.objectives import ProperScore, Rollout, ScoreTerm, fair_crps
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.schedules import EDM, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams


class _Affine(torch.nn.Module):
    """One-step draws a + b x0: any normal law."""

    def __init__(self, a=0.0, b=1.0):
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(torch.tensor(float(v))) for v in (a, b))
        self.seen = []

    def forward(self, x_t, t, batch):
        self.seen.append(batch)
        return {name: self.a + self.b * x for name, x in x_t.items()}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=_generator(seed))


@pytest.mark.parametrize("members", [2, 4])
def test_it_learns_to_draw_from_the_law_of_the_data(members):
    mean, deviation = 0.7, 0.4
    net = _Affine()
    denoiser = Denoiser(net, {"x": GaussianPath()})
    objective = ProperScore(members=members, alpha=1.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    generator = _generator()
    for step in range(300):
        x = mean + deviation * torch.randn(512, 1, generator=generator)
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 300)
        optimizer.zero_grad()
        objective(denoiser, Batch({"x": x}), generator).loss.backward()
        optimizer.step()
    drawn = sample(denoiser, Batch({"x": torch.zeros(20_000, 1)}), Ancestral(), uniform(1), 0)
    assert float(drawn.x["x"].mean()) == pytest.approx(mean, abs=0.03)
    assert float(drawn.x["x"].std()) == pytest.approx(deviation, abs=0.03)


def test_the_true_law_has_the_least_loss_and_its_exact_value():
    batch = Batch({"x": _normal(60_000, 1)})
    loss = {
        law: float(
            ProperScore(2, alpha=1.0)(
                Denoiser(_Affine(*law), {"x": GaussianPath(EDM())}), batch, _generator(1)
            ).loss.detach()
        )
        for law in ((0.0, 1 / 80), (0.3, 1 / 80), (0.0, 0.7 / 80), (0.0, 1.4 / 80))
    }
    assert min(loss, key=lambda law: loss[law]) == (0.0, 1 / 80)
    assert loss[0.0, 1 / 80] == pytest.approx(1 / math.sqrt(math.pi), abs=0.01)


def _by_hand(net, path, batch, k, generator, alpha=0.95):
    noise = [path.prior(batch.x["x"], generator, batch.layouts["x"]) for _ in range(k)]
    return fair_crps(torch.stack([net.a + net.b * z for z in noise]), batch.x["x"], alpha)


def test_padding_and_fixed_rows_do_not_count_and_entries_are_weighted():
    mask = torch.arange(6) < torch.tensor([[6], [4], [3], [5]])
    fixed = torch.zeros_like(mask)
    fixed[:, 1] = True
    batch = Batch({"x": _normal(4, 6, 2)}, layouts={"x": Layout(4, mask=mask, fixed=fixed)})
    net = _Affine(0.2, 0.9)
    path = GaussianPath(loss_weight=[3.0, 0.5])
    output = ProperScore(3)(Denoiser(net, {"x": path}), batch, _generator())
    score = _by_hand(net, path, batch, 3, _generator()) * torch.tensor([3.0, 0.5])
    free = (mask & ~fixed)[..., None].expand_as(score)
    expected = torch.stack([score[i][free[i]].mean() for i in range(4)])
    torch.testing.assert_close(output.per_sample, expected.detach())
    assert float(output.loss.detach()) == pytest.approx(float(expected.mean().detach()))
    seen = net.seen[0]
    assert seen.size == 12


def test_ragged_samples_are_scored_as_dense_ones():
    lengths = torch.tensor([2, 5, 3])
    mask = torch.arange(5) < lengths[:, None]
    x = _normal(3, 5, 2)
    index = torch.repeat_interleave(torch.arange(3), lengths)
    place = torch.cat([torch.arange(n) for n in lengths.tolist()])
    mixed = torch.argsort(place, stable=True)  # first rows of all samples, then the second ones
    dense = Batch({"x": x}, layouts={"x": Layout(3, mask=mask)})
    ragged = Batch({"x": x[mask]}, layouts={"x": Layout(3, index=index)})
    strewn = Batch({"x": x[mask][mixed]}, layouts={"x": Layout(3, index=index[mixed])})
    denoiser = Denoiser(_Affine(0.1, 0.8), {"x": GaussianPath()})
    losses = [
        ProperScore(4)(denoiser, batch, Streams.first(0, 3)).per_sample
        for batch in (dense, ragged, strewn)
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


def test_fixed_rows_and_conditions_reach_every_member():
    layout = Layout(1, fixed=torch.tensor([[True, False]]))
    batch = Batch({"x": torch.full((1, 2, 1), 9.0)}, {"label": torch.tensor([5])}, {"x": layout})
    states = []

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch):
            states.append((x_t["x"], t, batch.cond["label"]))
            return x_t

    ProperScore(3)(Denoiser(Net(), {"x": GaussianPath()}), batch, _generator())
    x, t, label = states[0]
    assert torch.equal(x[:, 0], torch.full((3, 1), 9.0)) and len(x[:, 1].unique()) == 3
    assert torch.equal(t, torch.zeros(3)) and label.tolist() == [5, 5, 5]


def test_a_member_is_the_same_in_a_larger_ensemble():
    batch, states = Batch({"x": _normal(5, 3)}), []

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch):
            states.append(x_t["x"])
            return x_t

    denoiser = Denoiser(Net(), {"x": GaussianPath()})
    for members in (2, 4):
        ProperScore(members)(denoiser, batch, Streams.first(0, 5))
    assert torch.equal(states[0], states[1][:10])


def test_terms_see_what_entries_do_not():
    """Two entries that always agree: only the score of their difference teaches it."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tie = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x_t, t, batch):
            a, b = x_t["x"].unbind(-1)
            tied = self.tie * a + torch.sqrt(1 - self.tie**2) * b
            return {"x": torch.stack([a, tied], -1)}

    z = _normal(20_000, 1)
    batch = Batch({"x": z.expand(-1, 2).contiguous()})
    term = ScoreTerm(lambda x: x[:, :1] - x[:, 1:], weight=1.0, name="difference")
    slopes, net = {}, Net()
    for name, terms in (("plain", ()), ("term", (term,))):
        net.zero_grad()
        output = ProperScore(2, 1.0, terms=terms)(
            Denoiser(net, {"x": GaussianPath()}), batch, _generator()
        )
        output.loss.backward()
        slopes[name] = float(net.tie.grad)
    assert abs(slopes["plain"]) < 0.02
    assert slopes["term"] < -0.2, "a stronger tie lowers the score of the difference"
    assert "loss/difference" in output.metrics


def test_curved_leaves_are_scored_by_a_distance():
    rotations = SO3().uniform(torch.empty(6, 3, 3), _generator())
    batch = Batch({"r": rotations})
    net = torch.nn.Module()
    net.forward = lambda x_t, t, batch: x_t
    denoiser = Denoiser(net, {"r": GeodesicPath(SO3())})
    with pytest.raises(InputError, match="give distances a function"):
        ProperScore()(denoiser, batch, _generator())

    def chordal(a, b):
        return torch.linalg.matrix_norm(a - b)

    output = ProperScore(distances={"r": chordal})(denoiser, batch, _generator())
    assert output.per_sample.shape == (6,) and bool(output.loss.isfinite())


def test_spread_over_skill_is_one_for_the_law_itself():
    batch = Batch({"x": _normal(50_000, 1)})
    told = {}
    for scale in (1.0, 0.5):
        denoiser = Denoiser(_Affine(0.0, scale), {"x": GaussianPath()})
        output = ProperScore(4)(denoiser, batch, _generator(1))
        told[scale] = float(output.metrics["spread_skill/x"])
    assert told[1.0] == pytest.approx(1.0, abs=0.02)
    assert told[0.5] < 0.7


# ---- roll-out: x' = phi x + noise, data are increments --------------------------------------


class _Increment(torch.nn.Module):
    """Increment of an AR(1) process: (phi - 1) state + scale x0."""

    def __init__(self, phi=0.8, scale=0.6):
        super().__init__()
        self.phi, self.scale = (torch.nn.Parameter(torch.tensor(v)) for v in (phi, scale))
        self.calls = 0

    def forward(self, x_t, t, batch):
        self.calls += 1
        assert "future" not in batch.cond
        return {"x": (self.phi - 1) * batch.cond["state"] + self.scale * x_t["x"]}


def _advance(batch, data):
    state = batch.cond["state"] + data["x"]
    target = batch.cond["targets"]["x"][:, 0] - state  # increments from where the member is
    return Batch({"x": target}, {**batch.cond, "state": state}, batch.layouts, batch.size)


def _trajectories(size, later, phi=0.8, scale=0.6, seed=0):
    z = _normal(later + 2, size, 1, seed=seed)
    states = [z[0]]
    for i in range(later + 1):
        states.append(phi * states[-1] + scale * z[i + 1])
    cond = {"state": states[0], "targets": {"x": torch.stack(states[2:], 1)}}
    return Batch({"x": states[1] - states[0]}, cond)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_roll_out_scores_the_states_reached(steps):
    """By hand: the CRPS of AR(1) forecasts whose members have drifted apart."""
    batch = _trajectories(64, 3)
    net = _Increment(0.5, 0.3)
    objective = ProperScore(3, rollout=Rollout(_advance, {steps: 1.0}))
    output = objective(Denoiser(net, {"x": GaussianPath()}), batch, Streams.first(0, 64))
    assert net.calls == steps
    streams = Streams.first(0, 64)
    streams.uniform(torch.empty(64))  # the draw of the number of steps
    members = batch.cond["state"].expand(3, -1, -1)
    truths = [batch.cond["state"] + batch.x["x"], *batch.cond["targets"]["x"].unbind(1)]
    scores = []
    for truth in truths[:steps]:
        z = torch.stack([streams.normal(truth) for _ in range(3)])
        members = 0.5 * members + 0.3 * z
        scores.append(fair_crps(members, truth)[:, 0])
    expected = torch.stack(scores).mean(0)
    torch.testing.assert_close(output.per_sample, expected, rtol=1e-4, atol=1e-6)


def test_the_true_process_is_the_optimum_of_a_roll_out():
    batch = _trajectories(50_000, 3)
    net = _Increment()
    objective = ProperScore(2, 1.0, rollout=Rollout(_advance, {4: 1.0}))
    objective(Denoiser(net, {"x": GaussianPath()}), batch, _generator(9)).loss.backward()
    assert abs(float(net.phi.grad)) < 0.02 and abs(float(net.scale.grad)) < 0.02
    net = _Increment(0.6)
    objective(Denoiser(net, {"x": GaussianPath()}), batch, _generator(9)).loss.backward()
    assert float(net.phi.grad) < -0.05


def test_detached_steps_are_not_blamed_for_later_ones():
    grads = {}
    for detach in (False, True):
        net = _Increment(0.5, 0.3)
        rollout = Rollout(_advance, {2: 1.0}, detach=detach)
        objective = ProperScore(2, rollout=rollout)
        objective(
            Denoiser(net, {"x": GaussianPath()}), _trajectories(64, 1), _generator()
        ).loss.backward()
        grads[detach] = float(net.phi.grad)
    assert grads[True] != pytest.approx(grads[False], rel=1e-3)


def test_the_number_of_steps_follows_its_law():
    rollout = Rollout(_advance)
    batch, generator = _trajectories(4, 3), _generator()
    drawn = [rollout.draw(batch, generator) for _ in range(4000)]
    for number, share in rollout.steps.items():
        assert drawn.count(number) / 4000 == pytest.approx(share, abs=0.03)


def test_roll_outs_and_settings_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="need 3 later targets.*it holds 1"):
        Rollout(_advance).draw(_trajectories(4, 1), _generator())
    for steps in ({}, {0: 1.0}, {1: 0.5, 2: 0.4}):
        with pytest.raises(InputError, match="Rollout.steps"):
            Rollout(_advance, steps)
    with pytest.raises(InputError, match="two or more"):
        ProperScore(1)
    batch = Batch({"x": _normal(2, 3)})
    with pytest.raises(InputError, match="unknown leaf 'y'"):
        ProperScore(weights={"y": 1.0})(Denoiser(_Affine(), {"x": GaussianPath()}), batch, None)
    noise = {"x": GaussianPath(Linear(), parametrization="noise")}
    with pytest.raises(InputError, match="no data follow at t = 0"):
        ProperScore()(Denoiser(_Affine(), noise), batch, _generator())
