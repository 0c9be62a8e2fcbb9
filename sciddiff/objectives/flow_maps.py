r"""Flow maps: networks that learn where the flow leads at any later time, in one call.

A denoiser called with ``until = s`` predicts what makes a jump from t to s exact (`Path.jump`); on
the linear path its velocity is the mean velocity u up to then, :math:`x_s = x_t + (s - t)\,u`.
Two facts about flow maps X teach them:

- going on from where a jump ended is one longer jump,
  :math:`X_{s \to r} \circ X_{t \to s} = X_{t \to r}`: `Shortcut` (Frans et al., 2024), on any path
  that flows, with differences in the tangent space at the state;
- along the flow the end of a jump does not change,
  :math:`\partial_t X + (v \cdot \nabla) X = 0` with the velocity v: `MeanFlow` (Geng et al.,
  2025), where it reads :math:`u = v + (s - t)\,du/dt`, and `Consistency` (Song et al., 2023; Lu &
  Song, 2025) where s is always 1. Both differentiate the network forwards and are for flat leaves.

Leaves that do not flow (tokens) rest at their time in all this, and learn by denoising.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import time_dtype
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.denoising import Corrupted, Denoising
from sciddiff.objectives.distilled import Distilled
from sciddiff.paths.base import PathSample
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, State
from sciddiff.streams import Generator, uniform_per_sample

__all__ = ["Instant", "Shortcut"]

LeafTimes = dict[str, Tensor]
"""Times ``[B]`` of each leaf."""


@final
class Instant(nn.Module):
    """A network of a flow map as one without: it predicts for its own time.

    Args:
        net: ``net(x_t, t, batch, until) -> dict[str, Tensor]``.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_t: State, t: Any, batch: Batch) -> State:
        """The raw outputs of a jump of no length."""
        return self.net(x_t, t, batch, until=t)


