"""Examples for the ranker: poses of complexes whose answer is known, docked by our own search.

A complex is docked into a box about its crystal ligand from fresh conformers, by the pipeline of
`sciddiff dock`. Conformers that are fitted to the crystal pose by their torsions and minimised
show the contacts of right poses; they are stored beside those of the search. Each complex has a
file of its own, and a file that exists is not made again.

Users dock into structures that were solved with other ligands, and into boxes that are not quite
about the answer. So a ligand may have the receptor of another complex of its protein, laid on its
own by the pocket, and the faces of its box may be moved.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.other_structure import superposed
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from protein.docking.search.monte_carlo import SearchSettings, finish
from protein.docking.search.ranking import JUDGED, ranked
from protein.structures.workers import map_in_processes
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.streams import seed_of

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
        cross: whether each ligand is docked into the receptor of another complex of its protein.
        jitter: farthest that each face of the box is moved, in or out, Å.
    """

    search: SearchSettings = SearchSettings()
    conformers: int = 4
    poses: int = JUDGED
    max_atoms: int = 50
    max_torsions: int = 14
    seed: int = 0
    cross: bool = False
    jitter: float = 0.0


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
    there = sum(_done(out, s.id) for s in sources)
    others = same_cluster(sources, jobs) if settings.cross and there < len(sources) else {}
    tasks = [
        (s, out, settings, others.get(s.id, [])) for s in sources if not _done(out, s.id)
    ]
    if on_example is not None:
        on_example(there, len(sources))
    results = map_in_processes(_work, tasks, jobs, 1) if jobs > 1 else map(_work, tasks)
    for done, _ in enumerate(results, there + 1):
        if on_example is not None:
            on_example(done, len(sources))
    refused = sum((out / f"{s.id}{REFUSED}").exists() for s in sources)
    return {"made": len(tasks), "there": there, "refused": refused}


def begun(out: Path) -> bool:
    """Whether a folder holds examples, or reasons why there are none."""
    return any(out.glob("*.npz")) or any(out.glob(f"*{REFUSED}"))


def _done(out: Path, name: str) -> bool:
    return (out / f"{name}.npz").exists() or (out / f"{name}{REFUSED}").exists()


def _work(task: tuple[Source, Path, ExampleSettings, Sequence[Path]]) -> None:
    source, out, settings, others = task
    try:
        example, facts = make_example(source, settings, others)
    except Exception as error:  # one odd complex must not cost a night's work
        (out / f"{source.id}{REFUSED}").write_text(" ".join(str(error).split()) + "\n")
        return
    write_example(out / f"{source.id}.npz", example, facts)


def make_example(
    source: Source, settings: ExampleSettings, others: Sequence[Path] = ()
) -> tuple[Example, dict[str, Any]]:
    """Dock one complex.

    Args:
        source: its files.
        settings: effort.
        others: receptors that may be structures of the same protein; the first that can be laid
            on its pocket is taken if ``settings.cross``.

    Returns:
        The example, with an empty cluster, and the ``sequences`` that line its pocket.

    Raises:
        InputError: a file cannot be read, the ligand is too large, or there is no other structure
            of the protein.
    """
    ligand = first_readable(source.ligands)
    if len(ligand) > settings.max_atoms or len(ligand.tree) > settings.max_torsions:
        raise InputError(f"{source.id}: {len(ligand)} atoms, {len(ligand.tree)} torsions")
    own = read_receptor(source.receptor)
    crystal = ligand.require_coords()
    lining = sequences(own.pocket(crystal), own)
    receptor = _other_structure(own, crystal, others, source.id) if settings.cross else own
    box = moved_faces(box_around(crystal), settings.jitter, settings.seed, source.id)
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
    return example, {"sequences": lining}


def _other_structure(
    own: Receptor, crystal: NDArray[np.float64], others: Sequence[Path], name: str
) -> Receptor:
    for path in others:
        placed = superposed(own, read_receptor(path), crystal)
        if placed is not None:
            return placed[0]
    raise InputError(f"{name}: no other complex of the folder has its protein")


def moved_faces(box: Box, most: float, seed: int, name: str) -> Box:
    """A box whose six faces are each moved by an even draw, in or out.

    Args:
        box: where from.
        most: farthest that a face is moved, Å.
        seed: seed of the draws.
        name: name of the complex, whose draws do not depend on other complexes.
    """
    rng = np.random.default_rng(seed_of(seed, "box", name))
    low, high = np.stack([box.low, box.high]) + rng.uniform(-most, most, (2, 3))
    return Box.between(low, high)


def same_cluster(sources: Sequence[Source], jobs: int = 1) -> dict[str, list[Path]]:
    """Receptors of the other complexes of each one's cluster, the next in order first.

    Args:
        sources: the complexes; those that cannot be read are in no cluster.
        jobs: processes.
    """
    from protein.docking.complexes.prepare import pocket_clusters

    read = map_in_processes(_lining, sources, jobs, 4) if jobs > 1 else map(_lining, sources)
    known = [(s, found) for s, found in zip(sources, read, strict=True) if found]
    members: dict[int, list[Source]] = {}
    for (source, _), cluster in zip(known, pocket_clusters([x for _, x in known]), strict=True):
        members.setdefault(int(cluster), []).append(source)
    return {
        source.id: [other.receptor for other in [*group[i + 1 :], *group[:i]]]
        for group in members.values()
        for i, source in enumerate(group)
    }


def _lining(source: Source) -> list[str]:
    try:
        crystal = first_readable(source.ligands).require_coords()
        receptor = read_receptor(source.receptor)
    except InputError:
        return []
    return sequences(receptor.pocket(crystal), receptor)


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
