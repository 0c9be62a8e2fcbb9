"""`--scheduler`: work on a Dask cluster gives what one process gives, and its faults one line."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.cluster import connect, in_order
from weather.data.store import Store

distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed (extra cluster)"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two workers, processes of their own, on the loopback device."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as made:
        yield made


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _days(folder: Path, count: int) -> Path:
    """One file a day, of temperature on a coarse grid; one point of sea is never observed."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for day in range(count):
        field = (280 + rng.standard_normal((1, 9, 16))).astype("f4")
        xr.Dataset(
            {"t2m": (("time", "lat", "lon"), field, {"units": "K"})},
            {
                "time": [np.datetime64("2001-01-01", "ns") + np.timedelta64(day, "D")],
                "lat": np.linspace(-80, 80, 9), "lon": np.arange(16) * 22.5,
            },
        ).to_netcdf(folder / f"{day:03d}.nc")  # fmt: skip
    return folder


def test_a_store_is_the_same_to_the_last_bit(cluster, tmp_path, capsys):
    files = _days(tmp_path / "days", 40)
    words = ("prepare", "forecast", files, "--grid", "gaussian-8x16", "--chunk", 7, "--json")
    assert _run(*words, "-o", tmp_path / "one.zarr") == 0
    there = ("--scheduler", cluster.scheduler_address)
    assert _run(*words, "-o", tmp_path / "many.zarr", *there) == 0
    one, many = Store(tmp_path / "one.zarr"), Store(tmp_path / "many.zarr")
    assert one.fingerprint == many.fingerprint
    assert (one.read(0, 40) == many.read(0, 40)).all()
    data = {name for name in _files(tmp_path / "one.zarr") if name.startswith("fields/")}
    assert data and all(
        _files(tmp_path / "one.zarr")[name] == _files(tmp_path / "many.zarr")[name]
        for name in data
    )
    # And extended by later files.
    later = _days(tmp_path / "more", 50)
    for day in range(40):
        (later / f"{day:03d}.nc").unlink()
    append = ("prepare", "forecast", later, "--append", "--json")
    assert _run(*append, "-o", tmp_path / "one.zarr") == 0
    assert _run(*append, "-o", tmp_path / "many.zarr", *there) == 0
    assert Store(tmp_path / "one.zarr").fingerprint == Store(tmp_path / "many.zarr").fingerprint


def test_scores_are_the_same_to_the_last_bit(cluster, small_models, small_store, tmp_path, capsys):
    forecast = tmp_path / "fc.zarr"
    starts = [f"0003-04-{day:02d}" for day in range(1, 9)]
    words = ("--model", small_models["crps"], "--days", 2, "--members", 3, "--json")
    assert _run("forecast", small_store, "-o", forecast, *words, "--start", *starts) == 0
    words = ("verify", forecast, small_store, "--no-plots", "--draws", 20, "--json")
    capsys.readouterr()
    told = []
    for out, more in (("one", ()), ("many", ("--scheduler", cluster.scheduler_address))):
        assert _run(*words, "-o", tmp_path / out, *more) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["scores"] == told[1]["scores"]
    assert (tmp_path / "one/scores.csv").read_bytes() == (
        tmp_path / "many/scores.csv"
    ).read_bytes()
    # The scheduler is no part of the request: the folder is found as it is.
    stamp = (tmp_path / "many/scores.csv").stat().st_mtime_ns
    assert _run(*words, "-o", tmp_path / "many") == 0
    assert (tmp_path / "many/scores.csv").stat().st_mtime_ns == stamp


def test_baselines_and_missing_points_are_scored_alike(cluster, tmp_path, capsys):
    """What the workers hold, and what they notice of missing values, comes back."""
    rng = np.random.default_rng(1)
    lat, lon = np.linspace(30, 60, 6), np.linspace(0, 40, 7)
    days = np.datetime64("2001-01-01", "ns") + np.arange(800) * np.timedelta64(1, "D")
    sst = (290 + rng.standard_normal((800, 6, 7))).astype("f4")
    sst[:, 0, :3] = np.nan
    dims, about = ("time", "lat", "lon"), {"units": "K"}
    axes = {"time": days, "lat": lat, "lon": lon}
    xr.Dataset({"sst": (dims, sst, about)}, axes).to_netcdf(tmp_path / "truth.nc")
    drawn = sst[740:752:2, None, None] + rng.standard_normal((6, 4, 2, 6, 7)).astype("f4")
    drawn[..., 2, 2] = np.nan  # a point the forecast lacks
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    leads = ("prediction_timedelta", [1, 2], {"units": "days"})
    axes = {"time": days[740:752:2], "number": np.arange(4), "prediction_timedelta": leads,
            "latitude": lat, "longitude": lon}  # fmt: skip
    xr.Dataset({"sst": (dims, drawn, about)}, axes).to_netcdf(tmp_path / "fc.nc")
    words = ("verify", tmp_path / "fc.nc", tmp_path / "truth.nc", "--no-plots", "--draws", 20,
             "--json")  # fmt: skip
    told = []
    for out, more in (("one", ()), ("many", ("--scheduler", cluster.scheduler_address))):
        assert _run(*words, "-o", tmp_path / out, *more) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["scores"] == told[1]["scores"] and told[0]["notes"] == told[1]["notes"]
    assert any("sst: scored on" in note for note in told[1]["notes"])


