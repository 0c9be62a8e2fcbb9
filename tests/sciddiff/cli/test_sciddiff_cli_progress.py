"""Progress speaks where there is no terminal: seldom, in whole lines, on stderr."""

import time

import pytest

from sciddiff.cli.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_short_work_says_nothing(clock, capsys):
    with progress("docking", 100) as bar:
        for second in range(14):
            clock[0] = float(second)
            bar.advance()
    assert capsys.readouterr().err == ""


def test_long_work_prints_a_line_now_and_then(clock, capsys):
    with progress("docking", 1000) as bar:
        for second in range(1, 301):
            clock[0] = float(second)
            bar.advance(1, "docking (2 failed)" if second > 100 else None)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "docking: 15 of 1000 after 15 s, about 16 min left",
        "docking: 75 of 1000 after 75 s, about 15 min left",
        "docking (2 failed): 135 of 1000 after 2 min, about 14 min left",
        "docking (2 failed): 195 of 1000 after 3 min, about 13 min left",
        "docking (2 failed): 255 of 1000 after 4 min, about 12 min left",
    ]


def test_after_an_hour_lines_are_rare_and_a_total_may_come_later(clock, capsys):
    with progress("measuring", None) as bar:
        for minute in range(1, 121):
            clock[0] = 60.0 * minute
            bar.advance(2, total=None if minute < 5 else 400)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "measuring: 2 after 60 s"
    assert lines[5] == "measuring: 12 of 400 after 6 min, about 3.2 h left"
    assert 60 <= len(lines) <= 66
    assert lines[-1].startswith("measuring: 240 of 400 after 2.0 h")


def test_nothing_is_shown_beside_json(clock, capsys):
    with progress("docking", 10, show=False) as bar:
        clock[0] = 1e6
        bar.advance()
    assert capsys.readouterr().err == ""
