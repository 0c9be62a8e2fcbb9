"""Tables of refolded structures: a file of all of them, text for a terminal, and what is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protein.backbone.metrics.table import csv_text
from protein.backbone.refolding.judged import Refold, Refolding, Thresholds
from protein.structures.chain import Backbone
from sciddiff.cli.output import as_table
from sciddiff.errors import InputError
from sciddiff.files import read_json, replacing

KEPT, TABLE = "refolded.json", "refolded.csv"
"""Files in the folder of designs: what later measurements and reports read, and what people do."""

MOST_LINES = 20
"""Designs shown in a terminal, at most."""

_FIELDS = tuple(Refold.__dataclass_fields__)
_Structures = Mapping[str, Sequence[Backbone]]


def save(directory: Path, refolding: Refolding, structures: _Structures) -> None:
    """Write `refolded.csv` and `refolded.json` into the folder of the designs.

    Args:
        directory: the folder.
        refolding: what was found.
        structures: the designs, by whose content a later call knows whether they are the same.
    """
    said = refolding.to_json()
    of = {name: _content(structures[name]) for name in refolding.best}
    text = json.dumps({**said, "designs": of}, indent=1, ensure_ascii=False)
    with replacing(directory / TABLE) as file:
        file.write(csv_text(said["structures"], (), _FIELDS).encode("utf-8"))
    with replacing(directory / KEPT) as file:
        file.write(f"{text}\n".encode())


def load(directory: Path, structures: _Structures) -> Refolding | None:
    """What was found before of those designs that have not changed since; None if nothing was.

    Args:
        directory: the folder of the designs.
        structures: the designs.

    Raises:
        InputError: the file cannot be read.
    """
    file = directory / KEPT
    if not file.is_file():
        return None
    said = read_json(file, "refold again, or remove the file")
    try:
        before = dict(said["designs"])
        same = [
            name for name, chains in structures.items() if before.get(name) == _content(chains)
        ]
        found = Refolding.from_json(said, sorted(same))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: is not what evaluate --refolded wrote; refold again, or remove the file"
        ) from error
    return found if found.refolds else None


def refold_text(said: Mapping[str, Any]) -> str:
    """The best prediction of each design, and how many designs and sequences pass.

    Args:
        said: what `Refolding.to_json` gave.
    """
    best = [one for one in said["structures"] if one["best_of_design"]]
    best.sort(key=lambda one: (not one["passes"], one["sc_rmsd"], one["design"]))
    rows = [
        (
            one["design"],
            f"{one['sc_rmsd']:.2f}",
            f"{one['sc_tm']:.3f}",
            "–" if one["plddt"] is None else f"{one['plddt']:.1f}",
            "yes" if one["passes"] else "no",
            one["file"],
        )
        for one in best[:MOST_LINES]
    ]
    table = as_table(("design", "scRMSD", "scTM", "pLDDT", "passes", "best structure"), rows)
    found, limits = said["summary"], said["thresholds"]
    hidden = len(best) - MOST_LINES
    more = f"... and {hidden} more designs\n" if hidden > 0 else ""
    return (
        f"{table}\n{more}"
        f"{found['designs_passing']} of {found['designs_refolded']} refolded designs and "
        f"{found['sequences_passing']} of {found['sequences']} sequences pass "
        f"({Thresholds(**limits)}); all structures are in {TABLE}\n"
    )


def _content(chains: Sequence[Backbone]) -> str:
    """A checksum of the backbones of a design."""
    content = hashlib.sha256()
    for chain in chains:
        content.update(f"{chain.chain_id} {len(chain)} ".encode())
        content.update(chain.coords.tobytes())
    return content.hexdigest()
