r"""Progressive: a student learns to take in one jump what a solver takes in several steps.

Salimans & Ho (*Progressive distillation for fast sampling of diffusion models*, 2022) teach a
student to reach in one step where two steps of its teacher lead, and halve the number of steps
again and again, each time with the student as the teacher. Here the solver makes as many steps as
the jump needs, so that one round serves and no error of an earlier student is learned. Against
`sciddiff.objectives.Shortcut` it knows a few jumps alone, those of an even grid, and no target of
it comes from the student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import per_sample, time_tensors
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.denoising import Denoising
from sciddiff.objectives.flow_maps import arrival_loss, jumping
from sciddiff.prediction import Prediction
from sciddiff.state import Batch
from sciddiff.streams import Generator, uniform_per_sample

__all__ = ["Progressive"]


@final
@dataclass(frozen=True, eq=False)
class Progressive(Objective):
    """Learn where a solver of a fixed denoiser leads over each of a few equal spans of time.

    All samples of a batch take the same jump, drawn anew for every batch. They begin it from data
    that are noised as samplers move.

    Attributes:
        source: The fixed denoiser, perhaps under guidance, called as ``source(x_t, t, batch)``.
        solver: A deterministic sampler (`sciddiff.samplers`) that follows it.
        learning: Denoising: noise, weights and losses. Its times and its self-conditioning are
            not used.
        calls: Number of the jumps from noise to data.
        within: Steps of the solver in each.

    Raises:
        InputError: A number is below 1.
    """

    source: Callable[..., Mapping[str, Prediction]]
    solver: Callable[..., Any]
    learning: Denoising = field(default_factory=Denoising)
    calls: int = 2
    within: int = 2

    def __post_init__(self) -> None:
        for name in ("calls", "within"):
            if getattr(self, name) < 1:
                raise InputError(f"Progressive.{name}: {getattr(self, name)} is below 1")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch.

        Args:
            denoiser: What learns; its network takes ``until``.
            batch: Data, or samples of a teacher.
            generator: Random source.
            teacher: Not used: the teacher is `source`.

        Raises:
            InputError: A leaf does not flow.
        """
        learning = replace(self.learning, self_conditioning=0.0)
        along = denoiser.path.sampling_path
        names = jumping(along, "Progressive")
        for name in along.paths:
            if name not in names:
                raise InputError(
                    f"Progressive: leaf {name!r} does not flow, so that no solver leads it to one "
                    "place; use Shortcut, in which it rests"
                )
        noised = learning.corrupt(Denoiser(denoiser.net, along), batch, generator)
        batch, layouts = noised.batch, noised.batch.layouts
        coin = float(uniform_per_sample(batch.size, generator, torch.float64)[0])
        number = int(coin * self.calls)
        first = max(path.first_time for path in along.paths.values())
        grid = torch.linspace(
            max(number / self.calls, first), (number + 1) / self.calls, self.within + 1,
            dtype=torch.float64,
        )  # fmt: skip
        begin, end = (per_sample(float(t), batch.x, batch.size) for t in (grid[0], grid[-1]))
        x0 = {name: sample.x0 for name, sample in noised.samples.items()}
        samples = along.sample(batch.x, begin, generator, x0, layouts)
        x_t = {name: sample.x_t for name, sample in samples.items()}
        hold = lambda x: {name: layouts[name].hold(x[name], batch.x[name]) for name in x}  # noqa: E731
        said = lambda x, t: dict(self.source(x, time_tensors(t, x, batch.size), batch))  # noqa: E731
        with torch.no_grad():
            led = self.solver(
                said, along, x_t, grid, layouts=layouts,
                after=lambda step, t, x, stage: hold(x),
            )  # fmt: skip
        predictions = denoiser(x_t, begin, batch, until=end)
        ends = dict.fromkeys(names, end)
        path = denoiser.path
        return arrival_loss(learning, path, along, predictions, samples, led.x, ends, batch)
