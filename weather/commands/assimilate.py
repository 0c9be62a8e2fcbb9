"""``sciddiff assimilate``: an ensemble of analyses from a model and scattered observations."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_device, add_json, add_seed, count, number, pick_device
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from weather.commands.options import add_calibration, add_perturbations, add_regrid
from weather.forecast import NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from sciddiff.cli.fingerprint import Inputs
    from weather.assimilation.analysis import AssimilationSettings
    from weather.assimilation.observations import Observations
    from weather.calibration.members import Calibration
    from weather.forecast.forecaster import Forecaster

_EXAMPLES = """examples:
  sciddiff assimilate before.nc --observations obs.csv --members 20 -o analysis.zarr
  sciddiff assimilate control.nc --start 0001-10-08 --observations obs.csv -o analysis.nc
  sciddiff assimilate before.nc --observations week.csv --cycles 7 -o week.zarr

obs.csv: a header "variable,lat,lon,value,error" and optionally "units,time", then a line for each
observation of the state one step of the model after the start, or with --cycles of those after.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("initial", type=Path, nargs="+", metavar="FILE",
        help="states before the observations, as for sciddiff forecast")  # fmt: skip
    add(
        "--observations",
        type=Path,
        required=True,
        metavar="CSV",
        help="file of observations, as described below",
    )
    add("-o", "--out", type=Path, default=Path("analysis.zarr"), metavar="PATH",
        help="Zarr store, or NetCDF if it ends in .nc (default analysis.zarr)")  # fmt: skip
    add(
        "-n",
        "--members",
        type=count(),
        default=20,
        metavar="N",
        help="number of members (default 20)",
    )
    add(
        "--start",
        metavar="DATE",
        help="time of the last state to use (default: the last in the files)",
    )
    add_regrid(parser)
    add("--cycles", type=count(), default=1, metavar="N",
        help="analyses in a row, every member from its own; needs column time (1)")  # fmt: skip
    add("--window", type=number(0.0), metavar="H",
        help="use observations within H hours of the analysis (default: half a step)")  # fmt: skip
    add("--model", metavar="NAME", help="diffusion weights that ship, or a model directory")
    add(
        "--steps",
        type=count(),
        default=20,
        metavar="K",
        help="network calls an analysis (default 20)",
    )
    add("--iterations", type=count(0), default=5, metavar="I",
        help="conjugate gradients with the model's covariance; 0: diagonal (5)")  # fmt: skip
    add("--gamma", type=number(0.0), default=1.0, metavar="G",
        help="size of the diagonal covariance, with --iterations 0 (default 1)")  # fmt: skip
    add_calibration(parser)
    add_perturbations(parser)
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

    from sciddiff.cli.campaign import machine_facts
    from weather.assimilation.analysis import AssimilationSettings, write_analyses
    from weather.assimilation.observations import read_observations
    from weather.calibration.members import META_ENTRY
    from weather.data.times import label
    from weather.forecast.calibrated import told
    from weather.forecast.ensemble import GRIB
    from weather.forecast.initial import read_initial
    from weather.forecast.netcdf import check_name
    from weather.forecast.perturb import perturbation_of

    check_name(args.out)
    if args.out.suffix in GRIB:
        raise InputError(f"-o {args.out}: analyses are written as Zarr or NetCDF; choose one")
    forecaster = _forecaster(args)
    calibration, why = _calibration(args, forecaster)
    request, inputs = _asked(args, forecaster, calibration)
    before = _made_before(args, request, inputs)
    if before is not None:
        _say(args, before["fit"], before["observations"], before["seconds"], before.get("how", []))
        return 0
    spec = forecaster.spec
    starts = None if args.start is None else [args.start]
    (initial,) = read_initial(args.initial, spec, starts, args.regrid)
    times = [spec.after(initial.time, number) for number in range(args.cycles + 1)]
    window = 0.5 * spec.step_hours if args.window is None else args.window
    observed = read_observations(args.observations, spec)
    if args.cycles > 1 and None in observed.time:
        raise InputError(
            f"{args.observations}: observations without a time; --cycles {args.cycles} needs the "
            "column time to share them out"
        )
    # All of them before any work: a cycle without observations is said at once.
    observations = [observed.near(valid, window) for valid in times[1:]]
    members = range(args.members)
    perturbation = perturbation_of(args.perturb, spec, args.archive, args.amplitude)
    frames = initial.frames
    if perturbation is not None:
        frames = perturbation(initial, members, args.seed)
    began = time.perf_counter()
    made, rows = [], []
    total = 2 * args.members * args.cycles
    attrs = {
        "title": "Ensemble of analyses",
        "model": Path(str(args.model)).name,
        "head": forecaster.head,
        "steps": args.steps,
        "seed": args.seed,
        "observations": sum(map(len, observations)),
        "iterations": args.iterations,
        "background": label(initial.time),
        META_ENTRY: "none" if calibration is None else told(calibration),
    }
    record: dict[str, Any] = {"request": request, "inputs": inputs.entries}
    how = [why] if why else []
    if calibration is not None:
        how = [f"background calibrated {attrs[META_ENTRY]}"]
        record[META_ENTRY] = calibration.to_plain()
    record |= {"command": args.command_line, "how": how, **machine_facts()}
    try:
        with progress("assimilating (members)", total, show=not args.json) as bar:
            settings = AssimilationSettings(
                args.iterations, args.gamma, seed=args.seed, batch=args.batch,
                calibration=calibration,
            )  # fmt: skip
            pairs = _cycle(args, forecaster, frames, times, observations, settings, bar.advance)
            for cycle, (prior, posterior) in enumerate(pairs):
                valid = label(times[cycle + 1])
                rows += _fit(forecaster, prior, posterior, observations[cycle], valid)
                made.append(posterior.numpy().astype(np.float32))
    finally:  # what is finished is kept when a later cycle is interrupted
        seconds = round(time.perf_counter() - began, 2)
        if made:
            record |= {"cycles": len(made), "fit": rows, "seconds": seconds}
            record |= {"observations": attrs["observations"]}
            valid = times[1 : len(made) + 1]
            write_analyses(args.out, np.stack(made), valid, spec, attrs, record)
    _say(args, rows, attrs["observations"], seconds, how)
    return 0


