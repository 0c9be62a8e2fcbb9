"""The forecast domain: what the shared core needs to know to learn and draw the next state.

A state has one leaf, `fields [B, C, H, W]`: the change of every channel over one step, in units
of its standard deviation.  It travels on a straight Gaussian path.  The same network learns either
way to draw,

* `diffusion`: denoising along the path, many network calls a step; with the preconditioning of
  Karras et al. (2022), or, as flow matching, of the velocity (Lipman et al. 2023);
* `crps`: one call from pure noise, learned by a proper score (Lang et al. 2024; Alet et al. 2025),

both weighted by area and by channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.noise import NoiseLaw, White
from sciddiff.objectives import Denoising, Objective, ProperScore, Rollout, ScoreTerm
from sciddiff.paths import GaussianPath, ProductPath
from sciddiff.prediction import Parametrization
from sciddiff.samplers import Ancestral
from sciddiff.schedules import Linear
from sciddiff.state import Batch, State
from weather.data.rectangles import Rectangle
from weather.forecast.advance import FIELDS, advance
from weather.forecast.boundaries import strip
from weather.forecast.spec import HEADS, ForecastSpec, Head
from weather.forecast.spectral import CosineCoefficients, SpectralCoefficients
from weather.forecast.training import NO_DATA, ForecastData, ForecastDataSettings
from weather.nets.linear import LinearStep

__all__ = ["CHANNEL_WEIGHTS", "ForecastDomain"]

CHANNEL_WEIGHTS = {"z500": 1.2, "mslp": 1.2, "q": 0.6, "tas": 0.8, "tp": 0.4}
"""Weight of a channel in the loss, by its name or its variable's; 1 where it is not named."""


_PRESCRIBED = 0.1
"""Weight of a prescribed channel in the loss of the diffusion head."""

SPECTRAL_SAMPLE = 64
"""Residuals that tell the usual size of spherical-harmonic coefficients."""


