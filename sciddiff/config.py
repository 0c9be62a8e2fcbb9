"""One typed description of a training run, and its plain form in YAML.

The types below are the single source of truth: files, command-line overrides, defaults and help
are read off their signatures (jsonargparse).  A class is named by `class_path` and given its
arguments by `init_args`::

    domain: {class_path: my_package.MixtureDomain, init_args: {size: 4096}}
    net: {class_path: my_package.Net, init_args: {width: 64}}
    optim: {lr: 0.001}
    trainer: {max_steps: 2000}
    out: runs/mixture

Two forms exist: the *plain* one (a dict of YAML values, what files hold) and the *built* one
(`Experiment`, holding objects).  `read` gives the plain form with every default filled in, `build`
turns it into objects, and `Experiment.plain` remembers it so that a run can be exported.
"""

from __future__ import annotations

import difflib
import os
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
import yaml

from sciddiff.domains import Domain, check_needs
from sciddiff.errors import InputError, reading
from sciddiff.files import read_text, replacing
from sciddiff.objectives import Objective
from sciddiff.settings import EMASettings, OptimSettings, TrainerSettings
from sciddiff.trust import Trust, allows_none, construct, parameters
from sciddiff.weights import CONFIG

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = [
    "PATH",
    "EMASettings",
    "Experiment",
    "OptimSettings",
    "TrainerSettings",
    "build",
    "build_parts",
    "from_yaml",
    "parser",
    "read",
    "settings_of",
    "to_yaml",
]

PATH = "path"
"""Key of a model's config that tells the path it was trained for; no setting of an experiment."""

