"""Power-law averages against their definition, and averages of any width from snapshots."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from sciddiff.errors import InputError
from sciddiff.training.ema import PowerEMA, exponent, mixture, reconstruct, width_of


def _walk(net: nn.Module, steps: int, seed: int = 0, scale: float = 0.1):
    """Move every parameter at random; yield the step."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        with torch.no_grad():
            for parameter in net.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(scale * noise.to(parameter.dtype))
        yield step


@pytest.mark.parametrize("width", [0.01, 0.05, 0.10, 0.15, 0.25, 0.28])
def test_exponent_is_the_inverse_of_the_width_of_the_profile(width):
    gamma = exponent(width)
    assert width_of(gamma) == pytest.approx(width, rel=1e-10)
    # Standard deviation of tau under (gamma + 1) tau^gamma on [0, 1], by quadrature.
    x, w = np.polynomial.legendre.leggauss(400)
    tau, w = (x + 1) / 2, w / 2
    p = (gamma + 1) * tau**gamma
    mean = (w * p * tau).sum()
    assert math.sqrt((w * p * (tau - mean) ** 2).sum()) == pytest.approx(width, rel=1e-6)


def test_width_of_the_plain_mean_gives_the_mean():
    net = nn.Linear(3, 2).double()
    ema = PowerEMA(net, [12**-0.5])
    seen = []
    for step in _walk(net, 50):
        ema.update(step)
        seen.append(net.weight.detach().clone())
    torch.testing.assert_close(ema.weights(12**-0.5)["weight"], torch.stack(seen).mean(0))


@pytest.mark.parametrize("width", [0.05, 0.10])
def test_average_equals_the_weighted_sum_of_all_parameters(width):
    net = nn.Linear(2, 2).double()
    ema, seen, steps = PowerEMA(net, (width, 0.2)), [], 60
    for step in _walk(net, steps):
        ema.update(step)
        seen.append(net.weight.detach().clone())
    # beta(t) = ((t-1)/t)^(gamma+1) telescopes: step tau has (tau^(g+1) - (tau-1)^(g+1)) / t^(g+1).
    power = exponent(width) + 1
    tau = torch.arange(1, steps + 1, dtype=torch.float64)
    weights = (tau / steps) ** power - ((tau - 1) / steps) ** power
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
    expected = torch.einsum("s,sij->ij", weights, torch.stack(seen))
    torch.testing.assert_close(ema.weights(width)["weight"], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("width", "step"), [(0.08, 2000), (0.15, 2000), (0.07, 1500)])
def test_width_not_tracked_is_rebuilt_from_snapshots(width, step):
    net = nn.Linear(4, 4).double()
    ema, truth, snapshots = PowerEMA(net, (0.05, 0.10)), PowerEMA(net, (width,)), []
    exact = None
    for now in _walk(net, 2000):
        ema.update(now)
        truth.update(now)
        if now % 100 == 0:
            snapshots += ema.snapshot()
        if now == step:
            exact = truth.weights(width)["weight"]
            away = (net.weight.detach() - exact).abs().max()
    built = reconstruct(snapshots, width, step)["weight"]
    assert (built - exact).abs().max() < 1e-3 * away


def test_coefficients_add_to_one_and_give_back_what_was_stored():
    steps, widths = [100, 100, 200, 200, 300, 300], [0.05, 0.10] * 3
    assert mixture(steps, widths, 300, 0.10) == pytest.approx([0, 0, 0, 0, 0, 1], abs=1e-6)
    assert mixture(steps, widths, 300, 0.08).sum() == pytest.approx(1.0, abs=1e-9)


def test_parameter_that_never_moved_is_rebuilt_as_it_is():
    net = nn.Linear(2, 2).double()
    ema, snapshots = PowerEMA(net, (0.05, 0.1)), []
    for step in range(1, 31):
        ema.update(step)
        snapshots += ema.snapshot() if step % 10 == 0 else []
    torch.testing.assert_close(reconstruct(snapshots, 0.2)["weight"], net.weight.detach())


