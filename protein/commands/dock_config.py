"""Files of options in Vina's format for `sciddiff dock`: one ``key = value`` a line.

The command line counts more: what it says, or what it says in another way (``--center`` where the
file has ``autobox_ligand``), is not taken from the file.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sciddiff.cli.parsing import gather_repeated
from sciddiff.errors import InputError, nearest

__all__ = ["add_file"]

# Ways to say the same: of each line, the names of one way exclude those of the others.
_WAYS: tuple[tuple[frozenset[str], ...], ...] = tuple(
    tuple(map(frozenset, ways))
    for ways in (
        (["center"], ["center_x", "center_y", "center_z"], ["autobox_ligand"],
         ["pocket_residues"], ["blind"]),
        (["size"], ["size_x", "size_y", "size_z"]),
        (["effort"], ["exhaustiveness"]),
        (["device"], ["no_gpu"]),
        (["flex"], ["flex_auto"]),
    )
)  # fmt: skip
# Options that make no sense in a file.
_NOT_THERE = ("config", "out", "help", "o", "r", "l", "h")
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

Configure = Callable[[argparse.ArgumentParser], None]


def add_file(args: argparse.Namespace, configure: Configure) -> None:
    """Set the options of the file ``args.config`` that the command line leaves open.

    Args:
        args: parsed options, with the words of the command line; changed.
        configure: adds the options of the verb to a parser.

    Raises:
        InputError: the file cannot be read, or a line of it cannot be used.
    """
    told = vars(_said("the command line", configure, shlex.split(args.command_line)[2:]))
    found = vars(_said(str(args.config), configure, _words(args.config, configure)))
    for ways in _WAYS:
        if any(told.keys() & way for way in ways):
            other = frozenset().union(*(way for way in ways if not told.keys() & way))
            found = {name: value for name, value in found.items() if name not in other}
    for name, value in found.items():
        if name not in told:
            setattr(args, name, value)


def _parser(name: str, configure: Configure) -> _Parser:
    parser = _Parser(prog=name, add_help=False, allow_abbrev=False)
    configure(parser)
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return parser


def _said(name: str, configure: Configure, words: Sequence[str]) -> argparse.Namespace:
    """The options that words say, and no others."""
    return _parser(name, configure).parse_known_args(words)[0]


def _words(path: Path, configure: Configure) -> list[str]:
    """The lines of a file as words of a command line."""
    from protein.commands.dock_vina import IGNORED, INSTEAD
    from sciddiff.files import read_text

    parser, words, lines = _parser(str(path), configure), list[str](), dict[str, int]()
    for number, line in enumerate(read_text(path, "a file of options").splitlines(), 1):
        # The # of a triple bond follows a letter.
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        key, equals, value = (word.strip() for word in text.partition("="))
        if not text or key in IGNORED:
            continue
        option = next((o for o in (f"--{key}", f"--{key.replace('_', '-')}")
                       if o in parser._option_string_actions), None)  # fmt: skip
        if not equals or not value or option is None or key in _NOT_THERE:
            known = {o.lstrip("-") for o in parser._option_string_actions}
            raise InputError(
                f"{path}: line {number}: {text!r} sets no option of dock; "
                f"{nearest(key, known - set(_NOT_THERE))}"
            )
        if option in INSTEAD:
            raise InputError(
                f"{path}: line {number}: {key} is no option of dock; {INSTEAD[option]}"
            )
        action = parser._option_string_actions[option]
        before = lines.setdefault(action.dest, number)
        if before != number and action.nargs != "+":
            raise InputError(
                f"{path}: lines {before} and {number} both set {key}; leave one of them out"
            )
        words += _values(f"{path}: line {number}", option, action, value)
    return words


def _values(place: str, option: str, action: argparse.Action, value: str) -> list[str]:
    """The words that stand for a line of the file."""
    if action.nargs != 0:
        return [option, *(_several(value) if action.nargs else [value])]
    if value.lower() not in (*_YES, *_NO):
        raise InputError(f"{place}: {value!r} is neither true nor false; correct it")
    return [option] if value.lower() in _YES else []


def _several(value: str) -> list[str]:
    """Values that blanks separate; a file whose name has blanks, as it is or in quotes, is one."""
    if len(value) < 4096 and Path(value).exists():
        return [value]
    lexer = shlex.shlex(value, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError:  # a quotation mark without its other
        return value.split()


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the file."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        gather_repeated(self)

    def error(self, message: str) -> Any:  # noqa: ANN401
        raise InputError(f"{self.prog}: {message}; correct that line")
