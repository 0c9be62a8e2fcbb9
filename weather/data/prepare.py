"""From files to a prepared store, in blocks; a killed run is followed by the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError
from weather.cluster import in_order
from weather.data.areas import Area
from weather.data.extending import StoreExtender, former_store, is_extended, joined_plan
from weather.data.reading import Reader, ReaderSettings, open_reader
from weather.data.rectangles import Rectangle
from weather.data.store import Store, read_attributes
from weather.data.times import Period, label
from weather.data.writer import Plan, StoreWriter

__all__ = ["PrepareReport", "extend_forecast", "plan_of", "prepare_forecast", "settings_of"]

OnProgress = Callable[[int, int], None]
"""Called with times done and times in all."""


@final
@dataclass(frozen=True, eq=False)
class PrepareReport:
    """What became of the files.

    Attributes:
        reader: The files, as understood.
        plan: What the store holds.
        store: The store, or None after a dry run.
        resumed: Times an earlier, unfinished run had written.
        former: Times the store held before it was extended.
        faults: What a run would stop at, found by a dry run.
    """

    reader: Reader
    plan: Plan
    store: Store | None = None
    resumed: int = 0
    former: int = 0
    faults: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        plan, selection = self.plan, self.reader.selection
        keys = ("variable", "file_units", "channel", "units", "note")
        found: dict[str, Any] = {
            "matching": [dict(zip(keys, row, strict=True)) for row in self.reader.matching.rows()],
            "channels": [c.name for c in plan.channels],
            "grid": str(plan.grid),
            "from_grid": str(self.reader.regrid.source),
            "times": len(plan.times),
            "first": label(plan.times[0]),
            "last": label(plan.times[-1]),
            "step_hours": plan.step.hours,
            "step_months": plan.step.months,
            "notes": list(selection.notes),
        }
        if self.faults:
            found["faults"] = list(self.faults)
        if self.store is not None:
            statistics = self.store.statistics
            found |= {
                "store": str(self.store.path),
                "fingerprint": self.store.fingerprint,
                "resumed": self.resumed,
                "former": self.former,
                "mean": statistics.mean.tolist(),
                "std": statistics.std.tolist(),
                "tendency_std": statistics.tendency_std.tolist(),
            }
        return found


def prepare_forecast(
    paths: Sequence[str | Path],
    out: Path,
    settings: ReaderSettings | None = None,
    training: Period | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    tell: OnProgress = lambda done, total: None,
    chunk: int = 0,
    client: Any = None,
) -> PrepareReport:
    """Prepare a store.

    Args:
        paths: Files of any kind `weather.data.opening` reads.
        out: Folder to write.
        settings: What to take and how.
        training: Times the statistics are taken over; all by default.
        overwrite: Replace a store that is there.
        dry_run: Stop before anything is written; faults are then listed in the report.
        tell: Progress.
        chunk: Times in a chunk; 0 chooses by the size of the fields.
        client: Of a Dask cluster that reads and regrids (`weather.cluster.connect`).

    Raises:
        InputError: Anything wrong with files, settings or `out`, in one line; what was written
            so far stays and is continued by the same command.
        MissingExtra: A package for the format is absent.
    """
    chosen = settings or ReaderSettings()
    if not dry_run and out.resolve() in [Path(p).resolve() for p in paths]:
        raise InputError(f"{out}: is also a file to read; choose another name")
    if out.suffix.lower() in _FILES:
        raise InputError(f"{out}: a store is a Zarr folder; name it {out.with_suffix('.zarr')}")
    if dry_run:
        return _rehearse(paths, chosen, training or Period())
    reader = open_reader(paths, chosen)
    plan = replace(plan_of(paths, reader, training or Period()), chunk_times=chunk)
    if not plan.training.mask(plan.times).any():
        raise InputError(_outside(plan))
    writer = StoreWriter(out, plan, overwrite, _request(chosen), _inputs(paths, out))
    resumed, total = writer.done, len(plan.times)
    tell(resumed, total)
    for fields, filled in _blocks(reader, writer, total, client):
        writer.write(fields, filled)
        tell(writer.done, total)
    return PrepareReport(reader, plan, writer.finish(), resumed)


def extend_forecast(
    paths: Sequence[str | Path],
    out: Path,
    settings: ReaderSettings | None = None,
    training: Period | None = None,
    dry_run: bool = False,
    tell: OnProgress = lambda done, total: None,
    client: Any = None,
) -> PrepareReport:
    """Extend a store by later times.

    What the settings leave open is taken from the store: its channels, grid, area, step and rules
    for missing values.

    Args:
        paths: Files that hold the later times.
        out: The store.
        settings: What to take and how.
        training: Times the statistics are taken over; by default those of the store.
        dry_run: Stop before anything is written.
        tell: Progress.
        client: Of a Dask cluster that reads and regrids (`weather.cluster.connect`).

    Raises:
        InputError: Anything wrong with files or settings, or files that do not continue the
            store, in one line. What the store held before can be read all the while.
    """
    if out.resolve() in [Path(p).resolve() for p in paths]:
        raise InputError(f"{out}: is also a file to read; name the later files")
    store = former_store(out)
    chosen = settings_of(store, settings or ReaderSettings())
    inputs = Inputs().add_all("files", paths)
    reader = open_reader(paths, chosen)
    later = plan_of(paths, reader, Period())
    # Other times of the same files, by --period, are another extension.
    span = [label(later.times[0]), label(later.times[-1]), len(later.times)]
    request = {**_request(chosen), "times": span}
    if is_extended(store, request, inputs):
        return PrepareReport(reader, later, store, len(later.times), len(store) - len(later.times))
    plan = joined_plan(store, later, training, chosen.gaps)
    if dry_run:
        return PrepareReport(reader, later, former=len(store))
    extender = StoreExtender(store, plan, request, inputs)
    resumed, total = extender.done - extender.former, len(later.times)
    tell(resumed, total)
    for fields, filled in _blocks(reader, extender, total, client):
        extender.write(fields, filled)
        tell(extender.done - extender.former, total)
    return PrepareReport(reader, later, extender.finish(), resumed, extender.former)


def _blocks(
    reader: Reader, writer: StoreWriter | StoreExtender, total: int, client: Any
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Read what a store still lacks, block after block, here or on a cluster."""
    pieces, (start, stop) = [], writer.next_block()
    while start < total:
        pieces.append((start, stop))
        start, stop = stop, min(stop + writer.plan.chunk, total)
    if client is None:
        return (reader.block(*piece) for piece in pieces)
    return in_order(client, _block, reader, pieces)


