"""The example of a world model: frames of tokens whose law is known, whatever the actions."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sciddiff import Denoiser, order_log_prob, sample
from sciddiff.cli.main import main
from sciddiff.grids import uniform
from sciddiff.samplers import Blockwise, ConfidenceUnmask

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "world"


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(EXAMPLE))
    yield importlib.import_module("world_domain")
    sys.path.remove(str(EXAMPLE))
    sys.modules.pop("world_domain", None)


def actions_of(example, text="E.S.N.W..E"):
    return np.array([example.ACTIONS.index(a) for a in text])


def test_the_law_of_a_step_is_that_of_the_rules(example):
    law = example.LAW
    assert np.allclose(law.sum(2), 1.0) and (law >= 0.0).all()
    east, north, wait = (example.ACTIONS.index(a) for a in "EN.")
    # From cell 5 (row 1, column 1) to the north; a push to the east fails one time in five.
    assert law[east, 4 * 5 + 0, 4 * 6 + 1] == pytest.approx(0.8)
    assert law[east, 4 * 5 + 0, 4 * 1 + 0] == pytest.approx(0.2)
    ahead, right, left = 4 * 1 + 0, 4 * 6 + 1, 4 * 4 + 3
    assert law[wait, 4 * 5 + 0, [ahead, right, left]] == pytest.approx([0.8, 0.1, 0.1])
    # From cell 0 a push to the north comes back from the wall.
    assert law[north, 4 * 0 + 0, 4 * 4 + 2] == pytest.approx(1.0)


def test_frames_show_the_ball_and_nothing_else(example):
    rng = np.random.default_rng(0)
    cells, actions = rng.integers(0, 16, (50, 11)), rng.integers(0, 5, (50, 10))
    x = example.frames(cells, actions)
    assert x.shape == (50, 55) and (example.balls(x) == cells).all()
    assert ((x[:, 5::5] - example.FIRST_ACTION).numpy() == actions).all()
    x[0, 1:5], x[1, 1:5] = 0, torch.tensor([1, 1, 0, 0])  # no ball, and two of them
    x[2, 1:5] = torch.tensor([9, 0, 0, 0])  # an action in the place of a board
    assert (example.balls(x)[:3, 0] == -1).all()


def test_roll_outs_of_the_simulator_follow_the_exact_law_and_others_do_not(example):
    rng, actions = np.random.default_rng(0), actions_of(example)
    start = np.full(2000, 5)
    cells = example.simulate(rng, start, np.tile(actions, (2000, 1)))
    floor = example.floor(start, actions, repeats=5)
    assert (example.distances(cells, actions) < 1.7 * floor).all() and floor.max() < 0.05
    deaf = example.simulate(rng, start, np.full((2000, 10), 4))  # heeds no action
    assert (example.distances(deaf, actions) > 0.3).mean() > 0.5
    cells[:, 4] = cells[:, 3]  # a ball that rests is no ball of this world
    assert example.distances(cells, actions)[3] > 0.9


class ExactWorld(nn.Module):
    """The best answer: the law of the ball in the first frame that is not finished."""

    def __init__(self, example):
        super().__init__()
        self.example = example

    def next_cells(self, cells, actions):
        """Law of the next cell `[B, 16]`, given the cells so far `[B, k]` and the action."""
        law = np.eye(16)[cells[:, 0]].repeat(4, 1) / 4
        for k, action in enumerate(actions.T):
            law = np.einsum("bs,bst->bt", law, self.example.LAW[action])
            if k + 1 < cells.shape[1]:
                law = law * np.eye(16)[cells[:, k + 1]].repeat(4, 1)
                law /= law.sum(1, keepdims=True) + 1e-300  # 0 after a frame that cannot be
        return law.reshape(-1, 16, 4).sum(2)

    def forward(self, x_t, t, batch):
        w, x = self.example, x_t["frames"]
        blocks = x.unflatten(1, (-1, w.BLOCK)).numpy()
        mask = w.FIRST_ACTION + len(w.ACTIONS)
        k = int((blocks[:, :, 1:] == mask).any((0, 2)).argmax())
        cells = w.balls(x)[:, :k]
        law = self.next_cells(np.maximum(cells, 0), blocks[:, 1 : k + 1, 0] - w.FIRST_ACTION)
        board = blocks[:, k, None, 1:]  # [B, 1, 4]
        tokens = w.frames(np.arange(16)[:, None], np.zeros((16, 0), int))[:, 1:].numpy()
        law = law * ((board == mask) | (board == tokens)).all(2)
        symbol = tokens[:, :, None] == np.arange(mask)
        chance = np.einsum("bc,cps->bps", law, symbol) + 1e-30
        said = torch.full((*x.shape, mask), -30.0, dtype=torch.float64)
        said.view(len(x), -1, w.BLOCK, mask)[:, k, 1:] = torch.from_numpy(np.log(chance))
        return {"frames": said}


@pytest.mark.parametrize("calls", [4, 1])
def test_exact_answers_give_the_exact_law_one_token_at_a_time_alone(example, calls):
    net, actions, n = ExactWorld(example), actions_of(example), 600
    denoiser = Denoiser(net, example.WorldDomain().path())
    like = example.template(n, 5, actions)
    sampler = Blockwise(example.BLOCK, calls, ConfidenceUnmask("sequence"))
    cells = example.balls(sample(denoiser, like, sampler, uniform(1), seed=0).x["frames"])
    if calls == 4:
        floor = example.floor(np.full(n, 5), actions, repeats=5)
        assert (example.distances(cells, actions) < 1.7 * floor).all()
        return
    # Drawn together, quarters of the board do not know of each other: none or two have a ball.
    law = net.next_cells(np.array([[5]]), actions[None, :1])[0]
    chance = law[example.CELL].sum(1)  # that a quarter holds the ball
    sound = sum(p * np.prod(np.delete(1 - chance, k)) for k, p in enumerate(chance))
    impossible = (cells[:, 1] < 0).mean()
    assert abs(impossible - (1 - sound)) < 4 * np.sqrt(sound * (1 - sound) / n)
    assert 1 - sound > 0.1, "the test can tell"


def test_a_world_learned_in_seconds_knows_the_law_of_a_step(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCIDDIFF_TRUST", "world_domain")
    words = (
        f"train {EXAMPLE / 'world.yaml'} --trainer.max_steps 150 --trainer.progress false "
        "--trainer.threads 1 --trainer.val_every 0 --domain.batch 12 "
        "--net.width 32"
    )
    assert main(words.split()) == 0
    assert main("export runs/world -o model".split()) == 0
    assert main("sample --model model -n 40 -o rollouts".split()) == 0
    figures = example.WorldDomain().evaluate(tmp_path / "rollouts", None)
    assert figures["rollouts"] == 40 and len(figures["distance"]) == 10
    assert json.loads((tmp_path / "model" / "meta.json").read_text())["parameters"] > 0

    from sciddiff import load

    model, heard = load("model", trust=["world_domain"]), []
    for text in ("E", "W"):
        found, wanted = one_step(example, model, actions_of(example, text + 9 * "."))
        assert found.sum() <= 1.0 + 1e-6
        # Half of what is between a network that knows nothing (0.99) and the floor is there soon.
        assert 0.5 * np.abs(found - wanted).sum() < 0.75, found.round(2)
        heard.append(found)
    east, west = 6, 4  # of cell 5
    assert heard[0][east] > 1.5 * heard[1][east] and heard[1][west] > 1.2 * heard[0][west]


def one_step(example, model, actions):
    """Exact probability by the network of each cell in the second frame, and the true one."""
    cells = np.full((16, 11), -1)
    cells[:, 0], cells[:, 1] = 5, np.arange(16)
    like = example.template(16, 5, actions)
    like.x["frames"][:] = example.frames(cells, np.tile(actions, (16, 1)))
    fixed = like.layouts["frames"].fixed
    fixed[:, 2 * example.BLOCK :] = True  # frames after it are not asked for; nothing sees them
    order = torch.arange(55).expand(16, -1) - example.BLOCK - 1
    found = order_log_prob(model.denoiser, like, order=order).log_probs[0].exp().numpy()
    law = example.exact(5, actions[:1])[0].reshape(16, 4).sum(1)
    return found, law
