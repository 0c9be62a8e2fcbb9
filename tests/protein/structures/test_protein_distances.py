"""Distances do not feel where the origin is."""

import torch

from protein.structures.distances import distances


def test_distances_far_from_the_origin_are_exact():
    torch.manual_seed(0)
    a, b = 8 * torch.randn(2, 60, 3), 8 * torch.randn(2, 70, 3)
    there = torch.tensor([600.0, -700.0, 500.0])
    truth = (a.double()[:, :, None] - b.double()[:, None]).norm(dim=-1)
    assert (distances(a, b) - truth).abs().max() < 1e-5
    # Single precision holds a coordinate of 700 Å to 6e-5 Å; products lose 0.1 Å and more.
    assert (distances(a + there, b + there) - truth).abs().max() < 5e-4
    assert (torch.cdist(a + there, b + there) - truth).abs().max() > 0.05
