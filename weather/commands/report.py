"""`sciddiff report`: a forecast, an analysis or a reanalysis as one page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sciddiff.cli.command import Command, Reporter
from sciddiff.cli.options import add_json, add_output, count, number, refuse_without
from sciddiff.cli.output import emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

_EXAMPLES = """examples:
  sciddiff report fc.zarr
  sciddiff report fc.zarr --truth analyses.nc -o report/
  sciddiff report fc.zarr --place "Bergen,60.4,5.3" --threshold "tas<0degC" --lead 3 --lead 7
  sciddiff report era5_members.nc --variable z500
  sciddiff report fc.zarr --init 0 1 2 --tracks --track-below 990
  sciddiff report daily_forecasts/ --init 0 1      # a file for every initial time
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("source", type=Path, help="forecast (Zarr, NetCDF or GRIB), a folder of forecasts from "
        "several initial times, or any fields on a lat-lon grid")  # fmt: skip
    add_output(parser, "report")
    add("--truth", type=Path, metavar="FILE", help="what happened: analyses or truth ensembles")
    add("--place", action="append", default=[], metavar="NAME,LAT,LON",
        help="a place for plumes and meteograms; repeat for more")  # fmt: skip
    add("--variable", action="append", default=[], metavar="NAME",
        help="a variable to show; repeat for more (default: the most telling five)")  # fmt: skip
    add("--lead", action="append", default=[], type=number(0.0), metavar="DAYS",
        help="days after the start that become maps; repeat for more")  # fmt: skip
    add("--threshold", action="append", default=[], metavar="EVENT",
        help="event of the probability maps: 'tas>30degC'; repeat for more")  # fmt: skip
    add("--init", type=count(0), nargs="+", default=[0], metavar="K",
        help="which initial times, counted from 0; several make one page (default 0)")  # fmt: skip
    add("--tracks", action="store_true",
        help="follow the lows of mslp: tracks.csv, and a map of strike probabilities")  # fmt: skip
    add("--track-below", type=number(800.0, 1100.0), metavar="HPA",
        help="only lows whose pressure is at most this (default: all)")  # fmt: skip
    add("--track-speed", type=number(1.0), default=60.0, metavar="KM_H",
        help="how fast a low can move, in km/h (default 60)")  # fmt: skip
    add("--strike", type=number(1.0), default=120.0, metavar="KM",
        help="distance within which a low strikes a place, in km (default 120)")  # fmt: skip
    add("--select", action="append", default=[], metavar="DIM=POSITION",
        help="fix a dimension the report does not know")  # fmt: skip
    add("--title", default="", help="heading of the page")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report.

    Raises:
        InputError: A file or a choice that cannot be used.
    """
    from weather.report.places import Place
    from weather.report.reading import open_ensemble
    from weather.report.tracks import TrackSettings
    from weather.report.write import ReportSettings, write_report

    tracks = None
    refuse_without(
        args, "--tracks", args.tracks, ("--track-below", "--track-speed", "--strike")
    )  # fmt: skip
    if args.tracks:
        tracks = TrackSettings(args.track_speed, args.strike, args.track_below)
    settings = ReportSettings(
        places=tuple(Place.parse(text) for text in args.place),
        variables=tuple(args.variable),
        leads=tuple(args.lead),
        thresholds=tuple(args.threshold),
        inits=tuple(dict.fromkeys(args.init)),
        title=args.title,
        tracks=tracks,
    )
    ensemble = open_ensemble(args.source, _positions(args.select))
    if not args.json:
        remark(args.source, ensemble.notes)
    truth = None if args.truth is None else open_ensemble(args.truth)
    facts = {"source": str(args.source), "command": ["sciddiff", *sys.argv[1:]]}
    if truth is not None:
        facts["truth"] = str(args.truth)
    with progress("drawing", None, show=not args.json) as bar:
        path = write_report(
            args.out, ensemble, settings, truth, facts, lambda what: bar.advance(1, what)
        )
    figures = sorted(str(one) for one in (args.out / "figures").glob("*.png"))
    made: dict[str, object] = {"report": str(path), "figures": figures}
    if args.tracks:
        made["tracks"] = str(args.out / "tracks.csv")
    emit(args, made, f"open {path}")
    return 0


def _positions(words: list[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, _, position = word.partition("=")
        if not position.isdigit():
            raise InputError(f"--select {word}: not of the form DIM=POSITION; write month=0")
        found[name] = int(position)
    return found


command = Command(
    "report",
    "a forecast, an analysis, a reanalysis: plumes, maps, probabilities, spectra",
    configure,
    run,
)


def _knows(path: Path) -> bool:
    """A file of fields, a Zarr group, or a folder of either."""
    from weather.data.opening import is_zarr

    if path.is_file() or is_zarr(path):
        return is_zarr(path) or path.suffix.lower() in _SUFFIXES
    return any(is_zarr(one) or one.suffix.lower() in _SUFFIXES for one in path.iterdir())


_SUFFIXES = frozenset({".nc", ".nc4", ".cdf", ".netcdf", ".grib", ".grib1", ".grib2", ".grb"})
reporter = Reporter(command, _knows)
