"""Folders of results: one request each, known by its content, and a record that only grows."""

import json
import os
import shutil
from multiprocessing import get_context
from pathlib import Path

import pytest

from sciddiff.cli import fingerprint
from sciddiff.cli.campaign import RECORD, Campaign
from sciddiff.cli.fingerprint import Inputs, changed
from sciddiff.errors import InputError


def _read(folder: Path) -> dict:
    return json.loads((folder / RECORD).read_text())


def test_a_folder_belongs_to_one_request(tmp_path):
    folder = tmp_path / "designs"
    for _ in range(2):
        Campaign.open(folder, {"steps": 20, "seed": 0})
    wanted = "another command: steps was 20 and is now 50; choose another -o$"
    with pytest.raises(InputError, match=wanted):
        Campaign.open(folder, {"steps": 50, "seed": 0})
    assert _read(folder) == {"request": {"steps": 20, "seed": 0}}


def test_what_was_recorded_of_the_first_call_stays(tmp_path):
    first = Campaign.open(tmp_path, {"seed": 0}, "sciddiff sample -n 3")
    first.ran(3, 1.5, "sciddiff sample -n 3", torch="2.13", model={"format": 1})
    again = Campaign.open(tmp_path, {"seed": 0}, "sciddiff sample -n 5")
    again.ran(2, 0.25, "sciddiff sample -n 5", torch="2.14")
    assert _read(tmp_path) == {
        "request": {"seed": 0},
        "command": "sciddiff sample -n 3",
        "runs": [
            {"made": 3, "seconds": 1.5},
            {"made": 2, "seconds": 0.25, "command": "sciddiff sample -n 5"},
        ],
        "torch": "2.13",
        "model": {"format": 1},
    }
    assert again.record == _read(tmp_path)


def test_a_call_that_made_nothing_changes_nothing(tmp_path):
    Campaign.open(tmp_path, {"seed": 0}, "first").ran(3, 1.5)
    before = (tmp_path / RECORD).read_bytes(), (tmp_path / RECORD).stat().st_mtime_ns
    again = Campaign.open(tmp_path, {"seed": 0}, "second")
    again.ran(0, 0.1, "second", torch="2.14")
    again.note()
    assert ((tmp_path / RECORD).read_bytes(), (tmp_path / RECORD).stat().st_mtime_ns) == before


def test_facts_of_a_call_that_was_killed_before_it_told_are_recorded(tmp_path):
    Campaign.open(tmp_path, {"seed": 0}, "first")
    Campaign.open(tmp_path, {"seed": 0}, "first", begun=True).ran(0, 0.2, "first", torch="2.13")
    found = Campaign.open(tmp_path, {"seed": 0}, "first", begun=True)
    assert found.facts["torch"] == "2.13" and [run["made"] for run in found.runs] == [0]


def test_a_command_that_failed_does_not_block_the_right_one(tmp_path):
    wrong, right = "sciddiff backbone --length 900", "sciddiff backbone --length 90"
    Campaign.open(tmp_path, {"length": 900}, wrong, begun=False)
    Campaign.open(tmp_path, {"length": 90}, right, begun=False)
    assert _read(tmp_path) == {"request": {"length": 90}, "command": right}
    with pytest.raises(InputError, match="length was 90 and is now 80"):
        Campaign.open(tmp_path, {"length": 80}, right, begun=True)


def test_the_record_of_another_verb_is_never_replaced(tmp_path):
    Campaign.open(tmp_path, {"box": 1}, "sciddiff dock -o x")
    before = _read(tmp_path)
    with pytest.raises(InputError, match="another command"):
        Campaign.open(tmp_path, {"length": 80}, "sciddiff backbone -o x", begun=False)
    other = tmp_path / "other"
    Campaign.open(other, {"length": 8}, "sciddiff backbone").ran(3, 1.0)
    with pytest.raises(InputError, match="another command"):
        Campaign.open(other, {"length": 80}, "sciddiff backbone", begun=False)
    assert _read(tmp_path) == before


def _add(folder: Path, number: int) -> None:
    for _ in range(20):
        Campaign.open(folder, {"seed": 0}).ran(number, 0.0)


