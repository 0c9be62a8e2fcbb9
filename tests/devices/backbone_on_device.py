"""The shipped backbone model on a logical device: draws by its own defaults, a training step.

A script of `test_devices_backbone.py`; prints one JSON object, as `core_on_device.py` does.
"""

import json
from dataclasses import replace

from core_comparison import compare  # before torch

# isort: split
import torch

import sciddiff
from sciddiff.drawing import draw
from sciddiff.grids import uniform
from sciddiff.state import Batch

torch.set_num_threads(1)


def drawn(device, steps):
    model = sciddiff.load("lite", device=device)
    drawing = replace(model.domain.drawing(), grid=uniform(steps))
    (like,) = model.domain.templates(2, 1, {"length": 24})
    x = draw(model.denoiser, like, drawing, 3)
    return torch.cat([leaf.reshape(-1) for leaf in x.values()]).cpu()


def learnt(device, steps):
    model = sciddiff.load("lite", device=device)
    (like,) = model.domain.templates(2, 1, {"length": 24})
    x = draw(model.denoiser, like, replace(model.domain.drawing(), grid=uniform(3)), 3)
    batch = Batch({name: leaf.detach() for name, leaf in x.items()}, like.cond, like.layouts)
    model.denoiser.train().requires_grad_(True)
    optimiser = torch.optim.SGD(model.denoiser.parameters(), 1e-4)
    objective, total = model.domain.objective(), []
    for _ in range(steps):
        optimiser.zero_grad()
        generator = sciddiff.Streams(4, torch.arange(2, device=device))
        loss = objective(model.denoiser, batch.to(device), generator).loss
        loss.backward()
        optimiser.step()
        total.append(loss.detach())
    return torch.stack(total).cpu()[-1:]


print(json.dumps({"draws": compare(drawn, 2, 4), "learns": compare(learnt, 1, 2)}))
