"""Waters: which are kept, and what it costs to displace one."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from protein.docking.campaign.output import receptor_lines
from protein.docking.energy.pairwise import interaction
from protein.docking.energy.vina import SearchSpace
from protein.docking.molecules.atom_types import INDEX
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import EFFORTS, DockSettings
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.receptors.waters import kept_groups, with_near_waters
from protein.docking.report.collect import read_poses
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError

PRICE = 0.8


def with_waters(receptor: Receptor, places: np.ndarray) -> Receptor:
    """The receptor with waters W:1, W:2, ..."""
    n = len(places)
    return replace(
        receptor,
        coords=np.concatenate([receptor.coords, places]),
        types=np.concatenate([receptor.types, np.full(n, INDEX["O_DA"])]),
        elements=(*receptor.elements, *["O"] * n),
        atoms=(*receptor.atoms, *["O"] * n),
        resnames=(*receptor.resnames, *["HOH"] * n),
        residues=(*receptor.residues, *(f"W:{k + 1}" for k in range(n))),
    )


@pytest.fixture
def wet(imprint, conformer) -> Receptor:
    """The mould with a water in the ligand's way, one that a polar atom likes, and a far one."""
    middle = conformer.mean(axis=0)
    return with_waters(imprint, np.stack([conformer[4], conformer[2] + [0.0, 0.0, 2.9],
                                          middle + 60.0]))  # fmt: skip


@pytest.fixture
def box(conformer) -> Box:
    return box_around(conformer, 4.0)


def poses(conformer) -> torch.Tensor:
    moved = conformer + np.random.default_rng(0).normal(size=(6, 1, 3))
    return torch.as_tensor(np.concatenate([conformer[None], moved]), dtype=torch.float32)[None]


def test_a_water_counts_for_its_energy_or_for_its_price(wet, imprint, box, drug, conformer):
    docker = Docker(wet, box, DockSettings(effort="fast", water_price=PRICE))
    energy = docker._spaces[0].energy([drug])
    coords = poses(conformer)
    plain = SearchSpace(imprint, box).energy([drug]).score(coords)
    types = torch.as_tensor(drug.types)[None]
    each = []
    for row in (-3, -2):  # the third is out of reach
        place = torch.as_tensor(wet.coords[[row]], dtype=torch.float32)
        found = interaction(coords, types, place, torch.as_tensor(wet.types[[row]]))
        each.append(found.atoms.sum(-1))
    each = torch.stack(each, dim=-1)
    score = energy.score(coords)
    expected = plain.interaction + torch.minimum(each, torch.tensor(PRICE)).sum(-1)
    torch.testing.assert_close(score.interaction, expected, rtol=1e-5, atol=1e-4)
    assert (each[0, 0] > 5.0).any()  # the water in the way is displaced
    assert docker.waters is not None and docker.waters.labels == ("W:1", "W:2")
    gone = docker.waters.displaced(drug, coords[0].numpy())
    assert np.array_equal(gone, (each[0] > PRICE).numpy())
    assert gone[0].tolist() == [True, False] and not gone.all(axis=1).all()


def test_waters_that_cost_anything_are_atoms_like_others(wet, box, drug, conformer):
    far = poses(conformer)[:, :1] + 1.2
    priced = Docker(wet, box, DockSettings(effort="fast", water_price=1000.0))._spaces[0]
    plain = SearchSpace(wet.select(np.arange(len(wet)) < len(wet) - 1), box)
    a, b = (space.energy([drug]).score(far) for space in (priced, plain))
    # The soft core of 1,000 kcal/mol bends the energy of an atom with all its receptor.
    torch.testing.assert_close(a.interaction, b.interaction, rtol=2e-3, atol=1e-3)
    torch.testing.assert_close(a.terms, b.terms, rtol=1e-4, atol=1e-3)


def test_the_search_pays_the_price_at_most_once_an_atom(wet, imprint, box, drug, conformer):
    coords = poses(conformer)[:, :1]
    whole = Docker(wet, box, DockSettings(effort="fast", water_price=PRICE))._spaces[0]
    dry = SearchSpace(imprint, box)
    gap = whole.energy([drug]).evaluate(coords)[0] - dry.energy([drug]).evaluate(coords)[0]
    assert PRICE - 3.0 < float(gap) <= PRICE * len(drug)


