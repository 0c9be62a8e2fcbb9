"""Where weights are: folders of packages in the entry-point group `PRETRAINED`, or any path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from sciddiff.errors import InputError, nearest

__all__ = ["PRETRAINED", "Shipped", "find_model", "shipped_models"]

PRETRAINED = "sciddiff.pretrained"
"""Entry-point group of packages whose folders are exported runs, the weights that ship."""


@dataclass(frozen=True)
class Shipped:
    """One folder of weights that came with a package.

    Attributes:
        name: Name to ask for.
        package: Name under which the package registered its weights.
        directory: Where they lie.
    """

    name: str
    package: str
    directory: Path

    @property
    def meta(self) -> dict[str, Any]:
        """Content of `meta.json`, unchecked; empty if it cannot be read."""
        try:
            return dict(json.loads((self.directory / "meta.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    @property
    def card(self) -> str:
        """The model card, or nothing if there is none."""
        for name in ("README.md", "card.md", "CARD.md", "model_card.md"):
            if (self.directory / name).exists():
                return (self.directory / name).read_text(encoding="utf-8")
        return ""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.directory.iterdir() if path.is_file())


def shipped_models() -> list[Shipped]:
    """Find every folder of weights of the installed packages, sorted by name.

    A package that cannot be imported offers none; its domain is listed with the error.
    """
    found = {}
    for entry in sorted(entry_points(group=PRETRAINED), key=lambda e: (e.name, e.value)):
        try:
            module = entry.load()
        except (Exception, SystemExit):  # it may fail in any way, and must harm no other
            continue
        for root in map(Path, module.__path__):
            for meta in root.glob("*/meta.json"):
                found.setdefault(meta.parent.name, (entry.name, meta.parent))
    return [Shipped(name, package, path) for name, (package, path) in sorted(found.items())]


def find_model(name: str) -> Path:
    """Return the directory of a model: weights that ship, by name, or any model by its path.

    Raises:
        InputError: There is neither.
    """
    known = {model.name: model.directory for model in shipped_models()}
    if name in known:
        return known[name]
    if Path(name).exists():
        return Path(name)
    raise InputError(f"model {name}: neither shipped nor a folder; {nearest(name, known)}")