@final
@dataclass(frozen=True, eq=False)
class Shortcut(Objective):
    """Long jumps learn from two of half their length, and those of no length from the data.

    A batch is split: a `share` takes jumps over ``1, 1/2, ... 2/finest`` of the time, and learns
    from two jumps of an averaged copy of the network (those of ``1/finest`` are taken for short
    enough to have no length); the rest learns by denoising, or from a fixed teacher. States are
    noised as samplers move. Neither part is self-conditioned.

    Attributes:
        learning: Denoising: noise, weights and losses; its laws of time hold for the rest of the
            batch. Where they are given by leaf, leaves also jump over spans of their own.
        source: A fixed denoiser, perhaps under guidance, whose predictions the rest learns instead
            of the data; see `Distilled`.
        share: Share of the batch that takes long jumps.
        finest: Number of the shortest jumps, a power of 2.

    Raises:
        InputError: A setting is out of range.
    """

    needs_teacher = True

    learning: Denoising = field(default_factory=Denoising)
    source: Callable[..., Mapping[str, Prediction]] | None = None
    share: float = 0.25
    finest: int = 128

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise InputError(f"Shortcut.share: {self.share} is not in [0, 1]")
        if self.finest < 2 or self.finest & (self.finest - 1):
            raise InputError(f"Shortcut.finest: {self.finest} is not a power of 2 from 2 up")

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
            teacher: An averaged copy of the denoiser.

        Raises:
            InputError: No averaged copy is given, or no leaf flows.
        """
        if teacher is None:
            raise InputError("Shortcut: needs an averaged copy of the denoiser as its teacher")
        learning = replace(self.learning, self_conditioning=0.0)
        long, short = split(batch, self.share, generator)
        parts: list[tuple[int, LossOutput]] = []
        if short is not None:
            parts.append((short.size, self._short(learning, denoiser, short, generator)))
        if long is not None:
            parts.append((long.size, self._long(learning, denoiser, long, generator, teacher)))
        return joined(parts)

    def _short(
        self, learning: Denoising, denoiser: Denoiser, batch: Batch, generator: Generator | None
    ) -> LossOutput:
        return instantly(learning, self.source, denoiser, batch, generator)

    def _long(
        self,
        learning: Denoising,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser,
    ) -> LossOutput:
        along = denoiser.path.sampling_path
        names = jumping(along, "Shortcut")
        if len(names) < len(along.paths) and not isinstance(learning.times, dict):
            resting = next(name for name in along.paths if name not in names)
            raise InputError(
                f"Shortcut: leaf {resting!r} does not flow and rests while others jump; give "
                "learning.times by leaf, so that the network is told the time of each"
            )
        noised = learning.corrupt(Denoiser(denoiser.net, along), batch, generator)
        batch, layouts = noised.batch, noised.batch.layouts
        t, middle, s = self._spans(learning, along, names, noised, batch, generator)
        x0 = {name: sample.x0 for name, sample in noised.samples.items()}
        samples = along.sample(batch.x, t, generator, x0, layouts)
        x_t = {**noised.x_t, **{name: samples[name].x_t for name in names}}
        told = lambda times: times if isinstance(learning.times, dict) else times[names[0]]  # noqa: E731
        with torch.no_grad():
            tiny = {name: middle[name] - t[name] <= 1.0 / self.finest for name in t}
            first = {name: torch.where(tiny[name], t[name], middle[name]) for name in t}
            said = teacher(x_t, told(t), batch, until=told(first))
            x_m = leap(along, names, said, x_t, middle, batch)
            second = {name: torch.where(tiny[name], middle[name], s[name]) for name in t}
            said = teacher(x_m, told(middle), batch, until=told(second))
            x_s = leap(along, names, said, x_m, s, batch)
        predictions = denoiser(x_t, told(t), batch, until=told(s))
        begun = {name: samples[name] for name in names}
        path = denoiser.path
        output = arrival_loss(learning, path, along, predictions, begun, x_s, s, batch)
        return named("long", output)

    def _spans(
        self,
        learning: Denoising,
        path: ProductPath,
        names: list[str],
        noised: Corrupted,
        batch: Batch,
        generator: Generator | None,
    ) -> tuple[LeafTimes, LeafTimes, LeafTimes]:
        """Begin, middle and end of each leaf's jump; leaves that do not flow rest."""
        laws: Any = learning.times
        if not isinstance(laws, dict):
            drawn = dict.fromkeys(names, self._span(path, names, batch, generator))
        else:
            own = [name for name in names if laws.get(name) not in names]
            drawn = {name: self._span(path, [name], batch, generator) for name in own}
            drawn |= {name: drawn[laws[name]] for name in names if name not in own}
        for name in path.paths:
            t = noised.samples[name].t
            drawn.setdefault(name, (t, t, t))
        begin, middle, end = ({name: drawn[name][k] for name in path.paths} for k in range(3))
        return begin, middle, end

    def _span(
        self, path: ProductPath, names: list[str], batch: Batch, generator: Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Begin, middle and end of a jump for each sample, ``[B]``."""
        dtype, device = time_dtype(batch.x), batch.device
        levels = self.finest.bit_length() - 1
        u, place = (uniform_per_sample(batch.size, generator, torch.float64, device)
                    for _ in range(2))  # fmt: skip
        pieces = 2.0 ** torch.floor(u * levels)
        begin = torch.floor(place * pieces) / pieces
        first = max(path.paths[name].first_time for name in names)
        middle, end = begin + 0.5 / pieces, begin + 1.0 / pieces
        begin = begin.clamp(min=first)
        return begin.to(dtype), torch.maximum(middle, begin).to(dtype), end.to(dtype)


def instantly(
    learning: Denoising,
    source: Callable[..., Mapping[str, Prediction]] | None,
    denoiser: Denoiser,
    batch: Batch,
    generator: Generator | None,
) -> LossOutput:
    """The loss of jumps of no length: by denoising, or by the predictions of a fixed denoiser.

    Args:
        learning: How data are noised.
        source: The fixed denoiser; None to learn from the data.
        denoiser: What learns.
        batch: Data.
        generator: Random source.
    """
    still = Denoiser(Instant(denoiser.net), denoiser.path)
    objective = learning if source is None else Distilled(source, learning)
    return objective(still, batch, generator)


def jumping(path: ProductPath, owner: str) -> list[str]:
    """The leaves that flow.

    Raises:
        InputError: None does; the message begins with ``owner``.
    """
    names = [name for name, one in path.paths.items() if one.jumps]
    if not names:
        raise InputError(f"{owner}: no leaf flows, so that nothing can jump; use Denoising")
    return names


def leap(
    path: ProductPath,
    names: list[str],
    said: Predictions,
    x: State,
    s: LeafTimes,
    batch: Batch,
) -> State:
    """The state after the jump of some leaves, with fixed rows held at their data."""
    moved = {}
    for name in names:
        layout = batch.layouts[name]
        moved[name] = layout.hold(
            path.paths[name].jump(said[name], s[name], layout), batch.x[name]
        )
    return {**x, **moved}


def arrival_loss(
    learning: Denoising,
    path: ProductPath,
    along: ProductPath,
    predictions: Predictions,
    samples: Mapping[str, PathSample],
    x_s: State,
    s: LeafTimes,
    batch: Batch,
) -> LossOutput:
    """The loss of jumps that should end in a given state.

    Args:
        learning: How leaves and times are weighted; losses of the domain do not count.
        path: The path that the denoiser learns on.
        along: The path that samplers move along.
        predictions: What the denoiser says at the beginning, for the time ``s``.
        samples: Where each leaf that jumps begins.
        x_s: Where it should end.
        s: When that is, ``[B]`` for each leaf.
        batch: Conditions, layouts and fixed rows.
    """
    rows = {}
    for name in samples:
        one, mine, layout = along.paths[name], predictions[name], batch.layouts[name]
        with torch.no_grad():
            target = one.arriving(mine, x_s[name], s[name], layout)
        rows[name] = one.match(mine, target, layout)
    whole = Corrupted(samples, {name: one.t for name, one in samples.items()}, batch)
    return replace(learning, extra_losses=()).reduce(path, rows, predictions, whole)


def split(
    batch: Batch, share: float, generator: Generator | None
) -> tuple[Batch | None, Batch | None]:
    """A random share of the samples, and the others; None for none of them.

    Args:
        batch: The samples.
        share: How many of them, on average.
        generator: Random source.
    """
    u = uniform_per_sample(batch.size + 1, generator, torch.float64)
    count = int(torch.floor(share * batch.size + u[-1]))
    if count == 0:
        return None, batch
    if count == batch.size:
        return batch, None
    order = u[:-1].argsort().to(batch.device)
    return batch.select(order[:count]), batch.select(order[count:])


def joined(parts: list[tuple[int, LossOutput]]) -> LossOutput:
    """The loss of a batch from those of its parts, each with its number of samples."""
    size = sum(count for count, _ in parts)
    terms = [count / size * out.loss for count, out in parts]
    loss = sum(terms[1:], terms[0])
    metrics = {name: value for _, out in parts for name, value in out.metrics.items()}
    each = [out.per_sample for _, out in parts if out.per_sample is not None]
    return LossOutput(loss, {**metrics, "loss": loss.detach()}, torch.cat(each))


def named(part: str, output: LossOutput) -> LossOutput:
    """An output whose metrics say which part of the batch they are of."""
    metrics = {f"{name}/{part}": value for name, value in output.metrics.items()}
    return replace(output, metrics=metrics)
