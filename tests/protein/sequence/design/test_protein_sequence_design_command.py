"""`sciddiff design` from the command line to the files, with a small untrained model."""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from Bio import SeqIO

from protein.backbone.folder import read_folder
from protein.commands.design_templates import backbone_template, find_templates
from protein.sequence.alphabet import LETTERS
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from protein.structures.write import write_pdb
from sciddiff.cli.campaign import Campaign
from sciddiff.cli.main import main


def _run(*words: object) -> int:
    return main([str(word) for word in ("design", *words)])


@pytest.fixture(scope="module")
def designs(model: Path, dimer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sequences at two temperatures, ten residues fixed."""
    out = tmp_path_factory.mktemp("designs") / "first"
    words = ("--temperature", 0.1, 1.0, "--fix", "B11-20", "--omit-aa", "C")
    assert _run(dimer, "--model", model, "-n", 5, *words, "--boltz", "-o", out) == 0
    return out


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _fields(header: str) -> dict[str, str]:
    """As users of ProteinMPNN do: name=value, separated by commas outside brackets."""
    pairs = re.findall(r"(\w+)=(\[[^\]]*\]|[^,]+)", header)
    return dict(pairs)


def test_fasta_is_that_of_proteinmpnn(designs):
    records = list(SeqIO.parse(designs / "seqs" / "dimer.fa", "fasta"))
    assert len(records) == 11
    own = _fields(records[0].description)
    assert records[0].description.startswith("dimer, score=")
    assert list(own)[:7] == ["score", "global_score", "fixed_chains", "designed_chains",
                             "model_name", "git_hash", "seed"]  # fmt: skip
    assert own["designed_chains"] == "['A', 'B']" and own["fixed_chains"] == "[]"
    for number, record in enumerate(records[1:]):
        said = _fields(record.description)
        assert list(said)[:5] == ["T", "sample", "score", "global_score", "seq_recovery"]
        assert float(said["T"]) == (0.1 if number < 5 else 1.0)
        assert int(said["sample"]) == number % 5 + 1
        chains = str(record.seq).split("/")
        assert [len(chain) for chain in chains] == [24, 24]
        assert chains[1][:10] == str(records[0].seq).split("/")[1][:10]
        drawn = chains[0] + chains[1][10:]
        assert "C" not in drawn and set(drawn) <= set(LETTERS)


def test_tables_and_structures_tell_the_same(designs):
    rows, residues = _table(designs / "designs.csv"), _table(designs / "residues.csv")
    refold = {r.id: str(r.seq) for r in SeqIO.parse(designs / "refold.fasta", "fasta")}
    assert len(rows) == 10 and len(residues) == 10 * 48
    boltz = [list(SeqIO.parse(designs / "boltz" / f"{r['name']}.fasta", "fasta")) for r in rows]
    assert [one.id for one in boltz[0]] == ["A|protein|empty", "B|protein|empty"]
    assert ["/".join(str(c.seq) for c in one) for one in boltz] == [r["sequence"] for r in rows]
    for row in rows:
        chains = read_structure(designs / "designs" / f"{row['name']}.cif").chains
        text = "/".join(chain.sequence for chain in chains)
        assert text == row["sequence"] == refold[row["name"]].replace(":", "/")
        mine = [one for one in residues if one["name"] == row["name"]]
        assert "".join(one["aa"] for one in mine) == text.replace("/", "")
        assert [one["residue"] for one in mine][23:25] == ["A34", "B11"]
        assert [one["designed"] for one in mine][24:34] == ["0"] * 10
        spread = [float(one["entropy"]) for one in mine if one["designed"] == "1"]
        assert 0.0 < min(spread) and max(spread) < np.log(20.0) + 1e-4
    assert (designs / "report.html").read_text().count("<svg") == 2
    page = (designs / "report.html").read_text()
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S):
        assert len(ElementTree.fromstring(svg)) >= 20
    assert "Recovery by burial" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_the_b_factor_is_the_confidence(designs):
    from protein.structures.parse import read_atoms

    row = _table(designs / "designs.csv")[0]
    atoms, _ = read_atoms(designs / "designs" / f"{row['name']}.cif")
    residues = [r for r in _table(designs / "residues.csv") if r["name"] == row["name"]]
    sizes = np.asarray(atoms.b_factors)[[name == "CA" for name in atoms.names]]
    expected = [100.0 * float(r["probability"] or 1.0) for r in residues]
    np.testing.assert_allclose(sizes, expected, atol=0.011)


def test_score_only_agrees_with_the_fasta(designs, dimer, model, tmp_path):
    words = ("--model", model, "--fix", "B11-20", "--seed", 7)
    for source in ("seqs/dimer.fa", "refold.fasta"):
        out = tmp_path / source.replace("/", "_")
        fasta = designs / source
        assert _run(dimer, *words, "--score-only", "--fasta", fasta, "-o", out) == 0
        scored = _table(out / "scores.csv")
        said = _table(designs / "designs.csv")
        scored = scored[1:] if len(scored) == 11 else scored
        for one, row in zip(scored, said, strict=True):
            for name in ("score", "score_se", "global_score", "seq_recovery"):
                assert float(one[name]) == pytest.approx(float(row[name]), abs=1.01e-4)


def test_a_killed_run_goes_on_to_the_same_bytes(designs, dimer, model, tmp_path):
    words = ("--model", model, "--temperature", 0.1, 1.0, "--fix", "B11-20", "--omit-aa", "C")
    out = tmp_path / "again"
    assert _run(dimer, *words, "-n", 3, "-o", out) == 0
    (out / "designs" / "dimer_T1_0002.json").unlink()
    (out / "designs" / "dimer_T0.1_0001.cif").unlink()
    (out / "seqs" / "dimer.fa").unlink()
    assert _run(dimer, *words, "-n", 5, "-o", out) == 0
    for name in ("seqs/dimer.fa", "refold.fasta", "designs.csv", "residues.csv"):
        assert (out / name).read_bytes() == (designs / name).read_bytes()
    record = json.loads((out / "run.json").read_text())
    assert [run["made"] for run in record["runs"]] == [6, 6]
    assert record["request"]["fix"] == "B11-20" and record["model_card"]["format"] == 1


def test_another_request_is_refused(designs, dimer, model, capsys):
    assert _run(dimer, "--model", model, "-n", 5, "-o", designs) == 2
    said = capsys.readouterr().err
    assert "holds results of another command" in said and "fix was" in said


def test_a_moved_structure_is_the_same_and_a_changed_one_is_refused(
    single, model, tmp_path, capsys
):
    out, moved = tmp_path / "out", tmp_path / "elsewhere" / "single.pdb"
    moved.parent.mkdir()
    moved.write_bytes(single.read_bytes())
    assert _run(single, "--model", model, "-n", 1, "-o", out) == 0
    assert _run(moved, "--model", model, "-n", 2, "-o", out) == 0
    assert len(_table(out / "designs.csv")) == 2
    moved.write_text(moved.read_text().replace("MET A  11", "TRP A  11"))
    assert _run(moved, "--model", model, "-n", 2, "-o", out) == 2
    said = capsys.readouterr().err
    assert f"the content of SOURCE ({moved}) has changed" in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"sequence": "MKT"}, "it is not of 20 residues"),
        ({"probability": [0.5]}, "it is not of 20 residues"),
        ({"probability": ["x"] * 20}, "could not convert"),
        ({"sequence": "?" * 20}, "its sequence has other letters"),
    ],
)
def test_a_damaged_record_is_named(single, model, tmp_path, capsys, damage, said):
    out = tmp_path / "out"
    assert _run(single, "--model", model, "-n", 1, "-o", out) == 0
    file = out / "designs" / "single_T0.1_0001.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    assert _run(single, "--model", model, "-n", 1, "-o", out) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{file}: damaged" in error and said in error and "remove it" in error


def test_the_plan_is_printed_and_nothing_is_written(dimer, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--fix", "B11-20", "--symmetric", "--omit-at", "A30:PG")
    assert _run(dimer, *words, "--plan") == 0
    text = capsys.readouterr().out
    for part in ("chain B: residues 11-34", "fixed ", "A11-20,B11-20", "A30:PG", "equal chains"):
        assert part in text
    assert _run(dimer, *words, "--plan", "--json") == 0
    [said] = json.loads(capsys.readouterr().out)["plans"]
    assert said["designed"] == "A21-34,B21-34" and said["groups"] == 14
    assert not any(tmp_path.iterdir())


def test_profiles_and_mutants(single, model, tmp_path):
    out = tmp_path / "profile"
    words = ("--profile", "--scan", "--omit-aa", "C", "--fix", "A11")
    assert _run(single, "--model", model, *words, "-o", out) == 0
    with np.load(out / "single.profile.npz") as arrays:
        assert arrays["alone"].shape == arrays["given"].shape == (20, 20)
        np.testing.assert_allclose(np.exp(arrays["alone"][1:]).sum(-1), 1.0, atol=1e-5)
        assert arrays["residues"][1] == "A12"
    rows = _table(out / "single.profile.csv")
    assert len(rows) == 2 * 19 and rows[0]["residue"] == "A12" and rows[0]["law"] == "alone"
    mutants = _table(out / "single.scan.csv")
    assert len(mutants) == 19 * 19
    assert {r["allowed"] for r in mutants if r["mutant"] == "C"} == {"0"}


def test_a_folder_of_backbone_keeps_its_motifs(single, model, tmp_path):
    folder = tmp_path / "designs"
    chains = read_structure(single).chains
    campaign = Campaign.open(folder, {"mode": "scaffold"}, "sciddiff backbone")
    for name in ("design_0001", "design_0002"):
        write_pdb(folder / f"{name}.pdb", chains)
    motifs = {"design_0001": {"motif_from": "X1 X2", "motif_to": "A12 A13"}}
    campaign.note(designs=motifs)
    found = find_templates([folder])
    assert [one.kept for one in found.templates] == ["A12-13", ""]
    assert all(one.generated for one in found.templates)
    assert not find_templates([single]).templates[0].generated
    out = tmp_path / "out"
    assert _run(folder, "--model", model, "-n", 2, "--temperature", 1, "-o", out) == 0
    for row in _table(out / "designs.csv"):
        kept = row["sequence"][1:3] == chains[0].sequence[1:3]
        assert row["designed"] == ("18" if row["template"] == "design_0001" else "20")
        assert kept or row["template"] == "design_0002"


def test_targets_and_what_was_not_varied_are_kept(dimer):
    chains = read_structure(dimer).chains
    binder = backbone_template("x", "x", chains, {"binder": "A"}, {})
    assert (binder.kept, binder.why) == ("B", "target")
    assert backbone_template("x", "x", chains, {"symmetry": "C2"}, {}).symmetric
    assert not binder.symmetric
    varied = backbone_template("x", "x", chains, {}, {"vary": "A11-33,B"})
    assert varied.kept == "A34"


def test_unknown_residues_are_designed_where_they_are_free(model, helix, tmp_path, capsys):
    file, out = tmp_path / "x.pdb", tmp_path / "out"
    write_pdb(file, helix(20, "A", sequence="MKXAYIAKQRQISFVKXHFS"))
    words = ("--model", model, "-n", 2, "--fix", "A27", "-o", out)
    assert _run(file, *words) == 0
    assert "A27 is kept, of no known amino acid" in capsys.readouterr().err
    rows = _table(out / "designs.csv")
    for row in rows:
        assert row["sequence"][16] == "X" and row["sequence"].count("X") == 1
        assert row["designed"] == "19"
    own = next(SeqIO.parse(out / "seqs" / "x.fa", "fasta"))
    assert str(own.seq) == "MKXAYIAKQRQISFVKXHFS"
    natives = [r["native"] for r in _table(out / "residues.csv")][:20]
    assert "".join(natives) == str(own.seq)
    shares = [float(row["seq_recovery"]) * 18 for row in rows]  # of those that are known
    np.testing.assert_allclose(shares, np.round(shares), atol=1e-2)


def test_gaps_are_x_as_proteinmpnn_writes_them(model, helix, tmp_path):
    """Residues 15 to 17 are missing: three X in seqs/ alone, which --score-only reads again."""
    whole = helix(24, "A")
    rows = np.r_[:4, 7:24]
    chain = Backbone(whole.coords[rows], "".join(whole.sequence[k] for k in rows), "A",
                     whole.residue_numbers[rows])  # fmt: skip
    file, out, scores = tmp_path / "gap.pdb", tmp_path / "out", tmp_path / "scores"
    write_pdb(file, [chain, helix(12, "B", 40.0)])
    words = ("--model", model, "-n", 2)
    assert _run(file, *words, "--gaps", "X", "-o", out) == 0
    said = [str(r.seq).split("/") for r in SeqIO.parse(out / "seqs" / "gap.fa", "fasta")]
    table = _table(out / "designs.csv")
    for (first, second), row in zip(said[1:], table, strict=True):
        assert first[4:7] == "XXX" and first.count("X") == 3 and len(second) == 12
        assert f"{first.replace('X', '')}/{second}" == row["sequence"]
    assert "X" not in (out / "refold.fasta").read_text()
    given = ("--score-only", "--fasta", out / "seqs" / "gap.fa")
    assert _run(file, "--model", model, *given, "-o", scores) == 0
    for one, row in zip(_table(scores / "scores.csv")[1:], table, strict=True):
        assert float(one["score"]) == pytest.approx(float(row["score"]), abs=1.01e-4)
    assert _run(file, *words, "-o", tmp_path / "plain") == 0
    assert "X" not in (tmp_path / "plain" / "seqs" / "gap.fa").read_text()


@pytest.mark.parametrize(("letter", "why"), [("A", "all A"), ("G", "all G"), ("X", "unknown")])
def test_a_structure_without_a_sequence_has_no_recovery(
    model, helix, tmp_path, capsys, letter, why
):
    file, out = tmp_path / "x.pdb", tmp_path / "out"
    write_pdb(file, helix(20, "A", sequence=letter))
    assert _run(file, "--model", model, "-n", 2, "--json", "-o", out) == 0
    said = json.loads(capsys.readouterr().out)["structures"]["x"]
    assert said["recovery"] is None and why in said["no_recovery"]
    assert {row["seq_recovery"] for row in _table(out / "designs.csv")} == {""}
    page = (out / "report.html").read_text()
    assert why in page and "Recovery by burial" not in page and "nan" not in page
    assert _run(file, "--model", model, "-n", 2, "-o", out) == 0
    assert f"no recovery of x: the residues of the structure are {why}" in capsys.readouterr().out


def test_a_damaged_file_of_a_folder_is_left_out(single, model, tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "good.pdb").write_bytes(single.read_bytes())
    (folder / "bad.pdb").write_text("ATOM nonsense\n")
    assert len(read_folder(folder).left_out) == 1
    out = tmp_path / "out"
    assert _run(folder, "--model", model, "-n", 1, "-o", out) == 1
    assert "bad.pdb: this structure is left out" in capsys.readouterr().err
    assert len(_table(out / "designs.csv")) == 1


@pytest.mark.parametrize(
    ("text", "words", "kept"),
    [
        (">a\nACGTACGTACGTACGTACGT\n", "record 1 (a) looks like DNA or RNA", 0),
        (">a\n{own}\n>b\n\n", "record 2 (b) has no residues", 1),
        (">a\n{own}\n>a\n{own}\n", "record 2 (a) has the header of record 1", 1),
        (">a\n{own}\n>b\nMKT\n", "record 2 (b) has 3 residues", 1),
        (">a\n{own}\n>b\n{x}\n", "record 2 (b): X at residue A12 is no amino acid", 1),
        (">a\n{own}\n>b\n{other}\n", "record 2 (b): has W at A11, which is fixed to M", 1),
        ("{own}\n", "line 1 stands before the first header", 0),
        ("", "holds no record", 0),
    ],
)
def test_records_that_cannot_be_scored(single, model, tmp_path, capsys, text, words, kept):
    own = read_structure(single).chains[0].sequence
    fasta, out = tmp_path / "given.fa", tmp_path / "out"
    fasta.write_text(text.format(own=own, x=f"{own[0]}X{own[2:]}", other=f"W{own[1:]}"))
    asked = ("--model", model, "--fix", "A11", "--score-only", "--fasta", fasta, "-o", out)
    assert _run(single, *asked) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1] and len(said) == 1
    assert len(_table(out / "scores.csv")) == kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--score-only",), "give --fasta FILE"),
        (("--fix", "A500"), "the nearest is A30"),
        (("--temperature", 0.1, 0.10000001), "two are equal to six digits"),
        (("--fix", "A11-29", "--tie-weight", "A:1e300"), "1e+300 is not from -100 to 100"),
        (("-n", 1000001), "'1000001' is larger than 1,000,000"),
        (("-n", 600000, "--temperature", 0.1, 0.2), "1,200,000 sequences in all"),
        (("--model", "nowhere"), "model nowhere: neither shipped nor a folder"),
        (("--bias-at", "none.csv"), "none.csv: no such file"),
        (("--structure-model", 3), "no model 3"),
    ],
)
def test_options_that_cannot_be_used(single, model, tmp_path, capsys, words, said):
    given = words if "--model" in words else (*words, "--model", model)
    assert _run(single, *given, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("error") == 1
