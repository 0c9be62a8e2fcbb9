"""Lows of the sea-level pressure: where they are, how they move, and whom they may strike."""
