"""Protein backbone generation: network, domain, metrics and report."""

from __future__ import annotations

from sciddiff.domains import Option
from sciddiff.extras import Needs

__all__ = ["NEEDS", "OPTIONS"]

NEEDS = Needs(("protein",), optional=("ipymolstar",))
"""Optional packages that the domain and its verbs use."""

OPTIONS = (
    Option("refolded", "FOLDER", "structures predicted from sequences of the designs", reads=True),
    Option("max-rmsd", "X", "a refolded structure has to be closer than X Å (default 2)"),
    Option("min-tm", "X", "and have a TM-score above X (default 0.5)"),
    Option("min-plddt", "X", "and a mean pLDDT above X (default 70)"),
)
"""Options of `sciddiff evaluate` that the domain brings."""
