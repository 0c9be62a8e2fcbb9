"""Tuning: from a model of data to a model of data that are wanted.

All ways aim at the law of a reference times e to the power of a reward over a temperature.
`best_of` weighs finished samples and changes no weights; `RewardedSamples` fits the network to
samples of the reference by their weights; `PolicyGradient` and `RewardGradient` learn from what
the model draws while it changes. What each buys is told beside what it costs: the divergence from
the reference, the entropy, the share of distinct samples, and a reward that was not tuned on.
"""

from sciddiff.tuning.gradient import RewardGradient
from sciddiff.tuning.measure import Figures, Row, measure, measure_best_of
from sciddiff.tuning.plan import METHODS, TuningPlan, in_groups, measured_seed
from sciddiff.tuning.policy import PolicyGradient, Tuned
from sciddiff.tuning.templates import Templates
from sciddiff.tuning.trajectories import (
    Trajectories,
    draw_trajectories,
    lawful,
    log_probs,
    path_divergence,
)
from sciddiff.tuning.weighted import GROUP, RewardedSamples, best_of, group_weights

__all__ = [
    "GROUP", "METHODS", "Figures", "PolicyGradient", "RewardGradient", "RewardedSamples", "Row",
    "Templates", "Trajectories", "Tuned", "TuningPlan", "best_of", "draw_trajectories",
    "group_weights", "in_groups", "lawful", "log_probs", "measure", "measure_best_of",
    "measured_seed", "path_divergence",
]  # fmt: skip
