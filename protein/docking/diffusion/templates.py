"""From files to templates of poses, and from poses back to files.

A template is a batch whose leaves are placeholders: B poses of one ligand in one pocket, from
fresh conformers. Coordinates of samples are those of the receptor's file.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.complexes.complex import LigandGraph, Pocket
from protein.docking.diffusion.data import pose_batch
from protein.docking.diffusion.leaves import padded_pose
from protein.docking.diffusion.systems import Systems
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand, read_place
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.pose import LigandBatch, coordinates
from protein.docking.receptors.receptor import Receptor, read_receptor
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.names import stem_of
from sciddiff.state import Batch, State
from sciddiff.streams import seed_of

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_AT_ONCE = 32
_KEYS = ("receptor", "ligand", "center", "autobox_ligand", "n", "seed")


@dataclass(frozen=True, eq=False)
class Site:
    """A ligand and the place it is docked to.

    Attributes:
        ligand: the molecule.
        center: center of the pocket `[3]`, Å.
    """

    ligand: Ligand
    center: NDArray[np.float64]


def templates(request: Mapping[str, Any]) -> Iterator[Batch]:
    """Make batches of placeholders for a request of plain values.

    Args:
        request: ``receptor`` and ``ligand`` (files, or a SMILES), ``center`` ("x,y,z" in Å) or
            ``autobox_ligand`` (a file), ``n`` poses, ``seed`` of the conformers.

    Raises:
        InputError: a key is unknown or missing, or a file cannot be used.
    """
    unknown = sorted(set(request) - set(_KEYS))
    if unknown:
        raise InputError(f"{unknown[0]}: is not a field of dock; choose from {', '.join(_KEYS)}")
    missing = [key for key in ("receptor", "ligand") if not request.get(key)]
    if missing:
        raise InputError(f"{missing[0]}: is missing; give receptor, ligand and center")
    ligand = read_ligand(str(request["ligand"]))
    receptor = read_receptor(Path(str(request["receptor"])))
    center = _center(request)
    count, seed = _whole(request, "n", 1), _whole(request, "seed", 0)
    conformers = fresh_conformers(ligand, min(count, 8), seed_of(seed, "conformers", bits=31))
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(count, start + _AT_ONCE))
        chosen = conformers[np.asarray(numbers) % len(conformers)]
        names = tuple(f"{stem_of(ligand.name)}_{k + 1}" for k in numbers)
        yield site_batch([Site(ligand, center)], [receptor], [chosen], names)


def site_batch(
    sites: Sequence[Site],
    receptors: Sequence[Receptor],
    conformers: Sequence[NDArray[np.floating]],
    ids: tuple[str, ...] = (),
) -> Batch:
    """Placeholders of poses of several ligands.

    Args:
        sites: G ligands and places.
        receptors: one for each, or one for all.
        conformers: `[P, N, 3]` for each, Å; one pose comes of each conformer.
        ids: names of the poses.

    Raises:
        InputError: no receptor atom is near a place.
    """
    graphs = [LigandGraph.of(site.ligand) for site in sites]
    shared = receptors if len(receptors) == len(sites) else list(receptors) * len(sites)
    pockets = []
    for site, graph, receptor in zip(sites, graphs, shared, strict=True):
        pocket = Pocket.of(receptor, site.center, graph.radius).ball(site.center, graph.radius)
        if len(pocket) == 0:
            place = ", ".join(f"{x:.1f}" for x in site.center)
            raise InputError(
                f"center: no atom of {receptor.name} within {graph.radius:.0f} Å of ({place}); "
                "check that ligand and receptor share a frame"
            )
        pockets.append(pocket)
    systems = Systems.pack(graphs, pockets)
    counts = [len(c) for c in conformers]
    most = max(map(len, graphs))
    references = np.zeros((sum(counts), most, 3), dtype=np.float32)
    start = 0
    for graph, group in zip(graphs, conformers, strict=True):
        centred = group - group.mean(axis=1, keepdims=True)
        references[start : start + len(group), : len(graph)] = centred
        start += len(group)
    batch = pose_batch(systems, np.repeat(np.arange(len(sites)), counts), references, ids=ids)
    return batch.with_cond(sites=tuple(sites))


def posed_ligands(batch: Batch) -> LigandBatch:
    """The ligands of a batch of poses, L = B, P = 1."""
    systems: Systems = batch.cond["systems"]
    device = batch.cond["reference"].device
    return systems.to(device).posed(batch.cond["complex"], batch.cond["reference"])


def batch_coordinates(batch: Batch, x: State) -> Tensor:
    """Coordinates of poses from the pocket's center `[B, N, 3]`, Å.

    Args:
        batch: with conditions ``systems``, ``complex``, ``reference``.
        x: leaves of the state.
    """
    ligands = posed_ligands(batch)
    return coordinates(ligands, padded_pose(x, ligands)).squeeze(1)


def posed_molecules(batch: Batch, x: State) -> "list[Mol]":
    """Return an RDKit molecule for every pose, with its name, in the frame of the receptor.

    Args:
        batch: from ``site_batch``.
        x: leaves of the state.

    Raises:
        InputError: the batch is one of training data.
    """
    sites: tuple[Site, ...] | None = batch.cond.get("sites")
    if sites is None:
        raise InputError(
            "poses: those of training data cannot be written as molecules; sample from a request"
        )
    coords = batch_coordinates(batch, x).double().cpu().numpy()
    molecules = []
    for k, name in enumerate(batch.ids):
        site = sites[int(batch.cond["complex"][k])]
        mol = site.ligand.with_coords(coords[k, : len(site.ligand)] + site.center)
        mol.SetProp("_Name", name)
        molecules.append(mol)
    return molecules


def write_poses(batch: Batch, x: State, directory: Path) -> list[Path]:
    """Write one SDF file for every pose.

    Args:
        batch: from ``site_batch``.
        x: leaves of the state.
        directory: an existing folder.

    Raises:
        InputError: the batch is one of training data, or a file cannot be written.
    """
    from rdkit.Chem import MolToMolBlock

    files = []
    for name, mol in zip(batch.ids, posed_molecules(batch, x), strict=True):
        files.append(directory / f"{name}.sdf")
        with replacing(files[-1]) as out:
            out.write((MolToMolBlock(mol) + "$$$$\n").encode())
    return files


def _center(request: Mapping[str, Any]) -> NDArray[np.float64]:
    if request.get("autobox_ligand"):
        return read_place(str(request["autobox_ligand"])).mean(axis=0)
    text = request.get("center")
    words = text.split(",") if isinstance(text, str) else list(text or ())
    try:
        place = np.asarray([float(word) for word in words])
    except (TypeError, ValueError):
        place = np.zeros(0)
    if len(place) != 3 or not np.isfinite(place).all():
        raise InputError(f"center: {text!r} is not a place; give x,y,z in Å, or autobox_ligand")
    return place


def _whole(request: Mapping[str, Any], key: str, default: int) -> int:
    value = request.get(key, default)
    least = 1 if key == "n" else 0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if number != round(number, 0) or number < least:
        raise InputError(f"{key}: {value!r} is not a whole number of at least {least}")
    return int(number)
