"""Distillation: a student of a trained model that needs fewer calls of its network.

The teacher is a model folder; the student is one too, and every verb that draws from the teacher
draws from the student. `Plan` says what is learned, `OwnSamples` trains on what the teacher draws
where its data are not at hand.
"""

from sciddiff.distillation.own import OwnSamples, draw_own
from sciddiff.distillation.plan import KINDS, Plan, Reconsidered, learning_of, student_of
from sciddiff.distillation.stand_in import StandIn, shuffled

__all__ = [
    "KINDS", "OwnSamples", "Plan", "Reconsidered", "StandIn", "draw_own", "learning_of",
    "shuffled", "student_of",
]  # fmt: skip
