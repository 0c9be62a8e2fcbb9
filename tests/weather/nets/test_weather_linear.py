"""The linear forecast inside a network: exact on a linear world, honest about short archives."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.state import Batch
from weather.nets.linear import LinearStep
from weather.nets.unet import AreaUNet

SHAPE = (6, 8)
AREA = torch.cos(torch.linspace(0.5, 1.2, 6))
AREA = AREA / AREA.mean()
DAYS = 1500


def _world(rank=4, lags=2, fading=0.0, seed=0):
    """Two-lag dynamics of a few patterns over a season, and small noise that fades at once."""
    gen = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(48, rank, generator=gen, dtype=torch.float64))[0]
    angle = 2 * torch.pi * torch.arange(DAYS, dtype=torch.float64) / 365
    season = torch.stack([angle.cos(), (2 * angle).sin()], 1) @ torch.randn(
        2, 48, generator=gen, dtype=torch.float64
    )
    states = [torch.randn(rank, generator=gen, dtype=torch.float64) for _ in range(lags)]
    for _ in range(DAYS - lags):
        push = torch.randn(rank, generator=gen, dtype=torch.float64)
        states.append(1.2 * states[-1] - 0.5 * states[-2] + push)
    amplitudes = torch.stack(states)
    fields = 3 * amplitudes @ basis.mT + season
    rest = torch.zeros(48, dtype=torch.float64)
    for n in range(DAYS):
        rest = (1 - fading) * rest + 0.02 * torch.randn(48, generator=gen, dtype=torch.float64)
        fields[n] += rest
    calendar = torch.zeros(DAYS, 8, *SHAPE, dtype=torch.float64)
    calendar[:, 6], calendar[:, 7] = (f(angle)[:, None, None] for f in (torch.cos, torch.sin))
    return fields.view(DAYS, 1, *SHAPE).float(), calendar.float(), amplitudes, basis


def _batch(fields, calendar, at):
    history = torch.stack([fields[at - 1], fields[at]], 1)
    change = fields[at + 1] - fields[at]
    cond = {"history": history, "forcing": calendar[at + 1]}
    return Batch({"fields": change}, cond, size=len(at))


def test_the_dynamics_of_a_linear_world_are_found():
    """What is left unexplained on days that were not seen is the push and the small noise."""
    fields, calendar, amplitudes, basis = _world()
    linear = LinearStep(1, 2, SHAPE, 4)
    linear.fit([_batch(fields, calendar, torch.arange(1, 1200))], AREA)
    at = torch.arange(1210, DAYS - 1)
    batch = _batch(fields, calendar, at)
    error = (linear(batch) - batch.x["fields"]).flatten(1).double()
    push = amplitudes[at + 1] - 1.2 * amplitudes[at] + 0.5 * amplitudes[at - 1]
    assert (error + 3 * push @ basis.mT).square().mean() < 0.01 * push.square().mean()


def test_what_patterns_leave_out_fades_as_fast_as_in_the_data():
    fields, calendar, *_ = _world(fading=0.3)
    linear = LinearStep(1, 2, SHAPE, 4)
    linear.fit([_batch(fields, calendar, torch.arange(1, DAYS - 1))], AREA)
    assert abs(float(linear.fading) - 0.3) < 0.05


def test_an_untrained_network_forecasts_as_the_linear_model_does():
    fields, calendar, *_ = _world()
    net = AreaUNet(
        1, widths=(8, 16), blocks=(1, 1), embedding=16, linear=4, grid="regional-6x8:30:55:0:35"
    )
    net.linear.fit([_batch(fields, calendar, torch.arange(1, DAYS - 1))], AREA)
    batch = _batch(fields, calendar, torch.arange(3, 6))
    out = net({"fields": torch.randn(3, 1, *SHAPE)}, torch.zeros(3), batch)["fields"]
    assert net.linear.dynamics.abs().max() > 0.1
    torch.testing.assert_close(out, net.linear(batch))
    # The correction reads the linear forecast.
    torch.nn.init.normal_(net.leave.weight, std=0.1)
    before = net({"fields": out}, torch.zeros(3), batch)["fields"] - net.linear(batch)
    net.linear.dynamics += 0.1
    after = net({"fields": out}, torch.zeros(3), batch)["fields"] - net.linear(batch)
    assert (after - before).abs().max() > 1e-3


def test_what_cannot_be_fitted():
    fields, calendar, *_ = _world()
    with pytest.raises(InputError, match="net.linear 4: 20 training windows for 15 predictors"):
        LinearStep(1, 2, SHAPE, 4).fit([_batch(fields, calendar, torch.arange(1, 21))], AREA)
    with pytest.raises(InputError, match=r"reads .* = \[3, 1, 6, 8\] and is given \[2, 1, 6, 8\]"):
        LinearStep(1, 3, SHAPE, 4)(_batch(fields, calendar, torch.arange(1, 3)))
    with pytest.raises(InputError, match="net.linear 49: the state has 48 numbers"):
        LinearStep(1, 2, SHAPE, 49)
    with pytest.raises(InputError, match="net.grid: not given"):
        AreaUNet(1, linear=4)
