"""Forecasts that every useful model must beat, built from the training states alone."""
