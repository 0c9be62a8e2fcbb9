"""``sciddiff prepare forecast``: gridded files to a store for training and verification."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, count, refuse_without
from sciddiff.cli.output import as_table, emit, human_size
from sciddiff.cli.progress import Progress, progress
from sciddiff.errors import InputError
from weather.commands.options import add_scheduler
from weather.forecast import NEEDS

if TYPE_CHECKING:
    from weather.data.prepare import OnProgress, PrepareReport
    from weather.data.reading import ReaderSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare forecast``."""
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="NetCDF, GRIB, Zarr stores, or folders of them; joined along time and by variable",
    )
    add("-o", "--out", type=Path, metavar="ZARR", help="prepared store to write")
    _what(parser)
    _how(parser)
    add = parser.add_argument
    add(
        "--dry-run",
        action="store_true",
        help="print what would be taken and every fault, and write nothing",
    )
    add("--overwrite", action="store_true", help="replace a store that is there")
    add(
        "--append",
        action="store_true",
        help="extend the store that is there by files of later times",
    )
    add_scheduler(parser, "read and regrid the files")
    add_json(parser)


def _what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to take")
    add = group.add_argument
    add(
        "--variables",
        default="",
        metavar="A,B",
        help="channels (z500,mslp) or quantities on all levels (z,t); default all known",
    )
    add(
        "--levels",
        default="",
        metavar="P,Q",
        help="pressure levels to take, in hPa (default: all)",
    )
    add(
        "--period",
        default="",
        metavar="A:B",
        help="first and last date to take, both included: 1990:1999-06",
    )
    add(
        "--step",
        default="",
        metavar="24h",
        help="distance of the fields to keep (default: all fields)",
    )
    add(
        "--aggregate",
        action="append",
        nargs="+",
        default=[],
        metavar="NAME=HOW",
        help="take the sum, mean, min or max over the step up to each time: tp=sum tas=mean",
    )
    add("--area", default="", metavar="S:N,W:E", help="part of the globe to take: 30:70,-70:10")
    add("--member", metavar="LABEL", help="ensemble member to take, where the files hold several")
    add(
        "--train-period",
        default="",
        metavar="A:B",
        help="dates over which the statistics are taken (default: all)",
    )


