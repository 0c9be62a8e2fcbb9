"""Probabilities of extremes on a linear world, where they are known."""

from statistics import NormalDist

import numpy as np
import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.rare_events import clone_particles
from sciddiff.streams import Streams
from weather.extremes.composites import composite, replay
from weather.extremes.index import IndexMeter, parse_index
from weather.extremes.probability import ExtremeSettings, pilot_run, probability, quantile
from weather.forecast.forecaster import Forecaster
from weather.sphere.grids import Grid

INDEX = "mean(tas, 20:70,-30:60, 3..5)"


def threshold_of(p, mean, deviation):
    return NormalDist(mean, deviation).inv_cdf(1 - p)


def test_members_have_the_mean_and_deviation_of_the_recursion(linear_world, law):
    simulation = linear_world(INDEX)
    mean, deviation = law(simulation)
    scores = pilot_run(simulation, 800, 1).scores
    assert scores.shape == (5, 800)
    assert abs(float(scores[-1].mean()) - mean) < 4 * deviation / 800**0.5
    assert float(scores[-1].std()) == pytest.approx(deviation, rel=4 / (2 * 800) ** 0.5)
    # The score foretells the index ever better.
    foretold = np.corrcoef(scores.numpy())[-1]
    assert (np.diff(foretold) > 0).all()


@pytest.mark.parametrize(
    ("method", "p", "members"),
    [
        ("mc", 1e-1, 500),
        pytest.param("mc", 1e-2, 3000, marks=pytest.mark.slow),
        ("smc", 1e-1, 600),
        pytest.param("smc", 1e-2, 1000, marks=pytest.mark.slow),
        pytest.param("smc", 1e-3, 2000, marks=pytest.mark.slow),
        ("guide", 1e-1, 600),
        ("guide", 1e-2, 600),
        ("guide", 1e-3, 600),
    ],
)
def test_the_probability_lies_in_its_interval(linear_world, law, method, p, members):
    simulation = linear_world(INDEX)
    threshold = threshold_of(p, *law(simulation))
    settings = ExtremeSettings(method, members, seed=7)
    found = probability(simulation, threshold, settings)
    low, high = found.estimate.interval
    assert low < p < high, found.estimate
    assert high - low < 2.0 * p
    # Cloning and steering put the members where the event is.
    share = float((found.scores >= threshold).double().mean())
    if method == "mc":
        assert found.estimate.ess == pytest.approx(found.estimate.probability * members)
    else:
        assert share > (1.3 if p > 0.05 else 4) * p
    if method == "guide":
        assert share > 0.15 and found.estimate.ess > 0.1 * members


def test_steering_is_far_sharper_than_counting(linear_world, law):
    simulation = linear_world(INDEX)
    threshold = threshold_of(1e-3, *law(simulation))
    found = probability(simulation, threshold, ExtremeSettings("guide", 600, seed=2))
    low, high = found.estimate.interval
    counted = (1e-3 * (1 - 1e-3) / 600) ** 0.5
    assert high - low < 0.25 * 4 * counted


def test_extreme_members_are_made_again_exactly(linear_world, law):
    simulation = linear_world(INDEX)
    threshold = threshold_of(0.05, *law(simulation))
    for method in ("mc", "smc", "guide"):
        found = probability(simulation, threshold, ExtremeSettings(method, 200, 5, seed=4))
        scores, fields = replay(simulation, found.slots, 4, found.shifts)
        assert found.slots.shape[1] > 3 and len(fields) == 6
        assert bool((scores > threshold - 1e-3).all()), method
        assert float(found.weights.sum()) == pytest.approx(1.0)


def test_brute_force_counts_the_members_of_a_forecast(linear_world):
    simulation = linear_world("mean(tas, globe, 2)")
    state = simulation.begin(Streams(5, torch.tensor([0, 7])))
    for number in range(2):
        state = simulation.step(state, number, Streams(5, torch.tensor([0, 7])))
    *_, wanted = simulation.forecaster.rollout(
        simulation.frames, simulation.start, 2, [0, 7], seed=5
    )
    torch.testing.assert_close(state["history"][:, -1], wanted)


def test_composites_show_what_made_the_event(linear_world, law, spatial_part):
    """Given the event the linear world is shifted along cov(x, A) / var(A), up to noise."""
    simulation = linear_world(INDEX)
    mean, deviation = law(simulation)
    threshold = threshold_of(0.01, mean, deviation)
    settings = ExtremeSettings("guide", 300, seed=1, keep=200)
    found = probability(simulation, threshold, settings)
    made = composite(simulation, found, settings.seed, plain=200)
    assert made.extreme.shape == (6, 5, 16, 32)
    anomaly = torch.from_numpy(made.anomaly)
    assert float(anomaly[0].abs().max()) < 1e-6  # all start alike
    window = spatial_part(simulation.meter, anomaly[3:]).mean()
    wanted = NormalDist().inv_cdf(0.99)
    excess = NormalDist().pdf(wanted) / 0.01 * deviation  # mean of a normal beyond its quantile
    assert float(window) == pytest.approx(excess, rel=0.15)
    assert (made.deviation[1:] > 0).all()
    nothing = probability(simulation, mean + 50 * deviation, ExtremeSettings("mc", 20))
    assert composite(simulation, nothing, 0) is None and nothing.estimate.probability == 0


