"""Screens against several structures, other programs' options, and what is written of poses."""

import csv
import json
import shutil

import pytest

pytest.importorskip("Bio")
from rdkit import Chem

from protein.commands.dock import command
from protein.commands.dock_options import configure
from protein.commands.dock_vina import INSTEAD, SYNONYMS, resolve
from protein.docking.campaign.ensemble import best_over_structures, mixed_affinity
from protein.docking.campaign.output import Row
from protein.docking.pipeline.settings import EFFORTS
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.cli.parsing import parse
from sciddiff.errors import InputError


def test_the_best_structure_of_each_ligand():
    def row(index, affinity, status="ok"):
        return Row(index, f"l{index}", status, affinity=affinity, file=f"poses/l{index}.sdf")

    rows = {
        "a": [row(1, "-5.0"), row(2, "-6.0"), row(3, "", "failed"), row(4, "", "failed")],
        "b": [row(1, "-7.0"), row(2, "-6.0"), row(3, "-1.0"), row(4, "", "failed")],
    }
    found = best_over_structures(rows)
    assert [(r.index, r.receptor, r.status) for r in found] == [
        (1, "b", "ok"), (2, "a", "ok"), (3, "b", "ok"), (4, "a", "failed")
    ]  # fmt: skip
    assert found[0].file == "b/poses/l1.sdf"
    mixed = best_over_structures(rows, "boltzmann")
    assert [(r.receptor, r.status) for r in mixed] == [(r.receptor, r.status) for r in found]
    # ⟨exp(-A/kT)⟩ of -5 and -7 at kT = 0.5925: half of exp(11.814) + exp(8.439)
    assert [r.affinity for r in mixed] == ["-6.609", "-6.000", "-1.000", ""]
    assert mixed_affinity([-9.0]) == -9.0


def _parsed(*words):
    args = parse(command, ["-o", "out", *words])
    resolve(args, configure)
    return args


def test_spellings_of_vina():
    args = _parsed(
        "--num_modes", "3", "--cpu", "2", "--energy_range", "4", "--min_rmsd", "1.5",
        "--center_x", "1", "--center_y", "-2", "--center_z", "3", "--exhaustiveness", "32",
        "--size_x", "20", "--size_y", "21", "--size_z", "22", "--autobox_add", "8", "--no_gpu",
    )  # fmt: skip
    assert (args.poses, args.threads, args.energy_range, args.min_rmsd) == (3, 2, 4.0, 1.5)
    assert args.center == [1.0, -2.0, 3.0] and args.size == [20.0, 21.0, 22.0]
    assert (args.effort, args.autobox_add, args.device) == ("thorough", 8.0, "cpu")
    assert [_parsed("--exhaustiveness", n).effort for n in ("4", "8", "16")] == [
        "fast", "normal", "thorough"
    ]  # fmt: skip
    for words, reason in (
        (["--center_x", "1"], "give all three"),
        (["--exhaustiveness", "8", "--effort", "fast"], "leave one out"),
    ):
        with pytest.raises(InputError, match=reason):
            _parsed(*words)


