"""Sequences without structures: archives, batches, requests, and the verbs from end to end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.language.archive import SequenceArchive
from protein.language.data import LanguageData, LanguageSettings
from protein.language.domain import SequenceDomain
from protein.sequence.alphabet import LETTERS, tokens
from protein.sequence.measure import NATIVE, composition_entropy, measure
from protein.sequence.samples import SEQUENCE
from sciddiff import Denoiser
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.nn import TokenTransformer


def random_fasta(path, count=40, seed=0, low=30, high=60):
    rng = np.random.default_rng(seed)
    records = [
        "".join(rng.choice(list(LETTERS), size=int(rng.integers(low, high + 1))))
        for _ in range(count)
    ]
    path.write_text("".join(f">protein_{k}\n{s}\n" for k, s in enumerate(records)))
    return records


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    random_fasta(folder / "in.fasta")
    words = ["prepare", "sequence", str(folder / "in.fasta"), "-o", str(folder / "out.npz")]
    assert main([*words, "--val", "0.2", "--test", "0.1", "--clusterer", "builtin"]) == 0
    return folder / "out.npz"


@pytest.fixture(scope="module")
def model(tmp_path_factory, archive):
    """A small model as `train` and `export` make it, hardly trained."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "small.yaml").write_text(
        "domain:\n  class_path: protein.language.domain.SequenceDomain\n"
        f"  init_args: {{data: {{archive: {archive}, budget: 600}}}}\n"
        "net:\n  class_path: sciddiff.nn.TokenTransformer\n"
        "  init_args: {width: 16, depth: 1, heads: 2, leaf: sequence, labels: 4}\n"
        "optim: {lr: 0.01, warmup: 2}\ntrainer: {max_steps: 6, progress: false}\n"
        f"out: {folder / 'run'}\n"
    )
    assert main(["train", str(folder / "small.yaml")]) == 0
    assert main(["export", str(folder / "run"), "-o", str(folder / "model")]) == 0
    return folder / "model"


def test_an_archive_holds_what_the_file_held(archive, tmp_path):
    records = random_fasta(tmp_path / "again.fasta")
    found = [SequenceArchive.open(archive, split) for split in ("train", "val", "test")]
    assert sorted(s for part in found for s in part.sequences) == sorted(records)
    clusters = [set(part.clusters.tolist()) for part in found]
    assert not clusters[0] & clusters[1] and not clusters[0] & clusters[2]
    summary = json.loads(archive.with_suffix(".json").read_text())
    assert summary["records"] == 40 and summary["sequences"] == 40


def test_an_epoch_takes_every_cluster_once_and_is_repeatable(archive):
    data = LanguageData(LanguageSettings(str(archive), budget=500, crop_share=0.5), "train")
    epochs = [list(data.batches(3, 1)), list(data.batches(3, 1)), list(data.batches(4, 1))]
    ids = [sorted(name for batch in epoch for name in batch.ids) for epoch in epochs]
    assert len(set(ids[0])) == len(ids[0]) == len(set(data.archive.clusters.tolist()))
    assert all(torch.equal(a.x[SEQUENCE], b.x[SEQUENCE]) for a, b in zip(*epochs[:2], strict=True))
    assert [b.x[SEQUENCE].shape for b in epochs[0]] != [b.x[SEQUENCE].shape for b in epochs[2]]
    for batch in epochs[0]:
        assert batch.x[SEQUENCE].numel() <= 500 or batch.size == 1


def test_a_sequence_is_drawn_as_it_is_stored(archive):
    data = LanguageData(LanguageSettings(str(archive), crop_share=0.0), "val")
    by_name = dict(zip(data.archive.ids, data.archive.sequences, strict=True))
    for batch in data.whole():
        for name, text in zip(batch.ids, SequenceDomain().results(batch, batch.x), strict=True):
            assert text == by_name[name]


def test_a_class_changes_what_is_said_and_given_residues_stay(archive):
    torch.manual_seed(0)
    net = TokenTransformer(20, 16, 1, 2, labels=4).eval()
    domain = SequenceDomain()
    denoiser = Denoiser(net, domain.path())
    said = [
        denoiser(batch.x, 0.5, batch)[SEQUENCE].posterior
        for fold in ("alpha", "beta")
        for batch in domain.templates(1, 0, {"infill": "MK__LV__G", "fold": fold})
    ]
    assert not torch.allclose(said[0], said[1])
    (batch,) = domain.templates(5, 0, {"infill": "MK__LV__G"})
    held = batch.layouts[SEQUENCE].fixed
    given, _ = tokens("MKLVG")
    assert torch.equal(batch.x[SEQUENCE][0][held[0]], torch.from_numpy(given))


def test_the_composition_of_natives_is_a_law():
    assert abs(sum(NATIVE.values()) - 1.0) < 2e-3 and list(NATIVE) == list(LETTERS)
    assert composition_entropy([LETTERS]) == pytest.approx(np.log(20))
    found = measure(["AAAC", "CCCC", "AAAC"])
    assert found["distinct"] == pytest.approx(2 / 3) and found["longest_run"] == 4
    assert found["above_quarter"] == 1.0


