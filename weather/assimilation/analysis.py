r"""Analyses: states of the model's next step that agree with observations.

The diffusion head draws the next state from :math:`p(x_{n+1} \mid x_n, x_{n-1})`, the background.
Conditioned on observations of that state through `sciddiff.guidance.Posterior`, it draws from
:math:`p(x_{n+1} \mid x_n, x_{n-1}, y)`, an ensemble of analyses. The network works on the change r
over the step in units of its deviation s, so an observation of :math:`x = x_n + s\,r` becomes

.. math:: \frac{y - H x_n}{s} = H r + \frac{e}{s} .

The random numbers are those of the forecast, so that without observations an analysis is the
forecast itself. With a calibration, background and analysis are those of the calibrated law of the
step (`weather.assimilation.prior`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.guidance import Posterior
from sciddiff.state import Batch, State
from weather.assimilation.observations import Observations
from weather.assimilation.operator import PointOperator
from weather.assimilation.prior import CalibratedPrior
from weather.calibration.members import Calibration
from weather.forecast.forecaster import Forecaster, forecast_streams
from weather.forecast.netcdf import record_of
from weather.forecast.spec import ForecastSpec

__all__ = ["AssimilationSettings", "analyses", "background", "departures", "write_analyses"]


@final
@dataclass(frozen=True)
class AssimilationSettings:
    """How the head is conditioned; see `sciddiff.guidance.Posterior`.

    Attributes:
        iterations: Steps of conjugate gradients with the network's own covariance; 0: the
            diagonal approximation.
        gamma: Of the diagonal approximation.
        prior: Of the diagonal approximation, in units of the change over one step.
        seed: Of the ensemble.
        batch: Members made together.
        calibration: Of the model's step; None: as the model draws it.
    """

    iterations: int = 5
    gamma: float = 1.0
    prior: float = 1.0
    seed: int = 0
    batch: int = 4
    calibration: Calibration | None = None


def background(
    forecaster: Forecaster,
    frames: Tensor,
    start: Any,
    members: Sequence[int],
    settings: AssimilationSettings,
) -> Iterator[Tensor]:
    """Members of the forecast one step ahead, physical, a batch ``[b, C, H, W]`` at a time.

    Args:
        forecaster: A diffusion model.
        frames: States up to `start`: ``[F, C, H, W]``, or ``[M, F, C, H, W]`` for M members.
        start: Time of the last of them.
        members: Numbers of the members.
        settings: Seed and batch.
    """
    yield from _draw(forecaster, frames, start, members, settings, None)


def analyses(
    forecaster: Forecaster,
    frames: Tensor,
    start: Any,
    members: Sequence[int],
    observations: Observations,
    settings: AssimilationSettings,
) -> Iterator[Tensor]:
    """Members of the analysis one step ahead, physical, a batch ``[b, C, H, W]`` at a time.

    Args:
        forecaster: A diffusion model.
        frames: States up to `start`: ``[F, C, H, W]``, or ``[M, F, C, H, W]`` for M members.
        start: Time of the last of them.
        members: Numbers of the members.
        observations: Of the state one step later.
        settings: How to condition.

    Raises:
        InputError: The model is not a diffusion model.
    """
    if forecaster.head != "diffusion":
        raise InputError(
            f"head {forecaster.head}: cannot be conditioned on observations; use a diffusion model"
        )
    yield from _draw(forecaster, frames, start, members, settings, observations)


def departures(fields: Tensor, observations: Observations, spec: ForecastSpec) -> Tensor:
    """Observations minus what the fields say there, physical, ``[..., K]``.

    Args:
        fields: ``[..., C, H, W]``.
        observations: K of them.
        spec: Channels and grid.
    """
    operator = _operator(observations, spec)
    channel = torch.from_numpy(observations.channel)
    seen = operator(fields.double(), channel)
    return torch.from_numpy(observations.value).to(seen) - seen


def write_analyses(
    out: Path,
    members: NDArray[np.float32],
    valid: Sequence[Any],
    spec: ForecastSpec,
    attrs: Mapping[str, Any],
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write ensembles as forecasts of lead 0; they appear whole or not at all.

    Fewer times of the same request that are there already are replaced.

    Args:
        out: NetCDF file if it ends in ``.nc``, else a Zarr store.
        members: Physical, ``[T, M, C, H, W]``.
        valid: Times of the T analyses.
        spec: Channels and grid.
        attrs: Global attributes.
        record: What was asked for, and what came of it, to be kept where `record_of` tells.
    """
    import xarray

    from weather.forecast.ensemble import Plan, coordinates
    from weather.forecast.naming import DIMS, Layout

    count = members.shape[1]
    plan = Plan(tuple(valid), count, 1, count)
    coords: dict[str, Any] = {
        name: ((name,), values, about) for name, (values, about) in coordinates(plan, spec).items()
    }
    lead = coords["prediction_timedelta"]
    coords["prediction_timedelta"] = (lead[0], np.zeros_like(lead[1]), lead[2])
    fields = {
        name: (DIMS, members[:, :, None, c], about)
        for c, (name, about) in enumerate(Layout(spec.channels).arrays.items())
    }
    made = xarray.Dataset(fields, coords, {"Conventions": "CF-1.10", **attrs})
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    text = (json.dumps(dict(record or {}), indent=2, default=str) + "\n").encode("utf-8")
    if out.suffix == ".nc":
        made.to_netcdf(partial, engine="netcdf4")
        # The record comes first: it means nothing until the file is there.
        out.unlink(missing_ok=True)
        if record is not None:
            with replacing(record_of(out)) as file:
                file.write(text)
    else:
        made.to_zarr(partial, zarr_format=2, consolidated=True)
        if record is not None:
            record_of(partial).write_bytes(text)
        shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)


