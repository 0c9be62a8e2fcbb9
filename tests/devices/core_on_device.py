"""The cases of `benchmarks/device_cases.py` on a logical device.

A script of `test_devices_core.py`, since the logical device must be imported before torch. Prints
one JSON object: by case, the largest difference from the processor, and what a step more costs in
waits, copies to the device and launches.
"""

import json

from core_comparison import compare  # before torch

# isort: split
import torch
from device_cases import density_cases, learning_cases, sampling_cases

torch.set_num_threads(1)
result = {name: compare(case, 3, 6) for name, case in sampling_cases()}
result |= {name: compare(case, 1, 2) for name, case in learning_cases()}
result |= {name: compare(case, 1, 2) for name, case in density_cases()}
print(json.dumps(result))
