"""Analyses: Kalman's on a linear-Gaussian world, the forecast itself without information."""

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError
from weather.assimilation.analysis import (
    AssimilationSettings,
    analyses,
    background,
    departures,
)
from weather.assimilation.observations import Observations, read_observations
from weather.commands.assimilate import command
from weather.data.store import Store
from weather.forecast.forecaster import Forecaster
from weather.forecast.solving import SamplingSettings
from weather.report.reading import open_ensemble


def world(small_models, small_store):
    """A forecaster, its two frames, and their time."""
    forecaster = Forecaster(small_models["diffusion"], sampling=SamplingSettings.of_analyses(24))
    store = Store(small_store)
    return forecaster, torch.from_numpy(store.read(50, 52)), store.times[51]


def observations(spec):
    channel = np.array([0, 0, 4, 1, 2])
    lat, lon = np.array([60.4, -33.0, 10.0, 45.0, 88.5]), np.array([5.3, 151.0, 250.0, 0.0, 120.0])
    return channel, lat, lon


def test_analyses_are_those_of_kalman_on_a_linear_gaussian_world(
    low_rank, small_models, small_store
):
    forecaster, frames, start = world(small_models, small_store)
    spec, model = forecaster.spec, None
    forecaster.denoiser = model = low_rank((5, 16, 32))
    channel, lat, lon = observations(spec)
    scale = np.array(spec.tendency_std)
    empty = Observations(channel, lat, lon, np.zeros(5), np.ones(5), (None,) * 5)
    # Each pattern as a physical field, seen by the observations: rows of H in pattern space.
    patterns = model.patterns * torch.from_numpy(scale)[:, None, None]
    h = -departures(patterns, empty, spec).numpy().T
    now = -departures(frames[1], empty, spec).numpy()
    error = 0.08 * scale[channel]
    value = now + np.array([0.3, -0.2, 0.4, 0.1, -0.2]) * scale[channel]
    given = Observations(channel, lat, lon, value, error, (None,) * 5)
    prior = np.diag(model.variances.numpy())
    gain = prior @ h.T @ np.linalg.inv(h @ prior @ h.T + np.diag(error**2))
    mean, covariance = gain @ (value - now), prior - gain @ h @ prior

    count = 200
    settings = AssimilationSettings(iterations=5, batch=100)
    made = torch.cat(
        [*analyses(forecaster, frames, start, range(count), given, settings)]
    ).double()
    change = (made - frames[1]) / torch.from_numpy(scale)[:, None, None]
    found = torch.einsum("bchw,kchw->bk", change, model.patterns).numpy()
    deviation = np.sqrt(covariance.diagonal())
    assert (np.abs(found.mean(0) - mean) < 4.5 * deviation / math.sqrt(count)).all()
    size = deviation[:, None] * deviation[None] * math.sqrt(2 / count)
    assert (np.abs(np.cov(found.T) - covariance) < 4.5 * size).all()
    # The observations did say something.
    assert np.trace(covariance) < 0.7 * np.trace(prior)


def test_without_information_the_analysis_is_the_forecast(small_models, small_store):
    forecaster, frames, start = world(small_models, small_store)
    channel, lat, lon = observations(forecaster.spec)
    vague = 1e7 * np.array(forecaster.spec.tendency_std)[channel]
    given = Observations(channel, lat, lon, np.zeros(5), vague, (None,) * 5)
    settings = AssimilationSettings(iterations=2, seed=3, batch=2)
    one = torch.cat([*analyses(forecaster, frames, start, range(3), given, settings)])
    (two,) = forecaster.rollout(frames, start, 1, range(3), seed=3)
    scale = torch.tensor(forecaster.spec.tendency_std)[:, None, None]
    assert float(((one - two) / scale).abs().max()) < 1e-3
    three = torch.cat([*background(forecaster, frames, start, [2], settings)])
    assert float(((three[0] - two[2]) / scale).abs().max()) < 1e-4


