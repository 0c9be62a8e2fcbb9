"""Runs: exact resume, signals, the guard against non-finite steps, logs, several processes."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sciddiff import config
from sciddiff.errors import InputError
from sciddiff.objectives import LossOutput, Objective
from sciddiff.state import Batch
from sciddiff.streams import uniform_per_sample
from sciddiff.training import train
from sciddiff.training.logs import Table, swapped
from sciddiff.training.module import Autocast, DenoisingModule
from sciddiff.training.runs import LAST, METRICS, STATE_KEY, read_checkpoint, read_snapshots
from sciddiff.training.stream import BatchStream, Place, loader

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "new_domain"


@pytest.fixture(autouse=True)
def example_domain(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))


def plain(out: Path, *overrides: str, width=16, dropout=0.0, size=40) -> dict:
    """A tiny run: batches of 8 points, five an epoch."""
    return config.read(
        {
            "domain": {
                "class_path": "mixture_domain.MixtureDomain",
                "init_args": {"size": size, "batch": 8},
            },
            "net": {
                "class_path": "mixture_domain.Net",
                "init_args": {"width": width, "dropout": dropout},
            },
            "optim": {"lr": 0.01, "warmup": 4, "t_ref": 3},
            "trainer": {"log_every": 1, "progress": False, "accelerator": "cpu"},
            "out": str(out),
        },
        overrides,
    )


def run(*args, resume="auto", **kwargs):
    return train(config.build(plain(*args, **kwargs)), resume)


def same(a, b) -> bool:
    """Bitwise equality of nested containers of tensors."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / METRICS).open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if "per_second" not in k} for row in found]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--trainer.accumulate=2"],
        ["--trainer.precision=bf16-mixed", "--optim.weight_decay=0.1"],
        ["--trainer.precision=64"],
        ["--optim.name=muon", "--optim.weight_decay=0.1", "--optim.by_adam=[layers.0]"],
    ],
    ids=["plain", "accumulate", "bf16", "double", "muon"],
)
def test_three_steps_and_three_more_equal_six_to_the_bit(tmp_path, options):
    options = [*options, "--ema.snapshot_every=2", "--trainer.val_every=2"]
    run(tmp_path / "six", *options, "--trainer.max_steps=6", dropout=0.2, width=32)
    run(tmp_path / "two", *options, "--trainer.max_steps=3", dropout=0.2, width=32)
    torch.manual_seed(12345)  # the global state must not matter
    result = run(tmp_path / "two", *options, "--trainer.max_steps=6", dropout=0.2, width=32)
    assert result.step == 6
    six, two = (read_checkpoint(tmp_path / name / LAST) for name in ("six", "two"))
    for key in ("state_dict", "optimizer_states", "global_step"):
        assert same(six[key], two[key]), key
    by_muon = ["momentum" in one for one in six["optimizer_states"][0]["state"].values()]
    assert sum(by_muon) == ("--optim.name=muon" in options)
    for key in ("place", "batches", "samples", "ema"):
        assert same(six[STATE_KEY][key], two[STATE_KEY][key]), key
    assert rows(tmp_path / "six") == rows(tmp_path / "two")
    for a, b in zip(*(read_snapshots(tmp_path / n) for n in ("six", "two")), strict=True):
        assert (a.step, a.width) == (b.step, b.width) and same(dict(a.weights), dict(b.weights))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_made_in_one_turn_are_those_made_in_a_turn_each(tmp_path, monkeypatch, accumulate):
    options = (
        "--trainer.log_every=3", "--trainer.val_every=5", "--ema.snapshot_every=2",
        "--trainer.max_steps=7", f"--trainer.accumulate={accumulate}",
    )  # fmt: skip
    turns = {}
    once = DenoisingModule.training_step
    for name, length in (("long", 1e9), ("short", 0.0)):
        monkeypatch.setattr("sciddiff.training.module._TURN", length)
        calls = turns[name] = []

        def counted(self, batch, batch_idx, calls=calls):
            once(self, batch, batch_idx)
            calls.append(self.trainer.global_step)

        monkeypatch.setattr(DenoisingModule, "training_step", counted)
        assert run(tmp_path / name, *options, dropout=0.2).step == 7
    assert turns["long"] == [2, 3, 4, 5, 6, 7]  # where there is a snapshot, a row or an end
    assert turns["short"] == [1, 2, 3, 4, 5, 6, 7]
    long, short = (read_checkpoint(tmp_path / name / LAST) for name in ("long", "short"))
    for key in ("state_dict", "optimizer_states", "global_step"):
        assert same(long[key], short[key]), key
    for key in ("place", "batches", "samples", "ema"):
        assert same(long[STATE_KEY][key], short[STATE_KEY][key]), key
    assert rows(tmp_path / "long") == rows(tmp_path / "short")
    assert [row["step"] for row in rows(tmp_path / "long")] == ["3", "5", "6", "7"]
    assert [s.step for s in read_snapshots(tmp_path / "long")[::2]] == [2, 4, 6]


