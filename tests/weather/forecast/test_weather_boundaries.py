"""Prescribed boundaries: read member by member, and felt inside as far as a network reaches."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff import checkpoint, config
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data.areas import parse_grid
from weather.data.channels import parse_channel
from weather.forecast.boundaries import open_boundaries, strip
from weather.forecast.ensemble import EnsembleStore, Plan
from weather.forecast.forecaster import Forecaster
from weather.forecast.grib import write_grib
from weather.forecast.spec import ForecastSpec
from weather.nets.unet import AreaUNet

GRID = "regional-12x20:20:75:300:395"
START = np.datetime64("2001-02-01", "s")
NET = {"channels": 1, "widths": [8], "blocks": [0], "embedding": 16, "boundary": True}
DAY = np.timedelta64(1, "D")


def test_the_strip_is_the_outermost_rows_and_columns():
    edge = strip(parse_grid("regional-5x6:0:40:0:50"), 2)
    assert edge.sum() == 30 - 2 and edge[2, 2:4].tolist() == [0, 0]
    belt = strip(parse_grid("regional-5x36:0:40:0:350"), 1)
    assert belt[1:4].sum() == 0 and belt[[0, 4]].min() == 1
    with pytest.raises(InputError, match="domain.boundary: the globe has none"):
        strip(parse_grid("gaussian-16x32"), 1)
    with pytest.raises(InputError, match="domain.boundary 3: must be at least 1 and leave"):
        strip(parse_grid("regional-6x20:0:40:0:50"), 3)


def _local_forecaster(tmp_path, width=2):
    """A model whose network sees two points in each direction at a step, and no further."""
    torch.manual_seed(0)
    net = AreaUNet(**NET)
    torch.nn.init.normal_(net.leave.weight, std=0.2)
    spec = ForecastSpec(
        (parse_channel("mslp"),), (101300.0,), (1000.0,), (600.0,), GRID, 24.0, 2, "crps",
        boundary=width,
    )  # fmt: skip
    plain = config.read(
        {
            "domain": {
                "class_path": "weather.forecast.domain.ForecastDomain",
                "init_args": {"head": "crps", "boundary": width},
            },
            "net": {"class_path": "weather.nets.unet.AreaUNet", "init_args": NET},
        }
    )
    checkpoint.save(tmp_path / "local", net.state_dict(), plain, data=spec.to_plain())
    forecaster = Forecaster(str(tmp_path / "local"))
    forecaster.denoiser.net.norm = torch.nn.Identity()  # a mean over the area reaches everywhere
    return forecaster


def test_a_perturbed_strip_changes_the_inside_by_the_domain_of_influence(tmp_path):
    """West of the front everything may change, east of it nothing does, lead by lead."""
    forecaster, width, reach, leads, members = _local_forecaster(tmp_path), 2, 2, 4, range(3)
    generator = torch.Generator().manual_seed(1)
    initial = 101300 + 800 * torch.randn(2, 1, 12, 20, generator=generator)
    future = 101300 + 800 * torch.randn(leads + 1, 3, 1, 12, 20, generator=generator)

    def run(states):
        made = forecaster.rollout(
            initial, START, leads, members, seed=3, boundary=lambda lead: states[lead]
        )
        return torch.stack(list(made))

    plain = run(future)
    for lead in range(1, leads + 1):  # the strip is that of each member and lead
        edge = strip(forecaster.spec.area, width) > 0
        torch.testing.assert_close(plain[lead - 1][..., edge], future[lead][..., edge])
    changed = future.clone()
    changed[2, 1, ..., :width] += 2e4  # member 1, second lead, western strip
    changed[..., width:-width][..., width:-width, :] += 1e6  # the inside of a parent is not read
    difference = (run(changed) - plain).abs()
    assert difference[:, [0, 2]].max() == 0 and difference[0].max() == 0
    columns = difference[:, 1].amax((1, 2))  # [leads, W], of the inside and the edges
    inner = difference[:, 1, 0, width:-width].amax(1)
    for lead in range(2, leads + 1):
        front = width + reach * (lead - 1)
        assert columns[lead - 1, front:].max() == 0
        assert inner[lead - 1, front - 1] > 0.01


def test_models_and_boundaries_must_fit(tmp_path):
    forecaster = _local_forecaster(tmp_path)
    initial = torch.full((2, 1, 12, 20), 101300.0)
    with pytest.raises(InputError, match="is told the 2 outermost rows.*--boundary"):
        next(forecaster.rollout(initial, START, 1, range(1)))
    batch = forecaster.batch(initial[None], START, initial[None, 0])
    open_net = AreaUNet(**{**NET, "boundary": False})
    with pytest.raises(InputError, match="net.boundary: must be true where"):
        open_net(batch.x, torch.zeros(1), batch)


def _globe(path, days=80):
    """Waves of pressure that travel east, daily, on 5 degrees."""
    lat, lon = np.linspace(-90, 90, 37), np.arange(72) * 5.0
    time = np.datetime64("2001-01-01", "ns") + np.arange(days) * DAY
    phase = np.radians(lon)[None, None] - 0.3 * np.arange(days)[:, None, None]
    wave = sum(np.cos(m * phase + m) for m in range(2, 6))
    slp = 101300 + 500 * wave * np.cos(np.radians(lat))[:, None] ** 2
    ds = xr.Dataset(
        {"slp": (("time", "lat", "lon"), slp.astype("f4"), {"units": "Pa"})},
        {"time": time, "lat": lat, "lon": lon},
    )
    ds.to_netcdf(path)
    return ds


def _parent(ds, start, leads, members=2):
    """A forecast of the whole globe whose members differ by a constant."""
    at = int(np.flatnonzero(ds.time.values == np.datetime64(start))[0])
    fields = ds.slp.values[at + 1 : at + 1 + leads]
    fields = fields[None, None] + 10.0 * np.arange(members)[None, :, None, None, None]
    lead = (np.arange(leads) + 1) * DAY.astype("timedelta64[ns]")
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    return xr.Dataset(
        {"mslp": (dims, fields.astype("f4"), {"units": "Pa"})},
        {
            "time": [np.datetime64(start, "ns")], "number": np.arange(members),
            "prediction_timedelta": lead, "latitude": ds.lat.values, "longitude": ds.lon.values,
        },
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_from_training_to_forecasts_within_a_parent(tmp_path, monkeypatch, capsys):
    ds = _globe(tmp_path / "slp.nc")
    monkeypatch.chdir(tmp_path)

    def run(*words, status=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        return capsys.readouterr().err

    run("prepare", "forecast", "slp.nc", "--area", "20:70,-60:20", "-o", "area.zarr")
    experiment = {
        "domain": {
            "class_path": "weather.forecast.domain.ForecastDomain",
            "init_args": {
                "head": "crps", "boundary": 2, "rollout": {"1": 0.5, "2": 0.5},
                "data": {"store": "area.zarr", "batch": 4, "val_days": 20},
            },
        },
        "net": {
            "class_path": "weather.nets.unet.AreaUNet",
            "init_args": {**NET, "widths": [8, 16], "blocks": [1, 1]},
        },
        "trainer": {"max_steps": 6, "val_every": 6, "threads": 1, "progress": False},
        "out": "run",
    }  # fmt: skip
    (tmp_path / "area.yaml").write_text(json.dumps(experiment))
    run("train", "area.yaml")
    run("export", "run", "-o", "model")
    ask = ("--model", "model", "--members", 3, "--days", 3, "--start", "2001-02-10")
    _parent(ds, "2001-02-10", 3).to_netcdf("parent.nc")
    run("forecast", "slp.nc", *ask, "--boundary", "parent.nc", "-o", "fc.zarr")
    found = xr.open_zarr("fc.zarr")
    edge = strip(parse_grid("regional-11x17:20:70:300:380"), 2).numpy() > 0
    rows, columns = slice(22, 33), (found.longitude.values % 360 / 5).astype(int)
    truth = ds.slp.values[41:44, rows][..., columns]
    for member in range(3):  # of two in the parent, the first serves again
        wanted = truth + 10.0 * (member % 2)
        np.testing.assert_allclose(
            found.mslp.values[0, member][:, edge], wanted[:, edge], atol=0.02
        )
    assert np.abs(found.mslp.values[0, 0] - found.mslp.values[0, 1])[:, 5, 8].min() > 0
    # A coarser parent that started a day earlier is interpolated.
    coarse = _parent(ds, "2001-02-09", 4).isel(latitude=slice(None, None, 2))
    coarse.to_netcdf("coarse.nc")
    run("forecast", "slp.nc", *ask, "--boundary", "coarse.nc", "-o", "within.zarr")
    within = xr.open_zarr("within.zarr").mslp.values[0, 0]
    np.testing.assert_allclose(within[:, 0, 2], truth[:, 0, 2], atol=0.02)
    between = (truth[:, 2, 0] + truth[:, 0, 0]) / 2
    np.testing.assert_allclose(within[:, 1, 0], between, atol=0.02)
    # What happened, as boundaries; a rerun with others is refused.
    run("forecast", "area.zarr", *ask, "--boundary", "slp.nc", "-o", "known.zarr")
    known = xr.open_zarr("known.zarr").mslp.values[0]
    np.testing.assert_allclose(known[:, :, edge], np.stack([truth[:, edge]] * 3), atol=0.02)
    error = run(
        "forecast", "area.zarr", *ask, "--boundary", "parent.nc", "-o", "known.zarr", status=2
    )
    assert "boundary" in error
    late = ("--model", "model", "--members", 3, "--days", 3, "--start", "2001-03-20")
    error = run("forecast", "slp.nc", *late, "--boundary", "slp.nc", "-o", "x.zarr", status=2)
    assert (
        "--boundary slp.nc: has no state 48 h after 2001-03-20" in error
        and "fewer --days" in error
    )
    error = run("forecast", "slp.nc", *late, "--boundary", "parent.nc", "-o", "x.zarr", status=2)
    assert "--boundary parent.nc: has no state 24 h after 2001-03-20" in error
    error = run("forecast", "slp.nc", *ask, "-o", "x.zarr", status=2)
    assert "give a parent forecast or analyses with --boundary" in error
    _parent(ds, "2001-02-10", 3).isel(longitude=slice(0, 10)).to_netcdf("east.nc")
    error = run("forecast", "slp.nc", *ask, "--boundary", "east.nc", "-o", "x.zarr", status=2)
    assert "which has not all points of the model's area 20:70,-60:20" in error.replace(
        "300:380", "-60:20"
    )


def _area_spec():
    """A model of pressure on an area of 10 degrees, by days."""
    mslp = parse_channel("mslp")
    return ForecastSpec(
        (mslp,), (101300.0,), (1000.0,), (800.0,), "regional-6x9:20:70:300:380", 24.0, boundary=1
    )


def _write_grib(folder, times, leads, fields):
    """Fields `[times, members, leads, H, W]` of the globe on 10 degrees as one GRIB file."""
    mslp = parse_channel("mslp")
    ones = (1.0,)
    spec = ForecastSpec((mslp,), ones, ones, ones, "regular-19x36", 24.0)
    plan = EnsembleStore.open(
        folder / "made.zarr", Plan(times, fields.shape[1], leads, 4), spec, {"seed": 0}, {}
    )
    for block in plan.plan.blocks():
        plan.write(block, 0, fields[block.start].swapaxes(0, 1)[:, :, None])
        plan.finish(block)
    write_grib(plan, folder / "parent.grib")
    return folder / "parent.grib"


def test_a_parent_of_grib_serves_as_one_of_netcdf(tmp_path):
    """Members, leads and points are those of the file, to its 24 bits."""
    pytest.importorskip("eccodes", reason="ecCodes is not installed (extra grib)")
    rng = np.random.default_rng(4)
    fields = (101300 + 500 * rng.standard_normal((1, 3, 4, 19, 36))).astype(np.float32)
    start = np.datetime64("2001-02-09", "s")
    path, spec = _write_grib(tmp_path, (start,), 4, fields), _area_spec()
    later = start + np.timedelta64(1, "D")  # a parent that started a day earlier
    edges = open_boundaries(path, spec, (later,), 3)
    lat, lon = np.arange(-90, 91, 10.0), np.arange(36) * 10.0
    rows = np.searchsorted(lat, spec.area.lat)
    columns = np.searchsorted(lon, np.asarray(spec.area.lon) % 360)
    for lead in (1, 2, 3):
        found = edges(later, range(4), lead)[:, 0].numpy()
        wanted = fields[0, [0, 1, 2, 0], lead][:, rows][..., columns]
        np.testing.assert_allclose(found, wanted, atol=0.01)
    with pytest.raises(InputError, match="parent.grib: has no state 96 h after"):
        open_boundaries(path, spec, (later,), 4)


def test_analyses_of_grib_serve_as_boundaries(tmp_path):
    """Files of step 0 along time are analyses, which all members share."""
    eccodes = pytest.importorskip("eccodes", reason="ecCodes is not installed (extra grib)")
    rng = np.random.default_rng(5)
    fields = (101300 + 500 * rng.standard_normal((4, 1, 1, 19, 36))).astype(np.float32)
    days = tuple(np.datetime64("2001-02-09", "s") + n * np.timedelta64(1, "D") for n in range(4))
    made, path = _write_grib(tmp_path, days, 1, fields), tmp_path / "analyses.grib"
    with made.open("rb") as source, path.open("wb") as target:
        while (message := eccodes.codes_grib_new_from_file(source)) is not None:
            eccodes.codes_set(message, "forecastTime", 0)
            eccodes.codes_write(message, target)
            eccodes.codes_release(message)
    spec = _area_spec()
    edges = open_boundaries(path, spec, days[:1], 3)
    lat, lon = np.arange(-90, 91, 10.0), np.arange(36) * 10.0
    rows = np.searchsorted(lat, spec.area.lat)
    columns = np.searchsorted(lon, np.asarray(spec.area.lon) % 360)
    for lead in (1, 2, 3):
        found = edges(days[0], range(2), lead)[:, 0].numpy()
        wanted = fields[lead, 0, 0][rows][:, columns]
        np.testing.assert_allclose(found, np.stack([wanted, wanted]), atol=0.01)


def test_a_folder_of_parents_serves_every_start(tmp_path):
    """One file for every initial time, as a daily routine writes them."""
    ds, folder = _globe(tmp_path / "slp.nc", 20), tmp_path / "parents"
    folder.mkdir()
    for day in ("2001-01-05", "2001-01-08"):
        _parent(ds, day, 3).to_netcdf(folder / f"{day}.nc")
    starts = np.datetime64("2001-01-05", "s"), np.datetime64("2001-01-08", "s")
    spec = _area_spec()
    edges = open_boundaries(folder, spec, starts, 3)
    rows, columns = slice(22, 33, 2), (np.asarray(spec.area.lon) % 360 / 5).astype(int)
    for start, first in zip(starts, (4, 7), strict=True):
        found = edges(start, range(2), 2)[:, 0].numpy()
        wanted = ds.slp.values[first + 2, rows][:, columns]
        np.testing.assert_allclose(found, np.stack([wanted, wanted + 10.0]), atol=0.02)
