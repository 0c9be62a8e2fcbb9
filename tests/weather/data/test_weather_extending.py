"""Extending a store: equal to preparing all at once, readable all the while, killed anywhere."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.data import extending, prepare
from weather.data.prepare import extend_forecast, prepare_forecast
from weather.data.reading import ReaderSettings
from weather.data.store import Store

DAYS = 45


@pytest.fixture(scope="module")
def parts(make_dataset, tmp_path_factory) -> tuple[Path, Path, Path]:
    """The files of a series, of its first 20 days and of the rest; land has no sst."""
    folder = tmp_path_factory.mktemp("series")
    ds = make_dataset(DAYS).drop_vars("tp")
    ds["sst"] = ds.msl.copy(data=280.0 + ds.msl.values / 1e5).assign_attrs(units="K")
    ds["sst"][:20, 3, 4:7] = np.nan
    ds["sst"][20:, 5, 8] = np.nan
    files = [folder / name for name in ("all.nc", "first.nc", "rest.nc")]
    for file, chosen in zip(files, (slice(None), slice(20), slice(20, None)), strict=True):
        ds.isel(time=chosen).to_netcdf(file)
    return files[0], files[1], files[2]


SETTINGS = ReaderSettings(grid="gaussian-8x16", nan={"sst": "fill"})


@pytest.fixture(scope="module")
def begun(parts, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("begun") / "first.zarr"
    prepare_forecast([parts[1]], path, SETTINGS)
    return path


@pytest.fixture
def path(begun, tmp_path) -> Path:
    """The store of the first days, to be extended."""
    return Path(shutil.copytree(begun, tmp_path / "data.zarr"))


def _equal(one: Store, other: Store) -> None:
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.read(0, len(one)), other.read(0, len(other)))
    assert np.array_equal(one.times, other.times)
    assert np.array_equal(one.observed, other.observed)
    for name in ("mean", "std", "tendency_std"):
        assert getattr(one.statistics, name).tobytes() == getattr(other.statistics, name).tobytes()
    assert one.attributes["sums"] == other.attributes["sums"]


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("whole") / "all.zarr"
    return prepare_forecast([parts[0]], path, SETTINGS).store


def test_an_extended_store_is_that_of_all_files(parts, whole, path, capsys):
    words = ["prepare", "forecast", str(parts[2]), "-o", str(path), "--append"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["former"], told["times"]) == (20, 25)
    _equal(Store(path), whole)
    # xarray reads all of it; the same command finds it there and changes nothing.
    assert xr.open_zarr(path).sizes["time"] == DAYS
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*") if p.is_file()}
    assert main(words) == 0
    assert "extended from 20 to 45 times" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_killed_extension_leaves_the_store_and_is_followed(
    parts, whole, path, monkeypatch, blocks
):
    before = Store(path)
    former = before.read(0, 20)
    done = 0

    class KillError(Exception):
        pass

    write = extending.StoreExtender.write

    def stop(self, fields, filled):
        nonlocal done
        if done == blocks:
            raise KillError
        done += 1
        write(self, fields, filled)

    monkeypatch.setattr(extending.StoreExtender, "write", stop)
    with pytest.raises(KillError):
        extend_forecast([parts[2]], path, SETTINGS)
    monkeypatch.undo()
    now = Store(path)
    assert len(now) == 20 and now.fingerprint == before.fingerprint
    assert np.array_equal(now.read(0, 20), former)
    assert np.array_equal(now.observed, before.observed)
    report = extend_forecast([parts[2]], path, SETTINGS)
    assert report.resumed == 12 * blocks
    _equal(report.store, whole)


@pytest.mark.parametrize("step", range(4))
def test_a_kill_in_the_last_moment_is_settled(parts, whole, path, monkeypatch, step):
    count = 0
    consolidate, marked = extending.consolidate, extending.mark_filled

    def counted(function):
        def call(*arguments):
            nonlocal count
            # The rule for missing values marks blocks before; the last moment begins with status.
            if extending.read_attributes(path)["status"] != "complete":
                count += 1
            if count == step + 1:
                raise KeyboardInterrupt
            return function(*arguments)

        return call

    monkeypatch.setattr(extending, "consolidate", counted(consolidate))
    monkeypatch.setattr(extending, "mark_filled", counted(marked))
    try:
        extend_forecast([parts[2]], path, SETTINGS)
    except KeyboardInterrupt:
        if step < 2:
            with pytest.raises(InputError, match="repeat the command with --append"):
                Store(path)
    monkeypatch.undo()
    _equal(extend_forecast([parts[2]], path, SETTINGS).store, whole)


def test_another_extension_begins_anew(parts, whole, path, tmp_path, monkeypatch):
    wrong = xr.open_dataset(parts[2]) + 0.5
    for name, field in xr.open_dataset(parts[2]).data_vars.items():
        wrong[name].attrs = field.attrs
    wrong.to_netcdf(tmp_path / "wrong.nc")
    monkeypatch.setattr(extending.StoreExtender, "finish", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extend_forecast([tmp_path / "wrong.nc"], path, SETTINGS)
    monkeypatch.undo()
    _equal(extend_forecast([parts[2]], path, SETTINGS).store, whole)


def test_a_store_is_extended_twice(parts, whole, path, tmp_path):
    ds = xr.open_dataset(parts[2])
    for name, chosen in (("b.nc", slice(7)), ("c.nc", slice(7, None))):
        ds.isel(time=chosen).to_netcdf(tmp_path / name)
        extend_forecast([tmp_path / name], path, SETTINGS)
    _equal(Store(path), whole)
    assert [e["times"] for e in Store(path).attributes["extensions"]] == [7, 18]


def test_other_times_of_one_file_are_another_extension(parts, whole, path, capsys):
    """A file that holds all years is appended period by period, and nothing else is told."""
    words = ["prepare", "forecast", str(parts[0]), "-o", str(path), "--append", "--json"]
    first, rest = "2001-01-21:2001-01-27", "2001-01-28:2001-02-14"
    assert main([*words, "--period", first]) == 0
    assert len(Store(path)) == 27
    for period, told in (
        ("2001-01-30:2001-02-14", "ends at 2001-01-27.*not one step"),
        ("2001-01-25:2001-02-14", "the files begin at 2001-01-25"),
    ):
        capsys.readouterr()
        assert main([*words, "--period", period]) == 2 and len(Store(path)) == 27
        assert re.search(told, capsys.readouterr().err)
    assert main([*words, "--period", rest]) == 0
    _equal(Store(path), whole)
    assert main([*words, "--period", rest]) == 0  # the same command again does nothing
    _equal(Store(path), whole)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda ds: ds.isel(time=slice(15, None)), [], "the files begin at 2001-01-16.*--period"),
        (lambda ds: ds.isel(time=slice(22, None)), [], "ends at 2001-01-20.*not one step"),
        (lambda ds: ds.isel(time=slice(20, None, 2)), [], "a field every 48 h only"),
        (lambda ds: ds.isel(time=slice(20, None)).drop_vars("msl"), [], "mslp"),
        (lambda ds: ds.isel(time=slice(20, None)), ["--grid", "gaussian-16x32"], "holds the grid"),
        (lambda ds: ds.isel(time=slice(20, None)), ["--nan", "sst=min"], "the same rule"),
        (lambda ds: ds.isel(time=slice(20, None)), ["--overwrite"], "leave out --overwrite"),
        (lambda ds: ds.isel(time=slice(20, None)), ["--variables", "z500"], "the channels are"),
    ],
    ids=["overlap", "gap", "step", "channel", "grid", "rule", "overwrite", "fewer"],
)
def test_files_that_do_not_continue_it_are_refused(
    parts, path, tmp_path, capsys, change, words, message
):
    before = Store(path).fingerprint
    change(xr.open_dataset(parts[0])).to_netcdf(tmp_path / "later.nc")
    status = main(
        ["prepare", "forecast", str(tmp_path / "later.nc"), "-o", str(path), "--append", *words]
    )
    told = capsys.readouterr().err
    assert status == 2 and len(told.strip().splitlines()) == 1
    assert re.search(message, told), told
    assert Store(path).fingerprint == before


def test_a_gap_is_kept_where_that_is_said(parts, path, tmp_path):
    xr.open_dataset(parts[0]).isel(time=slice(22, None)).to_netcdf(tmp_path / "later.nc")
    settings = ReaderSettings(gaps="keep")
    store = extend_forecast([tmp_path / "later.nc"], path, settings).store
    assert store.runs == [(0, 20), (20, 43)]


def test_an_area_and_periods_go_on(make_dataset, tmp_path):
    ds = make_dataset(20)
    ds = ds.isel(time=np.repeat(np.arange(20), 2)).assign_coords(
        time=np.datetime64("2001-01-01T12", "ns") + np.arange(40) * np.timedelta64(12, "h")
    )
    words = ["--area", "15:60,30:120", "--variables", "tp", "--aggregate", "tp=sum"]
    words += ["--step", "1d"]
    for name, chosen in (("all", slice(None)), ("a", slice(20)), ("b", slice(20, None))):
        ds.isel(time=chosen).to_netcdf(tmp_path / f"{name}.nc")

    def run(name, out, *more):
        return main(
            ["prepare", "forecast", str(tmp_path / f"{name}.nc"), "-o", str(tmp_path / out),
             *words, *more]
        )  # fmt: skip

    assert run("all", "all.zarr", "--chunk", "4") == 0
    assert run("a", "data.zarr", "--chunk", "4") == 0
    assert run("b", "data.zarr", "--append") == 0
    whole, joined = Store(tmp_path / "all.zarr"), Store(tmp_path / "data.zarr")
    assert joined.chunk == 4
    assert joined.fingerprint == whole.fingerprint
    bounds = joined.array("time_bnds")
    assert np.array_equal(bounds, whole.array("time_bnds"))
    # Without the option the fields would be of other periods.
    shutil.rmtree(tmp_path / "data.zarr")
    assert run("a", "data.zarr") == 0
    with pytest.raises(InputError, match="sums and means are time: sum"):
        daily = ds.isel(time=slice(21, None, 2))
        daily.to_netcdf(tmp_path / "daily.nc")
        prepare.extend_forecast(
            [tmp_path / "daily.nc"], tmp_path / "data.zarr", ReaderSettings(variables=("tp",))
        )
