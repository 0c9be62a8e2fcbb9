"""A stranger's kind of data and a stranger's way to learn, by subclassing alone.

Both are written with public names only, as a package outside this one would write them: a masked
path of tokens, and a flow map that learns its long steps from its own short ones.
"""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional

from sciddiff import Batch, Denoiser, Denoising, GaussianPath, Layout, Streams, elbo, sample
from sciddiff.errors import InputError
from sciddiff.likelihood import log_prob
from sciddiff.objectives import LossOutput, Objective
from sciddiff.paths import Path, PathSample
from sciddiff.prediction import Prediction
from sciddiff.samplers import Ancestral, Heun, Sampler
from sciddiff.streams import uniform
from sciddiff.testing import GaussianMixture

STATES, LENGTH = 3, 5


# A masked path: 45 lines.
class TokenPrediction(Prediction):
    def __init__(self, logits, x_t, t, layout):
        super().__init__(x_t, t, layout)
        self.log_probs = logits.log_softmax(-1)

    @property
    def data(self):
        return self.log_probs.argmax(-1)

    def draw(self, u):
        cumulative = self.log_probs.double().exp().cumsum(-1)
        found = torch.searchsorted(cumulative, u[..., None] * cumulative[..., -1:])[..., 0]
        return found.clamp(max=self.log_probs.shape[-1] - 1)


@dataclass(frozen=True)
class MaskPath(Path):
    mask: int

    def prior(self, like, generator, layout=None):
        return torch.full_like(like, self.mask)

    def sample(self, x1, t, generator, x0=None, layout=None):
        u = uniform(x1.double(), generator, layout)
        x_t = torch.where(u < t.reshape(-1, *(1,) * (x1.ndim - 1)), x1, self.mask)
        x_t = x_t if layout is None else layout.hold(x_t, x1)
        return PathSample(x_t, self.prior(x1, None), x1, t)

    def predict(self, raw, x_t, t, layout=None):
        return TokenPrediction(raw, x_t, t, layout)

    def loss(self, prediction, path_sample, layout=None):
        nats = -prediction.log_probs.gather(-1, path_sample.x1[..., None])[..., 0]
        return nats * (path_sample.x_t == self.mask)

    def step(self, move, generator, layout=None):
        share = (move.s - move.t) / (1.0 - move.t)
        reveal, which = (uniform(move.x.double(), generator, layout) for _ in range(2))
        drawn = move.prediction.draw(which)
        return torch.where((move.x == self.mask) & (reveal < share), drawn, move.x)

    def log_prob_bound(self, prediction, path_sample, layout=None):
        nats = self.loss(prediction, path_sample, layout).sum(-1)
        return -nats / (1.0 - path_sample.t)


# A Markov chain, small enough that everything about it is known.
def chain():
    g = torch.Generator().manual_seed(0)
    start = torch.softmax(torch.randn(STATES, generator=g, dtype=torch.float64), -1)
    step = torch.softmax(1.5 * torch.randn(STATES, STATES, generator=g, dtype=torch.float64), -1)
    words = torch.tensor(list(itertools.product(range(STATES), repeat=LENGTH)))
    log_p = start.log()[words[:, 0]]
    for k in range(1, LENGTH):
        log_p = log_p + step.log()[words[:, k - 1], words[:, k]]
    return words, log_p


class TokenNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        size = LENGTH * (STATES + 1)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(size, 96), torch.nn.SiLU(), torch.nn.Linear(96, 96), torch.nn.SiLU(),
            torch.nn.Linear(96, LENGTH * STATES),
        )  # fmt: skip

    def forward(self, x_t, t, batch):
        seen = functional.one_hot(x_t["word"], STATES + 1).float().flatten(1)
        return {"word": self.body(seen).unflatten(-1, (LENGTH, STATES))}


@pytest.fixture(scope="module")
def tokens():
    words, log_p = chain()
    torch.manual_seed(0)
    denoiser = Denoiser(TokenNet(), {"word": MaskPath(STATES)})
    optimiser = torch.optim.Adam(denoiser.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 4000)
    g = torch.Generator().manual_seed(1)
    objective = Denoising()
    for _ in range(4000):
        drawn = words[torch.multinomial(log_p.exp(), 256, replacement=True, generator=g)]
        optimiser.zero_grad()
        objective(denoiser, Batch({"word": drawn}), g).loss.backward()
        optimiser.step()
        schedule.step()
    return denoiser, words, log_p


@pytest.mark.slow
def test_tokens_learn_to_their_entropy(tokens):
    denoiser, words, log_p = tokens
    bound, error = elbo(denoiser, Batch({"word": words}), draws=3000, chunk=100)
    entropy = -float((log_p.exp() * log_p).sum())
    found = -float((log_p.exp() * bound).sum())
    # Times are stratified, so that the spread of single terms overstates the error.
    spread = float(((log_p.exp() * error) ** 2).sum().sqrt())
    print("nats:", found, entropy, spread)
    assert abs(found - entropy) < 0.01 and spread < 0.02


@pytest.mark.slow
def test_tokens_are_drawn_from_their_law(tokens):
    denoiser, words, log_p = tokens
    count = 20_000
    like = Batch({"word": torch.zeros(count, LENGTH, dtype=torch.int64)})
    out = sample(denoiser, like, Ancestral(1.0), torch.linspace(0, 1, 97), 0)
    assert out.nfe == 96 and int(out.x["word"].max()) < STATES
    power = STATES ** torch.arange(LENGTH - 1, -1, -1)
    shares = torch.bincount((out.x["word"] * power).sum(-1), minlength=len(words)) / count
    assert 0.5 * float((shares - log_p.exp()).abs().sum()) < 0.11


