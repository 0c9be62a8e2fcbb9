"""Folders of samples: one request each, and a record that only grows."""

import json
from pathlib import Path

import pytest

from sciddiff.cli.campaign import RECORD, Campaign
from sciddiff.errors import InputError


def _read(folder: Path) -> dict:
    return json.loads((folder / RECORD).read_text())


def test_a_folder_belongs_to_one_request(tmp_path):
    folder = tmp_path / "designs"
    for _ in range(2):
        Campaign.open(folder, {"steps": 20, "seed": 0})
    with pytest.raises(InputError, match="differs in steps"):
        Campaign.open(folder, {"steps": 50, "seed": 0})
    assert _read(folder) == {"request": {"steps": 20, "seed": 0}}


def test_what_was_recorded_of_the_first_call_stays(tmp_path):
    first = Campaign.open(tmp_path, {"seed": 0}, "sciddiff sample -n 3")
    first.ran(3, 1.5, "sciddiff sample -n 3", torch="2.13", model={"format": 1})
    (tmp_path / "a.csv").touch()
    first.finish(0, [tmp_path / "a.csv"])
    again = Campaign.open(tmp_path, {"seed": 0}, "sciddiff sample -n 5")
    assert again.finished(0) and not again.finished(1)
    again.ran(2, 0.25, "sciddiff sample -n 5", torch="2.14")
    assert _read(tmp_path) == {
        "request": {"seed": 0},
        "command": "sciddiff sample -n 3",
        "runs": [
            {"made": 3, "seconds": 1.5},
            {"made": 2, "seconds": 0.25, "command": "sciddiff sample -n 5"},
        ],
        "done": {"0": ["a.csv"]},
        "torch": "2.13",
        "model": {"format": 1},
    }
    assert again.record == _read(tmp_path)
    (tmp_path / "a.csv").unlink()
    assert not again.finished(0)


@pytest.mark.parametrize("text", ["not json", "[1]", "{}", '{"request": 3}'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match="run.json: is not a record"):
        Campaign.open(tmp_path, {})


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "designs").touch()
    with pytest.raises(InputError, match="is a file"):
        Campaign.open(tmp_path / "designs", {})
