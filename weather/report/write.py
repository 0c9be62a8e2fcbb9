"""Write `report.html` and its pictures for a forecast, an analysis or a reanalysis."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from sciddiff.errors import InputError
from sciddiff.report.page import provenance
from weather.report import charts, diagnostics, page
from weather.report.collect import LeadFields, Truth, VariableData, collect
from weather.report.maps import MapFrame
from weather.report.places import Place, places_within
from weather.report.reading import Ensemble, when
from weather.report.series import meteogram
from weather.report.style import colour_map
from weather.report.tracks import TrackSettings, strikes_of, tracks_of, tracks_table
from weather.report.units import Display, Threshold, default_threshold, find_name
from weather.report.words import facts_of, note, sentence, sentence_of_all

__all__ = ["ReportSettings", "write_report"]

MOST_TIMES = 200
"""Times in a meteogram, at most."""

_PREFERRED = (
    "z500", "t850", "mslp", "tas", "tp", "wind10", "wind850", "wind250", "q700", "sst", "u850",
    "u250",
)  # fmt: skip
_MOST_VARIABLES = 5
_DAYS = (1.0, 3.0, 5.0, 7.0, 10.0, 15.0)
_MOST_LEADS = 5
_LOG = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class ReportSettings:
    """What a report shows; empty fields mean a sensible choice.

    Attributes:
        places: Where series are drawn.
        variables: Names of variables.
        leads: Days that become maps.
        thresholds: Events such as ``tas>30degC``, at most one per variable.
        inits: Positions of the initial times; several make one page of all.
        title: Heading; default the name of the source.
        tracks: How lows are followed; None leaves them out.
    """

    places: tuple[Place, ...] = ()
    variables: tuple[str, ...] = ()
    leads: tuple[float, ...] = ()
    thresholds: tuple[str, ...] = ()
    inits: tuple[int, ...] = (0,)
    title: str = ""
    tracks: TrackSettings | None = None


@final
@dataclass
class _Parts:
    """What accumulates while variables are drawn."""

    maps: list[page.VariableMaps] = field(default_factory=list)
    panels: list[VariableData] = field(default_factory=list)
    spectra: list[str] = field(default_factory=list)
    ranks: list[str] = field(default_factory=list)
    scores: list[tuple[str, str, str, Mapping[str, float]]] = field(default_factory=list)


def write_report(
    directory: Path,
    ensemble: Ensemble,
    settings: ReportSettings | None = None,
    truth: Ensemble | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write one self-contained ``report.html``, and ``figures/*.png``, into a folder.

    Args:
        directory: The folder; made if absent.
        ensemble: What is shown.
        settings: Choices.
        truth: What happened: analyses, or truth ensembles.
        facts: About the run, for the record at the end of the page.
        progress: Called with what is drawn next.

    Returns:
        The page.

    Raises:
        InputError: A choice is not in the data, or nothing can be drawn.
    """
    settings = settings or ReportSettings()
    say = progress or (lambda what: None)
    for init in settings.inits:
        if not 0 <= init < len(ensemble.inits):
            raise InputError(
                f"--init {init}: {ensemble.source} has {len(ensemble.inits)} initial times, "
                "counted from 0; choose one"
            )
    names = _variables(ensemble, settings)
    _leads(ensemble, settings)
    places = places_within(settings.places, ensemble.lat, ensemble.lon, bool(ensemble.planet))
    known = None if truth is None else Truth(truth, ensemble)
    thresholds = _thresholds(ensemble, settings)
    several = len(settings.inits) > 1
    starts: list[page.Start] = []
    tables = []
    for init in settings.inits:
        mark = f"start-{init}-" if several else ""
        draw = _Drawing(directory / "figures", ensemble, init, places, thresholds, mark)
        word = when(ensemble.inits[init]) if several else ""
        begun = (lambda what, word=word: say(f"{word}: {what}")) if several else say
        starts.append(_start(draw, names, settings, known, begun))
        if settings.tracks is not None:
            begun("tracks")
            found = tracks_of(ensemble, init, settings.tracks)
            tables.append((init, found))
            shares = strikes_of(found, ensemble, init, settings.tracks)
            png = charts.tracks_and_strikes(draw.frame, found, shares, settings.tracks.strike_km)
            draw.keep("tracks", png)
            picture = page.Picture(png, "Tracks of lows of every member, and strike probability")
            starts[-1].sections.insert(2, page.tracks_section(picture, settings.tracks.note))
    title = settings.title or f"Report on {ensemble.source}"
    lead = starts[0].sentence if not several else sentence_of_all(ensemble, settings.inits)
    sections = [
        page.header(title, lead, facts_of(ensemble)),
        *page.starts_sections(starts),
        provenance(
            {**(facts or {}), "attributes": dict(ensemble.attributes)}, "Where this comes from"
        ),
        page.footer(),
    ]
    if tables:
        _replace(directory / "tracks.csv", tracks_table(ensemble, tables).encode("utf-8"))
    target = directory / "report.html"
    _replace(target, page.document(title, sections).encode("utf-8"))
    return target


