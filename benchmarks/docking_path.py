"""How long the way of one ligand through the code is, from SDF to SDF.

    python benchmarks/docking_path.py -r protein.pdb -l ligand.sdf [--effort fast] [--list]

`sciddiff dock` docks one ligand into a box around itself, with the search and the ranker that
ships, on the processor, in a fresh process with nothing in its caches. Every call of a Python
function of `protein.docking` and of `sciddiff` is recorded by `sys.setprofile`. The table has a
column for each of these counts:

- *functions*: distinct functions that are called; comprehensions and lambdas belong to the
  function around them, and methods that dataclasses generate do not count;
- *modules*: the files that these functions are in;
- *moves*: how often a reader who follows the functions in the order of their first calls goes from
  one file to another;
- *returns*: how many of these moves lead to a file that the reader has left before;
- *conversions*: calls of `Tensor.numpy`, `torch.from_numpy` and `torch.as_tensor`;
- *minimising*: those of them during the minimisations of the search.

The rows are three stretches of the way. In *search* the energy is ready and poses come out. In
*ligand* the receptor is ready, the text of one SDF record goes in, and its SDF file, its complex
and its row of the table come out. The row *command* is everything. At the end stands the CPU time
that the stretch *ligand* takes in later runs of the same process, which are not recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protein.docking.campaign.library import LibraryParts
from protein.docking.search import minimize, monte_carlo
from sciddiff.cli.main import main as sciddiff

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(f"{ROOT / folder}/" for folder in ("protein/docking", "sciddiff"))
CONVERTERS = frozenset({"numpy", "from_numpy", "as_tensor"})
COLUMNS = ("functions", "modules", "moves", "returns", "conversions", "minimising")


@dataclass
class Recorder:
    """What is called between entering a function and leaving it.

    Attributes:
        within: code of the function that opens the record; None records everything.
        order: files and names of our functions, in the order of their first calls.
        conversions: between arrays and tensors.
        minimising: conversions during minimisations.
        depth: how often the function was entered and not yet left.
    """

    within: CodeType | None
    order: dict[tuple[str, str], None] = field(default_factory=dict)
    conversions: int = 0
    minimising: int = 0
    depth: int = 0

    def row(self, name: str) -> str:
        """A line of the table."""
        files = [file for file, _ in self.order]
        moves = [b for a, b in pairwise(files) if a != b]
        first = len(set(files)) - 1  # every file but that of the start is moved to a first time
        counts = (len(files), len(set(files)), len(moves), len(moves) - first, self.conversions,
                  self.minimising)  # fmt: skip
        return f"{name:<10}" + "".join(f"{count:>13}" for count in counts)


class Profiler:
    """Hands calls of our functions to the recorders that are open.

    Args:
        recorders: to fill.
    """

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self.recorders = recorders
        self._minimisations = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """The function for `sys.setprofile`."""
        code = frame.f_code
        if event == "c_call":
            if argument.__name__ in CONVERTERS:
                for recorder in self._open():
                    recorder.conversions += 1
                    recorder.minimising += self._minimisations > 0
            return
        if event not in ("call", "return") or not code.co_filename.startswith(OURS):
            return
        step = 1 if event == "call" else -1
        if code is minimize.minimize.__code__:
            self._minimisations += step
        for recorder in self.recorders:
            if code is recorder.within:
                recorder.depth += step
        if event == "call" and "<" not in code.co_qualname.replace(".<locals>.", ""):
            for recorder in self._open():
                recorder.order.setdefault((code.co_filename, code.co_qualname))

    def _open(self) -> list[Recorder]:
        return [r for r in self.recorders if r.within is None or r.depth > 0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--receptor", required=True)
    parser.add_argument("-l", "--ligand", required=True, help="SDF; the box is put around it")
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--repeats", type=int, default=5, help="of the timed run")
    parser.add_argument("--list", action="store_true", help="print the functions in order")
    args = parser.parse_args()
    torch.set_num_threads(1)
    words = ["dock", "-r", args.receptor, "-l", args.ligand, "--autobox-ligand", args.ligand,
             "--effort", args.effort, "--check", "0", "--json"]  # fmt: skip
    stretches = {
        "search": Recorder(monte_carlo.search.__code__),
        "ligand": Recorder(LibraryParts.do.__code__),
        "command": Recorder(None),
    }
    sys.setprofile(Profiler(list(stretches.values())))
    try:
        _dock(words)
    finally:
        sys.setprofile(None)
    print(f"{'':<10}" + "".join(f"{name:>13}" for name in COLUMNS))
    for name, recorder in stretches.items():
        print(recorder.row(name))
        if args.list:
            for file, function in recorder.order:
                print(f"    {Path(file).relative_to(ROOT)}: {function}")
    seconds = " ".join(f"{_dock(words):.3f}" for _ in range(args.repeats))
    print(f"CPU seconds of one ligand: {seconds}")


def _dock(words: list[str]) -> float:
    """Run the command in a new folder; the CPU time of the ligand."""
    plain, seconds = LibraryParts.do, [0.0]

    def timed(self: LibraryParts, *arguments: Any) -> None:
        started = time.process_time()
        plain(self, *arguments)
        seconds.append(time.process_time() - started)

    silent = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(silent))
        stack.enter_context(contextlib.redirect_stderr(silent))
        stack.enter_context(mock.patch.object(LibraryParts, "do", timed))
        status = sciddiff([*words, "-o", f"{folder}/out"])
    if status != 0:
        raise SystemExit(f"sciddiff dock failed: {silent.getvalue()}")
    return seconds[-1]


if __name__ == "__main__":
    main()
