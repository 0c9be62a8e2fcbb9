"""Docking of small molecules: poses on R³ × SO(3) × Tᵐ, their physics, search and metrics."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS"]

NEEDS = Needs(("protein", "docking"), optional=("ipymolstar", "posebusters"))
"""Optional packages that the docking domain and its commands use."""
