"""`sciddiff dock --covalent`: what is written, judged and reported, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.campaign.output import receptor_lines
from protein.docking.campaign.verdicts import verdicts
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.dock import dock
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.receptors.covalent import covalent_site
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError

SMILES = "C=CC(=O)NC"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))


@pytest.fixture
def receptor(tmp_path, reactive_peptide) -> Path:
    file = tmp_path / "helix.pdb"
    file.write_text("\n".join([*receptor_lines(reactive_peptide), "END", ""]))
    return file


@pytest.fixture
def arguments(receptor, tmp_path):
    library = tmp_path / "library.smi"
    library.write_text(f"{SMILES} amide\nCCO alcohol\nN#C/C=C/C(=O)N1CCC1 several\n")
    return [
        "dock", "-r", str(receptor), "-l", str(library), "--covalent", "A:4:SG", "--effort",
        "fast", "--poses", "3", "-o", str(tmp_path / "out"),
    ]  # fmt: skip


def _rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "results.csv").open() as handle:
        return {row["name"]: row for row in csv.DictReader(handle)}


def test_poses_are_written_with_their_bond(arguments, tmp_path, reactive_peptide, capsys):
    assert main(arguments) == 1  # the alcohol has no warhead
    out = tmp_path / "out"
    rows = _rows(out)
    assert "has no warhead that binds SG" in rows["alcohol"]["reason"]
    one = rows["amide"]
    assert (one["covalent"], one["warhead"]) == ("A:4:SG", "acrylamide")
    assert one["smiles"] == "CCC(=O)NC"
    assert one["confidence"] == "" and "bonded to A:4:SG" in one["note"]
    assert "also tried: " in rows["several"]["note"]
    # The product, without atoms of the residue, and the number of its bonded atom.
    record = (out / "poses" / "amide.sdf").read_text().split("$$$$")[0]
    assert ">  <bonded_atom>\n1\n" in record and ">  <covalent>\nA:4:SG\n" in record
    # LINK and CONECT name the same two atoms, a bond apart.
    lines = (out / "poses" / "amide_complex.pdb").read_text().splitlines()
    atoms = {line[6:11]: line for line in lines if line.startswith(("ATOM", "HETATM"))}
    link = lines[0]
    assert link.startswith("LINK         SG  CYS A   4                 C1  LIG z   1 ")
    ends = [line for line in lines if line.startswith("CONECT")]
    assert len(ends) == 2 and ends[0][6:] == ends[1][11:] + ends[1][6:11]
    first, second = (atoms[ends[0][a : a + 5]] for a in (6, 11))
    assert first[12:27] == link[12:27] and second[12:27] == link[42:57]
    gap = np.linalg.norm(np.subtract(*([float(x[a : a + 8]) for a in (30, 38, 46)]
                                       for x in (first, second))))  # fmt: skip
    assert abs(gap - 1.82) < 0.04 and abs(float(link[73:78]) - gap) < 0.01
    # The residue of each pose, and the record of the run.
    models = (out / "poses" / "amide_flex.pdb").read_text()
    assert models.count("MODEL") == int(one["poses"]) and "SG  CYS A   4" in models
    request = json.loads((out / "run.json").read_text())["request"]
    assert request["covalent"] == "A:4:SG" and request["flex"] == ["A:4"]
    page = (out / "report.html").read_text()
    assert "A:4:SG" in page and "acrylamide" in page
    contacts = (out / "contacts.csv").read_text()
    assert ",CYS,4," not in contacts and "A:4," not in contacts
    capsys.readouterr()
    assert main(arguments) == 1  # the same command goes on, and does nothing twice


def test_python_gives_the_poses_of_the_command(arguments, receptor, tmp_path):
    main(arguments)
    settings = DockSettings(poses=3, effort="fast")
    (poses,) = dock(receptor, [SMILES], None, settings, covalent="A:4:SG")
    record = (tmp_path / "out" / "poses" / "amide.sdf").read_text()
    assert f">  <energy>\n{poses[0].GetProp('energy')}\n" in record
    assert poses[0].GetProp("covalent") == "A:4:SG" and poses[0].GetNumAtoms() == 6
    (own,) = dock(receptor, ["CCC(=O)NC"], None, settings, covalent="A:4:SG",
                  warhead="[CH3:1]CC=O", flexible="A:8")  # fmt: skip
    assert own[0].GetProp("warhead") == "[CH3:1]CC=O"
    with pytest.raises(InputError, match="no warhead"):
        dock(receptor, ["CCO"], None, settings, covalent="A:4:SG")
    with pytest.raises(InputError, match="box: there is none"):
        dock(receptor, ["CCO"], None, settings)
    with pytest.raises(InputError, match="ordered by energy"):
        dock(receptor, [SMILES], None, settings, covalent="A:4:SG", ranker="dock_ranker")


def test_posebusters_sees_no_clash_in_the_bond(receptor):
    pytest.importorskip("posebusters")
    protein = read_receptor(receptor)
    site = covalent_site(protein, "A:4:SG")
    docker = Docker(protein, site.box, DockSettings(effort="fast", poses=1), covalent=site)
    ligand = ligand_from_smiles("C=CC(=O)NCc1ccccc1", "amide")
    (found,) = docker.dock([ligand], [0])
    (verdict,) = verdicts(ligand, found, protein, receptor, 1)
    assert verdict.valid, verdict.failed
    # The same pose is refused beside a receptor that keeps the atom that it is bonded to.
    from dataclasses import replace

    loose = replace(found, bond=replace(found.bond, atom="", beside=()))
    (verdict,) = verdicts(ligand, loose, protein, receptor, 1)
    assert not verdict.valid


def test_the_best_of_several_warheads_is_kept(receptor):
    protein = read_receptor(receptor)
    site = covalent_site(protein, "A:4:SG")
    ligand = ligand_from_smiles("N#C/C=C/C(=O)N1CCC1", "several")

    def energy(warhead):
        own = covalent_site(protein, "A:4:SG", warhead=warhead)
        (found,) = Docker(protein, own.box, settings, covalent=own).dock([ligand], [0])
        return found.docked.energy[0]

    settings = DockSettings(effort="fast", poses=1)
    (found,) = Docker(protein, site.box, settings, covalent=site).dock([ligand], [0])
    each = [energy(x) for x in ("[CH:1]=[CH:2]C=O", "[CH:1]=[CH:2]C#N", "[C:1]#[N:2]")]
    assert found.docked.energy[0] == pytest.approx(min(each), abs=1e-6)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--covalent", "A:4:CB"], "binds ligands with SG"),
        (["--covalent", "A:99:SG"], "A:99 is not in"),
        (["--covalent", "A:2:SG"], "binds no ligand"),
        (["--warhead", "C=C"], "which atom binds"),
        (["--flex", "A:4"], "turns already"),
        (["--center", "300", "0", "0"], "from the box"),
        (["--blind"], "does not go with --blind"),
        (["--ranker", "dock_ranker"], "does not go with --ranker"),
        (["--model", "dock_lite"], "does not go with --model"),
        (["--hydrogens"], "does not go with --hydrogens"),
        (["--keep", "HOH", "--water-price", "1"], "water"),
    ],
)
def test_what_cannot_go_together_is_one_line_and_status_2(arguments, more, words, capsys):
    assert main([*arguments, *more]) == 2
    said = capsys.readouterr().err
    assert words in said and said.strip().count("\n") == 0 and "Traceback" not in said


def test_a_warhead_alone_says_nothing(arguments, capsys):
    at = arguments.index("--covalent")
    plain = [*arguments[:at], *arguments[at + 2 :], "--warhead", "[C:1]=[C:2]"]
    assert main(plain) == 2
    assert "applies to --covalent only" in capsys.readouterr().err
