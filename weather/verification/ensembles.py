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

from sciddiff.errors import InputError
from weather.verification.instants import Instants, lead_seconds

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArrayEnsemble", "Ensemble", "FileEnsemble", "Reader", "open_dataset", "orient"]

Reader = Callable[[int, str], NDArray[np.float32]]
"""Takes the index of a lead and a channel, gives the members `[M, H, W]` south to north."""

DIMENSIONS = {
    "time": ("time", "start", "init_time", "initial_time", "forecast_reference_time"),
    "number": ("number", "member", "realization", "ensemble", "ens"),
    "lead": ("prediction_timedelta", "lead", "lead_time", "step", "forecast_period"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}
"""Names under which files hold the dimensions of a forecast, the own ones first."""


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

    Raises:
        InputError: Not such a file, or dimensions are missing.
    """

    def __init__(self, path: Path | str, name: str | None = None) -> None:
        self.path = Path(path)
        self._data = data = open_dataset(self.path)
        self._dims = _dimensions(self.path, data)
        self._flip, self._roll, self.lat, self.lon = orient(
            data[self._dims["latitude"]].values, data[self._dims["longitude"]].values
        )
        self.name = name or str(data.attrs.get("model") or self.path.name.split(".")[0])
        own = {self._dims[role] for role in DIMENSIONS if role in self._dims}
        self.channels = tuple(
            str(v) for v in data.data_vars
            if {self._dims["latitude"], self._dims["lead"]} <= set(data[v].dims) <= own
        )  # fmt: skip
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
        size = self._data[channel].encoding.get("preferred_chunks", {}).get(self._dims["lead"], 1)
        start = lead - lead % size
        return range(max(start, leads[0]), min(start + size, leads[-1] + 1))

    def _read(self, case: int, leads: range, channel: str) -> NDArray[np.float32]:
        """Fields of all members, `[M, L, H, W]`."""
        dims = self._dims
        field = self._data[channel].isel({dims["lead"]: slice(leads.start, leads.stop)})
        if dims["time"] in field.dims:
            field = field.isel({dims["time"]: case})
        if "number" not in dims or dims["number"] not in field.dims:
            field = field.expand_dims("number")
            dims = {**dims, "number": "number"}
        order = ("number", "lead", "latitude", "longitude")
        values = field.transpose(*(dims[role] for role in order)).values.astype(np.float32)
        values = values[:, :, ::-1] if self._flip else values
        return np.roll(values, self._roll, -1) if self._roll else values


def open_dataset(path: Path) -> xr.Dataset:
    """Open a Zarr or NetCDF file without reading its fields.

    Raises:
        InputError: Absent, or neither of the two.
    """
    import xarray as xr

    if not path.exists():
        raise InputError(f"{path}: no such file")
    coder = xr.coders.CFDatetimeCoder(time_unit="s")
    options: dict[str, Any] = {"decode_times": coder, "decode_timedelta": True, "chunks": None}
    try:
        if path.is_dir():
            return xr.open_zarr(path, consolidated=None, **options)
        return xr.open_dataset(path, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable as Zarr or NetCDF ({reason})") from error


def _dimensions(path: Path, data: xr.Dataset) -> dict[str, str]:
    found = {}
    for role, names in DIMENSIONS.items():
        for name in names:
            if name in data.dims or (role == "time" and name in data.coords):
                found[role] = name
                break
    for role in ("time", "lead", "latitude", "longitude"):
        if role not in found:
            raise InputError(
                f"{path}: has no dimension {DIMENSIONS[role][0]}; "
                "a forecast has time, number, prediction_timedelta, latitude and longitude"
            )
    return found


def orient(
    lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[bool, int, NDArray[np.float64], NDArray[np.float64]]:
    """How fields are turned to run from south to north and from 0 to the east.

    Returns:
        Whether to flip latitudes, how far to roll longitudes, and both coordinates after it.
    """
    lat, lon = np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64)
    flip = len(lat) > 1 and lat[0] > lat[-1]
    lat = lat[::-1] if flip else lat
    east = np.where(lon < -1e-6, lon + 360.0, lon)
    around = len(lon) > 1 and abs(len(lon) * abs(lon[1] - lon[0]) - 360.0) < 1e-3 * 360.0
    roll = -int(np.argmin(east)) if around else 0
    return bool(flip), roll, lat, np.roll(east, roll) if around else lon
