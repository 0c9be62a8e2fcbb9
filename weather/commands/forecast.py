"""``sciddiff forecast``: an ensemble from initial states."""

from __future__ import annotations

import argparse
import hashlib
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import pick_device, pick_sampler, pick_steps, refuse_without
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from weather.commands.forecast_options import configure
from weather.forecast import NEEDS, PERSISTENCE

if TYPE_CHECKING:
    from weather.calibration.members import Calibration
    from weather.forecast.boundaries import Boundaries
    from weather.forecast.ensemble import EnsembleStore, Plan
    from weather.forecast.forecaster import Forecaster
    from weather.forecast.initial import InitialState
    from weather.forecast.making import Team


def run(args: argparse.Namespace) -> int:
    """Read the initial states and make the ensemble.

    Raises:
        InputError: An option, a file or a model that cannot be used.
    """
    from weather.forecast.making import Team

    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    memory = _bytes(args.memory)
    team = Team.join()
    try:
        summary = _forecast(args, team, memory)
        team.wait()
    finally:
        team.leave()
    if team.rank == 0:
        _say(args, summary)
    return 0


def _forecast(args: argparse.Namespace, team: Team, memory: int | None) -> dict[str, Any]:
    from weather.calibration.members import META_ENTRY, calibration_of
    from weather.calibration.origin import made_by
    from weather.data.times import label
    from weather.forecast.boundaries import open_future
    from weather.forecast.calibrated import told
    from weather.forecast.ensemble import GRIB, Plan
    from weather.forecast.grib import check_grib_output
    from weather.forecast.initial import read_initial
    from weather.forecast.lock import lock_of, sole_writer
    from weather.forecast.making import block_size, staging
    from weather.forecast.netcdf import check_name, discard, finished
    from weather.forecast.perturb import perturbation_of, perturbation_plain

    check_name(args.out)
    refuse_without(args, "--perturb", args.perturb != "none", ("--amplitude", "--archive"))
    forecaster = _forecaster(args, team)
    spec = forecaster.spec
    leads = spec.leads(args.days)
    initials = read_initial(args.initial, spec, args.start, args.regrid)
    for initial in initials:
        forecaster.check(initial.frames, 0, range(spec.frames))
    perturbation = perturbation_of(args.perturb, spec, args.archive, args.amplitude)
    block = args.batch or block_size(
        forecaster, args.members, memory, -(-team.world // len(initials))
    )
    starts = tuple(initial.time for initial in initials)
    plan = Plan(starts, args.members, leads, min(block, args.members))
    if args.out.suffix in GRIB:
        check_grib_output(spec, starts, args.names)
    edges = open_future(args.boundary, args.prescribed, spec, initials, leads)
    request = {
        **_request(args, forecaster, plan, initials),
        **perturbation_plain(perturbation),
    }
    calibration, why = calibration_of(
        forecaster.model.meta, args.calibration, made_by(forecaster.model.meta, request)
    )
    if calibration is not None:
        request[META_ENTRY] = calibration.identity
    summary = {
        "forecast": str(args.out),
        "members": args.members,
        "days": args.days,
        "starts": [label(start) for start in starts],
        "head": forecaster.head,
        META_ENTRY: "none" if calibration is None else told(calibration),
        **({"note": why} if why else {}),
    }
    calibrated = calibration is not None
    if finished(args.out, request, args.members, calibrated):
        left = staging(args.out, calibrated), lock_of(args.out)
        if team.rank == 0 and any(path.exists() for path in left):
            with sole_writer(args.out):  # of a run that was killed when it was all but done
                discard(left[0])
        return {**summary, "seconds": 0.0, "made": 0}
    # The processes of one team write to one store together; the first stands for all.
    with sole_writer(args.out) if team.rank == 0 else nullcontext():
        drawn = perturbation, edges
        how = request, calibration
        return summary | _written(args, team, plan, forecaster, how, initials, drawn)


def _written(
    args: argparse.Namespace,
    team: Team,
    plan: Plan,
    forecaster: Forecaster,
    how: tuple[dict[str, Any], Calibration | None],
    initials: list[InitialState],
    drawn: tuple[Any, Boundaries | None],
) -> dict[str, Any]:
    """Make the members that are missing; how long that took and how many steps it was."""
    from sciddiff.cli.campaign import machine_facts
    from weather.calibration.members import META_ENTRY
    from weather.forecast.netcdf import finish

    store = _open(args, team, plan, forecaster, how)
    calibration = how[1]
    began = time.perf_counter()
    missing = store.missing()
    made = _make(args, team, forecaster, initials, store, drawn)
    team.wait()
    seconds = time.perf_counter() - began
    if team.rank == 0 and missing:
        members = sum(len(block.members) for block in missing)
        facts = {"model_card": dict(forecaster.model.meta), **machine_facts()}
        if calibration is not None:
            facts[META_ENTRY] = calibration.to_plain()
        store.campaign.ran(members, seconds, args.command_line, **facts)
    if team.rank == 0:
        finish(store, args.out, _attributes(args, forecaster, calibration), calibration)
    return {"seconds": round(seconds, 2), "made": made}


def _forecaster(args: argparse.Namespace, team: Team) -> Forecaster:
    """The model on this process's device."""
    import torch

    from weather.forecast.forecaster import Forecaster
    from weather.forecast.solving import SamplingSettings
    from weather.pretrained import DEFAULTS

    device = pick_device(args.device)
    if device == torch.device("cuda"):
        device = torch.device("cuda", team.local % torch.cuda.device_count())
    if args.model is None:
        args.model = DEFAULTS[args.head or "crps"]
    name = str(args.model)
    sampler = pick_sampler(args.sampler, name, "dpm", "map")
    sampling = SamplingSettings(pick_steps(args.steps, name, SamplingSettings.steps), sampler)
    return Forecaster(name, device, args.head, sampling)


def _open(
    args: argparse.Namespace,
    team: Team,
    plan: Plan,
    forecaster: Forecaster,
    how: tuple[dict[str, Any], Calibration | None],
) -> EnsembleStore:
    """Begin or resume the store: one process makes it, the others then find it."""
    from weather.forecast.ensemble import EnsembleStore
    from weather.forecast.making import staging
    from weather.forecast.naming import NAMES

    request, calibration = how
    about = _attributes(args, forecaster, calibration)
    place = staging(args.out, calibration is not None)
    what = place, plan, forecaster.spec, request, about
    names = NAMES[args.names]
    if team.rank == 0:
        EnsembleStore.open(*what, args.command_line, names)
    team.wait()
    return EnsembleStore.open(*what, args.command_line, names)


def _make(
    args: argparse.Namespace,
    team: Team,
    forecaster: Forecaster,
    initials: list[InitialState],
    store: EnsembleStore,
    drawn: tuple[Any, Boundaries | None],
) -> int:
    from weather.forecast.making import make_ensemble

    mine = team.share(store.missing())
    total = sum(len(block.members) for block in mine) * store.plan.leads
    show = team.rank == 0 and not args.json
    with progress("forecasting (member-steps)", total, show=show) as bar:
        return make_ensemble(
            forecaster, initials, store, mine, args.seed, drawn[0], bar.advance, drawn[1]
        )


def _request(
    args: argparse.Namespace, forecaster: Forecaster, plan: Plan, initials: list[InitialState]
) -> dict[str, Any]:
    """What decides every member."""
    from sciddiff.cli.fingerprint import Inputs
    from sciddiff.weights import identity
    from weather.data.times import label

    states = hashlib.sha256()
    for initial in initials:
        states.update(initial.frames.numpy().tobytes())
    request: dict[str, Any] = {
        "model": identity(forecaster.model.meta),
        **forecaster.drawing,
        "seed": args.seed,
        "leads": plan.leads,
        "starts": [label(start) for start in plan.starts],
        "initial": states.hexdigest(),
    }
    if args.names != "own":
        request["names"] = args.names
    if args.boundary is not None:
        request["boundary"] = Inputs().add("", args.boundary).entries[""]["sha256"]
    if args.prescribed is not None:
        given = args.prescribed
        if given != PERSISTENCE:
            given = Inputs().add("", Path(given)).entries[""]["sha256"]
        request["prescribed"] = given
    return request


def _attributes(
    args: argparse.Namespace, forecaster: Forecaster, calibration: Calibration | None
) -> dict[str, Any]:
    """Global attributes of the forecast."""
    from sciddiff import __version__
    from weather.calibration.members import META_ENTRY
    from weather.forecast.calibrated import told

    return {
        "title": "Ensemble forecast",
        "source": f"sciddiff {__version__}, model {Path(str(args.model)).name}",
        "model": Path(str(args.model)).name,
        "head": forecaster.head,
        "steps": forecaster.calls,
        "sampler": forecaster.sampling.sampler if forecaster.head == "diffusion" else "none",
        "seed": args.seed,
        "perturb": args.perturb,
        "training_data": forecaster.spec.fingerprint,
        META_ENTRY: told(calibration) if calibration is not None else "none",
        **({"planet": forecaster.spec.planet} if forecaster.spec.planet else {}),
    }


def _say(args: argparse.Namespace, summary: dict[str, Any]) -> None:
    starts = summary["starts"]
    when = starts[0] if len(starts) == 1 else f"{len(starts)} initial times"
    what = f"{args.members} members, {args.days:g} days from {when}"
    if summary["made"]:
        what += f" ({1000 * summary['seconds'] / summary['made']:.0f} ms a member-step)"
    how = summary["calibration"]
    line = f"calibrated {how}\n" if how != "none" else ""
    if "note" in summary:
        line = f"{summary['note']}\n"
    text = (
        f"{what} in {args.out}\n{line}"
        f"next: sciddiff report {args.out}   or   sciddiff verify {args.out} TRUTH -o scores/"
    )
    emit(args, summary, text)


def _bytes(text: str | None) -> int | None:
    """Read "2GB", "500 MB" or a number of bytes."""
    import re

    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"--memory {text}: not a size; write 500MB or 2GB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))


command = Command(
    "forecast",
    "make an ensemble forecast of the weather from initial states",
    configure,
    run,
    needs=NEEDS,
)
