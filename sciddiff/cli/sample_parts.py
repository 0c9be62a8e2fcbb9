"""The templates of ``sciddiff sample`` as parts of work, and which of their samples are there.

The record of a template names its samples, each by its number and its name, and the files they
became. Files that begin with the name of a sample are its own: where others ask for that sample
together with new ones, as a larger ``-n`` does, only the new ones are drawn. Files that hold many
samples belong to the template as a whole, and are written again with all of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sciddiff.cli.fingerprint import digest
from sciddiff.cli.parts import Parts
from sciddiff.errors import InputError
from sciddiff.files import replacing

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.drawing import Drawing
    from sciddiff.state import Batch

__all__ = ["SampleParts"]

_PARTS = ".parts"
_Key = tuple[int, str]  # number and name of a sample


@final
@dataclass(frozen=True)
class _Drawn:
    """Samples that were drawn together, and their files."""

    samples: frozenset[_Key]
    files: tuple[Path, ...]

    @property
    def there(self) -> bool:
        """Whether every file still is."""
        return bool(self.files) and all(file.exists() for file in self.files)

    def own(self, key: _Key) -> list[Path]:
        """Files of one sample alone."""
        name = key[1]
        return [file for file in self.files if name and file.name.startswith(f"{name}.")]


@final
class SampleParts(Parts):
    """The templates of a request.

    Args:
        directory: Where samples and records are.
        model: What to sample.
        templates: What to draw.
        drawing: How.
        seed: Of every draw.

    Attributes:
        templates: As given.
        on_samples: Called with the number of samples that were drawn, template by template.
    """

    def __init__(
        self,
        directory: Path,
        model: Model,
        templates: Sequence[Batch],
        drawing: Drawing,
        seed: int,
    ) -> None:
        self.directory, self.model, self.templates = directory, model, list(templates)
        self.on_samples: Callable[[int], None] = lambda n: None
        self._drawing, self._seed = drawing, seed
        firsts = [0]
        for batch in self.templates:
            firsts.append(firsts[-1] + batch.size)
        self._firsts = firsts[:-1]

    def items(self) -> Iterator[Batch]:
        """The templates."""
        return iter(self.templates)

    def record(self, part: int) -> Path:
        """What was drawn of a template, and into which files."""
        name = digest(self._keys(part))[:24]
        return self.directory / _PARTS / f"{name}.json"

    @property
    def begun(self) -> bool:
        """Whether samples of this folder are there, of any request, or are being drawn."""
        return self.taken or bool(self._drawn())

    def finished(self, part: int, item: Batch) -> bool:
        """Whether every sample of a template is there."""
        return self._files(part) is not None

    def files(self) -> list[Path]:
        """Files of all samples that are there."""
        found = [self._files(part) or [] for part in range(len(self.templates))]
        return list(dict.fromkeys(file for files in found for file in files))

    def do(self, part: int, item: Batch) -> None:
        """Draw what is missing of one template and write its files, then its record."""
        from sciddiff.drawing import draw

        keys, batch = self._keys(part), item
        numbers = [number for number, _ in keys]
        drawing = self._drawing
        missing = self._missing(part)
        if len(missing) < batch.size:
            import torch

            rows = torch.tensor(missing)
            try:
                batch = item.select(rows)
            except InputError:  # its conditions are not of single samples
                batch = item
            else:
                keys = [keys[row] for row in missing]
                chosen = torch.tensor([numbers[row] for row in missing])
                drawing = replace(drawing, number=drawing.number or (lambda like: chosen))
        drawn = draw(self.model.denoiser, batch, drawing, self._seed, self._firsts[part])
        x = {name: leaf.cpu() for name, leaf in drawn.items()}
        files = self.model.domain.write(batch, x, self.directory)
        names = [os.path.relpath(file, self.directory) for file in files]
        record = self.directory / _PARTS / f"{digest(keys)[:24]}.json"
        with replacing(record) as out:
            out.write(json.dumps({"samples": keys, "files": names}).encode("utf-8"))
        self.on_samples(batch.size)

    def _keys(self, part: int) -> list[_Key]:
        """Number and name of every sample of a template."""
        batch, first = self.templates[part], self._firsts[part]
        numbers = list(range(first, first + batch.size))
        if self._drawing.number is not None:
            numbers = [int(number) for number in self._drawing.number(batch)]
        return list(zip(numbers, batch.ids or [""] * batch.size, strict=True))

    def _files(self, part: int) -> list[Path] | None:
        """Files of a template whose samples are all there; None if any is missing."""
        keys, found = self._keys(part), self._drawn()
        whole = next((one for one in found if one.samples.issuperset(keys) and one.there), None)
        if whole is not None:
            return list(whole.files)
        own = [_own(key, found) for key in keys]
        return [file for files in own for file in files] if all(own) else None

    def _missing(self, part: int) -> list[int]:
        """Rows of a template that have no files of their own; all if that tells nothing."""
        found = self._drawn()
        rows = [row for row, key in enumerate(self._keys(part)) if not _own(key, found)]
        return rows or list(range(self.templates[part].size))

    def _drawn(self) -> list[_Drawn]:
        """What the records of the folder tell; those that are damaged tell nothing."""
        found = []
        for record in sorted((self.directory / _PARTS).glob("*.json")):
            try:
                read: Any = json.loads(record.read_text(encoding="utf-8"))
                samples = frozenset((int(n), str(name)) for n, name in read["samples"])
                files = tuple(self.directory / str(name) for name in read["files"])
            except (OSError, ValueError, TypeError, KeyError):
                continue
            found.append(_Drawn(samples, files))
        return found


def _own(key: _Key, found: Sequence[_Drawn]) -> list[Path]:
    """Files of one sample, where they are all there."""
    for one in found:
        own = one.own(key) if key in one.samples else []
        if own and all(file.exists() for file in own):
            return own
    return []