def _calibration(
    args: argparse.Namespace, forecaster: Forecaster
) -> tuple[Calibration | None, str]:
    """The calibration of the model's step, and why the model's own is not used.

    It is that of forecasts from known states: how the states of the members differ is brought
    along, whatever --perturb says.

    Raises:
        InputError: The file that is given cannot be used.
    """
    from weather.calibration.members import calibration_of
    from weather.calibration.origin import made_by
    from weather.forecast.perturb import perturbation_plain

    meta = forecaster.model.meta
    made = made_by(meta, {**forecaster.drawing, **perturbation_plain(None)})
    return calibration_of(meta, args.calibration, made)


def _asked(
    args: argparse.Namespace, forecaster: Forecaster, calibration: Calibration | None
) -> tuple[dict[str, Any], Inputs]:
    """Everything that decides the analyses: options, and the content of what is read."""
    from sciddiff.cli.fingerprint import Inputs
    from weather.calibration.members import META_ENTRY

    names = ("members", "start", "regrid", "cycles", "window", "steps", "iterations", "gamma",
             "perturb", "amplitude", "seed")  # fmt: skip
    inputs = Inputs().add_model("--model", forecaster.model.meta, args.model)
    inputs.add_all("initial", args.initial).add("--observations", args.observations)
    if args.archive is not None:
        inputs.add("--archive", args.archive)
    request = {name: getattr(args, name) for name in names}
    if calibration is not None:
        request[META_ENTRY] = calibration.identity
    return request, inputs


