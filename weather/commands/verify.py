"""``sciddiff verify``: score a forecast against what happened."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import (
    add_json,
    add_output,
    add_seed,
    count,
    number,
    refuse_without,
)
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from weather.commands.options import add_regrid, add_scheduler
from weather.forecast import NEEDS

if TYPE_CHECKING:
    from sciddiff.cli.campaign import Campaign
    from weather.verification.baselines import Climate
    from weather.verification.ensembles import Ensemble
    from weather.verification.figures import Verification
    from weather.verification.truths import Truth
    from weather.verification.verify import Plan

_SCORES = "scores.csv"
_EXAMPLES = """examples:
  sciddiff verify fc.zarr truth.zarr -o scores/
  sciddiff verify fc.zarr truth.zarr --train data.zarr -o scores/    # with baselines
  sciddiff verify fc.zarr truth_ensembles.nc --train data.zarr --analyses control.nc
  sciddiff verify fc.zarr truth.zarr --channels z500 t850 --threshold "t850>q0.95"
  sciddiff verify forecasts/ truth.zarr -o scores/        # a file for every initial time
  sciddiff verify fc.zarr truth.zarr --region globe europe=35:75,-12.5:42.5
  sciddiff verify new.zarr truth.zarr --compare old.zarr -o scores/    # with a scorecard

