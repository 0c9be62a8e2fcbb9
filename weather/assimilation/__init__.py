"""Assimilation: states of the forecast model that agree with scattered observations."""
