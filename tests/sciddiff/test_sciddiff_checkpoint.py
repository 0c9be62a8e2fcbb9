"""From a config file to samples of the right law, and models that refuse what they cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sciddiff import config, weights
from sciddiff.checkpoint import META, describe, export, load, save
from sciddiff.errors import InputError
from sciddiff.training import train

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "new_domain"
ENTRY = {
    "domain": {"class_path": "mixture_domain.MixtureDomain"},
    "net": {"class_path": "mixture_domain.Net", "init_args": {"width": 64}},
}


@pytest.fixture(scope="module", autouse=True)
def example_domain():
    """On the import path and trusted, as if it were installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        patch.setenv("SCIDDIFF_TRUST", "mixture_domain")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of the example's own config file."""
    out = tmp_path_factory.mktemp("run")
    overrides = [f"--out={out}", "--trainer.progress=false", "--ema.snapshot_every=100"]
    plain = config.read(EXAMPLE / "mixture.yaml", overrides)
    train(config.build(plain))
    return out


@pytest.fixture
def model(tmp_path) -> Path:
    plain = config.read(ENTRY)
    return save(tmp_path / "model", config.build(plain).net.state_dict(), plain, command="x")


@pytest.mark.parametrize("ema", [0.10, 0.07])
def test_trained_samples_follow_the_law_of_the_data(trained, tmp_path, ema):
    """Width 0.10 is tracked; 0.07 comes from snapshots."""
    from mixture_domain import CENTRES, SPREAD, WEIGHTS

    from sciddiff import sample
    from sciddiff.samplers import Heun

    model = load(export(trained, tmp_path / "model", ema=ema))
    (like,) = model.domain.like({"n": 8000})
    drawn = sample(model.denoiser, like, Heun(), torch.linspace(0, 1, 33), seed=1)
    model.domain.write(like, drawn.x, tmp_path)
    measured = model.domain.evaluate(tmp_path, None)
    # Of data drawn from the law itself these differ by 0.005, 0.01 and 0.005.
    assert measured["weights"] == pytest.approx(WEIGHTS, abs=0.03)
    assert np.abs(np.array(measured["means"]) - CENTRES).max() < 0.1
    assert measured["spreads"] == pytest.approx([SPREAD] * 2, abs=0.07)


def test_average_of_the_run_is_what_is_exported(trained, tmp_path):
    from sciddiff.training.runs import LAST, STATE_KEY, read_checkpoint

    state = read_checkpoint(trained / LAST)[STATE_KEY]["ema"]
    for width, average in zip(state["widths"], state["averages"], strict=True):
        net = load(export(trained, tmp_path / str(width), ema=width)).denoiser.net
        for name, value in net.named_parameters():
            assert torch.equal(value, average[name])
    meta = describe(tmp_path / "0.1")
    assert meta["ema"] == 0.1 and meta["step"] == 1000 and meta["seed"] == 0
    assert meta["metrics"]["val_loss_ema_0.1"] < 2.0 and "torch" in meta["versions"]


def test_width_without_snapshots_is_told(trained, tmp_path, monkeypatch):
    from sciddiff.training import runs

    monkeypatch.setattr(runs, "read_snapshots", lambda *_: [])
    with pytest.raises(InputError, match="0.07 was not tracked; choose one of 0.05, 0.1"):
        export(trained, tmp_path / "m", ema=0.07)
    with pytest.raises(InputError, match="holds no checkpoints"):
        export(tmp_path, tmp_path / "m")


def test_weights_go_round_to_the_bit(model):
    expected = config.build(config.read(ENTRY)).net.state_dict()
    got = load(model)
    assert {n: v.dtype for n, v in got.denoiser.net.state_dict().items()} == {
        n: torch.float32 for n in expected
    }
    assert all(torch.equal(v, expected[n]) for n, v in got.denoiser.net.state_dict().items())
    assert not got.denoiser.training
    assert not any(p.requires_grad for p in got.denoiser.parameters())
    assert got.domain.name == "mixture" and got.config["seed"] == 0
    assert got.meta["command"] == "x"


