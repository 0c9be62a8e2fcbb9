"""The examples: a toy planet from its making to its report, and files of two simulators."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff.cli.main import main
from weather.data.prepare import prepare_forecast
from weather.data.store import Store
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "weather"
GRID = Grid.parse("gaussian-32x64")


@pytest.fixture
def example(monkeypatch):
    """Import a script of the folder as Python does that runs it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def _run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_toy_planet_from_its_making_to_its_report(tmp_path, monkeypatch):
    """The commands of the README, on less of everything."""
    monkeypatch.chdir(tmp_path)
    few = "--days 100 --control-days 40 --starts 2 --members 3 --leads 3".split()
    script = [sys.executable, str(FOLDER / "toy_planet.py"), "toy", *few]
    subprocess.run(script, check=True, cwd=tmp_path)
    _run("prepare", "forecast", "toy/train.nc", "-o", "toy/train.zarr")
    short = "--trainer.max_steps 20 --trainer.val_every 20 --domain.data.val_days 20".split()
    _run("train", FOLDER / "toy.yaml", *short, "--trainer.progress", "false")
    _run("export", "runs/toy", "-o", "toy/model")
    truth = xr.open_dataset("toy/truth.nc")
    starts = [str(time)[:10] for time in truth.time.values]
    some = ("--model", "toy/model", "--members", 3, "--days", 3, "--start", *starts)
    _run("forecast", "toy/control.nc", *some, "-o", "toy/fc.zarr")
    scored = ("--train", "toy/train.zarr", "--analyses", "toy/control.nc", "--region", "globe")
    few = ("--baselines", "climatology", "--baseline-members", 8, "--no-plots")
    _run("verify", "toy/fc.zarr", "toy/truth.nc", *scored, *few, "-o", "toy/scores")
    shown = ("--variable", "z500", "--lead", 3, "--truth", "toy/control.nc")
    _run("report", "toy/fc.zarr", *shown, "-o", "toy/report")

    scores = xr.open_dataset("toy/scores/scores.nc")
    made = {str(name): i for i, name in enumerate(scores.forecast.values)}
    crps = scores.crps.sel(channel="z500", region="globe")
    assert set(made) >= {"model", "climatology", "perfect"}
    assert np.isfinite(crps.values).all()
    # Twenty steps are next to nothing, but a persistent planet a day on is no climatology.
    first = crps.isel(lead=0)
    assert first[made["perfect"]] < first[made["model"]] < first[made["climatology"]]
    page = Path("toy/report/report.html").read_text(encoding="utf-8")
    assert "z500" in page or "500 hPa" in page
    record = json.loads(Path("toy/fc.zarr/run.json").read_text())
    assert record["request"]["seed"] == 0


def test_futures_of_the_toy_planet_part_and_its_flow_is_balanced(example):
    toy = example("toy_planet")
    planet = toy.Planet()
    calm = torch.zeros_like(planet.jets)[None].expand(2, -1, -1)
    states, _ = planet.run(planet.jets[None].expand(2, -1, -1), calm, 3, seed=1)
    fields = planet.fields(states)
    apart = [float(np.square(day[0] - day[1]).mean()) for day in fields["z500"]]
    assert 0 < apart[0] < apart[1] < apart[2]
    # Eastward in the middle latitudes of both hemispheres, and no mean northward wind anywhere.
    u, v = fields["u500"].mean((0, 1, 3)), fields["v500"].mean(-1)
    assert u[3] > 10 and u[12] > 10
    assert np.abs(v).max() < 1e-4
    again, _ = planet.run(planet.jets[None].expand(2, -1, -1), calm, 3, seed=1)
    assert torch.equal(states, again)


def _raw(coefficients: torch.Tensor, degree: int) -> np.ndarray:
    """Coefficients as PlaSim writes them."""
    parts = []
    for m in range(degree + 1):
        column = coefficients[m : degree + 1, m].numpy()
        parts.append(np.stack([column.real, column.imag], -1).ravel())
    return np.concatenate(parts)


