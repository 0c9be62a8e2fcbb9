r"""Alpha spheres of a receptor: places for a ligand atom, and the chance that there is one.

An alpha sphere touches four atoms and contains none; its centre is the circumcentre of a
tetrahedron of the Delaunay triangulation. Large spheres lie outside the molecule, small ones lie
between packed atoms, and those of 3.0 to 6.2 Å lie in clefts and cavities (Le Guilloux, Schmidtke
and Tuffery 2009, Fpocket, BMC Bioinformatics 10:168).

Descriptors of the surroundings of a sphere (``DESCRIPTORS``), which do not depend on the frame of
the receptor, give the chance that a ligand atom is within 2.5 Å by a logistic model

.. math:: p = 1 / (1 + \exp(-b - \sum_k w_k f_k))

fitted to one training complex of each protein cluster (``benchmarks/pocket_finder.py --fit``).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.structures.residues import parent_letter
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.docking.receptors.receptor import Receptor

_GROUPS = ("FYWH", "VLIA", "MC", "RK", "DE", "ST", "NQ", "G", "P")
_FRAME = ("N", "CA", "C", "O", "OXT")
_COUNTED = (5.0, 7.0, 10.0, 14.0)
_CROWDED = (2.5, 5.0, 8.0)
_NEAR = 7.0
# Tetrahedra flatter than this have no circumcentre worth the name, Å³ (six volumes).
_FLAT = 1e-6
_FEWEST = 50

DESCRIPTORS = (
    "radius", "touches_apolar", "atoms_5", "atoms_7", "atoms_10", "atoms_14", "side_chain_7",
    "spheres_2.5", "spheres_5", "spheres_8", "one_sided", "apolar_7",
    *(f"residues_{group}" for group in _GROUPS),
)  # fmt: skip
"""Names of the columns of ``describe``."""

WEIGHTS: tuple[float, ...] = (
    -0.02324, -0.165, -0.03184, -0.07437, 0.03472, 0.06618, 0.2584, 0.3147, 1.753, 2.051, 1.126,
    0.7446, 0.1461, 0.5857, 2.035, -1.189, -2.008, 1.756, -1.562, 6.459, -3.312,
)  # fmt: skip
"""Weight of each descriptor in the chance of a ligand atom."""

BIAS = -22.3
"""Logarithm of the odds where every descriptor is zero."""


@dataclass(frozen=True, eq=False)
class AlphaSpheres:
    """S empty spheres, each touching four atoms.

    Attributes:
        centers: `[S, 3]`, Å.
        radii: `[S]`, Å.
        atoms: rows of the receptor each touches `[S, 4]`.
    """

    centers: NDArray[np.float64]
    radii: NDArray[np.float64]
    atoms: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of spheres S."""
        return len(self.radii)


def alpha_spheres(
    receptor: "Receptor", smallest: float = 3.0, largest: float = 6.2
) -> AlphaSpheres:
    """Find the alpha spheres in a range of radii.

    Args:
        receptor: M heavy atoms.
        smallest: least radius, Å.
        largest: greatest radius, Å.

    Raises:
        InputError: there are too few atoms, or all lie in one plane.
    """
    from scipy.spatial import Delaunay, QhullError

    if len(receptor) < _FEWEST:
        raise InputError(
            f"{receptor.name}: {len(receptor)} atoms are too few to look for pockets; give a box "
            "(--center, --autobox-ligand or --pocket-residues)"
        )
    # About their middle, so that circumcentres of structures far from the origin stay exact.
    middle = receptor.coords.mean(axis=0)
    coords = receptor.coords - middle
    try:
        tetrahedra = np.asarray(Delaunay(coords).simplices, dtype=np.int64)
    except QhullError as error:
        raise InputError(
            f"{receptor.name}: its atoms do not span three dimensions; check the coordinates"
        ) from error
    corners = coords[tetrahedra]
    edges = corners[:, 1:] - corners[:, :1]
    solid = np.abs(np.linalg.det(edges)) > _FLAT
    corners, edges, tetrahedra = corners[solid], edges[solid], tetrahedra[solid]
    # |x|² - 2 x·e + |e|² = |x|² for each edge e: linear in the circumcentre x.
    half = 0.5 * np.square(edges).sum(axis=-1, keepdims=True)
    offset = np.linalg.solve(edges, half)[..., 0]
    radii = np.linalg.norm(offset, axis=-1)
    keep = (radii >= smallest) & (radii <= largest)
    centers = offset[keep] + corners[keep, 0] + middle
    return AlphaSpheres(centers, radii[keep], tetrahedra[keep])


