"""Names that stay unique and harmless wherever they go: files, tables, other programs.

Names come from users' files and may hold anything: line breaks, separators of paths, what ends a
record of another format, or a formula that a spreadsheet would execute. `Names` gives each a name
that is safe to print and a stem that is safe as a file, unique among all that were given before;
`cell` and `text_of` are the two ways of a cell of a CSV table.
"""

from __future__ import annotations

import re
import unicodedata
from typing import final

__all__ = ["Names", "cell", "clean", "escape", "printable", "stem_of", "text_of"]

_LONGEST = 80
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}


@final
class Names:
    """Gives out names, each once; upper and lower case do not tell two apart.

    >>> names = Names()
    >>> [names.unique(text, "ligand") for text in ("a", "a", "a_2", "A", "a/b", "a_b")]
    ['a', 'a_2', 'a_2_2', 'A_3', 'a/b', 'a_b_2']
    >>> names.unique("\\n", "ligand_7")
    'ligand_7'
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def unique(self, wanted: str, otherwise: str) -> str:
        """Return the name wanted, cleaned, with a number where it is taken.

        The stems of its files (`stem_of`) are unique as well.

        Args:
            wanted: As the user's file has it.
            otherwise: What to take where nothing of that is left.
        """
        base = clean(wanted) or otherwise
        name, key = base, stem_of(base).casefold()
        number = self._next.get(key, 2)
        while stem_of(name).casefold() in self._taken:
            name = f"{base[: _LONGEST - 8]}_{number}"
            number += 1
        self._next[key] = number
        self._taken.add(stem_of(name).casefold())
        return name


def clean(text: str) -> str:
    """A name on one line of at most 80 characters, without what ends a record elsewhere.

    >>> clean("two\\nlines $$$$ \\x1b[31m")
    'two lines [31m'
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join(kept.replace("$$$$", " ").split())[:_LONGEST].strip()


def stem_of(name: str) -> str:
    """The stem of the files of a name: letters, digits, ``-``, ``_`` and ``.`` as they are.

    >>> stem_of("a/b"), stem_of("../etc"), stem_of("-x"), stem_of("CON.1"), stem_of("α 1")
    ('a_b', 'etc', 'x', 'CON_.1', 'α_1')
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._-")
    kept = kept[:_LONGEST].rstrip("._-") or "unnamed"
    first, dot, rest = kept.partition(".")
    # Windows takes what stands before the first dot for a device.
    return f"{first}_{dot}{rest}" if first.casefold() in _DEVICES else kept


def escape(text: str) -> str:
    """Text with its control characters and backslashes written out, so that none is lost.

    >>> escape("a\\tb\\n")
    'a\\\\tb\\\\n'
    """
    return "".join(
        c.encode("unicode_escape").decode() if c == "\\" or unicodedata.category(c) == "Cc" else c
        for c in text
    )


def printable(text: str) -> str:
    """Text that does nothing to a terminal: with control characters it is written by `escape`.

    >>> printable("C:\\\\a b"), printable("a\\x1b[31m")
    ('C:\\\\a b', 'a\\\\x1b[31m')
    """
    return escape(text) if any(unicodedata.category(c) == "Cc" for c in text) else text


def cell(value: object) -> str:
    """A cell of a table that no spreadsheet executes: a formula gets an apostrophe before it.

    Numbers stay as they are. `text_of` takes the apostrophe off again.

    >>> cell("=cmd|x"), cell(-7.5), cell("-7.5"), cell("-NH2"), cell("'quoted'"), cell(" =1")
    ("'=cmd|x", '-7.5', '-7.5', "'-NH2", "'quoted'", "' =1")
    """
    text = "" if value is None else str(value)
    if not _is_formula(text) or _NUMBER.fullmatch(text.strip(" ")):
        return text
    return f"'{text}"


def text_of(cell: str) -> str:
    """What `cell` was made of.

    >>> text_of("'=1"), text_of("'quoted'"), text_of("-7.5")
    ('=1', "'quoted'", '-7.5')
    """
    inner = cell[1:]
    return inner if cell[:1] == "'" and _is_formula(inner) else cell


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet may execute a text, as some do that take blanks off before."""
    return text.lstrip("' ").startswith(_FORMULA)