@pytest.mark.parametrize("sampler", [Ancestral(0.0), Ancestral(1.0), Heun()])
def test_tokens_and_fields_travel_together(sampler):
    """A new leaf beside an old one; fixed tokens stay; a sample does not depend on its batch."""
    class Both(torch.nn.Module):
        def forward(self, x_t, t, batch):
            logits = torch.zeros(*x_t["word"].shape, STATES) + x_t["x"].sum((1, 2))[:, None, None]
            return {"word": logits, "x": torch.tanh(x_t["x"])}

    denoiser = Denoiser(Both(), {"word": MaskPath(STATES), "x": GaussianPath()})
    data = {"word": torch.ones(4, LENGTH, dtype=torch.int64), "x": torch.zeros(4, 3, 2)}
    fixed = torch.zeros(4, LENGTH, dtype=torch.bool)
    fixed[:, 2] = True
    like = Batch(data, layouts={"word": Layout(4, fixed=fixed)})
    out = sample(denoiser, like, sampler, torch.linspace(0, 1, 9), 0).x
    assert int(out["word"].max()) < STATES and bool((out["word"][:, 2] == 1).all())
    one = torch.tensor([3])
    alone = sample(denoiser, like.select(one), sampler, torch.linspace(0, 1, 9), 0, indices=one).x
    assert torch.equal(alone["word"], out["word"][3:])


def test_what_tokens_lack_is_said_by_name():
    denoiser = Denoiser(TokenNet(), {"word": MaskPath(STATES)})
    batch = Batch({"word": torch.zeros(2, LENGTH, dtype=torch.int64)})
    with pytest.raises(InputError, match="leaf 'word': has no density"):
        log_prob(denoiser, batch)
    with pytest.raises(InputError, match="MaskPath: cannot add noise back"):
        denoiser.path["word"].renoise(batch.x["word"], (0, 1), (0, 1), 1.0, None)
    prediction = denoiser(batch.x, torch.tensor([0.5, 0.5]), batch)["word"]
    with pytest.raises(InputError, match="TokenPrediction: has no velocity"):
        _ = prediction.velocity
    with pytest.raises(InputError, match="TokenPrediction: cannot be changed"):
        prediction.with_data(batch.x["word"])
    with pytest.raises(InputError, match="GaussianPath: has no bound"):
        elbo(Denoiser(FlowNet(), {"x": GaussianPath()}), Batch({"x": torch.zeros(2, 2)}))


# A flow map: its long steps are two short ones (Frans et al., 2024).
class FlowNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Linear(4, 128), torch.nn.SiLU(), torch.nn.Linear(128, 128), torch.nn.SiLU(),
            torch.nn.Linear(128, 128), torch.nn.SiLU(), torch.nn.Linear(128, 2),
        )  # fmt: skip

    def forward(self, x_t, t, batch, until=None):
        span = torch.zeros_like(t) if until is None else until - t
        return {"x": self.body(torch.cat([x_t["x"], t[:, None], span[:, None]], -1))}


class Shortcut(Objective):
    needs_teacher = True

    def __call__(self, denoiser, batch, generator, teacher=None):
        plain = Denoising()(denoiser, batch, generator).loss
        path, size = denoiser.path, batch.size
        level = torch.randint(0, 6, (size,), generator=generator)
        half = 0.5 ** (level + 1.0)
        t = torch.floor(torch.rand(size, generator=generator) * 2**level) * 2 * half
        x_t = {"x": path.sample(batch.x, t, generator)["x"].x_t}
        with torch.no_grad():
            first = teacher(x_t, t, batch, until=t + half)["x"].velocity
            middle = {"x": x_t["x"] + half[:, None] * first}
            second = teacher(middle, t + half, batch, until=t + 2 * half)["x"].velocity
        whole = denoiser(x_t, t, batch, until=t + 2 * half)["x"].velocity
        loss = plain + ((whole - 0.5 * (first + second)) ** 2).mean()
        return LossOutput(loss)


@dataclass(frozen=True)
class FlowMap(Sampler):
    def step(self, walk, k, x, previous):
        stage = walk.predict(x, walk.times[k], until=walk.times[k + 1])
        return walk.move(stage, s=walk.times[k + 1]), stage


def energy_distance(x, y):
    within = torch.cdist(x, x).mean() + torch.cdist(y, y).mean()
    return float(2 * torch.cdist(x, y).mean() - within)


@pytest.mark.slow
def test_a_flow_map_draws_in_one_step():
    law = GaussianMixture.standard()
    torch.manual_seed(0)
    path = {"x": GaussianPath(parametrization="velocity")}
    denoiser, teacher = Denoiser(FlowNet(), path), Denoiser(FlowNet(), path)
    teacher.load_state_dict(denoiser.state_dict())
    steps = 4000
    optimiser = torch.optim.Adam(denoiser.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    g, objective = torch.Generator().manual_seed(1), Shortcut()
    for _ in range(steps):
        x = law.sample(torch.empty(384, 2), g)
        optimiser.zero_grad()
        objective(denoiser, Batch({"x": x}), g, teacher).loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for mine, theirs in zip(teacher.parameters(), denoiser.parameters(), strict=True):
                mine.lerp_(theirs, 0.02)
    like, grid = Batch({"x": torch.empty(8000, 2)}), torch.tensor([0.0, 1.0])
    truth = law.sample(like.x["x"], Streams.first(5, 8000))
    short = sample(teacher, like, FlowMap(), grid, 0)
    plain = sample(teacher, like, Ancestral(0.0), grid, 0)
    assert short.nfe == 1
    print("one step:", energy_distance(short.x["x"], truth), energy_distance(plain.x["x"], truth))
    assert energy_distance(short.x["x"], truth) < 0.002 < energy_distance(plain.x["x"], truth)
    assert not math.isnan(energy_distance(short.x["x"], truth))
