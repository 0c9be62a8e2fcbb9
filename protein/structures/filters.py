"""Which chains make good training data: cut at breaks, then keep compact, well-built pieces.

Measures: radius of gyration against 2.2 L^0.38 Å, the scaling of globular proteins (Skolnick,
Kolinski & Ortiz 1997); CA–CA contacts within 8 Å at four or more residues apart, per residue;
share of residues in neither helix nor strand; share of N–CA, CA–C and C–N bonds more than six
standard deviations from ideal. The default bounds let pass what crystallographers deposit for
single compact domains, and stop fibres, unfolded tails and models with broken geometry.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein.structures import geometry_constants as geo
from protein.structures.chain import Backbone
from protein.structures.secondary import secondary_structure
from sciddiff.errors import InputError

_CONTACT = 8.0
_CONTACT_SEPARATION = 4
_OUTLIER_SD = 6.0


@dataclass(frozen=True)
class FilterSettings:
    """Bounds a chain must keep; ``None`` switches a bound off.

    Attributes:
        min_length: fewest residues.
        max_length: most residues.
        max_resolution: Å; files that state none pass.
        split_breaks: cut a chain at its breaks and judge the pieces; else drop the chain.
        max_rg_ratio: radius of gyration over 2.2 L^0.38 Å.
        min_contacts: CA contacts (8 Å, four or more apart) per residue.
        max_coil: share of residues in neither helix nor strand.
        max_bond_outliers: share of bonds more than 6 sd from ideal.
        max_unknown: share of residues of unknown type.
        keep_copies: keep every copy of a sequence that a file holds several times.
        model: which model of an ensemble.
    """

    min_length: int = 40
    max_length: int = 256
    max_resolution: float | None = 3.5
    split_breaks: bool = True
    max_rg_ratio: float | None = 1.2
    min_contacts: float | None = 1.1
    max_coil: float | None = 0.6
    max_bond_outliers: float | None = 0.025
    max_unknown: float | None = 0.1
    keep_copies: bool = False
    model: int = 0

    def __post_init__(self) -> None:
        """Refuse bounds nothing could satisfy."""
        if not 1 <= self.min_length <= self.max_length:
            raise InputError(
                f"length {self.min_length}-{self.max_length}: impossible; give 1 <= min <= max"
            )
        for name in ("max_resolution", "max_rg_ratio", "max_coil", "max_bond_outliers"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} {value:g}: must be above 0; leave it out to switch off")


@dataclass(frozen=True)
class Verdict:
    """Why a chain or piece was dropped.

    Attributes:
        reason: one of a fixed set of words, for counting.
        detail: the number and the bound.
    """

    reason: str
    detail: str


def pieces(chain: Backbone) -> list[Backbone]:
    """Stretches of a chain without a break (C–N ≤ 1.6 Å and CA–CA ≤ 4.2 Å), in order."""
    cuts = np.flatnonzero(~chain.bonded[:-1]) + 1
    parts = np.split(np.arange(len(chain)), cuts)
    return [chain.select(part) for part in parts if len(part)]


def radius_of_gyration(ca: NDArray[np.floating]) -> float:
    """Root mean square distance of CA atoms `[L, 3]` from their centre, Å."""
    centred = ca - ca.mean(axis=0)
    return float(np.sqrt((centred**2).sum(axis=-1).mean()))


def expected_radius(length: float | NDArray) -> NDArray[np.float64]:
    """Radius of gyration of a folded chain of that many residues, ``2.2 L^0.38`` Å."""
    return 2.2 * np.asarray(length, dtype=np.float64) ** 0.38


def contacts_per_residue(ca: NDArray[np.floating]) -> float:
    """Pairs of CA atoms `[L, 3]` within 8 Å and four or more residues apart, over L."""
    distances = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    upper = np.triu(np.ones(distances.shape, dtype=bool), k=_CONTACT_SEPARATION)
    return float(((distances < _CONTACT) & upper).sum() / len(ca))


def bond_outliers(coords: NDArray[np.floating]) -> float:
    """Share of N–CA, CA–C and C–N bonds of an unbroken chain `[L, 4, 3]` beyond 6 sd."""
    n, ca, c = (coords[:, i].astype(np.float64) for i in range(3))
    vectors = {"N-CA": ca - n, "CA-C": c - ca, "C-N": n[1:] - c[:-1]}
    scores = [
        np.abs(np.linalg.norm(vector, axis=-1) - geo.BOND_LENGTHS[name][0])
        / geo.BOND_LENGTHS[name][1]
        for name, vector in vectors.items()
    ]
    return float((np.concatenate(scores) > _OUTLIER_SD).mean())


def judge(chain: Backbone, settings: FilterSettings) -> tuple[Verdict | None, str]:
    """Judge an unbroken chain.

    Returns:
        The verdict, None to keep, and the secondary structure (empty when dropped before it).
    """
    length = len(chain)
    if length < settings.min_length:
        return Verdict("too short", f"{length} residues < {settings.min_length}"), ""
    if length > settings.max_length:
        return Verdict("too long", f"{length} residues > {settings.max_length}"), ""
    rg = radius_of_gyration(chain.ca) / float(expected_radius(length))
    measures = (
        ("unknown residues", chain.sequence.count("X") / length, settings.max_unknown),
        ("bond outliers", bond_outliers(chain.coords), settings.max_bond_outliers),
        ("not compact", rg, settings.max_rg_ratio),
    )
    for reason, value, bound in measures:
        if bound is not None and value > bound:
            return Verdict(reason, f"{value:.3f} > {bound:g}"), ""
    contacts = contacts_per_residue(chain.ca)
    if settings.min_contacts is not None and contacts < settings.min_contacts:
        return Verdict(
            "few contacts", f"{contacts:.2f} per residue < {settings.min_contacts:g}"
        ), ""
    ss3 = secondary_structure(chain.coords)
    coil = ss3.count("c") / length
    if settings.max_coil is not None and coil > settings.max_coil:
        return Verdict("mostly coil", f"{coil:.2f} > {settings.max_coil:g}"), ""
    return None, ss3
