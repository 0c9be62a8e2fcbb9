"""Objectives: how a denoiser learns."""

from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.blocks import Autoregressive, BlockMasked, RankedNet
from sciddiff.objectives.couplings import Coupling, Independent, MinibatchOT, Paired
from sciddiff.objectives.denoising import Corrupted, Denoising, ExtraLoss, LabelDropout
from sciddiff.objectives.distilled import Distilled
from sciddiff.objectives.flow_maps import Instant, Shortcut
from sciddiff.objectives.mean_flow import Consistency, MeanFlow
from sciddiff.objectives.progressive import Progressive
from sciddiff.objectives.proper_score import ProperScore, ScoreTerm
from sciddiff.objectives.reconstruction import Reconstruction
from sciddiff.objectives.rollout import Advance, Rollout
from sciddiff.objectives.scores import Distance, energy_score, euclidean, fair_crps
from sciddiff.objectives.weightings import ClippedVelocity, EDMWeighting, Flat, Weighting

__all__ = [
    "Advance",
    "Autoregressive",
    "BlockMasked",
    "ClippedVelocity",
    "Consistency",
    "Corrupted",
    "Coupling",
    "Denoising",
    "Distance",
    "Distilled",
    "EDMWeighting",
    "ExtraLoss",
    "Flat",
    "Independent",
    "Instant",
    "LabelDropout",
    "LossOutput",
    "MeanFlow",
    "MinibatchOT",
    "Objective",
    "Paired",
    "Progressive",
    "ProperScore",
    "RankedNet",
    "Reconstruction",
    "Rollout",
    "ScoreTerm",
    "Shortcut",
    "Weighting",
    "energy_score",
    "euclidean",
    "fair_crps",
]
