"""What a model's config says of the path it was trained for, and whether it still is that path.

Weights mean something only together with the path whose outputs they learned: its schedule,
parametrisation, manifold and noise.  The domain makes the path, from its arguments and its own
code, and both may have changed since; then every sample would be wrong without a word.

A record is the name of a path's class and the arguments of its constructor, at any depth.
Arguments of the loss and of sampling alone are left out, by their names, as they do not change
what the outputs mean.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths import ProductPath

__all__ = ["check_path", "describe_path"]

_CLASS = "class"
_ELSEWHERE = ("loss", "sampling")  # in names of arguments that do not change what outputs mean
_MOST_NUMBERS = 256  # of a tensor that is written out; longer ones are told by their checksum


def describe_path(path: ProductPath) -> dict[str, Any]:
    """Return the record of a path, by leaf, as plain values.

    >>> from sciddiff.paths import GaussianPath
    >>> record = describe_path(ProductPath({"x": GaussianPath(parametrization="noise")}))["x"]
    >>> record["class"], record["parametrization"], record["schedule"]
    ('GaussianPath', 'noise', {'class': 'Linear'})
    """
    return {name: _describe(one) for name, one in path.paths.items()}


def check_path(record: object, path: ProductPath, where: str) -> None:
    """Refuse a path that is not the one of the record.

    Args:
        record: Made by `describe_path`.
        path: What the domain gives now.
        where: File of the record, for the message.

    Raises:
        InputError: They differ; the message names what differs.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: path is not a record by leaf; copy the model again")
    if record.keys() != path.paths.keys():
        raise InputError(
            f"{where}: was trained for the leaves {', '.join(map(str, record))}, and its domain "
            f"has {', '.join(path.paths)}; install the version that wrote the model"
        )
    for name, one in path.paths.items():
        _compare(record[name], _describe(one), one, f"{where}: path.{name}")


def _compare(then: Any, now: Any, thing: Any, where: str) -> None:
    """Compare what was recorded with what is, the same kind of thing at both times."""
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        if not _same(then, now):
            raise _other(then, now, where)
        return
    if then.get(_CLASS) != now.get(_CLASS):
        raise _other(then.get(_CLASS), now.get(_CLASS), where)
    defaults = _arguments(thing)
    for name in dict.fromkeys([*then, *now]):
        if name not in now:
            raise _other(then[name], "no such argument", f"{where}.{name}")
        if name in then:
            _compare(then[name], now[name], _get(thing, name), f"{where}.{name}")
        elif not _same(_describe(defaults.get(name)), now[name]):
            # An argument that came after the model was written stands at its default.
            raise _other("nothing else than the default", now[name], f"{where}.{name}")


def _other(then: Any, now: Any, where: str) -> InputError:
    file, _, field = where.partition(": ")
    return InputError(
        f"{file}: was trained for {field} = {_short(then)}, and its domain now gives "
        f"{_short(now)}; install the version that wrote the model, or train again"
    )


def _short(value: Any) -> str:
    text = str(value.get(_CLASS, value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float) and math.isnan(then):
        return math.isnan(now)
    return then == now


def _describe(thing: Any) -> Any:
    """Plain values that say what a thing is."""
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Tensor):
        values = thing.detach().cpu()
        if values.numel() <= _MOST_NUMBERS:
            return values.tolist()
        numbers = values.to(torch.float64).contiguous().numpy().tobytes()
        return {"shape": list(values.shape), "sha256": hashlib.sha256(numbers).hexdigest()}
    if isinstance(thing, Mapping):
        return {str(key): _describe(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_describe(value) for value in thing]
    if inspect.isroutine(thing):
        return thing.__qualname__
    names = [n for n in _arguments(thing) if not any(word in n for word in _ELSEWHERE)]
    known = {name: _describe(v) for name in names if (v := _get(thing, name)) is not _UNKNOWN}
    return {_CLASS: type(thing).__name__, **known}


_UNKNOWN = object()


def _arguments(thing: Any) -> dict[str, Any]:
    """The constructor's arguments with their defaults, by name."""
    if isinstance(thing, (Mapping, Tensor)):
        return {}
    try:
        found = inspect.signature(type(thing)).parameters
    except (TypeError, ValueError):
        return {}
    return {name: one.default for name, one in found.items()}


def _get(thing: Any, name: str) -> Any:
    """The value of an argument: an attribute of its name, perhaps a private one."""
    if isinstance(thing, Mapping):
        return thing.get(name, _UNKNOWN)
    return getattr(thing, name, getattr(thing, f"_{name}", _UNKNOWN))
