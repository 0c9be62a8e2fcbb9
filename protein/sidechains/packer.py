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
from protein.sidechains.contacts import Contacts, Overlaps
from protein.sidechains.geometry import build, tables
from protein.sidechains.losses import likeliest, log_density, probability_within
from protein.sidechains.network import LOGITS
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
from protein.sidechains.structure import ENCODED
from protein.sidechains.templates import Template
from protein.structures.geometry_constants import ATOM_NAMES
from sciddiff.grids import uniform
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.state import Batch
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
    steps: int = 8
    assemble: bool = True
    overlap: float = 40.0
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
    asking = _Asking(denoiser, given, s, device)
    states = asking.draws()
    logits = asking.laws(states)
    site = _Site(template, held)
    # Beside each draw the mode of its latest law: draws vary within a rotamer.
    candidates = torch.cat([states, likeliest(logits[-1])]) if s.assemble else states
    found = site.candidates(candidates, logits)
    draw_scores = found.scores[:, : s.draws].sum(0).numpy() / site.angles
    draw_clashes = found.clashes(s.draws)
    if s.assemble:
        choice = assembled(found.scores, found.overlaps, s.overlap, site.free.any(-1))
    else:
        total = draw_scores * site.angles - s.overlap * draw_clashes
        choice = torch.full_like(site.rows, int(np.argmax(total)))
    angles = candidates[choice, site.rows]
    if s.relieve:
        chi, made = from_state(angles, site.tokens), found.sides[site.rows, choice]
        turned = relieved(
            site.contacts, site.backbone, site.tokens, chi, made, site.free, s.overlap
        )
        angles = to_state(turned, site.tokens)
        found, choice = site.candidates(angles[None], logits), torch.zeros_like(choice)
    chi = from_state(angles, site.tokens).numpy()
    return Packed(
        template,
        held,
        np.where(held[:, None], given.chi, chi),
        found.sides[site.rows, choice].numpy(),
        _confidence(angles, logits, site.free, site.tokens).numpy(),
        found.scores[site.rows, choice].numpy(),
        _spread(states[..., 0], site.free[:, 0]).numpy(),
        found.overlaps.count(choice).numpy(),
        found.overlaps.total(choice),
        from_state(states, site.tokens).numpy(),
        draw_clashes,
        draw_scores,
    )


class _Asking:
    """A template, encoded, of which side chains are drawn and judged."""

    def __init__(
        self, denoiser: Denoiser, given: Sample, s: PackSettings, device: torch.device | str
    ) -> None:
        self._denoiser, self._s = denoiser, s
        net: Any = denoiser.net.eval()
        batch = collate([given]).to(device)
        with torch.no_grad():
            self._batch = batch.with_cond(**{ENCODED: net.encode(batch)})
        self._parts = torch.arange(s.draws).split(max(1, ROWS // max(len(given), 1)))

    def _many(self, numbers: Tensor) -> Batch:
        rows = torch.zeros(len(numbers), dtype=torch.int64, device=self._batch.device)
        return self._batch.select(rows)

    def draws(self) -> Tensor:
        """Angles of the draws `[n, L, 4]`."""
        s, found = self._s, []
        for part in self._parts:
            like, numbers = self._many(part), part.to(self._batch.device)
            grid = uniform(s.steps)
            x = sample(self._denoiser, like, Ancestral(0.0), grid, s.seed, indices=numbers).x
            found.append(angles_of(x[CHI]).cpu().double())
        return torch.cat(found)

    def laws(self, states: Tensor) -> Tensor:
        """What the network says of the draws, noised again, at every time asked.

        The mean of such a law over draws and noise is the marginal law of the angles.

        Args:
            states: the draws `[n, L, 4]`.

        Returns:
            Logits `[T, n, L, 4, K]`.
        """
        net, path, found = self._denoiser.net, self._denoiser.path, []
        for part in self._parts:
            like = self._many(part)
            x1 = {CHI: states[part].flatten(1).to(like.x[CHI])}
            noise = Streams(self._s.seed, part.to(like.device)).purpose("laws")
            said = []
            for time in _ASKED:
                t = x1[CHI].new_full((len(part),), time)
                noised = path.sample(x1, t, noise, None, like.layouts)[CHI].x_t
                with torch.no_grad():
                    said.append(net({CHI: noised}, t, like)[LOGITS])
            found.append(torch.stack(said).unflatten(2, (-1, states.shape[-1])).cpu().double())
        return torch.cat(found, dim=1)


class _Site:
    """Where side chains go, and what they may touch."""

    def __init__(self, template: Template, held: NDArray[np.bool_]) -> None:
        self.tokens = torch.from_numpy(template.tokens)
        self.rows = torch.arange(len(template))
        self._kept = torch.from_numpy(held)
        self._has = tables().chi[self.tokens] & ~torch.from_numpy(template.unknown)[:, None]
        self.free = self._has & ~self._kept[:, None]
        self.angles = max(int(self.free.sum()), 1)
        atoms = torch.from_numpy(np.nan_to_num(template.atoms)).double()
        self.backbone, self._own = atoms[:, : len(ATOM_NAMES)], atoms[:, len(ATOM_NAMES) :]
        self.contacts = Contacts(template)

    def candidates(self, states: Tensor, logits: Tensor) -> _Candidates:
        """Candidates with their atoms, their overlaps, and their densities in laws.

        Args:
            states: angles `[n, L, 4]`.
            logits: `[T, m, L, 4, K]`.
        """
        shape = states.shape[:2]
        sides = build(
            self.backbone.expand(*shape[:1], *self.backbone.shape),
            self.tokens.expand(shape),
            from_state(states, self.tokens),
        )
        sides = torch.where(self._kept[:, None, None], self._own, sides).transpose(0, 1)
        return _Candidates(
            sides, self.contacts.overlaps(sides), _candidate_scores(states, logits, self.free)
        )


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Side chains `[L, n, 10, 3]`, their overlaps, and log-densities `[L, n]`."""

    sides: Tensor
    overlaps: Overlaps
    scores: Tensor

    def clashes(self, count: int) -> NDArray[np.int64]:
        """Pairs too close in each of the first structures `[count]`."""
        rows = torch.ones(len(self.sides), dtype=torch.int64)
        return np.asarray([self.overlaps.total(k * rows) for k in range(count)])


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
