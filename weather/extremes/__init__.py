"""Extremes: probabilities of rare weather, and what its members had in common."""
