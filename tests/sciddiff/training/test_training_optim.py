"""Learning rate and parameter groups."""

from __future__ import annotations

import math

import pytest
from torch import nn
from torch.optim import Adam, AdamW

from sciddiff.config import OptimSettings
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


def test_frozen_parameters_are_left_out():
    net = nn.Linear(3, 3)
    net.bias.requires_grad_(False)
    optimizer = make_optimizer(net.named_parameters(), OptimSettings())
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]
