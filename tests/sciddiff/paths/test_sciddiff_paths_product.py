"""ProductPath: every leaf as if it were alone."""

import pytest
import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, ZeroCenterOfMass
from sciddiff.manifolds.torus import Torus
from sciddiff.paths import BrownianPath, GaussianPath, GeodesicPath, ProductPath
from sciddiff.schedules import VE
from sciddiff.state import Batch, Layout
from sciddiff.streams import Streams


def _setup():
    path = ProductPath({
        "x": GaussianPath(manifold=ZeroCenterOfMass(), parametrization="edm", sigma_data=0.5),
        "r": GeodesicPath(),
        "a": BrownianPath(Torus(), VE(0.03, 3.0)),
    })  # fmt: skip
    streams = Streams.first(0, 3)
    mask = torch.arange(5) < torch.tensor([[5], [3], [4]])
    x = {
        "x": streams.normal(torch.empty(3, 5, 3)),
        "r": SO3().uniform(torch.empty(3, 5, 3, 3), streams),
        "a": Torus().uniform(torch.empty(4), Streams.first(0, 4)),
    }
    layouts = {
        "x": Layout(3, mask=mask),
        "r": Layout(3, mask=mask),
        "a": Layout(3, index=torch.tensor([0, 0, 2, 1])),
    }
    return path, Batch(x, layouts=layouts)


def test_leaves_travel_as_if_alone():
    path, batch = _setup()
    t = torch.tensor([0.2, 0.5, 0.8])
    together = Streams.first(1, 3)
    samples = path.sample(batch.x, t, together, layouts=batch.layouts)
    x_t = {name: sample.x_t for name, sample in samples.items()}
    raw = {"x": x_t["x"], "r": x_t["r"], "a": x_t["a"], "extra": t}
    predictions = path.predict(raw, x_t, t, batch.layouts)
    losses = path.loss(predictions, samples, batch.layouts)
    assert set(predictions) == {"x", "r", "a"} and predictions.extras["extra"] is t
    alone = Streams.first(1, 3)
    for name in path.paths:
        one, layout = path[name], batch.layouts[name]
        sample = one.sample(batch.x[name], t, alone, layout=layout)
        assert torch.equal(sample.x_t, x_t[name])
        prediction = one.predict(raw[name], sample.x_t, t, layout)
        assert torch.equal(one.loss(prediction, sample, layout), losses[name])
    total = sum(path[n].log_prior(x_t[n], batch.layouts[n]) for n in path.paths)
    torch.testing.assert_close(path.log_prior(x_t, batch.layouts), total)


def test_denoiser_scales_what_the_network_sees_and_reads_what_it_says():
    path, batch = _setup()
    seen = {}

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch):
            seen.update(x_t)
            return {**x_t, "aux": t}

    t = torch.tensor([0.2, 0.5, 0.8])
    predictions = Denoiser(Net(), path)(batch.x, t, batch)
    assert torch.equal(seen["x"], path["x"].net_input(batch.x["x"], t, batch.layouts["x"]))
    assert not torch.equal(seen["x"], batch.x["x"]) and torch.equal(seen["r"], batch.x["r"])
    assert torch.equal(predictions["r"].data, batch.x["r"])
    assert torch.equal(predictions.extras["aux"], t)


def test_a_missing_leaf_is_named():
    path, batch = _setup()
    with pytest.raises(InputError, match="network output: no leaf 'r'; it has a, x"):
        path.predict({"x": batch.x["x"], "a": batch.x["a"]}, batch.x, torch.ones(3))
    with pytest.raises(InputError, match="no leaves"):
        ProductPath({})
