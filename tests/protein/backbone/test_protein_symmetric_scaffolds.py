"""Symmetric scaffolds: motif and copies where the file has them, whatever the network says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from protein.backbone.contact import pushed_apart
from protein.backbone.domain import backbone_path
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.modes.symmetric_scaffolds import SymmetricScaffolds
from protein.backbone.network import BackboneNetwork
from protein.backbone.point_groups import PointGroup
from protein.structures.chain import Backbone, SideAtom
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_mmcif
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.manifolds.so3 import exp_map

NET = {"node": 16, "pair": 8, "blocks": 1, "heads": 2}
TORSIONS = np.tile(np.radians([-62.0, -43.0, 180.0]), (16, 1))


def unit(chain: str = "B", away: float = 15.0) -> Backbone:
    helix = backbone_from_torsions(TORSIONS)
    helix += np.array([away, 0.0, 0.0]) - helix[:, 1].mean(0)
    sides = tuple((SideAtom("CB", "C", tuple(row.tolist())),) for row in helix[:, 1] + 1.5)
    return Backbone(helix, "L" * 16, chain, np.arange(21, 37), side_chains=sides)


def made(file: Path, symmetry: str, contig: str = "6-9,B21-36,8", n: int = 2):
    mode = SymmetricScaffolds(contig, file, "none", 3, n, None, 0, symmetry)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = Denoiser(BackboneNetwork(**NET), backbone_path())
    denoiser = mode.denoiser(base)
    settings = GenerateSettings(steps=3)
    designs = [
        mode.finish(design)
        for item in mode.templates(range(n))
        for design in generate(denoiser, item.batch, settings, item.numbering, offset=item.offset)
    ]
    return mode, sorted(designs, key=lambda design: design.index)


def check(design, copies: list[Backbone], tolerance: float) -> None:
    """Every chain of a design holds one of the copies, side chains included."""
    assert len(design.chains) == len(copies)
    held = design.fixed.reshape(len(copies), -1)
    for chain, fixed in zip(design.chains, held, strict=True):
        part = chain.coords[fixed]
        apart = [np.abs(part - copy.coords).max() for copy in copies]
        nearest = copies[int(np.argmin(apart))]
        assert min(apart) < tolerance
        first = np.flatnonzero(fixed)[0]
        side = chain.side_chains[first][0].position
        assert np.abs(np.subtract(side, nearest.side_chains[0][0].position)).max() < tolerance


@pytest.mark.parametrize("symmetry", ["C3", "D2"])
def test_axes_through_the_origin_of_the_file(tmp_path, symmetry):
    file, motif = tmp_path / "motif.cif", unit()
    if symmetry == "D2":
        motif = motif.transformed(np.eye(3), np.array([0.0, 14.0, 12.0]))
    write_mmcif(file, [motif])
    mode, designs = made(file, symmetry)
    still = np.zeros(3)
    copies = [motif.transformed(r, still) for r in PointGroup.parse(symmetry).rotations.numpy()]
    for design in designs:
        check(design, copies, 2e-3)
        assert [chain.chain_id for chain in design.chains] == list("ABCD"[: len(copies)])
        facts = mode.facts(design.index)
        written = facts["motif_to"].split()
        assert set(written) <= set(design.chains[0].labels)
        assert facts["motif_from"].split()[0] == "B21" and written[0] == "A21"
    assert any("pass through the origin" in note for _, note in mode.notes)


def test_the_axis_of_copies_in_the_file(tmp_path):
    group = PointGroup.parse("C3").rotations.numpy()
    tilt = exp_map(torch.tensor([0.4, -0.9, 0.3], dtype=torch.float64)).numpy()
    moved = [
        unit(name).transformed(r, np.zeros(3)).transformed(tilt, np.array([40.0, -8.0, 5.0]))
        for name, r in zip("BDE", group, strict=True)
    ]
    file = tmp_path / "trimer.cif"
    write_mmcif(file, moved)
    mode, designs = made(file, "C3")
    for design in designs:
        check(design, moved, 5e-3)
    assert any("chains B, D, E" in note for _, note in mode.notes)


def test_designed_residues_are_symmetric_too(tmp_path):
    file = tmp_path / "motif.cif"
    write_mmcif(file, [unit()])
    _, designs = made(file, "C3", n=1)
    turns = PointGroup.parse("C3").rotations.numpy()
    for chain, r in zip(designs[0].chains, turns, strict=True):
        assert np.abs(chain.coords - designs[0].chains[0].coords @ r.T).max() < 1e-3


@pytest.mark.parametrize(
    ("away", "contig", "said"),
    [(1.0, "6,B21-36,8", "overlap"), (15.0, "6,B21-36/0 9", "describe the unit alone")],
)
def test_what_cannot_be_copied_is_refused(tmp_path, away, contig, said):
    file = tmp_path / "motif.cif"
    write_mmcif(file, [unit(away=away)])
    with pytest.raises(InputError, match=said) as caught:
        made(file, "C3", contig)
    assert "\n" not in str(caught.value)


def test_residues_are_pushed_out_of_copies_and_held_ones_stay():
    group = PointGroup.parse("C3")
    line = torch.arange(24, dtype=torch.float64) * 0.38
    positions = torch.stack([1.4 - 0.06 * line, 0.0 * line, line], dim=1)[None]
    positions[0, 8:16, 0] = 0.2  # in the middle, where the copies are
    free = torch.ones(1, 24, dtype=torch.bool)
    free[0, :3] = False
    elements = group.rotations[1:]

    def nearest(x):
        copies = torch.einsum("gij,nj->gni", elements, x[0])
        return float((x[0, None, :, None] - copies[:, None]).norm(dim=-1).min())

    pushed = pushed_apart(positions, elements, free)
    assert nearest(positions) < 0.36 < 0.5 < nearest(pushed)
    assert torch.equal(pushed[0, :3], positions[0, :3])
    steps = (pushed[0, 1:] - pushed[0, :-1]).norm(dim=-1)
    assert steps.max() < 1.5, "the chain bends, it does not break up"
    away = positions + torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(pushed_apart(away, elements, free), away)
    one = pushed_apart(torch.cat([positions, away]), elements, free.expand(2, -1))
    assert torch.equal(one[:1], pushed), "of the other samples of a batch nothing depends"
