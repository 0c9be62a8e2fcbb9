"""Write `report.html` and `designs.png` for a folder of designs."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics.evaluation import Evaluation
from protein.backbone.metrics.secondary import as_string
from protein.backbone.report import page, plots
from protein.backbone.report.gallery import MOST, gallery_png
from protein.structures.chain import Backbone
from protein.structures.write import write_pdb
from protein.viewer.molstar import molstar_assets
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.report.page import pack

Structures: TypeAlias = Mapping[str, Backbone | Sequence[Backbone] | NDArray[np.floating]]
"""Chains, or plain coordinates `[L, 4, 3]` (Å), of each design by name."""

MOST_STRUCTURES = 100
"""Structures embedded in the page, at most."""

MOST_ROWS = 2000
"""Rows of the table in the page, at most; `designs.csv` has them all."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Design:
    """One design as the report shows it."""

    name: str
    chains: tuple[Backbone, ...]
    states: NDArray[np.int64]

    @property
    def coords(self) -> NDArray[np.float32]:
        return np.concatenate([chain.coords for chain in self.chains])


def write_report(
    directory: Path,
    evaluation: Evaluation,
    structures: Structures,
    run_info: Mapping[str, Any] | None = None,
) -> Path:
    """Write one self-contained `report.html`, and `designs.png`, into a folder.

    Args:
        directory: existing folder.
        evaluation: what `evaluate_designs` gave.
        structures: the designs by the names of the evaluation; those missing are not shown.
        run_info: what to say of the run: any plain values. ``title`` and ``command`` go to the
            head of the page; ``steps_study``, a list of ``{"steps": n, figure: value}``, is
            drawn.

    Returns:
        The path of the report.

    Raises:
        InputError: no design of the evaluation is among the structures.
        MissingExtra: matplotlib is not installed.
    """
    info = dict(run_info or {})
    rows = ranked(evaluation.rows)
    designs = _designs(rows, evaluation, structures)
    if not designs:
        raise InputError("structures: none has the name of a design; give them by those names")
    title = str(info.pop("title", "Designed protein backbones"))
    assets = molstar_assets()
    embedded = designs[:MOST_STRUCTURES]
    if len(embedded) < len(designs):
        _LOG.info("report: %d of %d structures are embedded", len(embedded), len(designs))
    png = gallery_png(
        [
            (f"{plots.shortened(one.name, 30)} · {len(one.states)}", one.coords, one.states)
            for one in designs[:MOST]
        ],
        chain_lengths=[[len(chain) for chain in one.chains] for one in designs[:MOST]],
    )
    sections = [
        page.header(title, evaluation, info),
        "<main>",
        page.tiles(evaluation),
        page.stage([one.name for one in embedded], len(designs), assets),
        page.gallery(png, len(designs) > MOST),
        page.design_table(rows[:MOST_ROWS]),
        page.sequences(rows[:MOST_ROWS]),
        page.plot_grid(_plots(evaluation, designs, info)),
        page.comparison_table(evaluation),
        page.dictionary(),
        page.made(info),
        "</main>",
        page.footer(assets),
    ]
    text = page.page(title, sections, assets, _payload(embedded))
    with replacing(directory / "designs.png") as stream:
        stream.write(png)
    with replacing(directory / "report.html") as stream:
        stream.write(text.encode("utf-8"))
    return directory / "report.html"


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Designs with the fewest flags first, then by Ramachandran quality and by name."""
    return sorted(
        (dict(row) for row in rows),
        key=lambda row: (
            str(row["flags"]).count(";") + bool(row["flags"]),
            -row["rama_favoured"],
            str(row["name"]),
        ),
    )


def _designs(
    rows: Sequence[Mapping[str, Any]], evaluation: Evaluation, structures: Structures
) -> list[_Design]:
    states = {one.row["name"]: one.states for one in evaluation.measured}
    designs = []
    for row in rows:
        name = str(row["name"])
        if name in structures:
            chains = _chains(name, structures[name])
            # What was not measured, such as a binder's target, follows and is drawn as coil.
            beside = sum(len(chain) for chain in chains) - len(states[name])
            designs.append(_Design(name, chains, np.pad(states[name], (0, max(beside, 0)))))
    return designs


def _chains(
    name: str, given: Backbone | Sequence[Backbone] | NDArray[np.floating]
) -> tuple[Backbone, ...]:
    if isinstance(given, Backbone):
        return (given,)
    if isinstance(given, np.ndarray):
        return (Backbone.from_coords(given, name=name),)
    return tuple(given)


def _plots(
    evaluation: Evaluation, designs: Sequence[_Design], info: Mapping[str, Any]
) -> list[tuple[str, bool]]:
    study = info.get("steps_study")
    found: list[tuple[str | None, bool]] = [
        (plots.ramachandran(evaluation), True),
        (plots.radius(evaluation), False),
        (plots.structure_cloud(evaluation), False),
        (plots.structure_bars(evaluation), True),
        (plots.similarity_map(evaluation), False),
        (plots.novelty_histogram(evaluation), False),
        (plots.refolded(evaluation), False),
        (plots.contact_maps([(one.name, one.coords) for one in designs]), True),
        (plots.steps_figure(study) if study else None, True),
    ]
    return [(svg, wide) for svg, wide in found if svg is not None]


def _payload(designs: Sequence[_Design]) -> str:
    """Names, PDB texts and secondary structures, packed for the page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "design.pdb"
        entries = []
        for one in designs:
            write_pdb(file, one.chains)
            text = file.read_text(encoding="utf-8")
            entries.append({"name": one.name, "pdb": text, "states": as_string(one.states)})
    return pack(json.dumps(entries, ensure_ascii=False))
