r"""A restart file of PlaSim near another: the beginning of a member of a truth ensemble.

    python examples/weather/plasim_perturb.py START FIRST SECOND -o plasim_restart

adds :math:`a\,(s_1 - s_2)/\sqrt 2` to every spherical harmonic of the state in START (vorticity,
divergence, temperature, humidity, pressure, at both time levels), where :math:`s_1` and
:math:`s_2` are two other states of the same season. `sciddiff forecast --perturb
lagged-difference` draws initial states from the same law.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

STATE = ("sz", "sd", "st", "sq", "sp", "szm", "sdm", "stm", "sqm", "spm")


def read(path: Path) -> dict[str, bytes]:
    """Records of a restart file by their names, in order."""
    data, found, at = path.read_bytes(), {}, 0
    parts = []
    while at < len(data):
        size = int(np.frombuffer(data, "<i4", 1, at)[0])
        parts.append(data[at + 4 : at + 4 + size])
        at += size + 8
    for name, values in zip(parts[::2], parts[1::2], strict=True):
        found[name.decode().strip()] = values
    return found


def write(path: Path, records: dict[str, bytes]) -> None:
    """Write records as Fortran does."""
    out = bytearray()
    for name, values in records.items():
        for part in (name.ljust(16).encode(), values):
            mark = np.int32(len(part)).tobytes()
            out += mark + part + mark
    path.write_bytes(bytes(out))


def perturbed(start: dict, first: dict, second: dict, share: float) -> dict[str, bytes]:
    """The records of `start` with the state moved."""
    made = dict(start)
    for name in STATE:
        if name in start:
            own, one, other = (np.frombuffer(x[name], "<f8") for x in (start, first, second))
            made[name] = (own + share * (one - other) / np.sqrt(2.0)).tobytes()
    return made


def main() -> None:
    """Read three restart files, write one."""
    parser = argparse.ArgumentParser(description="A restart file of PlaSim near another.")
    parser.add_argument("start", type=Path, help="restart file of the day to start from")
    parser.add_argument("first", type=Path, help="of another day of the season")
    parser.add_argument("second", type=Path, help="of a third, ten days or more from the second")
    parser.add_argument("--share", type=float, default=0.05, help="a (default 0.05)")
    parser.add_argument("-o", "--out", type=Path, default=Path("plasim_restart"))
    args = parser.parse_args()
    states = [read(path) for path in (args.start, args.first, args.second)]
    write(args.out, perturbed(*states, args.share))
    print(args.out)


if __name__ == "__main__":
    main()
