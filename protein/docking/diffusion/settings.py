"""How the flow network draws poses, in plain values."""

from dataclasses import dataclass

from sciddiff.errors import InputError


@dataclass(frozen=True)
class ProposeSettings:
    """How the network draws poses.

    Attributes:
        samples: poses per ligand, shared out among its conformers.
        steps: number of steps of the sampler.
        noise: amount of fresh noise in each step, from 0 (none) to 1.
        guidance: weight of the guidance by energy; 0 for none.
        temperature: scale of the noise from which the translation starts.
    """

    samples: int = 32
    steps: int = 10
    noise: float = 0.5
    guidance: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 0 or self.steps < 1:
            raise InputError(f"samples {self.samples}, steps {self.steps}: give at least 0 and 1")
        if self.guidance < 0 or not 0.0 <= self.noise <= 1.0:
            raise InputError(
                f"guidance {self.guidance:g}, noise {self.noise:g}: give guidance >= 0 and noise "
                "between 0 and 1"
            )
