"""The domain of frames and tokens: what the shared core needs to know to learn and draw proteins.

A state has three leaves. `translations` and `rotations` are those of `protein.backbone.domain`;
`sequence [B, N]` holds tokens of `protein.sequence.alphabet`, which a mask path hides and reveals.
The structure has one time and the sequence another (Campbell et al., *MultiFlow*, 2024), so that
one model knows the joint law and both conditional ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from protein.backbone.data import NO_DATA, BackboneData, BackboneDataSettings
from protein.backbone.domain import (
    LOSS_WEIGHTS,
    BackboneDomain,
    backbone_path,
    weighted_geometry_losses,
)
from protein.backbone.network import FOLDS, ROTATIONS, TRANSLATIONS
from protein.codesign.network import CodesignNetwork
from protein.codesign.poses import collate_pairs, held
from protein.codesign.request import answer_templates
from protein.sequence.alphabet import LETTERS, tokens
from protein.sequence.samples import SEQUENCE
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.objectives import Denoising, LabelDropout
from sciddiff.paths import MaskPath, ProductPath
from sciddiff.state import Batch
from sciddiff.times import BetaMixture, Uniform

SEQUENCE_WEIGHT = 1.0
"""Weight of the cross-entropy of the residues (nats, revealed ones count as 0) in the loss."""


class CodesignDomain(BackboneDomain):
    """Proteins as frames and residues.

    Args:
        data: training data; only `train` and the validation loss need it.
        structure_known: share of the training samples whose frames are all held.
        sequence_known: share of the training samples whose residues are all held.
    """

    name = "codesign"

    def __init__(
        self,
        data: BackboneDataSettings = NO_DATA,
        structure_known: float = 0.1,
        sequence_known: float = 0.1,
    ) -> None:
        super().__init__(data)
        if min(structure_known, sequence_known) < 0.0 or structure_known + sequence_known > 1.0:
            raise InputError(
                f"structure_known, sequence_known: {structure_known} and {sequence_known} are not "
                "shares of a whole; try 0.1 and 0.1"
            )
        self.structure_known, self.sequence_known = structure_known, sequence_known

    def path(self) -> ProductPath:
        """Frames as those of backbones, residues hidden by the mask symbol."""
        return ProductPath({**backbone_path().paths, SEQUENCE: MaskPath(len(LETTERS))})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split; in some samples frames or residues are all held."""
        for number, batch in enumerate(self._pairs.batches(epoch, seed, rank, world)):
            u = np.random.default_rng([seed, epoch, world * number + rank, 5]).random(batch.size)
            known = self.structure_known
            frames, residues = u < known, (u >= known) & (u < known + self.sequence_known)
            yield held(batch, torch.from_numpy(frames), torch.from_numpy(residues))

    def val_batches(self) -> Iterator[Batch]:
        """Whole chains of the validation split with nothing held, always the same."""
        settings = replace(
            self.data, motif_fraction=0.0, crop_all=False, crop_epochs=0, alpha_share=1.0
        )
        return BackboneData(settings, "val", collate_pairs).batches(epoch=0, seed=0)

    def fit(self, net: nn.Module) -> None:
        """The head begins with the composition of the training chains."""
        if not isinstance(net, CodesignNetwork):
            return
        found, unknown = tokens("".join(self._pairs.archive.sequences))
        count = np.bincount(found[~unknown], minlength=len(LETTERS)) + 1.0
        with torch.no_grad():
            net.residue_out.bias.copy_(torch.from_numpy(np.log(count / count.sum())))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates of co-design, inverse folding or folding; see `answer_templates`."""
        return answer_templates(request)

    def drawing(self) -> Drawing:
        """As `sciddiff codesign` draws without further options."""
        from protein.codesign.generate import CodesignSettings

        return CodesignSettings().drawing()

    def objective(self) -> Denoising:
        """Flow matching of the frames with the geometry losses, and cross-entropy of residues."""
        frames = (TRANSLATIONS, ROTATIONS)
        return Denoising(
            times={
                TRANSLATIONS: BetaMixture(uniform=0.1),
                ROTATIONS: TRANSLATIONS,
                SEQUENCE: Uniform(),
            },
            weights={name: LOSS_WEIGHTS[name] for name in frames} | {SEQUENCE: SEQUENCE_WEIGHT},
            self_conditioning=0.5,
            weighting={TRANSLATIONS: "velocity"},
            label_dropout={"fold": LabelDropout(FOLDS.index("none"), 0.25)},
            extra_losses=(weighted_geometry_losses,),
        )

    @cached_property
    def _pairs(self) -> BackboneData:
        return BackboneData(self.data, "train", collate_pairs)
