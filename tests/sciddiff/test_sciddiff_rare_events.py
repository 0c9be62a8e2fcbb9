"""Small probabilities of a process whose law is known: the mean of an AR(1) process."""

import math
from statistics import NormalDist

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.rare_estimates import gamma_quantile, weighted, wilson
from sciddiff.rare_events import (
    Process,
    brute_force,
    clone_particles,
    effective_size,
    estimate,
    gaussian_strength,
    pick,
    systematic,
)
from sciddiff.state import Batch

PHI, STEPS = 0.7, 12


def _start(streams):
    x = streams.normal(torch.empty(len(streams.indices), dtype=torch.float64))
    return {"x": x / math.sqrt(1 - PHI**2), "sum": torch.zeros_like(x)}


def _move(state, drift, streams):
    z = streams.normal(state["x"]) + drift
    x = PHI * state["x"] + z
    return {"x": x, "sum": state["sum"] + x}, -drift * z + drift**2 / 2


def _process(drift=None):
    return Process(
        STEPS,
        _start,
        lambda state, number, streams: _move(state, 0.0, streams)[0],
        lambda state, number: state["sum"] / STEPS,
        None if drift is None else lambda state, number, streams: _move(state, drift, streams),
    )


def _deviation():
    """Standard deviation of the mean of STEPS values of the stationary process."""
    lags = torch.arange(STEPS)
    covariance = PHI ** (lags[:, None] - lags).abs() / (1 - PHI**2)
    return math.sqrt(float(covariance.sum())) / STEPS


def _threshold(p):
    return NormalDist(0.0, _deviation()).inv_cdf(1 - p)


def _strength(p):
    return _threshold(p) / _deviation() ** 2


@pytest.mark.parametrize(
    ("p", "resample_below"),
    [(1e-1, 0.0), (1e-1, 0.5), (1e-2, 1.0), (1e-3, 0.5), (1e-4, 0.5), (1e-4, 1.0)],
)
def test_cloning_is_unbiased(p, resample_below):
    found = estimate(
        _process(), _threshold(p), 100, 3, _strength(p), repeats=40, resample_below=resample_below
    )
    error = torch.tensor(found.repeats).double().std() / math.sqrt(40)
    assert abs(found.probability - p) < 4 * float(error)
    assert float(error) < 0.3 * p


@pytest.mark.parametrize("p", [1e-2, 1e-3, 1e-4])
def test_cloning_varies_less_than_counting(p):
    n = 200
    found = estimate(_process(), _threshold(p), n, 0, _strength(p), repeats=40)
    counting = p * (1 - p) / n
    gain = counting / float(torch.tensor(found.repeats).double().var())
    assert gain > {1e-2: 1.5, 1e-3: 4, 1e-4: 25}[p]


@pytest.mark.parametrize(("strength", "resample_below"), [(0.0, 0.0), (4.0, 0.5)])
def test_a_proposal_is_paid_for_by_its_weights(strength, resample_below):
    p = 1e-3
    found = estimate(
        _process(0.6), _threshold(p), 200, 1, strength, repeats=40, resample_below=resample_below
    )
    error = float(torch.tensor(found.repeats).double().std()) / math.sqrt(40)
    assert abs(found.probability - p) < 4 * error and error < 0.1 * p


@pytest.mark.parametrize("p", [1e-2, 1e-3])
def test_intervals_hold_the_truth_as_often_as_they_say(p):
    """Ten repeats of few particles, whose estimates are skewed: 95 % of 40, less four errors.

    Student's interval of the repeats' mean holds the truth for 1e-3 in 32 of these 40 only."""
    inside, below, above = 0, 0, 0
    for seed in range(40):
        low, high = estimate(_process(), _threshold(p), 30, seed, _strength(p)).interval
        inside += low <= p <= high
        below += high < p
        above += low > p
    assert inside >= 35, (inside, below, above)


def test_intervals_of_counts_hold_the_truth_as_often_as_they_say():
    inside = 0
    for seed in range(60):
        low, high = brute_force(_process(), _threshold(0.1), 300, seed).interval
        inside += low <= 0.1 <= high
    assert 52 <= inside, inside


