"""Learning rate and parameter groups."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from sciddiff.config import OptimSettings
from sciddiff.errors import InputError
from sciddiff.training.muon import Muon, orthogonalise
from sciddiff.training.optim import make_optimizer, rate


def test_ramp_then_inverse_square_root():
    settings = OptimSettings(lr=2.0, warmup=10, t_ref=100)
    assert rate(1, settings) == pytest.approx(0.2)
    assert rate(5, settings) == pytest.approx(1.0)
    assert [rate(t, settings) for t in (10, 50, 100)] == pytest.approx([2.0, 2.0, 2.0])
    assert [rate(t, settings) for t in (400, 10_000)] == pytest.approx([1.0, 0.2])
    # The ramp and the fall multiply where they overlap (EDM2, eq. 67).
    early = OptimSettings(lr=1.0, warmup=400, t_ref=100)
    assert rate(200, early) == pytest.approx(0.5 / math.sqrt(2))


@pytest.mark.parametrize(("decay", "middle"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1)])
def test_other_decays_end_with_the_run(decay, middle):
    settings = OptimSettings(lr=1.0, warmup=100, t_ref=0, decay=decay)
    assert rate(100, settings, 1100) == pytest.approx(1.0)
    assert rate(600, settings, 1100) == pytest.approx(middle)
    assert rate(1100, settings, 1100) == pytest.approx(1.0 if decay == "constant" else 0.0)
    assert rate(5000, settings, 1100) >= 0.0
    assert OptimSettings(decay=decay).t_ref == 0  # so that a run ends where its rate does
    # Without a limit on steps the rate falls as if the run had 10,000.
    settings = OptimSettings(lr=1.0, warmup=100, decay=decay)
    assert rate(5050, settings, -1) == pytest.approx(middle)


def test_rate_without_ramp_or_end():
    assert rate(1, OptimSettings(lr=3.0, warmup=0, t_ref=0), -1) == 3.0


def test_matrices_decay_and_vectors_do_not():
    net = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    net[0].weight.requires_grad_(True)
    optimizer = make_optimizer(net.named_parameters(), OptimSettings(weight_decay=0.1))
    assert type(optimizer) is AdamW
    decays = {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups}
    assert decays == {0.1: 1, 0.0: 3}
    plain = make_optimizer(net.named_parameters(), OptimSettings())
    assert type(plain) is Adam and plain.param_groups[0]["betas"] == (0.9, 0.99)
    assert optimizer.defaults["fused"] and plain.defaults["fused"]
    elsewhere = nn.Linear(3, 3, device="meta")  # a device without the fused kernel
    assert not make_optimizer(elsewhere.named_parameters(), OptimSettings()).defaults["fused"]


def test_frozen_parameters_are_left_out():
    net = nn.Linear(3, 3)
    net.bias.requires_grad_(False)
    optimizer = make_optimizer(net.named_parameters(), OptimSettings())
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


def test_muon_takes_wide_matrices_and_leaves_the_rest_to_adam():
    net = nn.Sequential(
        nn.Linear(32, 64), nn.Conv2d(4, 32, 3), nn.Linear(64, 8), nn.Linear(40, 40)
    )
    settings = OptimSettings(name="muon", weight_decay=0.1, by_adam=("3.",))
    optimizer = make_optimizer(net.named_parameters(), settings)
    assert type(optimizer) is Muon
    wide, rest = optimizer.param_groups
    assert [id(p) for p in wide["params"]] == [id(net[0].weight), id(net[1].weight)]
    assert wide["weight_decay"] == 0.1 and rest["weight_decay"] == 0.0
    assert len(rest["params"]) == 6
    with pytest.raises(InputError, match=r"by_adam: no parameter begins with 'enter'; use 0, 1"):
        make_optimizer(net.named_parameters(), OptimSettings(name="muon", by_adam=("enter",)))


@pytest.mark.parametrize("shape", [(48, 48), (20, 60), (60, 20)])
def test_orthogonal_steps_keep_singular_vectors_and_level_the_values(shape):
    generator = torch.Generator().manual_seed(0)
    rows, columns = shape
    u, _ = torch.linalg.qr(torch.randn(rows, 20, generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(columns, 20, generator=generator, dtype=torch.float64))
    values = torch.logspace(-2, 2, 20, dtype=torch.float64)
    made = orthogonalise(torch.stack([u @ torch.diag(values) @ v.T, torch.zeros(shape).double()]))
    core = u.T @ made[0] @ v
    assert torch.allclose(u @ core @ v.T, made[0], atol=1e-9)  # nothing outside the two spaces
    assert core.diagonal().max() < 1.25
    assert core.diagonal()[8:].min() > 0.6  # values above 3e-3 of the norm
    off = core - torch.diag(core.diagonal())
    assert off.abs().max() < 1e-9
    assert (made[1] == 0).all()


def test_muon_agrees_with_a_step_by_hand():
    p, q = nn.Parameter(torch.randn(40, 3, 5, 5).double()), nn.Parameter(torch.randn(7).double())
    start, begin = p.detach().clone(), q.detach().clone()
    optimizer = Muon([p], [q], lr=0.1, momentum=0.9, weight_decay=0.5)
    g = torch.randn(40, 75).double()
    momentum = torch.zeros_like(g)
    for _ in range(3):
        p.grad, q.grad = g.reshape(p.shape).clone(), torch.ones_like(q)
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * g
        step = orthogonalise(0.9 * momentum + 0.1 * g).reshape(p.shape)
        start = start * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(75) * step
    assert torch.allclose(p, start, atol=1e-12)
    assert torch.allclose(q, begin - 0.3)  # Adam with a constant gradient: its sign


def test_adam_within_muon_is_adam():
    generator = torch.Generator().manual_seed(1)
    ours, theirs = nn.Parameter(torch.ones(5).double()), nn.Parameter(torch.ones(5).double())
    mine, adam = Muon([], [ours], lr=0.02), Adam([theirs], lr=0.02, betas=(0.9, 0.99))
    for _ in range(20):
        ours.grad = torch.randn(5, generator=generator).double()
        theirs.grad = ours.grad.clone()
        mine.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_muon_goes_on_from_its_saved_state():
    def make(state=None):
        torch.manual_seed(3)
        net = nn.Linear(32, 32).double()
        optimizer = make_optimizer(net.named_parameters(), OptimSettings(name="muon", lr=0.01))
        if state:
            net.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
        return net, optimizer

    def train(net, optimizer, seeds):
        for seed in seeds:
            x = torch.randn(8, 32, generator=torch.Generator().manual_seed(seed)).double()
            optimizer.zero_grad()
            (net(x) - x.roll(1, -1)).square().mean().backward()
            optimizer.step()

    whole, optimizer = make()
    train(whole, optimizer, range(6))
    half, first = make()
    train(half, first, range(3))
    rest, second = make((half.state_dict(), first.state_dict()))
    train(rest, second, range(3, 6))
    assert torch.equal(rest.weight, whole.weight)


def test_muon_moves_vectors_as_adam_does():
    torch.manual_seed(0)
    one, two = nn.Linear(5, 3).double(), nn.Linear(5, 3).double()
    two.load_state_dict(one.state_dict())
    muon, adam = Muon([], one.parameters(), lr=0.1), Adam(two.parameters(), lr=0.1)
    adam.param_groups[0]["betas"] = (0.9, 0.99)
    for step in range(5):
        for net, optimizer in ((one, muon), (two, adam)):
            optimizer.zero_grad()
            x = torch.full((2, 5), float(step), dtype=torch.float64)
            net(x).square().sum().backward()
            if step == 2:
                net.bias.grad = None  # then the two parameters are of different ages
            optimizer.step()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)
