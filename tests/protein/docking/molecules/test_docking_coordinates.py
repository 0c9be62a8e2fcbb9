"""Molecules of files without bond orders: groups of structures, PDBQT, templates, refusals."""

import gzip

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem
from rdkit.Chem.AllChem import EmbedMolecule

from protein.docking.molecules.conformers import fresh_conformers, relax_geometry, same_stereo
from protein.docking.molecules.coordinates import (
    AtomGroup,
    determined,
    ligand_groups,
    only_group,
    pdbqt_models,
    placed,
    skeleton,
)
from protein.docking.molecules.files import ligand_records, read_place
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.files import pose_files, read_poses
from sciddiff.errors import InputError

ALANINE = "C[C@H](N)C(=O)O"


def _full(smiles: str) -> Chem.Mol:
    from rdkit.Chem.rdDistGeom import EmbedMolecule

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert EmbedMolecule(mol, randomSeed=7) == 0
    return mol


def _group(mol: Chem.Mol) -> AtomGroup:
    elements = tuple(atom.GetSymbol().upper() for atom in mol.GetAtoms())
    return AtomGroup("LIG A1", elements, mol.GetConformer().GetPositions())


@pytest.mark.parametrize("smiles", ["CC(=O)Nc1ccc(O)cc1", "CC(=O)[O-]", "C[NH3+]", "C#CCl"])
def test_hydrogens_tell_bond_orders_and_charges(smiles):
    found = Chem.RemoveHs(determined(_group(_full(smiles))))
    assert Chem.MolToSmiles(found) == Chem.CanonSmiles(smiles)


def test_what_is_ambiguous_is_refused():
    with pytest.raises(InputError, match="has no hydrogens on carbon.*--template"):
        determined(_group(Chem.RemoveHs(_full("CC(=O)O"))))
    polar = _full("Oc1ccccc1")
    keep = [a.GetIdx() for a in polar.GetAtoms()
            if a.GetSymbol() != "H" or a.GetNeighbors()[0].GetSymbol() == "O"]  # fmt: skip
    whole = _group(polar)
    some = AtomGroup("x", tuple(whole.elements[i] for i in keep), whole.coords[keep])
    with pytest.raises(InputError, match="has no hydrogens on carbon"):
        determined(some)
    half = _full("CC(=O)Nc1ccc(O)cc1")
    less = AtomGroup("x", _group(half).elements[:-3], _group(half).coords[:-3])
    with pytest.raises(InputError, match="--template"):
        determined(less)
    with pytest.raises(InputError, match="Zn, a metal"):
        skeleton(AtomGroup("x", ("ZN", "C"), np.asarray([[0.0, 0, 0], [2, 0, 0]])))


def test_a_template_gives_order_bonds_and_handedness():
    template = ligand_from_smiles(ALANINE, "alanine")
    coords = fresh_conformers(template, 1)[0]
    turn = np.random.default_rng(0).permutation(len(template))
    elements = tuple(template.mol.GetAtomWithIdx(int(i)).GetSymbol().upper() for i in turn)
    mol = skeleton(AtomGroup("x", elements, coords[turn]))
    found = placed(template, mol, "x")
    assert same_stereo(template, found)
    # Both oxygens look alike without bond orders; all other atoms are where they were.
    np.testing.assert_allclose(found[:4], coords[:4])
    mirror = skeleton(AtomGroup("x", elements, coords[turn] * [-1, 1, 1]))
    assert not same_stereo(template, placed(template, mirror, "x"))
    with pytest.raises(InputError, match="are not those of the template"):
        placed(ligand_from_smiles("CCO"), mol, "x")


def test_groups_of_a_structure_file(tmp_path):
    mol = Chem.RemoveHs(_full("CC(=O)Nc1ccc(O)cc1"))
    lines = [line for line in Chem.MolToPDBBlock(mol).splitlines() if line.startswith("HETATM")]
    (tmp_path / "lig.pdb").write_text("\n".join(lines) + "\nEND\n")
    assert only_group(tmp_path / "lig.pdb").name == "UNL A1"
    protein = [
        f"ATOM  {i:5d}  {atom:<3s} GLY B{i:4d}    {30.0 + i:8.3f}{0.0:8.3f}{0.0:8.3f}  1.00  0.00"
        for i, atom in enumerate(("N", "CA", "C"), 1)
    ]
    other = [line.replace("UNL", "XYZ") for line in lines]
    water = ["HETATM   90  O   HOH D   1      50.000   0.000   0.000  1.00  0.00           O"]
    (tmp_path / "both.pdb").write_text("\n".join([*protein, *lines, *other, *water, "END"]) + "\n")
    with pytest.raises(InputError, match="holds 2 groups that may be the ligand"):
        only_group(tmp_path / "both.pdb")
    assert only_group(tmp_path / "both.pdb", "xyz").name == "XYZ A1"
    with pytest.raises(InputError, match="no group QQQ; its other groups are UNL, XYZ|holds no"):
        ligand_groups(tmp_path / "both.pdb", "QQQ")
    (pose,) = read_poses(tmp_path / "lig.pdb")
    assert pose.ligand is None and "has no hydrogens" in pose.error
    template = ligand_from_smiles("CC(=O)Nc1ccc(O)cc1")
    (pose,) = read_poses(tmp_path / "lig.pdb", template)
    assert pose.ligand is template
    # Atoms that look alike may change places.
    given = mol.GetConformer().GetPositions()
    np.testing.assert_allclose(*(np.sort(x, axis=0) for x in (pose.coords, given)), atol=1e-3)


