"""Samples of a model as training data: drawn into a folder, part by part, and read as a domain.

A part is a template of the domain with what was drawn for it. Templates are made again from the
request and the seed; a file ``00000.safetensors`` holds the samples of one, the noise they were
drawn from if pairs are wanted, and which of them the domain finds sound (`Domain.sound`). A part
appears whole or not at all, and a rerun draws those that are missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import torch

from sciddiff.checkpoint import Model
from sciddiff.distillation.stand_in import StandIn, shuffled
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing, draw, noise_of
from sciddiff.errors import InputError, reading
from sciddiff.state import Batch, State
from sciddiff.weights import write_tensors

__all__ = ["NOISE", "OwnSamples", "draw_own"]

NOISE = "noise"
"""Key of ``batch.cond`` with the noise of each sample, a state."""

_SOUND, _DATA = "sound", "x"


def draw_own(
    model: Model,
    templates: Sequence[Batch],
    drawing: Drawing,
    seed: int,
    folder: Path,
    *,
    pairs: bool = False,
    on_samples: Callable[[int], None] = lambda drawn: None,
) -> int:
    """Draw the samples of templates that are not in the folder yet.

    Args:
        model: What is drawn from.
        templates: Templates of its domain.
        drawing: How.
        seed: Seed of the noise.
        folder: Where the parts are; made if it is not there.
        pairs: Keep the noise too.
        on_samples: Called with the number of samples of each part that is there.

    Returns:
        How many samples of all parts are sound.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = kept = 0
    for number, batch in enumerate(templates):
        file = _part(folder, number)
        if not file.exists():
            _draw_part(model, batch, drawing, seed, first, file, pairs)
        kept += int(_read(file)[_SOUND].sum())
        first += batch.size
        on_samples(batch.size)
    return kept


def _draw_part(
    model: Model,
    batch: Batch,
    drawing: Drawing,
    seed: int,
    first: int,
    file: Path,
    pairs: bool,
) -> None:
    x = draw(model.denoiser, batch, drawing, seed, first)
    states: dict[str, State] = {_DATA: {name: leaf.cpu() for name, leaf in x.items()}}
    if pairs:
        noise = noise_of(model.denoiser, batch, drawing, seed, first)
        states[NOISE] = {name: leaf.cpu() for name, leaf in noise.items()}
    tensors = {f"{what}/{name}": leaf for what, state in states.items()
               for name, leaf in state.items()}  # fmt: skip
    tensors[_SOUND] = model.domain.sound(batch, states[_DATA])
    partial = file.with_name(f".{file.name}.partial")
    write_tensors({name: leaf.contiguous() for name, leaf in tensors.items()}, partial)
    os.replace(partial, file)


@final
class OwnSamples(StandIn):
    """What a model has drawn, in the place of the training data of its domain.

    Args:
        domain: The domain of the model.
        templates: The templates that were drawn.
        folder: Where `draw_own` put the samples.

    Raises:
        InputError: No sample is sound.
    """

    def __init__(self, domain: Domain, templates: Sequence[Batch], folder: Path) -> None:
        super().__init__(domain)
        self._batches = [
            batch for number, template in enumerate(templates)
            if (batch := _batch(template, _read(_part(folder, number)))) is not None
        ]  # fmt: skip
        if not self._batches:
            raise InputError(
                f"{folder}: none of the teacher's samples is sound; ask for more of them, or for "
                "others with --request"
            )

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """One batch for each template, in an order of the epoch's own."""
        order = shuffled(len(self._batches), epoch, seed, rank, world)
        return (self._batches[number] for number in order)

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(batch.size for batch in self._batches)


def _batch(template: Batch, part: Mapping[str, torch.Tensor]) -> Batch | None:
    """The sound samples of a template as a batch; None if there are none."""
    x = {name: part[f"{_DATA}/{name}"] for name in template.x}
    noise = {
        name: leaf for name in template.x if (leaf := part.get(f"{NOISE}/{name}")) is not None
    }
    keep = part[_SOUND].nonzero()[:, 0]
    if len(keep) == 0:
        return None
    batch = replace(template, x=x)
    kept = batch if len(keep) == batch.size else batch.select(keep)
    if not noise:
        return kept
    # Selected as data are, as rows of ragged leaves are not entries of a batch.
    chosen = replace(batch, x=noise, cond={}).select(keep).x
    return kept.with_cond(**{NOISE: chosen})


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _read(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    with reading(file, "samples of a model", "remove it to draw them again"):
        return load_file(file)
