"""``sciddiff dock``: poses of small molecules in a protein, one or a library."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from protein.commands.dock_ensemble import dock_ensemble
from protein.commands.dock_flexible import (
    check_covalent,
    check_flexible,
    covalent_of,
    flexible_side_chains,
)
from protein.commands.dock_options import configure
from protein.commands.dock_place import (
    SITES,
    check_place,
    place_of,
    receptor_near,
    sites_of,
    template_of,
)
from protein.commands.dock_summary import counting, networks, refuse_file_name, summarise
from protein.commands.dock_vina import resolve
from protein.docking import NEEDS
from protein.docking.energy import ahead
from sciddiff.cli.command import Command
from sciddiff.cli.options import pick_device, pick_steps, refuse_without
from sciddiff.cli.output import remark
from sciddiff.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from protein.docking.campaign.library import CampaignSettings, LibraryParts
    from protein.docking.campaign.output import Row
    from protein.docking.molecules.states import StateSettings
    from protein.docking.pipeline.docker import Docker
    from protein.docking.pipeline.settings import DockSettings
    from protein.docking.receptors.box import Box
    from protein.docking.receptors.covalent import CovalentSite
    from protein.docking.receptors.receptor import Receptor
    from protein.docking.receptors.side_chains import SideChains


def run(args: argparse.Namespace) -> int:
    """Dock every ligand and write poses and the table.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    resolve(args, configure)
    refuse_file_name(args.out, "dock")
    refuse_without(args, "--template", args.template is not None, ("--template-rmsd",))
    refuse_without(args, "--enumerate", bool(args.enumerate), ("--max-states",))
    refuse_without(args, "--enumerate protomers", "protomers" in args.enumerate, ("--ph",))
    network = ("--samples", "--steps", "--guidance", "--no-minimize")
    refuse_without(args, "--model", args.model is not None, network)
    check_place(args)
    check_flexible(args)
    check_covalent(args)
    if args.dataset is None and (args.receptor is None or args.ligand is None):
        raise InputError("there is nothing to dock; give -r and -l, or --dataset")
    if args.combine != "best" and len(args.receptor or ()) < 2:
        raise InputError("--combine: needs several structures; give -r at least two files")
    if not args.device.startswith("cuda"):
        ahead.begin()
    if args.dataset is not None:
        return _redock(args)
    args.library = args.ligand[0] if len(args.ligand) == 1 else args.ligand
    if len(args.receptor) > 1:
        return dock_ensemble(args, _dock_library)
    args.receptor = args.receptor[0]
    found = _dock_library(args)
    return 0 if found is None else summarise(args, *found)


def _dock_library(args: argparse.Namespace) -> tuple[list[Row], bool, Receptor | None] | None:
    """Dock to one structure.

    Returns:
        A row for every ligand, whether this call docked any, and the receptor of all poses, which
        is None where side chains are flexible; None in all processes but the first.
    """
    from dataclasses import asdict

    from protein.docking.campaign.library import CampaignSettings, dock_parts
    from sciddiff.cli.campaign import Campaign, machine_facts
    from sciddiff.cli.parts import world

    states = _states(args)
    receptor, boxes, sites = place_of(args)
    remark(args.receptor, receptor.notes)
    covalent = covalent_of(args, receptor)
    sides = flexible_side_chains(args, receptor) if covalent is None else covalent.sides
    settings = _settings(args)
    portions = CampaignSettings(
        args.batch, args.check, not args.no_complex, hydrogens=args.hydrogens, pdbqt=args.pdbqt
    )
    if states is not None:
        args.library = _state_library(args, states)
    make = _Library(args, boxes, settings, portions)
    parts = make()
    total, docked = parts.check()
    if docked < total:
        make.docker = _docker_maker(args, settings)(receptor, boxes, sides, covalent)
    inputs = networks(args).add("--receptor", args.receptor)
    if args.template is not None:
        inputs.add("--template", args.template)
    campaign = Campaign.open(
        args.out,
        _request(args, boxes, settings, sides)
        | ({} if states is None else {"states": asdict(states)}),
        args.command_line,
        inputs,
        parts.begun,
    )
    campaign.facts |= {
        "receptor": list(receptor.notes),
        "ligand": args.ligand[0] if len(args.ligand) == 1 else args.ligand,
        **machine_facts(),
        **campaign.facts,
    }
    if sites:
        campaign.facts["sites"] = [site.as_dict() for site in sites]
    first, before = world().rank == 0, len(campaign.runs)
    if args.workers > 1:  # so that not each of them compiles
        ahead.wait()
    with counting(total, show=first and not args.json) as advance:
        rows = dock_parts(make, campaign, args.workers, advance, args.command_line)
    # What came of all of them is reported, and judged, by the first process.
    made = len(campaign.runs) > before
    return (rows, made, receptor if sides is None else None) if first else None


