"""Options that several verbs share, so that they are spelt and explained alike everywhere."""

from __future__ import annotations

import math
import shlex
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = [
    "MOST",
    "add_device",
    "add_json",
    "add_output",
    "add_seed",
    "add_trust",
    "count",
    "key_values",
    "number",
    "pick_device",
    "pick_sampler",
    "pick_steps",
    "refuse_without",
]

MOST = 1_000_000
"""Largest number of anything that one command is asked for; more are several commands."""

_LARGEST_SEED = 2**64 - 1


def add_json(parser: ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the result as one JSON object, and nothing else, on stdout",
    )


def add_seed(parser: ArgumentParser, default: int | None = 0) -> None:
    """Add ``--seed``."""
    note = "" if default is None else f" (default {default})"
    parser.add_argument(
        "--seed",
        type=count(0, _LARGEST_SEED),
        default=default,
        metavar="S",
        help=f"seed of every random draw; the same seed gives the same result{note}",
    )


def add_device(parser: ArgumentParser) -> None:
    """Add ``--device``; read it with `pick_device`."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="device to compute on: cpu, cuda, cuda:1, or auto, which takes cuda if the machine "
        "has it (default auto)",
    )


def add_trust(parser: ArgumentParser) -> None:
    """Add ``--trust``, for verbs that load a model."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let the model use classes of this Python package, too; give it for models whose "
        "package registers no plug-in and whose code you trust (may be repeated)",
    )


def add_output(parser: ArgumentParser, default: str | None = None) -> None:
    """Add ``-o/--out``, required where there is no default."""
    note = "" if default is None else f" (default {default})"
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=None if default is None else Path(default),
        required=default is None,
        metavar="DIR",
        help=f"folder to write to; it is made if it does not exist{note}",
    )


def pick_device(name: str) -> torch.device:
    """Return the device a user named.

    Raises:
        InputError: Not a device, or not one of this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name}: not a device; use cpu, cuda or cuda:0") from error
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if (device.index or 0) >= found:
            raise InputError(f"--device {name}: this machine has {found} CUDA devices; use cpu")
        return device
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: not on this machine; use cpu") from error
    if device.type == "meta":
        raise InputError("--device meta: holds no numbers; use cpu")
    return device


def pick_steps(given: int | None, model: str | None, default: int) -> int:
    """Return the steps that a user asked for, else those that the model is best drawn with.

    Args:
        given: What the user asked for.
        model: Name or folder of the model; None for none.
        default: Steps of a model that says nothing.

    Raises:
        InputError: There is no such model.
    """
    if given is not None or model is None:
        return given or default
    from sciddiff.shipped import find_model
    from sciddiff.weights import Recommended, describe

    return Recommended.of(describe(find_model(model))).steps or default


def pick_sampler(given: str | None, model: str | None, default: str, flow_map: str) -> str:
    """Return the sampler that a user asked for, else the one that the model needs.

    Args:
        given: What the user asked for.
        model: Name or folder of the model; None for none.
        default: For most models.
        flow_map: For models that are flow maps.

    Raises:
        InputError: There is no such model.
    """
    if given is not None or model is None:
        return given or default
    from sciddiff.shipped import find_model
    from sciddiff.weights import Recommended, describe

    return flow_map if Recommended.of(describe(find_model(model))).flow_map else default


def count(least: int = 1, most: int = MOST) -> Callable[[str], int]:
    """Return an argparse type: a whole number from `least` to `most`, both included."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        if value > most:
            raise ArgumentTypeError(f"{text!r} is larger than {most:,}, which is the most")
        return value

    return whole_number


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Return an argparse type: a finite number from `least` to `most`, both included."""
    bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"

    def finite_number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            raise ArgumentTypeError(f"{text!r} is not a number {bounds}")
        return value

    return finite_number


def refuse_without(
    args: Namespace, needed: str, there: bool, options: Sequence[str]
) -> None:
    """Refuse options of the command line that change nothing without another one.

    Args:
        args: Parsed options, as `sciddiff.cli.parsing.parse` gives them.
        needed: The option that they belong to.
        there: Whether it is given, or stands in for what is.
        options: Those that belong to it.

    Raises:
        InputError: One of them is given alone.
    """
    if there:
        return
    words = shlex.split(getattr(args, "command_line", ""))
    given = {word.partition("=")[0] for word in words}
    alone = next((option for option in options if option in given), None)
    if alone is not None:
        raise InputError(f"{alone}: applies to {needed} only; give {needed}, or leave it out")


def key_values(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Read ``key=value`` words; values are YAML, so ``n=8`` is a number and ``a=[1, 2]`` a list.

    Raises:
        InputError: A word without ``=``, a key given twice, or a value that is not YAML.
    """
    read: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise InputError(f"{option} {pair}: not of the form key=value; write {option} n=8")
        if key in read:
            raise InputError(f"{option} {key}: given twice; keep one")
        try:
            read[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{option} {pair}: the value is not YAML; quote it") from error
    return read
