r"""Random streams: every sample of a batch has its own.

`Streams` is a counter-based generator (Philox4x32-10, Salmon et al., *Parallel random numbers: as
easy as 1, 2, 3*, 2011). A draw is a function of (seed, sample index, number of the draw, position
of the element within its sample) and of nothing else. So neither the batch size, nor the order of
samples, nor padding, nor the device, nor the number of machines changes a result.

Position within a sample is row-major: for a dense leaf ``[B, N, ...]`` it does not depend on the
padded length N; a ragged row takes its position within its sample, so a sample gets the same
numbers dense or ragged. (A leaf whose *second* row dimension is padded, such as ``[B, N, N]``, is
outside this guarantee.)

Integers are computed in 64-bit tensor arithmetic, with no loop over samples or elements, and are
the same bits everywhere. One block of four 32-bit words gives two doubles in (0, 1) of 53 bits,
and two normals by Box--Muller in double precision, rounded to the requested type at the end.

A plain ``torch.Generator`` is accepted wherever a `Streams` is, and gives one stream per batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.state import Layout

__all__ = ["Generator", "Streams", "normal", "philox", "uniform", "uniform_per_sample"]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


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

    def _words(self, owner: Tensor, block: Tensor) -> Tensor:
        """One Philox block for each pair of a sample index and a block number: ``[4, ...]``."""
        owner, block = torch.broadcast_tensors(owner, block)
        counter = torch.stack(
            [
                block & _WORD,
                torch.full_like(block, self.draws & _WORD),
                owner & _WORD,
                (owner >> 32) & _WORD,
            ]
        )
        return philox(counter, (self.seed & _WORD, self.seed >> 32))

    def uniform_pairs(
        self, like: Tensor, layout: Layout | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Two doubles in (0, 1) for each block of two elements; advances the draw counter.

        Args:
            like: The leaf to fill, ``[B, ...]`` or ragged ``[rows, ...]``.
            layout: Grouping of the rows; None: dense.

        Returns:
            Two tensors ``[groups, blocks]`` and the parity ``[groups or 1, width]`` of the
            elements; a group is a sample (dense) or a row (ragged).
        """
        indices = self.indices.to(like.device)
        width = math.prod(like.shape[1:])
        if layout is None or layout.index is None:
            if like.shape[0] != len(indices):
                raise InputError(f"streams: {len(indices)} samples; the leaf has {like.shape[0]}")
            owner, first = indices[:, None], indices.new_zeros(1, 1)
        else:
            owner, first = indices[layout.index][:, None], (layout.positions * width)[:, None]
        # Blocks from the one that holds the first element to the one that holds the last.
        blocks = first // 2 + torch.arange(width // 2 + 1, device=like.device)
        a, b, c, d = self._words(owner, blocks)
        self.draws += 1
        parity = first % 2 + torch.arange(width, device=like.device)
        return _double(a, b), _double(c, d), parity

    def uniform(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Uniform numbers in (0, 1) in the shape and type of ``like``."""
        first, second, parity = self.uniform_pairs(like, layout)
        values = _interleave(first, second, parity, like)
        # Rounding to a shorter type may reach 1; the largest number below it stays the largest.
        return values.clamp(max=1.0 - torch.finfo(values.dtype).eps / 2)

    def normal(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """Standard normal numbers in the shape and type of ``like``."""
        first, second, parity = self.uniform_pairs(like, layout)
        radius = torch.sqrt(-2.0 * torch.log(first))
        angle = 2.0 * math.pi * second
        return _interleave(radius * angle.cos(), radius * angle.sin(), parity, like)


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


def _interleave(first: Tensor, second: Tensor, parity: Tensor, like: Tensor) -> Tensor:
    """Lay the two numbers of each block out in element order, in the shape of ``like``."""
    pairs = torch.stack([first, second], dim=-1).flatten(1)
    values = pairs.gather(1, parity.expand(pairs.shape[0], -1))
    return values.to(_float_dtype(like)).reshape(like.shape)
