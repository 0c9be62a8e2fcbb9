"""The maker's road on the command line: train, export, inspect, sample, evaluate, likelihood."""

import json
import shutil

import pytest

EXPERIMENT = """\
domain: {class_path: mixture_domain.MixtureDomain, init_args: {size: 512, batch: 128}}
net: {class_path: mixture_domain.Net, init_args: {width: 16}}
optim: {lr: 0.005, warmup: 5}
trainer: {max_steps: 12, progress: false}
out: run
"""
MIXTURE = "[sciddiff.domains]\nmixture = mixture_domain:MixtureDomain\n"


@pytest.fixture(scope="module")
def trained(new_shell):
    """A folder with a short run and the model exported from it."""
    shell = new_shell("trained")
    (shell.folder / "mixture.yaml").write_text(EXPERIMENT)
    done = shell("train", "mixture.yaml", "--optim.lr", "1e-3", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["step"] == 12
    refused = shell("export", "run", "-o", "model")
    assert refused.returncode == 2 and "add --trust mixture_domain" in refused.stderr
    done = shell("export", "run", "-o", "model", "--trust", "mixture_domain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 12
    return shell.folder


@pytest.fixture
def shop(shell, trained):
    """A fresh copy of that folder, with the mixture domain installed."""
    shell.install("mixture", MIXTURE)
    for name in ("run", "model"):
        shutil.copytree(trained / name, shell.folder / name)
    shutil.copy(trained / "mixture.yaml", shell.folder)
    return shell


def test_overrides_reach_the_run(shop):
    found = json.loads(shop("inspect", "run", "--json").stdout)
    assert found["kind"] == "run"
    assert found["config"]["optim"]["lr"] == 1e-3
    assert found["config"]["seed"] == 3


def test_inspect_counts_parameters(shop):
    run, model = (json.loads(shop("inspect", x, "--json").stdout) for x in ("run", "model"))
    exact = (5 * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 2)
    assert run["parameters"] == model["parameters"] == {"total": exact, "layers": exact}
    assert model["meta"]["sha256"]


def test_print_config_is_a_complete_experiment(shop):
    import yaml

    done = shop("train", "mixture.yaml", "--trainer.max_steps", "7", "--print_config")
    plain = yaml.safe_load(done.stdout)
    assert plain["trainer"]["max_steps"] == 7
    assert plain["ema"]["widths"] == [0.05, 0.1]


def test_wrong_experiments(shop, fails):
    fails(shop("train"), "no experiment")
    fails(shop("train", "absent.yaml"), "absent.yaml", "check the path")
    fails(shop("train", "mixture.yaml", "--optim.lrr", "1"), "did you mean lr?")
    fails(shop("train", "mixture.yaml", "--optim.lr", "fast"), "lr")
    fails(shop("train", "mixture.yaml", "--net.width", "17"), "net")


def test_a_run_starts_from_weights(shop, fails):
    words = ("train", "mixture.yaml", "-o", "second", "--init_from")
    assert shop(*words, "model").returncode == 0
    assert shop("export", "second", "-o", "tuned").returncode == 0
    meta = json.loads((shop.folder / "tuned" / "meta.json").read_text())
    assert meta["init_from"]["weights"] == "model"
    other = ("-o", "third", "--net.init_args.width", "8")
    fails(shop("train", "mixture.yaml", "--init_from", "model", *other), "layers.0.bias has shape")
    fails(shop(*words[:3], "fourth", "--init_from", "modl"), "neither shipped nor a folder")
    assert not (shop.folder / "third").exists()


def test_sampling_goes_on_where_it_stopped(shop, fails):
    words = ("sample", "--model", "model", "-n", "40", "--steps", "4", "-o", "points")
    first = json.loads(shop(*words, "--json").stdout)
    assert first["samples"] == 40 and first["kept"] == 0
    text = (shop.folder / "points" / "points.csv").read_text()
    again = json.loads(shop(*words, "--json").stdout)
    assert again["kept"] == 40
    (shop.folder / "points" / "points.csv").unlink()
    assert json.loads(shop(*words, "--json").stdout)["kept"] == 0
    assert (shop.folder / "points" / "points.csv").read_text() == text
    fails(shop(*words, "--seed", "9"), "another command", "seed")


def test_a_finished_training_is_left_alone(shop):
    before = {file: file.stat().st_mtime_ns for file in (shop.folder / "run").rglob("*")}
    first = ("train", "mixture.yaml", "--seed", "3", "--json")
    again = shop(*first, "--optim.lr", "1e-3")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert found["step"] == 12 and found["seconds"] == 0.0 and found["metrics"]
    # Other settings do not enter the record of weights that they have not trained.
    assert shop(*first, "--optim.lr", "5e-3").returncode == 0
    after = {file: file.stat().st_mtime_ns for file in (shop.folder / "run").rglob("*")}
    assert after == before
    more = shop(*first, "--optim.lr", "1e-3", "--trainer.max_steps", "14")
    assert json.loads(more.stdout)["step"] == 14


def test_a_script_draws_what_the_command_draws(shop, monkeypatch):
    import csv

    import sciddiff
    from sciddiff.grids import uniform
    from sciddiff.samplers import Heun

    monkeypatch.syspath_prepend(str(shop.plugins.parents[0]))
    shop("sample", "--model", "model", "-n", "6", "--seed", "4", "-o", "points")
    shop("sample", "--model", "model", "-n", "6", "--steps", "7", "--sampler", "heun", "-o", "h")
    model = sciddiff.load(shop.folder / "model", trust=["mixture_domain"])
    for name, options in (("points", {}), ("h", {"sampler": Heun(), "grid": uniform(7)})):
        drawn = model.sample(6, seed=4 if name == "points" else 0, **options)
        assert len(drawn) == 6 and drawn[0]["point"].shape == (2,)
        with (shop.folder / name / "points.csv").open() as file:
            rows = list(csv.DictReader(file))
        for state, row in zip(drawn, rows, strict=True):
            assert state["point"].tolist() == pytest.approx([float(row["x"]), float(row["y"])])
    assert model.drawing.self_condition is False and len(model.drawing.grid) == 51


def test_options_that_would_have_no_effect_are_refused(shop, fails):
    words = ("sample", "--model", "model", "-n", "2")
    fails(shop(*words, "--sampler", "heun", "--eta", "0.5"), "--eta: has no effect", "heun")
    fails(shop(*words, "--eta", "0.5", "--temperature", "1"), "--temperature: has no effect")
    fails(shop(*words, "--request", "n=3"), "--request n=3: give the number of samples with -n")
    for value in ("nan", "-1", "warm"):
        fails(shop(*words, "--temperature", value), "is not a number of at least 0")


def test_a_first_command_that_failed_does_not_block_the_right_one(shop, fails):
    wrong = ("sample", "--model", "model", "-n", "3", "--sampler", "heun", "--eta", "1")
    fails(shop(*wrong, "-o", "points"), "--eta")
    (shop.folder / "points").mkdir(exist_ok=True)
    (shop.folder / "points" / "run.json").write_text(
        '{"request": {"number": 9}, "command": "sciddiff sample --model model -n 9"}'
    )
    assert shop("sample", "--model", "model", "-n", "3", "-o", "points").returncode == 0
    other = ("sample", "--model", "model", "-n", "3", "--steps", "5", "-o", "points")
    fails(shop(*other), "steps was not given and is now 5")


def test_a_larger_number_adds_to_the_samples(shop):
    """Here all samples are in one file, which is then written with all of them."""
    words = ("sample", "--model", "model", "--steps", "2", "-o", "points", "--json")
    assert json.loads(shop(*words, "-n", "3").stdout)["kept"] == 0
    few = (shop.folder / "points" / "points.csv").read_text().splitlines()
    more = json.loads(shop(*words, "-n", "5").stdout)
    many = (shop.folder / "points" / "points.csv").read_text().splitlines()
    assert more["samples"] == 5 and len(many) == 6
    # Equal up to the rounding of matrix products, which depends on the size of a batch.
    for line, before in zip(many[1:], few[1:], strict=False):
        (name, *now), (same, *then) = line.split(","), before.split(",")
        assert name == same and [*map(float, now)] == pytest.approx([*map(float, then)], abs=1e-5)
    fewer = json.loads(shop(*words, "-n", "3").stdout)
    assert fewer["kept"] == 3 and fewer["files"] == ["points/points.csv"]
    assert (shop.folder / "points" / "points.csv").read_text().splitlines() == many


def test_samples_with_files_of_their_own_are_drawn_once(shell):
    words = ("sample", "--model", "lite", "--request", "length=40-50", "--steps", "2", "-o", "x")
    assert json.loads(shell(*words, "-n", "2", "--json").stdout)["kept"] == 0
    files = list((shell.folder / "x").glob("*.cif"))
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    more = json.loads(shell(*words, "-n", "4", "--json").stdout)
    assert more["kept"] == 2 and len(more["files"]) == 8
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    runs = json.loads((shell.folder / "x" / "run.json").read_text())["runs"]
    assert [run["made"] for run in runs] == [2, 2]


def test_a_moved_model_is_the_same_and_a_changed_one_is_refused(shop, fails):
    words = ("-n", "3", "--steps", "2", "-o", "points")
    assert shop("sample", "--model", "model", *words).returncode == 0
    record = (shop.folder / "points" / "run.json").read_bytes()
    (shop.folder / "model").rename(shop.folder / "renamed")
    done = shop("sample", "--model", "renamed", *words, "--json")
    assert json.loads(done.stdout)["kept"] == 3
    assert (shop.folder / "points" / "run.json").read_bytes() == record
    assert shop("export", "run", "-o", "other", "--ema", "none").returncode == 0
    changed = shop("sample", "--model", "other", *words)
    fails(changed, "the content of --model (other) has changed")


def test_evaluate_asks_the_domain(shop, fails):
    shop("sample", "--model", "model", "-n", "40", "--steps", "4", "-o", "points")
    named = json.loads(shop("evaluate", "points", "--domain", "mixture", "--json").stdout)
    modelled = json.loads(shop("evaluate", "points", "--model", "model", "--json").stdout)
    assert named == modelled and sum(named["weights"]) == pytest.approx(1.0)
    assert "weights" in shop("evaluate", "points", "--domain", "mixture").stdout
    fails(shop("evaluate", "points", "--domain", "mixtur"), "did you mean mixture?")
    fails(shop("evaluate", "absent", "--domain", "mixture"), "absent: no such")
    full = shop("evaluate", "points", "--domain", "mixture", "-o", "/dev/full")
    fails(full, "no space left")


def test_likelihood_is_in_nats_and_repeatable(shop):
    words = ("likelihood", "--model", "model", "-n", "3", "--steps", "8", "--json")
    exact = json.loads(shop(*words, "--exact").stdout)
    again = json.loads(shop(*words, "--exact", "--set", "size=1024").stdout)
    assert exact["samples"] == 3 and exact["unit"] == "nats"
    assert -20 < exact["mean_log_prob"] < 0
    assert again["log_prob"] == exact["log_prob"]


def test_a_model_of_a_package_without_plug_in_needs_trust(trained, shell, fails):
    """Every verb that takes --model takes --trust; it holds for that command alone."""
    shutil.copytree(trained / "model", shell.folder / "model")
    words = ("sample", "--model", "model", "-n", "2", "--steps", "2", "-o", "points")
    fails(shell(*words), "config.yaml: domain: mixture_domain.MixtureDomain", "not trusted")
    assert shell(*words, "--trust", "mixture_domain").returncode == 0
    fails(shell("likelihood", "--model", "model", "-n", "2"), "add --trust mixture_domain")
    fails(shell(*words, "--trust", "a/b"), "trust 'a/b': is not the name of a package")
    assert "--trust PACKAGE" in shell("backbone", "--help").stdout


def test_models_that_cannot_be_used(shop, fails):
    fails(shop("sample", "--model", "run"), "no meta.json", "sciddiff models")
    fails(shop("inspect", "nothing"), "neither shipped nor a folder")
    fails(shop("inspect", "run/checkpoints/last.ckpt"), "sciddiff export RUN -o MODEL")
    fails(shop("export", "model", "-o", "x"), "directory of a training run")
    fails(shop("export", "run", "-o", "x", "--ema", "0.2"), "not tracked", "0.05")
    fails(shop("sample", "--model", "model", "--device", "cuda:9"), "use cpu")
    weights = shop.folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    fails(shop("sample", "--model", "model"), "damaged", "sha256")
    meta = shop.folder / "model" / "meta.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 7'))
    fails(shop("inspect", "model"), "format 7 is unknown")