def test_counting_agrees_with_the_law_and_does_not_depend_on_batches():
    whole = brute_force(_process(), _threshold(0.05), 20_000, 5)
    parts = brute_force(_process(), _threshold(0.05), 20_000, 5, batch=7_001)
    assert whole == parts
    assert whole.interval[0] < 0.05 < whole.interval[1]
    assert whole.ess == 20_000 * whole.probability


def test_without_tilt_cloning_is_counting():
    found = clone_particles(_process(), 500, 5, 0.0)
    assert float(found.log_weights.abs().max()) == 0.0
    assert torch.equal(found.ancestors(), torch.arange(500))
    assert (
        found.probability(_threshold(0.1))
        == brute_force(_process(), _threshold(0.1), 500, 5).probability
    )


def test_weights_estimate_other_expectations_too():
    """Over repeats, the mean and the second moment of the score under the true law."""
    moments = []
    for repeat in range(60):
        run = clone_particles(_process(), 200, 0, 0.5 * _strength(1e-2), repeat=repeat)
        weights = run.log_weights.exp()
        moments.append([(weights * run.scores**k).mean() for k in (0, 1, 2)])
    mean, error = torch.tensor(moments).mean(0), torch.tensor(moments).std(0) / math.sqrt(60)
    exact = torch.tensor([1.0, 0.0, _deviation() ** 2])
    assert bool(((mean - exact).abs() < 4 * error).all())


def test_genealogy_leads_back_to_where_a_particle_was():
    """States remember where they were: the same as the ancestors say."""

    def start(streams):
        x = streams.normal(torch.empty(len(streams.indices), dtype=torch.float64))
        return {"x": x, "was": torch.arange(len(x))[:, None].expand(-1, STEPS + 1).clone()}

    def step(state, number, streams):
        was = state["was"].clone()
        was[:, number + 1] = torch.arange(len(was))
        return {"x": PHI * state["x"] + streams.normal(state["x"]), "was": was}

    process = Process(STEPS, start, step, lambda state, number: state["x"])
    run = clone_particles(process, 50, 2, 1.5)
    assert bool((run.sizes > 0).all()) and float(run.sizes.min()) < 25
    for number in range(STEPS + 1):
        assert torch.equal(run.ancestors(number), run.state["was"][:, number])
    lines = run.lines(-math.inf)
    assert 1 <= int((lines > 0).sum()) == len(run.ancestors().unique()) < 50
    assert float(lines.mean()) == pytest.approx(run.probability(-math.inf))
    weights = run.weights(1.0)
    assert float(weights.sum()) == pytest.approx(1.0) and bool(
        (weights[run.scores < 1] == 0).all()
    )
    assert float(run.weights(1e9).sum()) == 0.0


