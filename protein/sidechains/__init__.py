"""Side chains: torsions for given backbones and sequences, by flow matching on the torus."""

from __future__ import annotations

from sciddiff.extras import Needs

__all__ = ["NEEDS"]

NEEDS = Needs(("protein",), optional=("ipymolstar",))
"""Optional packages that the domain and its verbs use."""
