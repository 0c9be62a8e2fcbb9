"""The page: what it holds, what it escapes, and that it works in a browser without network."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError
from weather.commands.report import command
from weather.report.places import Place
from weather.report.reading import open_ensemble
from weather.report.write import ReportSettings, write_report
from weather.sphere.grids import Grid

HOSTILE = '<img src=x onerror="alert(1)"> $x_1$ </script>'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GRID = Grid.parse("equiangular-12x24")
NUMBERS = {"leads": (1.0, 3.0), "places": (Place(HOSTILE, 60.4, 5.3), Place("Rio", -22.9, -43.2))}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A forecast of six members and its truth, which is one more member."""
    folder = tmp_path_factory.mktemp("forecast")
    rng = np.random.default_rng(1)
    lat, lon = np.radians(GRID.lat)[:, None], np.radians(GRID.lon)[None]
    start = np.datetime64("2020-02-27", "ns")
    lead = np.arange(1, 4)
    waves = sum(
        rng.normal(size=(7, 3, 1, 1)) * np.cos(lat) ** m * np.cos(m * lon + rng.uniform(0, 6))
        for m in range(1, 5)
    ) * np.sqrt(lead)[None, :, None, None]  # fmt: skip
    fields = (280 + 20 * np.sin(lat) ** 2 + 3 * waves).astype(np.float32)
    about = {"units": "K", "long_name": HOSTILE}
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    made = xr.Dataset(
        {"tas": (dims, fields[None, :6], about)},
        {"time": [start], "number": np.arange(6), "latitude": GRID.lat, "longitude": GRID.lon,
         "prediction_timedelta": lead.astype("timedelta64[D]")},
        {"model": HOSTILE, "seed": 3},
    )  # fmt: skip
    made.to_zarr(folder / "fc.zarr", zarr_format=2)
    days = start + lead.astype("timedelta64[D]")
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), fields[6], {"units": "K"})},
        {"time": days, "lat": GRID.lat, "lon": GRID.lon},
    ).to_netcdf(folder / "truth.nc")
    return folder


@pytest.fixture(scope="module")
def report(source):
    truth = open_ensemble(source / "truth.nc")
    settings = ReportSettings(title=HOSTILE, **NUMBERS)
    facts = {"command": ["sciddiff", HOSTILE]}
    ensemble = open_ensemble(source / "fc.zarr")
    return write_report(source / "report", ensemble, settings, truth, facts)


def test_report_is_one_file_that_names_no_other(report):
    text = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 4e6
    page = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert "default-src 'none'" in page
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "<link" not in page and "@import" not in page
    figures = sorted(one.name for one in (report.parent / "figures").glob("*.png"))
    assert {"mean_tas_000.png", "probability_tas_002.png", "stamps_tas_000.png",
            "spectra_tas.png", "ranks_tas.png", "meteogram_rio.png"} <= set(figures)  # fmt: skip
    for one in (report.parent / "figures").glob("*.png"):
        assert one.read_bytes().startswith(b"\x89PNG")


def test_it_says_when_and_in_which_units(report):
    text = report.read_text(encoding="utf-8")
    assert "Forecast from 27 Feb 2020 00 UTC: 6 members, 3 leads to 1 Mar 2020 00 UTC." in text
    assert "28 Feb 2020 00 UTC (day 1)" in text and "1 Mar 2020 00 UTC (day 3)" in text
    assert "2 m temperature (°C)" in text and "<td>2 m temperature (K)</td>" in text


def test_every_text_from_outside_is_escaped(report):
    text = report.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert html.escape(HOSTILE, quote=True) in text


def test_identifiers_of_the_drawings_are_unique(report):
    text = report.read_text(encoding="utf-8")
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))
    used = set(re.findall(r"(?:url\(#|xlink:href=\"#)([^)\"]+)", text))
    assert used <= set(found)