def _block(reader: Reader, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return reader.block(start, stop)


def settings_of(store: Store, settings: ReaderSettings) -> ReaderSettings:
    """Settings for later files of a store: what they leave open is as in the store.

    Raises:
        InputError: Another rule for missing values than the store was made with.
    """
    rules = dict(store.attributes.get("nan_policy", {}))
    for name, rule in rules.items():
        if settings.nan.get(name, rule) != rule:
            raise InputError(
                f"--nan {name}={settings.nan[name]}: {store.path} was made with {name}={rule}; "
                "use the same rule"
            )
    taken = {n: rule for n, rule in rules.items() if n in (settings.variables or store.names)}
    changes: dict[str, Any] = {"nan": {**taken, **settings.nan}}
    if not settings.variables and not settings.levels:
        changes["variables"] = store.names
    if not settings.grid and store.attributes.get("method"):
        changes |= {"grid": str(store.grid), "method": store.attributes["method"]}
    if settings.area is None and isinstance(store.grid, Rectangle) and not store.grid.wraps:
        changes["area"] = Area.of(store.grid)
    if not settings.step_hours and not store.step.months:
        changes["step_hours"] = store.step_hours
    return replace(settings, **changes)


def _rehearse(
    paths: Sequence[str | Path], settings: ReaderSettings, training: Period
) -> PrepareReport:
    """Go as far as the files allow, past faults of choice, times and values.

    Raises:
        InputError: The files cannot be opened, or hold no field.
    """
    faults: list[str] = []
    lenient = (
        {"gaps": "keep", "duplicates": "first"},
        {"step_hours": 0.0, "aggregate": {}},
        {"period": None},
        {"grid": ""},
        {"variables": (), "levels": (), "nan": {}},
    )
    chosen, reader = settings, None
    for changes in ({}, *lenient):
        chosen = replace(chosen, **changes)
        try:
            reader = open_reader(paths, chosen, probe=False)
            break
        except InputError as error:
            if str(error) not in faults:
                faults.append(str(error))
    if reader is None:
        raise InputError(faults[0])
    plan = plan_of(paths, reader, training)
    if not plan.training.mask(plan.times).any():
        faults.append(_outside(plan))
    try:
        reader.probe()
    except InputError as error:
        faults.append(str(error))
    return PrepareReport(reader, plan, faults=tuple(faults))


def _outside(plan: Plan) -> str:
    return (
        f"--train-period {plan.training}: the store holds {label(plan.times[0])} to "
        f"{label(plan.times[-1])}"
    )


# Names of files, which no store is called by.
_FILES = (".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5", ".grib", ".grib2", ".grb", ".grb2",
          ".csv")  # fmt: skip

# Settings that show in the channels, times and grid of the plan, and those that change no value.
_IN_PLAN = {"variables", "levels", "grid", "method", "period", "step_hours"}
_NO_VALUE = {"gaps", "any_values"}


def _request(settings: ReaderSettings) -> dict[str, Any]:
    """Settings that decide the values beside what the plan tells."""
    return {k: v for k, v in asdict(settings).items() if k not in _IN_PLAN | _NO_VALUE}


def _inputs(paths: Sequence[str | Path], out: Path) -> Inputs:
    """Content of the files; large ones that the store knows and nobody touched are not read."""
    known = (read_attributes(out) or {}).get("inputs", {})
    return Inputs().add_all("files", paths, known.get("files"))


def plan_of(paths: Sequence[str | Path], reader: Reader, training: Period) -> Plan:
    """What a store of these files will hold."""
    channels = tuple(m.channel for m in reader.matching.matches)
    policy = {c.name: reader.policy.of(c) for c in channels if reader.policy.of(c) != "refuse"}
    return Plan(
        channels,
        reader.grid,
        reader.selection.times,
        reader.selection.step,
        tuple(Path(str(p)).name for p in paths),
        "" if reader.regrid.identity else reader.regrid.method,
        training,
        policy,
        0.0 if reader.selection.windows is None else reader.selection.windows.hours,
        str(reader.dataset.attrs.get("planet", "")),
    )
