"""What a run of the generator makes: new folds, scaffolds of a motif, variants of a structure,
assemblies.

A mode turns design indices into templates, says through which network they are sampled, and puts
the finishing
touch on a design. All four share the core's one sampling loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.backbone.contig_syntax import parse_contig
from protein.backbone.contigs import ResolvedContig, resolve
from protein.backbone.data import NM, backbone_batch
from protein.backbone.designs import Design, Numbering
from protein.backbone.domain import backbone_path
from protein.backbone.generate import Start
from protein.backbone.network import FOLDS
from protein.backbone.request import ANY, GenerationRequest, design_name, parse_lengths, templates
from protein.backbone.symmetry import PointGroup, SymmetricNetwork, assembly_numbering
from protein.structures.chain import Backbone, Structure
from protein.structures.filters import expected_radius
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.state import Batch

# A direction on no axis of the polyhedral groups.
_GENERAL = torch.nn.functional.normalize(torch.tensor([0.35, 0.15, 0.92]), dim=0)


@dataclass(frozen=True)
class Item:
    """One batch to sample.

    Attributes:
        batch: templates, with `cond["index"]`.
        numbering: residue names, where the batch shares them.
        start: where a partial run starts.
        contig: the resolved contig of a scaffold.
        offset: where the noise is centred, nm `[3]`; the origin by default.
    """

    batch: Batch
    numbering: Numbering | None = None
    start: Start | None = None
    contig: ResolvedContig | None = None
    offset: Tensor | None = None


class Mode(ABC):
    """A way to use the generator.

    Attributes:
        request: plain values that decide the designs, for the run record; files that are read are
            recorded by their content.
    """

    request: dict[str, Any]

    @abstractmethod
    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches for these design indices."""

    @abstractmethod
    def describe(self) -> str:
        """What will be made, for `--plan`."""

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The denoiser to sample with."""
        return base

    def finish(self, design: Design, item: Item) -> Design:
        """Last touch on a design before it is written."""
        return design


@final
class NewFolds(Mode):
    """Unconditional designs, or designs of one fold class."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        low, high = request.lengths
        self.request = {"mode": "new", "length": f"{low}-{high}", "fold": request.fold}

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length."""
        return (Item(batch) for batch in templates(self._request, indices))

    def describe(self) -> str:
        """Lengths of the designs."""
        r = self._request
        lines = [
            f"{design_name(i)}  {r.length(i)} residues  fold {r.fold_of(i)}" for i in range(r.n)
        ]
        return "\n".join(lines)


@final
class Scaffolds(Mode):
    """Designs that hold a motif in place."""

    def __init__(
        self,
        contig: str,
        motif: Path,
        fold: str,
        seed: int,
        n: int,
        length: tuple[int, int] | None = None,
    ) -> None:
        from protein.structures.read import read_structure

        self._structure: Structure = read_structure(motif)
        self._plan = parse_contig(contig)
        self._fold, self._seed, self._n, self._length = fold, seed, n, length
        self._resolve(0)
        self.request = {"mode": "scaffold", "contig": contig, "fold": fold}
        if length is not None:
            self.request["length"] = f"{length[0]}-{length[1]}"

    def _resolve(self, index: int) -> ResolvedContig:
        rng = np.random.default_rng([self._seed, index, 11])
        return resolve(self._plan, self._structure, rng, self._length)

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """One template per design: each draws its own segment lengths."""
        for index in indices:
            contig = self._resolve(index)
            batch = backbone_batch(
                torch.from_numpy(contig.coords)[None].float(),
                [len(contig.fixed)],
                torch.tensor([FOLDS.index(self._fold)]),
                torch.from_numpy(contig.fixed)[None],
                (design_name(index),),
            )
            batch = batch.with_cond(
                index=torch.tensor([index]),
                residue_index=torch.from_numpy(contig.residue_index)[None],
                chain_index=torch.from_numpy(contig.chain_index)[None],
            )
            chains, numbers, sequence = contig.output_numbering()
            codes = contig.output_insertion_codes()
            names = Numbering(chains, numbers, sequence, contig.fixed, codes)
            yield Item(batch, names, contig=contig)

    def describe(self) -> str:
        """The resolved contigs."""
        parts = [f"{design_name(i)}\n{self._resolve(i).describe()}" for i in range(self._n)]
        return "\n\n".join(parts)

    def finish(self, design: Design, item: Item) -> Design:
        """Put the design where the motif was and give motif residues their own atoms back."""
        contig = item.contig
        if contig is None or not contig.fixed.any():
            return design
        centre = contig.coords[contig.fixed, 1].mean(0)
        coords = np.where(contig.fixed[:, None, None], contig.coords, design.coords + centre)
        return design.moved(coords)


@final
class Variants(Mode):
    """A structure, partly noised and denoised again."""

    def __init__(self, file: Path, noise: float, fold: str, n: int) -> None:
        from protein.structures.read import read_structure

        if not 0.0 < noise <= 1.0:
            raise InputError(f"noise {noise}: must be above 0 and at most 1; 0.3 keeps the fold")
        structure = read_structure(file)
        self._chains, self._noise, self._n = structure.chains, noise, n
        coords = np.concatenate([chain.coords for chain in self._chains])
        self._centre = coords[:, 1].mean(0)
        self._batch = backbone_batch(
            torch.from_numpy(coords)[None], [len(coords)], torch.tensor([FOLDS.index(fold)])
        )
        chain_index = np.repeat(np.arange(len(self._chains)), [len(c) for c in self._chains])
        self._batch = self._batch.with_cond(
            residue_index=torch.from_numpy(_running_index(self._chains))[None],
            chain_index=torch.from_numpy(chain_index)[None],
        )
        self.request = {"mode": "partial", "noise": noise, "fold": fold}

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """The structure as a template and as the place to start from."""
        ids = tuple(c.chain_id for c in self._chains for _ in range(len(c)))
        numbers = tuple(int(n) for c in self._chains for n in c.residue_numbers)
        sequence = "".join(c.sequence for c in self._chains)
        codes = tuple(code for c in self._chains for code in c.insertion_codes)
        numbering = Numbering(ids, numbers, sequence, np.zeros(len(ids), dtype=bool), codes)
        for index in indices:
            batch = replace(self._batch, ids=(design_name(index),))
            batch = batch.with_cond(index=torch.tensor([index]))
            yield Item(batch, numbering, Start(dict(batch.x), self._noise))

    def describe(self) -> str:
        """Chains and the share of noise."""
        chains = ", ".join(f"{c.chain_id} ({len(c)} residues)" for c in self._chains)
        return f"{self._n} variants of chains {chains} at noise {self._noise}"

    def finish(self, design: Design, item: Item) -> Design:
        """Put the variant where the structure was."""
        return design.moved(design.coords + self._centre)


@final
class Assemblies(Mode):
    """Symmetric assemblies: the unit is sampled, the network sees all copies."""

    def __init__(self, group: str, lengths: tuple[int, int], fold: str, seed: int, n: int) -> None:
        self._group = PointGroup.parse(group)
        self._request = GenerationRequest(lengths, n, fold, seed)
        self.request = {
            "mode": "symmetric",
            "group": self._group.name,
            "length": f"{lengths[0]}-{lengths[1]}",
            "fold": fold,
        }

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """One unit per design."""
        for index in indices:
            for batch in templates(self._request, [index]):
                yield Item(batch, offset=self._offset(self._request.length(index)))

    def _offset(self, length: int) -> Tensor:
        """Start the unit off the axes, about as far out as its copies need room."""
        radius = NM * float(expected_radius(length))
        away = torch.tensor([0.94, 0.28, 0.2]) if self._group.name[0] in "CD" else _GENERAL
        return 1.1 * radius * max(1.0, len(self._group) ** 0.5 / 1.5) * away

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The same network on all copies; the unit's centre of mass is free."""
        return Denoiser(SymmetricNetwork(base.net, self._group), backbone_path(free=True))

    def describe(self) -> str:
        """Copies and lengths."""
        r = self._request
        copies = len(self._group.rotations)
        lines = [f"{design_name(i)}  {copies} x {r.length(i)} residues" for i in range(r.n)]
        return f"group {self._group.name}, {copies} copies\n" + "\n".join(lines)

    def finish(self, design: Design, item: Item) -> Design:
        """Write all copies, one chain each."""
        return design.copied(self._group.rotations.numpy(), assembly_numbering(self._group))