def _draw(
    forecaster: Forecaster,
    frames: Tensor,
    start: Any,
    members: Sequence[int],
    settings: AssimilationSettings,
    observations: Observations | None,
) -> Iterator[Tensor]:
    history = forecaster.initial(frames, members)
    valid = forecaster.spec.after(start, 1)
    for first in range(0, len(members), settings.batch):
        chosen = members[first : first + settings.batch]
        known = history[first : first + settings.batch]
        guide, prior = None, None
        if settings.calibration is not None:
            own = forecast_streams(settings.seed, start, chosen, 1, "mean of the step")
            mean = forecaster.mean(known, valid, own)
            prior = CalibratedPrior.about(mean, settings.calibration, forecaster.spec)
        if observations is not None:
            guide = _posterior(forecaster, known[:, -1], observations, settings, prior)
        streams = forecast_streams(settings.seed, start, chosen, 1)
        state = forecaster.step(known, valid, streams, guide)
        state = state if prior is None else prior(state)
        forecaster.check(state, 1, chosen)
        yield state


def _posterior(
    forecaster: Forecaster,
    now: Tensor,
    observations: Observations,
    settings: AssimilationSettings,
    prior: CalibratedPrior | None,
) -> Posterior:
    spec, device = forecaster.spec, forecaster.device
    operator = _operator(observations, spec)
    channel = torch.from_numpy(observations.channel).to(device)
    scale = torch.tensor(spec.tendency_std, dtype=torch.float64)[observations.channel].to(device)
    value = torch.from_numpy(observations.value).to(device)
    error = torch.from_numpy(observations.error).to(device)
    if prior is not None:  # what they say of the state that the model draws
        tau = prior.tau[channel]
        value, error = (value - operator(prior.shift, channel)) / tau, error / tau
    seen = operator(now.double(), channel)

    def observe(data: State, batch: Batch) -> Tensor:
        return operator(data["fields"], channel)

    return Posterior(
        observe,
        ((value - seen) / scale).float(),
        (error / scale).float(),
        gamma=settings.gamma,
        prior=settings.prior,
        iterations=settings.iterations,
    )


def _operator(observations: Observations, spec: ForecastSpec) -> PointOperator:
    grid = spec.area
    operator = PointOperator.build(grid.lat, grid.lon, observations.lat, observations.lon)
    vector = np.array([one.vector for one in spec.channels])
    return operator.signed(vector[observations.channel])
