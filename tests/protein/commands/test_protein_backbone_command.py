"""`sciddiff backbone` from the command line to the files, with a small untrained model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone.network import BackboneNetwork
from protein.structures.read import read_structure
from sciddiff import checkpoint, config
from sciddiff.cli.main import main

NET = {"node": 16, "pair": 8, "blocks": 1, "heads": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An exported model of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(**NET)
    plain = config.read(
        {
            "domain": {"class_path": "protein.backbone.domain.BackboneDomain"},
            "net": {"class_path": "protein.backbone.network.BackboneNetwork", "init_args": NET},
        }
    )
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, net.state_dict(), plain)
    return str(folder)


def _run(*words: object) -> int:
    return main([str(word) for word in ("backbone", *words)])


def _make(model: str, out: Path, *words: object) -> None:
    fast = ("--model", model, "--steps", 2, "--no-report", "--json", "-o", out)
    assert _run(*fast, *words) == 0


def _ca(path: Path) -> np.ndarray:
    return np.concatenate([chain.ca for chain in read_structure(path).chains])


@pytest.fixture(scope="module")
def design(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A design to use as a motif and as a start."""
    out = tmp_path_factory.mktemp("designs") / "first"
    _make(model, out, "--length", 40, "-n", 1)
    return out / "design_0001.pdb"


def test_designs_of_the_asked_lengths_in_both_formats(model: str, tmp_path: Path) -> None:
    out = tmp_path / "new"
    _make(model, out, "--length", "30-40", "-n", 3)
    for i in (1, 2, 3):
        pdb, cif = _ca(out / f"design_{i:04d}.pdb"), _ca(out / f"design_{i:04d}.cif")
        assert 30 <= len(pdb) <= 40
        assert np.abs(pdb - cif).max() < 2e-3
    record = json.loads((out / "run.json").read_text())
    assert record["request"]["length"] == "30-40" and record["request"]["steps"] == 2
    assert record["model_card"]["format"] == 1
    assert record["command"].startswith("sciddiff backbone --model")
    assert "--length 30-40 -n 3" in record["command"]


