"""Invariant point attention (IPA) over residue frames, and the pair update that goes with it.

Every query and key carries points in its own residue's frame; they are compared after both are
moved into the global frame, so the logits are unchanged by any rigid motion of the whole protein,
while a mirror image gives different ones. Jumper et al. 2021, supplementary algorithms 22 and 23.

With q, k scalars, p points and b the pair bias, the logits are::

    w_L (q_i . k_j / sqrt(c) + b_ij) - w_L w_C gamma_h / 2 sum_p |T_i p_i - T_j p_j|^2,

and ``|T_i p_i|^2`` does not depend on j, so it drops out of the softmax: one matrix product of
queries and keys that carry their points as extra channels gives the logits without an
``[N, N, P, 3]`` tensor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_MASKED = -1e9


class InvariantPointAttention(nn.Module):
    """Attention of residues on residues that no rigid motion changes.

    Args:
        node: channels of the node representation.
        pair: channels of the pair representation.
        heads: attention heads.
        channels: scalar channels of a head.
        query_points: points of a head's queries and keys.
        value_points: points of a head's values.
    """

    def __init__(
        self,
        node: int,
        pair: int,
        heads: int = 8,
        channels: int = 16,
        query_points: int = 4,
        value_points: int = 8,
    ) -> None:
        super().__init__()
        self.heads, self.channels = heads, channels
        self.query_points, self.value_points = query_points, value_points
        self.scalars = nn.Linear(node, 3 * heads * channels, bias=False)
        self.points = nn.Linear(node, heads * (2 * query_points + value_points) * 3, bias=False)
        self.bias = nn.Linear(pair, heads, bias=False)
        self.point_weight = nn.Parameter(torch.full((heads,), math.log(math.e - 1.0)))
        out = heads * (channels + pair + 4 * value_points)
        self.out = nn.Linear(out, node)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, s: Tensor, z: Tensor, rotations: Tensor, translations: Tensor, pair_mask: Tensor
    ) -> Tensor:
        """Node update.

        Args:
            s: node representation `[B, N, node]`.
            z: pair representation `[B, N, N, pair]`.
            rotations: frames `[B, N, 3, 3]`.
            translations: frame origins in nm `[B, N, 3]`.
            pair_mask: 0 where j may be attended to, a large negative number elsewhere,
                `[B, 1, 1, N]`.

        Returns:
            Update of the node representation `[B, N, node]`.
        """
        b, n, _ = s.shape
        h, c, pq, pv = self.heads, self.channels, self.query_points, self.value_points
        scalars, local, bias = self.scalars(s), self.points(s), self.bias(z)
        # Points far from the origin lose their ångströms in bfloat16: geometry stays exact.
        with torch.autocast(s.device.type, enabled=False):
            exact = translations.dtype
            scalars, local, bias, pairs = (x.to(exact) for x in (scalars, local, bias, z))
            q, k, v = scalars.view(b, n, 3, h, c).permute(2, 0, 3, 1, 4)
            local = local.view(b, n, -1, 3)
            world = torch.matmul(local, rotations.transpose(-1, -2)) + translations[..., None, :]
            world = world.view(b, n, h, 2 * pq + pv, 3).transpose(1, 2)
            q_points, k_points, v_points = world.split([pq, pq, pv], dim=-2)
            # Equal shares of variance for scalars, points and bias (algorithm 22); nm.
            w_l = math.sqrt(1.0 / 3.0)
            gamma = functional.softplus(self.point_weight).view(1, h, 1, 1)
            gamma = gamma * (w_l * math.sqrt(2.0 / (9.0 * pq)))
            q_points = q_points.reshape(b, h, n, 3 * pq)
            k_points = k_points.reshape(b, h, n, 3 * pq)
            queries = torch.cat(
                [q * (w_l / math.sqrt(c)), gamma * q_points, (-0.5 * gamma).expand(b, h, n, 1)],
                -1,
            )
            keys = torch.cat([k, k_points, k_points.square().sum(-1, keepdim=True)], -1)
            # In place: fresh memory for pairs costs more than the sums (half the time at N = 512).
            logits = torch.matmul(queries, keys.transpose(-1, -2))
            logits = logits.add_((w_l * bias).permute(0, 3, 1, 2)).add_(pair_mask)
            attention = torch.softmax(logits, -1)
            values = torch.cat([v, v_points.reshape(b, h, n, 3 * pv)], -1)
            mixed = torch.matmul(attention, values).transpose(1, 2)
            o_scalar, o_points = mixed.split([c, 3 * pv], dim=-1)
            o_points = o_points.reshape(b, n, h * pv, 3) - translations[..., None, :]
            o_points = torch.matmul(o_points, rotations)
            norms = (o_points.square().sum(-1) + 1e-8).sqrt()
            o_pair = torch.matmul(attention.transpose(1, 2), pairs)
        features = [o_scalar.flatten(2), o_points.flatten(2), norms, o_pair.flatten(2)]
        return self.out(torch.cat(features, -1))


class PairUpdate(nn.Module):
    """Refresh the pair representation from the nodes and from the distances of the current
    frames.
    """

    def __init__(self, node: int, pair: int, bins: int) -> None:
        super().__init__()
        self.left = nn.Linear(node, pair)
        self.right = nn.Linear(node, pair, bias=False)
        self.distance = nn.Embedding(bins, pair)
        self.norm = nn.LayerNorm(pair)
        last = nn.Linear(pair, pair)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(pair, pair), nn.ReLU(inplace=True), last)

    def forward(self, s: Tensor, z: Tensor, bins: Tensor) -> Tensor:
        """New pair representation `[B, N, N, pair]` from `s [B, N, node]`, `z` and distance
        bins `[B, N, N]`.
        """
        seen = self.distance(bins)
        for term in (z, self.left(s)[:, :, None], self.right(s)[:, None]):
            seen += term  # in place, as in the attention
        return added(self.mlp(self.norm(seen)), z)


def added(update: Tensor, z: Tensor) -> Tensor:
    """``z + update``, in the memory of a fresh ``update`` of the same type."""
    return update.add_(z) if update.dtype == z.dtype else z + update


def attention_mask(mask: Tensor) -> Tensor:
    """Additive mask `[B, 1, 1, N]` that hides padded residues of `mask [B, N]` (True: a real
    residue).
    """
    return (~mask).to(torch.float32)[:, None, None, :] * _MASKED
