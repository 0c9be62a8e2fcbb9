"""``sciddiff prepare forecast``: good files, each bad one, resume, real data."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data.prepare import prepare_forecast
from weather.data.reading import ReaderSettings
from weather.data.store import Store
from weather.data.times import Period
from weather.sphere.grids import Grid


def _run(*words: object) -> int:
    return main(["prepare", "forecast", *(str(w) for w in words)])


@pytest.fixture
def era(make_dataset, tmp_path: Path):
    """A data set of 40 days, its file and the store to write."""
    ds = make_dataset(40)
    ds.to_netcdf(tmp_path / "era.nc")
    return ds, tmp_path / "era.nc", tmp_path / "data.zarr"


def test_from_file_to_store(era, capsys: pytest.CaptureFixture):
    ds, path, out = era
    words = ("--grid", "gaussian-8x16", "--variables", "z500,tas,t", "--step", "2d", "--json")
    ds["t2m"] = ds.t.isel(level=1, drop=True)
    ds.to_netcdf(path.with_name("b.nc"))
    path = path.with_name("b.nc")
    assert _run(path, "-o", out, *words) == 0
    printed = json.loads(capsys.readouterr().out)
    store = Store(out)
    assert printed["fingerprint"] == store.fingerprint
    assert store.names == ("z500", "tas", "t500", "t850")
    assert store.step_hours == 48 and len(store) == 20
    assert printed["mean"] == store.statistics.mean.tolist()
    assert printed["matching"][0] == {
        "variable": "z", "file_units": "m**2 s**-2", "channel": "z500", "units": "m",
        "note": "x 0.101972",
    }  # fmt: skip
    # The area mean of the store is that of the file.
    w = Grid("regular", 13, 24).weights[:, None]
    wanted = (ds.z.values[::2, 0] / 9.80665 * w).mean((1, 2))
    found = (store.read(0, 20)[:, 0] * store.grid.weights[:, None]).mean((1, 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_text_has_table_times_grid_and_statistics(era, capsys: pytest.CaptureFixture):
    ds, path, out = era
    ds["lsm"] = ds.msl[0].drop_vars("time")
    ds.to_netcdf(path.with_name("b.nc"))
    assert _run(path.with_name("b.nc"), "-o", out, "--train-period", "2001-01-01:2001-01-20") == 0
    text = capsys.readouterr().out
    assert "z         m**2 s**-2  z500     m       x 0.101972" in text
    assert "lsm" in text and "does not change in time" in text
    assert "times    40, 2001-01-01T00:00:00 to 2001-02-09T00:00:00, step 24 h" in text
    assert "grid     regular-13x24" in text
    store = Store(out)
    first = store.statistics_over(Period("2001-01-01", "2001-01-20"))
    np.testing.assert_array_equal(store.statistics.mean, first.mean)
    assert store.attributes["training_period"] == "2001-01-01/2001-01-20"


def test_dry_run_writes_nothing(era, capsys: pytest.CaptureFixture):
    _, path, out = era
    assert _run(path, "--dry-run") == 0
    assert "nothing written" in capsys.readouterr().out
    assert _run(path, "--dry-run", "-o", out, "--units", "t=bananas") == 2
    printed = capsys.readouterr()
    assert "units unknown" in printed.out and "t: units 'bananas' do not become K" in printed.err
    assert not out.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from weather.data.prepare import prepare_forecast
def tell(done, total):
    if done >= 32:
        os.kill(os.getpid(), signal.SIGKILL)
prepare_forecast([sys.argv[1]], Path(sys.argv[2]), tell=tell)
"""


