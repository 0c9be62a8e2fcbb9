r"""A linear forecast of one step, fitted in closed form: what a network need not learn.

Amplitudes of the leading patterns at the last F times and the season foretell the next state by
ridge regression. What the patterns leave out fades by one factor. In units of the change over one
step, with :math:`h_k` the state k steps back, :math:`P` the projection on the patterns,
:math:`Q` their composition and :math:`s` the season's waves,

.. math:: r = \sum_k A_k P h_k + B s - g\,(h_0 - Q P h_0).

A network that adds its own output to this forecast starts from the skill of the linear model
instead of from persistence, which matters where the archive is short. The numbers are fitted to
the training days before the first step (`LinearStep.fit`), do not change in training, and travel
with the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn

from sciddiff.errors import InputError
from sciddiff.state import Batch
from weather.data.forcings import FORCINGS

__all__ = ["LinearStep"]

WAVES = 7
"""A constant and three harmonics of the year."""

RIDGE = 0.005
"""Added to the variance of each predictor, relative to it; patterns that hardly vary need it."""

_CALENDAR = FORCINGS.index("cos_day"), FORCINGS.index("sin_day")


@final
class LinearStep(nn.Module):
    """Foretells the change over one step from the recent states; 0 until it is fitted.

    Args:
        channels: Variables of the state, C.
        frames: Recent states, F.
        shape: Rows and columns of the grid, H and W.
        patterns: Leading patterns, E.

    Attributes:
        encode: From a state to amplitudes, `[C H W, E]`.
        decode: From amplitudes to a state, `[E, C H W]`.
        dynamics: From the amplitudes of all frames (oldest first) and the season to the change,
            `[F E + 7, C H W]`.
        fading: How much of what the patterns leave out is gone after a step, in units of the
            change, one number a channel, `[C, 1, 1]`.
    """

    encode: Tensor
    decode: Tensor
    dynamics: Tensor
    fading: Tensor

    def __init__(self, channels: int, frames: int, shape: tuple[int, int], patterns: int) -> None:
        super().__init__()
        size = channels * shape[0] * shape[1]
        if not 1 <= patterns <= size:
            raise InputError(
                f"net.linear {patterns}: the state has {size} numbers; choose from 1 to {size}, "
                "or 0 for no linear forecast"
            )
        self.shape = (channels, *shape)
        self.register_buffer("encode", torch.zeros(size, patterns))
        self.register_buffer("decode", torch.zeros(patterns, size))
        self.register_buffer("dynamics", torch.zeros(frames * patterns + WAVES, size))
        self.register_buffer("fading", torch.zeros(channels, 1, 1))

    def forward(self, batch: Batch) -> Tensor:
        """Return the change over one step, `[B, C, H, W]`.

        Args:
            batch: Conditions `history [B, F, C, H, W]` (oldest first) and `forcing [B, K, H, W]`,
                standardised.

        Raises:
            InputError: They have another shape than the network was built for.
        """
        history = batch.cond["history"]
        frames = (len(self.dynamics) - WAVES) // len(self.decode)
        if history.shape[1:] != (frames, *self.shape):
            raise InputError(
                f"net: its linear forecast reads [frames, channels, latitudes, longitudes] = "
                f"{[frames, *self.shape]} and is given {list(history.shape[1:])}; set net.frames, "
                "net.channels and net.grid to those of the data"
            )
        amplitudes = history.flatten(2) @ self.encode
        features = torch.cat([amplitudes.flatten(1), _season(batch.cond["forcing"])], 1)
        change = (features @ self.dynamics).unflatten(1, self.shape)
        rest = history[:, -1] - (amplitudes[:, -1] @ self.decode).unflatten(1, self.shape)
        return change - self.fading * rest

    def fit(self, batches: Iterable[Batch], area: Tensor) -> None:
        """Fit the forecast to the training days.

        Args:
            batches: Every training window once, with the change in the leaf `fields`.
            area: Weight of each row of the grid, mean 1, `[H]`.

        Raises:
            InputError: There are fewer windows than numbers to fit.
        """
        histories, forcings, changes = [], [], []
        for batch in batches:
            histories.append(batch.cond["history"].double())
            forcings.append(_season(batch.cond["forcing"]).double())
            changes.append(batch.x["fields"].double().flatten(1))
        history, season, change = torch.cat(histories), torch.cat(forcings), torch.cat(changes)
        if len(history) < 2 * len(self.dynamics):
            raise InputError(
                f"net.linear {len(self.decode)}: {len(history)} training windows for "
                f"{len(self.dynamics)} predictors; lower it, or prepare more data"
            )
        root = area.double().sqrt()[None, :, None].expand(self.shape).reshape(-1)
        now = history[:, -1].flatten(1)
        anomaly = now - season @ torch.linalg.lstsq(season, now).solution
        leading = torch.linalg.svd(anomaly * root, full_matrices=False).Vh[: len(self.decode)]
        encode, decode = (leading * root).mT, leading / root
        amplitudes = history.flatten(2) @ encode
        rest = (now - amplitudes[:, -1] @ decode).unflatten(1, self.shape)
        features = torch.cat([amplitudes.flatten(1), season], 1)
        # One factor of fading for each channel, by what the patterns do not explain of both.
        unexplained = change - features @ _ridge(features, change)
        left = (rest.flatten(1) - features @ _ridge(features, rest.flatten(1))).unflatten(
            1, self.shape
        )
        product = (left * unexplained.unflatten(1, self.shape)).sum((0, 2, 3))
        fading = -(product / left.square().sum((0, 2, 3)).clamp_min(1e-12))[:, None, None]
        dynamics = _ridge(features, change + (fading * rest).flatten(1))
        for name, value in (
            ("encode", encode), ("decode", decode), ("dynamics", dynamics), ("fading", fading),
        ):  # fmt: skip
            getattr(self, name).copy_(value)


def _ridge(features: Tensor, target: Tensor) -> Tensor:
    """Coefficients `[P, N]` of targets `[T, N]` by features `[T, P]`; the season is not shrunk."""
    square = features.mT @ features
    shrunk = RIDGE * square.diagonal()
    shrunk[-WAVES:] = 0.0
    return torch.linalg.solve(square + shrunk.diag(), features.mT @ target)


def _season(forcing: Tensor) -> Tensor:
    """A constant and three harmonics of the year, `[B, 7]`, of forcings `[B, K, H, W]`."""
    first = torch.complex(*(forcing[:, index, 0, 0] for index in _CALENDAR))
    waves = [first**k for k in range(1, (WAVES + 1) // 2)]
    real = [part for wave in waves for part in (wave.real, wave.imag)]
    return torch.stack([torch.ones_like(first.real), *real], 1)
