"""Tokens: paths, predictions, samplers and bounds, against laws that are enumerated."""

import itertools
import math

import numpy as np
import pytest
import torch

from sciddiff import (
    Batch,
    Denoising,
    Layout,
    MaskPath,
    ProductPath,
    Streams,
    Ties,
    UniformDiscretePath,
    elbo,
    order_log_prob,
    sample,
)
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import Bias
from sciddiff.guidance.bias import FORBIDDEN
from sciddiff.paths import Move, PathSample
from sciddiff.paths.move import FreshNoise, LeafStage
from sciddiff.prediction import CategoricalPrediction, Predictions
from sciddiff.samplers import Ancestral, ConfidenceUnmask, FirstHitting, reveal_order
from sciddiff.schedules import CosineKappa, LinearKappa, PowerKappa
from sciddiff.testing import EnumeratedDenoiser, markov_chain

V, L = 3, 4


WORDS, LOG_P = markov_chain(V, L)


def exact(path, kind="posterior"):
    return EnumeratedDenoiser(path, WORDS, LOG_P, kind=kind)


def histogram(found, size=V):
    power = size ** torch.arange(found.shape[1] - 1, -1, -1)
    return torch.bincount((found * power).sum(-1), minlength=size ** found.shape[1])


def chi_square(found, log_p):
    """Chi-square of a histogram about its mean, in units of its deviation."""
    counts, expected = histogram(found), log_p.exp() * len(found)
    big = expected > 8.0
    value = (((counts - expected) ** 2) / expected)[big].sum()
    return float((value - int(big.sum())) / math.sqrt(2.0 * int(big.sum())))


# Schedules and predictions.


@pytest.mark.parametrize("kappa", [LinearKappa(), CosineKappa(), PowerKappa(2.0)])
def test_the_share_of_known_rows_runs_from_zero_to_one(kappa):
    assert kappa.at(0.0)[0] == 0.0 and kappa.at(1.0)[0] == 1.0
    t = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    value, rate = kappa.rate(t)
    near = (kappa(t + 1e-6) - kappa(t - 1e-6)) / 2e-6
    assert torch.allclose(rate, near, rtol=1e-6) and bool((rate > 0).all())
    numbers = torch.tensor([kappa.at(s)[0] for s in t.tolist()], dtype=torch.float64)
    assert torch.allclose(numbers, value, atol=1e-15, rtol=0.0)


def test_posterior_and_cavity_follow_from_each_other():
    path = UniformDiscretePath(V)
    x = torch.randint(0, V, (7, L), generator=torch.Generator().manual_seed(1))
    t, batch = torch.full((7,), 0.4, dtype=torch.float64), Batch({"word": x})
    posterior = exact(path)({"word": x}, t, batch)["word"]
    cavity = exact(path, "cavity")({"word": x}, t, batch)["word"]
    assert torch.allclose(posterior.cavity, cavity.value, atol=1e-12)
    assert torch.allclose(cavity.posterior, posterior.value, atol=1e-12)
    assert not torch.allclose(posterior.value, cavity.value, atol=1e-2)


def test_a_draw_is_the_inverse_of_the_cumulative_law():
    log_p = torch.tensor([[[0.0, 0.2, 0.0, 0.8]]]).log().clamp(min=FORBIDDEN)
    said = CategoricalPrediction("posterior", log_p, torch.zeros(1, 1).long(), 0.0, lambda: log_p)

    def pick(u, temperature=1.0):
        return int(said.draw(torch.tensor([[u]], dtype=torch.float64), temperature))

    assert [pick(u) for u in (0.0, 0.19, 0.21, 1.0 - 1e-16)] == [1, 1, 3, 3]
    assert pick(0.0, 0.0) == 3 and pick(0.05, 0.5) == 1 and pick(0.06, 0.5) == 3
    entropy = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    assert math.isclose(float(said.entropy), entropy, rel_tol=1e-6)


def test_revealed_rows_are_certain():
    path = MaskPath(V)
    x = torch.tensor([[0, V, 2]])
    said = path.predict(torch.zeros(1, 3, V), x, 0.5)
    assert torch.equal(said.data[0, [0, 2]], torch.tensor([0, 2]))
    assert torch.allclose(said.posterior[0, 1].exp(), torch.full((V,), 1.0 / V))
    assert torch.equal(said.log_prob_of(torch.tensor([[0, 1, 2]]))[0, [0, 2]], torch.zeros(2))


