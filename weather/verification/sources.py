"""From the paths a user names to truths, analyses and climates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.remedies import options_of_prepare
from weather.verification.ensembles import is_forecast, open_forecast
from weather.verification.truths import EnsembleTruth, SeriesTruth, States, Truth

if TYPE_CHECKING:
    from weather.data.reading import Reader

__all__ = ["FileStates", "open_states", "open_truth"]


@final
class FileStates:
    """Fields along time in files that are not a prepared store, matched as ``prepare`` does.

    Args:
        reader: The files, opened and matched.
    """

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader, self._path = reader, path
        self.channels: Sequence[Any] = [m.channel for m in reader.matching.matches]
        self.grid: Any = reader.grid
        self.times: Any = reader.selection.times
        self.step_hours = float(reader.selection.step.hours)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Fields `[T, C, H, W]` in the channels' units, NaN where the files miss a value."""
        with options_of_prepare(self._path):
            return self._reader.block(start, stop)[0]


def open_states(path: Path, grid: str = "", method: str = "conservative") -> States:
    """Open a prepared store, or files that the data package can match.

    Args:
        path: Store or file.
        grid: Bring the fields of files to this grid; default their own.
        method: ``conservative`` or ``bilinear``.

    Raises:
        InputError: Absent, or not understood.
    """
    from weather.data.store import Store, is_store

    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if is_store(path):
        # Its cached properties serve the protocol's, which the type checker does not see.
        store: Any = Store(path)
        return store
    from weather.data.reading import ReaderSettings, open_reader

    settings = ReaderSettings(grid=grid, method=method, gaps="keep", nan={"all": "keep"})  # type: ignore[arg-type]
    with options_of_prepare(path):
        return FileStates(open_reader([path], settings), path)


def open_truth(path: Path, grid: str = "", method: str = "conservative") -> Truth:
    """Open what forecasts are scored by.

    A prepared store or a file of fields along time is one truth; a file with initial times,
    members and leads is an ensemble of equally valid ones.

    Raises:
        InputError: Absent, or not understood.
    """
    from weather.data.store import is_store

    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not is_store(path) and is_forecast(path):
        return EnsembleTruth(open_forecast(path))
    return SeriesTruth(open_states(path, grid, method))