def _how(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    add = group.add_argument
    add(
        "--grid",
        default="",
        metavar="NAME",
        help="gaussian-32x64, equiangular-121x240, regular-181x360; default that of the files",
    )
    add(
        "--method",
        choices=("conservative", "bilinear"),
        default="conservative",
        help="method of regridding (default conservative)",
    )
    add(
        "--nan",
        action="append",
        default=[],
        metavar="NAME=RULE",
        help="missing values: refuse (default), fill (mean of the rest), min, drop or a value",
    )
    add(
        "--gaps",
        choices=("refuse", "keep"),
        default="refuse",
        help="what to do about gaps in time (default refuse)",
    )
    add(
        "--duplicates",
        choices=("refuse", "first", "last"),
        default="refuse",
        help="which of repeated times to take (default refuse)",
    )
    add(
        "--rename",
        action="append",
        default=[],
        metavar="VAR=CHANNEL",
        help="what a variable of the files is, where its name does not tell",
    )
    add(
        "--units",
        action="append",
        default=[],
        metavar="VAR=UNITS",
        help="units of a variable, or level=hPa, where the attribute is absent or wrong",
    )
    add(
        "--missing",
        action="append",
        default=[],
        metavar="VAR=VALUE",
        help="a number that stands for missing values, where the file does not say",
    )
    add(
        "--chunk",
        type=count(),
        metavar="N",
        help="number of times in a chunk of the store (default 16, fewer where fields are large)",
    )
    add("--any-values", action="store_true", help="accept values that no atmosphere has")


def run(args: argparse.Namespace) -> int:
    """Prepare the store and print what became of the files."""
    from weather.cluster import connect
    from weather.data.prepare import extend_forecast, prepare_forecast
    from weather.data.times import Period

    if args.out is None and not args.dry_run:
        raise InputError("-o: not given; name the store to write, -o data.zarr")
    refuse_without(args, "--grid", bool(args.grid) or args.append, ("--method",))
    training = Period.parse(args.train_period, "--train-period") if args.train_period else None
    if args.append and (args.out is None or args.overwrite or args.chunk):
        raise InputError(
            "--append: extends the store that -o names; leave out --overwrite and --chunk"
        )
    out = args.out or Path("data.zarr")
    with ExitStack() as stack:
        # Before anything is begun: a scheduler that does not answer leaves nothing behind.
        client = stack.enter_context(connect(None if args.dry_run else args.scheduler))
        tell = _teller(stack, show=not args.json)
        if args.append:
            report = extend_forecast(
                args.files, out, _settings(args), training, args.dry_run, tell, client
            )
        else:
            report = prepare_forecast(
                args.files, out, _settings(args), training, args.overwrite, args.dry_run, tell,
                args.chunk or 0, client,
            )  # fmt: skip
    emit(args, report.as_dict(), _text(report))
    if report.faults:
        raise InputError(report.faults[0])
    return 0


def _teller(stack: ExitStack, show: bool) -> OnProgress:
    """Show a bar from the first word on."""
    bar: Progress | None = None
    seen = 0

    def tell(done: int, total: int) -> None:
        nonlocal bar, seen
        if bar is None:
            bar = stack.enter_context(progress("times", total, show=show))
        bar.advance(done - seen)
        seen = done

    return tell


def _settings(args: argparse.Namespace) -> ReaderSettings:
    from weather.data.aggregate import parse_aggregate
    from weather.data.areas import Area
    from weather.data.checks import parse_nan, parse_step
    from weather.data.reading import ReaderSettings
    from weather.data.times import Period

    return ReaderSettings(
        variables=tuple(_words(args.variables)),
        levels=tuple(_numbers(args.levels)),
        grid=args.grid,
        method=args.method,
        period=Period.parse(args.period) if args.period else None,
        step_hours=parse_step(args.step) if args.step else 0.0,
        aggregate=parse_aggregate([word for words in args.aggregate for word in words]),
        gaps=args.gaps,
        duplicates=args.duplicates,
        nan=parse_nan(args.nan).rules,
        rename=_pairs(args.rename, "--rename", "sst_c=sst"),
        units=_pairs(args.units, "--units", "t2m=degC"),
        missing=_values(args.missing),
        area=Area.parse(args.area) if args.area else None,
        member=args.member,
        any_values=args.any_values,
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError as error:
        raise InputError(f"--levels {text}: not numbers; write --levels 500,850") from error


def _pairs(words: list[str], option: str, example: str) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value.strip()):
            raise InputError(
                f"{option} {word}: not of the form VAR=VALUE; write {option} {example}"
            )
        pairs[name] = value.strip()
    return pairs


def _values(words: list[str]) -> dict[str, float]:
    try:
        return {n: float(v) for n, v in _pairs(words, "--missing", "t2m=-9999").items()}
    except ValueError as error:
        raise InputError(
            f"--missing {' '.join(words)}: not a number; write --missing t2m=-9999"
        ) from error


def _text(report: PrepareReport) -> str:
    """The summary people read."""
    plan, reader = report.plan, report.reader
    header = ("variable", "its units", "channel", "units", "note")
    lines = [as_table(header, reader.matching.rows()), ""]
    lines += [
        f"periods  {m.channel.name}: {m.channel.cell_methods.removeprefix('time: ')} over "
        f"{plan.period_hours:g} h up to each time"
        for m in reader.matching.matches
        if m.channel.cell_methods and plan.period_hours
    ]
    first, last = report.as_dict()["first"], report.as_dict()["last"]
    lines.append(f"times    {len(plan.times)}, {first} to {last}, step {plan.step}")
    lines += [f"         {note}" for note in reader.selection.notes]
    source = "" if reader.regrid.identity else f", {plan.method} from {reader.regrid.source}"
    lines.append(f"grid     {plan.grid}{source}")
    if report.store is None:
        lines += [f"fault    {fault}" for fault in report.faults]
        return "\n".join([*lines, "nothing written (--dry-run)"])
    s = report.store.statistics
    rows = [
        (c.name, c.units, f"{m:.6g}", f"{d:.4g}", f"{t:.4g}")
        for c, m, d, t in zip(plan.channels, s.mean, s.std, s.tendency_std, strict=True)
    ]
    lines += ["", as_table(("channel", "units", "mean", "std", "std of a step"), rows), ""]
    if report.resumed:
        lines.append(f"resumed  {report.resumed} times were written by an earlier run")
    if report.former:
        lines.append(f"extended from {report.former} to {len(report.store)} times")
    size = sum(p.stat().st_size for p in report.store.path.rglob("*") if p.is_file())
    lines.append(f"data     {report.store.fingerprint[:16]}")
    return "\n".join([*lines, f"store    {report.store.path} ({human_size(size)})"])


command = Command(
    name="forecast",
    help="turn gridded weather files into a store for training and verification",
    configure=configure,
    run=run,
    example="sciddiff prepare forecast era5/*.nc --grid gaussian-32x64 -o data.zarr",
    needs=NEEDS,
)