def _write(path: Path, records: list[tuple[list[int], np.ndarray]]) -> None:
    with path.open("wb") as file:
        for header, values in records:
            for part in (np.asarray(header, "<i4"), np.asarray(values, "<f4")):
                mark = np.int32(part.nbytes).tobytes()
                file.write(mark + part.tobytes() + mark)


EDGES = np.asarray([0.1, 0.3, 0.6, 0.8, 0.95, 1.0])


def _records(days: int, temperature: float, ground: np.ndarray, turning: float):
    """Raw output of an isothermal atmosphere in solid rotation over some ground, day by day."""
    harmonics = SphericalHarmonics(GRID, 22)

    def spectral(field: np.ndarray) -> np.ndarray:
        return _raw(harmonics.analysis(torch.tensor(field)), 21)

    sine = np.sin(np.radians(GRID.lat))[:, None]
    flat = np.ones(GRID.shape)
    surface = {
        129: spectral(9.80665 * ground),
        152: spectral(np.log(1e5) - 9.80665 * ground / (287.04 * temperature)),
    }
    upper = {
        130: spectral(temperature * flat),
        133: spectral(0.0 * flat),
        138: spectral(2 * turning * sine * flat),
        155: spectral(0.0 * flat),
    }
    north_first = (280.0 + 10 * np.sin(np.radians(GRID.lat))[::-1, None] * flat).ravel()
    grid = {142: 1e-8 * flat.ravel(), 143: 2e-8 * flat.ravel(), 167: north_first}
    records = [([333, 0, 10101, 0, 64, 32, len(EDGES), 21], np.append(EDGES, np.zeros(100)))]
    for day in range(days):
        stamp = [10101 + day, 2315]
        records += [([code, 0, *stamp, 506, 1, 31, 364], x) for code, x in surface.items()]
        for code, x in upper.items():
            for level in range(1, len(EDGES) + 1):
                records.append(([code, level, *stamp, 506, 1, 31, 364], x))
        records += [([code, 0, *stamp, 64, 32, 31, 364], x) for code, x in grid.items()]
    return records


def test_raw_output_of_plasim(example, tmp_path):
    """An isothermal atmosphere in solid rotation over a hill, whose fields are known."""
    plasim = example("plasim")
    temperature, turning = 260.0, 2e-6
    lat, lon = np.radians(GRID.lat)[:, None], np.radians(GRID.lon)[None, :]
    hill = 500.0 * (1 + np.cos(lat) * np.cos(lon))
    _write(tmp_path / "MOST.00001", _records(3, temperature, hill, turning))
    plasim.convert([tmp_path / "MOST.00001"]).to_netcdf(tmp_path / "planet.nc")
    report = prepare_forecast([tmp_path / "planet.nc"], tmp_path / "planet.zarr")
    store = Store(report.store.path)
    assert str(store.grid) == "gaussian-32x64" and store.step_hours == 24
    assert [str(t)[:10] for t in store.times] == ["0001-01-02", "0001-01-03", "0001-01-04"]
    found = dict(zip(store.names, store.read(0, 3)[1], strict=True))
    scale = 287.04 * temperature / 9.80665
    z500 = hill + scale * np.log(np.exp(np.log(1e5) - hill / scale) / 5e4)
    np.testing.assert_allclose(found["z500"], z500, atol=1.5)
    np.testing.assert_allclose(found["t850"], temperature, atol=1e-3)
    wind = turning * 6.371e6 * np.cos(lat) * np.ones(GRID.shape)
    np.testing.assert_allclose(found["u850"], wind, atol=1e-3)
    np.testing.assert_allclose(found["v850"], 0.0, atol=1e-3)
    np.testing.assert_allclose(found["tp"], 3e-8 * 1000 * 86400, rtol=1e-5)
    assert (np.diff(found["tas"].mean(-1)) > 0).all()  # rows turned to begin in the south
    assert np.abs(found["mslp"] - 1e5).max() < 300.0  # isothermal below the hill or not


