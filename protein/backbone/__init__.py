"""Protein backbone generation: network, domain, metrics and report."""
