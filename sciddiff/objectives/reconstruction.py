"""Reconstruction: how an autoencoder learns, before a model of its latents does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciddiff.codecs import Codec
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.state import Batch, Layout
from sciddiff.streams import Generator, normal

__all__ = ["Reconstruction"]


@final
@dataclass(frozen=True)
class Reconstruction(Objective):
    """Encode, add the noise that the codec asks for, decode, and compare with the data.

    The loss of a sample is, summed over leaves, ``weight *`` the codec's error, plus ``kl *`` the
    divergence in nats of a latent from the standard normal law, averaged over latents (Kingma &
    Welling, 2014). The divergence keeps latents near zero and smooth; a small factor does, and a
    large one blurs.

    Attributes:
        kl: Factor of the divergence.
        weights: Weight of each leaf of the data; 1 if left out.

    Raises:
        InputError: The factor is negative.
    """

    kl: float = 1e-4
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.kl >= 0.0:
            raise InputError(f"Reconstruction.kl: {self.kl} is not 0 or more; try 1e-4")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch.

        Args:
            denoiser: The codec, with the path of the data.
            batch: Data.
            generator: Random source of the noise of the latents.
            teacher: Not used.

        Raises:
            InputError: The network is no codec.
        """
        codec = denoiser.net
        if not isinstance(codec, Codec):
            raise InputError(
                f"Reconstruction: the net {type(codec).__name__} is no Codec; name one, and leave "
                "trainer.precision at 32"
            )
        latents: dict[str, Tensor] = {}
        divergence = torch.zeros((), device=batch.device)
        for leaf, code in codec.encode(batch).items():
            latents[leaf], mean = code.mean, code.mean
            if code.log_variance is None:
                continue
            layout, log = code.layout or Layout(batch.size), code.log_variance
            latents[leaf] = mean + (0.5 * log).exp() * normal(mean, generator, layout)
            nats = 0.5 * (mean**2 + log.exp() - 1.0 - log)
            divergence = divergence + layout.free_mean_per_sample(nats)
        errors = codec.error(latents, batch, denoiser.path)
        metrics = {f"error/{leaf}": error.detach().mean() for leaf, error in errors.items()}
        metrics["kl"] = divergence.detach().mean()
        total = sum(
            (self.weights.get(k, 1.0) * e for k, e in errors.items()), self.kl * divergence
        )
        loss = total.mean()
        return LossOutput(loss, {**metrics, "loss": loss.detach()}, total.detach())
