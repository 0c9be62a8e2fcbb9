"""Laws of divergences, clusters and novelty, and the evaluation of a whole set."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein.backbone.metrics import (
    COLUMNS,
    FoldLibrary,
    Reference,
    comparison_text,
    evaluate_designs,
    write_designs_csv,
)
from protein.backbone.metrics import distribution as dist
from protein.backbone.metrics.novelty import novelty, shape_descriptor
from protein.backbone.metrics.shape import contact_figures, distance_map, radius_of_gyration
from protein.backbone.metrics.table import column_dictionary
from protein.backbone.metrics.tm import (
    clusters_per_hundred,
    greedy_clusters,
    pairwise_tm,
    tm_score,
)
from protein.structures.torsions import backbone_from_torsions
from sciddiff.errors import InputError

counts = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(sum)


def fold(seed: int, length: int = 60) -> np.ndarray:
    """A chain of helices and turns, different for every seed."""
    rng = np.random.default_rng(seed)
    torsions = np.tile([-60.0, -45.0, 180.0], (length, 1))
    for start in range(10, length - 4, 14):
        torsions[start : start + 3, :2] = rng.uniform(-180, 180, size=(3, 2))
    return backbone_from_torsions(np.radians(torsions))


def moved(coords: np.ndarray, seed: int, noise: float = 0.1) -> np.ndarray:
    """The same chain elsewhere, turned, and shaken."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    q *= np.sign(np.linalg.det(q))
    return coords @ q.T + rng.normal(size=3) + rng.normal(scale=noise, size=coords.shape)


@given(counts, counts)
def test_divergence_is_symmetric_bounded_and_zero_only_for_equals(p, q):
    value = dist.jensen_shannon(p, q)
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(dist.jensen_shannon(q, p), abs=1e-12)
    assert dist.jensen_shannon(p, [3 * x for x in p]) == pytest.approx(0.0, abs=1e-12)
    if not np.allclose(np.array(p) / sum(p), np.array(q) / sum(q)):
        assert value > 0


def test_divergence_of_known_histograms():
    assert dist.jensen_shannon([1, 0], [0, 1]) == pytest.approx(1.0)
    # H(3/4, 1/4) − H(1/2, 1/2)/2, in bits
    assert dist.jensen_shannon([1, 0], [1, 1]) == pytest.approx(0.311278124459133)
    assert np.isnan(dist.jensen_shannon([0, 0], [1, 1]))


@given(counts, counts, counts)
def test_root_of_the_divergence_obeys_the_triangle_inequality(p, q, r):
    a, b, c = (dist.jensen_shannon(*pair) ** 0.5 for pair in ((p, q), (q, r), (p, r)))
    assert c <= a + b + 1e-9


def test_torsion_histogram_is_periodic_and_coarsening_keeps_counts():
    phi, psi = np.array([-180.0, 179.99, 180.0, np.nan]), np.array([0.0, 0.0, 0.0, 5.0])
    histogram = dist.torsion_histogram(phi, psi, 36)
    assert histogram.sum() == 3
    assert histogram[0, 18] == 2 and histogram[35, 18] == 1
    assert dist.coarsen(histogram, 12)[0, 6] == 2
    density = dist.smooth_density(histogram)
    assert density.sum() == pytest.approx(1.0)
    # Mass is carried across the seam between −180° and 180°.
    assert density[1, 18] > 0 and density[34, 18] > 0


def test_density_level_holds_the_mass_asked_for():
    density = np.array([[0.5, 0.3], [0.15, 0.05]])
    assert dist.density_level(density, 0.5) == 0.5
    assert density[density >= dist.density_level(density, 0.9)].sum() >= 0.9


def test_bootstrap_interval_of_a_mean_has_the_width_theory_gives():
    rng = np.random.default_rng(0)
    mean, low, high = dist.bootstrap_mean(rng.normal(size=400), rng, draws=4000)
    assert low < mean < high
    assert (high - low) == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_shape_of_points_on_a_line():
    line = np.zeros((10, 4, 3))
    line[:, :, 0] = 3.0 * np.arange(10)[:, None]
    assert radius_of_gyration(line) == pytest.approx(3.0 * np.sqrt((10**2 - 1) / 12))
    # Within 8 Å and three or more apart there is nothing on this line.
    assert contact_figures(distance_map(line))["contacts"] == 0.0
    figures = contact_figures(distance_map(line / 1.2))  # steps of 2.5 Å: only gaps of three
    assert figures["contacts"] == pytest.approx(0.7)
    assert figures["contact_order"] == pytest.approx(0.3)
    assert figures["long_range_contacts"] == 0.0


def test_tm_score_knows_copies_parts_and_mirror_images():
    chain = fold(0)
    assert tm_score(chain, moved(chain, 1, 0.0)) == pytest.approx(1.0, abs=1e-5)
    assert tm_score(chain, chain[10:50]) == pytest.approx(1.0, abs=1e-5)
    assert tm_score(chain, chain * [1, 1, -1]) < 0.8


