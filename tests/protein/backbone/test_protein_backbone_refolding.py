"""Refolding: known distances come out, every tool's folder is understood, bad input is one line.

Predictions are made by moving designs about: a rigid motion has distance 0, and a stretch about
the centre, which no rotation makes smaller, has a distance that is known beforehand.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protein.backbone.folder import read_folder
from protein.backbone.metrics.tm import tm_score
from protein.backbone.refolding import RefoldOptions, Thresholds, read_refolded
from protein.backbone.refolding.confidence import confidence_of
from protein.backbone.refolding.names import DesignNames
from protein.backbone.refolding.pairing import pairings
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_mmcif, write_pdb, write_structure
from sciddiff.cli.main import main
from sciddiff.errors import InputError

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def fold(seed: int, length: int, chain_id: str = "A") -> Backbone:
    """Helices joined by turns, poly-alanine as designs are."""
    rng = np.random.default_rng(seed)
    torsions = np.tile([-60.0, -45.0, 180.0], (length, 1))
    for start in range(9, length - 4, 13):
        torsions[start : start + 3, :2] = rng.uniform(-150, 150, size=(3, 2))
    coords = backbone_from_torsions(np.radians(torsions))
    return Backbone.from_coords(coords - coords.mean((0, 1)), chain_id=chain_id)


def placed(chain: Backbone, turn: float = 0.0, stretch: float = 1.0, seed: int = 0) -> Backbone:
    """The chain stretched about the centre of its CA atoms, turned about z, and elsewhere.

    Its sequence is one of all amino acids, which depends on the seed.
    """
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    centre = chain.ca.astype(float).mean(0)
    coords = centre + stretch * (chain.coords - centre)
    letters = np.random.default_rng(seed).choice(list(LETTERS), len(chain))
    moved = coords @ rotation.T + np.array([30.0, -20.0, 5.0])
    return replace(chain, coords=moved.astype(np.float32), sequence="".join(letters))


def stretched_by(chain: Backbone, stretch: float) -> float:
    """Distance of `placed` to the chain: a stretch about the centre is what no motion undoes."""
    ca = chain.ca.astype(float)
    return abs(stretch - 1) * float(np.sqrt(((ca - ca.mean(0)) ** 2).sum(1).mean()))


@pytest.fixture
def designs(tmp_path: Path) -> Path:
    """Three designs of 40, 50 and 60 residues."""
    folder = tmp_path / "designs"
    folder.mkdir()
    for number, length in enumerate((40, 50, 60), start=1):
        write_pdb(folder / f"design_{number:04d}.pdb", fold(number, length))
    return folder


@pytest.fixture
def refolds(tmp_path: Path) -> Path:
    folder = tmp_path / "refolds"
    folder.mkdir()
    return folder


def the_design(number: int) -> Backbone:
    return fold(number, 30 + 10 * number)


def predict(file: Path, *chains: Backbone, plddt: float | np.ndarray = 90.0) -> Path:
    """Write a structure with its confidence."""
    file.parent.mkdir(parents=True, exist_ok=True)
    length = sum(len(chain) for chain in chains)
    write_structure(file, chains, np.broadcast_to(plddt, length))
    return file


def judged(refolds: Path, designs: Path, **thresholds: float):
    return read_refolded(refolds, designs, read_folder(designs), Thresholds(**thresholds))


def evaluate(*words: object) -> int:
    return main(["evaluate", *(str(word) for word in words)])


# --- Distances and confidence.


def test_a_rigid_motion_is_a_perfect_refold(designs, refolds):
    predict(refolds / "design_0001.pdb", placed(the_design(1), turn=2.0), plddt=83.25)
    (one,) = judged(refolds, designs).refolds
    assert one.sc_rmsd < 1e-3 and one.sc_tm > 0.9999 and one.passes  # three decimals in the file
    assert one.plddt == pytest.approx(83.25) and one.residues == 40 and one.chains == "A"
    assert (one.design, one.sequence, one.prediction) == ("design_0001", "design_0001", "")


@pytest.mark.parametrize("stretch", [0.9, 1.05, 1.25])
def test_a_stretch_has_its_known_distance(designs, refolds, stretch):
    chain = the_design(3)
    predict(refolds / "design_0003.pdb", placed(chain, turn=0.7, stretch=stretch))
    (one,) = judged(refolds, designs).refolds
    assert one.sc_rmsd == pytest.approx(stretched_by(chain, stretch), abs=2e-3)
    far = placed(chain, stretch=stretch)
    assert one.sc_tm == pytest.approx(tm_score(far.ca, chain.ca), abs=1e-3)
    assert one.passes == (one.sc_rmsd < 2.0)


def test_thresholds_are_strict_and_can_be_changed(designs, refolds):
    chain = the_design(2)
    predict(refolds / "design_0002.pdb", placed(chain, stretch=1.3), plddt=60.0)
    found = judged(refolds, designs).refolds[0]
    assert not found.passes and found.sc_rmsd > 2.0
    above = dict(rmsd=found.sc_rmsd + 0.01, tm=found.sc_tm - 0.01, plddt=59.0)
    assert judged(refolds, designs, **above).refolds[0].passes
    for strict in ({"rmsd": found.sc_rmsd}, {"tm": found.sc_tm}, {"plddt": found.plddt}):
        assert not judged(refolds, designs, **{**above, **strict}).refolds[0].passes


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_confidence_of_either_scale(designs, refolds, suffix):
    sure = np.linspace(0.2, 0.98, 40).round(2)
    for name, scale in (("a", 1.0), ("b", 100.0)):
        file = refolds / f"design_0001_{name}.{suffix}"
        predict(file, placed(the_design(1)), plddt=sure * scale)
    one, two = judged(refolds, designs).refolds
    assert one.plddt == pytest.approx(two.plddt) == pytest.approx(100 * sure.mean())


@pytest.mark.parametrize("values", [0.0, 1.0, 130.0, np.arange(40.0) % 2])
def test_b_factors_that_are_no_confidence_are_said_and_not_judged(designs, refolds, values):
    predict(refolds / "design_0001.pdb", placed(the_design(1)), plddt=values)
    found = judged(refolds, designs, plddt=99.0)
    assert found.refolds[0].plddt is None and found.refolds[0].passes
    assert "1 of 1 refolded structures have no pLDDT" in found.notes[0]
    assert np.isnan(found.columns()["design_0001"]["plddt"])


# --- Folders as tools write them.


def test_colabfold(designs, refolds):
    """Ranks of two sequences, what was relaxed, recycles, templates, and scores beside."""
    tail = "alphafold2_ptm_model_{}_seed_000"
    for sequence, stretches in (("s1", (1.3, 1.02)), ("s2", (1.1,))):
        for rank, stretch in enumerate(stretches, start=1):
            stem = f"design_0001_{sequence}_{{}}_rank_{rank:03d}_{tail.format(rank)}"
            moved = placed(the_design(1), stretch=stretch)
            predict(refolds / f"{stem.format('unrelaxed')}.pdb", moved, plddt=70.0 + rank)
            scores = {"plddt": [50.0] * 40, "ptm": 0.1 * rank, "max_pae": 3.0, "pae": [[0.0]]}
            (refolds / f"{stem.format('scores')}.json").write_text(json.dumps(scores))
    relaxed = refolds / f"design_0001_s2_relaxed_rank_001_{tail.format(1)}.pdb"
    predict(relaxed, placed(the_design(1), stretch=1.01))
    predict(
        refolds / f"design_0001_s1_unrelaxed_{tail.format(1)}.r0.pdb", placed(the_design(1))
    )
    predict(refolds / "design_0001_s1_env" / "templates_101" / "design_0001.cif", the_design(1))
    found = judged(refolds, designs)
    assert [(one.sequence, one.prediction[:18]) for one in found.refolds] == [
        ("design_0001_s1", "unrelaxed_rank_001"),
        ("design_0001_s1", "unrelaxed_rank_002"),
        ("design_0001_s2", "relaxed_rank_001_a"),
    ]
    assert [one.ptm for one in found.refolds] == pytest.approx([0.1, 0.2, 0.1])
    assert found.refolds[0].plddt == pytest.approx(71.0)  # the B factors, not the file beside
    best = found.best_of_sequence
    assert best["design_0001_s1"].prediction.startswith("unrelaxed_rank_002")
    assert found.best["design_0001"].file == relaxed.name
    columns = found.columns()["design_0001"]
    assert columns["sequences_refolded"] == columns["sequences_passing"] == 2


@pytest.mark.parametrize("written", ["b_factors", "beside"])
def test_boltz(designs, refolds, written):
    sure = np.linspace(0.5, 0.9, 50).round(3)
    for model, stretch in enumerate((1.0, 1.2)):
        stem = f"design_0002_s7_model_{model}"
        folder = refolds / "boltz_results_x" / "predictions" / "design_0002_s7"
        values = 100 * sure if written == "b_factors" else 1.0
        predict(folder / f"{stem}.cif", placed(the_design(2), stretch=stretch), plddt=values)
        scores = {"confidence_score": 0.8, "ptm": 0.7 + model / 10, "iptm": 0.0, "plddt": None}
        (folder / f"confidence_{stem}.json").write_text(json.dumps(scores))
        np.savez(folder / f"plddt_{stem}.npz", plddt=sure.astype(np.float32))
    predict(refolds / "boltz_results_x" / "processed" / "design_0002.cif", the_design(2))
    one, two = judged(refolds, designs).refolds
    assert (one.design, one.sequence, one.prediction) == (
        "design_0002", "design_0002_s7", "model_0",
    )  # fmt: skip
    assert two.prediction == "model_1" and [one.ptm, two.ptm] == pytest.approx([0.7, 0.8])
    assert one.plddt == pytest.approx(100 * sure.mean(), abs=0.01)


def test_chai(designs, refolds):
    for folder, model in (("design_0003_s1", 0), ("design_0003_s1/trunk_1", 0)):
        place = refolds / folder
        predict(place / f"pred.model_idx_{model}.cif", placed(the_design(3)), plddt=77.0)
        np.savez(place / f"scores.model_idx_{model}.npz", ptm=np.array([0.66]), iptm=[0.5])
    one, two = judged(refolds, designs).refolds
    assert one.sequence == two.sequence == "design_0003_s1"
    assert (one.prediction, two.prediction) == ("pred.model_idx_0", "trunk_1/pred.model_idx_0")
    assert (one.ptm, one.iptm) == pytest.approx((0.66, 0.5)) and one.plddt == pytest.approx(77.0)
    # The folder of one sequence itself.
    assert judged(refolds / "design_0003_s1", designs).refolds[0].sequence == "design_0003_s1"


def test_esmfold_and_alphafold(designs, refolds):
    """A name alone; whole FASTA headers as names; AlphaFold 2's and 3's folders."""
    chain = placed(the_design(1))
    for name in (
        "design_0001.pdb",
        "design_0001_s1, T=0.1, sample=1.pdb",
        "design_0001_s2__T_0.1__sample_2.pdb",
        "design_0001_s3/ranked_0.pdb",
        "design_0001_s4/seed-1_sample-0/model.cif",
        "design_0001_s5/seed-1_sample-0/design_0001_s5_seed-1_sample-0_model.cif",
    ):
        predict(refolds / name, chain)
    scores = refolds / "design_0001_s5/seed-1_sample-0"
    file = scores / "design_0001_s5_seed-1_sample-0_summary_confidences.json"
    file.write_text('{"ptm": 0.5, "iptm": null}')
    found = judged(refolds, designs)
    assert [one.sequence for one in found.refolds] == [
        "design_0001",
        "design_0001_s1, T=0.1, sample=1",
        "design_0001_s2__T_0.1__sample_2",
        "design_0001_s3",
        "design_0001_s4",
        "design_0001_s5",
    ]
    assert found.refolds[-1].ptm == 0.5 and found.refolds[-1].iptm is None
    assert {one.design for one in found.refolds} == {"design_0001"}


def test_names_end_at_a_separator_and_the_longest_wins():
    names = DesignNames(["a", "a_b", "A-9", "T0.1 x/y", "design_1"])
    for stem, design in {
        "a": "a", "a_s1": "a", "a_b": "a_b", "a_b_s1": "a_b", "a_bc": "a", "ab": None,
        "a-9_s2": "A-9", "t0.1_x_y_s1": "T0.1 x/y", "design_10": None, "design_1.2": "design_1",
        "design_1 sample=3": "design_1", "model_0": None, "": None,
    }.items():  # fmt: skip
        match = names.match(stem)
        assert (match and match.design) == design, stem
    # A file with a name of its own belongs to no folder.
    assert names.match("banana", ["a"]) is None and names.match("model_0", ["a_s1"]).design == "a"


# --- Chains and residues.


def test_chains_in_their_order_and_copies_in_any(designs, refolds):
    one, two = fold(8, 30), replace(fold(9, 25, "B"), coords=fold(9, 25).coords + np.float32(12.0))
    copies = [placed(two, turn=0.1), replace(placed(two, turn=2.0), chain_id="C")]
    write_pdb(designs / "pair.pdb", [one, two])
    write_pdb(designs / "copies.pdb", copies)
    # One motion for all chains, or chains would come apart.
    moved = [placed(chain, turn=1.0, seed=n) for n, chain in enumerate((one, two))]
    predict(refolds / "pair_s1.pdb", *moved, plddt=np.r_[np.full(30, 80.0), np.full(25, 60.0)])
    predict(refolds / "pair_s2.pdb", *moved[::-1])  # ColabFold puts chains together by sequence
    swapped = [
        replace(placed(copy, turn=0.4), chain_id=name, sequence=copies[0].sequence)
        for copy, name in zip(copies[::-1], "AB", strict=True)
    ]
    predict(refolds / "copies_s1.pdb", *swapped)
    found = {name: best for name, best in judged(refolds, designs).best_of_sequence.items()}
    assert found["pair_s1"].sc_rmsd < 2e-3 and found["pair_s1"].chains == "A B"
    assert found["pair_s1"].plddt == pytest.approx((30 * 80 + 25 * 60) / 55)
    assert found["pair_s2"].sc_rmsd < 2e-3
    assert found["copies_s1"].sc_rmsd < 2e-3


def test_copies_may_change_places_but_different_chains_of_one_length_may_not():
    a, b = placed(fold(1, 20), seed=1), placed(fold(2, 20), seed=2)
    assert [way.refold[0] for way in pairings([a, b], [a, b])] == [0]
    same = replace(b, sequence=a.sequence)
    assert [way.refold[0] for way in pairings([a, b], [a, same])] == [0, 20]
    many = [same] * 8
    assert len(pairings(many, many)) == 720


def test_one_chain_of_several(designs, refolds):
    """A binder without its target, one unit of an assembly, and all chains joined to one."""
    target, binder = fold(5, 45, "A"), fold(6, 30, "B")
    write_pdb(designs / "complex.pdb", [target, binder])
    predict(refolds / "complex_s1.pdb", placed(binder, turn=1.0))
    joined = Backbone.from_coords(np.concatenate([target.coords, binder.coords]))
    predict(refolds / "complex_s2.pdb", placed(joined, turn=1.0))
    alone, whole = judged(refolds, designs).refolds
    assert (alone.chains, alone.residues) == ("B", 30) and alone.sc_rmsd < 2e-3
    assert (whole.chains, whole.residues) == ("A B", 75) and whole.sc_rmsd < 2e-3
    unit = fold(7, 30)
    ways = pairings([unit, unit, unit], [unit], designed=[2])
    assert [way.chains for way in ways] == [(2,)]


def test_missing_residues_and_other_numbers():
    """Rows correspond by place, by number, or by sequence; a wrong length is none of these."""
    whole = placed(fold(4, 30))
    numbers = np.arange(101, 131)
    gap = np.r_[0:10, 14:30]
    for chain in (whole, replace(whole, residue_numbers=numbers)):
        missing = chain.select(gap)
        for short, long in ((missing, whole), (whole.select(gap), chain)):
            (way,) = pairings([short], [long])
            assert way.refold.tolist() == gap.tolist() and way.design.tolist() == [*range(26)]
            (way,) = pairings([long], [short])
            assert way.design.tolist() == gap.tolist()
    # An end is missing: believed where the letters say so, by number or, renumbered, by sequence.
    end = whole.select(slice(6, 30))
    counted = replace(end, residue_numbers=np.arange(1, 25))
    for chain in (end, counted):
        (way,) = pairings([whole], [chain])
        assert way.design.tolist() == [*range(6, 30)]
    alanine = Backbone.from_coords(end.coords)
    assert pairings([whole], [alanine]) == []
    other = replace(counted, sequence=placed(end, seed=5).sequence)
    assert pairings([whole], [other]) == []


# --- Tables, reports and what stays.


def test_console_csv_json_and_report(designs, refolds, tmp_path, capsys):
    for n, stretch in ((1, 1.0), (2, 1.4)):
        for s in (1, 2):
            moved = placed(the_design(n), stretch=stretch if s == 1 else 1.42)
            predict(refolds / f"design_{n:04d}_s{s}.pdb", moved, plddt=88.0)
    words = (designs, "--refolded", refolds, "-o", tmp_path / "out.json")
    assert evaluate(*words, "--report", tmp_path / "page") == 0
    said = capsys.readouterr()
    assert "1 of 2 refolded designs and 1 of 4 sequences pass" in said.out
    assert "scRMSD < 2 Å, scTM > 0.5, pLDDT > 70" in said.out
    shown = [line.split() for line in said.out.splitlines() if line.startswith("design_")]
    assert shown[0][0] == "design_0001" and shown[0][4:] == ["yes", "design_0001_s1.pdb"]
    assert f"note: {designs}: 1 of 3 designs have no refolded structure: design_0003" in said.err

    rows = {row["name"]: row for row in csv.DictReader((designs / "designs.csv").open())}
    assert rows["design_0001"]["refold_passes"] == "1" and rows["design_0003"]["sc_rmsd"] == ""
    known = stretched_by(the_design(2), 1.4)
    assert float(rows["design_0002"]["sc_rmsd"]) == pytest.approx(known, abs=2e-3)
    assert rows["design_0002"]["sequences_refolded"] == "2"
    table = list(csv.DictReader((designs / "refolded.csv").open()))
    assert [row["best_of_design"] for row in table] == ["1", "0", "1", "0"]
    assert list(table[0])[:4] == ["design", "sequence", "prediction", "file"]

    data = json.loads((tmp_path / "out.json").read_text())
    assert data["refolded"]["summary"] == {
        "designs": 3, "designs_refolded": 2, "designs_passing": 1,
        "sequences": 4, "sequences_passing": 1, "structures": 4,
    }  # fmt: skip
    assert data["summary"]["refold_passes"]["value"] == 0.5
    record = data["record"]
    assert record["request"] == {"domain": "backbone", "model": None, "refolded": str(refolds)}
    assert record["inputs"]["--refolded"]["path"] == str(refolds)
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Refolded structures" in page and "scRMSD" in page


def test_later_measurements_keep_what_was_found_of_designs_that_did_not_change(
    designs, refolds, capsys
):
    for n in (1, 2):
        predict(refolds / f"design_{n:04d}.pdb", placed(the_design(n)))
    assert evaluate(designs, "--refolded", refolds, "--max-rmsd", 1.5) == 0
    write_pdb(designs / "design_0002.pdb", fold(77, 50))
    capsys.readouterr()
    assert evaluate(designs, "--domain", "backbone") == 0
    assert "1 of 1 refolded designs and 1 of 1 sequences pass (scRMSD < 1.5" in (
        capsys.readouterr().out
    )
    rows = {row["name"]: row for row in csv.DictReader((designs / "designs.csv").open())}
    assert rows["design_0001"]["refold_passes"] == "1" and rows["design_0002"]["sc_rmsd"] == ""
    (designs / "refolded.json").write_text('{"structures": 3}')
    assert evaluate(designs, "--domain", "backbone") == 2
    assert "refolded.json: is not what evaluate --refolded wrote" in capsys.readouterr().err


# --- Bad input.


def test_what_does_not_fit_is_counted_and_the_rest_measured(designs, refolds, capsys):
    predict(refolds / "design_0001_s1.pdb", placed(the_design(1)))
    predict(refolds / "design_0002_s1.pdb", placed(fold(3, 49)))
    (refolds / "design_0003_s1.pdb").write_text("ATOM      1  N   ALA A   1      banana")
    for n in range(4):
        predict(refolds / f"banana_{n}.pdb", the_design(1))
    np.savez(refolds / "plddt_design_0001_s1.npz", plddt=np.array(["x"]))
    assert evaluate(designs, "--refolded", refolds) == 0
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if line.startswith("note: ")]
    assert len(said) == 4
    assert "4 structures are named after no design: banana_0.pdb, banana_1.pdb" in said[0]
    assert (
        "design_0002_s1.pdb is left out: has 49 residues, but design_0002 has 50 residues; fold a "
        "sequence of that design"
    ) in said[1]
    assert "design_0003_s1.pdb is left out:" in said[2]
    assert "2 of 3 designs have no refolded structure: design_0002, design_0003" in said[3]


def test_nothing_that_matches_is_status_two_and_writes_nothing(designs, refolds, capsys):
    words = (designs, "--refolded", refolds)

    def refused(text: str, *more: object) -> None:
        capsys.readouterr()
        assert evaluate(*words, *more) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and text in said[0], said

    refused("refolds: holds no .pdb or .cif file")
    predict(refolds / "banana.pdb", the_design(1))
    refused("none of its 1 structures is named after a design of")
    predict(refolds / "design_0001.pdb", fold(3, 39))
    predict(refolds / "design_0002.pdb", fold(3, 39))
    refused("has 39 residues, but design_0001 has 40 residues")
    refused("and 1 more like it")
    refused("--max-rmsd: 'two' is not a number of at least 0", "--max-rmsd", "two")
    refused("--min-tm: '1.5' is not a number from 0 to 1", "--min-tm", "1.5")
    refused("--refolded: given by --set too", "--set", "refolded=x")
    refused("--set min_tn: not an option of backbone; did you mean min_tm?", "--set", "min_tn=1")
    assert [file.name for file in sorted(designs.iterdir())] == [
        f"design_{n:04d}.pdb" for n in (1, 2, 3)
    ]
    words = (designs, "--refolded", designs)
    refused("is the folder of the designs themselves")
    words = (designs, "--refolded", refolds / "absent")
    refused("absent: no such folder")
    words = (designs, "--refolded", refolds / "banana.pdb")
    refused("is a file; unpack it")
    words = (designs,)
    refused("--min-tm: judges refolded structures; add --refolded", "--min-tm", "0.6")


def test_a_damaged_file_beside_a_structure_is_said_and_the_structure_kept(refolds):
    chain = placed(the_design(1))
    file = predict(refolds / "design_0001_model_0.cif", chain, plddt=0.5)
    (refolds / "confidence_design_0001_model_0.json").write_text("{")
    np.savez(refolds / "plddt_design_0001_model_0.npz", plddt=np.full(39, 0.9))
    found = confidence_of(file, "design_0001_model_0", [replace(chain, b_factors=np.ones(40))])
    assert found.plddt is None and found.ptm is None  # 39 values for 40 residues
    assert len(found.notes) == 1 and "confidence_design_0001_model_0.json" in found.notes[0]


def test_options_of_plain_values():
    assert RefoldOptions.read({}) == RefoldOptions()
    asked = RefoldOptions.read({"refolded": "x", "max_rmsd": 3, "min_plddt": "80"})
    assert asked == RefoldOptions(Path("x"), Thresholds(3.0, 0.5, 80.0))
    with pytest.raises(InputError, match="--min-plddt: True is not a number from 0 to 100"):
        RefoldOptions.read({"refolded": "x", "min_plddt": True})


def test_a_copy_of_the_design_is_no_prediction(designs, refolds):
    """What designs sequences writes backbones too, with numbers in the B factors."""
    sequenced = replace(placed(the_design(1)), coords=the_design(1).coords)
    predict(refolds / "design_0001_s1.cif", sequenced, plddt=60.0)
    with pytest.raises(InputError, match="has the coordinates of design_0001 itself"):
        judged(refolds, designs)


def test_the_designs_beside_are_no_predictions(designs):
    """A folder that holds the designs' folder: only what is elsewhere in it counts."""
    write_mmcif(designs.parent / "design_0001_s1.cif", placed(the_design(1)), np.full(40, 75.0))
    assert [one.file for one in judged(designs.parent, designs).refolds] == ["design_0001_s1.cif"]
