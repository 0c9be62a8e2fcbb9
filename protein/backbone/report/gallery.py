"""Pictures of designs: ribbons side by side, coloured by secondary structure."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.backbone.report.cartoon import Faces, cartoon_faces
from protein.backbone.report.style import STATE_COLOURS, new_figure
from sciddiff.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12
_PAPER = np.array([1.0, 1.0, 1.0])
_TILE = 2.3
_WORDS = "#1f2933"


def gallery_png(
    designs: Sequence[tuple[str, NDArray[np.floating], NDArray[np.integer]]],
    columns: int | None = None,
    dpi: int = 130,
    chain_lengths: Sequence[Sequence[int]] | None = None,
) -> bytes:
    """A picture of up to twelve designs on white, as PNG.

    Args:
        designs: caption, coordinates `[L, 4, 3]` (Å) and secondary structure `[L]` of each.
        columns: designs a row; by default four, fewer for few.
        dpi: dots per inch of a tile 2.3 inches wide.
        chain_lengths: residues of each chain of every design; one chain each by default.
    """
    shown = list(designs[:MOST])
    across = columns or min(len(shown), 4 if len(shown) != 3 else 3)
    down = math.ceil(len(shown) / across)
    ends = chain_lengths or [[len(states)] for _, _, states in shown]
    faces = [
        cartoon_faces(coords, states, parts)
        for (_, coords, states), parts in zip(shown, ends, strict=False)
    ]
    # All designs on one pair of axes, at one scale, each in the middle of its tile.
    extents = [np.abs(one.corners).reshape(-1, 2).max(axis=0) for one in faces]
    tile = 2 * np.max(np.array([*extents, (8.0, 8.0)]), axis=0) + (3.0, 8.0)
    size = np.array([across * tile[0], down * tile[1]])
    with new_figure(across * _TILE, across * _TILE * size[1] / size[0]) as figure:
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.axis("off")
        axis.set(xlim=(0, size[0]), ylim=(-size[1], 0))
        for number, (one, (caption, _, _)) in enumerate(zip(faces, shown, strict=False)):
            row, column = divmod(number, across)
            corner = np.array([column * tile[0], -row * tile[1]])
            middle = corner + (tile[0] / 2, -tile[1] / 2 - 1.5)
            _draw(axis, one, middle)
            x, y = corner + (tile[0] / 2, -1.5)
            axis.text(
                x, y, caption, ha="center", va="top", fontsize=8, color=_WORDS, parse_math=False
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def save_gallery(
    path: Path,
    designs: Sequence[tuple[str, NDArray[np.floating], NDArray[np.integer]]],
    columns: int | None = None,
) -> Path:
    """Write `gallery_png` to a file; it appears whole or not at all.

    Args:
        path: file to write.
        designs: caption, coordinates and secondary structure of each.
        columns: designs a row.
    """
    with replacing(path) as stream:
        stream.write(gallery_png(designs, columns))
    return path


def face_colours(faces: Faces) -> NDArray[np.float64]:
    """Red, green and blue of every face `[m, 3]`: shaded, and paler toward the back."""
    from matplotlib.colors import to_rgb

    base = np.array([to_rgb(colour) for colour in STATE_COLOURS])[faces.state]
    lit = np.clip(base * np.minimum(faces.shade, 1.0)[:, None], 0, 1)
    lit += np.clip(faces.shade - 1.0, 0, None)[:, None] * 1.2
    fog = 0.42 * (1 - faces.depth[:, None])
    return np.clip(lit * (1 - fog) + _PAPER * fog, 0, 1)


def _draw(axis: Axes, faces: Faces, middle: NDArray[np.float64]) -> None:
    from matplotlib.collections import PolyCollection

    colours = face_colours(faces)
    # An array, not a list, of polygons: matplotlib is several times faster then. Edges of the
    # face's own colour hide the seams between neighbours.
    ribbon = PolyCollection(
        faces.corners + middle,  # type: ignore[arg-type]
        facecolors=colours,
        edgecolors=colours,
        linewidths=0.35,
    )
    axis.add_collection(ribbon, autolim=False)
