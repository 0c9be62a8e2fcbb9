"""`sciddiff backbone` from the command line to the files, with a small untrained model."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone import memory
from protein.backbone.generate import GenerateSettings
from protein.backbone.metrics.geometry import chain_breaks
from protein.backbone.network import BackboneNetwork
from protein.codesign.generate import CodesignSettings
from protein.commands.backbone import STEPS
from protein.structures.parse import read_atoms
from protein.structures.read import read_structure
from protein.structures.write import write_models, write_pdb
from sciddiff import checkpoint, config
from sciddiff.cli.main import main
from sciddiff.errors import InputError

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
    """A design to use as a motif and as a start; of random weights, but without a chain break."""
    out = tmp_path_factory.mktemp("designs")
    for seed in range(20):
        _make(model, out / f"{seed}", "--length", 40, "-n", 1, "--seed", seed)
        made = out / f"{seed}" / "design_0001.pdb"
        if not chain_breaks(read_structure(made).chains[0].coords).any():
            return made
    raise AssertionError("every design of random weights has a broken chain")


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
    few = b"".join(line for line in text.splitlines(True) if line[22:26] in (b"   1", b"   2"))
    (folder / "few.pdb").write_bytes(few)
    capsys.readouterr()
    words = ("evaluate", folder, "--domain", "backbone")
    assert main([str(word) for word in (*words, "--json")]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    names = sorted(row["name"] for row in found["designs"])
    assert names == ["E", "T0.1_a", "T0.2_b", "c", "d", "e_2"]
    assert list(found["left_out"]) == ["broken.pdb", "few.pdb"]
    assert found["left_out"]["few.pdb"] == "it has 2 residues, and figures need at least 6"
    assert "broken.pdb: this file is left out:" in said.err and said.err.count("\n") == 2
    table = (folder / "designs.csv").read_text().splitlines()
    assert any("few" in row and "failed" in row and "2 residues" in row for row in table)
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


@pytest.fixture(scope="module")
def side_chains(design: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The design with a CB in every residue, a water, and a chain whose numbering starts again."""
    path = tmp_path_factory.mktemp("motif") / "odd.pdb"
    chain = read_structure(design).chains[0]
    write_pdb(path, chain, beta_carbon=True)
    lines = [line for line in path.read_text().splitlines() if line.startswith(("ATOM", "TER"))]
    moved = [f"{x[:30]}{float(x[30:38]) + 60:8.3f}{x[38:]}" for x in lines if x[:4] == "ATOM"]
    water = "HETATM  999  O   HOH A 201      50.000  50.000  50.000  1.00  0.00           O"
    path.write_text("\n".join([*lines, *moved, "TER", water, "END"]) + "\n")
    return path


