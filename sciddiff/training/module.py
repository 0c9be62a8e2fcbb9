"""The learning step: noise a batch, predict, take the loss, move the parameters.

Optimisation is by hand (Lightning's manual mode), so that three things have one place each: what
counts as a step, what happens when a gradient is not finite, and what a resumed run needs.

Randomness is a function of `(seed, number of the batch, rank)`.  No generator state has to be
saved, and a resumed run draws what an unbroken one would have drawn, to the bit.  Dropout draws
from the global generators: they are seeded before each batch, and given back as they were when the
run ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from sciddiff.config import Experiment
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.objectives import LossOutput
from sciddiff.state import Batch, State
from sciddiff.streams import Generator
from sciddiff.training.ema import PowerEMA
from sciddiff.training.optim import make_optimizer, rate
from sciddiff.training.runs import FORMAT, STATE_KEY
from sciddiff.training.stream import BatchStream, Place, Placed, Turns, loader

__all__ = ["Autocast", "DenoisingModule", "as_denoising"]

_log = logging.getLogger(__name__)

_TURN = 0.1  # seconds of training that Lightning's loop may see as one batch


@final
class Autocast(nn.Module):
    """A network run in bfloat16 where that is safe, with outputs in the type of its state.

    Only the network is covered.  Paths, geometry and losses around it stay in float32: under
    autocast even a product of two rotation matrices would lose all but three digits.

    Args:
        net: `net(x_t, t, batch) -> State`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_t: State, t: Any, batch: Batch, **until: Any) -> State:
        """Return raw outputs, float32 for floating types shorter than that."""
        time = t if isinstance(t, Tensor) else next(iter(t.values()))
        with torch.autocast(time.device.type, dtype=torch.bfloat16):
            raw = self.net(x_t, t, batch, **until)
        short = (torch.bfloat16, torch.float16)
        # Entries that are no tensors are the network's extras, and pass as they are.
        return {
            k: v.float() if isinstance(v, Tensor) and v.dtype in short else v
            for k, v in raw.items()
        }


