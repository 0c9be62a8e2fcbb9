"""Reading with side chains, archives of them, `sciddiff prepare pack`, and training batches."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS, letters
from protein.sidechains.archive import SideChainArchive
from protein.sidechains.data import SideChainData, SideChainDataSettings, cropped
from protein.sidechains.records import side_chain_atoms
from protein.sidechains.samples import CHI, angles_of, sample_of
from protein.sidechains.templates import OTHER, template_of
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from protein.structures.write import write_pdb
from sciddiff.cli.main import main
from sciddiff.errors import InputError


def chain_of(template, name="A", drop=()):
    text = letters(template.tokens)
    sides = [
        side_chain_atoms(letter, places)
        for letter, places in zip(text, template.atoms[:, 4:], strict=True)
    ]
    for row in drop:
        sides[row] = sides[row][:-1]
    return Backbone(template.atoms[:, :4], text, name, side_chains=tuple(sides))


@pytest.fixture(scope="module")
def structures(tmp_path_factory, built):
    """Twelve unrelated proteins, one of them with a ligand, and what is none."""
    folder = tmp_path_factory.mktemp("structures")
    rng = np.random.default_rng(0)
    for k in range(12):
        text = "".join(rng.choice(list(LETTERS), 60))
        template = built(60, k, sequence=text)
        write_pdb(folder / f"p{k:02d}.pdb", [chain_of(template, drop=(5,) if k == 3 else ())])
    file = folder / "p00.pdb"
    lines = file.read_text().splitlines()[:-1]
    for number, (name, element) in enumerate(
        [("C1", "C"), ("O1", "O"), ("ZN", "ZN"), ("H1", "H")]
    ):
        x = 2.0 * number
        lines.append(
            f"HETATM{9000 + number:5d} {name:<4s} LIG B 900    {x:8.3f}{1.0:8.3f}{2.0:8.3f}"
            f"  1.00  0.00          {element:>2s}"
        )
    lines.append(
        f"HETATM{9010:5d} {'O':<4s} HOH B 901    {0.0:8.3f}{0.0:8.3f}{0.0:8.3f}"
        "  1.00  0.00           O"
    )
    file.write_text("\n".join([*lines, "END"]) + "\n")
    (folder / "broken.pdb").write_text("HEADER\n")
    return folder


@pytest.fixture(scope="module")
def archive(structures, tmp_path_factory):
    out = tmp_path_factory.mktemp("archive") / "sides.npz"
    words = ("prepare", "pack", structures, "-o", out, "--val", "0.2", "--test", "0")
    assert main([str(word) for word in words]) == 0
    return out


def test_atoms_around_are_read_without_water_and_hydrogen(structures):
    found = read_structure(structures / "p00.pdb", side_chains=True)
    assert [(a.name, a.element) for a in found.surroundings] == [
        ("C1", "C"), ("O1", "O"), ("ZN", "ZN")]  # fmt: skip
    assert found.surroundings[2] == ("ZN", "ZN", (4.0, 1.0, 2.0), "LIG", "B", 900, "")
    assert read_structure(structures / "p00.pdb").surroundings == ()
    template = template_of(found)
    assert template.around_elements.tolist() == [0, 2, OTHER]
    assert template.complete.all() and len(template) == 60


def test_an_incomplete_residue_is_known_as_one(structures):
    template = template_of(read_structure(structures / "p03.pdb", side_chains=True))
    whole = np.ones(60, dtype=bool)
    whole[5] = len(chain_of_atoms(template, 5)) == 0
    assert template.complete.tolist() == whole.tolist()
    sample = sample_of(template, known=True)
    assert sample.drawn.tolist() == whole.tolist() and not sample.fixed.any()
    assert sample_of(template, np.ones(60, bool)).fixed.tolist() == whole.tolist()


def chain_of_atoms(template, row):
    from protein.sidechains.internal import side_atoms

    return side_atoms()[LETTERS[template.tokens[row]]]


def test_an_archive_gives_back_what_the_files_hold(archive, structures):
    found = {}
    for split in ("train", "val"):
        view = SideChainArchive(archive, split)
        found |= {one.name: one for one in (view[k] for k in range(len(view)))}
    assert sorted(found) == [f"p{k:02d}" for k in range(12)]
    for name in ("p00", "p03"):
        before = template_of(read_structure(structures / f"{name}.pdb", side_chains=True))
        after = found[name]
        shift = np.nanmean(after.atoms - before.atoms, axis=(0, 1))
        assert np.nanmax(np.abs(after.atoms - before.atoms - shift)) < 0.006
        assert np.array_equal(np.isnan(after.atoms), np.isnan(before.atoms))
        assert np.array_equal(after.tokens, before.tokens)
        assert np.allclose(after.around - shift, before.around, atol=0.006)
        assert np.array_equal(after.around_elements, before.around_elements)
        assert np.array_equal(after.index, before.index)
    record = json.loads(archive.with_suffix(".json").read_text())
    assert record["structures"] == 12 and record["files"] == 13
    assert record["splits"] == {"train": 10, "val": 2, "test": 0}
    assert list(record["dropped"]) == ["broken.pdb"]
    assert record["complete"] == sum(int(one.complete.sum()) for one in found.values()) < 720


def test_preparing_again_reads_nothing_and_another_request_is_refused(archive, structures, capsys):
    before = archive.read_bytes()
    words = ["prepare", "pack", str(structures), "-o", str(archive), "--test", "0"]
    assert main([*words, "--val", "0.2"]) == 0
    assert archive.read_bytes() == before
    assert main([*words, "--val", "0.3"]) == 2
    assert "val was 0.2 and is now 0.3" in capsys.readouterr().err
    assert main([*words[:5], "--length", "x"]) == 2
    assert "--length x: not a range" in capsys.readouterr().err


def test_another_archive_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "other.npz", atoms=np.zeros(3))
    with pytest.raises(InputError, match="lacks scale"):
        SideChainArchive(tmp_path / "other.npz", "train")
    with pytest.raises(InputError, match="no such archive"):
        SideChainArchive(tmp_path / "none.npz", "train")


def test_batches_depend_on_seed_and_epoch_and_cover_every_cluster(archive):
    settings = SideChainDataSettings(str(archive), budget=150)
    data = SideChainData(settings, "train")
    batches = list(data.batches(0, 0))
    names = sorted(name for batch in batches for name in batch.ids)
    assert len(names) == len(set(names)) == len(np.unique(data.archive.clusters))
    again = list(SideChainData(settings, "train").batches(0, 0))
    for one, two in zip(batches, again, strict=True):
        assert torch.equal(one.x[CHI], two.x[CHI])
        assert torch.equal(one.cond["atoms"].nan_to_num(), two.cond["atoms"].nan_to_num())
    other = list(data.batches(1, 0))
    assert [b.ids for b in other] != [b.ids for b in batches]
    whole = list(SideChainData(settings, "val").whole())
    assert sum(b.size for b in whole) == 2 and all((b.cond["noise"] == 0).all() for b in whole)


def test_noise_is_told_and_moves_the_backbone_alone(archive):
    settings = SideChainDataSettings(
        str(archive), noise=0.2, exact_share=0.0, held_share=1.0, bare_share=0.0
    )
    batches = list(SideChainData(settings, "train").batches(0, 0))
    plain = {one.name: one for one in (SideChainArchive(archive, "train")[k] for k in range(10))}
    held = []
    for batch in batches:
        fixed = angles_of(batch.layouts[CHI].fixed)
        mask = angles_of(batch.layouts[CHI].mask)
        assert not (fixed & ~mask).any()
        for k, name in enumerate(batch.ids):
            gap = batch.cond["atoms"][k][:60].numpy() - plain[name].atoms[:, :4]
            told = float(batch.cond["noise"][k])
            assert np.std(gap) == pytest.approx(told, rel=0.15)
            known = angles_of(batch.x[CHI])[k][:60].numpy()
            exact = sample_of(plain[name], known=True)
            single = exact.drawn & (exact.chi[:, 0] != 0.0)
            assert np.allclose(np.cos(known[single, 0]), np.cos(exact.chi[single, 0]), atol=1e-5)
            held.append(float(fixed[k].sum() / mask[k].sum()))
    assert 0.0 <= min(held) < 0.3 and 0.5 < max(held) < 1.0


def test_a_crop_holds_the_rim_and_keeps_the_atoms_around_it(made):
    template = replace(made(120, around=0), around=np.zeros((2, 3), np.float32),
                       around_elements=np.zeros(2, np.int64))  # fmt: skip
    template.around[1] = 400.0
    rows = np.linalg.norm(template.atoms[:, 1], axis=-1)
    template.around[0] = template.atoms[int(rows.argmin()), 1] + 3.0
    found, inner = cropped(template, 60, np.random.default_rng(3))
    assert len(found) == 60 and inner.sum() == 42
    assert (np.diff(found.index) > 0).all()
    alpha = found.atoms[:, 1]
    chosen = np.flatnonzero(inner)
    assert any(
        np.linalg.norm(alpha[inner] - alpha[c], axis=-1).max()
        <= np.linalg.norm(alpha[~inner] - alpha[c], axis=-1).min() + 1e-4
        for c in chosen
    )
    assert len(found.around) <= 1
    same, every = cropped(template, 200, np.random.default_rng(0))
    assert same is template and every.all()
