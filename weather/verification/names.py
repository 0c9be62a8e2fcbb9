"""Names of forecasts in tables: those of one model told apart, and short ones of baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sciddiff.errors import InputError
from weather.verification.baselines.choice import TITLES

__all__ = ["reference_of", "told_apart"]


def told_apart(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Names of forecasts; those of one model are called by their files, and folders if need be.

    >>> told_apart(["m", "m"], [Path("new/fc.zarr"), Path("old/fc.zarr")])
    ['new/fc', 'old/fc']
    >>> told_apart(["m", "m"], [Path("a.zarr"), Path("b.nc")])
    ['a', 'b']
    >>> told_apart(["m", "m"], [Path("a.zarr"), Path("a.nc")])
    ['a.zarr', 'a.nc']

    Args:
        names: As the forecasts call themselves.
        paths: Their files.
    """
    if len(set(names)) == len(names):
        return list(names)
    places = [path.resolve() for path in paths]
    bare = [(*path.parts[1:-1], path.name.split(".")[0]) for path in places]
    whole = [path.parts[1:] for path in places]
    for parts in (bare, whole):
        for depth in range(1, max(map(len, parts)) + 1):
            told = ["/".join(part[-depth:]) for part in parts]
            if len(set(told)) == len(told):
                return told
    return [f"{path.name} ({number})" for number, path in enumerate(places, 1)]


def reference_of(name: str, forecasts: Sequence[str]) -> str:
    """The forecast that a name of ``--reference`` means: its name in the table, or of a baseline.

    >>> reference_of("lim", ["new", "linear inverse model"])
    'linear inverse model'

    Args:
        name: As the user wrote it.
        forecasts: Names in the tables.

    Raises:
        InputError: No such forecast is scored.
    """
    title = TITLES.get(name, name)
    found = next((one for one in (name, title) if one in forecasts), None)
    if found is None:
        remedy = f"; give --train STORE, and {name} with --baselines" if name in TITLES else ""
        raise InputError(
            f"--reference {name}: not among the forecasts {', '.join(forecasts)}{remedy}"
        )
    return found
