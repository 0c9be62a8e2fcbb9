"""Philox4x32-10: random words as a function of a counter and a key.

Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011. Every word is the same bits in
NumPy and in tensors of any device.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["double", "double_array", "philox", "philox_array"]

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


def philox_array(
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


def double(high: Tensor, low: Tensor) -> Tensor:
    """53 random bits as a double in (0, 1), both ends excluded."""
    bits = ((high >> 5) << 26) | (low >> 6)
    return (bits.to(torch.float64) + 0.5) * 2.0**-53


def double_array(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Tensor:
    """`double` of words in NumPy."""
    bits = ((high >> np.uint64(5)) << np.uint64(26)) | (low >> np.uint64(6))
    values = bits.astype(np.float64)
    values += 0.5
    values *= 2.0**-53
    return torch.from_numpy(values)
