"""Superposition of point sets by the rotation of least squares (Kabsch 1976)."""

from __future__ import annotations

import torch
from torch import Tensor


def kabsch(moving: Tensor, fixed: Tensor) -> Tensor:
    """Rotation that best maps centred points on others.

    Args:
        moving: `[..., N, 3]`.
        fixed: `[..., N, 3]`.

    Returns:
        R `[..., 3, 3]` minimising the sum of ``|R moving - fixed|²``.
    """
    u, _, vh = torch.linalg.svd(fixed.transpose(-1, -2) @ moving)
    sign = torch.linalg.det(u @ vh)
    ones = torch.ones_like(sign)
    return u @ torch.diag_embed(torch.stack([ones, ones, sign], dim=-1)) @ vh


def superposed_rmsd(moving: Tensor, fixed: Tensor) -> Tensor:
    """Root mean square distance of paired points after the best rigid motion.

    Mirror images are not superposed: the motion is proper.

    Args:
        moving: `[..., N, 3]`, Å; float64 for distances exact to 1e-7 Å.
        fixed: `[..., N, 3]`.

    Returns:
        `[...]`, Å.

    >>> points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=torch.float64)
    >>> turned = points[:, [1, 2, 0]] + 5.0
    >>> float(superposed_rmsd(turned, points)) < 1e-7
    True
    """
    moving = moving - moving.mean(-2, keepdim=True)
    fixed = fixed - fixed.mean(-2, keepdim=True)
    turned = moving @ kabsch(moving, fixed).transpose(-1, -2)
    return (turned - fixed).square().sum(-1).mean(-1).sqrt()
