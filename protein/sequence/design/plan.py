"""What is designed of one structure: the wishes of a user, resolved to its residues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS, letters, tokens
from protein.sequence.design.quality import LEAST
from protein.sequence.design.residues import Residues
from protein.sequence.design.tied import tied_groups
from protein.sequence.design.wishes import Wishes, amino_acids, at_places, biases, weights
from protein.structures.chain import Backbone
from sciddiff.errors import InputError

__all__ = ["Plan", "Template", "plan_of"]

_HEAVIEST = 100.0  # weight of a row in its group; all usual ones are near 1
_SAME = 10
"""Designed residues from which on a structure of one amino acid is taken for one without any."""


@final
@dataclass(frozen=True, eq=False)
class Template:
    """A structure to design sequences for.

    Attributes:
        name: stem of its files, unique in the run.
        source: its file.
        chains: its chains in the order of the file.
        kept: list of residues that are kept whatever is wished, such as a motif.
        why: what these are.
        symmetric: whether equal chains are copies, which are tied whatever is wished.
        generated: whether the backbone was designed, so that its own sequence means nothing.
        notes: what was noticed when it was read.
    """

    name: str
    source: str
    chains: tuple[Backbone, ...]
    kept: str = ""
    why: str = "kept"
    symmetric: bool = False
    generated: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def residues(self) -> Residues:
        """Its residues by name."""
        return Residues(self.chains, self.source)


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """What is designed of a template of L residues.

    Attributes:
        template: the structure.
        native: residues of the file `[L]`, int64.
        known: which of these are known `[L]`, bool.
        tokens: residues as they are held `[L]`, int64; those of the file, or of what they are
            tied to.
        designed: rows that are drawn `[L]`, bool.
        held: rows that are held at a known residue `[L]`, bool; others that are held are unknown.
        omitted: amino acids that must not be drawn `[L, 20]`, bool.
        bias: nats added to log-probabilities `[L, 20]`, float32.
        group: number of the group of tied rows `[L]`, int64, -1 for rows that are alone.
        weight: weight of a row in its group, before it is divided by the group's size `[L]`.
        noise: standard deviation of the noise that the network is told of, Å.
        balanced: whether the composition is kept from narrowing at low temperatures.
        facts: what was wished, in words, for the description.
    """

    template: Template
    native: NDArray[np.int64]
    known: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    designed: NDArray[np.bool_]
    held: NDArray[np.bool_]
    omitted: NDArray[np.bool_]
    bias: NDArray[np.float32]
    group: NDArray[np.int64]
    weight: NDArray[np.float32]
    noise: float = 0.0
    balanced: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.native)

    @property
    def residues(self) -> Residues:
        """The residues by name."""
        return self.template.residues

    @property
    def name(self) -> str:
        """The template's name."""
        return self.template.name

    @cached_property
    def designed_chains(self) -> tuple[int, ...]:
        """Numbers of the chains in which anything is designed."""
        return tuple(np.unique(self.residues.chain_of[self.designed]).tolist())

    @cached_property
    def no_recovery(self) -> str:
        """Why it means nothing which residues are those of the file; empty where it does."""
        own = self.native[self.designed & self.known]
        if not len(own):
            return "the residues of the structure are unknown"
        if len(own) >= _SAME and (own == own[0]).all():
            return f"the residues of the structure are all {LETTERS[own[0]]}"
        return ""

    def pieces(self, found: NDArray[np.int64], whole: bool = False) -> list[str]:
        """Letters of each chain in which anything is designed, or of all.

        Args:
            found: tokens `[L]`; the mask is X.
            whole: all chains.
        """
        text, chain = letters(found), self.residues.chain_of
        numbers = range(len(self.template.chains)) if whole else self.designed_chains
        starts = np.searchsorted(chain, np.arange(len(self.template.chains) + 1)).tolist()
        return [text[starts[c] : starts[c + 1]] for c in numbers]

    @cached_property
    def missing(self) -> tuple[NDArray[np.int64], ...]:
        """Residues that are missing before each residue of each chain, by the author's numbers.

        Only where the chain is broken: numbers that jump along an unbroken chain miss nothing.
        """
        found = []
        for chain in self.template.chains:
            jump = np.diff(chain.residue_numbers, prepend=chain.residue_numbers[:1] - 1) - 1
            broken = ~np.concatenate([[True], chain.bonded[:-1]])
            found.append(np.where(broken, np.maximum(jump, 0), 0).astype(np.int64))
        return tuple(found)

    def gapped(self, pieces: Sequence[str]) -> list[str]:
        """Letters of the chains in which anything is designed, X for every missing residue."""
        gaps = [self.missing[number] for number in self.designed_chains]
        return [
            "".join("X" * count + letter for count, letter in zip(gap.tolist(), text, strict=True))
            for gap, text in zip(gaps, pieces, strict=True)
        ]

    def ungapped(self, pieces: Sequence[str]) -> list[str]:
        """Letters of chains without X for missing residues, if they have one for each of these.

        Args:
            pieces: all chains, or those in which anything is designed; others are left as they
                are.
        """
        every = range(len(self.missing))
        for numbers in (self.designed_chains, every):
            gaps = [self.missing[number] for number in numbers]
            sizes = [len(gap) + int(gap.sum()) for gap in gaps]
            if [len(text) for text in pieces] != sizes:
                continue
            # Place of each residue in the letters of its chain.
            at = [np.arange(len(gap)) + np.cumsum(gap) for gap in gaps]
            kept = ["".join(text[k] for k in rows) for text, rows in zip(pieces, at, strict=True)]
            if all(
                set(np.delete(list(text), rows)) <= {"X"}
                for text, rows in zip(pieces, at, strict=True)
            ):
                return kept
        return list(pieces)

    def summary(self) -> dict[str, Any]:
        """What will be done, as plain values."""
        residues, rows = self.residues, np.arange(len(self))
        groups = self.group[self.group >= 0]
        return {
            "name": self.name,
            "source": self.template.source,
            "chains": {
                chain.chain_id: {
                    "residues": len(chain),
                    "numbers": chain.number_ranges(),
                    "designed": int(self.designed[residues.chain_of == number].sum()),
                }
                for number, chain in enumerate(residues.chains)
            },
            "designed": residues.words(rows[self.designed].tolist()),
            "fixed": residues.words(rows[~self.designed].tolist()),
            "unknown": residues.words(rows[~self.designed & ~self.held].tolist()),
            "groups": len(np.unique(groups)),
            "tied": len(groups),
            **self.facts,
        }

    def describe(self) -> str:
        """What will be done, for people."""
        said = self.summary()
        lines = [f"{self.name} ({said['source']}): {len(self)} residues"]
        lines += [
            f"  chain {name}: residues {one['numbers']}, {one['designed']} of {one['residues']} "
            "designed"
            for name, one in said["chains"].items()
        ]
        shown = ("designed", "fixed", "unknown", "kept", "omitted", "omitted_at", "bias",
                 "bias_at", "ties", "tie_weights", "noise", "balance")  # fmt: skip
        there = [name for name in shown if said.get(name)]
        lines += [f"  {name.replace('_', ' '):<12}{said[name]}" for name in there]
        if said["tied"]:
            lines.append(f"  {said['tied']} residues are tied in {said['groups']} groups")
        return "\n".join([*lines, *(f"  note: {note}" for note in said.get("notes", ()))])


