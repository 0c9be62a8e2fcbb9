"""Steering: the tilted law by enumeration, unbiased normalisation, and nothing for no reward."""

import math
from itertools import pairwise

import pytest
import torch

from sciddiff import GaussianPath, GeodesicPath, MaskPath, Torus
from sciddiff.analytic import (
    AnalyticDenoiser,
    EnumeratedDenoiser,
    GaussianMixture,
    TorusMixture,
    markov_chain,
)
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import Energy
from sciddiff.samplers import Ancestral, ConfidenceUnmask, DPMSolverPP, EulerMaruyama, Heun
from sciddiff.sampling import sample
from sciddiff.state import Batch, Layout
from sciddiff.steering import Reward, Steered, steer
from sciddiff.streams import index_of

WORDS, LOG_P = markov_chain(3, 4)
CHAIN = EnumeratedDenoiser(MaskPath(3), WORDS, LOG_P)


def ones(state, batch):
    """How many rows have symbol 2, and a bonus for words that end in 0."""
    word = state["word"]
    return (word == 2).sum(1).double() + 0.5 * (word[:, -1] == 0)


def words(count: int) -> Batch:
    return Batch({"word": torch.zeros(count, 4, dtype=torch.int64)})


def tilted(strength: float) -> tuple[torch.Tensor, float]:
    rewards = ones({"word": WORDS}, None)
    log = LOG_P + strength * rewards
    return log.softmax(0), float(torch.logsumexp(log, 0))


@pytest.mark.parametrize("potential", ["diff", "max", "add"])
def test_the_normalisation_is_unbiased_for_few_particles(potential):
    strength, (_, log_z) = 1.0, tilted(1.0)
    sampler = Steered(
        ConfidenceUnmask("random"), Reward(ones), particles=4, strength=strength, every=1,
        potential=potential,
    )  # fmt: skip
    found = steer(CHAIN, words(3000), sampler, uniform(4), seed=1)
    z = found.log_z.exp()
    error = float(z.std()) / math.sqrt(len(z))
    assert abs(float(z.mean()) - math.exp(log_z)) < 4.0 * error
    assert error < 0.03 * math.exp(log_z), "the test can tell"
    assert float(found.lines.double().mean()) < 3.9, "particles were drawn anew"


def test_draws_with_many_particles_follow_the_tilted_law():
    law, _ = tilted(1.0)
    sampler = Steered(ConfidenceUnmask("random"), Reward(ones), particles=64, every=1)
    runs = 700
    found = steer(CHAIN, words(runs), sampler, uniform(4), seed=2).x["word"]
    code = found @ torch.tensor([27, 9, 3, 1])
    counts = torch.bincount(code, minlength=81).double()
    order = WORDS @ torch.tensor([27, 9, 3, 1])
    expected = runs * torch.zeros(81, dtype=torch.float64).scatter(0, order, law)
    large = expected >= 5.0
    observed = torch.cat([counts[large], counts[~large].sum()[None]])
    wanted = torch.cat([expected[large], expected[~large].sum()[None]])
    chi2 = float(((observed - wanted) ** 2 / wanted).sum())
    degrees = len(wanted) - 1
    assert chi2 < degrees + 4.0 * math.sqrt(2.0 * degrees)
    # Against the law without reward the same count fails by far.
    plain = runs * torch.zeros(81, dtype=torch.float64).scatter(0, order, LOG_P.exp())
    assert float(((counts - plain) ** 2 / plain.clamp_min(1e-9)).sum()) > 5.0 * degrees


PATHS = {"x": GaussianPath(), "a": GeodesicPath(Torus())}
LAWS = {
    "x": GaussianMixture(
        torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), 0.1 * torch.eye(2).expand(2, -1, -1)
    ),
    "a": TorusMixture(torch.tensor([0.5, -2.0]), torch.tensor([0.3, 0.4])),
}  # fmt: skip
MIXED = AnalyticDenoiser(PATHS, LAWS)


def mixed(count: int) -> Batch:
    """Points, and angles in numbers that differ from sample to sample."""
    rows = torch.arange(count) % 3 + 1
    index = torch.arange(count).repeat_interleave(rows)
    x = {"x": torch.zeros(count, 2), "a": torch.zeros(len(index))}
    return Batch(x, {"row": torch.arange(count)}, {"a": Layout(count, index=index)})


SAMPLERS = [Ancestral(0.0), Ancestral(1.0), EulerMaruyama(), Heun(), DPMSolverPP()]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_no_reward_is_plain_sampling_bit_for_bit(sampler):
    none = Reward(lambda state, batch: torch.zeros(batch.size))
    steered = Steered(sampler, none, particles=3, every=1)
    found = steer(MIXED, mixed(4), steered, uniform(6), seed=5)
    numbers = torch.tensor([index_of(i, p) for i in range(4) for p in range(3)])
    each = torch.arange(4).repeat_interleave(3)
    plain = sample(MIXED, mixed(4).select(each), sampler, uniform(6), 5, indices=numbers)
    for name in PATHS:
        assert torch.equal(found.particles[name], plain.x[name])
    assert found.log_z.abs().max() < 1e-12 and (found.lines == 3).all()
    first = sample(MIXED, mixed(4), sampler, uniform(6), 5).x["x"]
    assert torch.equal(found.particles["x"][::3], first), "the first particle is the sample"


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_a_mode_that_is_rewarded_is_found_on_every_leaf(sampler):
    def reward(state, batch):
        angles = torch.zeros(batch.size).index_add(
            0, batch.layouts["a"].index, torch.cos(state["a"] - 0.5)
        )
        return 3.0 * state["x"][:, 0] + angles / torch.bincount(batch.layouts["a"].index)

    settings = Steered(sampler, Reward(reward), particles=8, strength=2.0, every=1)
    found = steer(MIXED, mixed(60), settings, uniform(12), seed=3)
    plain = sample(MIXED, mixed(60), sampler, uniform(12), 3).x
    assert float((found.x["x"][:, 0] > 0).double().mean()) > 0.95
    assert 0.3 < float((plain["x"][:, 0] > 0).double().mean()) < 0.7
    assert found.x["a"].shape == plain["a"].shape


