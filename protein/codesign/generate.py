"""How proteins are drawn: the settings of backbones, and a temperature of the residues."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from protein.backbone.generate import GenerateSettings
from protein.codesign.poses import clocks
from protein.sequence.samples import SEQUENCE
from sciddiff.denoiser import Denoiser
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.guidance import DenoiserLike, Guidance, Guided
from sciddiff.guidance.base import ask, evaluations
from sciddiff.leaf_times import Time
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, State

COLDEST = 1e-4
"""Temperature of the residues below which the most probable one is taken all but surely."""


@dataclass(frozen=True)
class CodesignSettings(GenerateSettings):
    """How proteins are sampled.

    Attributes:
        steps: network calls per protein. Residues that one call reveals are drawn independently of
            each other, so that more calls make better sequences.
        sequence_temperature: temperature of the residues; below 1 sequences are more probable and
            less diverse.
    """

    steps: int = 50
    sequence_temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.sequence_temperature <= 2.0:
            raise InputError(
                f"sequence temperature {self.sequence_temperature}: must lie between 0 and 2; "
                "try 0.5"
            )

    def drawing(self) -> Drawing:
        """How the core draws with these settings."""
        plain = super().drawing()
        tempered = Tempered(self.sequence_temperature)

        def guide(denoiser: Denoiser, batch: Batch) -> DenoiserLike:
            return tempered(denoiser if plain.guide is None else plain.guide(denoiser, batch))

        return replace(plain, guide=guide, clocks=clocks)


@final
@dataclass(frozen=True)
class Tempered(Guidance):
    """Divide the log-probabilities of the residues by a temperature.

    Attributes:
        temperature: of the draw of each residue.
    """

    temperature: float

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _Tempered(self, denoiser)


@final
class _Tempered(Guided):
    def __init__(self, settings: Tempered, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._cold = 1.0 / max(settings.temperature, COLDEST)

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        said = ask(self.parts[0], x_t, t, batch, until)
        one = said[SEQUENCE]
        # A power of the cavity: where a residue is hidden, which is where it is drawn, that is the
        # power of the posterior too.
        changed = one.with_coordinates(one.coordinates * self._cold, x_t[SEQUENCE])
        return Predictions.beside(said, {**said, SEQUENCE: changed})

    def evaluations(self, t: Time) -> int:
        """See `Guided.evaluations`."""
        return evaluations(self.parts[0], t)
