"""The forecaster: members, steps, the bootstrap's own formulas, and failure by name."""

import numpy as np
import pytest
import torch

from sciddiff.checkpoint import load
from sciddiff.errors import InputError
from sciddiff.paths import GaussianPath
from sciddiff.streams import normal
from weather.data.store import Store
from weather.data.times import day_of_year
from weather.forecast.forecaster import Forecaster, forecast_streams
from weather.forecast.solving import SamplingSettings
from weather.sphere.grids import Grid


@pytest.fixture(scope="module")
def initial(small_store):
    store = Store(small_store)
    return torch.from_numpy(store.read(40, 42)), store.times[41]


def _roll(forecaster, initial, members, leads=3, seed=5):
    return torch.stack(list(forecaster.rollout(*initial, leads, members, seed)))


@pytest.mark.parametrize("head", ["crps", "diffusion"])
def test_a_member_does_not_depend_on_its_company(small_models, initial, head):
    forecaster = Forecaster(small_models[head], sampling=SamplingSettings(steps=3))
    together = _roll(forecaster, initial, range(5))
    assert together.shape == (3, 5, 5, 16, 32)
    std = torch.tensor(forecaster.spec.std).view(-1, 1, 1)
    for members in ([3], [3, 1], [4, 3]):
        alone = _roll(forecaster, initial, members)
        where = [together[:, m] for m in members]
        assert ((alone - torch.stack(where, 1)).abs() / std).max() < 1e-4
    assert ((together[:, 0] - together[:, 1]).abs() / std).max() > 0.1


def test_seed_start_and_lead_decide_the_noise(small_models, initial):
    forecaster = Forecaster(small_models["crps"])
    first = _roll(forecaster, initial, [0])
    assert torch.equal(first, _roll(forecaster, initial, [0]))
    assert not torch.equal(first, _roll(forecaster, initial, [0], seed=6))
    frames, start = initial
    later = forecaster.spec.after(start, 1)
    assert not torch.equal(first, _roll(forecaster, (frames, later), [0]))
    draws = [forecast_streams(1, start, [2], lead).normal(torch.empty(1, 8)) for lead in (1, 2)]
    assert not torch.equal(*draws)


def test_one_step_head_is_the_network_at_time_zero(small_models, initial):
    """x(n+1) = x(n) + tendency_std * net(noise, t = 0), standardised history, raw output."""
    forecaster = Forecaster(small_models["crps"])
    spec, (frames, start) = forecaster.spec, initial
    valid = spec.after(start, 1)
    made = forecaster.step(frames[None], valid, forecast_streams(3, start, [7], 1))
    mean, std, change = (
        torch.tensor(v, dtype=torch.float64).float().view(-1, 1, 1)
        for v in (spec.mean, spec.std, spec.tendency_std)
    )
    noise = forecast_streams(3, start, [7], 1).normal(torch.empty(1, 5, 16, 32))
    history = ((frames - mean) / std)[None]
    forcing = torch.from_numpy(forecaster._forcings.of_days(day_of_year(np.asarray([valid]))))
    cond = {"history": history, "forcing": forcing}
    batch = type("Known", (), {"cond": cond})()
    with torch.no_grad():
        raw = forecaster.denoiser.net({"fields": noise}, torch.zeros(1), batch)["fields"]
    assert torch.allclose(made, frames[None, -1] + change * raw, rtol=1e-6, atol=1e-4 * 0.01)


def test_diffusion_denoiser_is_preconditioned_as_trained(small_models, initial):
    """x1 = (a d^2 x + s d q F(x / q)) / q^2 with d = 1, q^2 = a^2 + s^2, a = t, s = 1 - t."""
    forecaster = Forecaster(small_models["diffusion"])
    frames, start = initial
    batch = forecaster.batch(frames[None], forecaster.spec.after(start, 1))
    x = forecast_streams(0, start, [0]).normal(torch.empty(1, 5, 16, 32))
    t = torch.tensor([0.3])
    a, s = 0.3, 0.7
    q = (a * a + s * s) ** 0.5
    with torch.no_grad():
        data = forecaster.denoiser({"fields": x}, t, batch)["fields"].data
        raw = forecaster.denoiser.net({"fields": x / q}, t, batch)["fields"]
    assert torch.allclose(data, a / q**2 * x + s / q * raw, atol=1e-5)


