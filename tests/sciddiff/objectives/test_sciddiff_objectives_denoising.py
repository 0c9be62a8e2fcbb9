"""Denoising: what counts, what does not, and that its minimum is the right denoiser."""

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.manifolds import SO3
from sciddiff.objectives import (
    ClippedVelocity,
    Denoising,
    EDMWeighting,
    LabelDropout,
    MinibatchOT,
)
from sciddiff.paths import GaussianPath, GeodesicPath, ProductPath
from sciddiff.schedules import EDM, Linear
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams
from sciddiff.times import BetaMixture, LogNormalSigma


class _Shift(torch.nn.Module):
    """Says the posterior mean of standard normal data under a linear path, plus an offset."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(float(offset)))
        self.calls = []

    def forward(self, x_t, t, batch):
        self.calls.append(batch.cond)
        gain = t / (t**2 + (1 - t) ** 2)
        out = {name: x + self.offset for name, x in x_t.items()}
        if "x" in x_t:
            out["x"] = gain.view(-1, *(1,) * (x_t["x"].ndim - 1)) * x_t["x"] + self.offset
        return out


def _batch(size=4, rows=6, **layout):
    x = Streams.first(3, size).normal(torch.empty(size, rows, 2))
    return Batch({"x": x}, {"label": torch.arange(size)}, {"x": Layout(size, **layout)})


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_right_denoiser_has_the_least_loss():
    batch = _batch(4000)
    losses = {
        offset: float(Denoising()(Denoiser(_Shift(offset), {"x": GaussianPath()}), batch,
                                  _generator()).loss.detach())
        for offset in (-0.2, 0.0, 0.2)
    }  # fmt: skip
    # Exact value: the mean over t of the posterior variance (1-t)^2 / (t^2 + (1-t)^2).
    t = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    exact = float(((1 - t) ** 2 / (t**2 + (1 - t) ** 2)).mean())
    assert losses[0.0] == pytest.approx(exact, rel=0.03)
    assert losses[-0.2] - losses[0.0] == pytest.approx(0.04, abs=0.01)
    assert losses[0.2] - losses[0.0] == pytest.approx(0.04, abs=0.01)


def test_padding_and_fixed_rows_do_not_count():
    mask = torch.arange(6) < torch.tensor([[6], [4], [3], [5]])
    fixed = torch.zeros_like(mask)
    fixed[:, 1] = True
    batch = _batch(mask=mask, fixed=fixed)
    seen = {}

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.out = torch.nn.Parameter(torch.zeros(4, 6, 2))

        def forward(self, x_t, t, batch):
            seen.update(x_t)
            return {"x": self.out}

    net = Net()
    Denoising()(Denoiser(net, {"x": GaussianPath()}), batch, _generator()).loss.backward()
    moved = net.out.grad.abs().sum(-1) > 0
    assert torch.equal(moved, mask & ~fixed)
    assert torch.equal(seen["x"][fixed], batch.x["x"][fixed])


def test_a_sample_counts_the_same_dense_or_ragged_and_whatever_its_length():
    lengths = torch.tensor([6, 2, 3, 5])
    mask = torch.arange(6) < lengths[:, None]
    dense = _batch(mask=mask)
    index = torch.repeat_interleave(torch.arange(4), lengths)
    ragged = Batch({"x": dense.x["x"][mask]}, layouts={"x": Layout(4, index=index)})

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"x": torch.zeros_like(x_t["x"])}

    denoiser = Denoiser(Net(), {"x": GaussianPath()})
    outputs = [Denoising()(denoiser, b, Streams.first(0, 4)) for b in (dense, ragged)]
    torch.testing.assert_close(outputs[0].per_sample, outputs[1].per_sample)
    torch.testing.assert_close(outputs[0].loss, outputs[0].per_sample.mean())
    expected = dense.layouts["x"].free_mean_per_sample(dense.x["x"] ** 2)
    torch.testing.assert_close(outputs[0].per_sample, expected)


def test_weights_add_up_and_metrics_are_unweighted():
    streams = Streams.first(0, 4)
    x = {
        "x": streams.normal(torch.empty(4, 3, 2)),
        "r": SO3().uniform(torch.empty(4, 3, 3, 3), streams),
    }
    path = ProductPath({"x": GaussianPath(), "r": GeodesicPath()})
    denoiser = Denoiser(_Shift(), path)

    def extra(predictions, samples, batch):
        assert set(samples) == {"x", "r"} and batch.size == 4
        return {"bond": 0.5 * (predictions["x"].data ** 2).mean((1, 2))}

    objective = Denoising(
        times=BetaMixture(), weights={"r": 0.25}, weighting={"x": ClippedVelocity(0.9)},
        extra_losses=(extra,),
    )  # fmt: skip
    plain = Denoising(times=BetaMixture())(denoiser, Batch(x), _generator())
    output = objective(denoiser, Batch(x), _generator())
    for name in ("x", "r"):
        torch.testing.assert_close(output.metrics[f"loss/{name}"], plain.metrics[f"loss/{name}"])
    only_r = Denoising(times=BetaMixture(), weights={"x": 0.0, "r": 0.25})
    only_x = Denoising(times=BetaMixture(), weights={"r": 0.0}, weighting={"x": "velocity"})
    parts = sum(float(o(denoiser, Batch(x), _generator()).loss) for o in (only_r, only_x))
    total = parts + float(output.metrics["loss/bond"])
    assert float(output.loss) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("schedule", [EDM(), Linear()], ids=repr)
def test_edm_weighting_of_data_is_the_native_loss(schedule):
    """lambda(sigma) |D - x1|^2 with preconditioning is |F - target|^2 with none."""
    batch = _batch(8)
    results = []
    for space, weighting in (("native", "uniform"), ("data", EDMWeighting(0.5))):
        path = GaussianPath(schedule, parametrization="edm", sigma_data=0.5, loss_space=space,
                            prior_scale=1.3)  # fmt: skip
        objective = Denoising(times=LogNormalSigma(schedule), weighting=weighting)
        results.append(objective(Denoiser(_Shift(), {"x": path}), batch, _generator()).per_sample)
    torch.testing.assert_close(*results, rtol=2e-3, atol=1e-4)


def test_labels_are_dropped_as_often_as_asked():
    net = _Shift()
    objective = Denoising(label_dropout={"label": LabelDropout(-1, 0.25)})
    batch = _batch(4000)
    objective(Denoiser(net, {"x": GaussianPath()}), batch, _generator())
    label = net.calls[0]["label"]
    dropped = label == -1
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(label[~dropped], batch.cond["label"][~dropped])
    assert torch.equal(batch.cond["label"], torch.arange(4000))


def test_self_conditioning_feeds_the_first_guess_back():
    net = _Shift(0.1)
    denoiser = Denoiser(net, {"x": GaussianPath()})
    Denoising(self_conditioning=1.0)(denoiser, _batch(), _generator()).loss.backward()
    assert len(net.calls) == 2 and "self_condition" not in net.calls[0]
    fed = net.calls[1]["self_condition"]["x"]
    assert not fed.requires_grad and fed.shape == (4, 6, 2)
    counts = []
    for seed in range(200):
        net.calls.clear()
        Denoising(self_conditioning=0.5)(denoiser, _batch(), _generator(seed))
        counts.append(len(net.calls))
    assert 70 < counts.count(2) < 130


def test_optimal_coupling_shortens_the_way_and_keeps_the_noise():
    pytest.importorskip("scipy")
    batch = _batch(64, 1)
    path = ProductPath({"x": GaussianPath()})
    paired = MinibatchOT()(path, batch, Streams.first(0, 64))["x"]
    independent = path.prior(batch.x, Streams.first(0, 64))["x"]
    order = [x.flatten(1)[:, 0].argsort() for x in (paired, independent)]
    assert torch.equal(paired[order[0]], independent[order[1]])
    cost = [float(((x - batch.x["x"]) ** 2).sum()) for x in (paired, independent)]
    assert cost[0] < 0.3 * cost[1]
    loss = Denoising(coupling=MinibatchOT())(Denoiser(_Shift(), path), batch, _generator()).loss
    assert loss.isfinite()
    ragged = _batch(mask=torch.arange(6) < torch.tensor([[6], [4], [3], [5]]))
    with pytest.raises(InputError, match="differ in size"):
        MinibatchOT()(path, ragged, _generator())


def test_the_global_generator_is_left_alone_and_seeds_repeat():
    denoiser = Denoiser(_Shift(), {"x": GaussianPath()})
    objective = Denoising(self_conditioning=0.5, label_dropout={"label": LabelDropout(-1)})
    before = torch.random.get_rng_state()
    first = objective(denoiser, _batch(), _generator(5)).loss
    assert torch.equal(first, objective(denoiser, _batch(), _generator(5)).loss)
    assert not torch.equal(first, objective(denoiser, _batch(), _generator(6)).loss)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_mistakes_are_named():
    denoiser = Denoiser(_Shift(), {"x": GaussianPath()})
    with pytest.raises(InputError, match="unknown leaf 'y'; leaves: x"):
        Denoising(weights={"y": 1.0})(denoiser, _batch(), _generator())
    with pytest.raises(InputError, match="no condition 'fold'"):
        Denoising(label_dropout={"fold": LabelDropout(0)})(denoiser, _batch(), _generator())
    with pytest.raises(InputError, match="weighting: 'snr' is unknown"):
        Denoising(weighting="snr")
    with pytest.raises(InputError, match="self_conditioning: 2"):
        Denoising(self_conditioning=2.0)


def test_a_leaf_may_share_the_time_of_another():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x_t, t, batch):
            seen.append(t)
            return x_t

    denoiser = Denoiser(Spy(), {name: GaussianPath() for name in "abc"})
    batch = Batch({name: torch.ones(8, 2) for name in "abc"})
    law = BetaMixture()
    Denoising(times={"a": law, "b": "a", "c": law})(denoiser, batch, _generator())
    assert torch.equal(seen[0]["a"], seen[0]["b"]) and not torch.equal(seen[0]["a"], seen[0]["c"])
    alone = Denoising(times={"a": law, "b": "a"})
    again = torch.quantile(law.quantile(torch.linspace(0, 1, 999)), 0.5)
    drawn = torch.cat([
        (alone(denoiser, batch, torch.Generator().manual_seed(k)), seen[-1]["b"])[1]
        for k in range(40)
    ])  # fmt: skip
    assert abs(float(drawn.median() - again)) < 0.05
    for times in ({"b": "a", "a": "c"}, {"b": "nowhere"}):
        with pytest.raises(InputError, match="has no law of its own|unknown leaf"):
            Denoising(times=times)(denoiser, batch, _generator())
