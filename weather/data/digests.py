"""SHA-256 of what a prepared store holds, so that lost or damaged chunks are found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weather.data.channels import Channel
from weather.data.rectangles import AnyGrid
from weather.data.times import TimeAxis

__all__ = ["SUMMED", "array_sum", "field_digest", "fingerprint_of"]

SUMMED = ("time", "time_bnds", "lat", "lon", "moments", "mean", "std", "tendency_std", "observed")
"""Arrays whose sums the attributes of a store hold."""


def field_digest(fields: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SHA-256 of the fields of one time `[C, H, W]`, as 32 bytes."""
    data = np.ascontiguousarray(fields, dtype="<f4")
    return np.frombuffer(hashlib.sha256(data.tobytes()).digest(), dtype=np.uint8)


def fingerprint_of(
    channels: Sequence[Channel], grid: AnyGrid, axis: TimeAxis, digests: NDArray[np.uint8]
) -> str:
    """SHA-256 of channels, grid, times and values: in hexadecimal."""
    names = [[c.name, c.units] for c in channels]
    head = [names, str(grid), axis.units, axis.calendar, axis.hours.tolist()]
    return hashlib.sha256(json.dumps(head).encode() + digests.tobytes()).hexdigest()


def array_sum(values: NDArray[np.generic]) -> str:
    """SHA-256 of an array's bytes, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
