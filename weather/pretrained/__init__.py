"""Forecast weights that ship with the package, one folder each: configuration, weights, facts and
a model card.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import torch

    from sciddiff.checkpoint import Model

__all__ = ["DEFAULTS", "directory", "find_model", "names"]

DEFAULTS = {"crps": "planet_crps", "diffusion": "planet_diffusion"}
"""Weights used for each head when no model is named."""


def directory() -> Path:
    """The folder that holds the shipped weights."""
    return Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped weights."""
    return sorted(path.parent.name for path in directory().glob("*/meta.json"))


def find_model(name: str, device: torch.device | str = "cpu") -> Model:
    """Load shipped weights by name, or a model directory by path.

    Args:
        name: One of `names()`, or a directory written by `sciddiff export`.
        device: Where to put the network.

    Raises:
        InputError: There is no such model, or its directory is damaged.
    """
    from sciddiff.checkpoint import load

    shipped = directory() / name
    if (shipped / "meta.json").exists():
        return load(shipped, device)
    if Path(name).is_dir():
        return load(Path(name), device)
    known = ", ".join(names()) or "none ship with this version"
    raise InputError(f"model {name}: neither shipped ({known}) nor a model directory")
