"""``sciddiff dock`` with several structures of a receptor: each in its folder, one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from protein.commands.dock_place import place_of
from protein.commands.dock_summary import summarise
from sciddiff.cli.output import remark
from sciddiff.errors import InputError
from sciddiff.names import Names

if TYPE_CHECKING:
    from protein.docking.campaign.output import Row
    from protein.docking.receptors.receptor import Receptor

    Found = tuple[list[Row], bool, Receptor | None] | None

__all__ = ["dock_ensemble"]


def dock_ensemble(
    args: argparse.Namespace, dock_one: Callable[[argparse.Namespace], Found]
) -> int:
    """Dock to several structures, and keep the best of each ligand.

    A structure that cannot be used is left out with a line that says why, before any is docked to.

    Args:
        args: options of `dock`, with several receptors.
        dock_one: docks to one; None in all processes but the first.

    Returns:
        The exit status.

    Raises:
        InputError: none of the structures can be used.
    """
    from protein.docking.campaign.ensemble import best_over_structures, write_ensemble

    usable = _usable(args)
    names, rows, made, ended = Names(), {}, False, True
    for receptor in args.receptor:
        name = names.unique(receptor.name.split(".")[0], "receptor")
        if receptor not in usable:
            continue
        one = argparse.Namespace(**vars(args))
        one.receptor, one.out = receptor, args.out / name
        found = dock_one(one)
        ended &= found is not None
        if found is not None:
            rows[name], made = found[0], made or found[1]
    if not ended:  # the first of several processes reports
        return 0
    best = best_over_structures(rows, args.combine)
    write_ensemble(args.out, best, rows)
    status = summarise(args, best, made)
    return max(status, 1) if len(usable) < len(args.receptor) else status


def _usable(args: argparse.Namespace) -> list[Path]:
    """The structures that can be docked to; a line for each of the others.

    Raises:
        InputError: there is none.
    """
    from protein.docking.receptors.common_frame import frame_fault

    usable: list[Path] = []
    faults: dict[Path, str] = {}
    first: Receptor | None = None
    for file in args.receptor:
        try:
            receptor, boxes, _ = place_of(argparse.Namespace(**{**vars(args), "receptor": file}))
            first = receptor if first is None else first
            fault = "" if args.blind else frame_fault(first, receptor, boxes[0])
        except InputError as error:
            fault = str(error)
        if fault:
            faults[file] = fault
        else:
            usable.append(file)
    if not usable:
        raise InputError("; ".join(dict.fromkeys(faults.values())))
    for file, fault in faults.items():
        remark(file, [f"this structure is left out: {fault}"])
    return usable
