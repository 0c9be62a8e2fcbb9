"""An ensemble on disk: written while it is made, resumed after an interruption.

A forecast is a Zarr store with one variable per channel and the dimensions of WeatherBench 2,

    time (initial time), number (member), prediction_timedelta (lead), latitude, longitude.

Members are made in *blocks*, which are the chunks along `number`.  `run.json` inside the store
records what was asked for; a small file per finished (initial time, block) says what is done, so
that the same command goes on where it stopped, and a larger number of members adds to what is
there.  Memory does not grow with members or leads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.campaign import RECORD, Campaign
from sciddiff.errors import InputError, reading
from weather.data.times import TimeAxis, as_times
from weather.forecast.naming import OWN, Layout, Names
from weather.forecast.spec import ForecastSpec

__all__ = ["GRIB", "ONE_FILE", "Block", "EnsembleStore", "Plan", "coordinates"]

GRIB = (".grib", ".grib2", ".grb", ".grb2")
"""Suffixes of GRIB files."""

ONE_FILE = (".nc", *GRIB)
"""Suffixes of forecasts in one file, which are made in a store beside it."""

_DONE = ".done"
_CHUNK_BYTES = 2**20


@final
@dataclass(frozen=True)
class Block:
    """Some members of one initial time, made together.

    Attributes:
        start: Number of the initial time.
        number: Number of the block among those of the initial time.
        members: Numbers of the members.
    """

    start: int
    number: int
    members: range


@final
@dataclass(frozen=True)
class Plan:
    """The sizes of a forecast, from which its blocks follow.

    Attributes:
        starts: Initial times, `datetime64` or `cftime` dates.
        members: Number of members, M.
        leads: Number of steps, L.
        block: Members made together.
    """

    starts: tuple[Any, ...]
    members: int
    leads: int
    block: int

    def blocks(self) -> list[Block]:
        """Return all blocks, in the order in which they are made."""
        return [
            Block(i, b, range(first, min(first + self.block, self.members)))
            for i in range(len(self.starts))
            for b, first in enumerate(range(0, self.members, self.block))
        ]


@final
class EnsembleStore:
    """A forecast that is being written.

    Args:
        path: Directory of the Zarr store.
        plan: Its sizes; `block` of a store that exists is kept.
        spec: Channels, grid and step.
        campaign: Its record.
        names: What it calls dimensions and variables.

    Attributes:
        layout: Its variables.
    """

    def __init__(
        self,
        path: Path,
        plan: Plan,
        spec: ForecastSpec,
        campaign: Campaign,
        names: Names = OWN,
    ) -> None:
        self.path, self.plan, self.spec, self.campaign = path, plan, spec, campaign
        self._names = names
        self.layout = Layout(spec.channels, names, spec.step_hours)

    @classmethod
    def open(
        cls,
        path: Path,
        plan: Plan,
        spec: ForecastSpec,
        request: Mapping[str, Any],
        attrs: Mapping[str, Any],
        command: str = "",
        names: Names = OWN,
    ) -> EnsembleStore:
        """Begin a forecast, or go on with one.

        Args:
            path: Directory of the store.
            plan: Sizes; members may be more than in the store, which is then enlarged.
            spec: Channels, grid and step.
            request: Plain values that decide every member (all but their number).
            attrs: Global attributes of the store.
            command: The command line, for the record.
            names: What the store calls dimensions and variables.

        Raises:
            InputError: The path holds something else, or a forecast of another request.
        """
        if not (path / RECORD).exists():
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise InputError(
                    f"{path}: exists and is no forecast begun by this command; choose another -o"
                )
            _create(path, plan, spec, request, attrs, command, names)
        try:
            campaign = Campaign.open(path, request, command)
        except InputError:
            # A command that failed before its first block leaves a store of no use; what is no
            # store of ours stays.
            if any((path / _DONE).glob("*")) or not (path / ".zgroup").is_file():
                raise
            shutil.rmtree(path)
            _create(path, plan, spec, request, attrs, command, names)
            campaign = Campaign.open(path, request, command)
        store = cls(path, plan, spec, campaign, names)
        with reading(path, "a forecast", "remove it, or choose another -o"):
            group = store._group("r")
            # All of them: damage is told now, and not when members have been made.
            arrays = tuple(store.layout.arrays)
            for name in (*store.layout.dims, *arrays):
                group[name].attrs.asdict()
            block = int(group[arrays[0]].chunks[1])
            room = min(group[name].shape[1] for name in arrays)
            room = min(room, group["number"].shape[0])
        if block != plan.block:
            store.plan = Plan(plan.starts, plan.members, plan.leads, block)
        if plan.members > room:  # also where a run was killed while it made room
            store._enlarge(plan.members)
        return store

    def beside(self, path: Path) -> EnsembleStore:
        """Begin a store of the same request and sizes in another place, without any values."""
        attrs = self._group("r").attrs.asdict()
        request = self.campaign.request
        _create(path, self.plan, self.spec, request, attrs, self.campaign.command, self._names)
        return EnsembleStore(path, self.plan, self.spec, self.campaign, self._names)

    def missing(self) -> list[Block]:
        """Return the blocks that are not finished."""
        return [block for block in self.plan.blocks() if not self.finished(block)]

    def finished(self, block: Block) -> bool:
        """Whether all members of a block are written."""
        try:
            return int(self._marker(block).read_text(encoding="utf-8")) >= len(block.members)
        except (FileNotFoundError, ValueError):
            return False

    def finish(self, block: Block) -> None:
        """Record a block as written."""
        marker = self._marker(block)
        marker.parent.mkdir(exist_ok=True)
        partial = marker.with_suffix(".partial")
        partial.write_text(str(len(block.members)), encoding="utf-8")
        os.replace(partial, marker)

    @property
    def span(self) -> int:
        """Leads that are written at once: those of one chunk."""
        return _span(self.plan, self.spec)

    def write(self, block: Block, lead: int, values: NDArray[np.float32]) -> None:
        """Write some leads of a block.

        Args:
            block: Which members.
            lead: Number of the first lead, from 0; a multiple of `span`.
            values: Physical fields `[leads, members, C, H, W]`.
        """
        group = self._group("r+")
        members = slice(block.members.start, block.members.stop)
        leads = slice(lead, lead + len(values))
        for c, place in enumerate(self.layout.places):
            fields = values[:, :, c].swapaxes(0, 1)
            if place.scale != 1.0:
                fields = fields * np.float32(place.scale)
            where = (block.start, members, leads)
            where = where if place.level is None else (*where, place.level)
            group[place.variable][where] = fields

    def close(self) -> None:
        """Put the metadata of all variables in one place, which makes opening fast."""
        import warnings

        import zarr

        with warnings.catch_warnings():
            # About our record and marks of finished blocks, which are no arrays.
            warnings.filterwarnings("ignore", message=".*not recognized as a component.*")
            zarr.consolidate_metadata(str(self.path), zarr_format=2)

    def read(self) -> Iterator[tuple[str, Block, Any]]:
        """Yield every variable block by block: (name, block, `[members, leads, ..., H, W]`)."""
        for name in self.layout.arrays:
            for block in self.plan.blocks():
                yield name, block, self.read_block(name, block)

    def read_block(self, name: str, block: Block) -> Any:
        """Values of a variable as they are in the file, `[members, leads, ..., H, W]`.

        Raises:
            InputError: They cannot be read.
        """
        members = slice(block.members.start, block.members.stop)
        with reading(f"{self.path}: {name}", remedy="remove it, and make it again"):
            return self._group("r")[name][block.start, members]

    def put(self, name: str, block: Block, values: NDArray[np.float32]) -> None:
        """Write values of a variable as `read_block` gives them."""
        members = slice(block.members.start, block.members.stop)
        self._group("r+")[name][block.start, members] = values

    def _group(self, mode: Any) -> Any:
        import zarr

        # Consolidated metadata tell the sizes of an earlier run where members were added.
        return zarr.open_group(str(self.path), mode=mode, zarr_format=2, use_consolidated=False)

    def _marker(self, block: Block) -> Path:
        return self.path / _DONE / f"{block.start:05d}-{block.number:05d}"

    def _enlarge(self, members: int) -> None:
        """Make room for more members."""
        group = self._group("r+")
        for name in self.layout.arrays:
            shape = group[name].shape
            group[name].resize((shape[0], max(members, shape[1]), *shape[2:]))
        members = max(members, group["number"].shape[0])
        group["number"].resize((members,))
        group["number"][:] = np.arange(members)


def _create(
    path: Path,
    plan: Plan,
    spec: ForecastSpec,
    request: Mapping[str, Any],
    attrs: Mapping[str, Any],
    command: str,
    names: Names,
) -> None:
    """Lay the store out, beside its place, and move it there whole."""
    import zarr

    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(str(partial), mode="w", zarr_format=2)
    group.attrs.update({"Conventions": "CF-1.10", **attrs})
    layout = Layout(spec.channels, names, spec.step_hours)
    for name, (values, about) in layout.coordinates(coordinates(plan, spec)).items():
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            # Zarr's own default, 0, would be read as the mark of a missing value.
            fill_value=None,
        )
        array[:] = values
        array.attrs.update({"_ARRAY_DIMENSIONS": [name], **about})
    first = (len(plan.starts), plan.members, plan.leads)
    chunks = (1, plan.block, _span(plan, spec))
    for name, about in layout.arrays.items():
        dims = layout.dimensions(name)
        levels = len(dims) - 5  # one more dimension for them
        array = group.create_array(
            name,
            shape=(*first, *(len(layout.levels),) * levels, *spec.shape),
            chunks=(*chunks, *(1,) * levels, *spec.shape),
            dtype="float32",
            fill_value=float("nan"),
        )
        array.attrs.update({"_ARRAY_DIMENSIONS": list(dims), **about})
    Campaign.open(partial, request, command)
    if path.exists():
        path.rmdir()
    os.replace(partial, path)


def _span(plan: Plan, spec: ForecastSpec) -> int:
    """Leads of a chunk."""
    height, width = spec.shape
    return max(1, min(plan.leads, _CHUNK_BYTES // (4 * height * width * plan.block)))


def coordinates(plan: Plan, spec: ForecastSpec) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Return the values and CF attributes of the five coordinates."""
    grid = spec.area
    axis = TimeAxis.encode(as_times(list(plan.starts)))
    leads = np.arange(1, plan.leads + 1) * spec.step_hours
    whole = np.allclose(leads, np.round(leads)) and np.allclose(axis.hours, np.round(axis.hours))
    kind = np.int64 if whole else np.float64
    return {
        "time": (
            axis.hours.round(6).astype(kind),
            {
                "standard_name": "forecast_reference_time",
                "long_name": "initial time",
                "units": axis.units,
                "calendar": axis.calendar,
            },
        ),
        "number": (
            np.arange(plan.members),
            {"standard_name": "realization", "long_name": "ensemble member", "units": "1"},
        ),
        "prediction_timedelta": (
            leads.astype(kind),
            {
                "standard_name": "forecast_period",
                "long_name": "lead time",
                "units": "hours",
                "dtype": "timedelta64[ns]",
            },
        ),
        "latitude": (
            np.array(grid.lat),
            {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
        ),
        "longitude": (
            np.array(grid.lon),
            {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
        ),
    }
