"""Which optional packages an extra brings, and which of them are not installed.

The metadata of the installed distribution are the one list of extras (`pyproject.toml` where it
was built). Looking for a package imports nothing, so that a listing or a check before a long
computation costs milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from typing import final

__all__ = ["Needs", "missing", "packages", "provider", "remedy"]

_DISTRIBUTION = "sciddiff"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
# Packages that are imported under another name than they are installed by.
_MODULES = {"biopython": "Bio", "netcdf4": "netCDF4", "pyyaml": "yaml", "scikit-learn": "sklearn"}


@final
@dataclass(frozen=True)
class Needs:
    """Optional packages that a domain or a verb cannot do without.

    A package that holds a domain may offer such a value as ``NEEDS`` in its ``__init__``; the
    domain is then listed without being imported.

    Attributes:
        extras: Extras of the distribution, all of whose packages are needed.
        optional: Packages of these extras that something can do without.
        distribution: Whose extras they are.
    """

    extras: tuple[str, ...]
    optional: tuple[str, ...] = ()
    distribution: str = _DISTRIBUTION

    @property
    def missing(self) -> list[str]:
        """Packages that are needed and not installed."""
        found = [name for extra in self.extras for name in missing(extra, self.distribution)]
        return [name for name in dict.fromkeys(found) if name not in self.optional]


def packages(extra: str, distribution: str = _DISTRIBUTION) -> list[str]:
    """Names of the packages of an extra, in lower case with dashes; none if it is unknown."""
    return [name for name, of in _requirements(distribution) if of == extra]


def missing(extra: str, distribution: str = _DISTRIBUTION) -> list[str]:
    """Packages of an extra that are not installed."""
    return [name for name in packages(extra, distribution) if not _installed(name)]


def provider(module: str, distribution: str = _DISTRIBUTION) -> tuple[str, str] | None:
    """The package and the extra that bring a module; None if none does.

    >>> provider("tmtools")
    ('tmtools', 'protein')
    """
    for name, extra in _requirements(distribution):
        if extra and _module(name) == module:
            return name, extra
    return None


def remedy(extras: Sequence[str], distribution: str = _DISTRIBUTION) -> str:
    """The command that installs some extras.

    >>> remedy(["protein", "docking"])
    "pip install 'sciddiff[protein,docking]'"
    """
    return f"pip install '{distribution}[{','.join(extras)}]'"


def _requirements(distribution: str) -> list[tuple[str, str]]:
    """Every requirement as (package, extra); the extra is empty for those always needed."""
    try:
        lines = requires(distribution) or []
    except PackageNotFoundError:  # run from a source tree that is not installed
        return []
    found = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        name, extra = _NAME.match(requirement.strip()), _EXTRA.search(marker)
        if name is not None:
            found.append((_canonical(name[0]), extra[1] if extra else ""))
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _module(package: str) -> str:
    return _MODULES.get(package, package.replace("-", "_"))


def _installed(package: str) -> bool:
    try:
        return find_spec(_module(package)) is not None
    except ValueError:  # a module without a specification stands in for it
        return True
    except ImportError:
        return False
