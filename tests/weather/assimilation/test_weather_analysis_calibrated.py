"""Analyses of a calibrated step: Kalman's on a linear-Gaussian world, over two cycles."""

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError
from sciddiff.streams import Streams
from weather.assimilation.analysis import (
    AssimilationSettings,
    analyses,
    background,
    departures,
)
from weather.assimilation.observations import Observations
from weather.calibration.members import Calibration, Coefficients
from weather.commands.assimilate import command
from weather.data.store import Store
from weather.forecast.forecaster import Forecaster, forecast_streams
from weather.forecast.solving import SamplingSettings

DAY, TAU, COUNT = 86400, 1.6, 120


def calibration_of(spec, alpha, beta=1.0, tau=TAU):
    rows = {name: Coefficients((DAY,), (a,), (beta,), (tau,))
            for name, a in zip(spec.names, alpha, strict=True)}  # fmt: skip
    return Calibration(rows)


def test_two_cycles_have_the_law_of_the_calibrated_step(low_rank, small_models, small_store):
    """The model's step is N(0, Q) about the state; calibrated it is N(alpha, tau^2 Q).

    Of each cycle the members' gain is that of tau^2 Q, and what they differed by before is
    brought along: that is the exact law of members that go on from their own analyses."""
    forecaster = Forecaster(small_models["diffusion"], sampling=SamplingSettings.of_analyses(24))
    store = Store(small_store)
    frames, times = torch.from_numpy(store.read(50, 52)), store.times[51:53]
    spec = forecaster.spec
    forecaster.denoiser = model = low_rank((5, 16, 32))
    channel = np.array([0, 0, 4, 1, 2])
    lat, lon = np.array([60.4, -33.0, 10.0, 45.0, 88.5]), np.array([5.3, 151.0, 250.0, 0.0, 120.0])
    scale = np.array(spec.tendency_std)
    alpha = 0.4 * scale * np.array([1.0, -1.0, 0.0, 0.5, 2.0])
    empty = Observations(channel, lat, lon, np.zeros(5), np.ones(5), (None,) * 5)
    patterns = model.patterns * torch.from_numpy(scale)[:, None, None]
    h = -departures(patterns, empty, spec).numpy().T
    # The wind of a pole is seen with another sign from the other side: alpha as a field.
    shift = torch.from_numpy(alpha)[:, None, None].expand(5, 16, 32)
    seen_shift = -departures(shift, empty, spec).numpy()
    origin = frames[1].double()
    error = 0.08 * scale[channel]
    settings = AssimilationSettings(batch=60, calibration=calibration_of(spec, alpha))
    q = TAU**2 * np.diag(model.variances.numpy())
    gain = q @ h.T @ np.linalg.inv(h @ q @ h.T + np.diag(error**2))
    keep = np.eye(len(q)) - gain @ h
    mean, covariance = np.zeros(len(q)), np.zeros_like(q)
    states = frames.expand(COUNT, *frames.shape)
    for cycle, start in enumerate(times):
        now = -departures(origin, empty, spec).numpy() + (cycle + 1) * seen_shift
        value = now + (cycle + 1) * np.array([0.3, -0.2, 0.4, 0.1, -0.2]) * scale[channel]
        given = Observations(channel, lat, lon, value, error, (None,) * 5)
        drawn = analyses(forecaster, states, start, range(COUNT), given, settings)
        made = torch.cat([*drawn])
        mean = keep @ mean + gain @ (value - now)
        covariance = keep @ covariance @ keep.T + keep @ q
        change = made.double() - origin - (cycle + 1) * shift
        change = change / torch.from_numpy(scale)[:, None, None]
        found = torch.einsum("bchw,kchw->bk", change, model.patterns).numpy()
        deviation = np.sqrt(covariance.diagonal())
        assert (np.abs(found.mean(0) - mean) < 4.5 * deviation / math.sqrt(COUNT)).all(), cycle
        size = deviation[:, None] * deviation[None] * math.sqrt(2 / COUNT)
        assert (np.abs(np.cov(found.T) - covariance) < 4.5 * size).all(), cycle
        states = torch.cat([states[:, 1:], made[:, None]], 1)


