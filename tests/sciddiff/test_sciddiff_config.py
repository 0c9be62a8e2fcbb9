"""Experiments in YAML: round trips, overrides, and errors that name the nearest key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

from sciddiff import config
from sciddiff.errors import InputError
from sciddiff.trust import Trust

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "new_domain"
ENTRY = {
    "domain": {"class_path": "mixture_domain.MixtureDomain"},
    "net": {"class_path": "mixture_domain.Net"},
}


@pytest.fixture(autouse=True)
def example_domain(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))


def test_plain_form_is_complete_and_survives_yaml(tmp_path):
    plain = config.read(ENTRY)
    assert plain["domain"]["init_args"] == {"size": 4096, "batch": 256}
    assert plain["optim"]["betas"] == [0.9, 0.99] and plain["ema"]["widths"] == [0.05, 0.1]
    config.to_yaml(plain, tmp_path / "a.yaml")
    assert config.read(tmp_path / "a.yaml") == plain == config.read(plain)
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == plain
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]


def test_overrides_win_in_order():
    plain = config.read(
        {**ENTRY, "optim": {"lr": "1e-4", "warmup": 3}},
        ["--optim.lr", "3e-4", "--net.init_args.width=7", "--domain.size", "9", "--seed=4"],
    )
    assert plain["optim"]["lr"] == 3e-4 and plain["optim"]["warmup"] == 3
    assert plain["net"]["init_args"]["width"] == 7 and plain["domain"]["init_args"]["size"] == 9
    assert plain["seed"] == 4


def test_files_may_be_named_among_the_options(tmp_path):
    config.to_yaml(ENTRY, tmp_path / "a.yaml")
    plain = config.read(None, ["--config", str(tmp_path / "a.yaml"), "--seed=2"])
    assert plain["seed"] == 2 and plain["net"]["class_path"] == "mixture_domain.Net"


def test_classes_of_any_depth_are_built():
    plain = config.read(
        {
            **ENTRY,
            "objective": {
                "class_path": "sciddiff.objectives.Denoising",
                "init_args": {
                    "times": {"class_path": "sciddiff.times.Uniform", "init_args": {"high": 0.9}},
                    "self_conditioning": 0.25,
                },
            },
        }
    )
    built = config.build(plain)
    assert built.objective.self_conditioning == 0.25
    assert built.domain.name == "mixture" and built.optim == config.OptimSettings()
    assert type(built.objective.times).__name__ == "Uniform"
    assert built.objective.times.high == 0.9
    assert built.plain == plain == config.read(built.plain)
    assert set(plain["optim"]) == {field.name for field in fields(config.OptimSettings)}
    domain, net = config.build_parts(plain, Trust.of(["mixture_domain"]))
    assert domain.size == 4096 and net.layers[0].out_features == 64


def test_weights_come_from_the_seed_and_the_global_state_stays():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    nets = [config.build({**ENTRY, "seed": seed}).net for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    weights = [net.layers[0].weight for net in nets]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        ({"sed": 1}, [], "did you mean seed?"),
        ({"optim": {"lrr": 1}}, [], "did you mean lr?"),
        ({"trainer": {"max_step": 1}}, [], "did you mean max_steps?"),
        ({"net": {"class_path": "mixture_domain.Net", "init_args": {"widht": 1}}}, [], "width?"),
        ({"trainer": {"zzz": 1}}, [], "valid keys: .*max_steps"),
        ({}, ["--optim.lrr=3"], "did you mean lr?"),
        ({}, ["--net.widht=3"], "did you mean width?"),
        ({"optim": {"lr": "fast"}}, [], "float.* fast"),
        ({"trainer": {"precision": "16"}}, [], "bf16-mixed"),
        ({"seed": -1}, [], r"seed: -1 is not in \[0, 2\^64\); choose another"),
        ({}, ["--seed", str(2**64)], "seed: 18446744073709551616 is not in"),
        ({"trainer": {"val_seed": -2}}, [], "trainer.val_seed: -2 is not in"),
        ({"net": {"class_path": "mixture_domain.Nett"}}, [], "Nett"),
        ({"net": {"class_path": "no_such_package.Net"}}, [], "no_such_package"),
        ({"net": {"class_path": "mixture_domain.MixtureDomain"}}, [], "MixtureDomain"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(change, overrides, message):
    with pytest.raises(InputError, match=message.replace("?", "[?]")) as error:
        config.read({**ENTRY, **change}, overrides)
    assert "\n" not in str(error.value) and str(error.value).startswith("experiment: ")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": None}, "seed: is null"),
        ({"optim": {"lr": None}}, "optim.lr: is null; give it a value or remove the line"),
        ({"trainer": {"devices": None}}, "trainer.devices: is null"),
        ({"domain": {**ENTRY["domain"], "init_args": {"size": None}}}, "domain.size: is null"),
    ],
)
def test_null_is_told_where_no_value_is_allowed(change, text):
    with pytest.raises(InputError, match=f"^experiment: {text}"):
        config.build({**ENTRY, **change})
    config.build({**ENTRY, "init_from": None, "trainer": {"max_time": None}})


def test_a_few_lines_that_stand_for_billions_of_values_are_refused(tmp_path):
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="a.yaml: holds more than 100,000 values"):
        config.read(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("a: &a [*a]")
    with pytest.raises(InputError, match="a.yaml: holds more than 100,000 values"):
        config.read(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("[" * 50_000)
    with pytest.raises(InputError, match="a.yaml: damaged, or not valid YAML .*nested too deeply"):
        config.read(tmp_path / "a.yaml")


def test_missing_parts_and_files_are_told(tmp_path):
    with pytest.raises(InputError, match="add domain: to the file"):
        config.read({"net": ENTRY["net"]})
    with pytest.raises(InputError, match="no such file"):
        config.read(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1\nb: 2")
    with pytest.raises(InputError, match="not valid YAML") as error:
        config.read(bad)
    assert "\n" not in str(error.value)
    bad.write_text("- 1")
    with pytest.raises(InputError, match="holds no mapping"):
        config.read(bad)
    config.to_yaml({**ENTRY, "sed": 1}, bad)
    with pytest.raises(InputError, match=re.escape(str(bad))):
        config.read(bad)


def test_print_config_prints_yaml_that_reads_back(capsys):
    with pytest.raises(SystemExit) as stop:
        config.read(ENTRY, ["--print_config"])
    assert stop.value.code == 0
    assert config.read(yaml.safe_load(capsys.readouterr().out)) == config.read(ENTRY)


def test_reading_a_config_imports_no_lightning():
    code = (
        f"import sys; sys.path[:0] = [{str(EXAMPLE.parents[1])!r}, {str(EXAMPLE)!r}]\n"
        "from sciddiff import config\n"
        f"config.build(config.read({str(EXAMPLE / 'mixture.yaml')!r}))\n"
        "bad = [m for m in sys.modules if 'lightning' in m]; assert not bad, bad"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def _bounds() -> tuple[str, str]:
    """Lowest version of jsonargparse that is accepted, and the first one that is not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (line,) = (d for d in project["dependencies"] if d.startswith("jsonargparse"))
    low, high = re.search(r">=([\d.]+),<([\d.]+)$", line).groups()
    return low, high


