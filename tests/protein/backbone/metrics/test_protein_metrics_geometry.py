"""Geometry of chains whose geometry is known, and agreement with an independent script."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from protein.backbone.metrics import geometry as g
from protein.backbone.metrics.measure import measure
from protein.backbone.metrics.secondary import HELIX, ca_secondary_structure, segments, states_of
from protein.structures import geometry_constants as geo
from sciddiff.errors import InputError

MIRROR = np.array([1.0, 1.0, -1.0])


def test_ideal_chain_has_no_deviation(helix, strand):
    for coords in (helix, strand):
        bonds, angles = g.bond_z_scores(coords), g.angle_z_scores(coords)
        assert g.worst_z(bonds, ("N-CA", "CA-C", "C-O", "C-N")) < 1e-4
        assert g.worst_z(angles) < 1e-4
        assert g.worst_z(bonds, ("CA-CA",)) < 1.0
        assert not g.chain_breaks(coords).any()
        assert g.odd_ca_fraction(coords) == 0.0
        assert g.ca_clashes(coords) == 0
        assert g.atom_overlaps(coords) == 0


def test_torsions_are_those_the_chain_was_built_from(helix):
    t = g.torsions(helix)
    assert np.isnan(t.phi[0]) and np.isnan(t.psi[-1]) and np.isnan(t.omega[-1])
    np.testing.assert_allclose(t.phi[1:], -57.0, atol=1e-3)
    np.testing.assert_allclose(t.psi[:-1], -47.0, atol=1e-3)
    np.testing.assert_allclose(np.abs(t.omega[:-1]), 180.0, atol=1e-3)


def test_a_stretched_bond_is_measured_in_standard_deviations(helix):
    moved = helix.copy()
    direction = helix[10, 0] - helix[9, 2]
    # The second half slides along C(9)–N(10) by three standard deviations.
    moved[10:] += 3.0 * geo.C_N_SD * direction / np.linalg.norm(direction)
    z = g.bond_z_scores(moved)["C-N"]
    assert z[9] == pytest.approx(3.0, abs=1e-3)
    assert np.abs(np.delete(z, 9)).max() < 1e-4
    assert measure("moved", moved).row["bonds_4_sigma"]
    moved[10:] += 1.5 * geo.C_N_SD * direction / np.linalg.norm(direction)
    assert not measure("moved", moved).row["bonds_4_sigma"]


@pytest.mark.parametrize("gap", [0.36, 2.0, 30.0])
def test_a_break_is_found_where_it_is(helix, gap):
    broken = helix.copy()
    direction = helix[12, 0] - helix[11, 2]
    broken[12:] += (gap + 0.02) * direction / np.linalg.norm(direction)
    assert np.flatnonzero(g.chain_breaks(broken)).tolist() == [11]
    row = measure("broken", broken).row
    assert row["broken"] and row["breaks"] == 1 and not row["intact"]
    assert "1 chain break" in row["flags"]


def test_the_gap_between_chains_of_a_complex_is_no_break(helix):
    pair = np.concatenate((helix, helix + [25.0, 0.0, 0.0]))
    assert measure("pair", pair).row["broken"]
    row = measure("pair", pair, chain_lengths=[20, 20]).row
    assert row["intact"] and row["breaks"] == 0
    assert row["max_bond_z"] < 1.0
    with pytest.raises(InputError, match="add up"):
        measure("pair", pair, chain_lengths=[20, 19])


def test_mirror_image_passes_lengths_but_is_left_handed(helix):
    mirrored = helix * MIRROR
    assert g.worst_z(g.bond_z_scores(mirrored)) == pytest.approx(
        g.worst_z(g.bond_z_scores(helix))
    )
    right, left = measure("right", helix).row, measure("left", mirrored).row
    assert right["left_handed"] == 0 and right["phi_negative"] == 1.0
    assert left["left_handed"] >= 10 and left["phi_negative"] == 0.0
    assert "left-handed helix" in left["flags"] and "left-handed" not in right["flags"]


def test_clashes_count_pairs_once(helix):
    twice = np.concatenate((helix, helix + [0.0, 0.0, 1.0]))
    gap = np.linalg.norm(twice[:, None, 1] - twice[None, :, 1], axis=-1)
    i, j = np.triu_indices(len(twice), 3)
    assert g.ca_clashes(twice) == (gap[i, j] < 3.6).sum() > 0
    assert g.atom_overlaps(twice) > g.ca_clashes(twice)


def test_secondary_structure_of_ideal_chains(helix, strand):
    assert (states_of(helix)[1:-1] == HELIX).all()
    # A lone strand has no partner to bond to.
    assert (states_of(strand) == 0).all()
    assert (ca_secondary_structure(helix[:, 1]) == 1).all()
    assert (ca_secondary_structure(strand[:, 1]) == 2).all()
    assert (ca_secondary_structure((helix * MIRROR)[:, 1]) != 1).all()


def test_segments_partition_the_chain():
    states = np.array([0, 0, 1, 1, 1, 2, 0])
    assert segments(states) == [(0, 0, 2), (1, 2, 5), (2, 5, 6), (0, 6, 7)]
    assert segments(states[:0]) == []


def test_figures_do_not_change_with_the_frame_of_reference(helix):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    q *= np.sign(np.linalg.det(q))
    bent = helix + rng.normal(scale=0.05, size=helix.shape)
    first, second = measure("a", bent).row, measure("a", bent @ q.T + 7.0).row
    for key, value in first.items():
        assert second[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (np.zeros((10, 3, 3)), "shape"),
        (np.zeros((3, 4, 3)), "at least 6"),
        (np.full((10, 4, 3), np.nan), "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(coords, message):
    with pytest.raises(InputError, match=f"bad one: .*{message}"):
        measure("bad one", coords)


def test_agreement_with_an_independent_script(native_chains, helix, strand):
    root = Path(os.environ.get("SCIDDIFF_DATA", Path(__file__).parents[5] / "shared" / "data"))
    path = root.parent / "bench" / "backbone_geometry.py"
    if not path.is_file():
        pytest.skip(f"independent script absent: {path.name}")
    spec = importlib.util.spec_from_file_location("independent", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    rng = np.random.default_rng(1)
    damaged = [
        (f"{name} damaged", np.asarray(x) * MIRROR + rng.normal(scale=0.2, size=x.shape))
        for name, x in native_chains[:3]
    ]
    same = {
        "L": "length", "broken": "broken", "bad_ca": "bad_ca", "phi_neg": "phi_negative",
        "trans": "trans", "clash_per_100": "clashes_per_100", "helix": "helix",
        "strand": "strand", "left_helix_quads": "left_handed", "rg": "rg",
        "rg_ratio": "rg_ratio", "contacts": "contacts",
    }  # fmt: skip
    for name, x in [*native_chains, *damaged, ("helix", helix), ("strand", strand)]:
        theirs = bench.stats([(name, np.asarray(x, np.float64))])
        ours = measure(name, x).row
        for key, own in same.items():
            assert float(ours[own]) == pytest.approx(theirs[key], abs=1e-4), (name, key)
