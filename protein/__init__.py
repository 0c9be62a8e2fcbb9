"""Protein domain of sciddiff: structures in and out, backbone generation."""
