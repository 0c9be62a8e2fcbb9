"""Draws side chains of one structure, scores them, and makes one structure of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.sidechains.assembly import assembled
from protein.sidechains.contacts import Contacts
from protein.sidechains.domain import STEPS
from protein.sidechains.geometry import build, tables
from protein.sidechains.losses import log_density, probability_within
from protein.sidechains.network import ENCODED, LOGITS
from protein.sidechains.relief import relieved
from protein.sidechains.samples import (
    CHI,
    Sample,
    angles_of,
    collate,
    from_state,
    sample_of,
    to_state,
)
from protein.sidechains.templates import Template
from protein.structures.geometry_constants import ATOM_NAMES
from sciddiff.grids import uniform
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.streams import Streams

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser

__all__ = ["NEAR", "PackSettings", "Packed", "pack"]

ROWS = 2000
"""Residues that the network sees at once."""

NEAR = math.radians(20.0)
"""How far a torsion may be from the true one to count as right, rad."""

_ASKED = (0.3, 0.6)
"""Times at which a draw, noised again, is scored."""


@final
@dataclass(frozen=True)
class PackSettings:
    """How side chains are drawn.

    Attributes:
        draws: how many, from which the structure is put together.
        steps: steps of each.
        assemble: put a structure together from the draws; otherwise the best draw as it is.
        overlap: nats that an overlap of 1 Å² costs.
        relieve: turn torsions by up to 20 degrees to relieve clashes that are left.
        noise: errors of the backbone that the network is told to expect, Å.
        seed: of the draws.
    """

    draws: int = 8
    steps: int = STEPS
    assemble: bool = True
    overlap: float = 10.0
    relieve: bool = False
    noise: float = 0.0
    seed: int = 0


@final
@dataclass(frozen=True, eq=False)
class Packed:
    """The side chains of a structure of L residues.

    Attributes:
        template: what was packed.
        fixed: residues whose side chains were held `[L]`, bool.
        chi: torsions `[L, 4]`, rad; drawn ones of symmetric ends in [-pi/2, pi/2).
        sides: atoms of the side chains `[L, 10, 3]`, Å: of held ones as they were.
        confidence: probability that the first two torsions lie within 20 degrees `[L]`; 1 where
            there is nothing to draw.
        scores: log-density of the torsions in their marginal laws, nats `[L]`.
        spread: circular standard deviation of the first torsion over the draws, rad `[L]`.
        clashes: pairs of atoms too close, by residue `[L]`.
        total: pairs in all.
        draws: torsions of the draws `[n, L, 4]`, rad.
        draw_clashes: pairs too close in each draw `[n]`.
        draw_scores: log-density of each draw, nats a torsion `[n]`.
    """

    template: Template
    fixed: NDArray[np.bool_]
    chi: NDArray[np.float64]
    sides: NDArray[np.float64]
    confidence: NDArray[np.float64]
    scores: NDArray[np.float64]
    spread: NDArray[np.float64]
    clashes: NDArray[np.int64]
    total: int
    draws: NDArray[np.float64]
    draw_clashes: NDArray[np.int64]
    draw_scores: NDArray[np.float64]


def pack(
    denoiser: Denoiser,
    template: Template,
    fixed: NDArray[np.bool_] | None = None,
    settings: PackSettings | None = None,
    device: torch.device | str = "cpu",
) -> Packed:
    """Pack a structure.

    Args:
        denoiser: the network under its path.
        template: the structure.
        fixed: residues whose side chains are held `[L]`; incomplete ones are drawn all the same.
        settings: how.
        device: where the network is.
    """
    s = settings or PackSettings()
    held = np.zeros(len(template), bool) if fixed is None else fixed & template.complete
    given = replace(sample_of(template, held), noise=s.noise)
    states, logits = _draw(denoiser, given, s, device)
    tokens = torch.from_numpy(template.tokens)
    has = tables().chi[tokens] & ~torch.from_numpy(template.unknown)[:, None]
    scores = _candidate_scores(states, logits, has)
    chi = from_state(states, tokens)
    backbone = torch.from_numpy(np.nan_to_num(template.atoms[:, : len(ATOM_NAMES)])).double()
    count = len(chi)
    sides = build(backbone.expand(count, *backbone.shape), tokens.expand(count, len(tokens)), chi)
    own = torch.from_numpy(np.nan_to_num(template.atoms[:, len(ATOM_NAMES) :])).double()
    kept = torch.from_numpy(held)
    sides = torch.where(kept[:, None, None], own, sides).transpose(0, 1)
    contacts = Contacts(template)
    overlaps = contacts.overlaps(sides)
    draw_choices = [torch.full((len(template),), k) for k in range(count)]
    draw_clashes = np.asarray([overlaps.total(choice) for choice in draw_choices])
    angles = max(int((has & ~kept[:, None]).sum()), 1)
    draw_scores = (scores * ~kept[:, None]).sum(0).numpy() / angles
    if s.assemble:
        choice = assembled(scores, overlaps, s.overlap, has.any(-1) & ~kept)
    else:
        total = draw_scores * angles - s.overlap * draw_clashes
        choice = draw_choices[int(np.argmax(total))]
    rows = torch.arange(len(template))
    best, made, score = chi[choice, rows], sides[rows, choice], scores[rows, choice]
    if s.relieve:
        free = has & ~kept[:, None]
        best = relieved(contacts, backbone, tokens, best, made, free, s.overlap)
        made = torch.where(kept[:, None, None], made, build(backbone, tokens, best))
        overlaps, choice = contacts.overlaps(made[:, None]), torch.zeros_like(choice)
        score = _candidate_scores(to_state(best, tokens)[None], logits, has)[:, 0]
        best = from_state(to_state(best, tokens), tokens)
    return Packed(
        template,
        held,
        np.where(held[:, None], given.chi, best.numpy()),
        made.numpy(),
        _confidence(to_state(best, tokens), logits, has & ~kept[:, None], tokens).numpy(),
        score.numpy(),
        _spread(states[..., 0], has[:, 0] & ~kept).numpy(),
        overlaps.count(choice).numpy(),
        overlaps.total(choice),
        chi.numpy(),
        draw_clashes,
        draw_scores,
    )


def _draw(
    denoiser: Denoiser,
    given: Sample,
    s: PackSettings,
    device: torch.device | str,
) -> tuple[Tensor, Tensor]:
    """Angles of the draws `[n, L, 4]`, and what the network says of each of them, noised again, at
    every time asked: logits `[T, n, L, 4, K]`.
    """
    batch = collate([given]).to(device)
    net: Any = denoiser.net.eval()
    with torch.no_grad():
        batch = batch.with_cond(**{ENCODED: net.encode(batch)})
    at_once = max(1, ROWS // max(len(given), 1))
    states, logits = [], []
    for numbers in torch.arange(s.draws).split(at_once):
        many = batch.select(torch.zeros(len(numbers), dtype=torch.int64, device=batch.device))
        x = sample(
            denoiser, many, Ancestral(0.0), uniform(s.steps), s.seed, indices=numbers.to(device)
        ).x
        generator = Streams(s.seed, numbers.to(device)).purpose("scores")
        asked = []
        for time in _ASKED:
            t = x[CHI].new_full((len(numbers),), time)
            noised = denoiser.path.sample(x, t, generator, None, many.layouts)[CHI].x_t
            with torch.no_grad():
                asked.append(net({CHI: noised}, t, many)[LOGITS])
        states.append(angles_of(x[CHI]).cpu().double())
        logits.append(torch.stack(asked).unflatten(2, (-1, states[-1].shape[-1])).cpu().double())
    return torch.cat(states), torch.cat(logits, dim=1)


def _candidate_scores(states: Tensor, logits: Tensor, has: Tensor) -> Tensor:
    """Log-density of each draw of a residue in the mean of all laws `[L, n]`, nats.

    Args:
        states: angles `[n, L, 4]`.
        logits: `[T, n, L, 4, K]`.
        has: which angles there are `[L, 4]`.
    """
    laws = logits.flatten(0, 1)[:, None]  # [T n, 1, L, 4, K]
    shape = (len(laws), *states.shape, laws.shape[-1])
    joint = (log_density(laws.expand(shape), states.expand(shape[:-1])) * has).sum(-1)
    return (joint.logsumexp(0) - math.log(len(laws))).T


def _confidence(best: Tensor, logits: Tensor, drawn: Tensor, tokens: Tensor) -> Tensor:
    """Probability that the first two torsions lie within 20 degrees of those chosen `[L]`."""
    width = NEAR * tables().periods[tokens][:, :2]
    laws = logits.flatten(0, 1)[..., :2, :]
    inside = probability_within(laws, best[:, :2].expand(laws.shape[:-1]), width)
    return torch.where(drawn[:, :2], inside, 1.0).prod(-1).mean(0)


def _spread(angles: Tensor, drawn: Tensor) -> Tensor:
    """Circular standard deviation over the draws `[L]`, rad; 0 where nothing is drawn.

    Args:
        angles: `[n, L]`, rad.
        drawn: `[L]`.
    """
    length = torch.hypot(angles.cos().mean(0), angles.sin().mean(0)).clamp(1e-6, 1.0)
    return torch.where(drawn, (-2.0 * length.log()).sqrt(), 0.0)
