"""Training batches of complexes: pockets in their ball, ligands as matched conformers.

An epoch takes a few complexes of every pocket cluster. A batch holds a few complexes of about the
same size, each in several poses at several times, so that its pocket is read only once. Each
complex is turned at random, its center is jittered, and the matched conformer of a pose is drawn
as well. All draws depend only on the seed, the epoch and the complex.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from protein.docking.complexes.archive import DockArchive
from protein.docking.complexes.complex import Complex, Pocket
from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION
from protein.docking.diffusion.symmetry import motions
from protein.docking.diffusion.systems import Systems
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout
from sciddiff.training.buckets import Buckets


@dataclass(frozen=True)
class DockDataSettings:
    """Which complexes are used, and how they are batched.

    Attributes:
        archive: dock archive written by `sciddiff prepare dock`.
        complexes: largest number of complexes in a batch.
        poses: number of poses of each complex in a batch.
        atoms: largest number of ligand atoms in a batch, over all poses.
        per_cluster: number of complexes that an epoch draws from one pocket cluster.
        jitter: standard deviation of the pocket's center about the ligand's, Å along each axis.
        most_jitter: largest length of that jitter, Å.
        backbone: whether to use complexes whose side chains are unknown.
        max_rmsd: largest RMSD of the best matched conformer from the crystal pose, Å.
        only: names of the complexes to use; all of them if empty.
    """

    archive: str = ""
    complexes: int = 8
    poses: int = 8
    atoms: int = 2000
    per_cluster: int = 4
    jitter: float = 1.0
    most_jitter: float = 3.0
    backbone: bool = True
    max_rmsd: float = 1.0
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("complexes", "poses", "atoms", "per_cluster"):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name}: {getattr(self, name)}; give at least 1")


NO_DATA = DockDataSettings()
"""Settings of a domain that only samples."""


class DockData:
    """Batches of one split of a dock archive."""

    def __init__(self, settings: DockDataSettings, split: str) -> None:
        self.settings, self.split = settings, split

    @cached_property
    def archive(self) -> DockArchive:
        """The complexes of the split, read on first use.

        Raises:
            InputError: the split has no complexes.
        """
        s = self.settings
        whole = DockArchive.open(Path(s.archive))
        keep = (whole.column("split") == self.split) & (whole.column("rmsd") <= s.max_rmsd)
        if not s.backbone or self.split != "train":
            keep &= whole.column("backbone") == 0
        if s.only:
            keep &= np.isin(whole.column("id"), s.only)
        if not keep.any():
            raise InputError(f"{s.archive}: has no usable complex in the split {self.split!r}")
        return whole.where(keep)

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of one epoch, in an order that depends only on the seed and the epoch."""
        s = self.settings
        rng = np.random.default_rng([seed, epoch])
        clusters = self.archive.column("cluster")
        chosen = [
            item
            for cluster in np.unique(clusters)
            for item in rng.permutation(np.flatnonzero(clusters == cluster))[: s.per_cluster]
        ]
        sizes = (self.archive.column("features_n") * s.poses).tolist()
        buckets = Buckets(sizes, s.atoms, power=1.0, max_items=s.complexes, spread=0.2)
        for group in buckets.batches(epoch, seed, rank, world, chosen):
            yield self.collate(group, [seed, epoch])

    def collate(self, group: Sequence[int], seed: Sequence[int]) -> Batch:
        """Make a batch of some complexes.

        Args:
            group: indices of the complexes in the archive.
            seed: seed of the draws, to which each complex adds its own index.
        """
        items = [self.archive[i] for i in group]
        draws = [np.random.default_rng([*seed, i]) for i in group]
        return complex_batch(items, draws, self.settings)


def complex_batch(
    items: Sequence[Complex], draws: Sequence[np.random.Generator], settings: DockDataSettings
) -> Batch:
    """Make a batch of data from poses of complexes.

    Args:
        items: G complexes.
        draws: random source of each complex.
        settings: number of poses, and the jitter.
    """
    poses, most = settings.poses, max(len(item.ligand) for item in items)
    pockets, places, turns, references = [], [], [], []
    for item, rng in zip(items, draws, strict=True):
        turn = Rotation.random(rng=rng).as_matrix()
        own = item.crystal.mean(axis=0)
        center = own + _jitter(rng, settings)
        ball = item.pocket.ball(center, item.ligand.radius)
        pockets.append(Pocket((ball.coords @ turn.T).astype(np.float32), ball.features,
                              ball.backbone))  # fmt: skip
        chosen = item.conformers[rng.integers(len(item.conformers), size=poses)]
        middle = chosen.mean(axis=1)
        reference = np.zeros((poses, most, 3), dtype=np.float32)
        reference[:, : len(item.ligand)] = chosen - middle[:, None]
        references.append(reference)
        places.append((middle - center) @ turn.T)
        turns.append(np.broadcast_to(turn, (poses, 3, 3)))
    ligands = [item.ligand for item in items]
    found = [motions(item.ligand, item.conformers[0]) for item in items]
    systems = Systems.pack(ligands, pockets, found)
    ids = tuple(f"{item.id}/{k}" for item in items for k in range(poses))
    return pose_batch(
        systems,
        np.repeat(np.arange(len(items)), poses),
        np.concatenate(references),
        np.concatenate(places),
        np.concatenate(turns),
        ids,
    )


def pose_batch(
    systems: Systems,
    which: NDArray[np.integer],
    references: NDArray[np.floating],
    places: NDArray[np.floating] | None = None,
    turns: NDArray[np.floating] | None = None,
    ids: tuple[str, ...] = (),
) -> Batch:
    """Make a batch of B poses; each is a reference conformer at some place.

    Args:
        systems: G complexes.
        which: complex of each pose `[B]`.
        references: conformers `[B, N, 3]`, Å, centred, 0 where padded.
        places: centers from the pocket's center `[B, 3]`, Å; the origin by default.
        turns: orientations `[B, 3, 3]`; the identity by default.
        ids: names of the poses.
    """
    size = len(which)
    places = np.zeros((size, 3)) if places is None else places
    turns = np.broadcast_to(np.eye(3), (size, 3, 3)) if turns is None else turns
    owner = torch.as_tensor(np.asarray(which, dtype=np.int64))
    counts = systems.ligands.torsion_mask.sum(-1)[owner]
    index = torch.repeat_interleave(torch.arange(size), counts)
    x = {
        TRANSLATION: torch.as_tensor(np.asarray(places, dtype=np.float32)),
        ROTATION: torch.as_tensor(np.array(turns, dtype=np.float32)),
        TORSIONS: torch.zeros(len(index)),
    }
    layouts = {
        TRANSLATION: Layout(size),
        ROTATION: Layout(size),
        # None is fixed; said so, a ligand without torsions has a mean loss of 0 and not 0 / 0.
        TORSIONS: Layout(size, index=index, fixed=torch.zeros(len(index), dtype=torch.bool)),
    }
    cond = {
        "systems": systems,
        "complex": owner,
        "reference": torch.as_tensor(np.asarray(references, dtype=np.float32)),
    }
    return Batch(x, cond, layouts, size, ids)


def _jitter(rng: np.random.Generator, settings: DockDataSettings) -> NDArray[np.float64]:
    shift = settings.jitter * rng.standard_normal(3)
    length = float(np.linalg.norm(shift))
    return shift * min(1.0, settings.most_jitter / max(length, 1e-6))
