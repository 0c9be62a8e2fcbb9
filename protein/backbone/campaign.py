"""A folder of designs that can be interrupted: what was finished stays, and the same command goes
on.

`run.json` records what was asked for. A design is finished when both of its files are there (each
is written whole
or not at all), and a design depends on (request, seed, index) alone, so a rerun makes just the
missing ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein.backbone.request import design_name
from sciddiff.errors import InputError

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Campaign:
    """One output folder and the request it belongs to.

    Attributes:
        directory: where the designs go.
        request: plain values that decide every design (all but the number of them).
    """

    directory: Path
    request: dict[str, Any]

    def open(self) -> None:
        """Create the folder, or check that it belongs to the same request.

        Raises:
            InputError: the folder holds designs of another request, or cannot be written.
        """
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"{self.directory}: is a file; give a folder with -o")
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / RUN_FILE
        if not path.exists():
            self.record({})
            return
        before = self._read(path)
        changed = sorted(
            key
            for key in self.request.keys() | before.keys()
            if self.request.get(key) != before.get(key)
        )
        if changed:
            raise InputError(
                f"{self.directory}: holds designs of another command (it differs in "
                f"{', '.join(changed)}); give another folder with -o, or remove this one"
            )

    def missing(self, n: int) -> list[int]:
        """Indices among the first `n` designs that are not finished."""
        return [i for i in range(n) if not self.finished(i)]

    def finished(self, index: int) -> bool:
        """Both files of the design are there."""
        stem = self.directory / design_name(index)
        return stem.with_suffix(".pdb").exists() and stem.with_suffix(".cif").exists()

    def record(self, facts: dict[str, Any]) -> None:
        """Write `run.json`: the request, and facts about the run beside it."""
        text = json.dumps({"request": self.request, **facts}, indent=2, default=str) + "\n"
        path = self.directory / RUN_FILE
        partial = path.with_suffix(".json.part")
        partial.write_text(text)
        os.replace(partial, path)

    def facts(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return json.loads((self.directory / RUN_FILE).read_text())

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            return json.loads(path.read_text())["request"]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{path}: is not a run record of this program; remove it or give another folder"
            ) from None