def test_an_unperturbed_repeat_is_the_same(linear_world, law):
    simulation = linear_world(INDEX, batch=64)
    threshold = threshold_of(0.1, *law(simulation))
    one = probability(simulation, threshold, ExtremeSettings("smc", 200, seed=3)).estimate
    simulation = linear_world(INDEX, batch=17)
    two = probability(simulation, threshold, ExtremeSettings("smc", 200, seed=3)).estimate
    assert one.probability == pytest.approx(two.probability, rel=1e-4)


def test_the_network_itself_can_be_steered(small_models, linear_world):
    template = linear_world("max(mean(tas, north), 2..3)")
    simulation = type(template)(
        Forecaster(small_models["crps"]), template.frames, template.start, template.meter, 16
    )
    pilot = pilot_run(simulation, 32, 0)
    threshold = quantile(pilot.scores[-1], 0.9)
    found = probability(simulation, threshold, ExtremeSettings("guide", 80, 4, seed=1), pilot)
    share = float((found.scores >= threshold).double().mean())
    assert share > 0.3 and 0.01 < found.estimate.probability < 0.5


def test_only_the_one_step_head_has_exact_weights(small_models, linear_world):
    template = linear_world(INDEX)
    simulation = type(template)(
        Forecaster(small_models["diffusion"]), template.frames, template.start, template.meter
    )
    with pytest.raises(InputError, match="use --method smc"):
        simulation.process([1.0] * 5)


def test_tilts_grow_with_what_the_score_foretells(linear_world, law):
    simulation = linear_world(INDEX)
    mean, deviation = law(simulation)
    pilot = pilot_run(simulation, 300, 0)
    tilts = pilot.tilts(mean + 2 * deviation)
    assert tilts[-1] == pytest.approx(2 / deviation, rel=0.25)
    assert all(0 < a for a in tilts) and tilts[0] < tilts[-1]
    assert max(pilot.tilts(mean - 5 * deviation)) == 0.0
    particles = clone_particles(simulation.process(), 200, 0, tilts)
    assert float(particles.scores.mean()) > mean + deviation


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mean(tas, europe, 5..8)", ("tas", "mean", "mean", (5, 8), "europe")),
        ("max(mean(t2m, box=35:70,-10:40), days 2-6)", ("t2m", "mean", "max", (2, 6), "box")),
        ("sum(tp, 45:55,0:20, 1..10d)", ("tp", "mean", "sum", (1, 10), "45:55,0:20")),
        ("-min(mslp, 3)", ("mslp", "min", "min", (3, 3), "globe")),
    ],
)
def test_indices_are_read(text, wanted):
    index = parse_index(text)
    found = (index.channel, index.space, index.time, index.days, index.region.name)
    assert found == wanted
    assert index.sign == (-1.0 if text.startswith("-") else 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tas", "does not begin"),
        ("__import__('os')", "does not begin"),
        ("median(tas, 5)", "does not begin"),
        ("mean(tas)", "no channel and days"),
        ("mean(tas, europe)", "are not of the form"),
        ("mean(tas, atlantis, 5)", "region 'atlantis' is none of"),
        ("mean(tas, 8..5)", "do not increase"),
        ("mean(sum(tas, europe), 5)", "sum is over days"),
    ],
)
def test_texts_that_are_no_index_are_refused(text, message):
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        parse_index(text)


def test_meters_measure_what_is_written(small_spec):
    grid = Grid.parse(small_spec.grid)
    fields = torch.randn(
        6, 5, 16, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for text in ("mean(tas, north, 2..3)", "sum(tas, north, 2..3)", "max(tas, north, 2..3)",
                 "-min(mean(tas, north), 2..3)"):  # fmt: skip
        meter = IndexMeter(parse_index(text), small_spec)
        so_far = meter.begin(1)
        for number in range(1, 4):
            points = meter.points(fields[number : number + 1, meter.channel])
            so_far = meter.add(so_far, points, number)
        found = float(meter.score(so_far, points, 3))
        north = grid.lat >= 20
        part, weights = fields[2:4, 4, north].numpy(), grid.weights[north]
        daily = (part.mean(-1) * weights).sum(-1) / weights.sum()
        wanted = {"mean(t": daily.mean(), "sum(ta": daily.sum(), "max(ta": part.max(),
                  "-min(m": -daily.min()}[text[:6]]  # fmt: skip
        assert found == pytest.approx(wanted)
    with pytest.raises(InputError, match="the model has no rain"):
        IndexMeter(parse_index("mean(rain, 5)"), small_spec)
    with pytest.raises(InputError, match="no step of 1 days"):
        IndexMeter(parse_index("mean(tas, 2.2..2.8)"), small_spec)
    with pytest.raises(InputError, match="no point of the grid"):
        IndexMeter(parse_index("mean(tas, 1:2,1:2, 3)"), small_spec)


def test_quantiles():
    assert quantile(torch.arange(101.0), 0.9) == pytest.approx(90.0)
    with pytest.raises(InputError, match="q0.99"):
        quantile(torch.arange(5.0), 1.5)