def plan_of(
    template: Template, wishes: Wishes, noise: float = 0.0, balance: bool | None = None
) -> Plan:
    """Resolve the wishes to the residues of a template.

    Args:
        template: the structure.
        wishes: what the user asks of its residues.
        noise: standard deviation of the noise that the network is told of, Å.
        balance: whether the composition is kept from narrowing; None: where the backbone was
            generated. Not where few residues are designed, whose laws it would flatten.

    Raises:
        InputError: residues that are not there, ties of residues that are fixed to different amino
            acids, a residue at which every amino acid is omitted, or nothing to design.
    """
    residues = template.residues
    wishes = replace(wishes, symmetric=wishes.symmetric or template.symmetric)
    native, unknown = tokens("".join(chain.sequence for chain in template.chains))
    designed = np.ones(len(residues), dtype=bool)
    if wishes.chains:
        designed[:] = False
        designed[_whole_chains(residues, wishes.chains)] = True
    for text, option in ((template.kept, template.why), (wishes.fix, "--fix")):
        if text:
            designed[residues.rows(text, option)] = False
    notes: list[str] = []
    omitted = _omitted(residues, wishes, designed, notes)
    ties = tied_groups(residues, native, ~unknown, designed, wishes)
    notes += ties.notes
    bias = np.tile(biases(wishes.bias_aa), (len(residues), 1))
    for one in wishes.bias_at:
        bias[residues.rows(one.residues, "--bias-at"), LETTERS.index(one.letter)] += one.nats
    weight = np.ones(len(residues), dtype=np.float32)
    for text, value in weights(wishes.tie_weight, "--tie-weight"):
        if not abs(value) <= _HEAVIEST:
            raise InputError(f"--tie-weight {text}: {value:g} is not from -100 to 100")
        weight[residues.rows(text, "--tie-weight")] = value
    if wishes.tie_weight and not (ties.group >= 0).any():
        notes.append("--tie-weight has no effect, since no residues are tied")
    silent = np.flatnonzero(~ties.designed & unknown & (ties.forced < 0)).tolist()
    if silent:
        notes.append(
            f"{residues.words(silent)} is kept, of no known amino acid; sequences have X there"
        )
    _check_choices(residues, omitted, ties.forced, ties.designed, ties.group)
    if not ties.designed.any():
        raise InputError(
            f"{template.source}: every residue is fixed, so nothing is designed; fix fewer, or "
            "use --score-only to score sequences"
        )
    follows = ties.forced >= 0
    balanced = template.generated if balance is None else balance
    balanced &= int(ties.designed.sum()) >= LEAST
    return Plan(
        template,
        native,
        known=~unknown,
        tokens=np.where(follows, ties.forced, native),
        designed=ties.designed,
        held=~ties.designed & (~unknown | follows),
        omitted=omitted,
        bias=bias,
        group=ties.group,
        weight=weight,
        noise=noise,
        balanced=balanced,
        facts=_facts(template, wishes, noise, balanced, notes),
    )


