"""Protein language models: sequences without structures, drawn and completed."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS"]

NEEDS = Needs(("protein",))
"""Optional packages that the domain and its verbs use."""
