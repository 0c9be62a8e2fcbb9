"""The data types of protein structure: ``Backbone`` (one chain) and ``Structure`` (a file).

Coordinates are N, CA, C, O in that order, in Å, float32, always finite: a residue whose N, CA
or C is missing is not in the chain, so gaps show in ``residue_numbers`` and in ``bonded``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protein.structures import geometry_constants as geo
from sciddiff.errors import InputError


class SideAtom(NamedTuple):
    """An atom of a side chain.

    Attributes:
        name: atom name.
        element: its symbol, upper case.
        position: x, y, z in Å.
    """

    name: str
    element: str
    position: tuple[float, float, float]


class OtherAtom(NamedTuple):
    """An atom of what surrounds the chains: ligands, ions, nucleic acids.

    Attributes:
        name: atom name.
        element: its symbol, upper case.
        position: x, y, z in Å.
        residue: name of its residue or component.
        chain: chain identifier as written in the file (author's).
        number: author's residue number.
        code: insertion code, empty where there is none.
    """

    name: str
    element: str
    position: tuple[float, float, float]
    residue: str
    chain: str
    number: int
    code: str = ""


@dataclass(frozen=True, eq=False)
class Backbone:
    """The backbone of one chain of L residues.

    Attributes:
        coords: N, CA, C, O `[L, 4, 3]`, float32, Å, finite.
        sequence: one-letter amino acids, length L, ``X`` where unknown.
        chain_id: chain identifier as written in the file (author's).
        residue_numbers: author's residue numbers `[L]`, int64.
        insertion_codes: one string per residue, empty where there is none.
        mask: residues to use `[L]`, bool; all true from a file.
        built_o: true where O was absent and rebuilt from geometry `[L]`, bool.
        name: where the chain comes from, for messages and tables.
        side_chains: atoms of each residue's side chain, length L; empty where none were read.
        b_factors: B factor of each CA `[L]`, float32; 0 where the file has none. Predicted
            structures have their confidence there.
    """

    coords: NDArray[np.float32]
    sequence: str
    chain_id: str = "A"
    residue_numbers: NDArray[np.int64] = field(default=None)  # type: ignore[assignment]
    insertion_codes: tuple[str, ...] = ()
    mask: NDArray[np.bool_] = field(default=None)  # type: ignore[assignment]
    built_o: NDArray[np.bool_] = field(default=None)  # type: ignore[assignment]
    name: str = ""
    side_chains: tuple[tuple[SideAtom, ...], ...] = ()
    b_factors: NDArray[np.float32] = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Check shapes and finiteness, and fill what was left out."""
        coords = np.ascontiguousarray(self.coords, dtype=np.float32)
        label = self.name or f"chain {self.chain_id}"
        if coords.ndim != 3 or coords.shape[1:] != (4, 3):
            raise InputError(f"{label}: coords have shape {coords.shape}; give [L, 4, 3]")
        length = coords.shape[0]
        if not np.isfinite(coords).all():
            raise InputError(f"{label}: coordinates are not finite; drop those residues")
        numbers, mask, built = self.residue_numbers, self.mask, self.built_o
        b_factors = self.b_factors
        filled: dict[str, object] = {
            "coords": coords,
            "residue_numbers": np.arange(1, length + 1, dtype=np.int64)
            if numbers is None
            else np.asarray(numbers, dtype=np.int64),
            "insertion_codes": tuple(self.insertion_codes) or ("",) * length,
            "mask": np.ones(length, bool) if mask is None else np.asarray(mask, bool),
            "built_o": np.zeros(length, bool) if built is None else np.asarray(built, bool),
            "b_factors": np.zeros(length, np.float32)
            if b_factors is None
            else np.asarray(b_factors, np.float32),
        }
        for key, value in filled.items():
            object.__setattr__(self, key, value)
        for key in ("sequence", *filled):
            if len(getattr(self, key)) != length:
                got = len(getattr(self, key))
                raise InputError(f"{label}: {key} has {got} entries for {length} residues")
        if len(self.side_chains) not in (0, length):
            got = len(self.side_chains)
            raise InputError(f"{label}: side_chains has {got} entries for {length} residues")

    def __len__(self) -> int:
        """Number of residues."""
        return self.coords.shape[0]

    @classmethod
    def from_coords(
        cls,
        coords: NDArray[np.floating],
        sequence: str | None = None,
        *,
        chain_id: str = "A",
        name: str = "",
    ) -> "Backbone":
        """Chain numbered from 1; without a sequence it is poly-alanine.

        Args:
            coords: N, CA, C, O `[L, 4, 3]`, Å.
            sequence: one-letter amino acids, length L.
            chain_id: chain identifier.
            name: label for messages.
        """
        array = np.asarray(coords, dtype=np.float32)
        letters = "A" * len(array) if sequence is None else sequence
        return cls(array, letters, chain_id, name=name)

    @property
    def ca(self) -> NDArray[np.float32]:
        """CA positions `[L, 3]`, Å."""
        return self.coords[:, 1]

    @property
    def bonded(self) -> NDArray[np.bool_]:
        """True where residue i+1 is chemically joined to residue i `[L]`, bool.

        Joined means C–N ≤ 1.6 Å and CA–CA ≤ 4.2 Å; the last entry is always false.
        """
        joined = np.zeros(len(self), dtype=bool)
        if len(self) > 1:
            peptide = np.linalg.norm(self.coords[1:, 0] - self.coords[:-1, 2], axis=-1)
            step = np.linalg.norm(self.coords[1:, 1] - self.coords[:-1, 1], axis=-1)
            joined[:-1] = (peptide <= geo.BREAK_C_N) & (step <= geo.BREAK_CA_CA)
        return joined

    @property
    def places(self) -> NDArray[np.int64]:
        """Place along the chain `[L]`, int64: one on where residues are joined, else as the author
        counts, at least two on.
        """
        steps = np.maximum(np.diff(self.residue_numbers), 2)
        steps = np.where(self.bonded[:-1], 1, steps)
        return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)

    @property
    def labels(self) -> tuple[str, ...]:
        """Residues as people name them, ``A25`` or ``A52A``: chain, number, insertion code."""
        pairs = zip(self.residue_numbers, self.insertion_codes, strict=True)
        return tuple(f"{self.chain_id}{number}{code}" for number, code in pairs)

    def index_of(self, number: int, insertion_code: str = "") -> int:
        """Position in the chain of an author's residue number.

        Raises:
            InputError: the chain has no such residue; the message says what it has.
        """
        hits = np.flatnonzero(self.residue_numbers == number)
        for index in hits:
            if self.insertion_codes[index] == insertion_code:
                return int(index)
        label = f"{self.chain_id}{number}{insertion_code}"
        raise InputError(
            f"{self.name or 'structure'}: residue {label} is absent or incomplete; "
            f"chain {self.chain_id} has {self.number_ranges() or 'none'}"
        )

    def number_ranges(self, limit: int = 12) -> str:
        """Residue numbers present, as people write them: ``1-40,45-52B (with 52A, 52B)``.

        Args:
            limit: ranges, and insertion codes, to spell out before ``...``.
        """
        if not len(self):
            return ""
        labels = [
            f"{n}{c}" for n, c in zip(self.residue_numbers, self.insertion_codes, strict=True)
        ]
        cuts = np.flatnonzero(~np.isin(np.diff(self.residue_numbers), (0, 1))) + 1
        parts = np.split(np.arange(len(self)), cuts)
        words = [
            f"{labels[p[0]]}-{labels[p[-1]]}" if len(p) > 1 else labels[p[0]]
            for p in parts[:limit]
        ]
        inserted = [name for name, code in zip(labels, self.insertion_codes, strict=True) if code]
        text = ",".join(words) + (",..." if len(parts) > limit else "")
        if not inserted:
            return text
        more = ", ..." if len(inserted) > limit else ""
        return f"{text} (with {', '.join(inserted[:limit])}{more})"

    def transformed(
        self, rotation: NDArray[np.floating], shift: NDArray[np.floating]
    ) -> "Backbone":
        """The chain after a rigid motion, x -> R x + s, with its side chains.

        Args:
            rotation: R `[3, 3]`.
            shift: s `[3]`, Å.
        """
        turn = np.asarray(rotation, dtype=np.float64)
        flat = [atom for residue in self.side_chains for atom in residue]
        places = np.array([atom.position for atom in flat]).reshape(-1, 3) @ turn.T + shift
        moved = iter(
            atom._replace(position=(x, y, z))
            for atom, (x, y, z) in zip(flat, places.tolist(), strict=True)
        )
        return replace(
            self,
            coords=np.asarray(self.coords @ turn.T + shift, dtype=np.float32),
            side_chains=tuple(tuple(next(moved) for _ in residue) for residue in self.side_chains),
        )

    def select(self, index: slice | Sequence[int] | NDArray[np.integer]) -> "Backbone":
        """Part of the chain, numbering kept.

        Args:
            index: slice, positions or boolean mask `[L]`.
        """
        chosen = np.arange(len(self))[index]
        return replace(
            self,
            coords=self.coords[chosen],
            sequence="".join(self.sequence[i] for i in chosen),
            residue_numbers=self.residue_numbers[chosen],
            insertion_codes=tuple(self.insertion_codes[i] for i in chosen),
            mask=self.mask[chosen],
            built_o=self.built_o[chosen],
            side_chains=tuple(self.side_chains[i] for i in chosen) if self.side_chains else (),
            b_factors=self.b_factors[chosen],
        )


@dataclass(frozen=True, eq=False)
class Structure:
    """What was read from one file, one model.

    Attributes:
        chains: protein chains in file order.
        resolution: Å, or None when the file does not say.
        source: path of the file.
        notes: sentences on what was mapped, rebuilt, dropped or ignored.
        counts: the same as numbers (``waters``, ``ligands``, ``nucleic``, ``modified``,
            ``dropped_residues``, ``built_o``, ``altlocs``, ``models``, ``split_chains``,
            ``elements_inferred``, ...).
        others: what the file holds beside the chains, by label: ``{"A301": "a ligand (HEM)"}``.
        surroundings: heavy atoms of these others, waters left out; empty where none were read.
    """

    chains: tuple[Backbone, ...]
    resolution: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    surroundings: tuple[OtherAtom, ...] = ()

    def chain(self, chain_id: str) -> Backbone:
        """The chain of that identifier.

        Raises:
            InputError: no such chain; the message lists those present.
        """
        for chain in self.chains:
            if chain.chain_id == chain_id:
                return chain
        have = ", ".join(chain.chain_id for chain in self.chains)
        beside = [
            what
            for label, what in self.others.items()
            if label.startswith(chain_id) and label[len(chain_id) :].lstrip("-")[:1].isdigit()
        ]
        holds = f" (chain {chain_id} holds {beside[0]})" if beside else ""
        raise InputError(f"{self.source}: no protein chain {chain_id!r}{holds}; it has {have}")
