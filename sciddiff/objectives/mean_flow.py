r"""MeanFlow and Consistency: flow maps learned from how the end of a jump must not change.

Let :math:`X(x, t, s)` be where a network's jump from x at t ends. Along the flow, with velocity v,
its end stays where it is. What it changes by,

.. math:: r = \frac{dX}{dt} = \partial_t X + (v \cdot \nabla_x) X ,

is computed forwards in one pass (`torch.func.jvp` with the tangent (v, 1)), and the mean velocity
:math:`u = (X - x)/(s - t)` learns :math:`u + r`, held constant. On the linear path this is the
MeanFlow identity :math:`u = v + (s - t)\,du/dt` (Geng et al., 2025, eq. 6 with our direction of
time): :math:`r = v - u + (s - t)\,du/dt`.

Networks must be made of operations that have forward derivatives. Fused attention has none: keep
`torch.nn.attention.sdpa_kernel(SDPBackend.MATH)` around training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from sciddiff import times as time_laws
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import time_dtype
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.denoising import Denoising
from sciddiff.objectives.flow_maps import instantly, joined, leap, named, split
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State
from sciddiff.streams import Generator

__all__ = ["Consistency", "MeanFlow"]

Source = Callable[..., Mapping[str, Prediction]]
_SHORTEST = 1e-3  # a jump over less time is taken over that much


@final
@dataclass(frozen=True, eq=False)
class MeanFlow(Objective):
    """Mean velocities by the MeanFlow identity; for flat leaves.

    A `share` of the batch learns jumps between two drawn times; the rest learns jumps of no
    length by denoising (from `source`, if there is one). The loss of a sample is weighted by
    ``1 / (error + 1e-2) ** power`` of itself, held constant.

    Guidance inside the target (section 4.2 there) makes a network that is drawn without any: the
    velocity is ``omega v + kappa u_c + (1 - omega - kappa) u_0`` with the network's own velocities
    with and without the conditions in `null`. Its effective strength is
    ``omega / (1 - kappa)``.

    Attributes:
        learning: Denoising: noise, weights by leaf, label dropout and losses of the rest.
        source: A fixed denoiser, perhaps under guidance, whose velocity is followed; None for the
            velocity between noise and data.
        share: Share of the batch that learns jumps.
        times: Law of the two times of a jump.
        power: Of the adaptive weight; 0 for none.
        omega: Weight of the velocity of the data.
        kappa: Weight of the network's own conditional velocity.
        null: The conditions that say "none", by their name in ``batch.cond``, each a number.
    """

    learning: Denoising = field(default_factory=Denoising)
    source: Source | None = None
    share: float = 0.25
    times: time_laws.TimeLaw = field(default_factory=lambda: time_laws.LogitNormal(0.4, 1.0))
    power: float = 1.0
    omega: float = 1.0
    kappa: float = 0.0
    null: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise InputError(f"MeanFlow.share: {self.share} is not in [0, 1]")
        if (self.omega, self.kappa) != (1.0, 0.0) and not self.null:
            raise InputError("MeanFlow.null: empty; guidance needs the conditions to leave out")

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
            teacher: Not used.

        Raises:
            InputError: A leaf is not flat, or a condition to leave out is not in the batch.
        """
        learning = replace(self.learning, self_conditioning=0.0)
        flat_leaves(denoiser.path, "MeanFlow")
        long, short = split(batch, self.share, generator)
        parts: list[tuple[int, LossOutput]] = []
        if short is not None:
            parts.append(
                (short.size, instantly(learning, self.source, denoiser, short, generator))
            )
        if long is not None:
            parts.append((long.size, self._long(learning, denoiser, long, generator)))
        return joined(parts)

    def _long(
        self, learning: Denoising, denoiser: Denoiser, batch: Batch, generator: Generator | None
    ) -> LossOutput:
        first, second = (_draw(self.times, batch, generator) for _ in range(2))
        t, s = torch.minimum(first, second), torch.maximum(first, second)
        t = t.clamp(max=1.0 - _SHORTEST)
        s = torch.maximum(s, t + _SHORTEST)
        on = Way.of(learning, denoiser, batch, t, generator)
        v = on.velocity if self.source is None else _velocity(self.source, on, t)
        if self.null:
            v = self._guided(denoiser, on, t, v)
        change = changes(denoiser, on, v, t, s)
        return named("long", change.output(learning, denoiser.path, on, self.power, _Full()))

    def _guided(self, denoiser: Denoiser, on: Way, t: Tensor, v: State) -> State:
        """The velocity under guidance inside the target; outside no gradient is needed."""
        missing = [name for name in self.null if name not in on.batch.cond]
        if missing:
            raise InputError(f"MeanFlow.null: the batch has no condition {missing[0]!r}")
        none = {name: torch.full_like(on.batch.cond[name], value)
                for name, value in self.null.items()}  # fmt: skip
        with torch.no_grad():
            own = denoiser(on.x_t, t, on.batch, until=t)
            free = denoiser(on.x_t, t, on.batch.with_cond(**none), until=t)
        rest = 1.0 - self.omega - self.kappa
        return {
            name: self.omega * v[name]
            + self.kappa * own[name].velocity
            + rest * free[name].velocity
            for name in v
        }