def test_sequences_are_drawn_and_added_to(model, tmp_path, capsys):
    words = ["sequence", "--model", str(model), "--length", "20-30", "--steps", "8", "--seed", "2"]
    out = tmp_path / "out"
    assert main([*words, "-n", "3", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 3
    first = (out / "sequences.fasta").read_text()
    assert main([*words, "-n", "5", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 3
    assert (out / "sequences.fasta").read_text().startswith(first)
    assert main([*words, "-n", "5", "-o", str(tmp_path / "whole"), "--json"]) == 0
    whole = (tmp_path / "whole" / "sequences.fasta").read_text()
    assert (out / "sequences.fasta").read_text() == whole
    rows = list(csv.DictReader((out / "sequences.csv").open()))
    assert [row["name"] for row in rows] == [f"sequence_{k:04d}" for k in range(1, 6)]
    assert all(20 <= int(row["length"]) <= 30 for row in rows)
    page = (out / "report.html").read_text()
    assert rows[4]["sequence"] in page and "http" not in page.replace("http-equiv", "")
    (out / "report.html").unlink()
    capsys.readouterr()
    assert main(["report", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["report"]
    text = Path(again).read_text()
    assert rows[4]["sequence"] in text and "Drawn without a structure" in text
    assert main([*words[:-1], "3", "-n", "5", "-o", str(out)]) == 2
    assert "seed was 2 and is now 3" in capsys.readouterr().err


def test_fasta_files_from_elsewhere_have_a_page(tmp_path, capsys):
    (tmp_path / "some.fa").write_text(">one\nACCCD\n>two\nMKLV\n")
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "ACCCD" in page and "Drawn without" not in page
    (tmp_path / "some.fa").write_text("")
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no record" in capsys.readouterr().err


def test_given_residues_are_in_every_completed_sequence(model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["sequence", "--model", str(model), "--infill", "MKT____LV__", "-n", "6"]
    assert main([*words, "-o", str(out), "--order", "confidence", "--temperature", "0"]) == 0
    drawn = (out / "sequences.fasta").read_text().split("\n")[1::2]
    assert all(s.startswith("MKT") and s[7:9] == "LV" and len(s) == 11 for s in drawn if s)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--length", "abc"], "is no length"),
        (["--length", "9-3"], "is not within"),
        (["--infill", "MK*"], "is no residue"),
        (["--infill", "MKV"], "nothing is left to draw"),
        (["--infill", "MK_", "--length", "3"], "leave length out"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(model, tmp_path, capsys, words, message):
    assert main(["sequence", "--model", str(model), *words, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\n" + "ACGT" * 20 + "\n", "looks like DNA or RNA"),
        (">a\nMK-LV\n", "which is no amino acid"),
        (">a\n\n>b\nMKL\n", "has no residues"),
        ("MKLV\n", "stands before the first header"),
        (">a\nMKLV\n", "no sequence is left"),
        (">a\nMKLV\n>a\nMKLW\n", "has the header of record 1"),
    ],
)
def test_files_that_hold_no_proteins_are_refused(tmp_path, capsys, text, message):
    (tmp_path / "in.fasta").write_text(text)
    words = ["prepare", "sequence", str(tmp_path / "in.fasta"), "-o", str(tmp_path / "out.npz")]
    assert main(words) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out.npz").exists()


def test_a_wrong_setting_of_a_likelihood_is_named_by_its_option(model, capsys):
    words = ["likelihood", "--model", str(model), "--set"]
    assert main([*words, "nonsense=3"]) == 2
    assert main([*words, "data.budget=abc"]) == 2
    unknown, wrong = capsys.readouterr().err.strip().splitlines()
    assert "error: --set nonsense: unknown to SequenceDomain" in unknown
    assert "error: --set data.budget: 'abc' is not a number" in wrong and "export" not in wrong


def test_rare_residues_are_clustered(tmp_path):
    one = "".join(np.random.default_rng(2).choice(list(LETTERS), size=60))
    rare = f">a\n{one}\n>b\n{one[:30]}UOJ{one[33:]}\n>c\n{one[::-1]}\n"
    (tmp_path / "in.fasta").write_text(rare)
    words = ["prepare", "sequence", str(tmp_path / "in.fasta"), "-o", str(tmp_path / "out.npz")]
    assert main([*words, "--clusterer", "builtin"]) == 0
    with np.load(tmp_path / "out.npz") as data:
        assert data["cluster_c30"].tolist() == [0, 0, 1]
        assert b"UOJ" in data["sequence"].tolist()[1]


def test_duplicates_and_names_are_told(tmp_path, capsys):
    rng = np.random.default_rng(1)
    one, two = ("".join(rng.choice(list(LETTERS), size=40)) for _ in range(2))
    (tmp_path / "in.fasta").write_text(f">a\n{one}\n>b\n{one}\n")
    (tmp_path / "more.fasta").write_text(f">a\n{two}\n")
    out = tmp_path / "out.npz"
    files = [str(tmp_path / name) for name in ("in.fasta", "more.fasta")]
    words = ["prepare", "sequence", *files, "-o", str(out), "--json"]
    assert main([*words, "--clusterer", "builtin"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sequences"] == 2 and found["dropped"] == {"the same as an earlier one": 1}
    with np.load(out) as data:
        assert data["id"].tolist() == ["a", "a_2"]
    assert main([*words, "--clusterer", "builtin"]) == 0  # the same request again
    (tmp_path / "in.fasta").write_text(f">a\n{two}\n")
    assert main([*words, "--clusterer", "builtin"]) == 2
    assert "made by another request" in capsys.readouterr().err
    with pytest.raises(InputError, match="no such archive"):
        SequenceArchive.open(tmp_path / "absent.npz", "train")
