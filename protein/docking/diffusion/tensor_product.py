r"""Messages between atoms by the depthwise tensor product of degree one, parities kept apart.

A node has scalars ``0e [S]``, polar vectors ``1o`` and axial vectors ``1e`` (V each, stored side
by side, `[3, 2V]`, so that the innermost loop runs over channels) and pseudoscalars ``0o [Q]``.
A message is every allowed product of the sender's channels with the harmonics 1 and
:math:`u = \hat r_{ij}` of the edge, one weight per channel and path ("uvu"):

.. math::
    0e: \; w s,\; w (p \cdot u) \qquad 1o: \; w p,\; w (a \times u),\; w s' u \qquad
    1e: \; w a,\; w (p \times u),\; w q' u \qquad 0o: \; w q,\; w (a \cdot u)

with :math:`s', q'` linear mixes of the scalars to V channels. Without the odd channels a network
could not tell a torsion from its mirror image, nor say which way to turn a ligand. The product is
e3nn's ``TensorProduct`` with ``uvu`` instructions (``e3nn_product``) to rounding, written out
because that is two to three times as fast on a processor.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor, nn

from sciddiff.errors import InputError


class Channels(NamedTuple):
    """Channels of A nodes.

    Attributes:
        scalars: ``0e`` `[A, S]`.
        vectors: ``1o`` then ``1e`` `[A, 3, 2V]`.
        pseudo: ``0o`` `[A, Q]`.
    """

    scalars: Tensor
    vectors: Tensor
    pseudo: Tensor


@dataclass(frozen=True)
class Widths:
    """Numbers of channels.

    Attributes:
        scalars: S.
        vectors: V, of either parity.
        pseudo: Q.
    """

    scalars: int
    vectors: int
    pseudo: int

    @classmethod
    def of(cls, irreps: str) -> "Widths":
        """Read irreps such as ``48x0e+16x1o+16x1e+8x0o``.

        Raises:
            InputError: there are irreps other than these four, or unequal numbers of vectors.
        """
        try:
            counts = {str(irrep): int(mul) for mul, irrep in o3.Irreps(irreps)}
        except (ValueError, AssertionError) as error:
            raise InputError(f"net.irreps: {irreps!r} is not understood ({error})") from error
        if set(counts) != {"0e", "1o", "1e", "0o"} or counts["1o"] != counts["1e"]:
            raise InputError(
                f"net.irreps: {irreps!r}; give 0e, 1o, 1e and 0o, with as many 1e as 1o, such as "
                "48x0e+16x1o+16x1e+8x0o"
            )
        return cls(counts["0e"], counts["1o"], counts["0o"])

    @property
    def paths(self) -> int:
        """Weights of one message."""
        return self.scalars + self.pseudo + 8 * self.vectors

    @property
    def message(self) -> int:
        """Numbers in one message."""
        return self.scalars + self.pseudo + 8 * self.vectors


def depthwise_product(
    sender: Tensor, directions: Tensor, weights: Tensor, widths: Widths
) -> Tensor:
    """Products of the senders' channels with edge directions.

    Args:
        sender: rows of ``Packed`` nodes `[E, S + Q + 2V + 6V]`: scalars, pseudoscalars, mixes to
            the vectors (s' then q'), vectors.
        directions: unit vectors `[E, 3]`.
        weights: `[E, widths.paths]`: scalars, pseudoscalars, dot, keep, cross, direction.
        widths: channels.

    Returns:
        `[E, widths.message]`: scalars, pseudoscalars, dots (``0e``, ``0o``), vectors `[3, 2V]`.
    """
    s, q, v = widths.scalars, widths.pseudo, 2 * widths.vectors
    own, mixed, vectors = sender.split([s + q, v, 3 * v], dim=-1)
    w_own, w_dot, w_keep, w_cross, w_along = weights.split([s + q, v, v, v, v], dim=-1)
    x, y, z = vectors.split(v, dim=-1)
    ux, uy, uz = directions.unsqueeze(-1).unbind(1)
    dot = (x * ux + y * uy + z * uz) * w_dot
    along = mixed * w_along
    # a x u is polar and p x u axial: the halves change places.
    half = widths.vectors
    crossed = torch.cat([w_cross[:, half:], w_cross[:, :half]], dim=-1)
    turns = ((y * uz - z * uy) * crossed, (z * ux - x * uz) * crossed, (x * uy - y * ux) * crossed)
    swapped = [torch.cat([turn[:, half:], turn[:, :half]], dim=-1) for turn in turns]
    moved = [
        part * w_keep + turn + along * u
        for part, turn, u in zip((x, y, z), swapped, (ux, uy, uz), strict=True)
    ]
    return torch.cat([own * w_own, dot, *moved], dim=-1)


class Pack(nn.Module):
    """Lay the channels of nodes side by side for ``depthwise_product``, mixes included.

    Args:
        widths: channels.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.scalars = nn.Linear(widths.scalars, widths.vectors, bias=False)
        self.pseudo = nn.Linear(widths.pseudo, widths.vectors, bias=False)

    def forward(self, nodes: Channels) -> Tensor:
        """Rows `[A, S + Q + 8V]` of A nodes."""
        mixes = (self.scalars(nodes.scalars), self.pseudo(nodes.pseudo))
        return torch.cat(
            [nodes.scalars, nodes.pseudo, *mixes, nodes.vectors.flatten(1)], dim=-1
        )


def unpack(messages: Tensor, widths: Widths) -> tuple[Tensor, Tensor, Tensor]:
    """Split summed messages `[A, message]`.

    Returns:
        Scalars `[A, S + V]`, vectors `[A, 3, 2V]`, pseudoscalars `[A, Q + V]`.
    """
    s, q, v = widths.scalars, widths.pseudo, widths.vectors
    own, odd, even_dot, odd_dot, vectors = messages.split([s, q, v, v, 6 * v], dim=-1)
    return (
        torch.cat([own, even_dot], dim=-1),
        vectors.unflatten(-1, (3, 2 * v)),
        torch.cat([odd, odd_dot], dim=-1),
    )


def e3nn_product(widths: Widths) -> Any:
    """The same product by e3nn, the reference of ``depthwise_product``.

    Its input is ``S 0e + V 0e + V 1o + V 1e + Q 0o + V 0o`` times ``0e + 1o``.
    """
    s, v, q = widths.scalars, widths.vectors, widths.pseudo
    left: Any = o3.Irreps(f"{s}x0e+{v}x0e+{v}x1o+{v}x1e+{q}x0o+{v}x0o")
    right: Any = o3.Irreps("0e+1o")
    out: Any = o3.Irreps(f"{s}x0e+{v}x0e+{v}x1o+{v}x1e+{q}x0o+{v}x0o")
    # sender, harmonic, slot of the result; in the order of the weights.
    paths = [(0, 0, 0), (4, 0, 4), (2, 1, 1), (3, 1, 5), (2, 0, 2), (3, 0, 3),
             (3, 1, 2), (2, 1, 3), (1, 1, 2), (5, 1, 3)]  # fmt: skip
    instructions = [(i, j, k, "uvu", True) for i, j, k in paths]
    return o3.TensorProduct(
        left, right, out, instructions, irrep_normalization="none", path_normalization="none",
        shared_weights=False, internal_weights=False,
    )  # fmt: skip
