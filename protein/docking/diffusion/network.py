r"""The flow network of docking, which predicts the motion of a ligand in its pocket.

Atoms are nodes with channels ``0e, 1o, 1e, 0o`` (``tensor_product``). The pocket is encoded once,
independently of the ligand and the time, so that all poses of all steps share the result. Then
each layer sends messages from the nearest pocket atoms and between ligand atoms.

Heads read forces :math:`f_n` (``1o``), torques :math:`w_n` (``1e``) and pseudoscalars: translation
from pooled forces, rotation from pooled torques about the center and :math:`r_n \times f_n`, the
torsion of a bond from all of them projected on its axis. The turn of the whole ligand that the
torsions cause is subtracted from the rotation (``rigid_part``), so that the two commute to first
order, as with DiffDock's superposition (Corso et al. 2023, section 4.2).

Everything is equivariant under E(3), mirror images included: torsions change sign, rotations are
axial. Lengths inside are in Å, centred on the pocket.
"""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MessagePassing

from protein.docking.complexes.columns import Columns
from protein.docking.complexes.features import LIGAND_SIZES, PAIR_SIZES, POCKET_SIZES
from protein.docking.diffusion.heads import PoseHeads
from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION, padded_pose
from protein.docking.diffusion.systems import Systems
from protein.docking.diffusion.tensor_product import (
    Channels,
    Pack,
    Widths,
    depthwise_product,
    unpack,
)
from protein.docking.poses.pose import LigandBatch, coordinates
from sciddiff.nn import SpanEmbedding, TimeEmbedding, span_features
from sciddiff.state import Batch, State

_BASIS = 16
_SOFT = 0.05  # Å; keeps directions smooth where two atoms coincide


@final
class DockNetwork(nn.Module):
    """Flow of translation, rotation and torsions.

    Args:
        irreps: channels of an atom, with as many ``1e`` as ``1o``.
        layers: rounds of messages to ligand atoms.
        pocket_layers: rounds of messages among pocket atoms.
        cross: pocket atoms that send messages to a ligand atom.
        inside: ligand atoms that send messages to a ligand atom.
        around: pocket atoms that send messages to a pocket atom.
        reach: cut-off of cross messages, Å.
        hidden: width of the perceptrons that weight messages.
        flow_map: whether it predicts up to a later time (``sciddiff distill --shortcut``).
    """

    def __init__(
        self,
        irreps: str = "48x0e+16x1o+16x1e+8x0o",
        layers: int = 4,
        pocket_layers: int = 1,
        cross: int = 16,
        inside: int = 12,
        around: int = 10,
        reach: float = 10.0,
        hidden: int = 48,
        flow_map: bool = False,
    ) -> None:
        super().__init__()
        self.widths = widths = Widths.of(irreps)
        self.span = SpanEmbedding(widths.scalars) if flow_map else None
        self.cross, self.inside, self.around, self.reach = cross, inside, around, reach
        s = widths.scalars
        self.atom = Columns(LIGAND_SIZES, s)
        self.pocket_atom = Columns((*POCKET_SIZES, 2), s)
        self.pair = Columns(PAIR_SIZES, hidden)
        self.time = nn.Sequential(TimeEmbedding(32, 16.0), nn.Linear(32, s), nn.SiLU())
        self.time_out = nn.Linear(s, s)
        self.places = nn.Linear(2, widths.vectors, bias=False)
        self.pocket_rounds = nn.ModuleList(
            _Round(widths, hidden, {"around": (around, 6.0)}) for _ in range(pocket_layers)
        )
        reaches = {"cross": (cross, reach), "inside": (inside, 6.0)}
        self.rounds = nn.ModuleList(_Round(widths, hidden, reaches) for _ in range(layers))
        self.heads = PoseHeads(widths)

    def encode(self, systems: Systems) -> Channels:
        """Encode pockets as channels of all real pocket atoms, `[ΣM, ...]`.

        Args:
            systems: G complexes.
        """
        backbone = systems.backbone[:, None, None].expand(*systems.pocket_mask.shape, 1).long()
        columns = torch.cat([systems.pocket_features, backbone], dim=-1)[systems.pocket_mask]
        nodes = _start(self.pocket_atom(columns), self.widths)
        if not self.pocket_rounds:
            return nodes
        place, source, target = systems.pocket_graph(self.around)
        edges = {"around": _Edges(source, target, place[source] - place[target], None)}
        for layer in self.pocket_rounds:
            nodes = layer(nodes, {"around": nodes}, edges)
        return nodes

    def forward(
        self, x_t: State, t: Tensor, batch: Batch, until: Tensor | None = None
    ) -> State:
        """Predict the motion.

        Args:
            x_t: ``translation [B, 3]`` (Å from the pocket's center), ``rotation [B, 3, 3]``,
                ``torsions [ΣT]``.
            t: `[B]`.
            batch: conditions ``systems``, ``complex [B]``, ``reference [B, N, 3]``, and
                optionally ``encoded``, what ``encode`` returned for these systems.
            until: times `[B]` up to which it predicts, for flow maps.

        Returns:
            The predicted ``translation [B, 3]`` at t = 1, and velocities ``rotation [B, 3]`` (body
            frame) and ``torsions [ΣT]``.
        """
        systems: Systems = batch.cond["systems"]
        systems = systems.to(t.device)
        which: Tensor = batch.cond["complex"]
        ligands = systems.posed(which, batch.cond["reference"])
        pose = padded_pose(x_t, ligands)
        coords = coordinates(ligands, pose).squeeze(1)
        pocket = batch.cond.get("encoded")
        pocket = self.encode(systems) if pocket is None else pocket
        nodes = self._ligand_nodes(systems, which, ligands, coords, t, until)
        edges = self._edges(systems, which, ligands, coords)
        for layer in self.rounds:
            nodes = layer(nodes, {"cross": pocket, "inside": nodes}, edges)
        shift, turn, twist = self.heads(nodes, ligands, coords, t)
        body = (turn.unsqueeze(-2) @ pose.rotation.squeeze(1)).squeeze(-2)
        left = (1.0 - t).unsqueeze(-1)
        return {
            TRANSLATION: x_t[TRANSLATION] + left * shift,
            ROTATION: body,
            TORSIONS: twist[ligands.torsion_mask],
        }

    def _ligand_nodes(
        self,
        systems: Systems,
        which: Tensor,
        ligands: LigandBatch,
        coords: Tensor,
        t: Tensor,
        until: Tensor | None,
    ) -> Channels:
        """First channels of the real ligand atoms `[A, ...]`."""
        mask = ligands.atom_mask
        scalars = self.atom(systems.ligand_features[which][mask])
        owner = torch.arange(len(t), device=t.device)[:, None].expand_as(mask)[mask]
        times = self.time_out(self.time(t)) + span_features(self.span, t, until)
        scalars = scalars + times[owner]
        center = _mean(coords, mask)
        # From the pocket's center, and from the ligand's: in units of about one.
        places = torch.stack([coords[mask] / 8.0, (coords - center[:, None])[mask] / 4.0], dim=-1)
        nodes = _start(scalars, self.widths)
        polar = self.places(places)
        return nodes._replace(vectors=torch.cat([polar, torch.zeros_like(polar)], dim=-1))

    def _edges(
        self, systems: Systems, which: Tensor, ligands: LigandBatch, coords: Tensor
    ) -> dict[str, "_Edges"]:
        source, target, offset = systems.cross_graph(
            which, ligands.atom_mask, coords, self.cross, self.reach
        )
        found = {"cross": _Edges(source, target, offset, None)}
        source, target, offset, columns = systems.inside_graph(
            which, ligands.atom_mask, coords, self.inside
        )
        found["inside"] = _Edges(source, target, offset, self.pair(columns))
        return found


