"""The forecaster: one step, and the roll-out of an ensemble.

A state is `[C, H, W]` in physical units.  One step draws the scaled residual r from the model,
given the last F states and the forcings of the day that is forecast,

    x(n+1) = x(n) + tendency_std * r,

with one network call from fresh noise at t = 0 (head `crps`) or along the path from noise to data
(head `diffusion`).

Random numbers are a function of (seed, initial time, member, lead) and of nothing else.  A member
is therefore the same in an ensemble of any size, in any batch and on any number of devices; only
rounding, some 1e-6 of a standard deviation, depends on how many members share a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.checkpoint import Model, load
from sciddiff.denoiser import Denoiser
from sciddiff.encoded import Encoded
from sciddiff.errors import InputError
from sciddiff.guidance import DenoiserLike
from sciddiff.paths import GaussianPath
from sciddiff.sampling import sample
from sciddiff.state import Batch
from sciddiff.streams import Streams
from sciddiff.weights import Recommended
from weather.data.forcings import FORCINGS, Forcings
from weather.data.times import as_times, day_of_year, label
from weather.forecast.area_means import AreaMeans
from weather.forecast.prescribed import Prescribed
from weather.forecast.solving import SamplingSettings
from weather.forecast.spec import ForecastSpec, Head

__all__ = ["Forecaster", "forecast_streams"]

Guide = Callable[[Denoiser], DenoiserLike]

_MEMBER_BITS = 32
_LATENT = "draws latents, on which fields cannot be imposed; use a model of the fields themselves"


def forecast_streams(
    seed: int, start: Any, members: Sequence[int], lead: int = 0, purpose: str = "forecast"
) -> Streams:
    """Return the random streams of some members for the step that ends at `lead`.

    Args:
        seed: Seed of the forecast.
        start: Initial time, `datetime64` or a `cftime` date.
        members: Numbers of the members, each below 2^32.
        lead: Number of the step, from 1; 0 is the initial state.
        purpose: Draws for different purposes are independent.
    """
    digest = hashlib.sha256(f"{seed}|{label(start)}|{purpose}".encode()).digest()
    numbers = torch.tensor([int(m) for m in members], dtype=torch.int64)
    return Streams(int.from_bytes(digest[:8], "big"), numbers + (lead << _MEMBER_BITS))


@final
class Forecaster:
    """A trained model that steps states forward.

    Args:
        model: A loaded model, or the name or directory of one.
        device: Where to compute.
        head: How to draw; default as the model was trained.
        sampling: Steps and sampler of the diffusion head.

    Raises:
        InputError: There is no such model, it is not of a forecast, or it lacks the head.
    """

    def __init__(
        self,
        model: Model | str,
        device: torch.device | str = "cpu",
        head: Head | None = None,
        sampling: SamplingSettings | None = None,
    ) -> None:
        made = isinstance(model, Model)
        self.model = model if made else load(model, device, domain="forecast", latents=True)
        self.spec = ForecastSpec.from_meta(self.model.meta)
        self.device = torch.device(device)
        self.denoiser = self.model.denoiser.to(self.device)
        if self.device.type == "cpu":
            # Channels beside each other in memory: convolutions are a tenth to a fifth faster.
            self.denoiser.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        best = Recommended.of(self.model.meta)
        self.sampling = sampling or SamplingSettings(
            best.steps or SamplingSettings.steps, "map" if best.flow_map else "dpm"
        )
        self.head: Head = head or self.spec.head
        if self.head != self.spec.head:
            raise InputError(
                f"head {self.head}: these weights were trained for {self.spec.head}; "
                "leave --head out, or name another --model"
            )
        domain = self.model.domain
        self._latents = domain.latents()
        domain = domain.domain if isinstance(domain, Encoded) else domain
        # Models exported before there was a factor, and domains of others, have none.
        self.spread = float(getattr(domain, "spread", 1.0))
        self._forcings = Forcings(self.spec.area)
        self._means = AreaMeans(
            self.spec,
            getattr(domain, "conserve", ()),
            getattr(domain, "relax", False),
            self.device,
        )
        self._prescribed = Prescribed(self.spec, self.device)
        self._remembered: tuple[Any, Tensor] | None = None
        self._constant: Tensor | None = None

    @property
    def calls(self) -> int:
        """The number of network calls per step."""
        if self.head == "crps":
            return 1
        steps = len(self.sampling.times(self._path)) - 1
        return {"heun": 2 * steps - 1, "midpoint": 2 * steps}.get(self.sampling.sampler, steps)

    @property
    def drawing(self) -> dict[str, Any]:
        """How a step is drawn, for records: the head, and how its network is called."""
        called = {"steps": self.sampling.steps, "sampler": self.sampling.sampler}
        return {"head": self.head, **(called if self.head == "diffusion" else {})}

    @property
    def _path(self) -> GaussianPath:
        path = self.denoiser.path["fields"]
        if not isinstance(path, GaussianPath):
            raise InputError("model: its path is not Gaussian; export it again")
        return path

    def forcing(self, valid: Any) -> Tensor:
        """Return the known fields of the time that is forecast, `[K, H, W]` on the device."""
        if self._remembered is None or self._remembered[0] != valid:
            days = day_of_year(as_times([valid]))
            changing = torch.from_numpy(self._forcings.changing(days)[0]).to(self.device)
            wide = changing[..., None].expand(-1, -1, self.spec.shape[1])
            # What never changes is sent to the device once.
            if self._constant is None:
                self._constant = torch.from_numpy(self._forcings.static).to(self.device)
            self._remembered = valid, torch.cat([self._constant, wide])
        return self._remembered[1]

    def batch(self, history: Tensor, valid: Any, boundary: Tensor | None = None) -> Batch:
        """Return what the network is told for one step.

        Args:
            history: Last states, oldest first, physical, `[B, F, C, H, W]`.
            valid: Time that is forecast: one for all, or B of them.
            boundary: States at that time of which a part is prescribed, `[B, C, H, W]`.

        Raises:
            InputError: The model needs boundaries and is given none, or the other way round.
        """
        known = self.spec.standardise(history.to(self.device, torch.float32))
        size = len(known)
        if isinstance(valid, (list, tuple)):
            forcing = torch.stack([self.forcing(time) for time in valid])
        else:
            forcing = self.forcing(valid).expand(size, -1, -1, -1)
        like = known.new_zeros(size, *known.shape[2:])
        cond = {"history": known} | self._prescribed.told(forcing, boundary)
        return Batch({"fields": like}, cond, size=size)

    def step(
        self,
        history: Tensor,
        valid: Any,
        streams: Streams,
        guide: Guide | None = None,
        boundary: Tensor | None = None,
    ) -> Tensor:
        """Draw the next state.

        Args:
            history: Last states, oldest first, physical, `[B, F, C, H, W]`.
            valid: Time of the next state: one for all rows, or B of them.
            streams: One random stream per row; see `forecast_streams`.
            guide: Wraps the denoiser of the diffusion head (`sciddiff.guidance`).
            boundary: See `batch`; the next state has this part.

        Returns:
            Physical fields `[B, C, H, W]`; positive channels are not clipped.

        Raises:
            InputError: A guide is given to the one-step head, or to a model of latents.
        """
        batch = self.batch(history, valid, boundary)
        now = history[:, -1].to(self.device, torch.float32)
        with torch.no_grad():
            residual = self._draw(batch, streams, guide)
        state = self._means(now, self.spec.advance(now, residual), valid)
        return self._prescribed.impose(state, boundary)

    def _draw(self, batch: Batch, streams: Streams, guide: Guide | None) -> Tensor:
        if self._latents is None:
            return self._drawn(batch, streams, guide)
        if guide is not None:
            raise InputError(f"model: {_LATENT}")
        latents = self._drawn(self._latents.template(batch), streams, None)
        return self._latents.decode({"fields": latents}, batch)["fields"]

    def _drawn(self, batch: Batch, streams: Streams, guide: Guide | None) -> Tensor:
        """The leaf of the model, of the residual or of its latents."""
        if self.head == "diffusion":
            denoiser = self.denoiser if guide is None else guide(self.denoiser)
            output = sample(
                denoiser,
                batch,
                self.sampling.build(),
                self.sampling.times(self._path),
                streams.seed,
                indices=streams.indices,
                prior_scale=self.spread,
            )
            return output.x["fields"]
        if guide is not None:
            raise InputError("head crps: cannot be guided; use a diffusion model")
        path = self._path
        source = Streams(streams.seed, streams.indices.to(self.device))
        noise = self.spread * path.prior(batch.x["fields"], source, batch.layouts["fields"])
        x = {"fields": path.first_state(noise)}
        return self.denoiser(x, noise.new_zeros(batch.size), batch)["fields"].data

    def from_noise(self, history: Tensor, valid: Any, noise: Tensor) -> Tensor:
        """Return the next state that white noise of unit variance leads to, differentiable in it.

        `step` draws such noise, for the one-step head.

        Args:
            history: Last states, oldest first, physical, `[B, F, C, H, W]`.
            valid: Time of the next state: one for all rows, or B of them.
            noise: `[B, C, H, W]`.

        Returns:
            Physical fields `[B, C, H, W]`.

        Raises:
            InputError: The model draws latents.
        """
        if self._latents is not None:
            raise InputError(f"model: {_LATENT}")
        batch, path = self.batch(history, valid), self._path
        coloured = path.prior_scale * path.noise.color(noise, batch.layouts["fields"])
        x = {"fields": path.first_state(self.spread * coloured)}
        residual = self.denoiser(x, noise.new_zeros(batch.size), batch)["fields"].data
        now = history[:, -1]
        return self._means(now, self.spec.advance(now, residual), valid)

    def mean(self, history: Tensor, valid: Any, streams: Streams) -> Tensor:
        """Estimate the mean of the next state: what the denoiser makes of pure noise.

        It sees nothing of the state there, and the best it can say is the mean. That a network
        leans on the noise a little is cancelled by a draw and its opposite. Arguments and result
        are those of `step`.

        Raises:
            InputError: The model has no diffusion head, or draws latents.
        """
        if self._latents is not None or self.head != "diffusion":
            why = f"model: {_LATENT}" if self._latents else "head crps: use a diffusion model"
            raise InputError(why)
        batch, path, now = self.batch(history, valid), self._path, history[:, -1]
        source = Streams(streams.seed, streams.indices.to(self.device))
        noise = path.prior(batch.x["fields"], source, batch.layouts["fields"])
        start = noise.new_full((batch.size,), path.first_time)
        with torch.no_grad():
            one, other = (
                self.denoiser({"fields": path.first_state(draw)}, start, batch)["fields"].data
                for draw in (noise, -noise)
            )
        return self._means(now, self.spec.advance(now, 0.5 * (one + other)), valid)

    def rollout(
        self,
        initial: Tensor,
        start: Any,
        leads: int,
        members: Sequence[int],
        seed: int = 0,
        guide: Guide | None = None,
        boundary: Callable[[int], Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Step members forward together.

        Args:
            initial: Last F states up to `start`, oldest first, physical: `[F, C, H, W]`, or one
                for each member, `[B, F, C, H, W]`.
            start: Time of the last of them.
            leads: Number of steps.
            members: Numbers of the members; they decide the random draws.
            seed: Seed of the forecast.
            guide: Wraps the denoiser of the diffusion head.
            boundary: From the number of a step to states part of which is prescribed, one for
                each member, `[B, C, H, W]`.

        Yields:
            States at leads 1, 2, ..., physical, `[B, C, H, W]` on the device. What is yielded is
            fed back as it is: clip positive channels (`ForecastSpec.clip`) in a copy.

        Raises:
            InputError: A field is not finite; the message names channel, lead and member.
        """
        history = self.initial(initial, members)
        for lead in range(1, leads + 1):
            streams = forecast_streams(seed, start, members, lead)
            given = None if boundary is None else boundary(lead)
            state = self.step(history, self.spec.after(start, lead), streams, guide, given)
            self.check(state, lead, members)
            history = torch.cat([history[:, 1:], state[:, None]], 1)
            yield state

    def initial(self, initial: Tensor, members: Sequence[int]) -> Tensor:
        """Return the initial states of the members on the device, `[B, F, C, H, W]`, checked.

        Raises:
            InputError: Wrong shape, or a field is not finite.
        """
        spec = self.spec
        expected = (spec.frames, len(spec.channels), *spec.shape)
        if tuple(initial.shape[-4:]) != expected or initial.ndim not in (4, 5):
            raise InputError(
                f"initial state: shape {tuple(initial.shape)}; the model needs "
                f"[frames, channels, latitudes, longitudes] = {list(expected)}"
            )
        history = initial.to(self.device, torch.float32)
        if history.ndim == 4:
            history = history.expand(len(members), *expected)
        if len(history) != len(members):
            raise InputError(f"initial state: {len(history)} of them for {len(members)} members")
        self.check(history.flatten(0, 1), 0, [m for m in members for _ in range(spec.frames)])
        return history

    def check(self, x: Tensor, lead: int, members: Sequence[int]) -> None:
        """Refuse fields that are not finite.

        Args:
            x: Physical fields `[B, C, H, W]`.
            lead: Number of the step they belong to.
            members: Number of each row.

        Raises:
            InputError: Names the first variable, level, lead and member that are not finite.
        """
        fine = torch.isfinite(x).flatten(2).all(-1)
        if bool(fine.all()):
            return
        row, channel = (~fine).nonzero()[0].tolist()
        one = self.spec.channels[channel]
        level = "" if one.level_hPa is None else f" at {one.level_hPa:g} hPa"
        hours = lead * self.spec.step_hours
        if lead == 0:
            where, remedy = "the initial state", "mend the input file"
        else:
            where = f"lead {hours:g} h, member {members[row]}"
            remedy = "check that the initial fields are physical, or use other weights"
        raise InputError(f"{one.name} ({one.variable}{level}): not finite in {where}; {remedy}")

    def member_bytes(self) -> int:
        """Estimate the memory that one member of a batch takes while it is stepped, in bytes.

        It follows from the largest outputs of the network's layers.
        """
        sizes: list[int] = []

        def note(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.numel() * output.element_size())

        leaves = [m for m in self.denoiser.net.modules() if not any(m.children())]
        hooks = [leaf.register_forward_hook(note) for leaf in leaves]
        spec = self.spec
        shape = (1, spec.frames, len(spec.channels), *spec.shape)
        try:
            known = torch.zeros(shape, device=self.device)
            forcing = torch.zeros(1, len(FORCINGS), *spec.shape, device=self.device)
            future = known[:, 0] if spec.boundary or spec.prescribed else None
            cond = {"history": known} | self._prescribed.told(forcing, future)
            batch = Batch({"fields": known[:, 0]}, cond, size=1)
            batch = batch if self._latents is None else self._latents.template(batch)
            with torch.no_grad():
                self.denoiser(batch.x, known.new_zeros(1), batch)
        finally:
            for hook in hooks:
                hook.remove()
        state = 4 * len(spec.channels) * spec.shape[0] * spec.shape[1]
        # Input, padded input, output and skip connections live at once; float64 draws too.
        return 6 * max(sizes, default=0) + (spec.frames + 8) * state
