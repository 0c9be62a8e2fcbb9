"""What every option of every verb keeps to."""

import math
from argparse import ArgumentTypeError
from contextlib import suppress

import pytest

from sciddiff.cli.parsing import OneLineParser
from sciddiff.cli.registry import core_verbs, load_core, load_preparer, load_user, preparers
from sciddiff.cli.registry import user_verbs as users
from sciddiff.errors import InputError


def _options():
    """The options of all verbs, each with the verb it belongs to."""
    commands = [load_core(name) for name in core_verbs()]
    for load, names in ((load_user, users(load=False)), (load_preparer, preparers())):
        for name in names:
            with suppress(InputError):  # a plug-in of another checkout
                commands.append(load(name))
    for command in commands:
        parser = OneLineParser(prog=command.name)
        command.configure(parser)
        yield from ((command.name, action) for action in parser._actions)


def test_numbers_have_bounds():
    """A bare float takes NaN and infinity, a bare int what the verb cannot use."""
    bare = [f"{verb} {action.dest}" for verb, action in _options() if action.type in (int, float)]
    assert not bare, f"use sciddiff.cli.options.count or number: {', '.join(bare)}"


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "", "one"])
def test_no_option_for_a_number_takes_what_is_none(text):
    for verb, action in _options():
        if callable(action.type) and isinstance(action.default, float):
            with pytest.raises(ArgumentTypeError):
                action.type(text)
            assert math.isfinite(action.type(str(action.default))), (verb, action.dest)
