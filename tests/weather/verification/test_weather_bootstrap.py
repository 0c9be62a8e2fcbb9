"""Intervals cover what they should, and instants, regions and events are read rightly."""

import cftime
import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.sphere.grids import Grid
from weather.verification.bootstrap import draw_weights, interval, jackknife, weighted_mean
from weather.verification.instants import Instants, days_apart, lead_seconds
from weather.verification.regions import (
    NAMED_REGIONS,
    STANDARD_REGIONS,
    Region,
    area_weights,
    parse_region,
    parse_regions,
)
from weather.verification.reliability import reliability_curve
from weather.verification.thresholds import Event, Quantiles, of_channels, parse_event


def red_series(generator, count, memory):
    x = np.empty(count)
    x[0] = generator.standard_normal()
    for i in range(1, count):
        x[i] = memory * x[i - 1] + np.sqrt(1 - memory**2) * generator.standard_normal()
    return x


def test_blocks_cover_a_dependent_mean_where_single_days_do_not():
    generator = np.random.default_rng(0)
    covered = {1: 0, 20: 0}
    for trial in range(80):
        series = red_series(generator, 400, 0.8)
        for block in covered:
            means = weighted_mean(draw_weights(400, block, 200, trial), series)
            low, high = interval(means)
            covered[block] += low <= 0 <= high
    assert covered[20] / 80 > 0.8
    assert covered[1] / 80 < 0.65


def test_draws_keep_the_number_of_times_and_depend_on_the_seed():
    weights = draw_weights(17, 4, 50, 3)
    np.testing.assert_array_equal(weights.sum(1), 17)
    np.testing.assert_array_equal(weights, draw_weights(17, 4, 50, 3))
    assert (weights != draw_weights(17, 4, 50, 4)).any()


def test_missing_values_count_nowhere():
    values = np.array([1.0, np.nan, 3.0])
    assert weighted_mean(np.ones((1, 3)), values)[0] == 2.0
    assert np.isnan(weighted_mean(np.array([[0.0, 3.0, 0.0]]), values)[0])


def test_jackknife_of_a_mean_is_the_t_interval():
    x = np.random.default_rng(1).standard_normal(9)
    value, low, high = jackknife(lambda w: weighted_mean(w, x), 9)
    assert value == pytest.approx(x.mean())
    assert (high - low) / 2 == pytest.approx(2.306 * x.std(ddof=1) / 3, rel=1e-3)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "proleptic_gregorian"])
def test_instants_differ_by_what_passed(calendar):
    first = cftime.datetime(2001, 2, 27, calendar=calendar)
    times = cftime.num2date(
        np.arange(5), f"days since {first.strftime('%Y-%m-%d')}", calendar=calendar
    )
    found = Instants.of(times)
    np.testing.assert_array_equal(np.diff(found.seconds), 86400)
    assert found.text(0) == "2001-02-27T00:00"
    assert (found.day_of_year() < 365).all()


def test_dates_of_numpy_and_of_cftime_are_the_same_instants():
    ours = Instants.of(np.array(["2020-02-29T06:00"], dtype="datetime64[ns]"))
    theirs = Instants.of([cftime.datetime(2020, 2, 29, 6, calendar="standard")])
    assert ours.seconds[0] == theirs.seconds[0]
    assert ours.calendar == theirs.calendar


def test_days_go_around_the_year_and_leads_need_units():
    assert days_apart(np.array([360.0]), 5.0)[0] == 10.0
    np.testing.assert_array_equal(lead_seconds([1, 2], "days"), [86400, 172800])
    with pytest.raises(InputError, match="units"):
        lead_seconds([1, 2])
    with pytest.raises(InputError, match="not dates"):
        Instants.of(np.arange(3))


