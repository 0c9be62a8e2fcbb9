"""From a store to a forecast: train, fine-tune with roll-outs, export, forecast."""

from pathlib import Path

import pytest
import torch
import yaml

from sciddiff import checkpoint, config
from sciddiff.training import train
from weather.data.store import Store
from weather.forecast.forecaster import Forecaster

# Those of latents, which are of one area, are trained by the commands of the guide (`tests/docs`).
FOLDER = Path(__file__).resolve().parents[3] / "configs" / "weather"
CONFIGS = [
    path for path in sorted(FOLDER.glob("*.yaml")) if "weather.nets.latent" not in path.read_text()
]
NET = {"channels": 5, "vectors": [1, 2], "widths": [8, 16], "blocks": [1, 1], "embedding": 16}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_train_on_another_store(path, seasonal_store, small_models, tmp_path):
    """Every shipped experiment, with a small network, store and length; then a forecast."""
    plain = yaml.safe_load(path.read_text())
    vectors = {"vectors": NET["vectors"]} if "Spherical" in plain["net"]["class_path"] else {}
    plain["net"]["init_args"] = {k: v for k, v in NET.items() if k != "vectors"} | vectors
    plain["out"] = str(tmp_path / "run")
    plain["trainer"] |= {"max_steps": 3, "val_every": 2, "log_every": 1, "progress": False}
    plain["trainer"] |= {"accelerator": "cpu", "threads": 1}
    data = plain["domain"]["init_args"]["data"]
    data |= {"store": str(seasonal_store), "val_days": 20, "val_samples": 4}
    data.pop("frames", None)  # those of the small networks
    if "Area" in plain["net"]["class_path"]:  # the small networks are of the sphere
        plain.pop("init_from", None)
    if "init_from" in plain:
        plain["init_from"] = data["statistics"] = small_models["crps"]
    result = train(config.build(plain))
    assert result.step == 3
    model = tmp_path / "model"
    checkpoint.export(plain["out"], model, ema=plain["ema"]["widths"][-1])
    forecaster = Forecaster(str(model))
    assert forecaster.head == plain["domain"]["init_args"]["head"]
    store = Store(seasonal_store)
    frames = torch.from_numpy(store.read(50, 52))
    states = list(forecaster.rollout(frames, store.times[51], 2, range(2), 0))
    assert states[1].shape == (2, 5, 16, 32)
    start = checkpoint.load(small_models["crps"]).denoiser.net.state_dict()
    now = forecaster.denoiser.net.state_dict()
    shared = [k for k in now if now[k].shape == start[k].shape]
    far = max(float((now[k] - start[k]).abs().max()) for k in shared)
    assert (far < 0.02) == ("init_from" in plain)
