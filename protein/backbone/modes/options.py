"""From the options of a command line to a mode."""

from __future__ import annotations

from typing import Any

from protein.backbone.modes.assemblies import Assemblies
from protein.backbone.modes.base import Mode
from protein.backbone.modes.binders import Binders
from protein.backbone.modes.folds import NewFolds
from protein.backbone.modes.scaffolds import Scaffolds
from protein.backbone.modes.symmetric_scaffolds import SymmetricScaffolds
from protein.backbone.modes.variants import Variants
from protein.backbone.request import ANY, GenerationRequest, parse_lengths
from sciddiff.errors import InputError

NOISE, CROP = 0.3, 12.0
"""Defaults of ``--noise`` and of ``--target-crop`` (Å)."""

_LENGTHS = (60, 128)
# Options that say something about one mode alone.
_BELONGS = {
    "noise": "partial",
    "vary": "partial",
    "hotspots": "target",
    "target_crop": "target",
}
_MODES = ("scaffold", "unindexed", "partial", "symmetry", "target")


def mode_of(options: Any) -> Mode:  # noqa: ANN401 - parsed command line
    """The mode a command line asks for.

    Args:
        options: has an attribute for every option of the verb; None where it was not given.

    Raises:
        InputError: options that do not go together, or one whose mode was not asked for.
    """
    chosen = [name for name in _MODES if getattr(options, name) is not None]
    around = {"scaffold", "unindexed"} & set(chosen)
    if len(chosen) > 1 and not (len(around) == 1 and set(chosen) - around == {"symmetry"}):
        names = " and ".join(f"--{name}" for name in chosen)
        raise InputError(f"{names}: cannot be used together; give one of them")
    for name, mode in _BELONGS.items():
        if getattr(options, name) is not None and mode not in chosen:
            option = name.replace("_", "-")
            raise InputError(f"--{option}: is for --{mode}; give that too, or leave it out")
    if options.motif is not None and not around:
        raise InputError(
            "--motif: is for --scaffold and --unindexed; give one of them, or leave it out"
        )
    if options.structure_model and not set(chosen) & {*around, "partial", "target"}:
        raise InputError("--structure-model: no structure is read here; leave it out")
    given = None if options.length is None else parse_lengths(options.length)
    # A motif or a structure has a fold already: no class is drawn for it.
    label = "none" if options.fold == ANY else options.fold
    n, seed, model = options.number, options.seed, options.structure_model
    if around:
        name = around.pop()
        if options.motif is None:
            raise InputError(f"--{name}: needs the file of the motif; give it with --motif")
        free = name == "unindexed"
        kept, given = getattr(options, name), given or (_LENGTHS if free else None)
        if options.symmetry is not None:
            return SymmetricScaffolds(
                kept, options.motif, label, seed, n, given, model, options.symmetry, free
            )
        return Scaffolds(kept, options.motif, label, seed, n, given, model, free)
    if options.partial is not None:
        if given is not None:
            raise InputError(
                "--length: a variant has the length of its structure; leave it out with --partial"
            )
        noise = NOISE if options.noise is None else options.noise
        return Variants(options.partial, noise, label, n, options.vary, model)
    lengths = given or _LENGTHS
    if options.symmetry is not None:
        return Assemblies(options.symmetry, lengths, options.fold, seed, n)
    if options.target is not None:
        if options.hotspots is None:
            raise InputError("--target: needs the residues to bind at; give --hotspots A37,A40")
        crop = CROP if options.target_crop is None else options.target_crop
        return Binders(
            options.target, options.hotspots, crop, lengths, options.fold, seed, n, model
        )
    return NewFolds(GenerationRequest(lengths, n, options.fold, seed))
