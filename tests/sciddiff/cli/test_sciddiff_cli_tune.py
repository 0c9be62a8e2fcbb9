"""`sciddiff tune`: a stranger's model of words, tuned, continued, told on its card, and drawn."""

import json

import pytest
import torch
from safetensors.torch import load_file

PLUGIN = '''
import torch
from sciddiff import Batch, Domain, MaskPath, ProductPath
from sciddiff.drawing import Drawing
from sciddiff.grids import uniform
from sciddiff.rewards import RewardTerms
from sciddiff.samplers import ConfidenceUnmask


class Words(Domain):
    """Words of four symbols, 0 to 3, of which most are 0."""

    name = "words"

    def path(self):
        return ProductPath({"word": MaskPath(4)})

    def train_batches(self, epoch, seed, rank, world):
        g = torch.Generator().manual_seed(100 * seed + epoch)
        words = (4 * torch.rand(8, 64, 5, generator=g) ** 2).long()
        return (Batch({"word": word}) for word in words[rank::world])

    def val_batches(self):
        return []

    def drawing(self):
        return Drawing(sampler=ConfidenceUnmask("random"), grid=uniform(5))

    def like(self, request):
        n = int(request.get("n", 1))
        ids = tuple(f"w{k}" for k in range(n))
        yield Batch({"word": torch.zeros(n, 5, dtype=torch.int64)}, ids=ids)

    def rewards(self):
        return RewardTerms(lambda state, batch: (state["word"],), {"threes": threes})

    def write(self, batch, x, directory):
        path = directory / f"{batch.ids[0]}.txt"
        path.write_text(str(x["word"].tolist()))
        return [path]

    def evaluate(self, directory, reference):
        return {}


def threes(word):
    return (word == 3).sum(1)


def twos(word):
    return (word == 2).sum(1)


class Net(torch.nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.seen = torch.nn.Embedding(5, 8)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(40, width), torch.nn.SiLU(), torch.nn.Linear(width, 20)
        )

    def forward(self, x_t, t, batch):
        return {"word": self.layers(self.seen(x_t["word"]).flatten(1)).unflatten(1, (5, 4))}
'''

CONFIG = """
domain: {class_path: words.Words}
net: {class_path: words.Net}
optim: {lr: 0.01, warmup: 10, t_ref: 200}
trainer: {max_steps: 120, progress: false, accelerator: cpu}
out: run
"""


@pytest.fixture(scope="module")
def words(new_shell):
    """A shell with a trained model `model`."""
    shell = new_shell("words")
    shell.install("words", "[sciddiff.domains]\nwords = words:Words\n", PLUGIN)
    (shell.folder / "words.yaml").write_text(CONFIG)
    assert shell("train", "words.yaml").returncode == 0
    assert shell("export", "run", "-o", "model").returncode == 0
    return shell


def _json(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _weights(folder):
    return load_file(folder / "model.safetensors")


TUNE = ("tune", "model", "--reward", "threes", "--judge", "words:twos", "--beta", "0.5",
        "--templates", "8", "--measure", "40", "--json")  # fmt: skip
POLICY = (*TUNE, "--method", "policy-gradient", "--updates", "2", "--optim.lr", "0.02")


def test_a_policy_is_tuned_continued_and_told(words):
    out = words.folder / "tuned"
    first = _json(words(*POLICY, "--steps", "15", "-o", "tuned"))
    assert first["step"] == first["steps_made"] == 15
    again = _json(words(*POLICY, "--steps", "15", "-o", "tuned"))
    assert again["steps_made"] == 0 and again["seconds"] == 0.0
    _json(words(*POLICY, "--steps", "40", "-o", "tuned"))
    # As a run that was not interrupted, to the bit: an odd step is between two updates.
    whole = _json(words(*POLICY, "--steps", "40", "-o", "whole"))
    mine, other = _weights(out), _weights(words.folder / "whole")
    assert all(torch.equal(mine[name], leaf) for name, leaf in other.items())
    before, best, after = whole["tuned"]["table"]
    assert (before["name"], best["name"], after["name"]) == ("reference", "best of 8", "tuned")
    assert before["path_kl"] == 0.0 and after["path_kl"] > 0.1 and best["bound"]
    assert after["reward"] > before["reward"] + 3.0 * after["reward_error"]
    assert after["judge"] is not None and 0.0 < after["entropy"] < 1.4
    card = (out / "README.md").read_text()
    for said in ("`threes`", "policy-gradient", "beta of 0.5", "| tuned | 40 |", "words:twos"):
        assert said in card
    drawn = words("sample", "--model", "tuned", "-n", "30", "-o", "drawn")
    assert drawn.returncode == 0, drawn.stderr


def test_samples_of_the_reference_are_learned_from_by_their_weights(words):
    weighted = (*TUNE, "--method", "reward-weighted", "--steps", "60", "--group", "32")
    found = _json(words(*weighted, "-o", "weighted"))
    before, _, after = found["tuned"]["table"]
    assert after["reward"] > before["reward"] + 3.0 * after["reward_error"]
    assert len(list((words.folder / "weighted" / "own").iterdir())) == 2
    other = words(*weighted, "--beta", "2", "-o", "weighted")
    assert other.returncode == 2 and "beta was 0.5 and is now 2.0" in other.stderr


def test_what_cannot_be_tuned_is_refused_in_one_line(words, fails):
    fails(words("tune", "model", "--reward", "beauty", "-o", "x"), "--reward: 'beauty' is unknown")
    fails(words("tune", "model", "--reward", "os:getcwd", "-o", "x"), "not trusted", "--trust os")
    fails(
        words("tune", "model", "--reward", "threes", "--method", "reward-gradient", "-o", "x"),
        "not differentiable",
    )
    fails(words("tune", "model", "--reward", "threes", "--net.init", "a", "-o", "x"), "--net")
