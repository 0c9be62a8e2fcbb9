"""Best of several, weighted samples and reward gradients: towards the enumerated tilted law."""

import math

import pytest
import torch

from sciddiff import Denoiser, GaussianPath, MaskPath
from sciddiff.analytic import AnalyticDenoiser, EnumeratedDenoiser, GaussianMixture, markov_chain
from sciddiff.distillation import OwnSamples, StandIn
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.paths import ProductPath
from sciddiff.samplers import Ancestral, ConfidenceUnmask
from sciddiff.sampling import sample
from sciddiff.state import Batch
from sciddiff.steering import Reward, steer
from sciddiff.tuning import (
    GROUP,
    RewardedSamples,
    RewardGradient,
    Templates,
    Tuned,
    TuningPlan,
    best_of,
    group_weights,
    in_groups,
    measure,
    measure_best_of,
)

WORDS, LOG_P = markov_chain(3, 3)
CHAIN = EnumeratedDenoiser(MaskPath(3), WORDS, LOG_P)
CODE = torch.tensor([9, 3, 1])
REWARD = Reward(lambda state, batch: (state["word"] == 2).sum(1).double())
NONE = Reward(lambda state, batch: torch.zeros(batch.size))


def words(count: int) -> Batch:
    return Batch({"word": torch.zeros(count, 3, dtype=torch.int64)})


def tilted(beta: float) -> torch.Tensor:
    return (LOG_P + REWARD.of({"word": WORDS}, words(27)) / beta).softmax(0)


def distance(x: torch.Tensor, law: torch.Tensor) -> float:
    """Total variation of a histogram of words from a law."""
    counts = torch.bincount(x @ CODE, minlength=27).double()
    wanted = torch.zeros(27).double().scatter(0, WORDS @ CODE, law)
    return float((counts / len(x) - wanted).abs().sum()) / 2.0


class Chain(StandIn):
    """Words of the chain as what a model drew."""

    name = "chain"

    def __init__(self, count: int, groups: int) -> None:
        drawn = sample(CHAIN, words(count), ConfidenceUnmask("random"), uniform(3), 3).x
        group = torch.arange(count) % groups
        self._batch = Batch(drawn, {GROUP: group}, ids=tuple(f"w{k}" for k in range(count)))
        self.domain = self

    def train_batches(self, epoch, seed, rank, world):
        return [self._batch]

    def path(self):
        return CHAIN.path


def test_best_of_many_follows_the_tilted_law_and_best_of_few_moves_towards_it():
    law, distances = tilted(0.7), []
    for n in (1, 4, 32):
        found = steer(
            CHAIN, words(400), best_of(ConfidenceUnmask("random"), REWARD, n, 0.7), uniform(3), 1
        )
        distances.append(distance(found.x["word"], law))
    assert distances[0] > distances[1] + 0.05 > distances[2] + 0.1
    noise = float((law * (1 - law) / 400).sqrt().sum()) / 2.0
    assert distances[2] < 1.6 * noise + 0.02


def test_weighted_samples_have_the_tilted_law_in_every_epoch():
    law, beta = tilted(0.7), 0.7
    data = RewardedSamples(Chain(4000, 1), REWARD, beta)
    shown = [next(iter(data.train_batches(e, 0, 0, 1))).x["word"] for e in range(3)]
    assert not torch.equal(shown[0], shown[1]), "each epoch draws anew"
    plain = next(iter(Chain(4000, 1).train_batches(0, 0, 0, 1))).x["word"]
    for x in shown:
        assert len(x) == 4000
        assert distance(x, law) < 0.07 < 0.15 < distance(plain, law)
    again = next(iter(data.train_batches(1, 0, 0, 1))).x["word"]
    assert torch.equal(again, shown[1]), "an epoch is the same whenever it is asked for"
    mean = float((law * REWARD.of({"word": WORDS}, words(27))).sum())
    assert data.wanted == pytest.approx(mean, abs=4.0 / data.effective**0.5)
    still = RewardedSamples(Chain(200, 4), NONE, beta)
    kept = next(iter(still.train_batches(0, 0, 0, 1)))
    assert sorted(kept.ids) == sorted(f"w{k}" for k in range(200)), "no reward: each one once"
    assert still.effective == pytest.approx(50.0)


