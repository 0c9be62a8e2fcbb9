"""A library shared by processes: the same files as from one, after a kill as well."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("Bio")
from rdkit.Chem import SDMolSupplier

from protein.docking.campaign.library import CampaignSettings, LibraryParts, dock_parts
from protein.docking.campaign.output import RESULTS
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.campaign import Campaign
from sciddiff.errors import InputError
from sciddiff.names import escape, text_of

_TINY = SearchSettings(chains=8, rounds=1, evaluations=4, archive=8, final=10)
_LIBRARY = ["Oc1ccccc1 phenol", "not_a_smiles bad", "CCO.CCN salt", "CC(=O)Nc1ccccc1 phenol",
            "OC(=O)c1ccccc1 acid", "NCCc1ccccc1 amine"]  # fmt: skip

_PROCESS = """
import pickle, sys
from pathlib import Path
make = pickle.loads(Path(sys.argv[1]).read_bytes())
from protein.docking.campaign.library import dock_parts
from sciddiff.cli.campaign import Campaign
if __name__ == "__main__":
    dock_parts(make, Campaign.open(make.out, {}))
"""


class Maker:
    """Makes the library in any process."""

    def __init__(self, source: Path, out: Path, receptor: Receptor, box: Box) -> None:
        self.source, self.out, self.receptor, self.box = source, out, receptor, box

    def __call__(self) -> LibraryParts:
        settings = CampaignSettings(batch=2, part=2)
        return LibraryParts(str(self.source), self.docker, self.out, self.source, settings)

    def docker(self) -> Docker:
        EFFORTS["fast"] = _TINY
        settings = DockSettings(poses=3, conformers=1, effort="fast")
        return Docker(self.receptor, self.box, settings)


@pytest.fixture
def maker(tmp_path, conformer, imprint, monkeypatch):
    """Maker of the library into some folder."""
    monkeypatch.setitem(EFFORTS, "fast", _TINY)
    source = tmp_path / "library.smi"
    source.write_text("\n".join(_LIBRARY) + "\n")
    box = box_around(conformer, 4.0)
    return lambda name: Maker(source, tmp_path / name, imprint, box)


def _content(folder: Path) -> dict[str, object]:
    """Every file but the record, without times."""
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.name == RESULTS:
            found[name] = [{**row, "seconds": ""} for row in csv.DictReader(file.open())]
        elif file.suffix == ".json" and file.parent.name == "rows":
            found[name] = [{**row, "seconds": ""} for row in json.loads(file.read_text())]
        elif file.is_file() and file.name != "run.json":
            found[name] = file.read_bytes()
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_make_what_one_makes(maker):
    one, two = maker("one"), maker("two")
    rows = dock_parts(one, Campaign.open(one.out, {}))
    assert [row.status for row in rows] == ["ok", "failed", "failed", "ok", "ok", "ok"]
    seen = []
    dock_parts(two, Campaign.open(two.out, {}), 2, lambda *counts: seen.append(counts))
    assert _content(one.out) == _content(two.out)
    assert (sum(done for done, _ in seen), sum(bad for _, bad in seen)) == (6, 2)
    record = json.loads((two.out / "run.json").read_text())
    assert record["runs"][0]["made"] == 6
    # Again: nothing is done.
    stamps = [file.stat().st_mtime_ns for file in sorted((two.out / "poses").iterdir())]
    assert len(dock_parts(two, Campaign.open(two.out, {}))) == 6
    assert stamps == [file.stat().st_mtime_ns for file in sorted((two.out / "poses").iterdir())]


def test_a_killed_campaign_goes_on(maker, monkeypatch):
    one, two = maker("one"), maker("two")
    dock_parts(one, Campaign.open(one.out, {}))
    Campaign.open(two.out, {})
    child = os.fork()
    if child == 0:  # stops for good in the middle of the second part, its poses half written
        write = LibraryParts._written

        def hang(self, row, ligand, result):
            if row.index == 3:
                (two.out / "poses" / "phenol_2.sdf").write_text("half")
                time.sleep(600)
            return write(self, row, ligand, result)

        LibraryParts._written = hang
        try:
            dock_parts(two, Campaign.open(two.out, {}))
        finally:
            os._exit(0)
    half = two.out / "poses" / "phenol_2.sdf"
    end = time.monotonic() + 60
    while time.monotonic() < end and not (half.exists() and half.read_text() == "half"):
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert half.read_text() == "half" and not (two.out / RESULTS).exists()
    done = (two.out / "rows" / "000000.json").stat().st_mtime_ns
    dock_parts(two, Campaign.open(two.out, {}))
    assert _content(one.out) == _content(two.out)
    assert (two.out / "rows" / "000000.json").stat().st_mtime_ns == done


def test_appended_ligands_are_docked_and_nothing_else(maker):
    make = maker("out")
    lines = make.source.read_text().splitlines(keepends=True)
    make.source.write_text("".join(lines[:3]))
    dock_parts(make, Campaign.open(make.out, {}))
    before = {file: file.stat().st_mtime_ns for file in (make.out / "poses").iterdir()}
    make.source.write_text("".join([*lines, "CCO ethanol\n"]))
    seen = []
    rows = dock_parts(make, Campaign.open(make.out, {}), 1, lambda *counts: seen.append(counts))
    assert [row.name for row in rows] == [
        "phenol", "bad", "salt", "phenol_2", "acid", "amine", "ethanol"
    ]  # fmt: skip
    assert sum(done for done, _ in seen) == 7
    assert (
        before.items()
        <= {file: file.stat().st_mtime_ns for file in (make.out / "poses").iterdir()}.items()
    )
    runs = json.loads((make.out / "run.json").read_text())["runs"]
    assert [run["made"] for run in runs] == [3, 4]
    # What is docked one after the other is what is docked at once.
    whole = maker("whole")
    dock_parts(whole, Campaign.open(whole.out, {}))
    assert _content(whole.out) == _content(make.out)
    # Once more: nothing changes.
    stamps = {file: file.stat().st_mtime_ns for file in make.out.rglob("*") if file.is_file()}
    dock_parts(make, Campaign.open(make.out, {}))
    assert stamps == {f: f.stat().st_mtime_ns for f in make.out.rglob("*") if f.is_file()}


def test_changed_and_lost_ligands_are_refused(maker):
    make = maker("out")
    dock_parts(make, Campaign.open(make.out, {}))
    text = make.source.read_text()
    make.source.write_text(text.replace("CC(=O)N", "CC(=S)N"))
    with pytest.raises(InputError, match=r"ligand 4 \(phenol_2\) is not the one that was docked"):
        dock_parts(make, Campaign.open(make.out, {}))
    make.source.write_text(text.replace(" amine", " amide"))
    with pytest.raises(InputError, match="ligand 6"):
        dock_parts(make, Campaign.open(make.out, {}))
    for kept in (5, 4):
        make.source.write_text("\n".join(text.splitlines()[:kept]))
        with pytest.raises(InputError, match=f"has {kept} ligands, fewer than were docked"):
            dock_parts(make, Campaign.open(make.out, {}))


def test_rows_are_recorded_batch_by_batch(maker, monkeypatch):
    """What was docked before a failure is not docked again, within a part too."""
    make = maker("out")

    def whole_part() -> LibraryParts:
        settings = CampaignSettings(batch=1, part=16)
        return LibraryParts(str(make.source), make.docker, make.out, make.source, settings)

    docked = []
    dock = Docker.dock

    def full(self, ligands, numbers):
        if len(docked) == 2:
            raise OSError("disk")
        docked.extend(numbers)
        return dock(self, ligands, numbers)

    monkeypatch.setattr(Docker, "dock", full)
    with pytest.raises(OSError, match="disk"):
        dock_parts(whole_part, Campaign.open(make.out, {}))
    monkeypatch.undo()
    monkeypatch.setitem(EFFORTS, "fast", _TINY)
    later = []

    def count(self, ligands, numbers):
        later.extend(numbers)
        return dock(self, ligands, numbers)

    monkeypatch.setattr(Docker, "dock", count)
    rows = dock_parts(whole_part, Campaign.open(make.out, {}))
    assert sorted([*docked, *later]) == [0, 3, 4, 5] and len(docked) == 2
    assert [row.index for row in rows] == [1, 2, 3, 4, 5, 6]


def test_names_are_unique_and_safe_in_files_and_tables(maker):
    make = maker("out")
    make.source = make.source.with_suffix(".csv")
    names = ["a", "a", "a_2", "A", "a/b", "a_b_5", "a_b", "=cmd|' /C calc'!A0", '"x\n$$$$"', ""]
    lines = [f"{'C' * (i + 1)}O,{name}" for i, name in enumerate(names)]
    make.source.write_text("\n".join(["smiles,name", *lines]) + "\n")
    rows = dock_parts(make, Campaign.open(make.out, {}))
    assert all(row.status == "ok" for row in rows), [row.reason for row in rows]
    given = [row.name for row in rows]
    assert given[:7] == ["a", "a_2", "a_2_2", "A_3", "a/b", "a_b_5", "a_b_2"]
    assert given[8:] == ["x", "library_10"]
    files = [make.out / row.file for row in rows]
    assert len({file.name.lower() for file in files}) == len(names)
    for file, row in zip(files, rows, strict=True):
        records = [mol for mol in SDMolSupplier(str(file))]
        assert len(records) == int(row.poses) and {m.GetProp("_Name") for m in records} == {
            row.name
        }
    with (make.out / RESULTS).open(newline="") as stream:
        table = sorted(csv.DictReader(stream), key=lambda row: int(row["index"]))
    for cells, name in zip(table, names, strict=True):
        assert not cells["name"].startswith("=") and not cells["title"].startswith("=")
        assert text_of(cells["title"]) == escape(name.strip('"'))


def test_a_molecule_that_cannot_be_written_is_a_row(maker, monkeypatch):
    from protein.docking.campaign import output as campaign

    def explode(path, name, *rest):
        if name == "acid":
            raise RuntimeError("boom")
        return write(path, name, *rest)

    write = campaign.write_sdf
    monkeypatch.setattr(campaign, "write_sdf", explode)
    make = maker("out")
    rows = dock_parts(make, Campaign.open(make.out, {}))
    assert rows[4].status == "failed" and "boom" in rows[4].reason
    assert [row.status for row in rows].count("ok") == 3


def test_damaged_rows_are_named(maker):
    make = maker("out")
    dock_parts(make, Campaign.open(make.out, {}))
    (make.out / "rows" / "000001.json").write_text("[{")
    with pytest.raises(InputError, match="000001.json: is damaged"):
        dock_parts(make, Campaign.open(make.out, {}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_of_torchrun_share_a_library(maker, tmp_path):
    import pickle

    one, two = maker("one"), maker("two")
    dock_parts(one, Campaign.open(one.out, {}))
    (tmp_path / "make.pickle").write_bytes(pickle.dumps(two))
    script = tmp_path / "share.py"
    script.write_text(_PROCESS)
    root = Path(__file__).resolve().parents[4]
    path = os.pathsep.join(
        [str(root), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    # The environment that torchrun gives its processes, without its meeting over a network, which
    # not every machine allows.
    given = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    given |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    given |= {"MASTER_PORT": "29512", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "make.pickle")],
            env={**given, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert _content(one.out) == _content(two.out)
