"""What angles are likely to be: a density on the circle, and the loss that teaches it.

Beside its velocity the network says the probabilities of evenly spaced angles. Between them the
density is interpolated: it is a mixture of hat functions, each as wide as two steps, and its
integral is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from protein.sidechains.network import LOGITS
from protein.sidechains.samples import CHI
from sciddiff.manifolds.torus import wrap
from sciddiff.paths import PathSample
from sciddiff.prediction import Predictions
from sciddiff.state import Batch

__all__ = ["AngleLoss", "likeliest", "log_density", "probability_within"]


def log_density(logits: Tensor, angles: Tensor) -> Tensor:
    """Logarithm of the density of angles, nats a radian `[...]`.

    Args:
        logits: of evenly spaced angles from -pi on `[..., K]`.
        angles: `[...]`, rad, in [-pi, pi].
    """
    bins = logits.shape[-1]
    low, high, part = _between(angles, bins)
    log_probs = logits.log_softmax(-1)
    near = torch.stack([low, high], dim=-1)
    share = torch.stack([1.0 - part, part], dim=-1)
    mixed = (log_probs.gather(-1, near) + share.clamp(min=1e-12).log()).logsumexp(-1)
    return mixed + math.log(bins / (2.0 * math.pi))


def likeliest(logits: Tensor) -> Tensor:
    """The mode of a law `[...]`, rad: between the likeliest spaced angle and the two beside it.

    Args:
        logits: of evenly spaced angles from -pi on `[..., K]`.
    """
    bins = logits.shape[-1]
    best = logits.argmax(-1)
    beside = torch.stack([(best - 1) % bins, best, (best + 1) % bins], dim=-1)
    low, _, high = logits.gather(-1, beside).softmax(-1).unbind(-1)
    return wrap((best + high - low) * (2.0 * math.pi / bins) - math.pi)


def probability_within(logits: Tensor, angles: Tensor, width: Tensor) -> Tensor:
    """Probability that an angle lies within a distance of another `[...]`.

    Args:
        logits: of evenly spaced angles from -pi on `[..., K]`.
        angles: the others `[...]`, rad.
        width: distances, at most half a turn, broadcastable, rad.
    """
    bins = logits.shape[-1]
    step = 2.0 * math.pi / bins
    spaced = torch.arange(bins, device=logits.device).to(logits) * step - math.pi
    away = wrap(spaced - angles[..., None]) / step
    far = (width / step)[..., None]
    # The hat about each spaced angle, and those one turn before and after, which may reach in too.
    share = sum(
        _hat_below(far - away - turn) - _hat_below(-far - away - turn)
        for turn in (-float(bins), 0.0, float(bins))
    )
    return (logits.softmax(-1) * share).sum(-1).clamp(max=1.0)


def _hat_below(x: Tensor) -> Tensor:
    """Integral of the hat function of half-width 1 up to x."""
    x = x.clamp(-1.0, 1.0)
    return torch.where(x < 0.0, 0.5 * (1.0 + x).square(), 1.0 - 0.5 * (1.0 - x).square())


def _between(angles: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The spaced angle before, the one after, and the part of the way between them."""
    place = (angles + math.pi) * (bins / (2.0 * math.pi))
    low = place.floor()
    before = low.long() % bins
    return before, (before + 1) % bins, place - low


@final
@dataclass(frozen=True)
class AngleLoss:
    """Cross-entropy of the angles of the data, by the mean over those that are drawn.

    An angle counts for the two spaced ones that it lies between, by nearness: smoother than
    the density, of which it is a bound.

    Attributes:
        weight: of the loss.
    """

    weight: float = 0.5

    def __call__(
        self, predictions: Predictions, samples: Mapping[str, PathSample], batch: Batch
    ) -> dict[str, Tensor]:
        """Loss `[B]`, nats an angle."""
        logits = predictions.extras[LOGITS]
        log_probs = logits.log_softmax(-1)
        low, high, part = _between(samples[CHI].x1, logits.shape[-1])
        said = torch.lerp(
            log_probs.gather(-1, low[..., None])[..., 0],
            log_probs.gather(-1, high[..., None])[..., 0],
            part,
        )
        return {"angles": -self.weight * batch.layouts[CHI].free_mean_per_sample(said)}