def test_what_a_designer_expects_beside_a_scaffold(
    model: str, side_chains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scaffold"
    words = ("--scaffold", "30,A15-24,5-9", "--motif", side_chains, "-n", 3, "--json")
    assert _run("--model", model, "--steps", 2, "-o", out, *words) == 0
    captured = capsys.readouterr()
    assert f"note: {side_chains}: the residue numbers of chain A start again" in captured.err
    assert f"note: {side_chains}: 1 waters ignored" in captured.err
    record = json.loads((out / "run.json").read_text())
    assert any("start again" in note for note in record["notes"])
    told = record["designs"]["design_0002"]
    assert told["motif_from"].split() == [f"A{n}" for n in range(15, 25)]
    with (out / "designs.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["design_0002"]["motif_to"] == told["motif_to"]
    assert rows["design_0002"]["contig"].startswith("30/A15-24/")
    assert {row["status"] for row in rows.values()} == {"ok"}
    motif = read_structure(side_chains, side_chains=True).chains[0]
    for suffix in ("pdb", "cif"):
        file = out / f"design_0002.{suffix}"
        made = read_structure(file, side_chains=True).chains[0]
        kept = [made.labels.index(label) for label in told["motif_to"].split()]
        source = [motif.labels.index(label) for label in told["motif_from"].split()]
        assert min(made.residue_numbers) > 0, "N-terminal residues are never numbered below 1"
        for here, there in zip(kept, source, strict=True):
            assert np.abs(made.coords[here] - motif.coords[there]).max() < 2e-3
            assert made.side_chains[here] == motif.side_chains[there]
        others = [i for i in range(len(made)) if i not in kept]
        assert all(made.side_chains[i] == () for i in others)
        table, _ = read_atoms(file)
        held = {(n, c) for n, c in zip(table.numbers.tolist(), table.codes, strict=True)
                if (table.b_factors[(table.numbers == n)] == 1.0).all()}  # fmt: skip
        assert held == {(int(made.residue_numbers[i]), "") for i in kept}


def test_scaffolds_do_not_depend_on_how_many_are_made(
    model: str, design: Path, tmp_path: Path
) -> None:
    words = ("--scaffold", "5-9,A15-24,5-9", "--motif", design)
    _make(model, tmp_path / "many", *words, "-n", 4)
    _make(model, tmp_path / "one", *words, "-n", 1)
    one, many = (_ca(tmp_path / f / "design_0001.cif") for f in ("one", "many"))
    assert np.abs(one - many).max() < 0.02


def test_parts_of_a_chain_can_be_varied(model: str, side_chains: Path, tmp_path: Path) -> None:
    out = tmp_path / "part"
    words = ("--partial", side_chains, "--vary", "A10-20", "--noise", 1.0)
    _make(model, out, *words, "--retries", 30)
    before = read_structure(side_chains, side_chains=True).chains
    after = read_structure(out / "design_0001.cif", side_chains=True).chains
    free = np.isin(before[0].residue_numbers, np.arange(10, 21))
    held = np.abs(after[0].coords[~free] - before[0].coords[~free]).max()
    assert held < 2e-3 and np.abs(after[1].coords - before[1].coords).max() < 2e-3
    assert np.abs(after[0].ca[free] - before[0].ca[free]).max() > 1.0
    sides = zip(after[0].side_chains, before[0].side_chains, free, strict=True)
    assert all(a == (() if moved else b) for a, b, moved in sides)


def test_a_design_whose_chains_overlap_is_not_delivered(
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from protein.backbone.designs import Design
    from protein.backbone.modes.assemblies import Assemblies

    seeds: list[int] = []

    def attempt(self, number: int):
        seeds.append(number)
        return tried(self, number)

    tried = GenerateSettings.attempt
    monkeypatch.setattr(GenerateSettings, "attempt", attempt)
    # Copies laid on each other: every design overlaps, but the second at its third attempt.
    finish = Assemblies.finish

    def overlapping(self, design: Design) -> Design:
        if design.index == 1 and seeds[-1] == 2:
            return finish(self, design)
        return design.copied(np.eye(3)[None].repeat(2, 0), "AB")

    monkeypatch.setattr(Assemblies, "finish", overlapping)
    out = tmp_path / "c2"
    words = ("--model", model, "--steps", 2, "-o", out, "--symmetry", "C2", "--length", 25)
    assert _run(*words, "-n", 2, "--retries", 2) == 1
    said = capsys.readouterr().out
    assert "1 designs in" in said
    assert "failed   design_0001: its chains overlap (" in said
    assert sorted(p.name for p in out.glob("design_*")) == ["design_0002.cif", "design_0002.pdb"]
    with (out / "designs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["status"]) for row in rows] == [
        ("design_0001", "failed"),
        ("design_0002", "ok"),
    ]
    assert rows[0]["reason"].startswith("its chains overlap (")
    assert float(rows[1]["chain_clashes"]) == 0
    assert seeds == [0, 1, 2]
    # Nothing is tried again until more attempts are allowed.
    assert _run(*words, "-n", 2, "--retries", 2) == 1 and seeds == [0, 1, 2]
    monkeypatch.setattr(Assemblies, "finish", finish)
    assert _run(*words, "-n", 2, "--retries", 3) == 0 and seeds == [0, 1, 2, 0]
    assert json.loads((out / "run.json").read_text())["failed"] == {}
    assert not list((out / "failed").glob("*.json"))


def test_all_failed_is_status_two(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protein.backbone.modes.assemblies import Assemblies

    monkeypatch.setattr(
        Assemblies,
        "finish",
        lambda self, design: design.copied(np.eye(3)[None].repeat(2, 0), "AB"),
    )
    out = tmp_path / "c2"
    words = ("--steps", 2, "-o", out, "--symmetry", "C2", "--length", 25, "--retries", 0)
    assert _run("--model", model, *words) == 2


def test_a_trajectory_ends_in_the_design(model: str, tmp_path: Path) -> None:
    out = tmp_path / "steps"
    _make(model, out, "--length", 25, "-n", 2, "--trajectory")
    for name in ("design_0001", "design_0002"):
        file = out / "trajectories" / f"{name}.cif"
        last = read_structure(file, 1)
        assert last.counts["models"] == 2, "one model for every step"
        assert np.abs(last.chains[0].ca - _ca(out / f"{name}.cif")).max() < 2e-3
        assert np.abs(read_structure(file, 0).chains[0].ca - last.chains[0].ca).max() > 0.1


def test_a_binder_from_the_command_line(model: str, design: Path, tmp_path: Path) -> None:
    out = tmp_path / "binders"
    words = ("--target", design, "--hotspots", "A1-3", "--length", "25-30", "-n", 2)
    assert _run("--model", model, "--steps", 2, "-o", out, *words) == 0
    with (out / "designs.csv").open() as file:
        rows = list(csv.DictReader(file))
    natives = json.loads((out / "run.json").read_text())["measured"]["natives"]
    assert natives["interface_contacts"]["value"] == pytest.approx(0.332, abs=1e-3)
    target = read_structure(design).chains[0]
    for row in rows:
        chains = read_structure(out / f"{row['name']}.pdb").chains
        assert [c.chain_id for c in chains] == ["B", "A"]
        assert np.abs(chains[1].coords - target.coords).max() < 2e-3
        assert row["binder"] == "B" and row["hotspots"] == "A1 A2 A3"
        assert int(row["length"]) == len(chains[0]), "figures are those of the binder"
        nearest = np.linalg.norm(chains[0].ca[:, None] - target.ca[None], axis=-1).min()
        assert 4.19 <= nearest < 6.51
        assert float(row["chain_clashes"]) == 0 and float(row["interface_contacts"]) > 0
        assert 0.0 <= float(row["hotspots_met"]) <= 1.0


def test_models_of_an_ensemble_can_be_chosen(model: str, design: Path, tmp_path: Path) -> None:
    first = read_structure(design).chains[0]
    second = replace(first, coords=first.coords + np.float32(50))
    write_models(tmp_path / "nmr.cif", [first, second])
    words = ("--partial", tmp_path / "nmr.cif", "--noise", 0.05, "--structure-model", 1)
    _make(model, tmp_path / "out", *words)
    there = _ca(tmp_path / "out" / "design_0001.cif").mean(0)
    assert np.abs(there - second.ca.mean(0)).max() < 3.0
    assert _run("--length", 30, "--structure-model", 1, "-o", tmp_path / "none") == 2


def test_lengths_that_weights_do_not_know_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"data": {"lengths": [40, 128]}, "metrics": {"lengths": "60-90"}}
    assert memory.trained_lengths(card) == (40, 128)
    assert memory.trained_lengths({"metrics": {"lengths": "60-128"}}) == (60, 128)
    assert memory.outside([40, 128], card) is None and memory.outside([20], {}) is None
    said = memory.outside([30, 100, 200], card)
    assert said is not None and "2 of 3 designs have chains of 30 to 200 residues" in said
    assert "trained on 40 to 128" in said


def test_memory_is_estimated_before_a_large_request(monkeypatch: pytest.MonkeyPatch) -> None:
    net = BackboneNetwork(node=16, pair=32, blocks=1, heads=2)
    cpu = torch.device("cpu")
    assert memory.estimate(net, 2000) == pytest.approx(3e9, rel=0.1)  # as measured
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**10)
    assert memory.check(net, 500, cpu) is None
    assert "2000 residues at once need about 3.1 GB" in str(memory.check(net, 2000, cpu))
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    with pytest.raises(InputError, match="need about 3.1 GB and 1.0 GB are free"):
        memory.check(net, 2000, cpu)


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
        (("--scaffold", "10,A15-24", "--unindexed", "A15", "--motif", "DESIGN"), "together"),
        (("--motif", "DESIGN"), "--unindexed"),
        (("--unindexed", "A15,A20"), "--motif"),
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
        (("--scaffold", "18-22", "--motif", "DESIGN"), "keeps nothing"),
        (("--target", "DESIGN"), "--hotspots"),
        (("--target", "DESIGN", "--hotspots", "A900"), "A900"),
        (("--hotspots", "A1"), "--hotspots: is for --target"),
        (("--vary", "A1"), "--vary: is for --partial"),
        (("--partial", "DESIGN", "--vary", "10-20"), "name residues alone"),
        (("-n", "1000001"), "'1000001' is larger than 1,000,000"),
        (("--reference", "none.npz"), "none.npz: no such file"),
        (("--reference", "none.npz", "--no-report"), "nothing is measured with --no-report"),
        (("--sequences", "1", "--sequence-model", "lite"), "one of design is needed"),
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
    assert not (tmp_path / "out" / "design_0001.pdb").exists()


def test_the_command_line_and_python_draw_with_as_many_steps() -> None:
    assert GenerateSettings().steps == CodesignSettings().steps == STEPS