def test_weights_add_up_in_every_group_and_survive_huge_rewards():
    group = torch.tensor([3, 3, 9, 9, 9])
    weights = group_weights(torch.tensor([1e6, 1e6 - 1.0, 0.0, 0.0, -1e6]), group, 1.0)
    one = 1.0 / (1.0 + math.exp(-1.0))
    assert weights.tolist() == pytest.approx([one, 1.0 - one, 0.5, 0.5, 0.0])


def test_templates_come_in_groups_and_as_often_as_updates():
    grouped = in_groups([words(3), words(2)], 4)
    assert [batch.size for batch in in_groups([words(3)], 4, together=2)] == [8, 4]
    assert [batch.cond[GROUP].tolist() for batch in grouped] == [
        [0] * 4 + [1] * 4 + [2] * 4, [3] * 4 + [4] * 4,
    ]  # fmt: skip
    many = list(Templates(Chain(4, 1), [words(5)], 2, 3).train_batches(0, 0, 0, 1))
    assert sorted(batch.size for batch in many) == [1] * 3 + [2] * 6
    assert all(many[3 * k] is many[3 * k + 1] is many[3 * k + 2] for k in range(3))


class Points(torch.nn.Module):
    """The exact denoiser of a standard normal law, moved by what is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        law = GaussianMixture(torch.zeros(1, 2), torch.eye(2)[None])
        self.exact = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})

    def forward(self, x_t, t, batch):
        return {"x": self.exact(x_t, t, batch)["x"].data + self.shift}


def tuned_points(beta: float) -> Tuned:
    path = ProductPath({"x": GaussianPath(parametrization="data")})
    reward = Reward(lambda state, batch: 2.0 * state["x"][:, 0], differentiable=True)
    return Tuned(Denoiser(Points(), path), path, Drawing(grid=uniform(8)), reward, beta, 4)


def test_a_reward_gradient_of_points_goes_where_the_reward_rises():
    tuned = tuned_points(0.5)
    net = Points()
    learning = RewardGradient(tuned, last=3)
    out = learning(
        Denoiser(net, tuned.path), Batch({"x": torch.zeros(8, 2).double()}),
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    grad = torch.autograd.grad(out.loss, net.shift)[0]
    assert grad[0] < -0.1 and abs(float(grad[1])) < 1e-12
    assert float(out.metrics["path_kl"]) == 0.0, "it is still the reference"
    with torch.no_grad():
        net.shift += torch.tensor([20.0, 0.0])
    far = learning(
        Denoiser(net, tuned.path), Batch({"x": torch.zeros(8, 2).double()}),
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert torch.autograd.grad(far.loss, net.shift)[0][0] > 0.0, "the divergence holds it back"


class Rows(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(3, 3, dtype=torch.float64))

    def forward(self, x_t, t, batch):
        return {"word": self.logits.expand(*x_t["word"].shape, 3)}


def relaxed(state, batch):
    x = state["word"]
    one_hot = x if x.is_floating_point() else torch.nn.functional.one_hot(x, 4)[..., :3].double()
    return one_hot[..., 2].sum(1)


def tuned_words(beta: float, smooth: bool = True) -> Tuned:
    path = ProductPath({"word": MaskPath(3)})
    drawing = Drawing(sampler=ConfidenceUnmask("random"), grid=uniform(3))
    reward = Reward(relaxed, differentiable=smooth)
    return Tuned(Denoiser(Rows(), path), path, drawing, reward, beta, 8)


def test_a_reward_gradient_of_tokens_finds_the_tilted_law_of_independent_rows():
    tuned, net = tuned_words(1.0), Rows()
    learning = RewardGradient(tuned)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(24):
        out = learning(
            Denoiser(net, tuned.path), words(8), torch.Generator().manual_seed(step)
        )
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
    found = net.logits.detach().softmax(-1)[:, 2].mean()
    best = math.e / (2.0 + math.e)  # of rows that are even in the reference
    assert float(found) == pytest.approx(best, abs=0.15)
    assert float(found) > 0.45
    with pytest.raises(InputError, match="not differentiable"):
        RewardGradient(tuned_words(1.0, smooth=False))


def test_figures_of_models_are_told_beside_each_other():
    tuned, net = tuned_words(1.0), Rows()
    with torch.no_grad():
        net.logits[:, 2] += 1.0
    denoiser = Denoiser(net, tuned.path)
    judge = Reward(lambda state, batch: (state["word"] == 0).sum(1))
    row = measure("tuned", denoiser, tuned, [words(300), words(200)], judge, 0)
    p = torch.tensor([1.0, 1.0, math.e]).double() / (2.0 + math.e)
    divergence = 3.0 * float((p * (3.0 * p).log()).sum())
    assert row.samples == 500 and row.path_kl is not None and row.judge is not None
    assert row.path_kl.mean == pytest.approx(divergence, rel=1e-6), "rows are alike in every state"
    assert row.entropy == pytest.approx(float(torch.special.entr(p).sum()), abs=0.04)
    assert abs(row.reward.mean - 3.0 * float(p[2])) < 4.0 * row.reward.error
    assert abs(row.judge.mean - 3.0 * float(p[0])) < 4.0 * row.judge.error
    assert row.distinct == pytest.approx(27 / 500, abs=0.01)
    same = measure("reference", tuned.reference, tuned, [words(50)], None, 0)
    assert same.path_kl is not None and same.path_kl.mean == 0.0 and same.judge is None
    best = measure_best_of(tuned, [words(200)], judge, 0)
    assert best.bound and best.path_kl is not None
    assert 0.0 < best.path_kl.mean < math.log(8)
    assert best.reward.mean > same.reward.mean + 3.0 * best.reward.error
    assert [len(one.cells()) for one in (row, same, best)] == [len(row.HEADER)] * 3


def test_models_without_laws_are_refused_where_these_are_needed():
    from sciddiff import GeodesicPath, Torus

    path = ProductPath({"a": GeodesicPath(Torus())})

    class Net(torch.nn.Module):
        def forward(self, x_t, t, batch):
            return {"a": x_t["a"]}

    drawing = Drawing(sampler=Ancestral(1.0), grid=uniform(3))
    reward = Reward(lambda state, batch: state["a"].sum(1))
    tuned = Tuned(Denoiser(Net(), path), path, drawing, reward, 1.0, 4)
    like = [Batch({"a": torch.zeros(2, 3)})]
    TuningPlan("reward-weighted", 1.0).check(tuned, like)
    with pytest.raises(InputError, match="GeodesicPath.*reward-weighted tunes any model"):
        TuningPlan("policy-gradient", 1.0).check(tuned, like)
    row = measure("reference", tuned.reference, tuned, like, None, 0)
    assert row.path_kl is None and row.entropy is None and row.distinct == 1.0
    with pytest.raises(InputError, match="no template"):
        TuningPlan("reward-weighted", 1.0).check(tuned, [])
    with pytest.raises(InputError, match="--beta"):
        TuningPlan("reward-weighted", 0.0)


def test_own_samples_are_a_domain_in_all_else(tmp_path):
    data = RewardedSamples(Chain(20, 1), NONE, 1.0)
    assert data.path() is CHAIN.path and list(data.val_batches()) == []
    with pytest.raises(InputError, match="none of the teacher's samples|gave no template"):
        Templates(data, [], 2)
    assert issubclass(OwnSamples, StandIn)