def test_what_is_not_finite_is_named(small_models, initial):
    forecaster = Forecaster(small_models["crps"])
    frames, start = initial
    broken = frames.clone()
    broken[1, 0, 3, 3] = float("nan")
    with pytest.raises(InputError, match=r"z500 \(z at 500 hPa\): .*initial state"):
        next(iter(forecaster.rollout(broken, start, 2, [4])))
    weights = forecaster.denoiser.net.leave.bias
    kept = weights.detach().clone()
    try:
        weights.data[4] = float("inf")
        with pytest.raises(InputError, match=r"tas \(tas\): not finite in lead 24 h, member 9"):
            next(iter(forecaster.rollout(frames, start, 2, [9])))
    finally:
        weights.data.copy_(kept)


def test_wrong_shape_head_and_settings_are_refused(small_models, initial):
    forecaster = Forecaster(small_models["crps"])
    frames, start = initial
    with pytest.raises(InputError, match="initial state: shape"):
        next(iter(forecaster.rollout(frames[:1], start, 1, [0])))
    with pytest.raises(InputError, match="trained for crps"):
        Forecaster(small_models["crps"], head="diffusion")
    with pytest.raises(InputError, match="neither shipped"):
        Forecaster("nowhere")
    with pytest.raises(InputError, match="sampler"):
        SamplingSettings(sampler="magic")


@pytest.mark.parametrize(
    ("sampler", "steps", "calls"),
    [("dpm", 6, 6), ("midpoint", 4, 4), ("heun", 6, 5), ("sde", 4, 4)],
)
def test_steps_are_network_calls(small_models, initial, sampler, steps, calls):
    settings = SamplingSettings(steps=steps, sampler=sampler)
    forecaster = Forecaster(small_models["diffusion"], sampling=settings)
    seen = []
    hook = forecaster.denoiser.net.register_forward_hook(lambda *_: seen.append(1))
    _roll(forecaster, initial, [0], leads=1)
    hook.remove()
    assert len(seen) == calls == forecaster.calls


def test_few_calls_are_spent_where_the_noise_is_neither_all_nor_gone():
    path = GaussianPath()
    levels = lambda t: ((1 - t) / t).tolist()  # noqa: E731
    for steps in (5, 6, 20):
        times = SamplingSettings(steps).times(path)
        inner = levels(times[1:-1])
        assert len(times) == steps + 1 and float(times[0]) == 0.0 and float(times[-1]) == 1.0
        assert inner[0] == pytest.approx(3.0) and inner[-1] == pytest.approx(0.05)
    inner = levels(SamplingSettings.of_analyses(20).times(path)[1:-1])
    assert inner[0] == pytest.approx(80.0) and inner[-1] == pytest.approx(0.03)


def test_memory_of_a_member_is_of_the_right_order(small_models):
    forecaster = Forecaster(small_models["crps"])
    state = 4 * 5 * 16 * 32
    assert 10 * state < forecaster.member_bytes() < 200 * state


def test_rows_may_be_of_different_times(small_models, initial):
    forecaster = Forecaster(small_models["crps"])
    frames, start = initial
    times = [forecaster.spec.after(start, n) for n in (1, 90)]
    streams = forecast_streams(0, start, [0, 1], 1)
    both = forecaster.step(frames.expand(2, -1, -1, -1, -1), times, streams)
    for row, time in enumerate(times):
        one = forecaster.step(frames[None], time, forecast_streams(0, start, [row], 1))
        assert torch.allclose(one[0], both[row], rtol=1e-4, atol=1e-3)


def test_a_guide_steers_the_diffusion_head_only(small_models, initial):
    frames, start = initial
    valid_seen = []

    def guide(denoiser):
        valid_seen.append(denoiser)
        return denoiser

    for head in ("diffusion", "crps"):
        forecaster = Forecaster(small_models[head], sampling=SamplingSettings(steps=2))
        valid, streams = forecaster.spec.after(start, 1), forecast_streams(0, start, [0], 1)
        if head == "diffusion":
            plain = forecaster.step(frames[None], valid, streams)
            assert torch.equal(plain, forecaster.step(frames[None], valid, streams, guide))
            assert len(valid_seen) == 1
        else:
            with pytest.raises(InputError, match="cannot be guided"):
                forecaster.step(frames[None], valid, streams, guide)


