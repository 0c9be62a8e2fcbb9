"""What to say of a request before it is begun: the memory it needs, and what weights know of it.

The network's pair representation decides: its size goes with the square of the residues that are
seen at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from protein.backbone.network import BackboneNetwork
from sciddiff.errors import InputError

_COPIES = 6  # of the pair representation that live at once, measured with 500 to 2,000 residues
_WORTH_SAYING = 2e9  # bytes


def estimate(net: torch.nn.Module, residues: int) -> int:
    """Bytes that sampling one design takes at most.

    Args:
        net: a backbone network, or a network around one.
        residues: how many it sees at once.
    """
    inner = next((m for m in net.modules() if isinstance(m, BackboneNetwork)), None)
    channels = inner.relative.embedding_dim if inner is not None else 32
    return _COPIES * 4 * channels * residues**2


def check(net: torch.nn.Module, residues: int, device: torch.device) -> str | None:
    """A sentence on a large request; None for one that is not.

    Args:
        net: the network that will be called.
        residues: the most that it sees at once.
        device: where.

    Raises:
        InputError: the request needs more memory than is free.
    """
    needed = estimate(net, residues)
    free = free_memory(device)
    text = f"{residues} residues at once need about {needed / 1e9:.1f} GB"
    if free is not None and needed > free:
        raise InputError(
            f"memory: {text} and {free / 1e9:.1f} GB are free; give fewer residues, or a machine "
            "with more memory"
        )
    return f"{text} of memory" if needed > _WORTH_SAYING else None


def trained_lengths(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """Shortest and longest chain that weights were trained on; None where their card is silent.

    Args:
        meta: the card of the weights.
    """
    for part in ("data", "metrics"):
        found = (meta.get(part) or {}).get("lengths")
        if isinstance(found, list) and len(found) == 2:
            return int(found[0]), int(found[1])
        if isinstance(found, str) and found.count("-") == 1:
            low, high = found.split("-")
            return int(low), int(high)
    return None


def outside(lengths: Sequence[int], meta: Mapping[str, Any]) -> str | None:
    """A sentence on designs whose lengths weights were not trained on; None if there are none.

    Args:
        lengths: residues of the longest chain of each design.
        meta: the card of the weights.
    """
    trained = trained_lengths(meta)
    if trained is None:
        return None
    beyond = [length for length in lengths if not trained[0] <= length <= trained[1]]
    if not beyond:
        return None
    span = f"{min(beyond)} to {max(beyond)}" if min(beyond) < max(beyond) else f"{beyond[0]}"
    return (
        f"{len(beyond)} of {len(lengths)} designs have chains of {span} residues; these weights "
        f"were trained on {trained[0]} to {trained[1]}, and outside that range designs are worse"
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None
