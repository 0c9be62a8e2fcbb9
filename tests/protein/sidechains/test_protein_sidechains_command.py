"""`sciddiff pack` from the command line to the files, with a small untrained model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import letters
from protein.sidechains.geometry import tables, torsions
from protein.sidechains.network import SideChainNetwork
from protein.sidechains.records import side_chain_atoms
from protein.sidechains.templates import template_of
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from protein.structures.write import write_pdb
from sciddiff import checkpoint, config
from sciddiff.cli.main import main
from sciddiff.errors import InputError

NET = {"node": 16, "neighbours": 8, "encoder": 1, "decoder": 1}


def _run(*words: object) -> int:
    return main([str(word) for word in ("pack", *words)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SideChainNetwork(**NET)
    plain = config.read(
        {
            "domain": {"class_path": "protein.sidechains.domain.SideChainDomain"},
            "net": {
                "class_path": "protein.sidechains.network.SideChainNetwork",
                "init_args": NET,
            },
        }
    )
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, net.state_dict(), plain)
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory, built) -> Path:
    """Two chains of forty and twenty residues with all side chains, numbered from 11."""
    file = tmp_path_factory.mktemp("full") / "full.pdb"
    chains = []
    for name, length in (("A", 40), ("B", 20)):
        one = built(length)
        text = letters(one.tokens)
        sides = tuple(
            side_chain_atoms(letter, places)
            for letter, places in zip(text, one.atoms[:, 4:], strict=True)
        )
        shift = 0.0 if name == "A" else 60.0
        moved = tuple(
            tuple(a._replace(position=(a.position[0] + shift, *a.position[1:])) for a in side)
            for side in sides
        )
        coords = one.atoms[:, :4] + np.asarray([shift, 0.0, 0.0], np.float32)
        numbers = np.arange(11, 11 + length)
        chains.append(Backbone(coords, text, name, numbers, side_chains=moved))
    write_pdb(file, chains)
    return file


@pytest.fixture(scope="module")
def packed(model, full, tmp_path_factory) -> Path:
    """The two chains packed, with ten side chains kept."""
    out = tmp_path_factory.mktemp("packed") / "out"
    words = ("-n", 3, "--steps", 4, "--fix", "A11-20", "--write-draws")
    assert _run(full, "--model", model, *words, "-o", out) == 0
    return out


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_structures_have_every_atom_and_kept_ones_to_the_last_digit(packed, full):
    before = read_structure(full, side_chains=True)
    for suffix in ("cif", "pdb"):
        after = read_structure(packed / "packed" / f"full.{suffix}", side_chains=True)
        assert [c.sequence for c in after.chains] == [c.sequence for c in before.chains]
        template = template_of(after)
        assert template.complete.all()
        assert after.chains[0].side_chains[:10] == before.chains[0].side_chains[:10]
        assert after.chains[0].side_chains[10] != before.chains[0].side_chains[10]
        assert np.array_equal(after.chains[1].coords, before.chains[1].coords)


def test_tables_tell_what_the_files_hold(packed):
    structure = read_structure(packed / "packed" / "full.cif", side_chains=True)
    template = template_of(structure)
    angles = torsions(
        torch.from_numpy(np.nan_to_num(template.atoms)).double(), torch.from_numpy(template.tokens)
    )
    rows = _table(packed / "residues.csv")
    assert [row["residue"] for row in rows][:2] + [rows[40]["residue"]] == ["A11", "A12", "B11"]
    has = tables().chi.numpy()[template.tokens]
    for k, row in enumerate(rows):
        told = [row[f"chi{i}"] for i in range(1, 5)]
        assert [text != "" for text in told] == has[k].tolist()
        for text, angle in zip(told, np.degrees(angles[k].numpy()).tolist(), strict=True):
            # Coordinates have three decimals.
            gap = 0.0 if text == "" else (float(text) - angle + 180.0) % 360.0 - 180.0
            assert abs(gap) < 0.2
        assert 0.0 <= float(row["confidence"]) <= 1.0
    [line] = _table(packed / "structures.csv")
    drawn = has[:, 0] & (np.arange(60) >= 10)
    assert int(line["packed"]) == drawn.sum() and int(line["fixed"]) == 10
    assert [row["drawn"] for row in rows] == [str(int(flag)) for flag in drawn]
    factors = np.concatenate([chain.b_factors for chain in structure.chains])
    assert np.allclose(factors, [100 * float(r["confidence"]) for r in rows], atol=0.006)
    assert "http" not in (packed / "report.html").read_text().replace("http-equiv", "")
    assert len(list((packed / "draws").glob("full_*.cif"))) == 3


def test_the_same_command_goes_on_and_another_is_refused(packed, model, full, capsys):
    before = (packed / "packed" / "full.json").read_bytes()
    words = ("--steps", 4, "--fix", "A11-20", "--write-draws", "--model", model)
    (packed / "packed" / "full.json").unlink()
    assert _run(full, "-n", 3, *words, "-o", packed) == 0
    assert (packed / "packed" / "full.json").read_bytes() == before
    assert len(json.loads((packed / "run.json").read_text())["runs"]) == 2
    assert _run(full, "-n", 4, *words, "-o", packed) == 2
    said = capsys.readouterr().err
    assert "draws was 3 and is now 4" in said and said.count("\n") == 1


def test_other_sequences_are_packed_on_the_same_backbone(model, full, tmp_path):
    fasta = tmp_path / "two.fa"
    one, two = "W" * 40 + "/" + "K" * 20, "G" * 40 + ":" + "F" * 20
    fasta.write_text(f">one, score=1\n{one}\n>two\n{two}\n")
    words = ("--model", model, "-n", 1, "--steps", 2, "--no-report")
    assert _run(full, "--sequence", fasta, *words, "-o", tmp_path / "out") == 0
    chains = read_structure(tmp_path / "out/packed/full_two.cif", side_chains=True).chains
    assert [c.sequence for c in chains] == ["G" * 40, "F" * 20]
    assert {len(side) for side in chains[0].side_chains} == {0}
    assert {len(side) for side in chains[1].side_chains} == {7}
    assert (tmp_path / "out/packed/full_one.cif").exists()
    assert not (tmp_path / "out/report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fix", "A99"), "--fix"),
        (("--fix", "C"), "--fix"),
        (("--sequence", "none.fa"), "none.fa: no such file"),
        (("-n", "0"), "not a whole number of at least 1"),
        (("--overlap", "-1"), "not a number of at least 0"),
    ],
)
def test_bad_input_is_one_line(model, full, tmp_path, capsys, words, said):
    try:
        status = _run(full, "--model", model, "-o", tmp_path / "out", *words)
    except SystemExit as error:
        status = error.code
    assert status == 2
    text = capsys.readouterr().err
    assert said in text and "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_sequences_and_residues_that_do_not_fit_are_told(model, full, tmp_path, capsys):
    fasta = tmp_path / "bad.fa"
    fasta.write_text(">short\nAAAA\n")
    assert _run(full, "--model", model, "--sequence", fasta, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "chains of 4 residues" in said and "A of 40 and B of 20" in said
    lines = [
        line for line in full.read_text().splitlines()
        if not (line[17:20] == "TRP" and line[12:16].strip() == "CH2")
    ]  # fmt: skip
    broken = tmp_path / "broken.pdb"
    broken.write_text("\n".join(lines) + "\n")
    assert _run(broken, "--model", model, "--fix", "A", "-o", tmp_path / "out") == 2
    assert "residue A29 lacks atoms" in capsys.readouterr().err


def test_designs_get_side_chains_in_the_same_run(model, full, tmp_path, monkeypatch):
    from protein.sequence.network import GraphNetwork

    net = {"node": 16, "neighbours": 8, "encoder": 1, "decoder": 1}
    plain = config.read(
        {
            "domain": {"class_path": "protein.sequence.domain.InverseFoldingDomain"},
            "net": {"class_path": "protein.sequence.network.GraphNetwork", "init_args": net},
        }
    )
    checkpoint.save(tmp_path / "design", GraphNetwork(**net).state_dict(), plain)
    out = tmp_path / "out"
    words = ["design", full, "--model", tmp_path / "design", "-n", 2, "-o", out, "--pack", model]
    assert main([str(word) for word in words]) == 0
    names = {row["name"]: row["sequence"] for row in _table(out / "designs.csv")}
    assert len(names) == 2
    for name, sequence in names.items():
        packed = read_structure(out / "side_chains/packed" / f"{name}.cif", side_chains=True)
        assert "/".join(chain.sequence for chain in packed.chains) == sequence
        assert template_of(packed).complete.all()
    assert (out / "side_chains" / "report.html").exists()
    words[-1] = tmp_path / "nothing"
    words[words.index(out)] = tmp_path / "other"
    assert main([str(word) for word in words]) == 2
    assert not (tmp_path / "other" / "designs").exists()


def test_samples_of_the_domain_are_written_and_measured_beside_known_ones(model, full, tmp_path):
    out = tmp_path / "samples"
    words = ["sample", "--model", model, "-n", 2, "--steps", 3, "-o", out]
    words += ["--request", f"structures={full}"]
    assert main([str(word) for word in words]) == 0
    files = sorted(out.glob("*.cif"))
    assert [file.name for file in files] == ["full_1.cif", "full_2.cif"]
    assert template_of(read_structure(files[0], side_chains=True)).complete.all()
    # The file of a structure beside itself is without error, a drawn one is not.
    known, drawn = tmp_path / "known", tmp_path / "drawn"
    for folder in (known, drawn):
        folder.mkdir()
    (known / "full.pdb").write_bytes(full.read_bytes())
    (drawn / "full.cif").write_bytes(files[0].read_bytes())
    domain = checkpoint.load(model, "cpu").domain
    same, other = domain.evaluate(known, known), domain.evaluate(drawn, known)
    assert same["chi12_20"] == 1.0 and same["rmsd"] == 0.0
    assert other["chi1_20"] < 0.7 and other["rmsd"] > 1.0
    assert same["residues"] == other["residues"] == 54
    with pytest.raises(InputError, match="measured beside known ones"):
        domain.evaluate(drawn, None)
    with pytest.raises(InputError, match="no file has the name"):
        domain.evaluate(out, known)
