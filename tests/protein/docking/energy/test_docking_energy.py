"""The energy: values by hand, grids against pairs, gradients, soft core, batches."""

import math

import numpy as np
import pytest
import torch

from protein.docking.energy.grid import make_grid
from protein.docking.energy.pairwise import interaction
from protein.docking.energy.terms import VinaWeights, soft_cap, soft_cap_slope
from protein.docking.energy.vina import SearchSpace, VinaEnergy
from protein.docking.molecules.atom_types import INDEX, TYPES, ligand_types
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.receptors.box import box_around
from sciddiff.errors import InputError


def pair(first, second, r):
    """Energy of two atoms at a distance."""
    found = interaction(
        torch.tensor([[[[r, 0.0, 0.0]]]]), torch.tensor([[INDEX[first]]]),
        torch.zeros(1, 3), torch.tensor([INDEX[second]]),
    )  # fmt: skip
    return found.atoms.sum().item()


def test_two_atoms_by_hand():
    # Carbon and carbon, hydrophobic, at surface distance 1: r = 1.9 + 1.9 + 1.
    gauss = -0.035579 * math.exp(-4) - 0.005156 * math.exp(-1)
    assert pair("C_H", "C_H", 4.8) == pytest.approx(gauss - 0.035069 * 0.5, abs=1e-6)
    assert pair("C_H", "C_P", 4.8) == pytest.approx(gauss, abs=1e-6)
    # Donor and acceptor 0.7 Å inside contact: the full hydrogen bond, and repulsion.
    bond = -0.035579 * math.exp(-1.96) - 0.005156 * math.exp(-(1.85**2)) + 0.840245 * 0.49
    assert pair("N_D", "O_A", 2.8) == pytest.approx(bond - 0.587439, abs=1e-5)
    assert pair("O_A", "O_A", 2.7) == pytest.approx(
        -0.035579 * math.exp(-1.96) - 0.005156 * math.exp(-(1.85**2)) + 0.840245 * 0.49, abs=1e-5
    )
    assert pair("C_H", "Met_D", 8.01) == 0.0
    assert pair("N_DA", "O_DA", 3.0) == pair("O_DA", "N_DA", 3.0)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CC(=O)Nc1ccccc1", "C_H C_P O_A N_D C_P C_H C_H C_H C_H C_H"),
        ("CN(C)C", "C_P N_A C_P C_P"),
        ("C[NH3+]", "C_P N_D"),
        ("CO", "C_P O_DA"),
        ("c1ccncc1", "C_H C_H C_P N_A C_P C_H"),
        ("c1cc[nH]c1", "C_H C_H C_P N_D C_P"),
        ("CSC(F)(Cl)Br", "C_P S_P C_P F_H Cl_H Br_H"),
        ("CS(N)(=O)=O", "C_P S_P N_DA O_A O_A"),
        ("OB(O)c1ccccc1", "O_DA C_P O_DA C_P C_H C_H C_H C_H C_H"),
    ],
)
def test_types_of_ligands(smiles, expected):
    mol = ligand_from_smiles(smiles).mol
    assert [TYPES[t] for t in ligand_types(mol)] == expected.split()


