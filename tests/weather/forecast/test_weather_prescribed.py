"""Prescribed channels: told to the network at every step, imposed on the forecast, never drawn."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff import checkpoint, config
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.objectives.rollout import TARGETS
from weather.calibration.origin import made_by
from weather.data.channels import parse_channel
from weather.forecast.advance import SCALE, advance
from weather.forecast.boundaries import open_future
from weather.forecast.domain import ForecastDomain
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import InitialState
from weather.forecast.spec import ForecastSpec
from weather.forecast.training import ForecastDataSettings
from weather.nets.unet import AreaUNet

GRID = "regional-6x10:20:70:300:390"
START = np.datetime64("2001-02-01", "s")
NET = {"channels": 2, "forcings": 9, "widths": [8], "blocks": [0], "embedding": 16}
DAY = np.timedelta64(1, "D")
LAT, LON = np.linspace(20, 70, 6), np.arange(-60.0, 31.0, 10.0)


def _forecaster(tmp_path, head="crps"):
    """A model of the temperatures of air and sea that is told the sea's."""
    torch.manual_seed(0)
    net = AreaUNet(**NET)
    torch.nn.init.normal_(net.leave.weight, std=0.2)
    channels = parse_channel("tas"), parse_channel("sst")
    spec = ForecastSpec(
        channels, (285.0, 288.0), (10.0, 8.0), (2.0, 0.3), GRID, 24.0, 2, head,
        prescribed=("sst",),
    )  # fmt: skip
    plain = config.read(
        {
            "domain": {
                "class_path": "weather.forecast.domain.ForecastDomain",
                "init_args": {"head": head, "prescribed": ["sst"]},
            },
            "net": {"class_path": "weather.nets.unet.AreaUNet", "init_args": NET},
        }
    )
    checkpoint.save(tmp_path / head, net.state_dict(), plain, data=spec.to_plain())
    return Forecaster(str(tmp_path / head))


def _states(days, seed=1):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(days, 2, 6, 10, generator=generator)
    mean, spread = torch.tensor([[285.0, 288.0], [8.0, 4.0]])[:, :, None, None]
    return mean + spread * noise


@pytest.mark.parametrize("head", ["crps", "diffusion"])
def test_the_forecast_has_what_is_prescribed_and_feels_it(tmp_path, head):
    """A warmer sea at one lead changes the air from that lead on, and no member's sea else."""
    forecaster = _forecaster(tmp_path, head)
    initial, future = _states(2), _states(3, 2)
    future[:, 0] = torch.nan  # of the air nothing is known

    def run(states):
        told = lambda lead: states[lead - 1].expand(2, -1, -1, -1)  # noqa: E731
        made = forecaster.rollout(initial, START, 3, range(2), seed=3, boundary=told)
        return torch.stack(list(made))

    plain = run(future)
    assert torch.equal(plain[:, :, 1], future[:, None, 1].expand(3, 2, 6, 10))
    assert torch.isfinite(plain).all()
    warmer = future.clone()
    warmer[1, 1, 2:4, 3:6] += 5.0
    change = (run(warmer) - plain)[:, :, 0].abs().amax((1, 2, 3))
    assert change[0] == 0 and change[1] > 0.01 and change[2] > 0.01


def test_persistence_keeps_the_initial_sea_and_models_and_futures_must_fit(tmp_path):
    forecaster, states = _forecaster(tmp_path), _states(2)
    initials = [InitialState(START, states)]
    kept = open_future(None, "persistence", forecaster.spec, initials, 2)
    for lead in (1, 2):
        assert torch.equal(kept(START, range(3), lead)[:, 1], states[-1:, 1].expand(3, 6, 10))
    with pytest.raises(InputError, match="is told the next sst at every step; .*--prescribed"):
        next(forecaster.rollout(states, START, 1, range(1)))
    with pytest.raises(InputError, match="--boundary: the edges of this model are open"):
        open_future(tmp_path / "parent.nc", "persistence", forecaster.spec, initials, 2)
    plain = forecaster.spec.only([0, 1])
    with pytest.raises(InputError, match="--prescribed: this model is told no channels"):
        open_future(None, "persistence", plain, initials, 2)
    named = forecaster.spec.to_plain()
    with pytest.raises(InputError, match="model data prescribed: no channel ice"):
        ForecastSpec.from_meta({**named, "prescribed": ["ice"]})
    used = [made_by({}, {"prescribed": given}) for given in ("persistence", "a", "b")]
    assert used[0] != used[1] == used[2] != made_by({}, {})


def _days(path, days=60):
    """An air that is today half of what it was yesterday and half of the sea of today."""
    rng = np.random.default_rng(0)
    sea = 292 + rng.standard_normal((days, 6, 10))
    air = sea.copy()
    for day in range(1, days):
        sea[day] += 0.9 * (sea[day - 1] - 292)
        air[day] = 0.5 * air[day - 1] + 0.5 * sea[day]
    dims = ("time", "lat", "lon")
    time = np.datetime64("2001-01-01", "ns") + np.arange(days) * DAY
    ds = xr.Dataset(
        {
            "tas": (dims, air.astype("f4"), {"units": "K"}),
            "sst": (dims, sea.astype("f4"), {"units": "K"}),
        },
        {"time": time, "lat": LAT, "lon": LON},
    )
    ds.to_netcdf(path)
    return ds


def _run(capsys, *words, status=0):
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    return capsys.readouterr().err


