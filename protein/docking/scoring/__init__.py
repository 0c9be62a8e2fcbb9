"""Scores of poses that any program made, and the table of them."""
