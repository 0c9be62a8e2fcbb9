"""Docking from Python: it takes molecules and returns RDKit molecules with ranked poses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from protein.docking.confidence.ranker import find_ranker
from protein.docking.molecules.files import read_ligands, read_place
from protein.docking.molecules.ligand import Ligand, ligand_from_mol
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.result import Result
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.files import read_poses
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.covalent import covalent_site
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.receptors.residues import named_residues
from protein.docking.receptors.side_chains import side_chains
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def dock(
    receptor: Receptor | str | os.PathLike[str],
    ligands: Sequence[str | Mol] | str | os.PathLike[str],
    box: Box | Sequence[Box] | str | os.PathLike[str] | None,
    settings: DockSettings | None = None,
    model: str | None = None,
    ranker: str | None = None,
    device: torch.device | str = "cpu",
    flexible: str = "",
    template: Ligand | str | os.PathLike[str] | None = None,
    covalent: str = "",
    warhead: str | None = None,
) -> list[list[Mol]]:
    """Dock molecules, with the poses and numbers of ``sciddiff dock``.

    Args:
        receptor: a structure file, or what ``read_receptor`` made of it.
        ligands: a file of molecules, or a list of SMILES and RDKit molecules. The place of a
            ligand in it decides its random draws.
        box: where to search; several boxes, whose poses are ranked together; or a file with a
            ligand in its pocket, around which the box has 4 Å on each side. None, with
            ``covalent``, for a box around its atom.
        settings: effort, poses and seed; those of the command by default.
        model: name or folder of a network whose draws join the search.
        ranker: name or folder of a ranker; ``none`` to order poses by energy. By default the
            ranker that ships.
        device: device to compute on.
        flexible: residues whose side chains turn with the ligand, such as ``A:45,A:48``.
        template: a ligand in its place, or its file: near it stays what others share with it.
        covalent: the atom that ligands are bonded to, such as ``A:145:SG``; poses are then of the
            ligands as they are bound, and ordered by energy.
        warhead: SMARTS of what reacts; None for the warheads that are built in.

    Returns:
        Poses of each ligand, the best first. Each is an RDKit molecule of heavy atoms with one
        conformer in the frame of the receptor and the tags of the command's SDF files as
        properties: rank, confidence, affinity, energy and its terms, strain, smiles.

    Raises:
        InputError: the receptor, the box or the model cannot be used, or a ligand cannot be
            docked.
    """
    protein = receptor if isinstance(receptor, Receptor) else read_receptor(Path(receptor))
    if isinstance(box, str | os.PathLike):
        box = box_around(read_place(box))
    network = None
    if model is not None:
        from protein.docking.diffusion.propose import find_proposer

        network = find_proposer(model, torch.device(device))
    named: tuple[str, ...] = ()
    if flexible:
        named = named_residues(protein, flexible, "flexible side chains")
    site = covalent_site(protein, covalent, named, warhead) if covalent else None
    sides = side_chains(protein, named) if named and site is None else None
    if box is None:
        if site is None:
            raise InputError("box: there is none; give at least one")
        box = site.box
    known = read_template(template) if isinstance(template, str | os.PathLike) else template
    judge = find_ranker("none" if site is not None and ranker is None else ranker, device)
    docker = Docker(protein, box, settings, network, judge, device, sides, known, site)
    poses = []
    for number, ligand in enumerate(_read(ligands)):
        (result,) = docker.dock([ligand], [number])
        if result.docked is None:
            raise InputError(result.error)
        poses.append(pose_molecules(ligand, result))
    return poses


def read_template(file: str | os.PathLike[str]) -> Ligand:
    """The ligand of a file, in its place, as a template of poses.

    Raises:
        InputError: the file holds no ligand with coordinates.
    """
    pose = next(read_poses(Path(file)))
    if pose.ligand is None:
        raise InputError(f"{file}: {pose.error}")
    return replace(pose.ligand, coords=pose.coords)


def pose_molecules(ligand: Ligand, result: Result) -> list[Mol]:
    """Return the poses as RDKit molecules, with their tags as properties.

    Args:
        ligand: the molecule.
        result: result of docking it.
    """
    ligand, made = result.molecule(ligand), list[Any]()
    for k, coords in enumerate(() if result.docked is None else result.docked.coords):
        mol = ligand.with_coords(coords)
        for key, value in {"_Name": ligand.name, **result.tags(ligand, k)}.items():
            mol.SetProp(key, value)
        made.append(mol)
    return made


def _read(ligands: Sequence[str | Mol] | str | os.PathLike[str]) -> list[Ligand]:
    """The molecules; a list of them, or those of a file."""
    if isinstance(ligands, str | os.PathLike):
        rows = list(read_ligands(ligands))
    else:
        texts = enumerate(ligands)
        return [
            next(iter(_read(one))) if isinstance(one, str) else ligand_from_mol(one, _name(one, i))
            for i, one in texts
        ]
    failed = [row.error for row in rows if row.ligand is None]
    if failed:
        raise InputError(failed[0])
    return [row.ligand for row in rows if row.ligand is not None]


def _name(mol: Mol, index: int) -> str:
    given = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
    return given or f"ligand_{index + 1}"
