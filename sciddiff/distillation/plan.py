"""What a student learns: from which predictions of its teacher, and with which optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from sciddiff import config as configs
from sciddiff.checkpoint import Model
from sciddiff.config import Experiment
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.guidance import DenoiserLike
from sciddiff.objectives import (
    Denoising,
    Distilled,
    Objective,
    Paired,
    Progressive,
    Shortcut,
)
from sciddiff.prediction import Prediction
from sciddiff.samplers import Ancestral, Midpoint
from sciddiff.state import Batch, State
from sciddiff.trust import Trust, construct

__all__ = ["KINDS", "Plan", "learning_of", "student_of"]

KINDS = ("guidance", "reflow", "shortcut", "progressive")
"""Ways to make a student."""

_JUMPS = 8  # of a flow map by default


@final
@dataclass(frozen=True)
class Plan:
    """How a student is made of a teacher.

    Attributes:
        kind: One of `KINDS`: ``"guidance"`` learns what the teacher says under guidance;
            ``"reflow"`` learns the pairs of noise and sample of the teacher; ``"shortcut"``
            becomes a flow map, whose jumps agree with each other and, where they are short, with
            the teacher; ``"progressive"`` becomes one whose few jumps end where a solver of
            second order leads that follows the teacher.
        weight: Strength of the guidance that is learned; 1 is none.
        calls: Steps that the student is recommended to be drawn with; None: as many as its
            teacher, or 8 of a flow map.
    """

    kind: str
    weight: float = 1.0
    calls: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"distill: {self.kind!r} is unknown; choose {' or '.join(KINDS)}")

    @property
    def pairs(self) -> bool:
        """Whether the noise of each sample is needed: then it must be a sample of the teacher."""
        return self.kind == "reflow"

    def check(self, teacher: Model) -> None:
        """Refuse a teacher that this cannot be learned from.

        Raises:
            InputError: Its domain has no guidance, or a leaf does not start from given noise.
        """
        if self.kind == "guidance" and self.weight == 1.0:
            raise InputError("--weight 1: is no guidance; give another strength, such as 2.5")
        if self.pairs and self.weight != 1.0:
            raise InputError("--weight: --reflow learns no guidance; leave it out")
        self._source(teacher)
        for name, path in teacher.denoiser.path.paths.items() if self.pairs else ():
            if not path.uses_noise:
                raise InputError(
                    f"--reflow: {type(path).__name__} of leaf {name!r} starts from its data, "
                    "whatever the noise, so that there are no pairs"
                )

    def objective(self, teacher: Model, trust: Iterable[str] = ()) -> Objective:
        """What the student learns by.

        Args:
            teacher: The model, on the device of the training.
            trust: Names of further packages whose classes the model may run.
        """
        learning = learning_of(teacher, trust)
        if self.pairs:
            return replace(learning, coupling=Paired())
        source = self._source(teacher)
        if self.kind == "guidance":
            return Distilled(source, learning)
        if learning.self_conditioning > 0.0:
            source = Reconsidered(source)
        if self.kind == "progressive":
            return Progressive(source, Midpoint(), learning, self.calls or _JUMPS)
        return Shortcut(learning, source)

    def _source(self, teacher: Model) -> DenoiserLike:
        """What the student learns the predictions of."""
        if self.weight == 1.0:
            return teacher.denoiser
        return teacher.domain.guided(teacher.denoiser, self.weight)

    def drawing(self, teacher: Model) -> Drawing:
        """How the teacher's own samples are drawn."""
        drawing = teacher.drawing
        if self.pairs:  # the noise must decide the sample
            return replace(drawing, sampler=Ancestral(0.0))
        if self.weight == 1.0:
            return drawing
        return replace(drawing, guide=lambda denoiser, batch: (
            teacher.domain.guided(denoiser, self.weight)))  # fmt: skip

    def recommended(self, teacher: Model) -> dict[str, Any]:
        """How the student is to be drawn, for its `meta.json`."""
        if self.flow_map:
            return {"steps": self.calls or _JUMPS, "flow_map": True}
        return {"steps": self.calls or len(teacher.drawing.grid) - 1}

    @property
    def flow_map(self) -> bool:
        """Whether the student predicts up to a later time."""
        return self.kind in ("shortcut", "progressive")

    def network(self, teacher: Model) -> dict[str, Any]:
        """The network of the student, as plain values.

        Raises:
            InputError: It should be a flow map, and its class is none.
        """
        plain = dict(teacher.config["net"])
        if not self.flow_map:
            return plain
        kind = type(teacher.denoiser.net)
        if "flow_map" in inspect.signature(kind).parameters:
            return {**plain, "init_args": {**(plain.get("init_args") or {}), "flow_map": True}}
        if "until" in inspect.signature(kind.forward).parameters:
            return plain
        raise InputError(
            f"--{self.kind}: {kind.__name__} cannot predict up to a later time; give its "
            "`forward` an argument `until` (see sciddiff.nn.SpanEmbedding), or use --guidance or "
            "--reflow"
        )


