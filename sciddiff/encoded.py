"""`Encoded`: a domain whose states are learned and drawn as latents of a codec.

The experiment of a model of latents wraps the domain of its data::

    domain:
      class_path: sciddiff.encoded.Encoded
      init_args:
        domain: {class_path: my_package.MyDomain, init_args: {...}}
        codec: {class_path: my_package.MyCodec, init_args: {...}}
        codec_from: models/my_autoencoder

Training data are encoded as they are read, and samples decoded before they are written. The model
folder carries the weights of the codec and the scale of its latents, and ``codec_from`` is read
by training alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from sciddiff.codecs import ENCODED, Codec, Latents
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.objectives import Denoising, Objective, ProperScore
from sciddiff.paths import ProductPath, unit_path
from sciddiff.rewards import RewardTerms
from sciddiff.shipped import find_model
from sciddiff.state import Batch, State
from sciddiff.streams import streams_of
from sciddiff.weights import describe, fill, read

__all__ = ["Encoded"]


@final
class Encoded(Domain):
    """A domain in the latents of a codec, which travel on straight Gaussian paths.

    Args:
        domain: The domain of the data.
        codec: Encoder and decoder, with the settings it was trained with.
        codec_from: Model folder of the trained codec; only training reads it.
        parametrization: What the network says of the latents.
        measured: Training samples on which the deviation of the latents is measured.

    Raises:
        InputError: There is nothing to measure on.
    """

    def __init__(
        self,
        domain: Domain,
        codec: Codec,
        codec_from: str | None = None,
        parametrization: Literal["velocity", "edm", "data"] = "velocity",
        measured: int = 2048,
    ) -> None:
        if measured < 2:
            raise InputError(f"domain.measured: {measured} has no deviation; use 2048")
        self.domain, self.name, self.codec_from = domain, domain.name, codec_from
        self.measured = measured
        self._latents = Latents(codec)
        self._path = unit_path(codec.latents, parametrization)

    def latents(self) -> Latents:
        """See `Domain.latents`."""
        return self._latents

    def path(self) -> ProductPath:
        """The path of the latents, which have unit variance."""
        return self._path

    def fit(self, net: nn.Module) -> None:
        """Read the codec, and measure the deviation of its latents on training data.

        Raises:
            InputError: No codec is named or there is none, or it is of other data.
        """
        if self.codec_from is None:
            raise InputError(
                "domain.codec_from: not given; name the model folder of the autoencoder (train it "
                "by sciddiff.objectives.Reconstruction, then sciddiff export)"
            )
        where, codec = f"domain.codec_from: {self.codec_from}", self._latents.codec
        try:
            found = find_model(self.codec_from)
            self._check_data(describe(found).get("data", {}))
            fill(codec, read(found)[0])
        except InputError as error:
            remedy = "name an exported autoencoder with the settings of domain.codec"
            raise InputError(
                f"{where} is no codec for this experiment ({error}); {remedy}"
            ) from error
        self.measure()

    def measure(self) -> None:
        """Measure the deviation of the latents on training data, with the codec as it is."""
        self._latents.measure(self._first(self.domain.train_batches(0, 0, 0, 1)))

    def _check_data(self, theirs: Mapping[str, Any]) -> None:
        """Refuse a codec of data that differ in what it depends on."""
        ours = self.domain.provenance()
        for entry in self._latents.codec.agrees_on:
            if _plain(theirs.get(entry)) != _plain(ours.get(entry)):
                raise InputError(
                    f"its {entry} is {_short(theirs.get(entry))}, that of the data "
                    f"{_short(ours.get(entry))}"
                )

    def _first(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        left = self.measured
        for batch in batches:
            yield batch
            left -= batch.size
            if left <= 0:
                return

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Latents of the training batches of the domain."""
        return map(self._latents.encode, self.domain.train_batches(epoch, seed, rank, world))

    def val_batches(self) -> Iterable[Batch]:
        """Latents of the held-out batches of the domain."""
        return map(self._latents.encode, self.domain.val_batches())

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates of latents for a request to the domain."""
        return map(self._latents.template, self.domain.like(request))

    def templates(self, n: int, seed: int, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates of latents for `n` samples."""
        return map(self._latents.template, self.domain.templates(n, seed, request))

    def decoded(self, batch: Batch, x: State) -> State:
        """The data of samples of latents, drawn for a template or a batch of this domain."""
        with torch.no_grad():
            return self._latents.decode(x, batch)

    def reconstruction(self, batch: Batch) -> State:
        """Data of the domain, encoded and decoded: the best that any model of latents can do."""
        return self.decoded(batch, self._latents.encode(batch).x)

    def bare_prior(self, batch: Batch, seed: int, indices: Tensor | None = None) -> State:
        """Decoded noise that no network has looked at: a model must do better than that.

        Args:
            batch: Template of the domain's own data.
            seed: Seed of the noise.
            indices: Numbers of the samples, as in `sciddiff.sampling.sample`.
        """
        template = self._latents.template(batch)
        numbers = torch.arange(batch.size) if indices is None else indices
        streams = streams_of(seed, batch.size, numbers, batch.device)
        return self.decoded(template, self._path.prior(template.x, streams, template.layouts))

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Decode samples, and write them as the domain does."""
        return self.domain.write(_data(batch), self.decoded(batch, x), directory)

    def results(self, batch: Batch, x: State) -> list[Any]:
        """Decode samples, and make of them what the domain does."""
        return self.domain.results(_data(batch), self.decoded(batch, x))

    def sound(self, batch: Batch, x: State) -> Tensor:
        """Which decoded samples the domain finds fit to be learned from."""
        return self.domain.sound(_data(batch), self.decoded(batch, x))

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """As the domain."""
        return self.domain.evaluate(directory, reference)

    def assess(
        self,
        directory: Path,
        reference: Path | None,
        report: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """As the domain."""
        return self.domain.assess(directory, reference, report, options)

    def describe(self, measured: Mapping[str, Any]) -> str | None:
        """As the domain."""
        return self.domain.describe(measured)

    def drawing(self) -> Drawing:
        """As the domain, without what knows its leaves."""
        return replace(self.domain.drawing(), guide=None, clocks=None, self_condition=None)

    def objective(self) -> Objective:
        """That of the domain if it is a proper score of single steps, else `Denoising`.

        Raises:
            InputError: The domain scores what only the data have.
        """
        own = self.domain.objective()
        if not isinstance(own, ProperScore):
            return Denoising()
        if own.terms or own.rollout is not None:
            raise InputError(
                f"domain: {self.domain.name} scores transforms or several steps of its data, "
                "which latents have not; leave these out, or name an objective"
            )
        return own

    def rewards(self) -> RewardTerms:
        """The terms of the domain, which see decoded samples; gradients go through the decoder."""
        own = self.domain.rewards()

        def shown(state: State, batch: Batch) -> tuple[Any, ...]:
            return own.shown(self._latents.decode(state, batch), batch.cond.get(ENCODED, batch))

        return replace(own, shown=shown)

    def null_labels(self) -> dict[str, Any]:
        """As the domain."""
        return self.domain.null_labels()

    def provenance(self) -> dict[str, Any]:
        """What the domain was learned from, and through which codec."""
        codec = type(self._latents.codec)
        name = f"{codec.__module__}.{codec.__qualname__}"
        return {**self.domain.provenance(), "codec": name, "codec_from": self.codec_from}


def _data(batch: Batch) -> Batch:
    """The template of the data that a template of latents was made of."""
    return batch.cond[ENCODED]


def _plain(value: object) -> object:
    """A value as JSON would give it back."""
    return json.loads(json.dumps(value))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