def test_a_file_of_options(tmp_path):
    file = tmp_path / "conf.txt"
    file.write_text(
        "receptor = r.pdb  # the protein\nligand = l.sdf\ncenter_x = 1\ncenter_y = 2\n"
        "center_z = -3\nnum_modes = 5\nseed = 7\nlog = x.log\nno_gpu = true\n\n"
    )
    args = _parsed("--config", str(file), "--seed", "9")
    assert [str(path) for path in args.receptor] == ["r.pdb"] and args.ligand == ["l.sdf"]
    assert (args.center, args.poses, args.seed) == ([1.0, 2.0, -3.0], 5, 9)
    assert args.device == "cpu"
    for text, reason in (
        ("num_mode = 5", r"line 1: 'num_mode = 5' sets no option of dock; did you mean num_modes"),
        ("seed", "sets no option"), ("seed = x", "conf.txt: argument --seed: 'x' is not"),
        ("no_gpu = maybe", "line 1: 'maybe' is neither true nor false"),
        ("seed = 1\ncpu = 1\nseed = 2", "lines 1 and 3 both set seed"),
        ("score_only = true", "line 1: score_only is no option of dock; `sciddiff score`"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            _parsed("--config", str(file))


def test_a_file_may_hold_every_spelling(tmp_path):
    """Spellings have no default of their own, which once made the file's value be lost."""
    file = tmp_path / "conf.txt"
    given = {"--flexdist": "3.5", "--covalent_rec_atom": "A:145:SG", "--flexres": "A:45"}
    for spelling, option in SYNONYMS.items():
        value = given.get(spelling, "2")
        file.write_text(f"{spelling[2:]} = {value}\n")
        args, plain = _parsed("--config", str(file)), _parsed(option, value)
        name = option[2:].replace("-", "_")
        assert getattr(args, name) == getattr(plain, name) is not None, spelling


def test_the_command_line_counts_more_than_the_file(tmp_path):
    file = tmp_path / "conf.txt"
    file.write_text(
        "num_modes = 3\nscoring = vinardo\nautobox_ligand = l.sdf\nexhaustiveness = 2\n"
        "size_x = 20\nsize_y = 21\nsize_z = 22\n"
    )
    # Also where it says what is the default, or says it in another way.
    args = _parsed("--config", str(file), "--poses", "9", "--scoring", "vina", "--center", "1",
                   "2", "3", "--effort", "thorough", "--size_y", "30")  # fmt: skip
    assert (args.poses, args.scoring, args.effort) == (9, "vina", "thorough")
    assert (args.autobox_ligand, args.center) == (None, [1.0, 2.0, 3.0])
    assert args.size == [20.0, 30.0, 22.0]


def test_blanks_and_triple_bonds_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my receptor.pdb").write_text("")
    file = tmp_path / "conf.txt"
    file.write_text(
        "receptor = my receptor.pdb # a comment\nligand = CC#N\n# a line\n"
        "ligand = C/C=C\\C 'two words.sdf'\n"
    )
    args = _parsed("--config", str(file))
    assert [str(path) for path in args.receptor] == ["my receptor.pdb"]
    assert args.ligand == ["CC#N", "C/C=C\\C", "two words.sdf"]


def test_options_of_other_programs_that_are_none_here(capsys):
    for option in INSTEAD:
        with pytest.raises(InputError, match=f"{option}: is no option of dock; "):
            _parsed(option)
    for words, told in (
        (["--flex", "flex.pdbqt"], "name the residues that turn, as"),
        (["--batch", "a.pdbqt"], "give files of ligands with -l"),
    ):  # fmt: skip
        given = ["dock", "-r", "r.pdb", "-l", "C", "--blind", "-o", "out", *words]
        assert main(given) == 2 and told in capsys.readouterr().err
    for option, needed in (
        ("--template-rmsd=1", "--template"), ("--max-states=2", "--enumerate"),
        ("--samples=4", "--model"),
    ):  # fmt: skip
        given = ["dock", "-r", "r.pdb", "-l", "C", "--blind", "-o", "out", option]
        assert main(given) == 2
        assert f"applies to {needed} only" in capsys.readouterr().err
    words = ["--log", "x.log", "--verbosity", "2", "--no_refine", "--num_modes", "4"]
    assert _parsed(*words).poses == 4
    told = capsys.readouterr().err
    assert told.count("changes nothing here") == 3 and "note: --log: " in told
    assert main(["dock", "-r", "r.pdb", "-l", "C", "--blind", "-o", "out.pdbqt"]) == 2
    assert "dock writes a folder" in capsys.readouterr().err


def test_a_structure_in_another_frame_is_left_out(tmp_path, files, monkeypatch, capsys):
    """The others are docked to; the line says why, and the status that something is missing."""
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=8, rounds=1, final=10))
    lines = (files / "receptor.pdb").read_text().splitlines()
    moved = [
        f"{line[:30]}{float(line[30:38]) + 90:8.3f}{line[38:]}" if line[:4] == "ATOM" else line
        for line in lines
        if line[:6] != "HETATM"
    ]
    (tmp_path / "moved.pdb").write_text("\n".join(moved) + "\n")
    out = tmp_path / "out"
    words = [
        "dock", "-r", str(tmp_path / "moved.pdb"), str(tmp_path / "absent.pdb"),
        str(files / "receptor.pdb"), "-l", "CCO", "--autobox-ligand", str(files / "ref.sdf"), "-o",
        str(out), "--effort", "fast", "--check", "0", "--ranker", "none",
    ]  # fmt: skip
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "moved.pdb: this structure is left out: no atom of it is in or near" in told
    assert "absent.pdb: this structure is left out: " in told
    (row,) = csv.DictReader((out / "results.csv").open())
    assert (row["receptor"], row["status"]) == ("receptor", "ok")
    (each,) = csv.DictReader((out / "structures.csv").open())
    assert each["receptor"] == row["affinity"]
    assert main(["report", str(out)]) == 0  # again, from the folder alone
    capsys.readouterr()
    none = [*words[:2], *words[3:4], *words[2:3], *words[5:]]
    assert main(none) == 2 and "absent.pdb" in capsys.readouterr().err


def test_two_structures_with_hits_and_other_formats(tmp_path, files, monkeypatch, capsys):
    pytest.importorskip("meeko")
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))
    shutil.copy(files / "receptor.pdb", tmp_path / "other.pdb")
    out = tmp_path / "out"
    words = [
        "dock", "-r", str(files / "receptor.pdb"), str(tmp_path / "other.pdb"), "-l",
        "CC(O)c1ccccc1", "CCO.CCN", "--enumerate", "stereo", "--autobox-ligand",
        str(files / "ref.sdf"), "-o", str(out), "--effort", "fast", "--num_modes", "4", "--check",
        "0", "--scoring", "vinardo", "--hydrogens", "--pdbqt", "--hits", "2", "--min_rmsd", "1",
        "--energy_range", "2", "--json",
    ]  # fmt: skip
    assert main(words) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ligands"], told["docked"]) == (3, 2)
    rows = list(csv.DictReader((out / "results.csv").open()))
    # Both structures are one: of equals the first is kept.
    assert [row["receptor"] for row in rows] == ["receptor"] * 3
    assert rows[0]["confidence"] == "" and (out / rows[0]["file"]).is_file()
    assert (out / "other" / "results.csv").is_file()
    (hit,) = csv.DictReader((out / "hits.csv").open())
    assert (hit["name"], hit["states"], hit["chosen"]) == ("ligand", "2", "1")
    poses = list(Chem.SDMolSupplier(str(out / rows[0]["file"]), removeHs=False))
    assert all(mol.GetNumAtoms() == 19 for mol in poses)
    energies = [float(mol.GetProp("energy")) for mol in poses]
    assert max(energies) - min(energies) <= 2.0
    models = (out / rows[0]["file"]).with_suffix(".pdbqt").read_text()
    assert models.count("MODEL ") == len(poses) and "REMARK SMILES" in models
    assert (out / "best.sdf").read_text().count("$$$$") == 2
    (tmp_path / "actives.txt").write_text("ligand\n")
    actives = ["--actives", str(tmp_path / "actives.txt")]
    assert main(["evaluate", str(out), "--domain", "dock", *actives, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["auroc"]["value"] == 1.0
    assert main([*words, "--ranker", "dock_ranker"]) == 2
    assert "--ranker" in capsys.readouterr().err
