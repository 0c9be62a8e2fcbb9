"""Calibrated ensembles: members corrected one by one, by coefficients fitted to past forecasts."""
