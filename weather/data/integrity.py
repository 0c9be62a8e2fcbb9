"""What a file says about its own damage: cut-off GRIB, absent Zarr chunks, values out of range."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "MISSING_CHUNKS",
    "check_grib",
    "note_missing_chunks",
    "quietly",
    "with_valid_ranges",
]

MISSING_CHUNKS = "missing_chunks"
"""Attribute of a variable: how many of its chunks the store lacks, and what they read as."""


@contextmanager
def quietly() -> Iterator[None]:
    """Silence warnings of xarray and zarr that a user can do nothing about.

    They are about metadata that are not consolidated (an unfinished forecast), records of our own
    beside the arrays, dates before 1582, and what cfgrib asks of xarray.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
        warnings.filterwarnings("ignore", ".*not recognized as a component.*")
        warnings.filterwarnings("ignore", "Unable to decode time axis into full numpy")
        warnings.filterwarnings("ignore", "In a future version of xarray", FutureWarning)
        yield


def check_grib(path: Path) -> None:
    """Walk over the messages of a GRIB file: decoders skip one that is cut off without a word.

    Raises:
        InputError: A message ends before its stated length, or without its end mark.
    """
    size, position, number = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while (position := _next_message(file, position)) >= 0:
            number += 1
            length = _length(file, position)
            if length is None:
                return  # Larger than edition 1 can say: its length is coded in a way of its own.
            file.seek(max(position + length - 4, 0))
            if position + length > size or file.read(4) != b"7777":
                raise InputError(
                    f"{path}: message {number}, at byte {position}, is cut off or damaged "
                    f"({size - position} of {length} bytes); fetch the file again"
                )
            position += length


def _next_message(file: Any, position: int) -> int:
    """Place of the next message; messages may have anything between them. -1 at the end."""
    file.seek(position)
    while chunk := file.read(1 << 16):
        found = chunk.find(b"GRIB")
        if found >= 0:
            return position + found
        if len(chunk) < 4:
            return -1
        position += len(chunk) - 3
        file.seek(position)
    return -1


def _length(file: Any, position: int) -> int | None:
    """Length of a message in bytes (WMO FM 92, section 0); None where it cannot be told."""
    file.seek(position)
    head = file.read(16)
    if len(head) < 8:
        return 16
    if head[7] == 2:
        return int.from_bytes(head[8:16], "big")
    length = int.from_bytes(head[4:7], "big")
    return None if length & 0x800000 else length


def note_missing_chunks(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """Mark variables of which the store lacks chunks, and reads a number in their place.

    Where the number is NaN, missing values are found by the fields themselves.
    """
    import zarr

    try:
        group = zarr.open_group(str(path), mode="r")
    except Exception:  # what cannot be listed has been opened all the same
        return dataset
    for name, field in dataset.data_vars.items():
        array: Any = group.get(str(name))
        if array is None or not hasattr(array, "nchunks_initialized") or field.ndim < 2:
            continue
        lacking = int(array.nchunks) - int(array.nchunks_initialized)
        fill = 0 if array.fill_value is None else array.fill_value
        declared = field.encoding.get("_FillValue", field.encoding.get("missing_value"))
        is_missing = declared is not None and np.asarray(fill == declared).any()
        nothing = np.issubdtype(np.asarray(fill).dtype, np.floating) and np.isnan(fill)
        if lacking > 0 and not is_missing and not nothing:
            field.attrs[MISSING_CHUNKS] = f"{lacking} of {array.nchunks} chunks, read as {fill}"
    return dataset


def with_valid_ranges(dataset: xr.Dataset) -> xr.Dataset:
    """Put `valid_range`, or `valid_min` and `valid_max`, of every variable into its own units.

    Files state them as packed where they have the type of the packed values (NetCDF Users' Guide,
    appendix A); xarray unpacks values, and leaves these attributes alone.
    """
    for field in dataset.data_vars.values():
        low, high = _stated_range(field.attrs)
        if low is None and high is None:
            continue
        scale = float(field.encoding.get("scale_factor", 1.0))
        offset = float(field.encoding.get("add_offset", 0.0))
        packed = "scale_factor" in field.encoding or "add_offset" in field.encoding
        bounds = []
        for bound, otherwise in ((low, -np.inf), (high, np.inf)):
            value = otherwise if bound is None else float(bound)
            if packed and bound is not None and np.issubdtype(bound.dtype, np.integer):
                value = value * scale + offset
            bounds.append(value)
        field.attrs["valid_range"] = (min(bounds), max(bounds))
    return dataset


def _stated_range(attributes: Any) -> tuple[Any, Any]:
    """The bounds a file states, as NumPy scalars of its type; None where it states none."""
    both = attributes.get("valid_range")
    pair = [attributes.get("valid_min"), attributes.get("valid_max")]
    if both is not None and np.size(both) == 2:
        pair = list(np.asarray(both))
    found: list[Any] = []
    for bound in pair:
        number = np.asarray(bound) if bound is not None else None
        bad = number is None or not np.issubdtype(number.dtype, np.number) or number.size != 1
        found.append(None if bad or number is None else number.reshape(())[()])
    return found[0], found[1]
