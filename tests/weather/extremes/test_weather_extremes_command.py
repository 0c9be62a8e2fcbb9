"""`sciddiff extremes` from the command line to the files."""

import json

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError
from weather.commands.extremes import command
from weather.data.store import Store
from weather.data.times import day_of_year


@pytest.fixture
def words(small_models, small_store, tmp_path):
    """The words of the command but for index, threshold and method."""
    start = Store(small_store).times[40].strftime("%Y-%m-%d")
    return [str(small_store), "--model", small_models["crps"], "--start", start, "-n", "40",
            "--repeats", "4", "--pilot", "16", "-o", str(tmp_path / "out"), "--json",
            "--index", "mean(tas, north, 1..3)"]  # fmt: skip


@pytest.mark.parametrize("method", ["mc", "smc", "guide"])
def test_probability_and_composites_are_written(words, tmp_path, capsys, method):
    args = parse(command, [*words, "--threshold", "q0.7", "--method", method])
    assert command.run(args) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found["interval"]
    assert low <= found["probability"] <= high and found["trajectories"] == 40
    assert 0.05 < found["probability"] < 0.8
    written = json.loads((tmp_path / "out" / "extremes.json").read_text())
    assert written["probability"] == found["probability"]
    with xr.open_dataset(tmp_path / "out" / "composites.nc") as made:
        assert made["tas_anomaly"].dims == ("lead", "lat", "lon")
        assert made["tas_anomaly"].attrs["units"] == "K" and made.sizes["lead"] == 4
        assert float(made["tas_anomaly"].isel(lead=3).sel(lat=slice(20, 90)).mean()) > 0
    assert (tmp_path / "out" / "composites.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_estimate_is_left_alone(words, tmp_path, capsys):
    words = [*words, "--threshold", "q0.5", "--no-composites"]
    assert command.run(parse(command, words)) == 0
    first = json.loads(capsys.readouterr().out)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    assert command.run(parse(command, [*words, "--batch", "7"])) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()} == before
    with pytest.raises(InputError, match="another command: seed was 0 and is now 1; choose"):
        command.run(parse(command, [*words, "--seed", "1"]))
    (tmp_path / "out" / "extremes.json").unlink()
    assert command.run(parse(command, words)) == 0
    assert json.loads(capsys.readouterr().out)["probability"] == first["probability"]


def test_small_values_and_units(words, capsys):
    args = parse(command, [*words, "--no-composites", "--threshold", "100degC",
                           "--index=-mean(tas, north, 1..2)"])  # fmt: skip
    assert command.run(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["below"] and found["threshold"] == pytest.approx(373.15)
    assert found["probability"] == 1.0


def test_a_threshold_that_never_happens_is_said_and_nothing_is_lost(words, tmp_path):
    args = parse(command, [*words, "--threshold", "400"])
    with pytest.raises(InputError, match="none of 40 members reached it") as caught:
        command.run(args)
    assert "--method smc or guide" in str(caught.value) and "\n" not in str(caught.value)
    written = json.loads((tmp_path / "out" / "extremes.json").read_text())
    assert written["probability"] == 0.0 and 0 < written["interval"][1] < 0.2


def test_thresholds_of_the_climate(words, seasonal_store, capsys):
    args = parse(command, [*words, "--no-composites", "--threshold", "c0.2",
                           "--archive", str(seasonal_store)])  # fmt: skip
    try:
        command.run(args)
    except InputError as error:
        assert "none of 40 members" in str(error)
    found = json.loads((args.out / "extremes.json").read_text())
    store = Store(seasonal_store)
    fields, grid = store.read(0, len(store)), store.grid
    north = grid.lat >= 20
    weights = np.where(north, grid.weights, 0.0)[:, None]
    means = (fields[:, 4] * weights).mean((-1, -2)) / weights.mean()
    windows = [means[i + 1 : i + 4].mean() for i in range(len(store) - 3)]
    day = int(found["start"][8:10]) + {"04": 90}[found["start"][5:7]]
    of_year = day_of_year(store.times)
    chosen = [w for i, w in enumerate(windows) if abs(int(of_year[i]) - day) <= 15]
    assert len(chosen) > 30
    assert found["threshold"] == pytest.approx(np.quantile(chosen, 0.2), rel=1e-6)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--threshold", "warm"], "not a value"),
        (["--threshold", "3 hPa"], "cannot be turned into K"),
        (["--threshold", "q2"], "not between"),
        (["--threshold", "c0.9"], "needs --archive"),
        (["--threshold", "q0.9", "--index", "mean(rain, 3)"], "has no rain"),
    ],
)
def test_what_cannot_be_used_is_refused(words, extra, message):
    with pytest.raises(InputError, match=message):
        command.run(parse(command, [*words, *extra]))
