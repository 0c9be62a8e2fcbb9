"""The terms of a pose: surfaces, torsions, hydrogen bonds and charges against known values."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")

from protein.docking.confidence.surface import buried_surface
from protein.docking.confidence.terms import TERMS, pose_terms
from protein.docking.confidence.torsion_preferences import torsion_preferences
from protein.docking.energy.pairwise import interaction
from protein.docking.energy.terms import TERMS as VINA_TERMS
from protein.docking.energy.terms import VINARDO
from protein.docking.molecules.atom_types import INDEX
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.receptors.receptor import Receptor


def _receptor(*atoms: tuple[str, str, str, tuple[float, float, float]]) -> Receptor:
    """Atoms given by their type, name, residue and place."""
    types, names, residues, places = zip(*atoms, strict=True)
    return Receptor(
        np.asarray(places, dtype=np.float64),
        np.asarray([INDEX[t] for t in types]),
        tuple(t.partition("_")[0].upper() for t in types),
        names,
        residues,
        tuple(f"A:{i}" for i in range(len(types))),
    )


def _terms(ligand, receptor, coords) -> dict[str, float]:
    found = pose_terms(ligand, receptor, torch.as_tensor(coords, dtype=torch.float32))
    assert found.shape == (len(coords), len(TERMS)) and torch.isfinite(found).all()
    return dict(zip(TERMS, found[0].tolist(), strict=True))


def test_two_spheres_cover_the_caps_that_geometry_says():
    gap = 3.0
    both = torch.tensor([[[0.0, 0.0, 0.0]]]), torch.tensor([[0.0, 0.0, gap]])
    carbon = torch.tensor([INDEX["C_H"]])
    covered, free = buried_surface(both[0], carbon, both[1], carbon)
    r = 1.7 + 1.4
    assert float(free) == pytest.approx(4 * pi * r**2, rel=1e-5)
    # A cap of height r - gap / 2; points are 1/48 of the sphere each.
    assert float(covered) == pytest.approx(2 * pi * r * (r - gap / 2), abs=4 * pi * r**2 / 30)
    away = torch.tensor([[0.0, 0.0, 2 * r + 0.1]])
    assert float(buried_surface(both[0], carbon, away, carbon)[0]) == 0.0
    # What the ligand's own atoms hide is neither covered nor free.
    pair = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, gap]]])
    _, alone = buried_surface(pair, carbon.repeat(2), away + 50.0, carbon)
    cap = 2 * pi * r * (r - gap / 2)
    assert alone[0].tolist() == pytest.approx([4 * pi * r**2 - cap] * 2, abs=4.5)


def test_torsions_cost_what_they_cost_and_planes_of_amides_cost_nothing():
    from rdkit.Chem.rdMolTransforms import SetDihedralDeg

    amide = ligand_from_smiles("CC(=O)NC")
    angles = (180.0, 150.0, 90.0)
    coords = []
    from rdkit.Chem import Mol

    mol = Mol(amide.with_coords(fresh_conformers(amide, 1, seed=1)[0]))
    for angle in angles:
        SetDihedralDeg(mol.GetConformer(), 0, 1, 3, 4, angle)
        coords.append(mol.GetConformer().GetPositions())
    energy, strain = torsion_preferences(amide.mol, torch.tensor(np.asarray(coords)).float())
    assert float(energy[0]) < 0.5 < float(energy[1]) < float(energy[2])
    assert float(strain[0]) < 0.1 < float(strain[2]) <= 2.0
    rigid = ligand_from_smiles("c1ccccc1")
    none = torsion_preferences(rigid.mol, torch.zeros(2, 6, 3))
    assert all(float(x.abs().max()) == 0.0 for x in none)


def test_vinardo_is_that_of_the_energy(drug, imprint, conformer):
    found = _terms(drug, imprint, conformer[None])
    near = imprint.pocket(conformer)
    told = interaction(
        torch.tensor(conformer)[None, None].float(), torch.from_numpy(drug.types)[None],
        torch.from_numpy(near.coords).float(), torch.from_numpy(near.types), VINARDO,
    ).terms[0, 0]  # fmt: skip
    for name, term in (("gauss", "gauss1"), ("repulsion",) * 2, ("hydrophobic",) * 2,
                       ("hbond",) * 2):  # fmt: skip
        assert found[f"vinardo_{name}"] == pytest.approx(
            float(told[VINA_TERMS.index(term)]), rel=1e-4, abs=1e-5
        )


def test_hydrogen_bonds_and_charges_are_counted():
    acid = ligand_from_smiles("CC(=O)[O-]")
    coords = np.asarray([[[0.0, 0, 0], [1.5, 0, 0], [2.1, 1.1, 0], [2.1, -1.1, 0]]])
    base = ("N_D", "NZ", "LYS", (4.9, 1.1, 0.0))
    found = _terms(acid, _receptor(base), coords)
    assert found["hbonds"] == 1 and found["unsatisfied"] == 0 and found["alike"] == 0
    r = np.linalg.norm(coords[0, 2:] - np.asarray(base[3]), axis=-1)
    assert found["coulomb"] == pytest.approx(10 * (-0.5 / r**2).sum(), rel=1e-4)
    assert found["screened"] == pytest.approx(3 * (-0.5 / r * np.exp(-r / 5)).sum(), rel=1e-4)
    other = _terms(acid, _receptor(("O_A", "OD1", "ASP", (4.9, 1.1, 0.0))), coords)
    assert other["hbonds"] == 0 and other["alike"] == 2
    assert other["coulomb"] == pytest.approx(-0.5 * found["coulomb"], rel=1e-4)
    zinc = _terms(acid, _receptor(("Met_D", "ZN", "ZN", (4.2, 1.1, 0.0))), coords)
    assert zinc["metals"] == 1
    # Deep among carbons, an acid without a partner is unsatisfied.
    rng = np.random.default_rng(0)
    wall = rng.normal(size=(60, 3))
    wall = 4.5 * wall / np.linalg.norm(wall, axis=-1, keepdims=True) + coords[0].mean(0)
    deep = _receptor(*(("C_H", "CB", "ALA", tuple(xyz)) for xyz in wall.tolist()))
    assert _terms(acid, deep, coords)["unsatisfied"] == 2


def test_terms_depend_on_no_frame_and_on_no_far_atom(drug, imprint, conformer):
    from sciddiff.manifolds import so3

    turn = so3.exp_map(torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64)).numpy()
    moved = replace(imprint, coords=imprint.coords @ turn.T + [40.0, 0.0, -9.0])
    first = _terms(drug, imprint, conformer[None])
    second = _terms(drug, moved, conformer[None] @ turn.T + [40.0, 0.0, -9.0])
    for name in TERMS:  # points on spheres do not turn with the molecule
        loose = 6.0 if name.startswith(("buried", "open")) else 2e-2
        assert first[name] == pytest.approx(second[name], abs=loose), name
    far = _terms(drug, imprint, conformer[None] + 300.0)
    assert far["hbonds"] == far["greasy"] == far["buried_polar"] == far["coulomb"] == 0.0


def test_no_poses_have_no_terms(drug, imprint):
    assert pose_terms(drug, imprint, torch.zeros(0, len(drug), 3)).shape == (0, len(TERMS))


def test_a_set_without_poses_can_be_made(drug, imprint):
    from protein.docking.confidence.pose_set import pose_set
    from protein.docking.search.ranking import Docked

    none = Docked(np.zeros((0, len(drug), 3)), *np.zeros((3, 0)), np.zeros((0, 5)))
    found = pose_set(drug, imprint, none)
    assert len(found) == 0 and found.terms.shape == (0, len(TERMS))


def test_what_the_ligand_hides_itself_is_not_covered_by_the_receptor():
    pair = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]])
    carbon = torch.tensor([INDEX["C_H"]])
    between = torch.tensor([[0.0, 0.0, 1.5]])
    covered, free = buried_surface(pair, carbon.repeat(2), between, carbon)
    # Planes at 0.75 and 1.5 Å bound what the receptor alone hides of each sphere.
    r = 1.7 + 1.4
    assert covered[0].tolist() == pytest.approx([2 * pi * r * 0.75] * 2, abs=4 * pi * r**2 / 30)
    assert (covered <= free + 1e-4).all()