# Bounds: equal to -log p for exact denoisers.


def mask_bound(path, log_p):
    """The bound of every word by summing over all masks, and by Gauss-Legendre over time."""
    every = WORDS
    masks = torch.tensor(list(itertools.product([False, True], repeat=L)))
    x, w = np.polynomial.legendre.leggauss(24)
    total = torch.zeros(len(every), dtype=torch.float64)
    known = exact(path)
    for node, weight in zip((x + 1) / 2, w / 2, strict=True):
        t = torch.full((len(every),), node, dtype=torch.float64)
        alpha = path.schedule.at(float(node))[0]
        for mask in masks:
            hidden = int(mask.sum())
            chance = (1 - alpha) ** hidden * alpha ** (L - hidden)
            x_t = path.hide(every, mask.expand_as(every))
            said = known({"word": x_t}, t, Batch({"word": every}))["word"]
            term = path.log_prob_bound(said, PathSample(x_t, x_t, every, t))
            total += weight * chance * term
    return total


@pytest.mark.parametrize("schedule", [LinearKappa(), PowerKappa(2.0)])
def test_the_bound_of_masks_is_the_log_probability(schedule):
    log_p = LOG_P
    assert torch.allclose(mask_bound(MaskPath(V, schedule), log_p), log_p, atol=1e-10)


def uniform_bound(path, log_p, kind):
    """Mean bound over the data by the law of all states, on a grid graded towards t = 1."""
    every = WORDS
    x, w = np.polynomial.legendre.leggauss(48)
    u, w = (x + 1) / 2, w / 2
    total = 0.0
    known = exact(path, "posterior" if kind == "posterior" else "cavity")
    for node, weight in zip(1 - (1 - u) ** 4, w * 4 * (1 - u) ** 3, strict=True):
        t = torch.full((len(every),), node, dtype=torch.float64)
        said = known({"word": every}, t, Batch({"word": every}))["word"]
        if kind == "confused":
            said = CategoricalPrediction("cavity", said.posterior, every, t, said._log_likelihood)
        log_q = path.log_likelihood(every, t, None)  # [states, L, V]
        for word, chance in zip(every, log_p.exp(), strict=True):
            law = log_q[:, torch.arange(L), word].sum(-1).exp()
            x1 = word.expand_as(every)
            term = path.log_prob_bound(said, PathSample(every, every, x1, t))
            total += float(weight * chance * (law * term).sum())
    return total


def test_the_bound_of_uniform_noise_needs_the_cavity():
    log_p = LOG_P
    entropy = -float((log_p.exp() * log_p).sum())
    path = UniformDiscretePath(V, LinearKappa())
    assert abs(-uniform_bound(path, log_p, "cavity") - entropy) < 1e-6
    assert abs(-uniform_bound(path, log_p, "posterior") - entropy) < 1e-6
    assert -uniform_bound(path, log_p, "confused") > entropy + 0.1


def test_estimators_agree_and_their_spreads_are_ordered():
    log_p = LOG_P
    known = exact(MaskPath(V))
    batch = Batch({"word": WORDS[::9]})
    truth = log_p[::9]
    spread = {}
    for estimator in ("time", "count", "rotated"):
        runs = torch.stack([
            elbo(known, batch, draws=32, estimator=estimator, seed=seed, chunk=32)[0]
            for seed in range(60)
        ])
        error = runs.std(0) / math.sqrt(60)
        assert bool(((runs.mean(0) - truth).abs() < 4.5 * error + 1e-9).all()), estimator
        spread[estimator] = float(runs.std(0).mean())
    assert spread["rotated"] < spread["count"] < spread["time"], spread


def test_the_standard_error_covers():
    log_p = LOG_P
    known, batch = exact(MaskPath(V)), Batch({"word": WORDS[:4]})
    for estimator in ("time", "count", "rotated"):
        value, error = elbo(known, batch, draws=256, estimator=estimator, chunk=64)
        assert bool(((value - log_p[:4]).abs() < 5 * error).all()), estimator


