"""Streams: the published generator, and draws that depend on seed, sample and position alone."""

import gc
import itertools
import math
import weakref

import pytest
import torch

from sciddiff import philox as philox_module
from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.philox import philox
from sciddiff.state import Layout
from sciddiff.streams import Streams, index_of, seed_of, streams_of

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

GOLDEN = [
    [0.2297081605550599, 0.20041438525856892, 0.6326745268770009],
    [-1.6175912715047027, 0.7189428830766539, 0.07671524163479797],
]
SEED = 13047364509157226947


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = philox(torch.tensor(counter).view(4, 1), key[0] | key[1] << 32)
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


@pytest.mark.parametrize(("rows", "blocks"), [(3, 5), (1, 1), (700, 70), (2, 40_000), (0, 3)])
def test_arrays_and_tensors_give_the_same_numbers(rows, blocks):
    draw = torch.Generator().manual_seed(0)
    words = [torch.randint(0, 2**32, (rows, 1), generator=draw) for _ in range(3)]
    counter = (torch.arange(blocks)[None] + 2**32 - 9, *words)
    key = 2**63 + 12345
    for law in (philox_module.uniforms, lambda *at: philox_module.normals(*at, torch.float64)):
        assert torch.equal(law(counter, key), _in_tensors(law, counter, key))


def _in_tensors(law, counter, key):
    """The numbers as another device than the processor makes them."""

    class Elsewhere:
        def __init__(self, word):
            self.word = word

        device = torch.device("meta")

    first = Elsewhere(counter[0])
    original = philox_module._doubles
    philox_module._doubles = lambda _, key: original(counter, key)
    try:
        return law((first, *counter[1:]), key)
    finally:
        philox_module._doubles = original


def test_samples_keep_the_numbers_they_have_had():
    """Weights that ship give the same samples as long as these stand."""
    drawn = Streams(7, torch.tensor([0, 5])).normal(torch.empty(2, 3, dtype=torch.float64))
    expected = torch.tensor(GOLDEN, dtype=torch.float64)
    torch.testing.assert_close(drawn, expected, rtol=1e-13, atol=0)


def _counters(stream: Streams) -> set[tuple[int, ...]]:
    """Key and counter of every block that a draw of one block takes."""
    seen = []

    def spy(counter, key):
        words = torch.stack(torch.broadcast_tensors(*counter)).flatten(1) & 0xFFFFFFFF
        seen.extend((key, *column) for column in words.T.tolist())
        return torch.zeros(*counter[1].shape, 2, dtype=torch.float64)

    original, streams.uniforms = streams.uniforms, spy
    try:
        stream.uniform(torch.empty(len(stream.indices), 1))
    finally:
        streams.uniforms = original
    assert len(seen) == len(stream.indices)
    return set(seen)


def test_no_two_purposes_seeds_samples_or_draws_share_a_block():
    names = ("churn", "probes", "proposals", "search", "noise", "a", "b")
    nested = [("search", "churn"), ("churn", "search"), ("a", "b"), ("ab",)]
    purposes = [(), *((name,) for name in names), *nested]
    indices = torch.tensor([index_of(n, k) for n in (0, 1, 64, 65, 2**32 - 1) for k in range(70)])
    grid = list(itertools.product((0, 1, 2**32, 2**64 - 1), purposes, (0, 1, 20)))
    blocks = [_counters(Streams(seed, indices, draws, name)) for seed, name, draws in grid]
    assert len(set().union(*blocks)) == len(grid) * len(indices)
    # The bit that separates named purposes: no key can make them meet unnamed streams.
    plain, named = set(), set()
    for (_, name, _), part in zip(grid, blocks, strict=True):
        (named if name else plain).update(block[1:] for block in part)
    assert plain.isdisjoint(named)


def test_purposes_are_uncorrelated():
    like = torch.empty(2, 2000, dtype=torch.float64)
    root = Streams.first(0, 2)
    sources = [root, root.purpose("a"), root.purpose("b"), root.purpose("a").purpose("b")]
    sources.append(Streams.first(seed_of(0, "a"), 2))
    series = torch.cat([source.normal(like) for source in sources])
    correlation = torch.corrcoef(series) - torch.eye(len(series), dtype=torch.float64)
    assert correlation.abs().max() < 5 / math.sqrt(2000)


