"""Forecasts from several initial times, each in a file of its own, as one data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["join_parts"]

Part = tuple[Path, "xr.Dataset", NDArray[np.float64]]
"""A file, its fields with dimensions init, member, lead, lat and lon, and its leads in days."""


def join_parts(parts: Sequence[Part], folder: Path) -> xr.Dataset:
    """Join forecasts along their initial times, in the order of time; nothing is read.

    Their grids, members and calendars agree, which `weather.verification.open_forecast` has
    found. What only some of them hold is left out.

    Args:
        parts: The forecasts.
        folder: Where they are, for messages.

    Raises:
        InputError: They share no variable, or write one in different units.
    """
    import xarray

    common = set.intersection(*(_seconds(leads) for _, _, leads in parts))
    names = [n for n in parts[0][1].data_vars if all(n in data.data_vars for _, data, _ in parts)]
    if not names:
        raise InputError(f"{folder}: its forecasts share no variable; report them one by one")
    chosen = []
    for path, data, leads in parts:
        for name in names:
            one, other = data[name], parts[0][1][name]
            if one.attrs.get("units") != other.attrs.get("units"):
                raise InputError(
                    f"{folder}: {path.name} has {name} in {one.attrs.get('units')}, and "
                    f"{parts[0][0].name} in {other.attrs.get('units')}; write them alike"
                )
        kept = [n for n, lead in enumerate(leads) if round(86400 * float(lead)) in common]
        some = data[names].isel(lead=kept) if "lead" in data.dims else data[names]
        some = some if "init" in some.dims else some.expand_dims("init")
        some = some.assign_coords(lead=("lead", leads[kept], {"units": "days"}))
        # A field at a time, and only when it is asked for.
        chosen.append(some.chunk({"init": 1, "lead": 1}))
    options: Any = {"join": "override", "coords": "minimal", "compat": "override"}
    whole = xarray.concat(
        chosen, "init", data_vars="all", combine_attrs="drop_conflicts", **options
    )
    return whole.sortby("init")


def _seconds(leads: NDArray[np.float64]) -> set[int]:
    return {round(86400 * float(lead)) for lead in leads}
