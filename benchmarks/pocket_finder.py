"""How often the pocket finder finds where the crystal ligand is; and the fit of its weights.

    python benchmarks/pocket_finder.py --data DIR --index index.csv --split val
    python benchmarks/pocket_finder.py --data DIR --index index.csv --split train --fit

For the first 1, 3 and 5 sites: the share of complexes where the middle of one is within 4 Å and
within 8 Å of the ligand's, and where the box of one holds every atom of the ligand. `--clusters`
takes one complex of each protein cluster. `--fit` prints weights of the descriptors for
`protein/docking/receptors/alpha_spheres.py`, every complex counted alike; with `--fold 0` or `1`
they come from one half of the clusters and the figures from the other.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import LigandSettings
from protein.docking.poses.metrics import success_interval
from protein.docking.receptors import alpha_spheres as model
from protein.docking.receptors.pockets import BindingSite, find_pockets
from protein.docking.receptors.receptor import Receptor, read_receptor
from sciddiff.errors import InputError

FIRST = (1, 3, 5)
ANY = LigandSettings(max_torsions=1000)
NEAR, PENALTY, SPHERES = 2.5, 1e-3, 2000


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<id>/")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--clusters", action="store_true", help="one complex of each cluster")
    parser.add_argument("--fit", action="store_true", help="fit the weights (one of each cluster)")
    parser.add_argument("--fold", type=int, choices=(0, 1), help="fit on the other half")
    args = parser.parse_args()
    rows = [row for row in csv.DictReader(args.index.open()) if row["split"] == args.split]
    if args.clusters or args.fit:
        rows = list({row["cluster40"]: row for row in reversed(rows)}.values())[::-1]
    complexes = []
    for row in rows:
        folder = args.data / args.split / row["id"]
        try:
            coords = read_ligand(folder / "ligand.sdf", ANY).require_coords()
            complexes.append((read_receptor(folder / "protein.pdb"), coords))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    if args.fit:
        order = np.random.default_rng(0).permutation(len(complexes))
        held = order % 2 == args.fold if args.fold is not None else np.zeros(len(order), bool)
        weights, bias = fit([c for c, out in zip(complexes, held, strict=True) if not out])
        print("WEIGHTS:", ", ".join(f"{w:.4g}" for w in weights), f"\nBIAS: {bias:.4g}")
        model.WEIGHTS, model.BIAS = tuple(weights.tolist()), bias
        if args.fold is not None:
            complexes = [c for c, out in zip(complexes, held, strict=True) if out]
    measure(complexes)


def measure(complexes: list[tuple[Receptor, Any]]) -> None:
    """Print the shares, with 95 % intervals over complexes."""
    hits = np.zeros((len(complexes), 3, len(FIRST)), dtype=bool)
    edges, seconds = [], []
    for i, (receptor, ligand) in enumerate(complexes):
        start = time.process_time()
        try:
            sites = find_pockets(receptor, max(FIRST))
        except InputError as error:
            print(f"no site: {error}", file=sys.stderr)
            continue
        seconds.append(time.process_time() - start)
        edges += [np.prod(site.box.size) ** (1 / 3) for site in sites]
        told = np.asarray([_told(site, ligand) for site in sites])
        hits[i] = np.stack([told[:k].any(axis=0) for k in FIRST], axis=-1)
    print(f"{len(complexes)} complexes, {np.mean(seconds):.2f} s each (most {max(seconds):.2f}), "
          f"mean edge {np.mean(edges):.1f} Å")  # fmt: skip
    for what, found in zip(("centre < 4 Å", "centre < 8 Å", "box holds it"), hits.sum(0),
                           strict=True):  # fmt: skip
        cells = []
        for k, n in zip(FIRST, found, strict=True):
            low, high = success_interval(int(n), len(complexes))
            share = 100 * n / len(complexes)
            cells.append(f"top {k} {share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]")
        print(f"{what:14s}" + "   ".join(cells))


def _told(site: BindingSite, ligand: Any) -> tuple[bool, bool, bool]:
    away = float(np.linalg.norm(np.asarray(site.center) - ligand.mean(axis=0)))
    return away < 4.0, away < 8.0, bool((site.box.distance(ligand) == 0.0).all())


def fit(complexes: list[tuple[Receptor, Any]]) -> tuple[Any, float]:
    """Weights and bias of the logistic model, by Newton's method with a small ridge."""
    from scipy.spatial import KDTree

    parts, labels, counts = [], [], []
    for receptor, ligand in complexes:
        spheres = model.alpha_spheres(receptor)
        step = 1 + len(spheres) // SPHERES
        parts.append(model.describe(receptor, spheres)[::step])
        labels.append(np.asarray(KDTree(ligand).query(spheres.centers[::step])[0]) < NEAR)
        counts.append(len(labels[-1]))
    x, y = np.concatenate(parts), np.concatenate(labels).astype(float)
    share = np.concatenate([np.full(n, 1.0 / n / len(counts)) for n in counts])
    mean, spread = x.mean(0), x.std(0)
    design = np.column_stack([(x - mean) / spread, np.ones(len(x))])
    ridge = PENALTY * np.diag([*np.ones(x.shape[1]), 1e-9])
    b = np.zeros(design.shape[1])
    for _ in range(15):
        p = 1.0 / (1.0 + np.exp(-design @ b))
        hessian = (design * (share * p * (1 - p))[:, None]).T @ design + ridge
        b -= np.linalg.solve(hessian, design.T @ (share * (p - y)) + ridge @ b)
    weights = b[:-1] / spread
    return weights, float(b[-1] - weights @ mean)


if __name__ == "__main__":
    main()
