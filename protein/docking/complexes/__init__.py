"""Complexes of a protein with a ligand: finding them in files, and as arrays for networks."""
