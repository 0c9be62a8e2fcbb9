"""Protein sequences: inverse folding, which designs sequences for given backbones."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS"]

NEEDS = Needs(("protein",), optional=("ipymolstar",))
"""Optional packages that the domain and its verbs use."""