def test_training_tells_the_next_sea_and_leaves_nothing_of_it_to_draw(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    _days("days.nc")
    _run(capsys, "prepare", "forecast", "days.nc", "--area", "20:70,-60:30", "-o", "area.zarr")
    data = ForecastDataSettings("area.zarr", ("tas", "sst"), batch=4, val_days=20)
    for head in ("crps", "diffusion"):
        domain = ForecastDomain(data, head, prescribed=["sst"], rollout={1: 0.5, 2: 0.5})
        batch = next(iter(domain.train_batches(0, 0, 0, 1)))
        assert domain.spec.prescribed == ("sst",) and domain.spec.known == [1]
        assert batch.cond["forcing"].shape[1] == 9
        assert batch.x["fields"][:, 1].abs().max() == 0 < batch.x["fields"][:, 0].abs().max()
        weight = domain.loss_weight()
        assert (weight[1].max() == 0) == (head == "crps") and weight[0].min() > 0
    domain = ForecastDomain(data, "crps", prescribed=["sst"], rollout={2: 1.0}, spectral=0.2)
    batch = next(iter(domain.train_batches(0, 0, 0, 1)))
    # A prediction of anything: the next history has the true sea, and the next truth its own.
    later = advance(batch, {"fields": torch.randn_like(batch.x["fields"])}, domain.spec.known)
    sea = batch.cond["forcing"][:, -1]
    assert torch.equal(later.cond["history"][:, -1, 1], sea)
    assert torch.equal(later.cond["forcing"][:, -1], batch.cond[TARGETS][:, 0, 1])
    assert later.x["fields"][:, 1].abs().max() == 0
    air = later.cond["history"][:, -1, 0] + later.cond[SCALE][:, 0] * later.x["fields"][:, 0]
    torch.testing.assert_close(air, batch.cond[TARGETS][:, 0, 0])
    # The spectral score has units although the sea's residual is 0 throughout.
    (term,) = domain.objective().terms
    gain = term.transform(torch.ones(1, 2, 6, 10))
    assert torch.isfinite(gain).all() and gain[:, 1].abs().max() == 0 < gain[:, 0].abs().max()
    for names, words in (
        (["ice"], "domain.prescribed ice: not a channel of the data; use some of tas, sst"),
        (["tas", "sst"], "domain.prescribed: leaves no channel to forecast"),
    ):
        with pytest.raises(InputError, match=words):
            _ = ForecastDomain(data, "crps", prescribed=names).spec


@pytest.mark.timeout(300)
def test_from_training_to_a_forecast_over_a_known_sea(tmp_path, monkeypatch, capsys):
    """The air follows the sea of the day, which a model that is not told cannot know."""
    monkeypatch.chdir(tmp_path)
    ds = _days("days.nc", 200)
    _run(capsys, "prepare", "forecast", "days.nc", "--area", "20:70,-60:30", "-o", "area.zarr")

    def model(name, **more):
        net = {**NET, "widths": [16], "blocks": [1], "forcings": 9 if more else 8}
        experiment = {
            "domain": {
                "class_path": "weather.forecast.domain.ForecastDomain",
                "init_args": {
                    "head": "crps",
                    "data": {"store": "area.zarr", "channels": ["tas", "sst"], "val_days": 20},
                    **more,
                },
            },
            "net": {"class_path": "weather.nets.unet.AreaUNet", "init_args": net},
            "optim": {"name": "muon", "lr": 0.02, "by_adam": ["enter", "time"]},
            "trainer": {"max_steps": 150, "val_every": 150, "threads": 1, "progress": False},
            "out": f"run_{name}",
        }
        (tmp_path / f"{name}.yaml").write_text(json.dumps(experiment))
        _run(capsys, "train", f"{name}.yaml")
        _run(capsys, "export", f"run_{name}", "-o", name)

    model("told", prescribed=["sst"])
    model("not_told")
    ask = ("--members", 4, "--days", 3, "--start", "2001-07-10")

    def forecast(name, *more):
        out = f"{len(list(tmp_path.iterdir()))}.zarr"
        _run(capsys, "forecast", "days.nc", "--model", name, *ask, *more, "-o", out)
        return xr.open_zarr(out)

    told = forecast("told", "--prescribed", "days.nc")
    at = int(np.flatnonzero(ds.time.values == np.datetime64("2001-07-10"))[0])
    truth = ds.isel(time=slice(at + 1, at + 4))
    sea = np.broadcast_to(truth.sst.values, (4, 3, 6, 10))
    np.testing.assert_allclose(told.sst.values[0], sea, atol=0.01)

    def error(found):
        return float(np.sqrt(np.mean((found.tas.values[0].mean(0) - truth.tas.values) ** 2)))

    assert error(told) < 0.6 * error(forecast("not_told"))
    assert error(told) < 0.6 * error(forecast("told", "--prescribed", "persistence"))
    # A forecast serves as what happened does, here one of the sea alone.
    told[["sst"]].to_netcdf("sea.nc")
    again = forecast("told", "--prescribed", "sea.nc")
    np.testing.assert_allclose(again.tas.values, told.tas.values, atol=0.01)
    words = ("forecast", "days.nc", "--model", "told", *ask)
    said = _run(capsys, *words, "-o", "x.zarr", status=2)
    assert "is told the next sst at every step" in said and "--prescribed persistence" in said
    said = _run(
        capsys, *words, "--prescribed", "days.nc", "--days", 30, "-o", "x.zarr", status=2
    )
    assert "--prescribed days.nc: has no state" in said and "fewer --days" in said
    assert not (tmp_path / "x.zarr").exists()
    holes = ds.copy(deep=True)
    holes.sst[:, 0, 0] = np.nan
    holes.to_netcdf("holes.nc")
    said = _run(capsys, *words, "--prescribed", "holes.nc", "-o", "x.zarr", status=2)
    assert "sst" in said and "--nan" in said
    ds[["tas"]].to_netcdf("air.nc")
    said = _run(capsys, *words, "--prescribed", "air.nc", "-o", "x.zarr", status=2)
    assert "the model needs sst" in said
