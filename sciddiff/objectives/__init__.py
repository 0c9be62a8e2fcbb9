"""Objectives: how a denoiser learns."""

from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.couplings import Coupling, Independent, MinibatchOT
from sciddiff.objectives.denoising import Denoising, ExtraLoss, LabelDropout
from sciddiff.objectives.weightings import ClippedVelocity, EDMWeighting, Flat, Weighting

__all__ = [
    "ClippedVelocity",
    "Coupling",
    "Denoising",
    "EDMWeighting",
    "ExtraLoss",
    "Flat",
    "Independent",
    "LabelDropout",
    "LossOutput",
    "MinibatchOT",
    "Objective",
    "Weighting",
]