def test_a_killed_run_is_continued(era, tmp_path: Path, capsys: pytest.CaptureFixture):
    _, path, out = era
    whole = prepare_forecast([path], tmp_path / "whole.zarr").store
    process = subprocess.run([sys.executable, "-c", KILLED, path, out], check=False)
    assert process.returncode == -signal.SIGKILL
    assert _run(path, "-o", out, "--variables", "z") == 2
    assert "half written by a run with other channels" in capsys.readouterr().err
    assert _run(path, "-o", out) == 0
    assert "resumed  32 times were written by an earlier run" in capsys.readouterr().out
    assert whole is not None
    assert Store(out).fingerprint == whole.fingerprint
    assert Store(out).statistics.std.tolist() == whole.statistics.std.tolist()


def test_a_store_is_its_files_and_settings(era, tmp_path: Path, capsys: pytest.CaptureFixture):
    """A finished command does nothing; changed files or options are refused by name."""
    _, path, out = era
    assert _run(path, "-o", out) == 0
    stamps = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    moved = tmp_path / "elsewhere" / "renamed.nc"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    for words in ((path,), (path, "--any-values", "--gaps", "keep"), (moved,)):
        assert _run(*words, "-o", out) == 0
        assert {f: f.stat().st_mtime_ns for f in out.rglob("*") if f.is_file()} == stamps
    capsys.readouterr()
    for words, name in (
        (("--duplicates", "first"), "duplicates"),
        (("--units", "z=m**2 s**-2"), "units"),
        (("--train-period", "2000"), "train-period"),
    ):
        if _run(path, "-o", out, *words) == 0:
            pytest.fail(f"{name} was ignored")
        said = capsys.readouterr().err
        assert f"made with other {name}" in said or "--train-period" in said, said
    with netCDF4.Dataset(moved, "r+") as file:
        name = next(n for n, v in file.variables.items() if v.ndim >= 3)
        file[name][0] = np.asarray(file[name][0]) * 1.0001
    assert _run(moved, "-o", out) == 2
    assert "made with other files" in capsys.readouterr().err


def test_a_half_written_store_takes_no_other_member(era, tmp_path: Path, capsys):
    _, path, out = era
    process = subprocess.run([sys.executable, "-c", KILLED, path, out], check=False)
    assert process.returncode == -signal.SIGKILL
    assert _run(path, "-o", out, "--duplicates", "last") == 2
    assert "half written by a run with other duplicates" in capsys.readouterr().err


def test_a_hole_found_late_loses_nothing(era, capsys: pytest.CaptureFixture):
    """The run stops at the hole; with a rule the same command goes on from there."""
    ds, path, out = era
    ds["msl"][25, 3, 4] = np.nan
    ds.to_netcdf(path)
    assert _run(path, "-o", out) == 2
    assert "--nan mslp=fill" in capsys.readouterr().err
    assert _run(path, "-o", out, "--nan", "mslp=fill") == 0
    assert "resumed  16 times" in capsys.readouterr().out
    assert _run(path, "-o", out, "--nan", "mslp=fill", "--nan", "z500=fill") == 0
    for rule in ("mslp=min", "z500=fill"):
        assert _run(path, "-o", out, "--nan", rule) == 2
        assert "made with other nan" in capsys.readouterr().err
    store = Store(out)
    assert store.attributes["nan_policy"] == {"mslp": "fill"}
    assert store.observed is not None and (~store.observed).sum() == 1


def _mess(ds: xr.Dataset, kind: str) -> xr.Dataset:
    if kind == "gap":
        return ds.drop_isel(time=17)
    if kind == "twice":
        return xr.concat([ds, ds.isel(time=[3])], "time")
    if kind == "celsius":
        ds["t"] = (ds.t - 273.15).assign_attrs(units="K")
    if kind == "height":
        ds["z"] = ds.z.assign_attrs(units="m")
    if kind == "hole":
        ds["msl"][19, 3, 4:6] = np.nan
    if kind == "shifted":
        return ds.assign_coords(longitude=ds.longitude + 7.5)
    if kind == "region":
        return ds.isel(latitude=slice(3, 9), longitude=slice(2, 9))
    return ds


