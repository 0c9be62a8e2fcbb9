"""The modules of the three packages as syntax trees."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sciddiff", "protein", "weather")


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        """Path from the root of the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def package(self) -> str:
        """The import package it belongs to."""
        return self.name.partition(".")[0]

    def imports(self) -> list[tuple[int, str, str | None]]:
        """Every import as (line, module, name taken from it), wherever it stands."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.lineno, node.module or "", alias.name) for alias in node.names]
        return found


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(path, name, text, ast.parse(text))


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every module of the packages, sorted by path."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [_read(path) for path in paths]
