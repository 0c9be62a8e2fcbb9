"""Alternate locations of Biopython's atoms."""

from typing import Any


def locations(atom: Any) -> dict[str, Any]:
    """The places of an atom by their letter, which is empty where there is one place."""
    if atom.is_disordered() == 2:
        return {key.strip(): atom.disordered_get(key) for key in atom.disordered_get_id_list()}
    return {atom.get_altloc().strip(): atom}


def occupancy(atom: Any) -> float:
    """Occupancy of an atom; 1 where the file has none."""
    value = atom.get_occupancy()
    return 1.0 if value is None else float(value)
