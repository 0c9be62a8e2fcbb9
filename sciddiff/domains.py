"""What a scientific field brings to the core, and how the core finds it.

A `Domain` owns data and files; the core owns noise, learning and sampling.  Between them travel
only `Batch` (data or templates, states `[B, ...]` or ragged `[sum N, ...]`) and `ProductPath`.

Domains register by entry point, so that a stranger's package is found exactly as ours are::

    [project.entry-points."sciddiff.domains"]
    mixture = "my_package:MixtureDomain"

Nothing is imported until a domain is asked for.  A plug-in that fails to import is listed with
its error and never hides the others.  A package may say what it needs by a `sciddiff.extras.Needs`
named ``NEEDS`` in the ``__init__`` of the package its domain is in; the list of domains is then
made without importing that domain. In the same place it may name, as ``OPTIONS``, what
``sciddiff evaluate`` can be asked for in the words of the domain.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sciddiff.errors import InputError, MissingExtra
from sciddiff.extras import Needs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sciddiff.codecs import Latents
    from sciddiff.denoiser import Denoiser
    from sciddiff.drawing import Drawing
    from sciddiff.guidance import DenoiserLike
    from sciddiff.objectives import Objective
    from sciddiff.paths import ProductPath
    from sciddiff.rewards import RewardTerms
    from sciddiff.state import Batch, State

__all__ = [
    "GROUP", "Domain", "DomainEntry", "Option", "check_needs", "domain_options",
    "domain_names", "domains", "get_domain",
]  # fmt: skip

_Kind = TypeVar("_Kind")

GROUP = "sciddiff.domains"
"""Entry-point group in which packages announce their domains."""


@dataclass(frozen=True)
class Option:
    """A word of `Domain.assess` that `sciddiff evaluate` also takes as an option of its own.

    Attributes:
        name: Without dashes at its beginning; `assess` gets it with ``_`` for ``-``, as text.
        metavar: What stands for its value in the help.
        help: What it does.
        reads: Its value is a file or folder, whose content the figures depend on.
    """

    name: str
    metavar: str
    help: str
    reads: bool = False


class Domain(ABC):
    """Data, request, writer and evaluator of one scientific problem.

    A subclass is a plain class whose `__init__` is typed: the arguments are then settable from a
    YAML file by `class_path` and `init_args`.  Construction must be cheap: read data on first use.
    """

    name: str
    """Short name, the one under which the domain is registered."""

    @abstractmethod
    def path(self) -> ProductPath:
        """Return the probability path of every leaf of the state."""

    def training_path(self) -> ProductPath:
        """The path that a network is trained on, where its loss needs the training data."""
        return self.path()

    @abstractmethod
    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Yield the training batches of one epoch, already bucketed and shuffled.

        The order is a function of `(seed, epoch)` alone, and the batches of rank `r` are every
        `world`-th of it, so that a resumed run sees what an unbroken one would have seen.  Every
        rank yields the same number of batches.

        Args:
            epoch: Number of complete passes before this one.
            seed: Seed of the run.
            rank: Which of the `world` processes asks.
            world: Number of processes.
        """

    def fit(self, net: nn.Module) -> None:  # noqa: B027 - most have nothing to fit
        """Set what of a fresh network is fitted to the data in closed form, not learned.

        Called once before the first step of a run, and before `init_from` is read. By default
        there is nothing to fit.
        """

    @abstractmethod
    def val_batches(self) -> Iterable[Batch]:
        """Yield the held-out batches, in a fixed order."""

    @abstractmethod
    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Turn a request into templates that say what to sample (shapes, conditions, ids).

        Args:
            request: Plain values as a user types them, for example `{"n": 8, "length": 100}`.

        Raises:
            InputError: The request cannot be met; the message names the field and the remedy.
        """

    @abstractmethod
    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Write the samples `x` of template `batch` as files a user can open.

        Args:
            batch: The template that was sampled; `batch.ids` names the files.
            x: Samples, leaves of the shapes of `batch.x`.
            directory: Existing directory to write in.

        Returns:
            The files written.
        """

    @abstractmethod
    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Measure the samples of a directory, beside a reference set where one is given."""

    def assess(
        self,
        directory: Path,
        reference: Path | None,
        report: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`evaluate` as a user asks for it; a domain that knows more than folders overrides it.

        Args:
            directory: Folder of samples, or a table of them where the domain reads one.
            reference: What to measure beside.
            report: Folder for tables and plots.
            options: Plain values in the domain's own words.

        Raises:
            InputError: An argument that this domain does not know.
        """
        if directory.is_file():
            raise InputError(f"{directory}: is a file; give the folder of samples")
        if report is not None:
            raise InputError(f"--report: the domain {self.name} makes none here; leave it out")
        if options:
            raise InputError(f"--set {min(options)}: unknown to the domain {self.name}; remove it")
        return self.evaluate(directory, reference)

    def describe(self, measured: Mapping[str, Any]) -> str | None:
        """Write the result of `assess` as people read it; None for a plain list of figures."""
        return None

    def templates(self, n: int, seed: int, request: Mapping[str, Any]) -> Iterable[Batch]:
        """`like` for `n` samples; a domain whose templates are drawn too takes the seed.

        Args:
            n: Number of samples.
            seed: Seed of the samples.
            request: The other fields of the request.
        """
        return self.like({**request, "n": n})

    def drawing(self) -> Drawing:
        """Return how samples are drawn unless the user asks for something else."""
        from sciddiff.drawing import Drawing

        return Drawing()

    def results(self, batch: Batch, x: State) -> list[Any]:
        """Turn samples into the objects that people of the field work with, one a sample.

        Args:
            batch: The template that was sampled.
            x: Samples, leaves of the shapes of `batch.x`.

        Returns:
            For each sample its state without padding, unless the domain knows better.
        """
        return [
            {name: batch.layouts[name].rows_of(leaf, k) for name, leaf in x.items()}
            for k in range(batch.size)
        ]

    def sound(self, batch: Batch, x: State) -> Tensor:
        """Which samples are fit to be learned from, bool ``[B]``; all, unless the domain judges.

        Args:
            batch: The template that was sampled.
            x: Samples, leaves of the shapes of `batch.x`.
        """
        import torch

        return torch.ones(batch.size, dtype=torch.bool)

    def guided(self, denoiser: Denoiser, weight: float) -> DenoiserLike:
        """The denoiser with its condition strengthened, as this domain does it.

        Args:
            denoiser: Network and path.
            weight: Strength; 1 is none.

        Raises:
            InputError: The domain has no condition that can be left out.
        """
        from sciddiff.guidance import ClassifierFree

        null = self.null_labels()
        if not null:
            raise InputError(
                f"guidance: the domain {self.name} names no label that means none "
                "(`Domain.null_labels`), so that nothing can be strengthened"
            )
        return ClassifierFree(weight, null)(denoiser)

    def null_labels(self) -> dict[str, Any]:
        """Return the value of each condition that means "no label", for guidance without one."""
        return {}

    def rewards(self) -> RewardTerms:
        """Return which rewards have names, and what functions of rewards are shown of samples."""
        from sciddiff.rewards import RewardTerms

        return RewardTerms()

    def latents(self) -> Latents | None:
        """Return the codec through which states are learned and drawn; None: as they are."""
        return None

    def provenance(self) -> dict[str, Any]:
        """Return what data was learned from: names, sizes, splits, checksums; plain values."""
        return {}

    def objective(self) -> Objective:
        """Return the objective this domain learns by unless the experiment names another."""
        from sciddiff.objectives import Denoising

        return Denoising()


