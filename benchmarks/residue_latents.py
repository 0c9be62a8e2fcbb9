"""What a residue codec keeps: types and torsions of structures that it has not seen.

    python benchmarks/residue_latents.py MODEL --data side_chains.npz [--split val]

`MODEL` is an exported autoencoder (`configs/protein/residue_autoencoder.yaml`). One structure of
every cluster of the split is encoded, to the mean of its latents, and decoded; the second row
decodes noise instead, scaled as the latents of the training split are: the control. Prints shares
of residues whose type is right, and of torsions within 20 degrees, by their number, among residues
of the right type, with 95 % intervals (bootstrap over structures).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from protein.sidechains.data import SideChainData, SideChainDataSettings
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.residues import RESIDUES, ResidueDomain, with_types
from protein.sidechains.samples import CHI, angles_of
from sciddiff import Batch, State, load
from sciddiff.codecs import Codec
from sciddiff.encoded import Encoded
from sciddiff.manifolds.torus import wrap

DRAWS = 2000


def main() -> None:
    """Encode, decode, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of the autoencoder")
    parser.add_argument("--data", type=Path, required=True, help="archive of prepare pack")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = load(args.model).denoiser.net
    assert isinstance(codec, Codec)
    settings = SideChainDataSettings(str(args.data), noise=0.0, held_share=0.0)
    domain = Encoded(ResidueDomain(settings), codec, measured=200)
    domain.measure()
    batches = [with_types(batch) for batch in SideChainData(settings, args.split).whole()]
    rows = {
        "reconstruction": [(b, domain.reconstruction(b)) for b in batches],
        "bare prior": [(b, domain.bare_prior(b, args.seed)) for b in batches],
    }
    count = sum(batch.size for batch in batches)
    print(f"{count} structures of {args.split}; 95 % in brackets\n")
    titles = ["type right (%)", *(f"torsion {k + 1} within 20 degrees (%)" for k in range(4))]
    print(f"| row | residues | {' | '.join([*titles, 'mean error (degrees)'])} |")
    print("|---" * (len(titles) + 3) + "|")
    for name, pairs in rows.items():
        counts = np.concatenate([_counts(batch, found) for batch, found in pairs])
        cells = [
            _cell(counts[:, 0], counts[:, 1], 100.0),
            *(_cell(counts[:, 2 + 2 * k], counts[:, 3 + 2 * k], 100.0) for k in range(MOST_CHI)),
            _cell(counts[:, -2], counts[:, -1], 1.0),
        ]
        print(f"| {name} | {int(counts[:, 1].sum()):,} | {' | '.join(cells)} |")


def _counts(batch: Batch, found: State) -> np.ndarray:
    """Of every structure: right types of all; good torsions of all, by number; sum of errors."""
    known, chi = batch.layouts[RESIDUES].mask, batch.layouts[CHI].mask
    assert known is not None and chi is not None
    right = (found[RESIDUES] == batch.x[RESIDUES]) & known
    periods = tables().periods.to(batch.x[CHI])[batch.x[RESIDUES]]
    away = angles_of(wrap(found[CHI] - batch.x[CHI]).abs()) / periods * (180.0 / math.pi)
    there = angles_of(chi) & right[..., None]
    good = (away < 20.0) & there
    columns = [right.sum(1), known.sum(1)]
    for k in range(MOST_CHI):
        columns += [good[..., k].sum(1), there[..., k].sum(1)]
    columns += [(away * there).sum((1, 2)), there.sum((1, 2))]
    return torch.stack([column.double() for column in columns], 1).numpy()


def _cell(part: np.ndarray, whole: np.ndarray, scale: float) -> str:
    """A ratio of sums over structures with its interval."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(part), (DRAWS, len(part)))
    ratios = scale * part[drawn].sum(1) / np.maximum(whole[drawn].sum(1), 1.0)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{scale * part.sum() / max(whole.sum(), 1.0):.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
