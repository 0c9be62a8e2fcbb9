"""Scores of given poses: the energies of docking, minimisation, clashes, bad records, formats."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from protein.docking.confidence.network import Committee
from protein.docking.confidence.pose_set import pose_set
from protein.docking.confidence.ranker import Calibration, Ranker
from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.molecules.sources import sdf_tags
from protein.docking.poses.files import read_poses, runs, sdf_record
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.scoring.score import ScoreSettings, score_poses
from protein.docking.search.ranking import Docked
from sciddiff.cli.main import main
from sciddiff.errors import InputError


def test_energies_are_those_of_docking(drug, conformer, imprint):
    poses = conformer + np.asarray([[[0.0, 0, 0]], [[0.7, 0, 0]]])
    found = score_poses(drug, poses, imprint)
    score = VinaEnergy.build([drug], [imprint]).score(torch.tensor(poses[None]).float())
    assert found.affinity == pytest.approx(score.affinity[0].numpy(), abs=1e-4)
    total = (score.interaction + score.intramolecular)[0].numpy()
    assert found.energy == pytest.approx(total, abs=1e-4)
    assert found.terms.shape == (2, 5) and np.isfinite(found.strain).all()
    assert found.confidence is None and found.verdicts == () and found.moved is None


def test_minimising_lowers_the_energy_and_keeps_the_molecule(drug, conformer, imprint):
    start = (conformer + np.asarray([0.6, 0.3, 0.0]))[None].repeat(2, 0)
    given = score_poses(drug, start, imprint, ScoreSettings(conformers=0))
    found = score_poses(drug, start, imprint, ScoreSettings(minimize=True, conformers=0))
    assert (found.energy < given.energy - 0.5).all()
    assert found.affinity_given == pytest.approx(given.affinity)
    assert found.moved is not None and (found.moved > 0.05).all() and (found.moved < 3.0).all()
    assert np.isnan(found.strain).all()
    bonds = np.asarray([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in drug.mol.GetBonds()])
    lengths = [np.linalg.norm(x[bonds[:, 0]] - x[bonds[:, 1]], axis=-1) for x in
               (start[0], found.coords[0])]  # fmt: skip
    assert lengths[1] == pytest.approx(lengths[0], abs=1e-3)


def _receptor(*atoms: tuple[str, tuple[float, float, float], str]) -> Receptor:
    elements, coords, residues = zip(*atoms, strict=True)
    names = tuple("X" for _ in atoms)
    types = np.zeros(len(atoms), np.int64)
    return Receptor(np.asarray(coords), types, elements, names, names, residues)


def test_clashes_and_contacts_are_counted():
    methane = ligand_from_smiles("C", "methane")
    # Two carbons clash below 0.75 * (1.7 + 1.7) = 2.55 Å; a metal ion never does.
    receptor = _receptor(
        ("C", (2.5, 0, 0), "A:1"), ("C", (0, 2.6, 0), "A:2"), ("C", (0, 0, 4.1), "A:3"),
        ("ZN", (0, -2.0, 0), "A:4"), ("C", (0, 0, -3.9), "A:2"),
    )  # fmt: skip
    found = score_poses(methane, np.zeros((1, 1, 3)), receptor, ScoreSettings(conformers=0))
    assert found.clashes.tolist() == [1] and found.contacts.tolist() == [4]
    assert found.residues == (("A:1", "A:2", "A:4"),)


def test_a_pose_elsewhere_is_refused(drug, conformer, imprint):
    with pytest.raises(InputError, match="share a frame"):
        score_poses(drug, conformer[None] + 60.0, imprint)


def test_a_ranker_judges_the_poses_beside_each_other(drug, conformer, imprint):
    torch.manual_seed(0)
    ranker = Ranker(Committee(1, 8).eval(), Calibration(0.0), {})
    poses = np.stack([conformer, conformer + 0.3])
    found = score_poses(drug, poses, imprint, ScoreSettings(conformers=0), ranker)
    docked = Docked(poses, found.energy, found.affinity, found.intramolecular, found.terms)
    alone = ranker.probabilities(pose_set(drug, imprint, docked), given=True)
    assert found.confidence is not None
    assert np.allclose(found.confidence, alone, atol=1e-5)


def test_verdicts_are_beside_the_waters_that_are_scored_beside(tmp_path, drug, conformer):
    pytest.importorskip("posebusters")
    rows = [(atom, "GLY A   1", conformer.mean(0) + [shift, 6.0, 4.0])
            for atom, shift in (("N", -1.4), ("CA", 0.0), ("C", 1.5))]  # fmt: skip
    rows.append(("O", "HOH A 301", conformer[0] + 0.7))
    file = tmp_path / "protein.pdb"
    file.write_text("".join(
        f"{'HETATM' if 'HOH' in name else 'ATOM  '}{k:5d}  {atom:<3s} {name}    {x:8.3f}{y:8.3f}"
        f"{z:8.3f}  1.00  0.00           {atom[0]}\n"
        for k, (atom, name, (x, y, z)) in enumerate(rows, 1)
    ))  # fmt: skip
    settings = ScoreSettings(conformers=0, check=True)
    for keep, clash in ((frozenset({"HOH"}), True), (frozenset[str](), False)):
        receptor = read_receptor(file, keep)
        found = score_poses(drug, conformer[None], receptor, settings, receptor_file=file)
        assert ("minimum_distance_to_waters" in found.verdicts[0].failed) == clash


def test_poses_of_one_molecule_are_scored_together(tmp_path, drug, conformer):
    phenol = ligand_from_smiles("Oc1ccccc1", "phenol")
    x = fresh_conformers(phenol, 1)[0]
    records = [sdf_record(drug, conformer + k, "drug", {"rank": str(k)}) for k in range(3)]
    file = tmp_path / "poses.sdf"
    file.write_text("".join(records) + sdf_record(phenol, x, "phenol", {}) + records[0])
    poses = list(read_poses(file))
    assert [pose.name for pose in poses] == ["drug"] * 3 + ["phenol", "drug"]
    assert [pose.record for pose in poses] == [1, 2, 3, 4, 5]
    assert [len(group) for group in runs(iter(poses))] == [3, 1, 1]
    assert [len(group) for group in runs(iter(poses), 2)] == [2, 1, 1, 1]
    np.testing.assert_allclose(poses[2].coords, conformer + 2, atol=1e-3)
    assert poses[2].tags == {"rank": "2"}


def test_tags_are_read():
    record = "a\n\n\n  0  0\nM  END\n>  <x>  (1)\n1\n\n> <two words>\nl1\nl2\n\n>  <empty>\n\n$$$$"
    assert sdf_tags(record) == {"x": "1", "two words": "l1\nl2", "empty": ""}


@pytest.fixture(scope="module")
def files(tmp_path_factory, drug, conformer, imprint) -> Path:
    """A receptor, and poses: two good, one far away, one flat, one that is rubbish."""
    root = tmp_path_factory.mktemp("score")
    lines = []
    for i, (x, y, z) in enumerate(imprint.coords):
        for atom, shift in (("N", -1.2), ("CA", 0.0), ("C", 1.2)):
            lines.append(
                f"ATOM  {3 * i + 1:5d}  {atom:<3s} UNK A{i + 1:4d}    {x:8.3f}{y + shift:8.3f}"
                f"{z:8.3f}  1.00  0.00           {atom[0]}"
            )
    (root / "receptor.pdb").write_text("\n".join([*lines, "END"]) + "\n")
    good = [sdf_record(drug, conformer + s, "drug", {"score": str(s)}) for s in (0.0, 0.4)]
    (root / "good.sdf").write_text("".join(good))
    far = sdf_record(drug, conformer + 80.0, "far", {})
    flat = sdf_record(drug, conformer * np.asarray([1.0, 1.0, 0.0]), "flat", {})
    flat = flat.replace("     RDKit          3D", "     RDKit          2D")
    (root / "bad.sdf").write_text(far + flat + "rubbish\n$$$$\n" + good[0])
    return root


def test_command_line(tmp_path, files, capsys):
    base = ["score", "-r", str(files / "receptor.pdb"), "-l"]
    table, written = tmp_path / "scores.csv", tmp_path / "poses.sdf"
    assert main([*base, str(files / "good.sdf")]) == 0
    text = capsys.readouterr().out
    assert "affinity" in text and "2 of 2 poses scored" in text and "moved" not in text
    inputs = [str(files / name) for name in ("bad.sdf", "good.sdf", "absent.sdf")]
    assert main([*base, *inputs, "-o", str(table), "--write", str(written), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["poses"], told["scored"], told["failed"]) == (7, 3, 4)
    rows = list(csv.DictReader(table.open()))
    assert [row["status"] for row in rows] == ["failed"] * 3 + ["ok"] * 3 + ["failed"]
    for row, word in zip([*rows[:3], rows[6]], ["frame", "3-D", "cannot read", "no such"],
                         strict=True):  # fmt: skip
        assert word in row["reason"] and row["affinity"] == ""
    assert rows[3]["affinity"] == rows[4]["affinity"] and rows[3]["record"] == "4"
    assert rows[4]["stereo_kept"] == "yes" and int(rows[4]["contacts"]) > 0
    assert rows[0]["confidence"] == "" and "valid" not in rows[0]
    assert all(0 < float(row["confidence"]) < 1 for row in rows[3:6])
    kept = list(read_poses(written))
    assert [pose.tags["score"] for pose in kept] == ["0.0", "0.0", "0.4"]
    assert kept[0].tags["affinity"] == rows[3]["affinity"]
    assert main([*base, str(files / "absent.sdf"), "--json"]) == 2
    assert "no such" in json.loads(capsys.readouterr().out)["rows"][0]["reason"]


def test_command_line_minimises_and_checks(tmp_path, files, capsys):
    pytest.importorskip("posebusters")
    table = tmp_path / "scores.csv"
    arguments = ["score", "-r", str(files / "receptor.pdb"), "-l", str(files / "good.sdf")]
    assert main([*arguments, "--minimize", "--check", "-o", str(table)]) == 0
    first, second = csv.DictReader(table.open())
    assert {first["valid"], second["valid"]} <= {"yes", "no"} and "failed_checks" in first
    assert float(second["energy"]) <= float(second["affinity_given"]) + 20.0
    assert float(second["moved"]) > 0.0
    capsys.readouterr()
    for words, told in (
        (["-o", str(files / "good.sdf")], "one of the inputs"),
        (["--write", str(tmp_path)], "is a folder"),
    ):
        assert main([*arguments, *words]) == 2
        assert told in capsys.readouterr().err


def test_pdbqt(tmp_path, drug, conformer):
    meeko = pytest.importorskip("meeko")
    from rdkit.Chem import AddHs

    full = AddHs(drug.with_coords(conformer), addCoords=True)
    setup = meeko.MoleculePreparation().prepare(full)[0]
    text, fine, _ = meeko.PDBQTWriterLegacy.write_string(setup)
    assert fine
    file = tmp_path / "poses.pdbqt"
    file.write_text(text)
    (pose,) = read_poses(file)
    assert pose.ligand is not None and pose.ligand.smiles == drug.smiles
    order = pose.ligand.mol.GetSubstructMatch(drug.mol)
    np.testing.assert_allclose(pose.coords[list(order)], conformer, atol=2e-3)
    bare = "\n".join(line for line in text.splitlines() if "SMILES" not in line)
    file.write_text(bare + "\n")
    (pose,) = read_poses(file)
    assert pose.ligand is None and "has no hydrogens on carbon" in pose.error
    (pose,) = read_poses(file, drug)
    assert pose.ligand is drug  # atoms of its rings that look alike may change places
    (rmsd,) = symmetric_rmsd(pose.coords[None], conformer, drug.symmetries)
    assert rmsd < 2e-3
