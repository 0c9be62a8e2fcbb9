"""The backbone domain: what the shared core needs to know to learn and draw protein backbones.

A state has two leaves. `translations [B, N, 3]` (CA positions, nm) travel on a straight Gaussian
path in the space
of zero centre of mass; `rotations [B, N, 3, 3]` travel on geodesics of SO(3) from the uniform
law, linearly in time
when learning and with the exponential rate of FrameFlow (Yim et al. 2023, section 4) when
sampling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from protein.backbone.data import NO_DATA, BackboneData, BackboneDataSettings
from protein.backbone.losses import geometry_losses
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.backbone.request import GenerationRequest, templates
from protein.structures.secondary import FOLDS
from sciddiff.denoiser import Denoiser
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.guidance import DenoiserLike
from sciddiff.manifolds import SO3, Euclidean, ZeroCenterOfMass
from sciddiff.objectives import Denoising, LabelDropout
from sciddiff.paths import GaussianPath, GeodesicPath, ProductPath
from sciddiff.schedules import ExponentialKappa, Linear
from sciddiff.state import Batch, State
from sciddiff.times import BetaMixture

if TYPE_CHECKING:
    from sciddiff.rewards import RewardTerms

LOSS_WEIGHTS = {
    TRANSLATIONS: 2.0,
    ROTATIONS: 1.0,
    "neighbours": 1.0,
    "junctions": 0.05,
    "distances": 1.0,
    "overlaps": 0.2,
    "contacts": 0.3,
    "torsions": 1.0,
}
"""Weights of the terms of the training loss; `neighbours` and later are those of
`protein.backbone.losses`.
"""


class BackboneDomain(Domain):
    """Protein backbones as frames.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "backbone"

    def __init__(self, data: BackboneDataSettings = NO_DATA) -> None:
        self.data = data

    def path(self) -> ProductPath:
        """Translations Gaussian without centre of mass, rotations geodesic."""
        return backbone_path()

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split."""
        return self._train.batches(epoch, seed, rank, world)

    def val_batches(self) -> Iterable[Batch]:
        """Whole chains of the validation split, without motifs, always the same."""
        settings = replace(
            self.data, motif_fraction=0.0, crop_all=False, crop_epochs=0, alpha_share=1.0
        )
        return BackboneData(settings, "val").batches(epoch=0, seed=0)

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates for `length` ("60-128"), `n`, `fold` and `seed`; see `GenerationRequest`."""
        return templates(GenerationRequest.parse(request))

    def templates(self, n: int, seed: int, request: Mapping[str, Any]) -> Iterable[Batch]:
        """`like` with lengths and fold classes drawn from the seed."""
        return self.like({"seed": seed, **request, "n": n})

    def drawing(self) -> Drawing:
        """As `sciddiff backbone` draws without further options."""
        from protein.backbone.generate import GenerateSettings

        return GenerateSettings().drawing()

    def results(self, batch: Batch, x: State) -> list[Any]:
        """Designs as structures of Biopython, `Bio.PDB.Structure.Structure`."""
        from protein.backbone.designs import designs_from_state

        return [design.to_biopython() for design in designs_from_state(batch, x)]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """One PDB and one mmCIF file for every sample of the batch."""
        from protein.backbone.designs import designs_from_state

        return [
            path for design in designs_from_state(batch, x) for path in design.write(directory)
        ]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Geometry, diversity and novelty of a folder of designs; see
        `protein.backbone.metrics`.
        """
        return self.assess(directory, reference)

    def assess(
        self,
        directory: Path,
        reference: Path | None,
        report: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`evaluate`, and structures that were predicted from sequences of the designs.

        Args:
            directory: folder of designs.
            reference: chain archive to measure novelty against.
            report: folder for `report.html`.
            options: ``refolded`` (a folder of predicted structures), ``max_rmsd`` (2 Å),
                ``min_tm`` (0.5), ``min_plddt`` (70).

        Raises:
            InputError: nothing to measure, or an unknown option.
        """
        from protein.backbone.measuring import assess_directory

        return assess_directory(directory, reference, report, options)

    def describe(self, measured: Mapping[str, Any]) -> str | None:
        """The figures of designs beside those of natives, and how they refold."""
        from protein.backbone.metrics import comparison_text
        from protein.backbone.refolding.table import refold_text

        text = comparison_text(measured["summary"], measured["natives"])
        refolded = measured.get("refolded")
        return text if refolded is None else f"{text}\n{refold_text(refolded)}"

    def sound(self, batch: Batch, x: State) -> Tensor:
        """Designs that are whole and compact, with secondary structure and without overlaps."""
        from protein.backbone.designs import designs_from_state
        from protein.backbone.metrics.measure import measure

        rows = [measure(d.name, d.coords).row for d in designs_from_state(batch, x)]
        return torch.tensor([row["intact"] and not row["flags"] for row in rows])

    def guided(self, denoiser: Denoiser, weight: float) -> DenoiserLike:
        """With the fold class strengthened in the interval that `sciddiff backbone` takes."""
        from protein.backbone.generate import GenerateSettings

        return GenerateSettings(fold_weight=weight).stronger(denoiser)

    def null_labels(self) -> dict[str, Any]:
        """The fold class that means "any"."""
        return {"fold": FOLDS.index("none")}

    def objective(self) -> Denoising:
        """Flow matching on both leaves with the geometry losses, self-conditioning and label
        dropout.
        """
        return Denoising(
            times=BetaMixture(uniform=0.1),
            weights={name: LOSS_WEIGHTS[name] for name in (TRANSLATIONS, ROTATIONS)},
            self_conditioning=0.5,
            weighting={TRANSLATIONS: "velocity"},
            label_dropout={"fold": LabelDropout(FOLDS.index("none"), 0.25)},
            extra_losses=(weighted_geometry_losses,),
        )

    def rewards(self) -> RewardTerms:
        """See `protein.backbone.rewards`."""
        from protein.backbone.rewards import TERMS

        return TERMS

    def provenance(self) -> dict[str, Any]:
        """The archive trained on: its file name, and what was taken of it."""
        s = self.data
        return {
            "archive": Path(s.archive).name,
            "lengths": [s.min_length, s.max_length],
            "crops_first": {"epochs": s.crop_epochs, "lengths": list(s.crop_lengths)},
            "alpha_share": s.alpha_share,
            "split": "train",
            "licence": "coordinates of the Protein Data Bank, CC0 1.0",
        }

    @cached_property
    def _train(self) -> BackboneData:
        return BackboneData(self.data, "train")


