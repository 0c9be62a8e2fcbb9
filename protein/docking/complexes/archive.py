"""Dock archives: complexes for training in one ``.npz``.

Every array holds the rows of all complexes one after the other; ``NAME_n`` gives the number of
rows of each complex. Further columns have one value per complex (``id``, ``split``, ``cluster``,
``smiles``, …). Pocket coordinates are int16 in steps of 0.01 Å from the ligand's center.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.docking.complexes.complex import Complex, LigandGraph, Pocket
from protein.docking.molecules.torsion_tree import TorsionTree
from sciddiff.errors import InputError
from sciddiff.files import open_arrays, replacing

COORD_SCALE = 0.01
"""Å of one integer step of pocket coordinates."""

COLUMNS: tuple[str, ...] = ("id", "split", "cluster", "smiles", "source", "rmsd")
"""One value per complex."""



def complex_arrays(item: Complex) -> dict[str, NDArray]:
    """Return the arrays of one complex; all are ragged along their first dimension."""
    graph, tree, pocket = item.ligand, item.ligand.tree, item.pocket
    center = item.crystal.mean(axis=0)
    steps = np.rint((pocket.coords - center) / COORD_SCALE).astype(np.int16)
    return {
        "features": graph.features,
        "bonds": graph.bonds.astype(np.int16),
        "orders": graph.orders,
        "symmetries": graph.symmetries.astype(np.int16).reshape(-1),
        "tree_bonds": tree.bonds.astype(np.int16),
        "tree_parents": tree.parents.astype(np.int16),
        "tree_quads": tree.quads.astype(np.int16),
        "fragments": tree.fragments.astype(np.int16),
        "rotors": np.asarray([tree.rotors], dtype=np.float32),
        "conformers": item.conformers.reshape(-1, 3),
        "crystal": item.crystal,
        "pocket_coords": steps,
        "pocket_features": pocket.features,
        "backbone": np.asarray([pocket.backbone], dtype=np.uint8),
    }


def complex_from_arrays(name: str, arrays: Mapping[str, NDArray]) -> Complex:
    """Rebuild a complex from its ``complex_arrays``.

    Args:
        name: name of the complex.
        arrays: arrays of this complex alone.
    """
    n = len(arrays["features"])
    fragments = arrays["fragments"].astype(np.int64)
    bonds, parents = arrays["tree_bonds"].astype(np.int64), arrays["tree_parents"].astype(np.int64)
    tree = TorsionTree(
        bonds=bonds,
        masks=_masks(bonds, parents, fragments),
        parents=parents,
        fragments=fragments,
        quads=arrays["tree_quads"].astype(np.int64),
        rotors=float(arrays["rotors"][0]),
    )
    graph = LigandGraph(
        arrays["features"],
        arrays["bonds"].astype(np.int64),
        arrays["orders"],
        tree,
        arrays["symmetries"].astype(np.int64).reshape(-1, n),
    )
    crystal = arrays["crystal"]
    coords = arrays["pocket_coords"].astype(np.float32) * COORD_SCALE + crystal.mean(axis=0)
    pocket = Pocket(
        coords.astype(np.float32), arrays["pocket_features"], bool(arrays["backbone"][0])
    )
    return Complex(name, graph, arrays["conformers"].reshape(-1, n, 3), crystal, pocket)


def write_archive(
    path: Path, items: Sequence[Mapping[str, NDArray]], columns: Mapping[str, NDArray]
) -> None:
    """Write an archive.

    Args:
        path: ``.npz``.
        items: ``complex_arrays`` of each complex.
        columns: one value per complex, ``COLUMNS`` at least.

    Raises:
        InputError: the file cannot be written.
    """
    arrays: dict[str, NDArray] = dict(columns)
    for name in items[0]:
        arrays[name] = np.concatenate([item[name] for item in items])
        arrays[f"{name}_n"] = np.asarray([len(item[name]) for item in items], dtype=np.int32)
    with replacing(path) as out:
        np.savez_compressed(out, **arrays)  # type: ignore[arg-type]


@final
class DockArchive:
    """The complexes of an archive, or some of them; ``archive[i]`` is one complex."""

    def __init__(
        self, path: Path, arrays: Mapping[str, NDArray], rows: NDArray[np.int64]
    ) -> None:
        """Use ``DockArchive.open``."""
        self.path = path
        self._arrays = arrays
        self.rows = rows
        self._starts = {
            name.removesuffix("_n"): np.concatenate([[0], np.cumsum(counts)])
            for name, counts in arrays.items()
            if name.endswith("_n")
        }

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "DockArchive":
        """Read an archive.

        Raises:
            InputError: the file is missing, damaged, or not a dock archive.
        """
        file = Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file; make one with `sciddiff prepare dock`")
        with open_arrays(file, "copy or prepare it again") as data:
            arrays = {name: data[name] for name in data}
        wanted = (*COLUMNS, "conformers", "pocket_coords")
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise InputError(
                f"{file}: lacks {', '.join(missing)}; it is not a dock archive, make one with "
                "`sciddiff prepare dock`"
            )
        return cls(file, arrays, np.arange(len(arrays["id"]), dtype=np.int64))

    def __len__(self) -> int:
        """Number of complexes of the view."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Complex:
        """Complex ``index`` of the view."""
        row = int(self.rows[index])
        return complex_from_arrays(
            str(self._arrays["id"][row]),
            {
                name: self._arrays[name][starts[row] : starts[row + 1]]
                for name, starts in self._starts.items()
            },
        )

    def column(self, name: str) -> NDArray[Any]:
        """One value per complex of the view, or a number of rows (``features_n``: atoms)."""
        return self._arrays[name][self.rows]

    def where(self, keep: NDArray[np.bool_]) -> "DockArchive":
        """The complexes where ``keep [n]`` is true."""
        return DockArchive(self.path, self._arrays, self.rows[keep])


def _masks(
    bonds: NDArray[np.int64], parents: NDArray[np.int64], fragments: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Atoms that each torsion moves `[T, N]`: those of its fragment and of the ones beyond."""
    masks = np.zeros((len(bonds), len(fragments)), dtype=bool)
    for t in reversed(range(len(bonds))):
        masks[t] |= fragments == t + 1
        if parents[t] >= 0:
            masks[parents[t]] |= masks[t]
    # The far end of an axis lies on it.
    masks[np.arange(len(bonds)), bonds[:, 1]] = False
    return masks
