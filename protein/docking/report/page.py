"""The parts of the page as HTML. All text from outside is escaped here."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from protein.docking.report.collect import number
from protein.viewer.molstar import (
    MISSING,
    MolstarAssets,
    credit,
    viewer_data,
    viewer_script,
    viewer_style,
)
from sciddiff.report.page import asset, document, tile, tiles

_HERE = "protein.docking.report"

# Column, heading, unit, meaning; those after the name are shown where any ligand has them.
_COLUMNS = (
    ("confidence", "Confidence", "", "probability that the first pose is within 2 Å"),
    ("affinity", "Affinity", "kcal/mol", "Vina score of the first pose; lower is better"),
    ("strain", "Strain", "kcal/mol", "intramolecular energy above the best fresh conformer"),
    ("valid", "PoseBusters", "", "verdict on the first pose"),
    ("site", "Site", "", "number of the site the first pose is in"),
    ("covalent", "Bonded to", "", "atom of the receptor that the ligand is bonded to"),
    ("warhead", "Warhead", "", "what reacted with it"),
    ("torsions", "Torsions", "", "rotatable bonds that were turned"),
    ("heavy_atoms", "Atoms", "", "heavy atoms"),
    ("poses", "Poses", "", "distinct poses written"),
)
_DECIMALS = {"confidence": 2, "affinity": 2, "energy": 2, "strain": 2}
_KEY = (
    ("--ligand", "ligand"),
    ("--hbond", "hydrogen bond"),
    ("--salt", "salt bridge"),
    ("--metal", "metal"),
    ("--greasy", "hydrophobic"),
)


def page(title: str, sections: Sequence[str], assets: MolstarAssets | None, payload: str) -> str:
    """The whole document.

    Args:
        title: heading of the browser's tab, plain text.
        sections: HTML of the body, in order.
        assets: Mol*, or None for the simple viewer alone.
        payload: packed poses.
    """
    return document(
        title,
        sections,
        viewer_style() + asset(_HERE, "report.css"),
        viewer_script() + asset(_HERE, "view.js") + asset(_HERE, "report.js"),
        {"docked": payload, **viewer_data(assets)},
        viewer=True,
    )


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The most important figures.

    Args:
        rows: rows in their order.
    """
    good = [row for row in rows if row["status"] == "ok"]
    cards = [tile(f"{len(good)} / {len(rows)}", "ligands docked")]
    if good:
        best = min(good, key=lambda row: number(row.get("affinity")) or 0.0)
        figure = shown("affinity", best.get("affinity"))
        cards.append(tile(figure, "best affinity", best["name"], "kcal/mol"))
    sure = [c for row in good if (c := number(row.get("confidence"))) is not None]
    if sure:
        likely = sum(c >= 0.5 for c in sure)
        cards.append(tile(str(likely), "confident first poses", "confidence ≥ 0.5"))
    judged = [row for row in good if row.get("valid")]
    if judged:
        valid = sum(row["valid"] == "yes" for row in judged)
        beside = f"of {len(judged)} judged by PoseBusters"
        cards.append(tile(f"{valid / len(judged):.0%}", "valid first poses", beside))
    times = [t for row in good if (t := number(row.get("seconds"))) is not None]
    if times:
        cards.append(tile(f"{sum(times) / len(times):.1f}", "per ligand, on average", "", "s"))
    return tiles(cards)


