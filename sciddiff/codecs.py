r"""Codecs: states as *latents*, fewer numbers in which a model learns and draws.

A `Codec` encodes the data of a batch as latents and decodes latents as data (latent diffusion,
Rombach et al., 2022). It is a network like any other: trained first, by the objective
`Reconstruction`, and exported as a model. `Latents` holds a trained one beside the mean and the
deviation of every channel of its latents, measured on training data,

.. math:: z = (\mathrm{encode}(x) - m) / s, \qquad x = \mathrm{decode}(m + s z),

so that a path travels between noise and data of one variance, whatever the codec's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from sciddiff.errors import InputError
from sciddiff.paths import ProductPath
from sciddiff.state import Batch, Layout, State
from sciddiff.weights import fill

__all__ = ["ENCODED", "Codec", "Encoding", "Latents"]

ENCODED = "encoded"
"""Key of ``batch.cond`` of a template of latents: the template of the data, a `Batch`."""


@final
@dataclass(frozen=True, eq=False)
class Encoding:
    """What a codec makes of one leaf of latents.

    Attributes:
        mean: The latents, dense ``[B, ...]`` or ragged ``[rows, ...]``.
        log_variance: Logarithm of the variance of the noise that training adds to them, in the
            shape of ``mean``; None for a codec that is trained without noise.
        layout: How the rows of the leaf are grouped; None: dense, all of them real.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    layout: Layout | None = None


