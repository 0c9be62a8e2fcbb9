"""The numbers of a run: damage of their table stops neither a resume nor passes in silence."""

from __future__ import annotations

import logging

import pytest

from sciddiff.errors import InputError
from sciddiff.training.logs import Table
from sciddiff.training.runs import METRICS, read_checkpoint


def test_rows_of_steps_that_will_be_made_again_are_dropped(tmp_path):
    table = Table(tmp_path / METRICS)
    for step in (1, 2, 3):
        table.add({"step": step, "loss": 0.5})
    Table(tmp_path / METRICS, step=2).add({"step": 3, "loss": 0.25, "val": 1.0})
    rows = ["step,loss,val", "1,0.5,", "2,0.5,", "3,0.25,1.0"]
    assert (tmp_path / METRICS).read_text().split() == rows


DAMAGES = [b"\xff\xfe\0", b"stp,loss\n1,2\n", b"step,loss\n1,2,3\n", b"step\none\n", b'step\n"1']


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_kept_aside_and_a_new_one_begins(tmp_path, damage, caplog):
    (tmp_path / METRICS).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        Table(tmp_path / METRICS, step=5).add({"step": 6, "loss": 0.5})
    if damage == b'step\n"1':  # cut after a whole row
        assert (tmp_path / METRICS).read_text().split() == ["step,loss", "1,", "6,0.5"]
        return
    assert (tmp_path / METRICS).read_text().split() == ["step,loss", "6,0.5"]
    assert (tmp_path / "metrics.damaged").read_bytes() == damage
    assert "metrics.csv: " in caplog.text and "it is kept as metrics.damaged" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x80\x02}q\0.", b"PK\3\4" + bytes(99)])
def test_damaged_checkpoints_are_told(tmp_path, damage):
    file = tmp_path / "last.ckpt"
    file.write_bytes(damage)
    with pytest.raises(InputError, match=f"^{file}: .*checkpoint of sciddiff"):
        read_checkpoint(file)
