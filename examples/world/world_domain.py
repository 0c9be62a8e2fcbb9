"""A world model: frames of tokens, drawn one after the other, each given an action.

A ball moves on a board of 4 x 4 cells, one cell a step, and comes back from the walls. An action
pushes it north, east, south or west, which fails one time in five; without a push the ball keeps
its way, but turns one time in five. A token is a quarter of the board: empty, or the place of the
ball in it. A frame does not show where the ball is going: that is known from earlier frames alone.

The leaf `frames [B, 55]` holds eleven blocks of an action and four tokens. Actions and the first
board are given, the others are drawn one by one (Arriola et al., *BD3-LM*, 2025) with a cache of
those before. A state of the ball is one of 64, so that the law of every step is known exactly.

    python examples/world/world_domain.py models/world
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciddiff import Batch, Domain, Drawing, InputError, Layout, MaskPath, ProductPath, State
from sciddiff.drawing import draw
from sciddiff.objectives import BlockMasked
from sciddiff.samplers import Blockwise, ConfidenceUnmask

SIDE, PATCH, STEPS = 4, 2, 10  # of the board; of a token; of a roll-out, after the first frame
CELLS, PLACES = SIDE * SIDE, PATCH * PATCH
PATCHES = CELLS // PLACES
BLOCK, FIRST_ACTION = 1 + PATCHES, 1 + PLACES  # rows of a block; symbols before the actions
CELL = np.arange(CELLS).reshape(SIDE // PATCH, PATCH, -1, PATCH).swapaxes(1, 2).reshape(-1, PLACES)
ACTIONS = "NESW."  # the last is to wait
MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # row and column, north to west


def transitions() -> np.ndarray:
    """Law of the next state, given action and state, `[5, 64, 64]`; a state is 4 cell + way."""
    law = np.zeros((len(ACTIONS), 4 * CELLS, 4 * CELLS))
    for action, state in np.ndindex(law.shape[:2]):
        cell, way = divmod(state, 4)
        turns = {0: 0.8, 1: 0.1, 3: 0.1} if action == 4 else {(action - way) % 4: 0.8}
        turns[0] = turns.get(0, 0.0) + (0.2 if action < 4 else 0.0)
        for turn, chance in turns.items():
            new = (way + turn) % 4
            place = np.array(divmod(cell, SIDE)) + MOVES[new]
            if not ((place >= 0) & (place < SIDE)).all():
                new, place = (new + 2) % 4, place - 2 * MOVES[new]
            law[action, state, 4 * (place[0] * SIDE + place[1]) + new] += chance
    return law


LAW = transitions()


def exact(cell: int, actions: Iterable[int]) -> np.ndarray:
    """Law of the state after each action `[steps, 64]`, from a cell and an unknown way."""
    now = np.eye(CELLS)[cell].repeat(4) / 4
    return np.stack([now := now @ LAW[action] for action in actions])


def simulate(rng: np.random.Generator, cells: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Cells `[B, steps + 1]` of balls that start at `cells [B]`, for actions `[B, steps]`."""
    state, seen = 4 * cells + rng.integers(0, 4, len(cells)), [cells]
    for action in actions.T:
        state = (LAW[action, state].cumsum(1) < rng.random((len(cells), 1))).sum(1)
        seen.append(state // 4)
    return np.stack(seen, 1)


def frames(cells: np.ndarray, actions: np.ndarray) -> torch.Tensor:
    """Tokens `[B, frames * 5]`: blocks of an action and a board; the first action is to wait."""
    here = cells[:, :, None, None] == CELL
    boards = np.where(here.any(3), 1 + here.argmax(3), 0)
    actions = np.concatenate([np.full((len(cells), 1), 4), actions], 1)[..., None]
    return torch.from_numpy(np.concatenate([FIRST_ACTION + actions, boards], 2)).flatten(1)


def given(size: int) -> Layout:
    """Actions and the first board are known."""
    fixed = torch.zeros(size, STEPS + 1, BLOCK, dtype=torch.bool)
    fixed[:, :, 0] = fixed[:, 0] = True
    return Layout(size, fixed=fixed.flatten(1))


def balls(x: torch.Tensor) -> np.ndarray:
    """The cell of the ball in every frame `[B, frames]`; -1 where there is not just one."""
    boards = x.unflatten(1, (-1, BLOCK))[:, :, 1:].cpu().numpy()
    place, patch = boards.max(2), boards.argmax(2)
    one = ((boards > 0).sum(2) == 1) & (place <= PLACES)
    return np.where(one, CELL[patch, np.clip(place - 1, 0, PLACES - 1)], -1)


def distances(cells: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Total variation `[steps]` of states in roll-outs of equal actions to their exact law.

    The way of a ball is that of its last move. What no ball can do counts as a state of its own.
    """
    moves = np.diff(np.stack(np.divmod(cells, SIDE), 2), axis=1)
    ways = (moves[:, :, None] == MOVES).all(3)  # [B, steps, 4]
    sound = ways.any(2) & (np.minimum(cells[:, 1:], cells[:, :-1]) >= 0)
    states = np.where(sound, 4 * cells[:, 1:] + ways.argmax(2), 4 * CELLS)
    shares = (states[..., None] == np.arange(4 * CELLS + 1)).mean(0)
    return 0.5 * np.abs(shares - np.pad(exact(cells[0, 0], actions), ((0, 0), (0, 1)))).sum(1)


class WorldDomain(Domain):
    """Balls that are pushed at random: `size` roll-outs an epoch, `batch` at a time."""

    name = "world"

    def __init__(self, size: int = 16384, batch: int = 32) -> None:
        self.size, self.batch = size, batch

    def path(self) -> ProductPath:
        return ProductPath({"frames": MaskPath(FIRST_ACTION + len(ACTIONS))})

    def objective(self) -> BlockMasked:
        """All boards of a roll-out learn at once, each given those before it."""
        return BlockMasked(BLOCK, rates=(0.3, 1.0))

    def drawing(self) -> Drawing:
        """A token with each call: exact for what the network says."""
        return Drawing(Blockwise(BLOCK, PATCHES, ConfidenceUnmask("sequence")))

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        numbers = range(self.size // self.batch // world * world)[rank::world]
        return (self._rollouts([seed, epoch, number]) for number in numbers)

    def val_batches(self) -> Iterable[Batch]:
        return (self._rollouts([2**31, number]) for number in range(2))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        actions = str(request.get("actions", "E.S.N.W..E"))
        cell, n = int(request.get("cell", 5)), int(request.get("n", 16))
        if n < 1 or not 0 <= cell < CELLS:
            raise InputError(f"n {n}, cell {cell}: ask for at least one from a cell of 0 to 15")
        if len(actions) != STEPS or set(actions) - set(ACTIONS):
            raise InputError(f"actions {actions}: write {STEPS} of N, E, S, W and . (to wait)")
        return [template(n, cell, np.array([ACTIONS.index(a) for a in actions]))]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        path, cells = directory / "rollouts.csv", balls(x["frames"])
        actions = batch.x["frames"][0, ::BLOCK].cpu().numpy() - FIRST_ACTION
        rows = np.column_stack([["actions", *batch.ids], np.vstack([actions, cells])])
        np.savetxt(path, rows, "%s", ",")
        return [path]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        options = {"delimiter": ",", "usecols": range(1, STEPS + 2), "ndmin": 2}
        actions, *cells = np.loadtxt(directory / "rollouts.csv", int, **options)
        actions, cells = actions[1:], np.array(cells)
        return {"rollouts": len(cells), "impossible": float((cells < 0).any(1).mean()),
                "distance": distances(cells, actions).round(4).tolist(),
                "floor": floor(cells[:, 0], actions).round(4).tolist()}  # fmt: skip

    def _rollouts(self, seed: list[int]) -> Batch:
        rng = np.random.default_rng(seed)
        actions = rng.integers(0, len(ACTIONS), (self.batch, STEPS))
        cells = simulate(rng, rng.integers(0, CELLS, self.batch), actions)
        return Batch({"frames": frames(cells, actions)}, layouts={"frames": given(self.batch)})


def template(n: int, cell: int, actions: np.ndarray) -> Batch:
    """What is asked for: `n` roll-outs from one cell under the same actions."""
    cells = np.where(np.arange(STEPS + 1) == 0, cell, -1)
    x = {"frames": frames(np.tile(cells, (n, 1)), np.tile(actions, (n, 1)))}
    return Batch(x, layouts={"frames": given(n)}, ids=tuple(f"rollout-{i:04d}" for i in range(n)))


def floor(starts: np.ndarray, actions: np.ndarray, repeats: int = 20) -> np.ndarray:
    """Mean distance `[steps]` of as many roll-outs of the simulator itself."""
    rng, told = np.random.default_rng(0), np.tile(actions, (len(starts), 1))
    return np.mean([distances(simulate(rng, starts, told), actions) for _ in range(repeats)], 0)


def main() -> None:
    from sciddiff import load

    model = load(sys.argv[1], trust=["world_domain"])
    [like] = model.domain.like({"n": 1000})
    actions = like.x["frames"][0, BLOCK::BLOCK].numpy() - FIRST_ACTION
    for calls in (1, 2, PATCHES):
        way = replace(model.drawing, sampler=replace(model.drawing.sampler, steps=calls))
        began = time.process_time()
        cells = balls(draw(model.denoiser, like, way, seed=1)["frames"])
        milliseconds = 1000 * (time.process_time() - began) / cells[:, 1:].size
        print(json.dumps({"calls_a_frame": calls, "impossible": float((cells < 0).any(1).mean()),
                          "distance": distances(cells, actions).round(3).tolist(),
                          "milliseconds_a_frame": round(milliseconds, 3)}))  # fmt: skip
    print(json.dumps({"floor": floor(cells[:, 0], actions).round(3).tolist()}))


if __name__ == "__main__":
    main()
