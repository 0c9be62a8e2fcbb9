"""The options of `sciddiff dock` that say where to search, and which groups are there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.docking.molecules.ligand import Ligand
    from protein.docking.receptors.box import Box
    from protein.docking.receptors.pockets import BindingSite
    from protein.docking.receptors.receptor import Receptor

__all__ = ["SITES", "check_place", "place_of", "receptor_near", "sites_of", "template_of"]

ONE_OF = "give one of --autobox-ligand, --center, --pocket-residues and --blind"

SITES = 5
"""Pockets that are searched with ``--blind``, unless the user says how many."""


def check_place(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before anything is read."""
    if args.sites is not None and not args.blind:
        raise InputError("--sites: applies to --blind only; give --blind, or leave it out")
    given = (args.autobox_ligand, args.center, args.pocket_residues)
    if args.template is not None and args.blind:
        raise InputError("--template: says where to search; leave --blind out")
    if args.template is not None and args.model is not None:
        raise InputError("--template: a network does not keep to it; leave --model out")
    if args.template is not None and args.dataset is None and not any(given):
        args.autobox_ligand = str(args.template)
    if args.blind and any(value is not None for value in given):
        raise InputError(f"where to search: {ONE_OF}")


def place_of(args: argparse.Namespace) -> tuple[Receptor, list[Box], list[BindingSite]]:
    """The receptor with the groups that are kept, the boxes to search, and the sites of --blind.

    Pockets are found, and boxes made, without regard to waters that are kept by their distance.
    """
    from protein.docking.receptors.receptor import read_receptor
    from protein.docking.receptors.waters import (
        is_water,
        kept_groups,
        refuse_absent,
        with_near_waters,
    )

    kept = kept_groups(args.keep, reach=True)
    receptor = read_receptor(args.receptor, kept.names)
    refuse_absent(args.receptor, receptor, kept.names)
    dry = receptor if kept.reach is None else receptor.select(~is_water(receptor))
    sites = sites_of(args, dry)
    boxes = [site.box for site in sites] if args.blind else [_box(args, dry)]
    return with_near_waters(receptor, boxes, kept), boxes, sites


def template_of(args: argparse.Namespace) -> Ligand | None:
    """The ligand near which poses stay, in its place; None without one."""
    if args.template is None:
        return None
    from protein.docking.pipeline.dock import read_template

    return read_template(args.template)


def receptor_near(args: argparse.Namespace, boxes: Sequence[Box]) -> Receptor:
    """The receptor of `place_of`, in a process that has the boxes."""
    from protein.docking.receptors.receptor import read_receptor
    from protein.docking.receptors.waters import kept_groups, with_near_waters

    kept = kept_groups(args.keep, reach=True)
    return with_near_waters(read_receptor(args.receptor, kept.names), boxes, kept)


def sites_of(args: argparse.Namespace, receptor: Receptor) -> list[BindingSite]:
    """The pockets to search, with --blind; none without."""
    from dataclasses import replace

    from protein.docking.receptors.box import Box
    from protein.docking.receptors.pockets import find_pockets

    if not args.blind:
        return []
    sites = find_pockets(receptor, args.sites or SITES)
    if args.size is not None:
        a, b, c = args.size
        sites = [replace(site, box=Box(site.center, (a, b, c))) for site in sites]
    return sites


def _box(args: argparse.Namespace, receptor: Receptor) -> Box:
    from protein.docking.molecules.files import read_place
    from protein.docking.receptors.box import Box, box_around
    from protein.docking.receptors.residues import box_of_residues

    given = [args.autobox_ligand, args.center, args.pocket_residues]
    covalent: str | None = args.covalent if all(value is None for value in given) else None
    if covalent is None and sum(value is not None for value in given) != 1:
        raise InputError(f"where to search: {ONE_OF}")
    if covalent is not None:
        from protein.docking.receptors.covalent import covalent_site

        box = covalent_site(receptor, covalent).box
    elif args.autobox_ligand is not None:
        box = box_around(read_place(args.autobox_ligand), args.autobox_add)
    elif args.pocket_residues is not None:
        box = box_of_residues(receptor, args.pocket_residues, args.autobox_add)
    else:
        x, y, z = args.center
        box = Box((x, y, z), (22.0, 22.0, 22.0))
    if args.size is not None:
        a, b, c = args.size
        box = Box(box.center, (a, b, c))
    return box