class _Library:
    """Makes the library in any process: what is ready stays behind, and is made again there."""

    def __init__(
        self,
        args: argparse.Namespace,
        boxes: Sequence[Box],
        settings: DockSettings,
        portions: CampaignSettings,
        docker: Docker | None = None,
    ) -> None:
        self.args, self.boxes, self.settings = args, boxes, settings
        self.portions, self.docker = portions, docker

    def __call__(self) -> LibraryParts:
        from protein.docking.campaign.library import LibraryParts

        a = self.args
        return LibraryParts(a.library, self._ready, a.out, a.receptor, self.portions)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Library, (self.args, self.boxes, self.settings, self.portions)

    def _ready(self) -> Docker:
        if self.docker is None:
            receptor = receptor_near(self.args, self.boxes)
            covalent = covalent_of(self.args, receptor)
            sides = None if covalent else flexible_side_chains(self.args, receptor)
            make = _docker_maker(self.args, self.settings)
            self.docker = make(receptor, self.boxes, sides, covalent)
        return self.docker


def _states(args: argparse.Namespace) -> StateSettings | None:
    """The states to enumerate; None to dock the molecules as they are."""
    from protein.docking.molecules.states import StateSettings

    kinds = tuple(word.strip() for word in args.enumerate.split(",") if word.strip())
    if not kinds and not args.strip_salts:
        return None
    return StateSettings(kinds, args.max_states, args.ph, args.strip_salts)


def _state_library(args: argparse.Namespace, states: StateSettings) -> str:
    """Write the table of states, which is docked in place of the molecules."""
    from protein.docking.molecules.states import STATES, write_states

    table = args.out / STATES
    write_states(args.library, table, states)
    return str(table)


def _redock(args: argparse.Namespace) -> int:
    """Dock every ligand of a set of complexes into its own receptor."""
    from protein.docking.campaign.dataset import (
        Dataset,
        DatasetParts,
        DatasetSettings,
        dock_dataset,
    )
    from protein.docking.receptors.waters import kept_groups, with_near_waters
    from sciddiff.cli.campaign import Campaign, machine_facts

    if _states(args) is not None:
        raise InputError("--enumerate, --strip-salts: apply to a library (-l); leave them out")
    names = (
        "receptor", "ligand", "autobox_ligand", "center", "pocket_residues", "size", "flex",
        "flex_ligand", "template",
    )  # fmt: skip
    given = next((name for name in names if getattr(args, name) is not None), None)
    if given is not None:
        option = given.replace("_", "-")
        raise InputError(
            f"--{option}: --dataset has receptors, ligands and boxes of its own; leave it out"
        )
    if args.workers > 1:
        raise InputError("--workers: applies to a library (-l); leave it out with --dataset")
    kept = kept_groups(args.keep, reach=True)
    settings = _settings(args)
    dataset = Dataset.find(args.dataset)
    make_plain = _docker_maker(args, settings)

    def make(receptor: Receptor, box: Box, crystal: NDArray[np.float64]) -> Docker:
        """Around the crystal ligand, or blind."""
        sites = sites_of(args, receptor)
        boxes = [site.box for site in sites] or [box]
        receptor = with_near_waters(receptor, boxes, kept)
        sides = flexible_side_chains(args, receptor, crystal)
        return make_plain(receptor, boxes, sides, None)

    request = {**_plain_request(args, settings), "margin": args.autobox_add}
    if args.flex_auto is not None:
        request["flex_auto"] = args.flex_auto
    if args.blind:
        request["blind"] = args.sites or SITES
    what = DatasetSettings(args.autobox_add, kept.names, args.check, not args.no_complex)
    begun = DatasetParts(dataset, make, args.out, what).begun
    campaign = Campaign.open(args.out, request, args.command_line, networks(args), begun)
    campaign.facts |= {"dataset": str(args.dataset), **machine_facts(), **campaign.facts}
    before = len(campaign.runs)
    with counting(len(dataset.names), show=not args.json) as advance:
        rows = dock_dataset(dataset, make, campaign, what, advance, args.command_line)
    return summarise(args, rows, len(campaign.runs) > before)


