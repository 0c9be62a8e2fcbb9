"""The store of an ensemble: blocks, memory, and what it refuses."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from sciddiff.errors import InputError
from weather.forecast import ensemble
from weather.forecast.ensemble import EnsembleStore, Plan
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import read_initial
from weather.forecast.making import Team, block_size, make_ensemble


@pytest.fixture(scope="module")
def forecaster(small_models) -> Forecaster:
    return Forecaster(small_models["crps"])


@pytest.fixture(scope="module")
def initials(small_store, small_spec):
    return read_initial([small_store], small_spec, ["0003-03-10", "0003-03-20"])


def _plan(initials, members=5, leads=3, block=2) -> Plan:
    return Plan(tuple(initial.time for initial in initials), members, leads, block)


def test_blocks_cover_every_member_once(initials):
    blocks = _plan(initials).blocks()
    made = [(block.start, member) for block in blocks for member in block.members]
    assert made == [(start, member) for start in range(2) for member in range(5)]
    shares = [Team(rank, 2).share(blocks) for rank in range(2)]
    assert sorted(map(str, shares[0] + shares[1])) == sorted(map(str, blocks))


def test_block_size_keeps_to_memory_and_shares(forecaster):
    one = forecaster.member_bytes()
    assert block_size(forecaster, 50, 4 * one) == 4
    assert block_size(forecaster, 50, 1) == 1
    assert block_size(forecaster, 3) == 3
    assert block_size(forecaster, 6, parts=2) == 3


def _peak(forecaster, initials, path, leads: int, members: int) -> int:
    plan = _plan(initials[:1], members, leads)
    store = EnsembleStore.open(path, plan, forecaster.spec, {"leads": leads}, {})
    tracemalloc.start()
    make_ensemble(forecaster, initials, store, store.missing(), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not recognized as a component.*")
def test_memory_does_not_grow_with_leads_or_members(forecaster, initials, tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "_CHUNK_BYTES", 4 * 16 * 32 * 2 * 2)
    base = _peak(forecaster, initials, tmp_path / "base.zarr", 4, 2)
    for leads, members in ((16, 2), (4, 8)):
        more = _peak(forecaster, initials, tmp_path / f"{leads}{members}.zarr", leads, members)
        assert more < 1.3 * base
    whole = xr.open_zarr(tmp_path / "162.zarr", consolidated=False)
    assert whole.z500.encoding["chunks"] == (1, 2, 2, 16, 32)
    assert np.isfinite(whole.z500.values).all()


def test_an_unfinished_block_is_missing(forecaster, initials, tmp_path):
    plan = _plan(initials)
    store = EnsembleStore.open(tmp_path / "a.zarr", plan, forecaster.spec, {"seed": 0}, {})
    first, second, *_ = plan.blocks()
    store.finish(first)
    again = EnsembleStore.open(tmp_path / "a.zarr", plan, forecaster.spec, {"seed": 0}, {})
    assert again.missing() == plan.blocks()[1:]
    assert not again.finished(second)
    # The last block of the first start holds one member of two: finished until more are wanted.
    last = plan.blocks()[2]
    again.finish(last)
    more = EnsembleStore.open(
        tmp_path / "a.zarr", _plan(initials, members=6, block=4), forecaster.spec, {"seed": 0}, {}
    )
    assert more.plan.block == 2 and more.plan.blocks()[2] in more.missing()


def test_what_is_there_is_not_written_over(forecaster, initials, tmp_path):
    plan = _plan(initials)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("x")
    (tmp_path / "file.zarr").write_text("x")
    for name in ("full", "file.zarr"):
        with pytest.raises(InputError, match="choose another -o"):
            EnsembleStore.open(tmp_path / name, plan, forecaster.spec, {}, {})
    assert (tmp_path / "full" / "precious.txt").read_text() == "x"
    store = EnsembleStore.open(tmp_path / "b.zarr", plan, forecaster.spec, {"seed": 0}, {})
    store.finish(plan.blocks()[0])
    with pytest.raises(InputError, match="seed was 0 and is now 1"):
        EnsembleStore.open(tmp_path / "b.zarr", plan, forecaster.spec, {"seed": 1}, {})


def test_a_command_that_failed_does_not_block_the_right_one(forecaster, initials, tmp_path):
    plan, path = _plan(initials), tmp_path / "a.zarr"
    EnsembleStore.open(path, plan, forecaster.spec, {"seed": 0}, {})
    right = EnsembleStore.open(path, plan, forecaster.spec, {"seed": 1}, {})
    assert right.campaign.request == {"seed": 1} and right.missing() == plan.blocks()
    # A folder that another verb wrote is not ours to replace.
    (tmp_path / "designs").mkdir()
    (tmp_path / "designs" / "run.json").write_text('{"request": {"length": 80}}')
    (tmp_path / "designs" / "design_0001.cif").write_text("x")
    with pytest.raises(InputError, match="another command"):
        EnsembleStore.open(tmp_path / "designs", plan, forecaster.spec, {"seed": 1}, {})
    assert (tmp_path / "designs" / "design_0001.cif").exists()
