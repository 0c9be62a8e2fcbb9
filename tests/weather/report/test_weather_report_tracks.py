"""Several initial times and tracks of lows on one page, from the command to the files."""

import csv
import json
import re

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main

LAT, LON = np.arange(30.0, 70.1, 2.5), np.arange(-60.0, 20.1, 2.5)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two starts, three members, four leads of half a day: a low moves east by 5 degrees."""
    path = tmp_path_factory.mktemp("lows") / "fc.nc"
    fields = np.empty((2, 3, 4, len(LAT), len(LON)))
    for start in range(2):
        for member in range(3):
            for lead in range(4):
                y = LAT[:, None] - (45 + 5 * start + member)
                x = LON[None] - (-40 + 5 * lead)
                fields[start, member, lead] = np.minimum(97000 + 30 * y**2 + 10 * x**2, 101000)
    fields[1, 2] = np.nan  # has still to be made
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    begin = np.datetime64("2020-02-27T00", "ns")
    xr.Dataset(
        {"mslp": (dims, fields, {"units": "Pa"})},
        {"time": [begin, begin + np.timedelta64(5, "D")], "number": range(3), "latitude": LAT,
         "prediction_timedelta": ("prediction_timedelta", [12, 24, 36, 48], {"units": "hours"}),
         "longitude": LON},
    ).to_netcdf(path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    words = ["report", source, "-o", out, "--init", 0, 1, "--tracks", "--lead", 0.5, "--lead", 2]
    assert main([str(word) for word in words]) == 0
    return out


def test_the_table_holds_every_position(made):
    rows = list(csv.DictReader((made / "tracks.csv").open()))
    # Four positions of three members, and of the two that the second start has.
    assert len(rows) == 4 * 3 + 4 * 2
    one = [r for r in rows if r["initial_time"] == "2020-03-03T00:00:00" and r["member"] == "1"]
    assert [float(r["lat"]) for r in one] == [51.0] * 4
    assert [float(r["lon"]) for r in one] == [-40.0, -35.0, -30.0, -25.0]
    assert [float(r["mslp_hPa"]) for r in one] == [970.0] * 4
    assert [float(r["lead_hours"]) for r in one] == [12, 24, 36, 48]
    assert one[-1]["valid_time"] == "2020-03-05T00:00:00" and {r["track"] for r in one} == {"0"}


def test_the_page_has_a_tab_for_every_start(made):
    text = (made / "report.html").read_text(encoding="utf-8")
    tabs = re.findall(r'data-panel="(start-\d-all)"', text)
    assert tabs == ["start-0-all", "start-1-all"]
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    for target in re.findall(r'data-panel="([^"]+)"', text):
        assert target in names
    assert "Forecasts from 2 initial times, 27 Feb 2020 00 UTC to 3 Mar 2020 00 UTC." in text
    assert "2 of 3 members" in text
    assert text.count("<h2>Tracks of lows</h2>") == 2
    assert (made / "figures" / "start-1-tracks.png").exists()


def test_strike_probability_counts_members_that_are_there(source):
    from weather.report.reading import open_ensemble
    from weather.report.tracks import TrackSettings, strikes_of, tracks_of

    ensemble, settings = open_ensemble(source), TrackSettings()
    found = strikes_of(tracks_of(ensemble, 1, settings), ensemble, 1, settings)
    # Lows at 50 and 51 N from 40 to 25 W: both pass within 120 km of 50 N, one of 52.5 N.
    column = int(np.argmin(np.abs(ensemble.lon + 32.5)))
    at = {lat: found[int(np.argmin(np.abs(ensemble.lat - lat))), column] for lat in (50, 52.5, 55)}
    assert at == {50: 1.0, 52.5: 0.0, 55: 0.0}
    wide = TrackSettings(strike_km=200.0)
    found = strikes_of(tracks_of(ensemble, 1, wide), ensemble, 1, wide)
    assert found[int(np.argmin(np.abs(ensemble.lat - 52.5))), column] == 0.5


def test_pressure_and_speed_choose(source, tmp_path, capsys):
    for more, count in ((["--track-below", 960], 0), (["--track-speed", 20], 0)):
        words = ["report", source, "-o", tmp_path, "--tracks", "--lead", 0.5, "--json", *more]
        assert main([str(word) for word in words]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(open(found["tracks"]).readlines()) == 1 + count


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda ds: ds.rename(mslp="msk"), [], "has no mslp"),
        (lambda ds: ds.isel(prediction_timedelta=[0]), [], "has a single lead"),
        (lambda ds: ds, ["--init", "0", "7"], "--init 7"),
    ],
    ids=["pressure", "lead", "start"],
)
def test_what_cannot_be_followed_is_told(source, tmp_path, capsys, change, words, message):
    change(xr.open_dataset(source, decode_timedelta=False)).to_netcdf(tmp_path / "fc.nc")
    status = main(["report", str(tmp_path / "fc.nc"), "-o", str(tmp_path), "--tracks", *words])
    told = capsys.readouterr().err
    assert status == 2 and message in told.splitlines()[-1]