def test_the_probability_in_an_order_is_exact_in_every_order():
    log_p = LOG_P
    known, batch = exact(MaskPath(V)), Batch({"word": WORDS})
    scores = order_log_prob(known, batch, orders=3)
    for found in (*scores.log_probs, scores.mean, scores.log_mean_exp):
        assert torch.allclose(found, log_p, atol=1e-10)
    left_to_right = torch.arange(L).expand(len(log_p), L)
    one = order_log_prob(known, batch, order=left_to_right, chunk=3)
    assert torch.allclose(one.mean, log_p, atol=1e-10)
    # All rows at once: the product of the marginals.
    at_once = order_log_prob(known, batch, order=torch.zeros(len(log_p), L, dtype=torch.int64))
    hits = torch.nn.functional.one_hot(WORDS, V).double()
    marginal = (log_p.exp()[:, None, None] * hits).sum(0).log()
    assert torch.allclose(at_once.mean, (marginal * hits).sum((1, 2)), atol=1e-10)


def test_known_rows_are_not_counted():
    log_p = LOG_P
    every = WORDS
    fixed = torch.zeros(len(every), L, dtype=torch.bool)
    fixed[:, 1] = True
    batch = Batch({"word": every}, layouts={"word": Layout(len(every), fixed=fixed)})
    hits = torch.nn.functional.one_hot(every, V).double()
    marginal = (log_p.exp()[:, None, None] * hits).sum(0).log()
    given = log_p - marginal[1, every[:, 1]]
    known = exact(MaskPath(V))
    assert torch.allclose(order_log_prob(known, batch, orders=2).mean, given, atol=1e-10)
    value, error = elbo(known, batch, draws=512, estimator="rotated", chunk=64)
    assert bool(((value - given).abs() < 5 * error + 1e-9).all())


# Samplers draw from the law.

