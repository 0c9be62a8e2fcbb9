"""``sciddiff prepare backbone`` from files to archive: good and bad files, resume, splits."""

import argparse
import csv
import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protein.commands.prepare_backbone import command
from protein.structures.archive import ChainArchive
from protein.structures.chain import Backbone
from protein.structures.filters import FilterSettings
from protein.structures.prepare import PrepareSettings, prepare_backbones
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_structure
from sciddiff.errors import InputError

LETTERS = np.asarray(list("ACDEFGHIKLMNPQRSTVWY"))


def _letters(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(LETTERS, length))


# φ, ψ of the two loops of three bundles of three helices (15 residues each), in degrees; found by
# chance among random loops: compact, free of clashes, within the default bounds.
LOOPS = np.asarray(
    [
        [[88, -80], [-142, 170], [-176, 54], [83, 154], [4, 3], [-31, -175], [51, -76], [-94, 91]],
        [[52, -40], [-78, 54], [-54, 173], [-179, 163]]
        + [[-97, -169], [-28, -50], [-33, 127], [-65, 143]],
        [[115, -98], [42, 7], [112, -153], [-105, 24]]
        + [[29, -5], [-150, 61], [149, -99], [127, 13]],
    ]
)


def _bundle(loops: np.ndarray) -> np.ndarray:
    """Three ideal helices joined by two loops."""
    helix = np.tile([-60, -45], (15, 1))
    angles = np.concatenate([helix, loops[:4], helix, loops[4:], helix])
    return backbone_from_torsions(np.radians(np.column_stack([angles, np.full(53, 180)])))


@pytest.fixture(scope="module")
def bundles() -> list[np.ndarray]:
    """Three folds."""
    return [_bundle(loops) for loops in LOOPS]


@pytest.fixture
def folder(tmp_path: Path, bundles: list[np.ndarray]) -> Path:
    """Twelve good files of six families, and one of each kind of bad file."""
    root = tmp_path / "in"
    rng = np.random.default_rng(11)
    for family in range(6):
        sequence = _letters(rng, 53)
        for member, suffix in enumerate(("pdb", "cif.gz")):
            letters = np.asarray(list(sequence))
            letters[rng.choice(53, 8, replace=False)] = rng.choice(LETTERS, 8)
            chain = Backbone.from_coords(bundles[family % 3], "".join(letters))
            write_structure(root / f"sub{member}" / f"f{family}.{suffix}", chain)
    good = Backbone.from_coords(bundles[0], _letters(rng, 53))
    write_structure(root / "dimer.pdb", [good, Backbone(good.coords, good.sequence, "B")])
    gap = np.concatenate([bundles[1], bundles[2] + 60.0])
    write_structure(root / "gap.cif", Backbone.from_coords(gap, _letters(rng, 106)))
    write_structure(root / "short.pdb", good.select(slice(0, 20)))
    helix = backbone_from_torsions(np.full((60, 3), np.nan))
    write_structure(root / "helix.pdb", Backbone.from_coords(helix))
    text = (root / "short.pdb").read_text()
    low = "HEADER    TEST\nREMARK   2\nREMARK   2 RESOLUTION.    7.50 ANGSTROMS.\n"
    (root / "low.pdb").write_text(low + (root / "dimer.pdb").read_text())
    traces = [line for line in text.splitlines(keepends=True) if line[12:16] == " CA "]
    (root / "trace.pdb").write_text("".join(traces))
    (root / "dna.pdb").write_text(text.replace(text[17:20], " DG").replace(" N  ", " P  "))
    (root / "empty.pdb").write_text("")
    (root / "words.cif").write_text("no structure here\n")
    (root / "cut.cif.gz").write_bytes(gzip.compress(b"data_x\n" * 99)[:30])
    (root / "notes.txt").write_text("not looked at")
    (root / "gone.pdb").symlink_to(root / "nowhere.pdb")
    return root


GOOD = 12 + 1 + 2
"""Families, the dimer once, two pieces of the chain with a gap."""


