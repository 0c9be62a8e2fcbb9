"""From the plain values of a model's config to the objects that its classes describe.

The types of the classes' arguments say what each value must be, as they do for a training
configuration (`sciddiff.config`), but there the values may name anything that can be imported.
Here a name counts only where a class is wanted, as ``{class_path: ..., init_args: {...}}``, and
only if `Trust` knows its package.  Functions cannot be named.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from sciddiff.errors import InputError, MissingExtra, brief, nearest
from sciddiff.trust.packages import Trust

__all__ = ["allows_none", "construct", "parameters"]

_PLAIN = (bool, int, float, str, type(None))
_NAMES = ("class_path", "init_args", "dict_kwargs")
_MISSING = inspect.Parameter.empty

T = TypeVar("T")


def construct(value: object, wanted: type[T], where: str, trust: Trust) -> T:
    """Make the object that a value of a model's config describes.

    Args:
        value: Plain values of YAML.
        wanted: Class that the object must be of.
        where: Field of the model, for messages.
        trust: Packages whose classes may be named, at any depth.

    Raises:
        InputError: The value does not describe such an object, names a class that is not trusted,
            or the class refuses its arguments.
        MissingExtra: A class needs a package that is not installed.
    """
    return _value(value, wanted, where, trust)


def _value(value: Any, hint: Any, where: str, trust: Trust) -> Any:
    """The object of a type that a plain value stands for."""
    hint = _bare(hint)
    origin, inside = get_origin(hint), get_args(hint)
    if hint in (Any, object, _MISSING):
        return _as_it_is(value, where)
    if origin in (Union, types.UnionType):
        return _one_of(value, inside, where, trust)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in inside):
            raise _wrong(value, f"one of {', '.join(map(repr, inside))}", where)
        return value
    if hint in (None, type(None)):
        if value is not None:
            raise _wrong(value, "null", where)
        return None
    kind = origin or hint
    if kind in (Callable, type) or not isinstance(kind, type):
        raise InputError(
            f"{where}: names a function or a type, which a model may not; let the class that "
            "needs it have a default"
        )
    if kind in (bool, int, float, str) or issubclass(kind, Enum) or _is_path(kind):
        return _scalar(value, kind, where)
    if issubclass(kind, (Mapping, Iterable)) and kind.__module__ in _CONTAINERS:
        return _container(value, kind, inside, where, trust)
    if isinstance(value, Mapping):
        return _object(value, kind, where, trust)
    if type(value) is kind and not isinstance(value, (list, set)):  # dates, as YAML reads them
        return value
    raise _wrong(value, f"a {kind.__name__}, as class_path and init_args", where)


_CONTAINERS = ("builtins", "collections.abc", "typing")


def allows_none(hint: Any) -> bool:
    """Whether None is a value of a type."""
    hint = _bare(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return any(allows_none(one) for one in get_args(hint))
    return hint in (None, type(None), Any, object, _MISSING)


def _bare(hint: Any) -> Any:
    """A type without what does not change its values."""
    while True:
        if get_origin(hint) in (typing.Annotated, typing.Final, typing.Required):
            hint = get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif isinstance(hint, TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def _as_it_is(value: Any, where: str) -> Any:
    """A value of no declared type: plain, and naming nothing."""
    if isinstance(value, Mapping):
        if any(name in str(key).split(".") for key in value for name in _NAMES):
            raise InputError(f"{where}: names a class where its type declares none; remove it")
        return {key: _as_it_is(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [_as_it_is(one, where) for one in value]
    if not isinstance(value, _PLAIN):
        raise _wrong(value, "a plain value", where)
    return value


def _one_of(value: Any, hints: Sequence[Any], where: str, trust: Trust) -> Any:
    """The first type of a union that the value fits, one of exactly its own type before others."""
    failures: list[InputError] = []
    for hint in sorted(hints, key=lambda h: _bare(h) is not type(value)):
        if hint is type(None) and value is not None:
            continue
        try:
            return _value(value, hint, where, trust)
        except InputError as error:
            failures.append(error)
    if len(failures) == 1 or isinstance(value, Mapping):  # what was meant is clear
        raise failures[0]
    names = ", ".join(getattr(h, "__name__", str(h)) for h in hints)
    raise _wrong(value, f"one of {names}", where)


def _scalar(value: Any, kind: type, where: str) -> Any:
    if issubclass(kind, Enum):
        if not isinstance(value, str) or value not in kind.__members__:
            raise _wrong(value, f"one of {', '.join(kind.__members__)}", where)
        return kind[value]
    if _is_path(kind):
        if not isinstance(value, str):
            raise _wrong(value, "a path", where)
        return Path(value)
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as text
        except (ValueError, OverflowError):
            raise _wrong(value, "a number", where) from None
    if type(value) is not kind:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        raise _wrong(value, names[kind], where)
    return value


def _is_path(kind: type) -> bool:
    return hasattr(kind, "__fspath__")


def _container(
    value: Any, kind: type, inside: tuple[Any, ...], where: str, trust: Trust
) -> Any:
    if issubclass(kind, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(value, "a mapping", where)
        key, one = inside or (Any, Any)
        return {
            _key(name, key, where): _value(item, one, f"{where}.{name}", trust)
            for name, item in value.items()
        }
    if not isinstance(value, list):
        raise _wrong(value, "a list", where)
    if kind is tuple and inside and inside[-1] is not ...:
        if len(value) != len(inside):
            raise _wrong(value, f"{len(inside)} values", where)
        pairs = zip(value, inside, strict=True)
        return tuple(_value(one, h, f"{where}.{i}", trust) for i, (one, h) in enumerate(pairs))
    hint = inside[0] if inside else Any
    made = [_value(one, hint, f"{where}.{i}", trust) for i, one in enumerate(value)]
    if kind is tuple:
        return tuple(made)
    if issubclass(kind, Set):
        return frozenset(made) if kind is frozenset else set(made)
    return made


def _key(name: Any, hint: Any, where: str) -> Any:
    """A key of a mapping; the plain form has text for all of them."""
    hint = _bare(hint)
    if hint in (int, float) and isinstance(name, str):
        try:
            return hint(name)
        except ValueError:
            raise _wrong(name, "a number", where) from None
    if hint in (Any, str) and not isinstance(name, _PLAIN):
        raise _wrong(name, "text", where)
    return name


def _object(value: Mapping[Any, Any], base: type, where: str, trust: Trust) -> Any:
    """An object of a class, named by `class_path` or, of a class of settings, known already."""
    if "class_path" not in value:
        if not (is_dataclass(base) and base.__mro__[1:] == (object,)):
            raise InputError(f"{where}: has no class_path; name the class, a {base.__name__}")
        return _make(base, value, where, trust)
    if unknown := sorted(map(str, value.keys() - set(_NAMES))):
        raise InputError(f"{where}: {unknown[0]} is unknown beside class_path; remove it")
    found = trust.find_class(value["class_path"], base, where)
    arguments: dict[Any, Any] = {}
    for name in _NAMES[1:]:
        given = value.get(name)
        if given is not None and not isinstance(given, Mapping):
            raise _wrong(given, "a mapping of arguments", f"{where}.{name}")
        arguments |= given or {}
    return _make(found, arguments, f"{where}.init_args", trust)


def _make(cls: type, arguments: Mapping[Any, Any], where: str, trust: Trust) -> Any:
    known, open_ended = parameters(cls)
    made = {}
    for name, value in arguments.items():
        if name not in known and not open_ended:
            raise InputError(
                f"{where}.{name}: unknown to {cls.__name__}; {nearest(str(name), known)}"
            )
        hint, default = known.get(name, (Any, None))
        if isinstance(default, types.FunctionType) and value == _full_name(default):
            continue  # a model records defaults, too
        made[str(name)] = _value(value, hint, f"{where}.{name}", trust)
    for name, (_, default) in known.items():
        if default is _MISSING and name not in arguments:
            raise InputError(f"{where}.{name}: missing; export the model again")
    try:
        return cls(**made)
    except (MissingExtra, MemoryError):
        raise
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # of wrong values anything may come
        raise InputError(
            f"{where}: {cls.__name__} refuses these arguments ({brief(error)}); export the model "
            "again, or install the version that wrote it"
        ) from error


def parameters(cls: type) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Type and default of every argument of a class, and whether it takes others, too.

    Arguments that a constructor passes on as ``**kwargs`` are those of the next class in line.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for owner in cls.__mro__[:-1]:
        constructor = vars(owner).get("__init__")
        if constructor is None:
            continue
        passes_on, hints = False, _hints(constructor, owner.__module__)
        if is_dataclass(owner):  # its constructor may have fields of classes elsewhere
            hints |= _hints(owner, owner.__module__)
        for name, one in list(inspect.signature(constructor).parameters.items())[1:]:
            if one.kind is one.VAR_KEYWORD:
                passes_on = True
            elif one.kind is not one.VAR_POSITIONAL:
                found.setdefault(name, (hints.get(name, Any), one.default))
        if not passes_on:
            return found, False
    return found, cls.__init__ is not object.__init__


def _hints(annotated: Any, module: str) -> dict[str, Any]:
    """Types of the arguments; those that only a type checker can resolve are left out."""
    try:
        return typing.get_type_hints(annotated)
    except Exception:  # a name imported for the type checker alone, among others
        pass
    space = vars(sys.modules[module])
    found = {}
    for name, text in getattr(annotated, "__annotations__", {}).items():
        one = types.SimpleNamespace(__annotations__={name: text})
        try:
            found |= typing.get_type_hints(one, globalns=space)
        except Exception:
            continue
    return found


def _full_name(function: types.FunctionType) -> str:
    """The name under which `sciddiff.config` writes a function."""
    return f"{function.__module__}.{function.__qualname__}"


def _wrong(value: Any, wanted: str, where: str) -> InputError:
    text = brief(ValueError(repr(value)))
    return InputError(f"{where}: {text} is not {wanted}; export the model again")
