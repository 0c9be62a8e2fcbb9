"""Ligands: rotatable bonds, what is refused and why, files, conformers, symmetry."""

import gzip

import numpy as np
import pytest

from protein.docking.molecules.conformers import fresh_conformers, same_stereo
from protein.docking.molecules.files import read_ligand, read_ligands
from protein.docking.molecules.ligand import (
    LigandSettings,
    ligand_from_mol,
    ligand_from_smiles,
)
from sciddiff.errors import InputError


@pytest.mark.parametrize(
    ("smiles", "torsions", "rotors"),
    [
        ("CCCC", 1, 1.0),
        ("Cc1ccccc1", 0, 0.0),
        ("c1ccccc1-c1ccccc1", 1, 1.0),
        ("C1CCCCC1CC1CCCCC1", 2, 2.0),
        ("CCO", 0, 0.5),
        ("Oc1ccccc1", 0, 0.5),
        ("CC(=O)Nc1ccccc1", 1, 1.0),  # the amide is held
        ("CC(=O)N(C)c1ccccc1", 2, 2.0),  # tertiary with two substituents: it turns
        ("CC(=O)N(C)C", 0, 0.0),  # tertiary with equal ones: it need not
        ("c1ccccc1C#Cc1ccccc1", 1, 1.0),  # an alkyne is one rotation
        ("N#Cc1ccccc1", 0, 0.0),
        ("CC(F)(F)F", 0, 0.0),
        ("CCOC(=O)c1ccccc1", 3, 3.0),
        ("NS(=O)(=O)c1ccccc1", 1, 1.5),
    ],
)
def test_rotatable_bonds(smiles, torsions, rotors):
    tree = ligand_from_smiles(smiles).tree
    assert len(tree) == torsions
    assert tree.rotors == pytest.approx(rotors)


def test_the_tree_is_a_tree(drug):
    tree = drug.tree
    assert all(parent < t for t, parent in enumerate(tree.parents))
    for t, (a, b) in enumerate(tree.bonds):
        assert not tree.masks[t, a] and not tree.masks[t, b]
        # What a torsion moves, its ancestors move too; the far end of its axis included.
        if tree.parents[t] >= 0:
            assert (tree.masks[t] <= tree.masks[tree.parents[t]]).all()
        assert tree.fragments[b] == t + 1
    assert tree.masks.sum(axis=1).max() <= len(drug) / 2 + 2, "the root is not central"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(=O)[O-].[Na+]", "Na, a metal"),
        ("CCO.CCN", "mixture of 2 parts"),
        ("C[Pt](C)(N)N", "Pt, a metal"),
        ("NCC(=O)" + "NC(CCCCN)C(=O)" * 9 + "O", "rotatable bonds, above 32"),
        ("CN(C)(C)C", "wrong valence or charge"),
        ("C[CH]C", "radical"),
        ("c1cccc1", "impossible aromatic ring"),
        ("C1CC", "not a valid SMILES"),
        ("*CCO", "attachment point"),
        ("[H][H]", "no heavy atom"),
    ],
)
def test_a_refused_molecule_says_why_in_one_sentence(smiles, reason):
    with pytest.raises(InputError) as caught:
        ligand_from_smiles(smiles, "mol7")
    text = str(caught.value)
    assert text.startswith("mol7: ") and reason in text and "; " in text and "\n" not in text


def test_limits_are_settings():
    with pytest.raises(InputError, match="above 1"):
        ligand_from_smiles("CCCCCC", settings=LigandSettings(max_torsions=1))


def test_charges_and_tautomers_stay_as_given():
    for smiles in ("CC(=O)[O-]", "CC(=O)O", "C[NH3+]", "Oc1ccccn1", "O=c1cccc[nH]1"):
        assert ligand_from_smiles(smiles).mol.GetNumAtoms() > 0
    assert ligand_from_smiles("CC(=O)[O-]").smiles == "CC(=O)[O-]"
    assert ligand_from_smiles("Oc1ccccn1").smiles != ligand_from_smiles("O=c1cccc[nH]1").smiles


@pytest.mark.parametrize("smiles", ["C[C@H](O)[C@@H](F)CC", "C/C=C\\CC", "C/C=C/C[C@H](N)C(=O)O"])
def test_fresh_conformers_keep_stereochemistry(smiles):
    ligand = ligand_from_smiles(smiles)
    conformers = fresh_conformers(ligand, 4, seed=1)
    assert conformers.shape == (4, len(ligand), 3)
    for coords in conformers:
        assert same_stereo(ligand, coords)
        back = ligand_from_mol(ligand.with_coords(coords))
        assert back.smiles == ligand.smiles
        if "@" in smiles:
            assert not same_stereo(ligand, coords * [1, 1, -1]), "a mirror image passed"