class Codec(nn.Module, ABC):
    """Encoder and decoder of the state of a domain.

    Attributes:
        latents: Number of channels of every leaf of latents, by its name.
        channel_dim: Dimension of a leaf that numbers its channels, which are scaled one by one.
        agrees_on: Entries of `Domain.provenance` in which the data that a codec was trained on
            and the data that it encodes must agree, such as variables and units.
    """

    latents: Mapping[str, int]
    channel_dim: int = 1
    agrees_on: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, batch: Batch) -> dict[str, Encoding]:
        """Encode the data ``batch.x``, which may depend on its conditions.

        Raises:
            InputError: The data have another shape than the codec is made for.
        """

    @abstractmethod
    def decode(self, latents: State, batch: Batch) -> State:
        """Decode latents of the shapes that `encode` gives, as data of the shapes of ``batch.x``.

        Args:
            latents: One tensor for each leaf of latents.
            batch: Shapes, layouts and conditions; its data are not looked at.
        """

    def template(self, batch: Batch) -> dict[str, Encoding]:
        """`encode` where only shapes, types and layouts matter; override it if that is cheaper."""
        return self.encode(batch)

    def error(self, latents: State, batch: Batch, path: ProductPath) -> dict[str, Tensor]:
        """How far the decoded latents are from the data: the loss of each leaf, ``[B]``.

        By default the mean square over the real rows, weighted as the path weighs entries.

        Args:
            latents: One tensor for each leaf of latents.
            batch: The data.
            path: Path of the data.

        Raises:
            InputError: A leaf is not flat; its codec must say what an error is.
        """
        decoded, errors = self.decode(latents, batch), {}
        for name, one in path.paths.items():
            if not one.flat:
                raise InputError(
                    f"{type(self).__name__}: leaf {name!r} is on a {type(one).__name__}, where "
                    "squares say nothing; let the codec override `error`"
                )
            square = (decoded[name] - batch.x[name]) ** 2
            weight = one.entry_weight(square)
            square = square if weight is None else weight * square
            errors[name] = batch.layouts[name].free_mean_per_sample(square)
        return errors

    def forward(self, *_: object, **__: object) -> State:
        """Refuse to predict: a codec is no denoiser.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"{type(self).__name__}: is an autoencoder and draws nothing; train it by the "
            "objective sciddiff.objectives.Reconstruction, and name its model as codec_from of a "
            "domain sciddiff.encoded.Encoded, whose model draws latents"
        )


@final
class Latents(nn.Module):
    """A trained codec with the mean and deviation of its latents, by which they are scaled.

    Nothing assumes a deviation: it is NaN, and using it refused, until `measure` has been called
    or weights have been read.

    Args:
        codec: The codec; its parameters are frozen.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        for leaf, channels in codec.latents.items():
            self.register_buffer(f"mean_{leaf}", torch.zeros(channels))
            self.register_buffer(f"deviation_{leaf}", torch.full((channels,), torch.nan))
        self._sound = False
        self.eval().requires_grad_(False)

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of the leaves of latents."""
        return tuple(self.codec.latents)

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> int:
        """Measure mean and deviation of every channel over the latents of some data.

        Args:
            batches: Data.

        Returns:
            Number of samples.

        Raises:
            InputError: There are none, or a channel does not vary or is not finite.
        """
        sums: dict[str, Tensor] = {}
        samples = 0
        for batch in batches:
            samples += batch.size
            for leaf, code in self.codec.encode(batch).items():
                mean = code.mean.double()
                layout = code.layout or Layout(batch.size)
                real = layout.zero_padding(torch.ones_like(mean))
                mean = layout.zero_padding(mean)
                moments = torch.stack([real, mean, mean**2]).movedim(self._dim(mean, 1), 1)
                sums[leaf] = sums.get(leaf, 0.0) + moments.flatten(2).sum(-1)
        for leaf, (count, first, second) in sums.items():
            mean = first / count
            self.get_buffer(f"mean_{leaf}").copy_(mean)
            variance = (second / count - mean**2).clamp(min=0.0)
            self.get_buffer(f"deviation_{leaf}").copy_(variance.sqrt())
        self.check("the training data")
        return samples

    def restore(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Take over weights, of the names of the state dict.

        Args:
            weights: By name.
            where: What they were read from, for messages.

        Raises:
            InputError: They do not fit, or a deviation is not a positive number.
        """
        try:
            fill(self, weights)
        except InputError as error:
            raise InputError(
                f"{where}: the weights do not fit the codec {type(self.codec).__name__} of the "
                f"domain ({error}); give it the settings it was trained with, or export again"
            ) from error
        self.check(where)

    def check(self, where: str) -> None:
        """Refuse deviations that are not positive numbers.

        Raises:
            InputError: The first leaf and channel that has one.
        """
        self._sound = False
        for leaf in self.leaves:
            mean, deviation = (self.get_buffer(f"{k}_{leaf}") for k in ("mean", "deviation"))
            sound = mean.isfinite() & deviation.isfinite() & (deviation > 0.0)
            if not bool(sound.all()):
                channel = sound.tolist().index(False)
                raise InputError(
                    f"{where}: channel {channel} of the latents {leaf!r} has the deviation "
                    f"{float(deviation[channel]):g}, which is no scale; train the autoencoder "
                    "anew (longer, with a smaller kl or fewer latents), then the model of latents"
                )
        self._sound = True

    @torch.no_grad()
    def encode(self, batch: Batch) -> Batch:
        """Return the batch with scaled latents in the place of its data; conditions stay.

        Raises:
            InputError: Rows are to be held fixed, which latents cannot do.
        """
        codes = self._at(batch).codec.encode(batch)
        scaled = {
            leaf: (code.mean - self._channels("mean", leaf, code.mean))
            / self._channels("deviation", leaf, code.mean)
            for leaf, code in codes.items()
        }
        return self._entered(batch, codes, scaled)

    @torch.no_grad()
    def template(self, batch: Batch) -> Batch:
        """Return the template of the latents of what a template of data says.

        The latter is its condition `ENCODED`, so that samples can be decoded.

        Raises:
            InputError: Rows are to be held fixed, which latents cannot do.
        """
        codes = self._at(batch).codec.template(batch)
        nothing = {leaf: torch.zeros_like(code.mean) for leaf, code in codes.items()}
        return self._entered(batch, codes, nothing).with_cond(**{ENCODED: batch})

    def decode(self, x: State, batch: Batch) -> State:
        """Return the data of scaled latents, with gradients where the latents have them.

        Args:
            x: Scaled latents.
            batch: Template of the data, or of the latents.
        """
        batch = batch.cond.get(ENCODED, batch)
        self._at(batch)
        latents = {}
        for leaf in self.leaves:
            scale = self._channels("deviation", leaf, x[leaf])
            latents[leaf] = self._channels("mean", leaf, x[leaf]) + scale * x[leaf].to(scale)
        return self.codec.decode(latents, batch)

    def _entered(self, batch: Batch, codes: Mapping[str, Encoding], x: State) -> Batch:
        if any(layout.fixed is not None for layout in batch.layouts.values()):
            raise InputError(
                "latents: rows of the data are held fixed, and a latent belongs to many rows; "
                "use a model of the data themselves"
            )
        layouts = {leaf: code.layout for leaf, code in codes.items() if code.layout is not None}
        return replace(batch, x=x, layouts=layouts)

    def _at(self, batch: Batch) -> Latents:
        """This module on the device of a batch, its scales known."""
        if not self._sound:
            self.check("latents")
        buffer = self.get_buffer(f"mean_{self.leaves[0]}")
        return self if buffer.device == batch.device else self.to(batch.device)

    def _dim(self, leaf: Tensor, more: int = 0) -> int:
        """Dimension of the channels, behind `more` further ones."""
        return self.codec.channel_dim % leaf.ndim + more

    def _channels(self, what: str, leaf: str, like: Tensor) -> Tensor:
        """Numbers of the channels of a leaf, to broadcast against it."""
        shape = [1] * like.ndim
        shape[self._dim(like)] = -1
        return self.get_buffer(f"{what}_{leaf}").reshape(shape)
