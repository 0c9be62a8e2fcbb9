"""The policy gradient and the divergence of trajectories, against enumeration of all of them."""

import itertools
import math

import pytest
import torch

from sciddiff import Denoiser, GaussianPath, MaskPath, UniformDiscretePath
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.paths import FreshNoise, LeafStage, Move, ProductPath
from sciddiff.samplers import Ancestral, ConfidenceUnmask, FirstHitting, Heun
from sciddiff.state import Batch, Layout
from sciddiff.steering import Reward
from sciddiff.ties import Ties
from sciddiff.tuning import (
    PolicyGradient,
    Trajectories,
    Tuned,
    draw_trajectories,
    lawful,
    log_probs,
    path_divergence,
)

V, L = 3, 3
PATH = ProductPath({"word": MaskPath(V)})
REWARD = Reward(lambda state, _: (state["word"] == 2).sum(1) + 1.5 * (state["word"][:, 0] == 0))


class Table(torch.nn.Module):
    """Logits of every row for every state of the masked word: any denoiser at all."""

    def __init__(self, seed: int = 0, scale: float = 1.0, steady: bool = False) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        shape = (1 if steady else (V + 1) ** L, L, V)
        self.logits = torch.nn.Parameter(scale * torch.randn(shape, generator=g).double())

    def forward(self, x_t, t, batch):
        code = (x_t["word"] * (V + 1) ** torch.arange(L)).sum(1)
        return {"word": self.logits[code % len(self.logits)]}


def words(count: int, **layout) -> Batch:
    x = {"word": torch.zeros(count, L, dtype=torch.int64)}
    return Batch(x, layouts={"word": Layout(count, **layout)})


def tuned(reference: Table, beta: float, group: int = 8) -> Tuned:
    drawing = Drawing(sampler=ConfidenceUnmask("random"), grid=uniform(L))
    return Tuned(Denoiser(reference, PATH), PATH, drawing, REWARD, beta, group)