def test_a_signal_ends_a_turn_after_the_step_under_way(tmp_path, monkeypatch):
    class Pressed(Told):
        def __call__(self, denoiser, batch, generator, teacher=None):
            if len(self.drawn) == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(denoiser, batch, generator, teacher)

    monkeypatch.setattr("sciddiff.training.module._TURN", 1e9)
    notes = told(tmp_path, Pressed(), "--trainer.max_steps=50", "--trainer.log_every=1000")
    assert len(notes.drawn) == 5
    assert read_checkpoint(tmp_path / LAST)["global_step"] == 5


def test_the_time_limit_ends_a_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("sciddiff.training.module._TURN", 1e9)
    endless = ("--trainer.max_steps=-1", "--trainer.max_time=00:00:01")
    assert run(tmp_path, *endless, "--trainer.log_every=1000000000").step >= 1


def test_training_leaves_the_global_generators_alone(tmp_path):
    torch.manual_seed(3)
    before, (_, keys, position, *_) = torch.get_rng_state(), np.random.get_state()
    run(tmp_path, "--trainer.max_steps=3", "--trainer.val_every=1", dropout=0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == keys).all() and np.random.get_state()[2] == position


def test_checkpoint_to_resume_opens_as_plain_values(tmp_path):
    run(tmp_path, "--trainer.max_steps=2")
    loaded = torch.load(tmp_path / LAST, weights_only=True)
    assert json.loads(loaded[STATE_KEY]["plain"])["optim"]["lr"] == 0.01
    assert not list(tmp_path.rglob("*.partial"))
    assert config.read(tmp_path / "config.yaml") == plain(tmp_path, "--trainer.max_steps=2")


def test_a_finished_run_is_left_as_it_is(tmp_path):
    first = run(tmp_path, "--trainer.max_steps=3")
    before = (tmp_path / LAST).read_bytes(), rows(tmp_path)
    again = run(tmp_path, "--trainer.max_steps=3")
    assert (again.step, again.samples) == (first.step, first.samples) == (3, 24)
    assert ((tmp_path / LAST).read_bytes(), rows(tmp_path)) == before


def test_one_step_takes_as_many_batches_as_are_accumulated(tmp_path):
    """One step reads as many batches as are accumulated, and counts as one."""
    run(tmp_path, "--trainer.max_steps=1", "--trainer.accumulate=2")
    state = read_checkpoint(tmp_path / LAST)[STATE_KEY]
    assert state["batches"] == 2 and state["place"] == [0, 2] and state["samples"] == 16


@pytest.mark.filterwarnings("ignore:.*worker processes in total.*")
@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("start", [Place(), Place(0, 1), Place(1, 5), Place(2, 12)])
def test_stream_reads_on_from_any_place_in_the_same_order(workers, start):
    from mixture_domain import MixtureDomain

    domain = MixtureDomain(size=96, batch=8)  # twelve batches an epoch

    def first(n, place, workers):
        batches = iter(loader(BatchStream(domain, seed=4, start=place), workers))
        return [next(batches) for _ in range(n)]

    reference = first(40, Place(), 0)
    skip = 12 * start.epoch + start.done
    for expected, got in zip(reference[skip:], first(40 - skip, start, workers), strict=True):
        assert expected.place == got.place
        assert torch.equal(expected.batch.x["point"], got.batch.x["point"])