@pytest.mark.parametrize("head", ["crps", "diffusion"])
def test_spread_scales_the_noise_that_forecasts_start_from(small_models, initial, head):
    def noise(spread):
        forecaster = Forecaster(small_models[head])
        forecaster.spread = spread
        heard = []
        forecaster.denoiser.net.register_forward_pre_hook(
            lambda module, args: heard.append(args[0]["fields"])
        )
        _roll(forecaster, initial, [0, 1], leads=1)
        return heard[0]

    torch.testing.assert_close(noise(1.5), 1.5 * noise(1.0))


def test_conserved_channels_keep_their_area_mean(small_models, initial):
    model = load(small_models["crps"])
    free = Forecaster(model)
    names = [channel.name for channel in free.spec.channels]
    weights = torch.from_numpy(np.array(Grid.parse(free.spec.grid).weights))[:, None]

    def means(forecaster):
        states = _roll(forecaster, initial, [0, 3])
        states = torch.cat([initial[0][-1:].expand(1, 2, -1, -1, -1), states])
        return (weights * states.double()).mean((-1, -2))

    model.domain.conserve = [names[0]]
    held = means(Forecaster(model))
    free = means(free)
    scale = free[0, 0].abs()
    assert ((held - held[0]).abs()[..., 0] < 1e-5 * scale[0]).all()
    assert ((free - free[0]).abs()[1:, :, 0] > 1e-4 * scale[0]).all()
    assert ((held - held[0]).abs()[1:, :, 1:] > 0).all()
    model.domain.conserve = ["nothing"]
    with pytest.raises(InputError, match="domain.conserve nothing: not a channel"):
        Forecaster(model)


def test_relaxed_area_means_fade_towards_the_season(small_models, initial):
    model = load(small_models["crps"])
    free = Forecaster(model)
    area = torch.from_numpy(np.array(Grid.parse(free.spec.grid).weights))[:, None]
    history = free.initial(initial[0], [0, 1])
    valid = free.spec.after(initial[1], 1)
    streams = forecast_streams(3, initial[1], [0, 1], 1)
    model.domain.relax = True
    with pytest.raises(InputError, match="domain.relax: the model knows no seasons"):
        Forecaster(model)
    rows = [
        [m, 0.1 * s, 0.0, 0.0, 0.0, 0.2 * c]
        for c, (m, s) in enumerate(zip(free.spec.mean, free.spec.std, strict=True))
    ]
    model.meta["data"]["seasons"] = rows
    held = Forecaster(model)
    day = (valid.dayofyr - 1) % 365 + 1
    season = torch.tensor([row[0] + row[1] * np.cos(2 * np.pi * day / 365) for row in rows])
    plain, led = (f.step(history, valid, streams).double() for f in (free, held))
    before, after = ((area * state).mean((-1, -2)) - season for state in (plain, led))
    persistence = torch.tensor([row[5] for row in rows]).double()
    std = torch.tensor(free.spec.std).double()
    assert ((after - persistence * before).abs() / std).max() < 1e-4
    shift = (led - plain) - (after - before)[..., None, None]
    assert (shift.abs().amax((-1, -2)) / std).max() < 1e-4
    both = held.step(history, [valid, valid], streams).double()
    torch.testing.assert_close(both, led, rtol=1e-5, atol=1e-5)


def test_what_a_step_draws_is_what_its_noise_leads_to(small_models, initial):
    forecaster = Forecaster(load(small_models["crps"]))
    forecaster.model.domain.spread = 1.4
    forecaster.model.domain.conserve = [forecaster.spec.channels[1].name]
    forecaster = Forecaster(forecaster.model)
    history = forecaster.initial(initial[0], [0, 1])
    valid = forecaster.spec.after(initial[1], 1)
    streams = forecast_streams(3, initial[1], [0, 1], 1)
    noise = normal(history[:, -1], streams).requires_grad_()
    again = forecaster.from_noise(history, valid, noise)
    std = torch.tensor(forecaster.spec.std).view(-1, 1, 1)
    assert ((forecaster.step(history, valid, streams) - again).abs() / std).max() < 1e-4
    (slope,) = torch.autograd.grad(again[:, 0].sum(), noise)
    assert float(slope.abs().max()) > 0
