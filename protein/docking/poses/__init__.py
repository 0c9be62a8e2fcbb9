"""Poses of flexible ligands: their geometry, quality, contacts and files."""
