"""Refined poses: minimised, wrong-handed ones dropped, ranked, and the command."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.molecules.conformers import fresh_conformers, same_stereo
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.files import GivenPose, sdf_record
from protein.docking.scoring import refine
from protein.docking.scoring.refine import RefineSettings, refine_poses
from sciddiff.cli.main import main

QUICK = RefineSettings(check=False)


def _given(ligand, coords, tmp_path, number=1):
    return GivenPose(tmp_path / "x.sdf", number, "drug", ligand, coords)


def test_poses_are_minimised_checked_and_ranked(drug, conformer, imprint, tmp_path):
    rng = np.random.default_rng(0)
    noisy = conformer + 0.1 * rng.normal(size=conformer.shape)
    mirror = (conformer - conformer.mean(0)) * [-1, 1, 1] + conformer.mean(0)
    poses = [noisy, mirror, conformer + 0.5, conformer + 90.0, conformer * np.nan]
    given = [_given(drug, x, tmp_path, i) for i, x in enumerate(poses, 1)]
    lost = GivenPose(tmp_path / "x.sdf", 6, "bad", None, error="is unreadable")
    found, unread = refine_poses([*given, lost], imprint, QUICK)
    assert [pose.status for pose in found.poses] == [
        "kept", "dropped", "kept", "failed", "failed"
    ]  # fmt: skip
    assert found.poses[1].reason == "has the wrong stereochemistry"
    assert "within 8 Å" in found.poses[3].reason and "not finite" in found.poses[4].reason
    docked = found.result.docked
    assert docked is not None and docked.coords.shape == (2, len(drug), 3)
    assert (np.diff(docked.energy) >= 0).all()
    assert sorted(pose.rank for pose in found.poses) == [0, 0, 0, 1, 2]
    for pose in found.poses:
        if pose.rank:
            x = docked.coords[pose.rank - 1]
            assert pose.scores is not None and same_stereo(drug, x)
            np.testing.assert_array_equal(x, pose.scores.coords[pose.place])
            rmsd = np.sqrt(np.square(x - pose.given.coords).sum(-1).mean())
            assert pose.moved == pytest.approx(rmsd)
            affinity = pose.scores.affinity_given
            assert affinity is not None and docked.affinity[pose.rank - 1] < affinity[pose.place]
    assert found.result.notes == ("3 of 5 poses were dropped",)
    assert unread.ligand is None and unread.poses[0].reason == "is unreadable"
    (one,) = refine_poses(given, imprint, RefineSettings(check=False, poses=1))
    assert sum(pose.status == "kept" for pose in one.poses) == 1
    (none,) = refine_poses(given[1:2], imprint, QUICK)
    assert none.result.docked is None and "wrong stereochemistry" in none.result.error


def test_command_line(tmp_path, files, drug, conformer, capsys):
    poses = tmp_path / "poses.sdf"
    mirror = (conformer - conformer.mean(0)) * [-1, 1, 1] + conformer.mean(0)
    poses.write_text("".join(sdf_record(drug, x, "p", {}) for x in (conformer, mirror)))
    out = tmp_path / "out"
    words = ["refine", "-r", str(files / "receptor.pdb"), "-l", str(poses), "--no-check",
             "--template", drug.smiles, "-o", str(out)]  # fmt: skip
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "1 of 2 poses kept" in said and "wrong stereochemistry" in said
    rows = list(csv.DictReader((out / "refined.csv").open()))
    assert [row["status"] for row in rows] == ["kept", "dropped"]
    assert rows[0]["rank"] == "1" and float(rows[0]["confidence"]) >= 0.0
    (docked,) = csv.DictReader((out / "results.csv").open())
    assert docked["status"] == "ok" and (out / docked["file"]).is_file()
    assert main([*words[:5], "--template", "CCO", "-o", str(tmp_path / "no"), "--no-check"]) == 2
    assert "not those of the template" in capsys.readouterr().out
    (tmp_path / "flat.smi").write_text("CCO\n")
    assert main([*words[:4], str(tmp_path / "flat.smi"), "-o", str(tmp_path / "no3")]) == 2
    said = capsys.readouterr().out
    assert "failed " in said and "holds no coordinates" in said and "record :" not in said
    assert main([*words[:3], "-o", str(tmp_path / "no2")]) == 2
    assert "holds no ligand" in capsys.readouterr().err


def test_an_interrupted_command_goes_on(tmp_path, files, drug, conformer, monkeypatch, capsys):
    other = ligand_from_smiles("OCc1ccccc1", "other")
    near = fresh_conformers(other, 1, seed=1)[0]
    near += conformer.mean(0) - near.mean(0)
    poses = tmp_path / "poses.sdf"
    poses.write_text(sdf_record(drug, conformer, "p", {}) + sdf_record(other, near, "q", {})
                     + sdf_record(drug, conformer + 0.4, "p", {}))  # fmt: skip
    words = ["refine", "-r", str(files / "receptor.pdb"), "-l", str(poses), "--no-check",
             "--ranker", "none", "-o"]  # fmt: skip
    whole, out = tmp_path / "whole", tmp_path / "out"
    status = main([*words, str(whole)])
    done = []

    def stops(group, *rest):
        done.append(group[0].name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return refine_group(group, *rest)

    refine_group = refine.refine_group
    with monkeypatch.context() as patch:
        patch.setattr(refine, "refine_group", stops)
        assert main([*words, str(out)]) == 2
        assert done == ["p", "q"]
        assert main([*words, str(out)]) == status
    assert done == ["p", "q", "q"]  # what was done is not done again
    for file in ("refined.csv", "results.csv", "best.sdf", "poses/p.sdf", "poses/q.sdf"):
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file
    runs = json.loads((out / "run.json").read_text())["runs"]
    assert [run["made"] for run in runs] == [1]
    assert main([*words, str(out)]) == status
    assert json.loads((out / "run.json").read_text())["runs"] == runs
    for damaged in ("{}", '{"row": {"place": 1}, "poses": []}'):
        (out / "rows" / "000000.json").write_text(damaged)
        capsys.readouterr()
        assert main([*words, str(out)]) == 2
        assert "000000.json: is damaged; remove it" in capsys.readouterr().err
