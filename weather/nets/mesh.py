r"""A transformer on an icosahedral mesh, between an encoder from the grid and a decoder to it.

After GenCast (Price et al. 2024, arXiv 2312.15796): fields on the grid are gathered to the
vertices of an icosphere, processed there by a transformer in which a vertex attends to those
within a number of edges, and brought back. The mesh has no poles, so resolution and cost are the
same everywhere. Grid and mesh exchange features by continuous convolutions,

.. math:: y_i = \frac{1}{\sum_j w_j} \sum_{j \,:\, \angle(i, j) < r} w_j \,
          \varphi(e_{ij}) \odot V x_j,

with the area w of the sender and a network :math:`\varphi` of the geometry of the edge
(`weather.sphere.icosphere.Ties`), through which components of vectors can be turned from the
sender's frame to the receiver's. The time t of the path scales and shifts every layer (Perez et
al. 2018, arXiv 1709.07871). The last layer starts at zero: an untrained one-step forecast is
persistence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.errors import InputError
from sciddiff.nn import MLP, SpanEmbedding, span_features
from sciddiff.state import Batch, State
from weather.nets.inputs import check_grid, join_inputs, time_features
from weather.sphere.grids import Array, Grid
from weather.sphere.icosphere import Icosphere, Ties

__all__ = ["MeshTransformer"]

# Angle of the ties in units of the longest edge: no point is further than 0.58 from all vertices.
_REACH = 0.75


@final
class MeshTransformer(nn.Module):
    """Encode to the mesh, process by attention, decode to the grid.

    Args:
        channels: Variables of the state, C.
        frames: Recent states given as condition, F.
        forcings: Known fields given as condition (static fields, calendar, insolation), K.
        vectors: Positions among the channels of vector components; accepted so that all networks
            are made alike. Here edges know the angle between the frames of their ends.
        grid: Name of the grid.
        refinement: Subdivisions of the icosahedron: 10 * 4**refinement + 2 vertices.
        width: Features.
        layers: Transformer layers.
        heads: Attention heads.
        hops: Edges within which a vertex attends; 0: to all.
        embedding: Features of the time embedding.
        dropout: Probability of dropping a feature of the hidden layers, while training.
        flow_map: Whether it predicts up to a later time (`sciddiff distill --shortcut`).

    Raises:
        InputError: The mesh is finer than the grid, or heads do not divide the width.
    """

    def __init__(
        self,
        channels: int = 10,
        frames: int = 2,
        forcings: int = 8,
        vectors: Sequence[int] = (),
        grid: str = "gaussian-32x64",
        refinement: int = 2,
        width: int = 128,
        layers: int = 6,
        heads: int = 4,
        hops: int = 4,
        embedding: int = 128,
        dropout: float = 0.0,
        flow_map: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"heads: {heads} do not divide the width {width}")
        self.grid = Grid.parse(grid)
        mesh = Icosphere.build(refinement)
        points = tuple(a.ravel() for a in np.meshgrid(self.grid.lat, self.grid.lon, indexing="ij"))
        area = np.repeat(self.grid.weights, self.grid.width)
        ties = _tie(mesh, points, self.grid)
        self.time = time_features(embedding)
        self.span = SpanEmbedding(embedding) if flow_map else None
        self._inputs = channels * (1 + frames) + forcings
        self.enter = MLP(self._inputs, width, width)
        self.encode = _Exchange(ties[0], area, len(mesh.vertices), width)
        self.vertex = nn.Parameter(torch.zeros(width))
        mask = torch.from_numpy(mesh.within_hops(hops)) if hops else None
        self.mask: Tensor | None
        self.register_buffer("mask", mask, persistent=False)
        self.layers = nn.ModuleList(
            _Layer(width, heads, embedding, dropout) for _ in range(layers)
        )
        self.settle = nn.LayerNorm(width)
        uniform = np.ones(len(mesh.vertices))
        self.decode = _Exchange(ties[1], uniform, len(area), width)
        self.film = nn.Linear(embedding, 2 * width)
        self.norm = nn.LayerNorm(2 * width)
        self.hidden = nn.Linear(2 * width, width)
        self.leave = nn.Linear(width, channels)
        for layer in (self.film, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: State, t: Tensor, batch: Batch, until: Tensor | None = None
    ) -> State:
        """Return the raw output for the leaf `fields`.

        Args:
            x: The noisy target, `{"fields": [B, C, H, W]}`, standardised.
            t: Times of the path, `[B]`.
            batch: Conditions `history [B, F, C, H, W]` (oldest first) and
                `forcing [B, K, H, W]`, standardised.
            until: Times `[B]` up to which it predicts, for flow maps.

        Raises:
            InputError: The fields are on another grid, or more or fewer.
        """
        fields = x["fields"]
        check_grid(fields, self.grid)
        h = join_inputs(x, batch, self._inputs)
        emb = self.time(t) + span_features(self.span, t, until)
        on_grid = self.enter(h.flatten(2).mT)
        on_mesh = self.vertex + self.encode(on_grid)
        for layer in self.layers:
            on_mesh = layer(on_mesh, emb, self.mask)
        back = self.decode(self.settle(on_mesh))
        joined = self.hidden(self.norm(torch.cat([on_grid, back], -1)))
        scale, shift = self.film(emb)[:, None, :].chunk(2, -1)
        raw = self.leave(functional.silu(joined * (1 + scale) + shift))
        return {"fields": raw.mT.reshape(fields.shape)}


def _tie(mesh: Icosphere, points: tuple[Array, ...], grid: Grid) -> tuple[Ties, Ties]:
    """Ties from the grid to the mesh and from the mesh to the grid."""
    lat, lon = points
    try:
        return (
            Ties.within((lat, lon), mesh.lat_lon, _REACH * mesh.spacing),
            Ties.within(mesh.lat_lon, (lat, lon), _REACH * mesh.spacing),
        )
    except InputError as error:
        raise InputError(
            f"refinement: {len(mesh.vertices)} vertices are too many for {grid}; choose fewer"
        ) from error


@final
class _Exchange(nn.Module):
    """Continuous convolution from one set of points to another."""

    def __init__(self, ties: Ties, area: Array, receivers: int, width: int) -> None:
        super().__init__()
        total = np.bincount(ties.receiver, area[ties.sender], receivers)
        share = area[ties.sender] / total[ties.receiver]
        tables = {
            "sender": torch.from_numpy(ties.sender),
            "receiver": torch.from_numpy(ties.receiver),
            "features": torch.tensor(ties.features, dtype=torch.float32),
            "share": torch.tensor(share, dtype=torch.float32)[:, None],
        }
        self.sender: Tensor
        self.receiver: Tensor
        self.features: Tensor
        self.share: Tensor
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.receivers = receivers
        self.value = nn.Linear(width, width)
        self.kernel = MLP(ties.features.shape[1], 32, width)
        with torch.no_grad():
            # Start as a plain average: the kernel is about one.
            self.kernel.layers[-1].bias.add_(1.0)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Args: x `[B, S, D]`; returns `[B, R, D]`."""
        kernel = self.kernel(self.features) * self.share
        messages = self.value(x).index_select(1, self.sender) * kernel
        out = messages.new_zeros(x.shape[0], self.receivers, x.shape[2])
        return out.index_add(1, self.receiver, messages)


@final
class _Layer(nn.Module):
    """Attention and pointwise network, each normalised, scaled and shifted by the time."""

    def __init__(self, width: int, heads: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(embedding, 4 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand = nn.Linear(width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(4 * width, width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.mix.weight.mul_(0.3)
            self.contract.weight.mul_(0.3)

    def forward(self, x: Tensor, emb: Tensor, mask: Tensor | None) -> Tensor:
        """Args: x `[B, V, D]`, emb `[B, E]`, mask bool `[V, V]`; returns `[B, V, D]`."""
        scale1, shift1, scale2, shift2 = self.film(emb)[:, None, :].chunk(4, -1)
        h = self.qkv(self.norm1(x) * (1 + scale1) + shift1)
        q, k, v = h.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.mix(h.transpose(1, 2).flatten(2))
        h = self.norm2(x) * (1 + scale2) + shift2
        return x + self.contract(self.dropout(functional.silu(self.expand(h))))