def _start(
    draw: _Drawing,
    names: Sequence[str],
    settings: ReportSettings,
    known: Truth | None,
    say: Callable[[str], None],
) -> page.Start:
    """Everything about one initial time."""
    ensemble, init = draw.ensemble, draw.init
    leads, map_leads = _leads(ensemble, settings)
    parts, finished = _Parts(), ensemble.members
    for name in names:
        say(name)
        data = collect(ensemble, name, init, leads, map_leads, draw.places, known)
        finished = min(finished, data.maps[-1].members.shape[0])
        draw.variable(data, parts)
        parts.panels.append(
            VariableData(data.display, data.places, data.truth_places)  # lets the maps go
        )
    say("places")
    series = draw.places_series(parts.panels, leads) if len(leads) > 1 else []
    if known is not None and not parts.scores and ensemble.members > 1:
        _LOG.warning("%s: no valid time in common with the forecast", known.source.source)
    sections = [
        page.places_section(series, draw.mark),
        page.maps_section(parts.maps, note(ensemble), draw.mark),
        page.score_table(parts.scores, draw.mark),
        page.plots_section(
            "Power spectra",
            "Members should keep the power of an analysis at every scale and lead; the mean "
            "loses it where the forecast does not know.",
            parts.spectra,
        ),
        page.plots_section(
            "Rank histograms",
            "Flat: the truth looks like one more member. U-shaped: too little spread. Leaning: "
            "biased. Ties are broken at random.",
            parts.ranks,
            wide=True,
        ),
    ]
    name = "" if ensemble.inits[init] is None else when(ensemble.inits[init])
    told = sentence(ensemble, init, leads, finished, len(settings.inits) > 1)
    return page.Start(name, told, draw.mark, sections)


@final
class _Drawing:
    """Draws the pictures of one report and keeps them as files too."""

    def __init__(
        self,
        folder: Path,
        ensemble: Ensemble,
        init: int,
        places: Sequence[Place],
        thresholds: Mapping[str, Threshold],
        mark: str = "",
    ) -> None:
        self.mark = mark
        self.folder, self.ensemble, self.init = folder, ensemble, init
        self.places, self.thresholds = places, thresholds
        self.frame = MapFrame(ensemble.lat, ensemble.lon, coasts=not ensemble.planet)
        self.weights = diagnostics.row_weights(ensemble.lat, ensemble.lon)

    def lead_name(self, lead: int) -> str:
        """A lead in words: valid date and, of a forecast, the day."""
        date = when(self.ensemble.valid(self.init, lead))
        if self.ensemble.kind == "analysis" or date.startswith("day"):
            return date
        return f"{date} (day {self.ensemble.leads[lead]:g})"

    def variable(self, data: VariableData, parts: _Parts) -> None:
        """Everything about one variable but its series."""
        display, maps = data.display, data.maps
        cmap, centred = colour_map(display.units, display.name)
        means = [one.mean for one in maps]
        levels = charts.round_levels(means, 14, centred)
        spread = None
        if min(len(one.members) for one in maps) > 1:
            spread = charts.round_levels([one.spread for one in maps], 8)
            spread = np.unique(np.clip(spread, 0.0, None))
        listed = page.VariableMaps(display.name, display.label)
        for one, mean in zip(maps, means, strict=True):
            word = self.lead_name(one.lead)
            listed.leads.append(word)
            listed.pictures.append(self._maps(display, one, mean, levels, spread, word, cmap))
            figures = diagnostics.scores(one, self.weights)
            if figures is not None:
                row = (display.label, display.difference_units, word, figures)
                parts.scores.append(row)
        parts.maps.append(listed)
        words = listed.leads
        lat, lon = self.ensemble.lat, self.ensemble.lon
        identifier = _identifier(display.name)
        spectra, ranks = (f"{self.mark}{kind}-{identifier}" for kind in ("spectra", "ranks"))
        for kind, made, into in (
            (
                "spectra",
                diagnostics.spectra_figure(display, maps, words, lat, lon, spectra),
                parts.spectra,
            ),
            (
                "ranks",
                diagnostics.rank_figure(display, maps, words, self.weights, ranks),
                parts.ranks,
            ),
        ):
            if made is not None:
                into.append(made[0])
                self.keep(f"{kind}_{identifier}", made[1])

    def _maps(
        self,
        display: Display,
        one: LeadFields,
        mean: Any,
        levels: Any,
        spread: Any,
        word: str,
        cmap: str,
    ) -> list[page.Picture]:
        frame, name = self.frame, f"{_identifier(display.name)}_{one.lead:03d}"
        picture = charts.mean_and_spread(frame, display, one, levels, spread, word, self.places)
        drawn = [("mean", picture, "mean and spread")]
        if spread is not None:
            threshold = self.thresholds.get(display.name) or _quantile(display, mean)
            lines = charts.contour_lines(mean, positive=cmap == "YlGnBu")
            picture = charts.probability_and_contours(frame, display, one, threshold, lines, word)
            drawn.append(("probability", picture, f"probability of {threshold} and contours"))
            drawn.append(
                ("stamps", charts.stamps(frame, display, one, levels, word), "every member")
            )
        for kind, png, _ in drawn:
            self.keep(f"{kind}_{name}", png)
        return [page.Picture(png, f"{display.label}, {word}: {text}") for _, png, text in drawn]

    def places_series(
        self, panels: Sequence[VariableData], leads: Sequence[int]
    ) -> list[tuple[str, str, str]]:
        """A meteogram for every place."""
        ensemble, found = self.ensemble, []
        dates = [ensemble.valid(self.init, lead) for lead in leads]
        days = ensemble.leads[list(leads)]
        for i, place in enumerate(self.places):
            rows = [
                (p.display, p.places[i], None if p.truth_places is None else p.truth_places[i])
                for p in panels
                if np.isfinite(p.places[i]).any()
            ]
            if not rows:
                continue
            svg, png = meteogram(place, rows, days, dates, f"{self.mark}meteogram-{i}")
            self.keep(f"meteogram_{_identifier(place.name)}", png)
            found.append((place.name, str(place), svg))
        return found

    def keep(self, name: str, png: bytes) -> None:
        """Write a picture into the folder."""
        _replace(self.folder / f"{self.mark}{name}.png", png)


