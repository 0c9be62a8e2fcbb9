"""Docked poses against crystal ligands: which poses, how far off, how often right, how sure."""