@final
class DenoisingModule(pl.LightningModule):
    """Lightning module that trains the network of an experiment by its objective.

    Attributes:
        net: The network; its parameters alone are averaged.
        ema: Power-law averages of them.
        place: How far the training data has been read.
        batches: Batches trained on by this process.
        samples: Samples trained on by all processes.
        skipped: Steps skipped since the loss or the gradient was not finite.
        window: Values since the last log line, by name.
        borrowed: To be entered around a fit: gives the global generators back at the end.
        origin: Which weights the run started from, as plain values; None: none.
        due: After which steps callbacks have something to do; they are called then, and every
            tenth of a second. None: after every step.

    Args:
        experiment: The run to make.
        origin: See the attribute.
    """

    def __init__(self, experiment: Experiment, origin: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.experiment, self.origin = experiment, origin
        self.net = experiment.net
        if experiment.trainer.precision == "64":
            self.net.double()
        objective = experiment.objective or experiment.domain.objective()
        # Registered if it has parameters of its own, which then train with the network's.
        self.objective = objective
        mixed = experiment.trainer.precision == "bf16-mixed"
        net = Autocast(self.net) if mixed else self.net
        # In a tuple: registered a second time, every parameter would have two names.
        self._denoiser = (Denoiser(net, experiment.domain.training_path()),)
        self._teacher: tuple[Denoiser, ...] = ()
        self.ema = PowerEMA(self.net, experiment.ema.widths)
        self.place = Place()
        self.batches = self.samples = self.skipped = 0
        self.window: dict[str, list[Tensor]] = {}
        self.due: Callable[[int], bool] | None = None
        self.borrowed = contextlib.ExitStack()
        self._micro: list[tuple[tuple[str, ...], Tensor]] = []

    @property
    def denoiser(self) -> Denoiser:
        """Network and path, with the network in the precision of the run."""
        return self._denoiser[0]

    @property
    def optimiser(self) -> LightningOptimizer:
        """The optimiser; its `step` counts as one in `trainer.global_step`."""
        found = self.optimizers()
        if not isinstance(found, LightningOptimizer):
            raise RuntimeError("the module is not being trained")
        return found

    @property
    def between_steps(self) -> bool:
        """Whether no gradient is half accumulated: the moments at which a run can be saved."""
        return not self._micro

    @property
    def teacher(self) -> Denoiser:
        """The denoiser with averaged weights, of the shortest memory that is tracked.

        Its parameters are the averages themselves: it is as new as the last step, and costs no
        memory of its own. It is in evaluation mode and gets no gradient.
        """
        if not self._teacher:
            net = self.ema.network(min(self.ema.widths))
            if self.experiment.trainer.compile:
                net.compile(dynamic=True)
            mixed = self.experiment.trainer.precision == "bf16-mixed"
            self._teacher = (Denoiser(Autocast(net) if mixed else net, self.denoiser.path),)
            self._teacher[0].eval()
        return self._teacher[0]

    def on_fit_start(self) -> None:
        """Move the averages to the device, and compile if asked to."""
        self.ema.to(self.device)
        devices = [] if self.device.type == "cpu" else [self.device]
        kind = "cuda" if self.device.type == "cpu" else self.device.type
        self.borrowed.enter_context(torch.random.fork_rng(devices, device_type=kind))
        if self.experiment.trainer.compile:
            if self._taught:
                _ = self.teacher  # copied from the network before that is compiled
            self.net.compile(dynamic=True)  # in place: names of parameters do not change

    def train_dataloader(self) -> Turns:
        """Return this rank's batches from where the run stands."""
        world, rank = self.trainer.world_size, self.trainer.global_rank
        run = self.experiment
        stream = BatchStream(run.domain, run.seed, rank, world, self.place)
        return Turns(loader(stream, run.trainer.workers))

    def configure_optimizers(self) -> Optimizer:
        """Return the optimiser of every trained parameter."""
        named = ((name.removeprefix("net."), p) for name, p in self.named_parameters())
        return make_optimizer(named, self.experiment.optim)

    def transfer_batch_to_device(
        self, batch: Iterator[Placed], device: torch.device, dataloader_idx: int
    ) -> Iterator[Placed]:
        """Leave the iterator as it is: `training_step` moves what it takes from it."""
        return batch

    def _moved(self, batch: Batch) -> Batch:
        """The batch on the device and in the type of the run."""
        if self.device.type != "cpu" or batch.device.type != "cpu":
            batch = batch.to(self.device)
        return self.cast(batch)

    def cast(self, batch: Batch) -> Batch:
        """Return the batch in the floating type of the run."""
        if self.experiment.trainer.precision != "64":
            return batch
        return replace(batch, x=_double(batch.x), cond=_double(batch.cond))

    @property
    def _taught(self) -> bool:
        """Whether the objective asks for averaged weights beside the live ones."""
        return getattr(self.objective, "needs_teacher", False)

    def learn(self, batch: Batch, generator: Generator) -> LossOutput:
        """Return the loss on a batch, with the teacher at hand where the objective needs one."""
        if self._taught:  # declares the argument then
            objective: Callable[..., LossOutput] = self.objective
            return objective(self.denoiser, batch, generator, teacher=self.teacher)
        return self.objective(self.denoiser, batch, generator)

    def training_step(self, batch: Iterator[Placed], batch_idx: int) -> None:
        """Take batches and make steps until callbacks are due.

        A model wrapped by its strategy (several processes) is called once for each batch, as its
        wrapper counts calls.
        """
        wrapped, end = self.trainer.strategy.model is not self, time.monotonic() + _TURN
        while True:
            self._learn_from(next(batch))
            if wrapped or self.due is None:
                return
            if self.between_steps:
                step = self.trainer.global_step
                if step == self.trainer.max_steps or self.due(step) or time.monotonic() >= end:
                    return

    def _learn_from(self, placed: Placed) -> None:
        """Add the gradient of one batch, and step when enough are accumulated."""
        batch, accumulate = self._moved(placed.batch), self.experiment.trainer.accumulate
        with self._sync(len(self._micro) + 1 == accumulate):
            output = self.learn(batch, self._generator())
            self._backward(output.loss / accumulate)
        self._micro.append((batch.ids, output.loss.detach()))
        self._record({"loss": output.loss, **output.metrics})
        self.batches += 1
        self.samples += batch.size * self.trainer.world_size
        self.place = placed.place
        if len(self._micro) == accumulate:
            self._step()

    def _backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss."""
        if type(self.trainer.strategy) is SingleDeviceStrategy:
            loss.backward()  # what `manual_backward` comes to, without its dozen hooks
        else:
            self.manual_backward(loss)

    def _step(self) -> None:
        """Clip, check and apply the accumulated gradient."""
        settings, optimizer = self.experiment.optim, self.optimiser
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        limit = settings.grad_clip if settings.grad_clip > 0 else math.inf
        norm = nn.utils.clip_grad_norm_(trained, limit)
        micro = self._micro.copy()
        self._micro.clear()
        # Gradients are summed over ranks, so every rank sees the same norm and decides alike.
        total = norm
        if self.trainer.world_size == 1:
            total = sum((loss for _, loss in micro), norm)  # finite if all of them are
        if not math.isfinite(float(total)):
            optimizer.zero_grad()
            self._refuse(micro)
            return
        lr = rate(self.trainer.global_step + 1, settings, self.experiment.trainer.max_steps)
        for group in optimizer.param_groups:
            group["lr"] = lr
        self._advance(optimizer)
        optimizer.zero_grad()
        self.ema.update(self.trainer.global_step)
        self._record({"grad_norm": norm})

    def _advance(self, optimizer: LightningOptimizer) -> None:
        """Make the step, and count it in `trainer.global_step`."""
        if type(self.trainer.strategy) is not SingleDeviceStrategy:
            optimizer.step()
            return
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.increment_ready()
        optimizer.optimizer.step()
        steps.increment_completed()

    def _refuse(self, micro: list[tuple[tuple[str, ...], Tensor]]) -> None:
        """Count a step that was not finite and name its samples; stop after too many."""
        self.skipped += 1
        self.window.clear()
        bad = [ids for ids, loss in micro if not bool(torch.isfinite(loss))]
        what = "loss" if bad else "gradient"
        names = [name for ids in bad or [ids for ids, _ in micro] for name in ids]
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        step, allowed = self.trainer.global_step + 1, self.experiment.optim.bad_steps
        text = f"step {step}: {what} is not finite for samples {shown or '(no ids)'}"
        if self.skipped > allowed:
            raise InputError(
                f"training: {text}; {self.skipped} steps were not finite and optim.bad_steps is "
                f"{allowed}: look at these samples, or lower optim.lr, then run the same command"
            )
        _log.warning("%s; skipped, %d of %d allowed", text, self.skipped, allowed)

    def _record(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.window.setdefault(name, []).append(value.detach())

    def _generator(self) -> torch.Generator:
        """The generator of this batch; dropout gets a seed of its own."""
        key = [self.experiment.seed, self.batches, self.trainer.global_rank]
        first, second = np.random.SeedSequence(key).generate_state(2, np.uint64).tolist()
        # Not torch.manual_seed: where a device is missing it queues a call for it, with the trace
        # of the stack, at every step.
        torch.default_generator.manual_seed(second)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(second)
        return torch.Generator(self.device).manual_seed(first)

    def _sync(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Let processes exchange gradients at the last accumulated batch only."""
        wrapped = self.trainer.strategy.model
        if last or not isinstance(wrapped, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return wrapped.no_sync()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add, as plain values and tensors, what an exact continuation needs."""
        plain, latents = self.experiment.plain, self.experiment.domain.latents()
        checkpoint[STATE_KEY] = {
            "format": FORMAT,
            "place": [self.place.epoch, self.place.done],
            "batches": self.batches,
            "samples": self.samples,
            "skipped": self.skipped,
            "world": self.trainer.world_size,
            "ema": self.ema.state_dict(),
            "plain": None if plain is None else json.dumps(plain),
            "origin": None if self.origin is None else dict(self.origin),
            "objective": self.objective.memory(),
            "latents": None if latents is None else latents.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue where the checkpoint was made."""
        state, world = checkpoint[STATE_KEY], self.trainer.world_size
        self.place = Place(*state["place"]).shared(state["world"], world)
        self.batches, self.samples = state["batches"], state["samples"]
        self.skipped, self.origin = state["skipped"], state.get("origin")
        self.ema.load_state_dict(state["ema"])
        self.objective.recall(state.get("objective", {}))
        latents, codec = self.experiment.domain.latents(), state.get("latents")
        if latents is not None and codec is not None:
            latents.restore(codec, "checkpoint")


def as_denoising(module: pl.LightningModule) -> DenoisingModule:
    """The module of a callback, which serves no other.

    Raises:
        TypeError: It is one of another program.
    """
    if not isinstance(module, DenoisingModule):
        raise TypeError(f"these callbacks serve a DenoisingModule, not {type(module).__name__}")
    return module


def _double(value: Any) -> Any:
    """Every floating tensor of nested dicts in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {k: _double(v) for k, v in value.items()}
    return value