def test_a_purpose_asked_for_twice_goes_on():
    like, stream = torch.empty(3, 4), Streams.first(2, 3)
    first, second = stream.purpose("churn").normal(like), stream.purpose("churn").normal(like)
    assert not torch.equal(first, second)
    again = Streams.first(2, 3)
    again.normal(like)  # what one purpose draws does not move another
    assert torch.equal(again.purpose("churn").normal(like), first)
    part = again.select(torch.tensor([2, 0])).purpose("churn")
    assert torch.equal(part.normal(torch.empty(2, 4)), second[[2, 0]])


def test_a_purpose_does_not_depend_on_the_batch():
    whole = Streams(7, torch.arange(6)).purpose("probes").uniform(torch.empty(6, 5))
    some = Streams(7, torch.tensor([4, 1])).purpose("probes").uniform(torch.empty(2, 5))
    assert torch.equal(some, whole[[4, 1]])


def test_seeds_tell_all_parts_apart():
    parts = (0, 1, 12, 2**64, -1, "", "a", "1", "a/b", "int:1:1")
    ways = [w for n in range(4) for w in itertools.product(parts, repeat=n)]
    for bits in (64, 31):
        seeds = [seed_of(seed, *way, bits=bits) for seed in (0, 1) for way in ways]
        assert all(0 <= seed < 2**bits for seed in seeds)
        assert len(set(seeds)) == len(seeds)
    assert seed_of(3, "conformers", 7) == SEED  # the same in every version and on every machine


def test_sample_indices_of_pairs_never_meet():
    numbers = [0, 1, 63, 64, 2**31, 2**32 - 1]
    made = [index_of(n, k) for n in numbers for k in [*range(130), 2**31 - 1]]
    assert len(set(made)) == len(made)
    assert max(made) < 2**63  # they are int64
    assert [index_of(n) for n in numbers] == numbers
    with pytest.raises(InputError, match="sample index"):
        index_of(2**32)


def test_a_layout_is_not_kept_alive():
    stream = Streams.first(0, 2)
    layout = Layout(2, index=torch.tensor([0, 0, 1]))
    for _ in range(3):
        stream.normal(torch.empty(3, 2), layout)
    gone = weakref.ref(layout)
    del layout
    gc.collect()
    assert gone() is None
    for rows in range(100):  # nor do numbers made ahead pile up
        index = torch.zeros(rows + 1, dtype=torch.int64)
        for _ in range(2):
            stream.normal(torch.empty(rows + 1, 2), Layout(2, index=index))
    assert len(stream._ahead) <= 16


def test_a_seed_may_be_streams_already():
    indices = torch.tensor([3, 1])
    like = torch.empty(2, 4)
    made = streams_of(5, 2, indices)
    assert torch.equal(streams.normal(like, made), Streams(5, indices).normal(like))
    assert streams_of(made, 2) is made
    generator = torch.Generator()
    assert streams_of(generator, 2) is generator
    assert torch.equal(streams_of(5, 3).indices, torch.arange(3))
    with pytest.raises(InputError, match="leave indices out"):
        streams_of(made, 2, indices)
    with pytest.raises(InputError, match="streams of 2 samples; the batch has 3"):
        streams_of(made, 3)
    with pytest.raises(InputError, match="one number per sample"):
        streams_of(5, 3, indices)


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
    with pytest.raises(InputError, match="purpose: the name is empty"):
        Streams.first(0, 3).purpose("")
    with pytest.raises(InputError, match="seed: -1"):
        Streams.first(-1, 3)
    with pytest.raises(InputError, match="3 samples; the leaf has 4"):
        Streams.first(0, 3).normal(torch.empty(4, 2))


@pytest.mark.parametrize("shape", [(3, 0), (3, 0, 5), (3, 4, 0)])
def test_a_leaf_without_entries_draws_none(shape):
    """The torsions of a rigid ligand, for example; the next draw is what it would have been."""
    empty, whole = Streams(0, torch.arange(3)), Streams(0, torch.arange(3))
    assert streams.uniform(torch.zeros(shape), empty).shape == shape
    streams.uniform(torch.zeros(3, 2), whole)
    after = [streams.normal(torch.zeros(3, 2), one) for one in (empty, whole)]
    assert torch.equal(*after)
