"""The example of a policy: experts with two ways, and a case whose optimal cost is known."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sciddiff import Batch, Denoiser, GaussianPath, ProductPath
from sciddiff.cli.main import main
from sciddiff.drawing import Drawing, draw
from sciddiff.grids import uniform
from sciddiff.samplers import Heun

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "policy"


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(EXAMPLE))
    yield importlib.import_module("policy_domain")
    sys.path.remove(str(EXAMPLE))
    sys.modules.pop("policy_domain", None)


def test_experts_take_both_ways_and_their_mean_takes_none(example):
    walks = example.expert(np.random.default_rng(0), 400)
    judged = example.judge(walks)
    assert judged["success"] == 1.0 and 0.4 < judged["above"] < 0.6
    assert example.judge(walks.mean(0, keepdims=True))["touched"] == 1.0


def test_windows_are_what_the_expert_does_next(example):
    batch = example.PolicyDomain(batch=32)._windows([1, 2])
    again = example.PolicyDomain(batch=32)._windows([1, 2])
    assert torch.equal(batch.x["actions"], again.x["actions"])
    assert batch.x["actions"].shape == (32, 16, 2) and batch.cond["seen"].shape == (32, 4)
    # A point that follows its plan from where it was seen keeps clear of the obstacle.
    places = batch.cond["seen"][:, None, 2:] + example.STEP * batch.x["actions"].cumsum(1)
    assert float(places.norm(dim=-1).min()) > example.RADIUS


def test_a_policy_that_learned_for_seconds_walks_by_both_ways(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCIDDIFF_TRUST", "policy_domain")
    words = (
        f"train {EXAMPLE / 'policy.yaml'} --trainer.max_steps 900 --trainer.progress false "
        "--trainer.threads 1 --optim.lr 0.005"
    )
    assert main(words.split()) == 0
    assert main("export runs/policy -o model".split()) == 0
    from sciddiff import load

    model = load("model", trust=["policy_domain"])
    starts = np.stack([np.full(100, -1.0), np.linspace(-0.15, 0.15, 100)], 1)
    walks, _ = example.walk(model, starts)
    judged = example.judge(walks)
    assert judged["success"] > 0.6 and 0.2 < judged["above"] < 0.8, judged
    assert main("sample --model model -n 50 -o plans".split()) == 0
    figures = example.PolicyDomain().evaluate(tmp_path / "plans", None)
    assert figures["plans"] == 50 and 0.15 < figures["above"] < 0.85
    assert json.loads((tmp_path / "model" / "meta.json").read_text())["parameters"] > 0


A = np.array([[1.0, 0.2], [0.0, 0.9]])
B = np.array([[0.0], [0.3]])
Q, R = np.diag([1.0, 0.1]), np.array([[0.2]])
HORIZON, EPISODE, UNREST = 6, 15, 0.4


def regulator() -> tuple[np.ndarray, np.ndarray]:
    """Solution P of the Riccati equation and the gain K, by iteration to its fixed point."""
    p = Q.copy()
    for _ in range(2000):
        k = np.linalg.solve(R + B.T @ p @ B, B.T @ p @ A)
        p = Q + A.T @ p @ (A - B @ k)
    return p, k


class ExactPlans(nn.Module):
    """The expected plan given a noisy one, for experts that add noise to the regulator's plan."""

    def __init__(self, path: GaussianPath) -> None:
        super().__init__()
        self.path, self.device_of = path, nn.Parameter(torch.zeros(1))

    def forward(self, x_t, t, batch):
        alpha, sigma = self.path.schedule.values(t.double())
        alpha, sigma = alpha[:, None, None], sigma[:, None, None]
        gain = alpha * UNREST**2 / (alpha**2 * UNREST**2 + sigma**2)
        mean = batch.cond["mean"]
        return {"plan": mean + gain * (x_t["plan"] - alpha * mean)}


def test_the_cost_of_drawn_plans_is_that_of_the_regulator_and_of_the_unrest():
    p, k = regulator()
    path = GaussianPath(parametrization="data")
    denoiser = Denoiser(ExactPlans(path).double(), ProductPath({"plan": path}))
    closed, plan = A - B @ k, []
    for step in range(HORIZON):
        plan.append(-k @ np.linalg.matrix_power(closed, step))
    planner = torch.from_numpy(np.stack(plan))  # [H, 1, 2]
    episodes, start = 4000, np.array([1.5, -0.5])
    x = np.tile(start, (episodes, 1))
    cost = np.zeros(episodes)
    for step in range(EPISODE):
        mean = torch.einsum("hux,bx->bhu", planner, torch.from_numpy(x))
        like = Batch({"plan": torch.zeros_like(mean)}, {"mean": mean})
        drawn = draw(denoiser, like, Drawing(Heun(), uniform(40)), seed=step)["plan"].numpy()
        u = drawn[:, 0]  # the first action is carried out; then the policy looks again
        cost += np.einsum("bi,ij,bj->b", x, Q, x) + np.einsum("bi,ij,bj->b", u, R, u)
        x = x @ A.T + u @ B.T
    cost += np.einsum("bi,ij,bj->b", x, p, x)
    # Completing the square: every action that misses the regulator's by e costs e'(R + B'PB)e.
    unrest = EPISODE * UNREST**2 * float(np.trace(R + B.T @ p @ B))
    exact, error = float(start @ p @ start) + unrest, cost.std() / np.sqrt(episodes)
    assert abs(cost.mean() - exact) < 4.0 * error
    assert unrest > 20.0 * error, "the test can tell the unrest"