def test_processes_that_record_at_once_lose_nothing(tmp_path):
    Campaign.open(tmp_path, {"seed": 0})
    context = get_context("fork")
    running = [context.Process(target=_add, args=(tmp_path, number)) for number in (1, 2)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(run["made"] for run in _read(tmp_path)["runs"]) == [1] * 20 + [2] * 20
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


@pytest.mark.parametrize("text", ["not json", "[1]", "{}", '{"request": 3}'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    for begun in (True, False):
        with pytest.raises(InputError, match="run.json: damaged, or not a .*remove it"):
            Campaign.open(tmp_path, {}, begun=begun)
    assert (tmp_path / RECORD).read_text() == text


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "designs").touch()
    with pytest.raises(InputError, match="is a file"):
        Campaign.open(tmp_path / "designs", {})


def test_a_request_is_the_content_of_what_it_reads(tmp_path):
    motif, out = tmp_path / "motif.pdb", tmp_path / "out"
    motif.write_text("ATOM 1")
    Campaign.open(out, {}, inputs=Inputs().add("--motif", motif))
    moved = tmp_path / "elsewhere" / "other.pdb"
    moved.parent.mkdir()
    shutil.move(motif, moved)
    Campaign.open(out, {}, inputs=Inputs().add("--motif", moved))
    assert _read(out)["inputs"]["--motif"]["path"] == str(motif)
    stamp = moved.stat()
    moved.write_text("ATOM 2")
    os.utime(moved, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    wanted = r"the content of --motif \(.*other.pdb\) has changed; .*, or restore what was read"
    with pytest.raises(InputError, match=wanted):
        Campaign.open(out, {}, inputs=Inputs().add("--motif", moved))
    with pytest.raises(InputError, match="--motif is missing now"):
        Campaign.open(out, {})


def test_a_folder_is_its_files_and_their_names(tmp_path):
    for name, text in (("a/x.nc", "1"), ("a/b/y.nc", "2"), ("a/.hidden", "3")):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    before = Inputs().add("data", tmp_path / "a").entries
    (tmp_path / "a" / ".hidden").write_text("4")
    assert changed(before, Inputs().add("data", tmp_path / "a").entries) == []
    (tmp_path / "a" / "b" / "y.nc").rename(tmp_path / "a" / "b" / "z.nc")
    found = changed(before, Inputs().add("data", tmp_path / "a").entries)
    assert found == [f"the content of data ({tmp_path / 'a'}) has changed"]


def test_the_order_and_places_of_several_files_do_not_count(tmp_path):
    files = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for file in files:
        file.write_text(file.name)
    before = Inputs().add_all("files", files).entries
    assert changed(before, Inputs().add_all("files", files[::-1]).entries) == []
    assert changed(before, Inputs().add_all("files", files[:1]).entries) != []


def test_a_large_file_is_read_again_only_if_it_was_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "LARGE", 4)
    file = tmp_path / "era5.nc"
    file.write_text("values")
    first = Inputs().add("data", file).entries["data"]
    monkeypatch.setattr(fingerprint, "_file", lambda path: pytest.fail("read again"))
    assert Inputs().add("data", file, first).entries["data"] == first
    several = {"parts": [first]}
    assert Inputs().add_all("data", [file], several).entries["data"]["parts"] == [first]
    monkeypatch.undo()
    monkeypatch.setattr(fingerprint, "LARGE", 4)
    file.write_text("VALUES")
    stamp = first["changed"] + 1_000_000
    os.utime(file, ns=(stamp, stamp))
    assert Inputs().add("data", file, first).entries["data"]["sha256"] != first["sha256"]


def test_a_model_is_its_weights_and_configuration():
    meta = {"sha256": {"config.yaml": "1", "model.safetensors": "2"}, "command": "x"}
    one = Inputs().add_model("--model", meta, "lite").entries
    two = Inputs().add_model("--model", {**meta, "command": "y"}, "models/lite").entries
    assert changed(one, two) == []
    other = {"sha256": {"config.yaml": "1", "model.safetensors": "3"}}
    found = changed(one, Inputs().add_model("--model", other, "lite").entries)
    assert found == ["the content of --model (lite) has changed"]
    assert Inputs().add_text("-l", "CCO").entries != Inputs().add_text("-l", "CCN").entries


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.pdb: no such file"):
        Inputs().add("--motif", tmp_path / "absent.pdb")


def test_nan_is_itself_and_a_tuple_is_its_list(tmp_path):
    request = {"value": float("nan"), "pair": (1, 2)}
    Campaign.open(tmp_path, request).ran(1, 0.5)
    assert len(Campaign.open(tmp_path, {**request, "pair": [1, 2]}).runs) == 1
    with pytest.raises(InputError, match="value was NaN and is now 1.0"):
        Campaign.open(tmp_path, {**request, "value": 1.0})
