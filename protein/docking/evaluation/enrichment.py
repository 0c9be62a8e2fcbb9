r"""How well a screen puts known actives first: AUROC, enrichment factor and BEDROC.

Molecules are ordered by affinity, that of their best state. With N molecules, of which n are
active with ranks :math:`r_i`,

.. math:: \mathrm{EF}_x = \frac{\text{actives among the first } \lceil xN \rceil}{\lceil xN \rceil}
          \cdot \frac Nn, \qquad
          \mathrm{RIE} = \frac{\frac1n \sum_i e^{-\alpha r_i/N}}
          {\frac1N \frac{1 - e^{-\alpha}}{e^{\alpha/N} - 1}},

and BEDROC is RIE between its least and largest values for this n and N (Truchon and Bayly,
*J. Chem. Inf. Model.* 47 (2007) 488). Equal affinities are counted as the mean over their orders.
Molecules that failed come last, as equals. Intervals are percentiles at 95 % of a bootstrap over
actives and over the others, each drawn with replacement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.files import ligand_records
from protein.docking.molecules.sources import kind_of
from sciddiff.calibration import auroc
from sciddiff.errors import InputError
from sciddiff.files import read_lines
from sciddiff.streams import seed_of

ALPHA = 20.0
"""Weight of early ranks in BEDROC: 80 % of it comes from the first 8 % of the molecules."""

FIRST = 0.01
"""Share of the molecules that the enrichment factor counts."""

_DRAWS = 1000


@dataclass(frozen=True)
class Actives:
    """Known actives, by name and by connectivity.

    Attributes:
        names: their names in lower case.
        keys: first blocks of their InChIKeys.
        each: for every active its name and key, where they are known, and what to call it; empty
            if names are all.
    """

    names: frozenset[str]
    keys: frozenset[str] = frozenset()
    each: tuple[tuple[str, str, str], ...] = ()

    def absent(self, rows: Sequence[Mapping[str, str]]) -> list[str]:
        """Actives that no row of a screen is, by their names, or keys where they have none.

        A molecule that failed has no structure in the table, and is known by its name alone.

        Args:
            rows: rows of ``results.csv``.
        """
        seen: set[str] = set()
        for row in rows:
            seen |= _names(row)
            if self.keys and row["status"] == "ok":
                seen.add(_key(row["smiles"]))
        each = self.each or tuple((name, "", name) for name in sorted(self.names))
        return [said for name, key, said in each if not {name, key} & (seen - {""})]


def read_actives(path: Path) -> Actives:
    """Read known actives from a list of names, or from any file of ligands.

    Args:
        path: ``.txt`` with one name a line, or SDF, MOL2, SMILES or CSV.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    if path.suffix.lower() == ".txt":
        names = {line.strip().lower() for line in read_lines(path, "a list of names")} - {""}
        if not names:
            raise InputError(f"{path}: holds no name; give one a line")
        return Actives(frozenset(names))
    if kind_of(path) is None:
        raise InputError(f"{path}: no such file of actives; check the path")
    each: list[tuple[str, str, str]] = []
    for record in ligand_records(path):
        ligand, name = record.read().ligand, record.title.lower()
        key, smiles = ("", "") if ligand is None else (_key(ligand.smiles), ligand.smiles)
        each.append((name, key, name or smiles or record.name))
    names, keys, _ = (frozenset(words) - {""} for words in zip(*each, strict=True))
    return Actives(names, keys, tuple(each))


