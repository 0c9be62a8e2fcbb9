"""What a command may print: any character on any console, notes in one line, no stray warnings.

Warnings of Python come from other packages and speak to programmers; they are shown where
``SCIDDIFF_DEBUG=1`` asks for them. What our own packages log as a warning becomes one line on
stderr that begins with ``note:``.
"""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, final

from sciddiff.cli.failures import debugging

__all__ = ["console"]

_PACKAGES: Final = ("sciddiff", "protein", "weather")


@contextmanager
def console() -> Iterator[None]:
    """Make stdout, stderr, warnings and logs fit for people while the block runs."""
    for stream in (sys.stdout, sys.stderr):
        # A console without UTF-8 shows "?" for a letter it lacks; the work is done all the same.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    handler = _Notes(logging.WARNING)
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    with warnings.catch_warnings():
        if not debugging():
            warnings.showwarning = _silent
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)


@final
class _Notes(logging.Handler):
    """A line on stderr for each record; its traceback only for those who ask for it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        sys.stderr.write(f"note: {text}\n")
        if debugging() and record.exc_info:
            sys.stderr.write("".join(traceback.format_exception(*record.exc_info)))


def _silent(*args: Any, **kwargs: Any) -> None:
    """In the place of `warnings.showwarning`."""