The truth is a prepared store or a file of fields along time; a file with initial times, members
and leads is an ensemble of equally valid truths, whose members also score each other: the limit.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "forecast",
        type=Path,
        help="what sciddiff forecast wrote (Zarr or NetCDF), or a "
        "folder of such forecasts from several initial times",
    )
    add("truth", type=Path, help="prepared store, file of fields along time, or truth ensemble")
    add_output(parser, "scores")
    add(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="FC",
        help="more forecasts; the scorecard shows which differences are significant",
    )
    add(
        "--reference",
        metavar="NAME",
        help="what the scorecard compares with: a forecast by its name in the table, or a "
        "baseline (default: the first of --compare)",
    )
    what = parser.add_argument_group("what")
    what.add_argument(
        "--channels",
        nargs="+",
        metavar="C",
        help="channels to score (default: all that forecast and truth share)",
    )
    what.add_argument(
        "--leads",
        nargs="+",
        type=number(0.0),
        metavar="D",
        help="leads to score, in days (default: all)",
    )
    what.add_argument(
        "--region",
        nargs="+",
        metavar="R",
        help="globe, north, tropics, south, europe, north-america, east-asia, south-america, "
        "africa, australia, or a box as alps=44:48,5:16 (default: the first four; of a limited "
        "area, all of it)",
    )
    what.add_argument(
        "--threshold",
        nargs="+",
        metavar="E",
        help='events for Brier, ROC and reliability: "tas>30degC", "mslp<980hPa", "z500>q0.9" '
        "(default with --train: >q0.1 >q0.9 of every channel)",
    )
    add_regrid(what, "a truth along time to the forecast's grid")
    base = parser.add_argument_group("baselines")
    base.add_argument(
        "--train",
        type=Path,
        metavar="STORE",
        help="training states, from which the climate is taken",
    )
    base.add_argument(
        "--baselines",
        nargs="*",
        metavar="B",
        help="climatology, persistence, lim, analogues (default with --train: all; else none)",
    )
    base.add_argument(
        "--analyses",
        type=Path,
        metavar="FILE",
        help="states the baselines start from (default: the truth, if along time)",
    )
    base.add_argument(
        "--baseline-members",
        type=count(2),
        default=50,
        metavar="M",
        help="number of members of the baselines (default 50)",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--block-days",
        type=number(0.01),
        default=10.0,
        metavar="D",
        help="length of the blocks of the bootstrap (default 10)",
    )
    how.add_argument(
        "--draws",
        type=count(),
        default=1000,
        metavar="B",
        help="number of resamples of the bootstrap (default 1000)",
    )
    how.add_argument(
        "--workers",
        type=count(),
        default=1,
        metavar="W",
        help="number of initial times that are scored at once (default 1)",
    )
    add_scheduler(how, "score the initial times")
    how.add_argument("--no-plots", action="store_true", help="write numbers only")
    add_seed(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score the forecast and write the scores.

    Raises:
        InputError: An option or a file that cannot be used.
    """
    from sciddiff.cli.campaign import machine_facts
    from weather.cluster import connect
    from weather.verification.output import summary_rows, write_scores
    from weather.verification.remarks import NO_INTERVALS
    from weather.verification.table import table_text

    _check_packages()
    if args.scheduler and args.workers > 1:
        raise InputError(
            "--workers: are threads of this machine, and --scheduler has workers of its own; "
            "leave one of the two out"
        )
    campaign = _campaign(args)
    before = _scored_before(args, campaign)
    if before is not None:
        emit(args, before["summary"], before["text"])
        return 0
    began = time.perf_counter()
    with connect(args.scheduler) as client:
        result, notes = _verify(args, client)
    paths = write_scores(result, args.out, plots=not args.no_plots)
    asked = None if args.leads is None else range(len(result.leads))
    rows = summary_rows(result, asked)
    lines, more = _compared(args, result)
    paths += more
    facts = {
        "folder": str(args.out),
        "files": [path.name for path in paths],
        "initial_times": len(result.times),
        "truths": result.truths,
        "seconds": round(seconds := time.perf_counter() - began, 2),
    }
    region, size = result.regions[0], len(result.times)
    against = f", {result.truths} truths each" if result.truths > 1 else ""
    errors = "±: 95 % by block bootstrap over initial times" if result.resampled else NO_INTERVALS
    text = (
        f"{table_text(rows)}"
        f"{''.join(f'{line}{chr(10)}' for line in lines)}"
        f"{region}, {size} initial times{against}; {errors}\n"
        f"{args.out}: {', '.join(path.name for path in paths)}"
    )
    if notes and not args.json:
        sys.stderr.write("".join(f"note: {note}\n" for note in notes))
    told = {"notes": list(notes), "region": region, "scores": rows, "differences": lines}
    summary = {**facts, **told}
    campaign.note(scored={"plots": not args.no_plots, "summary": summary, "text": text})
    campaign.ran(1, seconds, args.command_line, **machine_facts())
    emit(args, summary, text)
    return 0


def _campaign(args: argparse.Namespace) -> Campaign:
    """The record of the folder, with everything that decides the scores."""
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs

    names = ("channels", "leads", "region", "threshold", "regrid", "baselines", "reference",
             "baseline_members", "block_days", "draws", "seed")  # fmt: skip
    known, inputs = Campaign.known(args.out), Inputs()
    for name in ("forecast", "truth", "--train", "--analyses"):
        path = getattr(args, name.lstrip("-"))
        if path is not None:
            inputs.add(name, path, known.get(name))
    for position, path in enumerate(args.compare, 1):
        inputs.add(name := f"--compare {position}", path, known.get(name))
    request = {name: getattr(args, name) for name in names}
    begun = (args.out / _SCORES).exists()
    return Campaign.open(args.out, request, args.command_line, inputs, begun)


def _scored_before(args: argparse.Namespace, campaign: Campaign) -> dict[str, Any] | None:
    """What a finished run of this request has told; None where something is left to do."""
    told = campaign.facts.get("scored")
    if not campaign.runs or told is None or not (args.no_plots or told["plots"]):
        return None
    there = all((args.out / name).exists() for name in told["summary"]["files"])
    return told if there else None


def _compared(args: argparse.Namespace, result: Verification) -> tuple[list[str], list[Path]]:
    """Differences from the reference: lines for people, and files."""
    from weather.verification.differences import compare, write_differences
    from weather.verification.names import reference_of
    from weather.verification.scorecard import verdict, write_scorecard

    names = result.forecasts
    if args.reference is None and not args.compare:
        return [], []
    reference = names[1] if args.reference is None else reference_of(args.reference, names)
    found = compare(result, reference)
    table = args.out / "differences.csv"
    write_differences(result, found, table)
    lines = [verdict(one) for one in found if one.score in ("crps", "rmse")]
    return lines, [table, *write_scorecard(result, found, args.out, not args.no_plots)]


def _check_packages() -> None:
    """Say at once what is missing, not after minutes.

    Raises:
        MissingExtra: A package is not installed.
    """
    from importlib.util import find_spec

    from sciddiff.errors import MissingExtra

    for package in ("xarray", "scores", "scipy", "dask"):
        if find_spec(package) is None:
            raise MissingExtra(package, "weather")


def _verify(args: argparse.Namespace, client: Any) -> tuple[Verification, tuple[str, ...]]:
    from weather.verification.ensembles import open_forecast
    from weather.verification.names import reference_of, told_apart
    from weather.verification.regions import default_regions, parse_regions
    from weather.verification.remarks import empty_events, leaving_the_data
    from weather.verification.sources import open_truth
    from weather.verification.thresholds import CLIMATE_EVENTS, Quantiles, of_channels
    from weather.verification.verify import VerifySettings, align, detect_grid, verify

    refuse_without(args, "--train", args.train is not None, ("--analyses", "--baseline-members"))
    forecast = open_forecast(args.forecast)
    others: list[Ensemble] = [open_forecast(path) for path in args.compare]
    joined = [note for one in (forecast, *others) for note in getattr(one, "notes", ())]
    own = [forecast.name, *(one.name for one in others)]
    for one, name in zip(
        (forecast, *others), told_apart(own, [args.forecast, *args.compare]), strict=True
    ):
        one.name = name
    grid = detect_grid(forecast.lat, forecast.lon) if args.regrid else None
    truth = open_truth(args.truth, str(grid or ""), args.regrid or "conservative")
    leads = None if args.leads is None else [round(day * 86400) for day in args.leads]
    plan = align(forecast, truth, args.channels, leads, others)
    climate = _climate(args)
    events = tuple(of_channels(text, plan.channels) for text in args.threshold or ())
    if not args.threshold and climate is not None:
        events = CLIMATE_EVENTS
    history = None if climate is None else climate.history
    thresholds = Quantiles(events, history) if events else None
    regions = parse_regions(args.region or ())
    if not regions:
        regions = default_regions(detect_grid(truth.lat, truth.lon) is not None)
    settings = VerifySettings(
        regions, args.block_days, args.draws, seed=args.seed, workers=args.workers
    )
    baselines = _baselines(args, climate, truth, plan)
    if args.reference is not None:  # at once, not after minutes
        reference_of(args.reference, [one.name for one in (forecast, *others, *baselines)])
    with progress("verifying (initial times)", len(plan.times), show=not args.json) as bar:
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            bar.advance(done - before)
            before = done

        result = verify(
            [forecast, *others, *baselines], truth, plan, settings, thresholds,
            _scales(climate, plan.channels), tell, climate, client,
        )  # fmt: skip
    notes = *result.notes, *empty_events(result, events), *result.why_no_intervals()
    beyond = leaving_the_data(regions, truth.lat, truth.lon) if args.region else ()
    return result, (*joined, *plan.left_out, *beyond, *notes)


def _climate(args: argparse.Namespace) -> Climate | None:
    from weather.verification.baselines import Climate, History
    from weather.verification.sources import open_states

    if args.train is None:
        if args.baselines:
            raise InputError("--baselines: need training states; add --train data.zarr")
        return None
    return Climate(History(open_states(args.train)))


def _scales(climate: Climate | None, channels: tuple[str, ...]) -> list[float] | None:
    """Size of anomalies, where the climate knows every channel."""
    if climate is None or any(name not in climate.history.channels for name in channels):
        return None
    return [float(climate.scale[climate.history.channels.index(name)]) for name in channels]


def _baselines(
    args: argparse.Namespace, climate: Climate | None, truth: Truth, plan: Plan
) -> list[Ensemble]:
    from weather.verification.baselines import (
        BASELINES,
        BaselineEnsemble,
        History,
        analyses_of,
        choose_baselines,
    )
    from weather.verification.sources import open_states

    names = BASELINES if args.baselines is None else tuple(args.baselines)
    if climate is None or not names:
        return []
    source = args.analyses or (args.truth if truth.members == 1 else None)
    if source is None:
        raise InputError(
            "--train: the baselines start from analyses, which truth ensembles do not hold; add "
            "--analyses FILE, or --baselines with no name after it"
        )
    lacking = [name for name in plan.channels if name not in climate.history.channels]
    if lacking:
        raise InputError(
            f"{args.train}: has no {', '.join(lacking)} for the baselines; leave it out with "
            "--channels"
        )
    # Read piece by piece: a baseline needs one state of it for every initial time.
    analyses = History(open_states(source), resident=0)
    states = analyses_of(analyses, climate.history.channels, str(source))
    return [
        BaselineEnsemble(
            baseline,
            states,
            plan.times,
            plan.leads,
            args.baseline_members,
            plan.channels,
            args.seed,
        )  # fmt: skip
        for baseline in choose_baselines(names, climate)
    ]


command = Command(
    "verify",
    "score a forecast against what happened, beside baselines",
    configure,
    run,
    needs=NEEDS,
)