def stage(names: Sequence[tuple[str, str]], total: int, assets: MolstarAssets | None) -> str:
    """The viewer, its controls, and the facts of the chosen ligand and pose.

    Args:
        names: number and name of the ligands whose poses are in the page.
        total: number of ligands docked.
        assets: Mol*, or None.
    """
    options = "".join(
        f'<option value="{escape(key, quote=True)}">{escape(name)}</option>' for key, name in names
    )
    notes = []
    if len(names) < total:
        notes.append(
            f"Poses of the first {len(names)} of {total} ligands are in this page; the others are "
            "in the files beside it."
        )
    if assets is None:
        notes.append(MISSING)
    key = "".join(f'<span style="--c:var({colour})">{word}</span>' for colour, word in _KEY)
    return f"""<section class="card"><h2>Poses in the pocket</h2>
<div class="bar">
<button id="before" aria-label="previous ligand">‹</button>
<select id="select" aria-label="ligand">{options}</select>
<button id="after" aria-label="next ligand">›</button>
<span id="poses" class="bar" role="group" aria-label="pose"></span>
<span class="grow"></span>
<button id="labels" aria-pressed="true">Labels</button>
<button id="greasy" aria-pressed="true">Hydrophobic</button>
<button id="surface" aria-pressed="false">Surface</button>
<button id="spin" aria-pressed="false">Spin</button>
<button id="reset">Reset view</button></div>
<div class="stage"><div><div id="viewer"></div>
<p class="note key">{key}</p>
<p class="note">{escape(" ".join(notes))}<span id="why"></span></p></div>
<div class="side"><div id="drawing"></div><dl id="facts"></dl>
<h3 id="contacts-title">Contacts</h3><ul id="contacts"></ul></div></div>
<noscript><p class="note">The viewer and the sorting of the table need JavaScript.</p></noscript>
</section>"""


def ligand_table(
    rows: Sequence[Mapping[str, str]],
    drawings: Mapping[str, str],
    total: int,
) -> str:
    """All ligands, sortable by every column.

    Args:
        rows: ranked, at most as many as the page holds.
        drawings: SVG of each docked ligand by its number in the input.
        total: rows of the whole table.
    """
    columns = [c for c in _COLUMNS if any(row.get(c[0]) for row in rows)]
    heads = [("#", "", "rank", ""), ("Structure", "", "", "text"), ("Name", "", "", "text")]
    heads += [(word, unit, meaning, "") for _, word, unit, meaning in columns]
    heads.append(("File", "", "all poses, ranked", "text"))
    head = "".join(
        f'<th class="{side}" title="{escape(meaning, quote=True)}">'
        f"<button>{escape(word)}{f' <small>{escape(unit)}</small>' if unit else ''}</button></th>"
        for word, unit, meaning, side in heads
    )
    body = "".join(
        _table_row(place, row, columns, drawings.get(row["index"], ""))
        for place, row in enumerate(rows, 1)
    )
    by = "confidence" if any(row.get("confidence") for row in rows) else "affinity"
    left = total - len(rows)
    more = f" The first {len(rows)} of {total} rows; all are in the file." if left > 0 else ""
    return f"""<section class="card"><div class="bar"><h2>All ligands</h2>
<span class="note" id="count"></span><span class="grow"></span>
<select id="status" aria-label="which ligands"><option value="">all</option>
<option value="ok">docked</option><option value="valid">valid</option>
<option value="failed">failed</option></select>
<input type="search" id="filter" placeholder="Name, SMILES, reason" aria-label="filter"></div>
<p class="note">Ranked by {by}. Click a heading to sort, a row to see its poses. Everything is in
<code>results.csv</code>.{more}</p>
<div class="scroll tall"><table id="ligands" class="sortable"><thead><tr>{head}</tr></thead>
<tbody>{body}</tbody></table></div></section>"""


def _table_row(
    place: int, row: Mapping[str, str], columns: Sequence[tuple[str, ...]], drawing: str
) -> str:
    good = row["status"] == "ok"
    name = escape(row["name"])
    reason = ""
    if not good:
        text = escape(row.get("reason", "").removeprefix(f"{row['name']}: "))
        reason = f'<div class="why"><span class="flag">failed</span> {text}</div>'
    find = " ".join((row["name"], row.get("smiles", ""), row.get("reason", ""))).lower()
    kind = "failed" if not good else "valid" if row.get("valid") == "yes" else "ok"
    cells = "".join(_cell(key, row) for key, *_ in columns)
    link = '<td class="text"></td>'
    if row.get("file"):
        link = f'<td class="text"><a href="{quote(row["file"])}" download>SDF</a></td>'
    return (
        f'<tr tabindex="0" data-key="{escape(row["index"], quote=True)}" data-status="{kind}" '
        f'data-find="{escape(find, quote=True)}"><td data-value="{place}">{place if good else "–"}'
        f'</td><td class="text draw" data-value="{escape(row.get("smiles", ""), quote=True)}">'
        f'{drawing}</td><td class="text name" data-value="{escape(row["name"], quote=True)}">'
        f"{name}{reason}</td>{cells}{link}</tr>"
    )


