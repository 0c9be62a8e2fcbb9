"""Derivatives of what is computed on edges, which are written by hand."""

import pytest
import torch

from protein.sequence.edges import heard, joined


@pytest.fixture
def parts():
    g = torch.Generator().manual_seed(0)
    own, other = (torch.randn(5, 4, generator=g, dtype=torch.float64) for _ in range(2))
    part = torch.randn(5, 3, 4, generator=g, dtype=torch.float64)
    weight = torch.randn(4, 4, generator=g, dtype=torch.float64)
    rows = torch.randint(0, 5, (15,), generator=g)
    linked = (torch.rand(5, 3, generator=g) < 0.6).double()
    inputs = [x.requires_grad_() for x in (own, other, part, weight)]
    return inputs, rows, linked


def test_joined_is_the_sum_of_its_parts(parts):
    (own, other, part, _), rows, _ = parts
    plain = (own[:, None] + other[rows].view(5, 3, 4) + part).relu()
    assert torch.allclose(joined(own, other, part, rows), plain)
    assert torch.autograd.gradcheck(lambda a, b, c: joined(a, b, c, rows), (own, other, part))


@pytest.mark.parametrize("masked", [False, True])
def test_heard_adds_up_what_is_linked(parts, masked):
    (own, other, part, weight), rows, linked = parts
    linked = linked if masked else None
    plain = (joined(own, other, part, rows) @ weight.T).relu()
    plain = plain if linked is None else plain * linked[..., None]
    found = heard(own, other, part, weight, rows, linked)
    assert torch.allclose(found, plain.sum(1))
    assert torch.autograd.gradcheck(
        lambda *x: heard(*x, rows, linked), (own, other, part, weight)
    )
