"""Generate backbones: unconditional, around a motif, from a structure, or as a symmetric assembly.

Every mode is the same call of the core's `sample`: modes differ in the template (what is fixed,
where the state starts) and in the network seen by the sampler (copies of an asymmetric unit).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from protein.backbone.designs import Design, Numbering, designs_from_state
from protein.backbone.network import FOLDS, TRANSLATIONS
from protein.backbone.polish import DEFAULT, PolishSettings
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import ClassifierFree, DenoiserLike
from sciddiff.samplers import Ancestral, EulerMaruyama, Sampler
from sciddiff.sampling import sample
from sciddiff.state import Batch, State
from sciddiff.streams import Streams

SAMPLERS = ("sde", "ode")


@dataclass(frozen=True)
class GenerateSettings:
    """How designs are sampled.

    Attributes:
        steps: network calls per design.
        sampler: "sde" adds noise on the way, "ode" does not.
        temperature: scale of the noise that "sde" adds on the way; below 1 designs are more
        regular and less
            diverse. With "ode" it scales the starting noise.
        fold_weight: strength of the fold class, 1 for plain conditioning.
        fold_interval: times between which the class is strengthened; every step between them
            costs a second network call.
        seed: seed of the noise.
        polish: junction relaxation of the result.
    """

    steps: int = 20
    sampler: str = "sde"
    temperature: float = 0.2
    fold_weight: float = 2.5
    fold_interval: tuple[float, float] = (0.0, 0.6)
    seed: int = 0
    polish: PolishSettings = DEFAULT

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 5000:
            raise InputError(f"steps {self.steps}: must lie between 1 and 5000; 20 is the default")
        if self.sampler not in SAMPLERS:
            raise InputError(f"sampler {self.sampler!r}: unknown; use {' or '.join(SAMPLERS)}")
        if not 0.0 <= self.temperature <= 2.0:
            raise InputError(f"temperature {self.temperature}: must lie between 0 and 2; try 0.2")

    def build(self) -> Sampler:
        """The core's sampler for these settings."""
        if self.sampler == "ode":
            return Ancestral(eta=0.0)
        return EulerMaruyama(noise_scale=self.temperature, curved_eta=0.0)


@dataclass(frozen=True)
class Start:
    """Where a partial run starts.

    Attributes:
        x: the user's structure as a state.
        noise: share of noise put on it, 0 (as it is) to 1 (nothing of it is left).
    """

    x: State
    noise: float


def generate(
    denoiser: Denoiser,
    batch: Batch,
    settings: GenerateSettings | None = None,
    numbering: Numbering | None = None,
    start: Start | None = None,
    offset: Tensor | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Design]:
    """Sample one batch of templates.

    Args:
        denoiser: a trained backbone denoiser.
        batch: templates with `cond["index"]`; the same design comes out whatever the batch.
        settings: steps, sampler, temperature, seed.
        numbering: residue names of the designs, if they share them.
        start: start from a noised structure (partial diffusion).
        offset: centre of the starting noise, nm `[3]`, for paths whose centre of mass is free.
        on_step: called with (steps done, steps in all).

    Returns:
        One design per sample, in the order of the batch.
    """
    settings = settings or GenerateSettings()
    guided: DenoiserLike = denoiser
    if settings.fold_weight != 1.0 and bool((batch.cond["fold"] != FOLDS.index("none")).any()):
        none = {"fold": FOLDS.index("none")}
        guided = ClassifierFree(settings.fold_weight, none, settings.fold_interval)(denoiser)
    options: dict[str, Any] = {}
    if start is not None:
        options = {"x_start": start.x, "start_t": 1.0 - start.noise}
    if offset is not None:
        streams = Streams(settings.seed, batch.cond["index"])
        noise = denoiser.path.prior(batch.x, streams, batch.layouts)
        options["x_init"] = {**noise, TRANSLATIONS: noise[TRANSLATIONS] + offset.to(batch.device)}
    result = sample(
        guided,
        batch,
        settings.build(),
        uniform(settings.steps),
        settings.seed,
        indices=batch.cond["index"],
        prior_scale=settings.temperature if settings.sampler == "ode" else 1.0,
        self_condition=True,
        callback=None if on_step is None else lambda done: on_step(done.step, done.steps),
        **options,
    )
    return designs_from_state(batch, result.x, numbering, settings.polish)
