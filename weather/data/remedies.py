"""Remedies that are options of another verb are named as such."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sciddiff.errors import InputError

__all__ = ["options_of_prepare"]

_OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*")


@contextmanager
def options_of_prepare(source: object, own: Collection[str] = ()) -> Iterator[None]:
    """Name the file, and say that suggested options belong to ``sciddiff prepare forecast``.

    Files are read in the same way by every verb, but only `prepare` has options for what they
    lack; the other verbs take the store that it writes.

    Args:
        source: The file; it begins the message.
        own: Options that the verb at hand has itself.

    Raises:
        InputError: As inside, with the remedy completed.

    >>> try:
    ...     with options_of_prepare("a.nc"):
    ...         raise InputError("t: no units; say --units t=K")
    ... except InputError as error:
    ...     print(error)
    a.nc: t: no units; say --units t=K (to sciddiff prepare forecast, and give the store it writes)
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        if str(source) not in text:
            text = f"{source}: {text}"
        foreign = [option for option in _OPTION.findall(text) if option not in own]
        if foreign and "sciddiff prepare forecast" not in text:
            text += " (to sciddiff prepare forecast, and give the store it writes)"
        if text == str(error):
            raise
        raise InputError(text) from error
