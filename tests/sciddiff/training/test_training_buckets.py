"""Batches of similar sizes: nothing lost or doubled, within the budget, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciddiff.errors import InputError
from sciddiff.training.buckets import Buckets

SIZES = np.random.default_rng(0).integers(40, 129, 2000).tolist()


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=200),
    budget=st.floats(1e3, 1e6),
    limit=st.integers(0, 8),
    epoch=st.integers(0, 3),
)
def test_every_item_once_and_no_batch_above_the_budget(sizes, budget, limit, epoch):
    buckets = Buckets(sizes, budget, max_items=limit)
    batches = buckets.batches(epoch, seed=1)
    assert sorted(i for batch in batches for i in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or buckets.cost(batch) <= budget
        assert not limit or len(batch) <= limit


def test_padding_stays_small():
    buckets = Buckets(SIZES, 16 * 128**2)
    batches = buckets.batches(0, 0)
    padded = sum(buckets.cost(batch) for batch in batches)
    needed = sum(float(n) ** 2 for n in SIZES)
    assert padded < 1.15 * needed
    # Batches are nearly full, so that steps cost nearly the same.
    assert np.median([buckets.cost(batch) for batch in batches]) > 0.9 * buckets.budget


def test_order_depends_on_seed_and_epoch_alone():
    one, two = Buckets(SIZES, 1e5), Buckets(list(SIZES), 1e5)
    assert one.batches(3, 7) == two.batches(3, 7)
    assert one.batches(3, 7) != one.batches(4, 7)
    assert one.batches(3, 7) != one.batches(3, 8)
    met = [{frozenset(batch) for batch in one.batches(epoch, 0)} for epoch in (0, 1)]
    assert len(met[0] & met[1]) < 0.05 * len(met[0])


def test_sizes_come_in_random_order():
    firsts = [np.mean([SIZES[i] for i in batch]) for batch in Buckets(SIZES, 1e5).batches(0, 0)]
    assert abs(np.corrcoef(firsts, np.arange(len(firsts)))[0, 1]) < 0.2


@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_an_epoch_evenly(world):
    buckets = Buckets(SIZES, 1e5)
    whole = buckets.batches(0, 0)
    shares = [buckets.batches(0, 0, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    interleaved = [batch for row in zip(*shares, strict=True) for batch in row]
    assert interleaved[: len(whole)] == whole
    assert len(interleaved) - len(whole) < world


def test_chosen_items_may_repeat():
    chosen = [3, 3, 5, 9]
    batches = Buckets(SIZES, 1e6).batches(0, 0, items=chosen)
    assert sorted(i for batch in batches for i in batch) == chosen


def test_misuse_is_told():
    with pytest.raises(InputError, match="budget"):
        Buckets([3], 0.0)
    with pytest.raises(InputError, match="no items"):
        Buckets([], 10.0)
