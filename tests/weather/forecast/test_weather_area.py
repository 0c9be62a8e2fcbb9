"""Limited areas: cut out, named, learned on, forecast, scored and shown."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.state import Batch
from sciddiff.weights import read
from weather.data.areas import Area, grid_name, parse_grid, same_grid
from weather.data.reading import ReaderSettings, open_reader
from weather.data.rectangles import Rectangle
from weather.forecast.training import ForecastData, ForecastDataSettings
from weather.nets.unet import AreaUNet
from weather.sphere.grids import Grid
from weather.sphere.padding import pad_area


def _globe(path, days=80, seed=0):
    """Waves of pressure that travel east, daily, on 5 degrees."""
    rng = np.random.default_rng(seed)
    lat, lon = np.linspace(-90, 90, 37), np.arange(72) * 5.0
    time = np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    phase = np.radians(lon)[None, None] - 0.3 * np.arange(days)[:, None, None]
    wave = sum(np.cos(m * phase + rng.uniform(0, 6)) for m in range(2, 6))
    slp = 101300 + 500 * wave * np.cos(np.radians(lat))[:, None] ** 2
    dims = ("time", "lat", "lon")
    ds = xr.Dataset(
        {"slp": (dims, slp.astype("f4"), {"units": "Pa"})},
        {"time": time, "lat": lat, "lon": lon},
    )
    ds.to_netcdf(path)
    return ds


@pytest.fixture(scope="module")
def globe(tmp_path_factory):
    """The data set and its file."""
    path = tmp_path_factory.mktemp("area") / "slp.nc"
    return _globe(path), path


def test_an_area_across_greenwich_is_cut_out(globe):
    ds, path = globe
    reader = open_reader([path], ReaderSettings(area=Area.parse("30:70,-70:10")))
    assert str(reader.grid) == "regional-9x17"
    assert reader.grid.lon.tolist() == np.arange(290.0, 371.0, 5.0).tolist()
    fields, _ = reader.block(0, 3)
    columns = (reader.grid.lon % 360 / 5).astype(int)
    np.testing.assert_array_equal(fields[:, 0], ds.slp.values[:3, 24:33][..., columns])


def test_what_is_no_area(globe, tmp_path):
    ds, path = globe
    for text in ("30:70", "70:30,0:10", "30:95,0:10", "30:70,10:-70", "a:b,c:d"):
        with pytest.raises(InputError, match="--area"):
            Area.parse(text)
    for text, remedy in (("35:60,170:-170", "35:60,170:190"), ("35:60,350:10", "35:60,350:370")):
        with pytest.raises(InputError, match=f"write --area {remedy}"):
            Area.parse(text)
        assert Area.parse(remedy).east > 180
    ds.isel(lat=slice(20, 30), lon=slice(0, 20)).to_netcdf(tmp_path / "part.nc")
    with pytest.raises(InputError, match="--area 30:70,-70:10: leaves the data"):
        open_reader([tmp_path / "part.nc"], ReaderSettings(area=Area.parse("30:70,-70:10")))


def test_the_name_of_an_area_gives_its_grid_again():
    grid = Rectangle(np.linspace(30, 70, 17), np.linspace(290, 370, 33))
    assert grid_name(grid) == "regional-17x33:30:70:290:370"
    assert same_grid(parse_grid(grid_name(grid)), grid)
    assert not same_grid(grid, Rectangle(grid.lat, grid.lon + 2.5))
    assert parse_grid("gaussian-8x16") == Grid.parse("gaussian-8x16")
    with pytest.raises(InputError, match="not evenly spaced"):
        grid_name(Rectangle(np.asarray([0.0, 1.0, 3.0]), grid.lon))


def _batch(fields):
    batch, _, height, width = fields.shape
    cond = {
        "history": fields[:, None].expand(-1, 2, -1, -1, -1),
        "forcing": torch.zeros(batch, 8, height, width),
    }
    return Batch({"fields": fields}, cond, size=batch)


def _net(**more):
    torch.manual_seed(0)
    net = AreaUNet(1, widths=(8, 16), blocks=(1, 1), embedding=16, **more)
    torch.nn.init.normal_(net.leave.weight, std=0.1)
    return net.eval()


def test_the_network_knows_where_the_edges_are():
    """A uniform field: the answer differs at the edges; around the globe only at the rows."""
    x = torch.ones(1, 1, 16, 24)
    one, t = _net(), torch.zeros(1)
    found = one({"fields": x}, t, _batch(x))["fields"]
    assert found.shape == x.shape
    assert (found[..., 8, 0] - found[..., 8, 12]).abs() > 1e-4
    around = _net(around=True)({"fields": x}, t, _batch(x))["fields"]
    assert (around[..., 8, :] - around[..., 8, :1]).abs().max() < 1e-5
    assert (around[..., 0, :] - around[..., 8, :]).abs().max() > 1e-4


def test_around_the_globe_a_turn_of_the_field_turns_the_answer():
    x, t = torch.randn(1, 1, 16, 24), torch.zeros(1)
    net = _net(around=True)
    found = net({"fields": x}, t, _batch(x))["fields"]
    turned = x.roll(4, -1)
    again = net({"fields": turned}, t, _batch(turned))["fields"]
    torch.testing.assert_close(again, found.roll(4, -1), atol=1e-5, rtol=1e-5)
    field = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pad_area(field)[0, 0, 0].tolist() == [0, 0, 1, 2, 2]
    assert pad_area(field, around=True)[0, 0, 1].tolist() == [2, 0, 1, 2, 0]


@pytest.mark.timeout(300)
def test_from_a_global_file_to_the_report_of_an_area(globe, tmp_path, monkeypatch, capsys):
    _, path = globe
    monkeypatch.chdir(tmp_path)

    def run(*words):
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err

    run("prepare", "forecast", path, "--area", "20:70,-60:20", "-o", "area.zarr")
    experiment = {
        "domain": {
            "class_path": "weather.forecast.domain.ForecastDomain",
            "init_args": {
                "head": "crps", "spectral": 0.1,
                "data": {"store": "area.zarr", "batch": 4, "val_days": 20},
            },
        },
        "net": {
            "class_path": "weather.nets.unet.AreaUNet",
            "init_args": {
                "channels": 1, "widths": [8, 16], "blocks": [1, 1], "embedding": 16,
                "linear": 3, "grid": "regional-11x17:20:70:300:380",
            },
        },
        "trainer": {"max_steps": 6, "val_every": 6, "threads": 1, "progress": False},
        "out": "run",
    }  # fmt: skip
    (tmp_path / "area.yaml").write_text(json.dumps(experiment))
    run("train", "area.yaml")
    run("export", "run", "-o", "model")
    # The linear forecast was fitted to the training days, and travels with the weights.
    weights = read("model")[0]
    assert weights["linear.dynamics"].shape == (2 * 3 + 7, 11 * 17)
    assert weights["linear.encode"].abs().amax(0).min() > 0
    # The initial state may hold more than the area.
    fast = ("--model", "model", "--members", 3, "--days", 3, "--start", "2001-02-10", "2001-02-20")
    run("forecast", path, *fast, "-o", "fc.zarr")
    run("forecast", "area.zarr", *fast, "-o", "same.zarr")
    one, other = xr.open_zarr("fc.zarr"), xr.open_zarr("same.zarr")
    np.testing.assert_allclose(one.mslp, other.mslp, rtol=1e-6)
    assert one.mslp.shape == (2, 3, 3, 11, 17)
    assert one.longitude.values[[0, -1]].tolist() == [300.0, 380.0]
    run("verify", "fc.zarr", "area.zarr", "--no-plots", "-o", "scores")
    scores = xr.open_dataset("scores/scores.nc")
    assert scores.region.values.tolist() == ["area"]
    assert np.isfinite(scores.crps.values).all()
    run("report", "fc.zarr", "--lead", 3, "-o", "report")
    run("extremes", path, "--model", "model", "--index", "mean(mslp, 30:60,-30:10, 1..2)",
        "--threshold", "q0.5", "-n", 16, "--pilot", 8, "-o", "x")  # fmt: skip
    words = ["forecast", str(path), *map(str, fast), "--perturb", "random-field", "-o", "r.zarr"]
    assert main(words) == 2
    assert "use lagged-difference for a limited area" in capsys.readouterr().err
    lagged = ("--perturb", "lagged-difference", "--archive", "area.zarr", "--amplitude", 0.5)
    run("forecast", path, *fast, *lagged, "-o", "lagged.zarr")
    assert float(abs(xr.open_zarr("lagged.zarr").mslp - one.mslp).max()) > 1.0
    # The area is named alike in the store and in the model whose statistics are kept.
    kept = ForecastData(ForecastDataSettings(store="area.zarr", statistics="model")).statistics
    assert kept.mean.tolist() == json.loads(Path("model/meta.json").read_text())["data"]["mean"]
