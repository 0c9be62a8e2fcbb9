"""Baselines do what they say on a planet whose memory and climate are known."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.sphere.grids import Grid
from weather.verification import Plan, SeriesTruth, VerifySettings, verify
from weather.verification.baselines import (
    BaselineEnsemble,
    Climate,
    DressedForecast,
    History,
    analyses_of,
    choose_baselines,
)
from weather.verification.baselines.climatology import Climatology
from weather.verification.baselines.inverse_model import InverseModel
from weather.verification.baselines.patterns import Patterns
from weather.verification.instants import DAY, Instants, days_apart
from weather.verification.regions import GLOBE

TRAINED = 5 * 365


@pytest.fixture(scope="module")
def climate(small_planet):
    return Climate(History(small_planet.part(0, TRAINED)))


@pytest.fixture(scope="module")
def year(small_planet):
    return small_planet.part(TRAINED, 6 * 365)


def start(year, day=40):
    times = Instants.of(year.times)
    return year.read(day, day + 1)[0], int(times.seconds[day])


def test_the_seasonal_cycle_and_the_memory_are_found(climate, small_planet):
    lat = climate.history.lat
    mean = climate.mean(np.array([0.0, 182.5]))
    np.testing.assert_allclose(mean[0, 1].mean() - mean[1, 1].mean(), 10.0, atol=0.6)
    swing = (mean[0, 0] - mean[1, 0]).mean(-1)
    np.testing.assert_allclose(swing, 60 * np.sin(np.radians(lat)), atol=8.0)
    np.testing.assert_allclose(climate.scale, [20.0, 2.0], rtol=0.05)
    np.testing.assert_allclose(climate.memory(1).mean(), 0.8, atol=0.01)
    np.testing.assert_allclose(climate.memory(3).mean(), 0.8**3, atol=0.03)


def test_an_archive_read_in_pieces_gives_the_same(climate, small_planet):
    other = Climate(History(small_planet.part(0, TRAINED), resident=0))
    np.testing.assert_allclose(other.scale, climate.scale, rtol=1e-5)
    indices = np.array([900, 3, 5, 4, 1700])
    np.testing.assert_array_equal(other.history.take(indices), climate.history.take(indices))
    np.testing.assert_allclose(other.memory(2), climate.memory(2), atol=1e-4)


def test_climatology_is_of_the_season_and_never_of_the_forecast_itself(climate, small_planet):
    history = History(small_planet)
    time = int(history.times.seconds[700])
    found = history.season(time, 15, 10)
    day = float(history.days[700])
    assert (days_apart(history.days[found], day) <= 15).all()
    assert (np.abs(found - 700) >= 60).all()
    assert found.max() < len(history) - 10
    with pytest.raises(InputError, match="prepare more years"):
        next(Climatology(history, 2).rollout(
            history.read(0, 1)[0], time, 3, 500, np.random.default_rng(0)
        ))  # fmt: skip


def test_patterns_are_orthonormal_and_give_the_singular_values(climate):
    patterns = Patterns(climate, 6, passes=4)
    covariance = patterns.amplitudes.T @ patterns.amplitudes
    off = covariance - np.diag(np.diag(covariance))
    assert np.abs(off).max() < 1e-2 * np.diag(covariance).min()
    x = climate.anomalies(climate.history.read(0, TRAINED), climate.history.days)
    flat = (x.reshape(TRAINED, -1) * patterns._weight).astype(np.float64)
    exact = np.linalg.svd(flat, compute_uv=False)[:3]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance))[:3], exact, rtol=0.02)
    back = patterns.project(patterns.compose(patterns.amplitudes[:4]))
    np.testing.assert_allclose(back, patterns.amplitudes[:4], rtol=1e-3, atol=1e-3)


def linear_planet(make, days=3650):
    """Three patterns with memories of their own, and a little noise, on one channel of two."""
    generator = np.random.default_rng(5)
    memory, size = np.array([0.9, 0.7, 0.5]), np.array([3.0, 2.0, 1.0])
    amplitudes = np.zeros((days, 3))
    for day in range(1, days):
        kick = np.sqrt(1 - memory**2) * generator.standard_normal(3)
        amplitudes[day] = memory * amplitudes[day - 1] + kick
    grid = Grid.parse("gaussian-8x16")
    shapes = np.linalg.qr(generator.standard_normal((2 * 8 * 16, 3)))[0].T * 16
    fields = (amplitudes * size) @ shapes
    fields += 0.1 * generator.standard_normal(fields.shape)
    fields = fields.reshape(days, 2, *grid.shape).astype(np.float32)
    return make(fields, grid, ("u850", "v850"))


def test_the_inverse_model_finds_the_dynamics_and_keeps_the_variance(make_states):
    states = linear_planet(make_states)
    climate = Climate(History(states))
    model = InverseModel(Patterns(climate, 3), fitted=183)
    propagator, forcing = model.dynamics(40.0)
    memory = np.sort(np.linalg.eigvals(propagator).real)
    np.testing.assert_allclose(memory, [0.5, 0.7, 0.9], atol=0.04)
    amplitudes = model.patterns.amplitudes
    covariance = amplitudes.T @ amplitudes / len(amplitudes)
    stationary = propagator @ covariance @ propagator.T + forcing @ forcing.T
    np.testing.assert_allclose(stationary, covariance, atol=0.01 * np.trace(covariance))
    initial, time = states.read(900, 901)[0], int(model.history.times.seconds[900])
    fields = list(model.rollout(initial, time, 30, 200, np.random.default_rng(0)))[-1]
    spread = np.sqrt(fields.var(0).mean())
    assert spread == pytest.approx(np.sqrt(np.square(climate.deviation).mean()), rel=0.1)


def test_every_baseline_is_reliable_and_those_with_memory_are_best(climate, year):
    """On an autoregressive planet damped persistence is the truth itself."""
    history = History(year)
    states = analyses_of(history, climate.history.channels, "year")
    leads = np.array([1, 3]) * DAY
    times = Instants(history.times.seconds[10:340:15], history.times.calendar)
    baselines = choose_baselines(("climatology", "persistence", "lim", "analogues"), climate)
    forecasts = [
        BaselineEnsemble(b, states, times, leads, 40, ("z500", "t850")) for b in baselines
    ]
    plan = Plan(("z500", "t850"), times, leads)
    result = verify(forecasts, SeriesTruth(year), plan, VerifySettings((GLOBE,)))
    for name in result.forecasts:
        np.testing.assert_allclose(result.figure("ssr", name), 1.0, atol=0.12)
    skill = {f: result.figure("skill", f)[0, :, :, 0].mean(1) for f in result.forecasts[1:]}
    ideal = 1 - np.sqrt(1 - np.array([0.8, 0.8**3]) ** 2)
    np.testing.assert_allclose(skill["damped persistence"], ideal, atol=0.03)
    for name in ("linear inverse model", "analogues"):
        assert (skill[name] > 0.2 * ideal).all()
        assert (skill[name] < ideal + 0.03).all()


def test_members_depend_on_seed_and_start_only(climate, year):
    history = History(year)
    states = analyses_of(history, climate.history.channels, "year")
    persistence = choose_baselines(("persistence",), climate)[0]
    leads = np.array([1, 2, 4]) * DAY

    def fields(first, count, seed):
        times = Instants(history.times.seconds[first : first + count], history.times.calendar)
        made = BaselineEnsemble(persistence, states, times, leads, 20, ("t850",), seed)
        return made.open(count - 1, [0, 2])(2, "t850")

    np.testing.assert_array_equal(fields(40, 1, 0), fields(38, 3, 0))
    assert (fields(40, 1, 0) != fields(40, 1, 1)).any()


def test_a_dressed_forecast_has_the_errors_of_its_past(climate, year):
    history = climate.history

    def fade(previous, initial, time, steps):
        anomaly = initial - climate.mean_at(time)
        for step in range(1, steps + 1):
            yield climate.mean_at(time + step * DAY) + 0.8**step * anomaly

    before = analyses_of(History(year), history.channels, "year")
    dressed = DressedForecast(fade, history, before, steps=3, archive=200)
    initial, time = start(year)
    fields = list(dressed.rollout(initial, time, 3, 60, np.random.default_rng(0)))
    for step, field in enumerate(fields, 1):
        spread = field.std(0, ddof=1).mean((-1, -2))
        np.testing.assert_allclose(
            spread, np.sqrt(1 - 0.8 ** (2 * step)) * np.array([20.0, 2.0]), rtol=0.08
        )
    with pytest.raises(InputError, match="enlarge"):
        next(dressed.rollout(initial, time, 3, 999, np.random.default_rng(0)))


def test_wrong_requests_are_one_line(climate, year):
    with pytest.raises(InputError, match="unknown"):
        choose_baselines(("tarot",), climate)
    states = analyses_of(History(year), ("t850",), "year")
    with pytest.raises(InputError, match="has no state at 0099"):
        states(98 * 365 * DAY)
    with pytest.raises(InputError, match="has no q700"):
        analyses_of(History(year), ("q700",), "year")
    persistence = choose_baselines(("persistence",), climate)[0]
    times = Instants.of(year.times[:2])
    with pytest.raises(InputError, match="multiples"):
        BaselineEnsemble(persistence, states, times, np.array([3600]), 5, ("t850",))
