"""Options that several verbs of the weather share, spelt and explained alike."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Protocol

from sciddiff.cli.options import number

__all__ = ["add_calibration", "add_perturbations", "add_regrid", "add_scheduler"]


class _Takes(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *name_or_flags: str, **kwargs: Any) -> Any:
        """Add an option."""
        ...


def add_regrid(parser: _Takes, what: str = "the files to the model's grid") -> None:
    """Add ``--regrid``.

    Args:
        parser: Of the verb.
        what: Is brought to which grid.
    """
    parser.add_argument(
        "--regrid", choices=("conservative", "bilinear"), help=f"method to regrid {what}"
    )


def add_scheduler(parser: _Takes, does: str) -> None:
    """Add ``--scheduler``; see `weather.cluster`.

    Args:
        parser: Of the verb.
        does: What the workers do.
    """
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"Dask scheduler whose workers {does}: tcp://host:8786",
    )


def add_calibration(parser: ArgumentParser) -> None:
    """Add ``--calibration``; see `weather.calibration.members.calibration_of`."""
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="what sciddiff calibrate wrote, or none for members as the model makes them "
        "(default: the model's own, where it has one)",
    )


def add_perturbations(parser: ArgumentParser, more: str = "") -> None:
    """Add ``--perturb``, ``--amplitude`` and ``--archive``; see `weather.forecast.perturb`.

    Args:
        parser: Of the verb.
        more: What else is taken from the archive.
    """
    group = parser.add_argument_group("initial perturbations")
    group.add_argument(
        "--perturb",
        choices=("none", "lagged-difference", "random-field"),
        default="none",
        help="how the initial states of the members differ (default none)",
    )
    group.add_argument(
        "--amplitude",
        type=number(0.0),
        metavar="A",
        help="strength of the perturbation (default 0.05 for lagged-difference, 0.1 for "
        "random-field)",
    )
    group.add_argument(
        "--archive",
        type=Path,
        metavar="STORE",
        help=f"prepared store from which lagged differences {more}".rstrip() + " are taken",
    )
