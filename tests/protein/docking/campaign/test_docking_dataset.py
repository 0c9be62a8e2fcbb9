"""``sciddiff dock --dataset``: every ligand into its own receptor, resumed, then evaluated."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.campaign.dataset import Dataset, without_ligand
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.settings import EFFORTS
from protein.docking.poses.files import sdf_record
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main

SMILES = {"1abc": "CC(=O)Nc1ccccc1", "2abc": "NCCc1ccc(O)cc1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))


@pytest.fixture
def complexes(tmp_path, mould) -> Path:
    """Two complexes, one with a broken ligand, one without side chains."""
    root = tmp_path / "set"
    for i, (name, smiles) in enumerate(SMILES.items()):
        ligand = ligand_from_smiles(smiles, name)
        crystal = fresh_conformers(ligand, 1, seed=7 + i)[0] + 10.0 * i
        place = root / name
        place.mkdir(parents=True)
        (place / "ligand.sdf").write_text(sdf_record(ligand, crystal, name, {}))
        lines = []
        for k, (x, y, z) in enumerate(mould(crystal, i).coords):
            for atom, shift in (("N", -1.2), ("CA", 0.0), ("C", 1.2)):
                lines.append(
                    f"ATOM  {3 * k + 1:5d}  {atom:<3s} UNK A{k + 1:4d}    {x:8.3f}"
                    f"{y + shift:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}"
                )
        name_of_file = "protein.pdb" if i else "receptor.pdb"
        (place / name_of_file).write_text("\n".join([*lines, "END"]) + "\n")
    for name, file in (("3bad", "protein.pdb"), ("4bare", "backbone.pdb")):
        (root / name).mkdir()
        (root / name / file).write_text((root / "2abc" / "protein.pdb").read_text())
    (root / "3bad" / "ligand.sdf").write_text("rubbish\n$$$$\n")
    (root / "4bare" / "ligand.sdf").write_text((root / "2abc" / "ligand.sdf").read_text())
    return root


def test_a_set_is_docked_resumed_and_evaluated(tmp_path, complexes, capsys):
    out = tmp_path / "redocked"
    arguments = [
        "dock", "--dataset", str(complexes), "-o", str(out), "--effort", "fast", "--poses", "2",
        "--json",
    ]  # fmt: skip
    assert main(arguments) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ligands"], told["docked"], told["failed"]) == (4, 2, 2)
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["name"] for row in rows] == ["1abc", "2abc", "3bad", "4bare"]
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed"]
    assert "cannot read" in rows[2]["reason"] and "side chains" in rows[3]["reason"]
    text = (out / rows[1]["file"]).read_text()
    assert (out / "poses" / "1abc_complex.pdb").exists() and text.count("$$$$") == 2
    stamp = (out / rows[0]["file"]).stat().st_mtime_ns
    # What is recorded is kept; what is lost is made again, alike.
    (out / "rows" / "2abc.json").unlink()
    (out / rows[1]["file"]).unlink()
    assert main(arguments) == 1
    assert (out / rows[0]["file"]).stat().st_mtime_ns == stamp
    assert (out / rows[1]["file"]).read_text() == text
    capsys.readouterr()
    # The record says which complexes were docked: no --reference is needed.
    assert main(["evaluate", str(out), "--domain", "dock", "--set", "check=0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["complexes"] == 4 and set(told["failures"]) == {"3bad", "4bare"}
    assert "cannot read" in told["failures"]["3bad"] and told["poses"] == 4
    # Complexes may be added and the folder may move; those that were docked must not change.
    kept = {file: file.stat().st_mtime_ns for file in (out / "poses").iterdir()}
    complexes = complexes.rename(tmp_path / "moved")
    shutil.copytree(complexes / "3bad", complexes / "0new")
    arguments[2] = str(complexes)
    assert main([*arguments, "--check", "0"]) == 1
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["name"] for row in rows] == ["0new", "1abc", "2abc", "3bad", "4bare"]
    assert [row["index"] for row in rows] == list("12345")
    assert {file: file.stat().st_mtime_ns for file in (out / "poses").iterdir()} == kept
    capsys.readouterr()
    ligand = complexes / "1abc" / "ligand.sdf"
    text = ligand.read_text()
    ligand.write_text(text + "> <a>\n")
    assert main(arguments) == 2
    assert "complex 1abc is not the one that was docked" in capsys.readouterr().err
    ligand.write_text(text)
    shutil.rmtree(complexes / "0new")
    assert main(arguments) == 2
    assert "complex 0new was docked into" in capsys.readouterr().err


def test_a_complex_does_not_depend_on_the_others(tmp_path, complexes, capsys):
    options = ["--effort", "fast", "--poses", "1", "--no-complex", "--json"]
    both, alone = tmp_path / "both", tmp_path / "alone"
    assert main(["dock", "--dataset", str(complexes), "-o", str(both), *options]) == 1
    one = str(complexes / "2abc")
    assert main(["dock", "--dataset", one, "-o", str(alone), *options]) == 0
    capsys.readouterr()
    assert (both / "poses/2abc.sdf").read_text() == (alone / "poses/2abc.sdf").read_text()
    assert not list(alone.glob("poses/*.pdb"))


def test_requests_that_make_no_sense(tmp_path, complexes, capsys):
    base = ["dock", "--dataset", str(complexes), "-o", str(tmp_path / "o")]
    for arguments, word in (
        ([*base, "-l", "CCO"], "--ligand"),
        ([*base, "--center", "0", "0", "0"], "--center"),
        (["dock", "-o", str(tmp_path / "o"), "-l", "CCO"], "--dataset"),
        (["dock", "--dataset", str(tmp_path / "no"), "-o", str(tmp_path / "o")], "no such folder"),
    ):
        assert main(arguments) == 2
        assert word in capsys.readouterr().err


def test_names_are_unique(tmp_path, complexes):
    for split in ("train", "val"):
        (tmp_path / "all" / split).mkdir(parents=True)
        place = tmp_path / "all" / split / "2abc"
        place.mkdir()
        for file in (complexes / "2abc").iterdir():
            (place / file.name).write_text(file.read_text())
    assert Dataset.find(tmp_path / "all").names == ("train_2abc", "val_2abc")


def test_the_ligand_itself_is_no_receptor(drug, conformer, imprint):
    from dataclasses import replace

    both = replace(
        imprint,
        coords=np.concatenate([imprint.coords, conformer]),
        types=np.concatenate([imprint.types, np.zeros(len(drug), np.int64)]),
        elements=(*imprint.elements, *("C",) * len(drug)),
        atoms=(*imprint.atoms, *("X",) * len(drug)),
        resnames=(*imprint.resnames, *("DRG",) * len(drug)),
        residues=(*imprint.residues, *("B:1",) * len(drug)),
    )
    assert len(without_ligand(both, conformer)) == len(imprint)
    assert without_ligand(imprint, conformer) is imprint
