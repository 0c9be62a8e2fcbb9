"""Which designs of a folder are finished.

A design is finished when both of its files are there (each is written whole or not at all), and it
depends on (request, seed, index) alone, so a rerun makes just the missing ones. What was asked for
is kept by `sciddiff.cli.campaign.Campaign`.
"""

from __future__ import annotations

from pathlib import Path

from protein.backbone.request import design_name


def missing(directory: Path, n: int) -> list[int]:
    """Indices among the first `n` designs of a folder that are not finished."""
    return [index for index in range(n) if not finished(directory, index)]


def finished(directory: Path, index: int) -> bool:
    """Both files of a design are there."""
    stem = directory / design_name(index)
    return stem.with_suffix(".pdb").exists() and stem.with_suffix(".cif").exists()
