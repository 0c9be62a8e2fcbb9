"""Residues of a receptor by their names, and the box around some of them."""

import re

import numpy as np

from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor
from sciddiff.errors import InputError

_RESIDUE = re.compile(r"^(?P<chain>[^:]*):(?P<number>-?\d+)(?P<code>[A-Za-z]?)$")


def named_residues(receptor: Receptor, names: str, option: str) -> tuple[str, ...]:
    """Labels of the residues that a list names, each once, in the order of the list.

    Args:
        receptor: the protein.
        names: such as ``A:45,A:48B``: chain, number, optional insertion code.
        option: what the list is called in messages.

    Raises:
        InputError: a name is malformed or not in the receptor.
    """
    known = set(receptor.residues)
    labels: list[str] = []
    for word in names.replace(" ", "").split(","):
        match = _RESIDUE.match(word)
        if match is None:
            raise InputError(f"{option}: {word!r} is not chain:number; write A:45,A:48")
        label = f"{match['chain']}:{match['number']}{match['code']}"
        if label not in known:
            chains = ", ".join(sorted({r.partition(":")[0] for r in known}))
            raise InputError(
                f"{option}: {label} is not in {receptor.name} (chains {chains}); check "
                "chain and number"
            )
        labels.append(label)
    return tuple(dict.fromkeys(labels))


def box_of_residues(receptor: Receptor, names: str, padding: float = 4.0) -> Box:
    """Box around named residues of the receptor.

    Args:
        receptor: the protein.
        names: such as ``A:45,A:48B``: chain, number, optional insertion code.
        padding: Å on each side.

    Raises:
        InputError: a name is malformed or not in the receptor.
    """
    labels = named_residues(receptor, names, "pocket residues")
    return box_around(receptor.coords[np.isin(receptor.residues, labels)], padding)
