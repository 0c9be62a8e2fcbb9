"""Evaluation of docked poses: RMSD of known displacements, exact counts, every layout of files."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.evaluation.cases import Case, find_cases, pose_files
from protein.docking.evaluation.measure import CaseResult, PoseResult, matches, measure
from protein.docking.evaluation.summary import summarize
from protein.docking.evaluation.write import EvaluateSettings, write_evaluation
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.files import sdf_record
from sciddiff.cli.main import main
from sciddiff.errors import InputError


@pytest.fixture(scope="module")
def benzoate():
    """A ligand whose ring and carboxylate both flip, and a place for it."""
    ligand = ligand_from_smiles("O=C([O-])c1ccc(C)cc1", "benzoate")
    return ligand, fresh_conformers(ligand, 1, seed=1)[0]


def _write(path: Path, ligand, poses, confidences=None) -> Path:
    """Poses as one SDF file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = []
    for k, coords in enumerate(poses):
        tags = {} if confidences is None else {"confidence": str(confidences[k])}
        records.append(sdf_record(ligand, coords, path.stem, tags))
    path.write_text("".join(records))
    return path


def _shifted(x: np.ndarray, *distances: float) -> list[np.ndarray]:
    return [x + np.asarray([d, 0.0, 0.0]) for d in distances]


def test_a_translation_is_its_length_and_a_flip_is_nothing(tmp_path, benzoate):
    ligand, x = benzoate
    truth = _write(tmp_path / "ligand.sdf", ligand, [x])
    flipped = [x[permutation] for permutation in ligand.symmetries]
    file = _write(tmp_path / "poses.sdf", ligand, [*_shifted(x, 3.0), *flipped])
    result = measure(Case("a", (truth,), None, (file,)))
    assert result.poses[0].rmsd == pytest.approx(3.0, abs=1e-3)
    assert result.poses[0].centroid == pytest.approx(3.0, abs=1e-3)
    assert len(flipped) == 4
    assert all(pose.rmsd < 1e-3 for pose in result.poses[1:])
    assert [pose.rank for pose in result.poses] == [1, 2, 3, 4, 5]
    assert result.best(1) == result.poses[0].rmsd and result.best(5) < 1e-3


def test_other_bond_orders_and_orders_of_atoms_are_matched(benzoate):
    from rdkit.Chem import RenumberAtoms

    from protein.docking.molecules.ligand import ligand_from_mol

    ligand, x = benzoate
    order = np.random.default_rng(0).permutation(len(ligand))
    shuffled = ligand_from_mol(RenumberAtoms(ligand.mol, order.tolist()), "shuffled")
    ways = matches(shuffled, ligand)
    assert len(ways) == 4
    least = min(np.abs(x[order] - x[way]).max() for way in ways)
    assert least == 0.0
    # A tautomer has other bond orders: elements and connections tell.
    imidazole = ligand_from_smiles("Cc1c[nH]cn1")
    assert len(matches(ligand_from_smiles("Cc1cnc[nH]1"), imidazole)) >= 1
    assert len(matches(ligand_from_smiles("Oc1ccccc1"), ligand)) == 0
    assert len(matches(ligand_from_smiles("Cc1ccccc1C([O-])=O"), ligand)) == 0


def test_a_mirror_image_is_told(tmp_path, drug, conformer):
    truth = _write(tmp_path / "ligand.sdf", drug, [conformer])
    mirrored = conformer * np.asarray([1.0, 1.0, -1.0]) + np.asarray([0, 0, 8.0])
    file = tmp_path / "poses.sdf"
    from rdkit.Chem import MolToMolBlock

    blocks = [MolToMolBlock(drug.with_coords(c)) + "$$$$\n" for c in (conformer, mirrored)]
    file.write_text("".join(blocks))
    same, other = measure(Case("a", (truth,), None, (file,))).poses
    assert same.stereo_kept and same.rmsd < 1e-3
    assert other.stereo_kept is False and other.rmsd > 0.1


def test_bad_records_keep_their_rank(tmp_path, benzoate):
    ligand, x = benzoate
    truth = _write(tmp_path / "ligand.sdf", ligand, [x])
    phenol = ligand_from_smiles("Oc1ccccc1", "phenol")
    good = sdf_record(ligand, x + 0.1, "a", {"confidence": "0.9"})
    other = sdf_record(phenol, fresh_conformers(phenol, 1)[0], "b", {})
    flat = "flat\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n"
    flat += "    0.0000    0.0000    0.0000 C   0  0\n    1.5000    0.0000    0.0000 O   0  0\n"
    flat += "  1  2  1  0\nM  END\n$$$$\n"
    file = tmp_path / "poses.sdf"
    file.write_text("rubbish\n$$$$\n" + other + flat + good)
    result = measure(Case("a", (truth,), None, (file,)))
    assert [math.isfinite(pose.rmsd) for pose in result.poses] == [False, False, False, True]
    assert "cannot read" in result.poses[0].reason
    assert "another molecule" in result.poses[1].reason
    assert "3-D" in result.poses[2].reason
    assert result.poses[3].confidence == 0.9
    assert math.isinf(result.best(1)) and result.best(4) < 0.2
    assert not result.failed and result.poses[0].confidence is None