def _cell(key: str, row: Mapping[str, str]) -> str:
    value = row.get(key, "")
    if key == "valid":
        failed = escape(row.get("failed_checks", "").replace(" ", ", "), quote=True)
        words = {
            "yes": '<span class="ok">valid</span>',
            "no": f'<span class="flag" title="{failed}">not valid</span>',
        }
        return f'<td data-value="{escape(value, quote=True)}">{words.get(value, "")}</td>'
    return f'<td data-value="{escape(value, quote=True)}">{escape(shown(key, value))}</td>'


def shown(key: str, value: str | None) -> str:
    """A value of a column as the page shows it."""
    found = number(value)
    if found is None:
        return value or ""
    text = f"{found:.{_DECIMALS[key]}f}" if key in _DECIMALS else f"{found:g}"
    return text.replace("-", "\N{MINUS SIGN}")


def settings_card(facts: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> str:
    """The settings of the run, and what failed for which reason.

    Args:
        facts: settings in words.
        rows: all rows of the table.
    """
    listed = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items()
    )
    failed = [row for row in rows if row["status"] != "ok"]
    lines = "".join(
        f"<li><b>{escape(row['name'])}</b> "
        f"{escape(row.get('reason', '').removeprefix(row['name'] + ': '))}</li>"
        for row in failed[:20]
    )
    more = f"<li>and {len(failed) - 20} more in the table</li>" if len(failed) > 20 else ""
    other = '<p class="note">Nothing failed.</p>' if rows else '<p class="note">No ligand.</p>'
    why = f'<ul class="failures">{lines}{more}</ul>' if failed else other
    count = f" ({len(failed)})" if failed else ""
    return f"""<section class="pair"><div class="card"><h2>Receptor, box and settings</h2>
<dl class="settings">{listed}</dl></div>
<div class="card"><h2>What failed{count}</h2>{why}</div></section>"""


def footer(assets: MolstarAssets | None) -> str:
    """Credits and limits."""
    return (
        "<footer><p>Contacts are found from heavy atoms: hydrogen bonds between Vina's donors and "
        "acceptors, salt bridges within 4 Å of groups charged at pH 7, hydrophobic contacts "
        "within 4 Å; all poses' are in <code>contacts.csv</code>. A score is no measured "
        f"affinity: look at poses before making anything. {escape(credit(assets))} This page is "
        "one file and uses no network.</p></footer>"
    )


def settings_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a run in words.

    Args:
        record: contents of ``run.json``.
    """
    request: Mapping[str, Any] = record.get("request") or {}
    facts = {"receptor": str(request.get("receptor") or "")}
    facts["notes"] = "; ".join(str(note) for note in record.get("receptor") or [])
    facts["ligands"] = str(request.get("ligand") or "")
    facts |= _box_facts(request.get("box"))
    model = request.get("model")
    facts["proposals"] = str(model) if model else "none: search alone"
    named = (("effort", "effort"), ("poses", "poses per ligand"), ("seed", "seed"),
             ("keep", "groups kept"))  # fmt: skip
    facts |= {word: str(request[key]) for key, word in named if request.get(key) not in (None, "")}
    facts["flexible side chains"] = ", ".join(request.get("flex") or [])
    facts["sciddiff"] = str(record.get("sciddiff") or "")
    return {key: value for key, value in facts.items() if value}


def _box_facts(box: Any) -> dict[str, str]:
    """Where was searched; several boxes are counted."""
    if isinstance(box, Sequence) and not isinstance(box, str):
        return {"boxes": str(len(box))} if len(box) != 1 else _box_facts(box[0])
    if not isinstance(box, Mapping) or not {"center", "size"} <= box.keys():
        return {"box": str(box)} if box else {}
    return {
        "box centre (Å)": ", ".join(f"{x:.1f}" for x in box["center"]),
        "box size (Å)": " × ".join(f"{x:.1f}" for x in box["size"]),
    }
