"""Examples for the ranker: complexes docked by our own search, and what came near the truth.

A complex is docked into a box about its crystal ligand from fresh conformers, as a user would.
What the search missed is added: conformers brought to the crystal pose by their torsions and
minimised, marked as helped, so that every ligand has a pose that is right. One file per complex;
what is there is not made again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protein.docking.complexes.complex import match
from protein.docking.complexes.sources import Source, find_sources, first_readable, sequences
from protein.docking.confidence.pose_set import PoseSet, pose_set
from protein.docking.confidence.training import Example
from protein.docking.energy.vina import SearchSpace
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch, recover
from protein.docking.receptors.box import box_around
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.monte_carlo import SearchSettings, finish, search
from protein.docking.search.ranking import JUDGED, Docked, ranked
from protein.structures.workers import map_in_processes
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.streams import Streams

OnExample = Callable[[int, int], None]
"""Told how many complexes are done, and how many there are."""

REFUSED = ".refused"


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made.

    Attributes:
        search: effort of the docking.
        conformers: fresh ones of each ligand.
        poses: distinct ones kept.
        max_atoms: heavy atoms of a ligand.
        max_torsions: rotatable bonds of a ligand.
        seed: of conformers and search.
    """

    search: SearchSettings = SearchSettings()
    conformers: int = 4
    poses: int = JUDGED
    max_atoms: int = 50
    max_torsions: int = 14
    seed: int = 0


def make_examples(
    folder: Path,
    out: Path,
    settings: ExampleSettings = ExampleSettings(),
    jobs: int = 1,
    on_example: OnExample | None = None,
) -> dict[str, int]:
    """Dock every complex of a folder that is not done yet.

    Args:
        folder: complexes, see ``sources.find_sources``.
        out: folder of examples.
        settings: effort.
        jobs: processes.
        on_example: told of progress.

    Returns:
        How many are ``made``, were ``there`` and are ``refused`` (their reason is beside them).

    Raises:
        InputError: no complexes.
    """
    sources = [s for s in find_sources(folder) if not s.backbone]
    out.mkdir(parents=True, exist_ok=True)
    tasks = [(s, out, settings) for s in sources if not _done(out, s.id)]
    there = len(sources) - len(tasks)
    if on_example is not None:
        on_example(there, len(sources))
    results = map_in_processes(_work, tasks, jobs, 1) if jobs > 1 else map(_work, tasks)
    for done, _ in enumerate(results, there + 1):
        if on_example is not None:
            on_example(done, len(sources))
    refused = sum((out / f"{s.id}{REFUSED}").exists() for s in sources)
    return {"made": len(tasks), "there": there, "refused": refused}


def _done(out: Path, name: str) -> bool:
    return (out / f"{name}.npz").exists() or (out / f"{name}{REFUSED}").exists()


def _work(task: tuple[Source, Path, ExampleSettings]) -> None:
    source, out, settings = task
    try:
        example, facts = make_example(source, settings)
    except Exception as error:  # one odd complex must not cost a night's work
        (out / f"{source.id}{REFUSED}").write_text(" ".join(str(error).split()) + "\n")
        return
    write_example(out / f"{source.id}.npz", example, facts)


def make_example(source: Source, settings: ExampleSettings) -> tuple[Example, dict[str, Any]]:
    """Dock one complex.

    Args:
        source: its files.
        settings: effort.

    Returns:
        The example, its cluster left empty, and the ``sequences`` that line its pocket.

    Raises:
        InputError: files that cannot be read, a ligand above the bounds.
    """
    ligand = first_readable(source.ligands)
    if len(ligand) > settings.max_atoms or len(ligand.tree) > settings.max_torsions:
        raise InputError(f"{source.id}: {len(ligand)} atoms, {len(ligand.tree)} torsions")
    receptor = read_receptor(source.receptor)
    crystal = ligand.require_coords()
    box = box_around(crystal)
    near = receptor.near(box)
    conformers = fresh_conformers(ligand, settings.conformers, settings.seed)
    count = len(conformers)
    energy = SearchSpace(receptor, box).energy([ligand] * count)
    batch = LigandBatch.pack([ligand.tree] * count, list(conformers))
    draws = Streams(settings.seed, torch.arange(count)).purpose("search")
    found = search(batch, energy, [box] * count, draws, settings.search)
    parts = [ranked(ligand, found, settings.poses, settings.search.distinct)]
    matched, _ = match(ligand.tree, conformers, crystal)
    batch = LigandBatch.pack([ligand.tree] * len(matched), list(matched))
    start = recover(batch, torch.as_tensor(matched, dtype=torch.float32).unsqueeze(1))
    near_truth = finish(batch, energy, start, settings.search)
    parts.append(ranked(ligand, near_truth, len(matched), 0.3))
    helped = [k for k, part in enumerate(parts) for _ in part.coords]
    docked = Docked.joined(parts)
    poses = pose_set(ligand, near, docked)
    rmsd = symmetric_rmsd(docked.coords, crystal, ligand.symmetries)
    example = Example(
        source.id, poses, torch.from_numpy(rmsd).float(), torch.tensor(helped) > 0, ""
    )
    return example, {"sequences": sequences(near.pocket(crystal), receptor)}


def write_example(path: Path, example: Example, facts: dict[str, Any]) -> None:
    """Write an example.

    Args:
        path: ``.npz``.
        example: to write.
        facts: plain values kept with it.
    """
    arrays = {f.name: getattr(example.poses, f.name).numpy() for f in fields(PoseSet)}
    text = io.BytesIO()
    np.savez_compressed(
        text,
        rmsd=example.rmsd.numpy(),
        helped=example.helped.numpy(),
        facts=np.asarray(json.dumps(facts)),
        **arrays,
    )
    with replacing(path) as out:
        out.write(text.getvalue())


def read_examples(folder: Path) -> list[Example]:
    """Examples of a folder, with the clusters of their pockets.

    Args:
        folder: written by ``make_examples``.

    Raises:
        InputError: none there, or a damaged file.
    """
    from protein.docking.complexes.prepare import pocket_clusters

    read = list(_read(folder))
    if not read:
        raise InputError(f"{folder}: no examples; make them: sciddiff prepare ranker DIR")
    clusters = pocket_clusters([facts["sequences"] for _, facts in read])
    return [
        Example(e.name, e.poses, e.rmsd, e.helped, str(cluster))
        for (e, _), cluster in zip(read, clusters, strict=True)
    ]


def _read(folder: Path) -> Iterator[tuple[Example, dict[str, Any]]]:
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path) as data:
                arrays = {name: data[name] for name in data.files}
            poses = PoseSet(**{f.name: torch.from_numpy(arrays[f.name]) for f in fields(PoseSet)})
            rmsd, helped = torch.from_numpy(arrays["rmsd"]), torch.from_numpy(arrays["helped"])
            facts = json.loads(str(arrays["facts"]))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: damaged; delete it and prepare again") from error
        yield Example(path.stem, poses, rmsd, helped, ""), facts