def test_raw_output_that_ends_early(example, tmp_path):
    plasim = example("plasim")
    _write(tmp_path / "cut", _records(1, 260.0, np.zeros(GRID.shape), 0.0)[:2])
    whole = (tmp_path / "cut").read_bytes()
    header = np.asarray([130, 1, 10101, 2315, 506, 1, 31, 364], "<i4").tobytes()
    mark = np.int32(32).tobytes()
    (tmp_path / "cut").write_bytes(whole + mark + header + mark)
    with pytest.raises(SystemExit, match="ends in the middle"):
        list(plasim.records(tmp_path / "cut"))


def test_restart_files_of_plasim_are_moved_and_otherwise_kept(example, tmp_path):
    perturb = example("plasim_perturb")
    rng = np.random.default_rng(0)
    names = ("nstep", "sz", "st", "szm", "dls")
    files = [{name: rng.normal(size=6).tobytes() for name in names} for _ in range(3)]
    made = perturb.perturbed(*files, 0.5)
    perturb.write(tmp_path / "restart", made)
    assert perturb.read(tmp_path / "restart") == made
    assert made["dls"] == files[0]["dls"] and made["nstep"] == files[0]["nstep"]
    own, first, second = (np.frombuffer(one["sz"]) for one in files)
    expected = own + 0.5 * (first - second) / np.sqrt(2)
    np.testing.assert_allclose(np.frombuffer(made["sz"]), expected, rtol=0, atol=1e-15)


def test_heights_of_a_constant_lapse_rate(example):
    """Above the ground, below it, and at sea level, for an atmosphere of 6.5 K/km throughout."""
    pressure = example("pressure")
    edges = np.linspace(0.0, 1.0, 201)[1:]
    ground, temperature0 = 1000.0, 288.0
    power = 287.04 * 0.0065 / 9.80665
    surface = 101325.0 * (1 - 0.0065 * ground / temperature0) ** (1 / power)
    middles = 0.5 * (edges + np.append(0.0, edges[:-1]))
    profile = temperature0 * (middles * surface / 101325.0) ** power
    column = (
        profile[None, :, None, None],
        np.zeros((1, 200, 1, 1)),
        np.full((1, 1, 1), surface),
        np.full((1, 1, 1), ground),
        edges,
    )
    for target in (3e4, 5e4, 8e4, 9.8e4):
        exact = temperature0 / 0.0065 * (1 - (target / 101325.0) ** power)
        np.testing.assert_allclose(pressure.heights(*column, target), exact, atol=1.0)
    np.testing.assert_allclose(pressure.sea_level_pressure(*column), 101325.0, atol=5.0)


def test_output_of_speedy(example):
    """Levels from the ground up and latitudes of the model, by the names `jcm` gives."""
    speedy = example("speedy")
    grid = Grid.parse("gaussian-48x96")
    edges = np.asarray([0.05, 0.14, 0.26, 0.42, 0.6, 0.77, 0.9, 1.0])
    levels = 0.5 * (edges + np.append(0.0, edges[:-1]))[::-1]
    shape = (2, 8, 96, 48)
    dims = ("time", "level", "lon", "lat")
    rising = np.broadcast_to(levels[None, :, None, None], shape)
    ground = np.broadcast_to(300.0 * (1 + np.sin(np.radians(grid.lat))), shape)
    scale = 287.04 * 260 / 9.80665
    raw = xr.Dataset(
        {
            "temperature": (dims, np.full(shape, 260.0)),
            "specific_humidity": (dims, np.zeros(shape)),
            "u_wind": (dims, 10 * np.log(rising)),
            "v_wind": (dims, np.zeros(shape)),
            "geopotential": (dims, 9.80665 * (ground + scale * np.log(1 / rising))),
            "normalized_surface_pressure": (dims[:1] + dims[2:], np.exp(-ground / scale)[:, 0]),
        },
        {
            "time": np.array(["2001-01-01", "2001-01-02"], "datetime64[ms]"),
            "level": levels, "lat": grid.lat, "lon": grid.lon,
        },
    )  # fmt: skip
    made = speedy.convert(raw, edges)
    assert made.z500.dims == ("time", "lat", "lon")
    np.testing.assert_allclose(made.z500, scale * np.log(2.0), rtol=1e-5)
    np.testing.assert_allclose(made.t850, 260.0, rtol=1e-6)
    south = made.u850.isel(lat=0)  # the ground is nearly at sea level there
    np.testing.assert_allclose(south, 10 * np.log(0.85), rtol=1e-3)
    np.testing.assert_allclose(made.mslp, 1e5, rtol=5e-3)


