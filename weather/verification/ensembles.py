"""What is scored and what it is scored by: ensembles of trajectories, read field by field.

`Ensemble` is anything with initial times, members and leads: a file that ``sciddiff forecast``
wrote, a truth ensemble, a deterministic forecast (one member), or a baseline that is computed as
it is read.  No more than the fields of one lead are held at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, reading
from sciddiff.files import regular
from weather.data.integrity import quietly
from weather.data.opening import is_grib, is_zarr, open_grib
from weather.verification.instants import Instants, lead_seconds
from weather.verification.layers import DIMENSIONS, find_dimensions, find_layers

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ArrayEnsemble", "Ensemble", "FileEnsemble", "JoinedEnsemble", "Reader", "is_forecast",
    "open_dataset", "open_forecast", "orient",
]  # fmt: skip

Reader = Callable[[int, str], NDArray[np.float32]]
"""Takes the index of a lead and a channel, gives the members `[M, H, W]` south to north."""


class Ensemble(ABC):
    """Trajectories of several members from several initial times.

    Attributes:
        name: As the tables call it.
        channels: Canonical names of the fields.
        members: M.
        times: Initial times.
        leads: In seconds, ascending, `[L]`.
        lat, lon: Degrees, south to north `[H]` and from 0 to the east `[W]`.
    """

    name: str
    channels: tuple[str, ...]
    members: int
    times: Instants
    leads: NDArray[np.int64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]

    @abstractmethod
    def open(self, case: int, leads: Sequence[int]) -> Reader:
        """Return a reader of one initial time's fields at these indices of `leads`, ascending."""