class ForecastDomain(Domain):
    """Learns and draws the fields of the globe or of a limited area one step ahead.

    Args:
        data: Training data; only `train` needs them.
        head: How the model learns to draw.
        sigma_data: Standard deviation of the residual, one or one per channel; for `edm`.
        weights: Weight of channels in the loss, by name or variable; added to `CHANNEL_WEIGHTS`.
        noise: Law of the noise; None: independent at every point of the grid.
        members: Draws that are scored together, head `crps`.
        alpha: 1: fair score, below: almost fair.
        spectral: Weight of the score of spherical-harmonic coefficients, all degrees alike, or of
            cosine coefficients on a limited area (see `weather.forecast.spectral`), head `crps`.
        rollout: Law of the number of steps practised in a row, head `crps`: {steps: probability}.
        parametrization: What the network's output is: `edm`, or `velocity` for flow matching.
        spread: Factor of the noise that forecasts start from; above 1 it widens
            ensembles that are too sure. Choose it on days kept aside; training does without.
        conserve: Channels whose area mean a forecast keeps from step to step, such as `mslp`:
            the mass of the air does not change.
        relax: Whether area means return to their season as fast as those of the data: keeps
            forecasts of months from drifting, in a climate that does not change.
        boundary: Rows and columns along the edges of a limited area whose next state is given
            to the network, by a parent forecast or by analyses; 0 for open boundaries.
        prescribed: Channels or variables whose next state is given to the network everywhere,
            such as `sst`, among its forcings (`net.forcings` counts them too).
    """

    name = "forecast"

    def __init__(
        self,
        data: ForecastDataSettings = NO_DATA,
        head: Head = "diffusion",
        sigma_data: float | list[float] = 1.0,
        weights: dict[str, float] | None = None,
        noise: NoiseLaw | None = None,
        members: int = 2,
        alpha: float = 0.95,
        spectral: float = 0.0,
        rollout: dict[int, float] | None = None,
        parametrization: Literal["edm", "velocity"] = "edm",
        spread: float = 1.0,
        conserve: list[str] | None = None,
        relax: bool = False,
        boundary: int = 0,
        prescribed: list[str] | None = None,
    ) -> None:
        if not spread > 0:
            raise InputError(f"domain.spread {spread}: must be positive; 1 leaves the noise as is")
        if head not in HEADS:
            raise InputError(f"domain.head {head!r}: unknown; use {' or '.join(HEADS)}")
        if parametrization not in ("edm", "velocity"):
            raise InputError(
                f"domain.parametrization {parametrization!r}: unknown; use edm, or velocity for "
                "flow matching"
            )
        self.parametrization: Parametrization = parametrization
        self.data, self.head, self.sigma_data = data, head, sigma_data
        self.weights = {**CHANNEL_WEIGHTS, **(weights or {})}
        self.noise, self.members, self.alpha = noise or White(), members, alpha
        self.spectral, self.rollout = spectral, rollout or {1: 1.0}
        self.spread, self.conserve = spread, list(conserve or ())
        self.relax, self.boundary, self.prescribed = relax, boundary, list(prescribed or ())

    def path(self) -> ProductPath:
        """Return the straight Gaussian path."""
        return self._path(torch.ones(1, 1, 1))

    def training_path(self) -> ProductPath:
        """Return the same path, whose loss weighs entries by area and channel.

        A model that only forecasts never looks for the data it was trained on: a folder of that
        name may hold something else.
        """
        return self._path(self.loss_weight())

    def _path(self, weight: Tensor) -> ProductPath:
        sigma: float | Tensor
        if isinstance(self.sigma_data, list):
            sigma = torch.tensor(self.sigma_data).view(-1, 1, 1)
        else:
            sigma = self.sigma_data
        path = GaussianPath(
            Linear(),
            noise=self.noise,
            parametrization=self.parametrization,
            sigma_data=sigma,
            loss_weight=weight,
        )
        return ProductPath({FIELDS: path})

    def loss_weight(self) -> Tensor:
        """Return area times channel with mean 1, `[C, H, 1]`.

        With a prescribed boundary it is `[C, H, W]`, and 0 on the strip.
        """
        by_channel = self._channel_weights()
        area = torch.from_numpy(np.array(self._data.grid.weights)).float()
        weight = (by_channel / by_channel.mean())[:, None, None] * area[None, :, None]
        if self.boundary:
            weight = weight * (1.0 - strip(self._data.grid, self.boundary))
        return weight / weight.mean()

    def _channel_weights(self) -> Tensor:
        spec = self._data.spec
        weights = torch.tensor(
            [
                self.weights.get(channel.name, self.weights.get(channel.variable, 1.0))
                for channel in spec.channels
            ]
        )
        # Nothing of a prescribed channel is left to learn. A path from noise has to end at 0
        # there all the same, as in training, since the network reads the way.
        weights[spec.known] = _PRESCRIBED if self.head == "diffusion" else 0.0
        return weights

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Yield batches of the training period."""
        return self._data.train_batches(epoch, seed, rank, world)

    def fit(self, net: nn.Module) -> None:
        """Fit the linear forecast of a network that has one to the training period."""
        linear = getattr(net, "linear", None)
        if isinstance(linear, LinearStep):
            linear.fit(self._data.training_windows(), torch.from_numpy(self._data.grid.weights))

    def val_batches(self) -> Iterable[Batch]:
        """Yield batches of the last days of the data, which training leaves out."""
        return self._data.val_batches()

    def objective(self) -> Objective:
        """Return the objective by which the head learns.

        Raises:
            InputError: Forecasts shall relax to a season that the data do not tell.
        """
        if self.relax and not self._data.spec.seasons:
            raise InputError(
                f"domain.relax: {self.data.store} covers less than a year without the days held "
                "out; set it to false, or prepare more data"
            )
        if self.head == "diffusion":
            return Denoising()
        terms: list[ScoreTerm] = []
        if self.spectral > 0.0:
            grid, weights = self._data.grid, self._channel_weights()
            sample = self._data.residuals(SPECTRAL_SAMPLE)
            transform = (
                CosineCoefficients(sample, weights)
                if isinstance(grid, Rectangle)
                else SpectralCoefficients(sample, grid, weights)
            )
            terms.append(ScoreTerm(transform, self.spectral, name="spectrum"))
        several = max(self.rollout) > 1
        step = partial(advance, known=self._data.spec.known) if self.prescribed else advance
        return ProperScore(
            members=self.members,
            alpha=self.alpha,
            terms=terms,
            rollout=Rollout(step, self.rollout) if several else None,
        )

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Return templates of single steps.

        Fields: `init` (file of the initial state), `model` (directory whose statistics and grid
        are meant; default those of the training data), `n` (draws), `start` (initial time). For
        whole forecasts there is `sciddiff forecast`.
        """
        from sciddiff.checkpoint import describe
        from weather.forecast.initial import read_initial
        from weather.forecast.single import templates

        known = {"init", "model", "n", "start"}
        for key in request:
            if key not in known:
                raise InputError(
                    f"request field {key}: unknown; use one of {', '.join(sorted(known))}"
                )
        if "init" not in request:
            raise InputError("request field init: missing; give the file of the initial state")
        model, start = request.get("model"), request.get("start")
        spec = self.spec if model is None else ForecastSpec.from_meta(describe(str(model)))
        files = [Path(str(request["init"]))]
        states = read_initial(files, spec, None if start is None else [str(start)])
        return templates(spec, states, int(request.get("n", 1)))

    def drawing(self) -> Drawing:
        """Draw one step as `sciddiff forecast` does: in one call, or in ten by diffusion."""
        from weather.forecast.solving import SamplingSettings

        if self.head == "crps":
            return Drawing(Ancestral(0.0), uniform(1), prior_scale=self.spread)
        settings, path = SamplingSettings(), self.path().paths[FIELDS]
        if not isinstance(path, GaussianPath):
            raise TypeError(f"{FIELDS}: travels on {type(path).__name__}, not on a GaussianPath")
        return Drawing(settings.build(), settings.times(path), prior_scale=self.spread)

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Write one NumPy archive for every sample: the state one step on."""
        from weather.forecast.single import write_states

        return write_states(batch, x, directory)

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Score a folder of samples of one time: fair CRPS and error of the mean, by channel."""
        from weather.forecast.single import evaluate_states

        return evaluate_states(directory, reference)

    def provenance(self) -> dict[str, Any]:
        """Return the `ForecastSpec` of the training data, as plain values."""
        return {**self._data.spec.to_plain(), "head": self.head, "boundary": self.boundary}

    @property
    def spec(self) -> ForecastSpec:
        """Channels, statistics and grid of the training data."""
        return self._data.spec

    @cached_property
    def _data(self) -> ForecastData:
        steps = max(self.rollout) if self.head == "crps" else 1
        return ForecastData(self.data, steps, self.boundary, self.prescribed)
