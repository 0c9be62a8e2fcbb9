"""``sciddiff extremes``: how probable rare weather is, and how it comes about."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import pick_device
from sciddiff.cli.output import emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from weather.commands.extremes_options import configure
from weather.commands.extremes_summary import found_text, never_text
from weather.forecast import NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from sciddiff.cli.campaign import Campaign
    from weather.calibration.members import Calibration
    from weather.extremes.index import IndexMeter
    from weather.extremes.probability import ExtremeSettings, Outcome
    from weather.extremes.simulation import ForecastProcess
    from weather.forecast.forecaster import Forecaster
    from weather.forecast.initial import InitialState
    from weather.forecast.perturb import Perturbation

_RESULT = "extremes.json"


def run(args: argparse.Namespace) -> int:
    """Estimate the probability and write what was found.

    Raises:
        InputError: An option, a file or a model that cannot be used, or no member reached the
            threshold (what is known then is written all the same).
    """
    from weather.extremes.index import IndexMeter, parse_index
    from weather.extremes.probability import ExtremeSettings
    from weather.forecast.perturb import perturbation_of
    from weather.verification.regions import GLOBE
    from weather.verification.remarks import leaving_the_data

    index = parse_index(args.index)
    settings = ExtremeSettings(args.method, args.members, args.repeats, args.pilot, args.seed)
    forecaster = _forecaster(args)
    meter = IndexMeter(index, forecaster.spec)
    if index.region != GLOBE:
        area = forecaster.spec.area
        remark(args.index, leaving_the_data([index.region], area.lat, area.lon))
    perturbation = perturbation_of(args.perturb, forecaster.spec, args.archive, args.amplitude)
    calibration, why = _calibration(args, forecaster, meter, perturbation)
    campaign = _campaign(args, forecaster, index.text, calibration)
    found = _found_before(args, campaign)
    if found is None:
        simulation = _simulation(args, forecaster, meter, perturbation)
        found = _estimate(args, simulation, settings, campaign, (calibration, why))
    if found["probability"] == 0.0:
        raise InputError(never_text(args, found, args.out / _RESULT))
    emit(args, found, found_text(args, found))
    return 0


def _calibration(
    args: argparse.Namespace,
    forecaster: Forecaster,
    meter: IndexMeter,
    perturbation: Perturbation | None,
) -> tuple[Calibration | None, str]:
    """The calibration of what the index measures, and why the model's own is not used.

    Raises:
        InputError: The file that is given cannot be used.
    """
    from weather.calibration.members import calibration_of
    from weather.calibration.origin import made_by
    from weather.forecast.perturb import perturbation_plain

    meta, name = forecaster.model.meta, forecaster.spec.names[meter.channel]
    made = made_by(meta, {**forecaster.drawing, **perturbation_plain(perturbation)})
    calibration, why = calibration_of(meta, args.calibration, made)
    if calibration is None or name in calibration.channels:
        return calibration, why
    lacks = f"has no {name}, but {', '.join(calibration.channels)}"
    if args.calibration is None:
        return None, f"not calibrated: the calibration of the model {lacks}"
    raise InputError(
        f"--calibration {args.calibration}: {lacks}; fit it to forecasts of {name}, or give "
        "--calibration none"
    )


def _campaign(
    args: argparse.Namespace, forecaster: Forecaster, index: str, calibration: Calibration | None
) -> Campaign:
    """The record of the folder, with everything that decides the estimate."""
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs
    from weather.calibration.members import META_ENTRY

    names = ("threshold", "method", "members", "repeats", "pilot", "start", "regrid", "steps",
             "perturb", "amplitude", "seed")  # fmt: skip
    known = Campaign.known(args.out)
    inputs = Inputs().add_model("--model", forecaster.model.meta, args.model)
    inputs.add_all("initial", args.initial, known.get("initial"))
    if args.archive is not None:
        inputs.add("--archive", args.archive, known.get("--archive"))
    request = {"index": index, **{name: getattr(args, name) for name in names}}
    if calibration is not None:
        request[META_ENTRY] = calibration.identity
    begun = (args.out / _RESULT).exists()
    return Campaign.open(args.out, request, args.command_line, inputs, begun)


def _found_before(args: argparse.Namespace, campaign: Campaign) -> dict[str, Any] | None:
    """What a finished run of this request has found; None where something is left to do."""
    from sciddiff.files import read_json

    file = args.out / _RESULT
    if not (campaign.runs and file.exists()):
        return None
    if not (args.no_composites or campaign.facts.get("composites")):
        return None
    found = dict(read_json(file, "remove it, and it is computed again"))
    there = all((args.out / Path(one).name).exists() for one in found.get("files", []))
    return found if there else None


def _estimate(
    args: argparse.Namespace,
    simulation: ForecastProcess,
    settings: ExtremeSettings,
    campaign: Campaign,
    calibrated: tuple[Calibration | None, str],
) -> dict[str, Any]:
    """Simulate, and write what was found; it is recorded when all of it is there."""
    from sciddiff.cli.campaign import machine_facts
    from sciddiff.files import write_json
    from weather.calibration.members import META_ENTRY
    from weather.extremes.probability import pilot_run, probability
    from weather.forecast.calibrated import told

    calibration, why = calibrated
    began = time.perf_counter()
    with progress("simulating (member-steps)", None, show=not args.json) as bar:
        simulation = replace(simulation, on_step=bar.advance)
        climate = _climate(args, simulation)  # what it lacks is said before any member runs
        pilot = pilot_run(simulation, settings.pilot, settings.seed, calibration)
        threshold = _threshold(args.threshold, simulation, pilot.scores[-1], climate)
        outcome = probability(simulation, threshold, settings, pilot, calibration)
        found = _summary(args, simulation, outcome, settings, time.perf_counter() - began)
        found[META_ENTRY] = "none" if calibration is None else told(calibration)
        if why:
            found["note"] = why
        if calibration is not None and settings.method != "mc":
            found["error_of_mean"] = pilot.log_error(threshold)
        if climate is not None:
            found["climate_probability"] = float((climate >= threshold).double().mean())
        if not args.no_composites:
            found["files"] = _composites(args, simulation, outcome, settings, calibration)
        write_json(args.out / _RESULT, found)
    campaign.note(composites=not args.no_composites)
    seconds = time.perf_counter() - began
    campaign.ran(1, seconds, args.command_line, **machine_facts())
    return found


def _forecaster(args: argparse.Namespace) -> Forecaster:
    from weather.forecast.forecaster import Forecaster
    from weather.forecast.solving import SamplingSettings
    from weather.pretrained import DEFAULTS

    args.model = args.model or DEFAULTS["crps"]
    device = pick_device(args.device)
    return Forecaster(str(args.model), device, None, SamplingSettings(steps=args.steps))


def _simulation(
    args: argparse.Namespace,
    forecaster: Forecaster,
    meter: IndexMeter,
    perturbation: Perturbation | None,
) -> ForecastProcess:
    from weather.extremes.simulation import ForecastProcess
    from weather.forecast.initial import read_initial

    starts = None if args.start is None else [args.start]
    (initial,) = read_initial(args.initial, forecaster.spec, starts, args.regrid)
    perturb: Callable[[Sequence[int]], Tensor] | None = None
    if perturbation is not None:
        perturb = partial(_perturbed, perturbation, initial, args.seed)
    return ForecastProcess(
        forecaster, initial.frames, initial.time, meter, args.batch, perturb
    )


def _perturbed(
    perturbation: Perturbation, initial: InitialState, seed: int, members: Sequence[int]
) -> Tensor:
    return perturbation(initial, members, seed)


def _threshold(
    text: str, simulation: ForecastProcess, scores: Any, climate: Tensor | None
) -> float:
    """The score that makes the event.

    Raises:
        InputError: Neither a number, nor a quantile, units the channel cannot have, or no archive
            to take a climate from.
    """
    from weather.data.units import conversion
    from weather.extremes.probability import quantile

    meter = simulation.meter
    plain = text.strip()
    if re.fullmatch(r"[qc]\d*\.?\d+", plain):
        if plain[0] == "q":
            return quantile(scores, float(plain[1:]))
        assert climate is not None, "refused before the members ran"
        return quantile(climate, float(plain[1:]))
    match = re.fullmatch(r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(\D.*)?", plain)
    if match is None:
        raise InputError(f"--threshold {text}: not a value; write 300, 24degC, q0.99 or c0.99")
    value = float(match[1])
    if match[2]:
        change = conversion(match[2], meter.units)
        if change is None:
            raise InputError(
                f"--threshold {text}: cannot be turned into {meter.units}; give it in these"
            )
        # An offset counts once for each day of a sum.
        times = len(meter.window) if meter.index.time == "sum" else 1
        value = value * change.scale + times * change.offset
    return meter.index.sign * value


def _climate(args: argparse.Namespace, simulation: ForecastProcess) -> Tensor | None:
    """Scores of the index in the archive's season; None where no archive tells.

    Raises:
        InputError: The threshold asks for a climate that is not to be had.
    """
    from weather.data.store import Store
    from weather.extremes.climate import FEWEST, HALF_WINDOW, climate_scores

    scores = None
    if args.archive is not None:
        spec = simulation.forecaster.spec
        scores = climate_scores(Store(args.archive), spec, simulation.meter, simulation.start)
    if scores is None and args.threshold.strip().startswith("c"):
        raise InputError(
            f"--threshold {args.threshold}: a quantile of the climate needs --archive data.zarr "
            f"with at least {FEWEST} times within {HALF_WINDOW} days of the start's day of the "
            "year (sciddiff prepare forecast makes one)"
        )
    return scores


def _summary(
    args: argparse.Namespace,
    simulation: ForecastProcess,
    outcome: Outcome,
    settings: ExtremeSettings,
    seconds: float,
) -> dict[str, Any]:
    from weather.data.times import label

    estimate, meter = outcome.estimate, simulation.meter
    return {
        "index": meter.index.text,
        "start": label(simulation.start),
        "threshold": meter.index.sign * outcome.threshold,
        "units": meter.units,
        "below": meter.index.sign < 0,
        "method": settings.method,
        "probability": estimate.probability,
        "interval": list(estimate.interval),
        "effective_size": estimate.ess,
        "trajectories": estimate.trajectories,
        "repeats": list(estimate.repeats),
        "lines": estimate.lines,
        "trusted": estimate.trusted,
        "doubts": list(estimate.doubts),
        "in_event": int((outcome.scores >= outcome.threshold).sum()),
        "furthest": meter.index.sign * float(outcome.scores.max()),
        "model": Path(str(args.model)).name,
        "head": simulation.forecaster.head,
        "seed": settings.seed,
        "seconds": round(seconds, 2),
    }


def _composites(
    args: argparse.Namespace,
    simulation: ForecastProcess,
    outcome: Outcome,
    settings: ExtremeSettings,
    calibration: Calibration | None,
) -> list[str]:
    """NetCDF and PNG of what extreme members had in common; none without extremes."""
    from sciddiff.files import replacing
    from weather.extremes.composites import composite, write_composite
    from weather.report.composites import composite_png
    from weather.report.reading import when

    made = composite(simulation, outcome, settings.seed, settings.pilot)
    if made is None:
        return []
    spec, meter = simulation.forecaster.spec, simulation.meter
    if calibration is not None:
        made = made.calibrated(calibration, spec)
    attrs = {
        "title": f"Composite of extreme members of {meter.index.text}",
        "threshold": outcome.threshold * meter.index.sign,
        "members": made.members,
        "start": str(simulation.start),
    }
    write_composite(args.out / "composites.nc", made, simulation, attrs)
    names = [
        f"{when(spec.after(simulation.start, n))} (day {n * spec.step_hours / 24:g})"
        for n in range(meter.steps + 1)
    ]
    sign = "<" if meter.index.sign < 0 else ">"
    title = f"{meter.index.text} {sign} {attrs['threshold']:.5g} {meter.units}: " + (
        f"mean of {made.members} extreme members"
    )
    png = composite_png(
        made, spec.channels, spec.area, names, title, spec.names[meter.channel],
        coasts=not spec.planet,
    )  # fmt: skip
    with replacing(args.out / "composites.png") as file:
        file.write(png)
    return [str(args.out / name) for name in ("composites.nc", "composites.png")]


command = Command(
    "extremes",
    "estimate the probability of rare weather, and show what its members had in common",
    configure,
    run,
    needs=NEEDS,
)
