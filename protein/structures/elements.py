"""Elements of atoms whose file does not say, or says what cannot be.

PDB puts one-letter elements in column 14 and two-letter ones in column 13, but many programs write
every name from column 13 on. The residue then tells an alpha carbon from calcium.
"""

from functools import lru_cache

from protein.structures.residues import is_nucleotide, parent_letter

_OF_PROTEIN = frozenset("H D C N O S SE P".split())
_OF_NUCLEOTIDE = frozenset("H D C N O P S".split())
# Two-letter elements that start an atom's name in organic groups and cofactors; the others (CA,
# CD, HG, NA, ...) are far more often carbon, hydrogen or nitrogen with a position.
_IN_GROUPS = ("CL", "BR", "FE", "ZN", "MG", "MN", "CU", "SE", "SI")
_COBALAMINS = frozenset("B12 CNC COB CBY CO NCO COY 3CO".split())


@lru_cache(maxsize=65_536)
def element_of(
    name: str, resname: str, given: str = "", *, two_letters: bool = False, alone: bool = False
) -> str:
    """Symbol of an atom in upper case, empty if nothing tells.

    Args:
        name: the atom's name, without blanks.
        resname: name of its residue or group.
        given: the element in the file, upper case, or empty.
        two_letters: the name stands where PDB puts two-letter elements, and that is meant.
        alone: the atom is the only one of its group, as ions are.

    >>> element_of("CA", "ALA"), element_of("CA", "CA", alone=True), element_of("SE", "MSE")
    ('C', 'CA', 'SE')
    >>> element_of("CA", "ALA", given="CA"), element_of("1HB2", "SER"), element_of("CL1", "LIG")
    ('C', 'H', 'CL')
    """
    letters = name.upper().lstrip("0123456789'\"*")
    amino, nucleotide = parent_letter(resname) is not None, is_nucleotide(resname)
    if amino or nucleotide:
        allowed = _OF_PROTEIN if amino else _OF_NUCLEOTIDE
        if given in allowed or (given and given in _known() and not _usual(resname)):
            return given
        # Selenium is meant in selenium residues alone: SE would else be a misprint.
        if letters[:2] == "SE" and amino:
            return "SE"
        return letters[:1] if letters[:1] in allowed else ""
    if given in _known():
        return given
    head = "".join(c for c in letters if c.isalpha())
    if alone and head[:2] in _known() and (head == resname[: len(head)].upper() or two_letters):
        return head[:2]
    if letters[:2] == "CO" and resname in _COBALAMINS:
        return "CO"
    if letters[:2] in _IN_GROUPS or (two_letters and len(name) < 4 and letters[:2] in _known()):
        return letters[:2]
    return letters[:1] if letters[:1] in _known() else ""


def _usual(resname: str) -> bool:
    """One of the twenty amino acids or the plain nucleotides, which have no odd elements."""
    from protein.structures.residues import is_standard

    return is_standard(resname) or len(resname) <= 2


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """Symbols of the elements, deuterium among them."""
    from Bio.Data.IUPACData import atom_weights

    return frozenset(symbol.upper() for symbol in atom_weights) | {"D"}