def _run_of(start, days, calendar, mean, seed):
    """Daily fields of one channel from a date on, with an eddy that no two runs share."""
    import cftime

    rng, grid = np.random.default_rng(seed), Grid.parse("gaussian-8x16")
    units = f"days since {start}"
    times = cftime.num2date(np.arange(days), units, calendar)
    fields = mean + rng.normal(size=(days, *grid.shape))
    return xr.Dataset(
        {"mslp": (("time", "lat", "lon"), fields.astype("f4"), {"units": "Pa"})},
        {"time": times, "lat": ("lat", grid.lat, {"units": "degrees_north"}),
         "lon": ("lon", grid.lon, {"units": "degrees_east"})},
    )  # fmt: skip


def test_uncertain_analyses_are_moved_once_by_the_law_of_the_members(
    example, tmp_path, small_store, small_models, monkeypatch, capsys
):
    from weather.forecast.initial import read_initial
    from weather.forecast.perturb import LaggedDifference
    from weather.forecast.spec import ForecastSpec

    script, out = example("uncertain_analyses"), tmp_path / "analyses.nc"
    model = small_models["crps"]
    words = [small_store, "--archive", small_store, "--model", model, "--every", "40", "-o", out]
    monkeypatch.setattr(sys, "argv", ["uncertain_analyses.py", *map(str, words)])
    script.main()
    assert "initial times in" in capsys.readouterr().out
    spec = ForecastSpec.from_meta(json.loads((Path(model) / "meta.json").read_text()))
    moved = read_initial(out, spec, ["all"])
    store = Store(small_store)
    assert len(moved) == len(range(6, len(store) - 10, 40)) > 2
    plain = read_initial(small_store, spec, ["all"])
    for one in moved:
        (analysis,) = [x for x in plain if x.time == one.time]
        law = LaggedDifference(spec, store, 0.05)
        wanted = law(analysis, [script.APART], 77)[0]
        torch.testing.assert_close(one.frames, wanted, rtol=1e-5, atol=1e-5)
        assert (one.frames != analysis.frames).float().mean() > 0.5


def test_a_further_run_is_prepared_beside_the_first(example, tmp_path, monkeypatch, capsys):
    """The last days are those of the first run, and no window crosses a leap day or the joint."""
    further = example("further_run")
    first = _run_of("0003-03-03", 800, "noleap", 101206.0, 0)
    more = _run_of("0003-01-01", 900, "proleptic_gregorian", 101196.0, 1)  # 0004 has a leap day
    first.to_netcdf(tmp_path / "first.nc")
    more.to_netcdf(tmp_path / "more.nc")
    words = [str(tmp_path / "first.nc"), str(tmp_path / "more.nc"), "--shift", "mslp",
             "-o", str(tmp_path / "both")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["further_run.py", *words])
    further.main()
    assert "mslp: 101206, further 101196, apart 10" in capsys.readouterr().out
    _run("prepare", "forecast", tmp_path / "both", "--gaps", "keep", "-o", tmp_path / "both.zarr")
    store = Store(tmp_path / "both.zarr")
    # 424 days to the 28th of February of the year 4, and then those after the leap day.
    assert [stop - start for start, stop in store.runs] == [424, 475, 800]
    np.testing.assert_allclose(store.read(899, 1699)[:, 0], first.mslp.values, atol=0.02)
    assert store.times[-1].strftime("%m-%d") == first.time.values[-1].strftime("%m-%d")
    made = store.read(0, 899)[:, 0]
    np.testing.assert_allclose(made[:424] - more.mslp.values[:424], 10.0, atol=0.1)
    np.testing.assert_allclose(made[424:] - more.mslp.values[425:], 10.0, atol=0.1)
