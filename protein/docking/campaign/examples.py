"""Examples for the ranker: poses of complexes whose answer is known, docked by our own search.

A complex is docked into a box about its crystal ligand from fresh conformers, by the pipeline of
`sciddiff dock`. Conformers that are fitted to the crystal pose by their torsions and minimised
show the contacts of right poses; they are stored beside those of the search. Each complex has a
file of its own, and a file that exists is not made again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
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
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch, recover
from protein.docking.receptors.box import box_around
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.draws import number_of
from protein.docking.search.monte_carlo import SearchSettings, finish
from protein.docking.search.ranking import JUDGED, ranked
from protein.structures.workers import map_in_processes
from sciddiff.errors import InputError
from sciddiff.files import replacing

OnExample = Callable[[int, int], None]
"""Called with how many complexes are done, and how many there are."""

_STORED = tuple(f.name for f in fields(PoseSet) if f.default is MISSING)
"""Examples are of rigid receptors."""

REFUSED = ".refused"

CLOSE = 1.0
"""RMSD below which a pose that was started from the crystal's counts as native, Å."""

_NATIVE = "native_"


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made.

    Attributes:
        search: effort of the search; its chains are divided among the conformers.
        conformers: number of fresh conformers of each ligand.
        poses: number of distinct poses kept.
        max_atoms: largest number of heavy atoms of a ligand.
        max_torsions: largest number of rotatable bonds of a ligand.
        seed: seed of the conformers and the search.
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
    """Dock every complex of a folder that has no example yet.

    Args:
        folder: complexes, see ``sources.find_sources``.
        out: folder of examples.
        settings: effort.
        jobs: processes.
        on_example: called as complexes are done.

    Returns:
        How many were ``made`` now, were ``there`` before, and are ``refused`` (with a file that
        says why).

    Raises:
        InputError: the folder holds no complexes.
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
        The example, with an empty cluster, and the ``sequences`` that line its pocket.

    Raises:
        InputError: a file cannot be read, or the ligand is too large.
    """
    ligand = first_readable(source.ligands)
    if len(ligand) > settings.max_atoms or len(ligand.tree) > settings.max_torsions:
        raise InputError(f"{source.id}: {len(ligand)} atoms, {len(ligand.tree)} torsions")
    receptor = read_receptor(source.receptor)
    crystal = ligand.require_coords()
    box = box_around(crystal)
    # The pipeline of `sciddiff dock`, so that a ranker learns from poses as users get them.
    usual = DockSettings(settings.poses, settings.conformers, settings.search, seed=settings.seed)
    (result,) = Docker(receptor, box, usual).dock([ligand], [number_of(source.id)])
    if result.docked is None:
        raise InputError(result.error)
    near = receptor.near(box)
    conformers = fresh_conformers(ligand, settings.conformers, settings.seed)
    matched, _ = match(ligand.tree, conformers, crystal)
    energy = SearchSpace(receptor, box).energy([ligand] * len(matched))
    batch = LigandBatch.pack([ligand.tree] * len(matched), list(matched))
    start = recover(batch, torch.as_tensor(matched, dtype=torch.float32).unsqueeze(1))
    near_truth = finish(batch, energy, start, settings.search)
    native = ranked(ligand, near_truth, len(matched), 0.3)
    close = symmetric_rmsd(native.coords, crystal, ligand.symmetries) < CLOSE
    native = native.taken(np.flatnonzero(close).tolist())
    rmsd = symmetric_rmsd(result.docked.coords, crystal, ligand.symmetries)
    sets = [pose_set(ligand, near, docked) for docked in (result.docked, native)]
    example = Example(source.id, sets[0], torch.from_numpy(rmsd).float(), sets[1], "")
    return example, {"sequences": sequences(near.pocket(crystal), receptor)}


def write_example(path: Path, example: Example, facts: dict[str, Any]) -> None:
    """Write an example.

    Args:
        path: ``.npz``.
        example: example to write.
        facts: plain values stored with it.
    """
    sets = {"": example.poses, _NATIVE: example.native}
    arrays = {before + name: getattr(poses, name).numpy()
              for before, poses in sets.items() for name in _STORED}  # fmt: skip
    text = io.BytesIO()
    np.savez_compressed(
        text,
        rmsd=example.rmsd.numpy(),
        facts=np.asarray(json.dumps(facts)),
        **arrays,
    )
    with replacing(path) as out:
        out.write(text.getvalue())


def read_examples(folder: Path) -> list[Example]:
    """Read the examples of a folder, with the clusters of their pockets.

    Args:
        folder: folder that ``make_examples`` wrote.

    Raises:
        InputError: the folder holds no examples, or a file is damaged.
    """
    from protein.docking.complexes.prepare import pocket_clusters

    read = list(_read(folder))
    if not read:
        raise InputError(f"{folder}: has no examples; make them with sciddiff prepare ranker DIR")
    clusters = pocket_clusters([facts["sequences"] for _, facts in read])
    return [
        replace(example, cluster=str(cluster))
        for (example, _), cluster in zip(read, clusters, strict=True)
    ]


def _read(folder: Path) -> Iterator[tuple[Example, dict[str, Any]]]:
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path) as data:
                arrays = {name: data[name] for name in data.files}
            poses, native = (
                PoseSet(**{name: torch.from_numpy(arrays[before + name]) for name in _STORED})
                for before in ("", _NATIVE)
            )
            rmsd = torch.from_numpy(arrays["rmsd"])
            facts = json.loads(str(arrays["facts"]))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: is damaged; delete it and prepare it again") from error
        yield Example(path.stem, poses, rmsd, native, ""), facts