_MOST_TEXT = 2**20  # bytes of a YAML file; the longest of ours has 2,000
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Experiment:
    """Everything a training run depends on.

    Attributes:
        domain: Data, paths, request, writer and evaluator.
        net: Network, `net(x_t, t, batch) -> State` of raw outputs.
        objective: How to learn; None takes the domain's own.
        optim: Optimiser settings.
        ema: Averages of the parameters.
        trainer: Length, devices, precision and logs.
        seed: Seed of initial weights, data order, times and noise.
        out: Directory of the run.
        init_from: Weights to start from: a model directory, the name of shipped weights, or a
            `.safetensors` file. Optimiser and averages start afresh; a resumed run ignores it.
        init_strict: Whether those weights must name every parameter of the network and no other.
            If not, parameters they lack start afresh and others are left out; shapes must agree
            always.
        plain: The YAML form this was built from; set by `build`, needed by `export`.
    """

    domain: Domain
    net: torch.nn.Module
    objective: Objective | None = None
    optim: OptimSettings = field(default_factory=OptimSettings)
    ema: EMASettings = field(default_factory=EMASettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    seed: int = 0
    out: str = "runs/experiment"
    init_from: str | None = None
    init_strict: bool = True
    plain: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


def parser() -> ArgumentParser:
    """Return the parser of `Experiment`: the options of `train`, with `--config` and overrides.

    Option `--print_config` prints the plain form with every default and leaves.
    """
    from jsonargparse import (
        ActionConfigFile,  # pyright: ignore[reportPrivateImportUsage]
        ArgumentParser,
    )

    _rules()
    made = ArgumentParser(prog="sciddiff train", exit_on_error=False)
    made.add_argument("--config", action=ActionConfigFile, help="YAML file of the experiment")
    made.add_class_arguments(Experiment, skip={"plain"}, sub_configs=True)
    return made


def read(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Read an experiment, put overrides on top, and fill in every default.

    Args:
        config: YAML file, or a plain dict, or None to take everything from the overrides.
        overrides: Options as on a command line: `["--optim.lr", "1e-4", "--seed=3"]`.

    Returns:
        The plain form: nested dicts of YAML values.

    Raises:
        InputError: A file that is not YAML, an unknown key (the nearest valid one is named), a
            value of the wrong type, or a class that cannot be imported.
    """
    arguments: list[str] = []
    where = "experiment"
    if config is not None:
        if isinstance(config, Mapping):
            plain = dict(config)
        else:
            where, plain = str(config), from_yaml(Path(config))
        plain.pop(PATH, None)  # a model's config trains again: its domain gives the path
        arguments = ["--config", yaml.safe_dump(plain, sort_keys=False)]
    reader = parser()
    parsed = _guard(lambda: reader.parse_args([*arguments, *overrides]), where)
    complete = {key: _plain(value) for key, value in parsed.as_dict().items() if key != "config"}
    _refuse_nulls(complete, Experiment, f"{where}: ")
    seeds = {"seed": complete["seed"], "trainer.val_seed": complete["trainer"]["val_seed"]}
    for name, seed in seeds.items():
        if not 0 <= seed < 2**64:
            raise InputError(f"{where}: {name}: {seed} is not in [0, 2^64); choose another")
    return complete


def build(plain: Mapping[str, Any]) -> Experiment:
    """Turn the plain form into objects.

    Initial weights are drawn from the experiment's seed, and the global random state is left as
    it was.

    Raises:
        InputError: The plain form is invalid, or a class refuses its arguments.
    """
    complete = read(plain)
    reader = parser()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(complete["seed"])
        # Of a copy: jsonargparse puts functions in the place of their names.
        copied = deepcopy(complete)
        made = _guard(lambda: _instantiate(reader, reader.parse_object(copied)), "experiment")
    values = {f.name: getattr(made, f.name) for f in fields(Experiment) if f.name != "plain"}
    return Experiment(**values, plain=complete)


def build_parts(
    plain: Mapping[str, Any], trust: Trust | None = None, where: str = CONFIG
) -> tuple[Domain, torch.nn.Module]:
    """Build the domain and the network of a model, from classes that may run here.

    Unlike `build`, which runs whatever an experiment names, this takes concrete classes of trusted
    packages alone (see `sciddiff.trust`).

    Args:
        plain: Plain form of the experiment.
        trust: Packages whose classes may be named; None takes those of `Trust.of`.
        where: What `plain` was read from, for messages.

    Raises:
        InputError: A class is not trusted, cannot be imported or refuses its arguments.
        MissingExtra: The domain needs packages that are not installed.
    """
    trust = Trust.of() if trust is None else trust
    for key in ("domain", "net"):
        if key not in plain:
            raise InputError(f"{where}: {key} is missing; export the run again")
    named = plain["domain"].get("class_path") if isinstance(plain["domain"], Mapping) else None
    if isinstance(named, str) and trust.covers(named):
        check_needs(named)  # imports the package around the class
    with torch.random.fork_rng(devices=[]):
        return (
            construct(plain["domain"], Domain, f"{where}: domain", trust),
            construct(plain["net"], torch.nn.Module, f"{where}: net", trust),
        )


def settings_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of optimiser, averages and trainer of a complete plain form, by their key."""
    return {
        key: group(**{k: tuple(v) if isinstance(v, list) else v for k, v in plain[key].items()})
        for key, group in _GROUPS.items()
    }


def from_yaml(path: Path) -> dict[str, Any]:
    """Read a plain experiment from a file.

    Raises:
        InputError: The file is missing, is not YAML, does not hold a mapping, or holds far more
            values than an experiment has.
    """
    text = read_text(path, "a YAML file", _MOST_TEXT)
    with reading(path, "valid YAML", "mend that line"):
        plain = yaml.safe_load(text)
    if not isinstance(plain, dict):
        raise InputError(f"{path}: holds no mapping; begin with lines such as domain: and net:")
    if _more_than(_MOST_VALUES, plain):
        raise InputError(f"{path}: holds more than {_MOST_VALUES:,} values; is it an experiment?")
    return plain


def _more_than(most: int, plain: Any) -> bool:
    """Whether there are too many values; anchors of YAML can make billions of a few lines."""
    left: list[Any] = [plain]
    while left and most > 0:
        value = left.pop()
        most -= 1
        if isinstance(value, (dict, list)):
            left += value.values() if isinstance(value, dict) else value
    return bool(left)


def to_yaml(plain: Mapping[str, Any], path: Path) -> None:
    """Write a plain experiment, readable again by `read`."""
    # Replaced in one go: processes of one job may write the same file at the same time.
    with replacing(path) as file:
        file.write(yaml.safe_dump(dict(plain), sort_keys=False).encode("utf-8"))


def _refuse_nulls(plain: Mapping[str, Any], cls: type, where: str) -> None:
    """Refuse null for an argument whose type has no None: jsonargparse lets it pass."""
    for name, (hint, default) in parameters(cls)[0].items():
        value = plain.get(name, _UNSET)
        if value is None and default is not None and not allows_none(hint):
            raise InputError(f"{where}{name}: is null; give it a value or remove the line")
        if isinstance(value, Mapping):
            inner = _class_of(value) if "class_path" in value else hint
            if isinstance(inner, type) and inner.__module__ not in ("builtins", "typing"):
                inside = value.get("init_args") if "class_path" in value else value
                _refuse_nulls(inside or {}, inner, f"{where}{name}.")


_UNSET = object()


def _class_of(value: Mapping[str, Any]) -> object:
    try:
        return pkgutil.resolve_name(str(value["class_path"]))
    except (ImportError, AttributeError, ValueError):
        return None


@cache
def _rules() -> None:
    """Tell jsonargparse which dataclasses are choices and which are settings.

    Left alone it takes every dataclass for settings, and refuses `times: {class_path: ...}` where
    the default is one.  Ours are choices when they derive from an abstract class.
    """
    from jsonargparse import set_parsing_settings

    set_parsing_settings(
        subclasses_enabled=["is_pure_dataclass", "is_final_class"],
        subclasses_disabled=[_is_settings],
    )


def _is_settings(cls: type) -> bool:
    return is_dataclass(cls) and cls.__mro__[1:] == (object,)


def _plain(value: Any) -> Any:
    """Values of YAML alone: tuples become lists, paths and enums what they are written as."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value)


def _guard(action: Callable[[], Any], where: str) -> Any:
    """Run a jsonargparse action; its errors become one line with the nearest valid key."""
    from jsonargparse import ArgumentError

    try:
        return action()
    except InputError:
        raise
    except (ArgumentError, TypeError, ValueError, ImportError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{where}: {text}; {_remedy(text)}") from error


def _remedy(text: str) -> str:
    """Name the nearest valid key if the message is about an unknown one."""
    if missing := re.search(r"arguments are required: (\S+)|Key \"(\S+)\" is required", text):
        key = missing.group(1) or missing.group(2)
        return f"add {key.rstrip(',')}: to the file"
    unknown = next((m for p in _UNKNOWN if (m := re.search(p, text))), None)
    if unknown is None:
        return "see sciddiff train --help"
    key = unknown.group("key").lstrip("-").split("=")[0]
    owner = re.search(r"class_path '?\"?([\w.]+)", text)
    known = _class_keys(owner.group(1)) if owner else _keys()
    head, _, last = key.rpartition(".")
    group = re.search(r"Group '([\w.]+)'", text)
    head = group.group(1) if group and not head else head
    inside = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == head] or known
    near = difflib.get_close_matches(last, inside, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"valid keys: {', '.join(sorted(inside))}"


def _keys() -> list[str]:
    """Every dotted key of an experiment outside the arguments of its classes."""
    keys = []
    for entry in fields(Experiment):
        keys.append(entry.name)
        if entry.name in _GROUPS:
            keys += [f"{entry.name}.{inner.name}" for inner in fields(_GROUPS[entry.name])]
    keys.remove("plain")
    return keys


def _class_keys(class_path: str) -> list[str]:
    """Names of the arguments of a class."""
    found = _class_of({"class_path": class_path})
    return list(parameters(found)[0]) if isinstance(found, type) else []


def _instantiate(reader: ArgumentParser, parsed: Any) -> Any:
    return reader.instantiate(parsed)


_GROUPS = {"optim": OptimSettings, "ema": EMASettings, "trainer": TrainerSettings}
_UNKNOWN = (
    r"does not accept option '(?P<key>[\w.\-]+)'",
    r"Option '(?P<key>[\w.\-]+)' is not accepted",
    r"unrecognized arguments: (?P<key>\S+)",
    r"Key ['\"](?P<key>[\w.\-]+)['\"] is not expected",
    r"[Nn]o action for (?:destination )?key ['\"](?P<key>[\w.\-]+)['\"]",
)
