"""A new kind of data is a new path: nothing above the paths asks for one kind by name."""

import ast
import inspect

import sciddiff.paths
import sciddiff.prediction
from sciddiff.paths import Path
from sciddiff.prediction import Prediction

# `testing` judges samplers on a Gaussian path of its own making; `sciddiff` re-exports the names.
BELOW = ("sciddiff.paths", "sciddiff.prediction", "sciddiff.testing")


def _concrete():
    """Names of the concrete paths and predictions."""
    homes = (sciddiff.paths, sciddiff.prediction)
    classes = [value for home in homes for value in vars(home).values() if inspect.isclass(value)]
    return {
        one.__name__ for one in classes
        if issubclass(one, Path | Prediction) and not inspect.isabstract(one)
    }  # fmt: skip


def _names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)


def test_the_names_are_found():
    assert {"GaussianPath", "GeodesicPath", "BrownianPath", "GaussianPrediction"} <= _concrete()


def test_no_room_above_the_paths_names_a_concrete_path_or_prediction(modules):
    names = _concrete()
    found = [
        f"{module.where}:{line}: {name}"
        for module in modules
        if module.name.startswith("sciddiff.") and not module.name.startswith(BELOW)
        for line, name in _names(module.tree)
        if name in names
    ]
    assert not found, "\n".join(found)
