"""Command-line verbs of the protein domain; each module exposes ``command``."""
