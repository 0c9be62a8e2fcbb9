"""Ensemble forecasts: the domain a network is trained in, and the roll-out of its members."""
