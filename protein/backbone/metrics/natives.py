"""What natives look like: summary statistics and histograms, never coordinates.

`Reference.shipped()` reads the figures of held-out natives that come with the package, so that
designs can be judged without the data; `Reference.from_measured` makes the same from any
natives at hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics import distribution as dist
from protein.backbone.metrics.geometry import Array
from protein.backbone.metrics.measure import Measured
from sciddiff.errors import InputError

FORMAT = 2
FAVOURED, ALLOWED = 0.98, 0.998
"""Share of natives' residues inside the favoured and the allowed Ramachandran region."""

POINTS = (
    "length", "rg", "rg_ratio", "helix", "strand", "contact_order", "long_range_contacts", "core",
)  # fmt: skip
"""Figures kept for every single native, for the bands and clouds of the report, and for the
divergences of designs from them."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of a set of natives.

    Attributes:
        label: one line that says which natives.
        torsions: counts of (phi, psi), ten-degree bins `[36, 36]`.
        rg_ratio: counts of Rg / (2.2 L^0.38) in the bins of `distribution.RG_RATIO_EDGES`.
        structure: counts by helix and strand fraction `[5, 5]`.
        points: `POINTS` of every native `[n]` each.
        summary: every figure as ``{"value", "low", "high"}``.
    """

    label: str
    torsions: NDArray[np.int64]
    rg_ratio: NDArray[np.int64]
    structure: NDArray[np.int64]
    points: dict[str, Array]
    summary: dict[str, dict[str, float | None]]

    @classmethod
    def from_measured(
        cls,
        measured: Sequence[Measured],
        label: str,
        summary: Mapping[str, dict[str, float | None]] | None = None,
    ) -> Reference:
        """Statistics of natives measured here.

        Args:
            measured: one per native.
            label: which natives they are.
            summary: figures to carry along.
        """
        columns = {key: np.array([m.row[key] for m in measured], float) for key in POINTS}
        return cls(
            label,
            sum_torsions(measured),
            dist.binned(columns["rg_ratio"], dist.RG_RATIO_EDGES),
            dist.joint_ss_histogram(columns["helix"], columns["strand"]),
            columns,
            dict(summary or {}),
        )

    @classmethod
    def shipped(cls) -> Reference:
        """The natives that come with the package: held-out chains of 60–128 residues."""
        package = resources.files("protein.backbone.metrics")
        text = package.joinpath("natives_reference.json").read_text(encoding="utf-8")
        return cls.from_json(json.loads(text))

    @staticmethod
    def interfaces() -> dict[str, dict[str, float | None]]:
        """The figures of contacts between chains of bound natural complexes, which ship too."""
        package = resources.files("protein.backbone.metrics")
        text = package.joinpath("interfaces_reference.json").read_text(encoding="utf-8")
        return dict(json.loads(text)["summary"])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reference:
        """Read what `to_json` gave.

        Raises:
            InputError: the format is another one.
        """
        if data.get("format") != FORMAT:
            raise InputError(
                f"natives reference: format {data.get('format')!r} is not {FORMAT}; "
                "compute it again with protein.backbone.metrics.reference"
            )
        return cls(
            str(data["label"]),
            np.array(data["torsions"], np.int64),
            np.array(data["rg_ratio"], np.int64),
            np.array(data["structure"], np.int64),
            {key: np.array(data["points"][key], float) for key in POINTS},
            dict(data["summary"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "format": FORMAT,
            "label": self.label,
            "torsions": self.torsions.tolist(),
            "rg_ratio": self.rg_ratio.tolist(),
            "structure": self.structure.tolist(),
            "points": {key: np.round(self.points[key], 3).tolist() for key in POINTS},
            "summary": self.summary,
        }

    def torsion_row(self, measured: Measured) -> dict[str, float]:
        """Ramachandran figures of one chain against these natives."""
        phi, psi = measured.torsions.phi, measured.torsions.psi
        counts = dist.torsion_histogram(phi, psi)
        density = dist.smooth_density(self.torsions)
        total = max(int(counts.sum()), 1)
        inside = [
            counts[density >= dist.density_level(density, mass)].sum() / total
            for mass in (FAVOURED, ALLOWED)
        ]
        divergence = dist.jensen_shannon(dist.coarsen(counts), dist.coarsen(self.torsions))
        return {
            "rama_favoured": float(inside[0]),
            "rama_outliers": float(1.0 - inside[1]),
            "rama_jsd": divergence,
        }

    def rg_band(self, lengths: NDArray[np.floating]) -> tuple[Array, Array]:
        """Rg between which ninety per cent of natives of a length lie, Å.

        The spread of Rg over ``2.2 L^0.38`` is taken as the same at every length.

        Args:
            lengths: residues `[n]`.
        """
        from protein.structures.filters import expected_radius

        low, high = np.percentile(self.points["rg_ratio"], [5, 95])
        expected = expected_radius(lengths)
        return low * expected, high * expected


def sum_torsions(measured: Sequence[Measured]) -> NDArray[np.int64]:
    """Counts of (phi, psi) over many chains, ten-degree bins `[36, 36]`."""
    counts = np.zeros((dist.TORSION_BINS, dist.TORSION_BINS), np.int64)
    for one in measured:
        counts += dist.torsion_histogram(one.torsions.phi, one.torsions.psi)
    return counts
