"""What is docked is what was asked for: stereochemistry left open, boxes, references, isotopes."""

import numpy as np
import pytest

from protein.docking.campaign.output import docked_row, write_sdf
from protein.docking.energy import grid
from protein.docking.molecules.conformers import fresh_conformers, same_stereo, stereoisomer
from protein.docking.molecules.files import read_place
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.receptors.box import Box, box_around
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.errors import InputError
from sciddiff.streams import seed_of

TINY = SearchSettings(chains=8, rounds=1, evaluations=4, archive=8, final=10)
SETTINGS = DockSettings(poses=4, conformers=6, effort=TINY)


@pytest.mark.parametrize(
    ("smiles", "left_open"),
    [("CC=CC", 1), ("CC=NO", 1), ("c1ccccc1N=Nc1ccccc1", 1), ("C/C=C\\C=CC", 1),
     ("O=C1C=CC(=NO)C=C1C", 1), ("C[C@H](F)C=CC(O)Cl", 2), ("C/C=C/C", 0), ("NC(=N)c1ccccc1", 0),
     ("COP(=O)(O)OCC", 0), ("CS(=O)CC", 1)],
)  # fmt: skip
def test_double_bonds_that_are_left_open_are_embedded(smiles, left_open):
    ligand = ligand_from_smiles(smiles)
    assert ligand.open_stereo == left_open
    made = fresh_conformers(ligand, 4, seed=2)
    assert len(made) >= 1
    for coords in made:
        again = ligand_from_smiles(stereoisomer(ligand, coords))
        assert again.open_stereo == 0


def test_what_is_specified_is_still_checked():
    ligand = ligand_from_smiles("C[C@H](F)C=CC(O)Cl")
    coords = fresh_conformers(ligand, 1, seed=2)[0]
    assert same_stereo(ligand, coords) and not same_stereo(ligand, coords * [1, 1, -1])
    trans = ligand_from_smiles("C/C=C/C")
    made = fresh_conformers(ligand_from_smiles("C/C=C\\C"), 1)[0]
    assert not same_stereo(trans, made)


def test_each_pose_says_which_stereoisomer_it_is(conformer, imprint, tmp_path):
    ligand = ligand_from_smiles("OC(c1ccccc1)C(N)C=CC", "open")
    (result,) = Docker(imprint, box_around(conformer), SETTINGS).dock([ligand], [0])
    assert result.docked is not None
    assert len(result.isomers) == len(result.docked.coords)
    assert len(set(result.isomers)) > 1 and "3 of its stereocentres" in result.notes[0]
    for name, coords in zip(result.isomers, result.docked.coords, strict=True):
        assert stereoisomer(ligand, coords) == name
    write_sdf(tmp_path / "open.sdf", "open", ligand, result)
    text = (tmp_path / "open.sdf").read_text()
    assert all(f">  <smiles>\n{name}\n" in text for name in result.isomers)
    row = docked_row(0, "open", ligand, result, "open.sdf")
    assert row.smiles == result.isomers[0] and "not specified" in row.note


def test_centres_that_cannot_differ_are_not_noted(conformer, imprint):
    """Graphs of bridged rings have centres that are the same however they are drawn."""
    (result,) = Docker(imprint, box_around(conformer), SETTINGS).dock(
        [ligand_from_smiles("C1CC2CCC1CC2", "bridged")], [0]
    )
    assert result.docked is not None
    assert not any("not specified" in note for note in result.notes)


def test_strain_counts_within_one_stereoisomer(conformer, imprint):
    """Each pose is compared with conformers of its own configuration."""
    ligand = ligand_from_smiles("OC(c1ccccc1)C(N)C=CC", "open")
    docker = Docker(imprint, box_around(conformer), SETTINGS)
    seed = seed_of(SETTINGS.seed, "conformers", 0, bits=31)
    shapes = fresh_conformers(ligand, SETTINGS.conformers, seed)
    own = [stereoisomer(ligand, x) for x in shapes]
    (result,) = docker.dock([ligand], [0])
    assert result.docked is not None
    relaxed = np.arange(len(shapes), dtype=float)
    told = docker._result(ligand, result.docked, shapes, relaxed)
    least = [min(r for r, o in zip(relaxed, own, strict=True) if o == n) for n in told.isomers]
    np.testing.assert_allclose(told.strain, result.docked.intramolecular - least)
    assert len(set(least)) > 1