SAMPLERS = {
    "first": (MaskPath(V), FirstHitting(), 1),
    "random": (MaskPath(V), ConfidenceUnmask("random"), L),
    "sequence": (MaskPath(V), ConfidenceUnmask("sequence"), L),
    "ancestral": (MaskPath(V), Ancestral(0.0), 64),
    "again": (MaskPath(V), Ancestral(0.3), 64),
    "forget": (MaskPath(V), Ancestral(1.0), 64),
    "even": (UniformDiscretePath(V), Ancestral(0.0), 64),
    "even again": (UniformDiscretePath(V), Ancestral(0.5), 64),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_follow_the_law(name):
    path, sampler, steps = SAMPLERS[name]
    log_p, count = LOG_P, 4000
    like = Batch({"word": torch.zeros(count, L, dtype=torch.int64)})
    out = sample(exact(path), like, sampler, uniform(steps), seed=3)
    assert chi_square(out.x["word"], log_p) < 4.0
    assert out.nfe == (L if name == "first" else steps)


def test_few_calls_lose_the_dependence_and_the_law_says_how_much():
    """All rows in one call: the product of the marginals."""
    log_p, count = LOG_P, 4000
    like = Batch({"word": torch.zeros(count, L, dtype=torch.int64)})
    drawn = sample(exact(MaskPath(V)), like, ConfidenceUnmask(), uniform(1), seed=0)
    hits = torch.nn.functional.one_hot(WORDS, V).double()
    marginal = (log_p.exp()[:, None, None] * hits).sum(0).log()
    product = (marginal * hits).sum((1, 2))
    assert drawn.nfe == 1 and chi_square(drawn.x["word"], product) < 4.0
    assert chi_square(drawn.x["word"], log_p) > 50.0


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("path", [MaskPath(V), UniformDiscretePath(V)])
def test_one_step_keeps_the_marginals_of_each_row(path, eta):
    """Exact data in the place of the prediction: the state at s follows the path's own law."""
    count, t, s = 40_000, 0.5, 0.8
    data = torch.ones(count, 1, dtype=torch.int64)
    x_t = path.sample(data, torch.full((count,), t), Streams.first(0, count)).x_t
    logits = torch.where(torch.arange(V) == 1, 0.0, -1e9).expand(count, 1, V)
    said = CategoricalPrediction("posterior", logits, x_t, t, lambda: torch.zeros(()))
    stage = LeafStage(x_t, said, t)
    x_s = path.step(Move((stage,), s, noise=FreshNoise(eta)), Streams.first(1, count))
    wanted = path.sample(data, torch.full((count,), s), Streams.first(2, count)).x_t
    size = V + 1
    found, expected = (torch.bincount(x.flatten(), minlength=size) / count for x in (x_s, wanted))
    assert torch.allclose(found, expected, atol=0.012)
    if eta > 0.0 and isinstance(path, MaskPath):
        assert bool(((x_t != V) & (x_s == V)).any())


def test_colours_are_revealed_a_class_at_a_time():
    colours = torch.tensor([[0, 1, 0, 1, 2], [1, 0, 1, 0, 1]])
    like = Batch(
        {"word": torch.zeros(2, 5, dtype=torch.int64)}, {"colours": colours},
        {"word": Layout(2, mask=torch.tensor([[True] * 5, [True] * 4 + [False]]))},
    )  # fmt: skip
    turns = reveal_order(like, "word", "colour", 3)
    for k in range(2):
        real = turns[k][turns[k] >= 0]
        for step in real.unique():
            assert len(colours[k][turns[k] == step].unique()) == 1
    assert int(turns[1, 4]) == -1

    class Uneven:
        path = ProductPath({"word": MaskPath(V)})
        seen = []

        def __call__(self, x_t, t, batch):
            self.seen.append(x_t["word"].clone())
            logits = torch.zeros(*x_t["word"].shape, V)
            return Predictions({"word": self.path["word"].predict(logits, x_t["word"], t)})

    out = sample(Uneven(), like, ConfidenceUnmask("colour"), uniform(3), seed=0)
    states = [*Uneven.seen, out.x["word"]]
    for before, after in zip(states, states[1:], strict=False):
        for k in range(2):
            new = (before[k] == V) & (after[k] != V)
            assert len(colours[k][new].unique()) <= 1
    assert not bool((out.x["word"][like.layouts["word"].mask] == V).any())


def test_more_steps_than_classes_never_mix_two():
    colours = torch.tensor([[0, 1, 0, 1, 2, 0, 1, 2]])
    like = Batch({"word": torch.zeros(1, 8, dtype=torch.int64)}, {"colours": colours})
    for seed in range(20):
        turns = reveal_order(like, "word", "colour", 7, seed)
        assert all(len(colours[turns == step].unique()) == 1 for step in turns.unique())
        assert int(turns.max()) < 7


def test_low_confidence_is_given_up_and_all_rows_are_drawn():
    like = Batch({"word": torch.zeros(50, L, dtype=torch.int64)})
    sampler = ConfidenceUnmask("random", give_up=0.4)
    out = sample(
        exact(MaskPath(V)), like, sampler, uniform(6), seed=0, keep_trajectory=True
    )
    hidden = [state["word"] == V for state in out.trajectory]
    assert any(bool((~a & b).any()) for a, b in zip(hidden, hidden[1:], strict=False))
    assert not bool(hidden[-1].any())


# Layouts: fixed, omitted, tied.


def test_fixed_omitted_and_tied_rows_are_never_violated():
    count = 1000
    fixed = torch.zeros(count, L, dtype=torch.bool)
    fixed[:, 3] = True
    ties = Ties(torch.tensor([[0, -1, 0, -1]]).expand(count, L))
    layout = Layout(count, fixed=fixed, ties=ties)
    data = torch.full((count, L), 2)
    bias = torch.zeros(count, L, V)
    bias[:, 2, 1] = FORBIDDEN
    like = Batch({"word": data}, {"bias": bias}, {"word": layout})
    known = Bias({"word": "bias"})(exact(MaskPath(V)))
    unmask = ConfidenceUnmask("confidence")
    for sampler in (FirstHitting(), Ancestral(0.0), Ancestral(1.0), unmask):
        drawn = sample(known, like, sampler, uniform(4), seed=0).x["word"]
        assert bool((drawn[:, 3] == 2).all())
        assert torch.equal(drawn[:, 0], drawn[:, 2])
        assert not bool((drawn[:, 0] == 1).any()) and bool((drawn[:, 1] == 1).any())


def test_a_tied_pair_follows_the_product_of_its_laws():
    g = torch.Generator().manual_seed(0)
    laws = torch.softmax(torch.randn(2, V, generator=g, dtype=torch.float64), -1)
    count = 20_000

    class Net:
        path = ProductPath({"word": MaskPath(V)})

        def __call__(self, x_t, t, batch):
            logits = laws.log().expand(count, 2, V)
            layout = batch.layouts["word"]
            return Predictions({"word": self.path["word"].predict(logits, x_t["word"], t, layout)})

    for weight, power in ((torch.ones(count, 2), 1.0), (None, 0.5)):
        ties = Ties(torch.zeros(count, 2, dtype=torch.int64), weight)
        layout = Layout(count, ties=ties)
        like = Batch({"word": torch.zeros(count, 2).long()}, layouts={"word": layout})
        drawn = sample(Net(), like, FirstHitting(), uniform(1), seed=0)
        assert drawn.nfe == 1
        found = torch.bincount(drawn.x["word"][:, 0], minlength=V) / count
        product = (laws[0] * laws[1]) ** power
        assert torch.allclose(found.double(), product / product.sum(), atol=0.012)


def test_a_tied_group_counts_once():
    log_p = torch.log(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64))

    class Net:
        path = ProductPath({"word": MaskPath(V)})

        def __call__(self, x_t, t, batch):
            logits = log_p.expand(*x_t["word"].shape, V)
            layout = batch.layouts["word"]
            return Predictions({"word": self.path["word"].predict(logits, x_t["word"], t, layout)})

    ties = Ties(torch.tensor([[0, 0, -1]]))
    batch = Batch({"word": torch.tensor([[1, 1, 2]])}, layouts={"word": Layout(1, ties=ties)})
    wanted = float(log_p[1] + log_p[2])
    assert math.isclose(float(order_log_prob(Net(), batch).mean), wanted, rel_tol=1e-9)
    value, error = elbo(Net(), batch, draws=64, estimator="rotated")
    assert abs(float(value) - wanted) < 5 * float(error) < 0.5
    loss = Denoising()(_Module(Net()), batch, torch.Generator().manual_seed(0)).loss
    assert float(loss) >= 0.0