@final
class Consistency(nn.Module, Objective):
    """Jumps to the data alone, whose end must not change along the flow; for flat leaves.

    Continuous-time consistency (Song et al., 2023; Lu & Song, 2025): the change r is divided by
    its own size, and the part of it that comes from the derivative of the network enters slowly.
    From a `source` this distils; without one it trains on data alone.

    Args:
        learning: Denoising: noise, weights by leaf and label dropout.
        source: A fixed denoiser whose velocity is followed; None for that between noise and data.
        times: Law of the time of the state.
        warmup: Batches over which the derivative of the network enters.
        calm: Added to the root mean square of a change before it is divided by that; 0.1 in the
            paper.

    Attributes:
        seen: Batches learned from, which a resumed run goes on from.
    """

    seen: Tensor

    def __init__(
        self,
        learning: Denoising | None = None,
        source: Source | None = None,
        times: time_laws.TimeLaw | None = None,
        warmup: int = 1000,
        calm: float = 0.1,
    ) -> None:
        super().__init__()
        if warmup < 0 or calm <= 0.0:
            raise InputError(
                f"Consistency: warmup {warmup}, calm {calm}; neither may be negative, and the "
                "second not 0"
            )
        self.learning = replace(learning or Denoising(), self_conditioning=0.0)
        self.times = times or time_laws.LogitNormal(0.4, 1.0)
        self.warmup, self.calm = warmup, calm
        # In a tuple: a module here would be trained and saved.
        self._source = (source,)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch.

        Args:
            denoiser: What learns; its network takes ``until``, which is 1 always.
            batch: Data, or samples of a teacher.
            generator: Random source.
            teacher: Not used.

        Raises:
            InputError: A leaf is not flat.
        """
        flat_leaves(denoiser.path, "Consistency")
        part = min(1.0, float(self.seen) / self.warmup) if self.warmup else 1.0
        if torch.is_grad_enabled():
            self.seen += 1
        t = _draw(self.times, batch, generator).clamp(max=1.0 - _SHORTEST)
        on = Way.of(self.learning, denoiser, batch, t, generator)
        (source,) = self._source
        v = on.velocity if source is None else _velocity(source, on, t)
        change = changes(denoiser, on, v, t, torch.ones_like(t))
        rule = _Calmed(part, self.calm)
        return change.output(self.learning, denoiser.path, on, 0.0, rule)


@final
@dataclass(frozen=True, eq=False)
class Way:
    """A batch on its way, and how fast it goes.

    Attributes:
        x_t: The state.
        velocity: Its time derivative between its noise and its data.
        batch: The batch, with the conditions that the network is shown.
    """

    x_t: State
    velocity: State
    batch: Batch

    @classmethod
    def of(
        cls,
        learning: Denoising,
        denoiser: Denoiser,
        batch: Batch,
        t: Tensor,
        generator: Generator | None,
    ) -> Way:
        """Noise a batch to times ``t [B]``."""
        noised = learning.corrupt(denoiser, batch, generator)
        path, layouts = denoiser.path, noised.batch.layouts
        x0 = {name: sample.x0 for name, sample in noised.samples.items()}

        def state(t: Tensor) -> State:
            found = path.sample(noised.batch.x, t, None, x0, layouts)
            return {name: sample.x_t for name, sample in found.items()}

        x_t, velocity, *_ = torch.func.jvp(state, (t,), (torch.ones_like(t),))
        return cls(x_t, velocity, noised.batch)


@final
@dataclass(frozen=True, eq=False)
class Changes:
    """Jumps of a network, and how their ends change along the flow.

    Attributes:
        mean: Mean velocity u of the jump of each leaf, with gradients.
        change: dX/dt of its end, without.
        velocity: Velocity v that was followed.
        t: Times of the state, ``[B]``.
        s: Times of the ends, ``[B]``.
    """

    mean: State
    change: State
    velocity: State
    t: Tensor
    s: Tensor

    def output(
        self,
        learning: Denoising,
        path: ProductPath,
        on: Way,
        power: float,
        rule: Callable[[Tensor, Tensor, Any], Tensor],
    ) -> LossOutput:
        """The loss: squared distance of the mean velocity from what the rule makes of it."""
        metrics, total = {}, None
        for name, mean in self.mean.items():
            layout = on.batch.layouts[name]
            step = rule(self.change[name], self.velocity[name] - mean.detach(), layout)
            weight = path.paths[name].entry_weight(mean)
            rows = (mean - (mean.detach() + step)) ** 2
            rows = rows if weight is None else weight * rows
            plain = layout.free_mean_per_sample(rows)
            metrics[f"loss/{name}"] = plain.detach().mean()
            own = learning.weights.get(name, 1.0) * plain
            total = own if total is None else total + own
        if total is None:
            raise InputError("flow maps: the state has no leaf")
        metrics["error"] = total.detach().mean()
        each = total / (total.detach() + 1e-2) ** power
        return LossOutput(each.mean(), {**metrics, "loss": each.detach().mean()}, each.detach())


def changes(denoiser: Denoiser, on: Way, v: State, t: Tensor, s: Tensor) -> Changes:
    """The jumps of a denoiser from states at t to s, and the change of their ends.

    Args:
        denoiser: Its network takes ``until``.
        on: The states.
        v: Velocities to follow.
        t: ``[B]``.
        s: ``[B]``, later.
    """
    path, batch = denoiser.path, on.batch
    names = list(path.paths)
    leaf = {name: s for name in names}

    def end(x: State, t: Tensor) -> State:
        said = denoiser(x, t, batch, until=s)
        return leap(path, names, said, x, leaf, batch)

    held = {
        name: batch.layouts[name].hold(v[name].detach(), torch.zeros_like(v[name]))
        for name in names
    }
    reached, change, *_ = torch.func.jvp(end, (on.x_t, t), (held, torch.ones_like(t)))
    mean = {
        name: (reached[name] - on.x_t[name]) / batch.layouts[name].spread(
            (s - t).to(reached[name]), reached[name])
        for name in names
    }  # fmt: skip
    return Changes(mean, {name: one.detach() for name, one in change.items()}, held, t, s)


@final
@dataclass(frozen=True)
class _Full:
    """The whole change."""

    def __call__(self, change: Tensor, apart: Tensor, layout: Any) -> Tensor:
        return change


@final
@dataclass(frozen=True)
class _Calmed:
    """The change with a part of the derivative of the network, divided by its own size.

    Attributes:
        part: How much of the derivative enters.
        calm: Added to the size.
    """

    part: float
    calm: float

    def __call__(self, change: Tensor, apart: Tensor, layout: Any) -> Tensor:
        step = apart + self.part * (change - apart)
        size = layout.free_mean_per_sample(step**2).sqrt() + self.calm
        return step / layout.spread(size, step)


def flat_leaves(path: ProductPath, owner: str) -> None:
    """Refuse leaves that no forward derivative is taken on.

    Raises:
        InputError: A leaf is curved, or does not flow; the message begins with ``owner``.
    """
    for name, one in path.paths.items():
        if not (one.jumps and one.flat):
            raise InputError(
                f"{owner}: leaf {name!r} is on a {type(one).__name__}, and only flat leaves are "
                "differentiated along the flow; use Shortcut"
            )


def _draw(law: time_laws.TimeLaw, batch: Batch, generator: Generator | None) -> Tensor:
    return time_laws.draw(law, batch.size, generator, False, time_dtype(batch.x), batch.device)


def _velocity(source: Source, on: Way, t: Tensor) -> State:
    with torch.no_grad():
        said = source(on.x_t, t, on.batch)
    return {name: said[name].velocity for name in on.x_t}