def _running_index(chains: Sequence[Backbone]) -> NDArray[np.int64]:
    """Residue indices: 1 more along a bond, more across a gap, 200 more in the next chain."""
    index: list[int] = []
    for chain in chains:
        start = index[-1] + 200 if index else 0
        gaps = np.diff(chain.residue_numbers, prepend=chain.residue_numbers[0])
        joined = np.concatenate([[False], chain.bonded[:-1]])
        # Numbers may repeat (insertion codes) or run backwards; a bond always counts 1.
        steps = np.where(joined, 1, np.maximum(gaps, 2))
        steps[0] = 0
        index.extend((start + np.cumsum(steps)).tolist())
    return np.asarray(index, dtype=np.int64)


def mode_of(options: Any) -> Mode:  # noqa: ANN401 - parsed command line
    """The mode a command line asks for.

    Raises:
        InputError: options that do not go together, or a motif without a contig.
    """
    given: Mapping[str, bool] = {
        "--scaffold": options.scaffold is not None,
        "--partial": options.partial is not None,
        "--symmetry": options.symmetry is not None,
    }
    chosen = [name for name, present in given.items() if present]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)}: cannot be used together; give one of them")
    if (options.motif is None) == (options.scaffold is not None):
        raise InputError(
            "--scaffold and --motif: go together; give the contig and the file it refers to"
        )
    if options.noise is not None and options.partial is None:
        raise InputError("--noise: is for --partial; give a structure to vary, or leave it out")
    given_length = None if options.length is None else parse_lengths(options.length)
    # A motif or a structure has a fold already: no class is drawn for it.
    label = "none" if options.fold == ANY else options.fold
    if options.scaffold is not None:
        return Scaffolds(
            options.scaffold,
            options.motif,
            label,
            options.seed,
            options.number,
            given_length,
        )
    if options.partial is not None:
        if given_length is not None:
            raise InputError("--length: is that of the structure with --partial; leave it out")
        noise = 0.3 if options.noise is None else options.noise
        return Variants(options.partial, noise, label, options.number)
    lengths = given_length or (60, 128)
    if options.symmetry is not None:
        return Assemblies(options.symmetry, lengths, options.fold, options.seed, options.number)
    return NewFolds(GenerationRequest(lengths, options.number, options.fold, options.seed))
