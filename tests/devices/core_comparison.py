"""What a device gives and costs beside the processor; for scripts that import the device first."""

# isort: off
from logical_device import logical_cuda  # before torch
import torch
# isort: on


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
