"""Docking of small molecules: poses on R³ × SO(3) × Tᵐ, their physics, search and metrics."""

from __future__ import annotations

from sciddiff.domains import Option
from sciddiff.extras import Needs

__all__ = ["NEEDS", "OPTIONS"]

NEEDS = Needs(("protein", "docking"), optional=("ipymolstar", "posebusters"))
"""Optional packages that the docking domain and its commands use."""

OPTIONS = (
    Option("actives", "FILE", "known actives of a screen, names or molecules, which the best "
           "affinities should find", reads=True),
)  # fmt: skip
"""Options of `sciddiff evaluate` that the domain brings."""