def test_strength_of_each_step_and_of_a_pilot():
    scores = 0.3 + _deviation() * torch.randn(
        20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    found = gaussian_strength(scores, 0.3 + _threshold(1e-3))
    assert found == pytest.approx(_strength(1e-3), rel=0.03)
    ramp = [_strength(1e-2) * (i + 1) / STEPS for i in range(STEPS)]
    found = estimate(_process(), _threshold(1e-2), 100, 0, ramp, repeats=60)
    error = float(torch.tensor(found.repeats).double().std()) / math.sqrt(60)
    assert abs(found.probability - 1e-2) < 4 * error


def test_systematic_resampling_gives_each_its_share():
    weights = torch.tensor([0.1, 0.0, 0.55, 0.35], dtype=torch.float64)
    copies = torch.stack([
        torch.bincount(systematic(weights, u / 200), minlength=4) for u in range(200)
    ]).double()  # fmt: skip
    torch.testing.assert_close(copies.mean(0), 4 * weights, rtol=0, atol=1e-2)
    assert bool(((copies - 4 * weights).abs() < 1).all()), "no more than one off"
    assert effective_size(torch.zeros(7)) == pytest.approx(7.0)
    assert effective_size(torch.tensor([0.0, -math.inf])) == pytest.approx(1.0)
    assert effective_size(torch.empty(0)) == 0.0


@pytest.mark.parametrize("resample_below", [0.0, 0.5, 1.0])
def test_lines_of_descent_tell_the_variance_of_a_run(resample_below):
    """The mean of the variance of single runs is near that among runs, which has 12 % of error."""
    p, runs = 1e-2, 120
    ramp = [_strength(p) * (number + 1) / STEPS for number in range(STEPS)]
    found = [
        clone_particles(_process(), 60, 5, ramp, resample_below=resample_below, repeat=repeat)
        for repeat in range(runs)
    ]
    among = float(torch.tensor([run.probability(_threshold(p)) for run in found]).double().var())
    within = sum(run.variance(_threshold(p)) for run in found) / runs
    assert 0.6 < within / among < 1.6


def test_few_lines_of_descent_are_in_doubt():
    many = estimate(_process(), _threshold(1e-2), 200, 1, _strength(1e-2))
    assert many.trusted and many.lines > 40
    few = estimate(_process(), _threshold(1e-4), 8, 1, _strength(1e-4))
    assert not few.trusted and "lines of descent lead to the event" in few.doubts[0]
    apart = estimate(_process(), _threshold(1e-2), 200, 1, _strength(1e-2), log_error=0.4)
    assert not apart.trusted and "uncertain by 40%" in apart.doubts[0]
    width = [math.log(one.interval[1] / one.interval[0]) for one in (many, apart)]
    assert width[1] == pytest.approx(math.hypot(width[0], 2 * 1.96 * 0.4), rel=0.15)


def test_weighted_intervals_of_equal_weights_are_those_of_a_poisson_number():
    """Garwood's bounds of 4 and 20 by the table of chi-square."""
    for hits, low, high in ((4, 1.08987, 10.24159), (20, 12.21652, 30.88838)):
        found = weighted(hits / 1000, hits / 1000**2, 1 / 1000)
        assert found == pytest.approx((low / 1000, high / 1000), rel=1e-5)
    assert gamma_quantile(0.5, 1e-8, 1e-26) == pytest.approx(1e-8, rel=1e-4)


def test_an_event_that_is_certain_is_no_surer_than_a_count():
    found = estimate(_process(), -1e6, 10, 0, 0.0, repeats=4)
    assert found.probability == 1.0 and found.interval == wilson(40, 40)


def test_an_event_never_reached_has_an_upper_bound():
    found = estimate(_process(), 1e6, 10, 0, 0.0, repeats=4)
    assert found.probability == found.ess == 0.0 and not found.trusted
    assert found.interval == wilson(0, 40)


def test_wilson():
    """Values of Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                               (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_a_run_is_a_function_of_its_seed_and_repeat():
    runs = [clone_particles(_process(), 30, 7, 2.0, repeat=r) for r in (0, 0, 1)]
    assert torch.equal(runs[0].scores, runs[1].scores)
    assert not torch.equal(runs[0].scores, runs[2].scores)


def test_particles_of_any_kind_are_picked():
    chosen = torch.tensor([2, 0, 0])
    x = torch.arange(3.0)
    for state in (x, {"a": x}, [x], (x, {"b": x}), Batch({"x": x})):
        found = pick(state, chosen)
        assert type(found) is type(state)
    assert pick((x, {"b": x}), chosen)[1]["b"].tolist() == [2.0, 0.0, 0.0]
    assert pick(Batch({"x": x}), chosen).x["x"].tolist() == [2.0, 0.0, 0.0]


def test_what_cannot_be_run_is_said():
    with pytest.raises(InputError, match="give one a step"):
        clone_particles(_process(), 10, 0, [1.0])
    with pytest.raises(InputError, match="at least one"):
        clone_particles(_process(), 0, 0, 1.0)
    with pytest.raises(InputError, match="four or more"):
        estimate(_process(), 1.0, 10, 0, 1.0, repeats=2)
    with pytest.raises(InputError, match="do not vary"):
        gaussian_strength(torch.ones(5), 2.0)
    bad = Process(1, _start, _process().step, lambda state, number: state["x"] / 0)
    with pytest.raises(InputError, match="not finite after step 1 for particle 0"):
        clone_particles(bad, 10, 0, 1.0)
    wide = Process(1, _start, _process().step, lambda state, number: state["x"][:, None])
    with pytest.raises(InputError, match="return"):
        brute_force(wide, 0.0, 10, 0)


def test_streams_alone_decide():
    before = torch.random.get_rng_state()
    clone_particles(_process(), 10, 0, 1.0)
    assert torch.equal(before, torch.random.get_rng_state())
