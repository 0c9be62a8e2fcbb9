"""Superposition: rigid motions cost nothing, and distances that are known beforehand come out."""

import math

import pytest
import torch

from protein.structures.superposition import kabsch, superposed_rmsd
from sciddiff.manifolds import so3


@pytest.fixture
def cloud() -> torch.Tensor:
    """Forty points of different extent along three axes, `[40, 3]`, centred, on those axes."""
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    points = points - points.mean(0)
    return (points @ torch.linalg.svd(points)[2].T) * torch.tensor([9.0, 5.0, 2.0])


def test_a_rigid_motion_gives_zero_and_is_found(cloud):
    turn = so3.exp_map(torch.tensor([0.3, -2.0, 0.9], dtype=torch.float64))
    moved = cloud @ turn.T + torch.tensor([30.0, -4.0, 11.0])
    assert float(superposed_rmsd(moved, cloud)) < 1e-12
    assert torch.allclose(kabsch(cloud, cloud @ turn.T), turn, atol=1e-12)


def test_stretching_costs_what_it_costs(cloud):
    """A stretch along the axes commutes with the moments, so no rotation makes it smaller."""
    stretch = torch.tensor([0.1, -0.2, 0.3])
    wanted = ((cloud * stretch).square().sum(-1).mean()).sqrt()
    assert float(superposed_rmsd(cloud * (1 + stretch), cloud)) == pytest.approx(float(wanted))


def test_a_mirror_image_is_not_a_rigid_motion(cloud):
    """Left over is twice the smallest extent: the image is turned half round about it."""
    mirror = cloud * torch.tensor([-1.0, 1.0, 1.0])
    smallest = torch.linalg.eigvalsh(cloud.T @ cloud / len(cloud))[0]
    assert float(superposed_rmsd(mirror, cloud)) == pytest.approx(2 * math.sqrt(float(smallest)))


def test_a_batch_is_its_parts(cloud):
    many = torch.stack([cloud * 1.1, cloud.flip(0), cloud + 1])
    alone = torch.stack([superposed_rmsd(one, cloud) for one in many])
    assert torch.allclose(superposed_rmsd(many, cloud), alone, atol=1e-12)
