"""Metrics: symmetric RMSD against brute force and spyrmsd, PoseBusters' verdicts, intervals."""

import numpy as np
import pytest

from protein.docking.campaign.verdicts import verdicts
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.result import Result
from protein.docking.poses.metrics import bust, success_interval, symmetric_rmsd
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.ranking import Docked


def test_a_flipped_ring_is_the_same_pose():
    ligand = ligand_from_smiles("O=C([O-])c1ccc(C)cc1")
    x = fresh_conformers(ligand, 1)[0]
    for permutation in ligand.symmetries:
        assert symmetric_rmsd(x[None, permutation], x, ligand.symmetries)[0] < 1e-12
    plain = np.sqrt(np.square(x[ligand.symmetries[-1]] - x).sum(-1).mean())
    assert plain > 0.5


def test_there_is_no_superposition():
    ligand = ligand_from_smiles("CCO")
    x = fresh_conformers(ligand, 1)[0]
    assert symmetric_rmsd(x[None] + [3.0, 0, 4.0], x, ligand.symmetries)[0] == pytest.approx(5.0)


def test_agreement_with_rdkit(drug):
    from rdkit.Chem import rdMolAlign

    conformers = fresh_conformers(drug, 5, seed=1)
    ours = symmetric_rmsd(conformers, conformers[0], drug.symmetries)
    for coords, value in zip(conformers, ours, strict=True):
        theirs = rdMolAlign.CalcRMS(drug.with_coords(coords), drug.with_coords(conformers[0]))
        assert value == pytest.approx(theirs, abs=1e-6)


def test_posebusters(drug):
    pytest.importorskip("posebusters")
    good = fresh_conformers(drug, 1, seed=1)[0]
    broken = good * 1.4
    first, second = bust(drug, np.stack([good, broken]))
    assert first.valid and not first.failed and len(first.checks) > 8
    assert not second.valid and "bond_lengths" in second.failed


def test_interval():
    low, high = success_interval(18, 28)
    assert (low, high) == (pytest.approx(0.458, abs=2e-3), pytest.approx(0.793, abs=2e-3))
    assert success_interval(0, 0) == (0.0, 1.0)
    assert success_interval(5, 5)[1] == pytest.approx(1.0)


def test_posebusters_reads_what_is_near_and_says_the_same(drug, conformer, tmp_path, monkeypatch):
    """A clash near the pose is found, and a far part of the protein is not even read."""
    from contextlib import contextmanager

    from protein.docking.poses import metrics

    pytest.importorskip("posebusters")
    lines, number = [], 0
    corners = [conformer.mean(0) + np.asarray([x, y, z]) for x in (-9, 9, 40) for y in (-9, 9)
               for z in (-6, 6)]  # fmt: skip
    for corner in [*corners, conformer[0] + 0.8]:
        number += 1
        for k, (atom, shift) in enumerate((("N", -1.4), ("CA", 0.0), ("C", 1.5))):
            x, y, z = corner + np.asarray([shift, 0.0, 0.0])
            lines.append(
                f"ATOM  {3 * number + k:5d}  {atom:<3s} GLY A{number:4d}    {x:8.3f}{y:8.3f}"
                f"{z:8.3f}  1.00  0.00           {atom[0]}\n"
            )
    file = tmp_path / "protein.pdb"
    file.write_text("".join([*lines, "CONECT    3    4\n", "END\n"]))
    poses = np.stack([conformer, conformer + [0.0, 0.0, 60.0]])
    with metrics._near(file, poses[:1]) as near:
        kept = near.read_text()
    assert 0 < kept.count("ATOM") < len(lines) and f"A{number:4d}" in kept
    cropped = bust(drug, poses, file)

    @contextmanager
    def whole(receptor, coords, waters):
        yield receptor

    monkeypatch.setattr(metrics, "_near", whole)
    assert [v.checks for v in cropped] == [v.checks for v in bust(drug, poses, file)]
    assert "minimum_distance_to_protein" in cropped[0].failed


def test_waters_that_were_not_docked_to_are_no_clash(tmp_path, drug, conformer):
    pytest.importorskip("posebusters")
    lines = []
    for k, (atom, shift) in enumerate((("N", -1.4), ("CA", 0.0), ("C", 1.5)), 1):
        x, y, z = conformer.mean(0) + [shift, 9.0, 5.0]
        lines.append(f"ATOM  {k:5d}  {atom:<3s} GLY A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
                     f"  1.00  0.00           {atom[0]}\n")  # fmt: skip
    x, y, z = conformer[0] + 0.7
    lines.append(f"HETATM    4  O   HOH A 301    {x:8.3f}{y:8.3f}{z:8.3f}"
                 "  1.00  0.00           O\n")  # fmt: skip
    file = tmp_path / "protein.pdb"
    file.write_text("".join([*lines, "END\n"]))
    here = conformer[:1] + 0.7
    found = [bust(drug, conformer[None], file, waters)[0].failed
             for waters in (None, here, here + 3.0, here[:0])]  # fmt: skip
    clash = "minimum_distance_to_waters"
    assert [clash in failed for failed in found] == [True, True, False, False]


def test_waters_of_chains_that_pdb_cannot_name_are_judged(tmp_path, drug, conformer):
    pytest.importorskip("posebusters")
    names = ("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
             "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x",
             "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "pdbx_formal_charge",
             "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id",
             "pdbx_PDB_model_num")  # fmt: skip
    text = ["data_x", "loop_", *(f"_atom_site.{name}" for name in names)]
    middle = conformer.mean(0)
    atoms = [("ATOM", "N", "N", "GLY", "AA", 1, middle + [-1.4, 9.0, 5.0]),
             ("ATOM", "C", "CA", "GLY", "AA", 1, middle + [0.0, 9.0, 5.0]),
             ("ATOM", "C", "C", "GLY", "AA", 1, middle + [1.5, 9.0, 5.0]),
             ("ATOM", "O", "O", "GLY", "AA", 1, middle + [2.0, 10.1, 5.0]),
             ("HETATM", "O", "O", "HOH", "WAT", 12301, conformer[0] + 0.7)]  # fmt: skip
    for k, (group, element, atom, name, chain, number, (x, y, z)) in enumerate(atoms, 1):
        text.append(f"{group} {k} {element} {atom} . {name} {chain} 1 {number} ? {x:.3f} {y:.3f} "
                    f"{z:.3f} 1.0 0.0 ? {number} {name} {chain} {atom} 1")  # fmt: skip
    file = tmp_path / "protein.cif"
    file.write_text("\n".join([*text, "#", ""]))
    docked = Docked(conformer[None], *(np.zeros(1) for _ in range(3)), np.zeros((1, 5)))
    clash = "minimum_distance_to_waters"
    for keep, expected in ((frozenset({"HOH"}), True), (frozenset(), False)):
        receptor = read_receptor(file, keep)
        (found,) = verdicts(drug, Result(docked, ""), receptor, file, 1)
        assert (clash in found.failed) is expected
