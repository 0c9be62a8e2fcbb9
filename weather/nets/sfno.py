r"""A Fourier neural operator on the sphere.

Every block mixes features twice: globally, by a filter of spherical harmonics,

.. math:: \hat g_{lm}^{d} = \sum_c \kappa_l^{dc} \, \hat f_{lm}^{c},

which is a convolution with zonal kernels (Driscoll and Healy 1994; Bonev et al. 2023,
arXiv 2306.03838) when :math:`\kappa` is real, and whose imaginary part adds kernels odd in
longitude; and locally, by a convolution of every feature with its neighbours, across the poles
(fields on sub-grid scales, and gradients to the north, are not expressible by the filter).
A pointwise network and a residual connection follow. The time t of the path scales and shifts each
block (Perez et al. 2018, arXiv 1709.07871). The last layer starts at zero: an untrained one-step
forecast is persistence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.nn import SpanEmbedding, span_features
from sciddiff.state import Batch, State
from weather.nets.inputs import check_grid, input_signs, join_inputs, time_features
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics
from weather.sphere.padding import pad_sphere

__all__ = ["SphericalFNO"]


@final
class SphericalFNO(nn.Module):
    """Blocks of spectral filters, local convolutions and pointwise networks at full resolution.

    Args:
        channels: Variables of the state, C.
        frames: Recent states given as condition, F.
        forcings: Known fields given as condition (static fields, calendar, insolation), K.
        vectors: Positions among the channels of vector components (they change sign where a
            pole is crossed).
        grid: Name of the grid.
        width: Features.
        blocks: Number of blocks.
        lmax: Largest degree that the filters act on; default `Grid.max_degree`.
        expansion: Hidden features of a pointwise network, as a multiple of ``width``.
        embedding: Features of the time embedding.
        dropout: Probability of dropping a feature within a block, while training.
        flow_map: Whether it predicts up to a later time (`sciddiff distill --shortcut`).

    Raises:
        InputError: The grid has no transform up to ``lmax``.
    """

    def __init__(
        self,
        channels: int = 10,
        frames: int = 2,
        forcings: int = 8,
        vectors: Sequence[int] = (),
        grid: str = "gaussian-32x64",
        width: int = 64,
        blocks: int = 4,
        lmax: int | None = None,
        expansion: int = 2,
        embedding: int = 128,
        dropout: float = 0.0,
        flow_map: bool = False,
    ) -> None:
        super().__init__()
        harmonics = SphericalHarmonics(Grid.parse(grid), lmax)
        self.grid = harmonics.grid
        poles = self.grid.kind == "regular"
        self.signs: Tensor
        signs = input_signs(channels, frames, forcings, vectors)
        self.register_buffer("signs", signs, persistent=False)
        self.time = time_features(embedding)
        self.span = SpanEmbedding(embedding) if flow_map else None
        self.enter = nn.Conv2d(channels * (1 + frames) + forcings, width, 3)
        self.blocks = nn.ModuleList(
            _Block(harmonics, width, expansion * width, embedding, dropout, poles)
            for _ in range(blocks)
        )
        self.norm = nn.GroupNorm(1, width)
        self.leave = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self._poles = poles

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
        check_grid(x["fields"], self.grid)
        h = join_inputs(x, batch, len(self.signs))
        emb = self.time(t) + span_features(self.span, t, until)
        h = self.enter(pad_sphere(h, 1, self.signs, self._poles))
        for block in self.blocks:
            h = block(h, emb)
        return {"fields": self.leave(functional.silu(self.norm(h)))}


@final
class _Block(nn.Module):
    """Normalise, scale and shift by the time; filter; pointwise network; residual."""

    def __init__(
        self,
        harmonics: SphericalHarmonics,
        width: int,
        hidden: int,
        embedding: int,
        dropout: float,
        poles: bool,
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width, affine=False)
        self.film = nn.Linear(embedding, 2 * width)
        self.filter = _SpectralFilter(harmonics, width)
        self.local = nn.Conv2d(width, width, 3, groups=width)
        self.expand = nn.Conv2d(width, hidden, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.contract = nn.Conv2d(hidden, width, 1)
        self._poles = poles
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.contract.weight.mul_(0.3)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Args: x `[B, C, H, W]`, emb `[B, E]`; returns `[B, C, H, W]`."""
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, 1)
        h = self.norm(x) * (1 + scale) + shift
        h = self.filter(h) + self.local(pad_sphere(h, 1, None, self._poles))
        h = functional.silu(self.expand(functional.silu(h)))
        return x + self.contract(self.dropout(h))


@final
class _SpectralFilter(nn.Module):
    """A complex matrix of features for every degree l."""

    def __init__(self, harmonics: SphericalHarmonics, width: int) -> None:
        super().__init__()
        self.harmonics = harmonics
        # Stored as real numbers: optimisers, averages and file formats know nothing else.
        self.kernel = nn.Parameter(
            torch.randn(harmonics.lmax + 1, width, width, 2) * (0.5 / width) ** 0.5
        )

    def forward(self, x: Tensor) -> Tensor:
        """Args: x `[B, C, H, W]`; returns `[B, C, H, W]`."""
        coefficients = self.harmonics.analysis(x)
        kernel = torch.view_as_complex(self.kernel).to(coefficients.dtype)
        # There are no complex numbers of half precision, so autocast must stay out.
        with torch.autocast(x.device.type, enabled=False):
            mixed = torch.einsum("bclm,lcd->bdlm", coefficients, kernel)
        return self.harmonics.synthesis(mixed).to(x.dtype)
