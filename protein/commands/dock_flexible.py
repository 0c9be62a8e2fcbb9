"""The options of `sciddiff dock` that let side chains turn, or bond ligands to one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sciddiff.cli.output import remark
from sciddiff.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protein.docking.receptors.covalent import CovalentSite
    from protein.docking.receptors.receptor import Receptor
    from protein.docking.receptors.side_chains import SideChains

__all__ = ["check_covalent", "check_flexible", "covalent_of", "flexible_side_chains"]


def check_flexible(args: argparse.Namespace) -> None:
    """Refuse options of flexible side chains that cannot go together, before anything is read."""
    if args.flex_ligand is not None and args.flex_auto is None:
        raise InputError("--flex-ligand: applies to --flex-auto only; give that, too")
    if args.flex is None and args.flex_auto is None:
        return
    if args.flex is not None and args.flex.lower().endswith((".pdbqt", ".pdb")):
        raise InputError(
            f"--flex {args.flex}: is a file; give the whole receptor with -r, and name the "
            "residues that turn, as in --flex A:45,A:48"
        )
    if args.flex is not None and args.flex_auto is not None:
        raise InputError("--flex, --flex-auto: give one of them")
    option = "--flex" if args.flex_auto is None else "--flex-auto"
    near = args.flex_ligand or args.autobox_ligand
    if args.flex_auto is not None and args.dataset is None and near is None:
        raise InputError(
            "--flex-auto: needs a ligand; give --flex-ligand or --autobox-ligand, or name "
            "residues with --flex"
        )
    if args.model is not None:
        raise InputError(f"{option}: a network takes the receptor as rigid; leave --model out")


def check_covalent(args: argparse.Namespace) -> None:
    """Refuse options that do not go with a bond to a side chain, before anything is read."""
    if args.covalent is None:
        if args.warhead is not None:
            raise InputError("--warhead: applies to --covalent only; give --covalent A:145:SG")
        return
    given = {
        "--dataset": args.dataset is not None,
        "--blind": args.blind,
        "--template": args.template is not None,
        "--model": args.model is not None,
        "--hydrogens": args.hydrogens,
        "--ranker": args.ranker not in (None, "none"),
    }
    option = next((name for name, there in given.items() if there), None)
    if option is not None:
        raise InputError(f"--covalent: does not go with {option}; leave one of them out")
    args.ranker = "none"


def flexible_side_chains(
    args: argparse.Namespace, receptor: Receptor, crystal: NDArray[np.float64] | None = None
) -> SideChains | None:
    """The flexible side chains asked for; None for a rigid receptor."""
    from protein.docking.receptors.side_chains import side_chains

    labels = _labels(args, receptor, crystal)
    option = "--flex" if args.flex_auto is None else "--flex-auto"
    return None if labels is None else side_chains(receptor, labels, option)


def covalent_of(args: argparse.Namespace, receptor: Receptor) -> CovalentSite | None:
    """The side chain that ligands are bonded to, with the flexible ones; None for none."""
    if args.covalent is None:
        return None
    from protein.docking.receptors.covalent import covalent_atom, covalent_site

    labels = _labels(args, receptor, None) or ()
    if args.flex is None:  # of those nearby it turns anyway
        label, _ = covalent_atom(receptor, args.covalent)
        labels = tuple(one for one in labels if one != label)
    return covalent_site(receptor, args.covalent, labels, args.warhead)


def _labels(
    args: argparse.Namespace, receptor: Receptor, crystal: NDArray[np.float64] | None
) -> tuple[str, ...] | None:
    """Labels of the flexible residues; None for a rigid receptor."""
    from protein.docking.molecules.files import read_place
    from protein.docking.receptors.residues import named_residues
    from protein.docking.receptors.side_chains import residues_near

    if args.flex is not None:
        return named_residues(receptor, args.flex, "--flex")
    if args.flex_auto is None:
        return None
    place = read_place(args.flex_ligand or args.autobox_ligand) if crystal is None else crystal
    labels, note = residues_near(receptor, place, args.flex_auto)
    turn = f"side chains that turn: {', '.join(labels)}"
    remark(receptor.name, (note, turn) if note else (turn,))
    return labels
