"""Sentences of the report about what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from weather.report.reading import Ensemble, when

__all__ = ["facts_of", "note", "sentence", "sentence_of_all"]


def sentence_of_all(ensemble: Ensemble, inits: Sequence[int]) -> str:
    """What a page of several initial times shows."""
    first, last = (when(ensemble.inits[inits[i]]) for i in (0, -1))
    shown = f"Forecasts from {len(inits)} initial times, {first} to {last}."
    if len(inits) < len(ensemble.inits):
        shown += f" The file holds {len(ensemble.inits)}; others are shown with --init."
    return shown


def sentence(
    ensemble: Ensemble, init: int, leads: Sequence[int], finished: int, beside: bool = False
) -> str:
    """What the page shows, and what it does not show of the file.

    Args:
        ensemble: The source.
        init: Position of the initial time.
        leads: Positions of the leads shown.
        finished: Members that have values at the last lead; others have still to be made.
        beside: Other initial times are on the page, too.
    """
    members = "one member" if ensemble.members == 1 else f"{ensemble.members} members"
    if finished < ensemble.members:
        members = (
            f"{finished} of {ensemble.members} members (the others are not finished; run the "
            "command that makes them again)"
        )
    last = when(ensemble.valid(init, leads[-1]))
    if ensemble.kind == "forecast":
        start = ensemble.inits[init]
        since = "" if start is None else f" from {when(start)}"
        text = f"Forecast{since}: {members}, {len(leads)} leads to {last}."
        if len(ensemble.inits) > 1 and not beside:
            text += (
                f" The file holds {len(ensemble.inits)} initial times; this is number {init}, "
                f"counted from 0. Show another with --init."
            )
        return text
    text = f"Fields of {members} at {len(leads)} time{'s' * (len(leads) != 1)}"
    first = when(ensemble.valid(init, leads[0]))
    text += f", {first} to {last}." if len(leads) > 1 else f", {first}."
    if len(ensemble.leads) > len(leads):
        text += f" The file has {len(ensemble.leads)} times; the first {len(leads)} are shown."
    return text


def facts_of(ensemble: Ensemble) -> dict[str, str]:
    """Numbers for the head of the page."""
    lat, lon = ensemble.lat, ensemble.lon
    facts = {
        "members": str(ensemble.members),
        "last lead (days)" if ensemble.kind == "forecast" else "days": f"{ensemble.leads[-1]:.4g}",
        "latitudes × longitudes": f"{len(lat)} × {len(lon)}",
    }
    for key in ("model", "head", "seed", "planet"):
        if key in ensemble.attributes:
            facts[key] = str(ensemble.attributes[key])[:40]
    return facts


def note(ensemble: Ensemble) -> str:
    """What the maps are."""
    if ensemble.members == 1:
        return "A single member: no spread, no probabilities."
    return (
        "For each time: the mean and the spread of the members; the probability of a threshold "
        "and one contour of every member; and the members themselves."
    )