def test_pdbqt_models(tmp_path):
    atom = "ATOM  {:5d}  {:<3s} LIG A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00     0.000 {}\n"
    body = "".join(
        atom.format(i, name, x, 0.0, 0.0, kind)
        for i, (name, x, kind) in enumerate([("C", 0, "C"), ("C", 1.5, "A"), ("O", 2.9, "OA"),
                                             ("H", 3.5, "HD"), ("N", 9.0, "NA"), ("G", 9.5, "G0"),
                                             ("CL", 9.9, "Cl")], 1)  # fmt: skip
    )
    file = tmp_path / "x.pdbqt"
    file.write_text("REMARK SMILES CCO\nREMARK SMILES IDX 1 1\n" + body)
    ((group, smiles),) = pdbqt_models(file)
    assert group.elements == ("C", "C", "O", "H", "N", "CL") and smiles == "CCO"
    file.write_text(f"MODEL 1\n{body}ENDMDL\nMODEL 2\n{body}ENDMDL\n")
    assert [smiles for _, smiles in pdbqt_models(file)] == ["", ""]
    file.write_text("REMARK nothing\n")
    with pytest.raises(InputError, match="holds no atoms"):
        list(pdbqt_models(file))


_METHANOL = (
    "REMARK SMILES CO\n"
    "HETATM    1  C   UNL     1       0.000   0.000   0.000  1.00  0.00    +0.100 C \n"
    "HETATM    2  O   UNL     1       1.410   0.000   0.000  1.00  0.00    -0.400 OA\n"
)


def test_libraries_of_pdbqt_and_pdb_files(tmp_path):
    """Vina's libraries are folders of them; a PDB file beside other ligands is a receptor."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "a.pdbqt").write_text(_METHANOL)
    (folder / "b.pdbqt.gz").write_bytes(gzip.compress(_METHANOL.encode()))
    (folder / "receptor.pdb").write_text("")
    rows = list(ligand_records(folder))
    assert [(row.name, row.text, row.error) for row in rows] == [("a", "CO", ""), ("b", "CO", "")]
    assert read_place(folder / "b.pdbqt.gz").shape == (2, 3)
    (pose,) = read_poses(folder / "b.pdbqt.gz", ligand_from_smiles("CO"))
    assert pose.ligand is not None and pose.ligand.smiles == "CO"
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    EmbedMolecule(mol, randomSeed=1)
    alone = tmp_path / "alone"
    alone.mkdir()
    Chem.MolToPDBFile(mol, str(alone / "c.pdb"))
    assert [(row.name, row.text) for row in ligand_records(alone)] == [("c", "CO")]
    assert pose_files([folder, alone, folder / "a.pdbqt"]) == [
        folder / "a.pdbqt", folder / "b.pdbqt.gz", alone / "c.pdb", folder / "a.pdbqt"
    ]  # fmt: skip
    (folder / "a.sdf").write_text("")  # what `dock --pdbqt` writes beside it is the same
    assert pose_files([folder]) == [folder / "a.sdf", folder / "b.pdbqt.gz"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no file of poses"):
        pose_files([tmp_path / "empty"])


def test_one_bad_smiles_of_several_is_a_record():
    """A campaign goes on where one molecule cannot be docked; alone, it is an error at once."""
    rows = [record.read() for record in ligand_records(["C1CC", "CCO", "[Fe]"])]
    assert [row.ligand is not None for row in rows] == [False, True, False]
    assert "not a valid SMILES" in rows[0].error or "unclosed" in rows[0].error
    with pytest.raises(InputError):
        list(ligand_records("[Fe]"))


def test_relaxing_mends_lengths_and_keeps_places():
    ligand = ligand_from_smiles("C[C@H](N)c1ccccc1")
    good = fresh_conformers(ligand, 1)[0]
    bad = good + 0.15 * np.random.default_rng(1).normal(size=good.shape)
    found = relax_geometry(ligand, bad)
    bonds = np.asarray([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in ligand.mol.GetBonds()])

    def lengths(x):
        return np.linalg.norm(x[bonds[:, 0]] - x[bonds[:, 1]], axis=-1)

    before, after = (np.abs(lengths(x) - lengths(good)).max() for x in (bad, found))
    assert before > 0.1 and after < 0.04
    assert np.linalg.norm(found - bad, axis=-1).max() < 0.6 and same_stereo(ligand, found)


def test_the_reason_names_the_file(tmp_path):
    for name in ("first", "second"):
        Chem.MolToPDBFile(Chem.RemoveHs(_full("CC(=O)O")), str(tmp_path / f"{name}.pdb"))
        (record,) = ligand_records(str(tmp_path / f"{name}.pdb"))
        assert record.error.startswith(f"{name}.pdb: ") and record.error.count(name) == 1
        assert "has no hydrogens on carbon" in record.error
