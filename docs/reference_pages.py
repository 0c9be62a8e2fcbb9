"""Sphinx extension: writes one reference page for each room of the three packages.

A room is a module or a subpackage directly under ``sciddiff``, ``protein`` or ``weather``. Its
page documents what its ``__all__`` names, and then the modules inside it, less the names that the
room itself has already shown, so that every object appears once and under the name users import.
The pages follow the code: nothing has to be listed by hand. Modules are found by reading their
source, not by importing them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

PACKAGES = {
    "sciddiff": "The core",
    "protein": "Proteins",
    "weather": "Weather",
}
NOT_API = {"commands", "pretrained", "viewer", "cli"}
"""Rooms that hold verbs, weights and pages; users reach them through the command line."""

ROOT = Path(__file__).parent.parent


def write_pages(app: Sphinx) -> None:
    """Write the pages into ``docs/reference/``, which git ignores; leave equal files alone."""
    folder = Path(app.confdir) / "reference"
    folder.mkdir(exist_ok=True)
    wanted = {}
    for package, title in PACKAGES.items():
        rooms = [name for name in _children(ROOT / package) if name not in NOT_API]
        for room in rooms:
            wanted[f"{package}.{room}.rst"] = _room_page(package, room)
        wanted[f"{package}.rst"] = _package_page(package, title, rooms)
    for stale in set(path.name for path in folder.glob("*.rst")) - set(wanted):
        (folder / stale).unlink()
    for name, text in wanted.items():
        target = folder / name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def _package_page(package: str, title: str, rooms: list[str]) -> str:
    lines = [*_heading(title, "="), f".. automodule:: {package}", "   :no-members:", ""]
    lines += [".. toctree::", "   :maxdepth: 1", ""]
    lines += [f"   {package}.{room}" for room in rooms]
    return "\n".join([*lines, ""])


def _room_page(package: str, room: str) -> str:
    where, name = ROOT / package / room, f"{package}.{room}"
    source = where / "__init__.py" if where.is_dir() else where.with_suffix(".py")
    shown = _public(source)
    lines = [*_heading(name, "="), *_module(name, members=bool(shown))]
    for module, path in _modules(name, where):
        own = [public for public in _public(path) if public not in shown]
        if own:
            lines += [*_heading(module, "-"), *_module(module, members=own)]
    return "\n".join([*lines, ""])


def _module(name: str, members: bool | list[str]) -> list[str]:
    option = {True: "   :members:", False: "   :no-members:"}
    chosen = f"   :members: {', '.join(members)}" if isinstance(members, list) else option[members]
    return [f".. automodule:: {name}", chosen, ""]


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _children(folder: Path) -> list[str]:
    """Names of the modules and subpackages of a package, in alphabetical order."""
    found = {path.stem for path in folder.glob("*.py")}
    found |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return sorted(name for name in found if not name.startswith("_"))


def _modules(name: str, where: Path) -> Iterator[tuple[str, Path]]:
    """Every module below a room, with its dotted name."""
    if not where.is_dir():
        return
    for child in _children(where):
        inner = where / child
        if inner.is_dir():
            yield f"{name}.{child}", inner / "__init__.py"
            yield from _modules(f"{name}.{child}", inner)
        else:
            yield f"{name}.{child}", inner.with_suffix(".py")


def _public(source: Path) -> list[str]:
    """The names in ``__all__`` of a module; without one, its own classes and functions."""
    body = ast.parse(source.read_text(encoding="utf-8")).body
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                return list(ast.literal_eval(node.value))
            except ValueError:
                return []  # computed: the names have pages of their own
    defined = (ast.ClassDef, ast.FunctionDef)
    return [n.name for n in body if isinstance(n, defined) and not n.name.startswith("_")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