def _made_before(
    args: argparse.Namespace, request: dict[str, Any], inputs: Inputs
) -> dict[str, Any] | None:
    """The record of finished analyses of this request; None where something is left to do.

    Raises:
        InputError: The place holds something else.
    """
    from sciddiff.cli.campaign import made_before
    from weather.forecast.netcdf import record_of

    if not args.out.exists():
        return None
    remedy = "choose another -o, or remove it"
    found = made_before(args.out, record_of(args.out), request, inputs, remedy)
    return found if found["cycles"] == args.cycles else None


def _forecaster(args: argparse.Namespace) -> Forecaster:
    from weather.forecast.forecaster import Forecaster
    from weather.forecast.solving import SamplingSettings
    from weather.pretrained import DEFAULTS

    args.model = args.model or DEFAULTS["diffusion"]
    device = pick_device(args.device)
    sampling = SamplingSettings.of_analyses(args.steps)
    forecaster = Forecaster(str(args.model), device, sampling=sampling)
    if forecaster.head != "diffusion":
        raise InputError(
            f"--model {args.model}: has the head {forecaster.head}, and analyses are drawn by the "
            "diffusion head; name a model that was trained with domain.head: diffusion"
        )
    return forecaster


def _cycle(
    args: argparse.Namespace,
    forecaster: Forecaster,
    frames: Tensor,
    times: Sequence[Any],
    observations: Sequence[Observations],
    settings: AssimilationSettings,
    advance: Callable[[int], None],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Background and analysis of every cycle, `[M, C, H, W]` each."""
    import torch

    from weather.assimilation.analysis import analyses, background

    spec, members = forecaster.spec, range(args.members)

    def gather(states: Iterator[Tensor]) -> Tensor:
        found = []
        for state in states:
            found.append(spec.clip(state).cpu())
            advance(len(state))
        return torch.cat(found)

    for start, seen in zip(times, observations, strict=False):
        prior = gather(background(forecaster, frames, start, members, settings))
        posterior = gather(analyses(forecaster, frames, start, members, seen, settings))
        yield prior, posterior
        before = frames if frames.ndim == 5 else frames.expand(args.members, *frames.shape)
        frames = torch.cat([before[:, 1:], posterior[:, None].to(before)], 1)


def _fit(
    forecaster: Forecaster,
    prior: Tensor,
    posterior: Tensor,
    observations: Observations,
    valid: str,
) -> list[dict[str, Any]]:
    """Departures of the ensemble means and spreads at the observations, by channel."""
    from weather.assimilation.analysis import departures

    spec, rows = forecaster.spec, []
    before, after = (departures(one, observations, spec) for one in (prior, posterior))
    for position in sorted(set(observations.channel.tolist())):
        mine = observations.channel == position
        rows.append(
            {
                "valid": valid,
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
    seconds: float,
    how: Sequence[str],
) -> None:
    names = ("valid", "variable", "units", "number")
    header = (*names[:3], "obs", "error", "o - b", "o - a", "spread b", "spread a")
    keys = ("error", "background", "analysis", "background_spread", "analysis_spread")
    lines = [
        (*(row[name] for name in names), *(f"{row[key]:.3g}" for key in keys)) for row in rows
    ]
    times = list(dict.fromkeys(row["valid"] for row in rows))
    when = times[0] if len(times) == 1 else f"each of {len(times)} times to {times[-1]}"
    told = "".join(f"{line}\n" for line in how)
    text = (
        f"{as_table(header, lines)}\n(root mean squares at the observations, of observation minus "
        f"ensemble mean)\n{told}\n{args.members} analyses of {when} from {number} observations in "
        f"{args.out}; next: sciddiff report {args.out}"
    )
    summary = {
        "analysis": str(args.out),
        "valid": times[-1],
        "times": times,
        "members": args.members,
        "observations": number,
        "fit": rows,
        "seconds": round(seconds, 2),
        "how": list(how),
    }
    emit(args, summary, text)


command = Command(
    "assimilate",
    "condition the diffusion head on scattered observations: an ensemble of analyses",
    configure,
    run,
    needs=NEEDS,
)