@pytest.mark.parametrize("iterations", [0, 5])
def test_a_network_is_drawn_to_what_was_observed(small_models, small_store, iterations):
    forecaster, frames, start = world(small_models, small_store)
    spec = forecaster.spec
    channel, lat, lon = observations(spec)
    empty = Observations(channel, lat, lon, np.zeros(5), np.ones(5), (None,) * 5)
    scale = np.array(spec.tendency_std)[channel]
    value = -departures(frames[1], empty, spec).numpy() + scale
    given = Observations(channel, lat, lon, value, 0.05 * scale, (None,) * 5)
    settings = AssimilationSettings(iterations=iterations)
    before = torch.cat([*background(forecaster, frames, start, range(4), settings)])
    after = torch.cat([*analyses(forecaster, frames, start, range(4), given, settings)])
    old, new = (departures(x, given, spec) / torch.from_numpy(scale) for x in (before, after))
    assert float(new.square().mean()) < 0.05 * float(old.square().mean())


def test_the_one_step_head_is_refused(small_models, small_store):
    forecaster = Forecaster(small_models["crps"])
    with pytest.raises(InputError, match="use a diffusion model"):
        next(analyses(forecaster, torch.zeros(2, 5, 16, 32), None, [0], None, None))


def test_the_command_says_which_model_it_needs(small_models, small_store, tmp_path, capsys):
    """Its own option, and not ``--head``, which it does not have."""
    words = ["assimilate", str(small_store), "--model", str(small_models["crps"])]
    words += ["--observations", "obs.csv", "-o", str(tmp_path / "an.zarr")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "--model " in told and "diffusion head" in told and "--head" not in told


HEADER = "variable, latitude, longitude, value, error, units, time\n"


def test_observations_are_read_with_units_aliases_and_times(tmp_path, small_spec):
    path = tmp_path / "obs.csv"
    path.write_text(
        HEADER + "t2m, 60.4, 5.3, 7.0, 0.5, degC, 0003-05-01T12\n\n"
        "z500, -10, 190, 53936.575, 98.0665, m2 s-2, 0003-05-02\n"
        "u850, 0, -20, 3.5, 1, ,\n"
    )
    found = read_observations(path, small_spec)
    assert found.channel.tolist() == [4, 0, 1]
    np.testing.assert_allclose(found.value, [280.15, 5500.0, 3.5])
    np.testing.assert_allclose(found.error, [0.5, 10.0, 1.0])
    import cftime

    valid = cftime.datetime(3, 5, 2, calendar="noleap")
    assert found.near(valid, 6.0).channel.tolist() == [0, 1]
    assert len(found.near(valid, 12.0)) == 3
    with pytest.raises(InputError, match="widen --window"):
        first = [x[:1] for x in (found.channel, found.lat, found.lon, found.value, found.error)]
        Observations(*first, time=found.time[:1]).near(valid, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variable,lat,lon,value\n", "no column error"),
        (HEADER, "holds no observation"),
        (HEADER + "rain,0,0,1,1,,\n", "line 2: variable rain is not of the model"),
        (HEADER + "tas,0,0,warm,1,,\n", "value 'warm' is not a number"),
        (HEADER + "tas,95,0,280,1,,\n", "not on the globe"),
        (HEADER + "tas,0,0,280,0,,\n", "positive standard deviation"),
        (HEADER + "tas,0,0,280,1,Pa,\n", "cannot be turned into K"),
        (HEADER + "tas,0,0,280,1,,\nz500,0,0,55000,1,,\n", "line 3: z500 55000 is far from"),
    ],
)
def test_observations_that_cannot_be_used_are_refused(tmp_path, small_spec, text, message):
    path = tmp_path / "obs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_observations(path, small_spec)


def _words(store, models, observations, members, out):
    """The command from day 51 of the store."""
    return [str(store.path), "--start", store.times[51].strftime("%Y-%m-%d"), "-n", str(members),
            "--observations", str(observations), "--model", models["diffusion"],
            "--steps", "4", "--iterations", "1", "-o", str(out), "--json"]  # fmt: skip


