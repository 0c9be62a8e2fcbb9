"""Values of a model's config become what the same values become when an experiment is built."""

from __future__ import annotations

import datetime
import enum
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional

import pytest
import torch

from sciddiff import config
from sciddiff.errors import InputError
from sciddiff.shipped import shipped_models
from sciddiff.trust import VARIABLE, Trust, construct, trusting

ROOT = Path(__file__).parents[3]
CONFIGS = [*sorted((ROOT / "configs").rglob("*.yaml")), ROOT / "examples" / "weather" / "toy.yaml"]


class Colour(enum.Enum):
    RED = 1


class Base:
    pass


@dataclass(frozen=True)
class Leaf(Base):
    size: int = 1


@dataclass(frozen=True)
class Settings:
    share: float = 0.5
    names: tuple[str, ...] = ()
    leaf: Leaf | None = None


def silence(x: float) -> float:
    return x


Metres = NewType("Metres", float)


class Everything:
    def __init__(
        self,
        flag: bool = False,
        number: int = 0,
        share: float = 0.0,
        name: str = "",
        either: float | list[float] = 1.0,
        maybe: Optional[int] = None,  # noqa: UP045 - this form, too
        one: Literal["a", 2] = "a",
        colour: Colour = Colour.RED,
        place: Path = Path(),
        pair: tuple[int, float] = (0, 0.0),
        many: Sequence[int] = (),
        flow: Iterable[float] = (),
        kinds: set[str] = frozenset(),
        table: dict[int, float] | None = None,
        loose: Mapping[str, Any] | None = None,
        leaf: Base | None = None,
        leaves: list[Base] = (),
        settings: Settings = Settings(),
        depth: Annotated[Metres, "below the sea"] = Metres(0.0),
        day: datetime.date | None = None,
        act: Callable[[float], float] = silence,
        untyped=None,
    ):
        self.__dict__ |= {k: v for k, v in locals().items() if k != "self"}


class Narrow(Everything):
    def __init__(self, extra: int = 1, **others: Any):
        super().__init__(**others)
        self.extra = extra


class Picky:
    def __init__(self, width: int):
        if width < 0:
            raise RuntimeError("negative\n width")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """This file, as the module that a class_path can name."""
    monkeypatch.setitem(sys.modules, "house", sys.modules[__name__])
    for cls in (Base, Leaf, Settings, Everything, Narrow, Picky):
        monkeypatch.setattr(cls, "__module__", "house")


TRUST = Trust(frozenset({"sciddiff", "house"}))


def make(value: Any, wanted: type = object, **arguments: Any) -> Any:
    named = {"class_path": f"house.{value}", "init_args": arguments}
    return construct(named, Everything if wanted is object else wanted, "net", TRUST)


LEAF = {"class_path": "house.Leaf", "init_args": {"size": 3}}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flag", True, True),
        ("number", 3, 3),
        ("share", 3, 3.0),
        ("share", "1e-3", 1e-3),
        ("name", "data/planet.zarr", "data/planet.zarr"),
        ("either", [1, 2.5], [1.0, 2.5]),
        ("either", 2, 2.0),
        ("maybe", None, None),
        ("maybe", 5, 5),
        ("one", 2, 2),
        ("colour", "RED", Colour.RED),
        ("place", "a/b", Path("a/b")),
        ("pair", [1, 2], (1, 2.0)),
        ("many", [1, 2], [1, 2]),
        ("flow", [1], [1.0]),
        ("kinds", ["a"], {"a"}),
        ("table", {"1": 0.5, 2: 1}, {1: 0.5, 2: 1.0}),
        ("loose", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ("leaf", LEAF, Leaf(3)),
        ("leaves", [LEAF, LEAF], [Leaf(3), Leaf(3)]),
        ("settings", {"share": 1, "names": ["a"], "leaf": LEAF}, Settings(1.0, ("a",), Leaf(3))),
        ("settings", {"class_path": "house.Settings", "init_args": {}}, Settings()),
        ("depth", 3, 3.0),
        ("day", datetime.date(2020, 1, 2), datetime.date(2020, 1, 2)),
        ("act", f"{__name__}.silence", silence),
        ("untyped", ["a.b", 1], ["a.b", 1]),
    ],
)
def test_values_are_read_by_their_types(name, value, expected):
    for cls in ("Everything", "Narrow"):
        got = getattr(make(cls, **{name: value}), name)
        assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("flag", 1, "1 is not true or false"),
        ("number", True, "True is not a whole number"),
        ("number", 1.5, "1.5 is not a whole number"),
        ("number", None, "None is not a whole number"),
        ("share", "fast", "'fast' is not a number"),
        ("name", 3, "3 is not text"),
        ("one", "2", "'2' is not one of 'a', 2"),
        ("colour", "BLUE", "is not one of RED"),
        ("pair", [1], "is not 2 values"),
        ("many", "12", "'12' is not a list"),
        ("table", {"a": 1.0}, "'a' is not a number"),
        ("leaf", "house.Leaf", "'house.Leaf' is not"),
        ("leaf", {"size": 3}, "has no class_path"),
        ("leaf", {"class_path": "house.Everything"}, "house.Everything is no Base"),
        ("leaf", {"class_path": "house.Leaf", "size": 3}, "size is unknown beside class_path"),
        ("leaf", {"class_path": "house.Leaf", "init_args": {"siez": 1}}, "did you mean size"),
        ("leaf", {"class_path": "house.Leaf", "init_args": [1]}, "is not a mapping"),
        ("settings", "a.yaml", "'a.yaml' is not a Settings"),
        ("settings", {"shar": 1}, "did you mean share"),
        ("act", "house.silence", "names a function or a type"),
        ("act", "os.system", "names a function or a type"),
        ("loose", {"a": {"class_path": "os.system"}}, "where its type declares none"),
        ("untyped", {"a.init_args.b": 1}, "where its type declares none"),
        ("untyped", {1, 2}, "is not a plain value"),
        ("numbr", 3, "did you mean number"),
    ],
)
def test_what_does_not_fit_names_the_field(name, value, text):
    with pytest.raises(InputError) as error:
        make("Everything", **{name: value})
    assert str(error.value).startswith(f"net.init_args.{name}") and text in str(error.value)


