"""`sciddiff calibrate`, and forecasts that use what it fitted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.cli.main import main
from sciddiff.weights import describe
from weather.calibration.members import Calibration
from weather.forecast.dataset import forecast
from weather.forecast.forecaster import Forecaster
from weather.verification.instants import DAY

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

STARTS = ("0003-04-01", "0003-04-20")
LEADS = (DAY, 2 * DAY, 3 * DAY)


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def _forecast(store: Path, model: object, out: Path, *more: object) -> int:
    fast = ("--batch", 2, "--days", 3, "--json", "--members", 5)
    return _run("forecast", store, "--model", model, "-o", out, *fast, *more)


@pytest.fixture(scope="module")
def past(small_models, small_store, tmp_path_factory) -> Path:
    """Forecasts of two days and three members from 30 dates."""
    out = tmp_path_factory.mktemp("past") / "past.zarr"
    days = [f"0003-{month:02d}-{day:02d}" for month in (3, 4) for day in range(5, 20)]
    words = ("--model", small_models["crps"], "--members", 3, "--days", 2, "--json")
    assert _run("forecast", small_store, "-o", out, *words, "--start", *days) == 0
    return out


@pytest.fixture(scope="module")
def fitted(past, small_store, tmp_path_factory) -> Path:
    """A calibration of them."""
    out = tmp_path_factory.mktemp("fitted") / "calibration.json"
    words = (past, small_store, "-o", out, "--json")
    assert _run("calibrate", *words, "--channels", "z500", "q700", "tas") == 0
    return out


@pytest.fixture(scope="module")
def raw(small_models, small_store, tmp_path_factory) -> Path:
    """Five members as the model makes them."""
    out = tmp_path_factory.mktemp("raw") / "raw.zarr"
    assert _forecast(small_store, small_models["crps"], out, "--start", *STARTS) == 0
    return out


@pytest.fixture(scope="module")
def made(small_models, small_store, fitted, tmp_path_factory) -> Path:
    """The same, calibrated."""
    out = tmp_path_factory.mktemp("made") / "fc.zarr"
    words = ("--start", *STARTS, "--calibration", fitted)
    assert _forecast(small_store, small_models["crps"], out, *words) == 0
    return out


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def test_the_file_tells_coefficients_and_what_they_were_fitted_to(fitted, past, small_models):
    found, plain = Calibration.read(fitted), json.loads(fitted.read_text())
    assert list(found.channels) == ["z500", "q700", "tas"]
    assert found.channels["z500"].leads == (DAY, 2 * DAY)
    assert found.fitted["starts"] == 30 and found.fitted["members"] == 3
    assert found.made["weights"] == describe(small_models["crps"])["sha256"]
    assert found.made["perturb"] == "none"
    assert len(plain["table"]) == 6
    assert all(row["crps_after"] <= row["crps_before"] for row in plain["table"])
    assert any(row["form"] != "none" for row in plain["table"])


def test_initial_times_in_another_order_give_the_same(fitted, past, small_store, tmp_path):
    backward, out = tmp_path / "backward.nc", tmp_path / "calibration.json"
    xr.open_zarr(past).isel(time=slice(None, None, -1)).load().to_netcdf(backward)
    words = (backward, small_store, "-o", out, "--json")
    assert _run("calibrate", *words, "--channels", "z500", "q700", "tas") == 0
    one, other = Calibration.read(out), Calibration.read(fitted)
    assert one.channels == other.channels and one.fitted == other.fitted


def test_every_member_is_moved_as_the_coefficients_say(raw, made, fitted):
    found, before, after = Calibration.read(fitted), xr.open_zarr(raw), xr.open_zarr(made)
    for name in before.data_vars:
        for case in range(2):
            members = before[name].isel(time=case).values
            expected = found.apply(str(name), LEADS, members)
            if name == "q700":
                expected = np.maximum(expected, 0.0)
            np.testing.assert_array_equal(after[name].isel(time=case).values, expected)
    assert (after.u850.values == before.u850.values).all()  # was not fitted
    assert (after.tas.values != before.tas.values).any()
    assert after.attrs["calibration"].startswith("member by member, fitted to 30 forecasts")
    assert before.attrs["calibration"] == "none"
    record = json.loads((made / "run.json").read_text())
    assert record["request"]["calibration"] == found.identity
    assert record["calibration"]["channels"] == found.to_plain()["channels"]


def test_netcdf_and_python_give_the_same(made, small_models, small_store, fitted, tmp_path):
    out = tmp_path / "fc.nc"
    words = ("--start", *STARTS, "--calibration", fitted)
    assert _forecast(small_store, small_models["crps"], out, *words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fc.nc", "fc.nc.run.json"]
    one, other = xr.open_dataset(out), xr.open_zarr(made)
    xr.testing.assert_equal(one.load(), other.load())
    assert one.attrs == other.attrs
    data = forecast(
        small_store, small_models["crps"], members=5, days=3, start=STARTS, batch=2,
        calibration=fitted,
    )  # fmt: skip
    for name in other.data_vars:
        np.testing.assert_array_equal(data[name].values, other[name].values)


def test_levels_and_units_of_other_names_are_calibrated_alike(
    made, small_models, small_store, fitted, tmp_path
):
    out = tmp_path / "fc.zarr"
    words = ("--start", *STARTS, "--calibration", fitted, "--names", "weatherbenchx")
    assert _forecast(small_store, small_models["crps"], out, *words) == 0
    named, own = xr.open_zarr(out), xr.open_zarr(made)
    height = named.geopotential.sel(level=500).values / 9.80665
    np.testing.assert_allclose(height, own.z500.values, rtol=1e-6)
    np.testing.assert_allclose(named["2m_temperature"].values, own.tas.values, rtol=1e-6)


def test_a_larger_ensemble_is_calibrated_as_a_whole(
    made, small_models, small_store, fitted, tmp_path, capsys
):
    out = tmp_path / "more.zarr"
    words = ("--start", *STARTS, "--calibration", fitted)
    assert _forecast(small_store, small_models["crps"], out, *words, "--members", 3) == 0
    few = xr.open_zarr(out).load()
    assert _forecast(small_store, small_models["crps"], out, *words) == 0
    more = xr.open_zarr(out).load()
    assert few.sizes["number"] == 3 and more.sizes["number"] == 5
    xr.testing.assert_allclose(more, xr.open_zarr(made).load(), rtol=1e-5)
    stamp = (out / "run.json").stat().st_mtime_ns
    assert _forecast(small_store, small_models["crps"], out, *words, "--members", 4) == 0
    assert (out / "run.json").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more.zarr"]
    capsys.readouterr()
    raw = words[:-1] + ("none",)
    assert _forecast(small_store, small_models["crps"], out, *raw) == 2
    assert "another command: calibration was" in capsys.readouterr().err
    assert xr.open_zarr(out).sizes["number"] == 5


def test_members_half_removed_after_they_were_calibrated_are_made_again(
    made, small_models, small_store, fitted, tmp_path, monkeypatch
):
    out = tmp_path / "more.zarr"
    words = ("--start", *STARTS, "--calibration", fitted)

    def killed(path, ignore_errors=False):
        for chunk in Path(path).glob("tas/0.*"):
            chunk.unlink()
        if Path(path).exists() and out.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("weather.forecast.netcdf.shutil.rmtree", killed)
        _forecast(small_store, small_models["crps"], out, *words, "--members", 3)
    assert len(list(tmp_path.iterdir())) > 1  # something was left
    assert _forecast(small_store, small_models["crps"], out, *words) == 0
    more = xr.open_zarr(out).load()
    xr.testing.assert_allclose(more, xr.open_zarr(made).load(), rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more.zarr"]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_identical_files(
    made, small_models, small_store, fitted, tmp_path
):
    """Killed while it makes members, and again while it calibrates them."""
    out = tmp_path / "killed.zarr"
    words = [str(word) for word in (
        "forecast", small_store, "--model", small_models["crps"], "-o", out, "--batch", 2,
        "--days", 3, "--json", "--members", 5, "--start", *STARTS, "--calibration", fitted,
    )]  # fmt: skip
    for method in ("write", "put"):
        code = (
            "import os\n"
            "from weather.forecast import ensemble\n"
            f"old, count = ensemble.EnsembleStore.{method}, [0]\n"
            "def slow(self, *what):\n"
            "    count[0] += 1\n"
            "    old(self, *what) if count[0] < 4 else os._exit(9)\n"
            f"ensemble.EnsembleStore.{method} = slow\n"
            "from sciddiff.cli.main import main\n"
            f"main({words!r})\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 9, done.stderr
        assert not out.exists() and (tmp_path / ".killed.zarr.zarr").exists()
    assert main(words) == 0
    assert _files(out) == _files(made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.zarr"]


def test_the_same_command_finds_its_file_and_another_is_refused(fitted, past, small_store, capsys):
    stamp = fitted.stat().st_mtime_ns
    words = (past, small_store, "-o", fitted)
    assert _run("calibrate", *words, "--channels", "z500", "q700", "tas") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:3] == ["channel", "day", "form"]
    assert said.splitlines()[-1] == f"next: sciddiff forecast INIT --calibration {fitted}"
    assert fitted.stat().st_mtime_ns == stamp
    assert _run("calibrate", *words) == 2
    assert "made by another request: channels was" in capsys.readouterr().err
    assert fitted.stat().st_mtime_ns == stamp


def test_an_attached_calibration_is_the_default_and_can_be_left_out(
    past, small_models, small_store, raw, made, tmp_path, capsys
):
    model = tmp_path / "model"
    shutil.copytree(small_models["crps"], model)
    words = (past, small_store, "-o", tmp_path / "c.json", "--attach", model)
    assert _run("calibrate", *words, "--channels", "z500", "q700", "tas") == 0
    assert describe(model)["calibration"]["fitted"]["starts"] == 30
    capsys.readouterr()
    own = tmp_path / "own.zarr"
    assert _forecast(small_store, model, own, "--start", *STARTS) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calibration"].startswith("member by member, fitted to 30 forecasts")
    xr.testing.assert_equal(xr.open_zarr(own).load(), xr.open_zarr(made).load())
    plain = tmp_path / "plain.zarr"
    assert _forecast(small_store, model, plain, "--start", *STARTS, "--calibration", "none") == 0
    xr.testing.assert_equal(xr.open_zarr(plain).load(), xr.open_zarr(raw).load())
    again = forecast(small_store, Forecaster(str(model)), members=2, days=1, batch=2)
    bare = forecast(small_store, str(model), members=2, days=1, batch=2, calibration="none")
    assert (again.tas.values != bare.tas.values).any()
    capsys.readouterr()
    # Perturbed members have another spread than those of the fit.
    noisy = tmp_path / "noisy.zarr"
    assert _forecast(small_store, model, noisy, "--perturb", "random-field") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calibration"] == "none" and "fitted with perturb none" in told["note"]
    # A model has one calibration for each way to forecast, and takes the one that was fitted so.
    other = json.loads((tmp_path / "c.json").read_text())
    other["made"]["perturb"] = "random-field"
    other["made"].pop("amplitude", None)
    other["fitted"]["starts"] = 31
    (tmp_path / "d.json").write_text(json.dumps(other))
    for name in ("d.json", "c.json"):
        words = (past, small_store, "-o", tmp_path / name, "--attach", model)
        assert _run("calibrate", *words, "--channels", "z500", "q700", "tas") == 0
    assert [one["fitted"]["starts"] for one in describe(model)["calibration"]] == [31, 30]
    capsys.readouterr()
    both = tmp_path / "both.zarr"
    assert _forecast(small_store, model, both, "--perturb", "random-field") == 0
    assert "fitted to 31 forecasts" in json.loads(capsys.readouterr().out)["calibration"]
    again = tmp_path / "again.zarr"
    assert _forecast(small_store, model, again, "--start", *STARTS) == 0
    assert "fitted to 30 forecasts" in json.loads(capsys.readouterr().out)["calibration"]
    words = ("--perturb", "lagged-difference", "--archive", small_store)
    assert _forecast(small_store, model, tmp_path / "lagged.zarr", *words) == 0
    note = json.loads(capsys.readouterr().out)["note"]
    assert "with perturb random-field, or with perturb none" in note


@pytest.mark.parametrize("case", ["perturbed", "other", "broken", "empty", "strange", "absent"])
def test_a_calibration_that_does_not_fit_is_refused(
    case, fitted, small_models, small_store, tmp_path, capsys
):
    plain = json.loads(fitted.read_text())
    words: tuple = ("--members", 2)
    if case == "perturbed":
        said, words = "was fitted with perturb none", (*words, "--perturb", "random-field")
    elif case == "other":
        said = "was fitted with other weights of the model"
        plain["made"]["weights"]["model.safetensors"] = "0" * 64
    elif case == "broken":
        said = "no calibration (a coefficient is not finite, or tau is not above 0)"
        plain["channels"]["tas"]["tau"][0] = -1.0
    elif case == "empty":
        said, plain = "no calibration (KeyError", {}
    elif case == "strange":
        said = "has no channel of the model, but sst"
        plain["channels"] = {"sst": plain["channels"]["tas"]}
    else:
        said = "absent.json"
    file = tmp_path / ("absent.json" if case == "absent" else "c.json")
    if case != "absent":
        file.write_text(json.dumps(plain))
    out = tmp_path / "fc.zarr"
    assert _forecast(small_store, small_models["crps"], out, "--calibration", file, *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert not out.exists() and not (tmp_path / ".fc.zarr.zarr").exists()


def test_forecasts_that_cannot_be_fitted_to_are_refused(
    made, past, small_models, small_store, tmp_path, capsys
):
    out = tmp_path / "c.json"

    def refused(*words: object) -> str:
        assert _run("calibrate", *words, "-o", out) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and not out.exists()
        return lines[0]

    assert "is calibrated already" in refused(made, small_store)
    assert "has 2 initial times with a reference" in refused(
        _copy_of_few(past, tmp_path / "few.zarr"), small_store
    )
    assert "no such file" in refused(tmp_path / "absent.zarr", small_store)
    other = tmp_path / "other"
    shutil.copytree(small_models["diffusion"], other)
    assert "were made by another model" in refused(past, small_store, "--attach", other)


def _copy_of_few(past: Path, out: Path) -> Path:
    xr.open_zarr(past).isel(time=slice(0, 2)).to_zarr(out, zarr_format=2)
    return out


def test_a_forecast_that_is_there_is_calibrated_as_it_would_have_been(
    raw, made, fitted, tmp_path, capsys
):
    for out in (tmp_path / "one.zarr", tmp_path / "one.nc"):
        words = ("calibrate", raw, "--apply", fitted, "-o", out)
        assert _run(*words) == 0
        said = capsys.readouterr().out
        assert said == f"{out}: calibrated q700, tas, z500; copied as they are: u850, v850\n"
        found = xr.open_zarr(out) if out.suffix == ".zarr" else xr.open_dataset(out)
        wanted = xr.open_zarr(made)
        assert found.attrs["calibration"] == wanted.attrs["calibration"]
        for name in wanted.data_vars:
            np.testing.assert_allclose(found[name].values, wanted[name].values, rtol=1e-6)
            assert found[name].attrs["units"] == wanted[name].attrs["units"]
        stamp = out.stat().st_mtime_ns
        assert _run(*words) == 0 and out.stat().st_mtime_ns == stamp
        assert _run("verify", out, raw, "-o", tmp_path / "s", "--no-plots", "--draws", 5) == 0
        shutil.rmtree(tmp_path / "s")
        capsys.readouterr()
    assert (
        _run("calibrate", tmp_path / "one.zarr", "--apply", fitted, "-o", tmp_path / "x.nc") == 2
    )
    assert "is calibrated already" in capsys.readouterr().err


def test_files_of_other_centres_keep_their_names_levels_and_units(fitted, tmp_path):
    """Geopotential in m2 s-2 on levels and temperature in degrees Celsius."""
    rng = np.random.default_rng(0)
    dims = ("time", "number", "step", "latitude", "longitude")
    shape = (2, 4, 3, 5, 6)
    height = (9.80665 * (5500 + 100 * rng.standard_normal((2, 4, 3, 2, 5, 6)))).astype("f4")
    warmth = (10 + 5 * rng.standard_normal(shape)).astype("f4")
    warmth[..., 2, 3] = np.nan
    source = xr.Dataset(
        {
            "geopotential": ((*dims[:3], "level", *dims[3:]), height, {"units": "m2 s-2"}),
            "t2m": (dims, warmth, {"units": "degC"}),
            "other": (dims, warmth, {"units": "1"}),
        },
        {
            "time": np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]"),
            "number": np.arange(4), "step": ("step", [24, 48, 96], {"units": "hours"}),
            "level": ("level", [850.0, 500.0], {"units": "hPa"}),
            "latitude": np.linspace(50, 30, 5), "longitude": np.arange(6) * 2.0,
        },
    )  # fmt: skip
    source.to_netcdf(tmp_path / "theirs.nc")
    words = ("calibrate", tmp_path / "theirs.nc", "--apply", fitted, "-o", tmp_path / "ours.nc")
    assert _run(*words) == 0
    found, coefficients = xr.open_dataset(tmp_path / "ours.nc"), Calibration.read(fitted)
    leads = (DAY, 2 * DAY, 4 * DAY)
    np.testing.assert_array_equal(found.other.values, warmth)
    assert found.other.dims == dims
    np.testing.assert_array_equal(found.geopotential.sel(level=850), height[:, :, :, 0])
    for case in range(2):
        wanted = coefficients.apply("z500", leads, height[case, :, :, 1] / 9.80665)
        made = found.geopotential.sel(level=500).values[case] / 9.80665
        np.testing.assert_allclose(made, wanted, rtol=1e-6)
        wanted = coefficients.apply("tas", leads, warmth[case].astype(float) + 273.15)
        np.testing.assert_allclose(found.t2m.values[case] + 273.15, wanted, rtol=1e-6)
    assert np.isnan(found.t2m.values[..., 2, 3]).all() and found.t2m.attrs["units"] == "degC"


def test_a_channel_without_members_beside_others_is_copied(raw, fitted, tmp_path, capsys):
    data = xr.open_zarr(raw)[["tas", "q700"]]
    data["tas"] = data.tas.mean("number", keep_attrs=True)
    data.to_netcdf(tmp_path / "mixed.nc")
    out = tmp_path / "out.nc"
    assert _run("calibrate", tmp_path / "mixed.nc", "--apply", fitted, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}: calibrated q700; copied as they are: tas\n"
    np.testing.assert_array_equal(xr.open_dataset(out).tas.values, data.tas.values)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("LONE", "--apply", "FIT", "-o", "x.nc"), "tas has no members"),
        (("RAW",), "reference: not given"),
        (("RAW", "RAW", "--apply", "FIT"), "leave out reference"),
        (("RAW", "--apply", "FIT", "-o", "x.json"), "name it with .zarr or .nc"),
        (("MEAN", "--apply", "FIT", "-o", "x.nc"), "has no members"),
        (("WIND", "--apply", "FIT", "-o", "x.nc"), "holds u850, and the calibration is of z500"),
    ],
)
def test_what_cannot_be_applied_is_refused(
    words, said, raw, fitted, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    data = xr.open_zarr(raw)
    data[["tas"]].mean("number").to_netcdf("mean.nc")
    data[["u850"]].to_netcdf("wind.nc")
    data[["u850"]].assign(tas=data.tas.mean("number", keep_attrs=True)).to_netcdf("lone.nc")
    places = {"RAW": raw, "FIT": fitted, "MEAN": "mean.nc", "WIND": "wind.nc", "LONE": "lone.nc"}
    before = sorted(path.name for path in tmp_path.iterdir())
    assert _run("calibrate", *(places.get(word, word) for word in words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