BAD = [
    ("gap", (), "a gap in steps of 24 h, first between 2001-01-17", ("--gaps", "keep")),
    ("twice", (), "1 repeated, first 2001-01-04", ("--duplicates", "first")),
    ("celsius", (), "say --units t='degC'", ("--units", "t=degC")),
    ("height", (), "say --units z='m2 s-2'", ("--units", "z=m2 s-2")),
    ("hole", (), "mslp: 0.64% of the field is missing", ("--nan", "mslp=fill")),
    ("shifted", (), "for example --grid equiangular-12x24", ("--grid", "equiangular-12x24")),
    ("region", ("--grid", "gaussian-8x16"), "leave --grid out", None),
    ("", ("--variables", "z700"), "level 700 hPa is not in the files; z is at 500, 850", None),
    ("", ("--variables", "q"), "q: not in the files", None),
    ("", ("--grid", "gaussian32"), "is not KIND-HEIGHTxWIDTH", None),
    ("", ("--period", "1999:2000"), "--period 1999/2000: the files hold 2001-01-01", None),
    ("", ("--period", "yesterday"), "not a period", None),
    ("", ("--train-period", "1990:1991"), "--train-period 1990/1991: the store holds", None),
    ("", ("--step", "6h"), "a field every 24 h only", None),
    ("", ("--nan", "mslp"), "--nan mslp: write NAME=refuse", None),
    ("", ("--step", "48h"), "say --aggregate tp=sum", ("--step", "48h", "--aggregate", "tp=sum")),
    ("", ("--aggregate", "tp"), "--aggregate tp: write NAME=METHOD with sum, mean", None),
    ("", ("--aggregate", "sst=mean"), "--aggregate sst: not among the channels", None),
    ("", ("--missing", "msl=none"), "--missing msl=none: not a number", None),
    ("", ("--missing", "mslp=-9"), "--missing mslp: not in the files; they hold", None),
    ("", ("--member", "3"), "--member 3: the files hold no ensemble members", None),
    ("", ("--method", "bilinear"), "--method: applies to --grid only", None),
    ("", ("--units", "t"), "--units t: not of the form VAR=VALUE", None),
    ("", ("--levels", "low"), "--levels low: not numbers", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "line", "remedy"), BAD)
