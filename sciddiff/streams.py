r"""Random streams: every sample of a batch has its own.

`Streams` is a counter-based generator (Philox4x32-10, Salmon et al., *Parallel random numbers: as
easy as 1, 2, 3*, 2011). A draw is a function of (seed, sample index, number of the draw, position
of the element within its sample) and of nothing else. So neither the batch size, nor the order of
samples, nor padding, nor the device, nor the number of machines changes a result.

Position within a sample is row-major: for a dense leaf ``[B, N, ...]`` it does not depend on the
padded length N; a ragged row takes its position within its sample, so a sample gets the same
numbers dense or ragged. (A leaf whose *second* row dimension is padded, such as ``[B, N, N]``, is
outside this guarantee.)

Integers are computed in 64-bit arithmetic, with no loop over samples or elements, and are the same
bits everywhere: in NumPy on the processor, where a call costs a fifth of a tensor operation and
small draws are all calls, and in tensors elsewhere. For the same reason a small draw of normals
that repeats an earlier one in shape makes those that follow it too, which a function of the number
of the draw can. One block of four 32-bit words gives two doubles in (0, 1) of 53 bits,
and two normals by Box--Muller in double precision, rounded to the requested type at the end.

A plain ``torch.Generator`` is accepted wherever a `Streams` is, and gives one stream per batch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.state import Layout

__all__ = ["Generator", "Streams", "normal", "philox", "uniform", "uniform_per_sample"]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_AHEAD = 20  # draws of normals made at once
_AHEAD_NUMBERS = 2**16  # and no more than will make this many numbers

_Kind = tuple[torch.Size, torch.dtype, torch.device, "Layout | None"]


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10: ten rounds of multiply and exchange on four 32-bit words.

    Args:
        counter: Words in [0, 2^32), int64 ``[4, ...]``.
        key: Two words in [0, 2^32).

    Returns:
        Random words in [0, 2^32), int64 ``[4, ...]``.
    """
    ones = (1,) * (counter.ndim - 1)
    multipliers = torch.tensor(_MULTIPLIERS, device=counter.device).view(2, *ones)
    keys = torch.tensor(
        [[(k + r * w) & _WORD for k, w in zip(key, _WEYL, strict=True)] for r in range(_ROUNDS)],
        device=counter.device,
    ).view(_ROUNDS, 2, *ones)
    even, odd = counter[0::2], counter[1::2]
    for round_key in keys:
        # The product overflows the sign bit; its low 64 bits are right, and masks do the rest.
        product = even * multipliers
        high = ((product >> 32) & _WORD).flip(0)
        even, odd = high ^ odd ^ round_key, (product & _WORD).flip(0)
    return torch.stack([even[0], odd[0], even[1], odd[1]])


