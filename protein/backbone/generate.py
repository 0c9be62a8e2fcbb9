"""Generate backbones: unconditional, around a motif, from a structure, or as a symmetric assembly.

Every mode is the same call of the core's `sample`: modes differ in the template (what is fixed,
where the state starts) and in the network seen by the sampler (copies of an asymmetric unit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from protein.backbone.designs import Design, Numbering, designs_from_state
from protein.backbone.network import TRANSLATIONS
from protein.backbone.polish import DEFAULT, PolishSettings
from protein.structures.secondary import FOLDS
from sciddiff.denoiser import Denoiser
from sciddiff.drawing import Drawing, draw
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import ClassifierFree, DenoiserLike
from sciddiff.samplers import DPMSolverPP, FlowMap, Sampler
from sciddiff.sampling import Progress
from sciddiff.state import Batch, State
from sciddiff.steering import Reward, Steered, particles_of
from sciddiff.streams import Streams, seed_of

SAMPLERS = ("sde", "ode", "map")
_JUDGEMENTS = 5  # of the particles of a design that is steered


@dataclass(frozen=True)
class GenerateSettings:
    """How designs are sampled.

    Attributes:
        steps: network calls per design.
        sampler: "sde" adds noise on the way, "ode" does not, "map" jumps, for weights that are a
            flow map.
        temperature: scale of the noise that "sde" adds on the way; less noise makes designs
            denser and less diverse; at 0.8 they are packed as natives are. With "ode" and "map"
            it scales the starting noise.
        fold_weight: strength of the fold class, 1 for plain conditioning.
        fold_interval: times between which the class is strengthened; every step between them
            costs a second network call.
        seed: seed of the noise.
        polish: junction relaxation of the result.
        steer: what designs are steered towards, in the words of `protein.backbone.rewards`;
            empty for nothing.
        particles: designs that compete for each one that is steered.
        reward: what `steer` means.
    """

    steps: int = 50
    sampler: str = "sde"
    temperature: float = 0.8
    fold_weight: float = 1.0
    fold_interval: tuple[float, float] = (0.0, 0.6)
    seed: int = 0
    polish: PolishSettings = DEFAULT
    steer: str = ""
    particles: int = 8
    reward: Reward | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 5000:
            raise InputError(f"steps {self.steps}: must lie between 1 and 5000; 50 is the default")
        if self.sampler not in SAMPLERS:
            raise InputError(f"sampler {self.sampler!r}: unknown; use {' or '.join(SAMPLERS)}")
        if not 0.0 <= self.fold_weight <= 20.0:
            raise InputError(
                f"fold weight {self.fold_weight}: must lie between 0 and 20; 1 is the default"
            )
        if not 0.0 <= self.temperature <= 2.0:
            raise InputError(f"temperature {self.temperature}: must lie between 0 and 2; try 0.8")

    def record(self) -> dict[str, Any]:
        """Plain values that decide the designs; of steering only where there is some."""
        values = asdict(replace(self, reward=None))
        del values["reward"]
        if not self.steer:
            del values["steer"], values["particles"]
        return values

    def attempt(self, number: int) -> GenerateSettings:
        """The settings of a further attempt at a design; attempt 0 has these."""
        return replace(self, seed=seed_of(self.seed, "attempt", number)) if number else self

    def drawing(self) -> Drawing:
        """How the core draws with these settings."""
        temperature = self.temperature
        samplers: dict[str, Sampler] = {
            "sde": DPMSolverPP("2M", stochastic=True, noise_scale=temperature),
            "ode": DPMSolverPP("2M"),
            "map": FlowMap(),
        }
        sampler = samplers[self.sampler]
        if self.reward is not None:
            every = max(1, self.steps // _JUDGEMENTS)
            sampler = Steered(sampler, self.reward, self.particles, every=every)
        return Drawing(
            sampler,
            uniform(self.steps),
            guide=self._guided,
            number=_index,
            self_condition=self.sampler != "map",
            prior_scale=1.0 if self.sampler == "sde" else temperature,
        )

    def _guided(self, denoiser: Denoiser, batch: Batch) -> DenoiserLike:
        """The denoiser with a stronger fold class, where the batch asks for one."""
        none = FOLDS.index("none")
        if self.fold_weight == 1.0 or not bool((batch.cond["fold"] != none).any()):
            return denoiser
        return self.stronger(denoiser)

    def stronger(self, denoiser: Denoiser) -> DenoiserLike:
        """The denoiser with the fold class at this strength, whatever the batch asks for."""
        null = {"fold": FOLDS.index("none")}
        return ClassifierFree(self.fold_weight, null, self.fold_interval)(denoiser)


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
    numbering: Numbering | Sequence[Numbering] | None = None,
    start: Start | None = None,
    offset: Tensor | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_state: Callable[[State], None] | None = None,
) -> list[Design]:
    """Sample one batch of templates.

    Args:
        denoiser: a trained backbone denoiser.
        batch: templates with `cond["index"]`; the same design comes out whatever the batch.
        settings: steps, sampler, temperature, seed.
        numbering: residue names of the designs, of each or the same for all.
        start: start from a noised structure (partial diffusion).
        offset: centre of the starting noise, nm `[3]` or one for each sample `[B, 3]`, for paths
            whose centre of mass is free.
        on_step: called with (steps done, steps in all).
        on_state: called with the state after every step, of all particles.

    Returns:
        One design per sample, in the order of the batch.
    """
    settings = settings or GenerateSettings()
    device = next(denoiser.parameters()).device
    options: dict[str, Any] = {}
    if start is not None:
        if settings.reward is not None:
            raise InputError("--steer: a variant starts from its structure; leave one out")
        there = {name: leaf.to(device) for name, leaf in start.x.items()}
        options = {"x_start": there, "start_t": 1.0 - start.noise}
    if offset is not None:
        batch = batch.to(device)
        count = settings.particles if settings.reward is not None else 1
        all_of_it, numbers = particles_of(batch, batch.cond["index"].cpu(), count)
        streams = Streams(settings.seed, numbers)
        noise = denoiser.path.prior(all_of_it.x, streams, all_of_it.layouts)
        centre = offset.to(noise[TRANSLATIONS]).reshape(-1, 1, 3)
        if len(centre) > 1:
            centre = centre.repeat_interleave(count, 0)
        options["x_init"] = {**noise, TRANSLATIONS: noise[TRANSLATIONS] + centre}

    def after(done: Progress) -> None:
        if on_step is not None:
            on_step(done.step, done.steps)
        if on_state is not None:
            on_state(done.x)

    options["callback"] = after
    x = draw(denoiser, batch, settings.drawing(), settings.seed, **options)
    return designs_from_state(batch.to(x[TRANSLATIONS].device), x, numbering, settings.polish)


def _index(batch: Batch) -> Tensor:
    """The number of each design, on which its noise depends."""
    return batch.cond["index"].cpu()