def test_known_duplicates_share_a_cluster():
    base = [fold(seed) for seed in range(3)]
    chains = [base[0], base[1], moved(base[0], 5), base[2], moved(base[1], 6), moved(base[0], 7)]
    similarity = pairwise_tm(chains)
    np.testing.assert_array_equal(similarity, similarity.T)
    labels = greedy_clusters(similarity, cut=0.9)
    assert labels.tolist() == [0, 1, 0, 2, 1, 0]
    assert clusters_per_hundred(labels) == pytest.approx(50.0)
    assert clusters_per_hundred(np.arange(250)) == 100.0
    np.testing.assert_array_equal(pairwise_tm(chains, workers=2), similarity)


def test_greedy_clusters_compare_with_representatives_only():
    # 0–1 and 1–2 alike, 0–2 not: 1 joins 0, and 2 must not join through it.
    similarity = np.array([[1.0, 0.7, 0.3], [0.7, 1.0, 0.7], [0.3, 0.7, 1.0]])
    assert greedy_clusters(similarity, 0.6).tolist() == [0, 0, 1]


def test_novelty_finds_a_hidden_copy_and_a_part(tmp_path):
    training = [(f"t{i}", fold(i, 50 + i)) for i in range(40)]
    library = FoldLibrary.build(training)
    hidden = moved(training[37][1], 3, 0.3)
    part = moved(fold(99, 160)[32:96], 4, 0.3)
    wide = FoldLibrary.build([*training, ("big", fold(99, 160))])
    scores, names = novelty([hidden], library, candidates=6)
    assert names == ["t37"] and scores[0] > 0.9
    scores, names = novelty([part], wide, candidates=6)
    assert names == ["big"] and scores[0] > 0.9
    wide.save(tmp_path / "library.npz")
    again = FoldLibrary.load(tmp_path / "library.npz")
    assert again.names == wide.names
    np.testing.assert_array_equal(again.candidates(part), wide.candidates(part))
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable [.]npz archive"):
        FoldLibrary.load(tmp_path / "bad.npz")


def test_shape_descriptor_ignores_position_and_orientation():
    chain = fold(2)[:, 1]
    turned = moved(fold(2), 8, 0.0)[:, 1]
    np.testing.assert_allclose(shape_descriptor(chain), shape_descriptor(turned), atol=1e-5)


@pytest.fixture(scope="module")
def evaluation():
    designs = [(f"d{i}", fold(i % 4)) for i in range(6)]
    return evaluate_designs(designs, training=[("known", fold(0)), ("other", fold(40))])


def test_evaluation_ranks_a_copy_as_not_novel(evaluation):
    rows = {row["name"]: row for row in evaluation.rows}
    assert rows["d0"]["novelty_tm"] == pytest.approx(1.0, abs=1e-4)
    assert rows["d0"]["novelty_match"] == "known"
    assert rows["d0"]["cluster"] == rows["d4"]["cluster"]
    assert rows["d0"]["nearest_tm"] == pytest.approx(1.0, abs=1e-4)
    assert evaluation.summary["intact"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_evaluation_is_a_function_of_its_seed(evaluation):
    designs = [(f"d{i}", fold(i % 4)) for i in range(6)]
    again = evaluate_designs(designs, training=[("known", fold(0)), ("other", fold(40))])
    assert again.summary == evaluation.summary


def test_natives_given_are_their_own_reference():
    natives = [(f"n{i}", fold(i)) for i in range(4)]
    result = evaluate_designs(natives, natives=natives)
    assert result.summary["rama_jsd_all"]["value"] == 0.0
    for key in ("helix", "rg", "phi_negative"):
        assert result.natives[key]["value"] == pytest.approx(result.summary[key]["value"])


def test_nothing_to_evaluate_is_said():
    with pytest.raises(InputError, match="none to evaluate"):
        evaluate_designs([])


def test_every_figure_has_an_entry_and_reaches_the_file(evaluation, tmp_path):
    path = write_designs_csv(tmp_path / "designs.csv", evaluation.rows)
    with path.open(encoding="utf-8", newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [row["name"] for row in read] == [row["name"] for row in evaluation.rows]
    for key, value in evaluation.rows[0].items():
        assert key in COLUMNS, key
        if isinstance(value, float):
            assert float(read[0][key]) == pytest.approx(value, rel=1e-5)
    assert set(evaluation.summary) - {"n"} <= set(COLUMNS)
    assert all(f"`{key}`" in column_dictionary() for key in COLUMNS)
    assert "Intact %" in comparison_text(evaluation.summary, evaluation.natives)
    assert list(tmp_path.iterdir()) == [path]


def test_shipped_natives_look_like_natives():
    reference = Reference.shipped()
    summary = {key: figure["value"] for key, figure in reference.summary.items()}
    assert 0.93 < summary["phi_negative"] < 0.95
    assert summary["broken"] == 0.0 and summary["trans"] > 0.99
    assert summary["rama_favoured"] == pytest.approx(0.98, abs=0.015)
    assert 0.2 < summary["strand"] < 0.3 and 0.3 < summary["helix"] < 0.4
    assert summary["novelty_median"] is not None and summary["clusters_per_100"] > 50
    low, high = reference.rg_band(np.array([100.0]))
    assert low[0] < 12.7 < high[0]
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    np.testing.assert_array_equal(again.torsions, reference.torsions)
    with pytest.raises(InputError, match="format"):
        Reference.from_json({"format": 99})
