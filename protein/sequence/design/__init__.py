"""Sequences for given backbones: what is asked, drawn, scored, written and shown."""