@final
class _Edges:
    """Directed edges: from, to, the way from target to source in Å, and an embedding."""

    def __init__(
        self, source: Tensor, target: Tensor, offset: Tensor, embedding: Tensor | None
    ) -> None:
        self.index = torch.stack([source, target])
        self.length = (offset.square().sum(-1, keepdim=True) + _SOFT**2).sqrt()
        self.direction = offset / self.length
        self.embedding = embedding


@final
class _Round(nn.Module):
    """Messages of some kinds to the same nodes, then an update of each node."""

    def __init__(
        self, widths: Widths, hidden: int, kinds: dict[str, tuple[int, float]]
    ) -> None:
        super().__init__()
        self.messages = nn.ModuleDict(
            {kind: _Messages(widths, hidden, *sizes) for kind, sizes in kinds.items()}
        )
        self.norm = _Norm(widths)
        self.update = _Update(widths)

    def forward(
        self, nodes: Channels, senders: dict[str, Channels], edges: dict[str, _Edges]
    ) -> Channels:
        own = self.norm(nodes)
        total: Tensor | None = None
        for kind, messages in self.messages.items():
            sender = own if senders[kind] is nodes else senders[kind]
            found = messages(own, sender, edges[kind])
            total = found if total is None else total + found
        assert total is not None  # noqa: S101 - there is at least one kind
        return self.update(nodes, own, total)


