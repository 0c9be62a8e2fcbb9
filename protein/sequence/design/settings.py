"""How sequences are drawn and scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, final

from sciddiff.errors import InputError
from sciddiff.samplers import Sampler
from sciddiff.steering import Reward, Steered

__all__ = ["DrawSettings"]

_JUDGEMENTS = 5  # of the particles of a sequence that is steered


@final
@dataclass(frozen=True)
class DrawSettings:
    """How sequences are drawn and scored.

    Attributes:
        order: `colour` reveals residues that do not touch at once; `random` one residue a call,
            which follows the model exactly.
        calls: calls of the network in colour order, at least one for each class; 0: as many as
            there are classes.
        orders: orders over which a score is averaged: 1, or pairs of a random order and its
            opposite.
        seed: seed of the draws.
        steer: what sequences are steered towards, in the words of `protein.sequence.rewards`;
            empty for nothing.
        particles: sequences that compete for each one, where they are steered.
        reward: what the words mean.
    """

    order: Literal["colour", "random"] = "colour"
    calls: int = 0
    orders: int = 4
    seed: int = 0
    steer: str = ""
    particles: int = 8
    reward: Reward | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.orders < 1 or (self.orders > 1 and self.orders % 2):
            raise InputError(
                f"--orders {self.orders}: orders come in pairs of opposites; give 1, or an even "
                "number"
            )

    def record(self) -> dict[str, Any]:
        """Plain values that decide the sequences; of steering only where there is some."""
        values = asdict(replace(self, reward=None))
        del values["reward"]
        if not self.steer:
            del values["steer"], values["particles"]
        return values

    @property
    def together(self) -> int:
        """Sequences that are drawn for each one that is wanted."""
        return 1 if self.reward is None else self.particles

    def steered(self, sampler: Sampler, calls: int) -> Steered | None:
        """The sampler with particles, where sequences are steered.

        Args:
            sampler: how residues are revealed.
            calls: in how many steps.
        """
        if self.reward is None:
            return None
        every = max(1, calls // _JUDGEMENTS)
        return Steered(sampler, self.reward, self.particles, every=every)
