"""The examples in docstrings (`>>>`) do what they show, and every public class has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import sciddiff

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("sciddiff", "protein", "weather")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
WITHOUT = {
    "Domain", "Manifold", "Objective", "Path", "Prediction",  # abstract: docs/core.md makes one
    "PathSample", "LossOutput", "Model",  # results, which the examples of others show
    "InputError", "MissingExtra", "State", "elbo", "__version__",
}  # fmt: skip
"""Public names whose use is shown elsewhere."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def test_public_names_have_an_example():
    names = [name for name in sciddiff.__all__ if name not in WITHOUT]
    without = [n for n in names if ">>> " not in (inspect.getdoc(getattr(sciddiff, n)) or "")]
    assert not without
