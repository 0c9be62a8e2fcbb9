"""The options of ``sciddiff extremes``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sciddiff.cli.options import add_device, add_json, add_output, add_seed, count
from weather.commands.options import add_calibration, add_perturbations, add_regrid

__all__ = ["configure"]

_EXAMPLES = """examples:
  sciddiff extremes init.nc --index "mean(tas, europe, 5..8)" --threshold q0.99 -n 2000
  sciddiff extremes init.nc --index "mean(tas, 35:60,-10:30, 5..8)" --threshold 24degC --method smc
  sciddiff extremes init.nc --index "max(mean(tp, europe), 1..10)" --threshold 15 --method guide
  sciddiff extremes init.nc --index "mean(tas, europe, 5..8)" --threshold c0.99 --archive data.zarr

index: mean, max, min or sum of (channel, region, days), or one of these over days around
mean(channel, region); a minus in front asks for small values. Regions: a name, or
south:north,west:east.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("initial", type=Path, nargs="+", metavar="FILE",
        help="initial states, as for sciddiff forecast")  # fmt: skip
    add(
        "--index",
        required=True,
        metavar="TEXT",
        help="the number whose extremes are sought, as described below",
    )
    add("--threshold", required=True, metavar="X",
        help="value with optional units; q0.99: quantile of a plain ensemble; c0.99: quantile of "
        "the climate of the season, from --archive")  # fmt: skip
    add("--method", choices=("mc", "smc", "guide"), default="mc",
        help="mc counts members, smc clones those that approach the event, guide steers the noise "
        "(default mc)")  # fmt: skip
    add(
        "-n",
        "--members",
        type=count(),
        default=1000,
        metavar="N",
        help="number of members in all (default 1000)",
    )
    add(
        "--repeats",
        type=count(4),
        default=10,
        metavar="R",
        help="independent repeats of smc and guide, which give the interval (default 10)",
    )
    add("--pilot", type=count(8), default=100, metavar="M",
        help="plain members that choose threshold quantiles and tilts (default 100)")  # fmt: skip
    add("--start", metavar="DATE", help="initial time in the files (default: the last)")
    add_regrid(parser)
    add("--model", metavar="NAME", help="weights that ship, or a model directory")
    add(
        "--steps",
        type=count(),
        default=6,
        metavar="K",
        help="network calls a step of the diffusion head (default 6)",
    )
    add_calibration(parser)
    add_perturbations(parser, "and the climate of the season")
    add(
        "--batch",
        type=count(),
        default=32,
        metavar="B",
        help="number of members that are stepped together (default 32)",
    )
    add("--no-composites", action="store_true", help="compute the probability alone")
    add_output(parser, "extremes")
    add_seed(parser)
    add_device(parser)
    add_json(parser)
