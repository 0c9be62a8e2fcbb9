"""Damaged files end in one line that names them: no internal error, no hang, no silence.

Every kind of file is damaged in many ways, and read in this process. What must come is either a
result or one `InputError` whose line names the file; and where checksums protect a file, a result
must be the undamaged one.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import warnings
from functools import cache
from pathlib import Path

import pytest
from fuzz_kinds import KINDS, Kind, told
from fuzz_mutators import mutate

from sciddiff.errors import InputError, MissingExtra

MOST_SECONDS = 20  # of the processor; of the clock six times as much, where others are at work
MOST_BYTES = 6 * 2**30


class Hang(BaseException):
    """A reader has taken too long."""


_TIMERS = {signal.ITIMER_REAL: signal.SIGALRM, signal.ITIMER_PROF: signal.SIGPROF}


def _ring(number, frame):
    raise Hang


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """A reader that asks for more than a few gigabytes fails, and takes nothing down with it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    """Make a good file of a kind, and read it: its path and a checksum of what was read."""

    @cache
    def make(kind: Kind) -> tuple[Path, str]:
        path = tmp_path_factory.mktemp("seed") / kind.name
        kind.make(path)
        return path, told(kind.read(path))

    return make


def _damage(kind: Kind, good: Path, path: Path, draw: random.Random) -> str:
    """Write a damaged copy; what was damaged."""
    if good.is_file():
        path.write_bytes(mutate(good.read_bytes(), draw))
        return good.name
    shutil.copytree(good, path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)
    file = draw.choice(files)
    if draw.random() < 0.1:
        file.unlink()
    else:
        file.write_bytes(mutate(file.read_bytes(), draw))
    return str(file.relative_to(path))


def _judge(kind: Kind, path: Path, expected: str) -> str:
    """What is wrong with how a damaged file was read; empty if nothing is."""
    before = [(number, signal.signal(number, _ring)) for number in _TIMERS.values()]
    for timer in _TIMERS:
        signal.setitimer(timer, MOST_SECONDS * (6 if timer == signal.ITIMER_REAL else 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = told(kind.read(path))
    except (InputError, MissingExtra) as error:
        line = str(error)
        if "\n" in line or "internal error" in line:
            return f"is no line: {line!r}"
        named = path.name in line or line.partition(":")[0] in kind.fields
        return "" if named else f"does not name the file: {line}"
    except Hang:
        return "hangs"
    except Exception as error:
        return f"internal error {type(error).__name__}: {error}"[:300]
    finally:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        for number, handler in before:
            signal.signal(number, handler)
    return "damage accepted" if kind.checked and read != expected else ""


def fuzz(seed, folder: Path, kind: Kind, number: int, start: int) -> list[str]:
    """Damage a kind of file a number of times; what went wrong."""
    for package in kind.needs:
        pytest.importorskip(package, exc_type=ImportError)
    good, expected = seed(kind)
    wrong, draw = [], random.Random(f"{kind.name} {start}")
    for count in range(number):
        place = folder / f"{count}"
        place.mkdir()
        damaged = _damage(kind, good, place / kind.name, draw)
        fault = _judge(kind, place / kind.name, expected)
        if fault:
            wrong.append(f"{place / kind.name} ({damaged}): {fault}")
        else:
            shutil.rmtree(place)
    return wrong


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damage_has_a_name(seed, tmp_path, kind):
    wrong = fuzz(seed, tmp_path, kind, number=13, start=0)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damage_has_a_name_in_the_long_run(seed, tmp_path, kind):
    wrong = fuzz(seed, tmp_path, kind, number=10_000 // len(KINDS) + 1, start=1)
    assert not wrong, "\n".join(wrong)