def test_what_cannot_be_measured_has_a_reason(tmp_path, benzoate):
    ligand, x = benzoate
    truth = _write(tmp_path / "ligand.sdf", ligand, [x])
    (tmp_path / "empty.sdf").write_text("")
    absent = measure(Case("a", (truth,), None, (tmp_path / "no.sdf",)))
    empty = measure(Case("a", (truth,), None, (tmp_path / "empty.sdf",)))
    no_truth = measure(Case("a", (tmp_path / "no.sdf",), None, (truth,)))
    assert absent.failed and "no such" in absent.reason
    assert empty.failed and "no molecule" in empty.reason
    assert no_truth.failed and "no such" in no_truth.reason


def _case(name: str, *rmsd: float, confidence=()) -> CaseResult:
    poses = tuple(
        PoseResult(k + 1, "f", k + 1, r, r, confidence=confidence[k] if confidence else None)
        for k, r in enumerate(rmsd)
    )
    return CaseResult(name, poses, "" if poses else "no file of poses")


def test_success_counts_are_exact(tmp_path):
    cases = [
        _case("a", 0.5, 4.0, 9.0, confidence=(0.9, 0.1, 0.1)),
        _case("b", 4.0, 1.5, 9.0, confidence=(0.6, 0.3, 0.2)),
        _case("c", 6.0, 3.0, 2.0, confidence=(0.2, 0.2, 0.1)),
        _case("d"),
    ]
    evaluation = summarize(cases, ["z"], {})
    told = evaluation.as_dict()
    top, best = told["success"]["top_1"], told["success"]["best_of_3"]
    assert evaluation.first == (1, 3)
    assert [top[c]["count"] for c in ("1", "2", "5")] == [1, 1, 2]
    # 2.0 Å is not below 2 Å.
    assert [best[c]["count"] for c in ("1", "2", "5")] == [1, 2, 3]
    assert top["2"]["of"] == 4 and top["2"]["share"] == 0.25
    assert (top["2"]["low"], top["2"]["high"]) == (
        pytest.approx(0.0456, abs=1e-3), pytest.approx(0.6994, abs=1e-3)
    )  # fmt: skip
    assert told["failed"] == 1 and told["failures"] == {"d": "no file of poses"}
    assert told["unmatched"] == ["z"] and told["median"]["rmsd_top_1"] == 4.0
    curve = evaluation.curves
    at = int(np.flatnonzero(curve.rmsd == 2.0)[0])
    assert curve.share[1][at] == 0.25 and curve.share[3][at] == 0.5
    trust = told["confidence"]
    # Right are 0.9 and 0.3; wrong are 0.1, 0.1, 0.6, 0.2, 0.2, 0.2, 0.1: of 14 pairs 13.
    assert trust["all_poses"]["auroc"] == pytest.approx(13 / 14)
    assert trust["top_1"]["auroc"] == 1.0 and trust["top_1"]["complexes"] == 3
    assert trust["top_1"]["brier"] == pytest.approx((0.01 + 0.36 + 0.04) / 3)
    assert trust["top_1"]["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert evaluation.trust is not None
    assert evaluation.trust.coverage.tolist() == [0.25, 0.5, 0.75]
    assert evaluation.trust.success.tolist() == [1.0, 0.5, pytest.approx(1 / 3)]
    files = {file.name for file in write_evaluation(tmp_path / "out", evaluation)}
    assert files == {
        "results.csv", "poses.csv", "success.csv", "selective.csv", "reliability.csv",
        "summary.json", "report.html", "success.png", "reliability.png", "selective.png",
    }  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and page.count("<svg") == 3


def test_scores_that_are_no_probabilities_have_no_calibration():
    cases = [_case("a", 0.5, confidence=(-1.2,)), _case("b", 4.0, confidence=(-2.0,))]
    told = summarize(cases, [], {}).as_dict()["confidence"]["all_poses"]
    assert told == {"poses": 2, "auroc": 1.0, "calibration_error": None, "brier": None}


def test_text_from_files_is_escaped(tmp_path):
    evaluation = summarize([_case("<script>alert(1)</script>", 1.0)], ["<b>"], {})
    write_evaluation(tmp_path, evaluation)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;b&gt;" in page


def test_files_of_poses_are_in_natural_order(tmp_path):
    for name in ("rank10.sdf", "rank2.sdf", "rank1.sdf", "rank1_confidence-0.42.sdf", "note.txt"):
        (tmp_path / name).write_text("")
    assert [file.name for file in pose_files(tmp_path)] == [
        "rank1_confidence-0.42.sdf", "rank2.sdf", "rank10.sdf",
    ]  # fmt: skip
    assert pose_files(tmp_path / "absent") == []


@pytest.fixture
def labelled(tmp_path, benzoate) -> Path:
    """Four complexes; poses as a file, as a folder, under another spelling, and none."""
    ligand, x = benzoate
    for name in ("1abc", "2abc", "3abc", "4abc"):
        _write(tmp_path / "set" / name / "ligand.sdf", ligand, [x])
        (tmp_path / "set" / name / "protein.pdb").write_text("not read without a check")
    out = tmp_path / "out"
    _write(out / "1abc.sdf", ligand, _shifted(x, 0.5, 3.0), (0.8, 0.1))
    _write(out / "2ABC.sdf", ligand, _shifted(x, 3.0, 1.0), (0.7, 0.2))
    _write(out / "3abc" / "rank1_confidence0.30.sdf", ligand, _shifted(x, 6.0))
    _write(out / "3abc" / "rank2_confidence0.10.sdf", ligand, _shifted(x, 7.0))
    _write(out / "9xyz.sdf", ligand, _shifted(x, 0.0))
    return tmp_path


def test_command_line_on_folders(labelled, capsys):
    out = labelled / "out"
    arguments = [
        "evaluate", str(out), "--domain", "dock", "--reference", str(labelled / "set"),
        "--report", str(labelled / "eval"), "--set", "check=0", "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["complexes"] == 4 and told["failures"] == {"4abc": "no file of poses"}
    assert told["unmatched"] == ["9xyz"]
    assert told["success"]["top_1"]["2"]["count"] == 1
    assert told["success"]["best_of_2"]["2"]["count"] == 2
    assert told["confidence"]["all_poses"]["poses"] == 6
    assert told == json.loads((labelled / "eval" / "summary.json").read_text())
    rows = {row["id"]: row for row in csv.DictReader((labelled / "eval/results.csv").open())}
    assert list(rows) == ["1abc", "2abc", "3abc", "4abc"]
    assert float(rows["2abc"]["best_of_2"]) == pytest.approx(1.0, abs=1e-3)
    assert rows["2abc"]["best_rank"] == "2" and rows["4abc"]["status"] == "failed"
    assert rows["3abc"]["confidence"] == "0.3000"
    poses = list(csv.DictReader((labelled / "eval/poses.csv").open()))
    assert [pose["rank"] for pose in poses] == ["1", "2"] * 3
    # Results that lie beside the poses are no poses.
    (labelled / "eval").rename(out / "evaluation")
    assert find_cases(out, labelled / "set").unmatched == ("9xyz",)


def test_command_line_on_a_table(labelled, capsys):
    table = labelled / "pairs.csv"
    table.write_text(
        "ID,Poses,Reference,Receptor\n"
        "a,out/1abc.sdf,set/1abc/ligand.sdf,\n"
        "b,out/3abc,set/3abc/ligand.sdf,\n"
        "c,out/none.sdf,set/1abc/ligand.sdf,\n"
        "d,,set/1abc/ligand.sdf,\n"
    )
    assert main(["evaluate", str(table), "--domain", "dock", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["complexes"] == 4 and told["success"]["top_1"]["2"]["count"] == 1
    assert "no such file" in told["failures"]["c"] and "d" in told["failures"]
    assert (labelled / "evaluation" / "report.html").exists()


def test_one_crystal_ligand(labelled, capsys):
    lonely = labelled / "out" / "3abc"
    truth = labelled / "set" / "3abc" / "ligand.sdf"
    assert main(["evaluate", str(lonely), "--domain", "dock", "--reference", str(truth)]) == 0
    assert "best_of_2" in capsys.readouterr().out
    (case,) = find_cases(lonely, truth).cases
    assert [file.name[:5] for file in case.poses] == ["rank1", "rank2"]


def test_the_crystal_ligand_is_never_a_pose(tmp_path, benzoate):
    ligand, x = benzoate
    for name in ("1abc", "2abc"):
        _write(tmp_path / name / "ligand.sdf", ligand, [x])
        (tmp_path / name / "protein.pdb").write_text("not read")
    _write(tmp_path / "1abc" / "docked.sdf", ligand, _shifted(x, 3.0))
    first, second = find_cases(tmp_path, tmp_path).cases
    assert [file.name for file in first.poses] == ["docked.sdf"] and second.poses == ()


def test_wrong_requests_are_refused(labelled, capsys):
    out = str(labelled / "out")
    table = labelled / "t.csv"
    table.write_text("id,poses\na,b\n")
    base = ["evaluate", out, "--domain", "dock"]
    for arguments, word in (
        (base, "crystal ligands"),
        (["evaluate", str(table), "--domain", "dock"], "no column reference"),
        ([*base, "--reference", str(labelled / "set"), "--set", "chek=1"], "did you mean check"),
        ([*base, "--reference", str(labelled / "set"), "--set", "check=maybe"], "whole number"),
        (["evaluate", str(labelled / "set"), "--domain", "dock", "--reference",
          str(labelled / "set")], "has no poses"),
        (["evaluate", out, "--domain", "backbone", "--set", "a=1"], "not an option of backbone"),
    ):  # fmt: skip
        assert main(arguments) == 2
        assert word in capsys.readouterr().err
    with pytest.raises(InputError, match="jobs"):
        EvaluateSettings(jobs=0)
