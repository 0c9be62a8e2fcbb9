"""Streams: the published generator, and draws that depend on seed, sample and position alone."""

import math

import pytest
import torch

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.state import Layout
from sciddiff.streams import Streams, philox

# Known answers distributed with Random123 (Salmon et al.), file kat_vectors, philox4x32 10 rounds.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = philox(torch.tensor(counter).view(4, 1), key)
    assert tuple(words[:, 0].tolist()) == answer


@pytest.mark.parametrize("draw", [streams.normal, streams.uniform])
def test_a_sample_does_not_depend_on_its_batch(draw):
    whole = Streams(7, torch.arange(6))
    some = Streams(7, torch.tensor([4, 1]))
    for _ in range(3):
        full = draw(torch.empty(6, 5, 3), whole)
        part = draw(torch.empty(2, 5, 3), some)
        assert torch.equal(part, full[[4, 1]])


@pytest.mark.parametrize("width", [(), (1,), (3,), (4,), (2, 3)])
def test_padding_and_raggedness_change_nothing(width):
    lengths = torch.tensor([3, 7, 1, 4])
    index = torch.repeat_interleave(torch.arange(4), lengths)
    layout = Layout(4, index=index)
    ragged = Streams(1, torch.arange(4)).normal(torch.empty(15, *width), layout)
    for padded in (7, 12):
        dense = Streams(1, torch.arange(4)).normal(torch.empty(4, padded, *width))
        rows = torch.cat([dense[i, :n] for i, n in enumerate(lengths.tolist())])
        assert torch.equal(rows, ragged)


def test_a_ragged_leaf_may_be_in_any_order():
    index = torch.tensor([2, 0, 1, 0, 2, 2])
    layout = Layout(3, index=index)
    mixed = Streams(1, torch.arange(3)).normal(torch.empty(6, 3), layout)
    order = torch.argsort(index, stable=True)
    sorted_layout = Layout(3, index=index[order])
    in_order = Streams(1, torch.arange(3)).normal(torch.empty(6, 3), sorted_layout)
    assert torch.equal(mixed[order], in_order)


def test_types_are_roundings_of_one_number():
    wide = Streams.first(5, 3).normal(torch.empty(3, 50, dtype=torch.float64))
    short = Streams.first(5, 3).normal(torch.empty(3, 50))
    assert torch.equal(wide.float(), short)


def test_draws_seeds_and_samples_differ():
    stream = Streams.first(0, 2)
    like = torch.empty(2, 1000, dtype=torch.float64)
    first, second = stream.normal(like), stream.normal(like)
    other = Streams.first(1, 2).normal(like)
    far = Streams(0, torch.tensor([2**32, 2**32 + 1])).normal(like)
    series = torch.stack([first[0], first[1], second[0], second[1], other[0], far[0]])
    correlation = torch.corrcoef(series) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 5 / math.sqrt(1000)


def test_laws():
    n = 200_000
    u = Streams.first(3, n // 100).uniform(torch.empty(n // 100, 100, dtype=torch.float64))
    ordered = u.flatten().sort().values
    gap = (ordered - (torch.arange(n) + 0.5) / n).abs().max()
    assert gap < 1.95 / math.sqrt(n)  # Kolmogorov-Smirnov, p = 0.001
    z = Streams.first(3, n // 100).normal(torch.empty(n // 100, 100, dtype=torch.float64))
    uniform = torch.special.ndtr(z.flatten()).sort().values
    assert (uniform - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / math.sqrt(n)
    pairs = z.reshape(-1, 2)
    assert abs(float((pairs[:, 0] * pairs[:, 1]).mean())) < 4 / math.sqrt(n // 2)


def test_draws_made_ahead_are_those_made_one_by_one():
    shapes = [(2, 4), (2, 3), (2, 4), (2, 4), (2, 3), (2, 5, 2), (2, 4), (2, 3), *[(2, 4)] * 40]
    running = Streams.first(11, 2)
    for number, shape in enumerate(shapes):
        like = torch.empty(shape, dtype=torch.float64 if number == 7 else torch.float32)
        if number == 9:
            fresh = Streams(11, torch.arange(2), number).uniform(like)
            assert torch.equal(running.uniform(like), fresh)
        else:
            alone = Streams(11, torch.arange(2), number).normal(like)
            assert torch.equal(running.normal(like).clone(), alone)
        assert running.draws == number + 1


def test_a_draw_may_be_overwritten():
    stream, other, like = Streams.first(0, 2), Streams.first(0, 2), torch.empty(2, 4)
    for _ in range(5):
        drawn = stream.normal(like)
        assert torch.equal(drawn, other.normal(like))
        drawn.zero_()


def test_arrays_and_tensors_hold_the_same_words():
    counter = torch.randint(0, 2**32, (4, 3, 50), generator=torch.Generator().manual_seed(0))
    arrays = counter.numpy().astype("uint64")
    even, odd = streams._philox_array(arrays[0::2], arrays[1::2], (1, 2**31))
    rows = [torch.from_numpy(row.astype("int64")) for row in (even[0], odd[0], even[1], odd[1])]
    assert torch.equal(torch.stack(rows), philox(counter, (1, 2**31)))


def test_select_continues_the_same_streams():
    stream = Streams.first(0, 5)
    stream.normal(torch.empty(5, 2))
    picked = stream.select(torch.tensor([3, 0]))
    assert torch.equal(picked.normal(torch.empty(2, 4)), stream.normal(torch.empty(5, 4))[[3, 0]])


def test_a_plain_generator_is_accepted_and_the_global_one_never_used():
    before = torch.random.get_rng_state()
    like = torch.empty(3, 4)
    drawn = streams.normal(like, torch.Generator().manual_seed(3))
    expected = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, expected)
    Streams.first(0, 3).normal(like)
    streams.uniform_per_sample(3, torch.Generator().manual_seed(3))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="generator: none given"):
        streams.normal(torch.empty(3), None)
    with pytest.raises(InputError, match="seed: -1"):
        Streams.first(-1, 3)
    with pytest.raises(InputError, match="3 samples; the leaf has 4"):
        Streams.first(0, 3).normal(torch.empty(4, 2))
