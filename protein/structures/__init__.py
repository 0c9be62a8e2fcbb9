"""Protein structures: PDB and mmCIF in and out, residue frames, archives and data sets."""