def test_prices_that_cannot_be(wet, imprint, box, drug):
    with pytest.raises(InputError, match="has no water near the box; keep some"):
        Docker(imprint, box, DockSettings(water_price=1.0))
    with pytest.raises(InputError, match="negative"):
        Docker(wet, box, DockSettings(water_price=-1.0))


@pytest.mark.parametrize(
    ("word", "message"),
    [("HOH:x", "not waters and a distance"), ("HOH:-1", "not waters and a distance"),
     ("A-301", None), ("GDP:5x7", "neither a group")],
)  # fmt: skip
def test_words_of_what_is_kept(word, message):
    if message is None:
        assert kept_groups(word).names == {word}
        return
    with pytest.raises(InputError, match=message):
        kept_groups(word, reach=True)
    with pytest.raises(InputError, match="there is no box here"):
        kept_groups("HOH:3.5")


@pytest.fixture
def file(tmp_path, peptide) -> Path:
    """The helix with waters 2, 5 and 40 Å from the tip of its third residue."""
    tip = peptide.coords[[r == "A:3" and a == "NZ" for r, a in
                          zip(peptide.residues, peptide.atoms, strict=True)]][0]  # fmt: skip
    steps = np.asarray([[0, 0, 3.0], [0, 0, 6.0], [0, 0, 40.0]])
    path = tmp_path / "wet.pdb"
    lines = receptor_lines(with_waters(peptide, tip + steps))
    lines = [f"HETATM{x[6:]}" if "HOH" in x else x for x in lines]
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def test_waters_by_name_number_and_distance(file):
    dry = len(read_receptor(file))
    assert len(read_receptor(file, kept_groups("WAT").names)) == dry + 3
    assert len(read_receptor(file, kept_groups("W:2").names)) == dry + 1
    with pytest.raises(InputError, match=r"keep: W:9 is not in .*wet.pdb; check chain and number"):
        read_receptor(file, kept_groups("W:9").names)
    whole = read_receptor(file, frozenset({"HOH"}))
    x, y, z = whole.coords[-3].tolist()
    boxes = [Box((x, y, z - 2.0), (2.0, 2.0, 2.0))]  # W:1 is 1 Å from it, W:2 is 4 Å from it
    near = with_near_waters(whole, boxes, kept_groups("HOH:3.5", reach=True))
    assert near.residues[-1] == "W:1" and len(near) == dry + 1
    assert "1 of 3 waters are within 3.5 Å of the box, and kept" in near.notes
    named = with_near_waters(whole, boxes, kept_groups("HOH:3.5,W:3", reach=True))
    assert named.residues[-2:] == ("W:1", "W:3")


def test_the_command_says_which_waters_are_displaced(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))
    water = read_receptor(file, frozenset({"W:1"})).coords[-1]
    arguments = [
        "dock", "-r", str(file), "-l", "OCc1ccccc1", "--center", *map(str, water), "--size", "4",
        "4", "4", "--effort", "fast", "--poses", "3", "--ranker", "none", "--check", "1",
    ]  # fmt: skip
    out = tmp_path / "out"
    assert main([*arguments, "--keep", "HOH:3", "--water-price", "0.5", "-o", str(out)]) == 0
    (row,) = csv.DictReader((out / "results.csv").open())
    poses = read_poses(out / row["file"])
    assert poses is not None
    assert row["displaced_waters"] == poses.tags[0]["displaced_waters"]
    assert row["displaced_waters"].startswith("W:1")  # the box is around it
    gone = [set(tags["displaced_waters"].split()) for tags in poses.tags]
    contacts = list(csv.DictReader((out / "contacts.csv").open()))
    assert not [c for c in contacts if c["residue"] in gone[int(c["rank"]) - 1]]
    whole = (out / row["file"].replace(".sdf", "_complex.pdb")).read_text()
    assert " W   1 " not in whole
    assert "HOH" in whole or row["displaced_waters"] == "W:1 W:2"
    assert main([*arguments, "--water-price", "0.5", "-o", str(tmp_path / "dry")]) == 2
    assert "has no water near the box" in capsys.readouterr().err
    assert main([*arguments, "--keep", "W:7", "-o", str(tmp_path / "dry")]) == 2
    assert "keep: W:7 is not in" in capsys.readouterr().err
