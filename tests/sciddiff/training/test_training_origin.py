"""Runs that start from given weights."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sciddiff import config
from sciddiff.checkpoint import describe, export, load
from sciddiff.errors import InputError
from sciddiff.training import train
from sciddiff.training.module import DenoisingModule
from sciddiff.training.origin import start_weights
from sciddiff.training.runs import LAST, STATE_KEY, read_checkpoint

EXAMPLE = Path(__file__).parents[3] / "examples" / "new_domain"


@pytest.fixture(autouse=True)
def example_domain(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("SCIDDIFF_TRUST", "mixture_domain")


def plain(out: Path, width=16, **keys) -> dict:
    domain = {"class_path": "mixture_domain.MixtureDomain", "init_args": {"size": 40, "batch": 8}}
    net = {"class_path": "mixture_domain.Net", "init_args": {"width": width}}
    trainer = {"max_steps": 4, "progress": False, "accelerator": "cpu"}
    keys = {"trainer": trainer, "out": str(out), **keys}
    return config.read({"domain": domain, "net": net, **keys})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model exported from a short run."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        train(config.build(plain(folder / "run")))
        return export(folder / "run", folder / "model", trust=["mixture_domain"])


def test_a_run_starts_from_the_averages_of_a_model_with_a_fresh_optimiser(model, tmp_path):
    still = {"lr": 0.0, "warmup": 0, "decay": "constant"}
    settings = plain(tmp_path / "run", init_from=str(model), optim=still, seed=5)
    train(config.build(settings))
    expected = load_file(model / "model.safetensors")
    state = read_checkpoint(tmp_path / "run" / LAST)
    assert state["global_step"] == 4 and state[STATE_KEY]["batches"] == 4
    got = load(export(tmp_path / "run", tmp_path / "second")).denoiser.net.state_dict()
    for name, value in expected.items():
        assert torch.equal(state["state_dict"][f"net.{name}"], value)
        torch.testing.assert_close(got[name], value)


def test_where_it_started_is_recorded_and_survives_a_resume(model, tmp_path):
    settings = plain(tmp_path / "run", init_from=str(model))
    train(config.build(settings))
    settings["trainer"]["max_steps"] = 6
    train(config.build(settings))
    meta = describe(export(tmp_path / "run", tmp_path / "second"))
    hashes = describe(model)["sha256"]
    assert meta["init_from"] == {
        "weights": str(model),
        "sha256": {"model.safetensors": hashes["model.safetensors"]},
    }
    assert "init_from" not in describe(model)


def test_a_resumed_run_does_not_start_over(model, tmp_path):
    six, two = plain(tmp_path / "six", init_from=str(model)), plain(tmp_path / "two")
    two["init_from"] = str(model)
    six["trainer"]["max_steps"] = 6
    train(config.build(six))
    train(config.build(two))
    two["trainer"]["max_steps"] = 6
    train(config.build({**two, "init_from": str(tmp_path / "gone")}))
    a, b = (read_checkpoint(tmp_path / n / LAST)["state_dict"] for n in ("six", "two"))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_file_of_weights_will_do(model, tmp_path):
    weights = load_file(model / "model.safetensors")
    save_file({f"_orig_mod.{name}": v for name, v in weights.items()}, tmp_path / "w.safetensors")
    made = config.build(plain(tmp_path, init_from=str(tmp_path / "w.safetensors")))
    origin = start_weights(made)
    assert origin is not None and list(origin["sha256"]) == ["w.safetensors"]
    assert all(torch.equal(v, weights[name]) for name, v in made.net.state_dict().items())
    module = DenoisingModule(made, origin)
    assert all(torch.equal(v, weights[n]) for n, v in module.net.state_dict().items())


def test_weights_that_do_not_fit_are_named(model, tmp_path):
    other = config.build(plain(tmp_path, width=24, init_from=str(model), init_strict=False))
    before = {name: value.clone() for name, value in other.net.state_dict().items()}
    with pytest.raises(InputError, match=r"layers.0.bias has shape \[16\].*\[24\]") as e:
        start_weights(other)
    assert "\n" not in str(e.value) and "give the net the settings" in str(e.value)
    assert all(torch.equal(v, before[name]) for name, v in other.net.state_dict().items())
    with pytest.raises(InputError, match="neither shipped nor a folder"):
        start_weights(config.build(plain(tmp_path, init_from="nowhere")))
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="bad.safetensors: damaged"):
        start_weights(config.build(plain(tmp_path, init_from=str(tmp_path / "bad.safetensors"))))
    (tmp_path / "last.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="sciddiff export"):
        start_weights(config.build(plain(tmp_path, init_from=str(tmp_path / "last.ckpt"))))


def test_parts_may_be_taken_if_asked_for(model, tmp_path, caplog):
    weights = load_file(model / "model.safetensors")
    part = {name: value for name, value in weights.items() if "layers.0" in name}
    save_file({**part, "old.head": torch.zeros(3)}, tmp_path / "part.safetensors")
    settings = plain(tmp_path, init_from=str(tmp_path / "part.safetensors"))
    with pytest.raises(InputError, match="lacks layers.3.bias and 3 more.*init_strict: false"):
        start_weights(config.build(settings))
    made = config.build({**settings, "init_strict": False})
    fresh = config.build(plain(tmp_path)).net.state_dict()
    with caplog.at_level(logging.WARNING):
        origin = start_weights(made)
    assert origin is not None
    assert origin["other"] == sorted([*(weights.keys() - part), "old.head"])
    assert "layers.3.weight starts afresh" in caplog.text
    for name, value in made.net.state_dict().items():
        assert torch.equal(value, part.get(name, fresh[name]))
    save_file({"old.head": torch.zeros(3)}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="lacks layers.0.bias"):
        start_weights(config.build({**settings, "init_strict": False}))