def poses(conformer, count=6, sigma=0.4, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    shifts = sigma * torch.randn(1, count, 1, 3, generator=g, dtype=torch.float64)
    return (torch.as_tensor(conformer) + shifts).to(dtype)


def test_grids_agree_with_all_pairs(drug, conformer, imprint):
    box = box_around(conformer, 4.0)
    x = poses(conformer)
    exact = VinaEnergy.build([drug], [imprint]).evaluate(x)[0]
    assert exact.min() < -5.0
    errors = []
    for spacing in (0.5, 0.25):
        grid = make_grid(imprint, box, drug.types, spacing)
        energy = VinaEnergy.build([drug], [imprint], grids=[grid]).evaluate(x)[0]
        errors.append((energy - exact).abs().mean().item())
    assert errors[0] < 0.4 and errors[1] < 0.1 and errors[1] < errors[0] / 2


@pytest.mark.parametrize("cap", [2.0, math.inf])
@pytest.mark.parametrize("grids", [True, False])
def test_gradient_is_that_of_the_energy(drug, conformer, imprint, cap, grids):
    box = box_around(conformer, 0.5)  # some atoms outside: the wall counts
    made = [make_grid(imprint, box, drug.types)] if grids else None
    energy = VinaEnergy.build([drug], [imprint], grids=made)
    x = poses(conformer, dtype=torch.float64)
    _, gradient = energy.evaluate(x, cap)
    g = torch.Generator().manual_seed(1)
    errors = []
    for _ in range(5):
        way = torch.randn(x.shape, generator=g, dtype=torch.float64)
        h = 1e-6
        up, down = (energy.evaluate(x + s * h * way, cap)[0] for s in (1, -1))
        errors.append((up - down) / (2 * h) - (gradient * way).sum((-1, -2)))
    # Cells meet at kinks; away from them the gradient is exact.
    assert torch.stack(errors).abs().median() < 1e-4 * gradient.norm(dim=(-1, -2)).mean()


def test_energy_is_a_torch_function(drug, conformer, imprint):
    energy = VinaEnergy.build([drug], [imprint])
    x = poses(conformer).requires_grad_()
    (2.0 * energy(x)).sum().backward()
    assert torch.allclose(x.grad, 2.0 * energy.evaluate(x.detach())[1])


def test_soft_cap():
    e = torch.tensor([-3.0, 0.0, 1e-3, 5.0, 1e9], dtype=torch.float64, requires_grad=True)
    soft = soft_cap(e, 10.0)
    (slope,) = torch.autograd.grad(soft.sum(), e)
    assert torch.allclose(slope, soft_cap_slope(e, 10.0).detach())
    soft = soft.detach()
    assert soft[:2].tolist() == [-3.0, 0.0] and soft.max() <= 10.0
    assert soft[3].item() == pytest.approx(50 / 15)
    assert torch.equal(soft_cap(e, math.inf), e)


def test_intramolecular_pairs():
    assert len(ligand_from_smiles("c1ccccc1-c1ccccc1").interacting_pairs) > 0
    assert len(ligand_from_smiles("CCCC").interacting_pairs) == 0
    # Hexane: only 1-5 and farther, that a torsion changes.
    pairs = {tuple(p) for p in ligand_from_smiles("CCCCCC").interacting_pairs.tolist()}
    assert pairs == {(0, 4), (1, 5), (0, 5)}
    # The atoms of an axis rest in the fragments of both sides: no pair of atom 1 with the ring.
    pairs = ligand_from_smiles("CCc1ccccc1").interacting_pairs
    assert {tuple(p) for p in pairs.tolist()} == {(0, 4), (0, 5), (0, 6)}


def test_intramolecular_energy_by_hand(mould):
    ligand = ligand_from_smiles("CCCCCC")
    x = torch.zeros(1, 1, 6, 3)
    x[0, 0, :, 0] = torch.arange(6) * 1.3
    pairs = VinaEnergy.build([ligand], [mould(x[0, 0].numpy())]).pairs
    energy, _ = pairs.evaluate(x)
    by_hand = 2 * pair("C_H", "C_H", 5.2) + pair("C_H", "C_H", 6.5)
    assert energy.item() == pytest.approx(by_hand, abs=1e-4)


def test_ligands_and_receptors_of_a_batch_are_independent(drug, conformer, imprint, mould):
    other = ligand_from_smiles("OC(=O)Cc1ccccc1Br")
    second = fresh_conformers(other, 1, seed=0)[0]
    pocket = mould(second, seed=1)
    boxes = [box_around(conformer), box_around(second)]
    grids = [
        make_grid(imprint, boxes[0], drug.types),
        make_grid(pocket, boxes[1], other.types, 0.5),
    ]
    x = torch.zeros(2, 1, len(drug), 3)
    x[0, 0] = torch.as_tensor(conformer)
    x[1, 0, : len(other)] = torch.as_tensor(second)
    for use in (None, grids):
        both = VinaEnergy.build([drug, other], [imprint, pocket], [0, 1], grids=use)
        energy, gradient = both.evaluate(x)
        assert gradient[1, :, len(other) :].abs().max() == 0
        for i, (ligand, receptor) in enumerate(((drug, imprint), (other, pocket))):
            own = None if use is None else [use[i]]
            alone = VinaEnergy.build([ligand], [receptor], grids=own)
            part = x[i : i + 1, :, : len(ligand)]
            assert torch.allclose(energy[i], alone.evaluate(part)[0][0], atol=1e-4)
            assert torch.allclose(
                both.score(x).affinity[i], alone.score(part).affinity[0], atol=1e-4
            )


def test_score_divides_by_rotors(drug, conformer, imprint):
    energy = VinaEnergy.build([drug], [imprint])
    score = energy.score(poses(conformer))
    assert torch.allclose(score.affinity, score.interaction / (1 + 0.05846 * drug.tree.rotors))
    weighted = score.terms @ VinaWeights().pair()
    assert torch.allclose(weighted, score.interaction, atol=1e-2)


def test_a_grid_needs_the_types_and_a_pocket(drug, conformer, imprint):
    grid = make_grid(imprint, box_around(conformer), ligand_from_smiles("CCO").types)
    with pytest.raises(InputError, match="atom type"):
        VinaEnergy.build([drug], [imprint], grids=[grid])
    with pytest.raises(InputError, match="no atom of"):
        SearchSpace(imprint, box_around(np.asarray(conformer) + 100))
