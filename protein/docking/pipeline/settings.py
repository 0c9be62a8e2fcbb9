"""How ligands are docked, in plain values."""

from dataclasses import dataclass, field

from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.energy.terms import VINA, VinaWeights
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.errors import InputError

EFFORTS: dict[str, SearchSettings | None] = {
    "none": None,
    "fast": SearchSettings(chains=128, rounds=16),
    "normal": SearchSettings(),
    "thorough": SearchSettings(chains=1024, rounds=80),
}
"""Efforts of the search by name; with ``none`` only the network draws poses."""


@dataclass(frozen=True)
class DockSettings:
    """How ligands are docked.

    Attributes:
        poses: number of poses reported for each ligand.
        conformers: number of reference conformers per ligand, whose rings and angles are rigid;
            the chains are divided among them.
        effort: key of ``EFFORTS``, or settings of the search.
        propose: how the network draws poses, if there is one.
        seed: seed of all random draws.
        minimize: whether the network's poses are moved to the nearest minimum of the energy.
        weights: the scoring function.
        energy_range: energy above the best pose beyond which none is reported, kcal/mol; None for
            no limit.
        min_rmsd: RMSD below which two poses are never both reported, Å; None to prefer poses that
            are `search.ranking.APART` from each other, and to fill up with closer ones.
        water_price: energy that a water of the receptor costs which a pose displaces, kcal/mol;
            None for waters that stay.
        template_rmsd: largest RMSD of what a ligand shares with a template from its place, Å.
    """

    poses: int = 9
    conformers: int = 4
    effort: str | SearchSettings = "normal"
    propose: ProposeSettings = field(default_factory=ProposeSettings)
    seed: int = 0
    minimize: bool = True
    weights: VinaWeights = VINA
    energy_range: float | None = None
    min_rmsd: float | None = None
    water_price: float | None = None
    template_rmsd: float = 2.0

    def __post_init__(self) -> None:
        if isinstance(self.effort, str) and self.effort not in EFFORTS:
            raise InputError(f"effort {self.effort!r}: unknown; use {', '.join(EFFORTS)}")
        if self.poses < 1 or self.conformers < 1:
            raise InputError("poses and conformers: give at least 1")

    @property
    def search(self) -> SearchSettings | None:
        """The effort of the search; None for no search."""
        return EFFORTS[self.effort] if isinstance(self.effort, str) else self.effort
