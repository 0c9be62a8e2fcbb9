"""One model of protein backbones and their sequences: co-design, inverse folding, folding."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS"]

NEEDS = Needs(("protein",), optional=("ipymolstar",))
"""Optional packages that the domain and its verbs use."""