def every_trajectory() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in each order and words: int64 ``[6 * 27, L]`` each."""
    orders = list(itertools.permutations(range(L)))
    found = list(itertools.product(range(V), repeat=L))
    pairs = list(itertools.product(orders, found))
    return torch.tensor([o for o, _ in pairs]), torch.tensor([w for _, w in pairs])


def states_of(orders: torch.Tensor, found: torch.Tensor) -> tuple[dict[str, torch.Tensor], ...]:
    x, states = torch.full_like(found, V), []
    states.append({"word": x})
    for k in range(L):
        x = x.scatter(1, orders[:, k : k + 1], found.gather(1, orders[:, k : k + 1]))
        states.append({"word": x})
    return tuple(states)


def log_law(net: Table) -> torch.Tensor:
    """Log-probability of every step of every trajectory, by the chain rule alone ``[162, L]``."""
    orders, found = every_trajectory()
    states, steps = states_of(orders, found), []
    for k in range(L):
        logits = net(states[k], None, None)["word"].log_softmax(-1)
        row = orders[:, k]
        at = torch.arange(len(row))
        steps.append(logits[at, row, found[at, row]])
    return torch.stack(steps, 1)


def objective(net: Table, reference: Table, beta: float) -> torch.Tensor:
    """J by enumeration: every order has the probability 1/6."""
    own, other = log_law(net), log_law(reference)
    p = own.sum(1).exp() / 6.0
    rewards = REWARD.of({"word": every_trajectory()[1]}, words(len(p))).double()
    return (p * (rewards - beta * (own - other).sum(1))).sum()


def test_the_divergence_of_trajectories_is_the_enumerated_one():
    net, reference = Table(1), Table(2)
    own, other = log_law(net), log_law(reference)
    p = own.sum(1).exp() / 6.0
    exact = float((p * (own - other).sum(1)).sum().detach())
    every = Trajectories(
        words(len(p)), states_of(*every_trajectory()), ConfidenceUnmask("random"), uniform(L),
        PATH,
    )  # fmt: skip
    walk, asked = every.walk(Denoiser(net, PATH)), every.walk(Denoiser(reference, PATH))
    with torch.no_grad():
        steps = [
            every.divergence(walk, k, every.stage(walk, k), every.stage(asked, k))
            for k in range(L)
        ]
        laws = [every.laws(walk, k, every.stage(walk, k)) for k in range(L)]
    assert float((p * sum(steps)).sum().detach()) == pytest.approx(exact, rel=1e-12)
    told = torch.stack([every.log_prob(law, k) for k, law in enumerate(laws)], 1)
    assert torch.allclose(told, own, atol=1e-12)
    drawn = draw_trajectories(
        Denoiser(net, PATH), words(6000), ConfidenceUnmask("random"), uniform(L), 0
    )
    found = path_divergence(drawn, Denoiser(reference, PATH)).sum(1)
    assert abs(float(found.mean()) - exact) < 4.0 * float(found.std()) / math.sqrt(6000)
    assert torch.equal(path_divergence(drawn, Denoiser(net, PATH)), torch.zeros(6000, L).double())


def test_the_divergence_of_trajectories_bounds_that_of_samples():
    """Equal where rows are independent of each other; else above it."""
    for steady in (True, False):
        net, reference = Table(1, steady=steady), Table(2, steady=steady)
        own, other = log_law(net), log_law(reference)
        p, q = own.sum(1).exp() / 6.0, other.sum(1).exp() / 6.0
        path = float((p * (p / q).log()).sum())
        code = every_trajectory()[1] @ torch.tensor([9, 3, 1])
        marginal = [torch.zeros(27).double().index_add(0, code, one) for one in (p, q)]
        samples = float((marginal[0] * (marginal[0] / marginal[1]).log()).sum())
        if steady:
            assert path == pytest.approx(samples, rel=1e-9)
        else:
            assert path > samples + 0.01


def test_the_gradient_over_every_trajectory_is_the_enumerated_one_exactly():
    """A model of even laws draws every trajectory as often, so that their mean is the expectation.

    The mean over the other 161 samples as a baseline makes the part of the scores larger by
    162 / 161, as the sample itself is not in it.
    """
    net, reference, beta = Table(scale=0.0), Table(2), 0.7
    orders, found = every_trajectory()
    states, count = states_of(orders, found), len(found)
    at, total, apart = torch.arange(count), 0.0, []
    for k in range(L):
        own, other = (n(states[k], None, None)["word"].log_softmax(-1) for n in (net, reference))
        own, other = own[at, orders[:, k]], other[at, orders[:, k]]
        apart.append((own.exp() * (own - other)).sum(-1))
        total = total + apart[-1].mean()
    [direct] = torch.autograd.grad(-beta * total, net.logits, retain_graph=True)
    [whole] = torch.autograd.grad(objective(net, reference, beta), net.logits)
    rewards = REWARD.of({"word": found}, words(count)).double()
    told = {"rewards": rewards, "divergence": torch.stack(apart, 1).detach()}
    learning = PolicyGradient(tuned(reference, beta, group=count))
    learning.recall({"left": 1, "told": told, "states": list(states)})
    out = learning(Denoiser(net, PATH), words(1), torch.Generator().manual_seed(0))
    [mine] = torch.autograd.grad(out.loss, net.logits)
    expected = -(whole - direct) * count / (count - 1) - direct
    assert torch.allclose(mine, expected, atol=1e-12)
    assert float((whole - direct).abs().max()) > 0.01 < float(direct.abs().max())
    assert float(out.metrics["path_kl"]) == pytest.approx(float(total.detach()))


def test_what_the_model_draws_has_that_gradient_in_the_mean():
    net, reference, beta = Table(1), Table(2, 0.5), 0.7
    objective(net, reference, beta).backward()
    exact = -net.logits.grad.clone()
    net.logits.grad = None
    learning, found = PolicyGradient(tuned(reference, beta), 2), []
    for number in range(32):
        g = torch.Generator().manual_seed(number)
        output = learning(Denoiser(net, PATH), words(30), g)
        assert float(output.metrics["ratio"]) == pytest.approx(1.0, abs=1e-12)
        found.append(torch.autograd.grad(output.loss, net.logits)[0])
    # The two updates that share trajectories are not independent: one of them counts.
    each = torch.stack(found[::2])
    assert torch.allclose(each, torch.stack(found[1::2]), atol=1e-12)
    mean, error = each.mean(0), each.std(0) / math.sqrt(len(each))
    far = ((mean - exact).abs() / error.clamp_min(1e-4)).square().mean()
    assert float(far) < 2.0
    assert float((exact / error.clamp_min(1e-4)).square().mean()) > 8.0, "the test can tell"


def test_a_subset_of_steps_has_the_same_gradient_in_the_mean():
    net, reference = Table(1), Table(2)
    learning, found = PolicyGradient(tuned(reference, 0.3), chosen=1), []
    for number in range(40):
        out = learning(Denoiser(net, PATH), words(64), torch.Generator().manual_seed(number))
        found.append(torch.autograd.grad(out.loss, net.logits)[0])
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(40)
    other = objective(net, reference, 0.3)
    exact = -torch.autograd.grad(other, net.logits)[0]
    assert float(((mean - exact) / error.clamp_min(1e-3)).square().mean()) < 2.0


def test_clipping_stops_what_has_gone_far_enough():
    from sciddiff.tuning.policy import surrogate

    log_prob = torch.tensor([0.5, 0.5, -0.5, -0.5], requires_grad=True)
    gain, ratio = surrogate(log_prob, torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.2)
    gain.sum().backward()
    assert torch.equal(log_prob.grad != 0, torch.tensor([False, True, True, False]))
    assert torch.allclose(ratio, log_prob.exp())


def test_a_run_goes_on_from_its_memory_exactly():
    net, reference = Table(1), Table(2)
    first = PolicyGradient(tuned(reference, 0.3), 3)
    g = torch.Generator().manual_seed(4)
    first(Denoiser(net, PATH), words(4), g)
    second = PolicyGradient(tuned(reference, 0.3), 3)
    second.recall(first.memory())
    losses = []
    with torch.no_grad():
        net.logits += 0.1 * torch.randn(net.logits.shape, generator=g).double()
    for learning in (first, second):
        out = learning(Denoiser(net, PATH), words(4), torch.Generator().manual_seed(5))
        assert float(out.metrics["ratio"]) > 1.01, "the model has moved since"
        losses.append(float(out.loss))
    assert losses[0] == losses[1]
    first(Denoiser(net, PATH), words(4), g)
    assert first.memory() == {}, "what has served is forgotten"


def test_the_optimum_is_the_tilted_law():
    """Gradient ascent by enumeration ends in q exp(R / beta) on trajectories, and KL follows."""
    net, reference, beta = Table(1), Table(2, 0.5), 1.0
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        (-objective(net, reference, beta)).backward()
        optimiser.step()
    rewards = REWARD.of({"word": every_trajectory()[1]}, words(162)).double()
    q = log_law(reference).sum(1) - math.log(6.0)
    best = float(beta * torch.logsumexp(q + rewards / beta, 0))
    # Orders are not the model's to choose, so that the bound is not quite reached.
    assert float(objective(net, reference, beta)) == pytest.approx(best, abs=0.02)


def test_the_law_of_tokens_that_change_adds_up_over_all_ends():
    path, raw = UniformDiscretePath(V), torch.randn(1, 2, V, generator=torch.Generator()).double()
    x, ends = torch.tensor([[0, 2]]), torch.cartesian_prod(torch.arange(V), torch.arange(V))

    def said(logits):
        return path.predict(logits, x, 0.3)

    def law(prediction):
        move = Move((LeafStage(x, prediction, 0.3),), 0.6)
        return path.step_law(move)

    each = [float(law(said(raw)).log_prob(end[None])) for end in ends]
    assert sum(math.exp(one) for one in each) == pytest.approx(1.0, abs=1e-12)
    other = said(-0.5 * raw)
    beside = [float(law(other).log_prob(end[None])) for end in ends]
    exact = sum(math.exp(p) * (p - q) for p, q in zip(each, beside, strict=True))
    assert float(law(said(raw)).divergence(other, x)) == pytest.approx(exact, abs=1e-12)
    with pytest.raises(InputError, match="eta above 0"):
        path.step_law(Move((LeafStage(x, said(raw), 0.3),), 0.6, noise=FreshNoise(0.5)))


def test_the_law_of_points_is_that_of_what_is_drawn():
    only = ProductPath({"x": GaussianPath()})

    class Points(torch.nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.shift = shift

        def forward(self, x_t, t, batch):
            return {"x": 0.5 * x_t["x"] + self.shift}

    one, two = (Denoiser(Points(s), only) for s in (0.3, 0.0))
    points = Batch({"x": torch.zeros(4000, 2).double()})
    drawn = draw_trajectories(one, points, Ancestral(1.0), uniform(5), 0)
    divergence = path_divergence(drawn, two).sum(1)
    walk = drawn.walk(two)
    other = torch.stack(
        [drawn.log_prob(drawn.laws(walk, k, drawn.stage(walk, k)), k) for k in range(5)], 1
    )
    ratio = (log_probs(drawn) - other).sum(1)
    error = float((ratio - divergence).std()) / math.sqrt(4000)
    assert abs(float((ratio - divergence).mean())) < 4.0 * error, "its mean is the divergence"
    assert float(divergence.mean()) > 10.0 * error
    # Importance weights have mean 1: the density is right up to constants that do not change.
    weights = (-ratio).exp()
    assert abs(float(weights.mean()) - 1.0) < 4.0 * float(weights.std()) / math.sqrt(4000)
    with torch.no_grad():
        assert drawn.laws(walk, 4, drawn.stage(walk, 4)) == {}, "the last step adds no noise"


def test_what_is_fixed_tied_or_padding_does_not_count():
    net, reference = Denoiser(Table(1), PATH), Denoiser(Table(2), PATH)
    mask = torch.tensor([[True, True, False]]).expand(5, -1)
    fixed = torch.tensor([[True, False, False]]).expand(5, -1)
    drawn = draw_trajectories(
        net, words(5, mask=mask, fixed=fixed), FirstHitting(0.7), uniform(L), 1
    )
    assert drawn.steps == 1 and (drawn.x["word"][:, 0] == 0).all()
    state = {"word": torch.tensor([[0, V, 0]])}
    assert torch.equal(drawn.states[0]["word"][:, :2], torch.tensor([[0, V]]).expand(5, -1))
    code = drawn.states[0]["word"]
    logits = net.net({"word": code}, None, None)["word"][:, 1] / 0.7
    chosen = drawn.x["word"][:, 1]
    expected = logits.log_softmax(-1).gather(1, chosen[:, None])
    assert torch.allclose(log_probs(drawn), expected), state
    ties = Ties(torch.tensor([[0, 0, -1]]).expand(5, -1))
    tied = draw_trajectories(net, words(5, ties=ties), ConfidenceUnmask("random"), uniform(2), 1)
    assert torch.equal(tied.x["word"][:, 0], tied.x["word"][:, 1])
    assert float(log_probs(tied).sum(1).exp().max()) <= 1.0
    assert path_divergence(tied, reference).shape == (5, 2)


def test_samplers_without_a_law_are_replaced_or_refused():
    flat = Denoiser(torch.nn.Identity(), ProductPath({"x": GaussianPath()}))
    assert lawful(Heun(), flat) == Ancestral(1.0) == lawful(Ancestral(0.0), flat)
    assert lawful(Ancestral(0.5), flat) == Ancestral(0.5)
    net = Denoiser(Table(1), PATH)
    assert lawful(FirstHitting(), net) == FirstHitting()
    drawn = draw_trajectories(net, words(2), ConfidenceUnmask("entropy"), uniform(3), 0)
    with pytest.raises(InputError, match="certainty decides"):
        log_probs(drawn)
    with pytest.raises(InputError, match="at least 2 samples"):
        PolicyGradient(tuned(Table(1), 1.0, group=1))
