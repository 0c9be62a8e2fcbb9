r"""Places where a ligand may bind, from the shape of the receptor alone.

Every alpha sphere :math:`i` has a chance :math:`p_i` that a ligand atom is near it
(``alpha_spheres``). The score of a place is the number of ligand atoms expected about it,

.. math:: s(x) = \sum_i p_i \exp(-|x - x_i|^2 / 2 \sigma^2),

which grows with the number of the spheres, and depends on how buried they are and on their kind.
Sites are its highest peaks at spheres that are far enough from each other. The centre of a site is
the mean of its spheres weighted by their chances. The result turns and shifts with the receptor,
except for the box, whose edges lie along the axes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.receptors.alpha_spheres import AlphaSpheres, alpha_spheres, chances, describe
from protein.docking.receptors.box import Box
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.docking.receptors.receptor import Receptor


@dataclass(frozen=True)
class FinderSettings:
    """Settings of the pocket finder, chosen on training complexes.

    Attributes:
        smallest: least radius of an alpha sphere, Å.
        largest: greatest radius, Å.
        sigma: width over which chances are summed, Å.
        core: spheres this near to a peak give the centre, volume and residues of a site, Å.
        apart: least distance of a peak from the peaks and centres before it, Å.
        fewest: smallest number of spheres in the core of a site.
        reach: spheres this near to the centre must lie in the box, Å.
        margin: margin of the box beyond their centres, Å.
        shortest: shortest edge of a box, Å.
        longest: longest edge of a box, Å.
    """

    smallest: float = 3.0
    largest: float = 6.2
    sigma: float = 3.0
    core: float = 7.0
    apart: float = 7.0
    fewest: int = 10
    reach: float = 10.0
    margin: float = 3.0
    shortest: float = 16.0
    longest: float = 30.0


@dataclass(frozen=True)
class BindingSite:
    """A place where a ligand may bind.

    Attributes:
        rank: 1 for the best.
        box: box to search; its middle is the chance-weighted mean of the spheres.
        score: height of the peak, expected ligand atoms.
        volume: volume of the core's spheres without the atoms that they touch, Å³.
        spheres: number of spheres in the core.
        buried: 0 for a flat surface to 1 for spheres with atoms on all sides.
        apolar: share of carbon and sulphur among the atoms the spheres touch.
        residues: lining the core, ``chain:number+insertion code``, in the receptor's order.
    """

    rank: int
    box: Box
    score: float
    volume: float
    spheres: int
    buried: float
    apolar: float
    residues: tuple[str, ...]

    @property
    def center(self) -> tuple[float, float, float]:
        """Middle of the site, Å."""
        return self.box.center

    def as_dict(self) -> dict[str, Any]:
        """Plain values for records, rounded to meaningful digits."""
        return {
            "site": self.rank,
            "center": list(self.box.center),
            "size": list(self.box.size),
            "score": round(self.score, 3),
            "volume": round(self.volume),
            "buried": round(self.buried, 2),
            "apolar": round(self.apolar, 2),
            "residues": list(self.residues),
        }


def find_pockets(
    receptor: "Receptor", most: int = 5, settings: FinderSettings = FinderSettings()
) -> list[BindingSite]:
    """Find places where a ligand may bind, the best first.

    Args:
        receptor: M heavy atoms; what it keeps (cofactors, metals) fills its pockets.
        most: largest number of sites to return.
        settings: how pockets are found.

    Raises:
        InputError: the receptor is too small, or has no pocket.
    """
    if most < 1:
        raise InputError(f"sites {most}: give at least 1")
    spheres = alpha_spheres(receptor, settings.smallest, settings.largest)
    if len(spheres) == 0:
        raise _none(receptor)
    descriptors = describe(receptor, spheres)
    chance = chances(descriptors)
    sites: list[BindingSite] = []
    for peak, height in _peaks(spheres, chance, most, settings):
        core = _within(spheres, spheres.centers[peak], settings.core)
        sites.append(_site(receptor, spheres, chance, core, len(sites) + 1, height, settings))
    if not sites:
        raise _none(receptor)
    return sites


def _none(receptor: "Receptor") -> InputError:
    return InputError(
        f"{receptor.name}: no pocket was found; give a box (--center, --autobox-ligand or "
        "--pocket-residues)"
    )


def _peaks(
    spheres: AlphaSpheres, chance: NDArray[np.float64], most: int, settings: FinderSettings
) -> list[tuple[int, float]]:
    """Highest spheres that are apart, with their heights."""
    from scipy.spatial import KDTree

    tree: Any = KDTree(spheres.centers)
    # Beyond 2.5 sigma a sphere counts less than 1 in 20.
    near = tree.sparse_distance_matrix(tree, 2.5 * settings.sigma, output_type="ndarray")
    share = np.exp(-0.5 * np.square(near["v"] / settings.sigma)) * chance[near["j"]]
    height = np.bincount(near["i"], share, minlength=len(spheres))
    free = np.ones(len(spheres), dtype=bool)
    found: list[tuple[int, float]] = []
    while len(found) < most and free.any():
        peak = int(np.where(free, height, -np.inf).argmax())
        core = _within(spheres, spheres.centers[peak], settings.core)
        if core.sum() >= settings.fewest:
            found.append((peak, float(height[peak])))
            middle = _mean(spheres, chance, core)
            free &= ~_within(spheres, middle, settings.apart)
        free &= ~_within(spheres, spheres.centers[peak], settings.apart)
    return found


def _within(spheres: AlphaSpheres, place: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    return np.linalg.norm(spheres.centers - place, axis=1) < radius


def _mean(
    spheres: AlphaSpheres, chance: NDArray[np.float64], core: NDArray[np.bool_]
) -> NDArray[np.float64]:
    return np.average(spheres.centers[core], axis=0, weights=chance[core])


def _site(
    receptor: "Receptor",
    spheres: AlphaSpheres,
    chance: NDArray[np.float64],
    core: NDArray[np.bool_],
    rank: int,
    height: float,
    settings: FinderSettings,
) -> BindingSite:
    """A site with its box and what is told of it."""
    middle = _mean(spheres, chance, core)
    reached = spheres.centers[core | _within(spheres, middle, settings.reach)]
    # The middle of the box is that of the site, so the farther side decides.
    half = np.abs(reached - middle).max(axis=0) + settings.margin
    edges = np.clip(2.0 * half, settings.shortest, settings.longest)
    # Rounded, so that a record made on another machine holds the very same numbers.
    x, y, z = np.round(middle, 3).tolist()
    a, b, c = np.round(edges, 3).tolist()
    lining = sorted(set(spheres.atoms[core].ravel().tolist()))
    elements = np.asarray(receptor.elements)[lining]
    toward = receptor.coords[lining] - middle
    direction = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    return BindingSite(
        rank,
        Box((x, y, z), (a, b, c)),
        height,
        _volume(spheres.centers[core], spheres.radii[core]),
        int(core.sum()),
        float(1.0 - np.linalg.norm(direction.mean(axis=0))),
        float(np.isin(elements, ("C", "S")).mean()),
        tuple(dict.fromkeys(receptor.residues[i] for i in lining)),
    )


def _volume(
    centers: NDArray[np.float64], radii: NDArray[np.float64], atom: float = 1.7, step: float = 0.7
) -> float:
    """Union of spheres shrunk by the radius of an atom, by points of a lattice, Å³."""
    from scipy.spatial import KDTree

    reach = radii - atom
    middle = centers.mean(axis=0)
    span = np.abs(centers - middle).max() + reach.max()
    line = np.arange(-span, span + step, step)
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    near = KDTree(lattice + middle).query_ball_point(centers, reach)
    inside = np.unique(np.concatenate([np.asarray(rows, dtype=np.int64) for rows in near]))
    return float(len(inside) * step**3)
