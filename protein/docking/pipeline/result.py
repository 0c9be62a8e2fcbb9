"""What docking one ligand gave: its poses, and what they are tagged with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protein.docking.energy.terms import TERMS
from protein.docking.molecules.adduct import Bond
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.metrics import Verdict
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.side_chains import SideChains
from protein.docking.search.ranking import Docked
from sciddiff.errors import InputError


@dataclass(frozen=True, eq=False)
class Result:
    """Result of docking one ligand.

    Attributes:
        docked: ranked poses; None if docking failed.
        error: why it failed, in one sentence.
        strain: intramolecular energy above that of the best fresh conformer of the same
            stereoisomer `[K]`, kcal/mol.
        seconds: its share of the computing time of its batch.
        sites: numbers, from 1, of the boxes of the poses `[K]`; empty if there is only one box.
        isomers: SMILES of the stereoisomer of each pose; empty if the input leaves no centre
            open.
        notes: what a user should know about the poses, one sentence each.
        sides: flexible side chains of the receptor; None for a rigid one.
        waters: residues of the waters that may be displaced.
        bond: the bond of the ligand to a side chain, and the ligand as it is bound; None for none.
    """

    docked: Docked | None
    error: str = ""
    strain: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    sites: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    isomers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sides: SideChains | None = None
    waters: tuple[str, ...] = ()
    bond: Bond | None = None

    def molecule(self, ligand: Ligand) -> Ligand:
        """The molecule of the poses: the ligand, or what is left of it if it is bonded."""
        return ligand if self.bond is None else self.bond.ligand

    def displaced(self, k: int) -> tuple[str, ...]:
        """The waters that a pose displaces, by their residues."""
        if self.docked is None or self.docked.displaced is None:
            return ()
        gone = self.docked.displaced[k]
        return tuple(label for label, out in zip(self.waters, gone, strict=True) if out)

    def receptor(self, receptor: Receptor, k: int) -> Receptor:
        """The receptor of a pose: its side chains where they are, without waters it displaces.

        Args:
            receptor: the receptor that was docked to.
            k: index of the pose.
        """
        gone = self.displaced(k)
        if gone:
            receptor = receptor.select(~np.isin(receptor.residues, gone))
        if self.sides is None or self.docked is None or self.docked.side_coords is None:
            return receptor
        return self.sides.placed(receptor, self.docked.side_coords[k])

    def tags(self, ligand: Ligand, k: int, verdict: Verdict | None = None) -> dict[str, str]:
        """Data fields of a pose in an SDF file.

        Args:
            ligand: the molecule.
            k: index of the pose.
            verdict: verdict of PoseBusters, if it was run.

        Raises:
            InputError: the ligand was not docked.
        """
        docked = self.docked
        if docked is None:
            raise InputError(self.error)
        tags = {"rank": str(k + 1)}
        if docked.confidence is not None:
            tags["confidence"] = f"{docked.confidence[k]:.3f}"
        for name in ("affinity", "energy", "intramolecular"):
            tags[name] = f"{getattr(docked, name)[k]:.3f}"
        tags["strain"] = f"{self.strain[k]:.3f}"
        if docked.side_energy is not None:
            tags["side_chains"] = f"{docked.side_energy[k]:.3f}"
        if self.waters:
            tags["displaced_waters"] = " ".join(self.displaced(k))
        tags |= {f"term_{name}": f"{docked.terms[k, i]:.4f}" for i, name in enumerate(TERMS)}
        if len(self.sites):
            tags["site"] = str(self.sites[k])
        if self.bond is not None:
            tags["covalent"] = f"{self.bond.residue}:{self.bond.atom}"
            tags["warhead"] = self.bond.warhead
            tags["bonded_atom"] = str(self.bond.reacting + 1)
        tags["smiles"] = self.isomers[k] if self.isomers else ligand.smiles
        if verdict is not None:
            tags["posebusters"] = "valid" if verdict.valid else "invalid"
            tags["posebusters_failed"] = " ".join(verdict.failed)
        return tags