def test_standard_regions_tile_the_globe_and_weigh_by_area():
    grid = Grid.parse("gaussian-32x64")
    globe, *parts = area_weights(STANDARD_REGIONS, grid.lat, grid.lon, grid.weights)
    np.testing.assert_allclose(sum(p > 0 for p in parts), globe > 0)
    square = np.broadcast_to(np.sin(np.radians(grid.lat))[:, None] ** 2, grid.shape).ravel()
    assert globe @ square == pytest.approx(1 / 3, rel=1e-12)


def test_a_box_may_cross_the_seam():
    box = parse_region("europe=35:75,-12.5:42.5")
    mask = box.mask(np.array([50.0]), np.array([0.0, 20.0, 90.0, 180.0, 350.0]))
    np.testing.assert_array_equal(mask[0], [True, True, False, False, True])
    assert Region("all").mask(np.array([0.0]), np.arange(0.0, 360.0, 10)).all()


@pytest.mark.parametrize("text", ["mars", "x=75:35,0:10", "x=0:1"])
def test_a_wrong_region_is_one_line(text):
    with pytest.raises(InputError, match="--region"):
        parse_region(text)


def test_events_are_read():
    assert parse_event("tas>303.15") == Event("tas", 303.15)
    assert parse_event("z500>q0.9") == Event("z500", 0.9, True)
    assert parse_event(">q0.1").name == ">q0.1"
    assert parse_event("tas>30degC") == Event("tas", 303.15)
    assert parse_event("mslp < 980 hPa") == Event("mslp", 98000.0, below=True)
    assert parse_event("msl<=9.8e4") == Event("msl", 98000.0, below=True)
    assert parse_event("<q0.1").name == "<q0.1" and parse_event("z500<q0.1").quantile
    assert Quantiles((Event("mslp", 98000.0, below=True), Event("tas", 1.0)), None).below()[0]
    for wrong in ("tas", ">5", "z500>q1.5", "mslp<3knots", "mslp<q0.1hPa"):
        with pytest.raises(InputError, match="--threshold"):
            parse_event(wrong)
    with pytest.raises(InputError, match="--train"):
        Quantiles((parse_event(">q0.5"),), None)


def test_events_are_of_channels_that_are_scored():
    """An event of another channel was left out in silence."""
    assert of_channels("msl<980hPa", ["mslp"]) == Event("mslp", 98000.0, below=True)
    assert of_channels(">q0.9", ["mslp"]).channel == ""
    for text in ("tas>300", "nope>3"):
        with pytest.raises(InputError, match="not among the channels that are scored; there are"):
            of_channels(text, ["mslp", "z500"])


def test_boxes_are_told_apart():
    """Two boxes without names were both called box, and their scores could not be told apart."""
    boxes = parse_regions(["30:50,-60:0", "50:70,-60:0", "globe", "globe"])
    assert [box.name for box in boxes] == ["30:50,-60:0", "50:70,-60:0", "globe"]
    with pytest.raises(InputError, match="--region a: names two boxes"):
        parse_regions(["a=30:50,-60:0", "a=50:70,-60:0"])


def test_regions_have_the_names_of_extremes():
    assert parse_region("europe") == Region("europe", 35.0, 72.0, -12.0, 42.0)
    assert set(STANDARD_REGIONS) < set(NAMED_REGIONS.values())


def test_reliable_chances_lie_on_the_diagonal_and_shrunk_ones_are_charged():
    chance = np.arange(11) / 10
    weight = np.full(11, 1 / 11)
    good = reliability_curve(np.stack([weight, weight * chance], -1))
    np.testing.assert_allclose(good.calibrated, chance, atol=1e-12)
    assert good.miscalibration == pytest.approx(0.0, abs=1e-12)
    whole = good.miscalibration - good.discrimination + good.uncertainty
    assert whole == pytest.approx((weight * chance * (1 - chance)).sum())
    shrunk = 0.5 + 0.5 * (chance - 0.5)
    bad = reliability_curve(np.stack([weight, weight * shrunk], -1))
    assert bad.miscalibration == pytest.approx((weight * (shrunk - chance) ** 2).sum())
