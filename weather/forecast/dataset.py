"""Forecasts for scripts: from files to an xarray data set with coordinates, no file between.

    from weather.forecast.dataset import forecast

    ensemble = forecast("init.nc", members=8, days=5)
    ensemble["z500"].mean("number").sel(latitude=60, longitude=5, method="nearest")

The members are those that ``sciddiff forecast`` writes for the same options.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import MissingExtra
from weather.calibration.members import Calibration, calibration_of
from weather.calibration.origin import made_by
from weather.forecast.boundaries import open_future
from weather.forecast.ensemble import Block, Plan, coordinates
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import InitialState, read_initial
from weather.forecast.making import block_size, make_ensemble
from weather.forecast.naming import DIMS, Layout
from weather.forecast.solving import SamplingSettings
from weather.forecast.spec import ForecastSpec, Head

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from weather.forecast.perturb import Perturbation

__all__ = ["forecast"]


def forecast(
    initial: str | Path | Sequence[str | Path] | Sequence[InitialState],
    model: str | Forecaster | None = None,
    *,
    members: int = 20,
    days: float = 10.0,
    start: str | Sequence[str] | None = None,
    seed: int = 0,
    head: Head | None = None,
    sampling: SamplingSettings | None = None,
    perturbation: Perturbation | None = None,
    regrid: str | None = None,
    boundary: str | Path | None = None,
    prescribed: str | Path | None = None,
    calibration: str | Path | None = None,
    batch: int | None = None,
    device: torch.device | str = "cpu",
) -> xr.Dataset:
    """Forecast the weather.

    Args:
        initial: Files of the initial state, a prepared store, or states that were read before.
        model: Name of weights that ship, directory of a model, or a forecaster that is loaded
            already (which has a head and a device); by default the weights that ship.
        members: Size of the ensemble.
        days: Length of the forecast.
        start: Initial times in the files, or ``"all"``; by default the last one.
        seed: Seed of all draws.
        head: ``crps`` or ``diffusion``; by default as the model was trained.
        sampling: Steps and sampler of the diffusion head.
        perturbation: Of the initial states; by default none.
        regrid: Method to bring the files to the model's grid by.
        boundary: Parent forecast or analyses that prescribe the edges of a limited area, for
            models that are told them.
        prescribed: Forecast or analyses that prescribe channels, or ``"persistence"``, for models
            that are told them.
        calibration: File that ``sciddiff calibrate`` wrote, or ``"none"``; by default the model's
            own, where it has one that was fitted to forecasts made as this one.
        batch: Members that are made together; by default what memory allows.
        device: Where to compute.

    Returns:
        One variable a channel with the dimensions ``time`` (initial time), ``number``,
        ``prediction_timedelta``, ``latitude`` and ``longitude``, CF attributes, and the
        coordinate ``valid_time``.

    Raises:
        InputError: Files, model or options cannot be used; the message says what to do.
        MissingExtra: xarray is not installed.
    """
    forecaster = model if isinstance(model, Forecaster) else None
    if forecaster is None:
        from weather.pretrained import DEFAULTS

        name = str(model) if model is not None else DEFAULTS[head or "crps"]
        forecaster = Forecaster(name, device, head, sampling)
    spec = forecaster.spec
    states = _states(initial, spec, start, regrid)
    size = batch or block_size(forecaster, members)
    starts = tuple(state.time for state in states)
    plan = Plan(starts, members, spec.leads(days), min(size, members))
    memory = _Memory(plan, spec)
    edges = open_future(
        None if boundary is None else Path(boundary),
        None if prescribed is None else str(prescribed),
        spec,
        states,
        plan.leads,
    )
    # What is told of the forecast is what its record would hold.
    meta, told = forecaster.model.meta, {"head": forecaster.head}
    told |= {"perturb": "none"} if perturbation is None else perturbation.plain
    if forecaster.head == "diffusion":
        told |= {"steps": forecaster.sampling.steps, "sampler": forecaster.sampling.sampler}
    told |= {} if boundary is None else {"boundary": str(boundary)}
    told |= {} if prescribed is None else {"prescribed": str(prescribed)}
    chosen, _ = calibration_of(meta, calibration, made_by(meta, told))
    make_ensemble(forecaster, states, memory, plan.blocks(), seed, perturbation, boundaries=edges)
    if chosen is not None:
        memory.calibrate(chosen)
    return _dataset(memory, forecaster, seed)


def _states(
    initial: Any, spec: ForecastSpec, start: str | Sequence[str] | None, regrid: str | None
) -> Sequence[InitialState]:
    if not isinstance(initial, str | Path) and all(isinstance(x, InitialState) for x in initial):
        return list(initial)
    starts = [start] if isinstance(start, str) else start
    return read_initial(initial, spec, starts, regrid)


@final
class _Memory:
    """Where `make_ensemble` puts its fields: arrays in memory, by channel."""

    def __init__(self, plan: Plan, spec: ForecastSpec) -> None:
        self.plan, self.spec, self.span = plan, spec, 1
        shape = (len(plan.starts), plan.members, plan.leads, *spec.shape)
        self.fields = {name: np.empty(shape, dtype=np.float32) for name in spec.names}

    def write(self, block: Block, lead: int, values: NDArray[np.float32]) -> None:
        """Take some leads of a block, `[leads, members, C, H, W]`."""
        members = slice(block.members.start, block.members.stop)
        for c, name in enumerate(self.spec.names):
            leads = slice(lead, lead + len(values))
            self.fields[name][block.start, members, leads] = values[:, :, c].swapaxes(0, 1)

    def finish(self, block: Block) -> None:
        """Nothing is recorded."""

    def calibrate(self, calibration: Calibration) -> None:
        """Calibrate what is held, when all members are there."""
        step = round(3600 * self.spec.step_hours)
        leads = [step * n for n in range(1, self.plan.leads + 1)]
        for channel in self.spec.channels:
            for members in self.fields[channel.name]:  # of one initial time, [M, L, H, W]
                members[:] = calibration.apply(channel.name, leads, members)
                if channel.positive:
                    np.maximum(members, 0.0, out=members)


def _dataset(memory: _Memory, forecaster: Forecaster, seed: int) -> xr.Dataset:
    try:
        import xarray as xr
    except ImportError as error:
        raise MissingExtra("xarray", "weather") from error
    plan, spec = memory.plan, memory.spec
    coords: dict[str, Any] = {
        name: ((name,), values, about) for name, (values, about) in coordinates(plan, spec).items()
    }
    coords["time"] = (("time",), _dates(plan.starts), {"long_name": "initial time"})
    hours = coords["prediction_timedelta"][1]
    seconds = np.round(np.asarray(hours) * 3600.0).astype(np.int64)
    leads = seconds.astype("timedelta64[s]").astype("timedelta64[ns]")
    coords["prediction_timedelta"] = (("prediction_timedelta",), leads, {"long_name": "lead time"})
    valid = [[spec.after(t, n + 1) for n in range(plan.leads)] for t in plan.starts]
    flat = _dates([date for row in valid for date in row])
    coords["valid_time"] = (("time", "prediction_timedelta"), flat.reshape(len(valid), -1))
    arrays = Layout(spec.channels).arrays
    fields = {name: (DIMS, memory.fields[name], about) for name, about in arrays.items()}
    attrs = {"title": "Ensemble forecast", "head": forecaster.head, "seed": seed}
    return xr.Dataset(fields, coords, {"Conventions": "CF-1.10", **attrs})


def _dates(times: Sequence[Any]) -> NDArray[Any]:
    """Dates as xarray keeps them: `datetime64[ns]`, or `cftime` objects."""
    if isinstance(times[0], np.datetime64):
        return np.asarray(times).astype("datetime64[ns]")
    dates = np.empty(len(times), dtype=object)
    dates[:] = list(times)
    return dates