def _variables(ensemble: Ensemble, settings: ReportSettings) -> list[str]:
    shown = ensemble.shown
    if settings.variables:
        return list(dict.fromkeys(find_name(name, shown) for name in settings.variables))
    named = [text.split(">")[0].split("<")[0].strip() for text in settings.thresholds]
    first = [find_name(name, shown) for name in named]
    preferred = [name for name in _PREFERRED if name in shown]
    # A wind speed stands for its components; odd names come last.
    others = [name for name in shown if not re.fullmatch(r"[uv]\d*(hPa)?", name)]
    wanted = list(dict.fromkeys([*first, *preferred, *others, *shown]))
    return wanted[: max(_MOST_VARIABLES, len(first))]


def _thresholds(ensemble: Ensemble, settings: ReportSettings) -> dict[str, Threshold]:
    found = {}
    for display in ensemble.shown.values():
        usual = default_threshold(display)
        if usual is not None:
            found[display.name] = usual
    for text in settings.thresholds:
        threshold = Threshold.parse(text, ensemble.shown)
        found[threshold.name] = threshold
    return found


def _quantile(display: Display, mean: Any) -> Threshold:
    """Where no usual threshold exists: what the mean exceeds over a tenth of the map."""
    value = float(np.nanpercentile(mean, 90.0))
    return Threshold(display.name, True, float(f"{value:.2g}"), display.units)


def _leads(ensemble: Ensemble, settings: ReportSettings) -> tuple[list[int], list[int]]:
    leads = ensemble.leads
    series = list(range(min(len(leads), MOST_TIMES)))
    if settings.leads:
        chosen = []
        for day in settings.leads:
            nearest = int(np.argmin(np.abs(leads - day)))
            if abs(leads[nearest] - day) > 1e-6:
                raise InputError(
                    f"--lead {day:g}: {ensemble.source} has days {leads[0]:g} to {leads[-1]:g}; "
                    f"the nearest is {leads[nearest]:g}"
                )
            chosen.append(nearest)
        return series, sorted(set(chosen))
    chosen = [int(np.argmin(np.abs(leads - day))) for day in _DAYS if day <= leads[-1] + 1e-6]
    if ensemble.kind == "analysis" or len(set(chosen)) < 2:
        count = min(len(series), _MOST_LEADS)
        chosen = np.linspace(0, len(series) - 1, count).astype(int).tolist()
    return series, sorted(set(chosen))


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "x"


def _replace(target: Path, data: bytes) -> None:
    """Write a file whole: beside its place, then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(partial).chmod(0o644)
        os.replace(partial, target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
