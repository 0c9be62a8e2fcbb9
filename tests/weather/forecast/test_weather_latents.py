"""Latents of fields on a limited area: networks, training, forecasts and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff import load
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.state import Batch
from weather.data.store import Store
from weather.forecast.forecaster import Forecaster, forecast_streams
from weather.forecast.solving import SamplingSettings
from weather.nets.latent import AreaAutoencoder, LatentUNet

GRID = "regional-11x17:20:70:300:380"
CODEC = {
    "class_path": "weather.nets.latent.AreaAutoencoder",
    "init_args": {"grid": GRID, "widths": [8, 16]},
}
TRAINER = {"val_every": 1000, "threads": 1, "progress": False}
OPTIM = {"lr": 0.01, "warmup": 10}


def _domain(**more):
    data = {"store": "area.zarr", "batch": 8, "val_days": 20}
    arguments = {"parametrization": "velocity", "data": data, **more}
    return {"class_path": "weather.forecast.domain.ForecastDomain", "init_args": arguments}


def _latent(**more):
    arguments = {"domain": _domain(), "codec": CODEC, "codec_from": "codec", **more}
    net = {"widths": [16], "blocks": [1], "embedding": 16}
    return {
        "domain": {"class_path": "sciddiff.encoded.Encoded", "init_args": arguments},
        "net": {"class_path": "weather.nets.latent.LatentUNet", "init_args": net},
        "optim": OPTIM,
        "trainer": {"max_steps": 30, **TRAINER},
        "ema": {"widths": [0.1]},
        "out": "run_latent",
    }


def _run(*words):
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the store of an area, an autoencoder and a model of its latents."""
    path = tmp_path_factory.mktemp("latents")
    rng, days = np.random.default_rng(0), np.arange(80)
    lat, lon = np.arange(20.0, 71.0, 5.0), np.arange(-60.0, 21.0, 5.0)
    phase = np.radians(lon)[None, None] - 0.3 * days[:, None, None]
    wave = sum(np.cos(m * phase + rng.uniform(0, 6)) for m in range(2, 6))
    slp = 101300 + 500 * wave * np.cos(np.radians(lat))[:, None] ** 2
    time = np.datetime64("2001-01-01", "ns") + days * np.timedelta64(1, "D")
    xr.Dataset(
        {"slp": (("time", "lat", "lon"), slp.astype("f4"), {"units": "Pa"})},
        {"time": time, "lat": lat, "lon": lon},
    ).to_netcdf(path / "slp.nc")
    autoencoder = {
        "domain": _domain(),
        "net": CODEC,
        "objective": {"class_path": "sciddiff.objectives.Reconstruction"},
        "optim": OPTIM,
        "trainer": {"max_steps": 120, **TRAINER},
        "ema": {"widths": [0.1]},
        "out": "run_codec",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        (path / "autoencoder.yaml").write_text(json.dumps(autoencoder))
        (path / "latent.yaml").write_text(json.dumps(_latent()))
        _run("prepare", "forecast", "slp.nc", "-o", "area.zarr")
        _run("train", "autoencoder.yaml")
        _run("export", "run_codec", "-o", "codec")
        _run("train", "latent.yaml")
        _run("export", "run_latent", "-o", "latent")
    return path


def test_a_forecast_needs_the_folder_alone(place, tmp_path, monkeypatch):
    shutil.copytree(place / "latent", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    fast = ("--model", "model", "--members", 3, "--days", 2, "--start", "2001-02-20")
    _run("forecast", place / "slp.nc", *fast, "-o", "fc.zarr")
    found = xr.open_zarr("fc.zarr")
    assert found.mslp.shape == (1, 3, 2, 11, 17)
    assert 97_000 < float(found.mslp.min()) < float(found.mslp.max()) < 105_000
    assert float(found.mslp.std("number").mean()) > 1.0
    request = ("--request", f"init={place / 'slp.nc'}", "model=model", "start=2001-02-20")
    _run("sample", "--model", "model", *request, "-n", 2, "--steps", 2, "-o", "drawn")
    assert len(list((tmp_path / "drawn").glob("*.npz"))) == 2


def test_a_step_is_what_the_latents_say_decoded(place):
    """By hand: latents that do not move are the noise, scaled as measured and decoded."""
    model = load(place / "latent")
    forecaster = Forecaster(model, sampling=SamplingSettings(steps=3))
    for parameter in model.denoiser.parameters():  # a velocity of zero
        parameter.zero_()
    store = Store(place / "area.zarr")
    history = torch.from_numpy(store.read(40, 42))[None].expand(4, -1, -1, -1, -1)
    start = store.times[41]
    streams = forecast_streams(0, start, range(4), 1)
    valid = forecaster.spec.after(start, 1)
    step = forecaster.step(history, valid, streams)
    batch = forecaster.batch(history, valid)
    noise = model.domain.bare_prior(batch, streams.seed, streams.indices)["fields"]
    wanted = forecaster.spec.advance(history[:, -1].float(), noise)
    torch.testing.assert_close(step, wanted, rtol=1e-6, atol=0.5)
    assert forecaster.member_bytes() > 0


def test_reconstruction_learns_and_latents_have_unit_variance(place, monkeypatch):
    monkeypatch.chdir(place)
    domain = load("latent").domain
    batches = list(domain.domain.train_batches(0, 0, 0, 1))
    error = sum(
        float(((domain.reconstruction(b)["fields"] - b.x["fields"]) ** 2).mean()) for b in batches
    ) / len(batches)
    assert error < 0.3  # 1 before training
    z = torch.cat([b.x["fields"] for b in domain.train_batches(0, 0, 0, 1)])
    assert z.shape[1:] == (1, 6, 9)
    assert abs(float(z.std()) - 1.0) < 1e-3 and abs(float(z.mean())) < 1e-3


def test_what_imposes_fields_refuses_latents(place, capsys):
    forecaster = Forecaster(str(place / "latent"))
    store = Store(place / "area.zarr")
    history = torch.from_numpy(store.read(40, 42))[None]
    streams = forecast_streams(0, store.times[41], range(1), 1)
    refused = "draws latents, on which fields cannot be imposed"
    with pytest.raises(InputError, match=refused):
        forecaster.step(history, store.times[42], streams, guide=lambda denoiser: denoiser)
    with pytest.raises(InputError, match=refused):
        forecaster.from_noise(history, store.times[42], torch.zeros(1, 1, 11, 17))


def _codec(**changed):
    return {"codec": {**CODEC, "init_args": {**CODEC["init_args"], **changed}}}


OTHER = {"store": "other.zarr", "batch": 8, "val_days": 20}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_codec(grid="regional-9x17:30:70:300:380"), "made for 1 channels on regional-9x17"),
        (_codec(latents=3), "has shape"),
        ({"domain": _domain(data=OTHER)}, "its grid is"),
        ({"codec_from": "gone"}, "neither shipped nor a folder"),
        ({"domain": _domain(head="crps", spectral=0.1)}, "scores transforms or several steps"),
    ],
)
def test_a_codec_for_something_else_is_refused(place, tmp_path, monkeypatch, capsys, change, told):
    monkeypatch.chdir(place)
    if not (place / "other.zarr").exists():
        _run("prepare", "forecast", "slp.nc", "--area", "30:70,-60:20", "-o", "other.zarr")
    config = tmp_path / "wrong.yaml"
    config.write_text(json.dumps({**_latent(**change), "out": str(tmp_path / "run")}))
    capsys.readouterr()
    assert main(["train", str(config)]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_a_network_of_other_latents_is_told():
    x, history = torch.zeros(2, 1, 6, 9), torch.zeros(2, 2, 1, 11, 17)
    cond = {"history": history, "forcing": torch.zeros(2, 8, 11, 17)}
    net = LatentUNet(widths=(16,), blocks=(1,))
    out = net({"fields": x}, torch.zeros(2), Batch({"fields": x}, cond))["fields"]
    assert out.shape == x.shape
    wide = torch.zeros(2, 2, 6, 9)
    with pytest.raises(InputError, match="net: reads 17 inputs on one grid and is given"):
        net({"fields": wide}, torch.zeros(2), Batch({"fields": wide}, cond))
    edge = {**cond, "boundary": torch.zeros(2, 2, 11, 17)}
    with pytest.raises(InputError, match="reads no boundary"):
        net({"fields": x}, torch.zeros(2), Batch({"fields": x}, edge))


def test_the_network_sees_every_number_of_the_recent_states():
    """Where a codec halves the grid, no point of the history is averaged away."""
    torch.manual_seed(0)
    net = LatentUNet(widths=(16,), blocks=(1,), embedding=16)
    torch.nn.init.normal_(net.leave.weight)
    x = torch.zeros(1, 1, 6, 9)
    history = torch.zeros(1, 2, 1, 11, 17, requires_grad=True)
    cond = {"history": history, "forcing": torch.zeros(1, 8, 11, 17)}
    out = net({"fields": x}, torch.zeros(1), Batch({"fields": x}, cond))["fields"]
    (gradient,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), history)
    assert (gradient.abs() > 0).all()


def test_an_autoencoder_without_a_coarse_level_is_refused():
    with pytest.raises(InputError, match="two levels or more"):
        AreaAutoencoder(GRID, widths=(8,), blocks=(1,))
    codec = AreaAutoencoder(GRID, widths=(8, 16, 16), blocks=(1, 1, 1), latents=2)
    batch = Batch({"fields": torch.randn(3, 1, 11, 17)})
    (code,) = codec.encode(batch).values()
    (template,) = codec.template(batch).values()
    assert code.mean.shape == template.mean.shape == (3, 2, 3, 5)
    assert codec.decode({"fields": code.mean}, batch)["fields"].shape == (3, 1, 11, 17)
