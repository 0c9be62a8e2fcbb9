"""The docking domain: what the core needs to know in order to learn and draw poses.

A state has three leaves. ``translation [B, 3]`` (Å from the pocket's center) follows a straight
Gaussian path from N(0, (4 Å)²). ``rotation [B, 3, 3]`` follows geodesics of SO(3), and ``torsions
[ΣT]`` (ragged) follow geodesics of circles; both start from the uniform distribution. A pose is a
reference conformer moved by the three (``protein.docking.poses.pose``). The conformer is a
condition, and its own place and orientation do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from protein.docking.diffusion.data import NO_DATA, DockData, DockDataSettings
from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION
from protein.docking.diffusion.symmetry import NearestImage
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.manifolds import SO3, Torus
from sciddiff.objectives import Denoising
from sciddiff.paths import GaussianPath, GeodesicPath, ProductPath
from sciddiff.samplers import Ancestral
from sciddiff.schedules import Linear
from sciddiff.state import Batch, State
from sciddiff.times import Uniform

PRIOR_WIDTH = 4.0
"""Standard deviation of the first translation along each axis, Å."""

LOSS_WEIGHTS = {TRANSLATION: 0.1, ROTATION: 1.0, TORSIONS: 0.5}
"""Weights that give the three leaves losses of about one at the start."""


class DockingDomain(Domain):
    """Poses of small molecules in protein pockets.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "dock"

    def __init__(self, data: DockDataSettings = NO_DATA) -> None:
        self.data = data

    def path(self) -> ProductPath:
        """Translation Gaussian, rotation and torsions geodesic."""
        return docking_path()

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Return the batches of the training split."""
        return self._train.batches(epoch, seed, rank, world)

    def val_batches(self) -> Iterable[Batch]:
        """Return the batches of the validation split, which are always the same."""
        return DockData(self.data, "val").batches(epoch=0, seed=0)

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Make templates for a request with ``receptor``, ``ligand``, ``center`` or
        ``autobox_ligand``, ``n`` and ``seed``; see ``protein.docking.diffusion.templates``.
        """
        from protein.docking.diffusion.templates import templates

        return templates(request)

    def templates(self, n: int, seed: int, request: Mapping[str, Any]) -> Iterable[Batch]:
        """`like` with conformers made from the seed."""
        return self.like({"seed": seed, **request, "n": n})

    def drawing(self) -> Drawing:
        """Draw as `sciddiff dock` does, but without the energy of a receptor."""
        from protein.docking.diffusion.settings import ProposeSettings

        settings = ProposeSettings()
        return Drawing(Ancestral(settings.noise), uniform(settings.steps))

    def results(self, batch: Batch, x: State) -> list[Any]:
        """Return the poses as RDKit molecules, in the frame of the receptor."""
        from protein.docking.diffusion.templates import posed_molecules

        return posed_molecules(batch, x)

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Write one SDF file for every pose of the batch."""
        from protein.docking.diffusion.templates import write_poses

        return write_poses(batch, x, directory)

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Compare poses with crystal ligands; see ``protein.docking.evaluation``."""
        return self.assess(directory, reference)

    def assess(
        self,
        directory: Path,
        reference: Path | None,
        report: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Compare poses with crystal ligands, and write tables, plots and a page.

        Args:
            directory: folder of poses, or a table with columns id, poses, reference, receptor.
            reference: crystal ligand, folder of complexes, or table.
            report: folder to write; ``evaluation`` beside the poses by default.
            options: ``check`` (poses of each complex that PoseBusters judges, 1), ``jobs`` (1);
                or ``actives`` (a file), with which the order of a screen is measured instead.

        Raises:
            InputError: there is nothing to measure, or an option is unknown.
        """
        from protein.docking.evaluation.write import EvaluateSettings, evaluate_poses
        from sciddiff.cli.progress import progress

        options = dict(options or {})
        if "actives" in options:
            return _screened(directory, reference, options)
        settings = EvaluateSettings.read(options)
        with progress("complexes", None) as bar:
            found = evaluate_poses(
                directory, reference, report, settings, on_case=lambda done, total: bar.advance()
            )
        return found.as_dict()

    def objective(self) -> Denoising:
        """Flow matching on the three leaves, from noise to the nearest symmetric image."""
        return Denoising(
            times=Uniform(),
            weights=LOSS_WEIGHTS,
            weighting={TRANSLATION: "velocity"},
            coupling=NearestImage(),
        )

    def provenance(self) -> dict[str, Any]:
        """Name the archive that was trained on, and which part of it."""
        s = self.data
        return {
            "archive": Path(s.archive).name,
            "split": "train",
            "backbone_complexes": s.backbone,
            "licence": "coordinates of the Protein Data Bank, CC0 1.0; see the data's own list",
        }

    @cached_property
    def _train(self) -> DockData:
        return DockData(self.data, "train")


_TOLD = 10  # actives that are named where they are not in the screen


def _screened(
    directory: Path, reference: Path | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures of a screen with known actives."""
    from protein.docking.evaluation.enrichment import read_actives, screen_figures
    from protein.docking.report.collect import read_rows
    from sciddiff.cli.output import remark

    others = sorted({*options} - {"actives"})
    if others or reference is not None:
        raise InputError(
            f"--{others[0] if others else 'reference'}: does not go with --actives; leave one out"
        )
    file = Path(str(options["actives"]))
    rows, actives = read_rows(directory), read_actives(file)
    figures = screen_figures(rows, actives)
    absent = actives.absent(rows)
    if absent:
        told = ", ".join(absent[:_TOLD]) + (", …" if len(absent) > _TOLD else "")
        remark(file, [f"{len(absent)} of its actives are not in the screen: {told}"])
    return figures


def docking_path() -> ProductPath:
    """The path of poses."""
    return ProductPath(
        {
            TRANSLATION: GaussianPath(Linear(), parametrization="data", prior_scale=PRIOR_WIDTH),
            ROTATION: GeodesicPath(SO3(), parametrization="velocity"),
            TORSIONS: GeodesicPath(Torus(), parametrization="velocity"),
        }
    )
