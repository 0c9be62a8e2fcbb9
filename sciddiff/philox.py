"""Philox4x32-10: random numbers as a function of a counter and a key.

Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011. A block of four 32-bit words
gives two doubles in (0, 1) of 53 bits, or two normals by Box--Muller in double precision.

The words are the same bits everywhere: in NumPy on the processor, where a call costs a fifth of a
tensor operation, and in tensors of any other device. On the processor numbers are made in chunks
that stay in the second-level cache, in buffers that are kept: fresh memory would cost more in page
faults than the arithmetic does.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Counter", "normals", "philox", "uniforms"]

Counter = tuple[Tensor, Tensor, Tensor, Tensor]
"""Four words, integers of any sign of which 32 bits count: int64, broadcastable to
``[rows, blocks]``. The first numbers the blocks; the others are ``[rows or 1, 1]``."""

_Words = NDArray[np.uint64]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_CHUNK = 2**15  # blocks at once: three buffers of 512 kB


def philox(counter: Tensor, key: int) -> Tensor:
    """Ten rounds of multiply and exchange on four 32-bit words.

    Args:
        counter: Words in [0, 2^32), int64 ``[4, ...]``.
        key: In [0, 2^64).

    Returns:
        Random words in [0, 2^32), int64 ``[4, ...]``.
    """
    ones = (1,) * (counter.ndim - 1)
    multipliers, keys = _constants(key, counter.device)
    multipliers = multipliers.view(2, *ones)
    even, odd = counter[0::2], counter[1::2]
    for round_key in keys.view(_ROUNDS, 2, *ones):
        # The product overflows the sign bit; its low 64 bits are right, and masks do the rest.
        product = even * multipliers
        high = ((product >> 32) & _WORD).flip(0)
        even, odd = high ^ odd ^ round_key, (product & _WORD).flip(0)
    return torch.stack([even[0], odd[0], even[1], odd[1]])


def uniforms(counter: Counter, key: int) -> Tensor:
    """Two numbers in (0, 1) for each block, both ends excluded, float64 ``[rows, blocks, 2]``.

    Args:
        counter: Where the blocks stand.
        key: In [0, 2^64).
    """
    if counter[0].device.type != "cpu":
        return torch.stack(_doubles(counter, key), dim=-1)
    out = torch.empty(*_shape(counter), 2, dtype=torch.float64)
    for place, first, second in _chunks(counter, key):
        part = out[place]
        part[..., 0], part[..., 1] = first, second
    return out


def normals(counter: Counter, key: int, dtype: torch.dtype) -> Tensor:
    """Two standard normal numbers for each block, ``[rows, blocks, 2]``.

    Args:
        counter: Where the blocks stand.
        key: In [0, 2^64).
        dtype: Type to which numbers are rounded at the end.
    """
    if counter[0].device.type != "cpu":
        first, second = _doubles(counter, key)
        radius, angle = first.log().mul_(-2.0).sqrt_(), second.mul_(2.0 * math.pi)
        pair = torch.stack([angle.cos(), angle.sin()], dim=-1)
        return pair.mul_(radius[..., None]).to(dtype)
    out = torch.empty(*_shape(counter), 2, dtype=dtype)
    for place, first, second in _chunks(counter, key):
        radius, angle = first.log_().mul_(-2.0).sqrt_(), second.mul_(2.0 * math.pi)
        part = out[place]
        torch.mul(radius, angle.cos(), out=part[..., 0])
        torch.mul(radius, angle.sin_(), out=part[..., 1])
    return out


def _shape(counter: Counter) -> tuple[int, int]:
    rows = {len(word) for word in counter} - {1}  # torch.broadcast_shapes takes 15 microseconds
    return (rows.pop() if rows else 1), counter[0].shape[1]


class _Buffers(threading.local):
    """Memory for one chunk, one set for each thread."""

    def __init__(self) -> None:
        self.even, self.odd, self.product = np.empty((3, 2, _CHUNK), np.uint64)
        self.doubles = torch.from_numpy(self.product.view(np.float64))


_BUFFERS: _Buffers | None = None


def _chunks(counter: Counter, key: int) -> Iterator[tuple[tuple[slice, slice], Tensor, Tensor]]:
    """Doubles of the blocks, a chunk at a time; each chunk overwrites the one before.

    Yields:
        Rows and blocks of the chunk, and two float64 ``[rows, blocks]`` to be used up.
    """
    global _BUFFERS  # made when first needed: nothing happens at import
    buffers = _BUFFERS = _BUFFERS or _Buffers()
    rows, blocks = _shape(counter)
    wide = max(min(blocks, _CHUNK), 1)
    high = _CHUNK // wide
    words = [word.numpy().view(np.uint64) & np.uint64(_WORD) for word in counter]
    for left in range(0, blocks, wide):
        number = words[0][:, left : left + wide]
        for top in range(0, rows, high):
            place = slice(top, min(top + high, rows)), slice(left, min(left + wide, blocks))
            part = [w if len(w) == 1 else w[place[0]] for w in (number, *words[1:])]
            shape = (place[0].stop - top, place[1].stop - left)
            doubles = _chunk(part, key, shape, buffers)
            yield place, doubles[0].view(shape), doubles[1].view(shape)


def _chunk(words: list[_Words], key: int, shape: tuple[int, int], buffers: _Buffers) -> Tensor:
    """Doubles of one chunk, float64 ``[2, rows * blocks]``, in the buffers."""
    keys, multipliers, half = _arrays(key)
    a, b, c, d = words
    # Two rounds on the words as they come: of one dimension each, they cost next to nothing.
    p, q = a * multipliers[0], c * multipliers[1]
    a, b = (q >> half) ^ b ^ keys[0, 0], _low(q)
    c, d = (p >> half) ^ d ^ keys[0, 1], _low(p)
    p, q = a * multipliers[0], c * multipliers[1]
    n = shape[0] * shape[1]
    even, odd, product = (x[:, :n] for x in (buffers.even, buffers.odd, buffers.product))
    np.bitwise_xor(q >> half, b ^ keys[1, 0], out=even[0].reshape(shape))
    np.bitwise_xor(p >> half, d ^ keys[1, 1], out=even[1].reshape(shape))
    np.copyto(odd[0].reshape(shape), _low(q))
    np.copyto(odd[1].reshape(shape), _low(p))
    exchanged = product[::-1]  # each pair of words goes on with the product of the other
    for round_key in keys[2:]:
        np.multiply(even, multipliers, out=product)
        np.right_shift(exchanged, half, out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, round_key, out=even)
        np.bitwise_and(exchanged, np.uint64(_WORD), out=odd)
    # 27 bits of one word and 26 of the other.
    np.bitwise_and(even, np.uint64(0xFFFFFFE0), out=even)
    np.left_shift(even, np.uint64(21), out=even)
    np.right_shift(odd, np.uint64(6), out=odd)
    np.bitwise_or(even, odd, out=even)
    np.copyto(product.view(np.float64), even, casting="unsafe")
    return buffers.doubles[:, :n].add_(0.5).mul_(2.0**-53)


def _low(words: _Words) -> _Words:
    return words & np.uint64(_WORD)


@lru_cache(maxsize=16)
def _arrays(key: int) -> tuple[_Words, _Words, np.uint64]:
    """The keys of all rounds ``[rounds, 2, 1]``, the multipliers ``[2, 1]``, and 32."""
    keys = np.array(_round_keys(key), np.uint64)[..., None]
    return keys, np.array(_MULTIPLIERS, np.uint64)[:, None], np.uint64(32)


@lru_cache(maxsize=16)
def _constants(key: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Multipliers ``[2]`` and the keys of all rounds ``[rounds, 2]``, kept on the device."""
    keys = torch.tensor(_round_keys(key), device=device)
    return torch.tensor(_MULTIPLIERS, device=device), keys


def _round_keys(key: int) -> list[list[int]]:
    low, high = key & _WORD, key >> 32
    return [[(low + r * _WEYL[0]) & _WORD, (high + r * _WEYL[1]) & _WORD] for r in range(_ROUNDS)]


def _doubles(counter: Counter, key: int) -> tuple[Tensor, Tensor]:
    """Two doubles in (0, 1) for each block, ``[rows, blocks]``, in tensors."""
    shape = _shape(counter)
    words = torch.stack([(word & _WORD).expand(shape) for word in counter])
    a, b, c, d = philox(words, key)
    return _double(a, b), _double(c, d)


def _double(high: Tensor, low: Tensor) -> Tensor:
    bits = ((high >> 5) << 26) | (low >> 6)
    return (bits.to(torch.float64) + 0.5) * 2.0**-53