@dataclass(frozen=True)
class DomainEntry:
    """One line of the list of installed domains.

    Attributes:
        name: Name to ask for.
        package: Distribution that registered it.
        error: Why it cannot be used, or None if it can.
    """

    name: str
    package: str
    error: str | None = None


def domain_names() -> list[str]:
    """Return the registered names, sorted, without importing any plug-in."""
    return sorted({entry.name for entry in _entries()})


def domains() -> list[DomainEntry]:
    """Return every registered domain, usable or not, sorted by name.

    A domain whose package says what it needs (``NEEDS``) is judged by what is installed; any
    other is imported.
    """
    listed: list[DomainEntry] = []
    owners: dict[str, str] = {}
    for entry in _entries():
        package = _package(entry)
        if entry.name in owners:
            error = f"the name is already taken by package {owners[entry.name]}; uninstall one"
        else:
            owners[entry.name] = package
            error = _fault(entry)
        listed.append(DomainEntry(entry.name, package, error))
    return listed


def get_domain(name: str) -> type[Domain]:
    """Return the domain class registered under `name`.

    Raises:
        InputError: No such name (the message lists those that exist), or its plug-in is broken.
        MissingExtra: The domain needs packages that are not installed.
    """
    for entry in _entries():
        if entry.name == name:
            check_needs(f"{entry.module}.{entry.attr}")
            error = _try(entry)
            if error is not None:
                raise InputError(
                    f"domain {name}: package {_package(entry)} cannot be loaded ({error}); "
                    f"reinstall or remove {_package(entry)}"
                )
            return entry.load()
    names = domain_names()
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    known = ", ".join(names) if names else "none; install a package that provides one"
    raise InputError(f"domain {name}: not installed; {hint}installed domains: {known}")


