"""Rewards by name: what people wish for on a command line, as a `Reward`.

A wish is a list of names with weights, ``strand=20,contacts=2``. Each name is a term of the
domain, ``motif(N-{P}-[ST])`` where one takes an argument, or a function of the user's,
``package.module:function``, whose package has to be trusted. The reward is the weighted sum.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast, final

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.state import Batch, State
from sciddiff.steering import Reward
from sciddiff.trust import Trust

__all__ = ["RewardTerms", "Term"]

Term = Callable[..., Tensor]
"""From what a domain shows of samples to one number for each ``[B]``. A function with a true
attribute ``differentiable`` may be followed by its gradient."""

_LARGEST = 1000.0  # weight
_CALL = re.compile(r"(?P<name>[^(=]+)(?:\((?P<argument>.*)\))?(?:=(?P<weight>[^()]*))?", re.DOTALL)


@final
@dataclass(frozen=True, eq=False)
class RewardTerms:
    """The terms that a domain knows, and how functions see its samples.

    Attributes:
        shown: From a state and its batch to the arguments of every term.
        named: Terms by name.
        made: By name, what makes a term of an argument, such as a pattern.
        weight: Of a term without one.

    >>> import torch
    >>> terms = RewardTerms(lambda state, batch: (state["x"],), {"sum": lambda x: x.sum(1)})
    >>> state = {"x": torch.ones(2, 3)}
    >>> terms.reward("sum=2")(state, Batch(state))
    tensor([6., 6.], dtype=torch.float64)
    """

    shown: Callable[[State, Batch], tuple[Any, ...]] = lambda state, batch: (state, batch)
    named: Mapping[str, Term] = field(default_factory=dict)
    made: Mapping[str, Callable[[str], Term]] = field(default_factory=dict)
    weight: float = 1.0

    def reward(self, text: str, option: str = "--steer") -> Reward:
        """The reward that a wish describes.

        Args:
            text: Names with weights.
            option: Where the wish was given, for messages.

        Raises:
            InputError: A name that is unknown or given twice, a weight that is no number, or a
                function that is not trusted, absent, or no function.
        """
        parts: dict[str, tuple[float, Term]] = {}
        for name, argument, weight in _items(text, option):
            told = name if argument is None else f"{name}({argument})"
            if told in parts:
                raise InputError(f"{option}: {told} is given twice; give each once")
            parts[told] = self._weight(told, weight, option), self._term(name, argument, option)
        if not parts:
            example = next(iter(self.named), "package.module:function")
            raise InputError(f"{option}: {text!r} names nothing; try {example}")
        smooth = all(getattr(term, "differentiable", False) for _, term in parts.values())

        def of(state: State, batch: Batch) -> Tensor:
            shown = self.shown(state, batch)
            values = [weight * term(*shown) for weight, term in parts.values()]
            return sum(values[1:], values[0])

        return Reward(of, differentiable=smooth)

    def files(self, text: str, option: str = "--steer") -> list[Path]:
        """Files of the user's functions in a wish: their content decides results too."""
        names = [name for name, _, _ in _items(text, option)]
        modules = [_module(name, option) for name in names if ":" in name]
        return [Path(str(module.__file__)) for module in modules]

    def _weight(self, told: str, text: str | None, option: str) -> float:
        if not text:
            return self.weight
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not abs(weight) <= _LARGEST:
            raise InputError(
                f"{option}: the weight {text!r} of {told} is not a number from -{_LARGEST:g} to "
                f"{_LARGEST:g}; try {told}=20"
            )
        return weight

    def _term(self, name: str, argument: str | None, option: str) -> Term:
        if ":" in name and argument is None:
            found = getattr(_module(name, option), name.partition(":")[2], None)
            if not callable(found):
                raise InputError(f"{option}: {name} is not there, or is no function")
            return cast(Term, found)
        if argument is None and name in self.named:
            return self.named[name]
        if argument is not None and name in self.made:
            return self.made[name](argument)
        if name in self.made:
            raise InputError(f"{option}: {name} needs an argument; write {name}(...)")
        if name in self.named:
            raise InputError(f"{option}: {name} takes no argument; leave the parentheses out")
        known = [*self.named, *(f"{one}(...)" for one in self.made if one not in self.named)]
        choose = f"choose {', '.join(known)}, or write" if known else "write"
        raise InputError(f"{option}: {name!r} is unknown; {choose} package.module:function")


def _items(text: str, option: str) -> list[tuple[str, str | None, str | None]]:
    """Name, argument and weight of each item of a wish."""
    found = []
    for item in filter(None, _pieces(text)):
        said = _CALL.fullmatch(item)
        if said is None:
            raise InputError(
                f"{option}: {item!r} cannot be read; write name=weight or name(argument)=weight"
            )
        weight = said["weight"]
        found.append((said["name"].strip(), said["argument"], weight and weight.strip()))
    return found


def _pieces(text: str) -> list[str]:
    """What stands between commas, but for those in parentheses."""
    pieces, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return [piece.strip() for piece in pieces]


def _module(name: str, option: str) -> ModuleType:
    module = name.partition(":")[0]
    package = module.partition(".")[0]
    if not Trust.of().covers(module):
        raise InputError(
            f"{option}: {name} is code of the package {package}, which is not trusted; if you "
            f"trust it, add --trust {package}"
        )
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{option}: {module} cannot be imported ({error}); put its folder on PYTHONPATH"
        ) from error
