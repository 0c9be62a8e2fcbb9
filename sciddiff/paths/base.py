"""Path: how one leaf of a state travels from noise (t = 0) to data (t = 1).

A new kind of data is a new subclass of `Path`, with a `Prediction` of its own if none fits:
nothing else in this package asks what kind of path a leaf is on. Five methods have no default:
`prior`, `sample`, `predict`, `loss` and `step`. The others say what a path can do beyond them:
second-order steps need `levels`, guidance by gradients needs `from_score`, a likelihood needs
`log_prior`.

Every method takes the leaf's `Layout`, which says how its rows are grouped in samples; None means
a dense leaf without padding. Times of training are ``[B]``, one per sample; times of a step are
numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.manifolds.base import Manifold
from sciddiff.paths.laws import Lawful
from sciddiff.paths.move import FreshNoise, LeafStage, Move, natural_share
from sciddiff.paths.path_sample import PathSample
from sciddiff.prediction import Prediction
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["Path", "PathSample"]


class Path(Lawful, ABC):
    """The probability path of one leaf.

    Attributes:
        manifold: Where the leaf lives; None for leaves that are not points of a manifold (tokens).
        prior_scale: Standard deviation of the noise in units of the data.
        numeric_times: Whether `net_input` and `predict` take a number as the time of all samples.
        jumps: Whether there is a flow map: `jump` and `arriving`.
        uses_noise: Whether `sample` goes through the noise it is given. A walk that starts from
            the data does not, and then noise cannot be paired with data.
    """

    manifold: Manifold | None = None
    prior_scale: float = 1.0
    numeric_times = False
    uses_noise = True
    jumps = False

    # Training.

    @abstractmethod
    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """Draw noise x0 in the shape, type and device of ``like``."""

    @abstractmethod
    def sample(
        self,
        x1: Tensor,
        t: Tensor,
        generator: Generator | None,
        x0: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PathSample:
        """Corrupt data: draw the state at time t given where it ends.

        Args:
            x1: Data, ``[B, ...]`` or ragged ``[rows, ...]``. Fixed rows of the layout stay at it.
            t: ``[B]``.
            generator: Random source; may be None when nothing is left to draw.
            x0: Noise to start from; drawn from the prior if None.
            layout: How the rows are grouped in samples.
        """

    def net_input(self, x_t: Tensor, t: Any, layout: Layout | None = None) -> Tensor:
        """What the network should see of the state; the state itself unless a path scales it.

        Args:
            x_t: The state.
            t: Times ``[B]``, or a number if the path says so (``numeric_times``).
            layout: How the rows are grouped in samples.
        """
        return x_t

    @abstractmethod
    def predict(
        self, raw: Tensor, x_t: Tensor, t: Any, layout: Layout | None = None
    ) -> Prediction:
        """Interpret the raw output of a network. It is cast to the type of ``x_t``.

        Args:
            raw: What the network returned.
            x_t: The state it saw.
            t: Times ``[B]``, or a number if the path says so (``numeric_times``).
            layout: How the rows are grouped in samples.
        """

    @abstractmethod
    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Unreduced loss of each row, ``[B, ...]`` or ragged ``[rows, ...]``."""

    def match(
        self, prediction: Prediction, target: Prediction, layout: Layout | None = None
    ) -> Tensor:
        """Unreduced loss of a prediction against another one about the same state, like `loss`.

        By default the data of the target are taken for the truth. Paths whose predictions say more
        than data compare that.

        Args:
            prediction: What the network that learns said.
            target: What it should have said, such as a teacher's prediction; its time is ``[B]``.
            layout: How the rows are grouped in samples.
        """
        x_t, t = target.x_t, torch.as_tensor(target.t)
        return self.loss(prediction, PathSample(x_t, x_t, target.data, t), layout)

    def entry_weight(self, like: Tensor) -> Tensor | None:
        """Weight of each entry of a leaf ``like`` in losses and scores; None if it is 1."""
        return None

    # Geometry.

    @property
    def flat(self) -> bool:
        """Whether entries add up: the coordinates of predictions are data, errors differences."""
        return self.manifold is not None and not self.manifold.compact

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Return ``x`` to the manifold, but leave samples with fixed rows in their frame.

        Fixed rows are the frame of reference of their sample: centring it would move the free rows
        away from them.
        """
        if self.manifold is None:
            return x
        return self._in_frame(x, self.manifold.project(x, layout), layout)

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """Project ``v`` on the tangent space at ``x``, by the rule of `project` for frames."""
        if self.manifold is None:
            return v
        return self._in_frame(v, self.manifold.project_tangent(x, v, layout), layout)

    def _in_frame(self, free: Tensor, projected: Tensor, layout: Layout | None) -> Tensor:
        coupled = self.manifold is not None and self.manifold.couples_rows
        if not coupled or layout is None or layout.any_fixed is None:
            return projected
        return torch.where(layout.spread(layout.any_fixed, free), free, projected)

    # Sampling.

    @property
    def sampling_path(self) -> Path:
        """The path on which samplers move, for paths that travel otherwise in training."""
        return self

    @property
    def first_time(self) -> float:
        """Earliest time at which what the network says determines the data; walks start there."""
        return 0.0

    @property
    def ends_clean(self) -> bool:
        """Whether the state at t = 1 is data; otherwise a walk ends with `finish`."""
        return True

    def first_state(self, noise: Tensor) -> Tensor:
        """The state at `first_time` made of noise of the prior, in the shape of the leaf."""
        return noise

    def scale_noise(self, noise: Tensor, scale: float) -> Tensor:
        """Noise of the prior at another temperature; laws without a scale stay as they are."""
        return noise

    def noised(
        self,
        x1: Tensor,
        t: Tensor,
        noise: Tensor,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Data of fixed rows on their way from given noise, at times ``t [B]``, in their frame."""
        free = None if layout is None else replace(layout, fixed=None)
        return self.sample(x1, t, generator, noise, free).x_t

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor] | None:
        """Signal and noise level while sampling, float64 like ``t [...]``; None if it has none.

        A path with levels takes steps of second order, by the weights of its solver. One without
        moves by the latest prediction of a step.
        """
        return None

    def time_at(self, log_snr: float) -> float | None:
        """The time at which ``log(alpha / sigma)`` has a value; None if the path cannot tell."""
        return None

    @abstractmethod
    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """The state at the end of a step.

        Args:
            move: The step.
            generator: Random source; may be None if the move has no fresh noise and the path draws
                none of its own.
            layout: How the rows are grouped in samples.
        """

    @final
    def transition(
        self,
        x_t: Tensor,
        prediction: Prediction,
        t: float,
        s: float,
        eta: float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Draw the state at a later time, by one first-order `step`.

        Args:
            x_t: State at t.
            prediction: What the network said about it.
            t: Present time.
            s: Later time.
            eta: Share of fresh noise: 0 is deterministic, 1 forgets all that can be forgotten.
            generator: Random source; may be None if ``eta`` is 0.
            layout: How the rows are grouped in samples.
        """
        found = self.levels(torch.tensor([t, s], dtype=torch.float64))
        if found is None:
            stage = LeafStage(x_t, prediction, t)
            return self.step(Move((stage,), s, noise=FreshNoise(eta)), generator, layout)
        (alpha, alpha_s), (sigma, sigma_s) = (level.tolist() for level in found)
        start, end = (alpha, sigma), (alpha_s, sigma_s)
        noise = FreshNoise.replacing(eta * natural_share(start, end), eta) if eta > 0.0 else None
        stage = LeafStage(x_t, prediction, t, start)
        return self.step(Move((stage,), s, noise=noise, end=end), generator, layout)

    def renoise(
        self,
        x: Tensor,
        start: tuple[float, float],
        earlier: tuple[float, float],
        scale: float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Go back to an earlier time by adding noise of ``scale`` times the due size.

        Args:
            x: The state.
            start: Its signal and noise level.
            earlier: Those of the earlier time.
            scale: Factor of the noise; 1 keeps the marginals.
            generator: Random source.
            layout: How the rows are grouped in samples.

        Raises:
            InputError: The path cannot.
        """
        raise InputError(
            f"{type(self).__name__}: cannot add noise back; set churn = 0, or use EulerMaruyama"
        )

    def finish(self, prediction: Prediction, layout: Layout | None = None) -> Tensor:
        """The data, from what the network says at t = 1; for paths that do not end clean."""
        return prediction.data

    # Flow maps, from one time of the flow to any later one.

    def jump(
        self, prediction: Prediction, s: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """Where a prediction leads by a later time, ``[B]`` or a number: a first-order `step`.

        Raises:
            InputError: The leaf does not flow.
        """
        raise self._no_map()

    def arriving(
        self, prediction: Prediction, x_s: Tensor, s: LeafTime, layout: Layout | None = None
    ) -> Prediction:
        """The prediction about the same state whose `jump` to the later time ends in ``x_s``.

        Raises:
            InputError: The leaf does not flow.
        """
        raise self._no_map()

    def _no_map(self) -> InputError:
        return InputError(
            f"{type(self).__name__}: does not flow, so that it has no flow map; let its leaf "
            "learn by Denoising"
        )

    # Rows that are unknown until they are revealed.

    def hidden(self, x: Tensor) -> Tensor | None:
        """Which rows of a state are still unknown, bool; None if the path reveals none."""
        return None

    def hide(self, x1: Tensor, rows: Tensor) -> Tensor:
        """Data with some rows unknown.

        Args:
            x1: Data.
            rows: True for the rows to hide, bool.

        Raises:
            InputError: The path has no such state.
        """
        raise InputError(
            f"{type(self).__name__}: cannot hide rows; this needs a path that masks tokens"
        )

    # Guidance and likelihood.

    def from_score(
        self, change: Tensor, t: float | Tensor, layout: Layout | None = None
    ) -> Tensor:
        """Change of the coordinates of a prediction if the score of the state changes.

        Args:
            change: Change of the score, a tangent vector at the state.
            t: Time, a number or ``[B]``.
            layout: How the rows are grouped in samples.

        Raises:
            InputError: The path has no score.
        """
        raise InputError(
            f"{type(self).__name__}: has no score, so no gradient guides it; leave its leaf out"
        )

    def enter(
        self, x1: Tensor, t: float, layout: Layout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data as the state of a flow at a late time, and the logarithm of the change of volume.

        Args:
            x1: Data.
            t: The time, at or before 1.
            layout: How the rows are grouped in samples.

        Returns:
            The state, and ``[B]`` nats to add to its log-density.
        """
        return x1, x1.new_zeros(x1.shape[0] if layout is None else layout.size)

    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Log-density in nats of the state at t = 0, ``[B]``; compact: w.r.t. the uniform law.

        Raises:
            InputError: The path has none.
        """
        raise InputError(
            f"{type(self).__name__}: has no density; a bound of it is what sciddiff.elbo estimates"
        )

    def bound_weight(self, t: Tensor) -> Tensor:
        """Weight ``[B]`` that makes the loss, added over rows, a term of a bound in nats.

        Args:
            t: Times, ``[B]``.

        Raises:
            InputError: No weight does.
        """
        raise InputError(
            f"{type(self).__name__}: no weight makes its loss a bound; use weighting 'uniform'"
        )

    def log_prob_bound(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """One term of a lower bound of the log-probability of the data, nats ``[B]``.

        Its mean over t uniform in (0, 1) and over the states at t is the bound.

        Raises:
            InputError: The path has none; one with a density needs none.
        """
        raise InputError(
            f"{type(self).__name__}: has no bound of its own; use sciddiff.log_prob"
        )
