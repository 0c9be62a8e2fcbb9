"""`sciddiff forecast` from the command line to the files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from weather.data.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def _run(*words: object) -> int:
    return main([str(word) for word in ("forecast", *words)])


def _words(model: str, store: Path, out: Path, *more: object) -> list[str]:
    fast = (store, "--model", model, "--json", "-o", out, "--batch", 2, "--days", 3)
    return [str(word) for word in (*fast, *more)]


def _files(root: Path) -> dict[str, bytes]:
    """Every file of a forecast but the record, which holds times of day."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def made(small_models, small_store, tmp_path_factory) -> Path:
    """A forecast of five members from two dates."""
    out = tmp_path_factory.mktemp("forecast") / "fc.zarr"
    starts = ("--start", "0003-04-01", "0003-04-20")
    assert _run(*_words(small_models["crps"], small_store, out, "--members", 5, *starts)) == 0
    return out


def test_dimensions_coordinates_and_attributes(made, small_store):
    data = xr.open_zarr(made)
    assert list(data.sizes.items()) == [
        ("time", 2), ("number", 5), ("prediction_timedelta", 3), ("latitude", 16),
        ("longitude", 32),
    ]  # fmt: skip
    assert [t.isoformat() for t in data.time.values] == [
        "0003-04-01T00:00:00", "0003-04-20T00:00:00",
    ]  # fmt: skip
    assert data.time.attrs["standard_name"] == "forecast_reference_time"
    leads = data.prediction_timedelta.values
    assert (leads == np.array([1, 2, 3], dtype="timedelta64[D]")).all()
    assert data.latitude.values[0] < 0 < data.latitude.values[-1]
    assert set(data.data_vars) == {"z500", "u850", "v850", "q700", "tas"}
    assert data.z500.attrs["units"] == "m"
    assert data.z500.attrs["standard_name"] == "geopotential_height"
    assert data.attrs["head"] == "crps" and data.attrs["seed"] == 0 and data.attrs["steps"] == 1
    assert np.isfinite(data.to_array().values).all()
    assert (data.q700.values >= 0).all()
    now = Store(small_store).read(31, 32)[0, 0]
    change = data.z500.sel(number=0).isel(time=0, prediction_timedelta=0).values - now
    assert 1.0 < change.std() < 100.0
    record = json.loads((made / "run.json").read_text())
    assert record["request"]["seed"] == 0 and record["model_card"]["format"] == 1


def test_a_larger_ensemble_begins_with_the_smaller_one(made, small_models, small_store, tmp_path):
    out = tmp_path / "more.zarr"
    model, start = small_models["crps"], ("--start", "0003-04-20")
    assert _run(*_words(model, small_store, out, "--members", 2, *start)) == 0
    first = xr.open_zarr(out).load()
    assert _run(*_words(model, small_store, out, "--members", 5, *start)) == 0
    more, other = xr.open_zarr(out).load(), xr.open_zarr(made).isel(time=[1]).load()
    assert more.sizes["number"] == 5
    for name in first.data_vars:
        assert (first[name].values == more[name].values[:, :2]).all()
        scale = float(other[name].std())
        assert np.abs(more[name].values - other[name].values).max() < 1e-4 * scale