def test_a_class_that_refuses_its_arguments_is_told():
    with pytest.raises(InputError, match=r"net.init_args: Picky refuses .*\(negative width\)"):
        make("Picky", Picky, width=-1)
    with pytest.raises(InputError, match="net.init_args.width: missing"):
        make("Picky", Picky)


def _said(thing: object) -> tuple[str, dict[str, Any]]:
    """What an object holds, and so what those hold that say nothing of themselves."""
    mute = {name: _said(one) for name, one in vars(thing).items()
            if type(one).__repr__ is object.__repr__ and hasattr(one, "__dict__")}  # fmt: skip
    return re.sub(r" at 0x[0-9a-f]+", "", repr(vars(thing))), mute


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_experiments_and_models_build_the_same(file):
    """The library that reads experiments and the strict reader of models agree."""
    plain = config.read(file)
    expected = config.build({**plain, "objective": None})
    domain, net = config.build_parts(plain)
    assert type(domain) is type(expected.domain) and type(net) is type(expected.net)
    assert _said(domain) == _said(expected.domain)
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    assert shapes == {name: value.shape for name, value in expected.net.state_dict().items()}


def test_the_configs_above_are_some():
    assert len(CONFIGS) > 8 and len(shipped_models()) > 3


def test_initial_weights_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    config.build_parts(config.from_yaml(shipped_models()[0].directory / "config.yaml"))
    assert torch.equal(torch.get_rng_state(), before)


def test_trust_is_this_package_plugins_and_what_is_named(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert {"sciddiff", "protein", "weather"} <= Trust.of().packages
    assert not {"torch", "os", "mine", "yours"} & Trust.of().packages
    assert {"mine", "yours"} <= Trust.of(["mine", "yours"]).packages
    monkeypatch.setenv(VARIABLE, "mine, yours")
    assert {"mine", "yours"} <= Trust.of("theirs").packages
    with trusting(["theirs"]):
        assert {"mine", "theirs"} <= Trust.of().packages
    assert "theirs" not in Trust.of().packages
    for name in ("my.package", "", "a b"):
        with pytest.raises(InputError, match="is not the name of a package"):
            Trust.of([name])


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise SystemExit(0)", r"broken_one cannot be imported \(SystemExit"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import not_there_at_all", "install the package not_there_at_all"),
        ("from sciddiff import nothing_like_it", "cannot import name"),
        ("Net = 3", "does not exist in the installed broken_one, or"),
        ("def Net(): pass", "does not exist in the installed broken_one, or"),
        ("from torch.nn import Linear as Net", "belongs to another package"),
        ("", "does not exist in the installed broken_one"),
    ],
)
def test_a_module_that_cannot_be_used_is_told(code, text, tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_one", raising=False)
    with pytest.raises(InputError, match=text):
        Trust.of(["broken_one"]).find_class("broken_one.Net", torch.nn.Module, "net")
    sys.modules.pop("broken_one", None)
