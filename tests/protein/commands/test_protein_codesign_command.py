"""`sciddiff codesign` and `sciddiff fold` from the command line to the files, untrained."""

import csv
import json

import pytest
import torch

from protein.codesign.network import CodesignNetwork
from protein.structures.read import read_structure
from sciddiff import checkpoint, config
from sciddiff.cli.main import main
from sciddiff.cli.registry import user_verbs

NET = {"node": 16, "pair": 8, "blocks": 1, "heads": 2}
PROTEINS = ("MKTAYIAKQRQISFVKSHFSRQ", "GSHMWYNDPCEEKLAXTTRVIAKQRF")


@pytest.fixture(scope="module", autouse=True)
def registered():
    if not {"codesign", "fold"} <= user_verbs(load=False).keys():
        pytest.skip("this version of the package is not installed: its verbs are not known")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported model of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CodesignNetwork(**NET)
        torch.nn.init.normal_(net.residue_out.weight, std=0.2)
    plain = config.read(
        {
            "domain": {"class_path": "protein.codesign.domain.CodesignDomain"},
            "net": {"class_path": "protein.codesign.network.CodesignNetwork", "init_args": NET},
        }
    )
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, net.state_dict(), plain)
    return str(folder)


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "seqs.fa"
    path.write_text("".join(f">p{k}\n{s}\n" for k, s in enumerate(PROTEINS)))
    return path


def _run(*words):
    return main([str(word) for word in words])


def _sequence(path):
    return "".join(chain.sequence for chain in read_structure(path).chains)


def test_codesign_writes_structures_with_residues(model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("codesign", "--model", model, "--length", "24-30", "-n", 2, "--steps", 3, "-o", out)
    words += ("--sequence-temperature", 1.5)
    assert _run(*words, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["designs"] == 2
    for name in ("design_0001", "design_0002"):
        one, two = _sequence(out / f"{name}.pdb"), _sequence(out / f"{name}.cif")
        assert one == two and 24 <= len(one) <= 30
        assert len(set(one)) > 2 and "X" not in one
    record = json.loads((out / "run.json").read_text())
    assert record["request"]["mode"] == "codesign"
    assert record["request"]["sequence_temperature"] == 1.5
    assert "Designed proteins" in (out / "report.html").read_text()
    rows = list(csv.DictReader((out / "designs.csv").open()))
    assert [row["sequence"] for row in rows] == [
        _sequence(out / f"{row['name']}.cif") for row in rows
    ]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert _run(*words) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_fold_keeps_the_sequences_and_says_whose_a_structure_is(model, fasta, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("fold", fasta, "--model", model, "--steps", 2, "-o", out)
    assert _run(*words, "-n", 1, "--no-report") == 0
    assert "p1: 1 of 26 residues are none of the twenty" in capsys.readouterr().err
    first = (out / "design_0001.cif").read_bytes()
    assert _run(*words, "-n", 2) == 0  # more of each, beside those that are there
    assert (out / "design_0001.cif").read_bytes() == first
    for k in range(4):
        assert _sequence(out / f"design_{k + 1:04d}.cif") == PROTEINS[k % 2]
    rows = {row["name"]: row for row in csv.DictReader((out / "designs.csv").open())}
    assert [rows[f"design_{k + 1:04d}"]["record"] for k in range(4)] == ["p0", "p1"] * 2
    assert "a demonstration" in (out / "report.html").read_text()


def test_the_plan_and_the_help_of_folding(model, fasta, tmp_path, capsys):
    assert _run("fold", fasta, "--model", model, "--plan", "-n", 2, "-o", tmp_path / "no") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["design_0001", "22", "residues", "p0"] and len(lines) == 4
    assert not (tmp_path / "no").exists()
    assert _run("fold", "--help") == 0
    assert "not a structure predictor" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f">d\n{'ACGT' * 8}\n", "looks like DNA or RNA"),
        (">a\nMKT\n>a\nMKT\n", "record 1 (a) has 3 residues"),
    ],
)
def test_bad_sequences_are_one_line(model, tmp_path, capsys, text, said):
    path = tmp_path / "bad.fa"
    path.write_text(text)
    assert _run("fold", path, "--model", model, "-o", tmp_path / "no") == 2
    error = capsys.readouterr().err
    assert said in error and str(path) in error and error.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_a_backbone_model_is_refused(tmp_path, capsys):
    assert _run("codesign", "--model", "lite", "-n", 1, "-o", tmp_path / "no") == 2
    error = capsys.readouterr().err
    assert "codesign is needed" in error and error.count("\n") == 1