def test_the_installed_reader_of_experiments_is_one_that_was_tried():
    """Its rules about classes and functions differ between minor versions."""
    low, installed, high = (
        tuple(int(part) for part in text.split(".")[:2])
        for text in (_bounds()[0], version("jsonargparse"), _bounds()[1])
    )
    assert low <= installed < high


@pytest.mark.slow
def test_the_lowest_reader_of_experiments_passes_this_file(tmp_path):
    """The other end is what an installation of today takes."""
    if os.environ.get("SCIDDIFF_LOWEST"):
        pytest.skip("this is the lowest version")
    wanted = f"jsonargparse=={_bounds()[0]}.*"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path)]
    if subprocess.run([*pip, wanted], capture_output=True, timeout=120).returncode:
        pytest.skip("the package index cannot be reached")
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))],
        env={**os.environ, "PYTHONPATH": paths, "SCIDDIFF_LOWEST": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_functions_are_named_and_one_step_ensembles_train(tmp_path, monkeypatch):
    from sciddiff.objectives import euclidean
    from sciddiff.training import train

    (tmp_path / "stepping.py").write_text(
        "from sciddiff.state import Batch, State\n"
        "def advance(batch: Batch, data: State) -> Batch:\n    return batch\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {
        "members": 4,
        "distances": {"point": "sciddiff.objectives.euclidean"},
        "rollout": {"advance": "stepping.advance", "steps": {1: 1.0}},
    }
    objective = {"class_path": "sciddiff.objectives.ProperScore", "init_args": settings}
    trainer = {"max_steps": 2, "val_every": 1, "progress": False, "accelerator": "cpu"}
    entry = {**ENTRY, "objective": objective, "trainer": trainer, "out": str(tmp_path / "run")}
    plain = config.read(entry)
    config.to_yaml(plain, tmp_path / "a.yaml")
    assert config.read(tmp_path / "a.yaml") == plain
    assert plain["objective"]["init_args"]["rollout"]["advance"] == "stepping.advance"
    made = config.build(plain)
    assert made.objective.distances["point"] is euclidean
    assert made.objective.rollout.steps == {1: 1.0}
    assert {"loss/point", "val_loss_ema_0.1"} <= set(train(made).metrics)
