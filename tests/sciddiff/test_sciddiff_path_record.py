"""A model tells the path it was trained for, and is refused with another one, by name."""

from __future__ import annotations

import doctest
import json
import math
from dataclasses import dataclass, replace

import pytest
import torch
import yaml

from sciddiff import config, path_record
from sciddiff.checkpoint import META, load, save
from sciddiff.errors import InputError
from sciddiff.manifolds import SO3, Torus, ZeroCenterOfMass
from sciddiff.noise import Correlated
from sciddiff.path_record import check_path, describe_path
from sciddiff.paths import GaussianPath, GeodesicPath, ProductPath
from sciddiff.schedules import VP, Cosine, ExponentialKappa
from sciddiff.shipped import find_model, shipped_models
from sciddiff.weights import CONFIG, sealed, sha256

PLACE = GaussianPath(schedule=VP(0.1, 19.0), sigma_data=[1.0, 0.25])
TURN = GeodesicPath(SO3(), parametrization="displacement")
PATH = ProductPath({"place": PLACE, "turn": TURN})


def test_the_example_in_the_module_is_right():
    assert doctest.testmod(path_record).failed == 0


def test_a_record_survives_yaml_and_fits_its_own_path():
    record = yaml.safe_load(yaml.safe_dump(describe_path(PATH)))
    assert record["place"]["schedule"]["class"] == "VP"
    assert record["place"]["sigma_data"] == [1.0, 0.25]
    assert record["turn"]["manifold"] == {"class": "SO3"}
    check_path(record, PATH, "a.yaml")


@pytest.mark.parametrize(
    ("leaf", "changed", "text"),
    [
        ("place", replace(PLACE, schedule=Cosine()), "path.place.schedule = VP.* gives Cosine"),
        ("place", replace(PLACE, schedule=VP(0.1, 20.0)), r"path.place.schedule.\w+ = 19.0.* 20"),
        ("place", replace(PLACE, parametrization="noise"), "parametrization = data.*gives noise"),
        ("place", replace(PLACE, manifold=ZeroCenterOfMass()), "manifold = Euclidean.*ZeroCent"),
        ("place", replace(PLACE, prior_scale=2.0), "path.place.prior_scale = 1.0.*gives 2.0"),
        ("place", replace(PLACE, sigma_data=[1.0, 0.5]), r"sigma_data = \[1.0, 0.25\].*0.5"),
        ("place", TURN, "path.place = GaussianPath, and its domain now gives GeodesicPath"),
        ("turn", replace(TURN, manifold=Torus()), "path.turn.manifold = SO3.*gives Torus"),
        ("turn", replace(TURN, kappa=ExponentialKappa(3.0)), "path.turn.kappa = LinearKappa"),
    ],
)
def test_another_path_is_refused_by_name(leaf, changed, text):
    other = ProductPath({**PATH.paths, leaf: changed})
    with pytest.raises(InputError, match=f"^a.yaml: was trained for .*{text}"):
        check_path(describe_path(PATH), other, "a.yaml")


def test_what_only_the_loss_uses_may_change():
    other = ProductPath({**PATH.paths, "place": replace(PLACE, loss_weight=torch.ones(2))})
    check_path(describe_path(PATH), other, "a.yaml")


def test_leaves_that_came_or_went_are_told():
    with pytest.raises(InputError, match="leaves place, turn, and its domain has turn"):
        check_path(describe_path(PATH), ProductPath({"turn": TURN}), "a.yaml")
    for wrong in (None, [], "place"):
        with pytest.raises(InputError, match="a.yaml: path is not a record by leaf"):
            check_path(wrong, PATH, "a.yaml")
    with pytest.raises(InputError, match="trained for path.place = nothing"):
        check_path({"place": "nothing", "turn": {}}, PATH, "a.yaml")


def test_long_tensors_are_told_by_their_checksum():
    paths = [
        ProductPath({"x": GaussianPath(sigma_data=(torch.arange(999.0) + shift).tolist())})
        for shift in (1, 1, 2)
    ]
    record = describe_path(paths[0])
    assert len(record["x"]["sigma_data"]["sha256"]) == 64
    check_path(record, paths[1], "a.yaml")
    with pytest.raises(InputError, match="path.x.sigma_data.sha256"):
        check_path(record, paths[2], "a.yaml")


def test_an_argument_that_came_later_stands_at_its_default():
    @dataclass(frozen=True, eq=False)
    class Grown:
        width: float = 1.0
        later: float = math.nan

    def path(**arguments):
        return ProductPath({"x": Grown(**arguments)})

    record = {"x": {"class": "Grown", "width": 1.0}}
    check_path(record, path(), "a.yaml")
    with pytest.raises(InputError, match="path.x.later = nothing else than the default.* 2.0"):
        check_path(record, path(later=2.0), "a.yaml")
    with pytest.raises(InputError, match="path.x.gone = 3, and .* now gives no such argument"):
        check_path({"x": {**record["x"], "gone": 3}}, path(), "a.yaml")


def test_a_saved_model_records_its_path_and_refuses_another(tmp_path):
    plain = config.from_yaml(find_model("lite") / CONFIG)
    domain, net = config.build_parts(plain)
    model = save(tmp_path / "m", net.state_dict(), plain, path=domain.path())
    written = config.from_yaml(model / CONFIG)
    assert written["path"]["translations"]["manifold"] == {"class": "ZeroCenterOfMass"}
    load(model)
    assert "path" not in config.read(model / CONFIG)
    written["path"]["rotations"]["parametrization"] = "velocity"
    config.to_yaml(written, model / CONFIG)
    meta = json.loads((model / META).read_text())
    meta["sha256"][CONFIG] = sha256(model / CONFIG)
    (model / META).write_text(json.dumps(sealed(meta)))
    text = "config.yaml: was trained for path.rotations.parametrization = velocity, and its domain"
    with pytest.raises(InputError, match=text):
        load(model)


def test_correlated_noise_is_part_of_the_path():
    laws = [Correlated(torch.eye(2) * scale) for scale in (1.0, 2.0)]
    paths = [ProductPath({"x": GaussianPath(noise=law)}) for law in laws]
    check_path(describe_path(paths[0]), paths[0], "a.yaml")
    with pytest.raises(InputError, match="path.x.noise"):
        check_path(describe_path(paths[0]), paths[1], "a.yaml")


def test_weights_that_ship_still_load():
    assert {model.name for model in shipped_models()} >= {"lite", "dock_lite", "planet_crps"}
    for model in shipped_models():
        load(model.directory)
