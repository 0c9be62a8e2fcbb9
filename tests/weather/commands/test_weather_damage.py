"""Damage and interruption, seen by the verbs: one line, nothing shown that is not there."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.errors import InputError
from weather.assimilation.observations import read_observations
from weather.forecast.lock import sole_writer
from weather.report.charts import contour_lines, round_levels
from weather.report.reading import open_ensemble
from weather.report.units import squared
from weather.report.write import ReportSettings, write_report


def _run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def made(small_models, small_store, tmp_path_factory) -> Path:
    """A forecast of four members, two at a time, from two dates."""
    out = tmp_path_factory.mktemp("forecast") / "fc.zarr"
    words = ("--members", 4, "--batch", 2, "--days", 2, "--start", "0003-04-01", "0003-04-20")
    assert _run("forecast", small_store, "--model", small_models["crps"], "-o", out, *words) == 0
    return out


@pytest.fixture
def broken(made, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "fc.zarr")
    return tmp_path / "fc.zarr"


@pytest.mark.parametrize("verb", ["verify", "report"])
@pytest.mark.parametrize("what", ["chunk", "array", "group"])
def test_a_damaged_forecast_is_one_line(broken, small_store, tmp_path, capsys, verb, what):
    if what == "chunk":
        for chunk in (broken / "z500").glob("0.*"):
            chunk.write_bytes(chunk.read_bytes()[:20])
    elif what == "array":
        (broken / "z500" / ".zarray").write_text("{")
        (broken / ".zmetadata").unlink()
    else:
        (broken / ".zmetadata").write_text("[1]")
        (broken / ".zgroup").write_text("x")
    capsys.readouterr()
    truth = (small_store,) if verb == "verify" else ()
    assert _run(verb, broken, *truth, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error:" in line]
    assert len(lines) == 1 and "fc.zarr" in lines[0] and "internal" not in error


def test_a_report_says_how_many_members_are_finished(broken, tmp_path):
    """Of a forecast that was killed, and of one of its several starts."""
    for name in ("z500", "u850", "v850", "q700", "tas"):
        for chunk in (broken / name).glob("0.1.*"):
            chunk.unlink()
    ensemble = open_ensemble(broken)
    shown = ReportSettings(variables=("z500",), leads=(2.0,))
    page = write_report(tmp_path / "report", ensemble, shown).read_text(encoding="utf-8")
    assert "2 of 4 members (the others are not finished" in page
    assert "The file holds 2 initial times; this is number 0, counted from 0" in page


def test_units_and_numbers_are_written_as_people_write_them():
    assert [squared(u) for u in ("m s⁻¹", "°C", "hPa", "mm day⁻¹")] == [
        "m² s⁻²", "°C²", "hPa²", "mm² day⁻²"
    ]  # fmt: skip
    field = np.linspace(-1.0, 1.0, 101).reshape(1, -1)
    for levels in (round_levels([field], 10, True), contour_lines(field - 0.4, False)):
        assert "-0" not in [f"{level:g}" for level in levels]


def test_no_coasts_of_the_earth_on_another_planet(broken, tmp_path, monkeypatch):
    from weather.report import maps

    drawn = []
    plain = maps.coastlines
    monkeypatch.setattr(maps, "coastlines", lambda: drawn.append(1) or plain())
    ensemble, shown = open_ensemble(broken), ReportSettings(variables=("z500",), leads=(2.0,))
    write_report(tmp_path / "earth", ensemble, shown)
    assert drawn
    drawn.clear()
    other = xr.open_zarr(broken).assign_attrs(planet="toy")
    other.to_netcdf(tmp_path / "toy.nc")
    page = write_report(tmp_path / "toy", open_ensemble(tmp_path / "toy.nc"), shown)
    assert not drawn and "Bergen" not in page.read_text(encoding="utf-8")


def test_a_long_field_of_observations_is_read(small_spec, tmp_path):
    path = tmp_path / "obs.csv"
    note = "x" * 200_000
    path.write_text(f"variable,lat,lon,value,error,note\nz500,10,20,5500,10,{note}\n")
    assert len(read_observations(path, small_spec)) == 1
    path.write_bytes(b"variable,lat,lon,value,error\nz500,\xff\xfe,20,5500,10\n")
    with pytest.raises(InputError, match="obs.csv"):
        read_observations(path, small_spec)
    with pytest.raises(InputError, match=r"absent.csv: no such file"):
        read_observations(tmp_path / "absent.csv", small_spec)


HOLDING = """
import sys, time
from pathlib import Path
from weather.forecast.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    Path(sys.argv[2]).touch()
    time.sleep(600)
"""


def test_two_forecasts_started_at_once(small_models, small_store, tmp_path, capsys):
    """The second says so; a writer that was killed blocks nobody."""
    out, mark = tmp_path / "fc.zarr", tmp_path / "mark"
    words = ("forecast", small_store, "--model", small_models["crps"], "-o", out)
    other = subprocess.Popen([sys.executable, "-c", HOLDING, out, mark])
    try:
        while not mark.exists():
            assert other.poll() is None
            time.sleep(0.05)
        assert _run(*words, "--members", 1, "--days", 1) == 2
        assert "another process is writing this forecast" in capsys.readouterr().err
    finally:
        other.kill()
        other.wait()
    assert _run(*words, "--members", 1, "--days", 1) == 0
    with sole_writer(out):
        assert (tmp_path / ".fc.zarr.lock").exists()
    assert not (tmp_path / ".fc.zarr.lock").exists()


def test_remedies_name_the_verb_that_has_them(small_models, tmp_path, capsys, made):
    """Missing values of an initial state: `forecast` has no --nan."""
    data = xr.open_zarr(made).isel(time=0, number=0, drop=True)
    data = data.rename(prediction_timedelta="time")
    data["time"] = np.asarray(["2001-01-01", "2001-01-02"], dtype="datetime64[ns]")
    data = data.load()
    data["z500"][0, 3, 4] = np.nan
    data.to_netcdf(tmp_path / "init.nc")
    words = ("--model", small_models["crps"], "--members", 1, "--days", 1)
    assert _run("forecast", tmp_path / "init.nc", "-o", tmp_path / "a.zarr", *words) == 2
    error = capsys.readouterr().err
    assert "--nan z500=fill" in error and "to sciddiff prepare forecast, and give the sto" in error


@pytest.mark.timeout(60)
def test_pipes_are_refused_at_once(tmp_path, capsys):
    pipe = tmp_path / "fields.nc"
    os.mkfifo(pipe)
    readers = (
        ("prepare", "forecast", pipe, "-o", tmp_path / "new.zarr"),
        ("forecast", pipe, "-o", tmp_path / "fc.zarr"),
        ("verify", pipe, pipe, "-o", tmp_path / "scores"),
        ("assimilate", pipe, "--observations", pipe, "-o", tmp_path / "analysis.zarr"),
        ("extremes", pipe, "--index", "mean(tas, globe, 1..2)", "--threshold", "q0.9",
         "-o", tmp_path / "heat"),
    )  # fmt: skip
    for words in readers:
        assert _run(*words) == 2, words
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and f"{pipe}: is a pipe or a device" in lines[0], lines
