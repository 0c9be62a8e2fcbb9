"""Command-line verbs of the weather domain; each module exposes ``command``."""
