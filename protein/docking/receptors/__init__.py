"""Receptors: atoms and their energy types, search boxes, and pockets where ligands may bind."""