def test_long_runs_neither_overflow_nor_vanish():
    weights = mixture([10**6, 2 * 10**6], [0.05, 0.05], 2 * 10**6, 0.05)
    assert weights == pytest.approx([0, 1], abs=1e-6)


def test_state_goes_through_a_weights_only_file_and_continues_to_the_bit():
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    unbroken = PowerEMA(one, (0.05, 0.1))
    for step in _walk(one, 7):
        unbroken.update(step)
    first = PowerEMA(two, (0.05, 0.1))
    two.load_state_dict(nn.Linear(3, 3).state_dict())
    with torch.no_grad():
        for a, b in zip(two.parameters(), one.parameters(), strict=True):
            a.copy_(b)
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    file.seek(0)
    first.load_state_dict(torch.load(file, weights_only=True))
    for net, ema in ((one, unbroken), (two, first)):
        for step in _walk(net, 5, seed=1):
            ema.update(7 + step)
    for width in (0.05, 0.1):
        for name, value in unbroken.weights(width).items():
            assert torch.equal(value, first.weights(width)[name])


def test_saved_state_does_not_follow_the_run():
    net = nn.Linear(2, 2)
    ema = PowerEMA(net, (0.1,))
    ema.update(1)
    saved = ema.state_dict()
    before = saved["averages"][0]["weight"].clone()
    for step in _walk(net, 3):
        ema.update(1 + step)
    assert torch.equal(saved["averages"][0]["weight"], before)


def test_compiled_networks_are_followed_under_their_plain_names():
    net = nn.Sequential(nn.Linear(2, 2), torch.compile(nn.Linear(2, 2)))
    outer = torch.compile(net)
    ema = PowerEMA(outer, (0.1,))
    for step in _walk(net, 3):
        ema.update(step)
    weights = ema.weights(0.1)
    assert sorted(weights) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    plain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    plain.load_state_dict(weights)
    # Averaged, not skipped: neither the live weights nor those of the start.
    assert not torch.equal(plain[0].weight, net[0].weight)


def test_buffers_are_copied_and_tied_parameters_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.norm = nn.BatchNorm1d(3)

    net = Tied()
    ema = PowerEMA(net, (0.1,))
    for step in _walk(net, 4):
        net.norm.running_mean.fill_(float(step))
        ema.update(step)
    weights = ema.weights(0.1)
    assert torch.equal(weights["norm.running_mean"], torch.full((3,), 4.0))
    assert torch.equal(weights["a.weight"], weights["b.weight"])
    assert not torch.equal(weights["b.weight"], net.b.weight)
    net.load_state_dict(weights)


def test_bfloat16_parameters_are_averaged_in_float32():
    net = nn.Linear(1, 1).to(torch.bfloat16)
    ema = PowerEMA(net, (0.1,))
    with torch.no_grad():
        net.weight.fill_(1.0)
    for step in range(1, 2001):
        ema.update(step)
    with torch.no_grad():
        net.weight.fill_(1.0078125)  # one unit in the last place above 1
    ema.update(2001)
    average = ema.state_dict()["averages"][0]["weight"]
    assert average.dtype == torch.float32
    assert 1.0 < float(average) < 1.0005


def test_misuse_is_told():
    net = nn.Linear(1, 1)
    ema = PowerEMA(net, (0.1,))
    ema.update(3)
    with pytest.raises(ValueError, match="step 3 comes after 3"):
        ema.update(3)
    with pytest.raises(InputError, match="not tracked; choose one of 0.1"):
        ema.weights(0.05)
    with pytest.raises(InputError, match="is not in"):
        PowerEMA(net, (0.4,))
    with pytest.raises(InputError, match="resume with the widths"):
        PowerEMA(net, (0.05,)).load_state_dict(ema.state_dict())
    with pytest.raises(InputError, match="parameter .* both"):
        PowerEMA(nn.Bilinear(1, 1, 1), (0.1,)).load_state_dict(
            PowerEMA(nn.PReLU(), (0.1,)).state_dict()
        )
    with pytest.raises(InputError, match="snapshot_every"):
        reconstruct([], 0.1)