def describe(receptor: "Receptor", spheres: AlphaSpheres) -> NDArray[np.float64]:
    """Describe the surroundings of each sphere `[S, F]`, in the order of ``DESCRIPTORS``.

    Counts of atoms are per Å³ times 100, counts of spheres are logarithms, and shares of residues
    refer to the atoms within 7 Å. ``one_sided`` is the length of the mean direction to these
    atoms: 0 at the middle of a cavity, and 1 if all are on one side.

    Args:
        receptor: M heavy atoms.
        spheres: alpha spheres of this receptor.
    """
    from scipy.spatial import KDTree

    atoms: Any = KDTree(receptor.coords)
    places: Any = KDTree(spheres.centers)
    apolar = np.isin(np.asarray(receptor.elements), ("C", "S"))
    side = ~np.isin(np.asarray(receptor.atoms), _FRAME)
    columns = [spheres.radii, apolar[spheres.atoms].mean(axis=1)]
    columns += [_count(atoms, spheres, radius) / radius**3 * 100 for radius in _COUNTED]
    sides = KDTree(receptor.coords[side]) if side.any() else None
    beside = np.zeros(len(spheres)) if sides is None else _count(sides, spheres, _NEAR)
    columns.append(beside / _NEAR**3 * 100)
    columns += [np.log1p(_count(places, spheres, radius)) for radius in _CROWDED]
    pairs = places.sparse_distance_matrix(atoms, _NEAR, output_type="ndarray")
    sphere, atom, distance = pairs["i"], pairs["j"], np.maximum(pairs["v"], 1e-6)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Over the atoms within 7 Å of each sphere."""
        total = np.bincount(sphere, values, minlength=len(spheres))
        return total / np.maximum(np.bincount(sphere, minlength=len(spheres)), 1)

    toward = (receptor.coords[atom] - spheres.centers[sphere]) / distance[:, None]
    columns.append(np.linalg.norm([mean(axis) for axis in toward.T], axis=0))
    columns.append(mean(apolar[atom].astype(float)))
    columns += [mean(group[atom]) for group in _groups(receptor).T]
    return np.column_stack(columns)


def chances(descriptors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of a ligand atom within 2.5 Å of each sphere's centre `[S]`.

    Args:
        descriptors: `[S, F]`, from ``describe``.
    """
    return 1.0 / (1.0 + np.exp(-(descriptors @ np.asarray(WEIGHTS) + BIAS)))


def _count(tree: Any, spheres: AlphaSpheres, radius: float) -> NDArray[np.float64]:
    """Points of a tree within a radius of each centre `[S]`."""
    found = tree.query_ball_point(spheres.centers, radius, return_length=True)
    return np.asarray(found, dtype=float)


def _groups(receptor: "Receptor") -> NDArray[np.float64]:
    """Group of residues each atom belongs to, one-hot `[M, 9]`; zeros where it has none."""
    names, inverse = np.unique(np.asarray(receptor.resnames), return_inverse=True)
    table = np.zeros((len(names), len(_GROUPS)))
    for row, name in enumerate(names.tolist()):
        letter = parent_letter(name)
        table[row] = [letter is not None and letter in group for group in _GROUPS]
    return table[inverse]