def test_history_and_conditions_go_with_the_particles():
    """A second-order sampler whose particles are exchanged goes on as the chosen one would."""
    batch = Batch({"x": torch.zeros(2, 1)})
    denoiser = AnalyticDenoiser({"x": GaussianPath()}, {"x": GaussianMixture.standard(1)})
    favourite = Reward(lambda state, b: torch.tensor([0.0, 1.0]).repeat(b.size // 2))
    sampler = Steered(
        DPMSolverPP(), favourite, particles=2, strength=50.0, every=3, resample_below=0.9
    )
    found = steer(denoiser, batch, sampler, uniform(4), seed=0)
    numbers = torch.tensor([index_of(i, 1) for i in range(2)])
    alone = sample(denoiser, batch, DPMSolverPP(), uniform(4), 0, indices=numbers).x["x"]
    # From step 3 on both particles are the second; a deterministic sampler carries both alike.
    assert torch.equal(found.particles["x"][0::2], alone)
    assert torch.equal(found.particles["x"][1::2], alone)
    assert (found.lines == 1).all()


def test_templates_do_not_mix_and_do_not_depend_on_each_other():
    reward = Reward(lambda state, batch: state["x"][:, 0].double())
    sampler = Steered(Ancestral(1.0), reward, particles=4, strength=3.0, every=1)
    whole = steer(MIXED, mixed(5), sampler, uniform(8), seed=9)
    assert (whole.lines < 4).any()
    two = torch.tensor([1, 3])
    part = steer(MIXED, mixed(5).select(two), sampler, uniform(8), seed=9, indices=two)
    assert torch.equal(part.log_z, whole.log_z[two])
    assert torch.equal(part.x["x"], whole.x["x"][two])


def test_a_reward_of_finished_data_weighs_once():
    seen = []

    def reward(state, batch):
        seen.append(batch.size)
        return state["x"][:, 0]

    sampler = Steered(Ancestral(1.0), Reward(reward, finished_only=True), particles=4, every=1)
    found = steer(MIXED, mixed(5), sampler, uniform(8), seed=9)
    assert seen == [20]
    values = found.particles["x"][:, 0].double().reshape(5, 4)
    assert torch.allclose(found.weights, values.softmax(1))
    best = Steered(Ancestral(1.0), Reward(reward, finished_only=True), particles=4, strength=1e6)
    chosen = steer(MIXED, mixed(5), best, uniform(8), seed=9)
    assert torch.equal(chosen.chosen, values.argmax(1)), "a huge strength takes the best of them"


def test_the_strength_of_the_drift_rises_with_lambda():
    reward, means = Reward(ones), []
    for strength in (0.0, 0.5, 1.0, 2.0):
        sampler = Steered(ConfidenceUnmask("random"), reward, 16, strength=strength, every=1)
        found = steer(CHAIN, words(300), sampler, uniform(4), seed=4)
        means.append(float(ones(found.x, None).mean()))
    assert all(b > a + 0.1 for a, b in pairwise(means))


def test_a_differentiable_reward_is_an_energy():
    reward = Reward(lambda state, batch: 2.0 * state["x"][:, 0], differentiable=True)
    guided = Energy(reward.energy(0.5))(MIXED)
    batch = mixed(3)
    assert float(reward.energy(0.5)(batch.x, batch).abs().max()) == 0.0
    assert guided.path is MIXED.path
    with pytest.raises(InputError, match="not differentiable"):
        Reward(ones).energy()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Steered(Heun(), Reward(ones), particles=0), "particles"),
        (lambda: Steered(Heun(), Reward(ones), every=0), "every 0 steps"),
        (lambda: Steered(Heun(), Reward(ones), strength=math.nan), "strength"),
        (lambda: Steered(Heun(), Reward(ones), potential="least"), "choose diff, max, add"),
        (lambda: Steered(Heun(), Reward(ones), resample_below=2.0), "resample_below"),
        (lambda: Reward(lambda s, b: torch.zeros(b.size, 1))({}, words(2)), "one number for each"),
        (lambda: Reward(lambda s, b: torch.full((2,), math.nan))({}, words(2)), "finite"),
        (
            lambda: sample(
                CHAIN, words(3), Steered(ConfidenceUnmask(), Reward(ones), particles=2),
                uniform(4), 0,
            ),
            "not groups of 2",
        ),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_one_line(made, said):
    with pytest.raises(InputError, match=said) as caught:
        made()
    assert "\n" not in str(caught.value)