def test_bfloat16_halves_the_file_and_loads_as_float32(tmp_path):
    plain = config.read(ENTRY)
    weights = config.build(plain).net.state_dict()
    sizes = {}
    for dtype in ("float32", "bf16"):
        path = save(tmp_path / dtype, weights, plain, dtype=dtype)
        sizes[dtype] = (path / "model.safetensors").stat().st_size
    assert sizes["bf16"] < 0.6 * sizes["float32"]
    net = load(tmp_path / "bf16").denoiser.net
    for name, value in net.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[name].to(torch.bfloat16).float())


def test_shards_hold_at_most_their_size_and_join_again(tmp_path):
    plain = config.read({**ENTRY, "net": {**ENTRY["net"], "init_args": {"width": 96}}})
    weights = config.build(plain).net.state_dict()
    path = save(tmp_path / "m", weights, plain, shard_bytes=40_000)
    shards = sorted(path.glob("model-*.safetensors"))
    assert [s.name for s in shards] == describe(path)["weights"] and len(shards) == 2
    assert all(s.stat().st_size < 41_000 for s in shards)
    got = load(path).denoiser.net.state_dict()
    assert all(torch.equal(v, weights[n]) for n, v in got.items())


def test_compiled_and_tied_weights_are_written_under_plain_names(tmp_path):
    plain = config.read(ENTRY)
    net = torch.compile(config.build(plain).net)
    assert any(name.startswith("_orig_mod.") for name in net.state_dict())
    load(save(tmp_path / "m", net.state_dict(), plain))
    shared = torch.ones(2)
    save(tmp_path / "tied", {"a": shared, "b": shared}, plain)


def test_an_older_model_is_replaced_and_anything_else_is_not(model, tmp_path):
    plain = config.read(ENTRY)
    weights = config.build({**plain, "seed": 5}).net.state_dict()
    save(model, weights, plain)
    assert torch.equal(load(model).denoiser.net.layers[0].weight, weights["layers.0.weight"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="is not a model"):
        save(tmp_path / "mine", weights, plain)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def edit(model: Path, **changes) -> None:
    meta = json.loads((model / META).read_text())
    (model / META).write_text(json.dumps(weights.sealed({**meta, **changes})))


def test_damage_and_strangers_are_refused_by_name(model, tmp_path):
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="model.safetensors: damaged, its sha256"):
        load(model)
    weights.unlink()
    with pytest.raises(InputError, match="model.safetensors: missing"):
        load(model)
    weights.write_bytes(whole)
    load(model)
    edit(model, format=7, versions={"sciddiff": "9.1"})
    with pytest.raises(InputError, match="format 7 is unknown.*written by sciddiff 9.1.*upgrade"):
        load(model)
    (model / META).write_text("{")
    with pytest.raises(InputError, match="meta.json: damaged"):
        load(model)
    with pytest.raises(InputError, match="neither shipped nor a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no meta.json"):
        load(tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="sciddiff export"):
        load(tmp_path / "last.ckpt")


@pytest.mark.parametrize("place", ["data", "metrics", "created", "new"])
def test_a_number_of_the_facts_that_changed_is_refused(model, place):
    """The statistics of fields and the calibration of confidences are among these numbers."""
    meta = json.loads((model / META).read_text())
    (model / META).write_text(json.dumps({**meta, place: {"mean": 1.0}}))
    with pytest.raises(InputError, match="meta.json: damaged, own_sha256 is not the checksum"):
        load(model)
    weights.seal(model)
    assert load(model).meta[place] == {"mean": 1.0}


def test_facts_of_earlier_versions_have_no_checksum_of_their_own(model):
    meta = json.loads((model / META).read_text())
    del meta["own_sha256"]
    (model / META).write_text(json.dumps(meta))
    assert load(model).meta == meta


