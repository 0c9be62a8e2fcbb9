"""Denoising: the objective of diffusion and flow matching, on any path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

import torch
from torch import Tensor

from sciddiff import times as time_laws
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import time_dtype
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.couplings import Coupling, Independent
from sciddiff.objectives.weightings import Flat, Weighting, weighting_of
from sciddiff.paths.base import PathSample
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Predictions
from sciddiff.state import Batch, State
from sciddiff.streams import Generator, uniform_per_sample

__all__ = ["Corrupted", "Denoising", "ExtraLoss", "LabelDropout"]


class ExtraLoss(Protocol):
    """A domain's own loss, added to those of the paths."""

    def __call__(
        self, predictions: Predictions, samples: Mapping[str, PathSample], batch: Batch
    ) -> dict[str, Tensor]:
        """Named losses of each sample, ``[B]`` each, already weighted."""
        ...


@final
@dataclass(frozen=True)
class LabelDropout:
    """Hide a condition now and then, so that the network also learns to do without it.

    This is what classifier-free guidance needs (Ho & Salimans, 2022).

    Attributes:
        null: The value that says "no label".
        probability: How often a sample's label is replaced by it.
    """

    null: float
    probability: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise InputError(f"LabelDropout.probability: {self.probability} is not in [0, 1]")


@final
@dataclass(frozen=True, eq=False)
class Corrupted:
    """A batch on its way, as a network sees it.

    Attributes:
        samples: Where each leaf is, comes from and goes.
        t: Times ``[B]``, or such times by leaf.
        batch: The batch, with the conditions that the network is shown.
    """

    samples: Mapping[str, PathSample]
    t: Tensor | dict[str, Tensor]
    batch: Batch

    @property
    def x_t(self) -> State:
        """The state, one tensor per leaf."""
        return {name: sample.x_t for name, sample in self.samples.items()}


