"""Whole libraries and data sets docked into a folder, and the files that are written there."""