class _Module:
    def __init__(self, net):
        self.path, self.net = net.path, net

    def __call__(self, x_t, t, batch):
        return self.net(x_t, t, batch)


def test_a_sample_does_not_depend_on_its_batch_or_padding():
    class Padded:
        path = ProductPath({"word": MaskPath(V)})
        inner = exact(MaskPath(V))

        def __call__(self, x_t, t, batch):
            short = Batch({"word": x_t["word"][:, :L]})
            raw = self.inner(short.x, t, short)["word"].value
            wide = torch.nn.functional.pad(raw, (0, 0, 0, x_t["word"].shape[1] - L))
            return Predictions({"word": self.path["word"].predict(wide, x_t["word"], t)})

    for sampler in (FirstHitting(), Ancestral(0.5), ConfidenceUnmask("entropy", give_up=0.2)):
        alone = Batch({"word": torch.zeros(1, L).long()})
        one = sample(Padded(), alone, sampler, uniform(L), 5, indices=torch.tensor([2])).x["word"]
        mask = torch.tensor([[True] * L + [False] * 3]).expand(4, L + 3)
        layout = Layout(4, mask=mask)
        wide = Batch({"word": torch.zeros(4, L + 3).long()}, layouts={"word": layout})
        many = sample(Padded(), wide, sampler, uniform(L), 5).x["word"]
        assert torch.equal(many[2, :L], one[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MaskPath(1), "at least 2 symbols"),
        (lambda: UniformDiscretePath(3, parametrization="data"), "posterior or cavity"),
        (lambda: MaskPath(3).sample(torch.zeros(1, 2), torch.zeros(1), None), "tokens are int64"),
        (lambda: MaskPath(3).predict(torch.zeros(1, 2, 4), torch.ones(1, 2).long(), 0), "logits"),
        (lambda: ConfidenceUnmask("nonsense"), "is unknown"),
        (lambda: ConfidenceUnmask(give_up=1.0), "give_up"),
        (lambda: Ties(torch.zeros(3).long()), "dense leaf"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(InputError, match=message):
        call()
