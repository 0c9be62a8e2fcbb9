"""The packages that are trusted, and the classes in them."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, final

from sciddiff.errors import InputError, MissingExtra, brief
from sciddiff.extras import provider

__all__ = ["VARIABLE", "Trust", "trusting"]

VARIABLE = "SCIDDIFF_TRUST"
"""Environment variable: names of further packages to trust, with commas between."""

_GROUPS = "sciddiff."  # entry points of every group of ours name a plug-in
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@final
@dataclass(frozen=True)
class Trust:
    """Which packages a model may take its classes from.

    Attributes:
        packages: Names of top-level packages.
    """

    packages: frozenset[str]

    @classmethod
    def of(cls, further: Iterable[str] = ()) -> Trust:
        """Trust this package, those that registered a plug-in, and what the user names.

        Args:
            further: Top-level packages beside those of the environment variable `VARIABLE`.

        Raises:
            InputError: A name is not that of a top-level package.
        """
        variable = os.environ.get(VARIABLE, "").replace(",", " ").split()
        named = [*variable, *([further] if isinstance(further, str) else further)]
        for name in named:
            if not _PACKAGE.fullmatch(name):
                raise InputError(
                    f"trust {name!r}: is not the name of a package; give the first word of the "
                    "class_path, such as my_package"
                )
        return cls(frozenset(("sciddiff", *_plugins(), *named)))

    def covers(self, module: str | None) -> bool:
        """Whether a module, by its dotted name, belongs to a trusted package."""
        return (module or "").partition(".")[0] in self.packages

    def find_class(self, class_path: object, base: type, where: str) -> type:
        """Return the class that a model names.

        Nothing is imported unless its package is trusted, and nothing is called.

        Args:
            class_path: Dotted name, as `config.yaml` gives it.
            base: What the class must derive from.
            where: Field of the model, for messages.

        Raises:
            InputError: It is not the full name of a class of a trusted package that derives from
                `base`, or its module cannot be imported.
        """
        if not isinstance(class_path, str) or not _CLASS_PATH.fullmatch(class_path):
            raise InputError(
                f"{where}: class_path {class_path!r} is not the dotted name of a class; "
                "export the model again"
            )
        parts = class_path.split(".")
        if any(part.startswith("__") for part in parts):
            raise InputError(f"{where}: {class_path} is not the name of a class of a package")
        if parts[0] not in self.packages:
            raise InputError(
                f"{where}: {class_path} belongs to the package {parts[0]}, which is not trusted, "
                f"and a model runs the code of its classes; if you trust that package, add "
                f"--trust {parts[0]} (in Python: trust=[{parts[0]!r}])"
            )
        found = self._resolve(parts, where)
        if not isinstance(found, type):
            raise InputError(
                f"{where}: {class_path} is not a class of the package {parts[0]}; a model may "
                "name nothing else"
            )
        if not issubclass(found, base):
            raise InputError(
                f"{where}: {class_path} is no {base.__name__}; is the model for something else?"
            )
        return found

    def _resolve(self, parts: list[str], where: str) -> Any:
        """Import modules as far as the name goes, then take attributes."""
        found: Any = None
        for count, name in enumerate(parts, start=1):
            inside = isinstance(found, ModuleType) and hasattr(found, "__path__")
            if found is None or (inside and name not in vars(found)):
                module = _import(".".join(parts[:count]), where)
                if module is not None:
                    found = module
                    continue
            found = getattr(found, name, None)
            # A name of a foreign module or function that a trusted module merely imported ends
            # here: what follows would be reached through it.
            owner = found.__name__ if isinstance(found, ModuleType) else _owner(found)
            if found is None or not self.covers(owner):
                raise InputError(
                    f"{where}: {'.'.join(parts[:count])} does not exist in the installed "
                    f"{parts[0]}, or belongs to another package; install the version of "
                    f"{parts[0]} that wrote the model"
                )
        return found


def _owner(value: object) -> str | None:
    return value.__module__ if isinstance(value, type) else None


def _import(name: str, where: str) -> ModuleType | None:
    """Import a module; None if there is none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name and "." in name:
            return None
        missing = (error.name or name).partition(".")[0]
        if extra := provider(missing):
            raise MissingExtra(*extra) from error
        raise InputError(
            f"{where}: {name} cannot be imported ({brief(error)}); install the package {missing}"
        ) from error
    except MissingExtra:
        raise
    except ImportError as error:
        raise InputError(f"{where}: {name} cannot be imported ({brief(error)})") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: an import may do anything
        raise InputError(
            f"{where}: {name} cannot be imported ({type(error).__name__}: {brief(error)}); "
            "install a working version of it"
        ) from error


@contextmanager
def trusting(names: Iterable[str]) -> Iterator[None]:
    """Trust further packages in this process and those that it starts, for a while.

    Args:
        names: Top-level packages.

    Raises:
        InputError: A name is not that of a package.
    """
    before = os.environ.get(VARIABLE)
    packages = sorted(Trust.of(names).packages)
    os.environ[VARIABLE] = ",".join(packages)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _plugins() -> set[str]:
    """Top-level packages of all entry points in groups of ours; nothing is imported."""
    found = entry_points()
    groups = [group for group in found.groups if group.startswith(_GROUPS)]
    modules = [entry.module for group in groups for entry in found.select(group=group)]
    return {module.partition(".")[0] for module in modules}
