"""Work on many files in several processes, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sciddiff.errors import InputError

__all__ = ["map_in_processes"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, chunk: int
) -> Iterator[Result]:
    """``work`` over a pool; results in order of the tasks.

    Args:
        work: function of a module, so that another process can import it.
        tasks: what to work on.
        jobs: processes.
        chunk: tasks handed to a process at once.

    Raises:
        InputError: a worker was killed.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(work, tasks, chunksize=chunk)
    except BrokenProcessPool as error:
        raise InputError(
            "--jobs: a worker was killed, most likely for want of memory; run again with fewer "
            "jobs, what was finished is kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread a worker; Ctrl-C is the parent's to handle."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
