"""Kill long commands with SIGKILL at random moments, repeat them, and compare with unbroken runs.

    python benchmarks/kill_campaign.py -o kills/ --kills 20
    python benchmarks/kill_campaign.py -o kills/ --kills 20 --verbs dock train

Every verb runs once unbroken. Then the same command is started again and again in another
folder, and its whole process group is killed at a random moment: one time in five anywhere, else
after the first file has appeared. When it has come to its end, every file that it left is compared
with those of the unbroken run, value by value where a file also holds times of the clock, and the
next round begins in an empty folder. The folder `kills/` keeps what was done, so that the campaign
itself continues where it was stopped. At the end the table is printed; the exit status is 1 if
anything differed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kill_cases import CASES, INPUTS, Case, make_inputs, sciddiff

_CLOCK = {
    *("seconds", "created", "runs", "command", "time", "samples_per_second", "made", "changed"),
    *("path", "own_sha256"),
}
"""Names of entries and columns that tell of the clock or of how many calls it took."""

_COUNTERS = {"loops"}
"""Lightning's counts of batches, which a resumed run begins anew; ours are the steps."""

_TIMES = rb"(?s)[\d.,]+(?=\s*(?:<\w+>)?(s|seconds|min|minutes|h)\b)"
_RUNS = rb"&quot;(runs&quot;: \[.*?\]|(seconds|command)&quot;: [^\n]*)"
_EARLY = 0.2  # share of the kills that may come before the first file
_LONGEST = 900.0  # seconds that a call may take
_LOOK = 0.02  # seconds between looks


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to work in")
    parser.add_argument("--kills", type=int, default=20, help="of each verb (default 20)")
    parser.add_argument("--verbs", nargs="+", metavar="V", help="default: all")
    parser.add_argument("--fast", action="store_true", help="only those of a few seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    args = parser.parse_args()
    make_inputs(args.out.resolve() / INPUTS)
    named = [case for case in CASES if not args.verbs or case.name in args.verbs]
    cases = [case for case in named if case.fast or not args.fast]
    done = [campaign(case, args.out.resolve(), args.kills, args.seed) for case in cases]
    print(table(done))
    return int(any(one["faults"] for one in done))


def campaign(case: Case, out: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill one command as often as asked, over all calls of this script; its record."""
    file = out / f"{case.name}.json"
    done: dict[str, Any] = {"verb": case.name, "kills": [], "finished": 0, "faults": []}
    if file.exists():
        done = json.loads(file.read_text())
    whole, broken = out / case.name / "unbroken", out / case.name / "broken"
    if "seconds" not in done:
        shutil.rmtree(out / case.name, ignore_errors=True)
        whole.mkdir(parents=True)
        _link(out, case)
        done |= _unbroken(case, whole)
        _write(file, done)
    expected = contents(whole)
    while len(done["kills"]) < kills or broken.exists():
        broken.mkdir(exist_ok=True)
        fresh = not any(broken.iterdir())
        draw = random.Random(f"{case.name} {seed} {len(done['kills'])}")
        moment = None if len(done["kills"]) >= kills else _moment(draw, done)
        began = time.monotonic()
        status, text = _run(case, broken, moment)
        if moment is not None and not status and fresh:  # a busy machine has become free
            done["seconds"] = min(done["seconds"], time.monotonic() - began)
            done["first"] = min(done["first"], 0.9 * done["seconds"])
        if status == -signal.SIGKILL:
            done["kills"].append(round(moment or 0.0, 2))
        elif status:
            done["faults"].append(f"after {len(done['kills'])} kills: {text.strip()[-300:]}")
        else:
            done["finished"] += 1
            done["faults"] += differences(expected, contents(broken))
        if status != -signal.SIGKILL:
            _put_away(broken, done["faults"])
        _write(file, done)
    return done


def _link(out: Path, case: Case) -> None:
    """The inputs beside the folders that the command runs in."""
    (out / case.name / INPUTS).symlink_to(out / INPUTS)


def _unbroken(case: Case, folder: Path) -> dict[str, float]:
    """Run a command once: how long that takes, and when its first file appears."""
    began, first = time.monotonic(), None
    process = sciddiff(case.words, folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        if first is None and any(folder.iterdir()):
            first = time.monotonic() - began
        time.sleep(_LOOK)
    seconds = time.monotonic() - began
    if process.returncode:
        text = process.stdout.read().decode() if process.stdout else ""
        raise SystemExit(f"{case.name}: fails unbroken: {text[-1000:]}")
    return {"seconds": seconds, "first": seconds if first is None else first}


def _moment(draw: random.Random, done: dict[str, Any]) -> float:
    """Seconds after its start at which a call is killed."""
    early = 0.0 if draw.random() < _EARLY else 0.95 * done["first"]
    return draw.uniform(early, 1.02 * done["seconds"])


def _run(case: Case, folder: Path, moment: float | None) -> tuple[int, str]:
    """Run a command, and kill it at a moment; its exit status and what it said."""
    process = sciddiff(case.words, folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        text, _ = process.communicate(timeout=_LONGEST if moment is None else moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        if moment is None:
            return 1, f"took more than {_LONGEST:g} s"
    return process.returncode, text.decode(errors="replace")


def _put_away(broken: Path, faults: list[str]) -> None:
    """Begin the next round in an empty folder; what was faulty stays to be looked at."""
    if not faults:
        shutil.rmtree(broken)
        return
    number = len(list(broken.parent.glob("faulty-*")))
    broken.rename(broken.with_name(f"faulty-{number}"))


def contents(folder: Path) -> dict[str, str]:
    """What every file of a folder says, without the clock, as checksums by name."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "tensorboard" not in file.parts:  # its names are times
            said = _said(file)
            found[str(file.relative_to(folder))] = hashlib.sha256(said).hexdigest()[:16]
    return found


def _said(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".json":
        return json.dumps(_without_clock(json.loads(data)), sort_keys=True).encode()
    if file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        return json.dumps([_without_clock(row) for row in rows], sort_keys=True).encode()
    if file.suffix == ".ckpt":
        import torch

        return _values(torch.load(file, map_location="cpu", weights_only=False))
    if file.suffix in (".nc", ".npz"):
        return _arrays(file)
    if file.suffix == ".html":  # it tells how long the work took, and holds the record
        return re.sub(_TIMES + rb"|" + _RUNS, b"#", data)
    return data


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_clock(v) for k, v in value.items() if k not in _CLOCK}
    return [_without_clock(one) for one in value] if isinstance(value, list) else value


def _values(value: Any) -> bytes:
    """Everything of a checkpoint but the clock, as bytes."""
    import torch

    if isinstance(value, torch.Tensor):
        return repr((value.dtype, value.shape)).encode() + value.cpu().numpy().tobytes()
    if isinstance(value, dict):
        kept = {str(k): v for k, v in value.items() if str(k) not in _CLOCK | _COUNTERS}
        return b"".join(k.encode() + _values(kept[k]) for k in sorted(kept))
    if isinstance(value, (list, tuple)):
        return b"".join(map(_values, value))
    return repr(value).encode()


def _arrays(file: Path) -> bytes:
    """Every array of a NetCDF file or an archive."""
    import numpy as np
    import xarray as xr

    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))
    with xr.open_dataset(file, decode_times=False) as data:
        names = sorted(map(str, data.variables))
        return b"".join(name.encode() + data[name].to_numpy().tobytes() for name in names)


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What differs between two folders, a line each."""
    lines = [f"{name} is missing" for name in expected.keys() - found.keys()]
    lines += [f"{name} is left over" for name in found.keys() - expected.keys()]
    both = expected.keys() & found.keys()
    return sorted(lines + [f"{name} differs" for name in both if expected[name] != found[name]])


def table(done: list[dict[str, Any]]) -> str:
    """The table of the guide."""
    lines = ["| verb | unbroken | killed | came to their end | equal |", "|---|---|---|---|---|"]
    for one in done:
        faults = len(set(one["faults"]))
        equal = "yes" if not faults else f"no: {'; '.join(sorted(set(one['faults']))[:3])}"
        lines.append(
            f"| `{one['verb']}` | {one['seconds']:.0f} s | {len(one['kills'])} times "
            f"| {one['finished']} | {equal} |"
        )
    return "\n".join(lines)


def _write(file: Path, done: dict[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(done, indent=2) + "\n")
    os.replace(partial, file)


if __name__ == "__main__":
    sys.exit(main())
