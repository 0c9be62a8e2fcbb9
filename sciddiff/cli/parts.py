"""Work in numbered parts that any number of processes share, without asking each other.

A part is finished when its record, one file that appears whole, is there. A process that begins a
part holds a lock on it that the system takes back when the process ends, however it ends. So the
processes of one command, those of torchrun or SLURM, and the same command started several times by
hand all work on one folder: each takes the next part that is neither finished nor taken, none is
done twice, and what a killed process had begun is done by another, or by the next run.

This is the one way in which verbs resume and share work. `sciddiff.cli.predict` runs parts in
several processes through Lightning's ``predict``.
"""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

__all__ = ["Parts", "World", "attempt", "do_all", "do_rest", "per_machine", "world"]

_log = logging.getLogger(__name__)
_LOCKS = ".locks"
_WAIT = 0.2  # seconds between looks at a part that another process has taken


class Parts(ABC):
    """Some work, in parts that do not depend on each other.

    Attributes:
        directory: Folder that all processes write to.
    """

    directory: Path

    @abstractmethod
    def items(self) -> Iterator[Any]:
        """What is needed for part 0, 1, 2, …; cheap, as every process goes through all."""

    @abstractmethod
    def record(self, part: int) -> Path:
        """The file that is there when a part is finished; written last, whole."""

    @abstractmethod
    def do(self, part: int, item: Any) -> None:  # noqa: ANN401
        """Do a part and write its record."""

    def finished(self, part: int, item: Any) -> bool:  # noqa: ANN401
        """Whether nothing is left to do of a part."""
        return self.record(part).exists()

    @property
    def begun(self) -> bool:
        """Whether any part is finished, or taken by a process that is at work."""
        return self.taken or any(
            self.record(part).exists() for part, _ in enumerate(self.items())
        )

    @property
    def taken(self) -> bool:
        """Whether a process is at work on any part."""
        return any(_held(lock) for lock in (self.directory / _LOCKS).glob("*"))


@final
class World:
    """Place of a process among those that run one command.

    Args:
        rank: Its number, from 0.
        size: Number of processes.
        local: Its number on its machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0) -> None:
        self.rank, self.size, self.local = rank, size, local


def world() -> World:
    """The place that torchrun or SLURM gave this process; alone without them."""
    read = os.environ
    if int(read.get("WORLD_SIZE", 1)) > 1 and "RANK" in read:
        return World(int(read["RANK"]), int(read["WORLD_SIZE"]), int(read.get("LOCAL_RANK", 0)))
    # A shell of an allocation is no task of it; `srun` gives every task its number.
    if int(read.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in read and _is_srun_task():
        local = int(read.get("SLURM_LOCALID", 0))
        return World(int(read["SLURM_PROCID"]), int(read["SLURM_NTASKS"]), local)
    return World()


def per_machine(size: int) -> int:
    """Processes on this machine, of those that torchrun or SLURM started."""
    read = os.environ
    if "LOCAL_WORLD_SIZE" in read:
        return int(read["LOCAL_WORLD_SIZE"])
    return max(1, size // int(read.get("SLURM_NNODES", read.get("SLURM_JOB_NUM_NODES", 1))))


def do_all(parts: Parts, on_part: Callable[[int], None] | None = None) -> None:
    """Do every part that nobody has finished; return when all are finished, by whomever.

    Args:
        parts: The work.
        on_part: Called with the number of each part that is finished when this process comes by.
    """
    for part, item in enumerate(parts.items()):
        attempt(parts, part, item)
        if on_part is not None:
            on_part(part)
    do_rest(parts)


def do_rest(parts: Parts) -> None:
    """Wait for the parts that others have taken, and do those whose process has ended."""
    for part, item in enumerate(parts.items()):
        while not attempt(parts, part, item):
            time.sleep(_WAIT)
    try:
        (parts.directory / _LOCKS).rmdir()
    except OSError:  # not there, or others are still at work
        pass


def attempt(parts: Parts, part: int, item: Any) -> bool:  # noqa: ANN401
    """Do a part unless it is finished or taken; whether it is finished now.

    Args:
        parts: The work.
        part: Number of the part.
        item: What it needs.
    """
    if parts.finished(part, item):
        return True
    with _taken(parts.directory / _LOCKS, part) as lock:
        if lock is not None and not parts.finished(part, item):
            parts.do(part, item)
        if lock is not None:
            # The record comes first: who finds the lock gone finds the record.
            lock.unlink(missing_ok=True)
    return parts.finished(part, item)


def _is_srun_task() -> bool:
    return os.environ.get("SLURM_JOB_NAME", "") not in ("bash", "interactive")


@contextmanager
def _taken(folder: Path, part: int) -> Iterator[Path | None]:
    """The lock of a part if this process has it for the block, None if another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part:06d}"
    try:
        handle = path.open("w")
    except FileNotFoundError:  # another process has just removed the empty folder
        yield None
        return
    with handle:
        yield path if _locked(handle, part) else None


def _locked(handle: IO[str], part: int) -> bool:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError) as error:
        # A system or a disk without such locks: every process has its fixed share.
        _log.debug("no locks in this folder (%s)", error)
        place = world()
        return part % place.size == place.rank
    return True


def _held(path: Path) -> bool:
    """Whether a process that is at work holds a lock."""
    try:
        import fcntl

        with path.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False
