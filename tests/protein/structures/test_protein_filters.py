"""Filters: each measure drops what it is for, and natives pass."""

import numpy as np
import pytest

from protein.structures.chain import Backbone
from protein.structures.filters import FilterSettings, bond_outliers, judge, pieces
from protein.structures.secondary import secondary_structure
from protein.structures.torsions import backbone_from_torsions
from sciddiff.errors import InputError

OPEN = FilterSettings(
    min_length=1,
    max_length=1000,
    max_rg_ratio=None,
    min_contacts=None,
    max_coil=None,
    max_bond_outliers=None,
)


def _helix(length: int) -> Backbone:
    return Backbone.from_coords(backbone_from_torsions(np.full((length, 3), np.nan)))


def _strand(length: int) -> Backbone:
    torsions = np.tile(np.radians([-120.0, 130.0, 180.0]), (length, 1))
    return Backbone.from_coords(backbone_from_torsions(torsions))


def _reason(chain: Backbone, **bounds) -> str | None:
    settings = FilterSettings(**{**OPEN.__dict__, **bounds})
    verdict, _ = judge(chain, settings)
    return None if verdict is None else verdict.reason


def test_each_bound_drops_what_it_is_for() -> None:
    helix, strand = _helix(60), _strand(60)
    assert _reason(helix) is None and _reason(strand) is None
    assert _reason(helix, min_length=61) == "too short"
    assert _reason(helix, max_length=59) == "too long"
    assert _reason(helix, max_rg_ratio=1.2) == "not compact"
    assert _reason(strand, min_contacts=1.1) == "few contacts"
    assert _reason(strand, max_coil=0.6) == "mostly coil"
    assert _reason(helix, max_coil=0.6) is None
    unknown = Backbone.from_coords(helix.coords, "X" * 10 + "A" * 50)
    assert _reason(unknown, max_unknown=0.1) == "unknown residues"


def test_stretched_bonds_are_outliers() -> None:
    helix = _helix(60)
    assert bond_outliers(helix.coords) == 0.0
    coords = helix.coords.copy()
    coords[10, 0] += 0.5
    assert bond_outliers(coords) == pytest.approx(2 / 179)
    assert _reason(Backbone.from_coords(coords), max_bond_outliers=0.005) == "bond outliers"


def test_pieces_end_at_breaks() -> None:
    chain = _helix(50)
    coords = chain.coords.copy()
    coords[20:] += 3.0
    coords[35:] += 3.0
    parts = pieces(Backbone.from_coords(coords))
    assert [part.labels[0] + part.labels[-1] for part in parts] == ["A1A20", "A21A35", "A36A50"]


def test_secondary_structure_of_ideal_helix_and_short_chains() -> None:
    assert secondary_structure(_helix(30).coords).count("h") >= 26
    assert secondary_structure(_strand(30).coords) == "c" * 30
    for length in range(1, 9):
        assert len(secondary_structure(_helix(length).coords)) == length


def test_impossible_bounds() -> None:
    with pytest.raises(InputError, match="impossible"):
        FilterSettings(min_length=50, max_length=40)
    with pytest.raises(InputError, match="max_coil"):
        FilterSettings(max_coil=-1.0)


def test_natives_pass_the_default_bounds(natives) -> None:
    sample = natives.take(np.arange(0, len(natives), 150))
    kept = [judge(sample.backbone(i), FilterSettings())[0] is None for i in range(len(sample))]
    assert np.mean(kept) > 0.95
