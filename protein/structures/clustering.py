"""Sequence clusters, so that relatives never sit on both sides of a split.

Greedy incremental clustering (as CD-HIT, Li & Godzik 2006): longest first, a sequence joins the
representative it is most like, else founds a cluster. Likeness is the identity of the best local
alignment (BLOSUM62, gaps 11/1) that covers most of the shorter sequence and that chance does
not explain (E ≤ 0.001). Only representatives
sharing more 3-mers with it than chance explains are aligned. A second, looser round joins the
clusters themselves (single linkage), for splitting.

The prefilter sees nearly all pairs above 40 % identity and only part of those at 30 %; where
``mmseqs`` (Steinegger & Söding 2017) is on the PATH it does the work instead.
"""

import math
import shutil
import subprocess
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, MissingExtra

COVERAGE = 0.7
"""Share of the shorter sequence that an alignment must cover."""

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_CODE = np.full(256, -1, dtype=np.int64)
_CODE[[ord(letter) for letter in _LETTERS]] = np.arange(20)
_RARE = str.maketrans("JOU", "XXX")  # letters that BLOSUM62 has not
_K = 3
_CANDIDATES = 12

# Karlin–Altschul parameters of BLOSUM62 with gaps 11/1 (Altschul et al. 1997), and the number of
# chance hits tolerated per query.
_LAMBDA = 0.267
_KAPPA = 0.041
_E_VALUE = 1e-3


def cluster_sequences(
    sequences: Sequence[str],
    tool: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32], str]:
    """Cluster at about 40 % identity, and these clusters again at about 30 %.

    Args:
        sequences: upper-case letters of residues; length n.
        tool: ``builtin``, ``mmseqs``, or ``auto``: mmseqs when it is on the PATH.
        progress: called with (sequences done, sequences in all) by the built-in.

    Returns:
        Labels at 40 % `[n]`, labels at 30 % `[n]` (every 40 % cluster lies within one of them),
        and the tool used. Labels count from 0 in order of first appearance.

    Raises:
        InputError: mmseqs is asked for and absent, or fails.
    """
    program = shutil.which("mmseqs") if tool in ("auto", "mmseqs") else None
    if tool == "mmseqs" and program is None:
        raise InputError("mmseqs: not on the PATH; install it or use the built-in clustering")
    plain = [sequence.translate(_RARE) for sequence in sequences]
    unique = {sequence: number for number, sequence in enumerate(dict.fromkeys(plain))}
    distinct = list(unique)
    if program is not None:
        fine = _mmseqs(program, distinct, 0.4)
        coarse = _mmseqs(program, distinct, 0.3)
    else:
        fine = greedy_clusters(distinct, 0.4, progress)
        heads = np.unique(fine, return_index=True)[1]
        linked = linked_clusters([distinct[i] for i in heads], 0.3)
        coarse = linked[fine]
    place = np.asarray([unique[sequence] for sequence in plain], dtype=np.int64)
    fine = _by_appearance(fine[place])
    return fine, _coarsen(fine, coarse[place]), "mmseqs" if program else "builtin"


def greedy_clusters(
    sequences: Sequence[str],
    identity: float,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Greedy incremental clusters; label = position of the representative's cluster `[n]`."""
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), sequences[i]))
    labels = np.full(len(sequences), -1, dtype=np.int64)
    index = _KmerIndex()
    heads: list[int] = []
    comparison = _Comparison(identity, sum(map(len, sequences)))
    for done, i in enumerate(order):
        for candidate in index.candidates(sequences[i]):
            if comparison.alike(sequences[heads[candidate]], sequences[i]):
                labels[i] = candidate
                break
        else:
            labels[i] = index.add(sequences[i])
            heads.append(i)
        if progress is not None:
            progress(done + 1, len(order))
    return _by_appearance(labels).astype(np.int64)


def linked_clusters(sequences: Sequence[str], identity: float) -> NDArray[np.int64]:
    """Single-linkage clusters of the pairs the prefilter finds; labels `[n]` from 0."""
    parent = list(range(len(sequences)))
    index, comparison = _KmerIndex(), _Comparison(identity, sum(map(len, sequences)))
    for i, sequence in enumerate(sequences):
        for candidate in index.candidates(sequence):
            apart = _root(parent, candidate) != _root(parent, i)
            if apart and comparison.alike(sequences[candidate], sequence):
                parent[_root(parent, i)] = _root(parent, candidate)
        index.add(sequence)
    return _by_appearance(np.asarray([_root(parent, i) for i in range(len(parent))])).astype(
        np.int64
    )