def backbone_path(free: bool = False) -> ProductPath:
    """The path of backbone frames.

    Args:
        free: leave the centre of mass alone (the asymmetric unit of a symmetric assembly).
    """
    return ProductPath(
        {
            TRANSLATIONS: GaussianPath(
                Linear(),
                manifold=Euclidean() if free else ZeroCenterOfMass(),
                parametrization="data",
            ),
            ROTATIONS: GeodesicPath(SO3(), sampling_kappa=ExponentialKappa(10.0)),
        }
    )


def weighted_geometry_losses(
    predictions: Mapping[str, Any], samples: Mapping[str, Any], batch: Batch
) -> dict[str, Tensor]:
    """The terms of `geometry_losses`, weighted, from what the core's objective hands over: each
    `[B]`.
    """
    layout = batch.layouts[TRANSLATIONS]
    mask = layout.mask
    if mask is None:
        mask = torch.ones(batch.x[TRANSLATIONS].shape[:2], dtype=torch.bool, device=batch.device)
    terms = geometry_losses(
        {name: predictions[name].data for name in (TRANSLATIONS, ROTATIONS)},
        {name: samples[name].x1 for name in (TRANSLATIONS, ROTATIONS)},
        samples[TRANSLATIONS].t,
        mask,
        batch.cond["residue_index"],
    )
    return {name: LOSS_WEIGHTS[name] * value for name, value in terms.items()}
