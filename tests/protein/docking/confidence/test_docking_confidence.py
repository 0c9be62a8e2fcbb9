"""The ranker: what it may depend on, what it learns, its calibration, its files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logit, softmax

pytest.importorskip("Bio")

from protein.docking.campaign.examples import moved_faces, read_examples
from protein.docking.confidence import training
from protein.docking.confidence.judged import (
    Judged,
    calibration,
    few_of,
    judge,
    linear_weight,
    platt,
    summary,
)
from protein.docking.confidence.network import Committee, PoseRanker
from protein.docking.confidence.pose_set import pack, pose_set
from protein.docking.confidence.ranker import (
    Calibration,
    Platt,
    Ranker,
    find_ranker,
    load_ranker,
    save_ranker,
)
from protein.docking.confidence.training import (
    Example,
    RankerSettings,
    fit,
    folds,
    train_ranker,
)
from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import ligand_from_mol
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.receptors.box import box_around
from protein.docking.receptors.other_structure import superposed
from protein.docking.receptors.receptor import read_receptor
from protein.docking.search.draws import number_of
from protein.docking.search.monte_carlo import SearchSettings
from protein.docking.search.ranking import JUDGED, Docked
from sciddiff.cli.main import main
from sciddiff.errors import InputError
from sciddiff.manifolds import so3
from sciddiff.weights import sealed


def _docked(drug, receptor, poses) -> Docked:
    score = VinaEnergy.build([drug], [receptor]).score(torch.tensor(poses[None]).float())
    return Docked(
        poses,
        (score.interaction + score.intramolecular)[0].numpy(),
        score.affinity[0].numpy(),
        score.intramolecular[0].numpy(),
        score.terms[0].numpy(),
    )


@pytest.fixture
def poses(conformer) -> np.ndarray:
    """Six poses, ever farther from the mould they fit."""
    rng = np.random.default_rng(0)
    shifts = np.linspace(0, 2.5, 6)[:, None, None] * rng.normal(size=(6, 1, 3))
    return conformer + shifts


@pytest.fixture
def net() -> PoseRanker:
    torch.manual_seed(0)
    return PoseRanker(16).eval()


def test_the_judgement_does_not_depend_on_the_frame(drug, imprint, poses, net):
    docked = _docked(drug, imprint, poses)
    first = net(pack([pose_set(drug, imprint, docked)]))[0]
    turn = so3.exp_map(torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64)).numpy()
    shift = np.asarray([30.0, -8.0, 2.0])
    moved = replace(imprint, coords=imprint.coords @ turn.T + shift)
    second = net(pack([pose_set(drug, moved, replace(docked, coords=poses @ turn.T + shift))]))[0]
    assert torch.allclose(first, second, atol=1e-3)
    assert float(first.detach().std()) > 1e-3  # and it tells the poses apart


def test_the_judgement_does_not_depend_on_the_numbering_of_atoms(drug, imprint, poses, net):
    from rdkit.Chem import RenumberAtoms

    order = np.random.default_rng(1).permutation(len(drug))
    other = ligand_from_mol(RenumberAtoms(drug.mol, order.tolist()), "drug")
    docked = _docked(drug, imprint, poses)
    first = net(pack([pose_set(drug, imprint, docked)]))[0]
    second = net(pack([pose_set(other, imprint, replace(docked, coords=poses[:, order]))]))[0]
    assert torch.allclose(first, second, atol=1e-4)


def test_packing_ligands_together_changes_nothing(drug, imprint, poses, net):
    each = (poses, poses[1:4])
    sets = [pose_set(drug, imprint, _docked(drug, imprint, p)) for p in each]
    together = net(pack(sets))[0]
    apart = torch.cat([net(pack([s]))[0] for s in sets])
    assert torch.allclose(together, apart, atol=1e-5)


def test_a_pose_that_touches_nothing_is_judged_all_the_same(drug, imprint, conformer, net):
    far = conformer[None] + 500.0
    docked = Docked(far, np.zeros(1), np.zeros(1), np.zeros(1), np.zeros((1, 5)))
    assert torch.isfinite(net(pack([pose_set(drug, imprint, docked)]))[0]).all()


def _examples(drug, mould, conformer, count: int) -> list[Example]:
    made = []
    for i in range(count):
        receptor = mould(conformer, seed=i)
        rng = np.random.default_rng(i)
        moves = rng.normal(size=(10, 1, 3)) * np.where(np.arange(10) < 6, 3.0, 0.3)[:, None, None]
        coords = conformer + moves
        rmsd = torch.tensor(np.linalg.norm(moves[:, 0], axis=-1)).float()
        # Of the energies the network is told nothing here: it must look at the contacts.
        docked = Docked(coords, *np.zeros((3, 10)), np.zeros((10, 5)))
        poses = pose_set(drug, receptor, docked)
        native = poses.taken((rmsd < 0.5).nonzero()[:, 0])
        made.append(Example(str(i), poses, rmsd, native, str(i)))
    return made


def test_it_learns_which_poses_fit_pockets_it_never_saw(drug, mould, conformer):
    examples = _examples(drug, mould, conformer, 12)
    settings = RankerSettings(width=16, epochs=18, folds=2)
    ranker, scores = train_ranker(examples, settings)
    assert scores["auroc"] > 0.9
    assert scores["top1"] > 0.7 > scores["top1_energy"] + 0.3
    assert len(ranker.net) == 2


def _judged(logit, rmsd, above=None) -> Judged:
    """Judgement of poses that are all far from each other."""
    k = len(logit)
    above = np.zeros(k) if above is None else above
    return Judged(np.asarray(logit), np.asarray(rmsd), above, 9.0 - 9.0 * np.eye(k))


def test_the_weight_of_the_linear_score_is_the_one_that_orders_poses():
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(400):
        logit, above = 3 * rng.normal(size=12), 3 * rng.exponential(size=12)
        best = (logit - 0.7 * above).argmax()
        judged.append(_judged(logit, np.where(np.arange(12) == best, 1.0, 5.0), above))
    assert linear_weight(judged) == pytest.approx(0.7, abs=0.051)
    blind = [replace(j, above=rng.permutation(j.above)) for j in judged]
    assert linear_weight(blind) < 0.35
    assert linear_weight([replace(j, rmsd=j.rmsd + 9) for j in judged]) == 0.0


def test_the_calibration_finds_the_law_that_made_the_data():
    rng = np.random.default_rng(0)
    law = Calibration(0.0, Platt((2.0, -1.5, 0.5, -0.8), -0.5), Platt((1.0, 0.5, -0.4, 0.3), 0.2))
    judged: tuple[list[Judged], list[Judged]] = [], []
    for given in (False, True):
        for _ in range(20_000):
            logit = rng.normal(size=rng.integers(2, 9)) + rng.normal()
            above = np.zeros(len(logit))
            chance = 1 / (1 + np.exp(-law.logits(logit, above, given)))
            right = rng.random(len(logit)) < chance
            judged[given].append(_judged(logit, np.where(right, 1.0, 5.0), above))
    found = calibration(*judged)
    assert found.trust == 0.0  # of equal weights the smallest
    for name in ("searched", "given"):
        one, true = getattr(found, name), getattr(law, name)
        assert one.weights == pytest.approx(true.weights, abs=0.2)
        assert one.shift == pytest.approx(true.shift, abs=0.3)


def test_few_poses_are_those_of_least_energy_and_any(drug, mould, conformer):
    (example,) = _examples(drug, mould, conformer, 1)
    net = PoseRanker(8).eval()
    few = list(few_of(net, example.poses, example.rmsd, 0))
    assert [len(j.rmsd) for j in few] == [1, 1, 2, 2, 4, 4, 8, 8]  # of ten
    for j in few[::2]:
        assert np.allclose(j.rmsd, example.rmsd[: len(j.rmsd)])
        best = torch.arange(len(j.rmsd))
        alone = judge(net, example.poses.taken(best), example.rmsd[best])
        assert np.allclose(j.logit, alone.logit)
    again = list(few_of(net, example.poses, example.rmsd, 0))
    assert all(np.array_equal(a.rmsd, b.rmsd) for a, b in zip(few, again, strict=True))
    other = list(few_of(net, example.poses, example.rmsd, 1))
    assert any(not np.array_equal(a.rmsd, b.rmsd) for a, b in zip(few, other, strict=True))


def test_given_poses_have_a_law_of_their_own_and_a_pose_away_from_all_has_no_chance(
    drug, imprint, conformer
):
    torch.manual_seed(0)
    laws = Platt((1.0, 0.0, 0.0, 0.0), 3.0), Platt((1.0, 0.0, 0.0, 0.0), -1.0)
    ranker = Ranker(Committee(1, 8).eval(), Calibration(0.0, *laws), {})
    far = conformer + np.asarray([60.0, 0.0, 0.0])
    s = pose_set(drug, imprint, _docked(drug, imprint, np.stack([conformer, far])))
    assert s.touching.tolist() == [True, False]
    one, other = ranker.probabilities(s), ranker.probabilities(s, given=True)
    assert one[1] == other[1] == 0.0
    assert logit(one[0]) - logit(other[0]) == pytest.approx(4.0, abs=1e-4)


def test_what_a_probability_depends_on():
    found = Calibration(0.5).columns(np.asarray([1.0, 0.0]), np.asarray([0.0, 2.0]))
    whole = [0.5 * np.log(1.0 + np.exp(-4.0)), np.log(2.0), 0.5]
    assert found == pytest.approx(np.asarray([[1.0, *whole], [-1.0, *whole]]))


def test_of_poses_that_are_alike_one_is_reported():
    apart = np.full((4, 4), 5.0)
    apart[0, 1] = apart[1, 0] = 1.0
    np.fill_diagonal(apart, 0.0)
    judged = Judged(np.asarray([3.0, 2.0, 1.0, 0.0]), np.ones(4), np.zeros(4), apart)
    assert judged.reported(2) == [0, 2]
    assert judged.reported(4) == [0, 1, 2, 3]  # where there is no choice, alike ones fill up


def test_training_depends_on_the_seed_alone(drug, mould, conformer):
    examples = _examples(drug, mould, conformer, 4)
    settings = RankerSettings(width=8, epochs=2)
    torch.manual_seed(1)
    first = fit(examples, settings).state_dict()
    torch.manual_seed(2)
    second = fit(examples, settings).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = fit(examples, replace(settings, seed=1)).state_dict()
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_the_share_of_right_poses_is_part_of_the_loss(drug, mould, conformer):
    """The first loss exceeds that without it by -log of the share, on average over ligands."""
    examples = _examples(drug, mould, conformer, 4)
    first: list[float] = []

    def loss(listwise: float) -> float:
        settings = RankerSettings(width=8, epochs=1, ligands=4, dropout=0.0, listwise=listwise)
        fit(examples, settings, lambda _, value: first.append(value))
        return first[-1]

    torch.manual_seed(0)
    net = PoseRanker(8, dropout=0.0)
    net.linear = fit(examples, RankerSettings(width=8, epochs=1)).linear
    mine = [judge(net.eval(), e.poses, e.rmsd) for e in examples]
    shares = [softmax(j.logit)[j.rmsd < 2.0].sum() for j in mine]
    assert loss(3.0) - loss(0.0) == pytest.approx(-3.0 * np.log(shares).mean(), rel=1e-3)


def test_further_poses_of_a_complex_stay_out_of_the_fold_that_leaves_it_out(
    drug, mould, conformer, monkeypatch
):
    examples = _examples(drug, mould, conformer, 4)
    seen = []

    def noted(chosen, *rest):
        seen.append([e.name for e in chosen])
        return fit(chosen, *rest)

    monkeypatch.setattr(training, "fit", noted)
    settings = RankerSettings(width=8, epochs=1, folds=2)
    stranger = replace(examples[0], name="no complex of these")
    _, scores = train_ranker(examples, settings, further=[*examples, examples[1], stranger])
    assert scores["ligands"] == 4 and scores["further_ligands"] == 5
    left = folds([e.cluster for e in examples], 2)
    for k, names in enumerate(seen):
        inside = [e.name for e, f in zip(examples, left, strict=True) if f != k]
        assert sorted(names) == sorted(inside * 2 + ["1"] * ("1" in inside))


def test_clusters_are_never_split():
    clusters = ["a"] * 7 + ["b"] * 5 + ["c"] * 2 + ["d", "e", "f"]
    found = folds(clusters, 3)
    for name in set(clusters):
        assert len({int(f) for f, c in zip(found, clusters, strict=True) if c == name}) == 1
    assert sorted(np.bincount(found).tolist()) == [5, 5, 7]


def test_platt_finds_the_law_that_made_the_data():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=200_000) * 3
    right = rng.random(200_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    (slope,), shift = platt(logits[:, None], right)
    assert slope == pytest.approx(0.5, abs=0.01) and shift == pytest.approx(-1.0, abs=0.02)
    # Perfectly told apart, the slope stays finite.
    assert np.isfinite(platt(np.asarray([[-1.0], [1.0]]), np.asarray([False, True]))[0]).all()


def test_summary_of_hand_made_judgements():
    rmsd = np.asarray([5.0, 1.0, 6.0])
    good = _judged([-2.0, 3.0, -2.0], rmsd)
    bad = _judged([0.0, -1.0, 1.0], [1.0, 7.0, 7.0], np.asarray([0.0, 0.5, 0.2]))
    found = summary([good, bad], best_of=3)
    assert found["top1"] == 0.5 and found["top1_energy"] == found["top1_linear"] == 0.5
    assert found["best3"] == 1.0 and found["any"] == 1.0 and found["reported"] == 6
    assert summary([good, bad], best_of=1)["best1"] == 0.5
    # Of 2 right and 4 wrong poses, all but one pair are in order.
    assert found["auroc"] == pytest.approx(7 / 8)


def test_a_ranker_survives_its_files(tmp_path, drug, imprint, poses):
    torch.manual_seed(0)
    laws = Platt((0.7, -0.1, 0.2, 0.3), -0.2), Platt((0.5,) * 4, 1.0)
    ranker = Ranker(Committee(2, 8).eval(), Calibration(0.4, *laws), {})
    save_ranker(tmp_path / "model", ranker, {"width": 8}, metrics={"auroc": 0.8})
    again = load_ranker(tmp_path / "model")
    s = pose_set(drug, imprint, _docked(drug, imprint, poses))
    assert np.allclose(ranker.probabilities(s), again.probabilities(s))
    assert again.meta["metrics"]["auroc"] == 0.8
    meta = json.loads((tmp_path / "model" / "meta.json").read_text())
    meta["kind"] = "other"
    (tmp_path / "model" / "meta.json").write_text(json.dumps(sealed(meta)))
    with pytest.raises(InputError, match="not a ranker"):
        load_ranker(tmp_path / "model")
    assert find_ranker("none") is None


def test_docking_orders_poses_by_confidence(drug, imprint, conformer):
    torch.manual_seed(0)
    ranker = Ranker(Committee(1, 8).eval(), Calibration(0.0), {})
    settings = DockSettings(poses=3, conformers=1, effort=SearchSettings(chains=16, rounds=2))
    box = box_around(conformer)
    plain = Docker(imprint, box, settings).dock([drug], [0])[0].docked
    found = Docker(imprint, box, settings, ranker=ranker).dock([drug], [0])[0].docked
    assert plain is not None and found is not None
    assert plain.confidence is None and found.confidence is not None
    assert len(found.coords) == 3
    assert (np.diff(found.confidence) <= 0).all()
    assert (np.diff(plain.energy) >= 0).all()


def _complex(folder, drug, conformer, receptor, names=("UNK",)) -> None:
    from rdkit.Chem import MolToMolBlock

    folder.mkdir(parents=True)
    (folder / "ligand.sdf").write_text(MolToMolBlock(drug.with_coords(conformer)) + "$$$$\n")
    lines = [
        f"ATOM  {i:5d}  CA  {names[i % len(names)]} A{i:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for i, (x, y, z) in enumerate(receptor.coords, 1)
    ]
    (folder / "protein.pdb").write_text("\n".join([*lines, "END"]) + "\n")


def test_from_complexes_to_a_ranker(tmp_path, drug, conformer, mould, monkeypatch, capsys):
    for i in range(3):
        _complex(tmp_path / "set" / f"c{i}", drug, conformer, mould(conformer, seed=i))
    (tmp_path / "set" / "bad").mkdir()
    (tmp_path / "set" / "bad" / "protein.pdb").write_text("END\n")
    (tmp_path / "set" / "bad" / "ligand.sdf").write_text("nothing\n")
    words = ["prepare", "ranker", str(tmp_path / "set"), "-o", str(tmp_path / "ex"),
             "--chains", "16", "--rounds", "2", "--json"]  # fmt: skip
    assert main(words) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["made"] == 4 and counts["refused"] == 1
    assert main(words) == 0  # nothing is made twice
    assert json.loads(capsys.readouterr().out)["there"] == 4
    # Examples of other settings never mix with these.
    assert main([*words, "--jitter", "1"]) == 2
    assert "jitter was 0.0 and is now 1.0; choose another -o" in capsys.readouterr().err
    examples = read_examples(tmp_path / "ex")
    assert [e.name for e in examples] == ["c0", "c1", "c2"]
    # A conformer that was fitted to the crystal's pose stays at it, and shows its contacts.
    crystal = torch.from_numpy(conformer).float()
    for example in examples:
        gaps = (example.native.coords - crystal).square().sum(-1).mean(-1).sqrt()
        assert len(gaps) and float(gaps.max()) < 1.3
    # The poses are those that `sciddiff dock` finds with as many chains.
    folder = tmp_path / "set" / "c1"
    ligand, receptor = read_ligand(folder / "ligand.sdf"), read_receptor(folder / "protein.pdb")
    usual = DockSettings(poses=JUDGED, effort=SearchSettings(chains=16, rounds=2))
    docker = Docker(receptor, box_around(ligand.require_coords()), usual)
    (found,) = docker.dock([ligand], [number_of("c1")])
    assert found.docked is not None
    coords = examples[1].poses.coords.double().numpy()
    assert np.allclose(coords, found.docked.coords, atol=1e-4)
    out = tmp_path / "model"
    words = ["train-ranker", str(tmp_path / "ex"), "-o", str(out), "--epochs", "1", "--folds", "2",
             "--width", "8", "--json"]  # fmt: skip
    status = main(words)
    told = capsys.readouterr()
    if len({e.cluster for e in examples}) < 2:
        assert status == 2 and "clusters" in told.err
    else:
        assert status == 0
        told = json.loads((out / "meta.json").read_text())["calibration"]
        known = load_ranker(out).calibration
        for name in ("searched", "given"):
            assert [list(getattr(known, name).weights), getattr(known, name).shift] == told[name]
        parts = json.loads((out / "meta.json").read_text())["data"]["folds"]
        assert sorted(name for part in parts.values() for name in part) == ["c0", "c1", "c2"]


# Modified residues, of which a C-alpha atom alone is enough.
NAMES = ("MSE", "SEP", "TPO", "PTR", "CSO", "HYP", "MLY")
OTHERS = NAMES[::-1]


def _turned(coords):
    """Another frame: turned about an axis, and far away."""
    turn = np.asarray([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    return coords @ turn.T + np.asarray([40.0, -25.0, 10.0])


def test_a_ligand_is_docked_into_the_other_structure_of_its_protein(
    tmp_path, drug, conformer, mould, capsys
):
    """The other receptor comes into the ligand's own frame; other proteins are passed over."""
    shell = mould(conformer, seed=0)
    moved = replace(shell, coords=_turned(shell.coords))
    _complex(tmp_path / "set" / "a", drug, conformer, shell, NAMES)
    _complex(tmp_path / "set" / "b", drug, _turned(conformer), moved, NAMES)
    _complex(tmp_path / "set" / "other", drug, conformer, shell, OTHERS)
    out = tmp_path / "ex"
    words = ["prepare", "ranker", str(tmp_path / "set"), "-o", str(out), "--cross", "--jitter",
             "1.5", "--chains", "64", "--rounds", "4", "--json"]  # fmt: skip
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == 1
    assert "no other complex of the folder has its protein" in (out / "other.refused").read_text()
    # A reason is as much of these settings as an example.
    alone = tmp_path / "alone"
    words[2], words[4] = str(tmp_path / "set" / "other"), str(alone)
    assert main(words) == 0 and [x.suffix for x in alone.glob("other*")] == [".refused"]
    words.remove("--cross")
    assert main(words) == 2 and "cross was true and is now false" in capsys.readouterr().err
    ligand = read_ligand(tmp_path / "set" / "b" / "ligand.sdf")
    b = read_examples(out)[1]
    found = symmetric_rmsd(b.poses.coords.double().numpy(), ligand.require_coords(),
                           ligand.symmetries)  # fmt: skip
    assert np.allclose(found, b.rmsd, atol=1e-3) and float(b.rmsd.min()) < 2.0
    own, other = (read_receptor(tmp_path / "set" / name / "protein.pdb") for name in "ba")
    placed, apart, residues = superposed(own, other, ligand.require_coords())
    assert np.abs(placed.coords - own.coords).max() < 0.01 and apart < 0.01 and residues >= 8
    # Another conformation of the pocket is not taken, nor another protein.
    far = replace(other, coords=1.6 * other.coords)
    assert superposed(own, far, ligand.require_coords()) is None
    stranger = read_receptor(tmp_path / "set" / "other" / "protein.pdb")
    assert superposed(own, stranger, ligand.require_coords()) is None


def test_faces_of_the_box_are_moved_within_their_bound_and_by_name():
    box = box_around(np.zeros((1, 3)))
    assert moved_faces(box, 0.0, 3, "a") == box
    many = [moved_faces(box, 1.5, seed, name) for seed in range(40) for name in "ab"]
    gaps = np.stack([np.concatenate([x.low - box.low, x.high - box.high]) for x in many])
    assert np.abs(gaps).max() <= 1.5 and (np.abs(gaps).max(0) > 1.2).all()
    assert (gaps.min(0) < -1.0).all() and (gaps.max(0) > 1.0).all()
    assert moved_faces(box, 1.5, 3, "a") == moved_faces(box, 1.5, 3, "a")
    assert moved_faces(box, 1.5, 3, "a") != moved_faces(box, 1.5, 3, "b")


def test_too_few_clusters_are_refused(drug, mould, conformer):
    with pytest.raises(InputError, match="folds"):
        train_ranker(_examples(drug, mould, conformer, 2), RankerSettings(folds=3))
