"""AUROC, enrichment factor and BEDROC of screens: exact values, ties, failures, actives."""

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit.ML.Scoring import Scoring

from protein.docking.campaign.hits import hit_rows
from protein.docking.campaign.output import Row
from protein.docking.evaluation.enrichment import (
    Actives,
    bedroc,
    enrichment,
    read_actives,
    screen_figures,
)
from sciddiff.errors import InputError


def test_figures_are_those_of_rdkit():
    rng = np.random.default_rng(0)
    active = rng.random(400) < 0.1
    affinity = rng.normal(size=400) - active
    scores = sorted(zip(affinity, active, strict=True))
    assert bedroc(affinity, active) == pytest.approx(Scoring.CalcBEDROC(scores, 1, 20.0))
    assert enrichment(affinity, active) == pytest.approx(
        Scoring.CalcEnrichment(scores, 1, [0.01])[0]
    )


def test_closed_forms():
    order, first = np.arange(1000.0), np.arange(1000) < 10
    assert enrichment(order, first) == pytest.approx(100.0)
    assert enrichment(-order, first) == 0.0
    assert bedroc(order, first) == pytest.approx(1.0)
    assert bedroc(-order, first) == pytest.approx(0.0, abs=1e-12)
    # Where all are equal, every order is as likely: no enrichment, and a RIE of 1.
    equal = np.zeros(1000)
    assert enrichment(equal, first) == pytest.approx(1.0)
    share, alpha = 0.01, 20.0
    least = (1 - np.exp(alpha * share)) / (share * (1 - np.exp(alpha)))
    most = (1 - np.exp(-alpha * share)) / (share * (1 - np.exp(-alpha)))
    assert bedroc(equal, first) == pytest.approx((1 - least) / (most - least))




def _rows():
    rows = []
    for i in range(40):
        name = f"m{i}"
        rows += [
            {"name": f"{name}_state{k}", "parent": name, "title": "", "status": "ok",
             "smiles": "CCO", "affinity": str(-10 + i + k)} for k in range(2)
        ]  # fmt: skip
    rows.append({"name": "lost", "parent": "", "status": "failed", "affinity": "", "smiles": ""})
    return rows


def test_a_screen_with_states_and_failures():
    found = screen_figures(_rows(), Actives(frozenset({"m0", "m1", "lost"})))
    assert (found["molecules"], found["actives"], found["failed"]) == (41, 3, 1)
    # Two actives are before all 38 others, and the lost one behind them.
    assert found["auroc"]["value"] == pytest.approx(2 / 3)
    for name in ("auroc", "ef_1", "bedroc_20"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert found == screen_figures(_rows(), Actives(frozenset({"m0", "m1", "lost"})))
    with pytest.raises(InputError, match="no molecule is active"):
        screen_figures(_rows(), Actives(frozenset({"nobody"})))


def test_actives_are_known_by_name_or_structure(tmp_path):
    (tmp_path / "a.txt").write_text("M0\n\nm1\n")
    assert read_actives(tmp_path / "a.txt").names == {"m0", "m1"}
    (tmp_path / "a.smi").write_text("CC(=O)[O-] x\n")
    actives = read_actives(tmp_path / "a.smi")
    rows = [
        {"name": n, "status": "ok", "smiles": s, "affinity": "-1"}
        for n, s in (("p", "CC(=O)[O-]"), ("q", "CCO"))
    ]
    assert actives.names == {"x"} and screen_figures(rows, actives)["actives"] == 1
    (tmp_path / "b.smi").write_text("CCO y\nCCCl gone\nCCBr\nCCF p\n")
    actives = read_actives(tmp_path / "b.smi")
    # q is CCO, and p is known by its name; two are not there.
    assert actives.absent(rows) == ["gone", "CCBr"]  # as the file has them
    figures = screen_figures([*rows, {**rows[0], "name": "decoy", "smiles": "CCN"}], actives)
    assert (figures["actives"], figures["actives_absent"]) == (2, 2)
    assert Actives(frozenset({"p", "nobody"})).absent(rows) == ["nobody"]
    (tmp_path / "none.txt").write_text("\n")
    for file, reason in (("none.txt", "holds no name"), ("gone.smi", "no such file of actives")):
        with pytest.raises(InputError, match=reason):
            read_actives(tmp_path / file)


def test_hits_have_one_row_for_each_molecule_and_a_diverse_choice():
    def row(index, name, parent, smiles, affinity, status="ok"):
        return Row(index, name, status, smiles=smiles, heavy_atoms="10", affinity=affinity,
                   parent=parent)  # fmt: skip

    toluene, ethyl = "Cc1ccc(CCCCN)cc1", "CCc1ccc(CCCCN)cc1"
    rows = [
        row(1, "a_state1", "a", toluene, "-5.0"), row(2, "a_state2", "a", toluene, "-9.0"),
        row(3, "b", "", ethyl, "-8.0"), row(4, "c", "", "OC(=O)C1CCC1", "-4.0"),
        row(5, "d", "", "CCO", "", "failed"),
    ]  # fmt: skip
    found = hit_rows(rows, 2)
    assert [(r["name"], r["state"], r["states"]) for r in found] == [
        ("a", "a_state2", 2), ("b", "b", 1), ("c", "c", 1)
    ]  # fmt: skip
    assert [r["cluster"] for r in found] == [1, 1, 2]
    assert [r["chosen"] for r in found] == [1, "", 2] and found[0]["efficiency"] == "-0.900"
    assert hit_rows(rows[4:], 2) == []
