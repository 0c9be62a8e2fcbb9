"""Windows: values, gaps, order by (seed, epoch, rank), and the same from memory as from disk."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.data.samples import Samples
from weather.data.store import Store
from weather.data.times import Period

SMALL = 40_000  # bytes: less than the store holds


def _epoch(samples: Samples, epoch: int = 0, rank: int = 0, world: int = 1) -> list[list[int]]:
    return [w.starts.tolist() for w in samples.batches(4, epoch, 5, rank, world)]


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
def test_windows_are_standardised_slices(store: Store, fields: np.ndarray, memory: int):
    samples = Samples(store, frames=2, steps=2, memory=memory)
    assert samples.resident == (memory > SMALL)
    assert len(samples) == 27 + 17
    z = store.statistics.standardise(fields)
    for windows in samples.batches(4, 0, 1):
        for field, start in zip(windows.fields, windows.starts.tolist(), strict=True):
            np.testing.assert_allclose(field.numpy(), z[start : start + 4], rtol=1e-5, atol=1e-6)
            assert start + 3 < 30 or start >= 30


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
def test_order_depends_on_seed_and_epoch_alone(store: Store, memory: int):
    samples = Samples(store, memory=memory)
    once = _epoch(samples)
    assert once == _epoch(Samples(store, memory=memory))
    assert once != _epoch(samples, epoch=1)
    flat = [i for batch in once for i in batch]
    assert len(set(flat)) == len(flat) >= len(samples) - 3
    shares = [_epoch(samples, rank=r, world=3) for r in range(3)]
    assert {len(share) for share in shares} == {len(once) // 3}
    merged = [batch for group in zip(*shares, strict=True) for batch in group]
    assert merged == once[: len(merged)]


def test_blocks_read_every_chunk_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Windows of one time, so that none reaches into the next chunk.
    samples = Samples(store, frames=1, steps=0, memory=SMALL)
    reads: list[int] = []
    plain = Samples._read

    def counting(self: Samples, start: int, stop: int):
        reads.append(start)
        return plain(self, start, stop)

    monkeypatch.setattr(Samples, "_read", counting)
    _epoch(samples)
    assert sorted(reads) == [0, 16, 32, 48]


def test_more_processes_than_batches(store: Store):
    samples = Samples(store, period=Period.parse("2001-02-01:2001-02-06"))
    assert len(samples) == 4
    assert [len(_epoch(samples, rank=r, world=3)) for r in range(3)] == [1, 1, 1]


def test_channels_periods_and_days(store: Store, fields: np.ndarray):
    samples = Samples(
        store, period=Period.parse("2001-02-11:2001-02-20"), channels=("u10", "z500")
    )
    windows = next(samples.fixed(3))
    assert windows.starts.tolist() == [10, 11, 12]
    assert windows.days[0].tolist() == [42, 43, 44]
    s = store.statistics
    want = (fields[10:13, 2] - s.mean[2]) / s.std[2]
    np.testing.assert_allclose(windows.fields[0, :, 0].numpy(), want, rtol=1e-5, atol=1e-6)
    thinned = [w.starts.tolist() for w in samples.fixed(8, most=3)]
    assert thinned == [[10, 14, 17]]


def test_a_period_too_short(store: Store):
    with pytest.raises(InputError, match="hold no 3 consecutive ones; widen the period"):
        Samples(store, period=Period.parse("2001-02-01:2001-02-02"))