def one_per_cluster(clusters: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """One item of every cluster, drawn at random.

    Args:
        clusters: cluster of every item `[n]`.
        rng: draws the items.

    Returns:
        Items, in the order of their clusters' numbers `[clusters]`.
    """
    order = rng.permutation(len(clusters))
    _, first = np.unique(clusters[order], return_index=True)
    return order[first]


def joined_by_labels(labels: Sequence[Sequence[object]]) -> NDArray[np.int64]:
    """Groups of items that share a label, directly or through others, numbered by appearance.

    Args:
        labels: those of each item; length n.

    Returns:
        Group of each item `[n]`.
    """
    parent = list(range(len(labels)))
    first: dict[object, int] = {}
    for i, group in enumerate(labels):
        for label in group:
            parent[_root(parent, i)] = _root(parent, first.setdefault(label, i))
    return _by_appearance(
        np.asarray([_root(parent, i) for i in range(len(parent))], dtype=np.int64)
    ).astype(np.int64)


@final
class _KmerIndex:
    """Which sequences hold which 3-mers; finds those that share more than chance gives."""

    def __init__(self) -> None:
        self._postings: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        self._sizes: list[int] = []

    def add(self, sequence: str) -> int:
        """Add a sequence; returns its number."""
        kmers = _kmers(sequence)
        for kmer in kmers.tolist():
            self._postings[kmer].append(len(self._sizes))
        self._sizes.append(len(kmers))
        return len(self._sizes) - 1

    def candidates(self, sequence: str) -> list[int]:
        """Numbers of the likeliest relatives, most shared 3-mers first."""
        kmers = _kmers(sequence)
        hits = [self._postings[k] for k in kmers.tolist() if k in self._postings]
        if not hits:
            return []
        count = np.bincount(np.concatenate([np.frombuffer(h, dtype=np.int64) for h in hits]))
        sizes = np.asarray(self._sizes[: len(count)], dtype=np.float64)
        expected = sizes * len(kmers) / len(_LETTERS) ** _K
        # Above chance by 2.5 Poisson deviations, and never on the strength of a single 3-mer.
        excess = count - np.maximum(expected + 2.5 * np.sqrt(expected), 1.5)
        best = np.argsort(-excess, kind="stable")[:_CANDIDATES]
        return [int(i) for i in best if excess[i] > 0]


def _kmers(sequence: str) -> NDArray[np.int64]:
    """Distinct 3-mers as integers; those with an unknown letter are left out."""
    codes = _CODE[np.frombuffer(sequence.upper().encode("ascii", "replace"), dtype=np.uint8)]
    if len(codes) < _K:
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, _K)
    return np.unique(windows[(windows >= 0).all(axis=1)] @ np.asarray([400, 20, 1]))


@final
class _Comparison:
    """Whether two sequences are relatives, by their best local alignment."""

    def __init__(self, identity: float, database: int) -> None:
        """Set the identity to reach and the size of the database, residues."""
        try:
            from Bio.Align import PairwiseAligner, substitution_matrices
        except ImportError as error:
            raise MissingExtra("biopython", "protein") from error
        self._identity, self._database = identity, max(database, 1)
        self._aligner = PairwiseAligner()
        self._aligner.mode = "local"
        self._aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
        self._aligner.open_gap_score = -12.0  # first gap position: opening 11 + extension 1
        self._aligner.extend_gap_score = -1.0

    def alike(self, one: str, two: str) -> bool:
        """True when the alignment is significant, long and identical enough."""
        if one == two:
            return True
        chance = math.log(_KAPPA * len(two) * self._database / _E_VALUE) / _LAMBDA
        # The score alone costs a third of the alignment and rejects nearly all strangers.
        if self._aligner.score(one, two) < chance:
            return False
        pairs = same = 0
        for (a, a_end), (b, b_end) in zip(*self._aligner.align(one, two)[0].aligned, strict=True):
            pairs += int(a_end - a)
            same += sum(x == y for x, y in zip(one[a:a_end], two[b:b_end], strict=True))
        return pairs >= COVERAGE * min(len(one), len(two)) and same >= self._identity * pairs


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _by_appearance(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Renumber labels from 0 in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]


def _coarsen(fine: NDArray[np.int32], coarse: NDArray[np.integer]) -> NDArray[np.int32]:
    """Join coarse clusters that share a fine one, so that the two levels nest."""
    parent = list(range(int(coarse.max(initial=-1)) + 1))
    owner: dict[int, int] = {}
    for small, large in zip(fine.tolist(), coarse.tolist(), strict=True):
        parent[_root(parent, large)] = _root(parent, owner.setdefault(small, large))
    return _by_appearance(np.asarray([_root(parent, int(label)) for label in coarse]))


def _mmseqs(program: str, sequences: Sequence[str], identity: float) -> NDArray[np.int64]:
    """Labels from ``mmseqs easy-cluster`` `[n]`."""
    with tempfile.TemporaryDirectory(prefix="sciddiff-mmseqs-") as name:
        folder = Path(name)
        fasta = folder / "chains.fasta"
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
        arguments = ["easy-cluster", str(fasta), str(folder / "out"), str(folder / "tmp")]
        options = [
            "--min-seq-id",
            str(identity),
            "-c",
            str(COVERAGE),
            "--cov-mode",
            "1",
            "-v",
            "1",
        ]
        run = subprocess.run([program, *arguments, *options], capture_output=True, text=True)
        if run.returncode != 0:
            tail = " ".join((run.stderr or run.stdout).split())[-200:]
            raise InputError(f"mmseqs: failed ({tail}); use the built-in clustering")
        labels = np.full(len(sequences), -1, dtype=np.int64)
        for line in (folder / "out_cluster.tsv").read_text().splitlines():
            head, member = line.split("\t")
            labels[int(member)] = int(head)
    if (labels < 0).any():
        raise InputError("mmseqs: left sequences out; use the built-in clustering")
    return labels
