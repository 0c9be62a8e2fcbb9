"""The arms of `benchmarks/data_poor.py`: ways to learn tokens, and their held-out figures.

Every arm has the same network with the same parameters. Autoregressive arms are measured by their
exact likelihood (in random order: that of one random order a sample), blocks by the exact
likelihood of a random order within each block, masked and uniform arms by the bound of
`sciddiff.elbo`. A bound is at best equal to the likelihood; `log_mean_exp` tells how much tighter
the mean probability over several orders is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from protein.sequence.alphabet import LETTERS, MASK
from protein.sequence.features import flat
from protein.sequence.network import ENCODED, GraphNetwork
from sciddiff import (
    Batch,
    Denoiser,
    Denoising,
    MaskPath,
    UniformDiscretePath,
    elbo,
    order_log_prob,
)
from sciddiff.leaf_times import Time
from sciddiff.objectives import Autoregressive, BlockMasked, Objective, RankedNet
from sciddiff.paths import TokenPath
from sciddiff.times import Uniform

BLOCK, DRAWS, ORDERS, ORDERED = 8, 32, 8, 16
"""Rows of a block; draws of a bound; orders of `log_mean_exp`, and samples it is taken of."""


@dataclass(frozen=True)
class Arm:
    """A way to learn and to be measured.

    Attributes:
        objective: How it learns.
        path: The path of its tokens.
        attention: Which rows see each other.
        block: Rows of a block.
        dropout: Of the network.
    """

    objective: Objective
    path: TokenPath = MaskPath(len(LETTERS))
    attention: Literal["full", "block", "causal"] = "full"
    block: int = BLOCK
    dropout: float = 0.0


_MASK_TIMES = Uniform(0.0, 0.98)
ARMS = {
    "ar": Arm(Autoregressive(), attention="causal"),
    "ar_dropout": Arm(Autoregressive(), attention="causal", dropout=0.2),
    "ar_input_masking": Arm(Autoregressive(input_masking=0.15), attention="causal"),
    "ar_random_order": Arm(Autoregressive("random"), attention="causal"),
    "masked": Arm(Denoising(times=_MASK_TIMES)),
    "masked_elbo": Arm(Denoising(times=_MASK_TIMES, weighting="elbo")),
    "uniform": Arm(
        Denoising(times=_MASK_TIMES),
        path=UniformDiscretePath(len(LETTERS), parametrization="cavity"),
    ),
    "block8": Arm(BlockMasked(BLOCK, (0.3, 0.8)), attention="block"),
}


@dataclass(frozen=True)
class Measured:
    """A mean over held-out samples, and its standard error over them."""

    value: float
    error: float


class OrderedGraph(GraphNetwork):
    """The graph network of inverse folding with ranks, as `sciddiff.nn.TokenTransformer` has them.

    Each residue is there three times: as it is seen while its block is drawn, as it is, and blank.
    A neighbour of lower rank is read as it is, one of the same rank as it is seen now, and one of
    higher rank blank, so that nothing flows back. Residues of the same rank alone give what
    `forward` gives.
    """

    def ranked(self, noisy: Tensor, clean: Tensor, ranks: Tensor, t: Time, batch: Batch) -> Tensor:
        """Logits of the noisy rows given the clean ones of lower ranks, ``[B, N, V]``."""
        found = batch.cond.get(ENCODED)
        encoded = self.encode(batch) if found is None else found
        b, n, k = encoded.neighbours.shape
        size, near = b * n, flat(encoded.neighbours).view(-1, k)
        unknown = batch.cond["unknown"]
        blank = torch.full_like(clean, MASK)
        seen = [torch.where(unknown, blank, one) for one in (noisy, clean)]
        nodes = torch.cat([encoded.nodes.flatten(0, 1) + self.token(one.flatten())
                           for one in (*seen, blank)])  # fmt: skip
        own, theirs = ranks.flatten()[:, None], ranks.flatten()[near]
        lower, upper = near + size, near + 2 * size
        past = torch.where(theirs < own, lower, upper)
        rows = torch.cat([
            torch.where(theirs == own, near, past),
            torch.where(theirs == own, lower, past),
            upper,
        ]).flatten()  # fmt: skip
        linked = encoded.linked.flatten(0, 1).float().repeat(3, 1)
        for (message, transition), edges in zip(self.decoder, encoded.edges, strict=True):
            nodes = transition(message(nodes, edges.flatten(0, 1).repeat(3, 1, 1), rows, linked))
        return self.out(nodes[:size]).unflatten(0, (b, n))


def nats_of(arm: str, denoiser: Denoiser, held_out: Batch) -> Measured:
    """Nats a token of held-out samples, and their standard error over the samples.

    Args:
        arm: Name of the way it learned.
        denoiser: What has learned, in evaluation mode.
        held_out: The samples.
    """
    leaf, held_out = next(iter(denoiser.path.paths)), _encoded(denoiser, held_out)
    x, free = held_out.x[leaf], _free(held_out, leaf)
    g = torch.Generator().manual_seed(0)
    place = torch.arange(x.shape[1]).expand_as(x)
    if arm == "uniform":
        nats = -elbo(denoiser, held_out, draws=DRAWS, chunk=4)[0]
    elif arm.startswith("masked"):
        nats = -elbo(denoiser, held_out, draws=DRAWS, estimator="rotated", chunk=4)[0]
    elif arm == "ar_random_order":
        nats = _ranked_nats(denoiser, held_out, leaf, _order(free, g))
    elif arm == "block8":
        within = torch.rand(x.shape, generator=g)
        nats = _block_nats(denoiser, held_out, leaf, within)
    else:
        nats = _ranked_nats(denoiser, held_out, leaf, place)
    rows = free.sum(1).double()
    mean = float(nats.sum() / rows.sum())
    spread = (nats - mean * rows) / rows.mean()
    return Measured(mean, float(spread.std()) / len(x) ** 0.5)


def log_mean_exp(arm: str, denoiser: Denoiser, held_out: Batch) -> dict[str, float]:
    """The bound by the mean log-probability over random orders, and by the mean probability.

    Nats a token of the first samples; empty for arms with one order or none.
    """
    leaf = next(iter(denoiser.path.paths))
    some = held_out.select(torch.arange(min(ORDERED, held_out.size)))
    some = _encoded(denoiser, some)
    if arm.startswith("masked"):
        log_probs = order_log_prob(denoiser, some, orders=ORDERS, chunk=4).log_probs
    elif arm == "ar_random_order":
        g, free = torch.Generator().manual_seed(1), _free(some, leaf)
        log_probs = -torch.stack(
            [_ranked_nats(denoiser, some, leaf, _order(free, g)) for _ in range(ORDERS)]
        )
    else:
        return {}
    tight = log_probs.logsumexp(0) - torch.tensor(float(ORDERS)).log()
    rows = _free(some, leaf).sum()
    return {
        "orders_mean": float(-log_probs.mean(0).sum() / rows),
        "orders_log_mean_exp": float(-tight.sum() / rows),
    }


def _encoded(denoiser: Denoiser, batch: Batch) -> Batch:
    """The batch with its structures encoded, where the network has an encoder for them."""
    if not isinstance(denoiser.net, GraphNetwork):
        return batch
    with torch.no_grad():
        return batch.with_cond(**{ENCODED: denoiser.net.encode(batch)})


def _free(batch: Batch, leaf: str) -> Tensor:
    found = batch.layouts[leaf].free(batch.x[leaf])
    return torch.ones_like(batch.x[leaf], dtype=torch.bool) if found is None else found


def _order(free: Tensor, g: torch.Generator) -> Tensor:
    """A random order of the free rows, after the known ones."""
    score = torch.where(free, torch.rand(free.shape, generator=g) + 1.0, 0.0)
    return score.argsort(dim=1, stable=True).argsort(dim=1, stable=True)


def _log_probs(
    denoiser: Denoiser, batch: Batch, leaf: str, ranks: Tensor, hidden: Tensor
) -> Tensor:
    """Log-probabilities of the data at every row, float64 ``[B, N]``, by one pass."""
    net, x = denoiser.net, batch.x[leaf]
    assert isinstance(net, RankedNet)
    noisy = denoiser.path[leaf].hide(x, hidden)
    with torch.no_grad():
        raw = net.ranked(noisy, x, ranks, torch.zeros(len(x)), batch)
    return raw.double().log_softmax(-1).gather(-1, x[..., None])[..., 0]


def _ranked_nats(denoiser: Denoiser, batch: Batch, leaf: str, ranks: Tensor) -> Tensor:
    """-log p of each sample, one row at a time by rank; nats ``[B]``."""
    free = _free(batch, leaf)
    return -(_log_probs(denoiser, batch, leaf, ranks, free) * free).sum(1)


def _block_nats(denoiser: Denoiser, batch: Batch, leaf: str, within: Tensor) -> Tensor:
    """-log p of each sample, blocks in sequence and their rows in the order of `within`."""
    free = _free(batch, leaf)
    b, n = free.shape
    ranks = (torch.arange(n) // BLOCK).expand(b, n)
    # The known rows of a block come first.
    score = torch.where(free, within, -1.0) + 2.0 * ranks
    step = score.argsort(1).argsort(1) - ranks * BLOCK
    total = torch.zeros(b, dtype=torch.float64)
    for k in range(BLOCK):
        log_probs = _log_probs(denoiser, batch, leaf, ranks, (step >= k) & free)
        total -= (log_probs * ((step == k) & free)).sum(1)
    return total
