r"""The five pair terms of AutoDock Vina and their weights.

With :math:`d = r - R_i - R_j` (surface distance, Å; :math:`R` the X-Score radii) a pair gives

.. math:: e = w_1 e^{-(d/0.5)^2} + w_2 e^{-((d-3)/2)^2} + w_3 [d<0]\,d^2
          + w_4 \mathrm{hydrophobic}(d) + w_5 \mathrm{hbond}(d)

for :math:`r <` 8 Å, 0 beyond; the hydrophobic term falls from 1 at :math:`d \le 0.5` to 0 at 1.5
for two hydrophobic atoms, the hydrogen bond from 1 at :math:`d \le -0.7` to 0 at 0 for a donor
and an acceptor. Trott and Olson, *AutoDock Vina*, J. Comput. Chem. 31 (2010) 455; weights of
version 1.2 (Eberhardt et al., J. Chem. Inf. Model. 61 (2021) 3891). The energy between ligand and
receptor is divided by :math:`1 + w_\mathrm{rot} N_\mathrm{rot}`. Units: kcal/mol.

Vinardo (Quiroga and Villarreal, PLoS ONE 11 (2016) e0155183) has other radii, one Gaussian of
width 0.8 Å, a hydrophobic term that falls from 1 at 0 to 0 at 2.5 Å, and a hydrogen bond that is
full at -0.6 Å.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protein.docking.molecules.atom_types import ACCEPTS, DONATES, IS_HYDROPHOBIC, RADII

TERMS: tuple[str, ...] = ("gauss1", "gauss2", "repulsion", "hydrophobic", "hbond")
"""Names of the pair terms, in order."""

CUTOFF = 8.0
"""Distance beyond which a pair has no energy, Å."""


@dataclass(frozen=True)
class VinaWeights:
    """A scoring function: weights of the terms, kcal/mol (``rotors``: per rotor, no unit), and
    their shapes.

    Attributes:
        gauss1: weight of the first Gaussian.
        gauss2: weight of the second Gaussian.
        repulsion: weight of the repulsion.
        hydrophobic: weight of the hydrophobic term.
        hbond: weight of the hydrogen bond.
        rotors: share by which a rotor divides the energy.
        width: width of the first Gaussian, Å.
        hydrophobic_full: surface distance up to which the hydrophobic term is 1, Å.
        hydrophobic_none: surface distance from which it is 0, Å.
        hbond_full: surface distance up to which the hydrogen bond is 1, Å.
        radii: radii by type, Å, in the order of ``atom_types.TYPES``; None for X-Score's.
    """

    gauss1: float = -0.035579
    gauss2: float = -0.005156
    repulsion: float = 0.840245
    hydrophobic: float = -0.035069
    hbond: float = -0.587439
    rotors: float = 0.05846
    width: float = 0.5
    hydrophobic_full: float = 0.5
    hydrophobic_none: float = 1.5
    hbond_full: float = -0.7
    radii: tuple[float, ...] | None = None

    @property
    def vina_shapes(self) -> bool:
        """Whether the shapes, not the weights, are Vina's, which the compiled loops have."""
        shapes = (self.width, self.hydrophobic_full, self.hydrophobic_none, self.hbond_full)
        return self.radii is None and shapes == (0.5, 0.5, 1.5, -0.7)

    def pair(self) -> Tensor:
        """Weights of the five pair terms `[5]`."""
        return torch.tensor([getattr(self, name) for name in TERMS])


VINA = VinaWeights()
"""The weights of AutoDock Vina 1.2."""

VINARDO = VinaWeights(
    gauss1=-0.045, gauss2=0.0, repulsion=0.8, hydrophobic=-0.035, hbond=-0.6, width=0.8,
    hydrophobic_full=0.0, hydrophobic_none=2.5, hbond_full=-0.6,
    radii=(2.0, 2.0, *[1.7] * 4, *[1.6] * 4, 2.0, 2.1, 1.5, 1.8, 2.0, 2.2, 2.2, 1.2),
)  # fmt: skip
"""Vinardo, with the radii and the weight of rotors that AutoDock Vina 1.2 gives it."""

SCORINGS: dict[str, VinaWeights] = {"vina": VINA, "vinardo": VINARDO}
"""Scoring functions by name."""