def test_a_box_smaller_than_the_ligand_is_noted(drug, conformer, imprint):
    middle = tuple(conformer.mean(0))
    (small,) = Docker(imprint, Box(middle, (4.0, 4.0, 4.0)), SETTINGS).dock([drug], [0])
    assert "larger than the box (4 x 4 x 4 Å)" in small.notes[0]
    (fine,) = Docker(imprint, box_around(conformer), SETTINGS).dock([drug], [0])
    assert fine.notes == ()


def test_a_large_box_takes_ligands_in_any_order(conformer, imprint, monkeypatch):
    """A ligand of many types that needs too large a grid takes no other with it."""
    many = ligand_from_smiles("Nc1ccc(S(=O)(=O)Nc2ncc(Cl)c(F)c2Br)cc1C#N", "many")
    few = ligand_from_smiles("CCc1ccccc1", "few")
    box = box_around(conformer)
    points = int(np.prod(grid._points(box, 0.375)))
    monkeypatch.setattr(grid, "_LARGEST", points * (len(set(many.types.tolist())) - 1))
    found = {}
    for order in ((many, few), (few, many)):
        docker = Docker(imprint, box, SETTINGS)
        for ligand in order:
            (result,) = docker.dock([ligand], [0])
            found.setdefault(ligand.name, []).append(result)
    assert all("too large" in result.error for result in found["many"])
    first, second = (result.docked for result in found["few"])
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.coords, second.coords)


def test_only_the_place_of_a_reference_is_needed(tmp_path):
    """A metal complex shows where the box goes, though it cannot be docked."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    ring = Chem.AddHs(Chem.MolFromSmiles("C1CCCCCCCCCCCCCC1"))
    rdDistGeom.EmbedMolecule(ring, randomSeed=1)
    (tmp_path / "ring.sdf").write_text(Chem.MolToMolBlock(ring) + "$$$$\n")
    place = read_place(tmp_path / "ring.sdf")
    np.testing.assert_allclose(place, ring.GetConformer().GetPositions()[:15], atol=1e-4)
    metal = Chem.MolFromSmiles("[Zn+2]")
    metal.AddConformer(Chem.Conformer(1))
    metal.GetConformer().SetAtomPosition(0, (1.0, 2.0, 3.0))
    (tmp_path / "zn.sdf").write_text(Chem.MolToMolBlock(metal) + "$$$$\n")
    np.testing.assert_allclose(read_place(tmp_path / "zn.sdf"), [[1.0, 2.0, 3.0]])
    (tmp_path / "flat.smi").write_text("CCO flat\n")
    with pytest.raises(InputError, match=r"flat\.smi: .*no 3-D coordinates"):
        read_place(tmp_path / "flat.smi")


@pytest.mark.parametrize("smiles", ["[2H]C(C)O", "[13CH3]CO", "[2H]OC([2H])([2H])C"])
def test_isotopes_stay(smiles, tmp_path, conformer, imprint):
    ligand = ligand_from_smiles(smiles, "label")
    from rdkit.Chem import CanonSmiles

    assert ligand.smiles == CanonSmiles(smiles)
    (result,) = Docker(imprint, box_around(conformer), SETTINGS).dock([ligand], [0])
    write_sdf(tmp_path / "label.sdf", "label", ligand, result)
    assert f">  <smiles>\n{ligand.smiles}\n" in (tmp_path / "label.sdf").read_text()
    assert docked_row(0, "label", ligand, result, "f").smiles == ligand.smiles