@final
class Reconsidered:
    """A denoiser that is asked twice, and sees its first answer the second time.

    A student that does not feed predictions back learns from one that does.

    Args:
        denoiser: Trained with self-conditioning.
    """

    def __init__(self, denoiser: DenoiserLike) -> None:
        self.denoiser = denoiser

    def __call__(self, x_t: State, t: Any, batch: Batch) -> Mapping[str, Prediction]:
        """The second answer."""
        first = self.denoiser(x_t, t, batch)
        data = {name: said.data for name, said in first.items()}
        return self.denoiser(x_t, t, batch.with_cond(self_condition=data))


def learning_of(model: Model, trust: Iterable[str] = ()) -> Denoising:
    """The objective that a model was trained by.

    Raises:
        InputError: It is another than `Denoising`.
    """
    named = model.config.get("objective")
    if named is None:
        objective: Any = model.domain.objective()
    else:
        objective = construct(named, Objective, "config.yaml: objective", Trust.of(trust))
    if not isinstance(objective, Denoising):
        raise InputError(
            f"distill: the model was trained by {type(objective).__name__}; only models that "
            "learned by Denoising can be distilled"
        )
    return objective


def _optim_of(teacher: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Settings of a student's optimiser, as plain values, before the overrides.

    A decay that the overrides choose is not told where to end: `linear` ends with the run.
    """
    chosen = any(word.partition("=")[0] == "--optim.decay" for word in overrides)
    rate = 0.25 * float(teacher.get("lr", 1e-3))
    fall = {"decay": "inverse_sqrt", "t_ref": 0 if chosen else 1000}
    return {**teacher, "lr": rate, "warmup": 50, **fall}


def student_of(
    teacher: Model,
    name: str,
    net: Mapping[str, Any],
    objective: Objective,
    run: Path,
    trainer: Mapping[str, Any],
    seed: int,
    overrides: Sequence[str] = (),
    trust: Iterable[str] = (),
) -> Experiment:
    """The experiment that trains a student, which starts from the weights of its teacher.

    Its optimiser is the teacher's at a quarter of the rate, with a short ramp.

    Args:
        teacher: The model.
        name: Folder or shipped name of its weights.
        net: Network of the student, as plain values; what it has beyond the teacher's is new.
        objective: What is learned.
        run: Folder of the training run.
        trainer: Settings of the trainer.
        seed: Seed of the order of the data, times and noise.
        overrides: Options as of ``sciddiff train``: ``["--optim.lr", "1e-4"]``.
        trust: Names of further packages whose classes the model may run.

    Raises:
        InputError: An override is not a setting of an experiment, or names the network.
    """
    for word in overrides:
        if word.startswith(("--net", "--objective", "--init")):
            raise InputError(f"{word}: a student has the network of its teacher; leave it out")
    kept = {key: teacher.config[key] for key in ("domain", "objective") if key in teacher.config}
    optim = _optim_of(teacher.config.get("optim") or {}, overrides)
    plain = configs.read(
        {
            **kept,
            "net": dict(net),
            "optim": optim,
            "trainer": dict(trainer),
            "seed": seed,
            "out": str(run),
            "init_from": name,
            "init_strict": dict(net) == teacher.config["net"],
        },
        overrides,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        domain, student = configs.build_parts(plain, Trust.of(trust))
    settings = configs.settings_of(plain)
    return Experiment(
        domain, student, objective, **settings, seed=plain["seed"], out=plain["out"],
        init_from=plain["init_from"], init_strict=plain["init_strict"], plain=plain,
    )  # fmt: skip
