"""The options of `sciddiff dock` that let side chains of the receptor turn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sciddiff.cli.output import remark
from sciddiff.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protein.docking.receptors.receptor import Receptor
    from protein.docking.receptors.side_chains import SideChains

__all__ = ["check_flexible", "flexible_side_chains"]


def check_flexible(args: argparse.Namespace) -> None:
    """Refuse options of flexible side chains that cannot go together, before anything is read."""
    if args.flex is None and args.flex_auto is None:
        return
    if args.flex is not None and args.flex_auto is not None:
        raise InputError("--flex, --flex-auto: give one of them")
    option = "--flex" if args.flex_auto is None else "--flex-auto"
    if args.flex_auto is not None and args.dataset is None and args.autobox_ligand is None:
        raise InputError(
            "--flex-auto: needs the ligand of --autobox-ligand; give it, or name residues with "
            "--flex"
        )
    if args.model is not None:
        raise InputError(f"{option}: a network takes the receptor as rigid; leave --model out")


def flexible_side_chains(
    args: argparse.Namespace, receptor: Receptor, crystal: NDArray[np.float64] | None = None
) -> SideChains | None:
    """The flexible side chains asked for; None for a rigid receptor."""
    from protein.docking.molecules.files import read_place
    from protein.docking.receptors.residues import named_residues
    from protein.docking.receptors.side_chains import residues_near, side_chains

    if args.flex is not None:
        labels = named_residues(receptor, args.flex, "--flex")
        return side_chains(receptor, labels, "--flex")
    if args.flex_auto is None:
        return None
    place = read_place(args.autobox_ligand) if crystal is None else crystal
    labels, note = residues_near(receptor, place, args.flex_auto)
    remark(receptor.name, (note,) if note else ())
    return side_chains(receptor, labels, "--flex-auto")
