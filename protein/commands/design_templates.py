"""The structures that `sciddiff design` is given: files, folders, and what `backbone` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sciddiff.cli.campaign import RECORD, read_record
from sciddiff.names import Names, stem_of

if TYPE_CHECKING:
    from protein.sequence.design.plan import Template
    from protein.structures.chain import Backbone

__all__ = ["Found", "backbone_template", "find_templates"]


@final
@dataclass
class Found:
    """Templates, and what could not be used.

    Attributes:
        templates: by the order in which they were given.
        left_out: reasons by file.
    """

    templates: list[Template] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_templates(sources: Sequence[Path], model: int = 0) -> Found:
    """Read structures.

    Args:
        sources: files and folders. Of a folder that `sciddiff backbone` wrote its designs are
            taken, with their motifs or targets kept.
        model: which model of each file, from 0.

    Raises:
        InputError: a file that cannot be read, or a folder without any that can.
    """
    found, names = Found(), Names()
    for source in sources:
        if source.is_dir():
            _from_folder(source, found, names)
        else:
            found.templates.append(_from_file(source, model, names))
    return found


def _from_file(file: Path, model: int, names: Names) -> Template:
    from protein.sequence.design.plan import Template
    from protein.structures.parse import STRUCTURE_SUFFIXES
    from protein.structures.read import read_structure

    structure = read_structure(file, model)
    suffixes = [s for s in STRUCTURE_SUFFIXES if file.name.lower().endswith(s)]
    stem = file.name[: -len(max(suffixes, key=len))] if suffixes else file.stem
    name = stem_of(names.unique(stem, "structure"))
    return Template(name, str(file), structure.chains, notes=structure.notes)


def _from_folder(folder: Path, found: Found, names: Names) -> None:
    from protein.backbone.folder import read_folder

    content = read_folder(folder)
    request = dict(read_record(folder).get("request") or {}) if (folder / RECORD).exists() else {}
    found.left_out |= {str(folder / name): why for name, why in content.left_out.items()}
    found.left_out |= {f"{folder}/{name}": why for name, why in content.failed.items()}
    for name, chains in content.structures.items():
        given = stem_of(names.unique(name, "structure"))
        facts = content.facts.get(name, {})
        found.templates.append(
            backbone_template(given, f"{folder}/{name}", chains, facts, request)
        )


def backbone_template(
    name: str,
    source: str,
    chains: Iterable[Backbone],
    facts: Mapping[str, Any],
    request: Mapping[str, Any],
) -> Template:
    """A design of `sciddiff backbone` as a template: what it kept, a sequence keeps as well, and
    copies of a symmetric unit are tied.

    Args:
        name: stem of its files.
        source: where it is, for messages.
        chains: its chains.
        facts: what the folder's record says of it: its motif, or which chain is the binder.
        request: what was asked for.
    """
    from protein.sequence.design.plan import Template
    from protein.sequence.design.residues import Residues

    listed = tuple(chains)
    kept, why = "", "kept"
    if facts.get("motif_to"):
        residues = Residues(listed, source)
        rows = [residues.rows(label, "motif")[0] for label in str(facts["motif_to"]).split()]
        kept, why = residues.words(rows), "motif"
    elif facts.get("binder"):
        others = [chain.chain_id for chain in listed if chain.chain_id != facts["binder"]]
        kept = ",".join(name if name.isalpha() else f"{name}:" for name in others)
        why = "target"
    elif request.get("vary"):
        residues = Residues(listed, source)
        free = set(residues.rows(str(request["vary"]), "--vary"))
        kept, why = residues.words([r for r in range(len(residues)) if r not in free]), "held"
    copies = bool(facts.get("symmetry")) and len(listed) > 1
    return Template(name, source, listed, kept, why, copies, generated=bool(request))
