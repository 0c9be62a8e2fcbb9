"""Docked poses against crystal ligands: RMSD, success rates and the quality of the confidence."""
