"""Residue types and side chains for held-out backbones: latents beside the plain way.

    python benchmarks/residue_models.py --data side_chains.npz --codec CODEC --split test
    python benchmarks/residue_models.py --data side_chains.npz --codec CODEC --latent MODEL \
        --direct MODEL --shipped

`CODEC` is an exported autoencoder (`configs/protein/residue_autoencoder.yaml`), `--latent` a model
of its latents (`residue_latent.yaml`), and `--direct` one of types and torsions themselves
(`residue_direct.yaml`), trained for as long. `--shipped` adds the weights `design_lite` and
`pack_lite`, which learned for much longer, `design_lite` possibly from these very chains.

One structure of every cluster of the split, one draw each. The rows *natives* and *reconstruction*
say what is attainable, and *bare prior* decodes noise that no network has looked at. Figures are
those of `protein.sidechains.recovery`, with 95 % intervals (bootstrap over structures); *judge* is
what `design_lite` says of the drawn types, no residue shown, in nats a residue.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from protein.pretrained import find_model
from protein.sequence.alphabet import MASK
from protein.sequence.network import GraphNetwork
from protein.sequence.samples import SEQUENCE
from protein.sidechains.data import SideChainData, SideChainDataSettings
from protein.sidechains.geometry import build, tables
from protein.sidechains.packer import PackSettings, pack
from protein.sidechains.recovery import Recovery
from protein.sidechains.residues import RESIDUES, ResidueDomain, bare, with_types
from protein.sidechains.samples import CHI, angles_of, from_state
from protein.sidechains.templates import Template
from sciddiff import Batch, Denoiser, State, load, sample
from sciddiff.codecs import Codec
from sciddiff.drawing import draw
from sciddiff.encoded import Encoded
from sciddiff.grids import uniform
from sciddiff.samplers import ConfidenceUnmask
from sciddiff.state import Layout

DRAWS = 1000
COLUMNS = {
    "recovery": ("type right (%)", 100.0),
    "judge": ("judge (nats)", 1.0),
    "composition": ("composition (nats)", 1.0),
    "chi1_20": ("chi1 of right types (%)", 100.0),
    "chi12_20": ("chi1 and chi2 (%)", 100.0),
    "staggered": ("rotamers (%)", 100.0),
    "clashes": ("clashes", 1.0),
}
"""Figures, by title and scale."""


def main() -> None:
    """Draw, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="archive of prepare pack")
    add("--split", default="val", choices=("val", "test"))
    add("--codec", required=True, help="folder of the autoencoder")
    add("--latent", help="folder of a model of latents")
    add("--direct", help="folder of a model of types and torsions")
    add("--shipped", action="store_true", help="also design_lite and pack_lite")
    add("--steps", type=int, default=40, help="calls of the network")
    add("--cold", type=float, nargs="*", default=[1.0, 0.5],
        help="scales of the noise of latents, and temperatures of types")  # fmt: skip
    add("--most", type=int, default=0, help="structures, at most; 0: all")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(args)
    print(f"{len(bench.batches)} structures of {args.split}; 95 % in brackets\n")
    titles = ["row", *(title for title, _ in COLUMNS.values()), "CPU s for 100 residues"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, way in bench.ways():
        print(bench.line(name, way), flush=True)


@dataclass
class Bench:
    """The structures, and the ways to draw for them."""

    args: argparse.Namespace

    def __post_init__(self) -> None:
        self.settings = SideChainDataSettings(str(self.args.data), noise=0.0, held_share=0.0)
        data = SideChainData(replace(self.settings, budget=1.0), self.args.split)  # one by one
        found = [with_types(batch) for batch in data.whole()]
        self.batches = found[: self.args.most or None]
        judge = find_model("design_lite").denoiser.net.eval()
        assert isinstance(judge, GraphNetwork)
        self._judge = judge
        self._laws = [self._said(_hidden(batch)) for batch in self.batches]

    def _said(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return self._judge(batch.x, torch.zeros(1), batch)[SEQUENCE].log_softmax(-1)

    def ways(self) -> Iterator[tuple[str, Callable[[Batch, int], State]]]:
        """Names, and how each draws for a structure of a number."""
        args = self.args
        codec = load(args.codec).denoiser.net
        assert isinstance(codec, Codec)
        plain = Encoded(ResidueDomain(self.settings), codec, measured=200)
        plain.measure()
        yield "natives", lambda batch, k: batch.x
        yield "reconstruction", lambda batch, k: plain.reconstruction(batch)
        yield "bare prior", lambda batch, k: plain.bare_prior(batch, args.seed + k)
        for cold in args.cold if args.latent else ():
            yield f"latents, noise × {cold:g}", _latents(args, cold)
        for cold in args.cold if args.direct else ():
            yield f"types and torsions, temperature {cold:g}", _direct(args, cold)
        for cold in args.cold if args.shipped else ():
            yield f"`design_lite`, `pack_lite`, temperature {cold:g}", _shipped(args, cold)

    def line(self, name: str, way: Callable[[Batch, int], State]) -> str:
        """One row of the table."""
        began = time.process_time()
        made = [way(batch, k) for k, batch in enumerate(self.batches)]
        spent = time.process_time() - began
        pairs = [
            (template_of(batch, batch.x, known=True), template_of(batch, x))
            for batch, x in zip(self.batches, made, strict=True)
        ]
        found = Recovery.of(pairs)
        judged = np.array([
            self._nats(k, x[RESIDUES]) for k, x in enumerate(made)
        ])  # fmt: skip
        whole, bounds = _figures(found, judged), _bounds(found, judged)
        cells = [
            f"{scale * whole[column]:.{_digits(column)}f} "
            f"[{scale * bounds[column][0]:.{_digits(column)}f}, "
            f"{scale * bounds[column][1]:.{_digits(column)}f}]"
            for column, (_, scale) in COLUMNS.items()
        ]
        seconds = 100.0 * spent / found.native.sum()
        return f"| {name} | {' | '.join(cells)} | {seconds:.2f} |"

    def _nats(self, k: int, types: Tensor) -> tuple[float, float]:
        """Nats of all types of a structure, and how many there are."""
        known = self.batches[k].layouts[RESIDUES].mask
        assert known is not None
        nats = -self._laws[k].gather(-1, types[..., None])[..., 0]
        return float(nats[known].sum()), float(known.sum())


def _figures(found: Recovery, judged: np.ndarray) -> dict[str, float]:
    return {**found.figures(), "judge": judged[:, 0].sum() / judged[:, 1].sum()}


def _bounds(found: Recovery, judged: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals over structures."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, len(judged), len(judged)) for _ in range(DRAWS)]
    drawn = [_figures(found.select(one), judged[one]) for one in rows]
    return {
        name: tuple(np.nanquantile([one[name] for one in drawn], [0.025, 0.975]))
        for name in COLUMNS
    }  # fmt: skip


def _digits(column: str) -> int:
    return 2 if column in ("judge", "composition") else 1


def _latents(args: argparse.Namespace, scale: float) -> Callable[[Batch, int], State]:
    model = load(args.latent)
    assert isinstance(model.domain, Encoded)
    domain = model.domain
    drawing = replace(domain.drawing(), grid=uniform(args.steps), prior_scale=scale)

    def way(batch: Batch, k: int) -> State:
        like = domain.latents().template(bare(batch))
        return domain.decoded(like, draw(model.denoiser, like, drawing, args.seed, k))

    return way


class _Cooled(nn.Module):
    """A network whose laws of types are sharpened."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, x_t: State, t: Any, batch: Batch) -> State:
        said = self.net(x_t, t, batch)
        return {**said, RESIDUES: said[RESIDUES] / self.temperature}


def _direct(args: argparse.Namespace, temperature: float) -> Callable[[Batch, int], State]:
    model = load(args.direct)
    domain = model.domain
    drawing = replace(domain.drawing(), grid=uniform(args.steps))
    cooled = Denoiser(_Cooled(model.denoiser.net, temperature).eval(), domain.path())
    return lambda batch, k: draw(cooled, bare(batch), drawing, args.seed, k)


def _shipped(args: argparse.Namespace, temperature: float) -> Callable[[Batch, int], State]:
    design, packing = find_model("design_lite"), find_model("pack_lite")
    sampler = ConfidenceUnmask("random", temperature)
    settings = PackSettings(draws=1, steps=20, assemble=False, seed=args.seed)

    def way(batch: Batch, k: int) -> State:
        like, number = _hidden(batch), torch.tensor([k])
        grid = uniform(args.steps)
        types = sample(
            design.denoiser, like, sampler, grid, args.seed, indices=number
        ).x[SEQUENCE]
        rows = batch.cond["present"][0]
        found = pack(
            packing.denoiser, template_of(batch, {**batch.x, RESIDUES: types}), None, settings
        )
        chi = torch.zeros_like(angles_of(batch.x[CHI]))
        turned = tables().periods[types[0][rows]] * torch.from_numpy(found.chi)
        chi[0, rows] = turned.to(chi)
        return {RESIDUES: types, CHI: chi.flatten(1)}

    return way


def _hidden(batch: Batch) -> Batch:
    """The template of `design_lite`, every residue hidden."""
    rows = batch.cond["present"]
    names = ("atoms", "chain_index", "residue_index", "noise")
    x = {SEQUENCE: torch.full_like(rows, MASK, dtype=torch.int64)}
    cond = {name: batch.cond[name] for name in names}
    return Batch(x, cond, {SEQUENCE: Layout(batch.size, mask=rows)}, batch.size, batch.ids)


def template_of(batch: Batch, x: State, known: bool = False) -> Template:
    """The structure of the only sample of a batch.

    Args:
        batch: of one sample.
        x: types and angles.
        known: leave out residues whose type or torsions the data do not have.
    """
    rows = batch.cond["present"][0]
    tokens = x[RESIDUES][0][rows]
    backbone = batch.cond["atoms"][0][rows]
    chi = from_state(angles_of(x[CHI])[0][rows], tokens)
    atoms = torch.cat([backbone, build(backbone, tokens, chi)], dim=1).numpy()
    atoms = np.where(tables().present[tokens].numpy()[..., None], atoms, np.nan)
    mask = batch.layouts[RESIDUES].mask
    assert mask is not None
    around = batch.cond["around_elements"][0] >= 0
    return Template(
        atoms.astype(np.float32),
        tokens.numpy(),
        (~mask[0][rows]).numpy() if known else np.zeros(len(tokens), bool),
        batch.cond["chain_index"][0][rows].numpy(),
        batch.cond["residue_index"][0][rows].numpy(),
        batch.cond["around"][0][around].numpy(),
        batch.cond["around_elements"][0][around].numpy(),
        batch.ids[0],
    )


if __name__ == "__main__":
    main()
