r"""Local tensor block: equivariant messages between residues near in space or in sequence.

Residue i hears from its neighbours j through a depthwise tensor product of e3nn ("uvu",
:math:`l \le 1`), whose path weights come from the distance, the separation in sequence and the
two residues' scalars (Thomas et al. 2018, Tensor field networks; Batzner et al. 2022, NequIP):

.. math:: m_i = \tfrac{1}{\sqrt k} \sum_j W(d_{ij}, j - i, s_i, s_j) [h_j \otimes Y(\hat r_{ij})].

Polar vectors (``1o``) become a shift of the residue, pseudovectors (``1e``) a turn; both are
handed back in the residue's own frame, so that a network of frames stays SE(3)-equivariant.
Vectors start in the residues' frames, which exist in one handedness only: parity labels here
decide which products are formed, they do not make the block blind to mirror images.

e3nn and torch-geometric are used in this module and nowhere else. Positions are in nm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import e3nn
import torch
from e3nn import o3
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MessagePassing

from protein.structures.distances import distances

__all__ = ["LocalTensorBlock", "neighbour_graph"]

_DENSE_LIMIT = 2000  # residues per sample above which a k-d tree replaces all distances
_WINDOW = 2  # residues either way along the chain that are always neighbours
_RELATIVE = 32  # separations in sequence beyond this look alike
_BASIS, _REACH = 16, 2.0  # Gaussians of the distance and the last centre, nm
_SOFTENING = 0.01  # nm; keeps directions smooth where two residues coincide
_RADIAL = 32


@final
class LocalTensorBlock(nn.Module):
    """Messages over the nearest residues by tensor products; untrained, it changes nothing.

    Args:
        node: channels of the node representation.
        neighbours: neighbours each residue hears from.
        scalars: invariant channels inside.
        vectors: polar vector channels, and as many pseudovector channels.
        rounds: rounds of messages.
    """

    def __init__(
        self,
        node: int,
        neighbours: int = 20,
        scalars: int = 32,
        vectors: int = 8,
        rounds: int = 1,
    ) -> None:
        super().__init__()
        self.neighbours, self.scalars, self.vectors = neighbours, scalars, vectors
        self.norm = nn.LayerNorm(node)
        self.scalars_in = nn.Linear(node, scalars)
        self.vectors_in = nn.Linear(node, 2 * vectors * 3)
        with _eager_e3nn():
            self.rounds = nn.ModuleList(
                _Messages(node, scalars, vectors, neighbours) for _ in range(rounds)
            )
            hidden = _hidden_irreps(scalars, vectors)
            self.moves = o3.Linear(hidden, "1x1o+1x1e")
        # Invariants of the vectors as the residue sees them, beside the scalars.
        self.out = nn.Linear(scalars + 2 * vectors * 3, node)
        for parameter in (*self.moves.parameters(), *self.out.parameters()):
            nn.init.zeros_(parameter)
        _forget_tables(self)

    def forward(
        self,
        s: Tensor,
        rotations: Tensor,
        translations: Tensor,
        mask: Tensor,
        residue_index: Tensor | None = None,
        chain_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Updates of nodes and frames.

        Args:
            s: node representation `[B, N, node]`.
            rotations: frames `[B, N, 3, 3]`.
            translations: frame origins in nm `[B, N, 3]`.
            mask: real residues `[B, N]`, bool.
            residue_index: numbers along the chain `[B, N]`; the order of the rows by default.
            chain_index: chain of each residue `[B, N]`; one chain by default.

        Returns:
            Node update `[B, N, node]`, shift in nm `[B, N, 3]` and turn as a rotation vector
            `[B, N, 3]`, both in each residue's own frame; all zero for padded residues.
        """
        b, n, _ = s.shape
        dtype = self.scalars_in.weight.dtype
        # Directions and sums of vectors do not survive bfloat16.
        with torch.autocast(device_type=s.device.type, enabled=False):
            frames, origins = rotations.to(dtype), translations.to(dtype)
            if residue_index is None:
                residue_index = torch.arange(n, device=s.device).expand(b, n)
            if chain_index is None:
                chain_index = torch.zeros_like(residue_index)
            edges = neighbour_graph(origins, mask, residue_index, chain_index, self.neighbours)
            separation = _separation(edges, residue_index, chain_index)
            offset = _offsets(edges, origins)
            nodes = self.norm(s.to(dtype))
            hidden = self._start(nodes, frames)
            for messages in self.rounds:
                hidden = hidden + messages(hidden, nodes.flatten(0, 1), edges, offset, separation)
            update, shift, turn = self._finish(hidden.view(b, n, -1), frames)
            real = mask[..., None]
            return update.to(s.dtype) * real, shift * real, turn * real

    def _start(self, nodes: Tensor, frames: Tensor) -> Tensor:
        """Scalars, and vectors fixed in each residue's frame: `[B N, irreps]`."""
        local = self.vectors_in(nodes).unflatten(-1, (-1, 3))
        vectors = torch.matmul(local, frames.transpose(-1, -2)).flatten(2)
        return torch.cat([self.scalars_in(nodes), vectors], -1).flatten(0, 1)

    def _finish(self, hidden: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moves = torch.matmul(self.moves(hidden).unflatten(-1, (2, 3)), frames)
        scalars, vectors = hidden[..., : self.scalars], hidden[..., self.scalars :]
        seen = torch.matmul(vectors.unflatten(-1, (-1, 3)), frames).flatten(2)
        return self.out(torch.cat([scalars, seen], -1)), moves[..., 0, :], moves[..., 1, :]


@final
class _Messages(MessagePassing):
    """One round: tensor products with the direction, summed over neighbours, mixed and gated."""

    def __init__(self, node: int, scalars: int, vectors: int, neighbours: int) -> None:
        super().__init__(aggr="add")
        self.scalars, self.gates = scalars, 2 * vectors
        self.scale = 1.0 / math.sqrt(neighbours)
        hidden = _hidden_irreps(scalars, vectors)
        self.product = product = _depthwise_product(hidden)
        paths = product.weight_numel
        mixed = f"{scalars + 2 * vectors}x0e+{vectors}x1o+{vectors}x1e"
        self.mix = o3.Linear(self.product.irreps_out, mixed)
        self.radial = nn.Linear(_BASIS, _RADIAL)
        self.relative = nn.Embedding(2 * _RELATIVE + 2, _RADIAL)
        self.target = nn.Linear(node, _RADIAL, bias=False)
        self.source = nn.Linear(node, _RADIAL, bias=False)
        self.weights = nn.Linear(_RADIAL, paths)

    def forward(
        self, hidden: Tensor, nodes: Tensor, edges: Tensor, offset: Tensor, separation: Tensor
    ) -> Tensor:
        """New channels `[M, irreps]` of `hidden [M, irreps]`.

        Args:
            hidden: channels of the M residues of the batch.
            nodes: node representation `[M, node]`.
            edges: sources and targets `[2, E]`.
            offset: from target to source `[E, 3]`, nm.
            separation: embedded separation in sequence `[E]`, int64.
        """
        length = (offset.square().sum(-1, keepdim=True) + _SOFTENING**2).sqrt()
        sphere = o3.spherical_harmonics(
            "0e+1o", offset / length, normalize=False, normalization="component"
        )
        radial = self.radial(_gaussians(length)) + self.relative(separation)
        summed = self.propagate(
            edges,
            hidden=hidden,
            towards=self.target(nodes),
            away=self.source(nodes),
            radial=radial,
            sphere=sphere,
            size=(hidden.shape[0], hidden.shape[0]),
        )
        mixed = self.mix(summed * self.scale)
        scalars, gates, vectors = mixed.split([self.scalars, self.gates, 3 * self.gates], -1)
        gated = vectors.unflatten(-1, (-1, 3)) * torch.sigmoid(gates)[..., None]
        return torch.cat([functional.silu(scalars), gated.flatten(1)], -1)

    def message(  # noqa: D102 - torch-geometric's hook
        self, hidden_j: Tensor, towards_i: Tensor, away_j: Tensor, radial: Tensor, sphere: Tensor
    ) -> Tensor:
        weights = self.weights(functional.silu(radial + towards_i + away_j))
        return self.product(hidden_j, sphere, weights)


def neighbour_graph(
    positions: Tensor,
    mask: Tensor,
    residue_index: Tensor,
    chain_index: Tensor,
    neighbours: int,
    dense_limit: int = _DENSE_LIMIT,
) -> Tensor:
    """The nearest residues of every residue; those next to it in its chain come first.

    Args:
        positions: CA positions `[B, N, 3]`, nm.
        mask: real residues `[B, N]`, bool.
        residue_index: numbers along the chain `[B, N]`.
        chain_index: chain of each residue `[B, N]`.
        neighbours: neighbours of a residue, or all others where there are fewer.
        dense_limit: samples longer than this use a k-d tree instead of all distances.

    Returns:
        Sources and targets `[2, E]`, int64, rows of the batch laid end to end `[B N]`.
    """
    positions = positions.detach()
    if positions.shape[1] <= dense_limit:
        return _dense_graph(positions, mask, residue_index, chain_index, neighbours)
    n = positions.shape[1]
    found = []
    for i in range(positions.shape[0]):
        rows = mask[i].nonzero()[:, 0]
        pairs = _tree_graph(
            positions[i, rows], residue_index[i, rows], chain_index[i, rows], neighbours
        )
        found.append(rows[pairs] + i * n)
    return torch.cat(found, dim=1)


def _dense_graph(
    positions: Tensor, mask: Tensor, index: Tensor, chain: Tensor, neighbours: int
) -> Tensor:
    b, n, _ = positions.shape
    apart = distances(positions, positions)
    beside = (index[:, :, None] - index[:, None]).abs() <= _WINDOW
    apart = torch.where(beside & (chain[:, :, None] == chain[:, None]), -1.0, apart)
    hidden = ~(mask[:, :, None] & mask[:, None])
    hidden = hidden | torch.eye(n, dtype=torch.bool, device=mask.device)
    apart = apart.masked_fill(hidden, torch.inf)
    nearest, source = apart.topk(min(neighbours, n), dim=-1, largest=False)
    first = torch.arange(b, device=mask.device)[:, None, None] * n
    target = torch.arange(n, device=mask.device)[:, None].expand_as(source)
    return torch.stack([source + first, target + first])[:, nearest < torch.inf]


def _tree_graph(positions: Tensor, index: Tensor, chain: Tensor, neighbours: int) -> Tensor:
    """The same graph of one sample without padding, in memory that grows with N: `[2, E]`."""
    import numpy as np
    from scipy.spatial import KDTree

    points = positions.cpu().double().numpy()
    n, k = len(points), min(neighbours, len(points) - 1)
    if k < 1:
        return torch.zeros(2, 0, dtype=torch.int64, device=positions.device)
    tree: Any = KDTree(points)
    apart, source = tree.query(points, k=k + 1)
    numbers, chains = index.cpu().numpy(), chain.cpu().numpy()
    order = np.lexsort((numbers, chains))
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    steps = np.array([i for i in range(-_WINDOW, _WINDOW + 1) if i != 0])
    around = place[:, None] + steps
    beside = order[around.clip(0, n - 1)]
    linked = (around >= 0) & (around < n) & (chains[beside] == chains[:, None])
    linked &= np.abs(numbers[beside] - numbers[:, None]) <= _WINDOW
    # A neighbour in space that is also one in sequence is kept once, as the latter.
    twice = ((source[:, :, None] == beside[:, None]) & linked[:, None]).any(-1)
    apart[twice | (source == np.arange(n)[:, None])] = np.inf
    keys = np.concatenate([np.where(linked, -1.0, np.inf), apart], axis=1)
    sources = np.concatenate([beside, source], axis=1)
    chosen = np.argsort(keys, axis=1, kind="stable")[:, :k]
    keep = np.isfinite(np.take_along_axis(keys, chosen, 1))
    targets = np.broadcast_to(np.arange(n)[:, None], chosen.shape)
    pairs = np.stack([np.take_along_axis(sources, chosen, 1)[keep], targets[keep]])
    return torch.from_numpy(pairs).to(positions.device)


def _offsets(edges: Tensor, positions: Tensor) -> Tensor:
    flat = positions.flatten(0, 1)
    return flat[edges[0]] - flat[edges[1]]


def _separation(edges: Tensor, index: Tensor, chain: Tensor) -> Tensor:
    """Row of the embedding of j - i, one of its own for pairs of different chains: `[E]`."""
    number, owner = index.flatten(), chain.flatten()
    apart = (number[edges[0]] - number[edges[1]]).clamp(-_RELATIVE, _RELATIVE) + _RELATIVE
    return torch.where(owner[edges[0]] == owner[edges[1]], apart, 2 * _RELATIVE + 1)


def _gaussians(distance: Tensor) -> Tensor:
    """Gaussians of `distance [E, 1]` (nm) on an even grid up to `_REACH`: `[E, _BASIS]`."""
    centres = torch.linspace(0.0, _REACH, _BASIS, dtype=distance.dtype, device=distance.device)
    return torch.exp(-0.5 * ((distance - centres) * (_BASIS - 1) / _REACH).square())


def _hidden_irreps(scalars: int, vectors: int) -> Any:  # e3nn's metaclass hides its types
    return o3.Irreps(f"{scalars}x0e+{vectors}x1o+{vectors}x1e")


def _depthwise_product(hidden: Any) -> Any:
    """Every channel times `0e + 1o`, one weight per channel and path, kept to `0e, 1o, 1e`."""
    sphere: Any = o3.Irreps("1x0e+1x1o")
    wanted = {o3.Irrep("0e"), o3.Irrep("1o"), o3.Irrep("1e")}
    paths = [
        (i, j, out, channels)
        for i, (channels, left) in enumerate(hidden)
        for j, (_, right) in enumerate(sphere)
        for out in left * right
        if out in wanted
    ]
    # o3.Linear mixes best over outputs sorted by irrep.
    unsorted: Any = o3.Irreps([(channels, out) for *_, out, channels in paths])
    irreps, order, _ = unsorted.sort()
    instructions = [(i, j, order[row], "uvu", True) for row, (i, j, _, _) in enumerate(paths)]
    return o3.TensorProduct(
        hidden, sphere, irreps, instructions, shared_weights=False, internal_weights=False
    )


def _forget_tables(module: nn.Module) -> None:
    """Keep e3nn's tables out of checkpoints: names are private and change with its version."""
    module.register_state_dict_post_hook(_drop_tables)
    module.register_load_state_dict_pre_hook(_keep_tables)


def _drop_tables(module: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    for name, _ in module.named_buffers():
        state.pop(prefix + name, None)


def _keep_tables(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name, table in module.named_buffers():
        state[prefix + name] = table


@contextmanager
def _eager_e3nn() -> Iterator[None]:
    """Build e3nn modules as plain Python: TorchScript is deprecated and slow to compile."""
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        for name in ("jit_script_fx", "jit_mode"):
            if name in before:
                e3nn.set_optimization_defaults(**{name: before[name]})
