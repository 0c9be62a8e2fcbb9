"""The page of an evaluation: figures, plots, and every complex in a table that sorts."""

from collections.abc import Sequence
from html import escape

from protein.docking.evaluation.plots import as_svg, plots
from protein.docking.evaluation.summary import SUCCESS, Evaluation, label_of
from protein.docking.evaluation.tables import case_columns, case_row
from sciddiff.report.page import document, heading, provenance, tile, tiles

_SCRIPT = """
page.sortable(page.one('#complexes'));
page.filterable(page.one('#filter'), page.one('#complexes'));
"""
_HEADINGS = {
    "id": "Complex", "poses": "Poses", "rmsd": "Top-1 RMSD (Å)", "best_rank": "Best rank",
    "centroid": "Centre off by (Å)", "confidence": "Confidence", "affinity": "Affinity (kcal/mol)",
    "valid": "PoseBusters", "failed_checks": "Checks failed", "heavy_atoms": "Atoms",
    "torsions": "Torsions", "stereo_kept": "Stereo kept", "reason": "What is wrong",
}  # fmt: skip
_TEXT = ("id", "failed_checks", "reason", "valid", "stereo_kept")
_HIDDEN = ("reference", "receptor", "status", "success")


def evaluation_page(evaluation: Evaluation) -> str:
    """The whole page as HTML.

    Args:
        evaluation: what was measured.
    """
    drawn = [
        f'<div class="card">{as_svg(draw, evaluation, name, text)}</div>'
        for name, (draw, text) in plots(evaluation).items()
    ]
    failed = sum(case.failed for case in evaluation.cases)
    count = len(evaluation.cases)
    lead = f"{count} complex{'es' * (count != 1)}, {failed} without a pose that counts."
    command = str(evaluation.facts.get("command", ""))
    return document(
        "Docking against crystal ligands",
        [
            heading("Docking against crystal ligands", lead, command),
            "<main>",
            tiles(_cards(evaluation)),
            f'<section class="plots">{"".join(drawn)}</section>',
            _table(evaluation),
            _unmatched(evaluation.unmatched),
            provenance(evaluation.facts, "How these poses were made"),
            "</main>",
            _FOOTER,
        ],
        "",
        _SCRIPT,
    )


_FOOTER = (
    "<footer><p>RMSD is over heavy atoms, without superposition, least over the symmetries of the "
    "molecule. A complex without a pose counts as a failure. Intervals are Wilson's, 95 %. This "
    "page is one file and uses no network.</p></footer>"
)


def _cards(evaluation: Evaluation) -> list[str]:
    cards = []
    for n in evaluation.first:
        rate = evaluation.rate(n)
        label = f"{label_of(n)} within {SUCCESS:g} Å"
        cards.append(_share_tile(rate, label))
    told = evaluation.as_dict()
    for key, label in (
        ("top_1_valid", "top-1 PoseBusters-valid"),
        ("top_1_valid_and_within_2", f"top-1 valid and within {SUCCESS:g} Å"),
    ):
        if "posebusters" in told:
            cards.append(_share_tile(told["posebusters"][key], label))
    trust = told.get("confidence", {}).get("all_poses", {})
    for key, label, meaning in (
        ("auroc", "AUROC of confidence", "chance that a right pose is above a wrong one"),
        ("calibration_error", "calibration error", "mean gap of confidence and frequency"),
        ("brier", "Brier score", "mean squared error of confidence"),
    ):
        if trust.get(key) is not None:
            beside = f"{trust['poses']} poses"
            cards.append(tile(f"{trust[key]:.3f}", label, beside, meaning=meaning))
    return cards


def _share_tile(rate: dict[str, float], label: str) -> str:
    beside = f"{rate['count']} of {rate['of']}; {100 * rate['low']:.0f}–{100 * rate['high']:.0f} %"
    return tile(f"{100 * rate['share']:.0f}", label, beside, "%")


def _table(evaluation: Evaluation) -> str:
    rows = [case_row(case, evaluation) for case in evaluation.cases]
    columns = [
        name
        for name in case_columns(evaluation)
        if name not in _HIDDEN and any(row.get(name) for row in rows)
    ]
    head = "".join(
        f'<th class="{_side(name)}"><button>{escape(_heading(name))}</button></th>'
        for name in columns
    )
    body = "".join(
        "<tr>" + "".join(_cell(name, row.get(name, "")) for name in columns) + "</tr>"
        for row in rows
    )
    return (
        '<section class="card"><div class="bar"><h2 style="margin:0">All complexes</h2>'
        '<span class="grow"></span><input type="search" id="filter" placeholder="Filter" '
        'aria-label="filter the table"></div><p class="note">Click a heading to sort. Everything '
        "is in <code>results.csv</code>, every pose in <code>poses.csv</code>.</p>"
        '<div class="scroll tall"><table id="complexes" class="sortable"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _heading(name: str) -> str:
    if name.startswith("best_of_"):
        return f"Best of {name.removeprefix('best_of_')} (Å)"
    return _HEADINGS.get(name, name)


def _side(name: str) -> str:
    return "text" if name in _TEXT else ""


def _cell(name: str, value: str) -> str:
    return f'<td class="{_side(name)}">{escape(value)}</td>'


def _unmatched(names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = escape(", ".join(names))
    return (
        '<section class="card"><h2>Poses without a complex</h2>'
        f'<p class="note">Not measured: {listed}.</p></section>'
    )
