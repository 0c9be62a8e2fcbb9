"""Code that a model folder can run: none.

Each attack is a `config.yaml` whose checksum is right, as a stranger would send it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from sciddiff.checkpoint import META, load
from sciddiff.cli.main import main
from sciddiff.config import build_parts, from_yaml
from sciddiff.errors import InputError
from sciddiff.shipped import find_model
from sciddiff.trust import Trust
from sciddiff.weights import CONFIG, sealed, sha256

CODE = "import pathlib; pathlib.Path({mark!r}).write_text('ran')"
GRAPH = "torch.fx.graph_module.reduce_graph_module"


@pytest.fixture
def mark(tmp_path, monkeypatch) -> Path:
    """A file that appears if any attack runs; a module that makes it lies on the import path."""
    folder, mark = tmp_path / "path", tmp_path / "mark"
    folder.mkdir()
    code = CODE.format(mark=str(mark))
    (folder / "evil_module.py").write_text(
        f"{code}\nfrom torch import nn\nclass Net(nn.Module):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    yield mark
    sys.modules.pop("evil_module", None)


@pytest.fixture
def model(tmp_path):
    """A copy of the shipped weights of `lite`, to be changed."""
    return Path(shutil.copytree(find_model("lite"), tmp_path / "model"))


def reseal(model: Path, plain: dict) -> None:
    """Write a config and its checksum."""
    (model / CONFIG).write_text(yaml.safe_dump(plain))
    meta = json.loads((model / META).read_text())
    meta["sha256"][CONFIG] = sha256(model / CONFIG)
    (model / META).write_text(json.dumps(sealed(meta)))


def reduced(mark: Path) -> dict:
    """What runs code as soon as jsonargparse calls it."""
    body = {"_code": f"def forward(self):\n    pass\n\n{CODE.format(mark=str(mark))}"}
    block = CODE.format(mark=str(mark))
    return {"class_path": GRAPH, "init_args": {"body": body, "import_block": block}}


def named(path: str, **arguments) -> dict:
    return {"class_path": path, "init_args": arguments}


ATTACKS = {
    "a callable that returns a module": lambda mark: {"net": reduced(mark)},
    "the same for the domain": lambda mark: {"domain": reduced(mark)},
    "the same inside a network": lambda mark: {
        "net": named("protein.backbone.symmetry.SymmetricNetwork", net=reduced(mark), copies=2)
    },
    "the same inside settings": lambda mark: {
        "domain": named("protein.backbone.domain.BackboneDomain", data=reduced(mark))
    },
    "the same where a number is wanted": lambda mark: {
        "net": named("protein.backbone.network.BackboneNetwork", node=reduced(mark))
    },
    "the same in a list": lambda mark: {
        "net": named("weather.nets.unet.SphericalUNet", widths=[reduced(mark)])
    },
    "a function of the system": lambda mark: {"net": named("os.system", command=f"touch {mark}")},
    "a module with side effects": lambda mark: {"net": named("evil_module.Net")},
    "the same, not even a class": lambda mark: {"net": named("evil_module.nothing.at.all")},
    "the same as a domain": lambda mark: {"domain": named("evil_module.inside.Domain")},
    "the same as a string": lambda mark: {"net": "evil_module.Net"},
    "the same as the noise": lambda mark: {
        "domain": named("weather.forecast.domain.ForecastDomain", noise=named("evil_module.Net"))
    },
    "the same, as a string": lambda mark: {
        "domain": named("weather.forecast.domain.ForecastDomain", noise="evil_module.Net")
    },
    "through a trusted module": lambda mark: {
        "net": named("sciddiff.checkpoint.os.system", command=f"touch {mark}")
    },
    "a class that a trusted module imported": lambda mark: {
        "net": named("sciddiff.checkpoint.Path", args=str(mark))
    },
    "torch, through a trusted module": lambda mark: {
        "net": reduced(mark) | {"class_path": f"weather.nets.unet.{GRAPH}"}
    },
    "a function of ours": lambda mark: {"net": named("sciddiff.cli.main.main", argv=["version"])},
    "a module of ours": lambda mark: {"net": named("weather.nets.unet")},
    "the base class itself": lambda mark: {"domain": named("sciddiff.domains.Domain")},
    "a class of ours of another kind": lambda mark: {
        "net": named("protein.backbone.domain.BackboneDomain")
    },
    "private names": lambda mark: {"net": named("protein.__loader__.load_module", fullname="os")},
    "a relative name": lambda mark: {"net": named("..os.system", command=f"touch {mark}")},
    "no name": lambda mark: {"net": {"class_path": ["os.system"]}},
    "keys with dots": lambda mark: {
        "net": {"class_path": "protein.backbone.network.BackboneNetwork", "body.class_path": GRAPH}
    },
    "keys with dots, as arguments": lambda mark: {
        "net": named("protein.backbone.network.BackboneNetwork", **{"node.class_path": GRAPH})
    },
    "further arguments": lambda mark: {
        "net": {
            "class_path": "protein.backbone.network.BackboneNetwork",
            "dict_kwargs": {"body": reduced(mark)},
        }
    },
    "a config in another file": lambda mark: {
        "domain": named("protein.backbone.domain.BackboneDomain", data=str(mark) + ".yaml")
    },
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_config_runs_code(attack, mark, model):
    Path(f"{mark}.yaml").write_text(yaml.safe_dump(reduced(mark)))
    reseal(model, from_yaml(model / CONFIG) | attack(mark))
    before = set(sys.modules)
    with pytest.raises(InputError) as error:
        load(model)
    line = str(error.value)
    assert line.startswith(f"{model / CONFIG}: ") and "\n" not in line and "internal" not in line
    assert not mark.exists()
    assert "evil_module" not in sys.modules
    fresh = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not fresh - USED - set(sys.stdlib_module_names)


USED = {
    "protein", "weather", "sciddiff", "torch", "torch_geometric", "e3nn", "opt_einsum",
    "opt_einsum_fx", "sympy", "mpmath",
}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "--model", "model", "-n", "1"),
        ("backbone", "--model", "model", "-n", "1", "--length", "40"),
        ("evaluate", ".", "--model", "model"),
        ("likelihood", "--model", "model"),
        ("forecast", "init.nc", "--model", "model", "--days", "1"),
    ],
    ids=lambda words: words[0],
)
def test_no_verb_runs_code(words, mark, model, monkeypatch, capsys):
    reseal(model, from_yaml(model / CONFIG) | {"net": reduced(mark)})
    monkeypatch.chdir(model.parent)
    (model.parent / "init.nc").write_bytes(b"CDF\1")
    assert main(words) == 2
    assert "belongs to the package torch, which is not trusted" in capsys.readouterr().err
    assert not mark.exists()


def test_inspecting_and_starting_from_a_model_builds_nothing(mark, model, capsys):
    from sciddiff.weights import read

    reseal(model, from_yaml(model / CONFIG) | {"net": named("evil_module.Net")})
    assert main(["inspect", str(model)]) == 0
    read(model)
    assert "evil_module.Net" in capsys.readouterr().out
    assert not mark.exists()


def test_yaml_makes_no_objects(model, mark):
    text = f"net: !!python/object/apply:os.system ['touch {mark}']\n"
    (model / CONFIG).write_text(text)
    with pytest.raises(InputError, match="not valid YAML"):
        from_yaml(model / CONFIG)
    assert not mark.exists()


def test_the_program_of_a_package_is_not_run(mark):
    """`python -m package` runs a module that no class is in."""
    package = Path(sys.path[0]) / "evil_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(CODE.format(mark=str(mark)))
    with pytest.raises(InputError, match="is not the name of a class of a package"):
        Trust.of(["evil_package"]).find_class("evil_package.__main__.Net", object, "net")
    assert not mark.exists()


def test_what_the_user_trusts_is_used(mark):
    """The attack's own module is an ordinary class once its package is trusted."""
    plain = {
        "domain": {"class_path": "protein.backbone.domain.BackboneDomain"},
        "net": {"class_path": "evil_module.Net"},
    }
    _, net = build_parts(plain, Trust.of(["evil_module"]))
    assert type(net).__name__ == "Net" and mark.exists()


def test_weights_are_safetensors_and_nothing_is_unpickled(repository):
    """No source file unpickles, evaluates text or builds objects from YAML."""
    import ast

    wrong = []
    for package in ("sciddiff", "protein", "weather"):
        for file in sorted((repository / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name, told = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
                values = {k: v.value for k, v in told.items() if isinstance(v, ast.Constant)}
                bad = (
                    (name == "torch.load" and values.get("weights_only") is not True)
                    or (name == "np.load" and values.get("allow_pickle", False) is not False)
                    or name.startswith(("pickle.load", "dill.", "joblib.", "marshal."))
                    or name in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "pd.read_pickle")
                )
                if bad:
                    wrong.append(f"{file}:{node.lineno} {name}")
    assert not wrong, "\n".join(wrong)