def test_the_same_forecast_gives_the_same_page(source, tmp_path):
    ensemble = open_ensemble(source / "fc.zarr")
    settings = ReportSettings(leads=(1.0,), places=NUMBERS["places"][1:])
    one, two = (write_report(tmp_path / name, ensemble, settings) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert "Against the truth" not in one.read_text(encoding="utf-8")


def test_a_deterministic_field_has_no_spread_and_says_so(source, tmp_path):
    page = write_report(tmp_path, open_ensemble(source / "truth.nc"), ReportSettings(leads=(0.0,)))
    text = page.read_text(encoding="utf-8")
    assert "A single member: no spread, no probabilities." in text
    names = sorted(one.name.partition("_")[0] for one in (tmp_path / "figures").glob("*.png"))
    assert "mean" in names and "stamps" not in names and "probability" not in names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lead", "9"], "the nearest is 3"),
        (["--init", "4"], "1 initial times"),
        (["--variable", "z500"], "there are tas"),
        (["--threshold", "tas>warm"], "not of the form"),
        (["--place", "Bergen"], "NAME,LAT,LON"),
        (["--select", "month"], "DIM=POSITION"),
    ],
)
def test_choices_that_are_not_there_are_refused(source, tmp_path, words, message):
    args = parse(command, [str(source / "fc.zarr"), "-o", str(tmp_path / "x"), *words])
    with pytest.raises(InputError, match=message):
        command.run(args)


def test_the_command_writes_the_page(source, tmp_path, capsys):
    words = [str(source / "fc.zarr"), "--json", "-o", str(tmp_path / "out"), "--lead", "2",
             "--place", "Rio,-22.9,-43.2", "--threshold", "t2m<5degC"]  # fmt: skip
    assert command.run(parse(command, words)) == 0
    seen = json.loads(capsys.readouterr().out)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert seen["report"].endswith("report.html") and len(seen["figures"]) == 5
    assert "probability of tas &lt; 5 °C" in text


PROBE = """<script>
const blocked = [];
document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.blockedURI));
const poll = setInterval(() => {
  const root = document.documentElement;
  if (root.dataset.ready === undefined) return;
  clearInterval(poll);
  const seen = (what) => [...document.querySelectorAll(what)].filter((e) => e.offsetParent);
  const images = () => seen('.frame img').map((i) => i.alt);
  const before = images();
  const slider = document.getElementById('lead');
  slider.value = '1';
  slider.dispatchEvent(new Event('input'));
  const after = images();
  document.querySelectorAll('#places [role=tab]')[1].click();
  root.dataset.result = JSON.stringify({
    before, after, blocked, valid: document.getElementById('lead-name').textContent,
    widths: [...document.querySelectorAll('.frame img')].map((i) => i.naturalWidth),
    places: seen('#places .panel').map((p) => p.id),
    injected: document.querySelectorAll('img[src="x"]').length,
    loaded: performance.getEntriesByType('resource').map((r) => r.name)
      .filter((n) => !n.startsWith('data:')),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
  });
}, 100);
</script>"""


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_page_works_in_a_browser(report, tmp_path, width):
    browser = next((shutil.which(name) for name in BROWSERS if shutil.which(name)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: install it (package chromium) to run this test")
    probed = tmp_path / "probed.html"
    text = report.read_text(encoding="utf-8").replace("</head><body>", f"{PROBE}</head><body>", 1)
    probed.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu",
         "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
         "--hide-scrollbars", f"--window-size={width},900", "--virtual-time-budget=20000",
         "--dump-dom", probed.as_uri()],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, f"the page did not finish: {done.stderr[-600:]}"
    seen = json.loads(html.unescape(found.group(1)))
    assert len(seen["before"]) == len(seen["after"]) == 3
    assert all("(day 1)" in alt for alt in seen["before"])
    assert all("(day 3)" in alt for alt in seen["after"])
    assert seen["valid"] == "1 Mar 2020 00 UTC (day 3)"
    assert seen["places"] == ["place-1"]
    assert len(seen["widths"]) == 6 and min(seen["widths"]) > 800
    assert seen["injected"] == 0 and seen["blocked"] == [] and seen["loaded"] == []
    assert seen["overflow"] <= 0