def test_the_command_writes_a_forecast_of_lead_zero(small_models, small_store, tmp_path, capsys):
    store = Store(small_store)
    day = store.times[52]
    text = "variable,lat,lon,value,error,time\n"
    for lat, lon in ((60, 5), (-30, 100), (10, 220)):
        text += f"tas,{lat},{lon},281.0,0.3,{day.strftime('%Y-%m-%d')}\n"
    (tmp_path / "obs.csv").write_text(text)
    out = tmp_path / "analysis.zarr"
    words = _words(store, small_models, tmp_path / "obs.csv", 3, out)
    assert command.run(parse(command, words)) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["observations"] == 3 and seen["fit"][0]["variable"] == "tas"
    assert seen["fit"][0]["analysis"] < seen["fit"][0]["background"]
    with xr.open_zarr(out, decode_timedelta=False) as made:
        assert made["tas"].dims == ("time", "number", "prediction_timedelta", "latitude",
                                    "longitude")  # fmt: skip
        assert made["prediction_timedelta"].values.tolist() == [0]
        assert made.attrs["observations"] == 3
    shown = open_ensemble(out)
    assert shown.members == 3 and shown.kind == "forecast"
    assert shown.valid(0, 0).strftime("%Y-%m-%d") == day.strftime("%Y-%m-%d")
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert command.run(parse(command, words)) == 0
    assert json.loads(capsys.readouterr().out) == seen
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    with pytest.raises(InputError, match="by another request: seed was 0 and is now 1; choose"):
        command.run(parse(command, [*words, "--seed", "1"]))
    (tmp_path / "obs.csv").write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match="the content of --observations .* has changed"):
        command.run(parse(command, words))


def test_cycles_go_on_from_every_members_own_analysis(small_models, small_store, tmp_path, capsys):
    store = Store(small_store)
    text = "variable,lat,lon,value,error,time\n"
    for day in store.times[52:54]:
        text += f"tas,60,5,281.0,0.3,{day.strftime('%Y-%m-%d')}\n"
        text += f"z500,-30,100,5480,5,{day.strftime('%Y-%m-%d')}\n"
    (tmp_path / "obs.csv").write_text(text)
    out = tmp_path / "analysis.nc"
    words = _words(store, small_models, tmp_path / "obs.csv", 2, out)
    assert command.run(parse(command, [*words, "--cycles", "2"])) == 0
    seen = json.loads(capsys.readouterr().out)
    assert len(seen["times"]) == 2 and seen["observations"] == 4 and len(seen["fit"]) == 4

    forecaster = Forecaster(small_models["diffusion"], sampling=SamplingSettings.of_analyses(4))
    spec, settings = forecaster.spec, AssimilationSettings(iterations=1)
    frames = torch.from_numpy(store.read(50, 52)).expand(2, -1, -1, -1, -1)
    observed = read_observations(tmp_path / "obs.csv", spec)
    with xr.open_dataset(out, decode_timedelta=False) as made:
        for cycle in range(2):
            start, valid = store.times[51 + cycle], store.times[52 + cycle]
            near = observed.near(valid, 12)
            assert len(near) == 2
            state = torch.cat(list(analyses(forecaster, frames, start, range(2), near, settings)))
            state = spec.clip(state)
            tas = made["tas"].isel(time=cycle, prediction_timedelta=0).values
            np.testing.assert_allclose(tas, state[:, 4].numpy(), rtol=1e-5, atol=1e-3)
            frames = torch.cat([frames[:, 1:], state[:, None]], 1)
        assert made.sizes["time"] == 2

    refused = _words(store, small_models, tmp_path / "obs.csv", 2, tmp_path / "more.nc")
    refused += ["--cycles", "3"]
    with pytest.raises(InputError, match="none within 12 h of"):
        command.run(parse(command, refused))
    assert not (tmp_path / "more.nc").exists()
    (tmp_path / "obs.csv").write_text("variable,lat,lon,value,error\ntas,60,5,281.0,0.3\n")
    with pytest.raises(InputError, match="--cycles 3 needs the column time"):
        command.run(parse(command, refused))
