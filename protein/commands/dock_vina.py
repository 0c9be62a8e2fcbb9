"""Options of AutoDock Vina and GNINA in `sciddiff dock`, and files of options in Vina's format.

Most are other spellings of options of `dock`; what differs is said in their help.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.options import count, number
from sciddiff.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SYNONYMS", "add_spellings", "resolve"]

SYNONYMS: dict[str, str] = {
    "--num_modes": "--poses",
    "--cpu": "--threads",
    "--autobox_ligand": "--autobox-ligand",
    "--autobox_add": "--autobox-add",
    "--energy_range": "--energy-range",
    "--min_rmsd": "--min-rmsd",
    "--min_rmsd_filter": "--min-rmsd",
}
"""Spellings of other programs, and the options that they are."""

_AXES = ("x", "y", "z")
# Keys of Vina's files that change nothing here.
_IGNORED = ("log", "verbosity", "out", "spacing")


def add_spellings(parser: argparse.ArgumentParser) -> None:
    """Add the spellings of Vina and GNINA, after the options that they stand for."""
    own: dict[str, Any] = parser._option_string_actions
    group = parser.add_argument_group("spellings of AutoDock Vina and GNINA")
    for spelling, option in SYNONYMS.items():
        action = own[option]
        group.add_argument(
            spelling, dest=action.dest, type=action.type, metavar=action.metavar,
            default=argparse.SUPPRESS, help=f"the same as {option}",
        )  # fmt: skip
    for axis in _AXES:
        group.add_argument(f"--center_{axis}", type=number(-1e5, 1e5), metavar="A",
                           help=f"{axis} of --center, Å; give all three")  # fmt: skip
    for axis in _AXES:
        group.add_argument(f"--size_{axis}", type=number(1.0, 500.0), metavar="A",
                           help=f"{axis} of --size, Å; give all three")  # fmt: skip
    group.add_argument(
        "--exhaustiveness", type=count(), metavar="N",
        help="chooses --effort, which is another search: up to 4 is fast, up to 15 is normal "
        "(Vina's default is 8), from 16 is thorough",
    )  # fmt: skip
    group.add_argument("--no_gpu", action="store_true", help="the same as --device cpu")
    group.add_argument("--config", type=Path, metavar="FILE",
                       help="options in Vina's format, one key = value a line; what the command "
                       "line says counts more")  # fmt: skip


def resolve(
    args: argparse.Namespace, configure: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Put what was given in other spellings, or in a file, where the options of `dock` are.

    Args:
        args: parsed options; changed.
        configure: adds the options of the verb to a parser.

    Raises:
        InputError: the file cannot be used, or two options contradict each other.
    """
    if args.config is not None:
        _add_file(args, configure)
    for name in ("center", "size"):
        values = [getattr(args, f"{name}_{axis}") for axis in _AXES]
        if all(value is None for value in values):
            continue
        if any(value is None for value in values) or getattr(args, name) is not None:
            raise InputError(f"--{name}_x, --{name}_y, --{name}_z: give all three, or --{name}")
        setattr(args, name, values)
    if args.exhaustiveness is not None:
        if args.effort != "normal":
            raise InputError("--exhaustiveness: --effort is given, too; leave one out")
        n = args.exhaustiveness
        args.effort = "fast" if n <= 4 else "normal" if n <= 15 else "thorough"
    if args.no_gpu:
        args.device = "cpu"


def _add_file(
    args: argparse.Namespace, configure: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Options of a file, where the command line has left the default."""
    from sciddiff.files import read_text

    parser = _Parser(prog=str(args.config), add_help=False, allow_abbrev=False)
    configure(parser)
    words = ["-o", str(args.out)]
    lines = read_text(args.config, "a file of options").splitlines()
    for line_number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        key, equals, value = (word.strip() for word in text.partition("="))
        if not text or key in _IGNORED:
            continue
        option = next((o for o in (f"--{key}", f"--{key.replace('_', '-')}")
                       if o in parser._option_string_actions), None)  # fmt: skip
        if not equals or not value or option in (None, "--config", "--out"):
            known = {o.removeprefix("--") for o in parser._option_string_actions}
            raise InputError(
                f"{args.config}: line {line_number}: {text!r} sets no option of dock; "
                f"{nearest(key, known - {'config', 'out'})}"
            )
        action = parser._option_string_actions[option]
        if action.nargs == 0:  # a switch
            if value.lower() in ("true", "yes", "1"):
                words.append(option)
        else:
            words += [option, *(value.split() if action.nargs else [value])]
    given = parser.parse_args(words)
    for name, value in vars(given).items():
        default = parser.get_default(name)
        if value != default and getattr(args, name) == default:
            setattr(args, name, value)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the file."""

    def error(self, message: str) -> Any:  # noqa: ANN401
        raise InputError(f"{self.prog}: {message}; correct that line")