def domain_options() -> dict[str, tuple[Option, ...]]:
    """Return the options of `sciddiff evaluate` that packages declare, by domain.

    No domain is imported, only the ``__init__`` of the package that holds it.
    """
    told = {entry.name: _declared(entry.module, "OPTIONS", tuple) for entry in _entries()}
    return {k: tuple(o for o in own if isinstance(o, Option)) for k, own in told.items() if own}


def _entries() -> list[EntryPoint]:
    """Registered entry points; sorted, so that a clash of names is settled the same way always."""
    return sorted(entry_points(group=GROUP), key=lambda e: (e.name, _package(e), e.value))


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.split(":")[0].split(".")[0]


def check_needs(class_path: str) -> None:
    """Refuse a domain whose package says that it needs what is not installed.

    Args:
        class_path: Module and class, such as ``protein.backbone.domain.BackboneDomain``.

    Raises:
        MissingExtra: It names every package that is missing.
    """
    # Only a domain that is registered is looked at: a name alone must not import anything.
    for entry in _entries():
        needs = _needs(entry.module) if f"{entry.module}.{entry.attr}" == class_path else None
        if needs is not None:
            MissingExtra.check(needs)


def _needs(module: str) -> Needs | None:
    """What the package around a module says that it needs; None if it says nothing."""
    return _declared(module, "NEEDS", Needs)


def _declared(module: str, name: str, kind: type[_Kind]) -> _Kind | None:
    """A value that the package around a module names; None if it has none of that kind."""
    try:
        found = getattr(import_module(module.rpartition(".")[0]), name, None)
        return found if isinstance(found, kind) and find_spec(module) is not None else None
    except (Exception, SystemExit):  # no package, or one that cannot be imported
        return None


def _fault(entry: EntryPoint) -> str | None:
    """What is wrong with a plug-in, found without importing it where it says what it needs."""
    needs = _needs(entry.module)
    if needs is None:
        return _try(entry)
    try:
        MissingExtra.check(needs)
    except MissingExtra as error:
        return str(error)
    return None


def _try(entry: EntryPoint) -> str | None:
    """Import a plug-in; return None or one line on what is wrong with it."""
    try:
        found = entry.load()
    except MissingExtra as error:
        return str(error)
    except (Exception, SystemExit) as error:  # it may fail in any way, and must harm no other
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not (isinstance(found, type) and issubclass(found, Domain)):
        return f"{entry.value} is not a subclass of sciddiff.domains.Domain"
    return None
