"""The prepared store: round trip, statistics against one pass of numpy, resume after a kill."""

import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciddiff.errors import InputError
from weather.data.store import Store, is_store
from weather.data.times import Period
from weather.data.writer import Plan, StoreWriter


def _write(path: Path, plan: Plan, fields: np.ndarray, blocks: int = 1000) -> StoreWriter:
    writer = StoreWriter(path, plan)
    while not writer.finished and blocks:
        start, stop = writer.next_block()
        writer.write(fields[start:stop])
        blocks -= 1
    return writer


def _exact(fields: np.ndarray, weights: np.ndarray, pairs: np.ndarray):
    w = np.broadcast_to(weights[:, None] / weights.mean(), fields.shape[2:])[None, None]
    w = np.broadcast_to(w, fields.shape)
    x = fields.astype(np.float64)
    mean = np.average(x, weights=w, axis=(0, 2, 3))
    spread = np.square(x - mean[:, None, None])
    std = np.sqrt(np.average(spread, weights=w, axis=(0, 2, 3)))
    d = np.diff(x, axis=0)[pairs]
    w = w[: len(d)]
    middle = np.average(d, weights=w, axis=(0, 2, 3))[:, None, None]
    tendency = np.sqrt(np.average(np.square(d - middle), weights=w, axis=(0, 2, 3)))
    return mean, std, tendency


def test_values_and_coordinates_come_back(store: Store, plan: Plan, fields: np.ndarray):
    assert np.array_equal(store.read(0, 50), fields)
    assert store.channels == plan.channels
    assert store.grid == plan.grid
    assert np.array_equal(store.times, plan.times)
    assert store.step_hours == 24
    assert store.runs == [(0, 30), (30, 50)]
    assert store.observed is None
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.read(3, 5), fields[3:5])


def test_xarray_opens_it(store: Store, fields: np.ndarray):
    found = xr.open_zarr(store.path)
    chosen = found.fields.sel(channel="tas", time="2001-02-05").values
    assert np.array_equal(chosen, fields[4, 1])
    assert found.lon.values[0] == 0.0
    assert [str(u) for u in found.units.values] == ["m", "K", "m s-1"]


def test_statistics_are_those_of_one_pass(store: Store, fields: np.ndarray):
    pairs = np.arange(49) != 29
    mean, std, tendency = _exact(fields, store.grid.weights, pairs)
    s = store.statistics
    np.testing.assert_allclose(s.mean, mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(s.std, std, rtol=1e-10)
    np.testing.assert_allclose(s.tendency_std, tendency, rtol=1e-10)
    part = store.statistics_over(Period.parse("2001-02-03:2001-02-20"))
    mean, std, tendency = _exact(fields[2:20], store.grid.weights, np.ones(17, bool))
    np.testing.assert_allclose(part.mean, mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(part.std, std, rtol=1e-10)
    np.testing.assert_allclose(part.tendency_std, tendency, rtol=1e-10)


def test_standardising_is_undone(store: Store, fields: np.ndarray):
    s = store.statistics
    z = s.standardise(fields.astype(np.float64))
    np.testing.assert_allclose(s.physical(z), fields, rtol=1e-9)
    np.testing.assert_allclose(s.residual_scale, s.tendency_std / s.std)


def test_a_killed_writer_is_followed(store: Store, plan: Plan, fields: np.ndarray, tmp_path: Path):
    path = tmp_path / "half.zarr"
    first = _write(path, plan, fields, blocks=2)
    assert first.done == 32
    # The kill came between the fields and the digest of the third block.
    np.copyto(fields_of := np.asarray(first._group["fields"][32:48]), 1e9)
    first._group["fields"][32:48] = fields_of
    with pytest.raises(InputError, match="half written; run the command that made it again"):
        Store(path)
    second = StoreWriter(path, plan)
    assert second.done == 32
    done = _write(path, plan, fields).finish()
    assert done.fingerprint == store.fingerprint
    np.testing.assert_array_equal(done.statistics.tendency_std, store.statistics.tendency_std)
    assert np.array_equal(done.read(0, 50), fields)


@pytest.mark.parametrize("left", [None, 100], ids=["missing", "cut short"])
def test_a_writer_killed_before_its_last_file_is_followed(
    plan: Plan, fields: np.ndarray, tmp_path: Path, left: int | None
):
    path = tmp_path / "fields.zarr"
    done = _write(path, plan, fields).finish()
    last = path / ".zmetadata"
    text = last.read_text()
    last.unlink() if left is None else last.write_text(text[:left])
    with pytest.raises(InputError, match="damaged, or not a prepared store"):
        repr(Store(path))
    again = StoreWriter(path, plan)
    assert again.complete
    assert again.finish().fingerprint == done.fingerprint
    assert last.read_text() == text


def test_other_settings_do_not_continue(plan: Plan, fields: np.ndarray, tmp_path: Path):
    path = tmp_path / "half.zarr"
    _write(path, plan, fields, blocks=1)
    other = dataclasses.replace(plan, method="bilinear", sources=("b.nc",))
    with pytest.raises(InputError, match="run with other files, method; repeat that command"):
        StoreWriter(path, other)
    assert StoreWriter(path, other, overwrite=True).done == 0


def test_nothing_else_is_overwritten(store: Store, plan: Plan, tmp_path: Path):
    again = StoreWriter(store.path, plan)
    assert again.complete and again.finished
    assert again.finish().fingerprint == store.fingerprint
    other = dataclasses.replace(plan, method="bilinear")
    with pytest.raises(InputError, match="is there, made with other method; give --overwrite"):
        StoreWriter(store.path, other)
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter1").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is not a prepared store; choose another name"):
            StoreWriter(mine, plan, overwrite)
    assert (mine / "chapter1").exists()
    with pytest.raises(InputError, match="not a prepared store; make one with"):
        Store(mine)
    assert is_store(store.path) and not is_store(mine)


def test_fingerprint_is_of_the_data(store: Store, plan: Plan, fields: np.ndarray, tmp_path: Path):
    changed = fields.copy()
    changed[17, 1, 2, 3] += 0.01
    one = _write(tmp_path / "a.zarr", plan, changed).finish()
    assert one.fingerprint != store.fingerprint
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store.path, copy)
    assert Store(copy).fingerprint == store.fingerprint


def test_filled_values_are_marked(plan: Plan, fields: np.ndarray, tmp_path: Path):
    writer = StoreWriter(tmp_path / "a.zarr", plan)
    while not writer.finished:
        start, stop = writer.next_block()
        filled = np.zeros(fields[start:stop].shape, dtype=bool)
        filled[:, 1, 0, :4] = start == 16
        writer.write(fields[start:stop], filled)
    observed = writer.finish().observed
    assert observed is not None
    assert not observed[1, 0, :4].any()
    assert observed.sum() == observed.size - 4


def test_nearest_time(store: Store):
    assert store.nearest("2001-02-03") == 2
    assert store.nearest("2001-02-03T11") == 2
    assert store.nearest(np.datetime64("2001-02-04T12:01")) == 4
    with pytest.raises(InputError, match="nothing near 1999-01-01; it holds 2001-02-01"):
        store.nearest("1999-01-01")
    with pytest.raises(InputError, match="not a date"):
        store.nearest("tomorrow")


def test_unknown_channels_and_periods(store: Store):
    assert store.select(["u10", "z500"]) == [2, 0]
    with pytest.raises(InputError, match="has no channel q700; it has z500, tas, u10"):
        store.select(["q700"])
    with pytest.raises(InputError, match="no time within"):
        store.range_of(Period.parse("1990:1991"))
