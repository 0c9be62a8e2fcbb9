"""Extremes of calibrated members: exact laws on a linear world, and what a forecast writes."""

import json
import shutil
from statistics import NormalDist

import numpy as np
import pytest
import torch
import xarray as xr

from sciddiff import weights
from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError
from sciddiff.files import write_json
from weather.calibration.members import META_ENTRY, Calibration, Coefficients
from weather.calibration.origin import weights_of
from weather.commands.extremes import command
from weather.commands.forecast import command as forecast
from weather.data.store import Store
from weather.extremes.calibrated import CalibratedPoints, error_of_mean, scores_of
from weather.extremes.composites import composite
from weather.extremes.probability import ExtremeSettings, pilot_run, probability
from weather.sphere.grids import Grid

INDEX = "mean(tas, 20:70,-30:60, 3..5)"
DAY = 86400
KNOWN = Calibration(
    {
        "tas": Coefficients(
            (3 * DAY, 4 * DAY, 5 * DAY), (0.4, 0.5, 0.6), (0.998, 0.999, 1.001), (1.5, 1.4, 1.3)
        )
    }
)


@pytest.mark.parametrize(
    ("method", "p", "members"),
    [("mc", 0.1, 600), ("smc", 0.1, 600), ("guide", 0.01, 600), ("guide", 0.001, 600)],
)
def test_probabilities_are_those_of_the_calibrated_law(linear_world, law, method, p, members):
    simulation = linear_world(INDEX)
    mean, deviation = law(simulation, KNOWN)
    raw_mean, raw = law(simulation)
    assert deviation > 1.3 * raw and abs(mean - raw_mean) > 0.2 * raw
    threshold = NormalDist(mean, deviation).inv_cdf(1 - p)
    settings = ExtremeSettings(method, members, seed=0)
    found = probability(simulation, threshold, settings, None, KNOWN).estimate
    low, high = found.interval
    assert low < p < high, found
    # As the model makes them, members would be too few by a factor that no interval holds.
    assert NormalDist(raw_mean, raw).cdf(-threshold + 2 * raw_mean) < 0.6 * low


def test_the_error_of_the_mean_is_that_of_its_members(linear_world):
    """Of an index that is linear in the field it is known: the deviation of the linear part of
    the members, weighted by beta - tau, over the root of their number."""
    simulation = linear_world(INDEX)
    meter, spec = simulation.meter, simulation.forecaster.spec
    pilot = pilot_run(simulation, 80, 5, KNOWN)
    plain = pilot_run(simulation, 80, 5)
    assert plain.error == 0.0 and plain.calibrated is None
    rows = torch.from_numpy(np.stack(KNOWN.channels["tas"].at([DAY * n for n in (3, 4, 5)])))
    # Daily values, out of the scores of the index of each day alone.
    daily = torch.stack([
        pilot_run(linear_world(f"mean(tas, 20:70,-30:60, {n})"), 80, 5).scores[-1]
        for n in (3, 4, 5)
    ])  # fmt: skip
    wanted = float((((rows[1] - rows[2])[:, None] * daily).mean(0)).std() / 80**0.5)
    assert pilot.error == pytest.approx(wanted, rel=1e-3)
    assert pilot.log_error(float(pilot.scores[-1].mean()) + 3 * float(pilot.scores[-1].std())) == (
        pytest.approx(3.283 * wanted / float(pilot.scores[-1].std()), rel=1e-3)
    )
    points = torch.randn(5, 9, len(meter.points(torch.zeros(1, *spec.shape))[0])) + 280.0
    same = Calibration({"tas": Coefficients((DAY,), (1.0,), (1.2,), (1.2,))})
    assert error_of_mean(meter, points, same, spec) == pytest.approx(0.0, abs=1e-4)


def test_points_are_moved_about_the_mean_and_stay_at_or_above_zero(linear_world):
    simulation = linear_world("max(tas, 20:70,-30:60, 2..3)")
    meter, spec = simulation.meter, simulation.forecaster.spec
    points = torch.rand(3, 7, len(meter.points(torch.zeros(1, *spec.shape))[0])) + 1.0
    moved = CalibratedPoints.about(points.mean(1), KNOWN, spec, meter)
    alpha, beta, tau = (row[2] for row in KNOWN.channels["tas"].at([DAY, 2 * DAY, 3 * DAY]))
    middle = points[2].mean(0)
    wanted = alpha + beta * middle + tau * (points[2] - middle)
    torch.testing.assert_close(moved(points[2], 3), wanted.float(), rtol=1e-5, atol=1e-5)
    scores = scores_of(meter, points, moved)
    assert scores.shape == (3, 7)
    both = torch.stack([moved(points[n], n + 1).amax(-1) for n in (1, 2)])
    torch.testing.assert_close(scores[-1], both.amax(0).double())
    rain = CalibratedPoints(torch.full((1, 2), -5.0).double(), torch.ones(1).double(), 0.0)
    assert rain(torch.tensor([[1.0, 7.0]]), 1).tolist() == [[0.0, 2.0]]


def test_composites_are_of_calibrated_members(linear_world, law):
    simulation = linear_world(INDEX)
    threshold = NormalDist(*law(simulation, KNOWN)).inv_cdf(0.9)
    found = probability(simulation, threshold, ExtremeSettings("mc", 200), None, KNOWN)
    raw = composite(simulation, found, 0, plain=100)
    made = raw.calibrated(KNOWN, simulation.forecaster.spec)
    tas = simulation.meter.channel
    np.testing.assert_array_equal(made.extreme[0], raw.extreme[0])  # the start is known
    np.testing.assert_allclose(made.anomaly[4, tas], 1.4 * raw.anomaly[4, tas], rtol=1e-6)
    np.testing.assert_allclose(made.deviation[5, tas], 1.3 * raw.deviation[5, tas])
    np.testing.assert_array_equal(made.mean[:, :tas], raw.mean[:, :tas])


