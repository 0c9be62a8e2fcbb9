"""Parts shared by processes that know nothing of each other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sciddiff.cli.parts import Parts, attempt, do_all, per_machine, world

_SCRIPT = """
import os, sys, time
from pathlib import Path
from sciddiff.cli.parts import Parts, do_all

class Toy(Parts):
    directory = Path(sys.argv[1])
    def items(self):
        yield from "abcdefgh"
    def record(self, part):
        return self.directory / f"{part}.txt"
    def do(self, part, item):
        with open(self.directory / "log", "a") as log:
            log.write(f"{os.getpid()} {part}\\n")
        time.sleep(0.3 if part else 600 * (sys.argv[2] == "hang"))
        self.record(part).write_text(item)

do_all(Toy())
"""


class Toy(Parts):
    """Five parts that note in which order they were done."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.order = directory, []

    def items(self):
        yield from range(5)

    def record(self, part):
        return self.directory / f"{part}.txt"

    def do(self, part, item):
        self.order.append(part)
        self.record(part).write_text(str(item))


def _start(folder: Path, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _SCRIPT, str(folder), mode])


def _log(folder: Path) -> list[tuple[int, int]]:
    file = folder / "log"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(pid), int(part)) for pid, part in (line.split() for line in lines)]


def test_finished_parts_are_left_alone(tmp_path):
    toy = Toy(tmp_path)
    toy.record(2).write_text("2")
    seen = []
    do_all(toy, seen.append)
    assert toy.order == [0, 1, 3, 4] and seen == [0, 1, 2, 3, 4]
    do_all(toy)
    assert toy.order == [0, 1, 3, 4] and not (tmp_path / ".locks").exists()


def test_a_part_that_fails_is_tried_again(tmp_path, monkeypatch):
    toy = Toy(tmp_path)
    monkeypatch.setattr(toy, "do", lambda part, item: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attempt(toy, 0, 0)
    monkeypatch.undo()
    assert attempt(toy, 0, 0) and toy.order == [0]


def test_processes_share_parts_and_take_over_from_a_killed_one(tmp_path):
    # The first hangs in part 0; the second does all others, then waits for it.
    hanging = _start(tmp_path, "hang")
    _wait(lambda: len(_log(tmp_path)) == 1)
    others = [_start(tmp_path, "work") for _ in range(2)]
    _wait(lambda: len(_log(tmp_path)) == 8)
    time.sleep(0.5)
    assert all(process.poll() is None for process in others)
    hanging.send_signal(signal.SIGKILL)
    assert [process.wait(60) for process in others] == [0, 0]
    log = _log(tmp_path)
    assert sorted(part for _, part in log) == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert {pid for pid, part in log if part} <= {process.pid for process in others}
    assert [(tmp_path / f"{i}.txt").read_text() for i in range(8)] == list("abcdefgh")


def test_without_locks_every_process_has_its_share(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*args):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    toy = Toy(tmp_path)
    assert [attempt(toy, part, part) for part in range(4)] == [False, True, False, True]


def test_the_place_of_a_process(monkeypatch):
    for name in [*os.environ]:
        if name.startswith("SLURM") or name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            monkeypatch.delenv(name)
    assert (world().rank, world().size) == (0, 1)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert world().size == 1
    monkeypatch.setenv("SLURM_JOB_NAME", "dock")
    monkeypatch.setenv("SLURM_NNODES", "2")
    assert (world().rank, world().size, per_machine(4)) == (3, 4, 2)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (world().rank, world().size, per_machine(8)) == (5, 8, 4)


def _wait(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
