"""Distilled: a student learns to say at once what a guided teacher says in several calls.

Meng et al. (*On distillation of guided diffusion models*, 2023, stage one): the student, without
guidance, is fitted to the guided prediction of a fixed teacher. It then costs one call where the
teacher took two or more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.denoising import Corrupted, Denoising
from sciddiff.prediction import Prediction
from sciddiff.state import Batch
from sciddiff.streams import Generator, uniform_per_sample

__all__ = ["Distilled"]


@final
@dataclass(frozen=True, eq=False)
class Distilled(Objective):
    """Learn the predictions of a fixed denoiser, which may be under guidance.

    States are those of `learning`: data that are noised, with its times, dropped labels and
    self-conditioning. A share of the batches is noised as the samplers move, where that differs
    from training. The loss of a leaf is `Path.match`; losses of the domain take the data that the
    teacher predicts for the truth.

    Attributes:
        source: The denoiser to learn from, called as ``source(x_t, t, batch)``; gradients do not
            reach it.
        learning: How data are noised, and how leaves and times are weighted.
        sampling: Share of the batches that are noised along `Path.sampling_path`.

    Raises:
        InputError: The share is not in [0, 1].
    """

    source: Callable[..., Mapping[str, Prediction]]
    learning: Denoising = field(default_factory=Denoising)
    sampling: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.sampling <= 1.0:
            raise InputError(f"Distilled.sampling: {self.sampling} is not in [0, 1]")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch.

        Args:
            denoiser: What learns.
            batch: Data, or samples of the teacher.
            generator: Random source.
            teacher: Not used: the teacher is `source`.
        """
        path = denoiser.path
        coin = uniform_per_sample(batch.size, generator, torch.float64)[0]
        if float(coin) < self.sampling:
            along = Denoiser(denoiser.net, path.sampling_path)
        else:
            along = denoiser
        noised = self.learning.corrupt(along, batch, generator)
        with torch.no_grad():
            targets = self.source(noised.x_t, noised.t, noised.batch)
        predictions = denoiser(noised.x_t, noised.t, noised.batch)
        rows = path.match(predictions, targets, batch.layouts)
        samples = {
            name: replace(sample, x1=targets[name].data) for name, sample in noised.samples.items()
        }
        said = Corrupted(samples, noised.t, noised.batch)
        return self.learning.reduce(path, rows, predictions, said)