@pytest.fixture
def calibration(tmp_path):
    """A file of a calibration of tas on days 1 to 3."""
    rows = (0.1, 0.2, 0.3), (0.99, 1.0, 1.01), (1.2, 1.4, 1.6)
    one = Coefficients((DAY, 2 * DAY, 3 * DAY), *rows)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(Calibration({"tas": one}).to_plain()))
    return path


@pytest.fixture
def words(small_models, small_store, tmp_path):
    """The words of both commands, and those of `extremes` alone."""
    start = Store(small_store).times[40].strftime("%Y-%m-%d")
    both = [str(small_store), "--model", small_models["crps"], "--start", start, "-n", "40",
            "--json", "--batch", "9"]  # fmt: skip
    own = ["--repeats", "4", "--pilot", "16", "-o", str(tmp_path / "out"),
           "--index", "mean(tas, north, 1..3)", "--threshold", "q0.7"]  # fmt: skip
    return both, own


def test_counting_is_counting_the_members_of_a_calibrated_forecast(
    words, calibration, small_store, tmp_path, capsys
):
    both, own = words
    more = ["--calibration", str(calibration)]
    assert command.run(parse(command, [*both, *own, *more])) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["calibration"] == "member by member, fitted to past forecasts"
    made = tmp_path / "fc.zarr"
    assert forecast.run(parse(forecast, [*both, *more, "--days", "3", "-o", str(made)])) == 0
    with xr.open_zarr(made) as data:
        tas = data["tas"].isel(time=0).values  # [40, 3, H, W]
    grid = Grid.parse(str(Store(small_store).grid))
    weights = np.where(grid.lat >= 20, grid.weights, 0.0)[:, None]
    index = ((tas * weights).mean((-1, -2)) / weights.mean()).mean(1)
    assert found["probability"] == (index >= found["threshold"]).mean()
    assert 0 < found["probability"] < 1
    with xr.open_dataset(tmp_path / "out" / "composites.nc") as shown:
        extreme = tas[index >= found["threshold"]].mean(0)
        # Its mean of all is of other members than those that are counted.
        np.testing.assert_allclose(shown["tas"].values[1:], extreme, atol=1.0)


@pytest.mark.parametrize("method", ["smc", "guide"])
def test_every_method_takes_a_calibration_and_says_so(words, calibration, capsys, method):
    both, own = words
    words = [*both, *own, "--method", method, "--no-composites"]
    args = parse(command, [*words, "--calibration", str(calibration)])
    assert command.run(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["calibration"].startswith("member by member")
    assert found["error_of_mean"] > 0 and 0.05 < found["probability"] < 0.8
    with pytest.raises(InputError, match="another command"):
        command.run(parse(command, words))
    words[words.index(str(args.out))] += "_raw"
    assert command.run(parse(command, words)) == 0
    raw = json.loads(capsys.readouterr().out)
    assert raw["calibration"] == "none" and raw["threshold"] != found["threshold"]


def test_a_models_own_calibration_is_the_default_and_is_left_out_where_it_does_not_fit(
    words, calibration, small_models, small_store, tmp_path, capsys
):
    both, own = words
    model = tmp_path / "model"
    shutil.copytree(small_models["crps"], model)
    meta = json.loads((model / weights.META).read_text())
    made = {"weights": weights_of(meta), "head": "crps", "perturb": "none"}
    plain = json.loads(calibration.read_text()) | {"made": made}
    write_json(model / weights.META, weights.sealed(meta | {META_ENTRY: plain}))
    both[both.index(small_models["crps"])] = str(model)
    found = {}
    lagged = ["--perturb", "lagged-difference", "--archive", str(small_store)]
    for name, more in (("own", []), ("none", ["--calibration", "none"]), ("lagged", lagged),
                       ("other", ["--index", "mean(z500, north, 1..3)"])):  # fmt: skip
        own[own.index("-o") + 1] = str(tmp_path / name)
        assert command.run(parse(command, [*both, *own, "--no-composites", *more])) == 0
        found[name] = json.loads(capsys.readouterr().out)
    told = {name: one["calibration"] for name, one in found.items()}
    assert told.pop("own").startswith("member by member") and set(told.values()) == {"none"}
    assert "note" not in found["own"] and "note" not in found["none"]
    assert found["lagged"]["note"] == (
        "not calibrated: its calibration was fitted with perturb none"
    )
    assert "the calibration of the model has no z500, but tas" in found["other"]["note"]


def test_a_calibration_that_does_not_fit_is_refused(words, calibration):
    both, own = words
    more = ["--calibration", str(calibration), "--index", "mean(z500, north, 1..3)"]
    with pytest.raises(InputError, match="has no z500, but tas; fit it to forecasts of z500"):
        command.run(parse(command, [*both, *own, *more]))
    plain = json.loads(calibration.read_text()) | {"made": {"head": "diffusion"}}
    calibration.write_text(json.dumps(plain))
    with pytest.raises(InputError, match="was fitted with head diffusion"):
        command.run(parse(command, [*both, *own, "--calibration", str(calibration)]))