def run(*words: object) -> int | None:
    """Run the verb."""
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def dropped(path: Path) -> dict[str, list[str]]:
    """Reasons by file from the table."""
    table: dict[str, list[str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["file"], []).append(row["reason"])
    return table


def test_end_to_end(folder: Path, tmp_path: Path, bundles, capsys) -> None:
    out = tmp_path / "out" / "set.npz"
    assert run(folder, "-o", out, "--val", 0.2, "--test", 0.2, "--clusterer", "builtin") == 0
    archive = ChainArchive.open(out)
    assert len(archive) == GOOD and len(set(archive.ids)) == GOOD
    assert {"dimer_A", "gap_A/1-53", "gap_A/54-106", "sub0.f0_A"} <= set(archive.ids)
    row = archive.ids.index("sub1.f1_A")
    wanted = bundles[1] - bundles[1].mean((0, 1))
    assert np.abs(archive[row] - wanted).max() < 0.006
    assert archive.ss3[row].count("h") > 30
    assert archive.column("is_domain_piece").sum() == 2
    assert np.isnan(archive.column("resolution")).all()
    reasons = dropped(tmp_path / "out" / "set.dropped.csv")
    assert reasons == {
        "dimer.pdb": ["copy"],
        "short.pdb": ["too short"],
        "helix.pdb": ["not compact"],
        "low.pdb": ["resolution"],
        **{name: ["unreadable"] for name in ("trace.pdb", "dna.pdb", "empty.pdb", "words.cif")},
        "cut.cif.gz": ["unreadable"],
        "gone.pdb": ["unreadable"],
    }
    printed = capsys.readouterr().out
    assert "unreadable   6" in printed and f"kept {GOOD} chains" in printed
    summary = json.loads((tmp_path / "out" / "set.json").read_text())
    assert summary["chains"] == GOOD and summary["request"]["filters"]["max_length"] == 256
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"set.npz", "set.dropped.csv", "set.json"}


