"""The options of ``sciddiff forecast``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sciddiff.cli.options import add_device, add_json, add_seed, count, number
from weather.commands.options import add_calibration, add_perturbations, add_regrid

__all__ = ["configure"]

_EXAMPLES = """examples:
  sciddiff forecast init.nc --members 50 --days 10 -o fc.zarr
  sciddiff forecast init.nc --head diffusion --steps 20 --members 20 -o fc.nc
  sciddiff forecast control.nc --start 0001-10-08 0001-11-20 --members 50 -o fc.zarr
  sciddiff forecast init.nc --perturb lagged-difference --archive data.zarr -o fc.zarr
  torchrun --nproc-per-node 2 --no-python sciddiff forecast init.nc --members 50 -o fc.zarr

The same command continues where it was stopped; with more --members it adds to what is there.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff forecast``."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "initial",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="file with the last two states: NetCDF, Zarr, GRIB or a prepared store",
    )
    add(
        "-o",
        "--out",
        type=Path,
        default=Path("forecast.zarr"),
        metavar="PATH",
        help="Zarr store to write, or one file: NetCDF if it ends in .nc, GRIB if in .grib "
        "(default forecast.zarr)",
    )
    add(
        "-n",
        "--members",
        type=count(),
        default=20,
        metavar="N",
        help="number of members (default 20)",
    )
    add(
        "--days",
        type=number(0.0),
        default=10.0,
        metavar="D",
        help="length of the forecast (default 10)",
    )
    add(
        "--start",
        nargs="+",
        metavar="DATE",
        help="initial times to take from the files, or all (default: the last one)",
    )
    add_regrid(parser)
    add(
        "--boundary",
        type=Path,
        metavar="FILE",
        help="parent forecast or analyses that prescribe the edges of a limited area",
    )
    add(
        "--prescribed",
        metavar="FILE",
        help="forecast or analyses that prescribe channels, such as sst, of models that are told "
        "them; or persistence, to keep the initial state",
    )
    add(
        "--names",
        choices=("own", "weatherbench2", "weatherbenchx"),
        default="own",
        help="names of dimensions and variables in the output (default own)",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", metavar="NAME", help="weights that ship, or the folder of a model"
    )
    model.add_argument(
        "--head",
        choices=("crps", "diffusion"),
        help="crps takes one network call a step, diffusion many (default: as the model was "
        "trained)",
    )
    model.add_argument(
        "--steps",
        type=count(),
        metavar="K",
        help="network calls a step of the diffusion head (default 6, or what the model says it "
        "is best drawn with)",
    )
    model.add_argument(
        "--sampler",
        choices=("dpm", "midpoint", "heun", "sde", "map"),
        help="sampler of the diffusion head (default dpm, DPM-Solver++ 2M, or map, jumps, where "
        "the model is a flow map)",
    )
    add_calibration(parser)
    add_perturbations(parser)
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--batch", type=count(), metavar="B", help="number of members that are made together"
    )
    machine.add_argument(
        "--memory", metavar="SIZE", help="memory that a batch may take, such as 2GB"
    )
    machine.add_argument("--threads", type=count(), metavar="T", help="number of CPU threads")
    add_seed(parser)
    add_device(parser)
    add_json(parser)
