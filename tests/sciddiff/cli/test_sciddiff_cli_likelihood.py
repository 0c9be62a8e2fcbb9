"""The verb `likelihood` on a model of tokens, whose log-probabilities are known."""

import csv
import json
from types import SimpleNamespace

import pytest

from sciddiff import Batch, MaskPath
from sciddiff.cli.main import main
from sciddiff.testing import EnumeratedDenoiser, markov_chain

WORDS, LOG_P = markov_chain(3, 4)
NAMES = (tuple("abcdef"), tuple("ghijkl"))


@pytest.fixture
def known(monkeypatch):
    denoiser = EnumeratedDenoiser(MaskPath(3), WORDS, LOG_P)
    batches = [Batch({"word": WORDS[6 * k : 6 * k + 6]}, ids=ids) for k, ids in enumerate(NAMES)]
    domain = SimpleNamespace(val_batches=lambda: iter(batches), latents=lambda: None)
    model = SimpleNamespace(denoiser=denoiser, domain=domain, config={})
    monkeypatch.setattr("sciddiff.checkpoint.load", lambda *_, **__: model)
    monkeypatch.setattr("sciddiff.shipped.find_model", lambda name: name)


def test_orders_are_exact(known, capsys, tmp_path):
    words = ["likelihood", "--model", "m", "-n", "8", "--orders", "2", "--json"]
    assert main([*words, "-o", str(tmp_path / "found.csv")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 8 and found["kind"] == "exact in an order"
    for name, value in zip("abcdefgh", LOG_P.tolist(), strict=False):
        assert found["log_prob"][name] == pytest.approx(value, abs=1e-9)
    assert found["standard_error"] < 1e-9
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert [row["id"] for row in rows] == list("abcdefgh")
    assert float(rows[7]["log_prob"]) == pytest.approx(float(LOG_P[7]), abs=1e-9)


@pytest.mark.parametrize("estimator", ["time", "count", "rotated"])
def test_bounds_come_with_their_error(known, capsys, estimator):
    words = ["likelihood", "--model", "m", "-n", "9", "--draws", "256", "--json"]
    assert main([*words, "--estimator", estimator]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "bound" and found["standard_error"] > 0.0
    wanted = float(LOG_P[:9].mean())
    assert abs(found["mean_log_prob"] - wanted) < 4 * found["standard_error"]


def test_a_table_is_written_into_a_new_folder_and_not_over_one(known, capsys, tmp_path):
    words = ["likelihood", "--model", "m", "-n", "2", "--orders", "2", "-o"]
    assert main([*words, str(tmp_path / "new" / "found.csv")]) == 0
    text = (tmp_path / "new" / "found.csv").read_text()
    assert text.startswith("id,log_prob,standard_error\na,")
    capsys.readouterr()
    assert main([*words, str(tmp_path)]) == 2
    found = capsys.readouterr()
    assert f"--out {tmp_path}: is a folder; give a file" in found.err and not found.out


def test_the_words_say_what_was_found(known, capsys):
    assert main(["likelihood", "--model", "m", "-n", "3"]) == 0
    assert "3 samples, mean log-probability (bound)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exact"], "tokens have no density"),
        (["--orders", "2", "--draws", "64"], "takes the place of the bound"),
        (["--draws", "20", "--estimator", "rotated"], "a multiple of 16"),
    ],
)
def test_options_that_do_not_fit_are_refused(known, capsys, options, message):
    assert main(["likelihood", "--model", "m", *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1
