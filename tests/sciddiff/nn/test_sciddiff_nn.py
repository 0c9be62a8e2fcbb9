"""Layers: what they promise to the networks that use them."""

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.nn import MLP, TimeEmbedding


def test_time_features_tell_times_apart_and_have_unit_size():
    embed = TimeEmbedding(32)
    features = embed(torch.linspace(0, 1, 101))
    torch.testing.assert_close((features**2).sum(-1), torch.full((101,), 16.0))
    distance = torch.cdist(features, features) + 100 * torch.eye(101)
    assert float(distance.min()) > 0.5
    assert "frequencies" not in embed.state_dict()


def test_zero_init_starts_silent_and_learns():
    mlp = MLP(3, 8, 2, zero_init=True)
    x = torch.ones(4, 3)
    assert (mlp(x) == 0).all()
    mlp(x).sum().backward()
    assert float(mlp.layers[-1].weight.grad.abs().sum()) > 0


def test_odd_width_is_refused():
    with pytest.raises(InputError, match="dim: 5"):
        TimeEmbedding(5)