def _settings(args: argparse.Namespace) -> DockSettings:
    from protein.docking.diffusion.settings import ProposeSettings
    from protein.docking.energy.scoring_file import find_scoring
    from protein.docking.pipeline.settings import DockSettings

    if args.scoring != "vina":
        if args.ranker not in (None, "none"):
            raise InputError("--ranker: has learned from Vina's terms; leave it or --scoring out")
        args.ranker = "none"
    steps = pick_steps(args.steps, args.model, 10)
    return DockSettings(
        poses=args.poses,
        effort=args.effort,
        propose=ProposeSettings(args.samples, steps, guidance=args.guidance),
        seed=args.seed,
        minimize=args.minimize,
        weights=find_scoring(args.scoring),
        energy_range=args.energy_range,
        min_rmsd=args.min_rmsd,
        water_price=args.water_price,
        template_rmsd=args.template_rmsd,
    )


def _docker_maker(
    args: argparse.Namespace, settings: DockSettings
) -> Callable[[Receptor, Box | Sequence[Box], SideChains | None, CovalentSite | None], Docker]:
    """Makes receptors ready; the network is read once."""
    import torch

    from protein.docking.pipeline.docker import Docker

    if args.threads or args.workers > 1:
        shared = max(1, (os.cpu_count() or 1) // args.workers)
        torch.set_num_threads(args.threads or shared)
    from protein.docking.confidence.ranker import find_ranker

    device = _device(args)
    ranker = find_ranker(args.ranker, device)
    denoiser = None
    if args.model is not None:  # what the network needs is imported for it alone
        from protein.docking.diffusion.propose import find_proposer

        denoiser = find_proposer(args.model, device)
    template = template_of(args)
    return lambda receptor, box, sides, covalent: Docker(
        receptor, box, settings, denoiser, ranker, device, sides, template, covalent
    )


def _device(args: argparse.Namespace) -> torch.device:
    """The device asked for; of several processes each has the next CUDA device."""
    import torch

    device = pick_device(args.device)
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    if together and device.type == "cuda" and device.index is None:
        number = torch.distributed.get_rank() % torch.cuda.device_count()
        return torch.device("cuda", number)
    return device


def _request(
    args: argparse.Namespace,
    boxes: Sequence[Box],
    settings: DockSettings,
    sides: SideChains | None,
) -> dict[str, Any]:
    """What decides every pose, beside the content of files and networks."""
    from dataclasses import asdict

    return {
        "box": [asdict(box) for box in boxes] if args.blind else asdict(boxes[0]),
        **_plain_request(args, settings),
        **({} if sides is None else {"flex": list(sides.residues)}),
    }


def _plain_request(args: argparse.Namespace, settings: DockSettings) -> dict[str, Any]:
    """The options that decide every pose, without molecules and places.

    Options that came later are named where they are given, so that older folders can go on.
    """
    from dataclasses import asdict

    from protein.docking.energy.terms import VINA

    request = {"keep": args.keep, **asdict(settings)}
    request |= {name: True for name in ("hydrogens", "pdbqt") if getattr(args, name)}
    for name in ("covalent", "warhead"):
        if getattr(args, name) is not None:
            request[name] = getattr(args, name)
    later = {"energy_range": None, "min_rmsd": None, "water_price": None, "template_rmsd": 2.0,
             "weights": asdict(VINA)}  # fmt: skip
    same = [key for key, value in later.items() if request[key] == value]
    return {key: value for key, value in request.items() if key not in same}


command = Command(
    name="dock",
    help="poses of small molecules in a protein: one ligand or a library",
    configure=configure,
    run=run,
    example="sciddiff dock -r receptor.pdb -l ligands.sdf --autobox-ligand crystal.sdf -o poses/",
    needs=NEEDS,
)