def screen_figures(
    rows: Sequence[Mapping[str, str]], actives: Actives, seed: int = 0
) -> dict[str, Any]:
    """AUROC, enrichment factor and BEDROC of a screen, with intervals.

    A molecule is active if its name, its title or its parent is one of the names, or its
    connectivity one of the actives'.

    Args:
        rows: rows of ``results.csv``.
        actives: the known actives.
        seed: seed of the bootstrap.

    Raises:
        InputError: no molecule is active, or all are.
    """
    affinity: dict[str, float] = {}
    active: dict[str, bool] = {}
    for row in rows:
        name = row.get("parent") or row["name"]
        value = float(row["affinity"]) if row["status"] == "ok" else np.inf
        affinity[name] = min(value, affinity.get(name, np.inf))
        known = _names(row) & actives.names
        same = bool(actives.keys) and row["status"] == "ok" and _key(row["smiles"]) in actives.keys
        active[name] = active.get(name, False) or bool(known) or same
    values = np.asarray(list(affinity.values()))
    labels = np.asarray([active[name] for name in affinity])
    if labels.all() or not labels.any():
        what = "all molecules are" if labels.all() and len(labels) else "no molecule is"
        raise InputError(
            f"actives: {what} active ({len(labels)} molecules); check names and structures"
        )
    found: dict[str, Any] = {
        "molecules": len(labels),
        "actives": int(labels.sum()),
        "failed": int(np.isinf(values).sum()),
        "actives_absent": len(actives.absent(rows)),
    }
    measures: dict[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], float]] = {
        "auroc": lambda x, y: auroc(_finite(x), y.astype(float)),
        "ef_1": enrichment,
        "bedroc_20": bedroc,
    }
    draws = np.random.default_rng(seed_of(seed, "enrichment", bits=31))
    ones, zeros = np.flatnonzero(labels), np.flatnonzero(~labels)
    drawn = {name: np.empty(_DRAWS) for name in measures}
    for k in range(_DRAWS):
        some = np.concatenate([draws.choice(part, len(part)) for part in (ones, zeros)])
        for name, measure in measures.items():
            drawn[name][k] = measure(values[some], labels[some])
    for name, measure in measures.items():
        low, high = np.percentile(drawn[name], [2.5, 97.5]).tolist()
        found[name] = {"value": measure(values, labels), "low": low, "high": high}
    return found


def _names(row: Mapping[str, str]) -> set[str]:
    """Names of a molecule in lower case: its own, that in the input, and that of its parent."""
    return {row[key].lower() for key in ("name", "title", "parent") if row.get(key)}


def enrichment(
    affinity: NDArray[np.float64], active: NDArray[np.bool_], first: float = FIRST
) -> float:
    """Enrichment factor of the first molecules.

    Args:
        affinity: lower is better; infinite for molecules that failed `[N]`.
        active: `[N]`, bool, some true.
        first: share of the molecules.

    >>> import numpy as np
    >>> enrichment(np.arange(200.0), np.arange(200) < 4)
    50.0
    """
    count = int(np.ceil(first * len(active) - 1e-9))
    share = _mean_over_ties(affinity, (np.arange(len(active)) < count).astype(float))
    return float(share[active].sum() / count / active.mean())


def bedroc(
    affinity: NDArray[np.float64], active: NDArray[np.bool_], alpha: float = ALPHA
) -> float:
    """Boltzmann-enhanced discrimination of ROC.

    Args:
        affinity: lower is better; infinite for molecules that failed `[N]`.
        active: `[N]`, bool, some true and some not.
        alpha: weight of early ranks.

    >>> import numpy as np
    >>> round(bedroc(np.arange(200.0), np.arange(200) < 4), 12)
    1.0
    """
    total, share = len(active), float(active.mean())
    weight = _mean_over_ties(affinity, np.exp(-alpha * np.arange(1, total + 1) / total))
    random = (1 - np.exp(-alpha)) / np.expm1(alpha / total) / total
    rie = weight[active].mean() / random
    # The least value has all actives last, the largest has them first.
    least = (1 - np.exp(alpha * share)) / (share * (1 - np.exp(alpha)))
    most = (1 - np.exp(-alpha * share)) / (share * (1 - np.exp(-alpha)))
    return float((rie - least) / (most - least))


def _mean_over_ties(
    affinity: NDArray[np.float64], by_rank: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values that go by rank, for each molecule, the mean over those of equal affinity `[N]`."""
    _, group, count = np.unique(affinity, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    sums = np.concatenate([[0.0], np.cumsum(by_rank)])
    return ((sums[ends] - sums[ends - count]) / count)[group]


def _finite(affinity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores, higher for better molecules, with those that failed below all others."""
    good = np.isfinite(affinity)
    worst = affinity[good].max(initial=0.0) + 1.0
    return -np.where(good, affinity, worst)


def _key(smiles: str) -> str:
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.inchi import MolToInchiKey

    from protein.docking.molecules.ligand import quietly

    mol = quietly(MolFromSmiles, smiles)
    return "" if mol is None else quietly(MolToInchiKey, mol).partition("-")[0]