@final
class _Messages(MessagePassing):
    """Depthwise products, weighted by distance, kind of pair and the scalars at both ends."""

    def __init__(self, widths: Widths, hidden: int, neighbours: int, reach: float) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.widths, self.reach = widths, reach
        self.scale = 1.0 / math.sqrt(neighbours)
        self.pack = Pack(widths)
        self.radial = nn.Linear(_BASIS, hidden)
        self.target = nn.Linear(widths.scalars, hidden, bias=False)
        self.source = nn.Linear(widths.scalars, hidden, bias=False)
        self.weights = nn.Linear(hidden, widths.paths)

    def forward(self, nodes: Channels, sender: Channels, edges: _Edges) -> Tensor:
        """Summed messages `[A, message]`."""
        packed = self.pack(sender)
        radial = self.radial(_gaussians(edges.length, self.reach))
        if edges.embedding is not None:
            radial = radial + edges.embedding
        away, towards = self.source(sender.scalars), self.target(nodes.scalars)
        summed = self.propagate(
            edges.index,
            packed=(packed, None),
            away=(away, None),
            towards=(None, towards),
            radial=radial,
            direction=edges.direction,
            fade=_fade(edges.length, self.reach),
            size=(len(packed), len(towards)),
        )
        return summed * self.scale

    def message(  # noqa: D102 - torch-geometric's hook
        self,
        packed_j: Tensor,
        away_j: Tensor,
        towards_i: Tensor,
        radial: Tensor,
        direction: Tensor,
        fade: Tensor,
    ) -> Tensor:
        weights = self.weights(functional.silu(radial + away_j + towards_i)) * fade
        return depthwise_product(packed_j, direction, weights, self.widths)


@final
class _Update(nn.Module):
    """New channels from old ones and messages: products within a node, mixes, gates."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        s, v, q = widths.scalars, widths.vectors, widths.pseudo
        self.widths = widths
        self.polar = nn.Linear(2 * v, 3 * v, bias=False)
        self.axial = nn.Linear(2 * v, 2 * v, bias=False)
        self.scalars = nn.Sequential(
            nn.Linear(2 * s + 3 * v, 2 * s), nn.SiLU(), nn.Linear(2 * s, s + 2 * v + q)
        )
        self.polar_out = nn.Linear(v, v, bias=False)
        self.axial_out = nn.Linear(2 * v, v, bias=False)
        self.pseudo_out = nn.Linear(2 * q + 2 * v, q, bias=False)

    def forward(self, nodes: Channels, own: Channels, messages: Tensor) -> Channels:
        s, v, q = self.widths.scalars, self.widths.vectors, self.widths.pseudo
        even, vectors, odd = unpack(messages, self.widths)
        p_old, a_old = own.vectors.split(v, dim=-1)
        p_new, a_new = vectors.split(v, dim=-1)
        first, second, third = self.polar(torch.cat([p_old, p_new], dim=-1)).split(v, dim=-1)
        turn, axial = self.axial(torch.cat([a_old, a_new], dim=-1)).split(v, dim=-1)
        lengths = (first * second).sum(1), (turn * axial).sum(1)
        mixed = self.scalars(torch.cat([own.scalars, even, *lengths], dim=-1))
        scalars, gates, odd_gates = mixed.split([s, 2 * v, q], dim=-1)
        crossed = torch.linalg.cross(first, third, dim=1)
        grown = torch.cat(
            [self.polar_out(second), self.axial_out(torch.cat([axial, crossed], dim=-1))], dim=-1
        )
        handed = (first * turn).sum(1)
        pseudo = self.pseudo_out(torch.cat([own.pseudo, odd, handed], dim=-1))
        return Channels(
            nodes.scalars + scalars,
            nodes.vectors + grown * torch.sigmoid(gates).unsqueeze(1),
            nodes.pseudo + pseudo * torch.sigmoid(odd_gates),
        )


@final
class _Norm(nn.Module):
    """Channels of unit size: layer norm of scalars, root mean square of each other kind."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.vectors = widths.vectors
        self.scalars = nn.LayerNorm(widths.scalars)

    def forward(self, nodes: Channels) -> Channels:
        kinds = nodes.vectors.unflatten(-1, (2, self.vectors))
        size = (kinds.square().sum(1, keepdim=True).mean(-1, keepdim=True) + 0.01).sqrt()
        pseudo = nodes.pseudo
        pseudo = pseudo / (pseudo.square().mean(-1, keepdim=True) + 0.01).sqrt()
        return Channels(self.scalars(nodes.scalars), (kinds / size).flatten(-2), pseudo)


def _start(scalars: Tensor, widths: Widths) -> Channels:
    return Channels(
        scalars,
        scalars.new_zeros(len(scalars), 3, 2 * widths.vectors),
        scalars.new_zeros(len(scalars), widths.pseudo),
    )


def _gaussians(distance: Tensor, reach: float) -> Tensor:
    """Gaussians of `distance [E, 1]` on an even grid up to ``reach``: `[E, 16]`."""
    centres = torch.linspace(0.0, reach, _BASIS, dtype=distance.dtype, device=distance.device)
    return torch.exp(-0.5 * ((distance - centres) * (_BASIS - 1) / reach).square())


def _fade(distance: Tensor, reach: float) -> Tensor:
    """1 inside, falling to 0 over the last fifth before ``reach``."""
    inside = ((reach - distance) / (0.2 * reach)).clamp(0.0, 1.0)
    return inside * inside * (3.0 - 2.0 * inside)


def _mean(coords: Tensor, mask: Tensor) -> Tensor:
    weight = mask.to(coords.dtype).unsqueeze(-1)
    return (coords * weight).sum(1) / weight.sum(1)
