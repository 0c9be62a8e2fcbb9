"""The cases of `benchmarks/device_cases.py` on a logical device.

A script of `test_devices_core.py`, since the logical device must be imported before torch. Prints
one JSON object: by case, the largest difference from the processor, and what a step more costs in
waits, copies to the device and launches.
"""

import json

from logical_device import logical_cuda  # before torch

# isort: split
import torch
from device_cases import density_cases, learning_cases, sampling_cases


def compare(run, few, many):
    """The difference at two numbers of steps, and what a step more costs."""
    counts, worst = [], 0.0
    for steps in (few, many):
        wanted = run(torch.device("cpu"), steps)
        with logical_cuda() as log:
            found = run(torch.device("cuda", 0), steps)
            counts.append((log.total("sync"), log.total("h2d"), sum(log.ops.values())))
        worst = max(worst, float((found - wanted).abs().max()))
    more = ((b - a) / (many - few) for a, b in zip(*counts, strict=True))
    return dict(zip(("difference", "syncs", "copies", "launches"), (worst, *more), strict=True))


torch.set_num_threads(1)
result = {name: compare(case, 3, 6) for name, case in sampling_cases()}
result |= {name: compare(case, 1, 2) for name, case in learning_cases()}
result |= {name: compare(case, 1, 2) for name, case in density_cases()}
print(json.dumps(result))