def _philox_array(
    even: NDArray[np.uint64], odd: NDArray[np.uint64], key: tuple[int, int]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """`philox` in NumPy: words 0 and 2, and words 1 and 3, uint64 ``[2, ...]`` each."""
    word, half = np.array([_WORD], np.uint64), np.array([32], np.uint64)
    ones = (1,) * (even.ndim - 1)
    multipliers = np.array(_MULTIPLIERS, np.uint64).reshape(2, *ones)
    keys = _key_schedule(*key).reshape(_ROUNDS, 2, *ones)
    for round_key in keys:
        product = even * multipliers
        high = np.right_shift(product, half)
        even = np.bitwise_xor(high[::-1], odd)
        even ^= round_key
        odd = np.bitwise_and(product, word, out=product)[::-1]
    return even, odd


@lru_cache(maxsize=16)
def _key_schedule(low: int, high: int) -> NDArray[np.uint64]:
    """The keys of all rounds, uint64 ``[rounds, 2]``."""
    keys = [[(k + r * w) & _WORD for k, w in zip((low, high), _WEYL, strict=True)]
            for r in range(_ROUNDS)]  # fmt: skip
    return np.array(keys, np.uint64)


@final
class Streams:
    """One independent random stream per sample.

    Args:
        seed: Any integer in [0, 2^64).
        indices: The global number of each sample, int64 ``[B]``.
        draws: Draws made before; each call to `uniform` or `normal` makes one.

    Raises:
        InputError: The seed is out of range.
    """

    def __init__(self, seed: int, indices: Tensor, draws: int = 0) -> None:
        if not 0 <= seed < 2**64:
            raise InputError(f"seed: {seed} is not in [0, 2^64); choose another")
        self.seed = seed
        self.indices = indices.long()
        self.draws = draws
        self._ahead: dict[_Kind, deque[tuple[int, Tensor]]] = {}

    @classmethod
    def first(cls, seed: int, size: int) -> Streams:
        """Streams of the samples 0 to ``size - 1``."""
        return cls(seed, torch.arange(size))

    def select(self, positions: Tensor) -> Streams:
        """Streams of some of the samples, continuing at the same draw.

        Args:
            positions: Places in this batch, int64 ``[K]``.
        """
        return Streams(self.seed, self.indices[positions.to(self.indices.device)], self.draws)

    def _doubles(self, owner: Tensor, block: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Two doubles in (0, 1) for each pair of a sample index and a block number.

        Args:
            owner: Sample indices, int64 ``[groups, 1]``.
            block: Block numbers, int64 ``[groups or 1, blocks]``.
            count: How many draws to make, from the present one.

        Returns:
            Two tensors ``[count, groups, blocks]``.
        """
        key = (self.seed & _WORD, self.seed >> 32)
        shape = (count, len(owner), block.shape[1])
        if owner.device.type == "cpu":
            numbers, samples = block.numpy(), owner.numpy()
            draws = np.arange(self.draws, self.draws + count)[:, None, None]
            even, odd = np.empty((2, *shape), np.uint64), np.empty((2, *shape), np.uint64)
            even[0], even[1] = numbers & _WORD, samples & _WORD
            odd[0], odd[1] = draws & _WORD, (samples >> 32) & _WORD
            values = _double_array(*_philox_array(even, odd, key))
            return values[0], values[1]
        draws = torch.arange(self.draws, self.draws + count, device=owner.device)[:, None, None]
        words = (block & _WORD, draws & _WORD, owner & _WORD, (owner >> 32) & _WORD)
        a, b, c, d = philox(torch.stack([word.expand(shape) for word in words]), key)
        return _double(a, b), _double(c, d)

    def _pairs(
        self, like: Tensor, layout: Layout | None, count: int = 1
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Two doubles in (0, 1) for each block of two elements.

        Args:
            like: The leaf to fill, ``[B, ...]`` or ragged ``[rows, ...]``.
            layout: Grouping of the rows; None: dense.
            count: How many draws to make, from the present one.

        Returns:
            Two tensors ``[count, groups, blocks]``, and where in the blocks of its group each
            element stands, ``[groups, width]``; None: in order. A group is a sample (dense) or a
            row (ragged).
        """
        indices = self.indices.to(like.device)
        width = math.prod(like.shape[1:])
        # Blocks from the one that holds the first element to the one that holds the last.
        blocks = torch.arange(width // 2 + 1, device=like.device)
        place = None
        if layout is None or layout.index is None:
            if like.shape[0] != len(indices):
                raise InputError(f"streams: {len(indices)} samples; the leaf has {like.shape[0]}")
            owner, blocks = indices[:, None], blocks[None]
        else:
            owner, first = indices[layout.index][:, None], (layout.positions * width)[:, None]
            blocks = first // 2 + blocks
            place = first % 2 + torch.arange(width, device=like.device)
        return *self._doubles(owner, blocks, count), place

    def uniform(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Uniform numbers in (0, 1) in the shape and type of ``like``; advances the counter."""
        first, second, place = self._pairs(like, layout)
        self.draws += 1
        (values,) = _lay_out(torch.stack([first, second], dim=-1), place, like)
        # Rounding to a shorter type may reach 1; the largest number below it stays the largest.
        return values.clamp(max=1.0 - torch.finfo(values.dtype).eps / 2)

    def normal(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Standard normal numbers in the shape and type of ``like``; advances the counter."""
        grouping = None if layout is None or layout.index is None else layout
        kind = (like.shape, _float_dtype(like), like.device, grouping)
        repeated = kind in self._ahead
        waiting = self._ahead.setdefault(kind, deque())
        while waiting and waiting[0][0] < self.draws:
            waiting.popleft()
        if not waiting or waiting[0][0] != self.draws:
            most = _AHEAD_NUMBERS // max(like.numel(), 1)
            count = max(1, min(_AHEAD, most)) if repeated else 1
            drawn = self._normals(like, grouping, count)
            waiting.clear()
            waiting.extend(enumerate(drawn, start=self.draws))
        self.draws += 1
        return waiting.popleft()[1]

    def _normals(self, like: Tensor, layout: Layout | None, count: int) -> Sequence[Tensor]:
        """The next draws of normals, without advancing the counter."""
        first, second, place = self._pairs(like, layout, count)
        radius = first.log().mul_(-2.0).sqrt_()
        angle = second.mul_(2.0 * math.pi)
        pairs = torch.stack([angle.cos(), angle.sin()], dim=-1).mul_(radius[..., None])
        return _lay_out(pairs, place, like)


Generator = torch.Generator | Streams


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


def _double(high: Tensor, low: Tensor) -> Tensor:
    """53 random bits as a double in (0, 1), both ends excluded."""
    bits = ((high >> 5) << 26) | (low >> 6)
    return (bits.to(torch.float64) + 0.5) * 2.0**-53


def _double_array(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Tensor:
    """`_double` of words in NumPy."""
    bits = ((high >> np.uint64(5)) << np.uint64(26)) | (low >> np.uint64(6))
    values = bits.astype(np.float64)
    values += 0.5
    values *= 2.0**-53
    return torch.from_numpy(values)


def _lay_out(pairs: Tensor, place: Tensor | None, like: Tensor) -> Sequence[Tensor]:
    """Numbers of blocks ``[count, groups, blocks, 2]`` in element order, each like ``like``."""
    values = pairs.flatten(2)
    if place is None:
        values = values[..., : math.prod(like.shape[1:])]
    else:
        values = values.gather(2, place.expand(len(values), -1, -1))
    return values.to(_float_dtype(like)).reshape(len(values), *like.shape).unbind()
