"""Forecast weights that ship with the package, one folder each: configuration, weights, facts and
a model card. `sciddiff.shipped.find_model` finds them by name.
"""

from __future__ import annotations

__all__ = ["DEFAULTS"]

DEFAULTS = {"crps": "planet_crps", "diffusion": "planet_diffusion"}
"""Weights used for each head when no model is named."""
