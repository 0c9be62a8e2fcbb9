"""Writing a calibrated forecast: members as the model makes them wait until all are there.

A calibrated member depends on the mean of all members, and so on their number. They are made in a
store beside the output, which a stopped command finds again; when all are there, they are
calibrated block by block into the output, which appears whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.campaign import RECORD
from sciddiff.files import replacing
from weather.calibration.members import Calibration
from weather.forecast.ensemble import Block, EnsembleStore
from weather.forecast.naming import Place

__all__ = ["CalibratedStore", "told", "write_calibrated"]


@final
class CalibratedStore:
    """A finished forecast, calibrated as it is read; its members are read twice.

    Args:
        store: Members as the model made them, all of every initial time.
        calibration: What is done to them.

    Attributes:
        plan, spec, layout, span, path: Of the store.
    """

    def __init__(self, store: EnsembleStore, calibration: Calibration) -> None:
        self._store, self._calibration = store, calibration
        self.plan, self.spec, self.layout = store.plan, store.spec, store.layout
        self.span, self.path = store.span, store.path
        step = round(3600 * self.spec.step_hours)
        self._leads = [step * n for n in range(1, self.plan.leads + 1)]

    def read(self) -> Iterator[tuple[str, Block, NDArray[np.float32]]]:
        """Yield every variable block by block: (name, block, `[members, leads, ..., H, W]`)."""
        of_start: dict[int, list[Block]] = {}
        for block in self.plan.blocks():
            of_start.setdefault(block.start, []).append(block)
        for name in self.layout.arrays:
            places = self._places(name)
            for blocks in of_start.values():
                mean = self._mean(name, blocks) if places else None
                for block in blocks:
                    values = self._store.read_block(name, block)
                    for channel, place in places.items():
                        self._calibrate(values, mean, channel, place)
                    yield name, block, values

    def _places(self, name: str) -> dict[str, Place]:
        """Where the calibrated channels of a variable are in it."""
        known = zip(self.spec.names, self.layout.places, strict=True)
        return {
            channel: place
            for channel, place in known
            if place.variable == name and channel in self._calibration.channels
        }

    def _mean(self, name: str, blocks: list[Block]) -> NDArray[np.float64]:
        """Mean of all members of an initial time, `[leads, ..., H, W]`."""
        total = sum(
            self._store.read_block(name, block).sum(0, dtype=np.float64) for block in blocks
        )
        return np.asarray(total) / self.plan.members

    def _calibrate(self, values: Any, mean: Any, channel: str, place: Place) -> None:
        """Replace one channel among the values of a block."""
        level = (slice(None), slice(None)) + (() if place.level is None else (place.level,))
        # Coefficients are in the units of the channel, values in those of the file.
        members, middle = values[level] / place.scale, mean[level[1:]] / place.scale
        made = self._calibration.apply(channel, self._leads, members, middle) * place.scale
        if self.spec.channels[self.spec.names.index(channel)].positive:
            made = np.maximum(made, 0.0)
        values[level] = made


def write_calibrated(store: EnsembleStore, out: Path, calibration: Calibration) -> None:
    """Calibrate a finished forecast into a Zarr store, which takes the place of one that is there.

    Args:
        store: Members as the model made them.
        out: The store to write.
        calibration: What is done to them.
    """
    source = CalibratedStore(store, calibration)
    partial, before = out.with_name(f".{out.name}.calibrated"), out.with_name(f".{out.name}.old")
    for left in (partial, before):
        shutil.rmtree(left, ignore_errors=True)
    target = store.beside(partial)
    for name, block, values in source.read():
        target.put(name, block, values)
    for block in target.plan.blocks():
        target.finish(block)
    target.close()
    with replacing(partial / RECORD) as file:
        file.write((store.path / RECORD).read_bytes())
    if out.exists():
        os.replace(out, before)
    os.replace(partial, out)
    shutil.rmtree(before, ignore_errors=True)


def told(calibration: Calibration) -> str:
    """What a file, or a person, is told of a calibration."""
    seen = calibration.fitted
    period = f", {seen['first'][:10]} to {seen['last'][:10]}" if "first" in seen else ""
    what = f"{seen['starts']} forecasts{period}" if "starts" in seen else "past forecasts"
    return f"member by member, fitted to {what}"
