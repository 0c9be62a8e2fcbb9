r"""Random streams: every sample of a batch has its own, and so has every purpose.

`Streams` is a counter-based generator (Philox4x32-10, Salmon et al., *Parallel random numbers: as
easy as 1, 2, 3*, 2011). A draw is a function of (seed, purpose, sample index, number of the draw,
position of the element within its sample) and of nothing else. So neither the batch size, nor the
order of samples, nor padding, nor the device, nor the number of machines changes a result.

Three things keep numbers apart, and none of them asks the caller to pack integers by hand:

* `Streams.purpose` names what numbers are for (``"probes"``, ``"proposals"``, ...). Streams
  without a name draw the noise of samples; the counter of a named purpose has a bit set that
  theirs never has, and its key is a 64-bit hash of the seed and the names.
* `index_of` numbers a sample by two integers, for example a ligand and its conformer. The two fill
  separate words of the counter, so that different pairs never meet.
* `seed_of` derives a seed from a seed and any further names and numbers, for generators of other
  libraries and for what is drawn once per batch, rank or file.

Position within a sample is row-major: for a dense leaf ``[B, N, ...]`` it does not depend on the
padded length N; a ragged row takes its position within its sample, so a sample gets the same
numbers dense or ragged. (A leaf whose *second* row dimension is padded, such as ``[B, N, N]``, is
outside this guarantee.)

`sciddiff.philox` makes the numbers, with no loop over samples or elements. Small draws of normals
that repeat an earlier one in shape are made together with those that follow, which a function of
the number of the draw allows.

A plain ``torch.Generator`` is accepted wherever a `Streams` is, and gives one stream per batch.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.philox import Counter, normals, uniforms

if TYPE_CHECKING:
    from sciddiff.state import Layout

__all__ = [
    "Generator",
    "Streams",
    "index_of",
    "normal",
    "seed_of",
    "streams_of",
    "uniform",
    "uniform_per_sample",
]

_AHEAD = 32  # draws of normals made at once, at most
_KINDS = 16  # shapes whose draws are remembered; a ragged layout is a shape of its own
_NAMED = 2**31  # the bit of the draw's word that is set for named purposes alone

# A weak reference: numbers made ahead must not keep a layout of a batch long gone alive.
_Kind = tuple["_Law", torch.Size, torch.dtype, torch.device, "weakref.ref[Layout] | None"]

_Law = Callable[[Counter, int, torch.dtype], Tensor]
"""From a counter of ``[rows, blocks]``, a key and a type to two numbers for each block."""


@dataclass
class _Ahead:
    """Numbers of one kind that are made already.

    Attributes:
        last: Number of the last draw of this kind.
        made: Draws made at once the last time.
        waiting: Numbers of draws, and what they will give.
    """

    last: int
    made: int = 0
    waiting: deque[tuple[int, Tensor]] = field(default_factory=deque)


def seed_of(seed: int, *parts: int | str, bits: int = 64) -> int:
    """A seed that depends on every part, and on their order and kind.

    Use it wherever one seed must give several: it replaces sums and products of seeds and
    numbers, which collide (``1 + 64`` and ``65 + 0``).

    >>> seed_of(0, "conformers", 12) == seed_of(0, "conformers", 12)
    True
    >>> len({seed_of(0, 1, 2), seed_of(0, 2, 1), seed_of(0, 12), seed_of(0, "12"), seed_of(1)})
    5

    Args:
        seed: The seed that the user gave, any integer.
        parts: Names and numbers that tell this use from every other.
        bits: Size of the result: 64 for `Streams`, NumPy and PyTorch; 31 for RDKit, which takes
            positive 32-bit integers. Two of n seeds are equal with a chance of n^2 / 2^(bits + 1).

    Returns:
        An integer in [0, 2^bits).
    """
    # Each part carries its kind and its length, so that no two lists of parts read alike.
    told = [f"{type(part).__name__}:{len(str(part))}:{part}" for part in (int(seed), *parts)]
    digest = hashlib.blake2b("/".join(told).encode(), digest_size=8, person=b"sciddiff").digest()
    return int.from_bytes(digest, "little") >> (64 - bits)


def index_of(number: int, part: int = 0) -> int:
    """The sample index of part ``part`` of item ``number``: different pairs give different ones.

    Part 0 has the item's own number as its index.

    >>> index_of(7), index_of(7, 1) == index_of(8, 0)
    (7, False)

    Args:
        number: For example of a ligand in a library, in [0, 2^32).
        part: For example of a conformer of that ligand, in [0, 2^31).

    Raises:
        InputError: A number is out of range.
    """
    if not (0 <= number < 2**32 and 0 <= part < 2**31):
        raise InputError(f"sample index: ({number}, {part}) is not in [0, 2^32) by [0, 2^31)")
    return number | part << 32


@final
class Streams:
    """One independent random stream per sample.

    Args:
        seed: Any integer in [0, 2^64).
        indices: The global number of each sample, int64 ``[B]``; see `index_of`.
        draws: Draws made before; each call to `uniform` or `normal` makes one.
        names: What the numbers are for; see `purpose`. Without a name they are the noise of
            samples.

    Raises:
        InputError: The seed is out of range.

    >>> like = torch.zeros(3, 2)
    >>> together = normal(like, Streams(7, torch.arange(3)))
    >>> alone = normal(like[:1], Streams(7, torch.tensor([2])))
    >>> bool((together[2] == alone[0]).all())
    True
    """

    def __init__(
        self, seed: int, indices: Tensor, draws: int = 0, names: tuple[str, ...] = ()
    ) -> None:
        if not 0 <= seed < 2**64:
            raise InputError(f"seed: {seed} is not in [0, 2^64); choose another")
        self.seed = seed
        self.indices = indices.long()
        self.draws = draws
        self.names = names
        self._key = seed_of(seed, *names) if names else seed
        self._purposes: dict[str, Streams] = {}
        self._ahead: OrderedDict[_Kind, _Ahead] = OrderedDict()

    @classmethod
    def first(cls, seed: int, size: int) -> Streams:
        """Streams of the samples 0 to ``size - 1``."""
        return cls(seed, torch.arange(size))

    def purpose(self, name: str) -> Streams:
        """Streams of the same samples for another purpose, independent of these.

        Asked for twice, a purpose goes on where it was: no number is drawn twice. Purposes nest.

        >>> streams = Streams.first(0, 3)
        >>> probes = streams.purpose("probes")
        >>> bool((probes.normal(torch.empty(3, 2)) == streams.normal(torch.empty(3, 2))).any())
        False

        Args:
            name: What the numbers are for, such as ``"churn"``, ``"probes"``, ``"proposals"``.

        Raises:
            InputError: The name is empty.
        """
        if not name:
            raise InputError("purpose: the name is empty; say what the numbers are for")
        if name not in self._purposes:
            self._purposes[name] = Streams(self.seed, self.indices, 0, (*self.names, name))
        return self._purposes[name]

    def select(self, positions: Tensor) -> Streams:
        """Streams of some of the samples, continuing at the same draw.

        Args:
            positions: Places in this batch, int64 ``[K]``.
        """
        indices = self.indices[positions.to(self.indices.device)]
        chosen = Streams(self.seed, indices, self.draws, self.names)
        chosen._purposes = {n: one.select(positions) for n, one in self._purposes.items()}
        return chosen

    def to(self, device: torch.device | str) -> Streams:
        """The same streams, with their indices on another device."""
        moved = Streams(self.seed, self.indices.to(device), self.draws, self.names)
        moved._purposes = {n: one.to(device) for n, one in self._purposes.items()}
        return moved

    def uniform(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Uniform numbers in (0, 1) in the shape and type of ``like``; advances the counter."""
        return self._next(_uniforms, like, layout)

    def normal(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Standard normal numbers in the shape and type of ``like``; advances the counter."""
        return self._next(normals, like, layout)

    def _next(self, law: _Law, like: Tensor, layout: Layout | None) -> Tensor:
        """The next draw, perhaps made before."""
        grouping = None if layout is None or layout.index is None else layout
        reference = None if grouping is None else weakref.ref(grouping)
        dtype, now = _float_dtype(like), self.draws
        kind = (law, like.shape, dtype, like.device, reference)
        ahead, stride = self._ahead.get(kind), 1
        if ahead is None:
            ahead = self._ahead[kind] = _Ahead(now)
            if len(self._ahead) > _KINDS:
                self._ahead.popitem(last=False)
        else:
            self._ahead.move_to_end(kind)
            stride = max(now - ahead.last, 1)
        if not ahead.waiting or ahead.waiting[0][0] != now:
            # As far apart as the last two, since leaves take turns. Twice as many as last time,
            # so that few are wasted, or as many as cost no more than one: calls cost more than
            # arithmetic, on a device by far. After a wrong guess, one alone.
            size = max(like.numel(), 1)
            free, most = (2**12, 2**16) if like.is_cpu else (2**18, 2**20)
            more = max(2 * ahead.made, free // size) if ahead.made else 1
            ahead.made = 1 if ahead.waiting else max(min(more, most // size, _AHEAD), 1)
            numbers = range(now, now + ahead.made * stride, stride)
            drawn = self._draw(law, like, dtype, grouping, numbers)
            ahead.waiting = deque(zip(numbers, drawn.unbind(), strict=True))
        ahead.last = now
        self.draws += 1
        return ahead.waiting.popleft()[1]

    def _draw(
        self,
        law: _Law,
        like: Tensor,
        dtype: torch.dtype,
        layout: Layout | None,
        numbers: range,
    ) -> Tensor:
        """Draws of given numbers, ``[draws, *like.shape]``.

        Args:
            law: Of the numbers.
            like: The leaf to fill, ``[B, ...]`` or ragged ``[rows, ...]``.
            dtype: Type of the numbers.
            layout: Grouping of the rows; None: dense.
            numbers: Of the draws.
        """
        indices = self.indices.to(like.device)
        width = math.prod(like.shape[1:])
        blocks = torch.arange((width + 1) // 2, device=like.device)[None]
        place = None
        if layout is None or layout.index is None:
            if like.shape[0] != len(indices):
                raise InputError(f"streams: {len(indices)} samples; the leaf has {like.shape[0]}")
            owner = indices
        else:
            # The row of a sample begins where the row before it ends, perhaps within a block.
            owner, first = indices[layout.index], (layout.positions * width)[:, None]
            blocks = (first // 2 + blocks).repeat(len(numbers), 1)
            if width % 2:
                place = first % 2 + torch.arange(width, device=like.device)
        draws = torch.arange(numbers.start, numbers.stop, numbers.step, device=like.device)
        draws |= _NAMED if self.names else 0
        rows = len(owner)
        draws = draws.repeat_interleave(rows)[:, None]
        owner = owner.repeat(len(numbers))[:, None]
        values = law((blocks, draws, owner, owner >> 32), self._key, dtype)
        values = values.view(len(numbers), rows, 2 * blocks.shape[1])
        if place is None:
            values = values[..., :width].contiguous()
        else:
            values = values.gather(2, place.expand(len(numbers), -1, -1))
        return values.reshape(len(numbers), *like.shape)


Generator = torch.Generator | Streams


def streams_of(
    seed: int | Generator,
    size: int,
    indices: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Generator:
    """The random source of a batch, from whatever a caller gives as its seed.

    Args:
        seed: A seed; streams, which are used as they are and go on where they were; or one
            generator for the whole batch.
        size: Number of samples, B.
        indices: Global number of each sample, int64 ``[B]``; default 0 to B - 1.
        device: Where the numbers are made.

    Raises:
        InputError: The indices or the streams do not number the batch.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, Streams):
        if indices is not None:
            raise InputError("indices: the streams given as seed have theirs; leave indices out")
        if len(seed.indices) != size:
            raise InputError(f"seed: streams of {len(seed.indices)} samples; the batch has {size}")
        return seed
    if indices is None:
        indices = torch.arange(size)
    if indices.shape != (size,):
        raise InputError(
            f"indices: shape {tuple(indices.shape)}; give one number per sample, [{size}]"
        )
    return Streams(seed, indices.to(device))