def test_results_depend_on_files_and_statistics_and_not_on_the_card(model):
    meta = describe(model)
    same = {**meta, "created": "later", "metrics": {"loss": 1.0}, "own_sha256": ""}
    assert weights.identity(same) == weights.identity(meta)
    others = [{"data": {"mean": 1.0}}, {"calibration": 2.0}, {"sha256": {"config.yaml": "0"}}]
    assert len({weights.identity({**meta, **other}) for other in [{}, *others]}) == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sha256": {}}, "meta.json: sha256 of config.yaml is missing"),
        ({"sha256": {"config.yaml": 3}}, "sha256 of config.yaml is missing"),
        ({"sha256": "x"}, "damaged, sha256 and weights are not there"),
        ({"weights": []}, "damaged, sha256 and weights are not there"),
        ({"weights": ["b.safetensors"]}, "sha256 of b.safetensors is missing"),
        ({"weights": ["../model/model.safetensors"]}, "which is no file of the model"),
        ({"weights": [["model.safetensors"]]}, "which is no file of the model"),
        ({"format": "1"}, "model format 1 is unknown"),
        ({"format": 2, "versions": []}, "written by sciddiff of an unknown version"),
    ],
)
def test_facts_that_do_not_tell_every_checksum_are_refused(model, change, text):
    edit(model, **change)
    for read in (describe, load, weights.read, weights.shapes):
        with pytest.raises(InputError, match=text):
            read(model)


@pytest.mark.parametrize("damage", [b"", b"x" * 9, b"\0" * 99, b"\xff" * 8 + b"{}"])
def test_weights_that_are_no_safetensors_are_told(model, damage):
    """Their checksum may be right: then they were damaged before it was taken."""
    file = model / "model.safetensors"
    file.write_bytes(damage)
    hashes = json.loads((model / META).read_text())["sha256"]
    edit(model, sha256={**hashes, file.name: weights.sha256(file)})
    for read in (load, weights.shapes, weights.read):
        with pytest.raises(InputError, match=f"^{file}: damaged, or not a file of safetensors"):
            read(model)
    with pytest.raises(InputError, match="safetensors"):
        weights.read(file)


def test_others_may_read_the_weights_as_they_may_the_rest(model):
    modes = {file.name: file.stat().st_mode & 0o777 for file in model.iterdir()}
    assert len(modes) == 3 and len(set(modes.values())) == 1, modes


def test_a_model_of_another_domain_is_refused_by_name(model):
    load(model, domain="mixture")
    with pytest.raises(InputError, match="is a model of the domain mixture, and one of backbone"):
        load(model, domain="backbone")


def test_weights_of_another_network_are_refused(tmp_path):
    plain = config.read(ENTRY)
    save(tmp_path / "m", nn.Linear(2, 2).state_dict(), plain)
    with pytest.raises(InputError, match="do not fit mixture_domain.Net"):
        load(tmp_path / "m")


def test_loading_needs_no_lightning(model):
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(EXAMPLE)!r}]\n"
        "from sciddiff.checkpoint import load\n"
        f"load({str(model)!r})\n"
        "bad = [m for m in sys.modules if 'lightning' in m or m == 'tensorboard']\n"
        "assert not bad, bad"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("width", [10**4, 10**9])
def test_a_network_far_larger_than_its_weights_is_refused_before_it_fills_memory(model, width):
    plain = config.from_yaml(model / "config.yaml")
    plain["net"]["init_args"]["width"] = width
    config.to_yaml(plain, model / "config.yaml")
    hashes = json.loads((model / META).read_text())["sha256"]
    edit(model, sha256={**hashes, "config.yaml": weights.sha256(model / "config.yaml")})
    with pytest.raises(InputError, match="config.yaml: net.*(far larger than|allocate memory)"):
        load(model)


def test_a_network_of_too_many_parts_is_refused():
    small = {"a": torch.zeros(3)}
    with pytest.raises(InputError, match="far larger"), weights.sized_like(small):
        torch.nn.ModuleList(torch.nn.Identity() for _ in range(10**6))
    with weights.sized_like(small):  # a little more is told by name when the weights are put in
        torch.nn.Linear(100, 100)
    torch.nn.Linear(2000, 2000)  # nothing is counted any more