@final
@dataclass(frozen=True)
class Denoising(Objective):
    """Corrupt data to a random time, and learn to say where it came from.

    The loss of a sample is, summed over leaves, ``weight * weighting(t) *`` the mean of the path's
    loss over the real, free rows; padding and fixed rows do not count.

    Attributes:
        times: Law of the training time; a mapping by leaf lets leaves keep their own, drawn
            independently of each other (leaves left out follow the uniform law). The name of
            another leaf in the place of a law shares the time of that leaf.
        weights: Weight of each leaf; 1 if left out.
        weighting: Weight by noise level, for all leaves or by leaf (1 if left out): a `Weighting`
            or ``"uniform"``, ``"edm"``, ``"velocity"``, ``"elbo"``.
        coupling: Which noise goes with which data.
        self_conditioning: Probability that a batch is first predicted without gradients, and the
            predicted data given to the network as ``batch.cond["self_condition"]``, a state.
        label_dropout: By key of ``batch.cond``.
        extra_losses: Losses of the domain.
        low_discrepancy: Stratify times over the batch.

    >>> from sciddiff import Denoiser, GaussianPath
    >>> class Nothing(torch.nn.Module):
    ...     def forward(self, x_t, t, batch):
    ...         return {"x": torch.zeros_like(x_t["x"])}
    >>> denoiser = Denoiser(Nothing(), {"x": GaussianPath()})
    >>> batch = Batch({"x": torch.ones(4, 2)})
    >>> Denoising()(denoiser, batch, torch.Generator().manual_seed(0)).loss  # (1 - 0)^2
    tensor(1.)
    """

    times: time_laws.TimeLaw | dict[str, time_laws.TimeLaw | str] = field(
        default_factory=time_laws.Uniform
    )
    weights: dict[str, float] = field(default_factory=dict)
    weighting: Weighting | str | dict[str, Weighting | str] = "uniform"
    coupling: Coupling = field(default_factory=Independent)
    self_conditioning: float = 0.0
    label_dropout: dict[str, LabelDropout] = field(default_factory=dict)
    extra_losses: Sequence[ExtraLoss] = ()
    low_discrepancy: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.self_conditioning <= 1.0:
            raise InputError(
                f"Denoising.self_conditioning: {self.self_conditioning} is not in [0, 1]"
            )
        chosen = self.weighting.values() if isinstance(self.weighting, dict) else [self.weighting]
        for weighting in chosen:
            weighting_of(weighting)

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
            batch: Data.
            generator: Random source of times, noise, dropped labels and self-conditioning.
            teacher: Not used.

        Raises:
            InputError: A label to drop is not in ``batch.cond``, or a weight names no leaf.
        """
        noised = self.corrupt(denoiser, batch, generator)
        predictions = denoiser(noised.x_t, noised.t, noised.batch)
        rows = denoiser.path.loss(predictions, noised.samples, batch.layouts)
        return self.reduce(denoiser.path, rows, predictions, noised)

    def corrupt(self, denoiser: Denoiser, batch: Batch, generator: Generator | None) -> Corrupted:
        """Bring a batch to random times, with labels dropped and a self-condition at times.

        Args:
            denoiser: Gives the path, and predicts first where a prediction is fed back.
            batch: Data.
            generator: Random source of times, noise, dropped labels and self-conditioning.

        Raises:
            InputError: As for a call.
        """
        path = denoiser.path
        self._check(denoiser)
        t = self._draw_times(path, batch, generator)
        batch = self._drop_labels(batch, generator)
        x0 = self.coupling(path, batch, generator)
        samples = path.sample(batch.x, t, generator, x0, batch.layouts)
        x_t = {name: sample.x_t for name, sample in samples.items()}
        return Corrupted(samples, t, self._self_condition(denoiser, x_t, t, batch, generator))

    def _check(self, denoiser: Denoiser) -> None:
        by_leaf = [own for own in (self.weighting, self.times) if isinstance(own, dict)]
        for name in [*self.weights, *(name for own in by_leaf for name in own)]:
            if name not in denoiser.path.paths:
                known = ", ".join(denoiser.path.paths)
                raise InputError(
                    f"Denoising: weight or times for unknown leaf {name!r}; leaves: {known}"
                )
        for name, law in self.times.items() if isinstance(self.times, dict) else ():
            if isinstance(law, str) and (law not in denoiser.path.paths or self._shares(law)):
                raise InputError(
                    f"Denoising.times: leaf {name!r} shares the time of {law!r}, which has no law "
                    "of its own; name a leaf that has"
                )

    def _shares(self, name: str) -> bool:
        """Whether a leaf has the time of another."""
        return isinstance(self.times, dict) and isinstance(self.times.get(name), str)

    def _draw_times(
        self, path: ProductPath, batch: Batch, generator: Generator | None
    ) -> Tensor | dict[str, Tensor]:
        """Times ``[B]``, or by leaf, in a type that follows no leaf of integers."""

        def draw(law: time_laws.TimeLaw) -> Tensor:
            dtype = time_dtype(batch.x)
            stratified = self.low_discrepancy
            return time_laws.draw(law, batch.size, generator, stratified, dtype, batch.device)

        if not isinstance(self.times, dict):
            return draw(self.times)
        laws = {name: self.times.get(name, time_laws.Uniform()) for name in path.paths}
        own = {name: draw(law) for name, law in laws.items() if not isinstance(law, str)}
        return {name: own[law if isinstance(law, str) else name] for name, law in laws.items()}

    def _drop_labels(self, batch: Batch, generator: Generator | None) -> Batch:
        changed = {}
        for key, dropout in self.label_dropout.items():
            if key not in batch.cond:
                raise InputError(
                    f"Denoising.label_dropout: no condition {key!r} in the batch; "
                    f"it has {', '.join(batch.cond) or 'none'}"
                )
            label = batch.cond[key]
            u = uniform_per_sample(batch.size, generator, torch.float64, label.device)
            drop = (u < dropout.probability).reshape(-1, *(1,) * (label.ndim - 1))
            changed[key] = torch.where(drop, torch.full_like(label, dropout.null), label)
        return batch.with_cond(**changed) if changed else batch

    def _self_condition(
        self,
        denoiser: Denoiser,
        x_t: State,
        t: Tensor | dict[str, Tensor],
        batch: Batch,
        generator: Generator | None,
    ) -> Batch:
        if self.self_conditioning == 0.0:
            return batch
        # One coin for the batch: a network cannot be run on half of it.
        coin = uniform_per_sample(batch.size, generator, torch.float64)[0]
        if float(coin) >= self.self_conditioning:
            return batch
        with torch.no_grad():
            first = denoiser(x_t, t, batch)
        data = {name: prediction.data.detach() for name, prediction in first.items()}
        return batch.with_cond(self_condition=data)

    def _weighting(self, name: str) -> Weighting:
        if isinstance(self.weighting, dict):
            return weighting_of(self.weighting.get(name, "uniform"))
        return weighting_of(self.weighting)

    def reduce(
        self,
        path: ProductPath,
        rows: Mapping[str, Tensor],
        predictions: Predictions,
        noised: Corrupted,
    ) -> LossOutput:
        """The loss of a batch, from those of its rows and of the domain.

        Args:
            path: One path per leaf.
            rows: Loss of every row of each leaf, ``[B, ...]`` or ragged ``[rows, ...]``.
            predictions: What the network said.
            noised: What it said it about.
        """
        samples, batch = noised.samples, noised.batch
        metrics, terms = {}, []
        for name, loss in rows.items():
            plain = batch.layouts[name].free_mean_per_sample(loss)
            metrics[f"loss/{name}"] = plain.detach().mean()
            own, weighting = self.weights.get(name, 1.0), self._weighting(name)
            if own == 1.0 and isinstance(weighting, Flat):
                terms.append(plain.to(time_dtype(batch.x)))
            else:
                terms.append(own * weighting(samples[name].t, path[name]) * plain)
        total = sum(terms[1:], terms[0])
        for extra in self.extra_losses:
            for name, loss in extra(predictions, samples, batch).items():
                metrics[f"loss/{name}"] = loss.detach().mean()
                total = total + loss
        loss = total.mean()
        metrics["loss"] = loss.detach()
        return LossOutput(loss, metrics, total.detach())