def _whole_chains(residues: Residues, text: str) -> list[int]:
    found: list[int] = []
    for name in (part.strip() for part in text.replace(" ", ",").split(",")):
        if name:
            colon = "" if name.isalpha() or name.endswith(":") else ":"
            found += residues.rows(f"{name}{colon}", "--chains")
    return found


def _omitted(
    residues: Residues, wishes: Wishes, designed: NDArray[np.bool_], notes: list[str]
) -> NDArray[np.bool_]:
    """Amino acids that must not be drawn `[L, 20]`."""
    omitted = np.tile(amino_acids(wishes.omit_aa, "--omit-aa"), (len(residues), 1))
    for option, text in (("--omit-at", wishes.omit_at), ("--only-at", wishes.only_at)):
        for where, which in at_places(text, option):
            rows = residues.rows(where, option)
            omitted[rows] |= which if option == "--omit-at" else ~which
            idle = [row for row in rows if not designed[row]]
            if idle:
                notes.append(f"{option} has no effect at {residues.words(idle)}, which is fixed")
    return omitted


def _check_choices(
    residues: Residues,
    omitted: NDArray[np.bool_],
    forced: NDArray[np.int64],
    designed: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> None:
    """Every row that is drawn has an amino acid left, and one that is forced may have it.

    Raises:
        InputError: the first that has none.
    """
    rows = np.flatnonzero(forced >= 0)
    wrong = rows[omitted[rows, forced[rows]]]
    if len(wrong):
        letter = LETTERS[forced[wrong[0]]]
        raise InputError(
            f"{residues.source}: {residues.labels[wrong[0]]} is tied to a fixed {letter}, which "
            "is omitted there; allow it, or leave out the tie"
        )
    union = omitted.copy()
    for number in np.unique(group[group >= 0]):
        union[group == number] = omitted[group == number].any(0)
    wrong = np.flatnonzero(union.all(1) & designed)
    if len(wrong):
        tied = " and what it is tied to" if group[wrong[0]] >= 0 else ""
        raise InputError(
            f"{residues.source}: every amino acid is omitted at {residues.labels[wrong[0]]}"
            f"{tied}; allow one by --omit-aa, --omit-at or --only-at"
        )


def _facts(
    template: Template, wishes: Wishes, noise: float, balanced: bool, notes: Sequence[str]
) -> dict[str, Any]:
    """What was wished, in words."""
    only = [f"{item} alone" for item in wishes.only_at.split(",") if item]
    at = [item for item in wishes.omit_at.split(",") if item]
    ties = (["equal chains"] if wishes.symmetric else []) + ([wishes.tie] if wishes.tie else [])
    found = {
        "kept": f"{template.why}: {template.kept}" if template.kept else "",
        "omitted": f"{wishes.omit_aa.upper()} everywhere" if wishes.omit_aa else "",
        "omitted_at": ", ".join([*at, *only]),
        "bias": wishes.bias_aa,
        "bias_at": ", ".join(f"{b.residues} {b.letter} {b.nats:+g}" for b in wishes.bias_at),
        "ties": ", ".join(ties),
        "tie_weights": wishes.tie_weight,
        "noise": f"{noise:g} Å" if noise else "",
        "balance": "the composition is kept at low temperatures" if balanced else "",
        "notes": list(notes),
    }
    return {name: value for name, value in found.items() if value}