@final
class ArrayEnsemble(Ensemble):
    """Trajectories held in memory.

    Args:
        name: As the tables call it.
        fields: By channel, `[T, M, L, H, W]`.
        times: Initial times, `[T]`.
        leads: Seconds, `[L]`.
        lat: Degrees, south to north, `[H]`.
        lon: Degrees, `[W]`.
    """

    def __init__(
        self, name: str, fields: Mapping[str, NDArray[np.float32]], times: Instants,
        leads: NDArray[np.int64], lat: NDArray[np.float64], lon: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.name, self.channels, self.times = name, tuple(fields), times
        self.leads, self.lat, self.lon = leads, lat, lon
        self.members = next(iter(fields.values())).shape[1]
        self._fields = fields

    def open(self, case: int, leads: Sequence[int]) -> Reader:
        return lambda lead, channel: self._fields[channel][case, :, lead]


@final
class FileEnsemble(Ensemble):
    """A forecast, or a truth ensemble, in a Zarr or NetCDF file.

    Args:
        path: The file.
        name: As the tables call it; default the file's own ``model`` attribute or its name.

    Attributes:
        files: The path alone.

    Raises:
        InputError: Not such a file, or dimensions are missing.
    """

    def __init__(self, path: Path | str, name: str | None = None) -> None:
        self.path = Path(path)
        self.files: tuple[Path, ...] = (self.path,)
        self._data = data = open_dataset(self.path)
        self._dims = find_dimensions(data, self.path)
        self._flip, self._roll, self.lat, self.lon = orient(
            data[self._dims["latitude"]].values, data[self._dims["longitude"]].values
        )
        self.name = name or str(data.attrs.get("model") or self.path.name.split(".")[0])
        self._layers = find_layers(data, self._dims, self.path)
        self.channels = tuple(self._layers)
        if not self.channels:
            raise InputError(f"{path}: holds no field by lead, latitude and longitude")
        self.members = data.sizes[self._dims["number"]] if "number" in self._dims else 1
        time = self._dims["time"]
        self.times = Instants.of(data[time].values)
        lead = data[self._dims["lead"]]
        self.leads = lead_seconds(lead.values, lead.attrs.get("units"))
        if (np.diff(self.leads) <= 0).any():
            raise InputError(f"{path}: leads are not ascending; sort {self._dims['lead']}")

    def open(self, case: int, leads: Sequence[int]) -> Reader:
        kept: dict[str, tuple[range, NDArray[np.float32]]] = {}

        def read(lead: int, channel: str) -> NDArray[np.float32]:
            known = kept.get(channel)
            if known is None or lead not in known[0]:
                block = self._block(channel, lead, leads)
                known = kept[channel] = (block, self._read(case, block, channel))
            return known[1][:, lead - known[0].start]

        return read

    def _block(self, channel: str, lead: int, leads: Sequence[int]) -> range:
        """Leads that lie in one chunk of the file are read together."""
        source = self._data[self._layers[channel].source]
        size = source.encoding.get("preferred_chunks", {}).get(self._dims["lead"], 1)
        start = lead - lead % size
        return range(max(start, leads[0]), min(start + size, leads[-1] + 1))

    def _read(self, case: int, leads: range, channel: str) -> NDArray[np.float32]:
        """Fields of all members, `[M, L, H, W]`."""
        dims, layer = self._dims, self._layers[channel]
        field = self._data[layer.source].isel({dims["lead"]: slice(leads.start, leads.stop)})
        if layer.level_dim is not None:
            field = field.isel({layer.level_dim: layer.level})
        if dims["time"] in field.dims:
            field = field.isel({dims["time"]: case})
        if "number" not in dims or dims["number"] not in field.dims:
            field = field.expand_dims("number")
            dims = {**dims, "number": "number"}
        order = ("number", "lead", "latitude", "longitude")
        with reading(f"{self.path}: {channel}"):
            values = field.transpose(*(dims[role] for role in order)).values.astype(np.float32)
        if layer.conversion is not None:
            values = layer.conversion(values)
        values = values[:, :, ::-1] if self._flip else values
        return np.roll(values, self._roll, -1) if self._roll else values


@final
class JoinedEnsemble(Ensemble):
    """Forecasts of one kind from several initial times, each in a file of its own.

    Args:
        parts: The forecasts.
        path: Their folder, for messages.

    Attributes:
        files: Of the parts.
        notes: What the parts do not share and is therefore left out.

    Raises:
        InputError: Two of them start at the same time, or they differ in members, grid or
            calendar, or share no channel or no lead.
    """

    def __init__(self, parts: Sequence[FileEnsemble], path: Path) -> None:
        first, self.path = parts[0], path
        self.files: tuple[Path, ...] = tuple(part.path for part in parts)
        names = dict.fromkeys(part.name for part in parts)
        self.name = first.name if len(names) == 1 else path.name
        self.members, self.lat, self.lon = first.members, first.lat, first.lon
        for part in parts[1:]:
            self._fits(part, first)
        self.channels = tuple(
            c for c in first.channels if all(c in part.channels for part in parts)
        )
        common = [set(part.leads.tolist()) for part in parts]
        self.leads = np.asarray(sorted(set.intersection(*common)), dtype=np.int64)
        if not self.channels or not len(self.leads):
            what = "channel" if not self.channels else "lead"
            raise InputError(f"{path}: its forecasts have no {what} in common; keep them apart")
        everything = set.union(*common), {c for part in parts for c in part.channels}
        apart = len(everything[0]) - len(self.leads), len(everything[1]) - len(self.channels)
        self.notes = tuple(
            f"{path.name}: {count} {what} left out that not all of its forecasts hold"
            for count, what in zip(apart, ("lead(s)", "channel(s)"), strict=True)
            if count
        )
        where = sorted(
            (int(second), number, index)
            for number, part in enumerate(parts)
            for index, second in enumerate(part.times.seconds)
        )
        seconds = np.asarray([s for s, _, _ in where], dtype=np.int64)
        self.times = Instants(seconds, first.times.calendar)
        again = np.flatnonzero(np.diff(seconds) == 0)
        if len(again):
            files = ", ".join(parts[where[again[0] + k][1]].path.name for k in (0, 1))
            raise InputError(
                f"{path}: {files} both start at {self.times.text(int(again[0]))}; remove one"
            )
        self._parts, self._where = parts, [(n, i) for _, n, i in where]

    def _fits(self, part: FileEnsemble, first: FileEnsemble) -> None:
        grid = len(part.lat), len(part.lon)
        for what, own, theirs in (
            ("members", part.members, first.members),
            ("calendar", part.times.calendar, first.times.calendar),
            ("grid", grid, (len(first.lat), len(first.lon))),
        ):
            if own != theirs:
                raise InputError(
                    f"{self.path}: {part.path.name} has {what} {own}, and {first.path.name} "
                    f"{theirs}; one forecast has the same from every initial time"
                )
        if not (np.allclose(part.lat, first.lat) and np.allclose(part.lon, first.lon)):
            raise InputError(
                f"{self.path}: {part.path.name} is on other points than {first.path.name}; keep "
                "them apart"
            )

    def open(self, case: int, leads: Sequence[int]) -> Reader:
        number, own = self._where[case]
        part = self._parts[number]
        places = {lead: int(np.searchsorted(part.leads, self.leads[lead])) for lead in leads}
        read = part.open(own, list(places.values()))
        return lambda lead, channel: read(places[lead], channel)


def open_forecast(path: Path) -> FileEnsemble | JoinedEnsemble:
    """Open a forecast in a file, or the forecasts from several initial times in a folder.

    Raises:
        InputError: Absent, not understood, or a folder without forecasts.
    """
    if not path.is_dir() or is_zarr(path):
        return FileEnsemble(path)
    inside = [p for p in sorted(path.iterdir()) if is_zarr(p) or _is_file(p)]
    if not inside:
        raise InputError(f"{path}: holds no Zarr store, NetCDF or GRIB file; give a forecast")
    parts = [FileEnsemble(one) for one in inside]
    return JoinedEnsemble(parts, path) if len(parts) > 1 else parts[0]


def is_forecast(path: Path) -> bool:
    """Whether a file, or the first one in a folder of files, has leads; analyses have none.

    Args:
        path: It exists, and is no prepared store.
    """
    if path.is_dir() and not is_zarr(path):
        inside = [p for p in sorted(path.iterdir()) if is_zarr(p) or _is_file(p)]
        return bool(inside) and is_forecast(inside[0])
    if not (path.is_dir() or _is_file(path)):
        return False
    data = open_dataset(path)
    # The reader of GRIB makes every step a dimension; analyses have the one step 0.
    found = next((name for name in DIMENSIONS["lead"] if name in data.dims), None)
    return found is not None and bool((data[found].values.astype(float) != 0).any())


def _is_file(path: Path) -> bool:
    return path.suffix in (".nc", ".nc4") or is_grib(path)


def open_dataset(path: Path) -> xr.Dataset:
    """Open a Zarr, NetCDF or GRIB file without reading its fields.

    Raises:
        InputError: Absent, or neither of the two.
    """
    import xarray as xr

    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    coder = xr.coders.CFDatetimeCoder(time_unit="s")
    options: dict[str, Any] = {"decode_times": coder, "decode_timedelta": True, "chunks": None}
    if is_grib(path):
        with reading(path, "a forecast"), quietly():
            return open_grib(path)
    with reading(path, "a Zarr store or a NetCDF file"), quietly():
        if path.is_dir():
            return xr.open_zarr(path, consolidated=None, **options)
        return xr.open_dataset(regular(path), **options)


def orient(
    lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[bool, int, NDArray[np.float64], NDArray[np.float64]]:
    """How fields are turned to run from south to north and eastward.

    Longitudes of the globe begin at 0; those of an area at its western edge, between 0 and 360,
    from where they rise without a jump, also across Greenwich and the date line.

    >>> orient(np.array([0.0, 1.0]), np.array([-5.0, 0.0, 5.0]))[3].tolist()
    [355.0, 360.0, 365.0]
    >>> orient(np.array([0.0, 1.0]), np.array([0.0, 5.0, 355.0]))[1:4:2]
    (-2, array([355., 360., 365.]))

    Returns:
        Whether to flip latitudes, how far to roll longitudes, and both coordinates after it.
    """
    lat, lon = np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64)
    flip = len(lat) > 1 and lat[0] > lat[-1]
    lat = lat[::-1] if flip else lat
    east = np.where(np.abs(lon % 360.0 - 360.0) < 1e-6, 0.0, lon % 360.0)
    around = len(lon) > 1 and abs(len(lon) * abs(lon[1] - lon[0]) - 360.0) < 1e-3 * 360.0
    if around:
        roll = -int(np.argmin(east))
        return bool(flip), roll, lat, np.roll(east, roll)
    gaps = (np.roll(east, -1) - east) % 360.0
    first = (int(np.argmax(gaps)) + 1) % len(east) if len(east) > 1 else 0
    steps = np.roll(gaps, -first)[:-1]
    return bool(flip), -first, lat, east[first] + np.concatenate([[0.0], np.cumsum(steps)])
