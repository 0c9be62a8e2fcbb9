"""Ensemble forecasts: the domain a network is trained in, and the roll-out of its members."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS", "PERSISTENCE"]

NEEDS = Needs(("weather",), optional=("matplotlib", "scores"))
"""Optional packages that the domain and its verbs use."""

PERSISTENCE = "persistence"
"""Stands for the initial state as the future of prescribed channels."""