def test_conformers_follow_the_seed_and_not_the_input(drug):
    first, again, other = (fresh_conformers(drug, 1, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.1)
    posed = ligand_from_mol(drug.with_coords(other[0]))
    assert np.allclose(fresh_conformers(posed, 1, seed=5), first, atol=1e-6)


def test_a_shape_is_looked_for_so_many_times_and_not_so_long(monkeypatch):
    from rdkit.Chem import rdDistGeom

    embed, asked = rdDistGeom.EmbedMultipleConfs, []

    def spy(mol, n, parameters):
        asked.append((parameters.maxIterations, parameters.timeout))
        return embed(mol, n, parameters)

    monkeypatch.setattr(rdDistGeom, "EmbedMultipleConfs", spy)
    # A benzene ring whose opposite atoms are tied by three carbons has no shape.
    bridged = ligand_from_smiles("C1Cc2ccc(C1)cc2", "bridged")
    with pytest.raises(InputError, match="no 3-D conformer"):
        fresh_conformers(bridged, 1, attempts=3)
    assert asked == [(3, 0), (3, 0)], "a limit in seconds depends on the load of the machine"


@pytest.mark.parametrize(
    ("smiles", "count"),
    [("c1ccccc1", 12), ("O=C([O-])c1ccccc1", 4), ("CC(C)(C)O", 6), ("CCO", 1),
     ("OP(=O)([O-])Oc1ccccc1", 12), ("NC(=[NH2+])c1ccccc1", 4)],
)  # fmt: skip
def test_symmetries(smiles, count):
    symmetries = ligand_from_smiles(smiles).symmetries
    assert len(symmetries) == count
    assert any((row == np.arange(len(row))).all() for row in symmetries)
    assert all(sorted(row) == list(range(len(row))) for row in symmetries)


def test_files_give_one_row_per_record(tmp_path, drug, conformer):
    from rdkit import Chem

    block = Chem.MolToMolBlock(drug.with_coords(conformer))
    bad = block.replace("V2000", "V9999")
    sdf = tmp_path / "some.sdf"
    sdf.write_text(f"{block}$$$$\n{bad}$$$$\n{block}$$$$\n")
    rows = list(read_ligands(sdf))
    assert [row.ligand is not None for row in rows] == [True, False, True]
    assert [row.index for row in rows] == [0, 1, 2] and "SDF record" in rows[1].error
    assert len({row.name for row in rows}) == 3
    assert rows[0].ligand.smiles == drug.smiles
    assert np.allclose(rows[0].ligand.coords, conformer, atol=1e-3)

    smi = tmp_path / "some.smi.gz"
    smi.write_bytes(gzip.compress(b"SMILES\nCCO one\nc1cc one\n\nCCN\n"))
    rows = list(read_ligands(smi))
    assert [row.name for row in rows] == ["one", "one_2", "some_3"]
    assert [bool(row.error) for row in rows] == [False, True, False]

    table = tmp_path / "library.csv"
    table.write_text("ID;Smiles\na;CCO\nb;CC.CC\nc;\n")
    rows = list(read_ligands(table))
    assert [row.name for row in rows] == ["a", "b", "c"]
    assert [bool(row.error) for row in rows] == [False, True, True]


def test_mol2(tmp_path):
    text = """@<TRIPOS>MOLECULE
ethanol
3 2 1
SMALL
NO_CHARGES
@<TRIPOS>ATOM
1 C1 0.0 0.0 0.0 C.3 1 LIG
2 C2 1.5 0.0 0.0 C.3 1 LIG
3 O1 2.0 1.4 0.0 O.3 1 LIG
@<TRIPOS>BOND
1 1 2 1
2 2 3 1
"""
    path = tmp_path / "e.mol2"
    path.write_text(text + text)
    rows = list(read_ligands(path))
    assert [row.name for row in rows] == ["ethanol", "ethanol_2"]
    assert rows[0].ligand.smiles == "CCO"


def test_sources_that_cannot_be_read(tmp_path):
    empty = tmp_path / "empty.sdf"
    empty.write_text("")
    plain = tmp_path / "no.csv"
    plain.write_text("name,weight\na,3\n")
    for source, reason in (
        (empty, "no molecule"), (plain, "no column named smiles"), (tmp_path, "is a folder"),
        (tmp_path / "gone.sdf", "no such ligand file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=reason):
            list(read_ligands(source))
    assert len(read_ligand("CCO")) == 3


def test_a_drawing_has_no_pose():
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.MolFromSmiles("CC(O)c1ccccc1")
    AllChem.Compute2DCoords(mol)
    with pytest.raises(InputError, match="no 3-D coordinates"):
        ligand_from_mol(mol, "flat").require_coords()


def test_conformers_of_seed_zero_differ():
    ligand = ligand_from_smiles("CCCCCC(=O)NCCc1ccccc1")
    first, second = fresh_conformers(ligand, 2, seed=0)
    assert np.linalg.norm(first - second, axis=-1).max() > 0.5


def test_atoms_of_a_macrocycle_have_an_energy_with_each_other():
    # Each of 14 members is more than three bonds away from seven others; no bond turns.
    ring = ligand_from_smiles("C1CCCCCCCCCCCCC1")
    assert ring.macrocycle and len(ring.tree.bonds) == 0
    assert len(ring.interacting_pairs) == 14 * 7 // 2
    small = ligand_from_smiles("C1CCCCCCCCCC1")
    assert not small.macrocycle and len(small.interacting_pairs) == 0
