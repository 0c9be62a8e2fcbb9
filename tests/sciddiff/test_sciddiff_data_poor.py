"""The study of few data (`benchmarks/data_poor.py`): its measures, its law, and its resumption."""

import importlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import MASK
from sciddiff import Batch, Denoiser
from sciddiff.nn import TokenTransformer

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def study(monkeypatch):
    """The scripts of the study by their last words, with few held-out words."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("arms", "corpora", "fit")
    modules = {name: importlib.import_module(f"data_poor_{name}") for name in names}
    modules["main"] = importlib.import_module("data_poor")
    monkeypatch.setattr(modules["corpora"], "HELD_OUT", (4, 8))
    yield modules
    for name in list(sys.modules):
        if name.startswith("data_poor"):
            del sys.modules[name]


def _call(study, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["data_poor.py", *map(str, words)])
    study["main"].main()


def test_runs_are_recorded_resumed_and_fitted(study, monkeypatch, tmp_path, capsys):
    words = ("run", "-o", tmp_path, "--arms", "ar", "masked", "--unique", 64, 128, "--seen", 512,
             "--sizes", "8x1")  # fmt: skip
    _call(study, monkeypatch, *words)
    files = sorted(tmp_path.glob("*.json"))
    assert [f.stem for f in files] == [
        f"hmm-{arm}-{unique}-8x1-0" for arm in ("ar", "masked") for unique in (128, 64)
    ]
    first = [json.loads(f.read_text()) for f in files]
    assert [r["epochs"] for r in first] == [4, 8, 4, 8]
    assert [row["epoch"] for row in first[1]["rows"]] == [1, 2, 4, 8]
    for record in first:
        best = min(record["rows"], key=lambda row: row["nats"])
        assert record["best"]["epoch"] == best["epoch"]
        assert record["last"]["epoch"] == record["epochs"]
        assert record["best"]["nats"] > record["entropy"]

    files[0].unlink()
    (tmp_path / f".{files[0].name}.part").write_text("cut off")
    stamps = [f.stat().st_mtime_ns for f in files[1:]]
    _call(study, monkeypatch, *words)
    assert [f.stat().st_mtime_ns for f in files[1:]] == stamps
    assert _without_times(json.loads(files[0].read_text())) == _without_times(first[0])

    capsys.readouterr()
    _call(study, monkeypatch, "fit", "-o", tmp_path, "--draws", 2, "--figure", tmp_path / "a.svg")
    said = capsys.readouterr().out
    assert said.count("| hmm | 8x1 |") == 4
    assert "hmm 8x1 masked, last checkpoints: R = " in said
    assert "4 runs" in said
    assert "</svg>" in (tmp_path / "a.svg").read_text()


def _without_times(value):
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if not k.endswith("cpu_s")}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def test_folders_without_records_and_missing_files_are_named(study, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match="no records"):
        _call(study, monkeypatch, "fit", "-o", tmp_path)
    with pytest.raises(SystemExit, match=r"corpus torsions: --archive .*no such file"):
        _call(study, monkeypatch, "run", "-o", tmp_path, "--corpora", "torsions",
              "--archive", tmp_path / "none.npz")  # fmt: skip


def test_the_law_finds_the_half_life_it_was_made_with(study):
    law = study["fit"].Law(2.0, 0.5, 0.4, 20.0)
    epochs = 2.0 ** np.arange(9)
    unique = np.repeat([1024.0, 4096.0], 9)
    losses = law(unique, np.tile(epochs, 2))
    (found,) = study["fit"].fit_laws(unique, np.tile(epochs, 2), losses[None])
    # The grid of R has steps of 5 %, that of b of 3 %.
    assert (found.floor, found.power, found.life) == pytest.approx((2.0, 0.4, 20.0), rel=0.06)
    # One epoch is worth U, endless ones U (1 + R).
    assert law(4096.0, np.array([1.0]))[0] == pytest.approx(2.5)
    assert law(4096.0, np.array([1e9]))[0] == pytest.approx(2.0 + 0.5 * 21.0**-0.4)
    assert study["fit"].best_so_far([3.0, 2.0, 4.0, 1.0]) == [3.0, 2.0, 2.0, 1.0]


def test_sources_are_laws_whose_entropy_is_the_right_one(study, monkeypatch):
    corpora = study["corpora"]
    words = np.array(list(itertools.product(range(20), repeat=2)))
    chances = [np.exp(-2.0 * corpora.hidden_markov_entropy(word[None])) for word in words]
    assert sum(chances) == pytest.approx(1.0, abs=1e-12)
    monkeypatch.setattr(corpora, "LENGTH", 4)
    drawn = corpora.brackets(4000, np.random.default_rng(0))
    # ()() has two free openings, and one choice of whether to close; (()) has the same.
    nats = np.array([4.0 * corpora.brackets_entropy(word[None]) for word in drawn])
    assert np.allclose(nats, np.log(200.0))


@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize("arm", ["ar", "ar_random_order", "block8"])
def test_exact_measures_are_probabilities_of_all_words(study, arm):
    arms = study["arms"]
    way = arms.ARMS[arm]
    torch.manual_seed(0)
    net = TokenTransformer(20, 8, 1, 2, "word", way.attention, way.block).double().eval()
    torch.nn.init.normal_(net.head.weight)
    denoiser = Denoiser(net, {"word": way.path})
    total = 0.0
    for word in itertools.product(range(20), repeat=2):
        held_out = Batch({"word": torch.tensor([word])})
        total += np.exp(-2.0 * arms.nats_of(arm, denoiser, held_out).value)
    assert total == pytest.approx(1.0, abs=1e-9)


def test_the_graph_with_ranks_sees_lower_ranks_alone(study):
    torch.manual_seed(0)
    net = study["arms"].OrderedGraph(16, 23, 1, 2).double().eval()
    g = torch.Generator().manual_seed(0)
    atoms = torch.randn(2, 24, 4, 3, generator=g, dtype=torch.float64)
    atoms = atoms + 2.0 * torch.randn(2, 24, 1, 3, generator=g, dtype=torch.float64).cumsum(1)
    x = torch.randint(20, (2, 24), generator=g)
    unknown = torch.zeros(2, 24, dtype=torch.bool)
    batch = Batch({"sequence": x}, {"atoms": atoms, "unknown": unknown})
    seen = torch.where(torch.rand(2, 24, generator=g) < 0.5, MASK, x)
    hidden, same = torch.full_like(x, MASK), torch.zeros_like(x)
    ranks = torch.rand(2, 24, generator=g).argsort(1).argsort(1)
    changed = torch.where(ranks >= 12, (x + 1) % 20, x)
    with torch.no_grad():
        plain = net({"sequence": seen}, torch.zeros(2), batch)["sequence"]
        assert torch.equal(net.ranked(seen, x, same, 0.0, batch), plain)
        before = net.ranked(hidden, x, ranks, 0.0, batch)
        after = net.ranked(hidden, changed, ranks, 0.0, batch)
    apart = (before - after).abs().amax(-1)
    assert float(apart[ranks <= 12].max()) == 0.0
    assert float(apart[ranks > 12].max()) > 1e-4