def test_a_fault_on_a_worker_is_told_in_one_line(cluster, tmp_path, capsys):
    files = _days(tmp_path / "days", 30)
    broken = xr.open_dataset(files / "020.nc").load()
    broken.t2m[0, 3, 3] = np.nan
    broken.close()
    broken.to_netcdf(files / "020.nc")
    words = ("prepare", "forecast", files, "--chunk", 5, "-o", tmp_path / "data.zarr")
    said = []
    for more in (("--scheduler", cluster.scheduler_address), ()):
        assert _run(*words, *more) == 2
        said.append(capsys.readouterr().err.strip().splitlines()[-1])
    assert said[0] == said[1] and "2001-01-21" in said[0]


def test_a_cluster_that_is_lost_leaves_what_was_written(tmp_path, capsys, monkeypatch):
    """Its scheduler ends after three blocks; the same command goes on without it."""
    from weather.data.writer import StoreWriter

    files, out = _days(tmp_path / "days", 60), tmp_path / "data.zarr"
    words = ("prepare", "forecast", files, "--chunk", 5, "--json")
    assert _run(*words, "-o", tmp_path / "whole.zarr") == 0
    old, count = StoreWriter.write, [0]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as doomed:

        def write(self, fields, filled=None):
            old(self, fields, filled)
            count[0] += 1
            if count[0] == 3:
                doomed.close()

        monkeypatch.setattr(StoreWriter, "write", write)
        capsys.readouterr()
        address = doomed.scheduler_address
        assert _run(*words, "-o", out, "--scheduler", address) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and f"--scheduler {address}: was lost" in lines[0]
    monkeypatch.undo()
    assert _run(*words, "-o", out) == 0
    assert json.loads(capsys.readouterr().out)["resumed"] >= 15
    assert Store(out).fingerprint == Store(tmp_path / "whole.zarr").fingerprint


def _missing(shared, path):
    return Path(path).read_text()


def test_a_file_that_is_refused_is_not_blamed_on_the_cluster(cluster, tmp_path):
    with pytest.raises(OSError, match="No space left"), connect(cluster.scheduler_address):
        raise OSError(28, "No space left on device")
    gone = tmp_path / "gone"
    with pytest.raises(FileNotFoundError), connect(cluster.scheduler_address) as client:
        list(in_order(client, _missing, None, [(str(gone),)]))
    for error in (ConnectionResetError(104, "reset"), distributed.comm.CommClosedError("closed")):
        with pytest.raises(InputError, match="was lost"), connect(cluster.scheduler_address):
            raise error


def test_pieces_come_in_their_order(cluster):
    with connect(cluster.scheduler_address) as client:
        found = list(in_order(client, divmod, 100, ((n,) for n in range(1, 30))))
    assert found == [divmod(100, n) for n in range(1, 30)]


def test_a_scheduler_that_does_not_answer_leaves_everything_as_it_was(tmp_path, capsys):
    files = _days(tmp_path / "days", 3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for wrong in (address, "nonsense"):
        words = ("prepare", "forecast", files, "-o", tmp_path / "data.zarr")
        assert _run(*words, "--scheduler", wrong) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and f"--scheduler {wrong}: does not answer" in lines[0]
        assert not (tmp_path / "data.zarr").exists()


def test_a_scheduler_without_workers_says_so(tmp_path, capsys):
    with distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as empty:
        words = ("prepare", "forecast", _days(tmp_path / "days", 3), "-o", tmp_path / "d.zarr")
        assert _run(*words, "--scheduler", empty.scheduler_address) == 2
    assert "has no worker; start some with dask worker" in capsys.readouterr().err


def test_threads_of_this_machine_and_a_scheduler_exclude_each_other(small_store, tmp_path, capsys):
    words = ("verify", small_store, small_store, "--scheduler", "tcp://127.0.0.1:1")
    assert _run(*words, "--workers", 2, "-o", tmp_path / "s") == 2
    assert "leave one of the two out" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