def test_families_never_straddle_splits(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    fixed = PrepareSettings(val=0.3, test=0.3, clusterer="builtin", keep_parts=True)
    for seed in range(4):
        settings = replace(fixed, seed=seed, overwrite=seed > 0)
        report = prepare_backbones(folder, out, settings)
        archive = ChainArchive.open(out)
        where = dict(zip(archive.ids, archive.splits.tolist(), strict=True))
        assert all(where[f"sub0.f{i}_A"] == where[f"sub1.f{i}_A"] for i in range(6))
        assert min(report.splits.values()) >= 2 and sum(report.splits.values()) == GOOD
        assert report.clusters[0] == 9


def test_killed_run_resumes_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    whole, again = tmp_path / "whole.npz", tmp_path / "again.npz"
    prepare_backbones(folder, whole, PrepareSettings(clusterer="builtin"))

    def kill(stage: str, done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_backbones(folder, again, PrepareSettings(clusterer="builtin"), kill)
    assert not again.exists()
    shards = list((tmp_path / "again.npz.parts").iterdir())
    assert len(shards) == 9
    shards[0].write_bytes(b"a damaged shard is read anew")
    report = prepare_backbones(folder, again, PrepareSettings(clusterer="builtin"))
    assert report.resumed == 8
    assert again.read_bytes() == whole.read_bytes()
    assert json.loads(again.with_suffix(".json").read_text())["resumed"] == 0
    one, two = (path.with_suffix(".dropped.csv") for path in (whole, again))
    assert one.read_bytes() == two.read_bytes()
    assert not (tmp_path / "again.npz.parts").exists()


def test_kept_parts_serve_new_files_and_never_stale_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    settings = PrepareSettings(keep_parts=True, overwrite=True, clusterer="builtin")
    first = prepare_backbones(folder, out, settings)
    second = prepare_backbones(folder, out, settings)
    assert (first.resumed, second.resumed) == (0, first.files)
    (folder / "empty.pdb").write_text((folder / "helix.pdb").read_text())
    third = prepare_backbones(folder, out, settings)
    assert third.resumed == first.files - 1
    assert dropped(out.with_suffix(".dropped.csv"))["empty.pdb"] == ["not compact"]
    loose = PrepareSettings(
        FilterSettings(max_rg_ratio=None, min_contacts=None), keep_parts=True, overwrite=True
    )
    fourth = prepare_backbones(folder, out, loose)
    assert fourth.resumed == 0 and fourth.chains == GOOD + 2


def test_one_odd_file_never_stops_the_run(folder: Path, tmp_path: Path, monkeypatch) -> None:
    from protein.structures import shards

    honest = shards.read_structure

    def odd(file: Path, model: int = 0):
        if file.name == "dimer.pdb":
            raise RecursionError("maximum recursion depth exceeded")
        return honest(file, model)

    monkeypatch.setattr(shards, "read_structure", odd)
    report = prepare_backbones(folder, tmp_path / "x.npz", PrepareSettings(clusterer="builtin"))
    assert report.chains == GOOD - 1 and report.dropped["failed"] == 1


def test_full_disk_stops_with_one_line(folder: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sciddiff.files.os.ftruncate", full)
    with pytest.raises(InputError, match="No space left on device.*; free some space"):
        prepare_backbones(folder, tmp_path / "x.npz")


@pytest.mark.slow
def test_processes_change_nothing(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    prepare_backbones(folder, one, PrepareSettings(clusterer="builtin"))
    prepare_backbones(folder, two, PrepareSettings(clusterer="builtin", jobs=2))
    assert one.read_bytes() == two.read_bytes()


def test_nothing_survives(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x.npz"
    with pytest.raises(InputError, match=r"no chain survived \(.*too short.*dropped.csv.*loosen"):
        run(folder, "-o", out, "--length", "200-256", "--json")
    assert not out.exists() and out.with_suffix(".dropped.csv").exists()
    assert json.loads(capsys.readouterr().out)["chains"] == 0


def test_bounds_can_be_switched_off(folder: Path, tmp_path: Path) -> None:
    off = [word for name in ("rg", "resolution", "coil") for word in (f"--max-{name}", 0)]
    run(
        folder, "-o", tmp_path / "x.npz", "--min-contacts", 0, "--breaks", "drop", "--copies", *off
    )
    ids = ChainArchive.open(tmp_path / "x.npz").ids
    assert {"helix_A", "low_A", "low_B", "dimer_B"} <= set(ids)
    assert not any(name.startswith("gap") for name in ids)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--length", "long"), "not a range"),
        (("--length", "90-40"), "impossible"),
        (("--val", 0.6, "--test", 0.6), "sum below 1"),
    ],
)
def test_wrong_options_fail_before_any_work(folder: Path, tmp_path: Path, words, message) -> None:
    with pytest.raises(InputError, match=message):
        run(folder, "-o", tmp_path / "x.npz", *words)
    assert not (tmp_path / "x.npz.parts").exists()


def test_a_finished_archive_is_left_alone_and_another_is_refused(
    folder: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "chains.npz"
    run(folder, "-o", out)
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("chains*")}
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved, symlinks=True)
    run(moved, "-o", out, "-j", 2)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("chains*")} == made
    with pytest.raises(InputError, match="is there already, made by another request: seed was 0"):
        run(folder, "-o", out, "--seed", 1)
    (moved / "more.pdb").write_text("ATOM")
    with pytest.raises(InputError, match="the content of structures .*has changed"):
        run(moved, "-o", out)


def test_wrong_paths(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        run(tmp_path / "absent", "-o", tmp_path / "x.npz")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="no structure file"):
        run(tmp_path / "bare", "-o", tmp_path / "x.npz")
    with pytest.raises(InputError, match="suffix .npz"):
        run(folder, "-o", tmp_path / "x.h5")
    (tmp_path / "old.npz").write_bytes(b"precious")
    with pytest.raises(InputError, match="is there already"):
        run(folder, "-o", tmp_path / "old.npz")
    with pytest.raises(InputError, match="is there already"):  # nor at a second try
        run(folder, "-o", tmp_path / "old.npz")
    assert (tmp_path / "old.npz").read_bytes() == b"precious"


def test_a_run_that_was_killed_before_its_record_or_its_end_is_finished(
    folder: Path, tmp_path: Path
) -> None:
    settings = PrepareSettings(clusterer="builtin", keep_parts=True)
    out, record = tmp_path / "x.npz", tmp_path / "x.json"
    parts = tmp_path / "x.npz.parts"
    prepare_backbones(folder, out, settings)
    whole = out.read_bytes()
    record.unlink()  # killed between the archive and its record
    report = prepare_backbones(folder, out, PrepareSettings(clusterer="builtin"))
    assert report.chains == GOOD and out.read_bytes() == whole
    assert record.exists() and not parts.exists()
    parts.mkdir()
    (parts / "a.npz").write_bytes(b"")  # killed before its parts were removed
    again = prepare_backbones(folder, out, PrepareSettings(clusterer="builtin"))
    assert again.chains == GOOD
    assert not parts.exists() and out.read_bytes() == whole
