"""Ways in which files are damaged: on disks, in transfers, by editors and by other programs.

Each takes the bytes of a file and a generator, and returns other bytes.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

_TOKENS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"1000000000",
    b"1000000", b"", b"null", b"None",
    b"\xff\xfe", b"\0", "Å".encode(), b"'", b'"', b",", b"*" * 9, b"1.2.3", b"{}", b"[]", b"true",
)  # fmt: skip


def cut(data: bytes, random: random.Random) -> bytes:
    """The end is lost."""
    return data[: random.randrange(len(data) or 1)]


def flip(data: bytes, random: random.Random) -> bytes:
    """One bit is wrong."""
    return _at(data, random, lambda old: bytes([old ^ (1 << random.randrange(8))]))


def overwrite(data: bytes, random: random.Random) -> bytes:
    """A few bytes are others."""
    place, size = random.randrange(len(data) or 1), random.randrange(1, 9)
    return data[:place] + random.randbytes(size) + data[place + size :]


def erase(data: bytes, random: random.Random) -> bytes:
    """A block of zeros, as a lost sector leaves it."""
    place, size = random.randrange(len(data) or 1), random.randrange(1, 200)
    return data[:place] + bytes(len(data[place : place + size])) + data[place + size :]


def drop(data: bytes, random: random.Random) -> bytes:
    """Some bytes are missing."""
    place = random.randrange(len(data) or 1)
    return data[:place] + data[place + random.randrange(1, 80) :]


def double(data: bytes, random: random.Random) -> bytes:
    """Some bytes are there twice."""
    place = random.randrange(len(data) or 1)
    end = place + random.randrange(1, 200)
    return data[:end] + data[place:]


def spill(data: bytes, random: random.Random) -> bytes:
    """Other bytes stand between."""
    place = random.randrange(len(data) or 1)
    return data[:place] + random.randbytes(random.randrange(1, 40)) + data[place:]


def lose_line(data: bytes, random: random.Random) -> bytes:
    """A line is missing."""
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[random.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(data: bytes, random: random.Random) -> bytes:
    """A line is there many times."""
    lines = data.splitlines(keepends=True) or [b""]
    place = random.randrange(len(lines))
    return b"".join([*lines[:place], *[lines[place]] * random.choice((2, 50)), *lines[place:]])


def swap_lines(data: bytes, random: random.Random) -> bytes:
    """Two lines have changed places."""
    lines = data.splitlines(keepends=True) or [b""]
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def replace_word(data: bytes, random: random.Random) -> bytes:
    """A word or a number is another."""
    words = data.split(b" ")
    words[random.randrange(len(words))] = random.choice(_TOKENS)
    return b" ".join(words)


def replace_field(data: bytes, random: random.Random) -> bytes:
    """What stands between two marks of CSV, YAML or JSON is another."""
    mark = random.choice((b",", b":", b"\n", b"\t"))
    fields = data.split(mark)
    fields[random.randrange(len(fields))] = random.choice(_TOKENS)
    return mark.join(fields)


def other_ends(data: bytes, random: random.Random) -> bytes:
    """Line ends of another system, a mark of byte order, or another encoding."""
    kind = random.randrange(4)
    if kind == 0:
        return data.replace(b"\n", b"\r\n")
    if kind == 1:
        return data.replace(b"\n", b"\r")
    if kind == 2:
        return b"\xef\xbb\xbf" + data
    return data.decode("latin-1").encode("utf-16")


def long_line(data: bytes, random: random.Random) -> bytes:
    """A line of 200,000 characters."""
    place = random.randrange(len(data) or 1)
    return data[:place] + random.choice((b"C", b"1", b"(", b"[", b" ")) * 200_000 + data[place:]


def nothing_left(data: bytes, random: random.Random) -> bytes:
    """Empty, blank, or something else altogether."""
    return random.choice((b"", b"\n", b"\0" * 512, random.randbytes(512), b"<html>404</html>"))


def broken_gzip(data: bytes, random: random.Random) -> bytes:
    """Packed, and then damaged."""
    return flip(gzip.compress(data, mtime=0), random)


MUTATORS: tuple[Mutator, ...] = (
    cut, flip, flip, overwrite, erase, drop, double, spill, lose_line, repeat_line, swap_lines,
    replace_word, replace_word, replace_field, replace_field, other_ends, long_line, nothing_left,
    broken_gzip,
)  # fmt: skip


def mutate(data: bytes, random: random.Random) -> bytes:
    """Damage of one kind, or of two."""
    for _ in range(1 + (random.random() < 0.25)):
        data = random.choice(MUTATORS)(data, random)
    return data


def _at(data: bytes, random: random.Random, change: Callable[[int], bytes]) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + change(data[place]) + data[place + 1 :]
