"""What a model is told of the future: nothing, a strip along its edges, or whole channels."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from weather.forecast.advance import BOUNDARY, prescribed
from weather.forecast.boundaries import lacking, refuse_untold, strip
from weather.forecast.spec import ForecastSpec

__all__ = ["Prescribed"]


@final
class Prescribed:
    """The part of the next state that is given to a model, and imposed on what it draws.

    Args:
        spec: Of the model.
        device: Where states are.
    """

    def __init__(self, spec: ForecastSpec, device: torch.device) -> None:
        self._spec, self._device = spec, device
        self._strip = strip(spec.area, spec.boundary).to(device) if spec.boundary else None
        self._given: Tensor | None = None
        if spec.boundary or spec.prescribed:
            given = torch.zeros(len(spec.channels), *spec.shape, dtype=torch.bool, device=device)
            if self._strip is not None:
                given |= self._strip > 0
            given[spec.known] = True
            self._given = given

    def told(self, forcing: Tensor, future: Tensor | None) -> dict[str, Tensor]:
        """Return the conditions of a step: the forcings, and what is prescribed.

        Args:
            forcing: Known fields of the time that is forecast, `[B, K, H, W]`.
            future: Next states of which a part is prescribed, physical, `[B, C, H, W]`.

        Raises:
            InputError: The model needs a future and is given none, or the other way round.
        """
        spec = self._spec
        if self._given is None:
            refuse_untold(spec, future is not None, False)
            return {"forcing": forcing}
        if future is None:
            raise InputError(lacking(spec))
        states = spec.standardise(future.to(self._device, torch.float32))
        known = torch.cat([forcing, states[:, spec.known]], 1) if spec.prescribed else forcing
        cond = {"forcing": known}
        return cond if self._strip is None else {**cond, BOUNDARY: prescribed(states, self._strip)}

    def impose(self, state: Tensor, future: Tensor | None) -> Tensor:
        """Return the state `[B, C, H, W]` with what is prescribed of it."""
        if future is None or self._given is None:
            return state
        return torch.where(self._given, future.to(state), state)