def normal(like: Tensor, generator: Generator | None, layout: Layout | None = None) -> Tensor:
    """Standard normal numbers in the shape, type and device of ``like``.

    Args:
        like: The leaf to fill, ``[B, ...]`` or ragged ``[rows, ...]``.
        generator: Random source; the global one is never used.
        layout: Grouping of the rows; matters to `Streams` only.

    Raises:
        InputError: There is no generator.
    """
    if isinstance(generator, Streams):
        return generator.normal(like, layout)
    source = _require(generator)
    return torch.randn(
        like.shape, generator=source, dtype=_float_dtype(like), device=source.device
    ).to(like.device)


def uniform(like: Tensor, generator: Generator | None, layout: Layout | None = None) -> Tensor:
    """Uniform numbers in [0, 1) in the shape, type and device of ``like``.

    Args:
        like: The leaf to fill, ``[B, ...]`` or ragged ``[rows, ...]``.
        generator: Random source; the global one is never used.
        layout: Grouping of the rows; matters to `Streams` only.

    Raises:
        InputError: There is no generator.
    """
    if isinstance(generator, Streams):
        return generator.uniform(like, layout)
    source = _require(generator)
    return torch.rand(
        like.shape, generator=source, dtype=_float_dtype(like), device=source.device
    ).to(like.device)


def uniform_per_sample(
    size: int,
    generator: Generator | None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """One uniform number in [0, 1) per sample, ``[size]``.

    Args:
        size: Number of samples.
        generator: Random source; the global one is never used.
        dtype: Type of the result.
        device: Device of the result.
    """
    return uniform(torch.empty(size, dtype=dtype, device=device), generator)


def _require(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        raise InputError("generator: none given; pass a torch.Generator or sciddiff.Streams")
    return generator


def _float_dtype(like: Tensor) -> torch.dtype:
    return like.dtype if like.dtype.is_floating_point else torch.get_default_dtype()


def _uniforms(counter: Counter, key: int, dtype: torch.dtype) -> Tensor:
    values = uniforms(counter, key).to(dtype)
    # Rounding to a shorter type may reach 1; the largest number below it stays the largest.
    return values.clamp_(max=1.0 - torch.finfo(dtype).eps / 2)
