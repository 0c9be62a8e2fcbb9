"""``sciddiff assimilate``: an ensemble of analyses from a model and scattered observations."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_device, add_json, add_seed, count, pick_device
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from weather.assimilation.observations import Observations
    from weather.forecast.forecaster import Forecaster

_EXAMPLES = """examples:
  sciddiff assimilate before.nc --observations obs.csv --members 20 -o analysis.zarr
  sciddiff assimilate control.nc --start 0001-10-08 --observations obs.csv -o analysis.nc

obs.csv: a header "variable,lat,lon,value,error" and optionally "units,time", then a line for each
observation of the state one step of the model after the start.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("initial", type=Path, nargs="+", metavar="FILE",
        help="states before the observations, as for sciddiff forecast")  # fmt: skip
    add("--observations", type=Path, required=True, metavar="CSV", help="what was observed")
    add("-o", "--out", type=Path, default=Path("analysis.zarr"), metavar="PATH",
        help="Zarr store, or NetCDF if it ends in .nc (default analysis.zarr)")  # fmt: skip
    add("-n", "--members", type=count(), default=20, metavar="N", help="ensemble size (20)")
    add("--start", metavar="DATE", help="time of the last state to use (default: the last)")
    add("--regrid", choices=("conservative", "bilinear"),
        help="bring the files to the model's grid")  # fmt: skip
    add("--window", type=float, metavar="H",
        help="use observations within H hours of the analysis (default: half a step)")  # fmt: skip
    add("--model", metavar="NAME", help="diffusion weights that ship, or a model directory")
    add("--steps", type=count(), default=20, metavar="K", help="network calls (default 20)")
    add("--iterations", type=count(0), default=5, metavar="I",
        help="conjugate gradients with the model's covariance; 0: diagonal (5)")  # fmt: skip
    add("--gamma", type=float, default=1.0, metavar="G",
        help="size of the diagonal covariance, with --iterations 0 (default 1)")  # fmt: skip
    add("--perturb", choices=("none", "lagged-difference", "random-field"), default="none",
        help="how the members' states before the observations differ (default none)")  # fmt: skip
    add("--amplitude", type=float, metavar="A", help="strength of --perturb")
    add("--archive", type=Path, metavar="STORE", help="prepared store for lagged differences")
    add("--batch", type=count(), default=4, metavar="B", help="members made together (4)")
    add_seed(parser)
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make the analyses, write them, and say how they fit.

    Raises:
        InputError: An option, a file or a model that cannot be used.
    """
    import numpy as np
    import torch

    from weather.assimilation.analysis import (
        AssimilationSettings,
        analyses,
        background,
        write_analyses,
    )
    from weather.assimilation.observations import read_observations
    from weather.data.times import label
    from weather.forecast.initial import read_initial
    from weather.forecast.perturb import perturbation_of

    if args.out.exists():
        raise InputError(f"{args.out}: exists already; choose another -o, or remove it")
    forecaster = _forecaster(args)
    spec = forecaster.spec
    starts = None if args.start is None else [args.start]
    (initial,) = read_initial(args.initial, spec, starts, args.regrid)
    valid = spec.after(initial.time, 1)
    window = 0.5 * spec.step_hours if args.window is None else args.window
    observations = read_observations(args.observations, spec).near(valid, window)
    members = range(args.members)
    perturbation = perturbation_of(args.perturb, spec, args.archive, args.amplitude)
    frames = initial.frames
    if perturbation is not None:
        frames = perturbation(initial, members, args.seed)
    settings = AssimilationSettings(args.iterations, args.gamma, seed=args.seed, batch=args.batch)
    began = time.perf_counter()
    before, after = [], []
    with progress("assimilating (members)", 2 * args.members, show=not args.json) as bar:
        for state in background(forecaster, frames, initial.time, members, settings):
            before.append(spec.clip(state).cpu())
            bar.advance(len(state))
        for state in analyses(forecaster, frames, initial.time, members, observations, settings):
            after.append(spec.clip(state).cpu())
            bar.advance(len(state))
    prior, posterior = torch.cat(before), torch.cat(after)
    attrs = {
        "title": "Ensemble of analyses",
        "model": Path(str(args.model)).name,
        "head": forecaster.head,
        "steps": args.steps,
        "seed": args.seed,
        "observations": len(observations),
        "iterations": args.iterations,
        "background": label(initial.time),
    }
    write_analyses(args.out, posterior.numpy().astype(np.float32), valid, spec, attrs)
    rows = _fit(forecaster, prior, posterior, observations)
    _say(args, rows, len(observations), label(valid), time.perf_counter() - began)
    return 0


def _forecaster(args: argparse.Namespace) -> Forecaster:
    from weather.forecast.forecaster import Forecaster, SamplingSettings
    from weather.pretrained import DEFAULTS

    args.model = args.model or DEFAULTS["diffusion"]
    device = pick_device(args.device)
    return Forecaster(str(args.model), device, "diffusion", SamplingSettings(steps=args.steps))


def _fit(
    forecaster: Forecaster, prior: Tensor, posterior: Tensor, observations: Observations
) -> list[dict[str, Any]]:
    """Departures of the ensemble means and spreads at the observations, by channel."""
    from weather.assimilation.analysis import departures

    spec, rows = forecaster.spec, []
    before, after = (departures(one, observations, spec) for one in (prior, posterior))
    for position in sorted(set(observations.channel.tolist())):
        mine = observations.channel == position
        rows.append(
            {
                "variable": spec.names[position],
                "units": spec.channels[position].units,
                "number": int(mine.sum()),
                "background": _rms(before.mean(0)[mine]),
                "analysis": _rms(after.mean(0)[mine]),
                "background_spread": _spread(before[:, mine]),
                "analysis_spread": _spread(after[:, mine]),
                "error": float((observations.error[mine] ** 2).mean() ** 0.5),
            }
        )
    return rows


def _rms(values: Tensor) -> float:
    return float((values**2).mean().sqrt())


def _spread(values: Tensor) -> float:
    return float(values.var(0).mean().sqrt()) if len(values) > 1 else 0.0


def _say(
    args: argparse.Namespace,
    rows: list[dict[str, Any]],
    number: int,
    valid: str,
    seconds: float,
) -> None:
    header = ("variable", "units", "obs", "error", "o - b", "o - a", "spread b", "spread a")
    keys = ("error", "background", "analysis", "background_spread", "analysis_spread")
    lines = [
        (row["variable"], row["units"], row["number"], *(f"{row[key]:.3g}" for key in keys))
        for row in rows
    ]
    text = (
        f"{as_table(header, lines)}\n(root mean squares at the observations, of observation minus "
        f"ensemble mean)\n\n{args.members} analyses of {valid} from {number} observations in "
        f"{args.out}; next: sciddiff report {args.out}"
    )
    summary = {
        "analysis": str(args.out),
        "valid": valid,
        "members": args.members,
        "observations": number,
        "fit": rows,
        "seconds": round(seconds, 2),
    }
    emit(args, summary, text)


command = Command(
    "assimilate",
    "condition the diffusion head on scattered observations: an ensemble of analyses",
    configure,
    run,
)
