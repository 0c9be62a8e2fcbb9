"""Work on a Dask cluster: a scheduler and its workers, on this machine or on many.

The workers read the files themselves, so that they must see them under the same paths and have
this package installed. Results are those of one process to the last bit: every piece is computed
as it would be here, and pieces are put together in their order.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from sciddiff import __version__
from sciddiff.errors import InputError, MissingExtra, brief

__all__ = ["connect", "in_order"]

_SECONDS = 10
_T = TypeVar("_T")


@contextmanager
def connect(address: str | None) -> Iterator[Any]:
    """A client of the cluster, or None without an address; it is let go when the block ends.

    Args:
        address: Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        InputError: It does not answer, has no workers, or they lack this package or have another
            version; or it was lost within the block.
        OSError: A file was refused within the block, here or on a worker.
        MissingExtra: distributed is not installed.
    """
    if address is None:
        yield None
        return
    try:
        import distributed
    except ImportError as error:
        raise MissingExtra("distributed", "cluster") from error
    # What goes wrong is told in one line, and not by its many threads.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"--scheduler {address}: does not answer ({brief(error)}); start one with dask "
            "scheduler, and give the address that it prints"
        ) from error
    try:
        _check_workers(client, address)
        yield client
    except InputError:
        raise
    except (OSError, TimeoutError, distributed.KilledWorker, distributed.CancelledError) as error:
        if _of_a_file(error):
            raise
        raise InputError(
            f"--scheduler {address}: was lost ({brief(error)}); what was written stays: start "
            "the cluster again, and run the same command"
        ) from error
    finally:
        client.close(timeout=_SECONDS)


def _of_a_file(error: Exception) -> bool:
    """Whether the system refused a file, such as on a full disk, and the cluster is well."""
    of_the_net = isinstance(error, ConnectionError | TimeoutError)
    return isinstance(error, OSError) and error.errno is not None and not of_the_net


def in_order(
    client: Any, work: Callable[..., _T], shared: Any, pieces: Iterable[tuple[Any, ...]]
) -> Iterator[_T]:
    """Compute ``work(shared, *piece)`` for every piece on the cluster, and yield them in order.

    Twice as many pieces are under way as the cluster has threads, so that the memory here is
    bounded.

    Args:
        client: From `connect`.
        work: A function of a module that the workers can import.
        shared: Sent to every worker once.
        pieces: Further arguments.
    """
    threads = sum(client.nthreads().values())
    held = client.scatter(shared, broadcast=True, hash=False)
    waiting: deque[Any] = deque()
    for piece in pieces:
        waiting.append(client.submit(_alone, work, held, *piece, pure=False))
        if len(waiting) >= 2 * max(1, threads):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _alone(work: Callable[..., _T], *arguments: Any) -> _T:
    """Compute on one thread of a worker, which must not wait for other workers."""
    import dask

    with dask.config.set(scheduler="synchronous"):  # type: ignore[attr-defined]
        return work(*arguments)


def _check_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_SECONDS)
    except TimeoutError as error:
        raise InputError(
            f"--scheduler {address}: has no worker; start some with dask worker {address}"
        ) from error
    for worker, version in client.run(_version).items():
        if version != __version__:
            raise InputError(
                f"--scheduler {address}: its worker {worker} has sciddiff {version}, and here is "
                f"{__version__}; install the same with the extra weather on all machines"
            )


def _version() -> str:
    try:
        import_module("weather.data.reading")
        return str(import_module("sciddiff").__version__)
    except ImportError:
        return "not installed"
