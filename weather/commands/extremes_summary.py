"""What ``sciddiff extremes`` tells of its estimate."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciddiff.cli.output import as_table

__all__ = ["found_text", "never_text"]

_LOG = logging.getLogger(__name__)


def never_text(args: argparse.Namespace, found: Mapping[str, Any], file: Path) -> str:
    """What to do where no member reached the threshold.

    Args:
        args: The command line.
        found: What is known.
        file: Where that is written.
    """
    if args.method == "mc":
        known = f"p is below {found['interval'][1]:.2g} (95 %)"
        remedy = "use --method smc or guide, more --members, or a milder threshold"
    else:
        known = "nothing is known of p"
        remedy = "give more --members, or a milder threshold"
    return (
        f"--threshold {args.threshold}: none of {found['trajectories']} members reached it (the "
        f"furthest {found['furthest']:.5g} {found['units']}); {known}, in "
        f"{file}; {remedy}"
    )


def found_text(args: argparse.Namespace, found: Mapping[str, Any]) -> str:
    """The table that people read."""
    sign = "<=" if found["below"] else ">="
    low, high = found["interval"]
    p = found["probability"]
    rows = [
        ("event", f"{found['index']} {sign} {found['threshold']:.5g} {found['units']}"),
        ("from", found["start"]),
        ("probability", f"{p:.3g} (once in {1 / p:.3g} such forecasts)"),
        ("95 % interval", f"{low:.3g} to {high:.3g}"),
        *_usual(found),
        *_members(found),
        ("effective members in the event", f"{found['effective_size']:.0f}"),
        ("members simulated", str(found["trajectories"])),
    ]
    doubts = found.get("doubts", [])  # estimates of earlier versions have none
    for doubt in doubts:
        _LOG.warning("cannot be trusted: %s", doubt)
        rows.append(("cannot be trusted", doubt))
    if doubts:
        remedy = "more --members and --pilot, --method guide, or a milder threshold"
        rows.append(("remedy", remedy))
    return f"{as_table(('', args.method), rows)}\n\nin {args.out}"


def _members(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was done to the members, or why nothing was."""
    if "note" in found:
        return [("note", found["note"])]
    how = found.get("calibration", "none")
    return [] if how == "none" else [("calibrated", how)]


def _usual(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How often the season brings such weather, where an archive tells."""
    share = found.get("climate_probability")
    return [] if share is None else [("share of the season's days in the archive", f"{share:.3g}")]