_radius, _hydrophobic, _donor, _acceptor = (
    torch.as_tensor(x) for x in (RADII, IS_HYDROPHOBIC, DONATES, ACCEPTS)
)
TYPE_PAIRS: tuple[Tensor, Tensor, Tensor] = (
    (_radius[:, None] + _radius).double(),
    _hydrophobic[:, None] & _hydrophobic,
    (_donor[:, None] & _acceptor) | (_acceptor[:, None] & _donor),
)
"""For two types the sum of their radii (Å, double precision), whether both are hydrophobic, and
whether they can make a hydrogen bond, each `[n_types, n_types]`."""


def type_pairs(weights: VinaWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Tables like ``TYPE_PAIRS``, with the radii of a scoring function.

    Args:
        weights: the scoring function.
    """
    if weights.radii is None:
        return TYPE_PAIRS
    radius = torch.tensor(weights.radii, dtype=torch.float64)
    return radius[:, None] + radius, *TYPE_PAIRS[1:]


def pair_terms(
    r: Tensor,
    radii: Tensor,
    hydrophobic: Tensor,
    hbond: Tensor,
    weights: VinaWeights = VINA,
) -> Tensor:
    """The five terms of pairs, unweighted.

    Args:
        r: distances `[...]`, Å.
        radii: sums of the two radii `[...]`, Å.
        hydrophobic: both atoms are `[...]`, bool.
        hbond: one donates and the other accepts `[...]`, bool.
        weights: the scoring function, whose shapes the terms have.

    Returns:
        `[..., 5]` in the order of ``TERMS``; zero from the cut-off on.
    """
    d = r - radii
    fall = weights.hydrophobic_none - weights.hydrophobic_full
    terms = [
        torch.exp(-((d / weights.width) ** 2)),
        torch.exp(-(((d - 3.0) / 2.0) ** 2)),
        d.clamp(max=0.0) ** 2,
        ((weights.hydrophobic_none - d) / fall).clamp(0.0, 1.0) * hydrophobic,
        (d / weights.hbond_full).clamp(0.0, 1.0) * hbond,
    ]
    return torch.stack(terms, dim=-1) * (r < CUTOFF).unsqueeze(-1)


def type_table(
    weights: VinaWeights,
    bins_per_square: int,
    first: Sequence[int],
    second: Sequence[int],
    middle: bool = False,
) -> Tensor:
    """Energy of pairs of types on an even grid in r².

    Args:
        weights: weights of the terms.
        bins_per_square: grid points per Å².
        first: types of the first atom, length A.
        second: types of the second atom, length B.
        middle: values at the middles of the bins instead of their left ends.

    Returns:
        `[A, B, 64 * bins_per_square + 2]`, kcal/mol, float32; the last two are 0.
    """
    count = int(CUTOFF**2) * bins_per_square
    squares = (torch.arange(count + 2, dtype=torch.float64) + 0.5 * middle) / bins_per_square
    r = squares.sqrt()
    weight, tables = weights.pair().double(), type_pairs(weights)
    columns = torch.tensor(second)
    rows = [
        pair_terms(
            r.expand(len(columns), -1),
            *(table[i, columns, None] for table in tables),
            weights=weights,
        ) @ weight
        for i in first
    ]  # fmt: skip
    table = torch.stack(rows).float()
    table[..., count:] = 0.0
    return table


def soft_cap(energy: Tensor, cap: float) -> Tensor:
    """Bend positive energies below a cap, ``e cap / (cap + e)``, and keep negative ones.

    With this soft core, atoms may pass through each other at an energy that tends to ``cap``. Vina
    does the same with caps of 10 (search) and 1000 (final score).

    Args:
        energy: `[...]`, kcal/mol.
        cap: kcal/mol; infinity changes nothing.
    """
    if cap == float("inf"):
        return energy
    return torch.where(energy > 0, energy * cap / (cap + energy.clamp(min=0.0)), energy)


def soft_cap_slope(energy: Tensor, cap: float) -> Tensor:
    """Derivative of ``soft_cap`` by its energy."""
    if cap == float("inf"):
        return torch.ones_like(energy)
    return (cap / (cap + energy.clamp(min=0.0))) ** 2
