r"""A forecast as a simulator of rare events: `sciddiff.rare_events.Process` of a `Forecaster`.

Particle i moves with the random numbers that member i of a forecast has, so counting extremes
among particles is counting them among forecast members, and any particle can be made again from
its number, or after cloning from the numbers its ancestors had.

The one-step head is a deterministic function of the present and of white noise z. So noise may be
drawn from a shifted law, :math:`z \sim \mathcal N(\mu, I)`, with the exact weight
:math:`\mathcal N(z; 0, I) / \mathcal N(z; \mu, I) = e^{-\mu\cdot z + \mu\cdot\mu/2}`, for any
:math:`\mu` that depends on the present alone. Here

.. math:: \mu = k_n\,\nabla_z A_n(z)|_{z=0},

the gradient of the score after the step through the network. Were the index linear in the noise,
that is the exponential tilt of strength k, the best there is for a normal index.

What is measured is what a forecast writes: values at or above 0 where the channel has no others,
and calibrated ones where the forecast is calibrated (`weather.extremes.calibrated`). What is
stepped is what the model makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.rare_events import Process
from sciddiff.streams import Streams, normal
from weather.extremes.calibrated import CalibratedPoints
from weather.extremes.index import IndexMeter
from weather.forecast.forecaster import Forecaster, forecast_streams

__all__ = ["ForecastProcess", "State"]

State: TypeAlias = dict[str, Tensor]
"""``history [N, F, C, H, W]`` physical, and ``so_far [N]`` of the index."""


@final
@dataclass(frozen=True, eq=False)
class ForecastProcess:
    """A forecast from one start, measured by one index.

    Attributes:
        forecaster: The model.
        frames: States up to the start, ``[F, C, H, W]``.
        start: Time of the last of them.
        meter: The index.
        batch: Particles stepped together.
        perturb: From members' numbers to their states, ``[N, F, C, H, W]``; None: all alike.
        on_step: Called with the number of particle-steps just done.
        calibrated: What a calibrated forecast shows of the members; None: what the model makes.
    """

    forecaster: Forecaster
    frames: Tensor
    start: Any
    meter: IndexMeter
    batch: int = 32
    perturb: Callable[[Sequence[int]], Tensor] | None = None
    on_step: Callable[[int], None] | None = None
    calibrated: CalibratedPoints | None = None

    def process(self, tilt: Sequence[float] | None = None) -> Process[State]:
        """Return the simulator of the particles.

        Args:
            tilt: k after each step, to draw noise from the shifted law; None: from its own.

        Raises:
            InputError: A tilt for a head or noise whose shift has no exact weight.
        """
        proposal: Callable[[State, int, Streams], tuple[State, Tensor]] | None = None
        if tilt is not None:
            if self.forecaster.head != "crps":
                raise InputError(
                    "--method guide: weights are exact for the one-step head (crps) only; use "
                    "--method smc, or a crps model"
                )
            proposal = partial(self._steered, list(tilt))
        return Process(
            self.meter.steps,
            self.begin,
            self.step,
            lambda state, number: self.meter.score(
                state["so_far"], self.shown(state["history"][:, -1], number), number
            ),
            proposal,
        )

    def plain(self, fields: Tensor) -> Tensor:
        """Return what an uncalibrated forecast shows at the points of the index, ``[B, P]``.

        Args:
            fields: States, physical, ``[B, C, H, W]``.
        """
        points = self.meter.points(fields[:, self.meter.channel])
        positive = self.forecaster.spec.channels[self.meter.channel].positive
        return points.clamp(min=0.0) if positive else points

    def shown(self, fields: Tensor, number: int) -> Tensor:
        """Return what the forecast shows at the points of the index, ``[B, P]``.

        Args:
            fields: States after step `number`, physical, ``[B, C, H, W]``.
            number: Of the step, from 1.
        """
        points = self.plain(fields)
        return points if self.calibrated is None else self.calibrated(points, number)

    def begin(self, streams: Streams) -> State:
        """Return the particles at the initial time."""
        members = streams.indices.tolist()
        frames = self.frames if self.perturb is None else self.perturb(members)
        history = self.forecaster.initial(frames, members)
        return {"history": history.clone(), "so_far": self.meter.begin(len(members))}

    def step(self, state: State, number: int, streams: Streams) -> State:
        """Advance the particles by step `number`, from 0, with the noise of members."""
        valid = self.forecaster.spec.after(self.start, number + 1)
        fields = []
        for rows in torch.arange(len(streams.indices)).split(self.batch):
            own = self._own(streams, number, rows)
            fields.append(self.forecaster.step(state["history"][rows], valid, own))
            self._told(len(rows))
        return self._moved(state, torch.cat(fields), number)

    def _steered(
        self, tilt: list[float], state: State, number: int, streams: Streams
    ) -> tuple[State, Tensor]:
        valid = self.forecaster.spec.after(self.start, number + 1)
        fields, ratios = [], []
        for rows in torch.arange(len(streams.indices)).split(self.batch):
            part = {name: value[rows] for name, value in state.items()}
            shift = tilt[number] * self._gradient(part, valid, number)
            own = self._own(streams, number, rows)
            noise = normal(shift, own) + shift
            fields.append(self.forecaster.from_noise(part["history"], valid, noise))
            mu, z = shift.flatten(1).double(), noise.flatten(1).double()
            ratios.append((-mu * z + 0.5 * mu**2).sum(1))
            self._told(len(rows))
        return self._moved(state, torch.cat(fields), number), torch.cat(ratios)

    def _gradient(self, part: State, valid: Any, number: int) -> Tensor:
        """Slope of the score after the step in the noise, at no noise, ``[b, C, H, W]``."""
        history = part["history"]
        with torch.enable_grad():
            noise = torch.zeros_like(history[:, -1]).requires_grad_()
            fields = self.forecaster.from_noise(history, valid, noise)
            points = self.shown(fields, number + 1)
            so_far = self.meter.add(part["so_far"], points, number + 1)
            score = self.meter.score(so_far, points, number + 1)
            (slope,) = torch.autograd.grad(score.sum(), noise)
        return slope

    def _moved(self, state: State, fields: Tensor, number: int) -> State:
        fields = fields.detach()
        history = torch.cat([state["history"][:, 1:], fields[:, None]], 1)
        points = self.shown(fields, number + 1).cpu()
        so_far = self.meter.add(state["so_far"], points, number + 1)
        return {"history": history, "so_far": so_far}

    def _own(self, streams: Streams, number: int, rows: Tensor) -> Streams:
        members = streams.indices[rows].tolist()
        own = forecast_streams(streams.seed, self.start, members, number + 1)
        return Streams(own.seed, own.indices.to(self.forecaster.device))

    def _told(self, rows: int) -> None:
        if self.on_step is not None:
            self.on_step(rows)