def test_a_killed_run_goes_on_to_the_same_designs(model: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _make(model, whole, "--length", 30, "-n", 3)
    _make(model, parts, "--length", 30, "-n", 1)
    kept = (parts / "design_0001.pdb").stat().st_mtime_ns
    _make(model, parts, "--length", 30, "-n", 3)
    assert (parts / "design_0001.pdb").stat().st_mtime_ns == kept
    for i in (1, 2, 3):
        name = f"design_{i:04d}.pdb"
        assert np.abs(_ca(whole / name) - _ca(parts / name)).max() < 0.02
    _make(model, parts, "--length", 30, "-n", 3)  # nothing is left to make
    record = json.loads((parts / "run.json").read_text())
    assert [run["made"] for run in record["runs"]] == [1, 2]
    assert "-n 1" in record["command"] and "-n 3" in record["runs"][1]["command"]


def test_the_generic_verb_and_a_script_make_the_same_designs(model: str, tmp_path: Path) -> None:
    import sciddiff

    one, two = tmp_path / "one", tmp_path / "two"
    fast = ("--model", model, "-n", 3, "--seed", 6, "--json")
    assert _run(*fast, "--no-report", "--length", "30-40", "-o", one) == 0
    words = ("sample", *fast, "--request", "length=30-40", "-o", two)
    assert main([str(word) for word in words]) == 0
    structures = {s.id: s for s in sciddiff.load(model).sample(3, seed=6, length="30-40")}
    for i in (1, 2, 3):
        name = f"design_{i:04d}"
        assert (one / f"{name}.cif").read_bytes() == (two / f"{name}.cif").read_bytes()
        atoms = list(structures[name].get_atoms())
        assert [atom.name for atom in atoms[:4]] == ["N", "CA", "C", "O"]
        places = np.stack([atom.coord for atom in atoms if atom.name == "CA"])
        assert np.abs(places - _ca(one / f"{name}.cif")).max() < 2e-3


def test_a_changed_motif_is_refused_and_a_moved_one_is_not(
    model: str, design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, motif, moved = tmp_path / "out", tmp_path / "motif.pdb", tmp_path / "moved.pdb"
    motif.write_bytes(design.read_bytes())
    words = ("--scaffold", "5-9,A15-24,5-9", "-n", 1)
    _make(model, out, *words, "--motif", motif)
    made = (out / "run.json").read_bytes()
    motif.rename(moved)
    _make(model, out, *words, "--motif", moved)
    assert (out / "run.json").read_bytes() == made
    text = moved.read_text().splitlines(keepends=True)
    moved.write_text("".join(line.replace("A  20", "A  20") for line in text) + "REMARK\n")
    fast = ("--model", model, "--steps", 2, "--no-report", "-o", out)
    assert _run(*fast, *words, "--motif", moved) == 2
    assert f"the content of --motif ({moved}) has changed" in capsys.readouterr().err


def test_a_finished_command_does_nothing(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--model", model, "--steps", 2, "--length", 30, "-n", 2, "-o", out)
    assert _run(*words) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert "report.html" in {path.name for path in before}
    assert _run(*words, "--threads", 1) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_folder_is_measured_whole_and_only_what_belongs(
    model: str, design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = design.read_bytes()
    cif = design.with_suffix(".cif").read_bytes()
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("T0.1_a.pdb", "T0.2_b.PDB", "c.ent", "d.cif"):
        (folder / name).write_bytes(cif if name.endswith("cif") else text)
    (folder / "d.pdb").write_bytes(text)  # the same structure as d.cif
    (folder / "E.pdb").write_bytes(text)
    (folder / "e.cif").write_bytes(cif)
    (folder / "broken.pdb").write_bytes(b"ATOM      1  N   ALA A   1      banana")
    capsys.readouterr()
    words = ("evaluate", folder, "--domain", "backbone")
    assert main([str(word) for word in (*words, "--json")]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    names = sorted(row["name"] for row in found["designs"])
    assert names == ["E", "T0.1_a", "T0.2_b", "c", "d", "e_2"]
    assert list(found["left_out"]) == ["broken.pdb"]
    assert "broken.pdb: this file is left out:" in said.err and said.err.count("\n") == 1
    assert main([str(word) for word in words]) == 0
    assert re.search(r"figure +designs +95 % interval +natives", capsys.readouterr().out)

    out = tmp_path / "designs"
    _make(model, out, "--length", 30, "-n", 1)
    (out / "template.pdb").write_bytes(text)
    capsys.readouterr()
    assert main(["evaluate", str(out), "--domain", "backbone", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["n"] == 1
    assert "template.pdb: this file is left out: it is none of the designs" in said.err
    (folder / "only").mkdir()
    (folder / "only" / "broken.pdb").write_bytes((folder / "broken.pdb").read_bytes())
    assert main(["evaluate", str(folder / "only"), "--domain", "backbone"]) == 2
    assert "broken.pdb" in capsys.readouterr().err


def test_a_motif_keeps_atoms_names_and_place(model: str, design: Path, tmp_path: Path) -> None:
    out = tmp_path / "scaffold"
    _make(model, out, "--scaffold", "5-9,A15-24,5-9", "--motif", design, "-n", 2)
    motif = read_structure(design).chains[0]
    for i in (1, 2):
        made = read_structure(out / f"design_{i:04d}.pdb").chains[0]
        for number in range(15, 25):
            here, there = made.index_of(number), motif.index_of(number)
            assert np.abs(made.coords[here] - motif.coords[there]).max() < 2e-3
        assert 20 <= len(made) <= 28


def test_the_plan_is_printed_and_nothing_is_made(
    design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none"
    words = ("--scaffold", "10,A15-24,10", "--motif", design, "--plan", "-o", out)
    assert _run(*words) == 0
    printed = capsys.readouterr().out
    assert "A15-24" in printed and "30 residues" in printed
    assert not out.exists()


def test_noise_needs_a_structure(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--model", model, "--noise", 0.3) == 2
    assert "--noise: is for --partial" in capsys.readouterr().err


def test_variants_stay_near_in_proportion_to_the_noise(
    model: str, design: Path, tmp_path: Path
) -> None:
    there = _ca(design)
    for noise in (0.05, 1.0):
        _make(model, tmp_path / str(noise), "--partial", design, "--noise", noise, "--seed", 5)
    near = np.abs(_ca(tmp_path / "0.05" / "design_0001.pdb") - there).mean()
    far = np.abs(_ca(tmp_path / "1.0" / "design_0001.pdb") - there).mean()
    assert near < 1.5 < far


def test_an_assembly_is_symmetric(model: str, tmp_path: Path) -> None:
    out = tmp_path / "c3"
    _make(model, out, "--symmetry", "C3", "--length", 25)
    chains = read_structure(out / "design_0001.cif").chains
    assert [chain.chain_id for chain in chains] == ["A", "B", "C"]
    c, s = np.cos(2 * np.pi / 3), np.sin(2 * np.pi / 3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    images = sorted(float(np.abs(chains[0].ca @ turn.T - other.ca).max()) for other in chains[1:])
    assert images[0] < 5e-3 < images[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--length", "banana"), "length"),
        (("--length", "5000"), "length"),
        (("--scaffold", "10,A15-24,10"), "--motif"),
        (("--symmetry", "C3", "--partial", "x.pdb"), "together"),
        (("--symmetry", "Q7"), "Q7"),
        (("--partial", "absent.pdb"), "absent.pdb"),
        (("--model", "absent"), "absent"),
        (("--noise", "0"), "noise"),
        (("--fold-weight", "nan"), "fold-weight"),
        (("--fold-weight", "-5"), "fold-weight"),
        (("--temperature", "-1"), "temperature"),
        (("--device", "warp"), "warp"),
        (("--scaffold", "10,B15-24,10", "--motif", "DESIGN"), "chain 'B'"),
        (("--scaffold", "10,A15-999,10", "--motif", "DESIGN"), "999"),
        (("--scaffold", "10,A15-,10", "--motif", "DESIGN"), "A15-"),
    ],
)
def test_bad_input_is_one_line_and_status_two(
    words: tuple[str, ...],
    said: str,
    model: str,
    design: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(design) if word == "DESIGN" else word for word in words]
    if "--model" not in given:
        given += ["--model", model]
    if "--noise" in given:
        given += ["--partial", str(design)]
    assert _run(*given, "-o", tmp_path / "out", "--steps", 2) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("sciddiff: error:")
    assert said in lines[0]
    assert "Traceback" not in captured.err