def test_processes_read_disjoint_shares():
    from mixture_domain import MixtureDomain

    domain = MixtureDomain(size=96, batch=8)
    seen = []
    for rank in range(3):
        batches = iter(BatchStream(domain, 0, rank, 3))
        seen += [next(batches).batch.ids[0] for _ in range(4)]
    assert len(set(seen)) == 12


def test_a_domain_without_batches_is_told():
    from mixture_domain import MixtureDomain

    with pytest.raises(InputError, match="no training batch"):
        next(iter(BatchStream(MixtureDomain(size=4, batch=8), 0)))


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (2, 3), (3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_another_number_of_processes_reads_on_without_a_gap(before, now, done):
    from mixture_domain import MixtureDomain

    domain = MixtureDomain(size=96, batch=8)  # twelve batches an epoch

    def read(rank, world, place):
        """The samples of each batch of the first epoch that this process reads from a place."""
        found = []
        for placed in BatchStream(domain, 0, rank, world, place):
            if placed.place.epoch > 0:
                return found
            found.append(placed.batch.ids)

    early = [ids for rank in range(before) for ids in read(rank, before, Place())[:done]]
    place = Place(0, done).shared(before, now)
    late = [ids for rank in range(now) for ids in read(rank, now, place)]
    assert len(set(early + late)) == 12
    assert len(early) + len(late) - 12 < now  # and next to nothing twice


def test_a_checkpoint_of_another_number_of_processes_is_read_on_from_there(tmp_path, monkeypatch):
    run(tmp_path, "--trainer.max_steps=4")
    checkpoint = read_checkpoint(tmp_path / LAST)
    checkpoint[STATE_KEY]["world"] = 3
    module = DenoisingModule(config.build(plain(tmp_path)))
    monkeypatch.setattr(DenoisingModule, "trainer", SimpleNamespace(world_size=2))
    module.on_load_checkpoint(checkpoint)
    assert module.place == Place(0, 6)


class Told(Objective):
    """Notes what a step draws; learns to predict the state itself, without noise."""

    def __init__(self, teacher=False):
        self.needs_teacher = teacher
        self.drawn, self.dropped, self.gaps = [], [], []

    def __call__(self, denoiser, batch, generator, teacher=None):
        self.drawn.append(uniform_per_sample(batch.size, generator))
        self.dropped.append(torch.nn.functional.dropout(torch.ones(64)))
        x, t = batch.x, torch.full((batch.size,), 0.5)
        said = denoiser.net(x, t, batch)["point"]
        if teacher is not None:
            assert not teacher.training and teacher.net is not denoiser.net
            assert not any(p.requires_grad for p in teacher.parameters())
            self.gaps.append((teacher.net(x, t, batch)["point"] - said).detach().abs().max())
        return LossOutput((said - 5.0).square().mean())


def told(tmp_path, objective, *overrides):
    experiment = config.build(plain(tmp_path, *overrides))
    object.__setattr__(experiment, "objective", objective)
    train(experiment)
    return objective


def test_no_two_batches_share_noise_or_dropout(tmp_path):
    notes = told(tmp_path, Told(), "--trainer.max_steps=4", "--trainer.accumulate=2")
    assert len(notes.drawn) == 8
    assert len({tuple(d.tolist()) for d in notes.drawn}) == 8
    assert len({tuple(d.tolist()) for d in notes.dropped}) == 8


def test_no_two_processes_share_noise_or_dropout(tmp_path, monkeypatch):
    drawn, dropped = set(), set()
    before = torch.get_rng_state()
    for rank in range(3):
        module = DenoisingModule(config.build(plain(tmp_path)))
        monkeypatch.setattr(DenoisingModule, "trainer", SimpleNamespace(global_rank=rank))
        for module.batches in range(3):
            drawn.add(tuple(torch.rand(3, generator=module._generator()).tolist()))
            dropped.add(tuple(torch.rand(3).tolist()))
    torch.set_rng_state(before)
    assert len(drawn) == len(dropped) == 9 and drawn.isdisjoint(dropped)


def test_two_accumulated_halves_are_the_whole_batch(tmp_path):
    """The same sixteen points in one batch or two; clipping sees the size of the gradient."""
    common = ("--trainer.max_steps=3", "--optim.grad_clip=0.01")
    told(tmp_path / "halves", Told(), "--trainer.accumulate=2", *common)
    from mixture_domain import MixtureDomain

    def whole(self, epoch, seed, rank, world):
        halves = list(MixtureDomain(size=40, batch=8).train_batches(epoch, seed, rank, world))
        halves += list(MixtureDomain(size=40, batch=8).train_batches(epoch + 1, seed, 0, 1))
        for a, b in zip(halves[::2], halves[1::2], strict=True):
            yield Batch({"point": torch.cat([a.x["point"], b.x["point"]])}, ids=a.ids + b.ids)

    experiment = config.build(plain(tmp_path / "whole", *common))
    object.__setattr__(experiment, "objective", Told())
    experiment.domain.train_batches = whole.__get__(experiment.domain)
    train(experiment)
    a, b = (read_checkpoint(tmp_path / n / LAST) for n in ("halves", "whole"))
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(value, b["state_dict"][name], rtol=1e-4, atol=1e-6)
    norms = [[float(row["grad_norm"]) for row in rows(tmp_path / n)] for n in ("halves", "whole")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_the_teacher_is_the_average_of_the_shortest_memory(tmp_path):
    options = ("--ema.widths=[0.1, 0.02]", "--trainer.val_every=2")
    notes = told(tmp_path, Told(teacher=True), "--trainer.max_steps=6", *options)
    assert notes.gaps[0] == 0.0  # before the first step
    assert max(notes.gaps) > 0.0
    run(tmp_path / "b", "--trainer.max_steps=2", *options)
    module = DenoisingModule(config.build(plain(tmp_path / "b", *options)))
    with torch.no_grad():
        for step in (1, 2, 3):
            for p in module.net.parameters():
                p.add_(1.0)
            module.ema.update(step)
            teacher = dict(module.teacher.net.state_dict())
            assert same(teacher, module.ema.weights(0.02))
    saved = module.ema.state_dict()
    module.ema.update(4)
    module.ema.load_state_dict(saved)
    assert same(dict(module.teacher.net.state_dict()), module.ema.weights(0.02))


def test_a_run_with_a_teacher_resumes_to_the_bit(tmp_path):
    class Distil(Told):
        def __call__(self, denoiser, batch, generator, teacher=None):
            t = uniform_per_sample(batch.size, generator)
            with torch.no_grad():
                aim = teacher.net(batch.x, t, batch)["point"] + 1.0
            said = denoiser.net(batch.x, t, batch)["point"]
            return LossOutput((said - aim).square().mean())

    told(tmp_path / "six", Distil(teacher=True), "--trainer.max_steps=6")
    told(tmp_path / "two", Distil(teacher=True), "--trainer.max_steps=3")
    told(tmp_path / "two", Distil(teacher=True), "--trainer.max_steps=6")
    six, two = (read_checkpoint(tmp_path / name / LAST)["state_dict"] for name in ("six", "two"))
    assert same(dict(six), dict(two))


class Poisoned(nn.Module):
    """A network whose output is not finite for points beyond x = 3."""

    def __init__(self, limit: float = 3.0) -> None:
        super().__init__()
        self.limit, self.layer = limit, nn.Linear(2, 2)

    def forward(self, x_t, t, batch):
        bad = (batch.x["point"][:, :1] > self.limit).float()
        return {"point": self.layer(x_t["point"]) / (1 - bad)}


def poisoned(out: Path, limit: float, *overrides: str):
    experiment = config.build(plain(out, *overrides))
    object.__setattr__(experiment, "net", Poisoned(limit))
    return train(experiment)


def test_guard_skips_counts_and_names_the_samples(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(InputError) as error:
        poisoned(tmp_path, -99.0, "--trainer.max_steps=20", "--optim.bad_steps=2")
    message = str(error.value)
    assert "\n" not in message and "loss is not finite for samples 2-0, 2-1" in message
    assert "3 steps were not finite and optim.bad_steps is 2" in message
    skipped = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    assert len(skipped) == 2 and "skipped, 1 of 2 allowed" in skipped[0]


def test_a_skipped_step_changes_nothing_and_is_not_counted(tmp_path):
    result = poisoned(tmp_path, 2.9, "--trainer.max_steps=12", "--optim.bad_steps=100")
    assert result.step == 12
    state = read_checkpoint(tmp_path / LAST)
    assert state[STATE_KEY]["skipped"] > 0
    assert state[STATE_KEY]["batches"] == 12 + state[STATE_KEY]["skipped"]
    assert all(torch.isfinite(v).all() for v in state["state_dict"].values())
    assert result.metrics["skipped"] == state[STATE_KEY]["skipped"]


def test_gradient_that_is_not_finite_stops_a_finite_loss(tmp_path):
    class Cliff(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, x_t, t, batch):
            return {"point": x_t["point"] * 0 + torch.sqrt(self.w)}  # slope infinite at 0

    experiment = config.build(plain(tmp_path, "--optim.bad_steps=0"))
    object.__setattr__(experiment, "net", Cliff())
    with pytest.raises(InputError, match="gradient is not finite for samples 0-0"):
        train(experiment)


def test_bfloat16_covers_the_network_and_nothing_else():
    seen = {}

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x_t, t, batch):
            seen["inside"] = self.layer(x_t["point"]).dtype
            return {"point": self.layer(x_t["point"])}

    out = Autocast(Probe())({"point": torch.randn(2, 4)}, torch.zeros(2), None)
    assert seen["inside"] == torch.bfloat16
    assert out["point"].dtype == torch.float32
    assert (torch.eye(3) @ torch.eye(3)).dtype == torch.float32


def test_validation_lends_weights_and_takes_them_back_to_the_bit(tmp_path):
    experiment = config.build(plain(tmp_path))
    module = DenoisingModule(experiment)
    before = {n: v.clone() for n, v in module.net.state_dict().items()}
    with torch.no_grad():
        for parameter in module.net.parameters():
            parameter.mul_(2.0)
    after = {n: v.clone() for n, v in module.net.state_dict().items()}
    with pytest.raises(RuntimeError), swapped(module.net, before):
        assert same(dict(module.net.state_dict()), before)
        raise RuntimeError
    assert same(dict(module.net.state_dict()), after)


def test_validation_does_not_change_the_run(tmp_path):
    run(tmp_path / "with", "--trainer.max_steps=4", "--trainer.val_every=1", dropout=0.3)
    run(tmp_path / "without", "--trainer.max_steps=4", dropout=0.3)
    a, b = (read_checkpoint(tmp_path / n / LAST)["state_dict"] for n in ("with", "without"))
    assert same(dict(a), dict(b))
    last = rows(tmp_path / "with")[-1]
    assert {"val_loss", "val_loss_ema_0.05", "val_loss_ema_0.1"} <= set(last)


def test_table_grows_columns_and_drops_what_will_be_made_again(tmp_path):
    table = Table(tmp_path / "t.csv")
    for step in (1, 2, 3):
        table.add({"step": step, "loss": step / 2})
    table.add({"step": 4, "loss": 2.0, "val_loss": 7})
    Table(tmp_path / "t.csv", step=3).add({"step": 4, "loss": 9.0})
    with (tmp_path / "t.csv").open() as file:
        got = list(csv.DictReader(file))
    assert [r["step"] for r in got] == ["1", "2", "3", "4"] and got[-1]["loss"] == "9.0"


def test_time_limit_stops_and_saves(tmp_path):
    result = run(tmp_path, "--trainer.max_steps=-1", "--trainer.max_time=00:00:01")
    assert result.step >= 1 and not result.interrupted and result.seconds >= 1
    assert read_checkpoint(tmp_path / LAST)["global_step"] == result.step


SCRIPT = """
import sys, logging
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from sciddiff import config
from sciddiff.training import train
if __name__ == "__main__":
    result = train(config.build(config.read({config!r}, sys.argv[1:])))
    print("RESULT", result.step, result.interrupted)
"""


def script(tmp_path: Path, settings: dict) -> Path:
    config.to_yaml(settings, tmp_path / "in.yaml")
    file = tmp_path / "main.py"
    paths = [str(ROOT), str(EXAMPLE)]
    file.write_text(SCRIPT.format(paths=paths, config=str(tmp_path / "in.yaml")))
    return file


def test_interrupt_finishes_the_step_saves_and_returns(tmp_path):
    ended = threading.Event()

    def press() -> None:
        while not ended.wait(0.01):
            if (tmp_path / METRICS).exists() and len(rows(tmp_path)) >= 3:
                os.kill(os.getpid(), signal.SIGINT)
                return

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        result = run(tmp_path, "--trainer.max_steps=100000")
    finally:
        ended.set()  # a run that failed must not leave a key that is pressed later
        thread.join()
    assert result.interrupted and 3 <= result.step < 100000
    assert read_checkpoint(tmp_path / LAST)["global_step"] == result.step
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_the_same_command_resumes(tmp_path, number):
    out = tmp_path / "run"
    file = script(tmp_path, plain(out, "--trainer.max_steps=1000000"))
    child = subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:  # no limit of time but that of the test: how fast a busy machine is says nothing
        while not (out / METRICS).exists() or len(rows(out)) < 5:
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.05)
        child.send_signal(number)
        output, errors = child.communicate()
    finally:
        child.kill()  # whatever happens here, no training stays behind
        child.wait()
    assert child.returncode == 0 and "Traceback" not in errors, errors
    _, step, interrupted = output.split()[-3:]
    assert interrupted == "True"
    saved = read_checkpoint(out / LAST)["global_step"]
    assert saved == int(step) >= 5
    result = run(out, f"--trainer.max_steps={saved + 2}")
    assert result.step == saved + 2


def test_refusals_name_the_remedy(tmp_path):
    run(tmp_path, "--trainer.max_steps=1")
    with pytest.raises(InputError, match="holds a run already"):
        run(tmp_path, resume="never")
    with pytest.raises(InputError, match="net: .* was trained with"):
        run(tmp_path, width=32)
    with pytest.raises(InputError, match="ema: "):
        run(tmp_path, "--ema.widths=[0.2]")
    with pytest.raises(InputError, match="there is no checkpoint"):
        run(tmp_path / "b", resume=tmp_path / "nothing")
    with pytest.raises(InputError, match="no end"):
        run(tmp_path / "b", "--trainer.max_steps=-1")
    with pytest.raises(InputError, match="DD:HH:MM:SS"):
        run(tmp_path / "b", "--trainer.max_time=soon")
    whole = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        run(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / LAST)
    with pytest.raises(InputError, match="not a checkpoint of sciddiff"):
        run(tmp_path)
    torch.save({STATE_KEY: {"format": 99}}, tmp_path / LAST)
    with pytest.raises(InputError, match="format 99 is unknown"):
        run(tmp_path)


def test_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    import pytorch_lightning as pl

    run(tmp_path, "--trainer.max_steps=2")

    def full(self, path, *args):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", full)
    with pytest.raises(InputError, match="No space left.*same command"):
        run(tmp_path, "--trainer.max_steps=4")
    assert read_checkpoint(tmp_path / LAST)["global_step"] == 2
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_train_as_one_and_resume_to_the_bit(tmp_path):
    def launch(name: str, steps: int) -> dict:
        out = tmp_path / name
        options = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.val_every=2")
        file = script(tmp_path, plain(out, *options, f"--trainer.max_steps={steps}", size=96))
        done = subprocess.run(
            [sys.executable, str(file)],
            capture_output=True, text=True, timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return read_checkpoint(out / LAST)

    launch("two", 10)
    two, one = launch("two", 20), launch("one", 20)
    assert same(dict(two["state_dict"]), dict(one["state_dict"]))
    assert two[STATE_KEY]["world"] == 2 and two[STATE_KEY]["samples"] == 20 * 8 * 2
    assert len(rows(tmp_path / "one")) == 20
