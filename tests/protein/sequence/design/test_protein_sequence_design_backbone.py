"""`sciddiff backbone --sequences`: sequences in the same run, table and report."""

import csv
import json

import pytest
import torch

from protein.backbone.network import BackboneNetwork
from sciddiff import checkpoint, config
from sciddiff.cli.main import main

NET = {"node": 16, "pair": 8, "blocks": 1, "heads": 2}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An exported backbone model of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(**NET)
    plain = config.read(
        {
            "domain": {"class_path": "protein.backbone.domain.BackboneDomain"},
            "net": {"class_path": "protein.backbone.network.BackboneNetwork", "init_args": NET},
        }
    )
    folder = tmp_path_factory.mktemp("backbones") / "small"
    checkpoint.save(folder, net.state_dict(), plain)
    return str(folder)


def _run(backbones, model, out, *words):
    fast = ["--model", backbones, "--steps", "2", "--sequence-model", str(model), "--json"]
    return main(["backbone", *fast, "-o", str(out), *map(str, words)])


def _rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_sequences_are_in_the_table_and_the_report(backbones, model, tmp_path, capsys):
    out = tmp_path / "designs"
    words = ("--length", 30, "-n", 2, "--sequences", 3)
    assert _run(backbones, model, out, *words) == 0
    rows, inner = _rows(out / "designs.csv"), _rows(out / "sequences" / "designs.csv")
    assert len(rows) == 2 and len(inner) == 6
    for row in rows:
        mine = [one for one in inner if one["template"] == row["name"]]
        best = min(mine, key=lambda one: float(one["score"]))
        assert row["sequence"] == best["sequence"] and len(row["sequence"]) == 30
        assert float(row["sequence_score"]) == pytest.approx(float(best["score"]))
        assert row["sequence"] in (out / "report.html").read_text()
    # More designs add to those that are there, with the same sequences.
    before = (out / "sequences" / "seqs" / "design_0001.fa").read_bytes()
    assert _run(backbones, model, out, "--length", 30, "-n", 3, "--sequences", 3) == 0
    assert (out / "sequences" / "seqs" / "design_0001.fa").read_bytes() == before
    assert [row["sequence"] != "" for row in _rows(out / "designs.csv")] == [True] * 3
    capsys.readouterr()
    assert main(["evaluate", str(out), "--domain", "backbone", "--json"]) == 0


def test_copies_of_a_unit_have_equal_sequences(backbones, model, tmp_path):
    out = tmp_path / "trimers"
    words = ("--symmetry", "C3", "--length", 24, "-n", 1, "--sequences", 2, "--no-report")
    status = _run(backbones, model, out, *words)
    record = json.loads((out / "run.json").read_text())
    if status != 0:
        pytest.skip(f"the untrained network made no assembly: {record.get('failed')}")
    for row in _rows(out / "sequences" / "designs.csv"):
        chains = row["sequence"].split("/")
        assert len(chains) == 3 and len(set(chains)) == 1