def test_a_killed_run_goes_on_to_identical_files(made, small_models, small_store, tmp_path):
    """Killed without warning in the middle of a block, as the kernel does."""
    out = tmp_path / "killed.zarr"
    starts = ("--start", "0003-04-01", "0003-04-20", "--members", 5)
    words = _words(small_models["crps"], small_store, out, *starts)
    code = (
        "import os, sys\n"
        "from weather.forecast import ensemble\n"
        "old, count = ensemble.EnsembleStore.write, [0]\n"
        "def write(self, block, lead, values):\n"
        "    count[0] += 1\n"
        "    old(self, block, lead, values if count[0] < 4 else 0 * values)\n"
        "    if count[0] == 4: os._exit(9)\n"
        "ensemble.EnsembleStore.write = write\n"
        "from sciddiff.cli.main import main\n"
        f"main(['forecast', *{words!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert len(list((out / ".done").iterdir())) == 3
    assert _run(*words) == 0
    assert _files(out) == _files(made)
    before = _files(out)
    left = tmp_path / ".killed.zarr.lock"
    left.touch()  # of a run that was killed when it was all but done
    assert _run(*words) == 0
    assert _files(out) == before
    assert not left.exists()


@pytest.mark.slow
def test_two_processes_make_what_one_makes(made, small_models, small_store, tmp_path):
    out = tmp_path / "two.zarr"
    starts = ("--start", "0003-04-01", "0003-04-20", "--members", 5)
    words = _words(small_models["crps"], small_store, out, *starts)
    code = "import sys; from sciddiff.cli.main import main; sys.exit(main(sys.argv[1:]))"
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    place["MASTER_PORT"] = str(29511 + os.getpid() % 400)
    team = [
        subprocess.Popen(
            [sys.executable, "-c", code, "forecast", *words],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in team]
    assert [process.returncode for process in team] == [0, 0], said
    assert said[0][0] and not said[1][0]
    assert _files(out) == _files(made)


def test_netcdf_holds_the_same(made, small_models, small_store, tmp_path, capsys):
    out = tmp_path / "fc.nc"
    starts = ("--start", "0003-04-01", "0003-04-20", "--members", 5)
    words = _words(small_models["crps"], small_store, out, *starts)
    assert _run(*words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fc.nc", "fc.nc.run.json"]
    one, other = xr.open_dataset(out), xr.open_zarr(made)
    xr.testing.assert_equal(one.load(), other.load())
    assert one.attrs == other.attrs
    stamp = out.stat().st_mtime_ns
    assert _run(*words) == 0
    assert out.stat().st_mtime_ns == stamp
    # Killed between the file and the removal of the store that it is a copy of.
    (tmp_path / ".fc.nc.zarr").mkdir()
    assert _run(*words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fc.nc", "fc.nc.run.json"]
    capsys.readouterr()
    assert _run(*words, "--seed", 9) == 2
    assert "made by another request: seed was" in capsys.readouterr().err
    assert _run(*words, "--members", 6) == 2
    assert "is there already with 5 members" in capsys.readouterr().err


def test_the_last_line_says_where_and_what_next(small_models, small_store, tmp_path, capsys):
    out = tmp_path / "fc.zarr"
    model = small_models["diffusion"]
    words = (small_store, "--model", model, "-o", out, "--members", 1, "--days", 1, "--steps", 2)
    assert _run(*words) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert f"in {out}" in lines[0] and lines[-1].startswith("next: sciddiff report")
    assert xr.open_zarr(out).attrs["steps"] == 2


@pytest.mark.parametrize("kind", ["lagged-difference", "random-field"])
def test_perturbed_members_differ_from_the_start(kind, small_models, small_store, tmp_path):
    out = tmp_path / "fc.zarr"
    more = ("--members", 4, "--perturb", kind, "--archive", small_store, "--amplitude", 0.5)
    assert _run(*_words(small_models["crps"], small_store, out, *more)) == 0
    assert xr.open_zarr(out).attrs["perturb"] == kind


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent.nc",), "absent.nc"),
        (("STORE", "--days", "2.5"), "whole number of steps"),
        (("STORE", "--start", "0009-01-01"), "does not hold it"),
        (("STORE", "--start", "banana"), "not a date"),
        (("STORE", "--start", "0003-03-01"), "0003-02-28T00:00:00 is missing"),
        (("STORE", "--head", "diffusion"), "trained for crps"),
        (("STORE", "--model", "absent"), "absent"),
        (("STORE", "--perturb", "lagged-difference"), "--archive"),
        (("STORE", "--perturb", "random-field", "--amplitude", "-1"), "amplitude"),
        (("STORE", "--amplitude", "0.1"), "--amplitude: applies to --perturb only"),
        (("STORE", "--memory", "lots"), "--memory"),
        (("STORE", "--device", "warp"), "warp"),
        (("STORE", "-o", "STORE"), "exists"),
        (("STORE", "-o", "fc.csv"), ".csv is not written; name it with .zarr, .nc or .grib"),
        (("STORE", "-o", "fc.NC"), ".NC is not written"),
        (("STORE", "-o", "MADE"), "another command"),
    ],
)
def test_bad_input_is_one_line_and_status_two(
    words, said, made, small_models, small_store, tmp_path, capsys
):
    places = {"STORE": str(small_store), "MADE": str(made)}
    given = [places.get(word, word) for word in words]
    if "--model" not in given:
        given += ["--model", small_models["crps"]]
    if "-o" not in given:
        given += ["-o", str(tmp_path / "out.zarr")]
    assert _run(*given, "--members", 2) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("sciddiff: error:")
    assert said in lines[0]
    assert not (tmp_path / "out.zarr").exists()


def test_missing_values_are_named_before_anything_is_written(
    small_models, small_store, tmp_path, capsys
):
    store = Store(small_store)
    fields = {
        channel.name: (("time", "lat", "lon"), store.read(5, 7)[:, c], {"units": channel.units})
        for c, channel in enumerate(store.channels)
    }
    coords = {"time": store.times[5:7], "lat": store.grid.lat, "lon": store.grid.lon}
    data = xr.Dataset(fields, coords)
    data.u850[1, 3, 4] = np.nan
    data.to_netcdf(tmp_path / "init.nc")
    words = (tmp_path / "init.nc", "--model", small_models["crps"], "-o", tmp_path / "fc.zarr")
    assert _run(*words) == 2
    said = capsys.readouterr().err
    assert "u850: 0.20% of the field is missing (NaN) at 0003-03-07" in said
    assert not (tmp_path / "fc.zarr").exists()
