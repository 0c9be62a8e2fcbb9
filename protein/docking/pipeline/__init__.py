"""Preparing a receptor, and docking ligands into it."""