def test_the_background_is_widened_about_every_members_own_mean(
    low_rank, small_models, small_store
):
    """Members that differ before the step: beta of their difference, tau of the step's noise."""
    forecaster = Forecaster(small_models["diffusion"], sampling=SamplingSettings.of_analyses(6))
    store = Store(small_store)
    forecaster.denoiser = low_rank((5, 16, 32))
    spec, frames = forecaster.spec, torch.from_numpy(store.read(50, 52))
    apart = torch.tensor(spec.tendency_std)[:, None, None] * torch.arange(3.0).view(3, 1, 1, 1, 1)
    frames, start = frames + apart, store.times[51]
    known = calibration_of(spec, [1.0] * 5, beta=0.9)
    plain, moved = (
        torch.cat([*background(forecaster, frames, start, range(3), AssimilationSettings(
            batch=2, calibration=one))]).double()
        for one in (None, known)
    )  # fmt: skip
    own = frames[:, -1].double()  # the mean of the step is no change
    wanted = 1.0 + 0.9 * own + TAU * (plain - own)
    scale = torch.tensor(spec.tendency_std)[:, None, None]
    assert float(((moved - wanted) / scale).abs().max()) < 1e-3


def test_the_mean_of_a_step_is_that_of_its_draws(low_rank, small_models, small_store):
    forecaster = Forecaster(small_models["diffusion"], sampling=SamplingSettings.of_analyses(4))
    store = Store(small_store)
    history = torch.from_numpy(store.read(50, 52))[None]
    valid, streams = store.times[52], forecast_streams(0, store.times[51], [0], 1, "mean")
    found = forecaster.mean(history, valid, streams)
    draws = torch.cat([
        forecaster.step(history.expand(32, -1, -1, -1, -1), valid, Streams(1, torch.arange(32)))
    ])  # fmt: skip
    scale = torch.tensor(forecaster.spec.tendency_std)[:, None, None]
    error = ((found[0] - draws.mean(0)) / scale).square().mean().sqrt()
    spread = (draws.std(0) / scale).square().mean().sqrt()
    assert float(error) < 3 * float(spread) / math.sqrt(32)
    with pytest.raises(InputError, match="use a diffusion model"):
        Forecaster(small_models["crps"]).mean(history, valid, streams)


def test_the_command_calibrates_and_says_so(small_models, small_store, tmp_path, capsys):
    store = Store(small_store)
    day = store.times[52].strftime("%Y-%m-%d")
    observed = tmp_path / "obs.csv"
    observed.write_text(f"variable,lat,lon,value,error,time\ntas,60,5,281.0,0.3,{day}\n")
    rows = {"tas": Coefficients((DAY,), (0.0,), (1.0,), (2.0,))}
    made = {"head": "diffusion", "steps": 4, "sampler": "dpm", "perturb": "none"}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(Calibration(rows, made).to_plain()))
    words = [str(store.path), "--start", store.times[51].strftime("%Y-%m-%d"), "-n", "3",
             "--observations", str(observed), "--model", small_models["diffusion"],
             "--steps", "4", "--iterations", "1", "--json"]  # fmt: skip
    spreads = []
    for name, more in (("raw.zarr", ["none"]), ("calibrated.zarr", [str(path)])):
        out = [*words, "-o", str(tmp_path / name), "--calibration", *more]
        assert command.run(parse(command, out)) == 0
        seen = json.loads(capsys.readouterr().out)
        spreads.append(seen["fit"][0]["background_spread"])
        with xr.open_zarr(tmp_path / name) as data:
            told = data.attrs["calibration"]
    assert spreads[1] == pytest.approx(2.0 * spreads[0], rel=0.05)
    assert told == "member by member, fitted to past forecasts"
    assert seen["how"] == [f"background calibrated {told}"]
    assert command.run(parse(command, out)) == 0
    assert json.loads(capsys.readouterr().out) == seen
    other = [*words, "--steps", "5", "-o", str(tmp_path / "x.zarr"), "--calibration", str(path)]
    with pytest.raises(InputError, match="was fitted with steps 4"):
        command.run(parse(command, other))
