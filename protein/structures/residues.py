"""Residue names: three letters to one, modified residues to their parents.

Three sources, the first that knows a name wins: the twenty amino acids; names written by force
fields and refinement programs for protonation and disulfide states, with the modified residues
users meet most; Biopython's table of some thousand modified residues of the PDB.
"""

from functools import lru_cache

ONE_TO_THREE: dict[str, str] = {
    "A": "ALA",
    "R": "ARG",
    "N": "ASN",
    "D": "ASP",
    "C": "CYS",
    "Q": "GLN",
    "E": "GLU",
    "G": "GLY",
    "H": "HIS",
    "I": "ILE",
    "L": "LEU",
    "K": "LYS",
    "M": "MET",
    "F": "PHE",
    "P": "PRO",
    "S": "SER",
    "T": "THR",
    "W": "TRP",
    "Y": "TYR",
    "V": "VAL",
    "X": "UNK",
}

THREE_TO_ONE: dict[str, str] = {three: one for one, three in ONE_TO_THREE.items()}

# Parent by name; grouped by parent so that the table can be checked by eye.
_PARENTS: dict[str, str] = {
    "A": "ABA AIB DHA",
    "C": "CYX CYM CYD CSO CME CSD OCS CSS CSX CAS SCY SMC YCM CCS SEC",
    "D": "ASH ASX PHD BFD IAS",
    "E": "GLH GLX CGU PCA GLZ",
    "F": "PHI",
    "G": "SAR",
    "H": "HIE HID HIP HSD HSE HSP HISD HISE HISH HIC NEP MHS",
    "K": "LYN KCX MLY MLZ M3L ALY LLP LYR KPI PYL",
    "L": "NLE MLE",
    "M": "MSE FME MHO SME",
    "N": "MEN",
    "P": "HYP PXU",
    "Q": "MEQ",
    "R": "AGM ARO 2MR DA2",
    "S": "SEP SAC",
    "T": "TPO",
    "V": "MVA",
    "W": "TRQ TRO HTR",
    "Y": "PTR TYS TPQ PTH IYR",
}
_MODIFIED: dict[str, str] = {
    name: parent for parent, names in _PARENTS.items() for name in names.split()
}

_NUCLEOTIDES = frozenset(
    "A C G U I T N DA DC DG DT DU DI DN RA RC RG RU ADE CYT GUA URA THY".split()
)

WATERS = frozenset("HOH WAT H2O DOD SOL TIP TIP3 TP3".split())


def is_standard(name: str) -> bool:
    """Whether a three-letter name is one of the twenty amino acids."""
    return name in THREE_TO_ONE and name != "UNK"


def parent_letter(name: str) -> str | None:
    """One-letter code of an amino acid or of a modified one's parent; None if unknown.

    Args:
        name: residue name as in the file, stripped, upper case.
    """
    return THREE_TO_ONE.get(name) or _MODIFIED.get(name) or _biopython_amino_acids().get(name)


def is_nucleotide(name: str) -> bool:
    """Whether a residue name is a nucleotide of DNA or RNA, modified ones included."""
    return name in _NUCLEOTIDES or name in _biopython_nucleotides()


@lru_cache(maxsize=1)
def _biopython_amino_acids() -> dict[str, str]:
    from Bio.Data.PDBData import protein_letters_3to1_extended

    return {name.strip(): letter for name, letter in protein_letters_3to1_extended.items()}


@lru_cache(maxsize=1)
def _biopython_nucleotides() -> frozenset[str]:
    from Bio.Data.PDBData import nucleic_letters_3to1_extended

    return frozenset(name.strip() for name in nucleic_letters_3to1_extended)
