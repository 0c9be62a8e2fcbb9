r"""What sequences can be steered and tuned towards: rewards named on the command line.

A wish is a list of names with weights, ``charge=0.5,motif(N-{P}-[ST]-{P})=-5`` (see
`sciddiff.rewards`). The reward of a sequence is the weighted sum, in nats. Terms see the residues
as numbers `[B, N, 20]`, one and zeros in the order of `LETTERS` (zeros alone where a residue is
not known), the mask of real residues and the number of the chain of each, `[B, N]`; they return
`[B]`. Numbers between 0 and 1 stand for shares, so that all terms but `motif` have a gradient.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from protein.sequence.alphabet import LETTERS, MASK, letters
from protein.sequence.samples import SEQUENCE
from sciddiff.errors import InputError
from sciddiff.rewards import RewardTerms, Term
from sciddiff.state import Batch, State

__all__ = ["TERMS", "pattern_of"]

_CHARGE = {"D": -1.0, "E": -1.0, "K": 1.0, "R": 1.0}
_HYDROPATHY = {
    "A": 1.8, "R": -4.5, "N": -3.5, "D": -3.5, "C": 2.5, "Q": -3.5, "E": -3.5, "G": -0.4,
    "H": -3.2, "I": 4.5, "L": 3.8, "K": -3.9, "M": 1.9, "F": 2.8, "P": -1.6, "S": -0.8,
    "T": -0.7, "W": -0.9, "Y": -1.3, "V": 4.2,
}  # fmt: skip
_ELEMENT = re.compile(r"([A-Zx]|\[[A-Z]+\]|\{[A-Z]+\})(?:\((\d+)(?:,(\d+))?\))?")


def charge(residues: Tensor, real: Tensor, chain: Tensor) -> Tensor:
    """Net charge `[B]`: lysines and arginines less aspartates and glutamates."""
    return _sum(residues, real, _CHARGE)


def hydropathy(residues: Tensor, real: Tensor, chain: Tensor) -> Tensor:
    """Mean hydropathy of a residue `[B]`, on the scale of Kyte and Doolittle (1982)."""
    return _sum(residues, real, _HYDROPATHY) / real.sum(1).clamp_min(1)


def entropy(residues: Tensor, real: Tensor, chain: Tensor) -> Tensor:
    """Entropy of the composition of each sequence in nats `[B]`; natives have about 2.7."""
    counts = (residues * real[..., None]).sum(1)
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1.0)
    # The gradient of what is absent is infinite, and left out.
    return torch.where(shares > 0.0, torch.special.entr(shares.clamp_min(1e-9)), 0.0).sum(1)


def pattern_of(text: str) -> re.Pattern[str]:
    """The regular expression of a motif in the manner of PROSITE, or of one that is one already.

    Args:
        text: such as ``N-{P}-[ST]-{P}`` or ``C-x(2,4)-C``; without any ``-`` it is a regular
            expression of one-letter residues.

    Raises:
        InputError: neither.

    >>> pattern_of("N-{P}-[ST]-x(2)").pattern
    'N[^P][ST].{2}'
    """
    parts, found = text.strip().strip(".").split("-"), ""
    for part in parts if len(parts) > 1 else ():
        said = _ELEMENT.fullmatch(part)
        if said is None:
            raise InputError(
                f"motif({text}): {part!r} is no element of a motif; write one such as N, x, [ST], "
                "{P} or x(2,4), with - between"
            )
        kind, least, most = said.groups()
        kind = "." if kind == "x" else f"[^{kind[1:-1]}]" if kind[0] == "{" else kind
        times = "" if least is None else f"{{{least}}}" if most is None else f"{{{least},{most}}}"
        found += kind + times
    try:
        return re.compile(found or text)
    except re.error as error:
        raise InputError(f"motif({text}): is no regular expression ({error})") from error


def _motif(text: str) -> Term:
    pattern = pattern_of(text)
    overlapping = re.compile(f"(?={pattern.pattern})")

    def motif(residues: Tensor, real: Tensor, chain: Tensor) -> Tensor:
        """Places at which the motif begins, in every chain alone `[B]`."""
        known = residues.sum(-1) > 0.5
        tokens = torch.where(known, residues.argmax(-1), MASK)
        counts = []
        for row, there, own in zip(tokens.cpu(), real.cpu(), chain.cpu(), strict=True):
            pieces = [row[there & (own == one)] for one in own[there].unique()]
            hits = (overlapping.findall(letters(piece.numpy())) for piece in pieces)
            counts.append(float(sum(len(found) for found in hits)))
        return residues.new_tensor(counts)

    return motif


def _count(text: str) -> Term:
    wrong = sorted(set(text) - set(LETTERS))
    if wrong or not text:
        raise InputError(f"count({text}): give letters of amino acids, such as count(CM)")

    def count(residues: Tensor, real: Tensor, chain: Tensor) -> Tensor:
        """Number of residues with one of the letters `[B]`."""
        return _sum(residues, real, dict.fromkeys(text, 1.0))

    return _smooth(count)


def _close_to(name: str, term: Term) -> Callable[[str], Term]:
    """What makes of a number a term that is 0 where the other has that value, and below else."""

    def make(text: str) -> Term:
        goal = _number(name, text)
        return _smooth(lambda *shown: -(term(*shown) - goal).abs())

    return make


def _floor(text: str) -> Term:
    least = _number("entropy", text)
    return _smooth(lambda *shown: (entropy(*shown) - least).clamp_max(0.0))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= 1e4:
        raise InputError(f"{name}({text}): is not a number; write {name}(2.5)")
    return value


def _smooth(term: Term) -> Term:
    marked: Any = term
    marked.differentiable = True
    return marked


def _sum(residues: Tensor, real: Tensor, scale: dict[str, float]) -> Tensor:
    """Sum of a number for each kind of residue `[B]`."""
    numbers = residues.new_tensor([scale.get(letter, 0.0) for letter in LETTERS])
    return ((residues @ numbers) * real).sum(1)


def _shown(state: State, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Residues `[B, N, 20]`, the mask of real ones and the chain of each, `[B, N]`."""
    x = state[SEQUENCE]
    if x.is_floating_point():
        residues = x
    else:
        residues = torch.nn.functional.one_hot(x, MASK + 1)[..., :MASK].float()
    mask = batch.layouts[SEQUENCE].mask
    real = torch.ones(residues.shape[:2], dtype=torch.bool) if mask is None else mask
    chain = batch.cond.get("chain_index")
    chain = torch.zeros(residues.shape[:2], dtype=torch.int64) if chain is None else chain
    return residues, real.to(residues.device), chain.to(residues.device)


TERMS = RewardTerms(
    _shown,
    {"charge": _smooth(charge), "hydropathy": _smooth(hydropathy), "entropy": _smooth(entropy)},
    {
        "charge": _close_to("charge", charge),
        "hydropathy": _close_to("hydropathy", hydropathy),
        "entropy": _floor,
        "motif": _motif,
        "count": _count,
    },
)
"""What a wish may name: `charge`, `hydropathy` and `entropy`, these close to a value or above one
(`charge(-5)`, `hydropathy(-0.4)`, `entropy(2.6)`), `motif(PATTERN)` and `count(LETTERS)`."""