def test_bad_input_is_one_line(make_dataset, tmp_path, capsys, kind, words, line, remedy):
    path, out = tmp_path / "bad.nc", tmp_path / "data.zarr"
    _mess(make_dataset(40), kind).to_netcdf(path)
    assert _run(path, "-o", out, *words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1 and line in printed.err
    assert not out.exists()
    if remedy is not None:
        assert _run(path, "-o", out, *remedy) == 0


def test_order_and_direction_are_no_faults(era, tmp_path, capsys):
    """Unsorted times, north to south, -180 to 180: the same store as from a tidy file."""
    ds, path, out = era
    messy = ds.isel(latitude=slice(None, None, -1), time=np.random.default_rng(0).permutation(40))
    messy = messy.assign_coords(longitude=(messy.longitude + 180) % 360 - 180).sortby("longitude")
    messy.to_netcdf(tmp_path / "messy.nc")
    assert _run(tmp_path / "messy.nc", "-o", out) == 0
    assert "times were out of order and have been sorted" in capsys.readouterr().out
    tidy = prepare_forecast([path], tmp_path / "tidy.zarr").store
    assert tidy is not None and Store(out).fingerprint == tidy.fingerprint


def test_places_that_cannot_be_written(era, tmp_path, capsys):
    _, path, out = era
    for words, line in (
        ((path,), "-o: not given"),
        ((path, "-o", "data.nc"), "a store is a Zarr folder; name it data.zarr"),
        ((path, "-o", "data.GRB2"), "a store is a Zarr folder; name it data.zarr"),
        ((path, "-o", path), "is also a file to read"),
        ((tmp_path / "absent.nc", "-o", out), "no such file or folder"),
    ):
        assert _run(*words) == 2
        assert line in capsys.readouterr().err
    assert _run(path, "-o", out) == 0
    before = Store(out).fingerprint
    assert _run(path, "-o", out, "--variables", "z") == 2
    said = capsys.readouterr().err
    assert "a complete store is there, made with other channels" in said
    assert "give --overwrite" in said
    # A fault of the files is found before the old store goes.
    assert _run(path, "-o", out, "--overwrite", "--variables", "q") == 2
    assert Store(out).fingerprint == before
    assert _run(path, "-o", out, "--overwrite", "--variables", "z") == 0
    assert Store(out).names == ("z500", "z850")


TWO = Period("2001", "2002")
REAL = [
    ("era5_global_1deg_7days_2026", {}, "6 gaps in steps of 7 h"),
    ("era5_global_1deg_7days_2026", {"gaps": "keep", "grid": "gaussian-32x64"}, "gaussian-32x64"),
    ("era5_eda_10members_3deg_20170101", {}, r"choose one with --member LABEL \(0 to 9\)"),
    ("era5_eda_10members_3deg_20170101", {"member": 3}, "regular-61x120"),
    ("era5_tl31_1959-01-02T00_37levels", {"levels": (500.0,)}, "gaussian-32x64"),
    ("eraint_uvz_jan_jul_1p5deg", {}, "months of a climatology"),
    ("era5_pv_uv_isentropic_1deg_6hourly_195906", {}, "say which: --rename PV=pv500"),
    ("ncep_r1_iberia_djf_daily_1983-2002", {}, "19 gaps in steps of 24 h"),
    ("ncep_r1_iberia_djf_daily_1983-2002", {"gaps": "keep", "period": TWO}, "regional-5x7"),
    ("ncep_r1_slp_natlantic_daily_2001-2010", {"period": TWO}, "regional-17x33"),
    ("ncep_z500_monthly_21_global_2p5deg", {}, "a gap in steps of 12 months"),
    ("ncep_uv_climatology_monthly_2p5deg", {}, "regular-73x144"),
    ("ncep_z500_djf_mean_1948-2012_natlantic", {}, "regional-29x49"),
    ("sst_monthly_1979-2013_t30", {}, "say what it is: --rename ssta=CHANNEL"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "outcome"), REAL)
def test_real_files(weather_files: Path, tmp_path: Path, name, settings, outcome):
    path, out = weather_files / "real" / f"{name}.nc", tmp_path / "data.zarr"
    try:
        store = prepare_forecast([path], out, ReaderSettings(**settings)).store
    except InputError as error:
        assert re.search(outcome, str(error)) and not out.exists(), error
        return
    assert store is not None and str(store.grid) == outcome
    assert np.isfinite(store.statistics.std).all()
    assert np.isfinite(store.read(0, 1)).all()


def test_the_planet_as_it_is(weather_files: Path, tmp_path: Path):
    path = weather_files / "planet" / "plasim_verify_control.nc"
    wanted = ("z500", "tp")
    settings = ReaderSettings(wanted, period=Period("0001-08-10", "0001-09-10"))
    store = prepare_forecast([path], tmp_path / "data.zarr", settings).store
    assert store is not None and store.calendar == "noleap"
    assert str(store.grid) == "gaussian-32x64" and len(store) == 32
    with xr.open_dataset(path) as ds:
        for k, name in enumerate(wanted):
            assert np.array_equal(store.read(5, 6)[0, k], ds[name].values[5].astype("f4"))


def test_memory_does_not_grow_with_the_archive(era, monkeypatch: pytest.MonkeyPatch):
    """Blocks are read as slices of the file, however long it is."""
    from weather.data import reading

    _, path, out = era
    sizes: list[int] = []
    plain = reading.mask_fills

    def watching(values: np.ndarray, *more: object) -> np.ndarray:
        sizes.append(len(values))
        return plain(values, *more)

    monkeypatch.setattr(reading, "mask_fills", watching)
    prepare_forecast([path], out)
    assert max(sizes) <= 16
